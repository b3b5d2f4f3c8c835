"""Who turns messages into outbox rows: a desk, which remembers what it said, or a plain function, which does not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from monitor.model import Alert
from monitor.store import Notes, OperatorEvent, OutboxRow

__all__ = ["Desk", "Plain", "Router", "Told", "desk_of"]

Router = Callable[[Alert, float, Sequence[str]], Sequence[OutboxRow]]
"""Turns an alert, the wall clock and receivers that must get it in any case into rows."""


class Told(Protocol):
    """What a message becomes: rows to queue and notes to keep, in the transaction of whatever it tells of."""

    @property
    def rows(self) -> Sequence[OutboxRow]: ...

    @property
    def notes(self) -> Notes: ...


class Desk(Protocol):
    """Decides who is told what, when. `route` and `tick` never run at the same time, nor do `heard` and `merged`."""

    async def refresh(self) -> None:
        """Take in what other processes noted meanwhile."""

    def route(self, alert: Alert, now: float, also: Sequence[str] = ()) -> Told:
        """Rows and notes for one message. ``also`` are receivers who must get it; ``now``: wall clock, UTC seconds."""
        ...

    def heard(self, event: OperatorEvent) -> bool:
        """Take in what a person said, once; `taken` has what is to be kept of it."""
        ...

    def merged(self, gone: str, into: str) -> None:
        """One incident took another's evidence over; `taken` has what is to be kept of it."""

    def taken(self) -> Notes:
        """What changed and no `route` gave so far, for the next commit."""
        ...

    async def tick(self, now: float) -> bool:
        """Do what is due by now; True where alerts were queued."""
        ...


@dataclass(frozen=True, slots=True)
class _Rows:
    rows: Sequence[OutboxRow]
    notes: Notes = ()


class Plain:
    """A desk that only routes."""

    def __init__(self, router: Router) -> None:
        self._router = router

    async def refresh(self) -> None:
        """Nothing is remembered."""

    def route(self, alert: Alert, now: float, also: Sequence[str] = ()) -> Told:
        """What the function says."""
        return _Rows(self._router(alert, now, also))

    def heard(self, event: OperatorEvent) -> bool:
        """Nothing waits for an answer."""
        return False

    def merged(self, gone: str, into: str) -> None:
        """Nothing is remembered of either."""

    def taken(self) -> Notes:
        """Nothing is kept."""
        return ()

    async def tick(self, now: float) -> bool:
        """Nothing is ever due."""
        return False


def desk_of(router: Router | Desk) -> Desk:
    """A desk as it is, a function as one."""
    return Plain(router) if callable(router) else router
