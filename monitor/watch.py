"""Watching: chain events of all followed chains through one consumer into the pipeline, alerts out of the outbox.

Chains, channels and the store are handed in; `monitor.app` builds them.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from monitor.backfill import Backfill
from monitor.errors import ChainError, ReorgTooDeep
from monitor.ids import iso
from monitor.incidents import Change
from monitor.marks import MarkState
from monitor.mempool import as_block
from monitor.model import Block, BlockRef, Direction, Severity
from monitor.naming import Naming
from monitor.pipeline import Pipeline
from monitor.told import brought, corrections

__all__ = ["Followed", "Watch"]

log = logging.getLogger("heistwatch.watch")

QUEUE = 256  # events between the followers and the consumer; when it is full, followers wait
BATCH = 64  # events folded into one commit while catching up
SETTLE_SECONDS = 4.0  # after a reorg without further blocks, what the new branch lacks did not happen
PRUNE_SECONDS = 86400.0  # how often old flows are forgotten
ATTEND_SECONDS = 1.0  # how often the desk is asked what is due


@dataclass(slots=True)
class _Job:
    """Something to be done between two blocks of a chain, and what came of it."""

    work: Callable[[], Awaitable[Any]]
    done: asyncio.Future[Any]

    async def do(self) -> None:
        try:
            result = await self.work()
        except Exception as error:
            if not self.done.cancelled():
                self.done.set_exception(error)
        else:
            if not self.done.cancelled():
                self.done.set_result(result)


class _Chain(Protocol):
    """What is asked of a chain beside its events."""

    async def balances(
        self, wanted: Sequence[tuple[str, str]], at: BlockRef
    ) -> Mapping[tuple[str, str], int | None]: ...


class _Mempool(Protocol):
    dropped: int

    def pending(self, known: Mapping[str, tuple[str, int]]) -> AsyncIterator[Sequence[Any]]: ...


class _Follower(Protocol):
    tip: BlockRef | None
    head: BlockRef | None
    head_seen_at: float | None
    last_error: str | None

    @property
    def lag(self) -> int: ...

    def events(self) -> AsyncIterator[Any]: ...


class _Dispatcher(Protocol):
    def wake(self) -> None: ...

    async def run(self) -> None: ...


@dataclass(slots=True)
class Followed:
    """One followed chain. ``native`` is the CAIP-19 of its own coin."""

    name: str
    chain: str
    native: str
    source: _Chain
    follower: _Follower
    replay: bool = False
    block_seconds: float = 12.0  # usual time between blocks
    blind_after: float | None = None  # seconds without a new head after which it is blind, where the owner says so
    settle_seconds: float = SETTLE_SECONDS
    backfill: Backfill | None = None  # where its family gives past blocks
    block_time: int | None = None  # time of the last connected block, UTC seconds
    stored_time: int | None = None  # the same of the last stored one; its alerts are queued by then
    blocks: int = 0
    undecoded: int = 0
    final_height: Callable[[], Awaitable[int | None]] | None = None  # where nodes say what is final
    naming: Naming | None = None  # where its tokens can be asked for their names
    mempool: _Mempool | None = None  # where what waits to be mined is watched
    ask_again: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    """(wallet, asset) whose balance was not told: (block count from which to ask again, pause in blocks)."""
    behind: bool = False  # the last block that was handed over was below the head


class Watch:
    """The running monitor.

    Parameters
    ----------
    followed : chains, already open
    pipeline : started
    dispatcher : delivers what the pipeline queues
    on_change : told of every incident change that was stored
    prune : forgets old flows, given the wall clock
    """

    def __init__(
        self,
        followed: Sequence[Followed],
        pipeline: Pipeline,
        dispatcher: _Dispatcher,
        on_change: Callable[[Change], None] | None = None,
        prune: Callable[[float], Awaitable[int]] | None = None,
    ) -> None:
        self.followed = {item.chain: item for item in followed}
        self._pipeline = pipeline
        self._dispatcher = dispatcher
        self._on_change = on_change
        self._prune = prune
        self._queue: asyncio.Queue[tuple[str, Any]] = asyncio.Queue(QUEUE)
        self._last_event = dict.fromkeys(self.followed, time.monotonic())
        self.beside: list[Callable[[], Coroutine[Any, Any, None]]] = []  # what else runs as long as this does
        self.busy_since: float | None = None  # monotonic: when the consumer began with what it does; None: it waits

    @property
    def waiting(self) -> int:
        """Events between the followers and the consumer."""
        return self._queue.qsize()

    async def run(self) -> None:
        """Until cancelled; any error of the store or the engine ends it (crash only)."""
        async with asyncio.TaskGroup() as group:
            for item in self.followed.values():
                group.create_task(self._follow(item), name=f"follow {item.name}")
                if item.mempool is not None:
                    group.create_task(self._foresee(item, item.mempool), name=f"mempool {item.name}")
                if item.backfill is not None:
                    group.create_task(item.backfill.run(self.between_blocks), name=f"backfill {item.name}")
            group.create_task(self._consume(), name="consume")
            group.create_task(self._tick(), name="tick")
            group.create_task(self._forget(), name="forget")
            group.create_task(self._attend(), name="attend")
            group.create_task(self._dispatcher.run(), name="dispatch")
            for work in self.beside:
                group.create_task(work(), name="beside")

    async def between_blocks(self, chain: str, work: Callable[[], Awaitable[Any]]) -> Any:
        """Do something between two blocks of a chain, when those before it are stored; what it gives, or raises."""
        job = _Job(work, asyncio.get_running_loop().create_future())
        await self._queue.put((chain, job))
        return await job.done

    async def _follow(self, item: Followed) -> None:
        async for event in item.follower.events():
            await self._queue.put((item.chain, event))

    async def _foresee(self, item: Followed, mempool: _Mempool) -> None:
        """What waits to be mined, beside the blocks: one look at a time, however much comes, so that it delays none."""
        pipeline = self._pipeline
        async for events in mempool.pending(pipeline.foresight.known(item.chain)):
            near = item.follower.tip is not None and item.follower.lag <= 1
            told = await self._told_before_next(item, events) if near else {}
            await self.between_blocks(item.chain, partial(pipeline.foresee, item.chain, events, told, fold=near))
            self._dispatcher.wake()
            self._show()

    async def _told_before_next(self, item: Followed, events: Sequence[Any]) -> dict[tuple[str, str, str], int]:
        """Balances at the tip of what is about to move and the engine knows nothing of."""
        engine, tip = self._pipeline.engine, item.follower.tip
        told: dict[tuple[str, str, str], int] = {}
        if tip is None:
            return told
        coming = [event.pending for event in events if hasattr(event, "pending")]
        wanted = engine.unknown_balances(as_block(tip, coming))
        wanted = [entry for entry in wanted if not engine.watchlist.has_long_list(entry[0], item.chain)]
        places = {entry: engine.watchlist.addresses(entry[0], item.chain) for entry in wanted}
        questions = [(address, entry[2]) for entry, addresses in places.items() for address in addresses]
        answers = await _ask(item.source.balances, questions, tip) if questions else {}
        for entry, addresses in places.items():
            parts = [answers.get((address, entry[2])) for address in addresses]
            if all(part is not None for part in parts):
                told[entry] = sum(part for part in parts if part is not None)
        return told

    async def _consume(self) -> None:
        while True:
            self.busy_since = None
            events = [await self._queue.get()]
            while len(events) < BATCH and not self._queue.empty():
                events.append(self._queue.get_nowait())
            touched: dict[str, None] = {}
            for chain, event in events:
                touched[chain] = None
                self.busy_since = time.monotonic()
                await self._handle(chain, event)
            for chain in touched:
                self.busy_since = time.monotonic()
                await self._flush(chain)
                await self._ask_final(self.followed[chain])

    async def _ask_final(self, item: Followed) -> None:
        """What nodes call final by now, for the next commit; chains that say it remember the answer for a while."""
        height = await item.final_height() if item.final_height is not None else None
        if height is not None:
            self._pipeline.final_heights[item.chain] = height

    async def _handle(self, chain: str, event: Any) -> None:
        if event is None:
            await self._pipeline.settle(chain)
            self._show()
            self._dispatcher.wake()
            return
        if isinstance(event, _Job):
            await self._flush(chain)
            await event.do()
            return
        self._last_event[chain] = time.monotonic()
        block: Block | None = getattr(event, "block", None)
        if block is None and hasattr(event, "head"):
            await self._leave_out(self.followed[chain], event.tip, event.head)
            return
        if block is None:
            log.warning("%s: block %d was disconnected", self.followed[chain].name, event.ref.number)
            await self._pipeline.disconnect(event.ref)
            return
        item = self.followed[chain]
        told = await self._told(item, block)
        if item.naming is not None:
            await item.naming.learn([transfer.asset for transfer in block.transfers])
        self._say_gap(item, block)
        folded = await self._pipeline.connect(block, told)
        if item.backfill is not None:
            item.backfill.begin()
        item.block_time = block.timestamp
        item.blocks += 1
        if block.undecoded:
            item.undecoded += len(block.undecoded)
            count = len(block.undecoded)
            log.warning("%s: block %d: %d transactions not understood", item.name, block.ref.number, count)
        for finding in folded.findings:
            if finding.severity is Severity.INFO:  # opens no incident: here is where it is told
                log.info("%s: %s: %s: %s", item.name, finding.detector, finding.wallet, finding.summary)
        if folded.hits:
            await self._flush(chain)

    async def _leave_out(self, item: Followed, tip: BlockRef, head: BlockRef) -> None:
        """What lies between is fetched beside the live blocks."""
        await self._flush(item.chain)
        await self._pipeline.leave_out(item.chain)
        item.ask_again.clear()
        log.warning(
            "%s: blocks %d to %d are missing, and reading them first would take long: the head is followed, they are "
            "fetched beside it, and what is found until they are in is provisional",
            item.name, tip.number + 1, head.number - 1,
        )  # fmt: skip

    def _say_gap(self, item: Followed, block: Block) -> None:
        """At the first block after a calibration: what lies between the end of history and here."""
        mark = self._pipeline.marks.get(item.chain)
        if mark is None or mark.state is not MarkState.CALIBRATED or mark.started:
            return
        missing = block.ref.number - mark.block - 1
        log.info(
            "%s: starts warm, with history up to block %d (%s); %s",
            item.name, mark.block, iso(mark.time),
            f"{missing:,} blocks ({(block.timestamp - mark.time) / 86400:.1f} days) after it are not known"
            if missing > 0 else "no block after it is missing",
        )  # fmt: skip

    async def _flush(self, chain: str) -> None:
        await self._pipeline.flush(chain)
        self._dispatcher.wake()  # also for what other processes queued, and other chains' alerts
        self.followed[chain].stored_time = self.followed[chain].block_time
        self._show()

    def _show(self) -> None:
        changes, self._pipeline.changes = self._pipeline.changes, []
        if self._on_change is not None:
            for change in changes:
                self._on_change(change)

    async def _tick(self) -> None:
        """After a reorg that no further block follows, give up what did not come back."""
        while True:
            await asyncio.sleep(1.0)
            for chain, at in list(self._last_event.items()):
                waited = time.monotonic() - at >= self.followed[chain].settle_seconds
                if waited and self._queue.empty() and self._pipeline.is_doubtful(chain):
                    await self._queue.put((chain, None))
                    self._last_event[chain] = time.monotonic()

    async def _attend(self) -> None:
        """Every second, what of the messages is due: what waited, what nobody answered."""
        first = next(iter(self.followed))
        while True:
            await asyncio.sleep(ATTEND_SECONDS)
            if await self.between_blocks(first, self._pipeline.attend):
                self._dispatcher.wake()

    async def _forget(self) -> None:
        """Once a day, forget flows that are too old to matter."""
        while self._prune is not None:
            await self._prune(time.time())
            await asyncio.sleep(PRUNE_SECONDS)

    # -- balances -------------------------------------------------------------------------------------------------

    async def _told(self, item: Followed, block: Block) -> dict[tuple[str, str, str], int]:
        """Balances before this block that the engine lacks, asked from the chain; where it cannot tell, learn."""
        engine = self._pipeline.engine
        wanted = engine.unknown_balances(block)
        arrived = self._arrives(item, block)
        if item.blocks == 0 or arrived:
            known = {(wallet, asset) for wallet, _, asset in wanted}
            for wallet in sorted(engine.watchlist.wallets):
                has = engine.watchlist.addresses(wallet, item.chain)
                slot = engine.state.asset(wallet, item.chain, item.native)
                if has and (wallet, item.native) not in known and (slot < 0 or not engine.state.balance(slot)[1]):
                    wanted.append((wallet, item.chain, item.native))
        if (mark := self._pipeline.marks.get(item.chain)) is not None and mark.stale:
            known = {(wallet, asset) for wallet, _, asset in wanted}
            wanted += [
                (wallet, item.chain, asset)
                for wallet, asset in mark.stale
                if (wallet, asset) not in known
                and wallet in engine.watchlist.wallets
                and engine.watchlist.addresses(wallet, item.chain)
            ]
        wanted = [entry for entry in wanted if item.ask_again.get((entry[0], entry[2]), (0, 0))[0] <= item.blocks]
        wanted = [entry for entry in wanted if not engine.watchlist.has_long_list(entry[0], item.chain)]
        came = brought(engine, block)
        told = corrections(engine, came) | {entry: came[entry] for entry in wanted if entry in came}
        wanted = [entry for entry in wanted if entry not in told]
        if not wanted:
            return told
        questions = [
            (address, asset) for wallet, chain, asset in wanted for address in engine.watchlist.addresses(wallet, chain)
        ]
        answers = await _ask(item.source.balances, questions, block.ref)
        for wallet, chain, asset in wanted:
            parts = [answers.get((address, asset)) for address in engine.watchlist.addresses(wallet, chain)]
            if any(part is None for part in parts):
                pause = min(4096, 2 * item.ask_again.get((wallet, asset), (0, 4))[1])
                item.ask_again[wallet, asset] = (item.blocks + pause, pause)
                continue
            item.ask_again.pop((wallet, asset), None)
            after = sum(part for part in parts if part is not None)
            told[wallet, chain, asset] = max(0, after - self._net(block, wallet, asset))
        return told

    def _arrives(self, item: Followed, block: Block) -> bool:
        """Whether the head is reached, after blocks below it: some nodes know balances at the head alone."""
        was, head = item.behind, item.follower.head
        item.behind = head is not None and block.ref.number < head.number
        if was and not item.behind:
            item.ask_again.clear()
            return True
        return False

    def _net(self, block: Block, wallet: str, asset: str) -> int:
        """What a block adds to a wallet's balance."""
        net = 0
        for flow in self._pipeline.engine.watchlist.flows(block):
            if flow.wallet == wallet and flow.transfer.asset == asset:
                net += {Direction.IN: flow.value, Direction.OUT: -flow.value}.get(flow.direction, 0)
        return net


async def _ask(
    balances: Callable[[Sequence[tuple[str, str]], BlockRef], Awaitable[Mapping[tuple[str, str], int | None]]],
    questions: Sequence[tuple[str, str]],
    at: BlockRef,
) -> Mapping[tuple[str, str], int | None]:
    try:
        return await balances(questions, at)
    except ReorgTooDeep:
        raise
    except ChainError as error:
        log.warning("balances at block %d of %s were not told: %s", at.number, at.chain, error)
        return {}
