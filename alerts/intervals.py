"""Times of the week: when little things may wait, in the zone of whoever is to be left alone. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from alerts.matchers import is_list
from monitor.errors import ConfigError, Problem
from monitor.registry import did_you_mean

__all__ = ["Span", "Times", "free_at", "parse_times", "spans_of", "within"]

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_LONGEST = 9 * 86400.0  # what does not end within a week and its neighbours never does
_KEYS = ("days", "from", "to", "zone")
_CLOCK = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)|24:00")


@dataclass(frozen=True, slots=True)
class Span:
    """From one time of day to another, on some days of the week, as the clocks of a zone show them.

    ``days`` count from 0, Monday, and are those on which it begins. ``start`` and ``end`` are minutes of the day; an
    ``end`` that is not after ``start`` is one of the next day.
    """

    days: frozenset[int]
    start: int
    end: int
    zone: ZoneInfo

    def around(self, now: float) -> Iterator[tuple[float, float]]:
        """(begin, end) near ``now``, UTC seconds, in order: from the day before to ten days after.

        A time that clocks show twice is the first of the two. One that they leap over is as much later.
        """
        today = datetime.fromtimestamp(now, UTC).astimezone(self.zone).date()
        for offset in range(-2, 11):
            day = today + timedelta(days=offset)
            if day.weekday() in self.days:
                later = day if self.end > self.start else day + timedelta(days=1)
                yield self._at(day, self.start), self._at(later, self.end)

    def _at(self, day: date, minute: int) -> float:
        if minute == 24 * 60:
            day, minute = day + timedelta(days=1), 0
        return datetime(day.year, day.month, day.day, minute // 60, minute % 60, tzinfo=self.zone).timestamp()


Times = Mapping[str, Sequence[Span]]
"""Named times; a name holds where any of its spans does."""


def spans_of(times: Times, names: Sequence[str]) -> list[Span]:
    """The spans of several names together."""
    return [span for name in names for span in times[name]]


def within(spans: Sequence[Span], now: float) -> bool:
    """Whether ``now`` (UTC seconds) lies in any of the spans; ends are exclusive."""
    return any(begin <= now < end for span in spans for begin, end in span.around(now))


def free_at(quiet: Sequence[Span], active: Sequence[Span], now: float) -> float | None:
    """The first moment from ``now`` on that is in no span of ``quiet`` and, where there are any, in one of ``active``.

    None where there is none within nine days. Times are UTC seconds.

    >>> nights = parse_times({"night": [{"from": "22:00", "to": "07:00", "zone": "UTC"}]})["night"]
    >>> free_at(nights, (), 1516921200.0) - 1516921200.0  # 23:00, and eight hours to go
    28800.0
    """
    moment, last = now, now + _LONGEST
    while moment <= last:
        ends = [end for span in quiet for begin, end in span.around(moment) if begin <= moment < end]
        if ends:
            moment = max(ends)
        elif active and not within(active, moment):
            begins = [begin for span in active for begin, _ in span.around(moment) if begin > moment]
            if not begins:
                return None
            moment = min(begins)
        else:
            return moment
    return None


def parse_times(mapping: Mapping[str, Any], where: str = "times") -> dict[str, tuple[Span, ...]]:
    """Times by name from ``{NAME: [{days, from, to, zone}]}``; ConfigError with every problem.

    ``days`` are ``mon`` ... ``sun`` or ranges such as ``mon-fri``, all where not given; ``from`` and ``to`` are times
    of day, the whole day where neither is given; ``zone`` is an IANA name and must be there: quiet hours are people's.

    Examples
    --------
    >>> parse_times({"night": [{"from": "22:00", "to": "25:00", "zone": "Mars"}]})
    Traceback (most recent call last):
    monitor.errors.ConfigError: times.night[0].to: expected a time of day such as 07:00
    times.night[0].zone: no such time zone: expected an IANA name such as Europe/Berlin
    """
    problems: list[Problem] = []
    found = {}
    for name, spans in mapping.items():
        place = f"{where}.{name}"
        if isinstance(spans, Mapping):
            spans = [spans]
        if not is_list(spans) or not spans:
            problems.append(Problem("expected a list of {days, from, to, zone}", place))
            continue
        found[name] = tuple(_span(span, f"{place}[{n}]", problems) for n, span in enumerate(spans))
    if problems:
        raise ConfigError(problems)
    return found


def _span(given: object, where: str, problems: list[Problem]) -> Span:
    if not isinstance(given, Mapping):
        problems.append(Problem("expected a mapping with days, from, to and zone", where))
        return Span(frozenset(), 0, 0, ZoneInfo("UTC"))
    unknown = (key for key in given if key not in _KEYS)
    problems += [Problem(f"unknown key {key!r}: {did_you_mean(str(key), _KEYS)}", where) for key in unknown]
    start = _minute(given.get("from", "00:00"), f"{where}.from", problems)
    end = _minute(given.get("to", "24:00"), f"{where}.to", problems)
    if start == 24 * 60:
        problems.append(Problem("24:00 begins nothing: 00:00 of the next day does", f"{where}.from"))
    days = _days(given.get("days"), f"{where}.days", problems)
    return Span(days, start, end, _zone(given.get("zone"), f"{where}.zone", problems))


def _minute(text: object, where: str, problems: list[Problem]) -> int:
    match = _CLOCK.fullmatch(text.strip()) if isinstance(text, str) else None
    if match is None:  # 22:00 without quotes is 1320 to some readers of YAML
        problems.append(Problem("expected a time of day such as 07:00", where))
        return 0
    return int(match[1]) * 60 + int(match[2]) if match[1] else 24 * 60


def _days(given: object, where: str, problems: list[Problem]) -> frozenset[int]:
    if given is None or given == []:
        return frozenset(range(7))
    found: set[int] = set()
    items: Sequence[Any] = given if is_list(given) else str(given).split(",")
    for item in items:
        first, _, last = str(item).strip().lower().partition("-")
        names = [name.strip()[:3] if name.strip() in _LONG else name.strip() for name in (first, last or first)]
        wrong = [name for name in names if name not in DAYS]
        if wrong:
            problems.append(Problem(f"unknown day {wrong[0]!r}: {did_you_mean(wrong[0], DAYS)}", where))
            continue
        begin, end = (DAYS.index(name) for name in names)
        found.update(day % 7 for day in range(begin, end + 1 if end >= begin else end + 8))
    return frozenset(found)


_LONG = {"monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"}


def _zone(name: object, where: str, problems: list[Problem]) -> ZoneInfo:
    if name is None:
        problems.append(Problem("zone is missing: an IANA name such as Europe/Berlin, or UTC", where))
    elif not isinstance(name, str) or name not in available_timezones():
        problems.append(Problem("no such time zone: expected an IANA name such as Europe/Berlin", where))
    else:
        return ZoneInfo(name)
    return ZoneInfo("UTC")
