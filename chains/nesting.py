"""JSON that is nested more deeply than Python reads at first: traces of calls within calls, which anybody can make."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TypeVar

__all__ = ["DEEPEST", "nested"]

T = TypeVar("T")

DEEPEST = 4000  # levels: the EVM allows 1,024 calls within calls, which are two levels each, and has some to spare


def nested(decode: Callable[[bytes], T], data: bytes) -> T:
    """What ``decode`` makes of ``data``; it is tried once more with room for `DEEPEST` levels where it runs out of it.

    Python before 3.12 counts the levels of its C libraries like calls, 1,000 in all. Whoever calls a contract 500 deep
    would otherwise make the whole block's traces unreadable.

    Raises
    ------
    RecursionError : it is nested more deeply still
    """
    try:
        return decode(data)
    except RecursionError:
        before = sys.getrecursionlimit()
        sys.setrecursionlimit(max(before, DEEPEST))
        try:
            return decode(data)
        finally:
            sys.setrecursionlimit(before)
