"""When a drill is due. Pure."""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from monitor.errors import ConfigError, Problem
from monitor.registry import did_you_mean

__all__ = ["DrillSchedule", "wrong_drill"]

DAY = 86400.0
AT, CASE = "10:00", "coincheck-2018"  # where nothing is said
WORDS = ("weekly", "monthly")
_LENGTH = re.compile(r"(\d+)\s*([hdw]?)")
_AT = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")


@dataclass(frozen=True, slots=True)
class DrillSchedule:
    """A drill every so many days, or each month, at a time of day in a zone.

    It is reckoned from the last drill: one by hand counts, and moves those after it. ``grace`` seconds after a drill
    was due, that none arrived is worth a message.
    """

    days: int  # 0: a calendar month
    at: time
    zone: ZoneInfo
    case: str
    grace: float = DAY
    escalate: bool = False

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> DrillSchedule:
        """From the ``drill`` section: ``every``, ``at``, ``zone``, ``case``, ``grace`` (seconds), ``escalate``.

        Raises
        ------
        ConfigError : with every problem, each at its key

        Examples
        --------
        >>> DrillSchedule.parse({"every": "30d", "at": "10:00"}).days
        30
        >>> DrillSchedule.parse({"every": "montly"})
        Traceback (most recent call last):
        monitor.errors.ConfigError: drill.every: expected monthly, weekly or whole days such as 30d: did you mean \
'monthly'?
        """
        problems = wrong_drill(given)
        try:
            zone = ZoneInfo(str(given.get("zone", "UTC")))
        except (ZoneInfoNotFoundError, ValueError, OSError):
            problems.append(Problem("expected an IANA time zone such as Europe/Berlin", "zone"))
        if problems:
            raise ConfigError([Problem(problem.message, f"drill.{problem.where}") for problem in problems])
        hour, minute = str(given.get("at", AT)).strip().split(":")
        case, grace = str(given.get("case", CASE)), float(given.get("grace", DAY))
        days, escalate = _days(given.get("every", "monthly")) or 0, bool(given.get("escalate"))
        return cls(days, time(int(hour), int(minute)), zone, case, grace, escalate)

    def next_due(self, last: float | None, since: float) -> float:
        """When the next drill is due, UTC seconds.

        Parameters
        ----------
        last : start of the last drill, None: there was none
        since : when the schedule was first seen; the first drill is at the next time of day after it

        Examples
        --------
        >>> from monitor.ids import from_iso, iso
        >>> monthly = DrillSchedule.parse({"every": "monthly", "at": "10:00", "zone": "Europe/Berlin"})
        >>> iso(monthly.next_due(None, from_iso("2026-01-05T20:00")))
        '2026-01-06T09:00:00Z'
        >>> iso(monthly.next_due(from_iso("2026-03-05T14:30"), 0))  # summer time has begun meanwhile
        '2026-04-05T08:00:00Z'
        """
        if last is None:
            local = datetime.fromtimestamp(since, self.zone)
            first = self._on(local.date())
            return first if first > since else self._on(local.date() + timedelta(days=1))
        day = datetime.fromtimestamp(last, self.zone).date()
        return self._on(day + timedelta(days=self.days) if self.days else _month_later(day))

    def _on(self, day: date) -> float:
        # A time that a change of clocks skips or repeats is read as zoneinfo does: the offset before it.
        return datetime.combine(day, self.at, self.zone).timestamp()


def _month_later(day: date) -> date:
    year, month = (day.year + 1, 1) if day.month == 12 else (day.year, day.month + 1)
    return date(year, month, min(day.day, monthrange(year, month)[1]))


def wrong_drill(given: Mapping[str, Any]) -> list[Problem]:
    """What is wrong with a ``drill`` section but for its zone, each at its key."""
    problems = []
    if _AT.fullmatch(str(given.get("at", AT)).strip()) is None:
        problems.append(Problem("expected a time of day such as 10:00", "at"))
    every = given.get("every", "monthly")
    if _days(every) is None:
        text = str(every).strip().lower()
        hint = f": {did_you_mean(text, WORDS)}" if text.isalpha() else ""
        problems.append(Problem(f"expected monthly, weekly or whole days such as 30d{hint}", "every"))
    return [*problems, *_wrong_case(str(given.get("case", CASE)))]


def _days(every: Any) -> int | None:
    """Days of an interval; 0 is a calendar month, None what cannot be read."""
    text = str(every).strip().lower()
    if text in WORDS:
        return 7 if text == "weekly" else 0
    length = None if isinstance(every, bool) else _LENGTH.fullmatch(text)
    if length is None:
        return None
    seconds = int(length[1]) * {"": 1, "h": 3600, "d": 86400, "w": 604800}[length[2]]
    return int(seconds // DAY) if seconds and seconds % DAY == 0 else None


def _wrong_case(name: str) -> list[Problem]:
    from monitor.case import case_ids, load_case

    if name not in case_ids():
        return [Problem(f"unknown case {name!r}: {did_you_mean(name, case_ids())}", "case")]
    return [] if load_case(name).replayable else [Problem(f"case {name} cannot be replayed", "case")]
