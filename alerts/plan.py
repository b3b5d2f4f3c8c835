"""Who gets an alert now, who gets it later, and why. Pure: the clock and all that is known come from outside.

What never waits: critical alerts, what says that an incident grew (``escalated``), what is over or taken back, what the
monitor says of itself, and drills. The first message of an incident waits for no group, no storm, no repeat.

What may wait, in the order in which it is asked::

    silenced    somebody does not want to hear of it     until the silence ends
    inhibited   another incident says more               until that one is over
    quiet       low and medium, at night                 until the time ends
    storm       the receiver was sent too many           until fewer than the limit lie within a minute
    group       updates of one owner are gathered        until the group's next turn

A silence keeps a critical alert only by naming severity critical, and one that grew only by naming its own severity.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from alerts.board import Board
from alerts.case import Case, is_correction
from alerts.held import GROUP, INHIBITED, QUIET, SILENCE, STORM
from alerts.inhibit import Rule, inhibiting
from alerts.intervals import Times, free_at, spans_of
from alerts.matchers import entity_of, incident_of, labels_of, severity_of, shown
from alerts.route import Route, Way, ways
from alerts.silence import mute
from monitor.ids import canonical_json, iso
from monitor.model import Alert, AlertKind, Severity

__all__ = ["NOTHING", "Planner", "Verdict"]

NOTHING = "over"
"""Why a correction is not said to a receiver: it was never told what it corrects."""

_DAY = 86400.0
_AT_ONCE = (AlertKind.BLIND, AlertKind.RECOVERED, AlertKind.DRILL)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of an alert for one receiver.

    ``why`` is empty where it goes now, else one of `alerts.held` or `NOTHING`; ``until`` is wall clock, UTC seconds, as
    far as that is known; ``detail`` is for people. ``group`` says with what it is told together, should it wait, and
    ``interval`` for how many seconds the group rests after a message. ``path`` leads down the tree, and is empty where
    the receiver is told for another reason than the tree.
    """

    receiver: str
    why: str = ""
    until: float | None = None
    detail: str = ""
    group: str = ""
    interval: float = 0.0
    path: tuple[str, ...] = ()

    @property
    def goes_now(self) -> bool:
        """Whether the receiver is told at once."""
        return not self.why


class Planner:
    """The owner's rules of telling.

    Parameters
    ----------
    tree : the root of the routes
    receivers : all names; one that left the configuration is told nothing
    times : named times of the routes
    rules : of inhibition
    storms : messages a minute by receiver, from which on what may wait is gathered; none, or 0, is no limit
    machines : receivers whose channels are all read by programs: they get every update singly
    """

    def __init__(
        self,
        tree: Route,
        receivers: Collection[str],
        *,
        times: Times | None = None,
        rules: Sequence[Rule] = (),
        storms: Mapping[str, int] | None = None,
        machines: Collection[str] = (),
    ) -> None:
        self.tree = tree
        self._receivers = receivers
        self._times = times or {}
        self._rules = rules
        self._storms = storms or {}
        self._machines = machines
        self.least_repeat = _least_repeat(tree)
        """Seconds; nothing is said again sooner. 0: nothing is said again."""

    def plan(self, alert: Alert, now: float, board: Board, also: Sequence[str] = ()) -> tuple[Verdict, ...]:
        """What becomes of ``alert``, receiver by receiver, each once, in the order of the tree.

        Parameters
        ----------
        now : wall clock, UTC seconds
        board : as it was before this alert
        also : who must hear a correction, whatever else is known
        """
        case, ways = board.case(incident_of(alert)), self.ways(alert)
        if is_correction(alert):
            return tuple(self._corrected(alert, ways, board, case, also))
        if alert.kind in _AT_ONCE:
            return tuple(self._go(alert, found) for found in ways.values())
        return tuple(self._verdict(alert, found, now, board, case) for found in ways.values())

    def again(self, alert: Alert, receiver: str, now: float, board: Board) -> Verdict:
        """Whether something keeps ``alert``, which waited, from ``receiver`` now; groups and storms do not any more."""
        found = self.ways(alert).get(receiver, [])
        muted = self._muted(alert, now, board) or self._quiet(alert, found, now)
        group = self._group(alert, found[0].route) if found else self._together(alert)
        path = found[0].path if found else ()
        return Verdict(receiver, *(muted or ("", None, "")), group, self._interval(found), path)

    def ways(self, alert: Alert) -> dict[str, list[Way]]:
        """The routes that ``alert`` ends in, by receiver, both in the order of the tree."""
        found: dict[str, list[Way]] = {}
        for way in ways(self.tree, alert):
            found.setdefault(way.receiver, []).append(way)
        return found

    def storm(self, receiver: str) -> int:
        """Messages a minute from which on a receiver's updates are gathered; 0: any number."""
        return 0 if receiver in self._machines else self._storms.get(receiver, 0)

    def policy(self, alert: Alert) -> str:
        """The escalation policy of the first route that has one, empty where none has."""
        return next((way.route.escalation for way in ways(self.tree, alert) if way.route.escalation), "")

    def repeats(self, alert: Alert) -> dict[str, float]:
        """After how many seconds an open incident is said again, by receiver; those alone who hear it again."""
        found = {}
        for receiver, taken in self.ways(alert).items():
            every = [way.route.repeat_interval for way in taken if way.route.repeat_interval]
            if every:
                found[receiver] = min(every)
        return found

    # -- one receiver ---------------------------------------------------------------------------------------------

    def _corrected(
        self, alert: Alert, found: Mapping[str, Sequence[Way]], board: Board, case: Case | None, also: Sequence[str]
    ) -> Iterator[Verdict]:
        """A correction goes to who was told; who still waits for the alarm needs neither, unless it only waits."""
        told = list(dict.fromkeys([*(case.told if case is not None else ()), *also]))
        there = [name for name in told if name in self._receivers]
        if not there and (case is None or told):  # nobody is known who was told, or they are all gone
            there = list(found)
        for name in there:
            yield self._go(alert, found.get(name, ()), name)
        waiting = [held for held in board.waiting(incident_of(alert)) if held.receiver not in there]
        for held in waiting:
            if held.why in (SILENCE, INHIBITED):
                yield Verdict(held.receiver, NOTHING, None, f"was not told of it: {held.detail}", held.group)
            else:
                yield Verdict(held.receiver, held.why, held.until, held.detail, held.group)
        known = {*there, *(held.receiver for held in waiting)}
        yield from (Verdict(name, NOTHING, detail="was not told of it") for name in found if name not in known)

    def _verdict(self, alert: Alert, found: Sequence[Way], now: float, board: Board, case: Case | None) -> Verdict:
        receiver, route = found[0].receiver, found[0].route
        group = self._group(alert, route)
        muted = self._muted(alert, now, board) or self._quiet(alert, found, now)
        if muted is None and self._may_wait(alert, receiver, case):
            free = board.sent(receiver).free_at(now, self.storm(receiver))
            if free is not None:
                most = self.storm(receiver)
                return Verdict(
                    receiver, STORM, free, f"{most} messages within a minute", self._together(alert), 0.0, found[0].path
                )
            muted = self._gathered(found, group, now, board)
        return Verdict(receiver, *(muted or ("", None, "")), group, self._interval(found), found[0].path)

    def _go(self, alert: Alert, found: Sequence[Way], receiver: str = "") -> Verdict:
        if not found:
            return Verdict(receiver, group=self._together(alert))
        group = self._group(alert, found[0].route)
        return Verdict(found[0].receiver, "", None, "", group, self._interval(found), found[0].path)

    def _may_wait(self, alert: Alert, receiver: str, case: Case | None) -> bool:
        """Whether it only adds to what the receiver was told."""
        if alert.kind is not AlertKind.UPDATED or severity_of(alert) is Severity.CRITICAL:
            return False
        return case is not None and case.is_open and receiver in case.told and receiver not in self._machines

    def _muted(self, alert: Alert, now: float, board: Board) -> tuple[str, float | None, str] | None:
        """(why, until, detail) where nobody is told of it for now."""
        silence = mute(board.silences.values(), alert, now)
        if silence is not None:
            until = f"until {iso(silence.expires)} by {silence.author}: {silence.comment}"
            return SILENCE, None, f"silence {silence.id} ({shown(silence.matchers)}) {until}"
        case = inhibiting(self._rules, alert, board)
        if case is not None:
            return INHIBITED, None, f"incident {case.incident} ({case.severity}) says more"
        return None

    def _quiet(self, alert: Alert, found: Sequence[Way], now: float) -> tuple[str, float | None, str] | None:
        severity = severity_of(alert)
        if severity is None or severity > Severity.MEDIUM or alert.kind in (*_AT_ONCE, AlertKind.ESCALATED):
            return None
        free = []
        for way in found:
            quiet, active = way.route.quiet, way.route.active
            at = free_at(spans_of(self._times, quiet), spans_of(self._times, active), now)
            free.append(now + _DAY if at is None else at)
        if not free or min(free) <= now:
            return None
        names = ", ".join(dict.fromkeys(name for way in found for name in (*way.route.quiet, *way.route.active)))
        return QUIET, min(free), f"{names} until {iso(min(free))}"

    def _gathered(
        self, found: Sequence[Way], group: str, now: float, board: Board
    ) -> tuple[str, float | None, str] | None:
        receiver = found[0].receiver
        wait = min(way.route.group_wait for way in found)
        rests = board.sent(receiver).groups.get(group, 0.0) if self._interval(found) else 0.0
        until = max(now + wait, min(rests, now + self._interval(found)))  # the clock may have been set back
        if until <= now:
            return None
        return GROUP, until, f"updates are gathered until {iso(until)}"

    @staticmethod
    def _interval(found: Sequence[Way]) -> float:
        return min((way.route.group_interval for way in found), default=0.0)

    @staticmethod
    def _together(alert: Alert) -> str:
        return canonical_json([entity_of(alert) or f"incident {incident_of(alert)}"]).decode()

    @staticmethod
    def _group(alert: Alert, route: Route) -> str:
        """The group that it is told in: never with what another entity lost."""
        labels = labels_of(alert)
        values = [[label, sorted(labels.get(label, ()))] for label in route.group_by if label != "entity"]
        entity = entity_of(alert) or f"incident {incident_of(alert)}"
        return canonical_json([entity, *values]).decode()


def _least_repeat(route: Route) -> float:
    every = [route.repeat_interval, *(_least_repeat(inner) for inner in route.routes)]
    return min((seconds for seconds in every if seconds), default=0.0)
