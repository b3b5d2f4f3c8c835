"""Lower case of whole columns, compiled: addresses and hashes nearly always come in it already."""

from __future__ import annotations

import polars as pl
from numba import uint64

from monitor.compiled import compiled
from monitor.texts.located import lent, text_at
from monitor.texts.memory import byte, word

__all__ = ["are_small", "lower"]

_HIGH = uint64(0x8080808080808080)  # the highest bit of each byte
_FROM_A = uint64(0x3F3F3F3F3F3F3F3F)  # added to a byte: its highest bit is set from "A" on,
_BEHIND_Z = uint64(0x2525252525252525)  # and behind "Z"


def lower(column: pl.Series) -> pl.Series:
    """The lower case of each text; the column itself, nothing copied, where no text has a letter that changes.

    Examples
    --------
    >>> lower(pl.Series(["0xAB", None])).to_list()
    ['0xab', None]
    """
    return column.str.to_lowercase() if _survey(column)[1] else column


def are_small(column: pl.Series) -> bool:
    """Whether no text is empty or has a letter that `lower` would change; a null is none.

    Examples
    --------
    >>> are_small(pl.Series(["0xab", None])), are_small(pl.Series(["0xAB"])), are_small(pl.Series([""]))
    (True, False, False)
    """
    filled, change = _survey(column)
    return filled == len(column) - column.null_count() and not change


def _survey(column: pl.Series) -> tuple[int, bool]:
    """How many texts are not empty, and whether one may change."""
    filled, change = 0, False
    for begin, end, memory, _ in lent(column):
        some, changes = _look(*memory, end - begin)
        filled, change = filled + some, change or changes
    return filled, change


@compiled(nogil=True)
def _look(known, entries, buffers, offset, count):  # type: ignore[no-untyped-def]
    """How many texts are not empty; whether one has a capital, or a letter beyond ASCII: too many to know."""
    found, filled = uint64(0), 0
    for i in range(count):
        start, length = text_at(known, entries, buffers, offset, i)
        filled += length > 0
        if length < 8:
            for k in range(length):
                found |= _changing(uint64(byte(start + uint64(k))))
            continue
        end = start + length - uint64(8)  # of the last eight bytes
        at = start
        while at < end:
            found |= _changing(word(at))
            at += uint64(8)
        found |= _changing(word(end))
    return filled, found != 0


@compiled(inline="always")
def _changing(w):  # type: ignore[no-untyped-def]
    """Not zero where one of eight bytes is a capital, or beyond ASCII."""
    low = w & ~_HIGH
    return (w | ((low + _FROM_A) & ~(low + _BEHIND_Z))) & _HIGH
