"""Whole numbers in columns of texts, compiled: whether they are written plainly, and their nearest floats.

A number is plain that is nothing but decimal digits, without a needless zero in front.
Eight digits are read at a time: Lemire, "Number Parsing at a Gigabyte per Second", 2021.
"""

from __future__ import annotations

import math

import numpy as np
import polars as pl
from numba import uint64

from monitor.compiled import compiled
from monitor.texts.located import lent, text_at
from monitor.texts.memory import byte, word

__all__ = ["are_plain", "floats"]

LONGEST = 77  # digits of a plain number: whatever they are, they are below 2^256
_EXACT = 38  # digits of which 128 bits hold every number
_ZEROS = uint64(0x3030303030303030)
_LOW32 = uint64(0xFFFFFFFF)


def are_plain(column: pl.Series) -> bool:
    """Whether every text that is not null is a plain number of at most `LONGEST` digits.

    Examples
    --------
    >>> are_plain(pl.Series(["0", None, "120"])), are_plain(pl.Series(["007"])), are_plain(pl.Series([""]))
    (True, False, False)
    """
    plain: int = sum(_count_plain(*memory, end - begin) for begin, end, memory, _ in lent(column))
    return plain == len(column) - column.null_count()


def floats(column: pl.Series) -> pl.Series:
    """The Float64 next to each text's number, as Polars casts it; null where it is none.

    Examples
    --------
    >>> floats(pl.Series(["1000000000000000000000", None, "1.5"])).to_list()
    [1e+21, None, 1.5]
    """
    found = np.empty(len(column), np.float64)
    others = sum(_read(*memory, found[begin:end]) for begin, end, memory, _ in lent(column))
    numbers = pl.Series(column.name, found)
    if not others:
        return numbers
    places = pl.Series(np.flatnonzero(np.isnan(found)))
    return numbers.scatter(places, column.gather(places).cast(pl.Float64, strict=False))


@compiled(inline="always")
def _are_digits(w):  # type: ignore[no-untyped-def]
    """Whether eight bytes are decimal digits."""
    high = uint64(0xF0F0F0F0F0F0F0F0)
    return (w & high) == _ZEROS and ((w + uint64(0x0606060606060606)) & high) == _ZEROS


@compiled(inline="always")
def _eight(w):  # type: ignore[no-untyped-def]
    """The number of eight digits."""
    w = (w & uint64(0x0F0F0F0F0F0F0F0F)) * uint64(2561) >> uint64(8)
    w = (w & uint64(0x00FF00FF00FF00FF)) * uint64(6553601) >> uint64(16)
    return (w & uint64(0x0000FFFF0000FFFF)) * uint64(42949672960001) >> uint64(32)


@compiled(inline="always")
def _head(start, length):  # type: ignore[no-untyped-def]
    """The first ``length`` (1 to 8) bytes as eight digits, zeros in front."""
    spare = uint64(64) - (length << uint64(3))
    found = word(start) << spare
    return found | _ZEROS >> (uint64(64) - spare) if spare else found


@compiled()
def _is_plain(start, length):  # type: ignore[no-untyped-def]
    if length == 0 or length > LONGEST or (length > 1 and byte(start) == 48):
        return False
    first = (length - uint64(1)) % uint64(8) + uint64(1)
    good = _are_digits(_head(start, first))
    for at in range(start + first, start + length, uint64(8)):
        good &= _are_digits(word(uint64(at)))
    return good


@compiled(nogil=True)
def _count_plain(known, entries, buffers, offset, count):  # type: ignore[no-untyped-def]
    found = 0
    for i in range(count):
        start, length = text_at(known, entries, buffers, offset, i)
        found += _is_plain(start, length)
    return found


@compiled()
def _part(start, length):  # type: ignore[no-untyped-def]
    """The number of at most 19 digits."""
    if length == 0:
        return uint64(0)
    first = (length - uint64(1)) % uint64(8) + uint64(1)
    found = _eight(_head(start, first))
    for at in range(start + first, start + length, uint64(8)):
        found = found * uint64(100_000_000) + _eight(word(uint64(at)))
    return found


@compiled()
def _nearest(high, low):  # type: ignore[no-untyped-def]
    """The float next to ``high * 10**19 + low``, of which 128 bits hold the number; halves go to the even one."""
    ten, carry = uint64(10_000_000_000_000_000_000), uint64(32)
    a, b = high >> carry, high & _LOW32
    c, d = ten >> carry, ten & _LOW32
    middle = a * d + (b * d >> carry)  # below 2^64, as both factors of a product are below 2^32
    other = b * c + (middle & _LOW32)
    top = a * c + (middle >> carry) + (other >> carry)
    bottom = high * ten
    total = bottom + low
    top += uint64(1) if total < bottom else uint64(0)
    if top == 0:
        return float(total)
    shift = uint64(0)
    while top >> (uint64(63) - shift) == 0:
        shift += uint64(1)
    if shift:
        top = top << shift | total >> (uint64(64) - shift)
        total = total << shift
    top |= uint64(1) if total != 0 else uint64(0)  # what is cut off decides a tie
    return math.ldexp(float(top), int(uint64(64) - shift))


@compiled(nogil=True)
def _read(known, entries, buffers, offset, found):  # type: ignore[no-untyped-def]
    """Numbers of plain texts, NaN for all others. Returns how many these are."""
    count = 0
    for i in range(len(found)):
        start, length = text_at(known, entries, buffers, offset, i)
        if length > _EXACT or not _is_plain(start, length):
            found[i] = np.nan
            count += 1
        elif length <= 19:
            found[i] = float(_part(start, length))
        else:
            high = length - uint64(19)
            found[i] = _nearest(_part(start, high), _part(start + high, uint64(19)))
    return count
