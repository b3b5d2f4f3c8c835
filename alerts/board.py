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
        self._open: dict[str, dict[str, None]] = {}  # ids of open cases by entity
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
                self.held[held.receiver, held.incident] = held
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
            self.held[value.receiver, value.incident] = value
            self._changed[held_key(value.receiver, value.incident)] = value
        else:
            self.recent[value.receiver] = value
            self._changed[recent_key(value.receiver)] = value

    def place(self, case: Case) -> None:
        """Take a case over without noting it."""
        known = self.cases.get(case.incident)
        if known is not None and known.entity != case.entity:
            self._open.get(known.entity, {}).pop(case.incident, None)
        self.cases[case.incident] = case
        if case.is_open:
            self._open.setdefault(case.entity, {})[case.incident] = None
        elif case.incident in self._open.get(case.entity, {}):
            del self._open[case.entity][case.incident]
            if not self._open[case.entity]:
                del self._open[case.entity]

    def drop(self, value: Case | Held | Silence) -> None:
        """Forget something."""
        if isinstance(value, Case):
            self.cases.pop(value.incident, None)
            self._open.get(value.entity, {}).pop(value.incident, None)
            self._changed[case_key(value.incident)] = None
        elif isinstance(value, Held):
            self.held.pop((value.receiver, value.incident), None)
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
