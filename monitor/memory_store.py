"""A store that forgets at exit: for tests, demonstrations and drills on a copy."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace

from monitor.errors import StoreError
from monitor.model import BlockRef, Delivery
from monitor.store import BlockRecord, Commit, CoverageRange, FlowRecord, Notes, OperatorEvent, OutboxRow, ready_rows
from monitor.store_rules import (
    BLOCKS_KEPT,
    FLOW_SECONDS,
    RowKey,
    check_record_state,
    clean_delivery,
    clean_event,
    coverage_after,
    next_checkpoint,
    revived,
    row_key,
)

__all__ = ["MemoryStore"]


@dataclass(slots=True)
class _Chain:
    """What is kept of one chain; blocks by height."""

    checkpoint: BlockRef | None = None
    blocks: dict[int, BlockRecord] = field(default_factory=dict)
    flows: dict[int, list[FlowRecord]] = field(default_factory=dict)
    coverage: list[CoverageRange] = field(default_factory=list)


class MemoryStore:
    """`monitor.store.Store` in dictionaries. Nothing survives the process; the rules are those of every store."""

    def __init__(self) -> None:
        self._chains: dict[str, _Chain] = {}
        self._state: dict[bytes, bytes] = {}
        self._incidents: dict[str, bytes] = {}
        self._outbox: dict[RowKey, OutboxRow] = {}
        self._deliveries: list[Delivery] = []
        self._events: dict[str, OperatorEvent] = {}
        self._notes: dict[str, bytes] = {}

    async def open(self) -> None:
        """Nothing to check: a new store is empty."""

    async def acquire(self) -> None:
        """Nothing to lock: no other process sees this store."""

    async def aclose(self) -> None:
        """Nothing to close; what was stored stays readable."""

    async def commit(self, commit: Commit) -> None:
        """Store everything of ``commit``; StoreError (and no change) where it contradicts what is stored."""
        chain = self._chains.get(commit.chain, _Chain())
        records = [chain.blocks[ref.number] for ref in commit.disconnected if ref.number in chain.blocks]
        stored = {record.ref.number: (record.ref.hash, record.parent_hash) for record in records}
        checkpoint = next_checkpoint(commit, chain.checkpoint, stored)
        for event_id, _ in commit.effective:
            if event_id not in self._events:
                raise StoreError(f"operator event {event_id!r} is not in the store")
        self._chains[commit.chain] = chain
        chain.checkpoint = checkpoint
        self._apply_blocks(chain, commit)
        chain.coverage = coverage_after(chain.coverage, commit)
        for key, value in commit.state:
            if value is None:
                self._state.pop(key, None)
            else:
                self._state[key] = value
        self._incidents.update(commit.incidents)
        self._queue(commit.outbox)
        self._note(commit.notes)
        for event_id, block in commit.effective:
            self._events[event_id] = replace(self._events[event_id], effective=block)

    def _apply_blocks(self, chain: _Chain, commit: Commit) -> None:
        for ref in commit.disconnected:
            del chain.blocks[ref.number]
            chain.flows.pop(ref.number, None)
        for record in commit.connected:
            number = record.ref.number
            chain.blocks[number] = replace(record, flows=())
            if record.flows:
                chain.flows[number] = sorted(record.flows, key=lambda flow: flow.transfer_index)
        if commit.final is None:
            return
        for number, record in list(chain.blocks.items()):
            if number <= commit.final - BLOCKS_KEPT:
                del chain.blocks[number]
            elif number <= commit.final:
                chain.blocks[number] = replace(record, undo=())

    def _queue(self, rows: Sequence[OutboxRow]) -> None:
        for row in rows:
            self._outbox.setdefault(row_key(row), row)

    def _note(self, changes: Notes) -> None:
        for key, value in changes:
            if value is None:
                self._notes.pop(key, None)
            else:
                self._notes[key] = value

    async def checkpoint(self, chain: str) -> BlockRef | None:
        """The last block that is wholly stored; None is "never seen"."""
        return self._chains[chain].checkpoint if chain in self._chains else None

    async def block(self, chain: str, number: int) -> BlockRecord | None:
        """A stored block with its undo; None where it is not, or no more, known."""
        return self._chains[chain].blocks.get(number) if chain in self._chains else None

    async def state(self, prefix: bytes = b"") -> AsyncIterator[tuple[bytes, bytes]]:
        """The state as it is at the call of the first item, in key order."""
        for item in sorted(item for item in self._state.items() if item[0].startswith(prefix)):
            yield item

    async def flows(
        self, wallet: str, chain: str, counterparty: str | None = None, since: int = 0, until: int | None = None
    ) -> Sequence[FlowRecord]:
        """Kept flows in chain order; ``since`` inclusive, ``until`` exclusive, UTC seconds."""
        by_block = self._chains[chain].flows if chain in self._chains else {}
        return [
            flow
            for number in sorted(by_block)
            for flow in by_block[number]
            if flow.wallet == wallet
            and (counterparty is None or flow.counterparty == counterparty)
            and flow.timestamp >= since
            and (until is None or flow.timestamp < until)
        ]

    async def incidents(self) -> Sequence[bytes]:
        """Every incident as JSON, oldest first."""
        return list(self._incidents.values())

    async def incident(self, incident_id: str) -> bytes | None:
        """One incident as JSON."""
        return self._incidents.get(incident_id)

    async def say(self, event: OperatorEvent) -> None:
        """Record what a person said; an id that is already there stays as it is."""
        self._events.setdefault(event.id, clean_event(event))

    async def said(self, *, pending: bool) -> Sequence[OperatorEvent]:
        """What people said, in order of insertion; ``pending`` leaves out what is in force."""
        return [event for event in self._events.values() if not pending or event.effective is None]

    async def enqueue(self, rows: Sequence[OutboxRow]) -> None:
        """Queue alerts that belong to no block; a row that is already there stays as it is."""
        self._queue(rows)

    async def due(self, now: float, limit: int = 100) -> Sequence[OutboxRow]:
        """Rows to attempt at ``now``, by (queued_at, order of insertion)."""
        rows = [row for row in self._outbox.values() if row.state == "due" and row.next_at <= now]
        return sorted(rows, key=lambda row: row.queued_at)[:limit]

    async def next_due(self) -> float | None:
        """The earliest ``next_at`` of rows still due; None where nothing waits."""
        return min((row.next_at for row in self._outbox.values() if row.state == "due"), default=None)

    async def ready(self, destination: tuple[str, str], now: float, limit: int = 100) -> Sequence[OutboxRow]:
        """Rows to attempt at ``destination``: urgent incidents first, then by age."""
        return ready_rows(sorted(self._due_at(destination), key=lambda row: row.queued_at), now)[:limit]

    async def next_ready(self, destination: tuple[str, str], after: float) -> float | None:
        """The earliest ``next_at`` later than ``after`` of a row still due at ``destination``; None: there is none."""
        return min((row.next_at for row in self._due_at(destination) if row.next_at > after), default=None)

    async def destinations(self) -> Sequence[tuple[str, str]]:
        """Every destination that rows are still due for."""
        return sorted({(row.receiver, row.channel) for row in self._outbox.values() if row.state == "due"})

    def _due_at(self, destination: tuple[str, str]) -> list[OutboxRow]:
        rows = self._outbox.values()
        return [row for row in rows if row.state == "due" and (row.receiver, row.channel) == destination]

    async def record(self, delivery: Delivery, *, state: str, next_at: float = 0.0) -> None:
        """Record an attempt; StoreError where its row is not in the outbox."""
        check_record_state(state)
        delivery = clean_delivery(delivery)
        row = self._outbox.get(row_key(delivery))
        if row is None:
            raise StoreError(f"alert {delivery.alert_id!r} to {delivery.receiver!r} is not in the outbox")
        external_id = delivery.external_id if delivery.external_id is not None else row.external_id
        self._outbox[row_key(row)] = replace(
            row, state=state, next_at=next_at, attempts=delivery.attempt, external_id=external_id
        )
        self._deliveries.append(delivery)

    async def outbox(
        self, *, state: str | None = None, alert_id: str | None = None, incident_id: str | None = None
    ) -> Sequence[OutboxRow]:
        """Outbox rows in order of insertion."""
        return [
            row
            for row in self._outbox.values()
            if (state is None or row.state == state)
            and (alert_id is None or row.alert_id == alert_id)
            and (incident_id is None or row.incident_id == incident_id)
        ]

    async def revive(self, keys: Sequence[RowKey], now: float) -> int:
        """Make dead rows due again, as if queued at ``now`` and never tried; how many were dead."""
        dead = [key for key in dict.fromkeys(keys) if key in self._outbox and self._outbox[key].state == "dead"]
        for key in dead:
            self._outbox[key] = replace(self._outbox[key], **revived(now))
        return len(dead)

    async def deliveries(self, alert_id: str | None = None) -> Sequence[Delivery]:
        """Recorded attempts, oldest first."""
        return [delivery for delivery in self._deliveries if alert_id is None or delivery.alert_id == alert_id]

    async def notes(self, prefix: str = "") -> Sequence[tuple[str, bytes]]:
        """What is kept for alerts, in key order."""
        return sorted(item for item in self._notes.items() if item[0].startswith(prefix))

    async def note(self, changes: Notes, outbox: Sequence[OutboxRow] = (), expect: Notes = ()) -> bool:
        """Change notes and queue alerts, where everything is as ``expect`` says; whether that was so."""
        if any(self._notes.get(key) != value for key, value in expect):
            return False
        self._note(changes)
        self._queue(outbox)
        return True

    async def coverage(self, chain: str | None = None) -> Sequence[CoverageRange]:
        """Scanned ranges by chain, lowest first."""
        names = sorted(self._chains) if chain is None else [chain] if chain in self._chains else []
        return [part for name in names for part in self._chains[name].coverage]

    async def prune(self, now: float) -> int:
        """Forget flows older than 400 days at wall clock ``now``; how many went."""
        gone = 0
        for chain in self._chains.values():
            for number, flows in list(chain.flows.items()):
                kept = [flow for flow in flows if flow.timestamp >= now - FLOW_SECONDS]
                gone += len(flows) - len(kept)
                if kept:
                    chain.flows[number] = kept
                else:
                    del chain.flows[number]
        return gone
