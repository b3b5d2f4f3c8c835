"""What waits on NEM: unconfirmed transactions of the accounts that are named one by one, multisig ones among them.

NIS1 lists them by account, cosignatories included, for as long as a transaction may still be taken into a block (a day
at most). A multisig's transaction waits there until enough cosignatories have signed: it is told from the first
signature on. There is no nonce on NEM, so nothing replaces anything; a transaction is mined, or it expires.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from chains.base import ChainSpec, PendingEvent, PendingGone, PendingSeen
from chains.exchange import backoff
from chains.nem.decode import decode_transaction, sender_of
from chains.nem.definitions import Definitions
from chains.nem.nodes import NemNodes
from chains.nem.watcher import signers_of
from chains.throttle import Throttle
from monitor.errors import ChainError, ChainInconsistent, ChainUnavailable, ConfigError, DecodeError
from monitor.model import BlockRef, Pending
from monitor.networks import by_chain

__all__ = ["NemMempool"]

log = logging.getLogger(__name__)

POLL_SECONDS = 5.0
RATE = 20.0  # accounts a second that are asked about: all of 100 are looked at every five seconds
MOST_LISTED = 200  # transactions of one account that are looked at
MOST_TOLD = 1024  # transactions whose end is waited for
MISSED = 2  # looks in a row that do not find a transaction before it counts as gone
LOST_SECONDS = 600.0  # without any answer, after which everything that was told counts as dropped
UNCONFIRMED, RECENT = "account/unconfirmedTransactions", "account/transfers/all"


@dataclass(slots=True)
class _Told:
    """A transaction that was told, or that evidence rests on since before a restart."""

    accounts: set[str] = field(default_factory=set)  # whose lists had it; empty: not known
    missed: int = 0


class NemMempool:
    """See `chains.base.Mempool`.

    Parameters
    ----------
    spec, watch : as for `chains.nem.watcher.NemChain`; ``spec.accounts`` are asked about one by one
    sleep, clock, rng : pause, monotonic time and jitter, for tests
    """

    def __init__(
        self,
        spec: ChainSpec,
        watch: Container[str],
        *,
        sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
    ) -> None:
        network = by_chain(spec.chain)
        if network is None or network.kind != "nem":
            raise ConfigError(f"chain {spec.name}: {spec.chain!r} is no NEM chain")
        self.spec = spec
        self.dropped = 0
        self._network, self._watch = network, watch
        self._sleep, self._clock, self._rng = sleep, clock, rng or random.Random()
        self._signers = signers_of(spec, network)
        self._nodes = NemNodes(spec, sleep=sleep, clock=clock, rng=rng)
        self._definitions = Definitions(self._nodes.pool, spec.chain, clock)
        self._throttle = Throttle(RATE, sleep=sleep, clock=clock)
        self._poll = POLL_SECONDS if spec.poll_seconds is None else spec.poll_seconds
        self._told: dict[str, _Told] = {}
        self._beyond: dict[str, int] = {}  # by account: transactions that its bound left out
        self._senseless: dict[str, None] = {}  # that were counted
        self._answered_at = clock()

    async def pending(self, known: Mapping[str, tuple[str, int]]) -> AsyncGenerator[Sequence[PendingEvent]]:
        """See `chains.base.Mempool`; it ends at once where no account is named one by one."""
        if not self.spec.accounts:
            return
        self._told.update((hash, _Told()) for hash in known)
        again = set(known)  # told anew where they still wait
        failures, opened = 0, False
        while True:
            events: list[PendingEvent] = []
            try:
                if not opened:
                    await self._nodes.open()
                    opened = True
                events = await self._round(again)
                failures, self._answered_at = 0, self._clock()
            except (ChainUnavailable, ChainInconsistent) as error:
                log.info("%s: what waits cannot be read: %s", self.spec.name, error)
                if self._clock() - self._answered_at > LOST_SECONDS:
                    events = [PendingGone(hash, "dropped") for hash in self._told]
                    self._told.clear()
                await self._sleep(backoff(self._rng, failures))
                failures += 1
            except ChainError as error:
                log.error("%s: what waits is not watched: %s", self.spec.name, error)
                return
            if events:
                yield events
            await self._sleep(self._poll)

    async def aclose(self) -> None:
        """Close connections; calling it twice is fine."""
        await self._nodes.aclose()

    async def _round(self, again: set[str]) -> list[PendingEvent]:
        """Look at every account once."""
        events: list[PendingEvent] = []
        found: dict[str, set[str]] = {}
        for account in self.spec.accounts:
            await self._throttle.take()
            for raw in await self._listed(account):
                pending = await self._decoded(raw)
                if pending is None:
                    continue
                hash = pending.tx.hash
                if hash not in found and (hash not in self._told or hash in again):
                    again.discard(hash)
                    events.append(PendingSeen(pending))
                found.setdefault(hash, set()).add(account)
        for hash, accounts in found.items():
            told = self._told.setdefault(hash, _Told())
            told.accounts |= accounts
            told.missed = 0
        return [*events, *await self._gone(found), *self._bounded()]

    async def _listed(self, account: str) -> list[Mapping[str, Any]]:
        answer = await self._nodes.pool.get(UNCONFIRMED, {"address": account})
        entries = answer.get("data") if isinstance(answer, dict) else None
        if not isinstance(entries, list):
            raise ChainInconsistent(f"{self._nodes.pool.endpoint}: the answer to {UNCONFIRMED} cannot be understood")
        beyond = max(0, len(entries) - MOST_LISTED)
        self.dropped += max(0, beyond - self._beyond.get(account, 0))
        self._beyond[account] = beyond
        found = (entry.get("transaction") for entry in entries if isinstance(entry, dict))
        txs: list[Mapping[str, Any]] = [tx for tx in found if isinstance(tx, dict)]
        if beyond:  # anybody can send it many small payments, so its own come first
            txs.sort(key=lambda tx: sender_of(tx, self._network, self._signers) != account)
        return txs[:MOST_LISTED]

    async def _decoded(self, raw: Mapping[str, Any]) -> Pending | None:
        """What it would do; None where it touches nothing that is watched, or cannot be understood."""
        ref = BlockRef(self.spec.chain, 0, "")
        try:
            decoded = decode_transaction(raw, ref, 0, 0, self._network, signers=self._signers)
        except DecodeError as error:
            log.debug("%s: a transaction that waits: %s", self.spec.name, error)
            self._count(str(raw.get("signature")))
            return None
        transfers = tuple(
            t for t in decoded.transfers if t.from_addresses[0] in self._watch or t.to_address in self._watch
        )
        controls = tuple(c for c in decoded.controls if c.account in self._watch or c.subject in self._watch)
        if not transfers and not controls:
            return None
        return Pending(decoded.tx, transfers, controls)

    def _count(self, signature: str) -> None:
        """A transaction that cannot be understood, once."""
        self.dropped += signature not in self._senseless
        self._senseless[signature] = None
        while len(self._senseless) > MOST_TOLD:
            del self._senseless[next(iter(self._senseless))]

    async def _gone(self, found: Mapping[str, Any]) -> list[PendingEvent]:
        """What is not listed any more: mined, or dropped."""
        events: list[PendingEvent] = []
        gone = []
        for hash, told in self._told.items():
            if hash not in found:
                told.missed += 1
                if told.missed >= MISSED:
                    gone.append(hash)
        if not gone:
            return events
        accounts = {a for hash in gone for a in (self._told[hash].accounts or self.spec.accounts)}
        mined = await self._mined(sorted(accounts))
        for hash in gone:
            del self._told[hash]
            height = mined.get(hash)
            events.append(PendingGone(hash, "dropped" if height is None else "mined", height))
        return events

    async def _mined(self, accounts: Sequence[str]) -> dict[str, int]:
        """Heights of the newest transactions of accounts, by hash."""
        heights: dict[str, int] = {}
        for account in accounts:
            await self._throttle.take()
            answer = await self._nodes.pool.get(RECENT, {"address": account})
            entries = answer.get("data") if isinstance(answer, dict) else None
            for entry in entries if isinstance(entries, list) else ():
                try:
                    hash, height = entry["meta"]["hash"]["data"], entry["meta"]["height"]
                except (KeyError, TypeError):
                    continue
                if isinstance(hash, str) and type(height) is int:
                    heights[hash] = height
        return heights

    def _bounded(self) -> list[PendingEvent]:
        """Give up what was told first where too much waits."""
        events: list[PendingEvent] = []
        while len(self._told) > MOST_TOLD:
            hash = next(iter(self._told))
            del self._told[hash]
            self.dropped += 1
            events.append(PendingGone(hash, "dropped"))
        return events
