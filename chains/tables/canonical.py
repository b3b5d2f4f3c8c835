"""Batches that are canonical already: their columns are passed on as they are.

Where the columns that an expression looks at are the same in all rows, it says of every row what it says of the first.
Where the other columns are plain (nothing missing that is needed, no text empty, no capital, no amount but a whole
number above zero), they pass every check, and what is made of them is themselves. Most files of the native table are
like that, and to see it costs a fraction of asking each row. All else goes the long way, which says what is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import polars as pl

from chains.tables.disorder import FILE
from chains.tables.layout import FRAME
from chains.tables.pieces import AXIS
from chains.tables.raw import YEAR_2200
from chains.tables.text import ROW
from monitor.texts.digits import are_plain
from monitor.texts.letters import are_small

__all__ = ["Canonical"]

_AMOUNTS = ("value", "fee")
_NEEDED = ("transaction_hash", "from_address", "to_address", "value", "block_number", "block_timestamp")


class Canonical:
    """What is asked of the batches of one file, and what is made of those that are canonical.

    Parameters
    ----------
    same : columns that are those of the file where they are plain, see `chains.tables.layout.Build.same`
    broken, columns : whether a row fails a check, and what is kept of one that does not
    dtypes : of the columns of the file
    """

    def __init__(
        self, same: Sequence[str], broken: pl.Expr, columns: Sequence[pl.Expr], dtypes: Mapping[str, pl.DataType]
    ) -> None:
        self._broken, self._columns = broken, columns
        self._same = frozenset(name for name in same if name in dtypes and _fits(name, dtypes[name]))
        looked_at = {name for expression in (broken, *columns) for name in expression.meta.root_names()}
        self._fixed = looked_at - self._same - {FILE, ROW}
        self._is_possible = self._same >= {"block_number", "transaction_hash", "value"}
        self._firsts: dict[tuple[Any, ...], tuple[bool, pl.DataFrame]] = {}

    def holds(self, frame: pl.DataFrame, constant: Mapping[str, Any]) -> bool:
        """Whether all rows are good and canonical, as far as can be seen.

        Parameters
        ----------
        frame : rows of the file
        constant : what stands in columns that are the same in all of them
        """
        if not self._is_possible or not self._fixed <= constant.keys() or frame.is_empty():
            return False
        return self._first(frame, constant)[0] and all(_is_plain(frame[name]) for name in self._same - constant.keys())

    def rows(self, frame: pl.DataFrame, constant: Mapping[str, Any]) -> pl.DataFrame:
        """The columns that are kept of rows of which `holds` is true."""
        first, passed = self._first(frame, constant)[1], (self._same - constant.keys()) | {FILE, ROW}
        made = [
            pl.col(column.name).cast(column.dtype) if column.name in passed
            else pl.col("block_number").cast(pl.Int64).alias(AXIS) if column.name == AXIS
            else pl.lit(column[0], dtype=column.dtype).alias(column.name)
            for column in first
        ]  # fmt: skip
        return frame.select(made)

    def _first(self, frame: pl.DataFrame, constant: Mapping[str, Any]) -> tuple[bool, pl.DataFrame]:
        """Whether the first row is good, and what is kept of it: of all rows with the same constants alike."""
        key = tuple((name, constant[name]) for name in sorted(constant.keys() & (self._fixed | self._same)))
        if key not in self._firsts:
            row = frame.head(1)
            good = not row.select(self._broken.alias("bad"))["bad"].any()
            self._firsts[key] = good, row.select(self._columns)
        return self._firsts[key]


def _fits(name: str, dtype: pl.DataType) -> bool:
    """Whether a column of the file has the type in which it can be canonical."""
    return dtype == pl.String if FRAME[name] == pl.String else dtype.is_integer()


def _is_plain(column: pl.Series) -> bool:
    if column.name in _NEEDED and column.null_count():
        return False
    if column.name in _AMOUNTS:
        return are_plain(column) and not (column == "0").any()
    if column.dtype == pl.String:
        return are_small(column)
    low, high = cast("tuple[int | None, int | None]", (column.min(), column.max()))
    return (low or 0) >= 0 and (high or 0) < (YEAR_2200 if column.name == "block_timestamp" else 1 << 63)
