"""Chunks of a file so cut that the rows of a transaction, which follow each other, lie in one of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import polars as pl

from chains.tables.text import Chunk

__all__ = ["together"]

_MOST = 100_000  # rows of one transaction that are kept back; no block has as many calls


def together(chunks: Iterable[Chunk], columns: Sequence[str]) -> Iterator[Chunk]:
    """The same rows in the same order, cut between transactions.

    Parameters
    ----------
    columns : those that are equal in all rows of a transaction; names that the chunks lack do not count
    """
    kept: pl.DataFrame | None = None
    for chunk in chunks:
        rows = chunk.frame if kept is None else pl.concat([kept, chunk.frame])
        begun = _last(rows, columns)
        kept = rows[begun:]
        yield Chunk(rows[:begun], chunk.bad)
    if kept is not None:
        yield Chunk(kept)


def _last(rows: pl.DataFrame, columns: Sequence[str]) -> int:
    """Where the rows of the last transaction begin."""
    keys = [name for name in columns if name in rows.columns]
    if rows.is_empty() or not keys:
        return rows.height
    differs = rows.select(pl.any_horizontal(pl.col(name).ne_missing(pl.col(name).last()) for name in keys)).to_series()
    begun = int(differs.arg_true()[-1]) + 1 if differs.any() else 0
    return begun if rows.height - begun <= _MOST else rows.height
