"""Blocks and transactions of NEM out of the answers of NIS1."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from chains.nem.binary import transaction_hash
from chains.nem.decode import (
    BLIND_SPOTS,
    LEVIES,
    NEWEST_TIME,
    RawBlock,
    decode_block,
    decode_transaction,
    identity,
    parse_block,
    timestamp,
)
from chains.tables.documents.evm import EVERYBODY
from chains.tables.documents.forms import Form, Piece
from monitor.errors import DecodeError
from monitor.model import BlockRef, ControlEvent, Transfer
from monitor.networks import Network

__all__ = ["NemBlock", "NemRead", "NemTransaction", "found_in", "read_block", "read_transaction"]

_HIGHEST = 1 << 40  # what waits to be mined has the largest number that there is


@dataclass(frozen=True, slots=True)
class NemBlock:
    """A block, the hashes of its transactions where they are told, and why some of those are none of this network."""

    raw: RawBlock
    hash: str
    hashes: tuple[str, ...] | None
    foreign: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NemTransaction:
    """A transaction outside of its block; ``id`` rises in the order in which its node took transactions in."""

    raw: Mapping[str, Any]
    hash: str
    height: int
    id: int


@dataclass
class NemRead:
    """What blocks or transactions moved and changed."""

    number: int
    time: int
    transfers: tuple[Transfer, ...]
    controls: tuple[ControlEvent, ...]
    bad: list[str] = field(default_factory=list)
    blind: tuple[str, ...] = BLIND_SPOTS


def found_in(piece: Piece, network: Network) -> NemBlock | NemTransaction:
    """The block or transaction of a document.

    Raises
    ------
    DecodeError : it is none of this network that is in a block
    """
    try:
        found = msgspec.json.decode(piece.raw)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise DecodeError(f"not valid JSON: {str(error)[:100]}") from None
    return _block(found, network) if piece.form is Form.NEM_BLOCK else _transaction(found, network)


def _block(found: dict[str, Any], network: Network) -> NemBlock:
    hashes: tuple[str, ...] | None = None
    if "txes" in found:  # of the local API
        txes, inner = found["txes"], found["block"]
        if not isinstance(txes, list) or not isinstance(inner, dict):
            raise DecodeError("not a NIS1 block: txes is no list, or block no object")
        if not all(isinstance(entry, dict) and isinstance(entry.get("tx"), dict) for entry in txes):
            raise DecodeError("not a NIS1 block: an entry of txes has no tx")
        told = [entry.get("hash") for entry in txes]
        hashes = tuple(map(str, told)) if all(isinstance(hash, str) for hash in told) else None
        found = {**inner, "transactions": [entry["tx"] for entry in txes]}
    if network_byte(found.get("version")) not in (None, network.params["network_byte"]):
        raise DecodeError("a block of another network")
    raw = parse_block(found)
    if not 0 < raw.height < _HIGHEST:
        raise DecodeError("a NIS1 block whose height makes no sense")
    own: list[dict[str, Any]] = []
    foreign: list[str] = []
    for place, tx in enumerate(raw.transactions):
        if _is_foreign(tx, network):
            foreign.append(f"transaction {place} is one of another network")
            own.append({})  # it keeps its place, and moves nothing
        else:
            own.append(tx)
    raw.transactions = own
    return NemBlock(raw, identity(raw), hashes, tuple(foreign))


def network_byte(version: object) -> int | None:
    """The network that a version says in its highest byte; None where it says none."""
    return version >> 24 & 0xFF if isinstance(version, int) and not isinstance(version, bool) else None


def _is_foreign(tx: Mapping[str, Any], network: Network) -> bool:
    inner = tx.get("otherTrans", tx)
    version = inner.get("version") if isinstance(inner, Mapping) else None
    return network_byte(version) not in (None, network.params["network_byte"])


def _transaction(found: dict[str, Any], network: Network) -> NemTransaction:
    meta, raw = found["meta"], found["transaction"]
    if not isinstance(meta, dict) or not isinstance(raw, dict):
        raise DecodeError("not a NIS1 transaction: meta or transaction is no object")
    height, id, hash = meta.get("height"), meta.get("id"), meta.get("hash")
    if type(height) is not int or not 0 < height < _HIGHEST:
        raise DecodeError("a NIS1 transaction without the height of its block")
    if _is_foreign(raw, network):
        raise DecodeError("a transaction of another network")
    time = raw.get("timeStamp")
    if type(time) is not int or not 0 <= time < NEWEST_TIME:
        raise DecodeError("timeStamp is out of range")
    told = hash.get("data") if isinstance(hash, dict) else None
    name = told.lower() if isinstance(told, str) and told else transaction_hash(raw)
    return NemTransaction(raw, name, height, id if type(id) is int and 0 <= id < 1 << 62 else 0)


def read_block(found: NemBlock, network: Network) -> NemRead:
    """What a block moved and changed, whoever is watched."""
    block = decode_block(found.raw, "", network, EVERYBODY, hashes=found.hashes)
    unreadable = len(block.undecoded) - len(found.foreign)
    bad = [*found.foreign]
    if unreadable:
        bad += [f"a transaction cannot be read: {name[:66]}" for name in block.undecoded][:unreadable]
    return NemRead(
        block.ref.number, block.timestamp, block.transfers, block.controls, bad, tuple(sorted(block.blind_spots))
    )


def read_transaction(found: NemTransaction, position: int, network: Network) -> NemRead:
    """What a transaction moved and changed.

    Parameters
    ----------
    position : its place among the known transactions of its block

    Raises
    ------
    DecodeError : it makes no sense
    """
    ref = BlockRef(network.chain, found.height, "")
    decoded = decode_transaction(found.raw, ref, position, 0, network, known_hash=found.hash)
    blind = (*BLIND_SPOTS, LEVIES) if decoded.unlevied else BLIND_SPOTS
    time = timestamp(found.raw["timeStamp"])
    return NemRead(found.height, time, decoded.transfers, decoded.controls, blind=tuple(sorted(blind)))
