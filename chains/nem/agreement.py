"""What several NIS1 nodes agree on: how high the chain is, and which of them lag, stand still or run ahead. Pure."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import msgspec

from chains.nem import binary
from chains.nem.decode import RawBlock, identity
from monitor.errors import DecodeError

__all__ = ["APART", "STALL_SECONDS", "Agreement", "Heights", "Told", "Voice", "is_settled", "outvoted", "voice"]

APART = 4  # blocks between the heights of two nodes that are still normal: nodes synchronise within seconds
LATE_SECONDS = 180.0  # that a node may lack a block that the others have: three block times
STALL_SECONDS = 600.0  # ten block times without a new block, while another node has some
MOST_STALL = 3 * STALL_SECONDS  # until most nodes count as stalled: one that invents blocks never stands still
FRESH_SECONDS = 120.0  # that what a node told counts

Vote = TypeVar("Vote", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Told:
    """The newest block of one node, as it said ``at`` (monotonic seconds)."""

    height: int
    identity: str
    at: float


@dataclass(frozen=True, slots=True)
class Agreement:
    """``height`` is what most nodes have reached; the names of nodes that are not to be asked, by what is wrong."""

    height: int
    behind: frozenset[str] = frozenset()
    ahead: frozenset[str] = frozenset()

    @property
    def aside(self) -> frozenset[str]:
        """All nodes that are not to be asked."""
        return self.behind | self.ahead


class Heights:
    """What nodes told of their heads, and since when each has told the same."""

    def __init__(self) -> None:
        self._told: dict[str, Told] = {}
        self._moved: dict[str, float] = {}

    def see(self, name: str, told: Told) -> None:
        """A node told its newest block."""
        before = self._told.get(name)
        if before is None or told.height > before.height:
            self._moved[name] = told.at
        self._told[name] = told

    def of(self, names: Iterable[str], now: float) -> dict[str, Told]:
        """What each of these told last, where that was lately."""
        found = {name: self._told[name] for name in names if name in self._told}
        return {name: told for name, told in found.items() if now - told.at <= FRESH_SECONDS}

    def agree(self, names: Collection[str], now: float) -> Agreement | None:
        """What these nodes agree on; None where none of them has told anything.

        Of three or more the middle height counts (of an even number the upper one of the two in the middle), so that
        neither one that invents blocks nor one that lacks them decides. Of two that are far apart nobody can say which
        is right without looking into the blocks: the higher one counts here.
        """
        told = self.of(names, now)
        if not told:
            return None
        stalled = self._stalled(told, now)
        voices = sorted((one.height for name, one in told.items() if name not in stalled), reverse=True)
        height = voices[(len(voices) - 1) // 2]
        behind = {name for name, one in told.items() if name in stalled or one.height < height - APART}
        behind |= {name for name in told if name not in behind and self._is_late(name, told, height, now)}
        ahead = {name for name, one in told.items() if one.height > height + APART}
        return Agreement(height, frozenset(behind), frozenset(ahead))

    def _stalled(self, told: Mapping[str, Told], now: float) -> set[str]:
        for seconds in (STALL_SECONDS, MOST_STALL):
            quiet = {name for name in told if now - self._moved[name] > seconds}
            most = len(told) - 1 if seconds == MOST_STALL else len(told) // 2
            if 0 < len(quiet) <= most:
                return quiet
        return set()

    def _is_late(self, name: str, told: Mapping[str, Told], height: int, now: float) -> bool:
        """Whether it has lacked a block for long that a node with the agreed height has had."""
        if told[name].height >= height:
            return False
        since = min(self._moved[other] for other, one in told.items() if one.height >= height)
        return now - since > LATE_SECONDS


class Voice(NamedTuple):
    """What one node says that a block is."""

    identity: str
    content: str  # digest of its time and transactions


def voice(block: RawBlock) -> Voice:
    """What is compared between nodes.

    Signatures are not verified here, so a node may give other transactions under the block's real signature. Content is
    compared in the form that is hashed, since nodes may write the same in different JSON.
    """
    digest = hashlib.sha256(b"%d" % block.timeStamp)
    for tx in block.transactions:
        digest.update(hashlib.sha256(_said(tx)).digest())
    return Voice(identity(block), digest.hexdigest())


def _said(tx: Mapping[str, Any]) -> bytes:
    """A transaction with its cosignatures; as JSON where it has no binary form."""
    try:
        if tx.get("type") in binary.HASHED:
            cosigned = sorted((one["signer"], one["fee"]) for one in tx.get("signatures") or ())
            return msgspec.json.encode((binary.transaction_hash(tx), tx["signature"], cosigned))
    except (DecodeError, KeyError, TypeError, AttributeError):
        pass
    try:
        return msgspec.json.encode(tx, order="sorted")
    except RecursionError:
        return b"nested too deeply"


def is_settled(own: Vote, others: Collection[Vote], left: int) -> bool:
    """Whether ``left`` more votes cannot change whether ``own`` is outvoted, nor make it doubtful."""
    votes = Counter([own, *others])
    best = max((count for vote, count in votes.items() if vote != own), default=0)
    return best + left < votes[own] or votes[own] + left < best


def outvoted(own: Vote, others: Iterable[Vote]) -> Vote | None:
    """What more nodes say of a block than say ``own``; None where there is none."""
    votes = Counter([own])
    votes.update(others)
    best, count = votes.most_common(1)[0]
    return best if count > votes[own] else None
