"""Blocks and undo data of the Bitcoin family in a file of whatever form."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import msgspec

from chains.bitcoin.base import Prevout
from chains.bitcoin.block import RawBlock, parse_block
from chains.bitcoin.transaction import NOTHING
from chains.tables.documents.bitcoin_files import Binary, records_in
from chains.tables.documents.bitcoin_json import assembled
from chains.tables.documents.forms import Form, Piece
from chains.tables.documents.pieces import pieces_in
from monitor.errors import DecodeError
from monitor.networks import Network

__all__ = ["CoinBlock", "Undo", "blocks_in"]

_VERSIONS = 29  # bits of a version by miners (BIP 9) below those that say that it is one


@dataclass(frozen=True, slots=True)
class Undo:
    """Undo data; ``check`` is its sum over the hash of the parent and itself, empty where it has none."""

    data: bytes
    check: bytes = b""


@dataclass(slots=True)
class CoinBlock:
    """A block as it lies in a file.

    ``height`` is None where it does not say it; ``told`` is what is told of its inputs. ``positions`` are those of its
    transactions where some could not be read, ``rows`` counts all. ``is_worked``: its work was checked.
    """

    raw: RawBlock
    height: int | None
    rows: int
    told: dict[bytes, Prevout] = field(default_factory=dict)
    positions: list[int] | None = None
    bad: list[str] = field(default_factory=list)
    is_worked: bool = False

    @property
    def is_told(self) -> bool:
        """Whether all is told of its inputs."""
        return all(point in self.told for point in self.raw.outpoints if point != NOTHING)


def blocks_in(
    path: str, binary: Binary | None, network: Network, tick: Callable[[int], None] | None = None
) -> Iterator[tuple[int, CoinBlock | Undo | str]]:
    """Blocks and undo data of a file as (place from 1 on, what lies there); a text says what is wrong there.

    Parameters
    ----------
    binary : what the file holds, None for JSON

    Raises
    ------
    ConfigError : the file cannot be opened
    """
    for place, found in pieces_in(path, tick) if binary is None else records_in(path, binary, tick):
        if isinstance(found, str):
            yield place, found
        elif isinstance(found, bytes) and binary in (Binary.UNDO, Binary.PLAIN_UNDO):
            yield place, Undo(found[32:], found[:32]) if binary is Binary.UNDO else Undo(found)
        else:
            try:
                if isinstance(found, bytes):
                    yield place, _of_bytes(found, network, None)
                elif found.form is Form.BITCOIN_BLOCK:
                    yield place, _of_json(found, network)
                elif found.form is Form.BITCOIN_HEX:
                    yield place, _of_hex(found, network)
            except DecodeError as error:
                yield place, str(error)


def _of_json(piece: Piece, network: Network) -> CoinBlock:
    found = assembled(piece.raw, network)
    positions = found.positions if found.bad else None
    return CoinBlock(found.block, found.height, found.rows, found.told, positions, found.bad, found.is_worked)


def _of_hex(piece: Piece, network: Network) -> CoinBlock:
    """Hexadecimal text, alone or as ``block`` (``hex``) beside a height."""
    text, height = piece.raw, None
    try:
        if piece.fields:
            raw = piece.fields.get("block", piece.fields.get("hex", b""))
            text = msgspec.json.decode(raw, type=str).encode()
            height = msgspec.json.decode(piece.fields.get("height", b"null"), type=int | None)
        data = bytes.fromhex(text.decode())
    except (msgspec.DecodeError, UnicodeError, ValueError) as error:
        raise DecodeError(f"not a raw block: {str(error)[:100]}") from None
    if not 0 <= (height or 0) < 1 << 32:
        raise DecodeError("a height that makes no sense")
    return _of_bytes(data, network, height)


def _of_bytes(data: bytes, network: Network, height: int | None) -> CoinBlock:
    """A serialised block. Where the work is missing it is read all the same, and the blind spots say so."""
    try:
        raw, is_worked = parse_block(data, network), network.params.get("work") != "unknown"
    except DecodeError:
        raw, is_worked = parse_block(data, network, check_work=False), False
    height = _height(raw) if height is None else height
    return CoinBlock(raw, height, len(raw.txs), is_worked=is_worked)


def _height(raw: RawBlock) -> int | None:
    """The height that a block itself says (BIP 34), None where it says none."""
    version = raw.header.version
    if version < 2 or (version & 0xFF < 2 and version >> _VERSIONS != 1):
        return None
    script = raw.txs[0].script_sigs[0]
    if not script:
        return None
    if 0x51 <= script[0] <= 0x60:
        return script[0] - 0x50
    size = script[0]
    if not 1 <= size <= 4 or len(script) <= size:
        return None
    return int.from_bytes(script[1 : 1 + size], "little", signed=True) if script[size] < 0x80 else None
