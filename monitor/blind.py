"""The monitor says when it does not see, and when it sees again: `monitor.blind` and `monitor.recovered`.

It runs beside the consumer, so that it speaks even when that hangs; what it said is noted in the transaction that
queues the message, so that a restart neither repeats it nor forgets to say that it is over. An event loop that stands
still, and a process that is gone, cannot speak: that is what heartbeats are for (`alerts.heartbeat`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Protocol
from urllib.parse import quote

import msgspec

from monitor.health import MonitorStatus, Trouble, for_people, is_over, troubles
from monitor.ids import iso, stable_id
from monitor.model import Alert, AlertKind, Severity
from monitor.store import OutboxRow, read_note

__all__ = ["PREFIX", "Blind", "Rows"]

log = logging.getLogger(__name__)

PREFIX = "blind/"
EVERY = 2.0  # seconds between two looks
OVER_LOOKS = 2  # good looks in a row after which a trouble is over
REMIND_SECONDS = 6 * 3600.0

Rows = Callable[[Alert, float, Sequence[str]], Sequence[OutboxRow]]
"""Outbox rows of an alert that is sent at once, given the wall clock, and receivers that must get it too."""


class _Store(Protocol):
    async def notes(self, prefix: str = "") -> Sequence[tuple[str, bytes]]: ...

    async def note(
        self,
        changes: Sequence[tuple[str, bytes | None]],
        outbox: Sequence[OutboxRow] = (),
        expect: Sequence[tuple[str, bytes | None]] = (),
    ) -> bool: ...


class Told(msgspec.Struct):
    """A trouble that people were told of; times are wall clock, UTC seconds."""

    key: str
    what: str
    since: float
    said_at: float
    chain: str = ""
    scanned: int | None = None  # the last block that was looked at before it
    receivers: list[str] = []
    times: int = 1
    labels: dict[str, str] = {}


class Blind:
    """Looks every few seconds, says what is wrong once, again every six hours, and when it is over.

    Parameters
    ----------
    read : the monitor's status now, see `monitor.vitals`
    store : open; what was said is kept in its notes
    rows : see `Rows`
    wake : told that rows were queued
    more : troubles that others see, by wall clock: a missed drill; they are over when they are not named any more
    clock : wall clock, UTC seconds
    sleep : waits so many seconds
    """

    def __init__(
        self,
        read: Callable[[], MonitorStatus],
        store: _Store,
        rows: Rows,
        *,
        wake: Callable[[], None] = lambda: None,
        more: Sequence[Callable[[float], Iterable[Trouble]]] = (),
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._read, self._store, self._rows, self._wake = read, store, rows, wake
        self._more = more
        self._clock, self._sleep = clock, sleep
        self._told: dict[str, Told] | None = None
        self._good: dict[str, int] = {}  # good looks in a row at what is told

    @property
    def told(self) -> tuple[str, ...]:
        """Keys of what people were told of and is not over."""
        return tuple(self._told or ())

    async def run(self) -> None:
        """Look until cancelled. StoreError ends it, as it ends the monitor."""
        while True:
            await self.look()
            await self._sleep(EVERY)

    async def look(self) -> None:
        """One look, and what follows from it."""
        if self._told is None:
            notes = await self._store.notes(PREFIX)  # keys are quoted; those with a slash are of `alerts.ailing`
            own = [_read(value) for key, value in notes if "/" not in key.removeprefix(PREFIX)]
            self._told = {told.key: told for told in own}
        now, status = self._clock(), self._read()
        found = [*troubles(status), *(trouble for source in self._more for trouble in source(now))]
        for trouble in found:
            await self._trouble(trouble, status, now)
        for key in [key for key in self._told if not any(trouble.key == key for trouble in found)]:
            over = is_over(status, key)
            self._good[key] = self._good.get(key, 0) + 1 if over else 0
            if self._good[key] >= OVER_LOOKS:
                await self._over(self._told[key], status, now)

    async def _trouble(self, trouble: Trouble, status: MonitorStatus, now: float) -> None:
        assert self._told is not None
        self._good.pop(trouble.key, None)
        told, again = self._told.get(trouble.key), False
        if told is None:
            labels = dict(trouble.labels)
            told = Told(trouble.key, trouble.what, now - trouble.age, now, trouble.chain, labels=labels)
            told.scanned = next((item.scanned for item in status.chains if item.chain == trouble.chain), None)
            log.error("%s", trouble.what)
        elif (again := now - told.said_at >= REMIND_SECONDS) or told.labels != dict(trouble.labels):
            told.times, told.said_at, told.what = told.times + 1, now, trouble.what
            told.labels = dict(trouble.labels)  # other ones: it is another thing now
        else:
            return
        await self._say(told, _alert(told, trouble, again), now)
        self._told[trouble.key] = told

    async def _say(self, told: Told, alert: Alert, now: float) -> None:
        rows = self._rows(alert, now, told.receivers)
        told.receivers = list(dict.fromkeys([*told.receivers, *(row.receiver for row in rows)]))
        await self._store.note([(_key(told.key), msgspec.json.encode(told))], rows)
        self._wake()

    async def _over(self, told: Told, status: MonitorStatus, now: float) -> None:
        assert self._told is not None
        alert = _recovered(told, status, now)
        log.warning("%s", alert.title)
        await self._store.note([(_key(told.key), None)], self._rows(alert, now, told.receivers))
        del self._told[told.key]
        self._good.pop(told.key, None)
        self._wake()


def _key(key: str) -> str:
    return f"{PREFIX}{quote(key, safe='')}"


def _read(value: bytes) -> Told:
    return read_note(value, Told, "what was said of a blind monitor")


def _alert(told: Told, trouble: Trouble, again: bool) -> Alert:
    body = trouble.why
    if again:
        body = f"This lasts since {iso(int(told.since))}; it is said again every {for_people(REMIND_SECONDS)}.\n{body}"
    parts: list[Any] = ["blind", told.key, int(told.since), *([told.times] if told.times > 1 else [])]
    return _made(told, stable_id(*parts), AlertKind.BLIND, f"{'STILL: ' if again else ''}{trouble.what}", body)


def _recovered(told: Told, status: MonitorStatus, now: float) -> Alert:
    title = f"Over after {for_people(now - told.since)}: {told.what}"
    lines = [f"It lasted from {iso(int(told.since))} to {iso(int(now))}."]
    chain = next((item for item in status.chains if item.chain == told.chain), None)
    if told.chain and chain is None:
        lines.append("The chain is not followed any more.")
    elif chain is not None:
        lines.append(_caught_up(told, chain.scanned, chain.lag, chain.filling))
    parts = ("recovered", told.key, int(told.since))
    return _made(told, stable_id(*parts), AlertKind.RECOVERED, title, "\n".join(lines))


def _caught_up(told: Told, scanned: int | None, lag: int, filling: str | None) -> str:
    """Which blocks of the time in between were looked at, and which were not so far."""
    if filling is not None:
        return (
            f"Blocks that were missed after {told.scanned} are being fetched beside the head ({filling}); until they "
            "are in, what happened in them is not judged. `heistwatch coverage` shows what is missing."
        )
    if scanned is None or told.scanned is None:
        return "Blocks are scanned again. `heistwatch coverage` shows which were."
    if scanned <= told.scanned:
        return f"No block came meanwhile: the last one is {scanned} still."
    rest = f" {lag} more are on their way." if lag > 0 else ""
    first = told.scanned + 1
    return f"{f'Block {scanned} was' if first == scanned else f'Blocks {first} to {scanned} were'} caught up.{rest}"


def _made(told: Told, alert_id: str, kind: AlertKind, title: str, body: str) -> Alert:
    labels = {"severity": str(Severity.HIGH), "kind": str(kind), "trouble": told.key, **told.labels}
    if told.chain:
        labels["chain"] = told.chain
    return Alert(alert_id, kind, title, body, Severity.HIGH, labels)
