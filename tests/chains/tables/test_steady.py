"""What is done once for a whole batch gives what would be found row by row."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chains.tables.arrange import _rises
from chains.tables.steady import steady
from monitor.texts.letters import lower

COLUMNS = st.one_of(
    st.lists(st.sampled_from(["a", "", None, "b"]), min_size=3, max_size=3),
    st.lists(st.sampled_from([1, 0, None]), min_size=3, max_size=3),
    st.lists(st.sampled_from([True, False, None]), min_size=3, max_size=3),
    st.lists(st.sampled_from([1.5, float("nan"), None]), min_size=3, max_size=3),
    st.lists(st.sampled_from([["x"], [], None]), min_size=3, max_size=3),
)


@given(st.lists(COLUMNS, max_size=4))
@settings(max_examples=200, deadline=None)
def test_steady_rows_are_the_same_rows(columns: list[list[Any]]) -> None:
    frame = pl.DataFrame({f"c{n}": column for n, column in enumerate(columns)}, strict=False)
    found, constant = steady(frame)
    assert found.schema == frame.schema and found.equals(frame, null_equal=True)
    for name in constant:
        assert frame[name].n_unique() == 1


@given(st.lists(st.one_of(st.none(), st.text("aZ0xÉß", max_size=4)), max_size=5))
@settings(max_examples=200, deadline=None)
def test_lower_is_that_of_python(texts: list[str | None]) -> None:
    """Capitals anywhere, letters beyond ASCII, nothing at all."""
    column = pl.Series("text", texts, dtype=pl.String)
    assert lower(column).to_list() == [text if text is None else text.lower() for text in texts]


def test_one_capital_behind_many_small_letters() -> None:
    texts = ["0xab"] * 40_000 + ["0xAb"]
    assert lower(pl.Series(texts))[-1] == "0xab"


@given(st.lists(st.tuples(*[st.integers(0, 2)] * 3), min_size=1, max_size=6), st.booleans())
@settings(max_examples=300, deadline=None)
def test_order_is_known_without_sorting(rows: list[tuple[int, int, int]], sort: bool) -> None:
    rows = sorted(rows) if sort else rows
    frame = pl.DataFrame(rows, schema={"a": pl.Int64, "b": pl.UInt32, "c": pl.Int64}, orient="row")
    assert _rises(frame, ["a", "b", "c"]) == (rows == sorted(rows))


def test_a_null_is_in_no_order() -> None:
    assert not _rises(pl.DataFrame({"a": [1, None]}), ["a"])


@pytest.mark.parametrize("changed", ["chain", "asset", "kind", "status"])
def test_a_batch_with_one_other_row(
    changed: str, tmp_path: Path, read_alice: Any, native_row: Any, write: Any
) -> None:
    """A Parquet file whose rows differ in one place, at the end, is read as the same rows in a text file."""
    other = {"chain": "1", "asset": "0x" + "D" * 40, "kind": "internal", "status": 0}[changed]
    usual = {"chain": "ethereum", "asset": "native", "kind": "native", "status": 1}
    rng = Random(3)
    rows = [native_row(block_number=n, value=str(rng.randrange(1, 10**20)), **usual) for n in range(20)]
    rows.append(native_row(block_number=20, value="7", **(usual | {changed: other})))
    found = [read_alice(write(tmp_path / name, rows)) for name in ("a.parquet", "a.csv")]
    assert found[0].frame.equals(found[1].frame, null_equal=True)
    assert (found[0].bad_rows, found[0].transfers) == (found[1].bad_rows, found[1].transfers)
