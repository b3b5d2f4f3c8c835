"""Millions of addresses in little memory: a frozen set of 128-bit digests, 16 bytes an address.

What a digest is, and why it is as good as the text, is in `monitor.addresses.digest`. The texts themselves are not
kept: who needs one reads the list again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl
from numba import njit, uint64
from numpy.typing import NDArray

from monitor.addresses.digest import LONGEST, digest, digests, evm_digests, pieces
from monitor.texts.located import Texts

__all__ = ["AddressSet", "AddressSetBuilder", "WatchedAddresses"]

_IN_A_BUCKET = 8  # digests, on average


class AddressSet:
    """A frozen set of canonical addresses of one chain.

    Digests lie in one array, in rising order, with an index of their leading bits. Make one with `AddressSet.of`, or
    piece by piece with `AddressSetBuilder`.

    Examples
    --------
    >>> fleet = AddressSet.of(["0x" + "1" * 40, "0x" + "2" * 40, "0x" + "1" * 40])
    >>> len(fleet), "0x" + "1" * 40 in fleet, "0x" + "3" * 40 in fleet
    (2, True, False)
    """

    __slots__ = ("_begins", "_keys", "_seen_begins", "_seen_keys", "_shift")

    def __init__(self, keys: NDArray[np.uint64], begins: NDArray[np.uint32], shift: int) -> None:
        keys.flags.writeable = begins.flags.writeable = False
        self._keys, self._begins, self._shift = keys, begins, shift
        self._seen_keys, self._seen_begins = keys.data, begins.data  # faster than arrays, one at a time

    @classmethod
    def of(cls, addresses: list[str] | pl.Series) -> AddressSet:
        """The set of these canonical addresses."""
        builder = AddressSetBuilder()
        builder.add(pl.Series(addresses, dtype=pl.String))
        return builder.build()

    def __len__(self) -> int:
        return len(self._keys) // 2

    def __contains__(self, address: object) -> bool:
        if not isinstance(address, str) or len(address) > LONGEST:
            return False
        first, second = digest(address)
        bucket = first >> self._shift
        keys = self._seen_keys
        for at in range(2 * self._seen_begins[bucket], 2 * self._seen_begins[bucket + 1], 2):
            if keys[at] == first and keys[at + 1] == second:
                return True
        return False

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AddressSet) and np.array_equal(self._keys, other._keys)

    def __hash__(self) -> int:
        return hash((len(self), bytes(self._keys[:64])))

    def __reduce__(self) -> tuple[type[AddressSet], tuple[NDArray[np.uint64], NDArray[np.uint32], int]]:
        return AddressSet, (self._keys, self._begins, self._shift)

    def __repr__(self) -> str:
        return f"AddressSet({len(self):,} addresses)"

    @property
    def digest(self) -> str:
        """A digest of the members, in hex: equal sets have equal ones."""
        return hashlib.blake2b(self._keys.tobytes(), digest_size=16).hexdigest()

    @property
    def nbytes(self) -> int:
        """Memory of the set in bytes."""
        return self._keys.nbytes + self._begins.nbytes

    def contains(self, column: pl.Series) -> NDArray[np.bool_]:
        """Which texts of a column are members: shape (n,); null is none."""
        found = np.zeros(len(column), np.bool_)
        done = 0
        for piece in pieces(column):
            mine = self.holds(digests(Texts(piece)))
            found[done : done + len(mine)] = mine
            done += len(mine)
        return found

    def holds(self, keys: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Which digests, two numbers each, are of members: shape (n,)."""
        found = np.zeros(len(keys) // 2, np.bool_)
        _find(self._keys, self._begins, self._shift, keys, found)
        return found

    def common(self, other: AddressSet) -> AddressSet:
        """What is in both."""
        small, big = sorted((self, other), key=len)
        kept = np.repeat(big.holds(small._keys), 2)
        return _frozen(small._keys[kept])


class AddressSetBuilder:
    """Collects addresses for an `AddressSet`; memory beside the set is that of one piece."""

    def __init__(self) -> None:
        self._keys = np.zeros(0, np.uint64)

    def add(self, column: pl.Series) -> None:
        """Add canonical addresses; empty and null ones are left out."""
        column = column.drop_nulls()
        for piece in pieces(column.filter(column != "")):
            self._append(digests(Texts(piece)))

    def add_evm(self, column: pl.Series) -> NDArray[np.bool_]:
        """Add those texts that are plain EVM addresses, in any letter case; which they were: shape (n,)."""
        good = np.zeros(len(column), np.bool_)
        done = 0
        for piece in pieces(column):
            keys, mine = evm_digests(Texts(piece))
            self._append(keys if mine.all() else keys[np.repeat(mine, 2)])
            good[done : done + len(mine)] = mine
            done += len(mine)
        return good

    def __len__(self) -> int:
        return len(self._keys) // 2

    def _append(self, keys: NDArray[np.uint64]) -> None:
        before = len(self._keys)
        self._keys.resize(before + len(keys), refcheck=False)  # grows in place where the system can
        self._keys[before:] = keys

    def build(self) -> AddressSet:
        """The set; the builder is empty afterwards."""
        keys, self._keys = self._keys, np.zeros(0, np.uint64)
        return _frozen(keys)


@dataclass(frozen=True, slots=True)
class WatchedAddresses:
    """The watched addresses of one chain: single ones as texts, long lists as sets.

    Examples
    --------
    >>> watched = WatchedAddresses(frozenset({"a"}), (AddressSet.of(["b", "c"]),))
    >>> len(watched), [name in watched for name in "abd"]
    (3, [True, True, False])
    """

    single: frozenset[str] = frozenset()
    lists: tuple[AddressSet, ...] = ()

    def __len__(self) -> int:
        return len(self.single) + sum(map(len, self.lists))

    @property
    def digest(self) -> str:
        """A digest of what is watched, in hex: equal sets have equal ones."""
        members = "\n".join([*sorted(self.single), "", *(part.digest for part in self.lists)])
        return hashlib.blake2b(members.encode(), digest_size=16).hexdigest()

    def __contains__(self, address: object) -> bool:
        return address in self.single or any(address in members for members in self.lists)

    def contains(self, column: pl.Series) -> NDArray[np.bool_]:
        """Which texts of a column are watched: shape (n,); null is not."""
        found = column.is_in(pl.Series(sorted(self.single), dtype=pl.String).implode()).fill_null(False).to_numpy()
        for mask in self._by_list(column):
            found = found | mask
        return found

    def _by_list(self, column: pl.Series) -> Iterator[NDArray[np.bool_]]:
        return (members.contains(column) for members in self.lists)


def _frozen(keys: NDArray[np.uint64]) -> AddressSet:
    """Bring digests into order in place, each once, and freeze them."""
    bits = max(1, (len(keys) // 2 // _IN_A_BUCKET).bit_length())
    shift = 64 - bits
    begins = np.zeros((1 << bits) + 1, np.uint32)
    kept = _arrange(keys, begins, shift)
    if keys.base is None:
        keys.resize(2 * kept, refcheck=False)
    else:
        keys = keys[: 2 * kept].copy()
    return AddressSet(keys, begins, shift)


@njit(cache=True, nogil=True)
def _arrange(keys, begins, shift):  # type: ignore[no-untyped-def]
    """Sort digests into buckets of their leading bits, then each bucket, without repeats. Returns how many are left."""
    n = len(keys) // 2
    shift = uint64(shift)
    for i in range(n):
        begins[(keys[2 * i] >> shift) + uint64(1)] += np.uint32(1)
    for b in range(1, len(begins)):
        begins[b] += begins[b - 1]
    _scatter(keys, begins, shift)
    kept = 0
    end = 0
    for b in range(len(begins) - 1):
        begin, end = end, begins[b + 1]
        first = kept
        begins[b] = kept
        for i in range(begin, end):
            kept = _insert(keys, first, kept, keys[2 * i], keys[2 * i + 1])
    begins[len(begins) - 1] = kept
    return kept


@njit(cache=True)
def _scatter(keys, begins, shift):  # type: ignore[no-untyped-def]
    """Put every digest into its bucket, in place: swap until the right one comes back."""
    free = begins.copy()
    for b in range(len(begins) - 1):
        while free[b] < begins[b + 1]:
            i = free[b]
            to = keys[2 * i] >> shift
            j = free[to]
            free[to] += np.uint32(1)
            if to != b:
                keys[2 * i], keys[2 * j] = keys[2 * j], keys[2 * i]
                keys[2 * i + 1], keys[2 * j + 1] = keys[2 * j + 1], keys[2 * i + 1]


@njit(cache=True)
def _insert(keys, first, kept, high, low):  # type: ignore[no-untyped-def]
    """Insert a digest into the ordered part [first, kept); a repeat changes nothing. Returns the new end."""
    j = kept
    while j > first and (keys[2 * j - 2] > high or (keys[2 * j - 2] == high and keys[2 * j - 1] > low)):
        j -= 1
    if j > first and keys[2 * j - 2] == high and keys[2 * j - 1] == low:
        return kept
    for k in range(kept, j, -1):
        keys[2 * k], keys[2 * k + 1] = keys[2 * k - 2], keys[2 * k - 1]
    keys[2 * j], keys[2 * j + 1] = high, low
    return kept + 1


@njit(cache=True, nogil=True)
def _find(keys, begins, shift, wanted, found):  # type: ignore[no-untyped-def]
    shift = uint64(shift)
    for i in range(len(found)):
        bucket = wanted[2 * i] >> shift
        for at in range(begins[bucket], begins[bucket + uint64(1)]):
            if keys[2 * at] == wanted[2 * i] and keys[2 * at + 1] == wanted[2 * i + 1]:
                found[i] = True
                break
