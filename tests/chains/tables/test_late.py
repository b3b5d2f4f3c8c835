"""Hashes that are read late are those that would have been read at once."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from chains.tables import Reading, batches, sift
from chains.tables import late as late_module
from chains.tables.arrange import arrange, ranges
from chains.tables.late import LATE, LateHashes
from chains.tables.table import open_table
from monitor.errors import ConfigError

FORMS = ["0x{:064x}", "0x{:064X}"]
ALICE, BOB = "0x" + "a" * 40, "0x" + "b" * 40


def table(rng: random.Random, first: int, rows: int) -> pl.DataFrame:
    """Rows of rising blocks; half of them touch the watched address, some hashes have capitals."""
    return pl.DataFrame(
        {
            "chain": ["ethereum"] * rows,
            "block_number": sorted(rng.choices(range(first, first + rows), k=rows)),
            "block_timestamp": [1_500_000_000] * rows,
            "transaction_hash": [rng.choice(FORMS).format(rng.getrandbits(256)) for _ in range(rows)],
            "transaction_index": list(range(rows)),
            "transfer_index": list(range(rows)),
            "from_address": [rng.choice([ALICE, BOB]) for _ in range(rows)],
            "to_address": [BOB] * rows,
            "asset": ["native"] * rows,
            "value": [str(rng.randrange(1, 10**20)) for _ in range(rows)],
        }
    )  # fmt: skip


def both(read_alice: Any, folder: Path, tables: list[pl.DataFrame]) -> tuple[Reading, Reading]:
    """The same files as Parquet and as CSV, which is read at once."""
    for number, rows in enumerate(tables):
        rows.write_parquet(folder / f"{number:03}.parquet", row_group_size=64)
        rows.write_csv(folder / f"{number:03}.csv")
    return read_alice(folder / "*.parquet"), read_alice(folder / "*.csv")


def same(late: Reading, plain: Reading) -> int:
    """Compare two readings of the same rows; how many ranges of the first have no hashes yet."""
    assert late.frame.equals(plain.frame)
    assert (late.rows, late.bad_rows, late.transfers, late.chains) == (
        plain.rows, plain.bad_rows, plain.transfers, plain.chains,
    )  # fmt: skip
    waiting = 0
    pieces = [piece for part in late.ranges for piece in part.pieces]
    for part in ranges(pieces, [], {}, rows=70):
        found = arrange(part, late.wanted).frame
        waiting += LATE in found.columns
        inside = pl.col("block_number").is_between(part.low, part.high, closed="left")
        assert late.wanted.late.whole(found).select(plain.frame.columns).equals(plain.frame.filter(inside))
    return waiting


@pytest.mark.parametrize("seed", range(6))
def test_files_in_order(seed: int, tmp_path: Path, read_alice: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """However rows lie in batches, files and groups of rows."""
    rng = random.Random(seed)
    monkeypatch.setattr(batches, "BATCH", rng.choice([1, 40, 10**6]))
    late, plain = both(read_alice, tmp_path, [table(rng, n * 300, rng.randrange(1, 300)) for n in range(4)])
    assert same(late, plain) > 0


@pytest.mark.parametrize("span", [20, 50, 130, 10**6])
@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("gap", [300, 150])  # the second: each file goes back to blocks of the one before
def test_rows_beyond_memory_are_read_a_span_at_a_time(
    span: int, strict: bool, gap: int, tmp_path: Path, read_alice: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is lost or read twice, wherever spans end; the file has bad rows, too."""
    rng, spans = random.Random(span), list[int]()
    monkeypatch.setattr(batches, "BATCH", 7)
    monkeypatch.setattr(sift, "SPAN", span)
    cut = pl.LazyFrame.slice
    monkeypatch.setattr(pl.LazyFrame, "slice", lambda rows, at, many=None: spans.append(at) or cut(rows, at, many))
    tables = [table(rng, n * gap, 200) for n in range(3)]
    row = pl.int_range(200)
    tables = [rows.with_columns(from_address=pl.when(row % 4 > 0).then(pl.lit(ALICE)).otherwise("from_address"))
              for rows in tables]  # fmt: skip
    tables[1] = tables[1].with_columns(value=pl.when(row % 50 == 9).then(pl.lit("x")).otherwise("value"))
    _, plain = both(read_alice, tmp_path, tables)
    folder = tmp_path / "work"
    folder.mkdir()
    found = read_alice(tmp_path / "*.parquet", room=1, folder=str(folder), strict=strict)
    same(found, plain)
    pieces = {piece.path: piece.rows for part in found.ranges for piece in part.pieces}
    assert sum(pieces.values()) == found.frame.height > 100, "a row read twice would be dropped later"
    assert len(set(spans)) >= (0 if strict else min(500 // span, 500))


def test_what_comes_after_rows_in_no_order_is_read_with_its_hashes(
    tmp_path: Path, read_alice: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second file goes back to the first one's blocks: the third one's hashes do not wait any more."""
    rng = random.Random(7)
    monkeypatch.setattr(batches, "BATCH", 1)
    late, plain = both(read_alice, tmp_path, [table(rng, n, 300) for n in (0, 100, 400)])
    assert same(late, plain) > 0
    heads = {name for part in late.ranges for piece in part.pieces for name in piece.read().columns}
    assert {LATE, "transaction_hash"} <= heads
    assert arrange(late.ranges[-1], late.wanted).frame["transaction_hash"].null_count() == 0


def test_rows_at_one_place_are_compared_with_their_hashes(tmp_path: Path, read_alice: Any) -> None:
    """Of rows that are equal but for their hash none is dropped, of rows that are equal one is."""
    rows = table(random.Random(8), 0, 1).with_columns(from_address=pl.lit(ALICE))
    other = rows.with_columns(transaction_hash=pl.lit("0xcd"))
    late, plain = both(read_alice, tmp_path, [pl.concat([rows, rows, other])])
    same(late, plain)
    assert late.frame.height == 2
    assert any("repeat" in note or "twice" in note or "equal" in note for note in late.notes), late.notes


@pytest.mark.parametrize("hash", [None, ""])
def test_a_missing_hash_is_a_bad_row(hash: str | None, tmp_path: Path, read_alice: Any) -> None:
    rows = table(random.Random(9), 0, 50).with_columns(
        transaction_hash=pl.when(pl.int_range(50) == 20).then(pl.lit(hash)).otherwise("transaction_hash"),
        from_address=pl.lit(ALICE),
    )
    late, plain = both(read_alice, tmp_path, [rows])
    assert same(late, plain) == 0
    assert (late.bad_rows, late.bad[0].row) == (1, 21)


def test_a_range_beside_a_text_file_is_read_with_its_hashes(tmp_path: Path, read_alice: Any) -> None:
    """Rows of both kinds in one range."""
    rng = random.Random(10)
    one, two = table(rng, 0, 200), table(rng, 0, 200)
    one.write_parquet(tmp_path / "a.parquet")
    two.write_csv(tmp_path / "b.csv")
    one.write_csv(tmp_path / "a.csv")
    mixed, plain = (read_alice(tmp_path / name, tmp_path / "b.csv") for name in ("a.parquet", "a.csv"))
    assert mixed.frame.equals(plain.frame)


@pytest.mark.parametrize("change", ["other", "gone", "broken"])
def test_a_file_that_is_not_the_same_any_more(change: str, tmp_path: Path, read_alice: Any) -> None:
    """It is told with its path: hashes of other rows are worse than none."""
    path = tmp_path / "a.parquet"
    table(random.Random(11), 0, 100).write_parquet(path)
    reading = read_alice(path)
    before = path.stat()
    if change == "gone":
        path.unlink()
    elif change == "other":
        table(random.Random(12), 0, 101).write_parquet(path)
    else:
        path.write_bytes(b"\0" * before.st_size)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(ConfigError, match=r"a\.parquet: (the file changed|cannot be read)"):
        reading.frame  # noqa: B018


@pytest.mark.parametrize("near", [100, 100_000])
def test_hashes_of_rows_far_apart_are_read_where_they_lie(
    near: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the order in which they are asked for, twice or null."""
    monkeypatch.setattr(late_module, "_NEAR", near)
    hashes = [f"0x{n:064x}" for n in range(70_000)]
    paths = [tmp_path / f"{n}.parquet" for n in range(2)]
    for path, some in zip(paths, (hashes[:50_000], hashes[50_000:]), strict=True):
        pl.DataFrame({"transaction_hash": some}).write_parquet(path, row_group_size=9_000)
    late = LateHashes.of_tables({3 + n: open_table(str(path), {}) for n, path in enumerate(paths)})
    asked = [(3, 49_999), (4, 1), (3, 1), (3, 30_000), None, (3, 1), (4, 20_000), (3, 2)]
    places = [None if place is None else (place[0] << 40) + place[1] for place in asked]
    expected = [None if place is None else hashes[(place[0] - 3) * 50_000 + place[1] - 1] for place in asked]
    assert late.at(pl.Series(places, dtype=pl.Int64)).to_list() == expected
    assert late.at(pl.Series([None], dtype=pl.Int64)).to_list() == [None]


def test_progress_within_files(tmp_path: Path, read_alice: Any) -> None:
    """It rises while a task of several files is read, and ends at the size of all."""
    rng, told = random.Random(13), list[tuple[int, int]]()
    for number in range(3):
        table(rng, 5000 * number, 5000).write_parquet(tmp_path / f"{number}.parquet", row_group_size=1000)
    read_alice(tmp_path / "*.parquet", progress=lambda done, total: told.append((done, total)))
    done = [at for at, _ in told]
    size = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert done == sorted(done) and (done[-1], {total for _, total in told}) == (size, {size})
    assert len({at for at in done if 0 < at < size}) > 2
