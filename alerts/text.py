"""Text from a chain is hostile: token names and memos are written by thieves, for the people who read alerts.

Nothing here decides what is true; it decides what may reach a screen. Names written right to left, invisible
letters and cursor movements must not change how the rest of a message looks. Markup is the channel's to escape:
each has its own.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["bounded", "clean", "encodable", "shown", "within"]

# Control, format (bidirectional and zero-width among them), half of a surrogate pair, private use.
_REMOVED = {"Cc", "Cf", "Cs", "Co"}
# Drawn as nothing, or as a blank, though Unicode counts them as letters, marks or symbols.
_INVISIBLE = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"
    + "".join(map(chr, (*range(0x180B, 0x1810), *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))))
)


def clean(text: str, *, lines: bool = False) -> str:
    """``text`` without what cannot be seen: control, bidirectional, zero-width and other invisible characters.

    Parameters
    ----------
    text : any text, lone surrogates included
    lines : keep line breaks (of any kind, as a newline); else a break is a space, as a tab is

    Examples
    --------
    >>> clean("US\\u202eDT\\u200b\\x1b[2J\\nnew")
    'USDT[2J new'
    """
    if text.isascii() and text.isprintable():
        return text
    kept = (_character(character, "\n" if lines else " ") for character in text.replace("\r\n", "\n"))
    return "".join(kept)


def _character(character: str, line_break: str) -> str:
    if " " <= character <= "~":
        return character
    if character in "\n\r\v\f\x85\u2028\u2029":
        return line_break
    if character == "\t":
        return " "
    removed = character in _INVISIBLE or unicodedata.category(character) in _REMOVED
    return "" if removed else character


def bounded(text: str, most: int) -> str:
    """``text`` of at most ``most`` characters, then a note of how many were left out.

    >>> bounded("ABCDEFGH", 5)
    'ABCDE… (3 more characters left out)'
    """
    return text if len(text) <= most else f"{text[:most]}… ({len(text) - most} more characters left out)"


def shown(text: str, most: int, *, lines: bool = False) -> str:
    """`clean` and `bounded` at a cost that the length of ``text`` does not raise: what is left out is only counted.

    >>> shown("A\u202e" * 1_000_000, 3)
    'AAA… (1999994 more characters left out)'
    """
    part = text[: 2 * most + 100]
    seen = clean(part, lines=lines)
    if len(part) == len(text):
        return bounded(seen, most)
    return f"{seen[:most]}… ({len(text) - 2 * most} more characters left out)"


def within(text: str, most: int) -> str:
    """``text`` in at most ``most`` characters (50 or more), the note of what was left out among them.

    >>> len(within("x" * 1000, 130)) <= 130
    True
    """
    if len(text) <= most:
        return text
    note = len(bounded(text, 0))
    return bounded(text, most - note)


def encodable(value: Any) -> Any:
    """``value`` as plain JSON types that every JSON writer takes: equal input, equal output, nothing hidden.

    Lone surrogates become ``\\\\udXXX`` as text, numbers that are not finite become null, keys become text, enums and
    other values their text. Used on what a message carries as data; text for people goes through `clean`.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str(value).encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {encodable(str(key)): encodable(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
        return [encodable(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted((encodable(item) for item in value), key=repr)
    return encodable(str(value))
