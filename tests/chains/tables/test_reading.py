"""Sources, chunks, progress and balances."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from chains.tables import lines
from chains.tables.arrange import arrange, ranges
from chains.tables.layout import BALANCES
from monitor.errors import ConfigError

ALICE, BOB, CAROL = ("0x" + c * 40 for c in "abc")


def test_chunks_do_not_change_the_reading(
    tmp_path: Path, read_alice: Any, native_row: Any, write: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However small the chunks, frame, counts and row numbers of bad rows are the same."""
    rows = [native_row(value="x" if n % 7 == 3 else str(n), transaction_hash=f"0x{n:x}") for n in range(1, 60)]
    for name in ("a.csv", "a.ndjson"):
        path = write(tmp_path / name, rows)
        whole = read_alice(path)
        for size in (16, 200, 1000):
            monkeypatch.setattr(lines, "CHUNK_BYTES", size)
            cut = read_alice(path)
            assert cut.frame.equals(whole.frame) and cut.bad == whole.bad, (name, size)
            assert (cut.rows, cut.transfers, cut.first) == (whole.rows, whole.transfers, whole.first)
        monkeypatch.undo()


def test_progress_ends_at_the_total(tmp_path: Path, read_alice: Any, native_row: Any, write: Any) -> None:
    """Progress counts bytes on disk, never goes back, and ends at the total."""
    paths = [write(tmp_path / name, [native_row()] * 9) for name in ("a.csv", "b.parquet", "c.ndjson")]
    total = sum(path.stat().st_size for path in paths)
    told: list[tuple[int, int]] = []
    read_alice(tmp_path, progress=lambda done, of: told.append((done, of)))
    assert told == sorted(told) and told[-1] == (total, total) and {of for _, of in told} == {total}


def test_folders_and_globs(tmp_path: Path, read_alice: Any, native_row: Any, write: Any) -> None:
    """Folders are read whole, by name, without hidden files and documents; a file given twice is read once."""
    (tmp_path / "deep").mkdir()
    write(tmp_path / "deep" / "b.csv", [native_row(value="2")])
    write(tmp_path / "a.csv", [native_row(value="1")])
    (tmp_path / ".hidden.csv").write_text("x")
    (tmp_path / "_SUCCESS").write_text("")
    (tmp_path / "README.md").write_text("# about")
    reading = read_alice(tmp_path, tmp_path / "a.csv", tmp_path / "*" / "*.csv")
    assert (reading.rows, reading.frame["value"].to_list()) == (2, ["1", "2"])
    assert any("README.md" in note for note in reading.notes)


def test_balances_of_watched_addresses(tmp_path: Path, read_alice: Any, native_row: Any, write: Any) -> None:
    """A balances table gives the watched addresses' balances, exact and canonical; broken rows are bad."""
    rows = [
        {"chain": "ethereum", "address": ALICE.upper().replace("X", "x"), "asset": "native", "block_number": 9,
         "value": str(2**200)},
        {"chain": "ethereum", "address": ALICE, "asset": "native", "block_number": 3, "value": "0"},
        {"chain": "ethereum", "address": BOB, "asset": "native", "block_number": 3, "value": "4"},
        {"chain": "ethereum", "address": ALICE, "asset": "native", "block_number": 3, "value": "4.5"},
    ]  # fmt: skip
    for name in ("b.csv", "b.parquet"):
        reading = read_alice(write(tmp_path / name, rows), write(tmp_path / "a.csv", [native_row()]))
        assert reading.balances is not None and reading.balances.schema == pl.Schema(BALANCES)
        assert reading.balances.rows() == [
            ("eip155:1", ALICE, "eip155:1/slip44:60", 3, "0"),
            ("eip155:1", ALICE, "eip155:1/slip44:60", 9, str(2**200)),
        ]
        assert (reading.rows, reading.bad_rows, reading.transfers) == (5, 1, 1)
    assert read_alice(tmp_path / "a.csv").balances is None


def test_an_empty_watch_set_still_counts(tmp_path: Path, read_alice: Any, native_row: Any, write: Any) -> None:
    """Without watched addresses rows are checked and counted, and the frame is empty."""
    for name in ("a.csv", "a.parquet"):
        reading = read_alice(write(tmp_path / name, [native_row()]), watch={})
        assert (reading.rows, reading.transfers, reading.frame.height) == (1, 1, 0)
    header_only = tmp_path / "h.csv"
    header_only.write_text(",".join(native_row()) + "\n")
    reading = read_alice(header_only)
    assert (reading.rows, reading.transfers, reading.first, reading.chains) == (0, 0, None, {})


def test_an_empty_answer_is_no_rows(tmp_path: Path, read_alice: Any) -> None:
    """What an explorer or a node answers where there is nothing, and nothing beside it."""
    for text in ("[]", '{"status": "0", "message": "No transactions found", "result": []}'):
        (tmp_path / "a.json").write_text(text)
        reading = read_alice(tmp_path / "a.json")
        assert (reading.rows, reading.transfers, reading.first, reading.frame.height) == (0, 0, None, 0)


def test_line_ends_and_a_byte_order_mark(tmp_path: Path, read_alice: Any, native_row: Any, write: Any) -> None:
    """A mark at the beginning belongs to no row; line ends that are none of ours are said, not read as nothing."""
    path = write(tmp_path / "a.ndjson", [native_row(), native_row(value="x")])
    path.write_text("\ufeff" + path.read_text())
    reading = read_alice(path)
    assert (reading.rows, reading.transfers, [bad.row for bad in reading.bad]) == (2, 1, [2])
    path = write(tmp_path / "a.csv", [native_row()])
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r"))
    with pytest.raises(ConfigError, match="carriage return"):
        read_alice(path)


@pytest.mark.parametrize("dtype", [pl.String, pl.Categorical, pl.Enum(["", "ethereum"])])
def test_an_empty_text_of_any_type_is_nothing(tmp_path: Path, read_alice: Any, native_row: Any, dtype: Any) -> None:
    """A chain that is empty is the default one, also where the column holds categories."""
    rows = pl.DataFrame([native_row(), native_row(chain="", value="6")])
    rows.with_columns(pl.col("chain").cast(dtype)).write_parquet(tmp_path / "a.parquet")
    reading = read_alice(tmp_path / "a.parquet")
    assert reading.frame["value"].to_list() == ["5", "6"] and reading.transfers == 2


def test_a_bad_block_number_has_no_time(tmp_path: Path, read_alice: Any, native_row: Any, write: Any) -> None:
    """A row that nobody looks at, because it touches no watched address, moves no first or last time."""
    rows = [native_row(block_timestamp=None), native_row(block_timestamp=None, from_address=CAROL, value="6")]
    path = tmp_path / "a.parquet"
    pl.DataFrame(rows).with_columns(block_number=pl.Series(["10", "ten"])).write_parquet(path)
    blocks = write(tmp_path / "b.csv", [{"number": 10, "hash": "0x0a", "timestamp": 1_500_000_000}])
    reading = read_alice(path, blocks)
    assert (reading.first, reading.last, reading.transfers) == (1_500_000_000, 1_500_000_000, 1)


def test_files_in_no_order_are_cut_finely(tmp_path: Path, read_alice: Any, native_row: Any, write: Any) -> None:
    """Pieces that all reach over all blocks: a range holds few of their rows all the same, and no row is lost."""
    paths = []
    for part in range(5):
        rows = [native_row(block_number=n * 7 % 400 * 5 + part, value=n) for n in range(1, 401)]
        paths.append(write(tmp_path / f"{part}.csv", rows))
    reading = read_alice(*paths)
    parts = ranges([piece for part in reading.ranges for piece in part.pieces], [], {}, rows=100)
    found = [arrange(part, reading.wanted).frame for part in parts]
    assert max(frame.height for frame in found) <= 200
    assert pl.concat(found).equals(reading.frame) and reading.frame.height == 2000
