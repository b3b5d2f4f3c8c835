"""The planner: one decision a receiver, with its reason; it changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from alerts.board import Board
from alerts.case import opened
from alerts.held import Held, Recent
from alerts.inhibit import parse_rules
from alerts.intervals import parse_times
from alerts.plan import Planner
from alerts.route import parse
from alerts.silence import make_silence
from monitor.model import Alert, AlertKind, Severity

Make = Callable[..., Alert]
T0 = 1_700_000_000.0  # 22:13 UTC
NAMES = ("soc", "lead", "log")
TIMES = parse_times({
    "night": [{"from": "22:00", "to": "07:00", "zone": "UTC"}],
    "early": [{"from": "22:00", "to": "05:00", "zone": "UTC"}],
})  # fmt: skip


def planner(tree: dict[str, Any], **rules: Any) -> Planner:
    inhibit = parse_rules(rules.pop("inhibit", []))
    return Planner(parse(tree, NAMES, times=TIMES, policies=["late"]), NAMES, times=TIMES, rules=inhibit, **rules)


def message(
    alert: Make, kind: str = "updated", severity: str = "high", incident: str = "i1", entity: str = "X"
) -> Alert:
    labels, about = {"severity": severity, "entity": entity, "wallet": "w2,w1"}, {"id": incident, "entity": entity}
    fields = {"kind": AlertKind(kind), "severity": Severity.parse(severity), "labels": labels, "incident": about}
    return alert(f"{incident}.{kind}", **fields)


def told(alert: Alert, *receivers: str) -> Board:
    """A board on which receivers were told of an incident."""
    board, case = Board(), opened(alert, T0 - 100)
    case.told = list(receivers)
    board.put(case)
    return board


def test_the_reason_is_given(alert: Make) -> None:
    """Why, until when, by whom; and the way down the tree."""
    low = message(alert, severity="low")
    quiet = planner({"receiver": "soc", "quiet": "night"}).plan(low, T0, Board())[0]
    assert (quiet.receiver, quiet.why, quiet.detail) == ("soc", "quiet", "night until 2023-11-15T07:00:00Z")
    assert quiet.path == ("route",) and not quiet.goes_now and quiet.until == 1_700_031_600.0
    board = told(message(alert, "opened", "critical", "i9"), "soc")
    rule = {"source": {"severity": "critical"}, "target": {"severity": "low"}}
    inhibited = planner({"receiver": "soc"}, inhibit=[rule]).plan(low, T0, board)[0]
    assert (inhibited.why, inhibited.until) == ("inhibited", None)
    assert inhibited.detail == "incident i9 (critical) says more"
    silence = make_silence({"entity": {"X"}}, author="ann", comment="moving", created=T0, expires=T0 + 60)
    board.silences[silence.id] = silence
    silenced = planner({"receiver": "soc"}).plan(low, T0, board)[0]
    assert silenced.why == "silence"
    assert silenced.detail == f"silence {silence.id} (entity=X) until 2023-11-14T22:14:20Z by ann: moving"


def test_a_receiver_of_two_routes_hears_at_the_earlier(alert: Make) -> None:
    """Once; what one of its routes says now is not put off by the other."""
    routes = [
        {"match": {"entity": "X"}, "receiver": "soc", "quiet": "night", "continue": True},
        {"match": {"severity": "low"}, "receiver": "soc", "quiet": "early"},
    ]
    low = message(alert, severity="low")
    [verdict] = planner({"receiver": "lead", "routes": routes}).plan(low, T0, Board())
    assert verdict.detail == "night, early until 2023-11-15T05:00:00Z"
    routes[1]["quiet"] = []
    [verdict] = planner({"receiver": "lead", "routes": routes}).plan(low, T0, Board())
    assert verdict.goes_now and verdict.path == ("route", "route.routes[0]")


@pytest.mark.parametrize(
    ("kind", "severity", "receiver", "why"),
    [
        ("updated", "high", "soc", "storm"), ("updated", "low", "soc", "storm"), ("updated", "critical", "soc", ""),
        ("opened", "high", "soc", ""), ("escalated", "high", "soc", ""), ("updated", "high", "lead", ""),
    ],
)  # fmt: skip
def test_what_a_storm_holds(alert: Make, kind: str, severity: str, receiver: str, why: str) -> None:
    """Updates that are not critical, to receivers that know of the incident."""
    board = told(message(alert, "opened"), "soc")
    for name in NAMES:
        board.put(Recent(name, [T0 - 61, T0 - 20, T0 - 10], {}))
    rules = planner({"receiver": receiver}, storms=dict.fromkeys(NAMES, 2))
    [verdict] = rules.plan(message(alert, kind, severity), T0, board)
    assert verdict.why == why
    assert not why or (verdict.until, verdict.detail) == (T0 + 40, "2 messages within a minute")


def test_groups_name_their_owner(alert: Make) -> None:
    """Whatever they are grouped by; what is of nobody is of its incident."""
    rules = planner({"receiver": "soc", "group_by": ["wallet", "entity"]})
    groups = {
        rules.plan(message(alert, entity=entity, incident=incident), T0, Board())[0].group
        for entity, incident in (("X", "i1"), ("X", "i2"), ("Y", "i3"), ("", "i4"), ("", "i5"))
    }
    assert groups == {
        '["X",["wallet",["w1","w2"]]]', '["Y",["wallet",["w1","w2"]]]',
        '["incident i4",["wallet",["w1","w2"]]]', '["incident i5",["wallet",["w1","w2"]]]',
    }  # fmt: skip


def test_a_correction_follows_the_alarm(alert: Make) -> None:
    """To those who were told, and to those alone."""
    board = told(message(alert, "opened"), "lead", "gone")
    board.put(Held("log", "i1", "X", "g", "silence", "by ann", T0, None, ["a"], ["opened"]))
    rules = planner({"receiver": "soc", "routes": [{"receiver": "log", "continue": True}, {"receiver": "soc"}]})
    verdicts = rules.plan(message(alert, "resolved", "low"), T0, board, also=["lead"])
    assert [(v.receiver, v.why, v.detail) for v in verdicts] == [
        ("lead", "", ""), ("log", "over", "was not told of it: by ann"), ("soc", "over", "was not told of it"),
    ]  # fmt: skip


def test_planning_changes_nothing(alert: Make) -> None:
    """Asked twice, it says the same; the board has nothing to store."""
    board = told(message(alert, "opened"), "soc")
    board.taken()
    rules = planner({"receiver": "soc", "group_wait": 30, "group_interval": 60}, storms={"soc": 1})
    assert rules.plan(message(alert), T0, board) == rules.plan(message(alert), T0, board)
    assert not board.is_changed


def test_policy_and_repeats(alert: Make) -> None:
    """Of the first route that has one; the shortest interval of a receiver."""
    routes = [
        {"receiver": "soc", "repeat_interval": 600, "continue": True},
        {"receiver": "soc", "repeat_interval": 300, "escalation": "late", "continue": True}, {"receiver": "lead"},
    ]  # fmt: skip
    rules = planner({"receiver": "soc", "routes": routes})
    assert rules.policy(message(alert)) == "late" and rules.repeats(message(alert)) == {"soc": 300.0}
    assert rules.least_repeat == 300.0 and planner({"receiver": "soc"}).least_repeat == 0.0
