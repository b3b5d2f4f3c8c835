"""BLAKE2b of many short texts at once, compiled: `LANES` of them go through the rounds side by side.

The compiler makes the loop over lanes into vector instructions, with the state in registers: it has no loop inside, and
takes the words of messages, a row of lanes each, from places that are known when it compiles. Source: RFC 7693.
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
_IV = tuple(
    np.uint64(word)
    for word in (
        0x6A09E667F3BCC908, 0xBB67AE8584CAA73B, 0x3C6EF372FE94F82B, 0xA54FF53A5F1D36F1,
        0x510E527FADE682D1, 0x9B05688C2B3E6C1F, 0x1F83D9ABFB41BD6B, 0x5BE0CD19137E2179,
    )
)  # fmt: skip
_ONE_LEAF = np.uint64(0x01010000)  # and no key; bytes of output are added
_ORDER = tuple(
    tuple(np.uint64(int(word, 16) * LANES) for word in words)
    for words in (
        "0123456789abcdef", "ea489fd61c02b753", "b8c052fdae367194", "7931dcbe265a40f8", "905724afe1bc683d",
        "2c6a0b834d75fe19", "c51fed4a0763928b", "db7ec13950f4862a", "6fe9b308c2d714a5", "a2847615fb9e3cd0",
    )
)  # by round, where the lanes of each word begin; the last two rounds are as the first two  # fmt: skip


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


@compiled(forceinline=True)
def turn(x, n):  # type: ignore[no-untyped-def]
    """A 64-bit number rotated right by ``n`` bits, 1 to 63."""
    return (x >> uint64(n)) | (x << uint64(64 - n))


@compiled(forceinline=True)
def _mix(a, b, c, d, x, y):  # type: ignore[no-untyped-def]
    """The mixing function of four words of the state with two of the message."""
    a = a + b + x
    d = turn(d ^ a, 32)
    c = c + d
    b = turn(b ^ c, 24)
    a = a + b + y
    d = turn(d ^ a, 16)
    c = c + d
    b = turn(b ^ c, 63)
    return a, b, c, d


@compiled(forceinline=True)
def _round(v, m, lane, order):  # type: ignore[no-untyped-def]
    """The state ``v`` of a lane after a round that takes the words of its message in this order."""
    v0, v1, v2, v3, v4, v5, v6, v7, v8, v9, v10, v11, v12, v13, v14, v15 = v
    v0, v4, v8, v12 = _mix(v0, v4, v8, v12, m[order[0] + lane], m[order[1] + lane])
    v1, v5, v9, v13 = _mix(v1, v5, v9, v13, m[order[2] + lane], m[order[3] + lane])
    v2, v6, v10, v14 = _mix(v2, v6, v10, v14, m[order[4] + lane], m[order[5] + lane])
    v3, v7, v11, v15 = _mix(v3, v7, v11, v15, m[order[6] + lane], m[order[7] + lane])
    v0, v5, v10, v15 = _mix(v0, v5, v10, v15, m[order[8] + lane], m[order[9] + lane])
    v1, v6, v11, v12 = _mix(v1, v6, v11, v12, m[order[10] + lane], m[order[11] + lane])
    v2, v7, v8, v13 = _mix(v2, v7, v8, v13, m[order[12] + lane], m[order[13] + lane])
    v3, v4, v9, v14 = _mix(v3, v4, v9, v14, m[order[14] + lane], m[order[15] + lane])
    return v0, v1, v2, v3, v4, v5, v6, v7, v8, v9, v10, v11, v12, v13, v14, v15


@compiled()
def _compress(m, lengths, size, digests):  # type: ignore[no-untyped-def]
    """One block a lane, words ``m`` (a row of lanes each), to the first two words of its digest, two rows of lanes."""
    for k in range(LANES):
        lane = uint64(k)
        first = _IV[0] ^ _ONE_LEAF ^ size
        v = (
            first, _IV[1], _IV[2], _IV[3], _IV[4], _IV[5], _IV[6], _IV[7],
            _IV[0], _IV[1], _IV[2], _IV[3], _IV[4] ^ lengths[lane], _IV[5], ~_IV[6], _IV[7],
        )  # fmt: skip
        # written out: where a lane has a loop of its own, the compiler does not put lanes side by side
        v = _round(_round(_round(v, m, lane, _ORDER[0]), m, lane, _ORDER[1]), m, lane, _ORDER[2])
        v = _round(_round(_round(v, m, lane, _ORDER[3]), m, lane, _ORDER[4]), m, lane, _ORDER[5])
        v = _round(_round(_round(v, m, lane, _ORDER[6]), m, lane, _ORDER[7]), m, lane, _ORDER[8])
        v = _round(_round(_round(v, m, lane, _ORDER[9]), m, lane, _ORDER[0]), m, lane, _ORDER[1])
        digests[lane] = first ^ v[0] ^ v[8]
        digests[uint64(LANES) + lane] = _IV[1] ^ v[1] ^ v[9]


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
    m, digests, whole = np.zeros(16 * LANES, np.uint64), np.zeros(2 * LANES, np.uint64), np.zeros(LANES, np.uint64)
    for begin in range(0, len(starts), LANES):
        many = min(LANES, len(starts) - begin)
        for k in range(16):
            for lane in range(LANES):
                m[k * LANES + lane] = prefix[k]
        for lane in range(many):
            whole[lane] = before + uint64(lengths[begin + lane])
            if whole[lane] <= LONGEST:
                _put(m, uint64(lane), starts[begin + lane], uint64(lengths[begin + lane]), before)
        _compress(m, whole, size, digests)
        for lane in range(many):
            if whole[lane] <= LONGEST:
                for k in range(out.shape[1]):
                    out[begin + lane, k] = digests[k * LANES + lane]
