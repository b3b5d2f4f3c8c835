"""BLAKE2b of many short texts at once, compiled: `LANES` of them go through the rounds side by side.

The numbers are laid out so that the compiler makes the loops over lanes into vector instructions: the state and the
message words of a round lie in one array, a row of lanes each, at places that are known when it compiles.
Source: RFC 7693.
"""

from __future__ import annotations

import numpy as np
from numba import uint64
from numpy.typing import NDArray

from monitor.compiled import compiled
from monitor.texts.memory import word

__all__ = ["LONGEST", "blake", "turn"]

LONGEST = 128  # bytes of a text with its prefix: one block
LANES = 16
_IV = np.array(
    [
        0x6A09E667F3BCC908, 0xBB67AE8584CAA73B, 0x3C6EF372FE94F82B, 0xA54FF53A5F1D36F1,
        0x510E527FADE682D1, 0x9B05688C2B3E6C1F, 0x1F83D9ABFB41BD6B, 0x5BE0CD19137E2179,
    ],
    np.uint64,
)  # fmt: skip
_ONE_LEAF = np.uint64(0x01010000)  # and no key; bytes of output are added
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


def blake(
    starts: NDArray[np.uint64], lengths: NDArray[np.uint32], size: int, prefix: bytes = b""
) -> NDArray[np.uint64]:
    """Digests of texts behind a prefix, little-endian words: shape (n, size / 8).

    Parameters
    ----------
    starts, lengths : see `monitor.texts.located.Texts`; those that are too long (`LONGEST`) get zeros
    size : bytes of a digest, 8 or 16
    """
    out = np.zeros((len(starts), size // 8), np.uint64)
    words = np.frombuffer(prefix.ljust(LONGEST, b"\0"), "<u8").astype(np.uint64)
    _blake_all(starts, lengths, words, np.uint64(len(prefix)), np.uint64(size), out)
    return out


@compiled(inline="always")
def turn(x, n):  # type: ignore[no-untyped-def]
    """A 64-bit number rotated right by ``n`` bits, 1 to 63."""
    return (x >> uint64(n)) | (x << uint64(64 - n))


@compiled(inline="always")
def _mix(s, a, b, c, d, x):  # type: ignore[no-untyped-def]
    """The mixing function of rows ``a`` to ``d`` of the state with the round's message words ``x`` and the next."""
    for lane in range(LANES):
        k = uint64(lane)
        p, q = s[uint64(a * LANES) + k], s[uint64(b * LANES) + k]
        r, t = s[uint64(c * LANES) + k], s[uint64(d * LANES) + k]
        p = p + q + s[uint64((16 + x) * LANES) + k]
        t = turn(t ^ p, 32)
        r = r + t
        q = turn(q ^ r, 24)
        p = p + q + s[uint64((17 + x) * LANES) + k]
        t = turn(t ^ p, 16)
        r = r + t
        q = turn(q ^ r, 63)
        s[uint64(a * LANES) + k], s[uint64(b * LANES) + k] = p, q
        s[uint64(c * LANES) + k], s[uint64(d * LANES) + k] = r, t


@compiled()
def _compress(m, s, lengths, size):  # type: ignore[no-untyped-def]
    """One block a lane: words ``m``, a row of lanes each, through the state ``s``, of which rows 0 to 15 are left."""
    for lane in range(LANES):
        for k in range(8):
            s[k * LANES + lane] = _IV[k]
            s[(k + 8) * LANES + lane] = _IV[k]
        s[lane] ^= _ONE_LEAF ^ size
        s[12 * LANES + lane] ^= lengths[lane]
        s[14 * LANES + lane] = ~_IV[6]
    for r in range(12):
        for x in range(16):
            row = _SIGMA[r, x] * uint64(LANES)
            for lane in range(LANES):
                s[uint64((16 + x) * LANES + lane)] = m[row + uint64(lane)]
        _mix(s, 0, 4, 8, 12, 0)
        _mix(s, 1, 5, 9, 13, 2)
        _mix(s, 2, 6, 10, 14, 4)
        _mix(s, 3, 7, 11, 15, 6)
        _mix(s, 0, 5, 10, 15, 8)
        _mix(s, 1, 6, 11, 12, 10)
        _mix(s, 2, 7, 8, 13, 12)
        _mix(s, 3, 4, 9, 14, 14)


@compiled(inline="always")
def _put(m, lane, start, length, at):  # type: ignore[no-untyped-def]
    """Put a text into the words of a lane, from byte ``at`` on; it is added to what is there."""
    k, shift = (at >> uint64(3)) * uint64(LANES) + lane, (at & uint64(7)) << uint64(3)
    rest = length & uint64(7)
    end = start + length - rest
    while start < end:
        w = word(start)
        m[k] |= w << shift
        k += uint64(LANES)
        if shift:
            m[k] |= w >> (uint64(64) - shift)
        start += uint64(8)
    if rest:
        if length < 8:  # it stands in its entry, behind which there is more
            w = word(start) & ((uint64(1) << (rest << uint64(3))) - uint64(1))
        else:
            w = word(start + rest - uint64(8)) >> (uint64(64) - (rest << uint64(3)))
        m[k] |= w << shift
        if shift and k < 15 * LANES:
            m[k + uint64(LANES)] |= w >> (uint64(64) - shift)


@compiled(owns=True, nogil=True)
def _blake_all(starts, lengths, prefix, before, size, out):  # type: ignore[no-untyped-def]
    m, s = np.zeros(16 * LANES, np.uint64), np.zeros(32 * LANES, np.uint64)
    whole = np.zeros(LANES, np.uint64)
    for begin in range(0, len(starts), LANES):
        many = min(LANES, len(starts) - begin)
        for k in range(16):
            for lane in range(LANES):
                m[k * LANES + lane] = prefix[k]
        for lane in range(many):
            whole[lane] = before + uint64(lengths[begin + lane])
            if whole[lane] <= LONGEST:
                _put(m, uint64(lane), starts[begin + lane], uint64(lengths[begin + lane]), before)
        _compress(m, s, whole, size)
        for lane in range(many):
            if whole[lane] <= LONGEST:
                out[begin + lane, 0] = _IV[0] ^ _ONE_LEAF ^ size ^ s[lane] ^ s[8 * LANES + lane]
                if out.shape[1] > 1:
                    out[begin + lane, 1] = _IV[1] ^ s[LANES + lane] ^ s[9 * LANES + lane]
