"""Batches of rows of Parquet files."""

from __future__ import annotations

from collections.abc import Iterator

import nanoarrow
import polars as pl
import pytest

from chains.tables import batches
from chains.tables.batches import large
from chains.tables.text import ROW

ROWS = 40_000


def held(column: pl.Series) -> int:
    """Bytes of texts that a column keeps in memory, whoever needs them."""
    views = [part.view() for part in nanoarrow.c_array_stream(column)]
    return sum(view.buffer(at).size_bytes for view in views for at in range(2, view.n_buffers - 1))


def scanned(step: int) -> Iterator[pl.DataFrame]:
    """A file in batches, of which every ``step``-th row is kept: those hold on to all texts of their batch."""
    for first in range(0, ROWS, 1000):
        rows = range(first + 1, first + 1001)
        frame = pl.DataFrame({ROW: rows, "text": [f"a text that is longer than twelve bytes {row}" for row in rows]})
        yield frame.filter(pl.col(ROW) % step == 0)


@pytest.mark.parametrize("step", [1, 3, 700, 30_000, 50_000])
def test_no_row_is_lost_and_few_rows_hold_on_to_little(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "SPAN", 5000)
    monkeypatch.setattr(batches, "BATCH", 10_000)
    found = list(large(scanned(step)))
    kept = [row for row in range(1, ROWS + 1) if row % step == 0]
    assert [row for frame in found for row in frame[ROW].to_list()] == kept
    assert all(frame.height >= 10_000 for frame in found[:-1])
    texts = sum(frame["text"].str.len_bytes().sum() for frame in found)
    assert sum(held(frame["text"]) for frame in found) <= 4 * texts
