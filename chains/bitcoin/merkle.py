"""Merkle trees of hashes, as blocks and merged mining use them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from operator import eq

__all__ = ["branch_root", "root"]


def root(hashes: Sequence[bytes]) -> tuple[bytes, bool]:
    """The root over at least one hash, and whether a pair of equal hashes lies in it.

    An odd row repeats its last hash. So a list that already ends in such a repetition has the same root: it is never
    an honest one (CVE-2012-2459).
    """
    sha = hashlib.sha256
    row, is_doubled = list(hashes), False
    while len(row) > 1:
        left, right = row[::2], row[1::2]
        is_doubled = is_doubled or any(map(eq, left, right))
        if len(left) > len(right):
            right.append(left[-1])
        row = [sha(sha(one + other).digest()).digest() for one, other in zip(left, right, strict=True)]
    return row[0], is_doubled


def branch_root(leaf: bytes, branch: Sequence[bytes], place: int) -> bytes:
    """The root that a leaf at ``place`` and the hashes beside its way up give."""
    sha = hashlib.sha256
    for hash in branch:
        pair = hash + leaf if place & 1 else leaf + hash
        leaf = sha(sha(pair).digest()).digest()
        place >>= 1
    return leaf
