"""JSON arrays as lines, an entry each, so that they are read like any JSON lines: never the whole file at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import polars as pl
from numba import njit

from chains.tables.documents.streams import LARGEST, Cut, blocks_of
from chains.tables.lines import CHUNK_BYTES, as_lines
from monitor.errors import ConfigError, Problem

__all__ = ["entries"]

_BOM = b"\xef\xbb\xbf"
_DEPTH, _BASE, _IN_TEXT = range(3)  # places in the state between two blocks


def entries(path: str, tick: Callable[[int], None] | None = None, size: int = CHUNK_BYTES) -> Iterator[pl.Series]:
    """The entries of JSON arrays, or JSON values that follow each other, each as a text of one line, in batches.

    They are not checked. What breaks ends where that shows, and is an entry; so is whatever stands between two commas.

    Parameters
    ----------
    path : a file, packed or not, or a URL
    tick : told the bytes of the file on disk read so far
    size : bytes of a batch, about

    Raises
    ------
    Cut : after the last whole entry, where the file ends too early or its packing is corrupt
    ConfigError : the file cannot be opened, or an entry is larger than half a GiB
    """
    state = np.array([0, 0, 0, 0, ord(",")], np.int64)
    held, long, cut = list[bytes](), 0, None
    try:
        for number, block in enumerate(blocks_of(path, tick, size)):
            data = np.array(bytearray(block.removeprefix(_BOM) if not number else block), np.uint8)
            _unfold(data, state)
            held.append(data.tobytes())
            long += len(data)
            if long >= size:
                text = b"".join(held)
                end = text.rfind(b"\n") + 1
                yield _filled(text[:end])
                held, long = [text[end:]], len(text) - end
            if long > LARGEST:
                raise ConfigError(Problem(f"an entry has more than {LARGEST >> 20} MiB", path))
    except Cut as error:
        cut = error
    text = b"".join(held)
    is_whole = state[_DEPTH] == state[_BASE] and not state[_IN_TEXT]
    yield _filled(text if is_whole else text[: text.rfind(b"\n") + 1])
    if cut is not None or state[_DEPTH] or not is_whole:
        raise cut or Cut(f"the file ends inside of {'its array' if is_whole else 'an entry'}")


def _filled(text: bytes) -> pl.Series:
    """Lines that are not blank."""
    found = as_lines(text)
    return found.filter(found.str.strip_chars() != "")


@njit(cache=True)
def _unfold(data, state):  # type: ignore[no-untyped-def]
    """Put each entry on a line of its own, in place: commas between entries become line breaks, and the line breaks
    within an entry blanks.

    An entry breaks at a line break in a text, and where an object or array begins that no comma, colon or bracket
    leads to.
    """
    depth, base, in_text, is_escaped, last = state[0], state[1], state[2], state[3], state[4]
    for at in range(len(data)):
        byte = data[at]
        if in_text:
            if is_escaped:
                is_escaped = 0
            elif byte == 0x5C:
                is_escaped = 1
            elif byte == 0x22:
                in_text = 0
                last = byte
            elif byte == 0x0A:
                in_text, depth, last = 0, base, 0x2C
            continue
        if byte == 0x0A or byte == 0x0D or byte == 0x09 or byte == 0x20:
            if base or depth:
                data[at] = 0x20
            continue
        if byte == 0x22:
            in_text = 1
        elif byte == 0x5B and depth == 0:
            depth, base = 1, 1
            data[at] = 0x0A
        elif byte == 0x5B or byte == 0x7B:
            is_led_to = last == 0x2C or last == 0x3A or last == 0x5B or last == 0x7B
            if at and not is_led_to and (depth > base or data[at - 1] == 0x20):
                depth = base
                data[at - 1] = 0x0A
            depth += 1
        elif byte == 0x5D and depth == 1 and base == 1:
            depth, base = 0, 0
            data[at] = 0x0A
        elif (byte == 0x5D or byte == 0x7D) and depth > base:
            depth -= 1
        elif byte == 0x2C and depth == base:
            data[at] = 0x0A
        last = byte
    state[0], state[1], state[2], state[3], state[4] = depth, base, in_text, is_escaped, last
