"""Blocks of the Bitcoin family out of the JSON of nodes: what ``getblock`` tells at verbosity 2 and 3, raw again."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec
import numpy as np

from chains.bitcoin import merkle, wire, work
from chains.bitcoin.base import Prevout, outpoint
from chains.bitcoin.block import HEADER, Header, RawBlock
from chains.bitcoin.build import Input, build_tx, length
from chains.bitcoin.core_answers import Hash, Output, data_of, units
from chains.bitcoin.transaction import NOTHING, parse_tx
from monitor.errors import ChainInconsistent, DecodeError
from monitor.networks import Network

__all__ = ["Assembled", "assembled"]

_UNKNOWN = "0" * 64


class _Bytes(msgspec.Struct):
    hex: str = ""


class _In(msgspec.Struct):
    txid: Hash | None = None
    vout: int = 0
    coinbase: str | None = None
    scriptSig: _Bytes | None = None
    sequence: int = 0xFFFFFFFF
    txinwitness: list[str] | None = None
    prevout: Output | None = None


class _Tx(msgspec.Struct):
    txid: Hash
    vin: list[_In]
    vout: list[Output]
    version: int = 1
    locktime: int = 0
    hex: str | None = None


class _Block(msgspec.Struct):
    hash: Hash
    tx: list[msgspec.Raw]
    time: int
    height: int | None = None
    previousblockhash: Hash = _UNKNOWN
    merkleroot: Hash | None = None
    version: int = 0
    bits: str | None = None
    nonce: int | None = None


@dataclass
class Assembled:
    """A block, its height where it is told, and what is told of its inputs.

    ``positions`` are those of its transactions that could be read; ``bad`` says why the others could not. ``rows``
    counts all. ``is_worked``: its header is told in full, and shows the work that it claims.
    """

    block: RawBlock
    height: int | None
    told: dict[bytes, Prevout] = field(default_factory=dict)
    positions: list[int] | None = None
    bad: list[str] = field(default_factory=list)
    rows: int = 0
    is_worked: bool = False


def assembled(raw: bytes, network: Network) -> Assembled:
    """The block of a ``getblock`` answer with transactions in full.

    Amounts are exact. Each transaction is held against its identifier, all together against the merkle root where it
    is told.

    Raises
    ------
    DecodeError : it is none, or no transaction of it can be read
    """
    try:
        found = msgspec.json.decode(raw, type=_Block)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise DecodeError(f"not an answer to getblock: {str(error)[:150]}") from None
    if found.tx and bytes(found.tx[0])[:1] == b'"':
        raise DecodeError("the hashes of its transactions alone: ask getblock with verbosity 2 or 3")
    if not 0 <= found.time < 1 << 33 or not 0 <= (found.height or 0) < 1 << 32:
        raise DecodeError("a height or time that makes no sense")
    parts: list[bytes] = []
    positions: list[int] = []
    told: dict[bytes, Prevout] = {}
    bad: list[str] = []
    for place, item in enumerate(found.tx):
        try:
            tx, prevouts = _transaction(bytes(item), network)
        except (DecodeError, ChainInconsistent) as error:
            bad.append(f"transaction {place}: {error}")
            continue
        parts.append(tx)
        positions.append(place)
        told |= prevouts
    block = _block(found, parts, network)
    if not bad and found.merkleroot and merkle.root(block.hashes)[0][::-1].hex() != found.merkleroot:
        raise DecodeError("its transactions are not those of its merkle root")
    return Assembled(block, found.height, told, positions, bad, len(found.tx), _is_worked(found, network))


def _block(found: _Block, parts: list[bytes], network: Network) -> RawBlock:
    if not parts:
        raise DecodeError("a block of which no transaction can be read")
    data = bytes(HEADER) + length(len(parts)) + b"".join(parts)
    index = wire.index(np.frombuffer(data, np.uint8), len(data) - sum(map(len, parts)), len(parts))
    if index[0] != wire.OK:
        raise DecodeError(f"not a block: {wire.PROBLEMS[index[0]]}")
    header = Header(found.version, found.previousblockhash, found.merkleroot or "", found.time, 0, 0, found.hash)
    return RawBlock(data, header, index, network)


def _is_worked(found: _Block, network: Network) -> bool:
    if found.bits is None or found.nonce is None or found.merkleroot is None or network.params.get("work") == "unknown":
        return False
    try:
        bits = int(found.bits, 16)
        parts = [(found.version % (1 << 32)), found.time, bits, found.nonce]
        version, time, target, nonce = (number.to_bytes(4, "little") for number in parts)
        links = data_of(found.previousblockhash)[::-1] + data_of(found.merkleroot)[::-1]
        header = version + links + time + target + nonce
        work.check(header, bits, network)
    except (ValueError, OverflowError, DecodeError):
        return False
    return work.sha256d(header)[::-1].hex() == found.hash


def _transaction(raw: bytes, network: Network) -> tuple[bytes, dict[bytes, Prevout]]:
    """A transaction as bytes, and what its inputs spend as far as it is told."""
    try:
        tx = msgspec.json.decode(raw, type=_Tx)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise DecodeError(str(error)[:150]) from None
    try:
        data = data_of(tx.hex) if tx.hex else _serialised(tx)
    except (ValueError, OverflowError) as error:
        raise DecodeError(f"a number that makes no sense: {str(error)[:100]}") from None
    if parse_tx(data, network).hash != tx.txid:
        raise DecodeError(f"{tx.txid} is not the identifier of what it holds")
    told = {
        outpoint(one.txid, one.vout): one.prevout.prevout
        for one in tx.vin
        if one.txid is not None and one.prevout is not None
    }
    return data, told


def _serialised(tx: _Tx) -> bytes:
    inputs: list[Input] = []
    for one in tx.vin:
        witness = [data_of(item) for item in one.txinwitness or ()]
        if one.txid is None:
            inputs.append((NOTHING, data_of(one.coinbase or ""), one.sequence, witness))
        else:
            script = data_of(one.scriptSig.hex) if one.scriptSig is not None else b""
            inputs.append((outpoint(one.txid, one.vout), script, one.sequence, witness))
    outputs = [(units(out.value), data_of(out.scriptPubKey.hex)) for out in tx.vout]
    version = (tx.version + (1 << 31)) % (1 << 32) - (1 << 31)  # some nodes tell it unsigned
    return build_tx(inputs, outputs, version=version, lock_time=tx.locktime)
