"""Rows and movements of Parquet files, counted by their footers where these say enough, are those of the rows."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from chains.tables import count

ALICE, BOB = "0x" + "a" * 40, "0x" + "b" * 40
FIRST = 1_500_000_000
TYPES = [pl.Int64(), pl.Int32(), pl.UInt32(), pl.UInt64(), pl.Datetime("ms"), pl.String()]


def table(rng: random.Random, rows: int, times: list[int | None], dtype: pl.DataType) -> pl.DataFrame:
    """Rows with these times; one in five has no value."""
    seconds = pl.Series(times, dtype=pl.Int64)
    clock = pl.from_epoch(seconds).cast(dtype) if dtype.is_temporal() else seconds.cast(dtype)
    return pl.DataFrame(
        {
            "chain": ["ethereum"] * rows,
            "block_number": list(range(rows)),
            "block_timestamp": clock,
            "transaction_hash": [f"0x{rng.getrandbits(256):064x}" for _ in range(rows)],
            "from_address": [rng.choice([ALICE, BOB]) for _ in range(rows)],
            "to_address": [BOB] * rows,
            "asset": ["native"] * rows,
            "value": [rng.choice(["0", "1", "22", "333", "4444"]) for _ in range(rows)],
        }
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(18))
def test_rows_are_counted_and_their_first_and_last_time_found(seed: int, tmp_path: Path, read_alice: Any) -> None:
    """Times in order and not, of every type, in several files, with and without a range."""
    rng = random.Random(seed)
    dtype, is_ordered = TYPES[seed % len(TYPES)], seed % 4 != 3
    frames = []
    for number in range(rng.randrange(1, 4)):
        rows = rng.randrange(1, 300)
        times = [FIRST + rng.randrange(1000) + 1000 * number for _ in range(rows)]
        frames.append(table(rng, rows, sorted(times) if is_ordered else times, dtype))  # type: ignore[arg-type]
        frames[-1].write_parquet(tmp_path / f"{number}.parquet", row_group_size=50)
    if seed % 3 == 0:
        start, end = None, None
    else:
        start, end = FIRST + rng.randrange(-5, 900), FIRST + rng.randrange(900, 3005)
    found = read_alice(tmp_path / "*.parquet", start=start, end=end)
    seen = pl.concat(frames).with_columns(time=_seconds(dtype)).filter(
        pl.col("time").is_between(start or 0, end or 1 << 40, closed="left")
    )
    moved = seen.filter(pl.col("value") != "0").height
    assert (found.rows, found.bad_rows, found.transfers) == (sum(map(len, frames)), 0, moved)
    told = found.chains["eip155:1"]
    assert (told["first"], told["last"]) == (seen["time"].min(), seen["time"].max())


def _seconds(dtype: pl.DataType) -> pl.Expr:
    return pl.col("block_timestamp").dt.epoch("s") if dtype.is_temporal() else pl.col("block_timestamp").cast(pl.Int64)


@pytest.mark.parametrize("is_ordered", [True, False])
def test_times_in_order_are_told_by_footers(is_ordered: bool, tmp_path: Path) -> None:
    rng = random.Random(1)
    times: list[int | None] = list(range(FIRST, FIRST + 200))
    if not is_ordered:
        times[50], times[0] = times[0], times[50]
    table(rng, 200, times, pl.Int64()).write_parquet(tmp_path / "a.parquet", row_group_size=50)
    rows, time = pl.scan_parquet(tmp_path / "a.parquet"), pl.col("block_timestamp").cast(pl.Int64)
    assert count._ends(rows, time, 200) == ((FIRST, FIRST + 199) if is_ordered else None)


@pytest.mark.parametrize("at", [0, 120, 199])
def test_a_row_without_a_time_is_bad_and_hides_no_other(at: int, tmp_path: Path, read_alice: Any) -> None:
    rng = random.Random(2)
    times: list[int | None] = [None if row == at else FIRST + row for row in range(200)]
    rows = table(rng, 200, times, pl.Int64()).with_columns(from_address=pl.lit(ALICE), value=pl.lit("5"))
    rows.write_parquet(tmp_path / "a.parquet", row_group_size=50)
    found = read_alice(tmp_path / "a.parquet")
    told = found.chains["eip155:1"]
    assert (found.rows, found.bad_rows, found.transfers, found.bad[0].row) == (200, 1, 199, at + 1)
    assert (told["first"], told["last"]) == (FIRST + (at == 0), FIRST + 199 - (at == 199))
