"""Channels that do not deliver: noticed from recorded attempts, told through another route, told again when well.

`Health` is what is known of one destination, pure. `Ailing` keeps one for each, in the store's notes, so that a restart
neither repeats nor forgets. It hears of every recorded attempt, and looks at the clock about every second.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from typing import Protocol

import msgspec

from monitor.errors import StoreError
from monitor.ids import iso, stable_id
from monitor.model import Alert, AlertKind, Delivery, Outcome, Severity
from monitor.store import OutboxRow, Store, read_note

__all__ = ["APART_SECONDS", "FAILING_SECONDS", "PREFIX", "Ailing", "Health", "Rows"]

FAILING_SECONDS = 300.0
"""A channel that accepted nothing for so long, while something was tried, is told of."""

APART_SECONDS = 900.0
"""Between two such messages of the same channel: one that comes and goes must not drown the others."""

PREFIX = "blind/channel/"
"""Of the notes: then receiver, ``/`` and channel."""

KEPT_SECONDS = 30.0  # shorter failures are not written down: most are over at the second attempt

_log = logging.getLogger(__name__)

Destination = tuple[str, str]


class Rows(Protocol):
    """Makes outbox rows of an alert, `alerts.desk.Desk.rows_now` for example."""

    def __call__(self, alert: Alert, receivers: Sequence[str] | None, now: float) -> Sequence[OutboxRow]:
        """One a channel of these receivers; None: of those that the routing tree names. ``now``: wall clock."""
        ...


class Health(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What is known of one destination. Times are wall clock, UTC seconds; None where it did not happen."""

    since: float | None = None  # the first failure after it was last well
    reason: str = ""  # of the last failure, until it is told
    detail: str = ""
    letters: int = 0  # dead letters since then
    told_at: float | None = None  # when people were last told that it fails
    told: bool = False  # of this failure
    by: list[Destination] = []  # through these
    well_at: float | None = None  # accepted something after all that

    def heard(self, delivery: Delivery) -> None:
        """Take in a recorded attempt."""
        if delivery.outcome is Outcome.ACCEPTED:
            if self.told or self.letters:
                self.well_at = delivery.at  # people are told of both first
            else:
                self.since = None
            return
        if self.since is None:
            self.since = delivery.at
        self.well_at = None
        self.letters += delivery.outcome is Outcome.REJECTED
        if not self.told:
            self.reason, self.detail = str(delivery.reason), delivery.detail

    def is_due(self, now: float) -> bool:
        """Whether people must be told at ``now`` that it fails."""
        if self.since is None or self.told or not (self.letters or now - self.since >= FAILING_SECONDS):
            return False
        return self.told_at is None or not self.told_at <= now < self.told_at + APART_SECONDS

    def tell(self, by: Sequence[Destination], now: float) -> None:
        """People are told that it fails, through ``by``; empty: there is nothing else."""
        self.told, self.told_at, self.by = True, now, list(by)

    @property
    def is_over(self) -> bool:
        """Whether people must be told that it is well again."""
        return self.told and self.well_at is not None

    def close(self) -> None:
        """They are: from here on it is well."""
        self.since, self.well_at, self.told = None, None, False
        self.reason, self.detail, self.letters, self.by = "", "", 0, []


class Ailing:
    """Watches the health of all destinations.

    Parameters
    ----------
    store : open
    destinations : every channel that is configured, by (receiver, channel key): `alerts.outbox.destinations`
    rows : makes the rows that tell of it

    Examples
    --------
    ::

        ailing = Ailing(store, destinations(receivers), desk.rows_now)
        await ailing.load()
        dispatcher = Dispatcher(store, receivers, on_delivery=ailing.heard)
        ...
        if await ailing.tick(time.time()):  # about every second
            dispatcher.wake()
    """

    def __init__(self, store: Store, destinations: Collection[Destination], rows: Rows) -> None:
        self._store = store
        self._destinations = tuple(destinations)
        self._rows = rows
        self._health: dict[Destination, Health] = {}
        self._kept: dict[Destination, bytes] = {}  # as the notes say

    async def load(self) -> None:
        """Read what was known before the start; what is of channels that are no more goes."""
        gone: list[tuple[str, None]] = []
        for key, value in await self._store.notes(PREFIX):
            receiver, _, channel = key.removeprefix(PREFIX).rpartition("/")
            if (receiver, channel) not in self._destinations:
                gone.append((key, None))
                continue
            try:
                self._health[receiver, channel] = read_note(value, Health, "what is known of a channel")
            except msgspec.MsgspecError as error:
                raise StoreError(f"a stored note on a channel cannot be read ({error}): of another version?") from None
            self._kept[receiver, channel] = value
        if gone:
            await self._store.note(gone)

    def heard(self, delivery: Delivery) -> None:
        """Take in a recorded attempt: the observer of `alerts.dispatch.Dispatcher`."""
        destination = (delivery.receiver, delivery.channel)
        if destination in self._destinations:
            self._health.setdefault(destination, Health()).heard(delivery)

    async def tick(self, now: float) -> bool:
        """Queue what is to be told at wall clock ``now``; whether there was something.

        Raises
        ------
        StoreError : the store failed
        """
        queued: list[OutboxRow] = []
        for destination in [destination for destination, health in self._health.items() if health.is_due(now)]:
            queued += self._tell(destination, now)
        for destination in [destination for destination, health in self._health.items() if health.is_over]:
            queued += self._tell_over(destination, now)
        changes = self._changes(now)
        if changes or queued:
            await self._store.note([(f"{PREFIX}{'/'.join(key)}", value) for key, value in changes.items()], queued)
            for key, value in changes.items():
                if value is None:
                    del self._kept[key]
                else:
                    self._kept[key] = value
        return bool(queued)

    def states(self) -> list[dict[str, str | int | bool | None]]:
        """Every destination that fails now, for people: which, since when, why, and whether others were told."""
        return [
            {
                "receiver": receiver, "channel": channel, "since": iso(health.since), "reason": health.reason,
                "detail": health.detail, "dead_letters": health.letters, "told": bool(health.by),
            }
            for (receiver, channel), health in sorted(self._health.items())
            if health.since is not None and health.well_at is None
        ]  # fmt: skip

    def _changes(self, now: float) -> dict[Destination, bytes | None]:
        changes: dict[Destination, bytes | None] = {}
        for destination, health in self._health.items():
            lasts = health.since is not None and (health.told or health.letters or now - health.since >= KEPT_SECONDS)
            value = msgspec.json.encode(health) if lasts else None
            if value != self._kept.get(destination):
                changes[destination] = value
        return changes

    def _tell(self, destination: Destination, now: float) -> list[OutboxRow]:
        """Through the tree's other channels; where none of them is well, through all others that there are."""
        health = self._health[destination]
        alert = _blind(destination, health)
        found = self._others(destination, self._rows(alert, None, now))
        if not any(self._is_well(row) for row in found):
            names = list(dict.fromkeys(receiver for receiver, _ in self._destinations))
            found = self._others(destination, self._rows(alert, names, now))
        health.tell(list(dict.fromkeys((row.receiver, row.channel) for row in found)), now)
        if not any(self._is_well(row) for row in found):
            how = "and no other channel works" if found else "and there is no other channel to tell it through"
            _log.error("%s, %s", alert.title, how)
        return found

    def _tell_over(self, destination: Destination, now: float) -> list[OutboxRow]:
        """To those who were told, to those of the tree, and to who missed messages; with the first where none was."""
        health = self._health[destination]
        alert = _recovered(destination, health)
        wanted = {destination, *health.by, *((row.receiver, row.channel) for row in self._rows(alert, None, now))}
        alerts = [alert] if health.by else [_blind(destination, health), alert]
        names = list(dict.fromkeys(one[0] for one in self._destinations if one in wanted))
        found = [row for each in alerts for row in self._rows(each, names, now)]
        health.close()
        return [row for row in found if (row.receiver, row.channel) in wanted]

    def _others(self, destination: Destination, rows: Sequence[OutboxRow]) -> list[OutboxRow]:
        return [row for row in rows if (row.receiver, row.channel) != destination]

    def _is_well(self, row: OutboxRow) -> bool:
        health = self._health.get((row.receiver, row.channel))
        return health is None or health.since is None or health.well_at is not None


def _blind(destination: Destination, health: Health) -> Alert:
    receiver, channel = destination
    title = f"Alerts to {receiver} do not arrive: {channel.partition(':')[2] or channel} ({health.reason})"
    since = iso(int(health.since or 0))
    lines = [f"Channel {channel} of receiver {receiver} accepts nothing since {since}."]
    if health.letters:
        count = f"{health.letters} message{'s' if health.letters > 1 else ''}"
        lines = [f"Of what goes to channel {channel} of receiver {receiver}, {count} had to be given up since {since}."]
    if health.detail:
        lines.append(f"Last answer: {health.detail}.")
    lines.append("What waits is tried for a day. `heistwatch deliveries list` shows it;")
    lines.append("when the channel works again, `heistwatch deliveries retry --all` sends what was given up.")
    return _made(destination, health, AlertKind.BLIND, title, lines)


def _recovered(destination: Destination, health: Health) -> Alert:
    receiver, channel = destination
    title = f"Alerts to {receiver} arrive again: {channel.partition(':')[2] or channel}"
    since, until = iso(int(health.since or 0)), iso(int(health.well_at or 0))
    lines = [f"Channel {channel} of receiver {receiver} failed from {since} to {until} ({health.reason})."]
    if health.letters:
        lines.append(f"{health.letters} of its messages were given up: `heistwatch deliveries list --state dead`.")
    return _made(destination, health, AlertKind.RECOVERED, title, lines)


def _made(destination: Destination, health: Health, kind: AlertKind, title: str, lines: Sequence[str]) -> Alert:
    receiver, channel = destination
    name = stable_id(str(kind), "channel", receiver, channel, str(health.since))
    labels = {
        "severity": str(Severity.HIGH), "kind": str(kind),
        "receiver": receiver, "channel": channel, "reason": health.reason,
    }  # fmt: skip
    return Alert(name, kind, title, "\n".join(lines), Severity.HIGH, labels)
