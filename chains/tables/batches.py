"""Batches of rows of Parquet files: few where few rows touch, texts apart from their pages, the place of each row."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import cast

import polars as pl

from chains.tables.disorder import FILE
from chains.tables.task import Plan
from chains.tables.text import ROW

__all__ = ["SPAN", "Overflow", "apart", "ends", "file_of", "large", "placed"]

BATCH = 100_000  # rows that are looked at together
FEW = 1000  # rows whose texts are copied in no time
SPAN = 1_000_000  # rows of files that are read, or whose pages are held on to, at a time


class Overflow:
    """Whether the rows that are kept of files will be more than may stay in memory, most being kept.

    Then they are put aside meanwhile, and files must be read a span at a time: Polars reads far ahead of whoever takes
    its batches.

    Parameters
    ----------
    room : bytes of rows that may stay in memory
    total : how many rows the files have; 0 where they cannot be read a span at a time

    Attributes
    ----------
    is_expected : by what was kept so far; it stays true
    """

    def __init__(self, room: int, total: int) -> None:
        self.is_expected = False
        self._room, self._total = room, total
        self._bytes, self._rows = 0, 0

    def look(self, kept: pl.DataFrame) -> None:
        """Some more rows that are kept, in the order of the files."""
        done = ends(kept)[1]
        self._bytes, self._rows = self._bytes + int(kept.estimated_size()), self._rows + kept.height
        self.is_expected |= 2 * self._rows >= done and self._bytes * self._total > self._room * done


def large(batches: Iterable[pl.DataFrame], seen: Callable[[int], None] | None = None) -> Iterator[pl.DataFrame]:
    """The same rows in fewer batches: where few rows touch, most batches are nearly empty.

    Parameters
    ----------
    seen : told how far it is: the last row of the batches so far
    """
    held: list[pl.DataFrame] = []
    fresh: list[pl.DataFrame] = []  # their texts hold on to whole pages of the file yet
    rows = furthest = 0
    for batch in batches:
        if batch.is_empty():
            continue
        fresh.append(batch)
        rows += batch.height
        last = ends(batch)[1]
        if seen is not None:
            seen(furthest := max(furthest, last))
        if rows >= BATCH or last - ends(fresh[0])[0] >= SPAN:
            held.append(_apart(fresh))
            fresh = []
        if rows >= BATCH:
            yield pl.concat(held)
            held, rows = [], 0
    if rows:
        yield pl.concat([*held, *([_apart(fresh)] if fresh else [])])


def _apart(batches: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Batches as one, texts copied where few of many rows are kept: else each holds on to a whole page of its file."""
    kept = pl.concat(batches)
    first, last = ends(kept)
    return apart(kept, last - first + 1)


def apart(kept: pl.DataFrame, among: int) -> pl.DataFrame:
    """Rows with texts of their own, where few of many are kept, or few at all."""
    many = kept.height > FEW and 2 * kept.height >= among
    return kept if many else kept.with_columns(pl.col(pl.String) + "")


def file_of(plan: Plan) -> pl.Expr:
    """The column `FILE` of its rows."""
    return pl.lit(plan.order, dtype=pl.Int64).alias(FILE)


def ends(frame: pl.DataFrame) -> tuple[int, int]:
    """The first and the last of the files' rows among these."""
    first, last = frame[ROW].min(), frame[ROW].max()
    return cast(int, first), cast(int, last)


def placed(frame: pl.DataFrame, plans: Sequence[Plan], begins: Sequence[int]) -> pl.DataFrame:
    """Rows (at least one) numbered through all files with their file, and their number in it."""
    if len(plans) == 1:
        return frame.with_columns(file_of(plans[0]))
    first, last = (bisect_right(begins, row - 1, hi=len(plans)) - 1 for row in ends(frame))
    if first == last:
        return frame.with_columns(file_of(plans[first]), pl.col(ROW) - begins[first])
    starts = pl.Series("begin", begins[:-1], dtype=pl.Int64)
    place = starts.search_sorted(frame[ROW] - 1, side="right").cast(pl.Int64) - 1
    orders = pl.Series(FILE, [plan.order for plan in plans], dtype=pl.Int64)
    return frame.with_columns(orders.gather(place).alias(FILE), frame[ROW] - starts.gather(place))
