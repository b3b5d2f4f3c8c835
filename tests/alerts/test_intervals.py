"""Times of the week: over midnight, on the right days, and where clocks change."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.intervals import Span, free_at, parse_times, spans_of, within
from monitor.errors import ConfigError

BERLIN = "Europe/Berlin"


def spans(**given: Any) -> tuple[Span, ...]:
    return parse_times({"t": [{"zone": BERLIN, **given}]})["t"]


def at(text: str, zone: str = BERLIN, fold: int = 0) -> float:
    """A local time, UTC seconds."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()


NIGHT = {"from": "22:00", "to": "07:00"}


@pytest.mark.parametrize(
    ("moment", "holds"),
    [
        ("2026-01-06T21:59:59", False), ("2026-01-06T22:00", True), ("2026-01-07T06:59:59", True),
        ("2026-01-07T07:00", False), ("2026-01-07T12:00", False), ("2026-01-07T00:00", True),
    ],
)  # fmt: skip
def test_over_midnight(moment: str, holds: bool) -> None:
    """From the evening to the next morning, the end left out."""
    assert within(spans(**NIGHT), at(moment)) is holds


@pytest.mark.parametrize(
    ("moment", "holds"),
    [
        ("2026-01-09T23:00", True),  # Friday
        ("2026-01-10T03:00", True),  # Saturday: Friday's night
        ("2026-01-10T23:00", False), ("2026-01-11T03:00", False), ("2026-01-12T03:00", False),
        ("2026-01-12T23:00", True),
    ],
)  # fmt: skip
def test_a_night_belongs_to_the_day_on_which_it_begins(moment: str, holds: bool) -> None:
    """Monday to Friday: the night to Saturday is in it, the night to Monday is not."""
    assert within(spans(days="mon-fri", **NIGHT), at(moment)) is holds


def test_days() -> None:
    """Single days, ranges, ranges over the week's end, long names; all where none is named."""
    [weekend] = spans(days=["fri-mon"])
    assert weekend.days == {4, 5, 6, 0}
    [some] = spans(days=["mon", "Wednesday", "sat-sun"])
    assert some.days == {0, 2, 5, 6}
    assert spans()[0].days == spans(days=[])[0].days == set(range(7))


def test_the_hour_that_is_left_out() -> None:
    """In Berlin on 2026-03-29 clocks leap from 02:00 to 03:00: a night is an hour shorter."""
    begin, end = at("2026-03-28T22:00"), at("2026-03-29T07:00")
    assert end - begin == 8 * 3600
    assert free_at(spans(**NIGHT), (), begin) == end
    assert free_at(spans(**{"from": "02:30", "to": "04:00"}), (), at("2026-03-29T03:30")) == at("2026-03-29T04:00")


def test_the_hour_that_comes_twice() -> None:
    """In Berlin on 2026-10-25 clocks go back from 03:00 to 02:00: a night is an hour longer."""
    begin, end = at("2026-10-24T22:00"), at("2026-10-25T07:00")
    assert end - begin == 10 * 3600
    assert free_at(spans(**NIGHT), (), begin) == end
    assert free_at(spans(**{"from": "01:00", "to": "02:30"}), (), at("2026-10-25T01:30")) == at("2026-10-25T02:30")


def test_zones() -> None:
    """The same words are other moments elsewhere."""
    tokyo = parse_times({"t": [{"zone": "Asia/Tokyo", **NIGHT}]})["t"]
    noon = datetime(2026, 1, 7, 13, tzinfo=UTC).timestamp()  # 22:00 in Tokyo, 14:00 in Berlin
    assert within(tokyo, noon) and not within(spans(**NIGHT), noon)


def test_times_that_follow_each_other() -> None:
    """What is quiet by one time and then by another is quiet throughout; active times wait for their beginning."""
    times = parse_times({
        "night": [{"from": "22:00", "to": "07:00", "zone": BERLIN}],
        "breakfast": [{"from": "07:00", "to": "08:00", "zone": BERLIN}],
        "office": [{"days": "mon-fri", "from": "09:00", "to": "17:00", "zone": BERLIN}],
    })  # fmt: skip
    quiet, office = spans_of(times, ["night", "breakfast"]), times["office"]
    friday = at("2026-01-09T23:00")
    assert free_at(quiet, (), friday) == at("2026-01-10T08:00")
    assert free_at(quiet, office, friday) == at("2026-01-12T09:00")
    assert free_at((), (), friday) == friday


def test_never() -> None:
    """What leaves no moment free says so, instead of waiting for ever."""
    assert free_at(spans(), (), at("2026-01-09T23:00")) is None
    assert free_at(spans(days="mon"), spans(days="mon"), at("2026-01-09T23:00")) is None


def test_every_problem_at_once() -> None:
    """With its place."""
    with pytest.raises(ConfigError) as caught:
        parse_times({
            "a": [{"days": ["mno"], "from": 1320, "to": "7", "zone": "Berlin", "till": "x"}, "night"],
            "b": [], "c": [{"from": "24:00"}],
        })  # fmt: skip
    assert [str(problem) for problem in caught.value.problems] == [
        "times.a[0]: unknown key 'till': expected one of days, from, to, zone",
        "times.a[0].from: expected a time of day such as 07:00",
        "times.a[0].to: expected a time of day such as 07:00",
        "times.a[0].days: unknown day 'mno': did you mean 'mon'?",
        "times.a[0].zone: no such time zone: expected an IANA name such as Europe/Berlin",
        "times.a[1]: expected a mapping with days, from, to and zone",
        "times.b: expected a list of {days, from, to, zone}",
        "times.c[0].from: 24:00 begins nothing: 00:00 of the next day does",
        "times.c[0].zone: zone is missing: an IANA name such as Europe/Berlin, or UTC",
    ]


_clock = st.builds("{:02}:{:02}".format, st.integers(0, 23), st.integers(0, 59))
_span = st.fixed_dictionaries({
    "days": st.lists(st.sampled_from(["mon", "tue-thu", "sat", "fri-mon"]), min_size=1), "from": _clock, "to": _clock,
    "zone": st.sampled_from(["UTC", BERLIN, "Australia/Lord_Howe", "America/St_Johns"]),
})  # fmt: skip


@given(st.lists(_span, max_size=3), st.lists(_span, max_size=2), st.floats(1.6e9, 1.9e9))
def test_free_is_free(quiet: list[Any], active: list[Any], now: float) -> None:
    """The moment that is named is free, it is not in the past, and just before it nothing was."""
    a, b = (parse_times({"t": group})["t"] if group else () for group in (quiet, active))
    free = free_at(a, b, now)
    if free is None:
        return
    assert free >= now and not within(a, free) and (not b or within(b, free))
    for step in range(1, 20):
        moment = now + (free - now) * step / 20
        assert moment >= free or within(a, moment) or (b and not within(b, moment))
