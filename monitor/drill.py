"""Drills: a theft that is not real, through engine, routes, channels, acknowledgement and escalation.

::

    asked --play--> opened, escalated queued --arrived, acknowledged or time over--> resolved queued --> finished

Each drill is a note (`monitor.drill_note`) and an incident of its own id, so that it goes on after a restart, links and
commands can acknowledge it, and nothing of the owner's incidents is touched. What came of it is `monitor.drill_report`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, Protocol

import msgspec

from monitor.drill_note import ALIVE, DRILLS, LAST, Drill, Last, drill_key, read_drill, read_last, write
from monitor.drill_report import acknowledged, all_settled, problems
from monitor.drill_schedule import DrillSchedule
from monitor.errors import ConfigError
from monitor.health import Trouble
from monitor.ids import iso, stable_id
from monitor.model import Alert, AlertKind, Delivery, Outcome, Reason
from monitor.store import OutboxRow, Store

__all__ = ["Drills", "Play", "new_drill"]

log = logging.getLogger(__name__)

EVERY = 1.0  # seconds between two looks
SCHEDULED_WITHIN = 3600.0  # seconds in which a scheduled drill must arrive, and may be acknowledged
LAST_WITHIN = 60.0  # seconds for the message that ends it
ABANDONED_SECONDS = 60.0  # after the end of its time, a drill that a command left is ended by the monitor
KEPT = 50  # drills
ALIVE_SECONDS = 30.0  # between two signs of life

Play = Callable[[Drill, float], Awaitable[Sequence[Alert]]]
"""What a drill says, in order, ``drill.resolved`` last, given the wall clock at which it was taken up."""

Exclusive = Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]]
"""Does something while nobody else uses the desk."""


class _Desk(Protocol):
    def rows_now(self, alert: Alert, receivers: Sequence[str] | None, now: float) -> Sequence[OutboxRow]: ...

    async def send(self, alert: Alert, now: float) -> Sequence[OutboxRow]: ...


def new_drill(case: str, wallet: str, by: str, now: float, **more: Any) -> Drill:
    """A drill that is asked for at wall clock ``now``; ``more`` are further fields of `Drill`."""
    return Drill(f"drill-{stable_id('drill', case, wallet, by, repr(now), length=12)}", case, wallet, by, now, **more)


async def _at_once(work: Callable[[], Awaitable[Any]]) -> Any:
    return await work()


class Drills:
    """Runs drills, and those of a schedule when their time comes.

    Parameters
    ----------
    store : open
    desk : turns alerts into outbox rows, see `alerts.desk.Desk`
    play : see `Play`
    wallet : id of the wallet that scheduled drills are about
    schedule : None: only drills that somebody begins
    wake : told that rows were queued
    exclusive : see `Exclusive`; needed where the desk has other users
    clock : wall clock, UTC seconds
    sleep : waits so many seconds
    """

    def __init__(
        self,
        store: Store,
        desk: _Desk,
        play: Play,
        wallet: str,
        schedule: DrillSchedule | None = None,
        *,
        wake: Callable[[], None] = lambda: None,
        exclusive: Exclusive = _at_once,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._store, self._desk, self._play, self._wallet, self._schedule = store, desk, play, wallet, schedule
        self._wake, self._exclusive, self._clock, self._sleep = wake, exclusive, clock, sleep
        self._last: Last | None = None  # as far as it was read
        self._signed = 0.0
        self._named = False  # that a drill was missed
        self._under_way = False  # one is, at the last look
        self._played: dict[str, Sequence[Alert]] = {}

    async def run(self) -> None:
        """Until cancelled. StoreError ends it, as it ends the monitor.

        On a store that has no lock it leaves a sign of life, for commands that ask who delivers.
        """
        while True:
            if not hasattr(self._store, "acquire") and self._clock() - self._signed >= ALIVE_SECONDS:
                self._signed = self._clock()
                await self._store.note([(ALIVE, repr(self._signed).encode())])
            await self.step()
            await self._sleep(EVERY)

    async def step(self) -> None:
        """Go on with drills that are under way, and begin the one that is due."""
        now = self._clock()
        under_way = [drill for drill in await self._all() if drill.finished is None]
        self._under_way = bool(under_way)
        for drill in under_way:
            if drill.by == "schedule" or now > _ends(drill) + ABANDONED_SECONDS:
                await self.follow(drill)
        if self._schedule is None:
            return
        last = await self._read_last(now)
        if self._missed(now) is not None and not self._named:
            return  # first that it was missed, then the one that is late
        if not under_way and now >= self._schedule.next_due(last.started, last.since):
            within, self._under_way = self._within, True
            await self.begin(
                new_drill(
                    self._schedule.case, self._wallet, "schedule", now,
                    within=within, ack_within=within, escalate=self._schedule.escalate,
                )
            )  # fmt: skip

    def troubles(self, now: float) -> Iterator[Trouble]:
        """A drill that was due and did not arrive within the grace; over after the next one that does."""
        due, last = self._missed(now), self._last
        self._named = due is not None
        if due is None or last is None or self._schedule is None:
            return
        when, how = iso(int(due)), "missed"
        started = last.started if last.started is not None and last.started >= due else None
        if started is not None and self._under_way and now < started + self._within + 2 * LAST_WITHIN:
            if started <= due + self._schedule.grace:
                return  # what comes of it is told when it is over
            started = None  # it was missed all the same; this one is late
        if started is not None:
            what, how = f"The drill of {when} did not reach everybody", "failed"
            why = "\n".join(last.problems) or "It is not finished."
        else:
            what = f"The drill that was due at {when} did not take place"
            why = "The monitor did not run, or could not begin it: its log says why."
        yield Trouble(
            "drill",
            what,
            f"{why}\nUntil a drill arrives, nobody knows whether an alarm would. `heistwatch drill` plays one now.",
            now - due,
            labels=(("drill", how),),
        )

    @property
    def _within(self) -> float:
        """Seconds in which a scheduled drill must arrive, and may be acknowledged."""
        return min(SCHEDULED_WITHIN, self._schedule.grace) if self._schedule is not None else SCHEDULED_WITHIN

    def _missed(self, now: float) -> float | None:
        """When the drill was due that is missed, UTC seconds; None: none is."""
        if self._schedule is None or self._last is None:
            return None
        due = self._schedule.next_due(self._last.good, self._last.since)
        return due if now >= due + self._schedule.grace else None

    # -- one drill ------------------------------------------------------------------------------------------------

    async def begin(self, drill: Drill) -> Drill:
        """Play a new drill and queue what it says first; it goes on with `follow`."""
        now = self._clock()
        drill = msgspec.structs.replace(drill, taken=now)
        await self._put(drill, self._started(drill, await self._read_last(now)))
        log.warning("%s begins: %s on %s, not real", drill.id, drill.case, drill.wallet)
        try:
            alerts = await self._alerts(drill)
        except ConfigError as error:
            return await self._finish(drill, [str(error)])
        first = [alert for alert in alerts if alert.type != "drill.resolved"]
        drill = msgspec.structs.replace(drill, queued=self._clock())
        await self._exclusive(lambda: self._queue(drill, first))
        return drill

    async def follow(self, drill: Drill) -> Drill:
        """One look at a drill that is under way: close it, finish it, or leave it; the drill as it is now."""
        now = self._clock()
        rows = await self._store.outbox(incident_id=drill.id)
        if drill.queued is None and not rows:
            return await self._finish(drill, ["the monitor was ended before it was sent"])
        queued = drill.queued if drill.queued is not None else rows[0].queued_at
        if drill.closed is None:
            await self._note_arrival(drill, rows)
            said = await self._store.said(pending=False)
            arrived = all_settled(rows) or now >= queued + drill.within
            heard = acknowledged(drill, said) is not None or now >= queued + drill.ack_within
            return await self._close(drill, rows) if arrived and heard else drill
        if not all_settled(rows) and now < drill.closed + min(LAST_WITHIN, drill.within):
            return drill
        await self._bury(rows)
        return await self._finish(drill)

    async def _note_arrival(self, drill: Drill, rows: Sequence[OutboxRow]) -> None:
        """The alarm reached everybody: that is known before anybody acknowledged it."""
        last = await self._read_last(self._clock())
        if rows and not drill.receivers and last.good != drill.taken and all(row.state == "done" for row in rows):
            await self._put(drill, msgspec.structs.replace(last, good=drill.taken))

    async def _close(self, drill: Drill, rows: Sequence[OutboxRow]) -> Drill:
        """Say that it is over, to those who heard that it began."""
        await self._bury(rows)
        drill = msgspec.structs.replace(drill, queued=drill.queued or drill.taken, closed=self._clock())
        last = [alert for alert in await self._alerts(drill) if alert.type == "drill.resolved"]
        reached = list(dict.fromkeys((row.receiver, row.channel) for row in rows if row.state == "done"))
        await self._exclusive(lambda: self._queue(drill, last, reached))
        return drill

    async def _queue(
        self, drill: Drill, alerts: Sequence[Alert], reached: Sequence[tuple[str, str]] | None = None
    ) -> None:
        """Queue messages of a drill; ``reached`` are the destinations that get them, None: all."""
        now = self._clock()
        rows: list[OutboxRow] = []
        for alert in alerts:
            if drill.escalate:
                await self._desk.send(alert, now)
            elif reached is None:
                rows += self._desk.rows_now(alert, drill.receivers or None, now)
            else:
                told = self._desk.rows_now(alert, list(dict.fromkeys(name for name, _ in reached)), now)
                rows += [row for row in told if (row.receiver, row.channel) in reached]
        await self._store.note([(drill_key(drill.id), write(drill))], rows)
        self._wake()

    async def _bury(self, rows: Sequence[OutboxRow]) -> None:
        """A drill that arrives hours later is worth nothing, and would keep what comes after it waiting."""
        for row in rows:
            if row.state == "due":
                delivery = Delivery(
                    row.alert_id, row.receiver, row.channel, row.attempts, Outcome.REJECTED, Reason.EXPIRED,
                    self._clock(), detail="the time of the drill was over",
                )  # fmt: skip
                await self._store.record(delivery, state="dead")

    async def _finish(self, drill: Drill, failed: Sequence[str] = ()) -> Drill:
        rows = await self._store.outbox(incident_id=drill.id)
        deliveries = [item for name in {row.alert_id for row in rows} for item in await self._store.deliveries(name)]
        said = await self._store.said(pending=False)
        found = tuple(failed) or tuple(problems(drill, rows, deliveries, said))
        reached = bool(rows) and not failed and all(row.state == "done" for row in rows)
        now = self._clock()
        drill = msgspec.structs.replace(drill, finished=now, reached=reached, problems=found)
        last = await self._read_last(now)
        if not drill.receivers:
            good = drill.taken if reached else last.good
            last = msgspec.structs.replace(last, good=good, problems=found)
        await self._put(drill, last)
        self._played.pop(drill.id, None)
        log.warning("%s is over: %s", drill.id, "; ".join(found) or "everybody was reached")
        return drill

    async def _alerts(self, drill: Drill) -> Sequence[Alert]:
        """What it says; a case that is played again for the same moment says the same."""
        if drill.id not in self._played:
            said = await self._play(drill, drill.taken or drill.asked)
            assert all(alert.kind is AlertKind.DRILL for alert in said), "what is played must never look real"
            self._played[drill.id] = said
        return self._played[drill.id]

    # -- notes ----------------------------------------------------------------------------------------------------

    async def _all(self) -> list[Drill]:
        return [read_drill(value) for _, value in await self._store.notes(DRILLS)]

    async def _read_last(self, now: float) -> Last:
        """When drills were; the first look begins the schedule."""
        found = await self._store.notes(LAST)
        self._last = read_last(found[0][1]) if found else Last(now)
        if not found:
            await self._store.note([(LAST, write(self._last))])
        return self._last

    def _started(self, drill: Drill, last: Last) -> Last:
        """One for a few receivers alone is no test of the routes, and counts for none."""
        return last if drill.receivers else msgspec.structs.replace(last, started=drill.taken, problems=())

    async def _put(self, drill: Drill, last: Last) -> None:
        old = sorted(await self._all(), key=lambda item: item.asked)[: 1 - KEPT]
        gone: list[tuple[str, bytes | None]] = [(drill_key(item.id), None) for item in old if item.finished is not None]
        await self._store.note([*gone, (drill_key(drill.id), write(drill)), (LAST, write(last))])
        self._last = last


def _ends(drill: Drill) -> float:
    """When nothing more is waited for, UTC seconds."""
    start = drill.queued or drill.taken or drill.asked
    return start + max(drill.within, drill.ack_within) + LAST_WITHIN
