"""The mempool of a chain of the Bitcoin family: what waits and spends watched coins, and what becomes of it.

It has connections and a task of its own: whatever floods it, the head is read as before. What a node publishes by ZMQ
(``rawtx``) is looked at at once; without it, the pool is listed every few seconds, and what is new there is fetched. A
publisher tells of transactions in blocks as well, and says nothing of those that go: so a transaction is told only when
a list has it, and whether it is gone is a matter of lists and blocks.

Coins that arrive raise no alarm before they are mined, and are told where one that spends them is.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter
from typing import Any

from chains.base import ChainSpec, PendingEvent, PendingGone, PendingSeen, Terms
from chains.bitcoin.block import RawTx, parse_tx
from chains.bitcoin.pending_list import Listed
from chains.bitcoin.prevouts import Prevouts
from chains.bitcoin.sources import Sources, feeds_of
from chains.bitcoin.transfers import Spent, transfers_of
from chains.bitcoin.watched import WatchedScripts
from chains.bitcoin.watcher import network_of
from chains.bitcoin.zmq_feed import ZmqFeed
from chains.exchange import backoff
from chains.rpc import MethodUnsupported
from monitor.errors import ChainError, ChainInconsistent, ChainUnavailable, DecodeError
from monitor.model import BlockRef, Pending, Tx

__all__ = ["BitcoinMempool"]

log = logging.getLogger(__name__)

POLL_SECONDS, POLL_COSTLY = 2.0, 15.0  # between two lists: of a node, of a service that counts requests
PACE = 0.1  # seconds between two rounds, and at least between two lists
SHARE_OF_TIME = 10  # lists may take up one part in so many of the time
FETCHED = 1000  # transactions fetched in a round
BATCH = 100  # of them in one request
HEARD = 2048  # published transactions looked at in a round
TRIES = 3  # requests for one transaction alone that may fail, until it is left out
UNLISTED = 2  # lists in which what was published may be missing, until it is given up
MISSED = 2  # lists in which one that was told is missing, until it counts as gone
SCANNED = 6  # newest blocks that are looked through for one that is gone
TOLD = 4096  # transactions whose end is waited for; the oldest is given up
LOST_SECONDS = 600.0  # without any answer, after which everything that was told counts as dropped
SHARE = 0.25  # of the rate that an endpoint allows


@dataclass(slots=True)
class _Waits:
    """One that spends watched coins, or brings them. Known from before a restart alone, it has no transfers."""

    pending: Pending
    outpoints: frozenset[bytes] = frozenset()  # all that it spends
    height: int | None = None  # of the head, when it was listed last
    missed: int = 0  # lists without it since


class BitcoinMempool:
    """See `chains.base.Mempool`.

    Parameters
    ----------
    spec, watch : as for `chains.bitcoin.watcher.BitcoinChain`
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
        self.spec, self._sleep, self._clock = spec, sleep, clock
        self._rng = rng or random.Random()
        self._network = network_of(spec)
        terms = {url: _part(terms) for url, terms in spec.terms.items()}
        self._source = Sources(replace(spec, terms=terms), self._network, sleep=sleep, clock=clock, rng=rng)
        self._feed = ZmqFeed(feeds) if (feeds := feeds_of(spec)) else None
        self._watched = WatchedScripts(watch, self._network)
        self._prevouts = Prevouts(self._source, self._watched)
        self._listed = Listed()
        self._fresh: dict[str, _Waits] = {}  # are told as soon as they are listed
        self._told: dict[str, _Waits] = {}
        self._head: BlockRef | None = None
        self._seen: list[PendingSeen] = []  # to be told
        self._gone: list[PendingGone] = []
        self._batch = BATCH
        self._failed: dict[str, int] = {}  # requests for one alone that failed
        self._due = self._earliest = self._answered_at = clock()  # when the pool is, and may be, listed next
        self._unread = 0
        self._woken = False  # by what is published

    @property
    def dropped(self) -> int:
        """Transactions that were not looked at, since more came than the bounds allow, or since they make no sense."""
        return self._listed.dropped + self._unread

    async def pending(self, known: Mapping[str, tuple[str, int]]) -> AsyncGenerator[Sequence[PendingEvent]]:
        """See `chains.base.Mempool`."""
        failures, opened = 0, False
        self._told |= {hash: _Waits(Pending(Tx(hash, 0))) for hash in known}
        while True:
            try:
                if not opened:
                    await self._source.open()
                    if self._feed is not None:
                        self._feed.start()
                    opened = True
                await self._round()
                failures, self._answered_at = 0, self._clock()
            except MethodUnsupported as error:
                log.info("%s: the mempool is not offered: %s", self.spec.name, error)
                return
            except (ChainUnavailable, ChainInconsistent) as error:
                log.info("%s: the mempool cannot be read: %s", self.spec.name, error)
                if self._clock() - self._answered_at > LOST_SECONDS:
                    self._give_up(list(self._told))
                await self._sleep(backoff(self._rng, failures))
                failures += 1
            except ChainError as error:
                log.error("%s: the mempool is not watched: %s", self.spec.name, error)
                return
            if events := self._taken():  # also where it failed on the way
                yield events
            await self._wait()

    async def aclose(self) -> None:
        """Close connections; calling it twice is fine."""
        if self._feed is not None:
            await self._feed.aclose()
        await self._source.aclose()

    def _taken(self) -> list[PendingEvent]:
        """What is to be told: what waits before what is gone, so that rivals are known."""
        events: list[PendingEvent] = [*self._seen, *self._gone]
        self._seen, self._gone = [], []
        return events

    async def _wait(self) -> None:
        """Until something was published, or it is time to list the pool; others run in any case."""
        await self._sleep(PACE)
        if self._listed.queued:
            return
        left = max(0.0, (self._earliest if self._fresh else self._due) - self._clock())
        if self._feed is None:
            await self._sleep(left)
            return
        try:
            async with asyncio.timeout(left):
                await self._feed.wait()
            self._woken = True
        except TimeoutError:
            pass

    # -- what comes -----------------------------------------------------------------------------------------------

    async def _round(self) -> None:
        if self._feed is not None:
            published = self._feed.take()
            if self._woken and not published:  # by hash alone, or some were missed
                self._due = self._earliest
            self._woken = False
            await self._hear(published[:HEARD])  # the others are listed
        now = self._clock()
        if now >= self._due or (self._fresh and now >= self._earliest):
            await self._list()
            await self._check()
        for _ in range(FETCHED // BATCH):
            if not await self._fetch(self._listed.take(self._batch)):
                break
        await self._tell()

    async def _list(self) -> None:
        """List the pool. With a new head, what waits is told again: a block that had it may be no more."""
        began = self._clock()
        head = await self._source.head()
        first = self._head is None
        self._listed.update(await self._source.waiting())
        now = self._clock()
        usual = POLL_COSTLY if self._source.costly else POLL_SECONDS
        pause = max(PACE, SHARE_OF_TIME * (now - began))
        poll = self.spec.poll_seconds or min(usual, self._network.block_seconds / 4)
        self._earliest, self._due = now + pause, now + max(pause, poll)
        moved, self._head = self._head != head, head
        for hash, waits in list(self._fresh.items()):
            if hash not in self._listed:
                waits.missed += 1
                if waits.missed >= UNLISTED:
                    del self._fresh[hash]
        if first:  # what is known from before a restart goes before all others
            self._listed.give_back(hash for hash in self._told if hash in self._listed)
        again = [waits.pending for hash, waits in self._told.items() if moved and hash in self._listed]
        self._seen += (PendingSeen(pending) for pending in again if pending.transfers)

    async def _hear(self, published: Sequence[bytes]) -> None:
        """Transactions that a node published: some wait, some are in blocks."""
        txs = [tx for tx in map(self._parsed, published) if tx is not None and tx.hash not in self._told]
        await self._keep(txs)
        self._listed.read(tx.hash for tx in txs)

    async def _fetch(self, hashes: Sequence[str]) -> bool:
        """Look at transactions of the pool; whether to go on. What a node chokes on is left out, and hides no other."""
        if not hashes:
            return False
        try:
            raws = await self._source.raw_transactions(hashes)
            txs = [self._parsed(raw) for raw in raws.values()]
            wanted = set(hashes)
            await self._keep([tx for tx in txs if tx is not None and tx.hash in wanted])
        except (ChainUnavailable, ChainInconsistent):
            self._listed.give_back(hashes)
            await self._source.head()  # where it does not answer either, no transaction is to blame
            if len(hashes) == 1:
                self._leave_out(hashes[0])
            self._batch = max(1, min(self._batch, len(hashes)) // 4)
            return False
        self._failed.pop(hashes[0], None)
        self._batch = min(BATCH, self._batch * 2)
        return True

    def _leave_out(self, hash: str) -> None:
        """It failed alone: after some tries it is left out."""
        if len(self._failed) > FETCHED:
            self._failed.clear()
        self._failed[hash] = self._failed.get(hash, 0) + 1
        if self._failed[hash] >= TRIES:
            del self._failed[hash]
            self._listed.take_back(hash)
            self._unread += 1

    def _parsed(self, raw: bytes) -> RawTx | None:
        try:
            return parse_tx(raw, self._network)
        except DecodeError as error:
            self._unread += 1
            log.debug("%s: a transaction that waits was not understood: %s", self.spec.name, error)
            return None

    async def _keep(self, txs: Sequence[RawTx]) -> None:
        """Those that spend watched coins are to be told."""
        spent = await self._prevouts.of_transactions(txs)
        scripts = {**spent.claimed, **{point: prevout.script for point, prevout in spent.known.items()}}
        watched = self._watched.match(scripts[point] for tx in txs for point in tx.outpoints if point in scripts)
        own = [tx for tx in txs if any(scripts.get(point) in watched for point in tx.outpoints)]
        for waits in await self._read(own, spent):
            self._fresh[waits.pending.tx.hash] = waits

    async def _read(self, txs: Sequence[RawTx], spent: Spent | None = None) -> list[_Waits]:
        """What transactions would do."""
        if not txs:
            return []
        spent = await self._prevouts.complete(txs, spent or await self._prevouts.of_transactions(txs))
        nowhere = BlockRef(self.spec.chain, -1, "")
        found = []
        for tx in txs:
            transfers = transfers_of(tx, nowhere, 0, 0, spent, self._watched, self._network)
            if transfers:
                shown = replace(transfers[0].tx, pending=True)
                pending = Pending(shown, tuple(replace(transfer, tx=shown) for transfer in transfers))
                found.append(_Waits(pending, frozenset(tx.outpoints)))
        return found

    async def _tell(self) -> None:
        """Events for those that are listed, each after the ones whose coins it spends."""
        ripe = {hash: waits for hash, waits in self._fresh.items() if hash in self._listed}
        if not ripe:
            return
        ripe |= await self._arrivals(ripe)
        height = self._head.number if self._head is not None else None
        for hash in _parents_first(ripe):
            waits = ripe[hash]
            waits.height, waits.missed = height, 0
            self._fresh.pop(hash, None)
            self._told.pop(hash, None)
            self._told[hash] = waits
            self._seen.append(PendingSeen(waits.pending))
        self._give_up(list(self._told)[: max(0, len(self._told) - TOLD)])

    async def _arrivals(self, ripe: Mapping[str, _Waits]) -> dict[str, _Waits]:
        """Transactions that wait themselves, and bring the coins that these spend."""
        parents = dict.fromkeys(parent for waits in ripe.values() for parent in _parents(waits))
        wanted = [one for one in parents if one not in ripe and one not in self._told and one in self._listed]
        if not wanted:
            return {}
        try:
            raws = await self._source.raw_transactions(wanted[:BATCH])
        except (ChainUnavailable, ChainInconsistent) as error:
            await self._source.head()  # it chokes on these: what spends their coins is told without them
            log.info("%s: arrivals that wait cannot be read: %s", self.spec.name, error)
            return {}
        txs = [tx for raw in raws.values() if (tx := self._parsed(raw)) is not None and tx.hash in parents]
        return {waits.pending.tx.hash: waits for waits in await self._read(txs)}

    # -- what goes ------------------------------------------------------------------------------------------------

    async def _check(self) -> None:
        """What became of those that were told and are not listed any more."""
        head = self._head
        if head is None:
            return
        gone: dict[str, _Waits] = {}
        for hash, waits in self._told.items():
            if hash in self._listed:
                waits.missed, waits.height = 0, head.number
            else:
                waits.missed += 1
                if waits.missed >= MISSED:
                    gone[hash] = waits
        if not gone:
            return
        mined, spent = await self._blocks(head, [waits.height for waits in gone.values()])
        for hash, waits in (self._told | self._fresh).items():
            if hash in self._listed:
                spent |= waits.outpoints
        for hash, waits in gone.items():
            del self._told[hash]
            if (number := mined.get(bytes.fromhex(hash)[::-1])) is not None:
                self._gone.append(PendingGone(hash, "mined", number))
            else:
                why = "replaced" if spent & waits.outpoints else "dropped"
                self._gone.append(PendingGone(hash, why, head.number))

    async def _blocks(self, head: BlockRef, since: Collection[int | None]) -> tuple[dict[bytes, int], set[bytes]]:
        """(height by transaction, outpoints that are spent) of the newest blocks, as far as they can be had now."""
        heights = [height for height in since if height is not None]
        first = max(0, head.number - SCANNED + 1)
        if len(heights) == len(since):
            first = max(first, min(heights))
        mined: dict[bytes, int] = {}
        spent: set[bytes] = set()
        try:
            for number in range(head.number, first - 1, -1):
                hash = head.hash if number == head.number else await self._source.hash_at(number)
                raw = (await self._source.block(number, hash)).raw
                mined |= dict.fromkeys(raw.hashes, number)
                spent.update(raw.outpoints)
        except ChainError as error:  # the follower reads them in any case, and settles what they have
            log.info("%s: a block was not looked through for what waited: %s", self.spec.name, error)
        return mined, spent

    def _give_up(self, hashes: Sequence[str]) -> None:
        for hash in hashes:
            del self._told[hash]
            self._gone.append(PendingGone(hash, "dropped"))


def _part(terms: Terms) -> Terms:
    """The mempool may wait; the head may not."""
    return terms if terms.rate is None else replace(terms, rate=terms.rate * SHARE)


def _parents(waits: _Waits) -> set[str]:
    """Transactions whose coins on watched addresses it spends."""
    return {point.partition(":")[0] for point in waits.pending.tx.spends}


def _parents_first(ripe: Mapping[str, _Waits]) -> Iterable[str]:
    graph = {hash: _parents(waits) & ripe.keys() for hash, waits in ripe.items()}
    try:
        return list(TopologicalSorter(graph).static_order())
    except CycleError:  # hashes are not checked where a source lies
        return list(graph)
