"""A monitor that runs: opens what a configuration names, watches, and closes it all again."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from monitor.assets import AssetNames
from monitor.backfill import Backfill, abandon
from monitor.beside import Beside
from monitor.config import ChainConfig, Config
from monitor.errors import ChainUnavailable, ConfigError
from monitor.ids import iso
from monitor.incidents import Change, Correlator
from monitor.marks import Mark, MarkState
from monitor.model import BlockRef, Delivery, Outcome
from monitor.naming import Naming
from monitor.networks import by_name
from monitor.pipeline import Pipeline
from monitor.prices.make import make_prices
from monitor.prices.refresh import keep_fresh
from monitor.registry import HISTORIES
from monitor.watch import SETTLE_SECONDS, Followed, Watch

__all__ = ["Parts", "running"]

log = logging.getLogger("heistwatch")

CATCH_UP_BLOCKS = 256  # after the end of a calibration's history that are read, not left out
AILING_SECONDS = 1.0  # how often channels are looked after
OTHERS_SECONDS = 5.0  # after which `deliveries retry` is noticed, however rarely a chain has blocks
FETCHED_AT_ONCE = 4  # stretches of past blocks; the rate bounds them together
OPEN_SECONDS = 10.0  # how long a chain that does not answer is tried at the start


class Parts:
    """What a running monitor consists of."""

    def __init__(self, watch: Watch, pipeline: Pipeline, store: Any, dispatcher: Any, names: AssetNames) -> None:
        self.watch = watch
        self.pipeline = pipeline
        self.store = store
        self.dispatcher = dispatcher
        self.names = names
        self.started_at = time.time()
        self.started_monotonic = time.monotonic()
        self.delivered: dict[tuple[str, str], int] = {}  # attempts by (channel type, outcome)
        self.last_delivery: str | None = None
        self.desk: Any = None  # decides who is told what, when
        self.links: Any = None  # makes and reads the links in messages
        self.channels: Any = None  # by receiver
        self.ailing: Any = None  # health of the channels
        self.beside: Any = None  # what runs beside the watching, see `monitor.beside`

    def count(self, delivery: Delivery) -> None:
        """Note an attempt."""
        key = (delivery.channel.partition(":")[2] or delivery.channel, str(delivery.outcome))
        self.delivered[key] = self.delivered.get(key, 0) + 1
        if delivery.outcome is Outcome.ACCEPTED:
            self.last_delivery = iso(delivery.at)


@asynccontextmanager
async def running(
    config: Config,
    *,
    on_change: Callable[[Change], None] | None = None,
    on_delivery: Callable[[Delivery], None] | None = None,
    open_seconds: float = OPEN_SECONDS,
) -> AsyncIterator[Parts]:
    """Open store, channels and chains of a configuration; the caller runs `Parts.watch`.

    Raises
    ------
    ConfigError : nothing to follow, or a channel or route is wrong
    ChainError : an endpoint serves another chain, or none of a new chain answers within ``open_seconds``
    StoreError : the store cannot be opened, or another monitor runs on it
    """
    from alerts.dispatch import Dispatcher
    from chains.follow import Follower
    from monitor import alerting, app

    await asyncio.to_thread(app.warm_up)
    chains = [chain for chain in config.chains if chain.endpoints]
    if not chains:
        raise ConfigError("no chain has an endpoint: add `chains: [{name: ..., endpoints: [...]}]` to watch it")
    engine = app.make_engine(config)
    names = app.asset_names(config)
    channels = alerting.make_channels(config)
    links = alerting.make_links(config)
    async with AsyncExitStack() as stack:
        for group in channels.values():
            for channel in group:
                stack.push_async_callback(channel.aclose)
        store = app.make_store(config)
        await store.open()
        stack.push_async_callback(store.aclose)
        if hasattr(store, "acquire"):
            await store.acquire()
        desk = alerting.make_desk(config, channels, store, links)
        await desk.load()
        finality = {chain.chain: chain.finality_depth for chain in chains}
        pipeline = Pipeline(engine, Correlator(), store, names, desk, time.time, finality)
        pipeline.config_path = str(config.path.absolute()) if config.path is not None else ""
        await pipeline.start()
        followed = []
        for chain in chains:
            if not engine.watchlist.watch(chain.chain):
                log.warning("%s: no wallet has an address there, it is not followed", chain.name)
                continue
            source = app.make_chain(config, chain)
            stack.push_async_callback(source.aclose)
            tip = await store.checkpoint(chain.chain)
            try:
                await _open(source, chain, open_seconds)
                if hasattr(source, "final_height") and (height := await source.final_height()) is not None:
                    pipeline.final_heights[chain.chain] = height
            except ChainUnavailable as error:
                if tip is None:
                    raise
                # It was followed before: other chains must not wait for it, and people must hear that it is blind.
                log.error("%s; it goes on where it stopped as soon as an endpoint answers", error)
            base = await _base(store, pipeline.marks.get(chain.chain), chain.chain)
            backfill = await _backfill(config, chain, tip, pipeline, store, source)
            tip, start = await _begin(chain, tip, pipeline.marks.get(chain.chain), source)
            pipeline.tips[chain.chain] = tip
            gap_seconds = None if chain.replay or backfill is None else chain.catch_up_seconds
            mark = pipeline.marks.get(chain.chain)
            follower = Follower(
                source, tip=tip, ancestor=_ancestor(store, chain.chain), start=start, base=base,
                least=mark.below.number + 2 if mark is not None and mark.below is not None else 0,
                can_undo=_can_undo(store, chain.chain), gap_seconds=gap_seconds,
            )  # fmt: skip
            if backfill is not None:
                backfill.rejoin = follower.rejoin
            followed.append(
                Followed(
                    chain.name, chain.chain, chain.network.asset, source, follower,
                    replay=chain.replay, block_seconds=chain.network.block_seconds,
                    settle_seconds=_settle_seconds(chain), backfill=backfill,
                    final_height=getattr(source, "final_height", None), naming=_naming(names, source),
                    mempool=_mempool(config, chain, stack), blind_after=chain.blind_after,
                )
            )  # fmt: skip
        book, prices = make_prices(config, names, {item.chain: item.source for item in followed})
        pipeline.appraise = book.appraise if book is not None else None
        if book is not None and prices is not None:
            stack.push_async_callback(_ended, asyncio.create_task(keep_fresh(prices, book, config.prices.every)))
        if not followed:
            raise ConfigError("no chain is followed: no wallet has an address on a chain with an endpoint")
        ailing = await _ailing(store, channels, desk)
        observers: list[Callable[[Delivery], None]] = [ailing.heard]
        dispatcher = Dispatcher(store, channels, on_delivery=lambda delivery: _tell(observers, delivery))
        await dispatcher.settle_orphans(lambda rows: desk.take_over(rows, time.time()))
        watch = Watch(followed, pipeline, dispatcher, on_change, prune=store.prune)
        parts = Parts(watch, pipeline, store, dispatcher, names)
        parts.desk, parts.links, parts.channels, parts.ailing = desk, links, channels, ailing
        observers += [parts.count, *([on_delivery] if on_delivery is not None else [])]
        parts.beside = Beside(config, parts)
        watch.beside += [parts.beside.run, lambda: _look_after(ailing, dispatcher)]
        yield parts


async def _ailing(store: Any, channels: Any, desk: Any) -> Any:
    """What watches the health of the channels; those that keep something of their own get the store."""
    from alerts.ailing import Ailing
    from alerts.outbox import destinations

    for group in channels.values():
        for channel in group:
            if hasattr(channel, "attach"):
                channel.attach(store)
    ailing = Ailing(store, destinations(channels), desk.rows_now)
    await ailing.load()
    return ailing


async def _look_after(ailing: Any, dispatcher: Any) -> None:
    """Every second, tell of channels that do not deliver, and of those that do again; look for what others queued."""
    woken = time.monotonic()
    while True:
        await asyncio.sleep(AILING_SECONDS)
        if await ailing.tick(time.time()) or time.monotonic() >= woken + OTHERS_SECONDS:
            dispatcher.wake()
            woken = time.monotonic()


def _tell(observers: Sequence[Callable[[Delivery], None]], delivery: Delivery) -> None:
    for observer in observers:
        observer(delivery)


def _mempool(config: Config, chain: ChainConfig, stack: AsyncExitStack) -> Any:
    """What tells what waits to be mined on a chain; None where that is off, or not offered."""
    from monitor import app

    mempool = app.make_mempool(config, chain)
    if mempool is not None:
        stack.push_async_callback(mempool.aclose)
    return mempool


def _naming(names: AssetNames, source: Any) -> Naming | None:
    """What learns the names of a chain's tokens; None where its family gives none."""
    describe = getattr(source, "describe", None)
    return Naming(names, describe) if describe is not None else None


async def _ended(task: asyncio.Task[None]) -> None:
    """Stop a task beside the watching."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _open(source: Any, chain: ChainConfig, seconds: float) -> None:
    """Connect; an endpoint that is down is tried again for a while, a wrong one is not."""
    until = time.monotonic() + seconds
    said = ""
    while True:
        try:
            await source.open()
            return
        except ChainUnavailable as error:
            if time.monotonic() >= until:
                raise ChainUnavailable(f"{chain.name}: {error}") from None
            if str(error) != said:
                log.warning("%s: %s; trying again for %.0f s", chain.name, error, until - time.monotonic())
            said = str(error)
            await asyncio.sleep(0.5)


async def _backfill(
    config: Config, chain: ChainConfig, tip: BlockRef | None, pipeline: Pipeline, store: Any, source: Any
) -> Backfill | None:
    """What fetches a chain's history at its first start, and later what passed while nobody looked."""
    from monitor import app

    mark = pipeline.marks.get(chain.chain)
    learns = mark.state is MarkState.BACKFILLING if mark is not None else tip is None
    gives = chain.kind in HISTORIES
    if not gives or (learns and not chain.backfill):
        await abandon(pipeline, store, chain.chain, "backfill is off" if gives else "its family gives no past blocks")
    elif learns:
        pipeline.backfills[chain.chain] = chain.backfill
    if not gives:
        return None
    step = min(1000, max(20, int(4 * chain.backfill_rate)))  # so that a kill costs seconds
    return Backfill(
        chain.name, chain.chain, lambda: app.make_history(config, chain), source, pipeline, store,
        lambda: app.make_engine(config), step=step, block_seconds=chain.network.block_seconds, width=FETCHED_AT_ONCE,
    )  # fmt: skip


async def _begin(
    chain: ChainConfig, tip: BlockRef | None, mark: Mark | None, source: Any
) -> tuple[BlockRef | None, int | None]:
    """(tip, first block where there is none) to follow from.

    After a calibration that is above the history, and above what was followed before: that cannot be undone any more.
    Where nothing was followed before it is the head, unless what is missing up to there can be read at once.
    """
    if mark is not None and mark.is_filling and mark.block < 0:
        return None, None  # blocks above the tip were left out: on at the head
    if mark is None or mark.state is not MarkState.CALIBRATED or mark.started:
        return tip, chain.start
    after = mark.block + 1
    if tip is not None:
        return None, max(after, tip.number + 1)
    if chain.start is not None:
        if chain.start < after:
            log.warning("%s: start %d lies in the history that it was calibrated with", chain.name, chain.start)
        return None, max(after, chain.start)
    head = (await source.head()).number
    return None, after if head - after < CATCH_UP_BLOCKS else max(after, head)


def _settle_seconds(chain: ChainConfig) -> float:
    """How long to wait, after a reorg, for the block after next; a private chain may have none for hours."""
    if by_name(chain.network.name) is None:
        return SETTLE_SECONDS
    return max(SETTLE_SECONDS, 1.5 * chain.network.block_seconds)


async def _base(store: Any, mark: Mark | None, chain: str) -> BlockRef | None:
    """The stored block below which blocks are still being fetched."""
    record = await store.block(chain, mark.block) if mark is not None and mark.is_filling and mark.block >= 0 else None
    return record.ref if record is not None else None


def _can_undo(store: Any, chain: str) -> Callable[[int], Any]:
    async def can_undo(number: int) -> bool:
        record = await store.block(chain, number)
        return record is None or bool(record.undo)  # not there: it is on its way into the store

    return can_undo


def _ancestor(store: Any, chain: str) -> Callable[[int], Any]:
    async def ancestor(number: int) -> Any:
        record = await store.block(chain, number)
        return record.ref if record is not None else None

    return ancestor
