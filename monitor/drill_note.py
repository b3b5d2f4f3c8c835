"""What is kept of drills: each one, and when the last one was. Values are JSON under keys of their own in the notes."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from monitor.store import read_note

__all__ = ["ALIVE", "DRILLS", "LAST", "PREFIX", "Drill", "Last", "drill_key", "read_drill", "read_last", "write"]

PREFIX = "drill/"
DRILLS = f"{PREFIX}drill-"
LAST = f"{PREFIX}last"
ALIVE = f"{PREFIX}alive"  # wall clock of a running monitor's last sign of life, UTC seconds, as text
T = TypeVar("T")


class Drill(msgspec.Struct, frozen=True):
    """One drill: asked, taken up, queued, closed (its last message is queued), finished. Wall clock, UTC seconds.

    ``within`` are the seconds in which it must arrive, ``ack_within`` those in which somebody should acknowledge it (0:
    nobody is waited for). ``receivers``, where there are any, get it in place of those that the routes name.
    """

    id: str  # also the id of its incident
    case: str
    wallet: str
    by: str  # command | schedule
    asked: float
    receivers: tuple[str, ...] = ()
    escalate: bool = False
    within: float = 60.0
    ack_within: float = 0.0
    taken: float | None = None
    queued: float | None = None
    closed: float | None = None
    finished: float | None = None
    reached: bool | None = None  # all of its messages arrived
    problems: tuple[str, ...] = ()


class Last(msgspec.Struct, frozen=True):
    """When drills were: the first look at the schedule, the last start, the last start of one that arrived."""

    since: float
    started: float | None = None
    good: float | None = None
    problems: tuple[str, ...] = ()  # of the last one


def drill_key(drill_id: str) -> str:
    """Where a drill is noted; its id begins with ``drill-``."""
    return f"{PREFIX}{drill_id}"


def write(value: Drill | Last) -> bytes:
    """The stored form."""
    return msgspec.json.encode(value)


def read_drill(value: bytes) -> Drill:
    """A stored drill; StoreError where it cannot be read."""
    return read_note(value, Drill, "a stored drill")


def read_last(value: bytes) -> Last:
    """When drills were; StoreError where it cannot be read."""
    return read_note(value, Last, "when drills were")
