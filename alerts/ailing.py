"""Channels that do not deliver: noticed from recorded attempts, told through another route, told again when well.

`Health` is what is known of one destination, pure. `Ailing` keeps one for each, in the store's notes, so that a restart
neither repeats nor forgets; it is driven by the observer of the dispatcher and by a tick about every second.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

import msgspec

from alerts.base import Channel
from alerts.outbox import Receivers, rows
from monitor.ids import iso, stable_id
from monitor.model import Alert, AlertKind, Delivery, Outcome, Reason
from monitor.store import OutboxRow, Store

__all__ = ["FAILING_SECONDS", "PREFIX", "Ailing", "Health"]

FAILING_SECONDS = 300.0
"""A channel that accepted nothing for so long, while something was tried, is told of."""

KEPT_SECONDS = 30.0  # shorter failures are not written down: most are over at the second attempt
APART_SECONDS = 900.0  # between two messages that the same channel ails: one that comes and goes must not flood others

PREFIX = "blind/channel/"
"""Of the notes: then receiver, ``/`` and channel."""

_log = logging.getLogger(__name__)

Destination = tuple[str, str]
Route = Callable[[Alert, float], Sequence[OutboxRow]]


class Health(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What is known of one destination. Times are wall clock, UTC seconds."""

    since: float | None = None  # the first failure after the last acceptance; None: it is well
    reason: str = ""  # of the last failure
    detail: str = ""
    is_dead: bool = False  # a dead letter: no need to wait
    told_at: float | None = None  # when people were told of it, last
    is_told: bool = False  # they were of this failure
    is_held: bool = False  # there was no other channel to tell them through

    @property
    def is_ailing(self) -> bool:
        """Whether it accepted nothing since its last failure."""
        return self.since is not None

    def heard(self, delivery: Delivery) -> bool:
        """Take in a recorded attempt; whether it is well again after people were, or should have been, told."""
        if delivery.outcome is Outcome.ACCEPTED:
            over = self.is_told
            self.since, self.reason, self.detail, self.is_dead, self.is_told = None, "", "", False, False
            return over
        if self.since is None:
            self.since = delivery.at
        self.reason, self.detail = str(delivery.reason), delivery.detail
        self.is_dead = self.is_dead or delivery.outcome is Outcome.REJECTED
        return False

    def is_due(self, now: float) -> bool:
        """Whether people must be told at ``now`` that it ails."""
        if self.since is None or self.is_told or not (self.is_dead or now - self.since >= FAILING_SECONDS):
            return False
        return self.told_at is None or not self.told_at <= now < self.told_at + APART_SECONDS


class Ailing:
    """Watches the health of all destinations.

    Parameters
    ----------
    store : open
    destinations : every channel by (receiver, channel key), see `alerts.outbox.destinations`
    route : outbox rows of an alert as the routing tree says, at wall clock

    Examples
    --------
    ::

        ailing = Ailing(store, destinations(receivers), route)
        await ailing.load()
        dispatcher = Dispatcher(store, receivers, on_delivery=ailing.heard)
        ...
        if await ailing.tick(time.time()):  # about every second
            dispatcher.wake()
    """

    def __init__(self, store: Store, destinations: Mapping[Destination, Channel], route: Route) -> None:
        self._store = store
        self._destinations = dict(destinations)
        self._route = route
        self._health: dict[Destination, Health] = {}
        self._kept: dict[Destination, bytes] = {}  # as the notes say
        self._recovered: dict[Destination, tuple[Health, float]] = {}

    async def load(self) -> None:
        """Read what was known before the start; what is of channels that are no more goes."""
        gone: list[tuple[str, None]] = []
        for key, value in await self._store.notes(PREFIX):
            receiver, _, channel = key.removeprefix(PREFIX).rpartition("/")
            destination = (receiver, channel)
            if destination not in self._destinations:
                gone.append((key, None))
                continue
            self._health[destination] = msgspec.json.decode(value, type=Health)
            self._kept[destination] = value
        if gone:
            await self._store.note(gone)

    def heard(self, delivery: Delivery) -> None:
        """Take in a recorded attempt; the observer of `alerts.dispatch.Dispatcher`."""
        destination = (delivery.receiver, delivery.channel)
        if destination not in self._destinations or delivery.reason is Reason.INTERNAL and not delivery.alert_id:
            return
        health = self._health.setdefault(destination, Health())
        before = msgspec.structs.replace(health)
        if health.heard(delivery):
            self._recovered[destination] = (before, delivery.at)
        elif health.is_ailing:
            self._recovered.pop(destination, None)  # it was well for less than a tick: still the same trouble
            if before.since is None and destination in self._recovered:
                health.since = before.since

    async def tick(self, now: float) -> bool:
        """Tell what is to be told at wall clock ``now``; whether something was queued.

        Raises
        ------
        StoreError : the store failed
        """
        queued: list[OutboxRow] = []
        for destination, (before, at) in sorted(self._recovered.items()):
            queued += self._tell_recovered(destination, before, at, now)
        self._recovered.clear()
        for destination, health in sorted(self._health.items()):
            if health.is_due(now):
                queued += self._tell_blind(destination, health, now)
        changes = self._changes(now)
        if changes or queued:
            await self._store.note(changes, queued)
            self._kept = {key: value for key, value in self._kept.items() if key in self._health}
        return bool(queued)

    def states(self) -> list[dict[str, str | bool | None]]:
        """Every destination that ails now, for people: where, since when, why, and whether they were told."""
        return [
            {
                "receiver": receiver, "channel": channel, "since": iso(health.since), "reason": health.reason,
                "detail": health.detail, "told": health.is_told and not health.is_held,
            }
            for (receiver, channel), health in sorted(self._health.items()) if health.is_ailing
        ]  # fmt: skip
