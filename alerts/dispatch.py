"""Durable delivery: what is in the outbox reaches its channels, at least once, or ends as a dead letter.

::

    the outbox --> Lane (receiver, channel) --> channel.send --> store.record
        ^  wake() after a commit                                    |
        +------------------- due again, later ----------------------+

A row is due, done or dead. Nothing but a recorded answer changes it, so that a kill at any moment loses nothing; a
message is repeated, with the same id and bytes, only where the kill fell between its acceptance and the record.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Sequence

from alerts.base import Attached, Channel, ChannelTraits
from alerts.heads import Heads
from alerts.lane import Lane, Tools
from alerts.orphans import TakeOver, orphans, rehouse
from alerts.outbox import Receivers, destinations
from monitor.model import Delivery, Outcome, Reason
from monitor.store import OrderedOutbox, OutboxRow, Store

__all__ = ["Dispatcher"]

_log = logging.getLogger(__name__)


class Dispatcher:
    """Delivers the outbox of ``store`` through the channels of ``receivers``, one queue a channel.

    A slow or dead channel delays no other. On one channel the messages of one incident keep their order. An attempt
    that fails is repeated as `alerts.backoff` says. Each channel says how many messages a second it takes (``rate``).
    Critical ones, and what goes before them in their incidents, leave a long queue first. The channels stay their
    owner's: nothing here closes them.

    Parameters
    ----------
    store : open
    receivers : channels by receiver; for rows of any other destination see `settle_orphans`
    clock : wall clock, UTC seconds
    sleep : waits so many seconds
    rng : chance in the pauses between attempts
    concurrency : attempts in flight a channel, of different incidents; None: as each channel says
    on_delivery : is told of every recorded attempt; an attempt REJECTED is a dead letter
    grace : seconds that attempts in flight have to end when the dispatcher stops

    Examples
    --------
    ::

        dispatcher = Dispatcher(store, receivers)
        task = asyncio.create_task(dispatcher.run())
        await store.commit(commit)
        dispatcher.wake()
        ...
        dispatcher.stop()
        await task
    """

    def __init__(
        self,
        store: Store,
        receivers: Receivers,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        rng: random.Random | None = None,
        concurrency: int | None = None,
        on_delivery: Callable[[Delivery], None] | None = None,
        grace: float = 5.0,
    ) -> None:
        if concurrency is not None and concurrency < 1:
            raise ValueError(f"concurrency was {concurrency}, expected 1 or more")
        uniform = (rng or random.Random()).uniform
        self._channels = destinations(receivers)
        widths = {key: concurrency or _concurrency(channel) for key, channel in self._channels.items()}
        enough = 1 + max(widths.values(), default=1)
        outbox = store if isinstance(store, OrderedOutbox) else Heads(store, enough)
        self._tools = Tools(store, outbox, clock, sleep, uniform, on_delivery, self._check_quiet)
        self._lanes = [Lane(key, channel, self._tools, widths[key]) for key, channel in self._channels.items()]
        self._grace = grace
        self._stop = asyncio.Event()
        self._quiet = asyncio.Event()
        self._started = self._ended = self._settled = False

    def wake(self) -> None:
        """Say that rows were queued; call it after every commit. Cheap, and never wrong."""
        for lane in self._lanes:
            lane.wake()

    def stop(self) -> None:
        """Make `run` return after the attempts in flight, at the latest after the time of grace."""
        self._stop.set()

    async def idle(self) -> None:
        """Wait until every row is delivered, dead, or waits for a later attempt; returns too when `run` has ended."""
        while not (self._ended or self._all_quiet()):
            self._quiet.clear()
            await self._quiet.wait()

    async def run(self) -> None:
        """Deliver until `stop` or cancellation.

        Raises
        ------
        StoreError : the store failed; start again from what is stored
        """
        if self._started:
            raise RuntimeError("a dispatcher runs once")
        self._started = True
        lanes: list[asyncio.Task[None]] = []
        for channel in self._channels.values():
            if isinstance(channel, Attached):
                channel.attach(self._tools.store)
        try:
            if not self._settled:
                await self.settle_orphans()
            lanes = [asyncio.create_task(lane.run()) for lane in self._lanes]
            await self._until_stopped(lanes)
        finally:
            try:
                await self._wind_down(lanes)
            finally:
                self._ended = True
                self._quiet.set()
        for lane in self._lanes:
            lane.raise_failure()

    async def _until_stopped(self, lanes: list[asyncio.Task[None]]) -> None:
        stopped = asyncio.create_task(self._stop.wait())
        try:
            done, _ = await asyncio.wait((stopped, *lanes), return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            stopped.cancel()

    async def _wind_down(self, lanes: list[asyncio.Task[None]]) -> None:
        for task in lanes:
            task.cancel()
        await asyncio.gather(*lanes, return_exceptions=True)
        await asyncio.gather(*(lane.wind_down(self._grace) for lane in self._lanes))

    def _all_quiet(self) -> bool:
        return all(lane.quiet for lane in self._lanes)

    def _check_quiet(self) -> None:
        if self._all_quiet():
            self._quiet.set()

    async def settle_orphans(self, take_over: TakeOver | None = None) -> None:
        """What becomes of rows whose channel left the configuration; `run` does it where nobody did before.

        They go to another channel of the receiver that is of the same type. The rest become dead letters, which is
        said, after they were given to ``take_over``.
        """
        self._settled = True
        store = self._tools.store
        async for rows in orphans(self._tools.outbox, self._channels):
            left = await rehouse(store, rows, self._channels)
            if left and take_over is not None:
                await take_over(left)
            if left:
                names = ", ".join(sorted({f"{row.receiver} {row.channel}" for row in left}))
                _log.error("messages given up, as their channels left the configuration: %d, to %s", len(left), names)
            await self._bury(rows, left)

    async def _bury(self, rows: Sequence[OutboxRow], left: Sequence[OutboxRow]) -> None:
        store, gone = self._tools.store, {row.alert_id for row in left}
        for row in rows:
            moved = "" if row.alert_id in gone else ": another of its type sends it"
            delivery = Delivery(
                row.alert_id,
                row.receiver,
                row.channel,
                attempt=row.attempts,
                outcome=Outcome.REJECTED,
                reason=Reason.GONE,
                at=self._tools.clock(),
                detail=f"this channel is no more in the configuration{moved}",
            )
            await store.record(delivery, state="done" if moved else "dead")
            self._tools.tell(delivery)


def _concurrency(channel: Channel) -> int:
    return max(1, getattr(channel, "concurrency", ChannelTraits.concurrency))
