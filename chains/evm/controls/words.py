"""Calldata read with bounds: words of 32 bytes, and what their offsets point to. Pure.

Contracts look at the lower 20 bytes of an address and at the last bytes of a small number; so does this. Calls with
other bits set fail in most contracts, and then nothing of them happens.
"""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["Words"]


class Words:
    """The arguments of a call, or a part of them; every reading raises ValueError outside of the data.

    Parameters
    ----------
    data : all arguments, without the selector
    start : where this part begins; offsets in it count from there

    >>> Words(bytes(31) + b"\\x2a").number(0)
    42
    """

    __slots__ = ("_data", "_start")

    def __init__(self, data: bytes, start: int = 0) -> None:
        self._data, self._start = data, start

    def number(self, place: int) -> int:
        """Word number ``place``."""
        at = self._start + 32 * place
        if at + 32 > len(self._data):
            raise ValueError("the data is too short")
        return int.from_bytes(self._data[at : at + 32], "big")

    def address(self, place: int) -> str:
        """The address in a word, lower case."""
        return f"0x{self.number(place) % 2**160:040x}"

    def after(self, place: int) -> Words:
        """What begins with word number ``place`` itself."""
        return Words(self._data, self._start + 32 * place)

    def part(self, place: int) -> Words:
        """What the offset in word number ``place`` points to."""
        start = self._start + self.number(place)
        if start + 32 > len(self._data):
            raise ValueError("a part outside of the data")
        return Words(self._data, start)

    def text(self, place: int) -> bytes:
        """The bytes that the offset in word number ``place`` points to."""
        part = self.part(place)
        size, begin = part.number(0), part._start + 32
        if size > len(self._data) - begin:
            raise ValueError("bytes outside of the data")
        return self._data[begin : begin + size]

    def rows(self, place: int, words: int, most: int) -> Iterator[Words]:
        """The items of an array of ``words`` words each, to which word number ``place`` points."""
        part = self.part(place)
        count = part.number(0)
        if count > most:
            raise ValueError(f"more than {most} items")
        for n in range(count):
            yield part.after(1 + words * n)
