"""Backfill: at the first start of a chain its past is fetched, while the head is followed with the guard rail alone.

Newest first, at a bounded rate, on connections of its own, and into the spool (`monitor.spool`): a monitor that is
killed goes on where it was. When all of it is there, it is folded on a fresh engine, and the live blocks since the
start after it (`monitor.refold`); that state then takes the place of the one that was learning, between two blocks.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from monitor.engine import Engine
from monitor.errors import ChainError, ChainInconsistent, HistoryRefused, ReorgTooDeep, StoreError
from monitor.ids import iso
from monitor.marks import Mark, MarkState, spool_prefix
from monitor.model import Block, BlockRef
from monitor.past import Balances, History, Progress, head_of, linked
from monitor.pipeline import Pipeline
from monitor.refold import Refold, Walk
from monitor.spool import (
    Head,
    Seen,
    live_prefix,
    pack_stretch,
    past_key,
    past_prefix,
    unpack_blocks,
    unpack_head,
    unpack_seen,
)
from monitor.store import CoverageRange, Store

__all__ = ["Backfill", "abandon"]

log = logging.getLogger("heistwatch.backfill")
T = TypeVar("T")

SAID_SECONDS = 60.0  # between two lines in the log
LONGEST_PAUSE = 60.0  # seconds, after failures
REFUSALS = 3  # times that history is refused before it is believed
ASKED = 5  # times that balances are asked for
WARM_UP_SECONDS = 7 * 86400


Between = Callable[[str, Callable[[], Awaitable[T]]], Awaitable[T]]
"""Does something on a chain between two of its blocks, all of which are stored by then."""


class Backfill:
    """The backfill of one chain.

    Parameters
    ----------
    name : of the chain, for the log
    chain : CAIP-2
    history : gives past blocks
    source : tells balances
    pipeline, store : of the running monitor; written to between blocks only
    fresh : makes an engine without state
    step : blocks of one stretch
    block_seconds : usual time between blocks
    sleep, clock : pause and monotonic seconds, for tests
    """

    def __init__(
        self,
        name: str,
        chain: str,
        history: History,
        source: Balances,
        pipeline: Pipeline,
        store: Store,
        fresh: Callable[[], Engine],
        *,
        step: int = 100,
        block_seconds: float = 12.0,
        sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name, self.chain = name, chain
        self._history, self._source, self._pipeline, self._store = history, source, pipeline, store
        self._fresh, self._step, self._block_seconds = fresh, max(1, step), block_seconds
        self._sleep, self._clock = sleep, clock
        self._swapping = False
        self._begun = asyncio.Event()
        if chain in pipeline.marks:
            self._begun.set()
        self._failures = self._refusals = self._misfits = 0
        self._started: tuple[float, int] | None = None  # when, and at how many blocks done
        self._said_at = clock() - SAID_SECONDS

    def begin(self) -> None:
        """A live block was connected: there is something to be the past of."""
        self._begun.set()

    @property
    def progress(self) -> Progress | None:
        """How far it is, None where it is over."""
        mark = self._pipeline.marks.get(self.chain)
        if mark is None or mark.state is not MarkState.BACKFILLING:
            return None if mark is not None else Progress(0, 0)
        left = None
        if self._started is not None and mark.done > self._started[1]:
            rate = (mark.done - self._started[1]) / max(1e-9, self._clock() - self._started[0])
            left = (mark.total - mark.done) / rate
        return Progress(mark.done, mark.total, left)

    async def run(self, between: Between[Any]) -> None:
        """Until the history is in, or was refused. Errors of the store are raised, all else is tried again or said."""
        try:
            while not await self._round(between):
                pass
        finally:
            await self._history.aclose()

    async def _round(self, between: Between[Any]) -> bool:
        """One attempt; whether it is over."""
        await self._begun.wait()
        mark = self._pipeline.marks.get(self.chain)
        if mark is None:  # its first block was disconnected; the next one begins anew
            self._begun.clear()
            return False
        if mark.state is not MarkState.BACKFILLING:
            return True
        try:
            if mark.low < 0:
                mark = await self._reach(mark, between)
            if await self._fetch(mark, between):
                return await self._finish(mark, between)
        except HistoryRefused as error:
            self._refusals += 1
            if self._refusals >= REFUSALS:
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
        pause = min(LONGEST_PAUSE, 0.5 * 2.0 ** min(self._failures, 16))
        self._failures += 1
        log.log(
            logging.WARNING if self._failures == 3 else logging.DEBUG,
            "%s: history: %s; trying again in %.0f s", self.name, error, pause,
        )  # fmt: skip
        await self._sleep(pause)

    # -- fetching -------------------------------------------------------------------------------------------------

    async def _reach(self, mark: Mark, between: Between[Any]) -> Mark:
        """Find the first block of history: the lowest that is young enough, and that an endpoint still gives."""
        refused = ""

        async def is_old(number: int) -> bool:
            nonlocal refused
            try:
                return await self._history.time_of(number) < mark.since
            except HistoryRefused as error:
                refused = str(error)
                return True

        guess = max(1, int((mark.time - mark.since) / self._block_seconds))
        old, young = mark.block - guess, mark.block
        while old > 0 and not await is_old(old):
            young, guess = old, guess * 2
            old = mark.block - guess
        old = old if old > 0 else -1
        while young - old > 1:
            middle = (old + young) // 2
            if await is_old(middle):
                old = middle
            else:
                young = middle
        if young == mark.block and refused:
            raise HistoryRefused(refused)
        note = f"no endpoint gives blocks before {young}" if refused else ""
        return await self._keep(msgspec.structs.replace(mark, low=young, note=note), {}, between)

    async def _keep(self, mark: Mark, records: Mapping[bytes, bytes | None], between: Between[Any]) -> Mark:
        """Store a mark and records, unless the first live block changed meanwhile."""

        async def keep() -> bool:
            now = self._pipeline.marks.get(self.chain)
            if now is None or (now.block, now.parent, now.state) != (mark.block, mark.parent, mark.state):
                return False
            await self._pipeline.keep(self.chain, tuple(sorted(records.items())), mark)
            return True

        if not await between(self.chain, keep):
            raise ChainInconsistent("the first live block was rewritten")
        return mark

    async def _fetch(self, mark: Mark, between: Between[Any]) -> bool:
        """Fetch what is missing, newest first. True: it is all there."""
        heads = {head.first: head async for head in self._heads()}
        while True:
            kept = linked(mark, heads.values())
            top = kept[-1].first if kept else mark.block
            if self._started is None:
                self._started = (self._clock(), mark.block - top)
            if top <= mark.low:
                return True
            expected = kept[-1].parent_hash if kept else mark.parent
            below = max((head.last + 1 for head in heads.values() if head.last < top - 1), default=0)
            start = max(mark.low, top - self._step, below)
            stretch = await self._history.history(start, top)
            if stretch.last.hash != expected:
                self._misfits += 1
                if kept and self._misfits > 1:
                    heads.pop(kept[-1].first)  # it may be of the other branch: read it again
                raise ChainInconsistent(f"block {top - 1} is no parent of block {top}")
            self._failures = self._misfits = self._refusals = 0
            head = head_of(stretch)
            gone = [old for old in heads.values() if old.last >= start and old.first < top]
            records: dict[bytes, bytes | None] = {past_key(self.chain, old.first): None for old in gone}
            records[past_key(self.chain, start)] = pack_stretch(head, stretch.blocks)
            done = mark.block - start
            mark = await self._keep(msgspec.structs.replace(mark, done=done), records, between)
            heads = {first: old for first, old in heads.items() if old not in gone} | {start: head}
            self._say()

    async def _heads(self) -> Any:
        async for _, value in self._store.state(past_prefix(self.chain)):
            yield unpack_head(value)

    def _say(self) -> None:
        """A line in the log, once a minute."""
        if self._clock() - self._said_at >= SAID_SECONDS and (progress := self.progress) is not None:
            self._said_at = self._clock()
            log.info(
                "%s: learning from history: %s of %s blocks, %s; the guard rail alone watches until then",
                self.name, f"{progress.done:,}", f"{progress.total:,}", progress,
            )  # fmt: skip

    # -- folding --------------------------------------------------------------------------------------------------

    async def _finish(self, mark: Mark, between: Between[Any]) -> bool:
        """Fold it all, and swap the state in. False: the chain changed meanwhile, look again."""
        tip, seen = await between(self.chain, self._live)
        if tip is None:
            return False
        heads = linked(mark, [head async for head in self._heads()])[::-1]
        walk = Walk(self._pipeline.engine)
        for head in heads:
            blocks = await self._blocks(head)
            await asyncio.to_thread(walk.add, blocks)
        await asyncio.to_thread(walk.add, [item.block for item in seen])
        opening = walk.before(await self._told(walk.wanted, tip))
        engine = await asyncio.to_thread(self._fresh)  # it may read long lists of labels
        engine.names = self._pipeline.engine.names
        refold = Refold(engine, opening)
        for head in heads:
            await asyncio.to_thread(refold.past, await self._blocks(head))
        await asyncio.to_thread(refold.follow, seen)
        done: bool = await between(self.chain, lambda: self._swap(mark, refold, tip, heads))
        if not done:
            await self._sleep(1.0)
        return done

    async def _live(self) -> tuple[BlockRef | None, list[Seen]]:
        """The tip, and the live blocks spooled so far."""
        seen = [unpack_seen(value) async for _, value in self._store.state(live_prefix(self.chain))]
        return self._pipeline.tips.get(self.chain), seen

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
        if now is None or (now.block, now.parent) != (mark.block, mark.parent) or at is None:
            return False
        stored = await self._store.block(self.chain, tip.number)
        if at.number < tip.number or (stored is not None and stored.ref != tip):
            return False  # the balances were those of a block that is no more
        if self._pipeline.is_doubtful(self.chain):
            return False  # in the middle of a rewrite: it settles within seconds
        refold.follow((await self._live())[1])
        after = msgspec.structs.replace(
            now, state=MarkState.BACKFILLED, since=heads[0].start if heads else now.time,
            low=heads[0].first if heads else now.block, note=mark.note, would_have=refold.would_have,
        )  # fmt: skip
        gone = [key async for key, _ in self._store.state(spool_prefix(self.chain))]
        past = [
            CoverageRange(self.chain, head.first, head.last, head.source, head.blind_spots) for head in heads
        ]
        self._swapping = True  # half done, nothing but the store can say what holds
        await self._pipeline.swap(self.chain, refold, after, gone, past)
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
        """No (more) history: use what is there, else learn as it goes."""
        kept = [] if why.startswith("internal") else linked(mark, [head async for head in self._heads()])
        if kept and mark.low < kept[-1].first:
            note = f"no endpoint gives blocks before {kept[-1].first}"
            await self._keep(msgspec.structs.replace(mark, low=kept[-1].first, note=note), {}, between)
            self._refusals = 0
            return False
        await between(self.chain, lambda: abandon(self._pipeline, self._store, self.chain, why))
        log.warning(
            "%s: no history can be had (%s): the guard rail alone watches until %s",
            self.name, why, iso(mark.time + WARM_UP_SECONDS),
        )  # fmt: skip
        return True


async def abandon(pipeline: Pipeline, store: Store, chain: str, why: str) -> None:
    """End a backfill without its history: the chain learns as it goes. Between two blocks, or before the first."""
    mark = pipeline.marks.get(chain)
    if mark is None or mark.state is not MarkState.BACKFILLING:
        return
    gone = tuple([(key, None) async for key, _ in store.state(spool_prefix(chain))])
    await pipeline.keep(chain, gone, msgspec.structs.replace(mark, state=MarkState.REFUSED, note=why))
