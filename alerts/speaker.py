"""Saying a message to one receiver: its rows, with that receiver's own links, and what is noted of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from alerts.board import Board
from alerts.case import Case
from alerts.held import GROUP, INHIBITED, SILENCE, STORM, Held
from alerts.matchers import incident_of
from alerts.outbox import Receivers, channel_key, rows
from alerts.plan import Planner, Verdict
from alerts.silence import touching_critical
from alerts.summary import covered, first_of
from monitor.model import Alert
from monitor.store import OutboxRow

__all__ = ["Links", "Speaker", "no_links"]

Links = Callable[[str, str, float], Mapping[str, str]]
"""What one receiver may do about an incident: names to URLs, given (receiver, incident id, wall clock)."""


def no_links(receiver: str, incident: str, now: float) -> Mapping[str, str]:
    """Nothing can be done by following a link."""
    return {}


class Speaker:
    """Makes the rows of messages, and notes on the board who was told what and what waits.

    Parameters
    ----------
    receivers : channels by receiver
    zones : IANA zone by receiver, where it is known
    """

    def __init__(self, receivers: Receivers, planner: Planner, links: Links, zones: Mapping[str, str]) -> None:
        self.receivers = receivers
        self._planner = planner
        self._links = links
        self._zones = zones
        self._machines = {
            (name, channel_key(place, channel))
            for name, channels in receivers.items()
            for place, channel in enumerate(channels)
            if channel.machine
        }

    def rows(self, alert: Alert, receiver: str, now: float, *, machine: bool | None = None) -> list[OutboxRow]:
        """The rows of a message for one receiver; ``machine`` True or False: for such channels of it alone."""
        kinds = {(name, key) in self._machines for name, key in self._keys(receiver)}
        if not kinds or (machine is not None and machine not in kinds):
            return []
        incident = incident_of(alert)
        links = self._links(receiver, incident, now) if incident else {}
        own = replace(alert, links=links, zone=self._zones.get(receiver, ""))
        made = rows(own, self.receivers, [receiver], now)
        return [row for row in made if machine in (None, (row.receiver, row.channel) in self._machines)]

    def say(self, alert: Alert, verdict: Verdict, case: Case, board: Board, now: float) -> list[OutboxRow]:
        """A message now; it stands for everything of its incident that waited for this receiver."""
        receiver = verdict.receiver
        if receiver not in self.receivers:
            return []
        held = board.held.get((receiver, case.incident))
        if held is not None:
            board.drop(held)
            silenced = touching_critical(board.silences.values(), now)  # a summary, though of one incident alone
            alert = replace(alert, covers=covered(held, alert.id), body="\n".join([*silenced, alert.body]))
        alert = alert if receiver in case.told else first_of(alert)
        self.told(receiver, case, now)
        self.counted(verdict, case, board, now)
        return self.rows(alert, receiver, case.stamp(now))

    def told(self, receiver: str, case: Case, now: float) -> None:
        """Note in the case that a receiver was told; who changes a case puts it on the board."""
        if receiver not in case.told:
            case.told = [*case.told, receiver]
        case.said = {**case.said, receiver: now}
        case.since = now if case.since is None else case.since

    def counted(self, verdict: Verdict, case: Case, board: Board, now: float) -> None:
        """Note that a receiver was sent one more message. Drills do not count: they must delay nothing."""
        most, recent = self._planner.storm(verdict.receiver), board.sent(verdict.receiver)
        if case.is_drill or not (most or verdict.interval or recent.groups):
            return
        recent.sent(now, most, verdict.group, verdict.interval)
        board.put(recent)

    def hold(self, alert: Alert, verdict: Verdict, case: Case, board: Board, now: float) -> None:
        """Note that a message waits; what waited of the same incident joins it."""
        held = board.held.get((verdict.receiver, case.incident))
        if held is None:
            held = Held(verdict.receiver, case.incident, case.entity, verdict.group, "", "", now, None, [], [])
        gathering = (GROUP, STORM)
        if held.why in gathering and verdict.why in gathering:  # what comes later puts nothing off
            held.until = min(at for at in (held.until, verdict.until) if at is not None)
        else:
            held.until = None if verdict.why in (SILENCE, INHIBITED) else verdict.until
            held.group, held.why, held.detail = verdict.group, verdict.why, verdict.detail
        held.covers = list(dict.fromkeys([*held.covers, alert.id]))
        held.kinds = [*held.kinds, alert.type.partition(".")[2]][-50:]
        board.put(held)

    def _keys(self, receiver: str) -> list[tuple[str, str]]:
        return [(receiver, channel_key(place, channel)) for place, channel in enumerate(self.receivers[receiver])]
