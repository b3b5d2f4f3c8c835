"""Whole numbers in text, column by column: the same as one number at a time, whatever stands beside it."""

from __future__ import annotations

import re

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from chains.tables.whole import REASONS, digits, faults, is_positive

NUMBERS = st.one_of(
    st.none(),
    st.integers(0, 2**257).map(str),
    st.integers(-(2**130), 2**40).map(str),
    st.tuples(st.integers(0, 3), st.integers(0, 10**20), st.sampled_from(["", "+"])).map(
        lambda parts: f"{parts[2]}{'0' * parts[0]}{parts[1]}"
    ),
    st.tuples(st.integers(0, 10**20), st.integers(0, 12)).map(lambda parts: f"{parts[0]}.{'0' * parts[1]}"),
    st.from_regex(r"[+-]?[0-9]{0,3}\.?[0-9]{0,3}([eE][+-]?[0-9]{1,2})?", fullmatch=True).filter(bool),
    st.text("0x1fe+-. ", min_size=1, max_size=6),
)


def bare(text: str) -> str:
    """The text without a fraction of nine zeros or more."""
    return re.sub(r"^([0-9]+)\.0{9,}$", r"\1", text)


def expected(text: str | None) -> str | None:
    """What is said of one text, None where nothing is."""
    if text is None:
        return None
    text = bare(text)
    plain = re.fullmatch(r"[+-]?[0-9]+", text)
    small = plain is not None and -(2**127) <= int(text) < 2**127
    if small:
        return "no negative amount" if text.startswith("-") else None
    if re.fullmatch(r"[0-9]{39,}", text):
        return None if int(text) < 2**256 else "at most 2^256 - 1"
    if re.fullmatch(r"[+-]?[0-9]*\.?[0-9]+([eE][+-]?[0-9]+)?", text):
        return "a whole number of base units (a decimal or rounded number is not exact)"
    return "a whole number of base units"


@settings(max_examples=200, deadline=None)
@given(texts=st.lists(NUMBERS, max_size=6))
def test_faults_and_digits_are_those_of_each_number(texts: list[str | None]) -> None:
    """What is wrong with each, and the shortest form of what is right."""
    frame = pl.DataFrame({"text": pl.Series(texts, dtype=pl.String)})
    found = frame.select(fault=faults(pl.col("text")))["fault"].to_list()
    assert [REASONS.get(fault) for fault in found] == [expected(text) for text in texts]
    good = [text for text in texts if text is not None and expected(text) is None]
    short = pl.DataFrame({"text": pl.Series(good, dtype=pl.String)}).select(digits(pl.col("text"))).to_series()
    assert short.to_list() == [str(int(bare(text))) for text in good]
    assert is_positive(short).to_list() == [int(bare(text)) > 0 for text in good]


def test_a_fraction_of_many_zeros_is_none() -> None:
    """Nine zeros or more go, fewer are told as what they are, and other texts of the column stay as they are."""
    texts = ["5", "7.000000000", "7.00000000", "1.0000000001", None, "x"]
    text = pl.col("text")
    frame = pl.DataFrame({"text": texts}).select(fault=faults(text), digits=digits(text))
    assert [REASONS.get(fault) for fault in frame["fault"]] == [expected(text) for text in texts]
    assert [REASONS.get(fault) is None for fault in frame["fault"]] == [True, True, False, False, True, False]
    assert frame["digits"].to_list()[:2] == ["5", "7"]
