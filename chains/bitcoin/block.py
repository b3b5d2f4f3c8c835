"""Raw blocks and transactions of the Bitcoin family: `parse_block`, `parse_tx`.

What a block claims is checked before anything of it is used: the hash of its transactions against the merkle root, the
witnesses against their commitment, the work of the header. Its parts are cut out only where they are asked for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, overload

import numpy as np

from chains.bitcoin import auxpow, merkle, wire, work
from monitor.errors import DecodeError
from monitor.networks import Network

__all__ = ["HEADER", "Header", "RawBlock", "RawTx", "parse_block", "parse_header", "parse_tx"]

HEADER = 80  # bytes
_NO_HASH = bytes(32)
_LAST = b"\xff\xff\xff\xff"
_COMMITMENT = bytes.fromhex("6a24aa21a9ed")  # BIP 141


@dataclass(frozen=True, slots=True)
class Header:
    """A block header. Hashes are as people write them; ``time`` is in UTC seconds."""

    version: int
    parent: str
    merkle_root: str
    time: int
    bits: int
    nonce: int
    hash: str


class RawTx:
    """A transaction within the bytes of its block, or alone; everything is read when it is asked for."""

    __slots__ = ("_block", "index")

    def __init__(self, block: _Parts, index: int) -> None:
        self._block, self.index = block, index

    @property
    def hash(self) -> str:
        """The transaction's identifier (txid)."""
        return self._block.hashes[self.index][::-1].hex()

    @property
    def raw(self) -> bytes:
        """All of it, with witnesses."""
        start, _, _, end, _ = self._block.txs_at[self.index]
        return self._block.data[start:end]

    @property
    def version(self) -> int:
        """As it is written there, signed."""
        start = self._block.txs_at[self.index][0]
        return int.from_bytes(self._block.data[start : start + 4], "little", signed=True)

    @property
    def lock_time(self) -> int:
        """A height, or from 500,000,000 on UTC seconds."""
        end = self._block.txs_at[self.index][3]
        return int.from_bytes(self._block.data[end - 4 : end], "little")

    @property
    def size(self) -> int:
        """Bytes, with witnesses."""
        start, _, _, end, _ = self._block.txs_at[self.index]
        return end - start

    @property
    def vsize(self) -> int:
        """Virtual bytes (BIP 141): what fee rates count."""
        start, body, rest, end, flag = self._block.txs_at[self.index]
        if not flag & wire.WITNESS:
            return end - start if not flag else 8 + rest - body
        base = 8 + rest - body
        return (3 * base + (end - start) + 3) // 4

    @property
    def is_coinbase(self) -> bool:
        """Whether it makes new coins."""
        points = self.outpoints
        return len(points) == 1 and points[0] == _NO_HASH + _LAST

    @property
    def outpoints(self) -> list[bytes]:
        """What its inputs spend, 36 bytes each."""
        first, last = self._inputs
        return self._block.outpoints[first:last]

    @property
    def sequences(self) -> list[int]:
        """Sequence numbers of its inputs."""
        first, last = self._inputs
        data, ins = self._block.data, self._block.ins
        return [int.from_bytes(data[ins[n][2] : ins[n][2] + 4], "little") for n in range(first, last)]

    @property
    def script_sigs(self) -> list[bytes]:
        """Scripts of its inputs."""
        first, last = self._inputs
        data, ins = self._block.data, self._block.ins
        return [data[ins[n][1] : ins[n][2]] for n in range(first, last)]

    @property
    def witnesses(self) -> list[list[bytes]]:
        """The witness of each input; an empty list where it has none."""
        first, last = self._inputs
        return [self._block.witness(n) for n in range(first, last)]

    def shown(self, number: int) -> tuple[bytes, list[bytes]]:
        """Script and witness of one input: what it shows of the script that it spends."""
        place = self._block.first_input[self.index] + number
        _, start, end, _ = self._block.ins[place]
        return self._block.data[start:end], self._block.witness(place)

    @property
    def output_values(self) -> list[int]:
        """Base units of its outputs."""
        first, last = self._outputs
        return self._block.output_values[first:last]

    @property
    def output_scripts(self) -> list[bytes]:
        """Scripts of its outputs."""
        first, last = self._outputs
        return self._block.output_scripts[first:last]

    @property
    def _inputs(self) -> tuple[int, int]:
        first = self._block.first_input
        return first[self.index], first[self.index + 1]

    @property
    def _outputs(self) -> tuple[int, int]:
        first = self._block.first_output
        return first[self.index], first[self.index + 1]


class _Txs(Sequence[RawTx]):
    """The transactions of a block, made when they are asked for."""

    def __init__(self, block: _Parts) -> None:
        self._block = block

    def __len__(self) -> int:
        return len(self._block.txs_at)

    @overload
    def __getitem__(self, place: int) -> RawTx: ...

    @overload
    def __getitem__(self, place: slice) -> list[RawTx]: ...

    def __getitem__(self, place: int | slice) -> RawTx | list[RawTx]:
        if isinstance(place, slice):
            return [RawTx(self._block, n) for n in range(*place.indices(len(self)))]
        if not -len(self) <= place < len(self):
            raise IndexError(place)
        return RawTx(self._block, place % len(self))

    def __iter__(self) -> Iterator[RawTx]:
        return (RawTx(self._block, n) for n in range(len(self)))


class _Parts:
    """Serialised transactions and where their parts lie, see `chains.bitcoin.wire.index`."""

    def __init__(self, data: bytes, found: tuple[Any, ...]) -> None:
        self.data = data
        _, _, txs, ins, outs, first_in, first_out = found
        self.txs_at: list[list[int]] = txs.tolist()
        self._ins, self._outs = ins, outs
        self.first_input: list[int] = first_in.tolist()
        self.first_output: list[int] = first_out.tolist()

    @property
    def txs(self) -> Sequence[RawTx]:
        """The transactions."""
        return _Txs(self)

    @cached_property
    def ins(self) -> list[list[int]]:
        """Columns of the inputs."""
        found: list[list[int]] = self._ins.tolist()
        return found

    @cached_property
    def outpoints(self) -> list[bytes]:
        """Of all inputs, in order, 36 bytes each."""
        data = self.data
        return [data[at : at + 36] for at in self._ins[:, 0].tolist()]

    @cached_property
    def output_values(self) -> list[int]:
        """Of all outputs, in order, in base units."""
        data = self.data
        return [int.from_bytes(data[at : at + 8], "little") for at in self._outs[:, 0].tolist()]

    @cached_property
    def output_scripts(self) -> list[bytes]:
        """Of all outputs, in order."""
        data = self.data
        return [data[start:end] for _, start, end in self._outs.tolist()]

    @cached_property
    def hashes(self) -> list[bytes]:
        """Identifiers of the transactions, in the byte order of blocks."""
        data, sha = self.data, hashlib.sha256
        found = []
        for start, body, rest, end, flag in self.txs_at:
            text = data[start:end] if not flag else data[start : start + 4] + data[body:rest] + data[end - 4 : end]
            found.append(sha(sha(text).digest()).digest())
        return found

    def witness(self, place: int) -> list[bytes]:
        """The witness of an input."""
        at = self.ins[place][3]
        if at < 0:
            return []
        count, at = _length(self.data, at)
        items = []
        for _ in range(count):
            size, at = _length(self.data, at)
            items.append(self.data[at : at + size])
            at += size
        return items


class RawBlock(_Parts):
    """A checked block; flat columns over all of its transactions, and the transactions themselves."""

    def __init__(self, data: bytes, header: Header, found: tuple[Any, ...]) -> None:
        super().__init__(data, found)
        self.header = header

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.data)


def parse_header(data: bytes) -> Header:
    """The header in the first 80 bytes; nothing of it is checked.

    Raises
    ------
    DecodeError : there are fewer
    """
    if len(data) < HEADER:
        raise DecodeError(f"a block header has {HEADER} bytes, found {len(data)}")
    number = [int.from_bytes(data[at : at + 4], "little") for at in (68, 72, 76)]
    return Header(
        version=int.from_bytes(data[:4], "little", signed=True),
        parent=data[35:3:-1].hex(),
        merkle_root=data[67:35:-1].hex(),
        time=number[0],
        bits=number[1],
        nonce=number[2],
        hash=work.sha256d(data[:HEADER])[::-1].hex(),
    )


def parse_block(data: bytes | memoryview, network: Network, *, check_work: bool = True) -> RawBlock:
    """A serialised block, checked.

    Parameters
    ----------
    data : the block as nodes give it, with the work of another chain where it has that (AuxPoW)
    network : whose it is
    check_work : whether the header must show the work that it claims

    Raises
    ------
    DecodeError : it is cut off or has too much, its transactions are not those of the merkle root, its witnesses not
        those of the commitment, or its work is missing
    """
    data = bytes(data)
    header = parse_header(data)
    merged, at = None, HEADER
    if header.version & auxpow.FLAG and "merged" in network.params:
        merged, at = auxpow.parse(data, HEADER)
    if check_work:
        if merged is not None:
            merged.check(header, network)
        work.check(data[:HEADER] if merged is None else merged.parent, header.bits, network)
    count, at = _checked_length(data, at)
    if not count:
        raise DecodeError("a block without transactions")
    found = wire.index(np.frombuffer(data, np.uint8), at, count)
    status, at = found[0], found[1]
    if status != wire.OK:
        raise DecodeError(f"not a block: {wire.PROBLEMS[status]} (byte {at})")
    block = RawBlock(data, header, found)
    if at != len(data) and not (block.txs_at[-1][4] & wire.MWEB and data[at] == 1):
        raise DecodeError(f"{len(data) - at} bytes too many after the last transaction")
    _check_transactions(block)
    return block


def parse_tx(data: bytes) -> RawTx:
    """One serialised transaction.

    Raises
    ------
    DecodeError : it is cut off, has too much, or makes no sense
    """
    data = bytes(data)
    found = wire.index(np.frombuffer(data, np.uint8), 0, 1, alone=True)
    status, at = found[0], found[1]
    if status != wire.OK:
        raise DecodeError(f"not a transaction: {wire.PROBLEMS[status]} (byte {at})")
    if at != len(data):
        raise DecodeError(f"{len(data) - at} bytes too many after the transaction")
    return RawTx(_Parts(data, found), 0)


def _check_transactions(block: RawBlock) -> None:
    root, is_doubled = merkle.root(block.hashes)
    if root[::-1].hex() != block.header.merkle_root:
        raise DecodeError("its transactions are not those of its merkle root")
    if is_doubled:
        raise DecodeError("transactions are repeated in a way that keeps the merkle root (CVE-2012-2459)")
    first, last = block.first_input[0], block.first_input[1]
    if last - first != 1 or block.outpoints[0] != _NO_HASH + _LAST:
        raise DecodeError("its first transaction makes no new coins")
    if any(flag & wire.WITNESS for *_, flag in block.txs_at):
        _check_witnesses(block)


def _check_witnesses(block: RawBlock) -> None:
    """BIP 141: a commitment in the coinbase's last output of that form. Those of before segwit cannot have any."""
    scripts = block.output_scripts[: block.first_output[1]]
    said = [script for script in scripts if script.startswith(_COMMITMENT) and len(script) >= 38]
    reserved = block.witness(0)
    if not said or len(reserved) != 1 or len(reserved[0]) != 32:
        raise DecodeError("it has witnesses that its coinbase does not commit to")
    hashes = [bytes(32)]
    data = block.data
    for place, (start, _, _, end, flag) in enumerate(block.txs_at[1:], 1):
        hashes.append(work.sha256d(data[start:end]) if flag & wire.WITNESS else block.hashes[place])
    root, _ = merkle.root(hashes)
    if work.sha256d(root + reserved[0]) != said[-1][6:38]:
        raise DecodeError("its witnesses are not those of the commitment")


def _length(data: bytes, at: int) -> tuple[int, int]:
    """A length whose form was checked, and the place after it."""
    first = data[at]
    if first < 0xFD:
        return first, at + 1
    size = {0xFD: 2, 0xFE: 4, 0xFF: 8}[first]
    return int.from_bytes(data[at + 1 : at + 1 + size], "little"), at + 1 + size


def _checked_length(data: bytes, at: int) -> tuple[int, int]:
    value, after, status = wire.varint(np.frombuffer(data, np.uint8), at, len(data))
    if status != wire.OK:
        raise DecodeError(f"not a block: {wire.PROBLEMS[status]} (byte {at})")
    return int(value), int(after)
