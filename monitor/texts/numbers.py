"""Texts that have a number each, asked a column at a time, compiled: who owns an address, which ones are watched."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from numba import njit, uint64
from numpy.typing import NDArray

from monitor.texts.located import Texts
from monitor.texts.memory import byte, word

__all__ = ["Numbers"]

_SPREAD = uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio
_LOAD = 4  # places a text, at least: strangers are nearly always told by the first one


class Numbers:
    """An open-addressing table of texts.

    Parameters
    ----------
    texts : each once, none of them empty
    numbers : int32 of 0 or more, one each; their places where not given

    Examples
    --------
    >>> Numbers(["a", "b"], [7, 5]).of(pl.Series(["b", None, "c", "a"])).tolist()
    [5, -1, -1, 7]
    """

    __slots__ = ("_bits", "_hashes", "_numbers", "_places", "_texts")

    def __init__(self, texts: Sequence[str], numbers: Sequence[int] | None = None) -> None:
        self._texts = Texts(pl.Series(texts, dtype=pl.String))
        self._numbers = np.arange(len(texts), dtype=np.int32) if numbers is None else np.array(numbers, np.int32)
        self._bits = np.uint64(max(4, (_LOAD * len(texts) - 1).bit_length()))
        self._hashes = np.zeros(1 << int(self._bits), np.uint64)
        self._places = np.full(1 << int(self._bits), -1, np.int32)
        _fill(self._texts.starts, self._texts.lengths, self._bits, self._hashes, self._places)

    def of(self, column: pl.Series) -> NDArray[np.int32]:
        """The number of each text, -1 where it has none: shape (n,)."""
        found = np.empty(len(column), np.int32)
        asked = Texts(column)
        _find(
            self._texts.starts, self._texts.lengths, self._numbers, self._bits, self._hashes, self._places,
            asked.starts, asked.lengths, found,
        )  # fmt: skip
        return found


@njit(cache=True, inline="always")
def _tail(start, length):  # type: ignore[no-untyped-def]
    """The last bytes of a text of less than eight, as a number."""
    found = uint64(0)
    for k in range(length):
        found |= uint64(byte(start + uint64(k))) << (uint64(k) << uint64(3))
    return found


@njit(cache=True)
def _hash(start, length):  # type: ignore[no-untyped-def]
    """A number of a text; that two texts share one is rare, and costs time alone."""
    if length < 8:
        h = _tail(start, length)
    else:
        h, factor = length, _SPREAD  # products that do not wait for one another
        end = start + length - uint64(8)
        while start < end:
            h += word(start) * factor
            factor += _SPREAD << uint64(1)
            start += uint64(8)
        h += word(end) * factor
    return (h ^ (h >> uint64(32))) * _SPREAD


@njit(cache=True)
def _equal(one, other, length):  # type: ignore[no-untyped-def]
    """Whether two texts of this length are the same."""
    if length < 8:
        return _tail(one, length) == _tail(other, length)
    rest = length - uint64(8)
    for at in range(uint64(0), rest, uint64(8)):
        if word(one + uint64(at)) != word(other + uint64(at)):
            return False
    return word(one + rest) == word(other + rest)


@njit(cache=True)
def _fill(starts, lengths, bits, hashes, places):  # type: ignore[no-untyped-def]
    mask = uint64(len(places) - 1)
    for i in range(len(starts)):
        h = _hash(starts[i], uint64(lengths[i]))
        at = h >> (uint64(64) - bits)
        while places[at] >= 0:
            at = (at + uint64(1)) & mask
        places[at] = i
        hashes[at] = h


@njit(cache=True, nogil=True)
def _find(starts, lengths, numbers, bits, hashes, places, asked, asked_lengths, found):  # type: ignore[no-untyped-def]
    mask = uint64(len(places) - 1)
    for i in range(len(asked)):
        length = uint64(asked_lengths[i])
        h = _hash(asked[i], length)
        at = h >> (uint64(64) - bits)
        found[i] = -1
        while places[at] >= 0:
            n = places[at]
            if hashes[at] == h and uint64(lengths[n]) == length and _equal(starts[n], asked[i], length):
                found[i] = numbers[n]
                break
            at = (at + uint64(1)) & mask
