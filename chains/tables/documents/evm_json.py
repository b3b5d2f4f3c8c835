"""Pieces of Ethereum JSON as the chain's own structures, in whatever spelling: camel or snake case, hex or not."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from chains.evm.calls import ParityTrace, TxFrame
from chains.evm.wire import LONGEST, ZERO, RpcBlock, RpcLog, RpcReceipt, RpcTx
from monitor.errors import DecodeError

__all__ = [
    "HIGHEST", "block_of", "frames_of", "lists_of", "log_of", "number_in", "receipt_of", "trace_of", "traced_block",
]  # fmt: skip

T = TypeVar("T")
HIGHEST = 1 << 62  # of blocks' numbers there are fewer
_ODD = re.compile(rb'"[a-z0-9]+_[a-z_0-9]+"\s*:|:\s*-?[0-9]|[\[,]\s*[0-9]')  # snake case, or bare numbers
_PLAIN = frozenset({"traceAddress", "transactionPosition", "subtraces"})  # numbers that stay numbers
_SNAKE = re.compile(r"_([a-z0-9])")


def block_of(raw: bytes) -> tuple[RpcBlock, dict[int, str]]:
    """A block with full transactions, and by its place why a transaction of it cannot be read.

    A transaction that cannot be read leaves one behind that moves nothing, so that all others keep their places.

    Raises
    ------
    DecodeError : it is none
    """
    try:
        return _numbered(_typed(raw, RpcBlock)), {}
    except DecodeError as error:
        fields = _decoded(raw)
        if not isinstance(fields, dict) or not isinstance(fields.get("transactions"), list):
            raise error from None
    broken: dict[int, str] = {}
    kept: list[RpcTx] = []
    for place, item in enumerate(fields["transactions"]):
        try:
            kept.append(_converted(item, RpcTx))
        except DecodeError as error:
            broken[place] = str(error)
            hash = item.get("hash") if isinstance(item, dict) else None
            kept.append(RpcTx(hash if isinstance(hash, str) else f"unreadable-{place}", ZERO, ZERO, "0x0"))
    block = _converted({**fields, "transactions": []}, RpcBlock)  # raises where not only a transaction is at fault
    return _numbered(msgspec.structs.replace(block, transactions=kept)), broken


def _numbered(block: RpcBlock) -> RpcBlock:
    """The block; DecodeError where its number is none."""
    try:
        if 0 <= int(block.number[:LONGEST], 16) < HIGHEST:
            return block
    except ValueError:
        pass  # said below
    raise DecodeError(f"block {block.hash[:66]}: its number makes no sense")


def receipt_of(raw: bytes, hash: str) -> RpcReceipt:
    """A receipt; ``hash`` is that of its block where it names none. DecodeError where it is none."""
    return _typed(raw, RpcReceipt, {"blockHash": hash})


def log_of(raw: bytes) -> RpcLog:
    """A log; DecodeError where it is none."""
    return _typed(raw, RpcLog)


def trace_of(raw: bytes) -> ParityTrace:
    """A flat trace; DecodeError where it is none."""
    return _typed(raw, ParityTrace)


def frames_of(raw: bytes) -> list[TxFrame]:
    """The frames of a list of ``callTracer`` results, also of what ethereum-etl keeps of one.

    Raises
    ------
    DecodeError : they are none
    """
    found = _decoded(raw)
    if isinstance(found, dict):
        traces = found.get("transactionTraces")
        if isinstance(traces, list):
            found = [item if isinstance(item, dict) and "result" in item else {"result": item} for item in traces]
        else:
            found = [found]
    frames: list[TxFrame] = _converted(found, list[TxFrame])
    return frames


def lists_of(fields: Mapping[str, bytes], name: str) -> list[bytes] | None:
    """The items of a list beside or within a block; None where there is none."""
    raw = fields.get(name)
    if raw is None or raw[:1] != b"[":
        return None
    try:
        return [bytes(item) for item in msgspec.json.decode(raw, type=list[msgspec.Raw])]
    except (msgspec.DecodeError, UnicodeError) as error:
        raise DecodeError(f"{name} are no list: {str(error)[:100]}") from None


def traced_block(
    fields: Mapping[str, Any], traces: Sequence[ParityTrace], receipts: Sequence[RpcReceipt]
) -> tuple[RpcBlock, list[RpcReceipt]]:
    """A block out of its traces: the outermost call of each transaction is the transaction.

    Parameters
    ----------
    fields : ``block_number``, and where they are there ``block_timestamp`` and ``block_hash``

    Returns
    -------
    (block, receipts) : a block without a time has the time 0; receipts say what the traces say of success

    Raises
    ------
    DecodeError : traces without the hash of their block or of a transaction
    """
    outer = {t.transaction_position: t for t in traces if not t.trace_address and t.transaction_position is not None}
    hashes = {t.block_hash.lower() for t in traces if t.block_hash}
    if len(hashes) != 1:
        raise DecodeError("traces without the hash of their block" if not hashes else "traces of several blocks")
    hash = hashes.pop()
    known = {receipt.transaction_hash: receipt for receipt in receipts}
    transactions: list[RpcTx] = []
    told: list[RpcReceipt] = []
    for place in range(max(outer, default=-1) + 1):
        trace = outer.get(place)
        if trace is None or trace.transaction_hash is None:
            raise DecodeError(f"no trace of transaction {place}")
        action, receipt = trace.action, known.get(trace.transaction_hash)
        price = receipt.effective_gas_price if receipt is not None else None
        target = None if trace.type == "create" else action.to
        transactions.append(RpcTx(
            trace.transaction_hash, action.sender or ZERO, target, action.value or "0x0", gas_price=price,
            input=msgspec.Raw(msgspec.json.encode(action.input or "0x")),
        ))  # fmt: skip
        receipt = receipt or RpcReceipt(trace.transaction_hash, hash)
        created = trace.result.address if trace.type == "create" and trace.result is not None else None
        told.append(msgspec.structs.replace(
            receipt, block_hash=hash, status=receipt.status or ("0x1" if trace.error is None else "0x0"),
            contract_address=receipt.contract_address or created,
        ))  # fmt: skip
    number, time = (number_in(fields, name) for name in ("block_number", "block_timestamp"))
    if number is None:
        raise DecodeError("traces without the number of their block")
    return RpcBlock(hash, hex(number), "", hex(time or 0), transactions), told


def number_in(fields: Mapping[str, Any], name: str) -> int | None:
    """A number of fields, whose name may be in camel case; None where there is none, or it makes no sense."""
    value = fields.get(name, fields.get(_camel(name)))
    if isinstance(value, bytes):
        try:
            value = msgspec.json.decode(value)
        except (msgspec.DecodeError, UnicodeError):
            return None
    try:
        number = int(value, 16 if value.startswith("0x") else 10) if isinstance(value, str) else value
    except ValueError:
        return None
    return number if isinstance(number, int) and not isinstance(number, bool) and 0 <= number < HIGHEST else None


def _typed(raw: bytes, type: type[T], defaults: Mapping[str, Any] | None = None) -> T:
    """``defaults`` are fields for what has none of them."""
    if defaults is None and not _ODD.search(raw):
        try:
            return msgspec.json.decode(raw, type=type)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise DecodeError(_short(error)) from None
    found = _decoded(raw)
    if isinstance(found, dict) and defaults is not None:
        found = {**defaults, **{name: value for name, value in found.items() if value is not None}}
    converted: T = _converted(found, type)
    return converted


def _decoded(raw: bytes) -> Any:
    try:
        return _named(msgspec.json.decode(raw))
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise DecodeError(_short(error)) from None


def _converted(found: Any, type: Any) -> Any:
    try:
        if type in (RpcTx, RpcBlock):  # their input stays JSON
            return msgspec.json.decode(msgspec.json.encode(found), type=type)
        return msgspec.convert(found, type)
    except (msgspec.DecodeError, UnicodeError, msgspec.ValidationError, RecursionError) as error:
        raise DecodeError(_short(error)) from None


def _named(found: Any, name: str = "") -> Any:
    """The same with names in camel case and quantities in hex."""
    if isinstance(found, dict):
        return {camel: _named(value, camel) for key, value in found.items() for camel in (_camel(key),)}
    if isinstance(found, list):
        return [_named(value, name) for value in found]
    if isinstance(found, int) and not isinstance(found, bool) and name not in _PLAIN and found >= 0:
        return hex(found)
    return found


def _camel(name: str) -> str:
    return _SNAKE.sub(lambda match: match[1].upper(), name)


def _short(error: Exception) -> str:
    return str(error)[:150]
