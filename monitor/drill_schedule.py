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

__all__ = ["DrillSchedule"]

DAY = 86400.0
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

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> DrillSchedule:
        """From the ``drill`` section: ``every``, ``at``, ``zone``, ``case``, ``grace`` (seconds).

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
        problems: list[Problem] = []
        at = _AT.fullmatch(str(given.get("at", "10:00")).strip())
        if at is None:
            problems.append(Problem("expected a time of day such as 10:00", "drill.at"))
        try:
            zone = ZoneInfo(str(given.get("zone", "UTC")))
        except (ZoneInfoNotFoundError, ValueError, OSError):
            problems.append(Problem("expected an IANA time zone such as Europe/Berlin", "drill.zone"))
            zone = ZoneInfo("UTC")
        days = _days(given.get("every", "monthly"), problems)
        case = _case(str(given.get("case", "coincheck-2018")), problems)
        if problems:
            raise ConfigError(problems)
        assert at is not None
        return cls(days, time(int(at[1]), int(at[2])), zone, case, float(given.get("grace", DAY)))

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


def _days(every: Any, problems: list[Problem]) -> int:
    """Days of an interval; 0 is a calendar month."""
    text = str(every).strip().lower()
    if text in WORDS:
        return 7 if text == "weekly" else 0
    length = None if isinstance(every, bool) else _LENGTH.fullmatch(text)
    if length is not None:
        days = int(length[1]) * {"": 1, "h": 3600, "d": 86400, "w": 604800}[length[2]] / DAY
        if days >= 1 and days == int(days):
            return int(days)
    hint = f": {did_you_mean(text, WORDS)}" if text.isalpha() else ""
    problems.append(Problem(f"expected monthly, weekly or whole days such as 30d{hint}", "drill.every"))
    return 0


def _case(name: str, problems: list[Problem]) -> str:
    from monitor.case import case_ids, load_case

    if name not in case_ids():
        problems.append(Problem(f"unknown case {name!r}: {did_you_mean(name, case_ids())}", "drill.case"))
    elif not load_case(name).replayable:
        problems.append(Problem(f"case {name} cannot be replayed", "drill.case"))
    return name
