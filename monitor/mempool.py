"""What waits to be mined on one chain, as a block that may come next: who competes with whom, what is spent. Pure.

Of several transactions with one sender and nonce the one that was seen last counts: nodes take another only where it
pays more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from monitor.incident_record import Limbo
from monitor.model import Block, BlockRef, ControlEvent, Pending, Transfer, Tx

__all__ = ["KEPT", "Foreseen", "Pool", "as_block", "moment", "settled_by", "txs_of"]

MOST = 256  # transactions that are foreseen together; of more, those that came last
REMEMBERED = 4096  # mined transactions, and senders: what is told late of them says nothing
KEPT = 64  # blocks after which a transaction that nobody tells of any more did not happen
AHEAD = 60  # seconds that the block to come may be later than the last one


@dataclass(frozen=True, slots=True)
class Foreseen:
    """How evidence of transactions that wait is kept: ``waits`` and ``notes`` for its evidence, by transaction."""

    chain: str
    waits: Mapping[str, Limbo]
    notes: Mapping[str, Mapping[str, Any]]


@dataclass(slots=True)
class Pool:
    """The transactions that wait on one chain."""

    chain: str
    _waiting: dict[str, Pending] = field(default_factory=dict)  # by hash, in order of arrival; those that count
    _rivals: dict[tuple[str, int], list[str]] = field(default_factory=dict)  # all that was told of a sender and nonce
    _mined: dict[str, None] = field(default_factory=dict)
    _spent: dict[str, int] = field(default_factory=dict)  # highest nonce in a block, by sender

    def __contains__(self, hash: str) -> bool:
        return hash in self._waiting

    def __len__(self) -> int:
        return len(self._waiting)

    def see(self, pending: Pending) -> None:
        """A transaction waits. What a block settled before says nothing."""
        place, hash = _place(pending.tx), pending.tx.hash
        if hash in self._mined or place[1] <= self._spent.get(place[0], -1):
            return
        rivals = self._rivals.setdefault(place, [])
        if hash in rivals:
            rivals.remove(hash)
        for rival in rivals:
            self._waiting.pop(rival, None)
        rivals.append(hash)
        self._waiting.pop(hash, None)
        self._waiting[hash] = pending
        while len(self._waiting) > MOST:
            self.drop(next(iter(self._waiting)))

    def drop(self, hash: str) -> None:
        """It does not wait any more."""
        gone = self._waiting.pop(hash, None)
        if gone is not None:
            self._rivals.pop(_place(gone.tx), None)

    def mined(self, txs: Iterable[Tx]) -> None:
        """A block has these: what has the nonces of their senders, or lower ones, cannot be mined any more."""
        for tx in txs:
            self._mined[tx.hash] = None
            if tx.initiator is not None and tx.nonce is not None:
                self._spent[tx.initiator] = max(tx.nonce, self._spent.pop(tx.initiator, -1))
        for hash, pending in list(self._waiting.items()):
            sender, nonce = _place(pending.tx)
            if hash in self._mined or nonce <= self._spent.get(sender, -1):
                self.drop(hash)
        for known in (self._mined, self._spent):
            while len(known) > REMEMBERED:
                del known[next(iter(known))]

    def reopen(self) -> None:
        """A block is no more: what blocks settled may wait again."""
        self._mined.clear()
        self._spent.clear()

    def replaced(self) -> dict[str, str]:
        """Transactions that another took the place of, and which."""
        current = (rivals for rivals in self._rivals.values() if rivals[-1] in self._waiting)
        return {rival: rivals[-1] for rivals in current for rival in rivals[:-1]}

    def block(self, tip: BlockRef, at: int) -> Block | None:
        """All that waits as the block after ``tip``, a sender's in the order of its nonces; None where nothing does."""
        arrival = {hash: n for n, hash in enumerate(self._waiting)}
        first: dict[str, int] = {}
        for hash, pending in self._waiting.items():
            first.setdefault(_place(pending.tx)[0], arrival[hash])
        order = sorted(
            self._waiting.values(), key=lambda p: (first[_place(p.tx)[0]], _place(p.tx)[1], arrival[p.tx.hash])
        )
        block = as_block(tip, order, at)
        return block if block.transfers or block.controls else None

    def foreseen(self, tip: int) -> Foreseen:
        """How evidence of what waits is kept, at height ``tip``."""
        waits, notes = {}, {}
        for hash, pending in self._waiting.items():
            sender, nonce = place = _place(pending.tx)
            waits[hash] = Limbo(self.chain, hash, tip + KEPT, pending=True, sender=sender, nonce=nonce)
            note: dict[str, Any] = {"pending": True}
            rivals = [rival for rival in self._rivals.get(place, ()) if rival != hash]
            if rivals:
                note["replaces"] = rivals
            if pending.gap:
                note["nonce_gap"] = pending.gap
            notes[hash] = note
        return Foreseen(self.chain, waits, notes)


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
    spent: dict[tuple[str, int], str] = {}
    highest: dict[str, int] = {}
    for tx in txs.values():
        if tx.initiator is not None and tx.nonce is not None:
            spent[tx.initiator, tx.nonce] = tx.hash
            highest[tx.initiator] = max(tx.nonce, highest.get(tx.initiator, -1))
    found = {}
    for item in waits:
        if item.tx in txs:
            found[item.tx] = "it was mined without the effect that was expected"
        elif (other := spent.get((item.sender, item.nonce))) is not None:
            found[item.tx] = f"replaced by {other}"
        elif 0 <= item.nonce <= highest.get(item.sender, -1):
            found[item.tx] = "its sender used the nonce for another transaction"
    return found


def _place(tx: Tx) -> tuple[str, int]:
    """Sender and nonce; a transaction that tells neither competes with none."""
    if tx.initiator is None or tx.nonce is None:
        return tx.hash, 0
    return tx.initiator, tx.nonce
