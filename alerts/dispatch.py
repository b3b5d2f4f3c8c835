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
import random
import time
from collections.abc import Awaitable, Callable

from alerts.base import Attached, Channel, ChannelTraits
from alerts.heads import Heads
from alerts.lane import Lane, Tools
from alerts.outbox import Receivers, destinations
from monitor.model import Delivery, Outcome, Reason
from monitor.store import OrderedOutbox, Store

__all__ = ["Dispatcher"]


class Dispatcher:
    """Delivers the outbox of ``store`` through the channels of ``receivers``, one queue a channel.

    A slow or dead channel delays no other. On one channel the messages of one incident keep their order. An attempt
    that fails is repeated as `alerts.backoff` says. Each channel says how many messages a second it takes (``rate``).
    Critical ones, and what goes before them in their incidents, leave a long queue first. The channels stay their
    owner's: nothing here closes them.

    Parameters
    ----------
    store : open
    receivers : channels by receiver; rows for any other destination become dead letters at the start of `run`
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
        self._started = self._ended = False

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
            await self._bury_orphans()
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

    async def _bury_orphans(self) -> None:
        """Rows whose channel is no more configured: say so now, rather than keep them for ever."""
        store = self._tools.store
        for row in await store.outbox(state="due"):
            if (row.receiver, row.channel) in self._channels:
                continue
            delivery = Delivery(
                row.alert_id,
                row.receiver,
                row.channel,
                attempt=row.attempts,
                outcome=Outcome.REJECTED,
                reason=Reason.GONE,
                at=self._tools.clock(),
                detail="this channel is no more in the configuration",
            )
            await store.record(delivery, state="dead")
            self._tools.tell(delivery)


def _concurrency(channel: Channel) -> int:
    return max(1, getattr(channel, "concurrency", ChannelTraits.concurrency))
