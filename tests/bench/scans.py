"""What a backtest is measured against: bare scans by Polars and by DuckDB, and a plain loop over rows.

Each scan finds the rows that touch a watched address, with all columns of the native table, and sorts them in chain
order: what a backtest needs before its engine sees a row. Several forms were tried of each; these were the fastest.
"""

from __future__ import annotations

from collections.abc import Sequence

import duckdb
import polars as pl

from tests.bench.transfers import COLUMNS

__all__ = ["loop", "loop_by_name", "scan_duckdb", "scan_polars", "vectorized"]

ORDER = ["block_number", "transaction_index", "transfer_index"]
THRESHOLD = 10 * 10**18  # base units, of the loop


def scan_polars(paths: Sequence[str], watched: Sequence[str]) -> int:
    """By Polars' streaming engine; the number of rows found."""
    mine = pl.Series(watched).implode()
    touches = pl.col("from_address").is_in(mine) | pl.col("to_address").is_in(mine)
    found = pl.scan_parquet(list(paths)).select(COLUMNS).filter(touches).sort(ORDER).collect(engine="streaming")
    return len(found)


def scan_duckdb(paths: Sequence[str], watched: Sequence[str]) -> int:
    """By DuckDB, into a table in memory; the number of rows found."""
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE watched AS SELECT unnest(?) AS address", [list(watched)])
        connection.execute(
            f"CREATE TABLE found AS SELECT {', '.join(COLUMNS)} FROM read_parquet(?) "
            "WHERE from_address IN (SELECT address FROM watched) OR to_address IN (SELECT address FROM watched) "
            f"ORDER BY {', '.join(ORDER)}",
            [list(paths)],
        )
        counted = connection.execute("SELECT count(*) FROM found").fetchone()
    assert counted is not None
    return int(counted[0])


def loop(paths: Sequence[str], watched: Sequence[str]) -> int:
    """Row by row in Python, a row as a tuple: an alarm at each payment of a watched address above a fixed threshold."""
    mine, alarms = set(watched), 0
    for path in paths:
        for row in pl.read_parquet(path, columns=COLUMNS).iter_rows():
            if row[6] in mine and int(row[9]) > THRESHOLD:
                alarms += 1
    return alarms


def vectorized(paths: Sequence[str], watched: Sequence[str]) -> int:
    """The same by Polars' streaming engine, which reads no more than the two columns that it takes."""
    pays, value = pl.col("from_address").is_in(pl.Series(watched).implode()), pl.col("value").cast(pl.Float64)
    found = pl.scan_parquet(list(paths)).filter(pays & (value > THRESHOLD)).select(pl.len())
    return int(found.collect(engine="streaming").item())


def loop_by_name(paths: Sequence[str], watched: Sequence[str]) -> int:
    """The same as most people write it, where a row is a dictionary."""
    mine, alarms = set(watched), 0
    for path in paths:
        for row in pl.read_parquet(path).iter_rows(named=True):
            if row["from_address"] in mine and int(row["value"]) > THRESHOLD:
                alarms += 1
    return alarms
