"""Blocks of EVM chains out of documents, with the receipts, logs and traces that belong to them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar

import msgspec

from chains.evm.calls import ParityTrace, Traced, TxFrame, from_frames, from_parity
from chains.evm.decode import NO_STATUS, NO_TOKENS, decode_block
from chains.evm.reader import number_of
from chains.evm.wire import RpcBlock, RpcLog, RpcReceipt
from chains.tables.documents.evm_json import (
    block_of,
    frames_of,
    lists_of,
    log_of,
    number_in,
    receipt_of,
    trace_of,
    traced_block,
)
from chains.tables.documents.forms import Form, Piece
from monitor.errors import ChainInconsistent, ChainUnavailable, DecodeError
from monitor.model import Block

__all__ = ["EVERYBODY", "Everybody", "Lying", "Read", "identity", "link", "read_block", "stamp"]

T = TypeVar("T")
_HASH = re.compile(rb'"block_?[hH]ash"\s*:\s*"(0x[0-9a-fA-F]{64})"')


class Everybody:
    """A watch set that holds every address."""

    def __contains__(self, address: object) -> bool:
        return isinstance(address, str) and address != ""


EVERYBODY = Everybody()


class Lying(Protocol):
    """What lies elsewhere among the data and belongs to a block, as JSON."""

    def receipts(self, block: RpcBlock) -> list[bytes]:
        """Receipts of its transactions."""

    def logs(self, block: RpcBlock) -> list[bytes]:
        """Its logs."""

    def traces(self, block: RpcBlock) -> list[bytes]:
        """Its flat traces."""

    def frames(self, block: RpcBlock) -> list[bytes]:
        """Frames of its transactions, in their order: a list of them each."""


@dataclass
class Read:
    """A block as it was read.

    ``time`` is in UTC seconds, None where nothing tells it; ``known``: whether it is known which transactions failed.
    ``bad`` says what could not be read, ``rows`` counts the transactions.
    """

    block: Block
    time: int | None
    rows: int
    known: bool
    bad: list[str] = field(default_factory=list)
    blind: tuple[str, ...] = ()


@dataclass
class _Parts:
    block: RpcBlock
    timed: bool = True
    receipts: list[RpcReceipt] | None = None
    logs: list[RpcLog] | None = None
    traces: list[ParityTrace] | None = None
    frames: list[TxFrame] | None = None
    unreadable: frozenset[str] = frozenset()
    bad: list[str] = field(default_factory=list)


def identity(piece: Piece) -> str:
    """The hash of a block; DecodeError where it cannot be read."""
    if piece.form is Form.EVM_TRACED:
        found = _HASH.search(piece.raw)
        if found is None:
            raise DecodeError("traces without the hash of their block")
        return found[1].decode().lower()
    try:
        return msgspec.json.decode(piece.fields["hash"], type=str).lower()
    except (KeyError, msgspec.DecodeError, UnicodeError) as error:
        raise DecodeError(f"not a block: {str(error)[:100]}") from None


def stamp(piece: Piece) -> tuple[int, int]:
    """Number and time (UTC seconds) of a block; DecodeError where they cannot be read."""
    try:
        number, time = (msgspec.json.decode(piece.fields[name], type=str | int) for name in ("number", "timestamp"))
        return tuple(int(n, 16) if isinstance(n, str) else n for n in (number, time))  # type: ignore[return-value]
    except (KeyError, ValueError, msgspec.DecodeError, UnicodeError) as error:
        raise DecodeError(f"not a block: {str(error)[:100]}") from None


def link(piece: Piece) -> tuple[int | None, str]:
    """Number and parent's hash of a block; None and nothing where they are not told, or make no sense."""
    parent = piece.fields.get("parentHash", piece.fields.get("parent_hash", b""))
    number = number_in(piece.fields, "block_number" if piece.form is Form.EVM_TRACED else "number")
    return number, parent.decode("ascii", "replace").strip('"').lower()


def read_block(piece: Piece, chain: str, elsewhere: Lying | None) -> Read:
    """A block of an EVM chain with all that is known of it.

    Parameters
    ----------
    piece : the block, or the traces and receipts of one
    chain : CAIP-2
    elsewhere : parts that are not beside it

    Raises
    ------
    DecodeError : it is none
    """
    parts = _traced_parts(piece) if piece.form is Form.EVM_TRACED else _parts(piece, elsewhere)
    block = parts.block
    _check_chain(block, chain)
    missing: set[str] = set()
    receipts, logs = parts.receipts, parts.logs
    if not block.transactions and receipts is None and logs is None and not (block.logs_bloom or "").strip("0x"):
        receipts = []
    covered = receipts is not None and _covers(receipts, block)
    if receipts and not covered:  # of some transactions alone
        logs = [log for receipt in receipts for log in receipt.logs] if logs is None else logs
        missing |= {NO_STATUS, NO_TOKENS}
    elif receipts is None and logs is not None:
        missing.add(NO_STATUS)
    elif receipts and all(receipt.told is None for receipt in receipts) and logs is None:
        missing.add(NO_TOKENS)
        logs = []
    traced = _traced(parts)
    decoded = _decoded(parts, receipts, logs, traced, chain)
    if decoded is None:
        covered = False
        decoded = decode_block(block, None, EVERYBODY, chain, traced=traced)
    if decoded.undecoded:
        names = sorted(decoded.undecoded)
        parts.bad += [f"transaction {hash[:66]} cannot be read in full" for hash in names]
    if parts.unreadable:
        kept = tuple(t for t in decoded.transfers if t.tx.hash not in parts.unreadable)
        controls = tuple(c for c in decoded.controls if c.tx.hash not in parts.unreadable)
        decoded = replace(decoded, transfers=kept, controls=controls)
    known = covered and NO_STATUS not in decoded.blind_spots
    blind = tuple(sorted({*decoded.blind_spots, *missing}))
    time = decoded.timestamp if parts.timed else None
    return Read(decoded, time, len(block.transactions), known, parts.bad, blind)


def _check_chain(block: RpcBlock, chain: str) -> None:
    """DecodeError where all transactions that say whose they are (EIP-155) are another chain's."""
    said = {number for tx in block.transactions if (number := number_of(tx.chain_id))}
    if said and int(chain.partition(":")[2]) not in said:
        raise DecodeError(f"a block of eip155:{min(said)}, not of {chain}")


def _decoded(
    parts: _Parts, receipts: list[RpcReceipt] | None, logs: list[RpcLog] | None, traced: Traced | None, chain: str
) -> Block | None:
    """The block; None where what should belong to it contradicts it, which is told."""
    try:
        bare = logs == [] and receipts  # no logs were told: the bloom filter cannot be held against it
        block = msgspec.structs.replace(parts.block, logs_bloom=None) if bare else parts.block
        return decode_block(block, receipts, EVERYBODY, chain, logs=logs, traced=traced)
    except ChainInconsistent as error:
        parts.bad.append(f"read without its receipts and logs: {str(error)[:150]}")
        return None


def _covers(receipts: Sequence[RpcReceipt], block: RpcBlock) -> bool:
    named = {receipt.transaction_hash for receipt in receipts}
    return all(tx.hash in named or tx.is_system for tx in block.transactions)


def _traced(parts: _Parts) -> Traced | None:
    block = parts.block
    hashes = [tx.hash for tx in block.transactions]
    silent = {at for at, tx in enumerate(block.transactions) if tx.is_system}
    try:
        if parts.traces is not None:
            return from_parity(parts.traces, block.hash.lower(), hashes, silent)
        if parts.frames is not None:
            return from_frames(parts.frames, hashes, silent)
    except (ChainInconsistent, ChainUnavailable) as error:
        parts.bad.append(f"read without its traces: {str(error)[:150]}")
        return None
    return None if hashes or (block.difficulty or "0x").strip("0x") else Traced(())  # nothing to trace, nobody mined it


def _parts(piece: Piece, elsewhere: Lying | None) -> _Parts:
    block, broken = block_of(piece.raw)
    parts = _Parts(block)
    parts.bad = [f"transaction {place}: {why}" for place, why in broken.items()]
    parts.unreadable = frozenset(block.transactions[place].hash.lower() for place in broken)
    beside: Mapping[str, bytes] = piece.beside if piece.beside is not None else piece.fields
    receipts, logs, traces = (lists_of(beside, name) for name in ("receipts", "logs", "traces"))
    frames: list[bytes] | None = None
    if elsewhere is not None:
        receipts = receipts or elsewhere.receipts(block) or None
        logs = logs or elsewhere.logs(block) or None
        traces = traces or elsewhere.traces(block) or None
        frames = elsewhere.frames(block) if traces is None else None
    if receipts is not None:
        parts.receipts = list(_each(receipts, lambda raw: receipt_of(raw, block.hash), "receipt", parts.bad))
    if logs is not None:
        parts.logs = list(_each(logs, log_of, "log", parts.bad))
    if traces and b'"action"' not in traces[0]:
        parts.frames = list(_lists([b"[" + b",".join(traces) + b"]"], parts.bad))
    elif traces is not None:
        parts.traces = list(_each(traces, trace_of, "trace", parts.bad))
    elif frames:
        parts.frames = list(_lists(frames, parts.bad))
    return parts


def _traced_parts(piece: Piece) -> _Parts:
    bad: list[str] = []
    traces = list(_each(lists_of(piece.fields, "traces") or [], trace_of, "trace", bad))
    hash = next((t.block_hash for t in traces if t.block_hash), "")
    raw = lists_of(piece.fields, "receipts") or []
    receipts = list(_each(raw, lambda one: receipt_of(one, hash), "receipt", bad))
    block, told = traced_block(piece.fields, traces, receipts)
    return _Parts(block, block.timestamp != "0x0", told, None, traces, bad=bad)


def _lists(raws: Sequence[bytes], bad: list[str]) -> Iterator[TxFrame]:
    for frames in _each(raws, frames_of, "list of traces", bad):
        yield from frames


def _each(raws: Sequence[bytes], read: Callable[[bytes], T], what: str, bad: list[str]) -> Iterator[T]:
    """What can be read of these; the rest is told."""
    for raw in raws:
        try:
            yield read(raw)
        except DecodeError as error:
            bad.append(f"{what} that cannot be read: {error}")
