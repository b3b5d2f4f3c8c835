"""Many addresses at once, compiled: digests and 64-bit keys of their texts, and the check of EVM addresses.

A digest is blake2b with 16 bytes of output over the canonical text, the same as ``hashlib`` gives. To make a stranger's
address pass for one of ten million takes about 2**104 tries, so a set of digests is as good as a set of texts. A key is
`monitor.ids.hash64`, which has 8 bytes of output.
Sources: the Keccak reference, ERC-55.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator

import numpy as np
import polars as pl
from numba import njit, uint64
from numpy.typing import NDArray

from monitor.ids import hash64
from monitor.texts.blake import LONGEST, blake, turn
from monitor.texts.located import Texts
from monitor.texts.memory import byte

__all__ = ["LONGEST", "digest", "digests", "evm_digests", "keys", "pieces"]

_EVM = 42  # bytes of an EVM address
_FEW = 1024  # texts below which loading the compiled code would take longer
PIECE = 1 << 16  # texts that are looked at together, to bound memory
_PAIR = struct.Struct("<QQ")
_ROTATIONS = np.array(
    [1, 3, 6, 10, 15, 21, 28, 36, 45, 55, 2, 14, 27, 41, 56, 8, 25, 43, 62, 18, 39, 61, 20, 44], np.uint64
)
_LANES = np.array([10, 7, 11, 17, 18, 3, 5, 16, 8, 21, 24, 4, 15, 23, 19, 13, 12, 2, 20, 14, 22, 9, 6, 1], np.int64)


def _round_constants() -> NDArray[np.uint64]:
    """The 24 constants of Keccak-f[1600], from the shift register that defines them."""
    found, register = [], 1
    for _ in range(24):
        constant = 0
        for j in range(7):
            if register & 1:
                constant |= 1 << ((1 << j) - 1)
            register = (register << 1) ^ (0x171 if register & 0x80 else 0)
        found.append(constant)
    return np.array(found, np.uint64)


_ROUND = _round_constants()


def digest(text: str) -> tuple[int, int]:
    """The digest of one text as two 64-bit numbers."""
    first, second = _PAIR.unpack(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest())
    return first, second


def pieces(column: pl.Series) -> Iterator[pl.Series]:
    """A column in slices of bounded size."""
    for start in range(0, len(column), PIECE):
        yield column.slice(start, PIECE)


def digests(texts: Texts) -> NDArray[np.uint64]:
    """Digests, two numbers a text: shape (2 n,). Texts longer than `LONGEST` bytes get zeros."""
    return blake(texts.starts, texts.lengths, 16).ravel()


def keys(column: pl.Series, *prefix: str) -> NDArray[np.uint64]:
    """``hash64(*prefix, text)`` of each text: shape (n,); null is an empty text."""
    if len(column) < _FEW:
        return np.array([hash64(*prefix, text) for text in column.fill_null("").to_list()], np.uint64)
    texts = Texts(column)
    before = "".join(f"{part}\x1f" for part in prefix).encode()
    found = blake(texts.starts, texts.lengths, 8, before).ravel()
    found[found == 0] = 1
    for at in np.flatnonzero(texts.lengths > LONGEST - len(before)).tolist():
        found[at] = hash64(*prefix, column[at] or "")
    return found


def evm_digests(texts: Texts) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
    """Digests of the lower-case form of EVM addresses, and which texts are one; the others get zeros.

    A text is one where it is ``0x`` and 40 hexadecimal digits, in one letter case or with its right checksum. What is
    not may still be an address in an unusual form: `monitor.addresses.canonical` decides, and says what is wrong.
    """
    good, lower = np.zeros(len(texts), np.bool_), np.zeros((len(texts), _EVM), np.uint8)
    _evm_all(texts.starts, texts.lengths, good, lower)
    starts = lower.ctypes.data + np.arange(len(texts), dtype=np.uint64) * np.uint64(_EVM)
    out = blake(starts, np.full(len(texts), _EVM, np.uint32), 16)
    out[~good] = 0
    return out.ravel(), good


@njit(cache=True)
def _keccak(state, parity):  # type: ignore[no-untyped-def]
    """Keccak-f[1600] in place; ``parity`` is scratch."""
    for r in range(24):
        for x in range(5):
            parity[x] = state[x] ^ state[x + 5] ^ state[x + 10] ^ state[x + 15] ^ state[x + 20]
        for x in range(5):
            mixed = parity[(x + 4) % 5] ^ turn(parity[(x + 1) % 5], 63)
            for y in range(0, 25, 5):
                state[x + y] ^= mixed
        moved = state[1]
        for k in range(24):
            lane = _LANES[k]
            kept = state[lane]
            n = _ROTATIONS[k]
            state[lane] = (moved << n) | (moved >> (uint64(64) - n))
            moved = kept
        for y in range(0, 25, 5):
            for x in range(5):
                parity[x] = state[y + x]
            for x in range(5):
                state[y + x] = parity[x] ^ (~parity[(x + 1) % 5] & parity[(x + 2) % 5])
        state[0] ^= _ROUND[r]


@njit(cache=True)
def _checks(lower, upper, state, parity):  # type: ignore[no-untyped-def]
    """Whether the letter cases of 40 digits are those of ERC-55; ``lower`` is the text with ``0x``."""
    state[:] = 0
    for k in range(40):
        state[k >> 3] |= uint64(lower[k + 2]) << uint64((k & 7) << 3)
    state[5] ^= uint64(1)
    state[16] ^= uint64(1) << uint64(63)
    _keccak(state, parity)
    for k in range(40):
        byte = (state[k >> 4] >> uint64(((k >> 1) & 7) << 3)) & uint64(0xFF)
        high = (byte >> uint64(4) if k & 1 == 0 else byte & uint64(15)) >= uint64(8)
        if lower[k + 2] > 57 and high != upper[k]:
            return False
    return True


@njit(cache=True)
def _lowered(start, lower, upper):  # type: ignore[no-untyped-def]
    """The lower-case text of 42 bytes: 0 it is none, 1 one letter case, 2 both."""
    if byte(start) != 48 or byte(start + uint64(1)) not in (120, 88):
        return 0
    lower[0], lower[1] = 48, 120
    small = big = False
    for k in range(40):
        c = byte(start + uint64(2 + k))
        upper[k] = 65 <= c <= 70
        if upper[k]:
            big = True
            c += 32
        elif 97 <= c <= 102:
            small = True
        elif not 48 <= c <= 57:
            return 0
        lower[k + 2] = c
    return 2 if small and big else 1


@njit(cache=True, nogil=True)
def _evm_all(starts, lengths, good, lower):  # type: ignore[no-untyped-def]
    state = np.zeros(25, np.uint64)
    parity = np.zeros(5, np.uint64)
    upper = np.zeros(40, np.bool_)
    for i in range(len(starts)):
        if lengths[i] != _EVM:
            continue
        case = _lowered(starts[i], lower[i], upper)
        good[i] = case == 1 or (case == 2 and _checks(lower[i], upper, state, parity))
