"""Backfill: blocks below the live ones are fetched while the head is followed.

At the first start of a chain that is its past, and the guard rail alone watches; after a long time without an endpoint,
or without the monitor, it is the gap to where it was, and what is found meanwhile is provisional (`monitor.gap`).

Newest first, at a bounded rate, on connections of its own, and into the spool (`monitor.spool`): a monitor that is
killed goes on where it was. When all of it is there, it is folded on another engine (a fresh one, or in the state of
before the gap), and the live blocks since then after it (`monitor.refold`); that state then takes the place of the one
that is running, between two blocks.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from monitor.engine import Engine
from monitor.errors import ChainError, HistoryRefused, ReorgTooDeep, StoreError
from monitor.fetch import Between, Fetch
from monitor.gap import blind, missed, runs, state_at
from monitor.ids import iso
from monitor.marks import Mark, MarkState, spool_prefix
from monitor.model import Block, BlockRef
from monitor.past import Balances, History, Progress, linked
from monitor.pipeline import Pipeline
from monitor.refold import Refold, Walk, is_known
from monitor.spool import Head, Seen, live_prefix, past_key, unpack_blocks, unpack_seen
from monitor.store import Store
from monitor.swap import stored_runs

__all__ = ["Backfill", "abandon"]

log = logging.getLogger("heistwatch.backfill")

LONGEST_PAUSE = 60.0  # seconds, after failures
REFUSALS = 3  # times that history is refused before it is believed
ASKED = 5  # times that balances are asked for
WARM_UP_SECONDS = 7 * 86400


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """A chain between two of its blocks: its tip, what is spooled of live blocks, and the state to begin with."""

    tip: BlockRef
    seen: list[Seen]
    earlier: dict[BlockRef, Seen]
    records: list[tuple[bytes, bytes]]


class Backfill:
    """The backfills of one chain, one after the other.

    Parameters
    ----------
    name : of the chain, for the log
    chain : CAIP-2
    history : makes what gives past blocks; it is closed when they are there
    source : tells balances
    pipeline, store : of the running monitor; written to between blocks only
    fresh : makes an engine without state
    step : blocks of one stretch
    block_seconds : usual time between blocks
    width : stretches that are fetched at once, after the first
    sleep, clock : pause and monotonic seconds, for tests

    Attributes
    ----------
    rejoin : says to whoever follows the chain that the blocks below this one are there from now on; False: it is none
        of the chain's any more
    """

    def __init__(
        self,
        name: str,
        chain: str,
        history: Callable[[], History],
        source: Balances,
        pipeline: Pipeline,
        store: Store,
        fresh: Callable[[], Engine],
        *,
        step: int = 100,
        block_seconds: float = 12.0,
        width: int = 1,
        sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name, self.chain = name, chain
        self._source, self._pipeline, self._store, self._fresh = source, pipeline, store, fresh
        self._fetch = Fetch(
            name, chain, history, pipeline, store, step=step, block_seconds=block_seconds, width=width, clock=clock
        )
        self._sleep = sleep
        self.rejoin: Callable[[BlockRef], bool] = lambda _: True
        self._swapping = False
        self._begun = asyncio.Event()
        self.begin()

    def begin(self) -> None:
        """A live block was connected: there may be something to be the past of."""
        mark = self._pipeline.marks.get(self.chain)
        if mark is not None and mark.is_filling and mark.block >= 0:
            self._begun.set()

    @property
    def progress(self) -> Progress | None:
        """How far it is, None where nothing is missing."""
        return self._fetch.progress

    async def run(self, between: Between[Any]) -> None:
        """For ever. Errors of the store are raised, all else is tried again or said."""
        while True:
            await self._begun.wait()
            try:
                while not await self._round(between):
                    pass
            finally:
                await self._fetch.aclose()
            self._begun.clear()

    async def _round(self, between: Between[Any]) -> bool:
        """One attempt; whether it is over."""
        mark = self._pipeline.marks.get(self.chain)
        if mark is None or not mark.is_filling or mark.block < 0:
            return True  # it is over, or its first block was disconnected; the next one begins anew
        try:
            if mark.low < 0:
                mark = await self._fetch.reach(mark, between)
            if await self._fetch.fetch(mark, between):
                return await self._finish(self._pipeline.marks.get(self.chain) or mark, between)
        except HistoryRefused as error:
            self._fetch.refusals += 1
            if self._fetch.refusals >= REFUSALS:
                return await self._give_up(mark, str(error), between)
            await self._pause(error)
        except ReorgTooDeep:
            raise
        except ChainError as error:
            await self._pause(error)
        except StoreError:
            raise
        except Exception as error:
            if self._swapping:
                raise
            # The guard rail must go on, whatever odd history does.
            log.exception("%s: the backfill failed", self.name)
            return await self._give_up(mark, f"internal error, please report it: {type(error).__name__}", between)
        return False

    async def _pause(self, error: Exception) -> None:
        pause = min(LONGEST_PAUSE, 0.5 * 2.0 ** min(self._fetch.troubles, 16))
        self._fetch.troubles += 1
        log.log(
            logging.WARNING if self._fetch.troubles == 3 else logging.DEBUG,
            "%s: history: %s; trying again in %.0f s", self.name, error, pause,
        )  # fmt: skip
        await self._sleep(pause)

    # -- folding --------------------------------------------------------------------------------------------------

    async def _finish(self, mark: Mark, between: Between[Any]) -> bool:
        """Fold it all, and swap the state in. False: the chain changed meanwhile, look again."""
        found: _Snapshot | None = await between(self.chain, lambda: self._snapshot(mark))
        if found is None:
            await self._sleep(1.0)
            return False
        heads = linked(mark, [head async for head in self._fetch.heads()])[::-1]
        engine = await asyncio.to_thread(self._fresh)  # it may read long lists of labels
        engine.names = self._pipeline.engine.names
        engine.load(found.records)
        walk = Walk(engine)
        for head in heads:
            blocks = await self._blocks(head)
            await asyncio.to_thread(walk.add, blocks)
        await asyncio.to_thread(walk.add, [item.block for item in found.seen])
        wanted = [(wallet, asset) for wallet, asset in walk.wanted if not is_known(engine, wallet, self.chain, asset)]
        opening = walk.before(await self._told(wanted, found.tip))
        gap = mark.state is MarkState.GAP
        refold = Refold(engine, opening, mark.late, found.earlier, retell=not gap)
        for head in heads:
            await asyncio.to_thread(refold.past, await self._blocks(head))
        await asyncio.to_thread(refold.follow, found.seen)
        done: bool = await between(self.chain, lambda: self._swap(mark, refold, found.tip, heads))
        if not done:
            await self._sleep(1.0)
        return done

    async def _snapshot(self, mark: Mark) -> _Snapshot | None:
        """Between two blocks: what is to be folded, and on what; None: the chain changed meanwhile."""
        now, tip = self._pipeline.marks.get(self.chain), self._pipeline.tips.get(self.chain)
        if now is None or tip is None or not mark.is_same(now):
            return None
        earlier, seen = await self._live(mark)
        records: list[tuple[bytes, bytes]] = []
        if mark.state is MarkState.GAP:
            undone = await stored_runs(self._store, self.chain, runs(mark, tip))
            records = state_at(self._pipeline.engine, self.chain, [record.undo for record in undone])
        return _Snapshot(tip, seen, {item.block.ref: item for item in earlier}, records)

    async def _live(self, mark: Mark) -> tuple[list[Seen], list[Seen]]:
        """The live blocks spooled so far: those of before others were left out, and those since."""
        seen = [unpack_seen(value) async for _, value in self._store.state(live_prefix(self.chain))]
        earlier = [item for item in seen if item.block.ref.number < mark.block]
        return earlier, seen[len(earlier) :]

    async def _blocks(self, head: Head) -> tuple[Block, ...]:
        found = [value async for _, value in self._store.state(past_key(self.chain, head.first))]
        if not found:
            raise StoreError(f"history of {self.chain} from block {head.first} has gone from the store")
        return await asyncio.to_thread(unpack_blocks, found[0])

    async def _told(self, wanted: Sequence[tuple[str, str]], at: BlockRef) -> dict[tuple[str, str], int]:
        """Balances of (wallet, asset) after a block, as far as the chain tells them."""
        watchlist = self._pipeline.engine.watchlist
        asked = {
            (wallet, asset): watchlist.addresses(wallet, self.chain)
            for wallet, asset in wanted
            if not watchlist.has_long_list(wallet, self.chain)
        }
        questions = [(address, asset) for (_, asset), addresses in asked.items() for address in addresses]
        answers: dict[tuple[str, str], int] = {}
        for attempt in range(ASKED):
            try:
                told = await self._source.balances([item for item in questions if item not in answers], at)
            except ReorgTooDeep:
                raise
            except ChainError as error:
                log.debug("%s: balances at block %d were not told: %s", self.name, at.number, error)
                told = {}
            answers.update((item, value) for item, value in told.items() if value is not None)
            if len(answers) == len(dict.fromkeys(questions)):
                break
            await self._sleep(0.5 * 2**attempt)
        return {
            key: sum(answers[address, key[1]] for address in addresses)
            for key, addresses in asked.items()
            if addresses and all((address, key[1]) in answers for address in addresses)
        }

    async def _swap(self, mark: Mark, refold: Refold, tip: BlockRef, heads: Sequence[Head]) -> bool:
        """Between two blocks: take the last live blocks in, and put the state in its place."""
        now, at = self._pipeline.marks.get(self.chain), self._pipeline.tips.get(self.chain)
        if now is None or not mark.is_same(now) or at is None:
            return False
        stored = await self._store.block(self.chain, tip.number)
        if at.number < tip.number or (stored is not None and stored.ref != tip):
            return False  # the balances were those of a block that is no more
        if self._pipeline.is_doubtful(self.chain):
            return False  # in the middle of a rewrite: it settles within seconds
        first = await self._store.block(self.chain, mark.block)
        if first is None:
            return False
        if mark.state is MarkState.GAP and not self.rejoin(first.ref):
            return False  # it is being rewritten
        refold.follow((await self._live(mark))[1])
        after = now.before if mark.state is MarkState.GAP else msgspec.structs.replace(
            now, state=MarkState.BACKFILLED, since=heads[0].start if heads else now.time,
            low=heads[0].first if heads else now.block, note=mark.note, would_have=refold.would_have,
            below=None, late=-1,
        )  # fmt: skip
        gone = [key async for key, _ in self._store.state(spool_prefix(self.chain))]
        self._swapping = True  # half done, nothing but the store can say what holds
        await self._pipeline.swap(self.chain, refold, after, gone, heads)
        self._swapping = False
        if mark.state is MarkState.GAP:
            log.info(
                "%s: the gap of blocks %d to %d is filled%s: nothing is provisional any more",
                self.name, mark.low, mark.block - 1, f" ({mark.note})" if mark.note else "",
            )  # fmt: skip
        elif after is not None:
            self._say_done(after)
        return True

    def _say_done(self, mark: Mark) -> None:
        days = (mark.time - mark.since) / 86400
        log.info(
            "%s: %.1f days of history before block %d are learned%s; history holds %d outflow%s that would have raised "
            "an alarm",
            self.name, days, mark.block, f" ({mark.note})" if mark.note else "", mark.would_have,
            "" if mark.would_have == 1 else "s",
        )  # fmt: skip

    async def _give_up(self, mark: Mark, why: str, between: Between[Any]) -> bool:
        """No (more) history: use what is there, else go on without."""
        kept = [] if why.startswith("internal") else linked(mark, [head async for head in self._fetch.heads()])
        if kept and mark.low < kept[-1].first:
            note = f"no endpoint gives blocks before {kept[-1].first}"
            if mark.state is MarkState.GAP:
                await self._miss(mark, kept[-1].first - 1, why, between)
            await self._fetch.keep(msgspec.structs.replace(mark, low=kept[-1].first, note=note), {}, between)
            self._fetch.refusals = 0
            return False
        if mark.state is MarkState.GAP:
            await self._miss(mark, mark.block - 1, why, between)
        await between(self.chain, lambda: abandon(self._pipeline, self._store, self.chain, why))
        if mark.state is MarkState.BACKFILLING:
            log.warning(
                "%s: no history can be had (%s): the guard rail alone watches until %s",
                self.name, why, iso(mark.time + WARM_UP_SECONDS),
            )  # fmt: skip
        return True

    async def _miss(self, mark: Mark, last: int, why: str, between: Between[Any]) -> None:
        """Say that blocks stay unread."""
        what = f"{self.name}: blocks {mark.low} to {last} were not read"
        log.error("%s, and will not be: %s", what, why)
        told = blind(
            self.chain, what,
            f"They passed while the monitor was not running or had no endpoint, and cannot be had any more: {why}. "
            "Nobody looked at them: check what the wallets did in them. Newer blocks are watched.",
        )  # fmt: skip
        await between(self.chain, lambda: self._pipeline.alert(self.chain, told))


async def abandon(pipeline: Pipeline, store: Store, chain: str, why: str) -> None:
    """End a backfill without its blocks: the chain goes on as it is. Between two blocks, or before the first."""
    mark = pipeline.marks.get(chain)
    if mark is None or not mark.is_filling:
        return
    gone = tuple([(key, None) async for key, _ in store.state(spool_prefix(chain))])
    gap = mark.state is MarkState.GAP
    after = missed(mark) if gap else msgspec.structs.replace(mark, state=MarkState.REFUSED, note=why)
    await pipeline.keep(chain, gone, after)
