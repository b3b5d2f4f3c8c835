"""Undo data: what the inputs of a block spent, as nodes keep it beside the block. It makes raw blocks whole.

Two forms are known: Bitcoin Core's (``rev*.dat``, a record of which is a ``CBlockUndo``: compressed amounts and
scripts, by transaction), and plain outputs one after another in the order of the inputs (bcoin).
"""

from __future__ import annotations

from collections.abc import Iterator

from coincurve import PublicKey

from chains.bitcoin.base import Prevout
from chains.bitcoin.block import RawBlock
from monitor.errors import DecodeError

__all__ = ["core_undo", "plain_undo"]

_LARGEST_SCRIPT = 10_000  # bytes; Core keeps longer ones as unspendable
_CODES = {0: (b"\x76\xa9\x14", 20, b"\x88\xac"), 1: (b"\xa9\x14", 20, b"\x87")}


def plain_undo(data: bytes, block: RawBlock) -> dict[bytes, Prevout]:
    """Prevouts by outpoint from outputs in the order of the block's inputs.

    Raises
    ------
    DecodeError : they are not as many as the block has inputs, or cut off
    """
    reader = _Reader(data)
    points = block.outpoints[block.first_input[1] :]
    found = {}
    for point in points:
        value = int.from_bytes(reader.take(8), "little")
        found[point] = Prevout(value, reader.take(reader.size()))
    reader.end()
    return found


def core_undo(data: bytes, block: RawBlock) -> dict[bytes, Prevout]:
    """Prevouts by outpoint from a ``CBlockUndo``, without the check sum that follows it in the file.

    Raises
    ------
    DecodeError : it is not that of this block, or cut off
    """
    reader = _Reader(data)
    count = reader.size()
    if count != len(block.txs) - 1:
        raise DecodeError(f"undo data of {count} transactions for a block of {len(block.txs)}")
    found = {}
    for tx in block.txs[1:]:
        points = tx.outpoints
        if reader.size() != len(points):
            raise DecodeError(f"undo data of another number of inputs than transaction {tx.index} has")
        for point in points:
            found[point] = reader.coin()
    if not block.has_extension:  # what its extension block undoes follows
        reader.end()
    return found


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def take(self, count: int) -> bytes:
        if count > len(self._data) - self._at:
            raise DecodeError("undo data is cut off")
        self._at += count
        return self._data[self._at - count : self._at]

    def end(self) -> None:
        if self._at != len(self._data):
            raise DecodeError(f"{len(self._data) - self._at} bytes too many after the undo data")

    def size(self) -> int:
        """A length as in blocks."""
        first = self.take(1)[0]
        return first if first < 0xFD else int.from_bytes(self.take({0xFD: 2, 0xFE: 4, 0xFF: 8}[first]), "little")

    def varint(self) -> int:
        """Core's own form of numbers: seven bits a byte, highest first, each further byte one more."""
        value = 0
        for byte in self._bytes():
            value = value << 7 | byte & 0x7F
            if byte < 0x80:
                return value
            value += 1
            if value >= 1 << 64:
                break
        raise DecodeError("undo data has a number that is too large")

    def coin(self) -> Prevout:
        """An output: height and coinbase, amount, script."""
        if self.varint() >> 1:
            self.varint()  # a version, which old nodes wrote
        return Prevout(_amount(self.varint()), self._script())

    def _bytes(self) -> Iterator[int]:
        while True:
            yield self.take(1)[0]

    def _script(self) -> bytes:
        code = self.varint()
        if code in _CODES:
            before, size, after = _CODES[code]
            return before + self.take(size) + after
        if code in (2, 3):
            return b"\x21" + bytes([code]) + self.take(32) + b"\xac"
        if code in (4, 5):
            try:
                key = PublicKey(bytes([code - 2]) + self.take(32)).format(compressed=False)
            except ValueError:
                raise DecodeError("undo data has a key that is none") from None
            return b"\x41" + key + b"\xac"
        size = code - 6
        if size > _LARGEST_SCRIPT:
            self.take(size)
            return b"\x6a"
        return self.take(size)


def _amount(number: int) -> int:
    """An amount from its compressed form: the zeros at its end are counted."""
    if not number:
        return 0
    zeros, rest = (number - 1) % 10, (number - 1) // 10
    if zeros < 9:
        digit = rest % 9 + 1
        value = rest // 9 * 10 + digit
    else:
        value = rest + 1
    return int(value * 10**zeros)
