"""Addresses that wallets have through descriptors and extended keys: which are watched moves on with their use. Pure.

A wallet gives out its addresses one after the other, and when it is restored it looks only so far beyond the last that
was paid: the gap limit (BIP 44). So that many unused addresses are watched on each branch, and an address that is paid
moves the end on. What is watched stays watched: a block that is taken back shows a use nevertheless.
"""

from __future__ import annotations

import hashlib
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from monitor.model import BlockRef
from monitor.networks import Network
from monitor.store import read_note

__all__ = ["GAP_LIMIT", "PREFIX", "DerivedAddresses", "DerivedBook"]

GAP_LIMIT = 20  # BIP 44
PREFIX = "derived/"  # of notes: how far each branch is in use
_MOST = 1 << 31  # children that a key has without the hardened ones


class _Follower(Protocol):
    """Who is told of addresses that are watched from now on."""

    def grown(self, derived: DerivedAddresses, addresses: Sequence[str]) -> None: ...


class Reached(msgspec.Struct, frozen=True):
    """How many addresses of a branch are used or passed by, and the block with which that was stored."""

    used: int
    block: int
    hash: str


class DerivedAddresses:
    """The watched addresses of one descriptor. They grow; all watch lists made of the same wallet share them.

    Parameters
    ----------
    text : the descriptor, or an extended public key
    network : whose addresses they are
    gap_limit : how many unused addresses are watched beyond the last used one, on each branch
    used : addresses 0 to ``used - 1`` of each branch are known to be in use

    Attributes
    ----------
    shown : a short form of the descriptor, which can be printed; the whole one shows all addresses to anybody

    Raises
    ------
    PrivateKeyGiven, ValueError : see `read_descriptor`
    """

    def __init__(self, text: str, network: Network, gap_limit: int = GAP_LIMIT, used: int = 0) -> None:
        from monitor.addresses.descriptor import read_descriptor  # loads a library: only where it is needed

        self._text, self.network = text, network
        self.gap_limit, self.used = gap_limit, used
        read = read_descriptor(text, network)
        self.shown, self.runs = read.shown, read.runs
        self._reached = [used] * len(self.runs)
        self._places: dict[str, tuple[int, int]] = {}  # branch and index
        self._ends = [0] * len(self.runs)  # how many indices of each branch are watched
        self._followers: list[weakref.ref[Any]] = []
        self._news: set[int] = set()  # branches whose use is not stored yet
        for branch in range(len(self.runs)):
            self._extend(branch)
        self._first_ends = list(self._ends)

    @property
    def chain(self) -> str:
        """CAIP-2."""
        return self.network.chain

    @property
    def digest(self) -> str:
        """Of what it was made from, in hex: the descriptor itself shows all addresses to anybody."""
        told = f"{self._text}\0{self.network.chain}\0{self.gap_limit}"
        return hashlib.blake2b(told.encode(), digest_size=16).hexdigest()

    @property
    def is_ranged(self) -> bool:
        """Whether there are always more."""
        return any(run.is_ranged for run in self.runs)

    @property
    def addresses(self) -> Sequence[str]:
        """Those that are watched by now, in the order in which they came."""
        return tuple(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, address: object) -> bool:
        return address in self._places

    def first_of(self, branch: int) -> str:
        """The first address of a branch, which names it."""
        return self.runs[branch].at(0)[0]

    def use(self, address: str) -> bool:
        """Note that an address was paid; whether more are watched from now on."""
        place = self._places.get(address)
        return place is not None and self.reach(place[0], place[1] + 1)

    def reach(self, branch: int, used: int) -> bool:
        """Note that addresses 0 to ``used - 1`` of a branch are used or passed by; whether more are watched now."""
        if not self.runs[branch].is_ranged or used <= self._reached[branch]:
            return False
        self._reached[branch] = used
        self._news.add(branch)
        return self._extend(branch)

    def reached(self, branch: int) -> int:
        """How many addresses of a branch are used or passed by."""
        return self._reached[branch]

    def news(self) -> list[int]:
        """Branches of which more is used than when this was last asked."""
        found, self._news = sorted(self._news), set()
        return found

    def follow(self, follower: _Follower) -> None:
        """Tell an object of addresses that come to be watched, as long as it lives."""
        self._followers.append(weakref.ref(follower))

    def fresh(self) -> DerivedAddresses:
        """The same before any use was noted, which grows by itself: for another fold over history."""
        made: DerivedAddresses = object.__new__(DerivedAddresses)
        made._text, made.network, made.gap_limit, made.used = self._text, self.network, self.gap_limit, self.used
        made.shown, made.runs = self.shown, self.runs
        made._reached = [self.used] * len(self.runs)
        ends = made._ends = list(self._first_ends)
        made._first_ends = list(ends)
        made._places = {a: place for a, place in self._places.items() if place[1] < ends[place[0]]}
        made._followers, made._news = [], set()
        return made

    def _extend(self, branch: int) -> bool:
        """Derive up to the gap limit beyond what is used."""
        run = self.runs[branch]
        end = min(_MOST, self._reached[branch] + self.gap_limit) if run.is_ranged else 1
        new = [
            (address, index)
            for index in range(self._ends[branch], end)
            for address in run.at(index)
            if address not in self._places
        ]
        self._ends[branch] = max(end, self._ends[branch])
        self._places.update((address, (branch, index)) for address, index in new)
        told = [address for address, _ in new]
        for follower in list(self._followers):
            alive = follower()
            if alive is None:
                self._followers.remove(follower)
            elif told:
                alive.grown(self, told)
        return bool(told)

    def __repr__(self) -> str:
        return f"DerivedAddresses({self.shown}, {len(self):,} addresses)"

    def _identity(self) -> tuple[str, str, int, int]:
        return self._text, self.chain, self.gap_limit, self.used

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DerivedAddresses) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def __reduce__(self) -> tuple[Any, ...]:
        return DerivedAddresses, (self._text, self.network, self.gap_limit, self.used), list(self._reached)

    def __setstate__(self, reached: list[int]) -> None:
        for branch, used in enumerate(reached):
            self.reach(branch, used)


class DerivedBook:
    """What of the use of derived addresses is kept over restarts.

    A branch is known by its first address: so it stays the same however its descriptor is written, and no key is
    stored.
    """

    def __init__(self, derived: Iterable[DerivedAddresses]) -> None:
        self._derived = tuple(derived)

    def __bool__(self) -> bool:
        return bool(self._derived)

    def count(self, chain: str) -> int:
        """How many derived addresses of a chain are watched by now."""
        return sum(len(derived) for derived in self._derived if derived.chain == chain)

    def restore(self, notes: Iterable[tuple[str, bytes]]) -> None:
        """Take over what was kept: addresses that came into use once are watched from the start.

        Raises
        ------
        StoreError : a note cannot be read
        """
        kept = {key: read_note(value, Reached, "the use of derived addresses") for key, value in notes}
        for derived, branch, key in self._branches():
            if key in kept:
                derived.reach(branch, kept[key].used)
        for derived in self._derived:
            derived.news()  # it is stored already

    def taken(self, at: BlockRef) -> list[tuple[str, bytes]]:
        """Notes of what came into use on a chain since this was last asked, to be stored with a block."""
        mine = [derived for derived in self._derived if derived.chain == at.chain]
        return [
            (_key(derived, branch), msgspec.json.encode(Reached(derived.reached(branch), at.number, at.hash)))
            for derived in mine
            for branch in derived.news()
        ]

    def use(self, used: Mapping[str, Iterable[str]]) -> bool:
        """Note that addresses were paid, by chain; whether any came to be watched, or those after them."""
        grown = False
        for derived in self._derived:
            mine = [address for address in used.get(derived.chain, ()) if address in derived]
            moved = [derived.use(address) for address in mine]  # each of them
            grown |= any(moved)
        return grown

    def _branches(self) -> Iterator[tuple[DerivedAddresses, int, str]]:
        for derived in self._derived:
            for branch in range(len(derived.runs)):
                yield derived, branch, _key(derived, branch)


def _key(derived: DerivedAddresses, branch: int) -> str:
    return f"{PREFIX}{derived.chain}/{derived.first_of(branch)}"
