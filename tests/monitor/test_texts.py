"""Columns of texts read where they lie: what is found equals what Python finds, however a column is cut and kept."""

from __future__ import annotations

import random
import re

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.ids import hash64
from monitor.texts.blake import LANES, LONGEST, blake
from monitor.texts.digits import are_plain, floats
from monitor.texts.letters import lower
from monitor.texts.located import Texts
from monitor.texts.numbers import Numbers

TEXTS = st.one_of(st.none(), st.text("0aZxé", max_size=30), st.sampled_from(["", "a" * 12, "a" * 13, "0x" + "1b" * 20]))
NUMERALS = st.one_of(
    st.none(), st.integers(-5, 10**45).map(str), st.integers(0, 126).flatmap(lambda bits: st.just(str(1 << bits))),
    st.from_regex(r"[+-]?[0-9]{0,24}[.eE/:]?[0-9]{0,3}", fullmatch=True), st.text("0129", max_size=90),
)  # fmt: skip
FEW = settings(max_examples=300, deadline=None)


def cut(texts: list[str | None], seed: int) -> pl.Series:
    """The texts as a column of several chunks, slices of longer ones."""
    rng, parts, at = random.Random(seed), [], 0
    while at < len(texts) or not parts:
        end = at + rng.randint(1, 9)
        framed = ["before" * rng.randint(0, 3), *texts[at:end], None, "behind"]
        parts.append(pl.Series("text", framed, dtype=pl.String).slice(1, len(texts[at:end])))
        at = end
    return pl.concat(parts, rechunk=False)


def read(column: pl.Series) -> list[bytes]:
    import ctypes

    texts = Texts(column)
    return [ctypes.string_at(int(at), int(n)) for at, n in zip(texts.starts, texts.lengths, strict=True)]


@given(st.lists(TEXTS, max_size=40), st.integers(0, 99))
@FEW
def test_texts_lie_where_they_are_found(texts: list[str | None], seed: int) -> None:
    """In one chunk and in many, whole and sliced, short in their entries and long in buffers; a null is empty."""
    expected = [(text or "").encode() for text in texts]
    assert read(pl.Series(texts, dtype=pl.String)) == expected
    assert read(cut(texts, seed)) == expected


@given(st.lists(TEXTS, max_size=40), st.sets(st.text("0aZxé", min_size=1), max_size=12), st.integers(0, 99))
@FEW
def test_numbers_of_texts(texts: list[str | None], known: set[str], seed: int) -> None:
    """As a dict would tell them; an unknown text and a null have none."""
    names = sorted(known)
    of = {name: 3 * place for place, name in enumerate(names)}
    found = Numbers(names, list(of.values())).of(cut(texts, seed))
    assert found.tolist() == [-1 if text is None else of.get(text, -1) for text in texts]


def test_many_numbers() -> None:
    rng = random.Random(3)
    names = [f"0x{rng.getrandbits(160):040x}" for _ in range(20_000)]
    asked = [*names[::7], *(name[:-1] + "g" for name in names[::11]), *(name[1:] for name in names[::13])]
    of = {name: place for place, name in enumerate(names)}
    assert Numbers(names).of(pl.Series(asked)).tolist() == [of.get(name, -1) for name in asked]


@pytest.mark.parametrize("texts", [[], [""], [None, ""]])
def test_where_nothing_is_known(texts: list[str | None]) -> None:
    assert Numbers([]).of(pl.Series(texts, dtype=pl.String)).tolist() == [-1] * len(texts)


@given(st.lists(NUMERALS, max_size=20), st.integers(0, 99))
@FEW
def test_floats_are_those_of_polars(texts: list[str | None], seed: int) -> None:
    """The nearest float of numbers of any length, halves to the even one; the rest as Polars reads it."""
    column = cut(texts, seed)
    assert floats(column).equals(column.cast(pl.Float64, strict=False), null_equal=True)


def test_floats_at_halves() -> None:
    """Numbers at and next to the middle between two floats, up to 127 bits."""
    rng = random.Random(5)
    numbers = [
        ((rng.getrandbits(53) | 1 << 52) << shift) + (1 << shift - 1) + step
        for shift in range(1, 74) for step in (-1, 0, 1) for _ in range(20)
    ]  # fmt: skip
    assert floats(pl.Series([str(number) for number in numbers])).to_list() == [float(number) for number in numbers]


@given(st.lists(NUMERALS, max_size=6), st.integers(0, 99))
@FEW
def test_plain_numbers(texts: list[str | None], seed: int) -> None:
    plain = [text is None or re.fullmatch("0|[1-9][0-9]{0,76}", text) is not None for text in texts]
    assert are_plain(cut(texts, seed)) == all(plain)
    for text, is_plain in zip(texts, plain, strict=True):
        assert are_plain(pl.Series([text], dtype=pl.String)) == is_plain


@given(st.lists(TEXTS, max_size=40), st.integers(0, 99))
@FEW
def test_lower_case_of_pieces(texts: list[str | None], seed: int) -> None:
    assert lower(cut(texts, seed)).to_list() == [text and text.lower() for text in texts]


@pytest.mark.parametrize("count", [1, LANES - 1, LANES, 3 * LANES + 5])
def test_lanes_do_not_mix(count: int) -> None:
    """Texts of all lengths side by side, too long ones among them, behind prefixes of all lengths."""
    rng = random.Random(count)
    for before in range(0, 40, 3):
        texts = ["".join(rng.choices("ab0xé", k=rng.randint(0, 70))) for _ in range(count)]
        located = Texts(pl.Series(texts))
        prefix = "p" * before
        found = blake(located.starts, located.lengths, 8, f"{prefix}\x1f".encode()).ravel().tolist()
        for text, key in zip(texts, found, strict=True):
            fits = len(text.encode()) + before + 1 <= LONGEST
            assert key == (hash64(prefix, text) if fits else 0)
