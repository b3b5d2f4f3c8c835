"""Text from a chain reaches screens without what cannot be seen, and in a bounded length."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.text import bounded, clean, encodable
from monitor.ids import canonical_json

ANY_TEXT = st.text(st.characters(codec=None))  # lone surrogates too


@pytest.mark.parametrize(
    ("hostile", "harmless"),
    [
        ("USDT", "USDT"),
        ("コイン 🪙 ñ", "コイン 🪙 ñ"),
        ("US\u202eTDSU\u202c", "USTDSU"),
        ("\u2066a\u2069\u200e\u061c", "a"),
        ("U\u200bS\u200cD\u200d\ufeffT\u2060", "USDT"),
        ("\x1b[2J\x1b]8;;http://x\x07click\x1b\\", "[2J]8;;http://xclick\\"),
        ("a\x00b\x7fc\x9bd", "abcd"),
        ("x\ud800y", "xy"),
        ("\u3164\u115f\u2800\ufe0f\U000e0041", ""),
        ("one\ntwo\ttab", "one two tab"),
        ("one\u2028two\u0085three\r\nfour", "one two three four"),
    ],
)
def test_clean(hostile: str, harmless: str) -> None:
    """Control, bidirectional, zero-width and other invisible characters go; letters of any script stay."""
    assert clean(hostile) == harmless


def test_clean_keeps_lines_where_asked() -> None:
    """Line breaks of every kind are one newline in a body."""
    assert clean("a\r\nb\rc\u2029d\x0be", lines=True) == "a\nb\nc\nd\ne"


@given(ANY_TEXT)
def test_clean_leaves_nothing_invisible(text: str) -> None:
    """Whatever comes in: one line, encodable, no control or format character; cleaning again changes nothing."""
    cleaned = clean(text)
    cleaned.encode()
    assert not {unicodedata.category(character) for character in cleaned} & {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
    assert clean(cleaned) == cleaned


def test_bounded() -> None:
    """Text at its bound stays whole; over it a note says how much is missing."""
    assert bounded("abc", 3) == "abc"
    assert bounded("abcd", 3) == "abc… (1 more characters left out)"


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(ANY_TEXT, inner) | st.frozensets(st.integers()),
    max_leaves=10,
)


@given(_values)
def test_encodable_always_encodes(value: object) -> None:
    """Any data becomes canonical JSON: not finite numbers and halves of characters cannot lose an alert."""
    json.loads(canonical_json(encodable(value)))


def test_encodable_values() -> None:
    """Integers keep every digit, texts every readable character."""
    value = {"n": 10**30, "f": float("nan"), "s": "a\ud800é", "t": (1, True, None), "set": frozenset({2, 1}), 7: b"x"}
    assert encodable(value) == {
        "n": 10**30,
        "f": None,
        "s": "a\\ud800é",
        "t": [1, True, None],
        "set": [1, 2],
        "7": "b'x'",
    }
