"""What is the same in every row of a batch is worked out once: most files are of one chain, and many of one asset."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

__all__ = ["steady"]

_KINDS = (pl.String, pl.Boolean, pl.Null)


def steady(frame: pl.DataFrame) -> tuple[pl.DataFrame, Mapping[str, Any]]:
    """The same rows; columns that do not change become literals, which Polars evaluates once for all rows.

    Returns
    -------
    the rows, and what stands in these columns

    Examples
    --------
    >>> rows, constant = steady(pl.DataFrame({"chain": ["ethereum", "ethereum"], "value": ["1", "2"]}))
    >>> rows.to_dict(as_series=False), constant
    ({'chain': ['ethereum', 'ethereum'], 'value': ['1', '2']}, {'chain': 'ethereum'})
    """
    if frame.height < 2:
        return frame, {}
    same = {column.name: column[0] for column in frame if _is_constant(column)}
    rows = frame.with_columns(pl.lit(value, dtype=frame.schema[name]).alias(name) for name, value in same.items())
    return rows, same


def _is_constant(column: pl.Series) -> bool:
    """Whether all rows are equal; of columns where they nearly never are, two rows are looked at."""
    if not (column.dtype.is_integer() or column.dtype in _KINDS):
        return False
    if column.null_count():
        return column.null_count() == len(column)
    return bool(column[0] == column[-1]) and bool((column == column[0]).all())
