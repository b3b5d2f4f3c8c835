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
_ALIKE = 4  # texts with one end, at most, where hashes are made of ends alone
_BLOCK = 1024  # texts that are looked at together: they stay in the caches
_ENTRY = np.dtype([("hash", "u8"), ("start", "u8"), ("length", "u4"), ("number", "i4")])  # of a text; length 0: none
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
        self._texts = known = Texts(pl.Series(texts, dtype=pl.String))
        given = np.arange(len(texts), dtype=np.int32) if numbers is None else np.array(numbers, np.int32)
        fold, size = np.uint64(_CASE if any_case else 0), 1 << max(4, (_LOAD * len(texts) - 1).bit_length())
        ends = np.empty(len(texts), np.uint64)
        _ends_of(known.starts, known.lengths, fold, ends)
        alike = int(np.unique(ends, return_counts=True)[1].max(initial=0)) > _ALIKE
        self._table = np.zeros(size, _ENTRY), fold, alike, np.zeros(size, np.uint8)
        _fill(known.starts, known.lengths, given, *self._table)

    def of(self, column: pl.Series) -> NDArray[np.int32]:
        """The number of each text, -1 where it has none: shape (n,)."""
        found, maybe = np.empty(len(column), np.int32), np.empty(_BLOCK, np.int64)
        for begin, end, memory, _ in lent(column):
            _find(*memory, *self._table, maybe, found[begin:end])
        return found

    def has(self, column: pl.Series) -> NDArray[np.bool_]:
        """Which texts have a number: shape (n,)."""
        return self.of(column) >= 0


@compiled(inline="always")
def _end(start, length, fold):  # type: ignore[no-untyped-def]
    """The last eight bytes of a text, all where it has less, with the bits of ``fold`` set."""
    if length >= 8:
        return word(start + length - uint64(8)) | fold
    return _short(start, length) | fold


@compiled()
def _short(start, length):  # type: ignore[no-untyped-def]
    """A text of less than eight bytes as a number."""
    found = uint64(0)
    for k in range(length):
        found |= uint64(byte(start + uint64(k))) << (uint64(k) << uint64(3))
    return found


@compiled()
def _ends_of(starts, lengths, fold, ends):  # type: ignore[no-untyped-def]
    for i in range(len(starts)):
        ends[i] = _end(starts[i], uint64(lengths[i]), fold)


@compiled(inline="always")
def _hash(start, length, fold, alike, end):  # type: ignore[no-untyped-def]
    """A number of a text, of its end alone unless many are ``alike``; that two texts share one costs time alone."""
    h, factor = end * _SPREAD, _SPREAD
    if alike:
        for at in range(uint64(8), length, uint64(8)):
            factor += _SPREAD << uint64(1)
            h += (word(start + uint64(at) - uint64(8)) | fold) * factor
    return (h ^ (h >> uint64(32))) * _SPREAD


@compiled(inline="always")
def _place(h, places):  # type: ignore[no-untyped-def]
    """Where in a table of 2^n places to look first."""
    return (h >> uint64(32)) & uint64(len(places) - 1)


@compiled(inline="always")
def _sign(end, signs):  # type: ignore[no-untyped-def]
    """The bit of ``signs`` that belongs to an end, as byte and mask: nearly all strangers are told by it."""
    h = end * _SPREAD >> uint64(32)
    return h & uint64(len(signs) - 1), np.uint8(1) << np.uint8((h >> uint64(29)) & uint64(7))


@compiled(inline="always")
def _apart(known, other, fold):  # type: ignore[no-untyped-def]
    """Zero where eight bytes are the same, or differ by ``fold`` where the known one is a letter."""
    differ = known ^ other
    return (differ & ~fold) | ((differ << uint64(1)) & ~known)


@compiled()
def _equal(known, other, length, fold):  # type: ignore[no-untyped-def]
    """Whether two texts of this length are the same, but for case where ``fold`` is `_CASE`."""
    if length < 8:
        return _apart(_short(known, length), _short(other, length), fold) == 0
    rest = length - uint64(8)
    for at in range(uint64(0), rest, uint64(8)):
        if _apart(word(known + uint64(at)), word(other + uint64(at)), fold) != 0:
            return False
    return _apart(word(known + rest), word(other + rest), fold) == 0


@compiled()
def _fill(starts, lengths, numbers, table, fold, alike, signs):  # type: ignore[no-untyped-def]
    mask = uint64(len(table) - 1)
    for i in range(len(starts)):
        length = uint64(lengths[i])
        end = _end(starts[i], length, fold)
        h = _hash(starts[i], length, fold, alike, end)
        at = _place(h, table)
        while table[at].length > 0:
            at = (at + uint64(1)) & mask
        entry = table[at]
        entry.hash, entry.start, entry.length, entry.number = h, starts[i], lengths[i], numbers[i]
        which, bit = _sign(end, signs)
        signs[which] |= bit


@compiled(inline="always")
def _number(start, length, end, table, fold, alike):  # type: ignore[no-untyped-def]
    """The number of one text, -1 where it has none."""
    mask = uint64(len(table) - 1)
    h = _hash(start, length, fold, alike, end)
    at = _place(h, table)
    while table[at].length > 0:
        entry = table[at]
        if entry.hash == h and uint64(entry.length) == length and _equal(entry.start, start, length, fold):
            return entry.number
        at = (at + uint64(1)) & mask
    return np.int32(-1)


@compiled(nogil=True)
def _find(known, entries, buffers, offset, table, fold, alike, signs, maybe, found):  # type: ignore[no-untyped-def]
    """Fill in numbers. First all strangers are told in a loop without a branch, which nobody could foretell."""
    for begin in range(0, len(found), _BLOCK):
        many = 0
        for i in range(begin, min(begin + _BLOCK, len(found))):
            start, length = text_at(known, entries, buffers, offset, i)
            which, bit = _sign(_end(start, length, fold), signs)
            found[i] = -1
            maybe[many] = i
            many += int(signs[which] & bit != 0)
        for k in range(many):
            i = maybe[k]
            start, length = text_at(known, entries, buffers, offset, i)
            found[i] = _number(start, length, _end(start, length, fold), table, fold, alike)
