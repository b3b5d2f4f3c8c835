"""What becomes due as time passes: what waited is said, open incidents are said again, and escalate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import msgspec

from alerts.board import Board
from alerts.case import KEPT_SECONDS, Case, is_correction
from alerts.escalate import Policy, applies, next_step_at, step_alert, steps_due
from alerts.held import GROUP, INHIBITED, SILENCE, STORM, Held
from alerts.plan import Planner, Verdict
from alerts.silence import KEPT_SECONDS as SILENCE_KEPT
from alerts.silence import touching_critical
from alerts.speaker import Speaker
from alerts.summary import Waiting, covered, first_of, reminder_of, summary_of
from monitor.model import Alert, Severity
from monitor.store import OutboxRow

__all__ = ["Release"]

LOOK_SECONDS = 3600.0  # at least so often everything is looked through
MOST = 1000  # rows of a look, from which on the rest waits for the next
_GATHERING = (GROUP, STORM)


class Release:
    """Looks through a board and says what is due. Reads no clock; the same board and time give the same rows."""

    def __init__(self, planner: Planner, speaker: Speaker, policies: Mapping[str, Policy]) -> None:
        self._planner = planner
        self._speaker = speaker
        self._policies = policies

    def look(self, board: Board, now: float) -> tuple[list[OutboxRow], float]:
        """The rows of what is due, noted on the board as said; and when the next can be, if nothing happens before.

        Where very much is due at once, the rest of it is for the next look: blocks are not to wait for a storm.
        """
        wakes = [now + LOOK_SECONDS]
        rows: list[OutboxRow] = []
        for due in (self._waited, self._escalated, self._repeated):  # who was just told of a step needs no reminder
            for said in due(board, now, wakes):
                rows += said
                if len(rows) >= MOST:
                    return rows, now
        self._forget(board, now)
        wakes += [held.until for held in board.held.values() if held.until is not None]
        wakes += [at for item in board.silences.values() for at in (item.created, item.expires) if at > now]
        return rows, min(wakes)

    # -- what waited ----------------------------------------------------------------------------------------------

    def _waited(self, board: Board, now: float, wakes: list[float]) -> Iterator[list[OutboxRow]]:
        self._rehouse(board, now)
        order = [board.held[key] for key in sorted(board.held)]
        groups: dict[tuple[str, str, str], list[Waiting]] = {}
        later = []
        for held in order:
            if held.until is not None and held.until > now >= held.since:  # else the clock was set back
                later.append(held)
            elif (item := self._ready(held, board, now)) is not None:
                groups.setdefault(_place(held), []).append(item)
        for held in later:  # what is gathered goes together
            if held.why in _GATHERING and _place(held) in groups and (item := self._ready(held, board, now)):
                groups[_place(held)].append(item)
        yield from (self._say(items, board, now) for items in groups.values())

    def _rehouse(self, board: Board, now: float) -> None:
        """What waits for a receiver that left the configuration is for whoever gets such messages now."""
        for held in [item for item in board.held.values() if item.receiver not in self._speaker.receivers]:
            board.drop(held)
            case = board.case(held.incident)
            for receiver in self._planner.ways(case.latest) if case is not None else ():
                there = board.held.get((receiver, held.incident))
                if there is None:
                    there = msgspec.structs.replace(held, receiver=receiver, why=GROUP, until=now, covers=[])
                there.covers = list(dict.fromkeys([*there.covers, *held.covers]))
                board.put(there)

    def _ready(self, held: Held, board: Board, now: float) -> Waiting | None:
        """What waited, where nothing keeps it any more; else why it goes on waiting is noted."""
        case = board.case(held.incident)
        if case is None or (not case.is_open and held.why in (SILENCE, INHIBITED)):
            board.drop(held)  # over before anybody was told: there is nothing to say, nor to correct
            return None
        verdict = self._planner.again(case.latest, held.receiver, now, board)
        if verdict.goes_now:
            return Waiting(held, case)
        news = (verdict.why, None if verdict.why in (SILENCE, INHIBITED) else verdict.until, verdict.detail)
        if news != (held.why, held.until, held.detail):
            held.why, held.until, held.detail = news
            board.put(held)
        return None

    def _say(self, items: list[Waiting], board: Board, now: float) -> list[OutboxRow]:
        """One message for all of them; programs get the latest of each incident."""
        receiver = items[0].held.receiver
        if len(items) == 1 and not is_correction(items[0].case.latest):
            case = items[0].case
            rows = self._speaker.say(case.latest, self._verdict(case, receiver, now, board), case, board, now)
            board.put(case)
            return rows
        summary = summary_of(items, touching_critical(board.silences.values(), now))
        at = max(item.case.stamp(now) for item in items)
        rows = self._speaker.rows(summary, receiver, at, machine=False)
        for item in items:
            latest = item.case.latest
            own = replace(latest, covers=covered(item.held, latest.id))
            own = own if receiver in item.case.told else first_of(own)
            rows += self._speaker.rows(own, receiver, item.case.stamp(now), machine=True)
            self._speaker.told(receiver, item.case, now)
            board.drop(item.held)
            board.put(item.case)
        self._speaker.counted(self._verdict(items[0].case, receiver, now, board), items[0].case, board, now)
        return rows

    def _verdict(self, case: Case, receiver: str, now: float, board: Board) -> Verdict:
        return self._planner.again(case.latest, receiver, now, board)

    # -- what is said again ---------------------------------------------------------------------------------------

    def _repeated(self, board: Board, now: float, wakes: list[float]) -> Iterator[list[OutboxRow]]:
        least = self._planner.least_repeat
        for case in _waiting(board) if least else ():
            if case.is_drill or not case.said:
                continue
            if min(case.said.values()) + least > now:
                wakes.append(min(case.said.values()) + least)
                continue
            for receiver, every in self._planner.repeats(case.latest).items():
                if receiver in case.said and receiver in self._speaker.receivers:
                    yield self._repeat(case, receiver, case.said[receiver] + every, board, now, wakes)

    def _repeat(
        self, case: Case, receiver: str, due: float, board: Board, now: float, wakes: list[float]
    ) -> list[OutboxRow]:
        if due > now:
            wakes.append(due)
            return []
        alert = reminder_of(case, receiver, now)
        return self._again(alert, receiver, case, board, now, wakes, paced=case.severity is not Severity.CRITICAL)

    def _again(
        self, alert: Alert, receiver: str, case: Case, board: Board, now: float, wakes: list[float], *, paced: bool
    ) -> list[OutboxRow]:
        """A further message of a case, unless something keeps it from being said."""
        verdict = self._planner.again(alert, receiver, now, board)
        free = board.sent(receiver).free_at(now, self._planner.storm(receiver)) if paced else None
        if not verdict.goes_now or free is not None:
            wakes += [at for at in (verdict.until, free) if at is not None]  # the end of a mute stirs the desk anyhow
            return []
        rows = self._speaker.say(alert, verdict, case, board, now)
        board.put(case)
        return rows

    # -- what escalates -------------------------------------------------------------------------------------------

    def _escalated(self, board: Board, now: float, wakes: list[float]) -> Iterator[list[OutboxRow]]:
        for case in _waiting(board) if self._policies else ():
            policy = self._policies.get(case.policy)
            if policy is None or case.since is None or not applies(policy, case.severity):
                continue
            if case.since > now:  # the clock was set back: nobody may have to wait for longer than the policy says
                case.since = now
                board.put(case)
            for step, receiver in steps_due(policy, case.steps, case.since, False, case.severity, now):
                alert = step_alert(case.latest, case.incident, policy, step, case.since)
                said = self._again(alert, receiver, case, board, now, wakes, paced=False)
                if not said and receiver in self._speaker.receivers:
                    break  # silenced: the step is taken when that ends
                case.steps = [*case.steps, step]
                board.put(case)
                yield said
            at = next_step_at(policy, case.steps, case.since, False, case.severity)
            if at is not None and at > now:
                wakes.append(at)

    def _forget(self, board: Board, now: float) -> None:
        """What is long over goes."""
        for case in [case for case in board.cases.values() if case.closed is not None]:
            if case.closed is not None and case.closed <= now - KEPT_SECONDS:
                board.drop(case)
        for silence in [item for item in board.silences.values() if item.expires <= now - SILENCE_KEPT]:
            board.drop(silence)


def _place(held: Held) -> tuple[str, str, str]:
    return held.receiver, held.entity, held.group


def _waiting(board: Board) -> list[Case]:
    """Open cases that nobody acknowledged, by incident."""
    return sorted((case for case in board.open_cases() if case.is_waiting), key=lambda case: case.incident)
