"""A monitor that runs: opens what a configuration names, watches, and closes it all again."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from monitor.assets import AssetNames
from monitor.beside import Beside
from monitor.config import Config
from monitor.errors import ConfigError
from monitor.followed import follow
from monitor.ids import iso
from monitor.incidents import Change, Correlator
from monitor.model import Delivery, Outcome
from monitor.own.failures import Failures
from monitor.pipeline import Pipeline
from monitor.prices.make import make_prices
from monitor.prices.refresh import keep_fresh
from monitor.watch import Watch

__all__ = ["Parts", "running"]

log = logging.getLogger("heistwatch")

AILING_SECONDS = 1.0  # how often channels are looked after
OTHERS_SECONDS = 5.0  # after which `deliveries retry` is noticed, however rarely a chain has blocks
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
    from monitor import alerting, app

    await asyncio.to_thread(app.warm_up)
    chains = [chain for chain in config.chains if chain.endpoints]
    if not chains:
        raise ConfigError("no chain has an endpoint: add `chains: [{name: ..., endpoints: [...]}]` to watch it")
    failures = Failures()
    engine = app.make_engine(config, failures.heard)
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
        pipeline.failures = failures
        pipeline.config_path = str(config.path.absolute()) if config.path is not None else ""
        await pipeline.start()
        followed = []
        for chain in chains:
            if not engine.watchlist.watch(chain.chain):
                log.warning("%s: no wallet has an address there, it is not followed", chain.name)
                continue
            followed.append(await follow(config, chain, pipeline, store, stack, open_seconds))
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
    """What watches the health of the channels."""
    from alerts.ailing import Ailing
    from alerts.outbox import destinations

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


async def _ended(task: asyncio.Task[None]) -> None:
    """Stop a task beside the watching."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
