"""Texts that have a number each, asked a column at a time, compiled: who owns an address, which ones are watched."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from numba import uint64
from numpy.typing import NDArray

from monitor.compiled import compiled
from monitor.texts.located import Texts, lent, text_at
from monitor.texts.memory import byte, word

__all__ = ["Numbers"]

_SPREAD = uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio
_CASE = 0x2020202020202020  # the bit of each byte by which capitals are not small letters; digits have it, too
_LOAD = 4  # places a text, at least: strangers are nearly always told by the first one


class Numbers:
    """An open-addressing table of texts.

    Parameters
    ----------
    texts : each once, none of them empty
    numbers : int32 of 0 or more, one each; their places where not given
    any_case : whether capitals are read as small letters; ``texts`` are then of digits and small Latin letters alone

    Examples
    --------
    >>> Numbers(["a", "b"], [7, 5]).of(pl.Series(["b", None, "c", "a", "A"])).tolist()
    [5, -1, -1, 7, -1]
    >>> Numbers(["0xab"], any_case=True).of(pl.Series(["0xAB", "0xab", "0xac"])).tolist()
    [0, 0, -1]
    """

    __slots__ = ("_table", "_texts")

    def __init__(self, texts: Sequence[str], numbers: Sequence[int] | None = None, any_case: bool = False) -> None:
        self._texts = Texts(pl.Series(texts, dtype=pl.String))
        given = np.arange(len(texts), dtype=np.int32) if numbers is None else np.array(numbers, np.int32)
        bits = max(4, (_LOAD * len(texts) - 1).bit_length())
        self._table = (
            self._texts.starts, self._texts.lengths, given, np.uint64(_CASE if any_case else 0),
            np.zeros(1 << bits, np.uint64), np.full(1 << bits, -1, np.int32), np.zeros(1 << bits, np.uint8),
        )  # fmt: skip
        _fill(*self._table)

    def of(self, column: pl.Series) -> NDArray[np.int32]:
        """The number of each text, -1 where it has none: shape (n,)."""
        found = np.empty(len(column), np.int32)
        for begin, end, memory, _ in lent(column):
            _numbers_of(*memory, *self._table, found[begin:end])
        return found

    def has(self, column: pl.Series) -> NDArray[np.bool_]:
        """Which texts have a number: shape (n,)."""
        found = np.empty(len(column), np.bool_)
        for begin, end, memory, _ in lent(column):
            _have_numbers(*memory, *self._table, found[begin:end])
        return found


@compiled(inline="always")
def _tail(start, length):  # type: ignore[no-untyped-def]
    """The last bytes of a text of less than eight, as a number."""
    found = uint64(0)
    for k in range(length):
        found |= uint64(byte(start + uint64(k))) << (uint64(k) << uint64(3))
    return found


@compiled()
def _hash(start, length, fold):  # type: ignore[no-untyped-def]
    """A number of a text with the bits of ``fold`` set; that two texts share one is rare, and costs time alone."""
    if length < 8:
        h = _tail(start, length) | fold
    else:
        h, factor = length, _SPREAD  # products that do not wait for one another
        end = start + length - uint64(8)
        while start < end:
            h += (word(start) | fold) * factor
            factor += _SPREAD << uint64(1)
            start += uint64(8)
        h += (word(end) | fold) * factor
    return (h ^ (h >> uint64(32))) * _SPREAD


@compiled(inline="always")
def _apart(known, other, fold):  # type: ignore[no-untyped-def]
    """Zero where eight bytes are the same, or differ by ``fold`` where the known one is a letter."""
    differ = known ^ other
    return (differ & ~fold) | ((differ << uint64(1)) & ~known)


@compiled()
def _equal(known, other, length, fold):  # type: ignore[no-untyped-def]
    """Whether two texts of this length are the same, but for case where ``fold`` is `_CASE`."""
    if length < 8:
        return _apart(_tail(known, length), _tail(other, length), fold) == 0
    rest = length - uint64(8)
    for at in range(uint64(0), rest, uint64(8)):
        if _apart(word(known + uint64(at)), word(other + uint64(at)), fold) != 0:
            return False
    return _apart(word(known + rest), word(other + rest), fold) == 0


@compiled(inline="always")
def _place(h, places):  # type: ignore[no-untyped-def]
    """Where in a table of 2^n places to look first."""
    return (h >> uint64(32)) & uint64(len(places) - 1)


@compiled(inline="always")
def _sign(start, length, fold, signs):  # type: ignore[no-untyped-def]
    """A bit of `signs`, as byte and mask, by the last bytes of a text alone: most strangers are told by it."""
    last = _tail(start, length) if length < 8 else word(start + length - uint64(8))
    h = ((last | fold) * _SPREAD) >> uint64(32)
    return h & uint64(len(signs) - 1), np.uint8(1) << np.uint8((h >> uint64(29)) & uint64(7))


@compiled()
def _fill(starts, lengths, numbers, fold, hashes, places, signs):  # type: ignore[no-untyped-def]
    mask = uint64(len(places) - 1)
    for i in range(len(starts)):
        length = uint64(lengths[i])
        h = _hash(starts[i], length, fold)
        at = _place(h, places)
        while places[at] >= 0:
            at = (at + uint64(1)) & mask
        places[at] = i
        hashes[at] = h
        byte_, bit = _sign(starts[i], length, fold, signs)
        signs[byte_] |= bit


@compiled(inline="always")
def _number(start, length, starts, lengths, numbers, fold, hashes, places, signs):  # type: ignore[no-untyped-def]
    """The number of one text, -1 where it has none."""
    byte_, bit = _sign(start, length, fold, signs)
    if signs[byte_] & bit == 0:
        return np.int32(-1)
    mask = uint64(len(places) - 1)
    h = _hash(start, length, fold)
    at = _place(h, places)
    while places[at] >= 0:
        n = places[at]
        if hashes[at] == h and uint64(lengths[n]) == length and _equal(starts[n], start, length, fold):
            return numbers[n]
        at = (at + uint64(1)) & mask
    return np.int32(-1)


@compiled(nogil=True)
def _numbers_of(  # type: ignore[no-untyped-def]
    known, entries, buffers, offset, starts, lengths, numbers, fold, hashes, places, signs, found
):
    for i in range(len(found)):
        start, length = text_at(known, entries, buffers, offset, i)
        found[i] = _number(start, length, starts, lengths, numbers, fold, hashes, places, signs)


@compiled(nogil=True)
def _have_numbers(  # type: ignore[no-untyped-def]
    known, entries, buffers, offset, starts, lengths, numbers, fold, hashes, places, signs, found
):
    for i in range(len(found)):
        start, length = text_at(known, entries, buffers, offset, i)
        found[i] = _number(start, length, starts, lengths, numbers, fold, hashes, places, signs) >= 0
