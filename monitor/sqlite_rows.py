"""The rows of the SQLite store: one function a write, and rows back to values. Runs inside a transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from monitor.errors import StoreError
from monitor.model import BlockRef, Delivery, Outcome, Reason
from monitor.store import BlockRecord, Commit, CoverageRange, Delta, FlowRecord, Notes, OperatorEvent, OutboxRow
from monitor.store_rules import BLOCKS_KEPT, coverage_after, coverage_floor, next_checkpoint, revived

__all__ = [
    "DELIVERY_COLUMNS",
    "EVENT_COLUMNS",
    "FLOW_COLUMNS",
    "OUTBOX_COLUMNS",
    "delivery_of",
    "event_of",
    "flow_of",
    "load_block",
    "load_checkpoint",
    "load_coverage",
    "outbox_of",
    "write_commit",
    "write_delivery",
    "write_event",
    "write_notes",
    "write_outbox",
    "write_revived",
]

Connection = sqlite3.Connection
Row = tuple[Any, ...]

FLOW_COLUMNS = (
    "chain, block_number, tx, transfer_index, wallet, direction, asset, counterparty, value, timestamp, initiator"
)
OUTBOX_COLUMNS = (
    "alert_id, receiver, channel, body, queued_at, kind, incident_id, severity, attempts, next_at, state, external_id"
)
EVENT_COLUMNS = "id, kind, incident_id, author, comment, at, chain, number, hash"
DELIVERY_COLUMNS = "alert_id, receiver, channel, attempt, outcome, reason, at, external_id, detail"
_undo_decoder = msgspec.msgpack.Decoder(tuple[tuple[bytes, bytes | None], ...])


def write_commit(connection: Connection, commit: Commit) -> None:
    """Write everything of ``commit``; the caller's transaction makes it whole or nothing."""
    chain = commit.chain
    current = load_checkpoint(connection, chain)
    checkpoint = next_checkpoint(commit, current, _stored_blocks(connection, commit))
    _write_blocks(connection, commit)
    _write_state(connection, commit.state)
    for incident_id, data in commit.incidents:
        connection.execute(
            "INSERT INTO incident (id, data) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET data = excluded.data",
            (incident_id, data),
        )
    write_outbox(connection, commit.outbox)
    write_notes(connection, commit.notes)
    _write_coverage(connection, commit)
    for event_id, block in commit.effective:
        _write_effective(connection, event_id, block)
    if checkpoint is None:
        connection.execute("DELETE FROM checkpoint WHERE chain = ?", (chain,))
    elif checkpoint != current:
        row = (chain, checkpoint.number, checkpoint.hash)
        connection.execute("INSERT OR REPLACE INTO checkpoint (chain, number, hash) VALUES (?, ?, ?)", row)


def load_checkpoint(connection: Connection, chain: str) -> BlockRef | None:
    """The chain's checkpoint, or None."""
    row = connection.execute("SELECT number, hash FROM checkpoint WHERE chain = ?", (chain,)).fetchone()
    return None if row is None else BlockRef(chain, *row)


def load_block(connection: Connection, chain: str, number: int) -> BlockRecord | None:
    """A stored block with its undo, or None."""
    row = connection.execute(
        "SELECT hash, parent_hash, timestamp, delta FROM block LEFT JOIN undo USING (chain, number)"
        " WHERE chain = ? AND number = ?",
        (chain, number),
    ).fetchone()
    if row is None:
        return None
    hash_, parent_hash, timestamp, delta = row
    undo: Delta = () if delta is None else _undo_decoder.decode(delta)
    return BlockRecord(BlockRef(chain, number, hash_), parent_hash, timestamp, undo)


def load_coverage(connection: Connection, chain: str | None, floor: int | None = None) -> list[CoverageRange]:
    """Ranges (of one chain) that end at ``floor`` or later, by chain, lowest first."""
    rows = connection.execute(
        "SELECT chain, first, last, source, blind_spots, undecoded FROM coverage"
        " WHERE (?1 IS NULL OR chain = ?1) AND (?2 IS NULL OR last >= ?2)"
        " ORDER BY chain, first, last, source, blind_spots",
        (chain, floor),
    )
    return [
        CoverageRange(name, first, last, source, tuple(msgspec.json.decode(spots, type=list[str])), undecoded)
        for name, first, last, source, spots, undecoded in rows
    ]


def _stored_blocks(connection: Connection, commit: Commit) -> dict[int, tuple[str, str]]:
    found: dict[int, tuple[str, str]] = {}
    for ref in commit.disconnected:
        row = connection.execute(
            "SELECT hash, parent_hash FROM block WHERE chain = ? AND number = ?", (commit.chain, ref.number)
        ).fetchone()
        if row is not None:
            found[ref.number] = row
    return found


def _write_blocks(connection: Connection, commit: Commit) -> None:
    chain = commit.chain
    for ref in commit.disconnected:
        connection.execute("DELETE FROM block WHERE chain = ? AND number = ?", (chain, ref.number))
        connection.execute("DELETE FROM undo WHERE chain = ? AND number = ?", (chain, ref.number))
        connection.execute("DELETE FROM flow WHERE chain = ? AND block_number = ?", (chain, ref.number))
    for record in commit.connected:
        number = record.ref.number
        connection.execute(
            "INSERT INTO block (chain, number, hash, parent_hash, timestamp) VALUES (?, ?, ?, ?, ?)",
            (chain, number, record.ref.hash, record.parent_hash, record.timestamp),
        )
        connection.execute(
            "INSERT INTO undo (chain, number, delta) VALUES (?, ?, ?)",
            (chain, number, msgspec.msgpack.encode(record.undo)),
        )
        _write_flows(connection, record.flows)
    if commit.final is not None:
        connection.execute("DELETE FROM undo WHERE chain = ? AND number <= ?", (chain, commit.final))
        connection.execute("DELETE FROM block WHERE chain = ? AND number <= ?", (chain, commit.final - BLOCKS_KEPT))


def _write_flows(connection: Connection, flows: Iterable[FlowRecord]) -> None:
    connection.executemany(
        f"INSERT INTO flow (position, {FLOW_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            (
                position, flow.chain, flow.block_number, flow.tx, flow.transfer_index, flow.wallet,
                int(flow.direction), flow.asset, flow.counterparty, str(flow.value), flow.timestamp, flow.initiator,
            )
            for position, flow in enumerate(flows)
        ),
    )  # fmt: skip


def flow_of(row: Row) -> FlowRecord:
    """A row of `FLOW_COLUMNS` as a value."""
    chain, number, tx, index, wallet, direction, asset, counterparty, value, timestamp, initiator = row
    return FlowRecord(
        chain, number, tx, index, wallet, direction, asset, counterparty, int(value), timestamp, initiator
    )


def _write_state(connection: Connection, delta: Delta) -> None:
    last = dict(delta)
    connection.executemany("DELETE FROM state WHERE key = ?", ((key,) for key, value in last.items() if value is None))
    connection.executemany(
        "INSERT INTO state (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        ((key, value) for key, value in sorted(last.items(), key=lambda item: item[0]) if value is not None),
    )


def _write_coverage(connection: Connection, commit: Commit) -> None:
    floor = coverage_floor(commit)
    if floor is None:
        return
    before = load_coverage(connection, commit.chain, floor)
    after = coverage_after(before, commit)
    if after == before:
        return
    connection.execute("DELETE FROM coverage WHERE chain = ? AND last >= ?", (commit.chain, floor))
    connection.executemany(
        "INSERT INTO coverage (chain, first, last, source, blind_spots, undecoded) VALUES (?, ?, ?, ?, ?, ?)",
        (
            (part.chain, part.first, part.last, part.source, _json(part.blind_spots), part.undecoded)
            for part in after
        ),
    )


def _json(words: Sequence[str]) -> str:
    return msgspec.json.encode(words).decode()


def _write_effective(connection: Connection, event_id: str, block: BlockRef | None) -> None:
    where = (None, None, None) if block is None else (block.chain, block.number, block.hash)
    cursor = connection.execute("UPDATE event SET chain = ?, number = ?, hash = ? WHERE id = ?", (*where, event_id))
    if cursor.rowcount != 1:
        raise StoreError(f"operator event {event_id!r} is not in the store")


def write_event(connection: Connection, event: OperatorEvent) -> None:
    """Add an operator event; an id that is already there stays as it is."""
    block = event.effective
    where = (None, None, None) if block is None else (block.chain, block.number, block.hash)
    connection.execute(
        f"INSERT INTO event ({EVENT_COLUMNS})"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
        (event.id, event.kind, event.incident_id, event.by, event.comment, event.at, *where),
    )


def event_of(row: Row) -> OperatorEvent:
    """A row of `EVENT_COLUMNS` as a value."""
    name, kind, incident_id, by, comment, at, chain, number, block_hash = row
    effective = None if chain is None else BlockRef(chain, number, block_hash)
    return OperatorEvent(name, kind, incident_id, by, comment, at, effective)


def write_outbox(connection: Connection, rows: Iterable[OutboxRow]) -> None:
    """Queue rows; one that is already there stays as it is."""
    connection.executemany(
        f"INSERT INTO outbox ({OUTBOX_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (alert_id, receiver, channel) DO NOTHING",
        (
            (
                row.alert_id, row.receiver, row.channel, row.body, row.queued_at, row.kind, row.incident_id,
                int(row.severity), row.attempts, row.next_at, row.state, row.external_id,
            )
            for row in rows
        ),
    )  # fmt: skip


def write_notes(connection: Connection, changes: Notes) -> None:
    """Change notes; the last of a key counts."""
    for key, value in dict(changes).items():
        if value is None:
            connection.execute("DELETE FROM note WHERE key = ?", (key,))
        else:
            connection.execute("INSERT OR REPLACE INTO note (key, value) VALUES (?, ?)", (key, value))


def write_revived(connection: Connection, keys: Iterable[tuple[str, str, str]], now: float) -> int:
    """Make dead rows due again; how many were dead."""
    changed = revived(now)
    names = ", ".join(f"{name} = ?" for name in changed)
    query = f"UPDATE outbox SET {names} WHERE alert_id = ? AND receiver = ? AND channel = ? AND state = 'dead'"
    return sum(connection.execute(query, (*changed.values(), *key)).rowcount for key in dict.fromkeys(keys))


def outbox_of(row: Row) -> OutboxRow:
    """A row of `OUTBOX_COLUMNS` as a value."""
    return OutboxRow(*row)


def write_delivery(connection: Connection, delivery: Delivery, state: str, next_at: float) -> None:
    """Record an attempt and move its outbox row; StoreError where there is no such row."""
    key = (delivery.alert_id, delivery.receiver, delivery.channel)
    cursor = connection.execute(
        "UPDATE outbox SET state = ?, next_at = ?, attempts = ?, external_id = coalesce(?, external_id)"
        " WHERE alert_id = ? AND receiver = ? AND channel = ?",
        (state, next_at, delivery.attempt, delivery.external_id, *key),
    )
    if cursor.rowcount != 1:
        raise StoreError(f"alert {delivery.alert_id!r} to {delivery.receiver!r} is not in the outbox")
    connection.execute(
        f"INSERT INTO delivery ({DELIVERY_COLUMNS})"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *key, delivery.attempt, str(delivery.outcome), str(delivery.reason), delivery.at,
            delivery.external_id, delivery.detail,
        ),
    )  # fmt: skip


def delivery_of(row: Row) -> Delivery:
    """A row of `DELIVERY_COLUMNS` as a value."""
    alert_id, receiver, channel, attempt, outcome, reason, at, external_id, detail = row
    return Delivery(
        alert_id, receiver, channel, attempt, Outcome(outcome), Reason(reason), at, external_id, detail
    )
