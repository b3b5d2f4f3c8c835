"""Many addresses at once, compiled: 128-bit digests of their texts, and the check of EVM addresses.

A digest is blake2b with 16 bytes of output over the canonical text, the same as ``hashlib`` gives. To make a stranger's
address pass for one of ten million takes about 2**104 tries, so a set of digests is as good as a set of texts.
Sources: RFC 7693 (BLAKE2), the Keccak reference, ERC-55.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator

import numpy as np
import polars as pl
from numba import njit, uint64
from numpy.typing import NDArray

import monitor.compiled  # noqa: F401 (where compiled kernels are kept)

__all__ = ["LONGEST", "Texts", "digest", "digests", "evm_digests", "pieces"]

LONGEST = 128  # bytes of a text: one block of blake2b; longer texts are no addresses
PIECE = 1 << 16  # texts that are looked at together, to bound memory
_IV = np.array(
    [
        0x6A09E667F3BCC908, 0xBB67AE8584CAA73B, 0x3C6EF372FE94F82B, 0xA54FF53A5F1D36F1,
        0x510E527FADE682D1, 0x9B05688C2B3E6C1F, 0x1F83D9ABFB41BD6B, 0x5BE0CD19137E2179,
    ],
    np.uint64,
)  # fmt: skip
_PARAMETER = np.uint64(0x01010010)  # 16 bytes of output, no key, one leaf
_SIGMA = np.array(
    [
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
        [14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3],
        [11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4],
        [7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8],
        [9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13],
        [2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9],
        [12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11],
        [13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10],
        [6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5],
        [10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0],
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
        [14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3],
    ],
    np.int64,
)
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


class Texts:
    """A column of texts as bytes: where each starts, and how long it is; null is an empty text."""

    __slots__ = ("data", "lengths", "starts")

    def __init__(self, column: pl.Series) -> None:
        column = column.fill_null("")
        joined = column.str.join("").item() or ""
        self.data: NDArray[np.uint8] = np.frombuffer(joined.encode(), np.uint8)
        self.lengths: NDArray[np.int64] = column.str.len_bytes().cast(pl.Int64).to_numpy()
        self.starts: NDArray[np.int64] = np.cumsum(self.lengths) - self.lengths

    def __len__(self) -> int:
        return len(self.lengths)


def pieces(column: pl.Series) -> Iterator[pl.Series]:
    """A column in slices of bounded size."""
    for start in range(0, len(column), PIECE):
        yield column.slice(start, PIECE)


def digests(texts: Texts) -> NDArray[np.uint64]:
    """Digests, two numbers a text: shape (2 n,). Texts longer than `LONGEST` bytes get zeros."""
    out = np.zeros(2 * len(texts), np.uint64)
    _digest_all(texts.data, texts.starts, texts.lengths, out)
    return out


def evm_digests(texts: Texts) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
    """Digests of the lower-case form of EVM addresses, and which texts are one.

    A text is one where it is ``0x`` and 40 hexadecimal digits, in one letter case or with its right checksum. What is
    not may still be an address in an unusual form: `monitor.addresses.canonical` decides, and says what is wrong.
    """
    out = np.zeros(2 * len(texts), np.uint64)
    good = np.zeros(len(texts), np.bool_)
    _evm_all(texts.data, texts.starts, texts.lengths, out, good)
    return out, good


@njit(cache=True, inline="always")
def _turn(x, n):  # type: ignore[no-untyped-def]
    return (x >> uint64(n)) | (x << uint64(64 - n))


@njit(cache=True, inline="always")
def _mix(v, a, b, c, d, x, y):  # type: ignore[no-untyped-def]
    p = v[a] + v[b] + x
    s = _turn(v[d] ^ p, 32)
    r = v[c] + s
    q = _turn(v[b] ^ r, 24)
    p = p + q + y
    s = _turn(s ^ p, 16)
    r = r + s
    v[a], v[d], v[c], v[b] = p, s, r, _turn(q ^ r, 63)


@njit(cache=True)
def _blake(m, length, v, out, at):  # type: ignore[no-untyped-def]
    """One block: ``m`` has 16 words, ``v`` is scratch; two words of the result go to ``out``."""
    for k in range(8):
        v[k] = _IV[k]
        v[k + 8] = _IV[k]
    v[0] ^= _PARAMETER
    v[12] ^= uint64(length)
    v[14] = ~v[14]
    for r in range(12):
        s = _SIGMA[r]
        _mix(v, 0, 4, 8, 12, m[s[0]], m[s[1]])
        _mix(v, 1, 5, 9, 13, m[s[2]], m[s[3]])
        _mix(v, 2, 6, 10, 14, m[s[4]], m[s[5]])
        _mix(v, 3, 7, 11, 15, m[s[6]], m[s[7]])
        _mix(v, 0, 5, 10, 15, m[s[8]], m[s[9]])
        _mix(v, 1, 6, 11, 12, m[s[10]], m[s[11]])
        _mix(v, 2, 7, 8, 13, m[s[12]], m[s[13]])
        _mix(v, 3, 4, 9, 14, m[s[14]], m[s[15]])
    out[at] = _IV[0] ^ _PARAMETER ^ v[0] ^ v[8]
    out[at + 1] = _IV[1] ^ v[1] ^ v[9]


@njit(cache=True, nogil=True)
def _digest_all(data, starts, lengths, out):  # type: ignore[no-untyped-def]
    m = np.zeros(16, np.uint64)
    v = np.zeros(16, np.uint64)
    for i in range(len(starts)):
        length = lengths[i]
        if length > LONGEST:
            continue
        m[:] = 0
        for k in range(length):
            m[k >> 3] |= uint64(data[starts[i] + k]) << uint64((k & 7) << 3)
        _blake(m, length, v, out, 2 * i)


@njit(cache=True)
def _keccak(state, parity):  # type: ignore[no-untyped-def]
    """Keccak-f[1600] in place; ``parity`` is scratch."""
    for r in range(24):
        for x in range(5):
            parity[x] = state[x] ^ state[x + 5] ^ state[x + 10] ^ state[x + 15] ^ state[x + 20]
        for x in range(5):
            mixed = parity[(x + 4) % 5] ^ _turn(parity[(x + 1) % 5], 63)
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
def _lowered(data, start, lower, upper):  # type: ignore[no-untyped-def]
    """The lower-case text of 42 bytes: 0 it is none, 1 one letter case, 2 both."""
    if data[start] != 48 or data[start + 1] not in (120, 88):
        return 0
    lower[0], lower[1] = 48, 120
    small = big = False
    for k in range(40):
        c = data[start + 2 + k]
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
def _evm_all(data, starts, lengths, out, good):  # type: ignore[no-untyped-def]
    m = np.zeros(16, np.uint64)
    v = np.zeros(16, np.uint64)
    state = np.zeros(25, np.uint64)
    parity = np.zeros(5, np.uint64)
    lower = np.zeros(42, np.uint8)
    upper = np.zeros(40, np.bool_)
    for i in range(len(starts)):
        if lengths[i] != 42:
            continue
        case = _lowered(data, starts[i], lower, upper)
        if case == 0 or (case == 2 and not _checks(lower, upper, state, parity)):
            continue
        m[:] = 0
        for k in range(42):
            m[k >> 3] |= uint64(lower[k]) << uint64((k & 7) << 3)
        _blake(m, 42, v, out, 2 * i)
        good[i] = True
