"""Where the texts of a column lie in memory: compiled code reads them there, and nothing is copied.

A column lends its memory by the Arrow C stream interface. A text of up to 12 bytes stands in its own entry of 16 bytes,
any other in a buffer that the entry names.
Source: the Arrow columnar format, "Variable-size Binary View Layout".
"""

from __future__ import annotations

from typing import Any

import nanoarrow
import numpy as np
import polars as pl
from numba import njit, uint64

from monitor.texts.memory import byte, word

__all__ = ["Texts"]

_INLINE = 12  # bytes of the longest text that stands in its entry


class Texts:
    """The texts of a column; a null is an empty one.

    Attributes
    ----------
    starts : uint64 (n), address of the first byte; valid while this object lives
    lengths : uint32 (n), in bytes
    """

    __slots__ = ("_held", "lengths", "starts")

    def __init__(self, column: pl.Series) -> None:
        self.starts, self.lengths = np.empty(len(column), np.uint64), np.empty(len(column), np.uint32)
        self._held: list[Any] = [column]
        done = 0
        for part in nanoarrow.c_array_stream(column.cast(pl.String)):
            self._held.append(part)
            end, lent = done + len(part), np.array(part.buffers[:-1], np.uint64)  # the last one has their sizes
            _locate(lent[0], lent[1], lent[2:], np.uint64(part.offset), self.starts[done:end], self.lengths[done:end])
            done = end

    def __len__(self) -> int:
        return len(self.lengths)


@njit(cache=True, nogil=True)
def _locate(known, entries, buffers, offset, starts, lengths):  # type: ignore[no-untyped-def]
    """Fill in where texts start and how long they are; ``known`` is the bitmap of those that are not null, or 0."""
    for i in range(len(starts)):
        place = offset + uint64(i)
        entry = entries + (place << uint64(4))
        length = word(entry) & uint64(0xFFFFFFFF)
        if known != 0 and (byte(known + (place >> uint64(3))) >> (place & uint64(7))) & uint64(1) == 0:
            length = uint64(0)
        lengths[i] = length
        starts[i] = entry + uint64(4)
        if length > _INLINE:
            where = word(entry + uint64(8))
            starts[i] = buffers[where & uint64(0xFFFFFFFF)] + (where >> uint64(32))
