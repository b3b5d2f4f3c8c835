"""Escalation: who is told next, when, and what stops it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.escalate import (
    Policy,
    Step,
    applies,
    next_step_at,
    parse_policies,
    same_ways,
    starts_anew,
    step_alert,
    steps_due,
)
from monitor.errors import ConfigError
from monitor.model import AlertKind, Severity

START = 1_700_000_000.0
NIGHT = Policy("night", (Step(600, "lead"), Step(1800, "boss"), Step(3600, "all")))
HIGH = Severity.HIGH


def play(due: Any, looks: list[float], acknowledged_at: float) -> list[tuple[float, int, str]]:
    """Every step that is taken by looks at these times, seconds since the start: (look, number, receiver)."""
    taken: list[tuple[float, int, str]] = []
    for at in looks:
        numbers = [number for _, number, _ in taken]
        found = due(NIGHT, numbers, START, at >= acknowledged_at, HIGH, START + at)
        taken += [(at, number, receiver) for number, receiver in found]
    return taken


def faulty(due: Any, looks: list[float], acknowledged_at: float) -> list[str]:
    """What is wrong with a rule of escalation: told too early, too late, twice, or after the acknowledgement."""
    taken = play(due, looks, acknowledged_at)
    first = [next((at for at in looks if START + at >= START + step.after), None) for step in NIGHT.steps]
    expected = [
        (at, number, step.receiver)
        for number, (at, step) in enumerate(zip(first, NIGHT.steps, strict=True), start=1)
        if at is not None and at < acknowledged_at
    ]
    return [] if taken == expected else [f"{taken} instead of {expected}"]


LOOKS = st.lists(st.floats(0, 5000), max_size=12).map(sorted)


@given(looks=LOOKS, acknowledged_at=st.floats(0, 6000))
def test_each_step_comes_once_in_its_time_until_somebody_acknowledges(
    looks: list[float], acknowledged_at: float
) -> None:
    """However often, seldom or late it is looked at."""
    assert faulty(steps_due, looks, acknowledged_at) == []


@pytest.mark.parametrize(
    "fault",
    [
        lambda p, taken, since, ack, sev, now: steps_due(p, taken, since, False, sev, now),
        lambda p, taken, since, ack, sev, now: steps_due(p, (), since, ack, sev, now),
        lambda p, taken, since, ack, sev, now: steps_due(p, taken, since, ack, sev, now)[:1],
        lambda p, taken, since, ack, sev, now: steps_due(p, taken, since + 60, ack, sev, now),
    ],
    ids=["never stops", "repeats", "one a look", "late"],
)
def test_a_planted_fault_is_found(fault: Any) -> None:
    """The check above is no check unless it sees these."""
    looks = [0.0, 599.0, 600.0, 700.0, 4000.0, 4100.0]
    assert faulty(steps_due, looks, 9000.0) == faulty(steps_due, looks, 650.0) == []
    assert faulty(fault, looks, 9000.0) or faulty(fault, looks, 650.0)


def test_next_step() -> None:
    """The monitor knows when to look again; after the last step, or an acknowledgement, never."""
    assert [next_step_at(NIGHT, taken, START, False, HIGH) for taken in ((), (1,), (1, 2), (1, 2, 3))] == [
        START + 600, START + 1800, START + 3600, None
    ]  # fmt: skip
    assert next_step_at(NIGHT, (), START, True, HIGH) is None
    assert next_step_at(NIGHT, (1, 2, 3, 4), START, False, HIGH) is None  # the policy was shortened


def test_severities() -> None:
    """High and critical escalate; a step may ask for more, and is taken late where the incident grew later."""
    assert [applies(NIGHT, severity) for severity in (None, *Severity)] == [False, False, False, False, True, True]
    assert steps_due(NIGHT, (), START, False, Severity.MEDIUM, START + 1e6) == []
    policy = Policy("p", (Step(60, "ceo", frozenset((Severity.CRITICAL,))), Step(600, "lead")))
    assert steps_due(policy, (), START, False, HIGH, START + 700) == [(2, "lead")]
    assert steps_due(policy, (2,), START, False, Severity.CRITICAL, START + 800) == [(1, "ceo")]
    assert next_step_at(policy, (2,), START, False, HIGH) is None


def test_an_acknowledgement_was_for_what_was_known() -> None:
    """Growth past the severity that was acknowledged begins anew; the same or less does not."""
    assert starts_anew(HIGH, Severity.CRITICAL) and starts_anew(3, 4)
    assert not starts_anew(HIGH, HIGH) and not starts_anew(Severity.CRITICAL, HIGH)
    assert not starts_anew(None, Severity.CRITICAL) and not starts_anew(HIGH, None)


def test_the_message_of_a_step(alert: Callable[..., Any]) -> None:
    """Title and body say that nobody acknowledged; the id is that of incident, policy, step and start alone."""
    told = alert(links={"acknowledge": "x"}, covers=("a0",))
    message = step_alert(told, "i1", NIGHT, 2, START)
    assert message.title == f"NOT ACKNOWLEDGED for 30 min: {told.title}"
    first, rest = message.body.split("\n", 1)
    assert first == "Nobody acknowledged this for 30 min: step 2 of 3 of escalation 'night'." and rest == told.body
    assert (message.kind, message.type, message.labels["kind"]) == (AlertKind.REMINDER, "incident.reminder", "reminder")
    assert (message.severity, message.incident, message.links, message.covers) == (told.severity, told.incident, {}, ())
    assert message.id == step_alert(alert("a2", title="other"), "i1", NIGHT, 2, START).id
    others = [("i2", NIGHT, 2, START), ("i1", NIGHT, 1, START), ("i1", NIGHT, 2, START + 1)]
    assert message.id not in {step_alert(told, *other).id for other in others}


def test_a_drill_stays_a_drill(alert: Callable[..., Any]) -> None:
    """DRILL comes first in the title, once, and the kind is that of a drill."""
    message = step_alert(alert(kind=AlertKind.DRILL, title="DRILL: CRITICAL: X"), "drill-1", NIGHT, 1, START)
    assert message.title == "DRILL: NOT ACKNOWLEDGED for 10 min: CRITICAL: X"
    assert (message.kind, message.type) == (AlertKind.DRILL, "drill.reminder")


def test_policies() -> None:
    """As the configuration has them, times in seconds."""
    given = {
        "night": [{"after": 600, "receiver": "lead"}, {"after": 1800, "receiver": "boss", "severities": ["critical"]}],
        "day": [{"after": 60.5, "receiver": "boss", "severities": "LOW"}],
    }
    assert parse_policies(given, ["lead", "boss"]) == {
        "night": Policy("night", (Step(600, "lead"), Step(1800, "boss", frozenset((Severity.CRITICAL,))))),
        "day": Policy("day", (Step(60.5, "boss", frozenset((Severity.LOW,))),)),
    }
    assert parse_policies({}, []) == {}


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ([], ["escalations.p: expected a list of steps"]),
        ("lead", ["escalations.p: expected a list of steps"]),
        (["lead"], ["escalations.p[0]: expected a mapping"]),
        ([{"after": 60}], ["escalations.p[0].receiver: receiver is missing"]),
        ([{"after": 60, "receiver": "leed"}], ["p[0].receiver: unknown receiver 'leed': did you mean 'lead'?"]),
        ([{"receiver": "lead"}], ["escalations.p[0].after: expected a time over 0"]),
        ([{"after": True, "receiver": "lead"}], ["escalations.p[0].after: expected a time over 0"]),
        ([{"after": float("inf"), "receiver": "lead"}], ["escalations.p[0].after: expected a time over 0"]),
        ([{"after": 60, "receiver": "lead", "then": 1}], ["escalations.p[0]: unknown key 'then'"]),
        (
            [{"after": 60, "receiver": "lead", "severities": ["hihg"]}],
            ["severities: severity was 'hihg'", "severities: an empty list never escalates"],
        ),
        (
            [{"after": 60, "receiver": "lead"}, {"after": 60, "receiver": "x"}],
            ["escalations.p[1].receiver: unknown", "escalations.p[1].after: must be later"],
        ),
    ],
)  # fmt: skip
def test_wrong_policies(entry: Any, expected: list[str]) -> None:
    """Every problem is said, each at its place."""
    with pytest.raises(ConfigError) as error:
        parse_policies({"p": entry, "fine": [{"after": 1, "receiver": "lead"}]}, ["lead"])
    found = [str(problem) for problem in error.value.problems]
    assert len(found) == len(expected) and all(text in line for text, line in zip(expected, found, strict=True)), found


def test_a_step_should_reach_people_another_way() -> None:
    """A step whose channels are all of types that earlier ones had is named; one with any other type is not."""
    types = {"soc": ("slack", "smtp"), "lead": ("smtp",), "boss": ("pagerduty", "slack"), "all": ("slack", "pagerduty")}
    found = same_ways(NIGHT, ["soc"], types)
    assert [line.split(":")[0] for line in found] == ["escalation 'night', step 1", "escalation 'night', step 3"]
    assert "'lead' is told by smtp alone" in found[0] and "pagerduty and slack alone" in found[1]
    assert same_ways(NIGHT, [], {**types, "all": ("telegram",)}) == []
    assert same_ways(NIGHT, ["soc"], {}) == []  # a receiver without channels is another problem
