"""Following one chain: `Follower` turns what an endpoint answers into connected and disconnected blocks.

One rule does new blocks, gaps, restarts and reorgs alike. A block extends our tip where its parent hash is the tip's
hash; otherwise the tip is disconnected, then one lower. A head at or below our tip is compared with our own block of
that height. Numbers are never trusted without a hash, and hints (`Chain.wake`) only make the next look come sooner.

Endpoints lag, and those behind one address may stand on different branches. So a block that does not fit is read a
second time, and a head that contradicts us is confirmed by its block, before anything is disconnected. A block that
returns right after it was disconnected is taken only after a pause, longer each time until the endpoints agree. A
rewrite below what can be undone is believed when a second endpoint shows it too, or, without one, when it persists.

A gap that would take long to read is not read: the follower says what it leaves out, and goes on at the head.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from typing import Any

from chains.base import BlockConnected, BlockDisconnected, BlocksLeftOut, Chain, ChainEvent
from monitor.errors import ChainError, ChainInconsistent, ChainUnavailable
from monitor.model import Block, BlockRef

__all__ = ["Follower"]

log = logging.getLogger(__name__)

BACKOFF_BASE = 0.2  # seconds, upper bound of the first pause
BACKOFF_CAP = 15.0  # seconds, upper bound of a pause of our own
LONGEST_PAUSE = 60.0  # seconds, the most that an endpoint may ask for
HEAD_AGE = 5.0  # seconds after which the head is asked again while catching up
AT_ONCE = 256  # missing blocks that are always read at once
MEASURED = 32  # blocks read before their pace says how long the rest takes, or
MEASURED_SECONDS = 2.0
DEEP_READS = 5  # times that the only endpoint shows a rewrite below what can be undone before it is believed
DEEP_READS_ALONE = 15  # the same where there are others, of which none answers


class Follower:
    """Follow ``chain`` from ``tip``.

    Parameters
    ----------
    chain : an open chain; it stays open
    tip : the last block that is wholly stored; None on the first start
    ancestor : the stored block at a height below the tip, None where it is not (or no more) known
    start : the first block to connect where there is no tip; None is the current head, if not below ``least``
    prefetch : blocks read in parallel while more than one is missing; at least 1
    base : the stored block below which blocks are missing, where there is one
    can_undo : whether a stored block (by its height) can be undone; None: all can
    gap_seconds : missing blocks that take longer than this to read are left out; None: they are read in any case
    sleep, rng, clock : pause, jitter and monotonic clock, for tests

    Attributes
    ----------
    tip : the last block handed over, None before the first
    head : the newest block as the endpoint last said, None before it answered
    head_seen_at : monotonic seconds at which a head arrived that was new to us; a stalled or lagging endpoint, however
        often it answers, does not move it
    last_error : what is wrong with the last look, None after one that succeeded
    """

    def __init__(
        self,
        chain: Chain,
        *,
        tip: BlockRef | None,
        ancestor: Callable[[int], Awaitable[BlockRef | None]],
        start: int | None = None,
        least: int = 0,
        prefetch: int = 16,
        base: BlockRef | None = None,
        can_undo: Callable[[int], Awaitable[bool]] | None = None,
        gap_seconds: float | None = None,
        sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
        rng: random.Random | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.tip = tip
        self.head: BlockRef | None = None
        self.head_seen_at: float | None = None
        self.last_error: str | None = None
        self._chain = chain
        self._ancestor = ancestor
        self._start, self._least = start, least
        self._sleep = sleep
        self._rng = rng or random.Random()
        self._clock = clock
        self._ahead = _Ahead(self._read, max(1, prefetch))
        self._keep = max(1, 2 * chain.spec.finality_depth)
        self._recent: dict[int, BlockRef] = {} if tip is None else {tip.number: tip}
        self._base = base  # the block connected without a parent check; what is below it is not ours
        self._can_undo = can_undo
        self._gap_seconds = gap_seconds
        self._begun: tuple[float, int] | None = None  # when, and at which height, we began to catch up
        self._deep = Counter[str]()  # sources that showed a rewrite below what can be undone, and how often
        self._is_deep = False  # it is believed
        self._goal: BlockRef | None = None  # the head that this round works towards; None: ask for it
        self._asked_at = 0.0
        self._steps = 0  # events of this round
        self._failures = 0
        self._dropped: set[str] = set()  # disconnected since we last agreed with the head
        self._paused = False  # before a dropped block is taken again

    @property
    def lag(self) -> int:
        """Blocks from our tip to the head; 0 while either is unknown, below 0 where the endpoint lags behind us."""
        if self.head is None or self.tip is None:
            return 0
        return self.head.number - self.tip.number

    def rejoin(self, base: BlockRef) -> bool:
        """The blocks below ``base`` are there now: a rewrite may reach below it from now on.

        False where ``base`` is not the block that was connected without them, or is no longer ours.
        """
        if self._base != base:
            return False
        self._base = None
        return True

    async def events(self) -> AsyncGenerator[ChainEvent, None]:
        """Every change of the chain in its order, for ever; run it once.

        Each `BlockConnected` has the block before it as parent and each `BlockDisconnected` is the block connected
        last; after a `BlocksLeftOut`, and after the oldest block that ``ancestor`` knows was disconnected, the next
        block has no such parent. Close it (``contextlib.aclosing``) or cancel the task that reads it: no task stays
        behind.

        Raises
        ------
        ChainError : what the chain found wrong for good (another network, an unreadable block); never
            `ChainUnavailable` and `ChainInconsistent`, which are tried again with back-off
        """
        try:
            while True:
                try:
                    event = await self._step()
                    if event is None:
                        await self._chain.wake()
                        continue
                except (ChainUnavailable, ChainInconsistent) as error:
                    await self._back_off(error)
                    continue
                self.last_error = None
                yield event
        finally:
            await self._ahead.clear()

    async def _step(self) -> ChainEvent | None:
        """The next event; None where the round is over and there is nothing to do before the next hint."""
        goal = self._goal
        if goal is None or self._clock() - self._asked_at > HEAD_AGE:
            goal = await self._ask_head()
        elif self._next(goal) > goal.number:
            if self.tip == goal and self._steps == 1:
                self._rest(agreed=True)
                return None
            goal = await self._ask_head()  # a longer round took its time: look again at once
        number = self._next(goal)
        if number > goal.number:
            event = await self._compare(goal)
        elif self._is_long(goal):
            event = await self._leave_out(goal)
        else:
            event = await self._forward(number, goal)
        self._steps += 1
        return event

    def _is_long(self, goal: BlockRef) -> bool:
        """Whether what is missing takes long, at the pace of the blocks that were read since we fell behind."""
        missing = goal.number - self.tip.number if self.tip is not None else 0
        if self._gap_seconds is None or self.tip is None or missing <= AT_ONCE:
            self._begun = None
            return False
        now = self._clock()
        if self._begun is None:
            self._begun = now, self.tip.number
        took, done = now - self._begun[0], self.tip.number - self._begun[1]
        if done < MEASURED and took < MEASURED_SECONDS:
            return False
        return done > 0 and missing * took / done > self._gap_seconds

    async def _leave_out(self, goal: BlockRef) -> BlocksLeftOut:
        """Go on at the head; what lies between is for others to fetch."""
        tip = self.tip
        assert tip is not None
        await self._ahead.clear()
        self.tip = self._base = self._begun = None
        self._recent.clear()
        self._start = goal.number
        return BlocksLeftOut(tip, goal)

    async def _ask_head(self) -> BlockRef:
        self._goal = None
        await self._ahead.clear()  # guesses do not outlive the head that they were made for
        head = await self._chain.head()
        if head != self.head and await self._is_news(head):
            self.head_seen_at = self._clock()
        self.head = self._goal = head
        self._asked_at = self._clock()
        self._steps = 0
        return head

    async def _is_news(self, head: BlockRef) -> bool:
        """Above our tip, or in contradiction to us."""
        if self.tip is None or head.number > self.tip.number:
            return True
        own = await self._own(head.number)
        return own is not None and own.hash != head.hash

    def _next(self, goal: BlockRef) -> int:
        """The height of the block to connect next."""
        if self.tip is not None:
            return self.tip.number + 1
        if self._start is None:
            self._start = max(goal.number, self._least)
        return self._start

    def _rest(self, *, agreed: bool, error: str | None = None) -> None:
        """The round is over; ``agreed``: our tip is the head."""
        self._goal = None
        self._failures = 0
        self.last_error = error
        if agreed:
            self._dropped.clear()
            self._trust()

    async def _forward(self, number: int, goal: BlockRef) -> ChainEvent:
        """Connect block ``number``, or disconnect our tip where the block has another parent."""
        block = await self._ahead.take(number, goal.number)
        if self._misfit(block):
            await self._ahead.clear()  # what was read ahead may be of the other branch
            block = await self._read(number)
            if self._misfit(block):
                return await self._disconnect(block.source)
        elif self._is_stale(block):
            block = await self._read(number)
            if self._misfit(block):
                raise ChainInconsistent(f"{_name(block.ref)} came in the place of another while it was read again")
        return self._connect(block)

    async def _compare(self, head: BlockRef) -> ChainEvent | None:
        """Our tip is as high as the head or higher: disconnect it where the head is not our block of that height."""
        own = await self._own(head.number)
        if self.tip is None or (own is not None and own.hash == head.hash):
            self._trust()
            self._rest(agreed=self.tip == head)  # nothing new, or an endpoint that lags or was rolled back
            return None
        if own is None:
            # Most likely a node that is still syncing; a real rewrite shows when it grows past our tip.
            self._rest(agreed=False, error=f"head {head.number} is below every block that is known here")
            return None
        block = await self._read(head.number)
        if block.ref.hash == own.hash:
            raise ChainInconsistent(f"head says {_name(head)}, but block {head.number} reads {own.hash}")
        return await self._disconnect(block.source)

    def _misfit(self, block: Block) -> bool:
        return self.tip is not None and block.parent_hash != self.tip.hash

    def _is_stale(self, block: Block) -> bool:
        """Whether more is watched by now than when the block was read ahead of its turn."""
        stale = getattr(self._chain, "is_stale", None)  # not every family has addresses that come into use
        return stale is not None and bool(stale(block))

    def _connect(self, block: Block) -> BlockConnected:
        ref = block.ref
        if ref.hash not in self._dropped:
            self._failures = 0
        elif not self._paused:
            self._paused = True
            raise ChainInconsistent(f"{_name(ref)} went and came back: endpoints on different branches?")
        if self.tip is None:
            self._base = ref
        self._trust()
        self.tip = self._recent[ref.number] = ref
        self._recent.pop(ref.number - self._keep, None)
        return BlockConnected(block)

    async def _disconnect(self, source: str) -> BlockDisconnected:
        """Disconnect our tip, which ``source`` contradicts."""
        gone = self.tip
        assert gone is not None
        below = None
        if gone != self._base:
            below = await self._own(gone.number - 1)
            if below is None or not (self._can_undo is None or await self._can_undo(gone.number)):
                self._doubt(gone, source)
        if below is None:
            # Back before the first block that is known: as on the first start, from the same height.
            self._start, self._base = gone.number, None
        self._recent.pop(gone.number, None)
        self.tip = below
        if below is not None:
            self._recent[below.number] = below
        if len(self._dropped) > self._keep:
            self._dropped.clear()
        self._dropped.add(gone.hash)
        self._paused = False
        return BlockDisconnected(gone)

    def _trust(self) -> None:
        """An endpoint agrees with us: whoever says otherwise must show it anew."""
        self._deep.clear()
        self._is_deep = False

    def _doubt(self, gone: BlockRef, source: str) -> None:
        """ChainInconsistent until a rewrite below what can be undone is to be believed."""
        self._deep[source] += 1
        several = len(self._chain.spec.endpoints) > 1
        enough = self._deep.total() >= (DEEP_READS_ALONE if several else DEEP_READS)
        if self._is_deep or len(self._deep) > 1 or enough:
            if not self._is_deep:
                shown = " and ".join(sorted(filter(None, self._deep))) or "its endpoint"
                log.error(
                    "%s: %s is no longer part of the chain, says %s: it was rewritten below what can be undone",
                    self._chain.spec.name, _name(gone), shown,
                )  # fmt: skip
            self._is_deep = True
            return
        rotate = getattr(self._chain, "rotate", None)  # not every family has several endpoints
        if rotate is not None:
            rotate()
        raise ChainInconsistent(
            f"{source or 'the endpoint'} says that {_name(gone)} is no longer part of the chain, which was rewritten "
            "below what can be undone: asking again"
        )

    async def _own(self, number: int) -> BlockRef | None:
        """Our block at ``number``: None above the tip, and below what is known."""
        if self.tip is None or not 0 <= number <= self.tip.number:
            return None
        if self._base is not None and number < self._base.number:
            return None
        return self._recent.get(number) or await self._ancestor(number)

    async def _read(self, number: int) -> Block:
        block = await self._chain.block(number)
        if block.ref.number != number:
            raise ChainInconsistent(f"asked for block {number}, got {_name(block.ref)}")
        return block

    async def _back_off(self, error: ChainError) -> None:
        """Pause: random up to a bound that doubles with every failure, and no less than the endpoint asked for."""
        self.last_error = str(error)
        self._goal = None
        await self._ahead.clear()
        log.info("%s: failure %d: %s", self._chain.spec.name, self._failures + 1, error)
        bound = min(BACKOFF_CAP, BACKOFF_BASE * 2.0 ** min(self._failures, 30))
        self._failures += 1
        asked = error.retry_after if isinstance(error, ChainUnavailable) else None
        await self._sleep(max(self._rng.uniform(0.0, bound), min(asked or 0.0, LONGEST_PAUSE)))


class _Ahead:
    """Blocks that are read in parallel before their turn; they are guesses until their parent is compared."""

    def __init__(self, read: Callable[[int], Coroutine[Any, Any, Block]], width: int) -> None:
        self._read = read
        self._width = width
        self._tasks: dict[int, asyncio.Task[Block]] = {}

    async def take(self, number: int, last: int) -> Block:
        """Block ``number``; up to ``last`` more are begun. A failed early read is no answer: it is read again."""
        if last > number:
            for n in range(number, min(last + 1, number + self._width)):
                if n not in self._tasks:
                    self._tasks[n] = asyncio.create_task(self._read(n), name=f"block {n}")
        task = self._tasks.pop(number, None)
        if task is None:
            return await self._read(number)
        early = task.done()
        try:
            return await task
        except (ChainUnavailable, ChainInconsistent):
            if not early:
                raise
            return await self._read(number)
        finally:
            task.cancel()

    async def clear(self) -> None:
        """Drop everything, and wait until it is gone."""
        tasks, self._tasks = list(self._tasks.values()), {}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _name(ref: BlockRef) -> str:
    return f"block {ref.number} ({ref.hash})"
