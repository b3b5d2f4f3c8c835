"""One destination's queue: its rows in order, its attempts, its pauses. `alerts.dispatch` runs one a channel."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

from alerts.backoff import LONGEST, Uniform, asked, settle
from alerts.base import Channel, Receipt
from alerts.pace import Pace
from alerts.page import PAGE, Page, queue_of
from alerts.threads import Threads
from monitor.model import Delivery, Outcome, Reason
from monitor.store import OrderedOutbox, OutboxRow, Store

__all__ = ["ATTEMPT_SECONDS", "PAGE", "Lane", "Tools"]

ATTEMPT_SECONDS = 300.0
"""A channel that has not answered by then hangs, whatever its own time limit; in seconds."""

SICK = 100
"""After so many failures in a row a destination gets few attempts a second, until it answers one otherwise.

A long queue for a service that is down would keep this process busy with failing, and the service down.
"""

PROBES, PROBES_AT_ONCE = 20.0, 100.0  # attempts a second at a sick destination, and after a rest
APART = 0.25  # seconds between two readings of a sick destination's queue, which is long

LONGEST_SLEEP = 60.0  # a wall clock that was set is noticed after so many seconds
SHORTEST_SLEEP = 0.001  # seconds; a sleep that rounds to nothing must not become a busy loop

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Tools:
    """What the lanes of one dispatcher share."""

    store: Store
    outbox: OrderedOutbox
    clock: Callable[[], float]
    sleep: Callable[[float], Awaitable[object]]
    uniform: Uniform
    on_delivery: Callable[[Delivery], None] | None
    on_quiet: Callable[[], None]

    def tell(self, delivery: Delivery) -> None:
        """Tell the observer of a recorded attempt."""
        if self.on_delivery is None:
            return
        try:
            self.on_delivery(delivery)
        except Exception:  # who only watches must not stop deliveries
            _log.exception("the observer of deliveries failed")


@dataclass(slots=True, eq=False)
class _Attempt:
    queue: str
    task: asyncio.Task[None] | None = None
    answered: bool = False  # from here on only the store is written: never cancelled
    passed: bool = False  # delivered or dead: the next of its incident may go
    failed: bool = False  # to be repeated: what is behind it waits


class Lane:
    """The rows of one (receiver, channel).

    A row is attempted when every older one of its incident was accepted or is a dead letter: a later message never
    overtakes an earlier one. Messages of different incidents are sent up to ``concurrency`` at a time, and not more of
    them a second than the channel's ``rate``. An attempt holds its place until it is recorded, so that a kill repeats
    at most ``concurrency`` messages.
    """

    def __init__(self, destination: tuple[str, str], channel: Channel, tools: Tools, concurrency: int) -> None:
        self.quiet = False  # nothing in flight, nothing due now
        self._destination = destination
        self._channel = channel
        self._tools = tools
        self._concurrency = concurrency
        self._page = Page()
        self._pace = Pace(getattr(channel, "rate", None))
        self._probes = Pace(PROBES, burst=PROBES_AT_ONCE)
        self._misses = 0  # failures in a row
        self._threads = Threads(tools.store, destination) if getattr(channel, "threads", False) else None
        self._flying: dict[str, _Attempt] = {}
        self._wake = asyncio.Event()
        self._stale = True
        self._whole = False  # the page was read whole: nothing else is ready before `_later`
        self._later: float | None = None
        self._read_at = -math.inf
        self._paused_until = -math.inf  # wall clock
        self._failure: BaseException | None = None

    def wake(self) -> None:
        """Look at the store again: something may have come that goes first."""
        self._stale = True
        self._go_on()

    def _go_on(self) -> None:
        self.quiet = False
        self._wake.set()

    async def run(self) -> None:
        """Deliver until cancelled; `StoreError` passes up."""
        while True:
            self._wake.clear()
            if self._failure is not None:
                raise self._failure
            now = self._tools.clock()
            await self._fill(now)
            self._paused_until = min(self._paused_until, now + LONGEST)  # the clock may have been set back
            while self._has_room() and now >= self._paused_until and self._turn(now) <= now:
                row = self._page.take(self._busy())
                if row is None:
                    break
                self._take_turn(now)
                self._start(row)
            if not self._wake.is_set():
                await self._rest(now)

    async def wind_down(self, grace: float) -> None:
        """Let the attempts in flight end, at most ``grace`` seconds; cancel those that are still without an answer."""
        tasks = {attempt.task for attempt in self._flying.values() if attempt.task is not None}
        if not tasks:
            return
        try:
            await asyncio.wait(tasks, timeout=grace)
        finally:  # also where this is itself cancelled: then at once
            for attempt in list(self._flying.values()):
                if attempt.task is not None and not attempt.answered:
                    attempt.task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def raise_failure(self) -> None:
        """Pass a store's failure up that an attempt met while the lane was winding down."""
        if self._failure is not None:
            raise self._failure

    # -- the queue ------------------------------------------------------------------------------------------------

    def _turn(self, now: float) -> float:
        """When the next message may go, by the pace alone."""
        return now + max(self._pace.wait(now), self._probes.wait(now) if self._is_sick() else 0.0)

    def _take_turn(self, now: float) -> None:
        self._pace.take(now)
        if self._is_sick():
            self._probes.take(now)

    def _is_sick(self) -> bool:
        return self._misses >= SICK

    def _has_room(self) -> bool:
        return len(self._flying) < self._concurrency

    def _busy(self) -> set[str]:
        return {attempt.queue for attempt in self._flying.values() if not attempt.passed}

    async def _fill(self, now: float) -> None:
        if not self._has_room() or not (self._stale or (not self._page and not self._whole)):
            return
        if self._is_sick() and 0 <= now - self._read_at < APART:
            self._waits_until(self._read_at + APART)
            return
        self._stale, self._later, self._read_at = False, None, now
        self._page.begin()
        limit = PAGE + len(self._flying)
        rows = await self._tools.outbox.ready(self._destination, now, limit)
        failed = {attempt.queue for attempt in self._flying.values() if attempt.failed}
        self._page.fill(rows, self._flying, failed)
        self._whole = len(rows) < limit
        self._waits_until(await self._tools.outbox.next_ready(self._destination, now))

    def _waits_until(self, later: float | None) -> None:
        """A row is ready at ``later`` and not before."""
        if later is not None and (self._later is None or later < self._later):
            self._later = later

    async def _rest(self, now: float) -> None:
        """Wait for a reason to go on: something new, an attempt that ended, or the time of a later attempt."""
        until, paced = None, False
        if self._page.holds(self._busy()) and self._has_room():
            until = max(self._paused_until, self._turn(now))
            paced = self._paused_until <= now and not self._is_sick()  # what only waits for its turn is on its way
        elif self._has_room():
            until = self._later
        self.quiet = not self._flying and not paced
        if self.quiet:
            self._tools.on_quiet()
        if until is None:
            await self._wake.wait()
        else:
            await self._wake_or_time(min(max(until - now, SHORTEST_SLEEP), LONGEST_SLEEP))
            self._stale = True
        self.quiet = False

    async def _wake_or_time(self, seconds: float) -> None:
        waits = (
            asyncio.ensure_future(self._wake.wait()),
            asyncio.ensure_future(self._tools.sleep(seconds)),
        )
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    # -- attempts -------------------------------------------------------------------------------------------------

    def _start(self, row: OutboxRow) -> None:
        attempt = self._flying[row.alert_id] = _Attempt(queue_of(row))
        name = f"deliver {row.alert_id} to {row.receiver}/{row.channel}"
        attempt.task = asyncio.create_task(self._attempt(row, attempt), name=name)

    async def _attempt(self, row: OutboxRow, attempt: _Attempt) -> None:
        try:
            if self._threads is not None and row.incident_id:
                row = replace(row, reply_to=await self._threads.first(row.incident_id))
            receipt = await self._send(row)
            attempt.answered = True
            now = self._tools.clock()
            delivery, state, next_at = settle(row, receipt, now, self._tools.uniform)
            self._learn(row, receipt, attempt, now, next_at)
            await self._tools.store.record(delivery, state=state, next_at=next_at)
            self._waits_until(next_at or None)  # again: a reading may have come before the record
            self._tools.tell(delivery)
        except Exception as error:
            self._failure = error
        finally:
            del self._flying[row.alert_id]
            self._page.ended(row, attempt.failed)
            self._go_on()

    def _learn(self, row: OutboxRow, receipt: Receipt, attempt: _Attempt, now: float, next_at: float) -> None:
        """What an answer means for the rows behind: they may go, or must wait."""
        self._misses = self._misses + 1 if receipt.outcome is Outcome.RETRY else 0
        if receipt.outcome is Outcome.RETRY and (pause := asked(receipt) or self._own_pause(receipt, now, next_at)):
            # The other side is overloaded, not one message wrong. Bounded: one absurd answer, a date in the next
            # century say, may hold up its own message only.
            self._paused_until = max(self._paused_until, now + min(pause, LONGEST))
        if next_at:
            attempt.failed = True
            self._page.drop(attempt.queue)
            self._waits_until(next_at)
            return
        attempt.passed = True
        if receipt.outcome is Outcome.ACCEPTED and self._threads is not None and row.incident_id:
            self._threads.accepted(row.incident_id, receipt.external_id)
        self._go_on()

    def _own_pause(self, receipt: Receipt, now: float, next_at: float) -> float:
        """Who says "too many" without saying for how long gets the pause of that message for all."""
        return max(0.0, next_at - now) if receipt.reason is Reason.RATE_LIMITED else 0.0

    async def _send(self, row: OutboxRow) -> Receipt:
        try:
            async with asyncio.timeout(ATTEMPT_SECONDS) as limit:
                return await self._channel.send(row, self._tools.clock())
        except (Exception, asyncio.CancelledError) as error:
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                raise
            # The channel promised not to raise; that it did must cost nobody else anything.
            if limit.expired():
                return Receipt(Outcome.RETRY, Reason.TIMEOUT, detail=f"no end after {ATTEMPT_SECONDS:.0f} s")
            return Receipt(Outcome.RETRY, Reason.INTERNAL, detail=_where(error))


def _where(error: BaseException) -> str:
    """The type and place of an unexpected error; never its text, which may quote an address or a secret."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f" at {Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace is not None else ""
    return f"{type(error).__name__}{place}"
