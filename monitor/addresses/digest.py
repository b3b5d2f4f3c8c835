"""Many addresses at once, compiled: digests and 64-bit keys of their texts, and the check of EVM addresses.

A digest is blake2b with 16 bytes of output over the canonical text, the same as ``hashlib`` gives. To make a stranger's
address pass for one of ten million takes about 2**104 tries, so a set of digests is as good as a set of texts. A key is
`monitor.ids.hash64`, which has 8 bytes of output.
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
from monitor.ids import hash64

__all__ = ["LONGEST", "Texts", "digest", "digests", "evm_digests", "joined", "keys", "pieces"]

LONGEST = 128  # bytes of a text: one block of blake2b; longer texts are no addresses
_FEW = 1024  # texts below which loading the compiled code would take longer
PIECE = 1 << 16  # texts that are looked at together, to bound memory
_IV = np.array(
    [
        0x6A09E667F3BCC908, 0xBB67AE8584CAA73B, 0x3C6EF372FE94F82B, 0xA54FF53A5F1D36F1,
        0x510E527FADE682D1, 0x9B05688C2B3E6C1F, 0x1F83D9ABFB41BD6B, 0x5BE0CD19137E2179,
    ],
    np.uint64,
)  # fmt: skip
_ONE_LEAF = np.uint64(0x01010000)  # and no key; bytes of output are added
_DIGEST, _KEY = np.uint64(16), np.uint64(8)  # bytes of output
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
    np.uint64,
)  # unsigned, as all places are: Numba looks for negative ones otherwise
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


def joined(column: pl.Series) -> NDArray[np.uint8]:
    """The bytes of all texts, one behind the other; null has none."""
    return np.frombuffer((column.str.join("").item() or "").encode(), np.uint8)


class Texts:
    """A column of texts as bytes: where each starts, and how long it is; null is an empty text."""

    __slots__ = ("data", "lengths", "starts")

    def __init__(self, column: pl.Series) -> None:
        column = column.fill_null("")
        self.data = joined(column)
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


def keys(column: pl.Series, *prefix: str) -> NDArray[np.uint64]:
    """``hash64(*prefix, text)`` of each text: shape (n,); null is an empty text."""
    out = np.zeros(len(column), np.uint64)
    if len(column) < _FEW:
        out[:] = [hash64(*prefix, text) for text in column.fill_null("").to_list()]
        return out
    before = "".join(f"{part}\x1f" for part in prefix).encode()
    done = 0
    for piece in pieces(column):
        mine = out[done : done + len(piece)]
        texts = Texts(piece)
        _key_all(texts.data, texts.starts, texts.lengths, np.frombuffer(before, np.uint8), mine)
        for at in np.flatnonzero(texts.lengths > LONGEST - len(before)).tolist():
            mine[at] = hash64(*prefix, piece[at])
        done += len(mine)
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
def _mix(a, b, c, d, x, y):  # type: ignore[no-untyped-def]
    a = a + b + x
    d = _turn(d ^ a, 32)
    c = c + d
    b = _turn(b ^ c, 24)
    a = a + b + y
    d = _turn(d ^ a, 16)
    c = c + d
    return a, _turn(b ^ c, 63), c, d


@njit(cache=True)
def _blake(m, length, size):  # type: ignore[no-untyped-def]
    """One block: ``m`` has 16 words. Returns the first two words of a result of ``size`` bytes."""
    first = _IV[0] ^ _ONE_LEAF ^ size
    a, b, c, d, e, f, g, h = first, _IV[1], _IV[2], _IV[3], _IV[4], _IV[5], _IV[6], _IV[7]
    i, j, k, n = _IV[0], _IV[1], _IV[2], _IV[3]
    o, p, q, t = _IV[4] ^ uint64(length), _IV[5], ~_IV[6], _IV[7]
    for r in range(12):
        a, e, i, o = _mix(a, e, i, o, m[_SIGMA[r, 0]], m[_SIGMA[r, 1]])
        b, f, j, p = _mix(b, f, j, p, m[_SIGMA[r, 2]], m[_SIGMA[r, 3]])
        c, g, k, q = _mix(c, g, k, q, m[_SIGMA[r, 4]], m[_SIGMA[r, 5]])
        d, h, n, t = _mix(d, h, n, t, m[_SIGMA[r, 6]], m[_SIGMA[r, 7]])
        a, f, k, t = _mix(a, f, k, t, m[_SIGMA[r, 8]], m[_SIGMA[r, 9]])
        b, g, n, o = _mix(b, g, n, o, m[_SIGMA[r, 10]], m[_SIGMA[r, 11]])
        c, h, i, p = _mix(c, h, i, p, m[_SIGMA[r, 12]], m[_SIGMA[r, 13]])
        d, e, j, q = _mix(d, e, j, q, m[_SIGMA[r, 14]], m[_SIGMA[r, 15]])
    return first ^ a ^ i, _IV[1] ^ b ^ j


@njit(cache=True, inline="always")
def _put(m, data, start, length, at):  # type: ignore[no-untyped-def]
    """Put bytes into the words of a block, from byte ``at`` on; they are added to what is there."""
    for n in range(length):
        k = uint64(at + n)
        m[k >> uint64(3)] |= uint64(data[uint64(start + n)]) << ((k & uint64(7)) << uint64(3))


@njit(cache=True, nogil=True)
def _digest_all(data, starts, lengths, out):  # type: ignore[no-untyped-def]
    m = np.zeros(16, np.uint64)
    for i in range(len(starts)):
        length = lengths[i]
        if length > LONGEST:
            continue
        m[:] = 0
        _put(m, data, starts[i], length, 0)
        out[2 * i], out[2 * i + 1] = _blake(m, length, _DIGEST)


@njit(cache=True, nogil=True)
def _key_all(data, starts, lengths, prefix, out):  # type: ignore[no-untyped-def]
    """Keys of the texts behind a prefix; 0 where both are too long together."""
    m = np.zeros(16, np.uint64)
    before = len(prefix)
    for i in range(len(starts)):
        length = before + lengths[i]
        if length > LONGEST:
            continue
        m[:] = 0
        _put(m, prefix, 0, before, 0)
        _put(m, data, starts[i], lengths[i], before)
        key, _ = _blake(m, length, _KEY)
        out[i] = key if key != 0 else uint64(1)


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
        _put(m, lower, 0, 42, 0)
        out[2 * i], out[2 * i + 1] = _blake(m, 42, _DIGEST)
        good[i] = True
