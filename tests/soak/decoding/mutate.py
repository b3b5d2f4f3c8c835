"""Damaging what is sound: bytes, text and JSON. All of it follows from the generator that is handed in."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from random import Random
from typing import Any

__all__ = ["damaged_bytes", "damaged_json", "damaged_text"]

EDITS = 6
NUMBERS = (
    0, 1, 2, 0x7F, 0x80, 0xFC, 0xFD, 0xFE, 0xFF, 0x100, 0xFFFF, 0x10000, 2**31 - 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1,
)  # fmt: skip
LONGEST = 400_000
SIGNS = (
    "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ()[]{}<>;,:/*'#h@&|-_ \t\n\0"
    "\u200b\u0430\u00e9\U0001f600"
)
JUNK: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 257, 2049, 4100, 16386, 2**31, 2**53 + 1, 2**63, 2**64, -(2**70), 0.5, float("inf"),
    float("nan"), "", "0", "zz", "00", "f" * 64, "N" * 40, "\0", "\ud800", [], {}, [[]], [{}], {"a": 1}, "x" * 5000,
)  # fmt: skip


def damaged_bytes(rng: Random, seeds: Sequence[bytes]) -> bytes:
    """One of the seeds after a few edits."""
    data = bytearray(rng.choice(seeds))
    for _ in range(rng.randrange(EDITS)):
        _edit(rng, data, seeds)
    return bytes(data[:LONGEST])


def _edit(rng: Random, data: bytearray, seeds: Sequence[bytes]) -> None:
    at, size = rng.randrange(len(data) + 1), rng.choice((1, 1, 2, 4, 8, 36, 80))
    how = rng.randrange(7)
    if how == 0 and data:
        data[at % len(data)] ^= 1 << rng.randrange(8)
    elif how == 1:
        del data[at : at + size]
    elif how == 2:
        data[at:at] = rng.randbytes(size)
    elif how == 3:  # a length, an amount, a count
        width = rng.choice((1, 2, 4, 8))
        data[at : at + width] = (rng.choice(NUMBERS) & (256**width - 1)).to_bytes(width, "little")
    elif how == 4:
        data[at:at] = data[at : at + size * 4]
    elif how == 5:  # the rest of another one
        other = rng.choice(seeds)
        data[at:] = other[rng.randrange(len(other) + 1) :]
    else:
        del data[at:]


def damaged_text(rng: Random, seeds: Sequence[str]) -> str:
    """One of the seeds after a few edits."""
    text = rng.choice(seeds)
    for _ in range(rng.randrange(EDITS)):
        at, size = rng.randrange(len(text) + 1), rng.choice((1, 1, 1, 3, 10))
        how, sign = rng.randrange(7), rng.choice(SIGNS)
        other = rng.choice(seeds)
        start = rng.randrange(len(other) + 1)
        text = (
            text[:at] + sign + text[at + 1 :],
            text[:at] + text[at + size :],
            text[:at] + sign * size + text[at:],
            text[:at] + text[at : at + size] * 2 + text[at + size :],
            text[:at] + other[start : start + 40] + text[at:],
            text[:at] + other[start:],
            text.swapcase(),
        )[how]
    return text[:LONGEST]


def damaged_json(rng: Random, seeds: Sequence[Any]) -> Any:
    """One of the seeds, of which a few places are replaced, removed, doubled, or exchanged."""
    value = copy.deepcopy(rng.choice(seeds))
    for _ in range(rng.randrange(EDITS)):
        places = _places(value)
        if not places:
            break
        holder, key = rng.choice(places)
        how = rng.randrange(6)
        if how == 0:
            del holder[key]
        elif how == 1 and isinstance(holder, list):
            holder.insert(key, copy.deepcopy(holder[key]))
        elif how == 2:
            other, place = rng.choice(places)
            holder[key] = copy.deepcopy(other[place])
        elif how == 3 and isinstance(holder[key], str):
            holder[key] = damaged_text(rng, [holder[key]])
        elif how == 4 and type(holder[key]) is int:
            holder[key] += rng.choice((1, -1, 256, 2**31, 2**63, -holder[key], -2 * holder[key]))
        else:
            holder[key] = copy.deepcopy(rng.choice(JUNK))
    return value


def _places(value: Any) -> list[tuple[Any, Any]]:
    found: list[tuple[Any, Any]] = []
    waiting = [value]
    while waiting:
        holder = waiting.pop()
        keys = holder.keys() if isinstance(holder, dict) else range(len(holder)) if isinstance(holder, list) else ()
        for key in keys:
            found.append((holder, key))
            waiting.append(holder[key])
    return found
