"""One chain of a running monitor: reached, and followed from where it stopped. A part of the composition root."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

from monitor.assets import AssetNames
from monitor.backfill import Backfill, abandon
from monitor.config import ChainConfig, Config
from monitor.errors import ChainUnavailable
from monitor.marks import Mark, MarkState
from monitor.model import BlockRef
from monitor.naming import Naming
from monitor.networks import by_name
from monitor.pipeline import Pipeline
from monitor.registry import HISTORIES
from monitor.watch import SETTLE_SECONDS, Followed

__all__ = ["backfill_of", "begin", "follow"]

log = logging.getLogger("heistwatch")

CATCH_UP_BLOCKS = 256  # after the end of a calibration's history that are read, not left out
FETCHED_AT_ONCE = 4  # stretches of past blocks; the rate bounds them together


async def follow(
    config: Config, chain: ChainConfig, pipeline: Pipeline, store: Any, stack: AsyncExitStack, open_seconds: float
) -> Followed:
    """Open a chain's source and what belongs to it; ``stack`` closes them.

    Raises
    ------
    ChainError : an endpoint serves another chain, or none of a chain that is new answers within ``open_seconds``
    """
    from chains.follow import Follower
    from monitor import app

    source = app.make_chain(config, chain, pipeline.keepsakes.get(chain.chain))
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
    backfill = await backfill_of(config, chain, tip, pipeline, store, source)
    tip, start = await begin(chain, tip, pipeline.marks.get(chain.chain), source)
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
    return Followed(
        chain.name, chain.chain, chain.network.asset, source, follower,
        replay=chain.replay, block_seconds=chain.network.block_seconds,
        settle_seconds=_settle_seconds(chain), backfill=backfill,
        final_height=getattr(source, "final_height", None), naming=_naming(pipeline.engine.names, source),
        mempool=_mempool(config, chain, stack), blind_after=chain.blind_after,
    )  # fmt: skip


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


async def backfill_of(
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
        lambda: app.make_engine(config, pipeline.failures.heard), step=step,
        block_seconds=chain.network.block_seconds, width=FETCHED_AT_ONCE,
    )  # fmt: skip


async def begin(
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
