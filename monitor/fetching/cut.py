"""How a range of blocks is cut into parts, which are files, and steps, which are read at once. Pure.

Cuts lie at multiples of the sizes, wherever a run begins or ends: so a run that was killed goes on at the places at
which an unbroken one would have cut.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Cut"]


@dataclass(frozen=True, slots=True)
class Cut:
    """The sizes, in blocks: ``part`` at most in one file, ``step`` in one reading."""

    part: int
    step: int

    def step_end(self, start: int, end: int) -> int:
        """Where the step that begins at ``start`` ends (exclusive), in a range that ends at ``end``.

        >>> Cut(part=10, step=4).step_end(5, 100), Cut(part=10, step=4).step_end(8, 100), Cut(10, 4).step_end(5, 7)
        (8, 10, 7)
        """
        return min(end, _next(start, self.step), self.part_end(start, end))

    def part_end(self, start: int, end: int) -> int:
        """Where the part that holds block ``start`` ends (exclusive)."""
        return min(end, _next(start, self.part))


def _next(start: int, size: int) -> int:
    return (start // size + 1) * size
