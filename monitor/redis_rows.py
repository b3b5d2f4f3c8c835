"""The keys and values of the Redis store: where each thing lives, packed and unpacked. Pure.

Every key starts with the store's prefix. Hashes hold one field a thing (``.`` and its name) and, as every central key,
a marker with the store's generation: Redis drops empty keys, so without it "empty" and "lost" would look alike.
Values that are listed in order of insertion begin with their place in that order.

=================  ======  =========================================================================
meta               hash    schema version, generation
revision           string  counts write transactions; watched by each of them
checkpoint         hash    chain -> [number, hash]
state              hash    state key -> value
incidents          hash    incident id -> place, JSON
outbox             hash    alert id, receiver, channel -> place, row
due                zset    queued_at, place, outbox field, by next_at
alert:ID           set     outbox fields of one alert
deliveries:ID      list    attempts of one alert: place, delivery
messages:ID        set     outbox fields of one incident
events             hash    event id -> place, event
notes              hash    note key -> value
blocks:CHAIN       zset    block without undo, by height
undo:CHAIN         zset    height and undo, by height
coverage:CHAIN     zset    range, by its last block
flows:CHAIN:NAME   zset    flow of a wallet, by timestamp
chains, wallets    set     the chains and the wallets that have keys
=================  ======  =========================================================================
"""

from __future__ import annotations

import struct
from dataclasses import astuple, dataclass
from typing import Any
from urllib.parse import quote

import msgspec

from monitor.errors import StoreError
from monitor.model import BlockRef, Delivery, Outcome, Reason
from monitor.store import BlockRecord, CoverageRange, Delta, FlowRecord, OperatorEvent, OutboxRow
from monitor.store_rules import RowKey

__all__ = [
    "MARKER",
    "SCHEMA_VERSION",
    "BlockRow",
    "Keys",
    "block_of_flow",
    "block_row",
    "due_member",
    "due_order",
    "field",
    "flow_row",
    "outbox_field",
    "pack_block",
    "pack_coverage",
    "pack_delivery",
    "pack_event",
    "pack_flow",
    "pack_outbox",
    "pack_ref",
    "pack_undo",
    "pack_wallet",
    "place",
    "split_place",
    "unpack_block",
    "unpack_coverage",
    "unpack_delivery",
    "unpack_event",
    "unpack_outbox",
    "unpack_ref",
    "unpack_undo",
    "unpack_wallet",
]

SCHEMA_VERSION = 2
MARKER = b"!"
_PLACE = struct.Struct(">QI")  # revision, number within it
_QUEUED = struct.Struct(">d")
_pack = msgspec.msgpack.encode


def _unpack(value: bytes, type: Any = Any) -> Any:
    try:
        return msgspec.msgpack.decode(value, type=type)
    except msgspec.MsgspecError as error:
        raise StoreError(f"a value in the redis store cannot be read back: {error}") from error


class Keys:
    """The names of the keys under a prefix."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self.meta, self.revision = f"{prefix}meta", f"{prefix}revision"
        self.checkpoint, self.state = f"{prefix}checkpoint", f"{prefix}state"
        self.incidents, self.events = f"{prefix}incidents", f"{prefix}events"
        self.outbox, self.due = f"{prefix}outbox", f"{prefix}due"
        self.chains, self.wallets = f"{prefix}chains", f"{prefix}wallets"
        self.notes = f"{prefix}notes"

    @property
    def marked(self) -> tuple[str, ...]:
        """The hashes that carry a marker (the set of due rows carries one too)."""
        return self.checkpoint, self.state, self.incidents, self.outbox, self.events, self.notes

    def blocks(self, chain: str) -> str:
        """Blocks of a chain."""
        return f"{self._prefix}blocks:{chain}"

    def undo(self, chain: str) -> str:
        """Undo of a chain's blocks."""
        return f"{self._prefix}undo:{chain}"

    def coverage(self, chain: str) -> str:
        """Scanned ranges of a chain."""
        return f"{self._prefix}coverage:{chain}"

    def flows(self, chain: str, wallet: str) -> str:
        """Flows of a wallet on a chain; quoted, so that no two pairs share a key."""
        return f"{self._prefix}flows:{quote(chain, safe='')}:{wallet}"

    def alert(self, alert_id: str) -> str:
        """Outbox fields of an alert."""
        return f"{self._prefix}alert:{alert_id}"

    def messages(self, incident_id: str) -> str:
        """Outbox fields of an incident."""
        return f"{self._prefix}messages:{incident_id}"

    def deliveries(self, alert_id: str) -> str:
        """Attempts for an alert."""
        return f"{self._prefix}deliveries:{alert_id}"


@dataclass(frozen=True, slots=True)
class BlockRow:
    """A stored block, and where its flows are: the wallets, and the range of their timestamps."""

    number: int
    hash: str
    parent_hash: str
    timestamp: int
    wallets: tuple[str, ...] = ()
    earliest: int = 0
    latest: int = 0


def field(name: str | bytes) -> bytes:
    """The hash field of a name; never the marker."""
    return b"." + (name.encode() if isinstance(name, str) else name)


def place(revision: int, number: int) -> bytes:
    """A place in the order of insertion: greater than all places of earlier write transactions."""
    return _PLACE.pack(revision, number)


def split_place(value: bytes) -> tuple[bytes, bytes]:
    """A stored value as (place, the rest)."""
    return value[: _PLACE.size], value[_PLACE.size :]


def pack_ref(ref: BlockRef) -> bytes:
    """A checkpoint, without its chain."""
    return _pack((ref.number, ref.hash))


def unpack_ref(chain: str, value: bytes) -> BlockRef:
    """Inverse of `pack_ref`."""
    return BlockRef(chain, *_unpack(value, type=tuple[int, str]))


def block_row(record: BlockRecord) -> BlockRow:
    """What is stored of a block."""
    times = [flow.timestamp for flow in record.flows]
    wallets = tuple(sorted({flow.wallet for flow in record.flows}))
    ref = record.ref
    earliest, latest = min(times, default=0), max(times, default=0)
    return BlockRow(ref.number, ref.hash, record.parent_hash, record.timestamp, wallets, earliest, latest)


def pack_block(row: BlockRow) -> bytes:
    """A block as a member of its sorted set."""
    return _pack(astuple(row))


def unpack_block(value: bytes) -> BlockRow:
    """Inverse of `pack_block`."""
    return BlockRow(*_unpack(value, type=tuple[int, str, str, int, tuple[str, ...], int, int]))


def pack_undo(number: int, delta: Delta) -> bytes:
    """A block's undo as a member of its sorted set; with the height, as equal deltas must stay apart."""
    return _pack((number, delta))


def unpack_undo(value: bytes) -> Delta:
    """Inverse of `pack_undo`."""
    undo: Delta = _unpack(value, type=tuple[int, tuple[tuple[bytes, bytes | None], ...]])[1]
    return undo


def pack_flow(position: int, flow: FlowRecord) -> bytes:
    """A flow without its chain and wallet; ``position`` is its place among the block's flows."""
    return _pack(
        (
            flow.block_number, position, flow.tx, flow.transfer_index, int(flow.direction), flow.asset,
            flow.counterparty, str(flow.value), flow.timestamp, flow.initiator,
        )
    )  # fmt: skip


def flow_row(chain: str, wallet: str, value: bytes) -> tuple[tuple[int, int, int], FlowRecord]:
    """(order in the chain, flow) of a stored flow."""
    number, position, tx, index, direction, asset, counterparty, amount, timestamp, initiator = _unpack(value)
    flow = FlowRecord(
        chain, number, tx, index, wallet, direction, asset, counterparty, int(amount), timestamp, initiator
    )
    return (number, index, position), flow


def block_of_flow(value: bytes) -> int:
    """The height of a stored flow."""
    return int(_unpack(value)[0])


def pack_wallet(chain: str, wallet: str) -> bytes:
    """A chain and wallet that has flows."""
    return _pack((chain, wallet))


def unpack_wallet(value: bytes) -> tuple[str, str]:
    """Inverse of `pack_wallet`."""
    chain, wallet = _unpack(value, type=tuple[str, str])
    return chain, wallet


def pack_coverage(part: CoverageRange) -> bytes:
    """A range without its chain."""
    return _pack((part.first, part.last, part.source, part.blind_spots, part.undecoded))


def unpack_coverage(chain: str, value: bytes) -> CoverageRange:
    """Inverse of `pack_coverage`."""
    return CoverageRange(chain, *_unpack(value, type=tuple[int, int, str, tuple[str, ...], int]))


def outbox_field(key: RowKey) -> bytes:
    """The outbox field of (alert id, receiver, channel)."""
    return field(_pack(key))


def pack_outbox(row: OutboxRow) -> bytes:
    """An outbox row."""
    return _pack(
        (
            row.alert_id, row.receiver, row.channel, row.body, row.queued_at, row.kind, row.incident_id,
            int(row.severity), row.attempts, row.next_at, row.state, row.external_id,
        )
    )  # fmt: skip


def unpack_outbox(value: bytes) -> OutboxRow:
    """Inverse of `pack_outbox`."""
    return OutboxRow(*_unpack(value))


def due_member(row: OutboxRow, at: bytes, name: bytes) -> bytes:
    """A due row as a member of the sorted set: what orders it, and its outbox field."""
    return _QUEUED.pack(row.queued_at) + at + name


def due_order(member: bytes) -> tuple[float, bytes, bytes]:
    """(queued_at, place, outbox field) of a member."""
    start = _QUEUED.size
    at, name = split_place(member[start:])
    return _QUEUED.unpack(member[:start])[0], at, name


def pack_delivery(delivery: Delivery) -> bytes:
    """A delivery."""
    return _pack(astuple(delivery))


def unpack_delivery(value: bytes) -> Delivery:
    """Inverse of `pack_delivery`."""
    alert_id, receiver, channel, attempt, outcome, reason, *rest = _unpack(value)
    return Delivery(alert_id, receiver, channel, attempt, Outcome(outcome), Reason(reason), *rest)


def pack_event(event: OperatorEvent) -> bytes:
    """An operator event."""
    where = event.effective
    block = None if where is None else (where.chain, where.number, where.hash)
    return _pack((event.id, event.kind, event.incident_id, event.by, event.comment, event.at, block))


def unpack_event(value: bytes) -> OperatorEvent:
    """Inverse of `pack_event`."""
    name, kind, incident_id, by, comment, at, block = _unpack(value)
    return OperatorEvent(name, kind, incident_id, by, comment, at, None if block is None else BlockRef(*block))
