"""What a piece of JSON is: which of the documents that are known, behind whatever envelope."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

import msgspec

from monitor.errors import DecodeError

__all__ = ["FAMILY", "Form", "Piece", "pieces_of"]

_DEEPEST = 5  # envelopes around a document
_HEX = re.compile(r"[0-9a-fA-F]{162,}")  # a block has 80 bytes of header and a transaction
Raws = Mapping[str, bytes]


class Form(StrEnum):
    """Forms of documents."""

    EVM_BLOCK = "an Ethereum block"
    EVM_HEADER = "an Ethereum block with the hashes of its transactions alone"
    EVM_TRACED = "traces and receipts of an Ethereum block"
    EVM_RECEIPT = "an Ethereum receipt"
    EVM_LOG = "an Ethereum log"
    EVM_TRACE = "an Ethereum trace"
    EVM_FRAMES = "traces of an Ethereum block's transactions"
    BITCOIN_BLOCK = "a block of getblock"
    BITCOIN_HEX = "a raw block"
    NEM_BLOCK = "a NEM block"
    NEM_TRANSACTION = "a NEM transaction"
    REFUSAL = "an error of a node"


FAMILY: Mapping[Form, str] = {
    form: "evm" if form.name.startswith("EVM") else "nem" if form.name.startswith("NEM") else "bitcoin"
    for form in Form
    if form is not Form.REFUSAL
}


@dataclass(frozen=True, slots=True)
class Piece:
    """A document within a file: its form, its fields, and where it has none of its own its JSON.

    ``beside`` are the receipts, logs and traces that lie beside an Ethereum block in one object.
    """

    form: Form
    fields: Raws
    raw: bytes = b""
    beside: Raws | None = None


def pieces_of(value: bytes) -> list[Piece]:
    """The documents of one JSON value, in order; envelopes and lists around them are taken off.

    Raises
    ------
    DecodeError : it is not valid JSON
    """
    try:
        return list(_pieces(value.strip(), 0))
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise DecodeError(f"not valid JSON: {str(error)[:100]}") from None


def _pieces(raw: bytes, depth: int) -> Iterator[Piece]:
    start = raw[:1]
    if start == b"{":
        yield from _of_object(raw, depth)
    elif start == b"[":
        yield from _of_list(raw, depth)
    elif start == b'"':
        text = msgspec.json.decode(raw, type=str).removeprefix("0x")
        if _HEX.fullmatch(text) and not len(text) % 2:
            yield Piece(Form.BITCOIN_HEX, {}, text.encode())
    elif not depth:
        msgspec.json.decode(raw)  # a bare number, or no JSON at all: that is told


def _of_object(raw: bytes, depth: int) -> Iterator[Piece]:
    fields = _fields(raw)
    form = _form_of(fields)
    if form is not None:
        yield Piece(form, fields, raw)
        return
    if "jsonrpc" in fields and fields.get("error", b"null") != b"null":
        yield Piece(Form.REFUSAL, {}, fields["error"])
        return
    if depth >= _DEEPEST:
        return
    block = fields.get("block")
    if block is not None and fields.keys() & {"receipts", "logs", "traces"}:
        inner = list(_pieces(block, depth + 1))
        if len(inner) == 1 and inner[0].form in (Form.EVM_BLOCK, Form.EVM_HEADER):
            yield Piece(inner[0].form, inner[0].fields, inner[0].raw, fields)
            return
    for value in fields.values():
        if value[:1] in (b"{", b"["):
            yield from _pieces(value, depth + 1)
    if "result" in fields and fields["result"][:1] == b'"':
        yield from _pieces(fields["result"], depth + 1)


def _of_list(raw: bytes, depth: int) -> Iterator[Piece]:
    items = [bytes(item) for item in msgspec.json.decode(raw, type=list[msgspec.Raw])]
    frames: list[bytes] = []
    for item in items:
        if item[:1] == b"{" and _is_frame(_fields(item)):
            frames.append(item)
        elif depth < _DEEPEST:
            yield from _pieces(item, depth + 1)
    if frames:
        yield Piece(Form.EVM_FRAMES, {}, b"[" + b",".join(frames) + b"]")


def _fields(raw: bytes) -> dict[str, bytes]:
    return {name: bytes(value) for name, value in msgspec.json.decode(raw, type=dict[str, msgspec.Raw]).items()}


def _form_of(fields: Raws) -> Form | None:
    names = fields.keys()
    if {"hash", "number", "transactions"} <= names and names & {"parentHash", "parent_hash"}:
        return Form.EVM_HEADER if _starts(fields["transactions"], b'"') else Form.EVM_BLOCK
    if {"traces", "receipts"} <= names and names & {"block_number", "blockNumber"}:
        return Form.EVM_TRACED
    if "transaction_traces" in names and "block_number" in names:
        return Form.EVM_FRAMES
    if {"topics", "data", "address"} <= names and names & {"blockHash", "block_hash", "transactionHash"}:
        return Form.EVM_LOG
    if _is_receipt(set(names)):
        return Form.EVM_RECEIPT
    if {"action", "type"} <= names and names & {"traceAddress", "trace_address"}:
        return Form.EVM_TRACE
    if _is_frame(fields):
        return Form.EVM_FRAMES
    return _other(fields)


def _is_receipt(names: set[str]) -> bool:
    """Receipts have names in camel case, or logs: rows of a table of receipts are none."""
    if {"transactionHash", "gasUsed", "blockHash"} <= names and "topics" not in names:
        return True
    return {"transaction_hash", "gas_used", "block_hash", "logs"} <= names


def _other(fields: Raws) -> Form | None:
    names = fields.keys()
    if "tx" in names and "hash" in names and names & {"block", "hex"} and names & {"height", "previousblockhash"}:
        return Form.BITCOIN_HEX
    if {"tx", "hash"} <= names and names & {"height", "previousblockhash"} and fields["tx"][:1] == b"[":
        return Form.BITCOIN_BLOCK
    if {"timeStamp", "transactions", "prevBlockHash", "height"} <= names or {"txes", "block"} <= names:
        return Form.NEM_BLOCK
    if {"meta", "transaction"} <= names:
        return Form.NEM_TRANSACTION
    return None


def _is_frame(fields: Raws) -> bool:
    """The frame of one transaction, as ``debug_traceBlockByNumber`` lists them."""
    if not fields.keys() <= {"txHash", "result", "error"} or fields.get("result", b"")[:1] != b"{":
        return False
    inner = _fields(fields["result"]).keys()
    return "type" in inner and bool(inner & {"from", "gasUsed", "calls"}) and "hash" not in inner


def _starts(raw: bytes, first: bytes) -> bool:
    """Whether the first item of a list begins with these bytes."""
    return raw[1:].lstrip()[:1] == first
