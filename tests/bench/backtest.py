"""Rows a second of `backtest` against a bare Polars and a bare DuckDB scan of the same columns and watch set."""

from __future__ import annotations

import json
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import numpy as np
import polars as pl

from monitor.app import run_backtest, warm_up
from monitor.config import config_from_mapping

ROWS = 2_000_000
FILES = 4
WATCHED = 1000
ADDRESSES = 400_000
ROUNDS = 3
COLUMNS = [
    "block_number", "block_timestamp", "transaction_hash", "transaction_index", "transfer_index", "from_address",
    "to_address", "asset", "value",
]  # fmt: skip


def _address(number: int) -> str:
    return f"0x{number:040x}"


def generate(folder: Path) -> list[str]:
    """Seeded transfers in the native table, under one percent of them by a watched address."""
    random = np.random.default_rng(7)
    names = np.array([_address(i) for i in range(ADDRESSES)])
    paths = []
    per_file = ROWS // FILES
    for part in range(FILES):
        numbers = np.sort(random.integers(0, 100_000, per_file)) + part * 100_000 + 10_000_000
        frame = pl.DataFrame(
            {
                "chain": np.full(per_file, "ethereum"),
                "block_number": numbers,
                "block_timestamp": numbers * 12 + 1_400_000_000,
                "transaction_hash": [f"0x{part:04x}{i:060x}" for i in range(per_file)],
                "transaction_index": random.integers(0, 200, per_file),
                "transfer_index": random.integers(0, 400, per_file),
                "from_address": names[random.integers(0, ADDRESSES, per_file)],
                "to_address": names[random.integers(0, ADDRESSES, per_file)],
                "asset": np.full(per_file, "native"),
                "value": (np.exp(random.normal(size=per_file) * 1.5) * 1e18).astype(np.uint64).astype(str),
            }
        )
        path = folder / f"part-{part}.parquet"
        frame.write_parquet(path)
        paths.append(str(path))
    return paths


def scan_polars(paths: list[str], watched: list[str]) -> int:
    """The same semi-join, sort and columns, by Polars alone."""
    mine = pl.Series(watched)
    frame = (
        pl.scan_parquet(paths)
        .filter(pl.col("from_address").is_in(mine.implode()) | pl.col("to_address").is_in(mine.implode()))
        .select(COLUMNS)
        .sort("block_number", "transaction_index", "transfer_index")
        .collect()
    )
    return len(frame)


def scan_duckdb(paths: list[str], watched: list[str]) -> int:
    """The same by DuckDB alone."""
    connection = duckdb.connect()
    connection.execute("SET threads TO 2")
    connection.execute("CREATE TABLE watched AS SELECT unnest(?) AS address", [watched])
    found = connection.execute(
        f"SELECT {', '.join(COLUMNS)} FROM read_parquet(?) WHERE from_address IN (SELECT address FROM watched) "
        "OR to_address IN (SELECT address FROM watched) ORDER BY block_number, transaction_index, transfer_index",
        [paths],
    ).fetchall()
    return len(found)


def timed(work: Callable[[], object]) -> float:
    """Median seconds of several rounds, the first (cold) one apart."""
    work()
    seconds = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds)


def main() -> None:
    """Generate, scan, backtest."""
    watched = [_address(i) for i in range(WATCHED)]
    config = config_from_mapping(
        {
            "version": 1,
            "wallets": [
                {"id": f"w{i}", "entity": "Bench", "role": "hot", "addresses": [f"ethereum:{address}"]}
                for i, address in enumerate(watched)
            ],
        },
        Path.cwd(),
        "bench",
    )
    warm_up()
    with tempfile.TemporaryDirectory(prefix="heistwatch-bench-") as folder:
        paths = generate(Path(folder))
        polars = timed(lambda: scan_polars(paths, watched))
        duck = timed(lambda: scan_duckdb(paths, watched))
        ours = timed(lambda: run_backtest(config, paths))
        flows = run_backtest(config, paths)["data"]["flows"]
    best = min(polars, duck)
    print(
        json.dumps(
            {
                "rows": f"{ROWS:,} in {FILES} Parquet files, {WATCHED:,} watched addresses, {flows:,} flows",
                "bare Polars scan, s": round(polars, 3),
                "bare DuckDB scan, s": round(duck, 3),
                "backtest, s": round(ours, 3),
                "backtest rows a second": f"{ROWS / ours:,.0f}",
                "backtest / faster bare scan": round(ours / best, 2),
                "peak memory, MB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
            }
        )
    )


if __name__ == "__main__":
    main()
