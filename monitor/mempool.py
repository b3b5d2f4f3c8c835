"""What waits to be mined on one chain, as a block that may come next: who competes with whom, what is spent. Pure.

A transaction takes *places* of which each can be used once: its sender's nonce on account chains, the coins that it
spends on UTXO chains. Of several that share a place the one that was seen last counts: nodes take another only where it
pays more. What spends coins of one that does not count does not count either.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from monitor.incident_record import Limbo, Place
from monitor.model import Block, BlockRef, ControlEvent, Pending, Transfer, Tx, TxFlag

__all__ = ["KEPT", "Foreseen", "Pool", "as_block", "moment", "settled_by", "txs_of"]

MOST = 256  # transactions that are foreseen together; of more, those that came last
REMEMBERED = 16_384  # mined transactions, senders and coins: what is told late of them says nothing
LOST = 1024  # transactions that count no more, but may be what another one replaces
KEPT = 64  # blocks after which a transaction that nobody tells of any more did not happen
AHEAD = 60  # seconds that the block to come may be later than the last one


@dataclass(frozen=True, slots=True)
class Foreseen:
    """How evidence of transactions that wait is kept: ``waits`` and ``notes`` for its evidence, by transaction."""

    chain: str
    waits: Mapping[str, Limbo]
    notes: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class _Claim:
    """What a transaction takes: places, and ``parents`` whose coins it spends."""

    places: tuple[Place, ...]
    parents: frozenset[str] = frozenset()


@dataclass(slots=True)
class Pool:
    """The transactions that wait on one chain."""

    chain: str
    _waiting: dict[str, Pending] = field(default_factory=dict)  # by hash, in order of arrival; those that count
    _claims: dict[str, _Claim] = field(default_factory=dict)  # of all that was told, by hash, whether it counts or not
    _held: dict[Place, str] = field(default_factory=dict)  # places of those that count
    _mined: dict[str, int] = field(default_factory=dict)  # height of its block, by hash
    _spent: dict[str, tuple[int, int]] = field(default_factory=dict)  # (highest nonce, height), by sender or coin
    _settled: dict[str, tuple[int, Pending]] = field(default_factory=dict)  # waited, until they were in that block
    _assumed: set[str] = field(default_factory=set)  # wait again after a reorg, as far as nobody says otherwise

    def __contains__(self, hash: str) -> bool:
        return hash in self._waiting

    def __len__(self) -> int:
        return len(self._waiting)

    def is_sure(self, hash: str) -> bool:
        """Whether it counts, and was told since its block was taken away, where that happened."""
        return hash in self._waiting and hash not in self._assumed

    def limbo(self, hash: str, tip: int, why: str = "") -> Limbo:
        """One that counts, as evidence of it is kept up to height ``tip``."""
        tx = self._waiting[hash].tx
        if tx.spends:
            return Limbo(self.chain, hash, tip, pending=True, why=why, spends=tx.spends)
        ((sender, nonce),) = self._claims[hash].places
        return Limbo(self.chain, hash, tip, pending=True, sender=sender, nonce=nonce, why=why)

    def recall(self, waits: Iterable[Limbo]) -> None:
        """Transactions of before a restart: they count when they are told again, or are what another one replaces."""
        for item in waits:
            self._claims.setdefault(item.tx, _Claim(item.places, item.parents))

    def see(self, pending: Pending) -> None:
        """A transaction waits. What a block settled before says nothing."""
        hash, claim = pending.tx.hash, _claim(pending.tx)
        if hash in self._mined:
            return
        self.drop(hash)
        self._claims[hash] = claim
        lost = (self._is_taken(place) for above in self._above(claim.parents) for place in above.places)
        if any(map(self._is_spent, claim.places)) or any(lost):
            self._forget()
            return
        own = set(claim.places)
        for rival in [one for one, other in self._claims.items() if one != hash and not own.isdisjoint(other.places)]:
            self._out(rival)
        self._waiting[hash] = pending
        self._held.update(dict.fromkeys(claim.places, hash))
        while len(self._waiting) > MOST:
            self.drop(next(iter(self._waiting)))
        self._forget()

    def drop(self, hash: str) -> None:
        """It does not wait any more; those that spend its coins are told of by themselves."""
        if self._waiting.pop(hash, None) is None:
            return
        self._assumed.discard(hash)
        claim = self._claims.pop(hash)
        self._claims[hash] = claim  # to the end of the line
        for place in claim.places:
            self._held.pop(place, None)

    def mined(self, txs: Iterable[Tx], number: int) -> dict[str, str]:
        """A block has these. Those that cannot be mined any more, and by which transaction of it ("": an earlier one).

        Those are the ones with a place that it uses, or a lower nonce, and what spends their coins.
        """
        used: dict[Place, str] = {}
        for tx in txs:
            self._mined[tx.hash] = number
            used |= dict.fromkeys(_claim(tx).places, tx.hash)
        for key, nonce in used:
            self._spent[key] = max((nonce, number), self._spent.pop(key, (-1, 0)))
        for hash, pending in list(self._waiting.items()):
            if hash in self._mined:
                self.drop(hash)
                self._settled[hash] = number, pending
        gone: dict[str, str] = {}
        for hash, claim in list(self._claims.items()):
            if hash not in self._mined and any(map(self._is_spent, claim.places)):
                by = next((used[place] for place in claim.places if place in used), "")
                gone |= dict.fromkeys(self._out(hash), by)
        for known, most in ((self._mined, REMEMBERED), (self._spent, REMEMBERED), (self._settled, MOST)):
            while len(known) > most:
                del known[next(iter(known))]
        self._forget()
        return gone

    def reopen(self, number: int) -> None:
        """Block ``number`` is no more: what it settled waits again, unless another takes its place meanwhile."""
        self._mined = {hash: at for hash, at in self._mined.items() if at < number}
        self._spent = {key: (nonce, at) for key, (nonce, at) in self._spent.items() if at < number}
        for hash, (at, pending) in list(self._settled.items()):
            if at >= number:
                del self._settled[hash]
                self.see(pending)
                self._assumed |= {hash} & self._waiting.keys()

    def replaced(self) -> dict[str, str]:
        """Transactions that another took the place of, and which; of what spends their coins, the same."""
        lost = (hash for hash in self._claims if hash not in self._waiting)
        return {hash: by for hash in lost if (by := self._beaten_by(hash))}

    def block(self, tip: BlockRef, at: int) -> Block | None:
        """All that waits as the block after ``tip``; None where nothing does.

        A sender's are in the order of its nonces, and what spends coins comes after what makes them.
        """
        arrival = {hash: n for n, hash in enumerate(self._waiting)}
        first: dict[str, int] = {}
        for hash in self._waiting:
            first.setdefault(self._claims[hash].places[0][0], arrival[hash])

        def rank(hash: str) -> tuple[int, int, int]:
            key, nonce = self._claims[hash].places[0]
            return first[key], nonce, arrival[hash]

        order = self._parents_first(sorted(self._waiting, key=rank))
        block = as_block(tip, (self._waiting[hash] for hash in order), at)
        return block if block.transfers or block.controls else None

    def foreseen(self, tip: int) -> Foreseen:
        """How evidence of what waits is kept, at height ``tip``."""
        waits, notes = {}, {}
        rivals: dict[str, list[str]] = {}
        for hash, claim in self._claims.items():
            if hash not in self._waiting:
                for by in dict.fromkeys(self._held[place] for place in claim.places if place in self._held):
                    rivals.setdefault(by, []).append(hash)
        for hash, pending in self._waiting.items():
            waits[hash] = self.limbo(hash, tip + KEPT)
            note: dict[str, Any] = {"pending": True}
            if hash in rivals:
                note["replaces"] = rivals[hash]
            if pending.gap:
                note["nonce_gap"] = pending.gap
            if pending.tx.spends and pending.tx.flags & TxFlag.REPLACEABLE:
                note["replaceable"] = True
            if parents := sorted(self._claims[hash].parents & self._waiting.keys()):
                note["unconfirmed_parents"] = parents
            notes[hash] = note
        return Foreseen(self.chain, waits, notes)

    def _is_spent(self, place: Place) -> bool:
        return place[1] <= self._spent.get(place[0], (-1, 0))[0]

    def _out(self, hash: str) -> list[str]:
        """Neither it nor what spends its coins counts any more; those that counted."""
        found: list[str] = []
        line, met = [hash], set[str]()
        while line:
            one = line.pop()
            if one in met:
                continue
            met.add(one)
            if one in self._waiting:
                self.drop(one)
                found.append(one)
            line += [other for other, claim in self._claims.items() if one in claim.parents]
        return found

    def _is_taken(self, place: Place) -> bool:
        return place in self._held or self._is_spent(place)

    def _beaten_by(self, hash: str) -> str:
        """Who took the place of one that does not count, or of one whose coins it spends; "" where nobody did."""
        places = (place for claim in self._above([hash]) for place in claim.places)
        return next((self._held[place] for place in places if place in self._held), "")

    def _above(self, hashes: Iterable[str]) -> Iterator[_Claim]:
        """Claims of those of these, and of the ones whose coins they spend, that neither count nor are mined."""
        line, met = list(hashes), set(self._waiting)
        while line:
            one = line.pop()
            if one not in met and one in self._claims and one not in self._mined:
                met.add(one)
                yield self._claims[one]
                line += sorted(self._claims[one].parents)

    def _parents_first(self, order: Iterable[str]) -> Iterator[str]:
        """The same, each after the ones whose coins it spends."""
        done: set[str] = set()
        for hash in order:
            line = [hash]
            met: set[str] = set()
            while line:
                one = line[-1]
                parents = [] if one in met else sorted(self._claims[one].parents & self._waiting.keys() - done - met)
                met.add(one)
                if parents:
                    line += parents
                    continue
                line.pop()
                if one not in done:
                    done.add(one)
                    yield one

    def _forget(self) -> None:
        """So many that do not count are remembered, those that came last."""
        lost = [hash for hash in self._claims if hash not in self._waiting] if len(self._claims) > LOST else []
        for hash in lost[: len(lost) - LOST // 2]:
            del self._claims[hash]


def as_block(tip: BlockRef, waiting: Iterable[Pending], at: int = 0) -> Block:
    """Transactions that wait as the block after ``tip``, in this order; ``at`` is its time."""
    ref = BlockRef(tip.chain, tip.number + 1, f"pending-{tip.hash}")
    transfers: list[Transfer] = []
    controls: list[ControlEvent] = []
    for index, pending in enumerate(waiting):
        tx = replace(pending.tx, index=index, pending=True)
        transfers += (replace(transfer, block=ref, tx=tx) for transfer in pending.transfers)
        controls += (replace(event, block=ref, tx=tx) for event in pending.controls)
    return Block(ref, tip.hash, at, tuple(transfers), tuple(controls), len(transfers))


def moment(tip: int, now: float) -> int:
    """The time of the block to come: now, but neither before the last one nor long after it (UTC seconds)."""
    return min(max(int(now), tip), tip + AHEAD)


def txs_of(block: Block) -> dict[str, Tx]:
    """The transactions of which a block has anything, by hash; pseudo transactions among them do no harm."""
    found = {transfer.tx.hash: transfer.tx for transfer in block.transfers}
    found |= {event.tx.hash: event.tx for event in block.controls if not event.tx.pending}
    return found


def settled_by(txs: Mapping[str, Tx], waits: Iterable[Limbo]) -> dict[str, str]:
    """Which of those that waited these transactions of a block settle, and how in words."""
    used = {place: tx.hash for tx in txs.values() for place in _claim(tx).places}
    highest: dict[str, int] = {}
    for key, nonce in used:
        highest[key] = max(nonce, highest.get(key, -1))
    found: dict[str, str] = {}
    dead: dict[str, str] = {}
    items = list(waits)
    for item in items:
        if item.tx in txs:
            found[item.tx] = "it was mined without the effect that was expected"
        elif other := next((used[place] for place in item.places if place in used), ""):
            dead[item.tx] = f"replaced by {other}"
        elif 0 <= item.nonce <= highest.get(item.sender, -1):
            found[item.tx] = "its sender used the nonce for another transaction"
    more = dict(dead)
    while more:  # what spends coins that will never be
        below = (item for item in items if item.tx not in dead and item.tx not in found)
        more = {item.tx: why for item in below if (why := next((more[p] for p in item.parents if p in more), ""))}
        dead |= more
    return found | dead


def _claim(tx: Tx) -> _Claim:
    """What a transaction takes; one that tells nothing of it competes with none."""
    if tx.spends:
        parents = frozenset(point.partition(":")[0] for point in tx.spends)
        return _Claim(tuple((point, 0) for point in tx.spends), parents)
    if tx.initiator is None or tx.nonce is None:
        return _Claim(((tx.hash, 0),))
    return _Claim(((tx.initiator, tx.nonce),))
