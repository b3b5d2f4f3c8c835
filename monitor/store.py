"""The store protocol: one atomic `commit` a block (or a run of blocks), and what is read back.

The engine's state is opaque here: sorted pairs of key and value bytes. A value of None deletes the key. A block's undo
is the same kind of delta, inverted: putting it back gives the state before the block.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar, runtime_checkable

import msgspec

from monitor.errors import StoreError
from monitor.model import BlockRef, Delivery, Severity

__all__ = [
    "BlockRecord",
    "Commit",
    "CoverageRange",
    "Delta",
    "FlowRecord",
    "Notes",
    "OperatorEvent",
    "OrderedOutbox",
    "OutboxRow",
    "Store",
    "read_note",
    "ready_rows",
]

Delta = tuple[tuple[bytes, bytes | None], ...]
"""State changes: (key, new value), None for "the key goes"."""

Notes = Sequence[tuple[str, bytes | None]]
"""What is kept for alerts (silences, what is held, who was told): (key, value), None for "the key goes"."""

T = TypeVar("T")


def read_note(value: bytes, kind: type[T], what: str) -> T:
    """A note's value as what it is, a msgspec struct in JSON; StoreError names ``what`` cannot be read."""
    try:
        return msgspec.json.decode(value, type=kind)
    except msgspec.MsgspecError as error:
        raise StoreError(f"{what} cannot be read ({error}): written by another version?") from None


@dataclass(frozen=True, slots=True)
class FlowRecord:
    """A flow as it is kept (400 days)."""

    chain: str
    block_number: int
    tx: str
    transfer_index: int
    wallet: str
    direction: int
    asset: str
    counterparty: str
    value: int  # base units
    timestamp: int
    initiator: str | None = None


@dataclass(frozen=True, slots=True)
class BlockRecord:
    """A connected block: its place in the chain, how to undo it, and the flows in it."""

    ref: BlockRef
    parent_hash: str
    timestamp: int
    undo: Delta = ()
    flows: tuple[FlowRecord, ...] = ()


@dataclass(frozen=True, slots=True)
class CoverageRange:
    """Blocks ``first..last`` (inclusive) of ``chain`` were scanned through ``source``."""

    chain: str
    first: int
    last: int
    source: str
    blind_spots: tuple[str, ...] = ()
    undecoded: int = 0


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """One alert on its way to one channel of one receiver. ``body`` is frozen: every attempt sends these bytes."""

    alert_id: str
    receiver: str
    channel: str  # unique within the receiver, "0:webhook" for example
    body: bytes
    queued_at: float  # wall clock, UTC seconds
    kind: str = ""  # webhook type, "incident.opened"
    incident_id: str = ""
    severity: int = 0
    attempts: int = 0
    next_at: float = 0.0  # wall clock, UTC seconds; 0 is at once
    state: str = "due"  # due | done | dead
    external_id: str | None = None
    reply_to: str | None = None  # not stored: ``external_id`` of the incident's first message at this destination


@dataclass(frozen=True, slots=True)
class OperatorEvent:
    """What a person said, and from which block on it holds (None: not yet in force)."""

    id: str
    kind: str  # acknowledge | confirm | false-alarm | resolve | reopen | note
    incident_id: str
    by: str
    comment: str
    at: float  # wall clock, UTC seconds
    effective: BlockRef | None = None


@dataclass(frozen=True, slots=True)
class Commit:
    """Everything that one block, or one run of blocks, changes: stored wholly or not at all.

    Order of application: ``disconnected`` (tip first), ``connected`` (lowest first), then the rest. After it the
    chain's checkpoint is the last connected block, else the parent of the last disconnected one (``tip``).

    ``base`` is for blocks that were left out: the stored block below all of ``disconnected`` from which it goes on.
    """

    chain: str
    tip: BlockRef | None
    disconnected: tuple[BlockRef, ...] = ()
    connected: tuple[BlockRecord, ...] = ()
    state: Delta = ()
    incidents: tuple[tuple[str, bytes], ...] = ()  # (incident id, JSON)
    outbox: tuple[OutboxRow, ...] = ()
    coverage: tuple[CoverageRange, ...] = ()
    effective: tuple[tuple[str, BlockRef | None], ...] = ()  # operator events that took effect: (id, at which block)
    final: int | None = None  # undo of blocks at or below this height may go
    base: BlockRef | None = None
    notes: tuple[tuple[str, bytes | None], ...] = ()  # the last of a key counts


class Store(Protocol):
    """Where everything that must survive a kill lives. Any failure raises `StoreError`."""

    async def open(self) -> None:
        """Create or check the layout; a newer or corrupt store raises `StoreError` that says what to do."""

    async def aclose(self) -> None:
        """Flush and close; calling it twice is fine."""

    async def commit(self, commit: Commit) -> None:
        """Store everything of ``commit``, or nothing."""

    async def checkpoint(self, chain: str) -> BlockRef | None:
        """The last block that is wholly stored; None is "never seen", not "zero"."""

    async def block(self, chain: str, number: int) -> BlockRecord | None:
        """A stored block with its undo (``flows`` left empty); None where it is not, or no more, known."""

    def state(self, prefix: bytes = b"") -> AsyncIterator[tuple[bytes, bytes]]:
        """The engine's state, in key order."""
        ...

    async def flows(
        self, wallet: str, chain: str, counterparty: str | None = None, since: int = 0, until: int | None = None
    ) -> Sequence[FlowRecord]:
        """Kept flows in chain order; ``since`` inclusive, ``until`` exclusive, UTC seconds."""

    async def incidents(self) -> Sequence[bytes]:
        """Every incident as JSON, oldest first (by insertion of its id)."""

    async def incident(self, incident_id: str) -> bytes | None:
        """One incident as JSON."""

    async def say(self, event: OperatorEvent) -> None:
        """Record what a person said; a running monitor takes it up at its next block."""

    async def said(self, *, pending: bool) -> Sequence[OperatorEvent]:
        """What people said, oldest first; ``pending`` leaves out what is already in force."""

    async def enqueue(self, rows: Sequence[OutboxRow]) -> None:
        """Queue alerts that belong to no block (monitor.blind, drills). A row that is already there stays as it is."""

    async def due(self, now: float, limit: int = 100) -> Sequence[OutboxRow]:
        """Rows to attempt at wall clock ``now``, oldest first: by (queued_at, order of insertion)."""

    async def next_due(self) -> float | None:
        """The earliest ``next_at`` of rows still due; None where nothing waits."""

    async def record(self, delivery: Delivery, *, state: str, next_at: float = 0.0) -> None:
        """Record an attempt: the row takes ``state`` (due, done, dead), ``next_at`` and the attempt's number."""

    async def outbox(
        self, *, state: str | None = None, alert_id: str | None = None, incident_id: str | None = None
    ) -> Sequence[OutboxRow]:
        """Outbox rows in order of insertion."""

    async def revive(self, keys: Sequence[tuple[str, str, str]], now: float) -> int:
        """Make dead rows due again, as if queued at wall clock ``now`` and never tried; how many were dead.

        ``keys`` are (alert id, receiver, channel).
        """

    async def deliveries(self, alert_id: str | None = None) -> Sequence[Delivery]:
        """Recorded attempts, oldest first."""

    async def notes(self, prefix: str = "") -> Sequence[tuple[str, bytes]]:
        """What is kept for alerts, in key order."""

    async def note(self, changes: Notes, outbox: Sequence[OutboxRow] = (), expect: Notes = ()) -> bool:
        """Change notes and queue alerts in one transaction.

        False, and nothing is done, where a key of ``expect`` does not hold that value (None: where it is there).
        """

    async def coverage(self, chain: str | None = None) -> Sequence[CoverageRange]:
        """Scanned ranges, merged where they touch and agree in source and blind spots, lowest first."""


@runtime_checkable
class OrderedOutbox(Protocol):
    """What a store may offer beside `Store`: the outbox by destination, in order, at a cost that no backlog raises.

    A row is ready where its time has come, and that of every older row of the same incident that is still due on the
    same destination (receiver, channel). Rows of no incident (``incident_id`` empty) wait for none. Older is by
    (queued_at, order of insertion). Without it, `alerts.heads` finds ready rows through `Store.due`.
    """

    async def ready(self, destination: tuple[str, str], now: float, limit: int = 100) -> Sequence[OutboxRow]:
        """Rows to attempt at wall clock ``now``, one after the other within an incident, none of it left out.

        Incidents of which a critical row is ready come first, however long the rest of the queue; else the oldest.
        """

    async def next_ready(self, destination: tuple[str, str], after: float) -> float | None:
        """The earliest ``next_at`` later than ``after`` of a row still due there; None where there is none."""

    async def destinations(self) -> Sequence[tuple[str, str]]:
        """Every destination that rows are still due for, sorted."""


def ready_rows(rows: Iterable[OutboxRow], now: float) -> list[OutboxRow]:
    """Of all rows still due on one destination, oldest first, those that are ready (`OrderedOutbox.ready`), in order.

    >>> late = OutboxRow("a", "soc", "0:x", b"", 1.0, incident_id="i", next_at=9.0)
    >>> behind = OutboxRow("b", "soc", "0:x", b"", 2.0, incident_id="i", severity=4)
    >>> low, urgent = (OutboxRow(f"c{n}", "soc", "0:x", b"", 3.0, severity=n) for n in (1, 4))
    >>> [row.alert_id for row in ready_rows([late, behind, low, urgent], 5.0)]
    ['c4', 'c1']
    """
    found, waiting, urgent = [], set(), set()
    for row in rows:
        if row.next_at > now:
            waiting.add(row.incident_id)
        elif not row.incident_id or row.incident_id not in waiting:
            found.append(row)
            if row.severity >= Severity.CRITICAL:
                urgent.add(row.incident_id or row.alert_id)
    return sorted(found, key=lambda row: (row.incident_id or row.alert_id) not in urgent)  # stable: else by age
