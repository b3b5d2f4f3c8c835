"""Where a JSON value ends: one compiled pass over brackets and texts, which goes on where the last one stopped."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

__all__ = ["ENDED", "MORE", "START", "fresh", "walk"]

MORE, CLOSED, BROKEN, ENDED = 0, 1, 2, 3  # all was looked at; a value ends; it breaks; the array of values ends
START = 4  # place in the state of where the value began


def fresh() -> Any:
    """The state before a value: depth, whether in a text, after a backslash, the last byte, where the value began."""
    return np.array([0, 0, 0, 0x2C, -1], np.int64)


@njit(cache=True)
def walk(data, at, state):  # type: ignore[no-untyped-def]
    """Look at bytes from ``at`` on until something happens.

    A value breaks at a line break in a text, and where an object or array begins that no comma, colon or bracket
    leads to.

    Returns
    -------
    (place after what was looked at, what happened) : for a broken value the place is where the next one may begin
    """
    depth, in_text, is_escaped, last, start = state[0], state[1], state[2], state[3], state[4]
    what = MORE
    while at < len(data):
        byte = data[at]
        if in_text:
            if byte == 0x0A:
                what = BROKEN
                break
            at += 1
            if is_escaped:
                is_escaped = 0
            elif byte == 0x5C:
                is_escaped = 1
            elif byte == 0x22:
                in_text = 0
                last = byte
                if depth == 0:
                    what = CLOSED
                    break
            continue
        if byte == 0x22:
            in_text = 1
            if start < 0:
                start = at
        elif byte == 0x5B or byte == 0x7B:
            if depth and not (last == 0x2C or last == 0x3A or last == 0x5B or last == 0x7B):
                what = BROKEN
                break
            if start < 0:
                start = at
            depth += 1
        elif byte == 0x5D or byte == 0x7D:
            if depth:
                depth -= 1
                if depth == 0:
                    at += 1
                    what = CLOSED
                    break
            elif byte == 0x5D:
                at += 1
                what = ENDED
                break
        if byte != 0x20 and byte != 0x0A and byte != 0x0D and byte != 0x09:
            last = byte
        at += 1
    state[0], state[1], state[2], state[3], state[4] = depth, in_text, is_escaped, last, start
    return at, what
