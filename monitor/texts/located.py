"""Where the texts of a column lie in memory: compiled code reads them there, and nothing is copied.

A column lends its memory by the Arrow C stream interface. A text of up to 12 bytes stands in its own entry of 16 bytes,
any other in a buffer that the entry names.
Source: the Arrow columnar format, "Variable-size Binary View Layout".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import nanoarrow
import numpy as np
import polars as pl
from numba import uint64
from numpy.typing import NDArray

from monitor.compiled import compiled
from monitor.texts.memory import byte, word

__all__ = ["Lent", "Texts", "lent", "text_at"]

_INLINE = 12  # bytes of the longest text that stands in its entry


class Lent(NamedTuple):
    """A piece of a column, for compiled code: see `text_at`.

    Attributes
    ----------
    known : address of the bitmap of texts that are not null; 0 where none is
    entries : address of the entries
    buffers : uint64 (n), addresses of what they name
    offset : entry of the first text
    """

    known: np.uint64
    entries: np.uint64
    buffers: NDArray[np.uint64]
    offset: np.uint64


def lent(column: pl.Series) -> Iterator[tuple[int, int, Lent, Any]]:
    """A column of texts, piece by piece: where each begins and ends, its memory, and what keeps that alive."""
    done = 0
    for part in nanoarrow.c_array_stream(column.cast(pl.String)):
        end, memory = done + len(part), np.array(part.buffers[:-1], np.uint64)  # the last one has their sizes
        yield done, end, Lent(memory[0], memory[1], memory[2:], np.uint64(part.offset)), part
        done = end


@compiled(inline="always")
def text_at(known, entries, buffers, offset, i):  # type: ignore[no-untyped-def]
    """Address of the first byte of a text of a piece, and its length in bytes: uint64 both."""
    place = offset + uint64(i)
    entry = entries + (place << uint64(4))
    length = word(entry) & uint64(0xFFFFFFFF)
    if known != 0 and (byte(known + (place >> uint64(3))) >> (place & uint64(7))) & uint64(1) == 0:
        length = uint64(0)
    if length <= _INLINE:
        return entry + uint64(4), length
    where = word(entry + uint64(8))
    return buffers[where & uint64(0xFFFFFFFF)] + (where >> uint64(32)), length


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
        for begin, end, memory, holder in lent(column):
            self._held.append(holder)
            _locate(*memory, self.starts[begin:end], self.lengths[begin:end])

    def __len__(self) -> int:
        return len(self.lengths)


@compiled(nogil=True)
def _locate(known, entries, buffers, offset, starts, lengths):  # type: ignore[no-untyped-def]
    """Fill in where texts start and how long they are."""
    for i in range(len(starts)):
        starts[i], lengths[i] = text_at(known, entries, buffers, offset, i)
