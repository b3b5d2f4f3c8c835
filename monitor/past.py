"""The blocks below a chain's live ones as a backfill sees them: who gives it, what of it is there, how far it is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from monitor.marks import Mark
from monitor.model import Block, BlockRef
from monitor.spool import Head

__all__ = ["Balances", "History", "Progress", "Stretch", "head_of", "linked", "span"]


class Stretch(Protocol):
    """A run of past blocks, as a chain family gives it: see `chains.base.Stretch`."""

    @property
    def first(self) -> BlockRef: ...
    @property
    def parent_hash(self) -> str: ...
    @property
    def last(self) -> BlockRef: ...
    @property
    def start(self) -> int: ...
    @property
    def end(self) -> int: ...
    @property
    def blocks(self) -> tuple[Block, ...]: ...
    @property
    def source(self) -> str: ...
    @property
    def blind_spots(self) -> tuple[str, ...]: ...
    @property
    def headers(self) -> tuple[tuple[str, int], ...]: ...


class History(Protocol):
    """What gives past blocks: see `chains.base.History`."""

    async def time_of(self, number: int) -> int: ...

    async def history(self, start: int, end: int) -> Stretch: ...

    async def aclose(self) -> None: ...


class Balances(Protocol):
    """What tells balances: see `chains.base.Chain`."""

    async def balances(
        self, wanted: Sequence[tuple[str, str]], at: BlockRef
    ) -> Mapping[tuple[str, str], int | None]: ...


@dataclass(frozen=True, slots=True)
class Progress:
    """How far it is: blocks, and seconds left at the rate so far (None while unknown)."""

    done: int
    total: int
    seconds_left: float | None = None
    what: str = "backfill"

    def __str__(self) -> str:
        if not self.total:
            return f"{self.what} begins"
        left = "" if self.seconds_left is None else f", {span(self.seconds_left)} left"
        return f"{self.what} {100 * self.done // self.total} %{left}"


def linked(mark: Mark, heads: Iterable[Head]) -> list[Head]:
    """The stretches that are the past of a chain's first live block without a gap, highest first."""
    by_last = {head.last: head for head in heads}
    found: list[Head] = []
    top, parent = mark.block, mark.parent
    while (head := by_last.get(top - 1)) is not None and head.last_hash == parent and top > max(0, mark.low):
        found.append(head)
        top, parent = head.first, head.parent_hash
    return found


def head_of(stretch: Stretch, above: int | None = None) -> Head:
    """What is kept of a run of blocks beside the blocks; headers of those above a height (None: of none)."""
    first = stretch.first.number
    headers = () if above is None else stretch.headers[max(0, above + 1 - first) :]
    return Head(
        first, stretch.last.number, stretch.parent_hash, stretch.last.hash, stretch.start, stretch.end,
        stretch.source, stretch.blind_spots, headers,
    )  # fmt: skip


def span(seconds: float) -> str:
    """A length of time for people, in its largest unit of two or more."""
    for size, word in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {word}"
    return f"{max(0.0, seconds):.0f} s"
