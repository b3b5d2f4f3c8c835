"""The desk: takes every message, says it now or keeps it, and says later what waited, what repeats, what escalates.

::

    pipeline --route(alert)--> rows and notes, for the block's own transaction
    clock    --tick(now)-----> rows and notes, in a transaction of their own
    people   --heard(event)--> escalation and repeats stop
    others   --refresh()-----> silences and verdicts that other processes wrote

Everything that the desk knows is in notes of the store: a new process over the same store goes on where the last one
was killed. `route`, `tick` and `send` must not interleave, and what `route` gave must be stored before the next of
the other two.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from alerts.board import PREFIXES, Board
from alerts.case import DRILLS, Case, case_key, hear, is_correction, opened, read_case, renewed
from alerts.escalate import Policy
from alerts.held import GROUP, STORM, Held
from alerts.matchers import incident_of
from alerts.outbox import Receivers
from alerts.plan import NOTHING, Planner, Verdict
from alerts.release import Release
from alerts.silence import PREFIX as SILENCES
from alerts.silence import read_silence
from alerts.speaker import Links, Speaker, no_links
from monitor.errors import StoreError
from monitor.model import Alert, AlertKind
from monitor.store import OperatorEvent, OutboxRow, Store

__all__ = ["Desk", "Links", "Routed"]

_TRIES = 5


@dataclass(frozen=True, slots=True)
class Routed:
    """What a message leads to: rows for the outbox and changes of notes, to be stored together."""

    rows: tuple[OutboxRow, ...]
    notes: tuple[tuple[str, bytes | None], ...]


class Desk:
    """See the module. `load` before anything else.

    Parameters
    ----------
    store : open
    planner : the owner's rules
    receivers : channels by receiver
    policies : of escalation, by name
    links : what one receiver may do about an incident: names to URLs, given (receiver, incident id, wall clock)
    zones : IANA zone by receiver, where it is known
    """

    def __init__(
        self,
        store: Store,
        planner: Planner,
        receivers: Receivers,
        *,
        policies: Mapping[str, Policy] | None = None,
        links: Links = no_links,
        zones: Mapping[str, str] | None = None,
    ) -> None:
        self.board = Board()
        self.planner = planner
        self._store = store
        self._receivers = receivers
        self._speaker = Speaker(receivers, planner, links, zones or {})
        self._release = Release(planner, self._speaker, policies or {})
        self._silences: Sequence[tuple[str, bytes]] = ()
        self._drills: dict[str, bytes] = {}  # as they are stored: other processes write these, too
        self._stirred = True  # something happened that may end a wait
        self._wake = -math.inf  # nothing is due before
        self._ticked = -math.inf  # wall clock of the last look

    async def load(self) -> None:
        """Take over what is stored; StoreError where it cannot be read."""
        board = Board()
        for prefix in PREFIXES:
            board.load(await self._store.notes(prefix))
        self.board, self._stirred = board, True
        self._silences = await self._store.notes(SILENCES)
        self._drills = dict(await self._store.notes(DRILLS))
        for event in await self._store.said(pending=False):
            case = board.case(event.incident_id)  # a verdict may be in force, and the kill fell before it was noted
            if case is not None and event.at >= case.opened:
                self.heard(event)

    async def refresh(self) -> None:
        """Take over silences and verdicts that other processes wrote since."""
        notes = await self._store.notes(SILENCES)
        if notes != self._silences:
            self._silences, self._stirred = notes, True
            silences = [read_silence(value) for _, value in notes]
            self.board.silences = {silence.id: silence for silence in silences}
        for event in await self._store.said(pending=True):
            self.heard(event)

    # -- messages -------------------------------------------------------------------------------------------------

    def route(self, alert: Alert, now: float, also: Sequence[str] = ()) -> Routed:
        """What becomes of a message, to be stored in one transaction before the next `tick`.

        Parameters
        ----------
        now : wall clock, UTC seconds
        also : who must hear a correction, whatever else is known
        """
        incident = incident_of(alert)
        verdicts = self.planner.plan(alert, now, self.board, also)
        rows: list[OutboxRow] = []
        if not incident or alert.kind in (AlertKind.BLIND, AlertKind.RECOVERED):
            rows += self.rows_now(alert, [verdict.receiver for verdict in verdicts], now)
        else:
            self._stirred = True
            case = self._renewed(alert, now)
            for verdict in verdicts:
                rows += self._told(alert, verdict, case, now)
            self.board.put(case)
        return Routed(tuple(rows), self.board.taken())

    def rows_now(self, alert: Alert, receivers: Sequence[str] | None, now: float) -> tuple[OutboxRow, ...]:
        """The rows of a message that waits for nothing; ``receivers`` None: those of the tree."""
        names = list(self.planner.ways(alert)) if receivers is None else receivers
        there = [name for name in dict.fromkeys(names) if name in self._receivers]
        return tuple(row for name in there for row in self._speaker.rows(alert, name, now))

    async def send(self, alert: Alert, now: float, also: Sequence[str] = ()) -> tuple[OutboxRow, ...]:
        """`route` a message that belongs to no block, and store what becomes of it; its rows.

        Safe beside another process that runs on the same store, for drills alone.
        """
        for _ in range(_TRIES):
            await self.refresh()
            await self._take_drills()
            routed = self.route(alert, now, also)
            if await self._stored(routed):
                return routed.rows
        raise StoreError("the notes of a drill changed again and again while its message was queued")

    def _renewed(self, alert: Alert, now: float) -> Case:
        """The case of a message, which takes it in; a new one where there is none."""
        case = self.board.case(incident_of(alert))
        if case is None:
            case = opened(alert, now)
        renewed(case, alert, now)
        policy = self.planner.policy(alert)
        if not is_correction(alert) and policy != case.policy:
            case.policy, case.steps = policy, []
            case.since = now if case.told else None
        return case

    def _told(self, alert: Alert, verdict: Verdict, case: Case, now: float) -> list[OutboxRow]:
        """The rows of a message for one receiver, or the note that it waits."""
        held = self.board.held.get((verdict.receiver, case.incident))
        if verdict.goes_now:
            return self._speaker.say(alert, verdict, case, self.board, now)
        if verdict.why == NOTHING:
            if held is not None:
                self.board.drop(held)
            return []
        self._speaker.hold(alert, verdict, case, self.board, now)
        if verdict.why in (GROUP, STORM):  # programs get every update
            return self._speaker.rows(alert, verdict.receiver, case.stamp(now), machine=True)
        return []

    # -- people ---------------------------------------------------------------------------------------------------

    def heard(self, event: OperatorEvent) -> bool:
        """Take in what a person said, once; True where it changed something here."""
        case = self.board.case(event.incident_id)
        if case is None or not hear(case, event):
            return False
        self.board.put(case)
        self._stirred = True
        return True

    def merged(self, gone: str, into: str) -> None:
        """One incident took another's evidence over: what waits of it, and who was told, is now the other's."""
        old, new = self.board.cases.get(gone), self.board.case(into)
        if old is None or old.into or gone == into:
            return
        if new is None:
            new = msgspec.structs.replace(old, incident=into)
        new.told = list(dict.fromkeys([*new.told, *old.told]))
        new.said = {**old.said, **new.said}
        new.since = new.since if new.since is not None else old.since
        old.into = new.incident
        old.closed = old.closed if old.closed is not None else max(old.said.values(), default=old.opened)
        for held in self.board.waiting(gone):
            self.board.drop(held)
            there = self.board.held.get((held.receiver, new.incident))
            if there is None:
                self.board.put(msgspec.structs.replace(held, incident=new.incident))
            else:
                there.covers = list(dict.fromkeys([*held.covers, *there.covers]))
                self.board.put(there)
        self.board.put(old)
        self.board.put(new)
        self._stirred = True

    async def take_over(self, rows: Sequence[OutboxRow], now: float) -> None:
        """Say anew what a channel that left the configuration did not get: the latest of each incident.

        To the receiver's other channels, those that have it left out, or where it is gone to whoever the tree names.
        """
        for row in rows:
            case = self.board.case(row.incident_id)
            if case is None or not case.is_open or case.is_drill:
                continue
            there = row.receiver in self._receivers
            for name in [row.receiver] if there else self.planner.ways(case.latest):
                held = self.board.held.get((name, case.incident))
                if held is None:
                    held = Held(name, case.incident, case.entity, "", GROUP, "a channel is gone", now, now, [], [])
                held.covers = list(dict.fromkeys([*held.covers, row.alert_id]))
                self.board.put(held)
        await self._stored(Routed((), self.board.taken()))

    def taken(self) -> tuple[tuple[str, bytes | None], ...]:
        """What changed since `route` or `tick` last gave notes, to be stored with whatever comes next."""
        return self.board.taken()

    # -- time -----------------------------------------------------------------------------------------------------

    async def tick(self, now: float) -> bool:
        """Say what is due at wall clock ``now``; True where there are new rows in the outbox."""
        await self.refresh()
        await self._take_drills()
        rows: list[OutboxRow] = []
        self._stirred, self._ticked = self._stirred or now < self._ticked, now  # the clock was set back
        if self._stirred or now >= self._wake:
            self._stirred = False
            rows, self._wake = self._release.look(self.board, now)
        if not rows and not self.board.is_changed:
            return False
        routed = Routed(tuple(rows), self.board.taken())
        return await self._stored(routed) and bool(rows)

    async def _stored(self, routed: Routed) -> bool:
        """Store it; False, and everything is read anew, where another process changed a drill meanwhile."""
        drills = [key for key, _ in routed.notes if key.startswith(DRILLS)]
        expect = [(key, self._drills.get(key)) for key in drills]
        if not await self._store.note(routed.notes, routed.rows, expect):
            await self.load()
            return False
        for key, value in routed.notes:
            if key in drills and value is not None:
                self._drills[key] = value
            elif key in drills:
                self._drills.pop(key, None)
        return True

    async def _take_drills(self) -> None:
        """Take over what other processes wrote of drills."""
        notes = dict(await self._store.notes(DRILLS))
        if notes == self._drills:
            return
        for key, value in notes.items():
            if self._drills.get(key) != value:
                self.board.place(read_case(value))
        for case in [case for case in self.board.cases.values() if case_key(case.incident) in self._drills]:
            if case_key(case.incident) not in notes:
                self.board.remove(case.incident)
        self._drills, self._stirred = notes, True
