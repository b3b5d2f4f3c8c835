"""Transactions of the Bitcoin family within their bytes: `RawTx`, `Parts`; one alone: `parse_tx`.

Where the parts lie is known from one pass over the bytes; they are cut out where they are asked for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, overload

import numpy as np

from chains.bitcoin import tokens, wire
from monitor.errors import DecodeError
from monitor.networks import Network

__all__ = ["NOTHING", "Parts", "RawTx", "parse_tx"]

NOTHING = bytes(32) + b"\xff\xff\xff\xff"  # the outpoint of new coins


class RawTx:
    """A transaction within the bytes of its block, or alone; everything is read when it is asked for."""

    __slots__ = ("_block", "index")

    def __init__(self, block: Parts, index: int) -> None:
        self._block, self.index = block, index

    @property
    def hash(self) -> str:
        """The transaction's identifier (txid).

        Not of one that is wholly within Litecoin's extension block: it has no input and no output here.
        """
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
        return len(points) == 1 and points[0] == NOTHING

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

    def __init__(self, block: Parts) -> None:
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


class Parts:
    """Serialised transactions and where their parts lie, see `chains.bitcoin.wire.index`."""

    def __init__(self, data: bytes, found: tuple[Any, ...], network: Network | None) -> None:
        self.data = data
        self._has_tokens = network is not None and "cashaddr" in network.params
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
        """Of all outputs, in order, without the tokens that some networks have before them."""
        data = self.data
        places = zip(self._outs[:, 1].tolist(), self._outs[:, 2].tolist(), strict=True)
        found = [data[start:end] for start, end in places]
        return [tokens.without_token(script) for script in found] if self._has_tokens else found

    @cached_property
    def hashes(self) -> list[bytes]:
        """Identifiers of the transactions, in the byte order of blocks."""
        data, sha = self.data, hashlib.sha256
        texts = [
            data[start:end] if not flag else data[start : start + 4] + data[body:rest] + data[end - 4 : end]
            for start, body, rest, end, flag in self.txs_at
        ]
        return [sha(sha(text).digest()).digest() for text in texts]

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


def parse_tx(data: bytes, network: Network | None = None) -> RawTx:
    """One serialised transaction.

    Parameters
    ----------
    network : whose it is; without it, output scripts keep the tokens before them where a network has such

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
    return RawTx(Parts(data, found, network), 0)


def _length(data: bytes, at: int) -> tuple[int, int]:
    """A length whose form was checked, and the place after it."""
    first = data[at]
    if first < 0xFD:
        return first, at + 1
    size = {0xFD: 2, 0xFE: 4, 0xFF: 8}[first]
    return int.from_bytes(data[at + 1 : at + 1 + size], "little"), at + 1 + size
