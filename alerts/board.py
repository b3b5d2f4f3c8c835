"""The notes of the alerts' side in memory: silences, cases, what waits, what was sent lately; and what changed of them.

The board is a mirror: whoever changes something on it says so (`put`, `drop`), and `taken` gives the changes for the
next transaction. Everything is found by id, and cases also by entity, so that a storm costs no look at all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from alerts.case import PREFIX as CASES
from alerts.case import Case, case_key, read_case, write_case
from alerts.held import PREFIX as HELD
from alerts.held import RECENT, Held, Recent, held_key, read_held, read_recent, recent_key, write
from alerts.silence import PREFIX as SILENCES
from alerts.silence import Silence, read_silence, silence_key

__all__ = ["PREFIXES", "Board"]

PREFIXES = (SILENCES, CASES, HELD, RECENT)
"""What a board mirrors."""


class Board:
    """What is known of silences, cases, and what waits; see the module."""

    def __init__(self) -> None:
        self.silences: dict[str, Silence] = {}
        self.cases: dict[str, Case] = {}
        self.held: dict[tuple[str, str], Held] = {}  # by (receiver, incident)
        self.recent: dict[str, Recent] = {}  # by receiver
        self._waiting: dict[str, set[str]] = {}  # receivers by incident, of ``held``
        self._open: dict[str, dict[str, None]] = {}  # ids of open cases by entity
        self._entities: dict[str, str] = {}  # of open cases, as they are filed in the former
        self._changed: dict[str, Case | Held | Recent | None] = {}  # by key, in order; None: it goes

    # -- reading --------------------------------------------------------------------------------------------------

    def load(self, notes: Iterable[tuple[str, bytes]]) -> None:
        """Take stored notes over; StoreError where one cannot be read."""
        for key, value in notes:
            if key.startswith(SILENCES):
                silence = read_silence(value)
                self.silences[silence.id] = silence
            elif key.startswith(CASES):
                self.place(read_case(value))
            elif key.startswith(HELD):
                held = read_held(value)
                self._hold(held)
            elif key.startswith(RECENT):
                recent = read_recent(value)
                self.recent[recent.receiver] = recent

    def case(self, incident: str) -> Case | None:
        """The case of an incident, of the one that took it over where it was merged; None where there is none."""
        case = self.cases.get(incident)
        while case is not None and case.into:
            case = self.cases.get(case.into)
        return case

    def open_cases(self, entity: str | None = None) -> Iterator[Case]:
        """Cases that are open, of one entity or of all, in order of opening."""
        groups = [self._open.get(entity, {})] if entity is not None else list(self._open.values())
        return (self.cases[name] for group in groups for name in group)

    def waiting(self, incident: str) -> list[Held]:
        """What waits of an incident, by receiver."""
        names = sorted(self._waiting.get(incident, ()))
        return [self.held[name, incident] for name in names]

    def sent(self, receiver: str) -> Recent:
        """What a receiver was sent lately; to be `put` back where it is changed."""
        return self.recent.get(receiver) or Recent(receiver)

    # -- changes --------------------------------------------------------------------------------------------------

    def put(self, value: Case | Held | Recent) -> None:
        """Note a new value, or one that was changed in place."""
        if isinstance(value, Case):
            self.place(value)
            self._changed[case_key(value.incident)] = value
        elif isinstance(value, Held):
            self._hold(value)
            self._changed[held_key(value.receiver, value.incident)] = value
        else:
            self.recent[value.receiver] = value
            self._changed[recent_key(value.receiver)] = value

    def place(self, case: Case) -> None:
        """Take a case over without noting it."""
        self.cases[case.incident] = case
        if self._entities.get(case.incident) != case.entity or not case.is_open:
            self._unfile(case.incident)
        if case.is_open:
            self._open.setdefault(case.entity, {})[case.incident] = None
            self._entities[case.incident] = case.entity

    def remove(self, incident: str) -> None:
        """Forget a case without noting it: it is gone from the store."""
        self.cases.pop(incident, None)
        self._unfile(incident)

    def _hold(self, held: Held) -> None:
        self.held[held.receiver, held.incident] = held
        self._waiting.setdefault(held.incident, set()).add(held.receiver)

    def _unfile(self, incident: str) -> None:
        entity = self._entities.pop(incident, None)
        if entity is not None:
            self._open[entity].pop(incident, None)
            if not self._open[entity]:
                del self._open[entity]

    def drop(self, value: Case | Held | Silence) -> None:
        """Forget something."""
        if isinstance(value, Case):
            self.remove(value.incident)
            self._changed[case_key(value.incident)] = None
        elif isinstance(value, Held):
            self.held.pop((value.receiver, value.incident), None)
            there = self._waiting.get(value.incident, set())
            there.discard(value.receiver)
            if not there:
                self._waiting.pop(value.incident, None)
            self._changed[held_key(value.receiver, value.incident)] = None
        else:
            self.silences.pop(value.id, None)
            self._changed[silence_key(value.id)] = None

    @property
    def is_changed(self) -> bool:
        """Whether something is not stored yet."""
        return bool(self._changed)

    def taken(self) -> tuple[tuple[str, bytes | None], ...]:
        """What changed since the last time, as notes; from now on it counts as stored."""
        changed, self._changed = self._changed, {}
        return tuple(
            (key, None if value is None else write_case(value) if isinstance(value, Case) else write(value))
            for key, value in changed.items()
        )
