"""A commit as Redis commands: what to read first, and what one MULTI/EXEC then writes. No I/O here.

Redis runs the other commands of a transaction even where one of them fails on a key of the wrong type, so every key
that is written is first read by a command of its own type: the failure comes before anything is written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from monitor import redis_rows as rows
from monitor.errors import StoreError
from monitor.model import BlockRef, Delivery
from monitor.redis_rows import BlockRow, Keys
from monitor.store import Commit, CoverageRange, Notes, OutboxRow
from monitor.store_rules import (
    BLOCKS_KEPT,
    RowKey,
    coverage_after,
    coverage_floor,
    next_checkpoint,
    revived,
    row_key,
)

__all__ = [
    "Before",
    "ask",
    "ask_flows",
    "ask_outbox",
    "ask_rows",
    "flow_keys",
    "read",
    "read_flows",
    "there",
    "write",
    "write_delivery",
    "write_notes",
    "write_outbox",
    "write_revived",
]

Pipe = Any
"""The client's pipeline: its types know neither bytes as field names nor queued commands."""

Placed = tuple[OutboxRow, bytes]
"""A row as it will be stored, and its place in the order of insertion."""


@dataclass(slots=True)
class Before:
    """What is stored before a commit, as far as it matters to it."""

    checkpoint: BlockRef | None
    blocks: list[BlockRow]  # those to disconnect, as far as they are stored
    coverage: list[CoverageRange]
    incidents: dict[str, bytes]  # place by id
    outbox: set[bytes]  # fields
    events: dict[str, bytes]
    flows: dict[str, list[bytes]]  # members to remove by key


def ask(pipe: Pipe, keys: Keys, commit: Commit) -> None:
    """Queue the reads whose answers `read` takes."""
    chain = commit.chain
    pipe.hget(keys.checkpoint, rows.field(chain))
    for ref in commit.disconnected:
        pipe.zrangebyscore(keys.blocks(chain), ref.number, ref.number)
    floor = coverage_floor(commit)
    pipe.zrangebyscore(keys.coverage(chain), *(("(0", "0") if floor is None else (floor, "+inf")))
    _ask_fields(pipe, keys.incidents, (rows.field(name) for name, _ in commit.incidents))
    _ask_fields(pipe, keys.outbox, (rows.outbox_field(row_key(row)) for row in commit.outbox))
    _ask_fields(pipe, keys.events, (rows.field(name) for name, _ in commit.effective))
    pipe.zcard(keys.due)
    for key in (keys.blocks(chain), keys.undo(chain), *sorted({*_flow_keys(keys, commit)})):
        pipe.zcard(key)
    for key in (keys.chains, keys.wallets, *_sets(keys, commit.outbox)):
        pipe.scard(key)


def _sets(keys: Keys, outbox: Iterable[OutboxRow]) -> list[str]:
    """The sets that name outbox rows: by alert, and by incident where there is one."""
    names = {keys.alert(row.alert_id) for row in outbox}
    return sorted(names | {keys.messages(row.incident_id) for row in outbox if row.incident_id})


def _flow_keys(keys: Keys, commit: Commit) -> Iterator[str]:
    for record in commit.connected:
        for flow in record.flows:
            yield keys.flows(flow.chain, flow.wallet)


def _ask_fields(pipe: Pipe, key: str, names: Iterable[bytes]) -> None:
    pipe.hmget(key, [*names, rows.MARKER])  # never an empty list of fields


def read(commit: Commit, answers: Sequence[Any]) -> Before:
    """What the answers to `ask` say."""
    rest = iter(answers)
    found = next(rest)
    checkpoint = None if found is None else rows.unpack_ref(commit.chain, found)
    blocks = [rows.unpack_block(member) for _ in commit.disconnected for member in next(rest)]
    coverage = [rows.unpack_coverage(commit.chain, member) for member in next(rest)]
    incidents, outbox, events = next(rest), next(rest), next(rest)
    return Before(
        checkpoint,
        blocks,
        coverage,
        {name: rows.split_place(old)[0] for name, old in _found([name for name, _ in commit.incidents], incidents)},
        there(commit.outbox, outbox),
        dict(_found([name for name, _ in commit.effective], events)),
        {},
    )


def _found(names: Sequence[str], values: Sequence[bytes | None]) -> list[tuple[str, bytes]]:
    """(name, stored value) of those that are there; the last value is the marker."""
    return [(name, old) for name, old in zip(names, values[:-1], strict=True) if old is not None]


def there(outbox: Sequence[OutboxRow], values: Sequence[bytes | None]) -> set[bytes]:
    """The fields of the rows that are in the outbox already, from the answer to `ask_outbox`."""
    pairs = zip(outbox, values[:-1], strict=True)
    return {rows.outbox_field(row_key(row)) for row, old in pairs if old is not None}


def flow_keys(keys: Keys, chain: str, blocks: Iterable[BlockRow]) -> list[tuple[str, BlockRow]]:
    """Where flows of the blocks to disconnect are: (key, block), one a read of `ask_flows`."""
    return [(keys.flows(chain, wallet), block) for block in blocks for wallet in block.wallets]


def ask_flows(pipe: Pipe, asked: Iterable[tuple[str, BlockRow]]) -> None:
    """Queue the reads whose answers `read_flows` takes."""
    for key, block in asked:
        pipe.zrangebyscore(key, block.earliest, block.latest)


def read_flows(asked: Sequence[tuple[str, BlockRow]], answers: Sequence[list[bytes]]) -> dict[str, list[bytes]]:
    """The stored flows of the blocks to disconnect, by key: other blocks may have the same timestamps."""
    found: dict[str, list[bytes]] = {}
    for (key, block), members in zip(asked, answers, strict=True):
        gone = [member for member in members if rows.block_of_flow(member) == block.number]
        if gone:
            found.setdefault(key, []).extend(gone)
    return found


def write(pipe: Pipe, keys: Keys, commit: Commit, before: Before, revision: int) -> list[Placed]:
    """Queue everything that ``commit`` writes, and give the rows; StoreError where it contradicts what is stored."""
    chain = commit.chain
    stored = {block.number: (block.hash, block.parent_hash) for block in before.blocks}
    checkpoint = next_checkpoint(commit, before.checkpoint, stored)
    pipe.sadd(keys.chains, chain)
    if checkpoint is None:
        pipe.hdel(keys.checkpoint, rows.field(chain))
    else:
        pipe.hset(keys.checkpoint, rows.field(chain), rows.pack_ref(checkpoint))
    _write_blocks(pipe, keys, commit, before)
    _write_state(pipe, keys, commit)
    _write_coverage(pipe, keys, commit, before)
    places = dict(before.incidents)
    for number, (name, data) in enumerate(commit.incidents):
        at = places.setdefault(name, rows.place(revision, number))
        pipe.hset(keys.incidents, rows.field(name), at + data)
    queued = write_outbox(pipe, keys, commit.outbox, before.outbox, revision)
    write_notes(pipe, keys, commit.notes)
    for name, block in commit.effective:
        if name not in before.events:
            raise StoreError(f"operator event {name!r} is not in the store")
        at, packed = rows.split_place(before.events[name])
        event = replace(rows.unpack_event(packed), effective=block)
        pipe.hset(keys.events, rows.field(name), at + rows.pack_event(event))
    return queued


def _write_blocks(pipe: Pipe, keys: Keys, commit: Commit, before: Before) -> None:
    blocks, undo = keys.blocks(commit.chain), keys.undo(commit.chain)
    for ref in commit.disconnected:
        for key in (blocks, undo):
            pipe.zremrangebyscore(key, ref.number, ref.number)
    for key, members in before.flows.items():
        pipe.zrem(key, *members)
    added: dict[str, dict[bytes, int]] = {}
    wallets: set[bytes] = set()
    for record in commit.connected:
        number = record.ref.number
        pipe.zadd(blocks, {rows.pack_block(rows.block_row(record)): number})
        pipe.zadd(undo, {rows.pack_undo(number, record.undo): number})
        for position, flow in enumerate(record.flows):
            times = added.setdefault(keys.flows(flow.chain, flow.wallet), {})
            times[rows.pack_flow(position, flow)] = flow.timestamp
            wallets.add(rows.pack_wallet(flow.chain, flow.wallet))
    if wallets:
        pipe.sadd(keys.wallets, *sorted(wallets))
    for key, members_by_time in added.items():
        pipe.zadd(key, members_by_time)
    if commit.final is not None:
        pipe.zremrangebyscore(undo, "-inf", commit.final)
        pipe.zremrangebyscore(blocks, "-inf", commit.final - BLOCKS_KEPT)


def _write_state(pipe: Pipe, keys: Keys, commit: Commit) -> None:
    last = dict(commit.state)
    kept = {rows.field(key): value for key, value in last.items() if value is not None}
    gone = [rows.field(key) for key, value in last.items() if value is None]
    if kept:
        pipe.hset(keys.state, mapping=kept)
    if gone:
        pipe.hdel(keys.state, *gone)


def _write_coverage(pipe: Pipe, keys: Keys, commit: Commit, before: Before) -> None:
    key = keys.coverage(commit.chain)
    old = {rows.pack_coverage(part): part.last for part in before.coverage}
    new = {rows.pack_coverage(part): part.last for part in coverage_after(before.coverage, commit)}
    gone = [member for member in old if member not in new]
    added = {member: last for member, last in new.items() if member not in old}
    if gone:
        pipe.zrem(key, *gone)
    if added:
        pipe.zadd(key, added)


def ask_outbox(pipe: Pipe, keys: Keys, outbox: Sequence[OutboxRow]) -> None:
    """Queue the read of which rows are there already (a list with one entry a row and one more)."""
    _ask_fields(pipe, keys.outbox, (rows.outbox_field(row_key(row)) for row in outbox))
    for key in _sets(keys, outbox):
        pipe.scard(key)


def write_outbox(
    pipe: Pipe, keys: Keys, outbox: Sequence[OutboxRow], known: set[bytes], revision: int
) -> list[Placed]:
    """Queue the rows whose fields are not ``known`` yet, and give them."""
    seen, added = set(known), []
    for number, row in enumerate(outbox):
        name = rows.outbox_field(row_key(row))
        if name in seen:
            continue
        seen.add(name)
        at = rows.place(revision, number)
        pipe.hset(keys.outbox, name, at + rows.pack_outbox(row))
        for key in _sets(keys, [row]):
            pipe.sadd(key, name)
        if row.state == "due":
            pipe.zadd(keys.due, {rows.due_member(row, at, name): row.next_at})
        added.append((row, at))
    return added


def write_notes(pipe: Pipe, keys: Keys, changes: Notes) -> None:
    """Queue changes of notes; the last of a key counts."""
    last = dict(changes)
    kept = {rows.field(key): value for key, value in last.items() if value is not None}
    gone = [rows.field(key) for key, value in last.items() if value is None]
    if kept:
        pipe.hset(keys.notes, mapping=kept)
    if gone:
        pipe.hdel(keys.notes, *gone)


def ask_rows(pipe: Pipe, keys: Keys, names: Sequence[RowKey]) -> None:
    """Queue the read of outbox rows whose answer `write_revived` takes."""
    _ask_fields(pipe, keys.outbox, map(rows.outbox_field, names))


def write_revived(pipe: Pipe, keys: Keys, values: Sequence[bytes | None], now: float) -> list[Placed]:
    """Queue that dead rows are due again, and give them. ``values`` are rows as stored, and the marker."""
    changed = []
    for value in values[:-1]:
        if value is None:
            continue
        at, packed = rows.split_place(value)
        row = rows.unpack_outbox(packed)
        if row.state != "dead":
            continue
        after, name = replace(row, **revived(now)), rows.outbox_field(row_key(row))
        pipe.hset(keys.outbox, name, at + rows.pack_outbox(after))
        pipe.zadd(keys.due, {rows.due_member(after, at, name): after.next_at})
        changed.append((after, at))
    return changed


def write_delivery(
    pipe: Pipe, keys: Keys, delivery: Delivery, value: bytes, state: str, next_at: float, at_place: bytes
) -> Placed:
    """Queue the record of an attempt, and give the row after it; ``value`` is that row as it is stored."""
    at, packed = rows.split_place(value)
    row = rows.unpack_outbox(packed)
    name = rows.outbox_field(row_key(row))
    external_id = delivery.external_id if delivery.external_id is not None else row.external_id
    after = replace(row, state=state, next_at=next_at, attempts=delivery.attempt, external_id=external_id)
    member = rows.due_member(row, at, name)
    pipe.hset(keys.outbox, name, at + rows.pack_outbox(after))
    if state == "due":
        pipe.zadd(keys.due, {member: next_at})
    else:
        pipe.zrem(keys.due, member)
    pipe.rpush(keys.deliveries(row.alert_id), at_place + rows.pack_delivery(delivery))
    return after, at
