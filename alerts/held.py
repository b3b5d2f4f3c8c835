"""What waits for a receiver: messages of one incident that were not said to it so far, and why."""

from __future__ import annotations

from typing import TypeVar
from urllib.parse import quote

import msgspec

from monitor.store import read_note

__all__ = ["GROUP", "INHIBITED", "PREFIX", "QUIET", "RECENT", "SILENCE", "STORM", "Held", "Recent", "held_key",
           "read_held", "read_recent", "recent_key", "write"]  # fmt: skip

PREFIX = "held/"
RECENT = "group/"

GROUP, STORM, QUIET, SILENCE, INHIBITED = "group", "storm", "quiet", "silence", "inhibited"
"""Why something waits."""

MINUTE = 60.0
T = TypeVar("T")


class Held(msgspec.Struct):
    """Messages of ``incident`` that wait for ``receiver``: the latest will be said, and it covers all of them.

    The latest itself is in the incident's case. ``since`` and ``until`` are wall clock, UTC seconds; ``until`` None is
    when the silence, or what inhibits it, ends. ``group`` says with what it is said together.
    """

    receiver: str
    incident: str
    entity: str
    group: str
    why: str
    detail: str
    since: float
    until: float | None
    covers: list[str]
    kinds: list[str]


class Recent(msgspec.Struct):
    """What ``receiver`` was sent lately: times of the last minute's messages, and until when each group rests."""

    receiver: str
    times: list[float] = []
    groups: dict[str, float] = {}

    def sent(self, now: float, most: int, group: str, interval: float) -> None:
        """Note a message to a receiver that takes ``most`` a minute, of a group that then rests for ``interval``."""
        if most:
            self.times = [*(at for at in self.times if now - MINUTE < at <= now), now][-most:]
        self.groups = {name: until for name, until in self.groups.items() if until > now}
        if interval:
            self.groups[group] = now + interval

    def free_at(self, now: float, most: int) -> float | None:
        """When fewer than ``most`` messages will have been sent within a minute; None: that is so at ``now``."""
        lately = [at for at in self.times if now - MINUTE < at <= now]  # later ones: the clock was set back
        return lately[-most] + MINUTE if most and len(lately) >= most else None


def held_key(receiver: str, incident: str) -> str:
    """Where it is noted what waits for a receiver."""
    return f"{PREFIX}{quote(receiver, safe='')}/{quote(incident, safe='')}"


def recent_key(receiver: str) -> str:
    """Where it is noted what a receiver was sent."""
    return f"{RECENT}{quote(receiver, safe='')}"


def write(value: Held | Recent) -> bytes:
    """The stored form."""
    return msgspec.json.encode(value)


def read_held(value: bytes) -> Held:
    """A stored `Held`; StoreError where it cannot be read."""
    return read_note(value, Held, "what waits for a receiver")


def read_recent(value: bytes) -> Recent:
    """A stored `Recent`; StoreError where it cannot be read."""
    return read_note(value, Recent, "what a receiver was sent")
