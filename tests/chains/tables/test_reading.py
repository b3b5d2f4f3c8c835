"""Sources, chunks, progress and balances."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from chains.tables import lines
from chains.tables.layout import BALANCES

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
