"""Changes of control that the owner announced: exactly one new value of one kind at one account, in its time. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from monitor.config.types import Planned
from monitor.model import ControlKind

__all__ = ["Calendar"]


class Calendar:
    """What was announced.

    Parameters
    ----------
    planned : as the configuration has it; a change without ``start`` and ``end`` is expected at any time

    Examples
    --------
    >>> calendar = Calendar([Planned("eip155:1", "0xsafe", ControlKind.THRESHOLD_CHANGE, "3", 100, 200)])
    >>> calendar.holds("eip155:1", "0xsafe", ControlKind.THRESHOLD_CHANGE, "3", 199)
    True
    >>> calendar.holds("eip155:1", "0xsafe", ControlKind.THRESHOLD_CHANGE, "3", 200)
    False
    """

    def __init__(self, planned: Iterable[Planned] = ()) -> None:
        self._windows: dict[tuple[str, str, ControlKind, str], list[tuple[int | None, int | None]]] = {}
        for entry in planned:
            place = (entry.chain, entry.account, entry.kind, entry.value)
            self._windows.setdefault(place, []).append((entry.start, entry.end))

    def holds(self, chain: str, account: str, kind: ControlKind, value: str, at: int) -> bool:
        """Whether a change to exactly this value was expected at a time (UTC seconds)."""
        windows = self._windows.get((chain, account, kind, value), ())
        return any((start is None or at >= start) and (end is None or at < end) for start, end in windows)
