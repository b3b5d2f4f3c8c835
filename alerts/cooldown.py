"""Who asked for a pause, and when: at most one request an entity and destination in a while, whatever happens.

Kept as notes of the store. ``breaker/claim/ENTITY/PLACE`` says which row asks or asked: it is claimed before the
request goes out and confirmed when it was accepted, each only where nobody else was there meanwhile.
``breaker/log/TIME-ID`` are the decisions, the last thousand.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from urllib.parse import quote

import msgspec

from monitor.store import Notes, Store, read_note

__all__ = ["Claim", "Cooldown", "Decision", "Turn"]

LOG = "breaker/log/"
LOG_LENGTH = 1000
TRIM_EVERY = 50  # decisions between two counts of the log


class Claim(msgspec.Struct, frozen=True):
    """The request of an entity that is under way (``accepted`` False) or was accepted; times are UTC seconds."""

    row: str  # alert, receiver and channel
    at: float
    until: float  # before this no other request goes out
    accepted: bool = False


class Decision(msgspec.Struct, frozen=True):
    """One decision, as it is kept. ``what`` is a word: sent, refused, cooling, expired, dry-run, not-asked, ..."""

    at: float
    alert: str
    entity: str
    incident: str
    what: str
    why: str


class Turn(Enum):
    """Whether a request may go out now."""

    OURS = "ours"
    COOLING = "cooling"
    TAKEN = "taken"  # another request is under way


class _Memory:
    """Notes for as long as the process lives, where no store is attached."""

    def __init__(self) -> None:
        self._kept: dict[str, bytes] = {}

    async def notes(self, prefix: str = "") -> Sequence[tuple[str, bytes]]:
        return sorted((key, value) for key, value in self._kept.items() if key.startswith(prefix))

    async def note(self, changes: Notes, *, expect: Notes = ()) -> bool:
        if any(self._kept.get(key) != value for key, value in expect):
            return False
        for key, value in changes:
            if value is None:
                self._kept.pop(key, None)
            else:
                self._kept[key] = value
        return True


class Cooldown:
    """The claims and the log of one destination.

    Parameters
    ----------
    place : tells this destination from others, so that each gets its own request
    """

    def __init__(self, place: str) -> None:
        self._place = place
        self._store: Store | _Memory = _Memory()
        self._decisions = 0

    def attach(self, store: Store) -> None:
        """Keep everything in ``store`` from now on."""
        self._store = store

    async def claim(self, entity: str, row: str, now: float, until: float) -> Turn:
        """Take the turn of ``entity`` for ``row`` until ``until`` (wall clock, UTC seconds), if it is free."""
        key = self._key(entity)
        while True:
            held = await self._held(key)
            known = None if held is None else read_note(held, Claim, "a turn of a breaker")
            if known is not None and known.row == row:
                return Turn.OURS  # an earlier attempt; the receiver drops what it has done already
            if known is not None and now < known.until:
                return Turn.COOLING if known.accepted else Turn.TAKEN
            mine = msgspec.json.encode(Claim(row, now, until))
            if await self._store.note([(key, mine)], expect=[(key, held)]):
                return Turn.OURS

    async def accepted(self, entity: str, row: str, now: float, until: float) -> None:
        """The request of ``row`` was taken: none follows before ``until``."""
        await self._replace(entity, row, msgspec.json.encode(Claim(row, now, until, accepted=True)))

    async def free(self, entity: str, row: str) -> None:
        """The request of ``row`` was refused for good: the next may go out."""
        await self._replace(entity, row, None)

    async def log(self, decision: Decision) -> None:
        """Keep a decision."""
        changes: list[tuple[str, bytes | None]] = []
        if self._decisions % TRIM_EVERY == 0:
            kept = await self._store.notes(LOG)
            changes = [(key, None) for key, _ in kept[: max(0, len(kept) + TRIM_EVERY - LOG_LENGTH)]]
        self._decisions += 1
        key = f"{LOG}{decision.at:017.6f}-{quote(decision.alert, safe='')}"
        await self._store.note([*changes, (key, msgspec.json.encode(decision))])

    async def _replace(self, entity: str, row: str, value: bytes | None) -> None:
        key = self._key(entity)
        held = await self._held(key)
        if held is not None and read_note(held, Claim, "a turn of a breaker").row == row:
            await self._store.note([(key, value)], expect=[(key, held)])

    async def _held(self, key: str) -> bytes | None:
        return next((value for kept, value in await self._store.notes(key) if kept == key), None)

    def _key(self, entity: str) -> str:
        return f"breaker/claim/{quote(entity, safe='')}/{self._place}"
