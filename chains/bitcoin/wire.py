"""Where the parts of a serialised block lie: one compiled pass over its bytes, with every length checked.

The format: Bitcoin developer reference, "Block chain" and "Transactions"; BIP 144 (marker, flag and witness);
Litecoin's LIP 2 and 3 (flag 8: a transaction of the extension block follows the witness, in blocks it is absent).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

__all__ = ["CUT", "OK", "PROBLEMS", "index", "varint"]

OK, CUT, LONG_FORM, MANY, NO_INPUT, FLAG, EXTENSION, NEGATIVE, NO_WITNESS = 0, 1, 2, 3, 4, 5, 6, 7, 8
PROBLEMS = {
    CUT: "it is cut off",
    LONG_FORM: "a length is written longer than needed",
    MANY: "it says that it has more parts than fit into it",
    NO_INPUT: "a transaction has no input",
    FLAG: "a transaction has an unknown flag",
    EXTENSION: "a transaction of the extension block lies in the block itself",
    NEGATIVE: "an output has a negative amount",
    NO_WITNESS: "a transaction says that it has witnesses, and has none",
}
WITNESS, MWEB = 1, 8


@njit(cache=True)
def varint(data, at, end):  # type: ignore[no-untyped-def]
    """(value, place after it, status) of a length at ``at``."""
    if at >= end:
        return np.int64(0), at, CUT
    first = np.int64(data[at])
    if first < 0xFD:
        return first, at + 1, OK
    size = 2 if first == 0xFD else 4 if first == 0xFE else 8
    if at + 1 + size > end:
        return np.int64(0), at, CUT
    value = np.uint64(0)
    for i in range(size):
        value |= np.uint64(data[at + 1 + i]) << np.uint64(8 * i)
    least = np.uint64(0xFD) if size == 2 else np.uint64(0x10000) if size == 4 else np.uint64(0x100000000)
    if value < least:
        return np.int64(0), at, LONG_FORM
    if value > np.uint64(end):
        return np.int64(0), at, MANY
    return np.int64(value), at + 1 + size, OK


@njit(cache=True)
def _inputs(data, at, end, ins, i, fill, may_lack):  # type: ignore[no-untyped-def]
    """(place after them, inputs so far, status) of the inputs of one transaction."""
    count, at, status = varint(data, at, end)
    if status != OK:
        return at, i, status
    if count == 0 and not may_lack:
        return at, i, NO_INPUT
    if count > (end - at) // 41:
        return at, i, MANY
    for _ in range(count):
        point = at
        length, at, status = varint(data, at + 36, end)
        if status != OK:
            return at, i, status
        if at + length + 4 > end:
            return at, i, CUT
        if fill:
            ins[i, 0], ins[i, 1], ins[i, 2], ins[i, 3] = point, at, at + length, -1
        at += length + 4
        i += 1
    return at, i, OK


@njit(cache=True)
def _outputs(data, at, end, outs, o, fill):  # type: ignore[no-untyped-def]
    """(place after them, outputs so far, status) of the outputs of one transaction."""
    count, at, status = varint(data, at, end)
    if status != OK:
        return at, o, status
    if count > (end - at) // 9:
        return at, o, MANY
    for _ in range(count):
        value = at
        length, at, status = varint(data, at + 8, end)
        if status != OK:
            return at, o, status
        if at + length > end:
            return at, o, CUT
        if data[value + 7] & 0x80:
            return value, o, NEGATIVE
        if fill:
            outs[o, 0], outs[o, 1], outs[o, 2] = value, at, at + length
        at += length
        o += 1
    return at, o, OK


@njit(cache=True)
def _witnesses(data, at, end, ins, first, last, fill):  # type: ignore[no-untyped-def]
    """(place after them, status) of the witnesses of inputs ``first`` to ``last``."""
    items = np.int64(0)
    for n in range(first, last):
        if fill:
            ins[n, 3] = at
        count, at, status = varint(data, at, end)
        if status != OK:
            return at, status
        items += count
        for _ in range(count):
            length, at, status = varint(data, at, end)
            if status != OK:
                return at, status
            if at + length > end:
                return at, CUT
            at += length
    return at, OK if items else NO_WITNESS


@njit(cache=True)
def _transaction(data, at, end, txs, ins, outs, t, i, o, fill, alone):  # type: ignore[no-untyped-def]
    """One transaction: (place after it, inputs so far, outputs so far, status). Writes columns where ``fill``."""
    start, first = at, i
    at += 4
    if at + 1 > end:
        return at, i, o, CUT
    flag = np.int64(0)
    if data[at] == 0 and at + 1 < end and data[at + 1] != 0:
        flag = np.int64(data[at + 1])
        at += 2
        if flag & ~(WITNESS | MWEB):
            return at, i, o, FLAG
    body = at
    at, i, status = _inputs(data, at, end, ins, i, fill, flag & MWEB != 0)
    if status != OK:
        return at, i, o, status
    at, o, status = _outputs(data, at, end, outs, o, fill)
    if status != OK:
        return at, i, o, status
    rest = at
    if flag & WITNESS:
        at, status = _witnesses(data, at, end, ins, first, i, fill)
        if status != OK:
            return at, i, o, status
    if flag & MWEB:
        if alone:
            at = max(at, end - 4)  # what is of the extension block has no length of its own
        elif at < end and data[at] == 0:
            at += 1
        else:
            return at, i, o, EXTENSION
    if at + 4 > end:
        return at, i, o, CUT
    at += 4
    if fill:
        txs[t, 0], txs[t, 1], txs[t, 2], txs[t, 3], txs[t, 4] = start, body, rest, at, flag
    return at, i, o, OK


@njit(cache=True)
def _walk(data, at, count, txs, ins, outs, first_in, first_out, fill, alone):  # type: ignore[no-untyped-def]
    end = len(data)
    i = o = np.int64(0)
    for t in range(count):
        if fill:
            first_in[t], first_out[t] = i, o
        at, i, o, status = _transaction(data, at, end, txs, ins, outs, t, i, o, fill, alone)
        if status != OK:
            return at, i, o, status
    if fill:
        first_in[count], first_out[count] = i, o
    return at, i, o, OK


def index(data: Any, at: int, count: int, alone: bool = False) -> tuple[int, int, Any, Any, Any, Any, Any]:
    """Where ``count`` transactions from byte ``at`` on lie.

    Parameters
    ----------
    data : uint8 array
    alone : it is one transaction, and all that follows is its own

    Returns
    -------
    (status, place after them, transactions, inputs, outputs, first_input, first_output) : status is `OK`, or a key of
    `PROBLEMS`. Columns of transactions: start, start of the inputs, end of the outputs, end, flag; of inputs: outpoint,
    start and end of the script, start of the witness or -1; of outputs: value, start and end of the script. The last
    two have one entry more than there are transactions.
    """
    none = np.empty((0, 5), np.int64)
    empty = np.empty(0, np.int64)
    if count > max(0, len(data) - at) // 10:
        return MANY, at, none, none, none, empty, empty
    after, n_in, n_out, status = _walk(data, at, count, none, none, none, empty, empty, False, alone)
    if status != OK:
        return int(status), int(after), none, none, none, empty, empty
    txs, ins, outs = np.empty((count, 5), np.int64), np.empty((n_in, 4), np.int64), np.empty((n_out, 3), np.int64)
    first_in, first_out = np.empty(count + 1, np.int64), np.empty(count + 1, np.int64)
    _walk(data, at, count, txs, ins, outs, first_in, first_out, True, alone)
    return OK, int(after), txs, ins, outs, first_in, first_out


index(np.frombuffer(bytes(100), np.uint8), 0, 1)  # compiled now, so that the first block is read as fast as others
