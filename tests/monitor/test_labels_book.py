"""The book of labels: what is known of an address, when, and that one answer and many agree."""

from __future__ import annotations

import ast
import random
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from monitor.labels import Label, LabelBook, LabelKind
from monitor.labels import book as book_module
from monitor.labels.book import label_frame

A = "0x" + "a1" * 20
B = "0x" + "b2" * 20
ETH, BSC = "eip155:1", "eip155:56"
EXCHANGE = Label(ETH, A, "Hot", LabelKind.EXCHANGE, "one", 100)
MIXER = Label(ETH, A, "Mixer", LabelKind.MIXER, "two", 200)
SCAM_ANYWHERE = Label(None, A, "Bad", LabelKind.SCAM, "three", 300)
THEFT_BSC = Label(BSC, A, "Thief", LabelKind.THEFT, "four", 50)
ALL = [EXCHANGE, MIXER, SCAM_ANYWHERE, THEFT_BSC]


def test_at_knows_only_what_was_known() -> None:
    """A label counts from its known_since on, inclusive, and never before."""
    book = LabelBook(ALL)
    assert book.at(ETH, A, 99) == ()
    assert book.at(ETH, A, 100) == (EXCHANGE,)
    assert book.at(ETH, A, 299) == (EXCHANGE, MIXER)
    assert book.at(ETH, A, 300) == (EXCHANGE, MIXER, SCAM_ANYWHERE)
    assert book.at(ETH, B, 10**9) == ()


def test_kind_at_is_the_gravest_known() -> None:
    """Of several labels the gravest of those known by then answers; other chains do not, any-chain labels do."""
    book = LabelBook(ALL)
    answers = [book.kind_at(ETH, A, time) for time in (99, 100, 200, 299, 300)]
    assert answers == [None, LabelKind.EXCHANGE, LabelKind.MIXER, LabelKind.MIXER, LabelKind.SCAM]
    assert book.kind_at(BSC, A, 60) is LabelKind.THEFT
    assert book.kind_at("eip155:10", A, 299) is None and book.kind_at("eip155:10", A, 300) is LabelKind.SCAM


def test_first_known_by_kind() -> None:
    """Each kind is known from the earliest of its labels on, whoever said it."""
    later = Label(ETH, A, "Hot again", LabelKind.EXCHANGE, "five", 70)
    book = LabelBook([*ALL, later])
    assert book.first_known(ETH, A) == {LabelKind.SCAM: 300, LabelKind.MIXER: 200, LabelKind.EXCHANGE: 70}
    assert list(book.first_known(ETH, A)) == [LabelKind.SCAM, LabelKind.MIXER, LabelKind.EXCHANGE]
    assert book.first_known(ETH, B) == {}


def test_everywhere_is_all_chains() -> None:
    """The look-up of people sees every chain, earliest first, once each."""
    book = LabelBook([*ALL, MIXER])
    assert book.everywhere(A) == (THEFT_BSC, EXCHANGE, MIXER, SCAM_ANYWHERE)
    assert book.everywhere(A, 100) == (THEFT_BSC, EXCHANGE)


def test_a_ground_collision_inherits_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: every address has the same 64-bit key, and still only the whole address answers."""
    monkeypatch.setattr(book_module, "hash64", lambda *parts: 7)
    monkeypatch.setattr(book_module, "keys_of", lambda column: np.full(len(column), 7, np.uint64))
    book = LabelBook([EXCHANGE, Label(ETH, B, "B", LabelKind.THEFT, "x", 1)])
    assert book.kind_at(ETH, A, 1000) is LabelKind.EXCHANGE and book.kind_at(ETH, B, 1000) is LabelKind.THEFT
    assert book.kind_at(ETH, "0x" + "c3" * 20, 1000) is None
    column = pl.Series([A, B, "0x" + "c3" * 20, A[:-1]])
    assert book.kinds(ETH, column, [1000] * 4).tolist() == [6, 10, 0, 0]


def _scattered(seed: int) -> list[Label]:
    chance = random.Random(seed)
    return [
        Label(
            chance.choice([ETH, BSC, None]), f"0x{chance.randrange(40):040x}", f"n{chance.randrange(5)}",
            chance.choice(list(LabelKind)), f"s{chance.randrange(3)}", chance.randrange(1000),
        )
        for _ in range(150)
    ]  # fmt: skip


def test_kinds_is_kind_at_for_every_row() -> None:
    """The answer for many rows is row by row that of `kind_at`; empty and strange addresses have none."""
    chance = random.Random(5)
    labels = _scattered(1)
    book = LabelBook(labels)
    picked = [(label.address, label.known_since + step) for label in labels for step in (-1, 0, 1)]
    picked += [(f"0x{chance.randrange(60):040x}", chance.randrange(-10, 1100)) for _ in range(1000)]
    addresses: list[str | None] = [address for address, _ in picked] + [None, "x", ""]
    times = [time for _, time in picked] + [500, 500, 500]
    for chain in (ETH, BSC, "eip155:10"):
        expected = [int(book.kind_at(chain, a, t) or 0) if a else 0 for a, t in zip(addresses, times, strict=True)]
        got = book.kinds(chain, pl.Series(addresses, dtype=pl.String), np.array(times))
        assert got.dtype == np.int8 and got.tolist() == expected and len(set(expected)) > 4


def test_any_split_of_rows_is_the_same() -> None:
    """Rows asked for in pieces give what they give at once."""
    book = LabelBook(_scattered(2))
    column = pl.Series([f"0x{i % 50:040x}" for i in range(500)])
    times = np.arange(500) * 2
    whole = book.kinds(ETH, column, times)
    parts = [book.kinds(ETH, column.slice(i, 37), times[i : i + 37]) for i in range(0, 500, 37)]
    assert np.concatenate(parts).tolist() == whole.tolist() and whole.any()


def test_order_of_labels_does_not_matter() -> None:
    """Shuffled labels, or labels as columns, are the same book."""
    labels = _scattered(3)
    shuffled = random.Random(9).sample(labels, len(labels))
    books = [LabelBook(labels), LabelBook(shuffled), LabelBook.of_columns(label_frame(shuffled).get_column)]
    for n in range(40):
        address = f"0x{n:040x}"
        answers = [book.at(BSC, address, 600) for book in books]
        assert answers[0] == answers[1] == answers[2]
        assert len({str(book.first_known(BSC, address)) for book in books}) == 1


def test_an_empty_book() -> None:
    """Without labels everything is unknown."""
    book = LabelBook()
    assert (len(book), book.at(ETH, A, 1), book.kind_at(ETH, A, 1), book.everywhere(A)) == (0, (), None, ())
    assert book.kinds(ETH, pl.Series([A, None]), [1, 2]).tolist() == [0, 0]
    assert LabelBook(ALL).kinds(ETH, pl.Series([], dtype=pl.String), []).tolist() == []


def test_lengths_must_agree() -> None:
    """As many times as addresses, else an error that says both."""
    with pytest.raises(ValueError, match="2 addresses and times of shape"):
        LabelBook(ALL).kinds(ETH, pl.Series([A, B]), [1])


def test_words_and_gravity() -> None:
    """Words of sources map to the closed list; the number rises with gravity; a wrong word is corrected."""
    assert [str(kind) for kind in sorted(LabelKind)][-4:] == ["mixer", "scam", "theft", "sanctioned"]
    words = ("mixing_service", "service_hack", "phish-hack", "wallet_service", "Exchange", "sanction")
    kinds = ["mixer", "theft", "scam", "custodian", "exchange", "sanctioned"]
    assert [str(LabelKind.parse(word)) for word in words] == kinds
    with pytest.raises(ValueError, match="did you mean 'exchange'"):
        LabelKind.parse("exchnge")


@pytest.mark.parametrize("module", ["book", "kind", "label", "given", "place", "tables", "packs", "gathered"])
def test_pure_modules(module: str) -> None:
    """The book and the parsers open no file and read no clock; reading is elsewhere."""
    source = Path(book_module.__file__).with_name(f"{module}.py").read_text("utf-8")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [getattr(node, "module", "") or "", *(alias.name for alias in node.names)]
            assert not {"time", "os", "pathlib", "random", "socket", "glob"} & set(names), names
            assert not any(name.startswith(("monitor.labels.read", "monitor.labels.load")) for name in names)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id != "open"
