"""Screening: which transactions of a block may concern a watched account, at a glance and without objects.

A block of Ethereum has hundreds of transactions and logs, of which nearly none touch the watch set. Everything that is
decoded with care is decoded for these few; the rest is counted. Screening may keep a transaction too many, never one
too few.

Accounts are compared as they are written, addresses in their topics with the padding: most blocks are done with after
two comparisons of sets. A node that writes addresses with checksums (capital letters) is read all the same.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import accumulate
from itertools import chain as chain_of
from typing import Protocol, runtime_checkable

from chains.evm.wire import RpcLog, RpcReceipt, RpcTx

__all__ = ["Among", "Candidate", "Screen"]

PADDING = "0x" + "0" * 24
ZERO_WORD = "0x" + "0" * 64
_NOTHING = (None, "0x0", "0x", "0x00")
_FAILED = "0x0"
_STATES = frozenset(("0x1", _FAILED, None))  # anything else says something odd
_SHORT = 200_000  # watched accounts up to which their padded forms are kept beside them


@runtime_checkable
class Among(Protocol):
    """A watch set too large for one look-up after another."""

    def among(self, addresses: Collection[str]) -> AbstractSet[str]:
        """Those of ``addresses`` that are watched."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A transaction that is decoded with care: its position in the block, and the place of its first transfer."""

    position: int
    place: int


class Screen:
    """The screen of a watch set.

    Parameters
    ----------
    watch : canonical addresses; a mapping or set, or `Among`, or anything that answers ``in``
    counted : the first topic of a token transfer
    hidden : kinds of logs, by their first topic, that name accounts in their data when they have no further topic
    """

    def __init__(self, watch: Container[str], counted: str, hidden: AbstractSet[str] = frozenset()) -> None:
        self._watch, self._counted, self._hidden = watch, counted, hidden
        short = isinstance(watch, dict | set | frozenset) and len(watch) <= _SHORT
        self._plain = frozenset(watch) if short else None  # type: ignore[call-overload]
        self._padded = frozenset(PADDING + address[2:] for address in self._plain or ())

    def of(
        self,
        transactions: Sequence[RpcTx],
        receipts: Sequence[RpcReceipt | None],
        logs: Sequence[Sequence[RpcLog]],
    ) -> tuple[list[Candidate], int]:
        """The transactions of a block that may touch the watch set, and how many transfers the others moved.

        Parameters
        ----------
        receipts, logs : of each transaction
        """
        every = list(chain_of.from_iterable(logs))
        names = [tx.sender for tx in transactions]
        names += [tx.to or "" for tx in transactions]
        creates = "" in names
        names += [log.address for log in every]
        # The first topic is nearly never an account; to leave it out would take longer than to look it up.
        plain, padded = self._watched(names, list(chain_of.from_iterable([log.topics for log in every])))
        states = [None if receipt is None else receipt.status for receipt in receipts]
        delegating = [tx.authorization_list for tx in transactions]
        odd: list[int] = []
        if creates or delegating.count(None) < len(delegating) or not _STATES.issuperset(states):
            odd = [
                n
                for n, (tx, state) in enumerate(zip(transactions, states, strict=True))
                if not tx.to or tx.authorization_list is not None or state not in _STATES
            ]
        tokens = [log for log in every if log.topics and log.topics[0] == self._counted]
        moved = sum([len(log.topics) == 4 or log.data != ZERO_WORD for log in tokens])
        if _FAILED in states:
            valued = zip(transactions, states, strict=True)
            moved += sum([state != _FAILED and tx.value not in _NOTHING for tx, state in valued])
        else:
            values = [tx.value for tx in transactions]
            moved += len(values) - sum(map(values.count, _NOTHING))
        alone = {log.topics[0] for log in every if len(log.topics) == 1}
        if plain or padded or not alone.isdisjoint(self._hidden):
            touched = [n for n, tx in enumerate(transactions) if self._touches(tx, logs[n], plain, padded)]
            odd = sorted({*odd, *touched})
        if not odd:
            return [], moved
        places = list(accumulate((2 + len(own) for own in logs), initial=0))
        moved -= sum(self._moves(transactions[n], states[n], logs[n]) for n in odd)
        return [Candidate(n, places[n]) for n in odd], moved

    def _touches(
        self, tx: RpcTx, logs: Sequence[RpcLog], plain: AbstractSet[str], padded: AbstractSet[str]
    ) -> bool:
        if tx.sender in plain or tx.to in plain:
            return True
        return any(
            log.address in plain
            or not padded.isdisjoint(log.topics)
            or (len(log.topics) == 1 and log.topics[0] in self._hidden)
            for log in logs
        )

    def _moves(self, tx: RpcTx, state: str | None, logs: Sequence[RpcLog]) -> int:
        """What `of` counted for a transaction."""
        tokens = (log for log in logs if log.topics and log.topics[0] == self._counted)
        native = tx.value not in _NOTHING and state != _FAILED
        return native + sum(len(log.topics) == 4 or log.data != ZERO_WORD for log in tokens)

    def _watched(self, names: list[str], words: list[str]) -> tuple[AbstractSet[str], AbstractSet[str]]:
        """Which of these are watched accounts, as they are written: names, and topics."""
        if self._plain is not None and not _has_capitals(names):
            if self._plain.isdisjoint(names) and self._padded.isdisjoint(words):
                return frozenset(), frozenset()
            return self._plain, self._padded
        written: dict[str, set[str]] = {}
        for name in set(names):
            written.setdefault(name.lower(), set()).add(name)
        topics: dict[str, set[str]] = {}
        for word in set(words):
            if word.startswith(PADDING):
                topics.setdefault("0x" + word[26:].lower(), set()).add(word)
        asked = written.keys() | topics.keys()
        if isinstance(self._watch, Among):
            known = self._watch.among(asked)
        else:
            known = {address for address in asked if address in self._watch}
        return (
            {name for address in known for name in written.get(address, ())},
            {word for address in known for word in topics.get(address, ())},
        )


def _has_capitals(names: list[str]) -> bool:
    """Whether an address among these is written with capital letters; asking for the letters is the fastest way."""
    text = "".join(names)
    return any(letter in text for letter in "ABCDEF")
