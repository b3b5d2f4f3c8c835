"""Counting rows and movements, watched or not.

Where a Parquet file says of its parts that no value is 0 and no status is 0, Polars skips them: a file of nothing but
good transfers is counted by its footer, and by its column of times where these are not in order.
"""

from __future__ import annotations

import polars as pl

from chains.tables.chain import ChainColumn
from chains.tables.layout import Build
from chains.tables.task import END_OF_TIME, Wanted
from chains.tables.text import ROW

__all__ = ["COUNTS", "count", "count_fast", "name_of_all"]

COUNTS = {"__name": pl.String(), "__chain": pl.String()} | dict.fromkeys(
    ("rows", "transfers", "skipped", "unknown_status", "first", "last"), pl.Int64()
)  # what `count` gives, of rows that have their times


def count(chain: ChainColumn, build: Build, rows: pl.LazyFrame, wanted: Wanted, by_block: bool = False) -> pl.DataFrame:
    """Rows and movements by the chain's name in the file.

    Parameters
    ----------
    rows : good ones
    by_block : whether they have no time, so that what lies in the range is known later

    Returns
    -------
    ``__name`` (as in the file), ``__chain`` (CAIP-2, null where it is not configured), ``rows``, ``transfers`` (in the
    range of time), ``skipped``, ``unknown_status``, and ``first``, ``last`` (UTC s, null where there is no time) or
    ``block_number``
    """
    moved = (build.moves if build.transfers is None else build.transfers).cast(pl.Int64)
    named = {"__name": chain.name, "moved": moved}
    named["counted"] = pl.lit(1) if build.rows is None else build.rows
    for name, flag in (("skipped", build.skipped), ("unknown_status", build.unknown_status)):
        named[name] = pl.lit(False) if flag is None else flag
    if by_block:
        named["block_number"] = build.columns["block_number"]
    elif build.time is not None:
        inside = wanted.within(build.time)
        named["moved"] = pl.when(inside).then(moved)
        named["time"] = pl.when(inside).then(build.time)
    else:
        named["time"] = pl.lit(None, dtype=pl.Int64)
    counts = [
        pl.col("counted").sum().cast(pl.Int64).alias("rows"),
        pl.col("moved").sum().cast(pl.Int64).alias("transfers"),
        *(pl.col(name).sum().cast(pl.Int64) for name in ("skipped", "unknown_status")),
    ]
    values = rows.select(pl.col(ROW), **named).drop(ROW)  # the row number gives literals their length
    if by_block:
        found = values.group_by("__name", "block_number").agg(*counts)
    else:
        time = pl.col("time").cast(pl.Int64)
        found = values.group_by("__name").agg(*counts, time.min().alias("first"), time.max().alias("last"))
    return _named(chain, found.collect(engine="streaming"))


def _named(chain: ChainColumn, found: pl.DataFrame) -> pl.DataFrame:
    chains = [chain.of_name(name) for name in found["__name"]]
    return found.with_columns(pl.Series("__chain", chains, dtype=pl.String))


def count_fast(
    found: list[pl.DataFrame],
    chain: ChainColumn,
    name: str | None,
    build: Build,
    rows: pl.LazyFrame,
    total: int,
    wanted: Wanted,
) -> bool:
    """The same for Parquet files of one chain, with times and all rows good, mostly without reading them.

    Parameters
    ----------
    found : takes the counts
    name : what all rows call their chain, see `name_of_all`
    total : how many rows there are

    Returns
    -------
    whether it could be done
    """
    plain = build.roots is None and build.skipped is None and build.unknown_status is None
    if build.still is None or build.time is None or not plain or not total or name is None:
        return False
    moved = build.moves if build.transfers is None else build.transfers
    inside = wanted.within(build.time)
    ends = _ends(rows, build.time, total)
    if ends is not None and max(wanted.start, 0) <= ends[0] and ends[1] < min(wanted.end, END_OF_TIME):
        known, (first, last) = total, ends
    else:
        known, first, last = rows.select(
            inside.sum().alias("inside"), build.time.filter(inside).min().alias("first"),
            build.time.filter(inside).max().alias("last"),
        ).collect(engine="streaming").row(0)  # fmt: skip
    resting = rows.filter(build.still).select((inside & ~moved).sum()).collect(engine="streaming").item()
    counts = {
        "__name": name, "rows": total, "transfers": int(known) - int(resting), "skipped": 0,
        "unknown_status": 0, "first": first, "last": last,
    }  # fmt: skip
    schema = {"__name": pl.String} | dict.fromkeys([key for key in counts if key != "__name"], pl.Int64)
    found.append(_named(chain, pl.DataFrame([counts], schema=schema)))
    return True


def _ends(rows: pl.LazyFrame, time: pl.Expr, total: int) -> tuple[int, int] | None:
    """The first and the last time, None where they are not those of the first and the last row, or some are missing.

    Files in order mostly say in their footers that no part holds an earlier or a later one.
    """
    schema = rows.collect_schema()
    if not all(schema[name].is_integer() for name in time.meta.root_names()):  # footers know nothing of what is made
        return None
    found = [rows.select(time).slice(row, 1).collect().item() for row in (0, total - 1)]
    if None in found:
        return None
    other = (time < found[0]) | (time > found[1]) | time.is_null()
    is_alone = rows.filter(other).select(pl.len()).collect(engine="streaming").item() == 0
    return (found[0], found[1]) if is_alone else None


def name_of_all(chain: ChainColumn, rows: pl.LazyFrame) -> str | None:
    """What all rows of Parquet files (at least one) call their chain; None where it is not one name."""
    if chain.constant is not None:
        return chain.constant
    dtype = rows.collect_schema()["chain"]
    if not (dtype == pl.String or dtype.is_integer()):  # others have no order that statistics know
        return None
    said, name = rows.select(said="chain", name=chain.name).head(1).collect().row(0)
    if said is None or name is None:
        return None
    other = (pl.col("chain") < said) | (pl.col("chain") > said) | pl.col("chain").is_null()
    return name if rows.filter(other).select(pl.len()).collect(engine="streaming").item() == 0 else None
