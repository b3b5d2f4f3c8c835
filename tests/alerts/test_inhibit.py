"""Inhibition: the lesser is not said while the greater is known of, and no alarm is lost by it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from alerts.board import Board
from alerts.case import opened
from alerts.inhibit import inhibiting, parse_rules
from monitor.errors import ConfigError
from monitor.model import Alert, AlertKind, Severity

Make = Callable[..., Alert]
RULE = {"source": {"severity": ["critical", "high"]}, "target": {"severity": ["low", "medium"]}}


def message(
    alert: Make, incident: str, severity: str, *, kind: str = "updated", entity: str = "X", wallet: str = "w"
) -> Alert:
    labels = {"severity": severity, "entity": entity, "wallet": wallet}
    incident_data = {"id": incident, "entity": entity}
    return alert(incident=incident_data, kind=AlertKind(kind), severity=Severity.parse(severity), labels=labels)


def board(*alerts: Alert, told: bool = True) -> Board:
    """A board with an open case for each alert."""
    made = Board()
    for alert in alerts:
        case = opened(alert, 0.0)
        case.told = ["soc"] if told else []
        made.put(case)
    return made


def found(alert: Alert, known: Board, *rules: dict[str, Any]) -> str | None:
    case = inhibiting(parse_rules(rules or [RULE]), alert, known)
    return case.incident if case is not None else None


def test_the_lesser_is_inhibited(alert: Make) -> None:
    """By another open incident of the same owner that was told; not by its own, nor another owner's."""
    high, low = message(alert, "i1", "high"), message(alert, "i2", "low")
    assert found(low, board(high)) == "i1"
    assert found(low, board(message(alert, "i1", "high", entity="Y"))) is None
    assert found(low, board(message(alert, "i2", "high"))) is None
    assert found(low, board(message(alert, "i1", "medium"))) is None
    assert found(low, board(high, told=False)) is None


def test_what_is_over_inhibits_nothing(alert: Make) -> None:
    """A closed case does not count."""
    known = board(message(alert, "i1", "high"))
    known.cases["i1"].closed = 5.0
    known.put(known.cases["i1"])
    assert found(message(alert, "i2", "low"), known) is None


@pytest.mark.parametrize("kind", ["escalated", "resolved", "retracted", "drill", "blind", "recovered"])
def test_what_is_never_inhibited(alert: Make, kind: str) -> None:
    """What grew, what is over, drills, the monitor's own messages."""
    assert found(message(alert, "i2", "low", kind=kind), board(message(alert, "i1", "high"))) is None


def test_critical_is_never_inhibited(alert: Make) -> None:
    """Not even by a rule whose target names no severity."""
    rule = {"source": {"severity": "high"}, "target": {"entity": "X"}}
    known = board(message(alert, "i1", "high"))
    assert found(message(alert, "i2", "medium"), known, rule) == "i1"
    assert found(message(alert, "i2", "critical"), known, rule) is None


def test_equal(alert: Make) -> None:
    """Labels that must be equal share a value, and are there."""
    rule = {**RULE, "equal": ["wallet"]}
    known = board(message(alert, "i1", "high", wallet="a,b", entity="Y"))
    assert found(message(alert, "i2", "low", wallet="b,c"), known, rule) == "i1"
    assert found(message(alert, "i2", "low", wallet="c"), known, rule) is None
    bare = replace(message(alert, "i2", "low"), labels={"severity": "low", "entity": "X"})
    assert found(bare, known, rule) is None


def test_two_of_a_kind_do_not_inhibit_each_other(alert: Make) -> None:
    """A case that the rule makes a target itself inhibits no other source."""
    rule = {"source": {"entity": "X"}, "target": {"entity": "X"}}
    assert found(message(alert, "i2", "low"), board(message(alert, "i1", "low")), rule) is None


def test_a_drill_inhibits_nothing(alert: Make) -> None:
    """It is not real."""
    assert found(message(alert, "i2", "low"), board(message(alert, "i1", "high", kind="drill"))) is None


def test_every_problem_at_once() -> None:
    """A rule that names critical, nothing, or no owner is refused."""
    with pytest.raises(ConfigError) as caught:
        parse_rules([
            {"source": {"severity": "critical"}, "target": {"severity": ["low", "critical"]}, "equals": []},
            {"source": {"severty": "x"}, "equal": ["entty"]}, {"source": {"role": "hot"}, "target": {}, "equal": []}, 3,
        ])  # fmt: skip
    assert [str(problem) for problem in caught.value.problems] == [
        "inhibit[0]: unknown key 'equals': did you mean 'equal'?",
        "inhibit[0].target.severity: critical alerts are never inhibited: leave critical out",
        "inhibit[1].source: unknown label 'severty': did you mean 'severity'?",
        "inhibit[1].target: is missing: it would match everything",
        "inhibit[1].equal: unknown label 'entty': did you mean 'entity'?",
        "inhibit[2].target: is missing: it would match everything",
        "inhibit[2].equal: an empty list lets one owner's incident hide another's: name labels",
        "inhibit[3]: expected a mapping with source, target and equal",
    ]
