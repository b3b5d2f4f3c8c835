"""Lower case of whole columns, compiled: addresses and hashes nearly always come in it already."""

from __future__ import annotations

import polars as pl
from numba import njit

import monitor.compiled  # noqa: F401 (where compiled kernels are kept)
from monitor.addresses.digest import joined

__all__ = ["lower"]

_PIECE = 16_384  # texts that are looked at together: they stay in the processor's cache


def lower(column: pl.Series) -> pl.Series:
    """The lower case of each text; the column itself, nothing copied, where no text has a letter that changes.

    Examples
    --------
    >>> lower(pl.Series(["0xAB", None])).to_list()
    ['0xab', None]
    """
    changes = any(_changes(joined(column.slice(at, _PIECE))) for at in range(0, len(column), _PIECE))
    return column.str.to_lowercase() if changes else column


@njit(cache=True, nogil=True)
def _changes(data):  # type: ignore[no-untyped-def]
    """Whether bytes have a capital, or a letter beyond ASCII, of which there are too many to know."""
    found = False
    for i in range(len(data)):
        found |= (data[i] >= 128) | ((data[i] >= 65) & (data[i] <= 90))
    return found
