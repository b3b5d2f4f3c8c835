"""The mempool of an EVM chain: transactions that wait to be mined and touch the watch set, and what becomes of them.

It has connections and a task of its own: whatever floods it, the head is read as before. Anybody can sign a transaction
that names somebody else's account, at no cost while it is not mined. So what a stranger's transaction would move or
approve is told only where a node says that the call would succeed now (``eth_call``); what a watched account signed
itself is told in any case.

More than half of the thefts on Ethereum never wait where others see them: that nothing is told here proves nothing.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Container, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from chains.base import ChainSpec, PendingEvent, PendingGone, PendingSeen, Terms
from chains.evm.code import Codes
from chains.evm.controls.authorization import nonces_of
from chains.evm.enrich import enrich
from chains.evm.pending_feed import Feed
from chains.evm.pending_tx import RpcPending, is_of_interest, number, pending_of
from chains.evm.pinned import Pinned
from chains.exchange import backoff
from chains.rpc import HttpPool, JsonRpc, MethodUnsupported, RpcError, Single
from monitor.errors import ChainError, ChainInconsistent, ChainUnavailable
from monitor.model import Block, BlockRef, ControlKind, Pending
from monitor.networks import by_chain

__all__ = ["EvmMempool"]

log = logging.getLogger(__name__)

LARGEST = 64 * 2**20  # bytes of an answer: a pool as a whole
MOST = 128  # transactions of interest that are to be told; beyond them they are counted and left
TRIES = 3  # rounds in which a transaction may fail to be looked at
PATIENCE = 0.4  # seconds that a transaction must have waited: nodes that mine at once give no early warning
TOLD = 1024  # transactions whose end is waited for; the oldest is given up
PACE = 0.1  # seconds between two looks at what was told
CHECKED = 64  # of them that are asked about at once
CHECK_SECONDS = 2.0
MISSED = 2  # times that no node knows a transaction before it counts as dropped
LOST_SECONDS = 600.0  # without any answer, after which everything that was told counts as dropped
QUIET_SECONDS = 30.0  # without a note, after which the pool is looked at all the same
AGAIN_SECONDS = 60.0  # until a node that offered nothing is asked again, where one could not be reached
SHARE = 0.25  # of the rate that an endpoint allows
ZERO = "0x" + "0" * 64


@dataclass(slots=True)
class _Fresh:
    tx: RpcPending
    since: float
    tries: int = 0


@dataclass(slots=True)
class _Told:
    place: tuple[str, int]
    missed: int = 0


class EvmMempool:
    """See `chains.base.Mempool`.

    Parameters
    ----------
    spec, watch : as for `chains.evm.watcher.EvmChain`; ``spec.accounts`` are senders that are asked about one by one
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
        self.spec = spec
        self._watch, self._sleep, self._clock = watch, sleep, clock
        self._rng = rng or random.Random()
        terms = {url: _part(terms) for url, terms in spec.terms.items()}
        self._nodes = HttpPool(
            spec.endpoints, timeout=spec.timeout_seconds, rng=self._rng, sleep=sleep, clock=clock,
            on_connect=self._greet, terms=terms, notify=lambda name, note: self._feed.told(name, note), largest=LARGEST,
        )  # fmt: skip
        self._rpc = JsonRpc(self._nodes)
        self._feed = Feed(self._rpc, spec.accounts, spec.name)
        seconds = network.block_seconds if (network := by_chain(spec.chain)) else 12.0
        self._poll = min(spec.poll_seconds or 1.0, max(0.25, seconds / 4))
        self._codes = Codes(Pinned(self._rpc), seconds)
        self._patience = min(PATIENCE, seconds / 5)
        self._fresh: dict[str, _Fresh] = {}  # that are to be told
        self._told: dict[str, _Told] = {}
        self._places: dict[tuple[str, int], str] = {}  # what was told last of a sender and nonce
        self._checked_at = self._news_at = self._answered_at = clock()
        self._beyond = 0

    @property
    def dropped(self) -> int:
        """Transactions that were not looked at, since more came than the bounds allow."""
        return self._feed.dropped + self._beyond

    async def pending(self, known: Mapping[str, tuple[str, int]]) -> AsyncGenerator[Sequence[PendingEvent]]:
        """See `chains.base.Mempool`."""
        failures, opened = 0, False
        while True:
            events: Sequence[PendingEvent] = ()
            try:
                if not opened:
                    await self._open()
                    events, opened = await self._again(known), True
                events = [*events, *await self._round()]
                failures, self._answered_at = 0, self._clock()
            except MethodUnsupported as error:
                log.info("%s: the mempool is not offered: %s", self.spec.name, error)
                if not self._nodes.has_sockets:
                    return
                await self._sleep(AGAIN_SECONDS)
            except (ChainUnavailable, ChainInconsistent) as error:
                log.info("%s: the mempool cannot be read: %s", self.spec.name, error)
                if self._clock() - self._answered_at > LOST_SECONDS:
                    events = [*events, *self._gone(list(self._told), "dropped")]
                await self._sleep(backoff(self._rng, failures))
                failures += 1
            except ChainError as error:
                log.error("%s: the mempool is not watched: %s", self.spec.name, error)
                return
            if events:
                yield events
            await self._wait()

    async def aclose(self) -> None:
        """Close connections; calling it twice is fine."""
        await self._nodes.aclose()

    # -- connections ----------------------------------------------------------------------------------------------

    async def _open(self) -> None:
        await self._nodes.check()
        if self._nodes.has_sockets:
            self._nodes.listen()

    async def _greet(self, single: Single) -> None:
        """Is it this chain; and whether it tells by itself, in full or by hash."""
        rpc = JsonRpc(single)
        answer = await rpc.call("eth_chainId", type=str)
        if f"eip155:{number(answer)}" != self.spec.chain:
            raise ChainError(f"endpoint {single.endpoint} serves eip155:{number(answer)}, not {self.spec.chain}")
        if single.transport != "ws":
            return
        for more in ((True,), ()):
            try:
                await rpc.call("eth_subscribe", "newPendingTransactions", *more)
            except MethodUnsupported:
                continue
            self._feed.subscribed.add(single.endpoint)
            return

    async def _wait(self) -> None:
        """Until something was told, or it is time to look."""
        await self._sleep(PACE)  # others run, however much is told
        since = min((fresh.since for fresh in self._fresh.values()), default=self._clock() + self._poll)
        try:
            async with asyncio.timeout(min(self._poll, max(0.0, since + self._patience - self._clock()))):
                await self._feed.news.wait()
            self._news_at = self._clock()
        except TimeoutError:
            if self._clock() - self._news_at > QUIET_SECONDS:
                self._feed.look_again()
                self._news_at = self._clock()

    # -- what comes -----------------------------------------------------------------------------------------------

    async def _again(self, known: Mapping[str, tuple[str, int]]) -> list[PendingEvent]:
        """Transactions of before a restart: those that still wait are told again, the others run their course."""
        if not known:
            return []
        for hash, place in known.items():
            self._told[hash], self._places[place] = _Told(place), hash
        return await self._tell(await self._feed.fetch(list(known)))

    async def _round(self) -> list[PendingEvent]:
        for tx in await self._feed.take():
            self._keep(tx)
        events = await self._tell(await self._still(ripe := self._ripe()))
        for tx in ripe:
            del self._fresh[tx.hash.lower()]
        if self._told and self._clock() - self._checked_at >= CHECK_SECONDS:
            self._checked_at = self._clock()
            events += await self._check()
        return events

    def _ripe(self) -> list[RpcPending]:
        """Those that have waited. After a failure one by one: what nodes choke on is given up, and hides no other."""
        ripe = [fresh for fresh in self._fresh.values() if self._clock() - fresh.since >= self._patience]
        chosen = [fresh for fresh in ripe if not fresh.tries] or sorted(ripe, key=lambda fresh: fresh.tries)[:1]
        for fresh in chosen:
            fresh.tries += 1
            if fresh.tries > TRIES:
                del self._fresh[fresh.tx.hash.lower()]
                self._beyond += 1
        return [fresh.tx for fresh in chosen if fresh.tries <= TRIES]

    def _keep(self, tx: RpcPending) -> None:
        """Until it has waited for a moment, and is told, were it in a later round."""
        if tx.hash.lower() in self._fresh or not self._matters(tx):
            return
        if len(self._fresh) < MOST:
            self._fresh[tx.hash.lower()] = _Fresh(tx, self._clock())
        else:
            self._beyond += 1

    def _matters(self, tx: RpcPending) -> bool:
        """Whether it touches the watch set, or stands in the way of one that does."""
        if tx.hash.lower() in self._told:
            return False
        return tx.place in self._places or is_of_interest(tx, self._watch)

    async def _still(self, ripe: Sequence[RpcPending]) -> list[RpcPending]:
        """Those that are not mined meanwhile: what is in a block already is no early warning."""
        if not ripe:
            return []
        answers = await self._rpc.batch([("eth_getTransactionByHash", [tx.hash]) for tx in ripe])
        mined = (isinstance(answer, dict) and answer.get("blockNumber") is not None for answer in answers)
        return [tx for tx, is_mined in zip(ripe, mined, strict=True) if not is_mined]

    async def _tell(self, fresh: Sequence[RpcPending]) -> list[PendingEvent]:
        """Events for these, as far as they are to be believed."""
        if not fresh:
            return []
        head, nonces = await self._now(fresh)
        base_fee = number(head.get("baseFeePerGas"))
        found = [
            (tx, pending_of(tx, self.spec.chain, self._watch, base_fee, self._gap(tx, nonces, fresh))) for tx in fresh
        ]
        doubtful = [tx for tx, said in found if tx.sender.lower() not in self._watch and _claims(said)]
        possible, stale = await self._possible(doubtful), await self._stale(doubtful)
        own = self._watch
        believed = [said if tx.sender.lower() in own else _credible(said, possible, stale) for tx, said in found]
        events: list[PendingEvent] = []
        for tx, said in zip(fresh, await self._fuller(believed, head), strict=True):
            if not _claims(said) and tx.sender.lower() not in self._watch and tx.place not in self._places:
                continue
            self._told[tx.hash.lower()] = _Told(tx.place)
            self._places[tx.place] = tx.hash.lower()
            events.append(PendingSeen(said))
        if len(self._told) > TOLD:
            events += self._gone(list(self._told)[: len(self._told) - TOLD], "dropped")
        return events

    async def _fuller(self, believed: Sequence[Pending], head: Mapping[str, Any]) -> Sequence[Pending]:
        """With what the state says of spenders, delegates and called code, as in a block."""
        events = [event for said in believed for event in said.controls]
        height = number(head.get("number"))
        if not events or height is None:
            return believed
        at = BlockRef(self.spec.chain, height, str(head.get("hash")).lower())
        block = await enrich(Block(at, "", 0, controls=tuple(events)), self._codes)
        known = iter(block.controls)
        return [replace(said, controls=tuple(next(known) for _ in said.controls)) for said in believed]

    async def _now(self, fresh: Sequence[RpcPending]) -> tuple[Mapping[str, Any], dict[str, int]]:
        """(header of the newest block, next nonce by watched sender)."""
        senders = sorted({tx.sender.lower() for tx in fresh if tx.sender.lower() in self._watch})
        head, *counts = await self._rpc.batch(
            [("eth_getBlockByNumber", ["latest", False])]
            + [("eth_getTransactionCount", [sender, "latest"]) for sender in senders]
        )
        nonces = ((sender, number(count)) for sender, count in zip(senders, counts, strict=True))
        known = {sender: count for sender, count in nonces if count is not None}
        return head if isinstance(head, dict) else {}, known

    def _gap(self, tx: RpcPending, nonces: Mapping[str, int], fresh: Sequence[RpcPending]) -> int:
        sender, nonce = tx.place
        if sender not in nonces:
            return 0
        places = [*self._places, *(other.place for other in fresh)]
        between: set[int] = {at for who, at in places if who == sender and nonces[sender] <= at < nonce}
        return max(0, nonce - nonces[sender] - len(between))

    async def _possible(self, doubtful: Sequence[RpcPending]) -> set[str]:
        """Hashes of those whose call a node carries out now without an error."""
        if not doubtful:
            return set()
        answers = await self._rpc.batch([("eth_call", [_call(tx), "latest"]) for tx in doubtful])
        return {
            tx.hash.lower()
            for tx, answer in zip(doubtful, answers, strict=True)
            if not isinstance(answer, RpcError) and answer != ZERO  # tokens that answer "false" have moved nothing
        }

    async def _stale(self, doubtful: Sequence[RpcPending]) -> dict[str, set[str]]:
        """By hash, accounts whose authorizations are used up: anybody can bring old ones."""
        chain_id = int(self.spec.chain.partition(":")[2])
        signed = {tx.hash.lower(): list(nonces_of(tx, chain_id)) for tx in doubtful if tx.authorization_list}
        accounts = sorted({one for pairs in signed.values() for one, _ in pairs if one in self._watch})
        if not accounts:
            return {}
        answers = await self._rpc.batch([("eth_getTransactionCount", [one, "latest"]) for one in accounts])
        now = dict(zip(accounts, map(number, answers), strict=True))
        return {
            hash: {one for one, _ in pairs if one in now and (one, now[one]) not in pairs}
            for hash, pairs in signed.items()
        }

    # -- what goes ------------------------------------------------------------------------------------------------

    async def _check(self) -> list[PendingEvent]:
        """What became of those that were told, the ones not asked about for longest."""
        asked = list(self._told)[:CHECKED]
        calls: list[tuple[str, Sequence[Any]]] = [("eth_getTransactionByHash", [hash]) for hash in asked]
        senders = list(dict.fromkeys(self._told[hash].place[0] for hash in asked))
        calls += [("eth_getTransactionCount", [sender, "latest"]) for sender in senders]
        answers = await self._rpc.batch(calls)
        nonces = dict(zip(senders, map(number, answers[len(asked) :]), strict=True))
        coming = {fresh.tx.place for fresh in self._fresh.values()}
        events: list[PendingEvent] = []
        for hash, answer in zip(asked, answers[: len(asked)], strict=True):
            told = self._told.pop(hash)
            self._told[hash] = told  # to the end of the line
            if isinstance(answer, dict):
                told.missed = 0
                if (block := number(answer.get("blockNumber"))) is not None:
                    events += self._gone([hash], "mined", block)
            elif answer is None:
                told.missed += 1
                sender, nonce = told.place
                spent = (nonces[sender] or 0) > nonce
                rival = self._places.get(told.place, hash) != hash or told.place in coming  # then either may be mined
                if told.missed >= MISSED and (spent or not rival):
                    events += self._gone([hash], "replaced" if spent else "dropped")
        return events

    def _gone(self, hashes: Sequence[str], why: str, block: int | None = None) -> list[PendingEvent]:
        for hash in hashes:
            place = self._told.pop(hash).place
            if self._places.get(place) == hash:
                del self._places[place]
        return [PendingGone(hash, why, block) for hash in hashes]


def _part(terms: Terms) -> Terms:
    """The mempool may wait; the head may not."""
    return terms if terms.rate is None else replace(terms, rate=terms.rate * SHARE)


def _credible(said: Pending, possible: Container[str], stale: Mapping[str, Container[str]]) -> Pending:
    """What is left of a stranger's words: a call that fails does nothing, but its authorizations hold all the same."""
    used = stale.get(said.tx.hash, ())
    controls = tuple(
        event
        for event in said.controls
        if (event.account not in used if event.kind is ControlKind.DELEGATION else said.tx.hash in possible)
    )
    return replace(said, transfers=said.transfers if said.tx.hash in possible else (), controls=controls)


def _claims(said: Pending) -> bool:
    return bool(said.transfers or said.controls)


def _call(tx: RpcPending) -> dict[str, Any]:
    call = {"from": tx.sender, "to": tx.to, "value": tx.value, "gas": tx.gas, "data": "0x" + tx.calldata.hex()}
    return {key: value for key, value in call.items() if value is not None}
