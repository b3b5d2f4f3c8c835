"""Fetching the blocks below a chain's live ones into the spool, newest first; killed anywhere, it goes on there."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from monitor.errors import ChainInconsistent, HistoryRefused
from monitor.marks import Mark, MarkState, Place
from monitor.past import History, Progress, Stretch, head_of, linked
from monitor.pipeline import Pipeline
from monitor.spool import Head, pack_stretch, past_key, past_prefix, unpack_head
from monitor.store import Store

__all__ = ["Between", "Fetch"]

log = logging.getLogger("heistwatch.backfill")
T = TypeVar("T")

SAID_SECONDS = 60.0  # between two lines in the log
MISFITS = 3  # times that a gap does not fit the block below it before that block is believed to be gone

Between = Callable[[str, Callable[[], Awaitable[T]]], Awaitable[T]]
"""Does something on a chain between two of its blocks, all of which are stored by then."""


class Fetch:
    """The blocks below the live ones of one chain, on their way into the spool.

    Parameters
    ----------
    name : of the chain, for the log
    chain : CAIP-2
    history : makes what gives past blocks; `aclose` closes that
    pipeline, store : of the running monitor; written to between blocks only
    step : blocks of one stretch
    block_seconds : usual time between blocks
    width : stretches that are fetched at once, after the first
    clock : monotonic seconds

    Attributes
    ----------
    troubles : failures since a stretch came
    refusals : how often history was refused since then
    """

    def __init__(
        self,
        name: str,
        chain: str,
        history: Callable[[], History],
        pipeline: Pipeline,
        store: Store,
        *,
        step: int,
        block_seconds: float,
        width: int,
        clock: Callable[[], float],
    ) -> None:
        self.name, self.chain = name, chain
        self.troubles = self.refusals = 0
        self._misfits = self._reread = 0  # what did not fit above, and below
        self._make, self._pipeline, self._store = history, pipeline, store
        self._step, self._block_seconds, self._width = max(1, step), block_seconds, max(1, width)
        self._clock = clock
        self._history: History | None = None
        self._started: tuple[float, int] | None = None  # when, and at how many blocks done
        self._said_at = clock() - SAID_SECONDS

    @property
    def _past(self) -> History:
        """What gives past blocks."""
        if self._history is None:
            self._history = self._make()
        return self._history

    async def aclose(self) -> None:
        """Close what gives past blocks, and begin anew at the next call."""
        history, self._history = self._history, None
        self.troubles = self.refusals = self._misfits = self._reread = 0
        self._started = None
        if history is not None:
            await history.aclose()

    @property
    def progress(self) -> Progress | None:
        """How far it is, None where nothing is missing."""
        mark = self._pipeline.marks.get(self.chain)
        if mark is None or not mark.is_filling:
            return Progress(0, 0) if mark is None and self.chain in self._pipeline.backfills else None
        left = None
        if self._started is not None and mark.done > self._started[1]:
            rate = (mark.done - self._started[1]) / max(1e-9, self._clock() - self._started[0])
            left = (mark.total - mark.done) / rate
        return Progress(mark.done, mark.total, left, "gap" if mark.state is MarkState.GAP else "backfill")

    async def reach(self, mark: Mark, between: Between[Any]) -> Mark:
        """Find the first block of history: the lowest that is young enough, and that an endpoint still gives."""
        refused = ""

        async def is_old(number: int) -> bool:
            nonlocal refused
            try:
                return await self._past.time_of(number) < mark.since
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
        return await self.keep(msgspec.structs.replace(mark, low=young, note=note), {}, between)

    async def keep(self, mark: Mark, records: Mapping[bytes, bytes | None], between: Between[Any]) -> Mark:
        """Store a mark and records, unless the first live block changed meanwhile."""

        async def keep() -> bool:
            now = self._pipeline.marks.get(self.chain)
            if now is None or not mark.is_same(now):
                return False
            kept = msgspec.structs.replace(mark, stale=now.stale)  # live blocks were told some meanwhile
            await self._pipeline.keep(self.chain, tuple(sorted(records.items())), kept)
            return True

        if not await between(self.chain, keep):
            raise ChainInconsistent("the first live block was rewritten")
        return mark

    async def fetch(self, mark: Mark, between: Between[Any]) -> bool:
        """Fetch what is missing, newest first, several stretches at once. True: it is all there."""
        heads = {head.first: head async for head in self.heads()}
        ahead: dict[tuple[int, int], asyncio.Task[Any]] = {}
        try:
            while True:
                kept = linked(mark, heads.values())
                top = kept[-1].first if kept else mark.block
                if self._started is None:
                    self._started = (self._clock(), mark.block - top)
                if top <= mark.low:
                    if not _fits(mark, kept):
                        mark = await self._misfit(mark, kept[-1], between)
                    elif all(head.watched == self._watched for head in kept):
                        return True
                    else:
                        mark = await self._read_again(mark, kept, heads, between)
                    continue
                for wanted in self._wanted(mark, heads, top)[: self._width if kept else 1]:
                    if wanted not in ahead:
                        ahead[wanted] = asyncio.create_task(self._stretch(mark, *wanted), name=f"blocks {wanted[0]}")
                stretch, watched = await ahead.pop(self._wanted(mark, heads, top)[0])
                expected = kept[-1].parent_hash if kept else mark.parent
                if stretch.last.hash != expected:
                    self._misfits += 1
                    if kept and self._misfits > 1:  # it may be of the other branch: read it again
                        await self.keep(mark, {past_key(self.chain, kept[-1].first): None}, between)
                    raise ChainInconsistent(f"block {top - 1} is no parent of block {top}")
                mark = await self._take(mark, heads, stretch, watched, between)
        finally:
            for task in ahead.values():
                task.cancel()
            await asyncio.gather(*ahead.values(), return_exceptions=True)

    @property
    def _watched(self) -> int:
        """How many derived addresses are watched by now: a stretch that was read with fewer may lack something."""
        return self._pipeline.engine.watchlist.derived.count(self.chain)

    async def _read_again(
        self, mark: Mark, kept: Sequence[Head], heads: dict[int, Head], between: Between[Any]
    ) -> Mark:
        """Read stretches in which more addresses count by now, lowest first: use of a wallet goes up with time."""
        log.info("%s: history shows more addresses of descriptors in use: it is read again", self.name)
        for head in reversed(kept):
            if head.watched != self._watched:
                stretch, watched = await self._stretch(mark, head.first, head.last + 1)
                mark = await self._take(mark, heads, stretch, watched, between)
        return mark

    async def _stretch(self, mark: Mark, start: int, end: int) -> tuple[Stretch, int]:
        """A stretch, and how many derived addresses were watched before it was read: its end may know more.

        The cheap way (`chains.base.History.brief`) where nobody needs the headers of its blocks.
        """
        watched, brief = self._watched, getattr(self._past, "brief", None)
        undone = mark.state is MarkState.GAP and end > mark.block - self._pipeline.finality(self.chain)
        if brief is None or undone:
            brief = self._past.history
        found: Stretch = await brief(start, end)
        return found, watched

    def _wanted(self, mark: Mark, heads: Mapping[int, Head], top: int) -> list[tuple[int, int]]:
        """(start, end) of the next stretches below ``top``, highest first; those that are there are not read again."""
        found: list[tuple[int, int]] = []
        while top > mark.low and len(found) < self._width:
            below = max((head.last + 1 for head in heads.values() if head.last < top - 1), default=0)
            start = max(mark.low, top - self._step, below)
            found.append((start, top))
            top = start
            if any(head.last == top - 1 for head in heads.values()):
                break  # what comes next is there, if it fits
        return found

    async def _take(
        self, mark: Mark, heads: dict[int, Head], stretch: Stretch, watched: int, between: Between[Any]
    ) -> Mark:
        """Store a stretch that fits what is above it."""
        start, end = stretch.first.number, stretch.last.number + 1
        self.troubles = self._misfits = self.refusals = 0
        final = mark.block - self._pipeline.finality(self.chain)
        head = head_of(stretch, final - 1 if mark.state is MarkState.GAP else None)
        head = msgspec.structs.replace(head, watched=watched)
        gone = [old for old in heads.values() if old.last >= start and old.first < end]
        records: dict[bytes, bytes | None] = {past_key(self.chain, old.first): None for old in gone}
        records[past_key(self.chain, start)] = pack_stretch(head, stretch.blocks)
        done = max(mark.done, mark.block - start)
        mark = await self.keep(msgspec.structs.replace(mark, done=done), records, between)
        for old in gone:
            del heads[old.first]
        heads[start] = head
        self._say(mark)
        return mark

    async def _misfit(self, mark: Mark, lowest: Head, between: Between[Any]) -> Mark:
        """A gap does not fit the block below it: read its lower end again, until that block is believed to be gone."""
        assert mark.anchor is not None
        number = mark.anchor.number
        self._reread += 1
        if self._reread < MISFITS:
            await self.keep(mark, {past_key(self.chain, lowest.first): None}, between)
            raise ChainInconsistent(f"block {lowest.first} is no child of block {number}, which is stored")
        self._reread = 0
        return await self.keep(await self._lower(mark), {}, between)

    async def _lower(self, mark: Mark) -> Mark:
        """The block below the gap is no more part of the chain: it was rewritten while nobody looked."""
        assert mark.anchor is not None
        number = mark.anchor.number
        stored = await self._store.block(self.chain, number)
        below = await self._store.block(self.chain, number - 1)
        if stored is None or not stored.undo or below is None:
            raise HistoryRefused(f"the chain was rewritten below block {number}, which cannot be undone")
        run = (number, mark.runs[0][1]) if mark.runs and mark.runs[0][0] == number + 1 else (number, number)
        runs = (run, *(old for old in mark.runs if old[0] > run[1]))
        anchor = Place(below.ref.number, below.ref.hash)
        return msgspec.structs.replace(mark, anchor=anchor, low=number, late=number, runs=runs)

    async def heads(self) -> AsyncIterator[Head]:
        """What is there."""
        async for _, value in self._store.state(past_prefix(self.chain)):
            yield unpack_head(value)

    def _say(self, mark: Mark) -> None:
        """A line in the log, once a minute."""
        if self._clock() - self._said_at >= SAID_SECONDS and (progress := self.progress) is not None:
            self._said_at = self._clock()
            done, total = f"{progress.done:,}", f"{progress.total:,}"
            if mark.state is MarkState.GAP:
                log.info(
                    "%s: filling the gap of blocks %d to %d: %s of %s, %s; what is found above it is provisional",
                    self.name, mark.low, mark.block - 1, done, total, progress,
                )  # fmt: skip
                return
            log.info(
                "%s: learning from history: %s of %s blocks, %s; the guard rail alone watches until then",
                self.name, done, total, progress,
            )  # fmt: skip


def _fits(mark: Mark, kept: Sequence[Head]) -> bool:
    """Whether what was fetched reaches down to the block from which it is folded, as far as it reaches that far."""
    anchor = mark.anchor
    return anchor is None or not kept or kept[-1].first != anchor.number + 1 or kept[-1].parent_hash == anchor.hash
