"""Routing: the tree decides as Alertmanager's does, and every mistake in it is reported at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.intervals import parse_times
from alerts.route import LABELS, Route, parse, receivers, ways
from monitor.errors import ConfigError
from monitor.model import Alert, AlertKind, Severity

Make = Callable[..., Alert]


def tree(*routes: dict[str, Any]) -> Route:
    return parse({"receiver": "root", "routes": list(routes)})


@pytest.mark.parametrize(
    ("match", "taken"),
    [
        ({"severity": ["critical"]}, True),
        ({"severity": "critical"}, True),
        ({"severity": ["low", "critical"]}, True),
        ({"severity": ["high"]}, False),
        ({"severity": "CRITICAL"}, True),
        ({"entity": "Example Exchange"}, True),
        ({"entity": "Example"}, False),
        ({"wallet": "hot-2"}, True),
        ({"wallet": "hot-1,hot-2"}, False),
        ({"wallet": "hot"}, False),
        ({"role": ["cold", "hot"]}, True),
        ({"role": "cold"}, False),
        ({"chain": "nem:mainnet"}, True),
        ({"chain": "ethereum"}, True),
        ({"chain": "bitcoin"}, False),
        ({"detector": "drain"}, True),
        ({"detector": "drains"}, False),
        ({"kind": "opened"}, True),
        ({"kind": "retracted"}, False),
        ({"severity": "critical", "role": "hot"}, True),
        ({"severity": "critical", "role": "cold"}, False),
        ({}, True),
    ],
)
def test_match(alert: Make, match: dict[str, Any], taken: bool) -> None:
    """Keys are joined by AND, values by OR; a label of several values matches by each of them, never by a part."""
    assert receivers(tree({"match": match, "receiver": "inner"}), alert()) == (("inner",) if taken else ("root",))


def test_first_match_wins(alert: Make) -> None:
    """Without `continue` the routes after a match are not tried."""
    route = tree({"match": {"role": "hot"}, "receiver": "a"}, {"match": {"severity": "critical"}, "receiver": "b"})
    assert receivers(route, alert()) == ("a",)


def test_continue(alert: Make) -> None:
    """With `continue` they are, a receiver named twice gets one, and the root nothing that was taken."""
    route = tree(
        {"match": {"role": "hot"}, "receiver": "a", "continue": True},
        {"match": {"role": "cold"}, "receiver": "never", "continue": True},
        {"match": {"severity": "critical"}, "receiver": "b", "continue": True},
        {"receiver": "a"},
        {"receiver": "too late"},
    )
    assert receivers(route, alert()) == ("a", "b")


def test_nested(alert: Make) -> None:
    """The deepest match gets the alert; where nothing inside matches, the route around; receivers are inherited."""
    route = tree(
        {
            "match": {"entity": "Example Exchange"},
            "receiver": "desk",
            "routes": [
                {"match": {"severity": "critical"}, "receiver": "pager"},
                {"match": {"severity": "high"}, "routes": [{"match": {"role": "cold"}, "receiver": "vault"}]},
            ],
        }
    )

    def of(severity: str) -> tuple[str, ...]:
        return receivers(route, alert(labels={**alert().labels, "severity": severity}))

    assert of("critical") == ("pager",)
    assert of("high") == ("desk",)
    assert of("low") == ("desk",)
    assert receivers(route, alert(labels={"entity": "Other"})) == ("root",)


def test_continue_inside_ends_inside(alert: Make) -> None:
    """`continue` goes on among the neighbours of its route, not among those of the route around."""
    route = tree(
        {"receiver": "a", "routes": [{"receiver": "b", "continue": True}]},
        {"receiver": "c"},
    )
    assert receivers(route, alert()) == ("b",)


def test_monitor_alerts_have_no_severity() -> None:
    """A monitor that went blind matches by kind; routes by severity leave it to the root."""
    blind = Alert("m1", AlertKind.BLIND, "blind", "no block for 60 s", labels={"chain": "eip155:1"})
    assert receivers(tree({"match": {"severity": "critical"}, "receiver": "pager"}), blind) == ("root",)
    assert receivers(tree({"match": {"kind": ["blind", "recovered"]}, "receiver": "ops"}), blind) == ("ops",)


def test_drill_is_a_drill_whatever_it_plays(alert: Make) -> None:
    """A drill that plays an opened incident matches both; severity comes from the alert where unlabelled."""
    drill = alert(kind=AlertKind.DRILL)
    assert receivers(tree({"match": {"kind": "drill"}, "receiver": "x"}), drill) == ("x",)
    assert receivers(tree({"match": {"kind": "opened"}, "receiver": "x"}), drill) == ("x",)
    bare = Alert("1", AlertKind.OPENED, "", "", Severity.HIGH)
    assert receivers(tree({"match": {"severity": "high"}, "receiver": "x"}), bare) == ("x",)


def test_configured_chain_names(alert: Make) -> None:
    """A chain may be named as configured; the label holds its CAIP-2 identifier."""
    mapping = {"receiver": "root", "routes": [{"match": {"chain": "my-eth"}, "receiver": "x"}]}
    assert receivers(parse(mapping, chains={"my-eth": "eip155:1"}), alert()) == ("x",)


def test_every_problem_at_once() -> None:
    """All mistakes are reported together, each with its place and a hint."""
    mapping = {
        "receiver": "sock",
        "recever": "x",
        "routes": [
            {"match": {"severty": "low", "severity": ["criticl"], "entity": "Exampel", "chain": "etherium"}},
            {"match": {"wallet": []}, "continue": "yes", "receiver": 3},
            {"match": ["severity"], "routes": {"receiver": "soc"}},
            "soc",
            {"match": {"entity": 7, "kind": None}},
        ],
    }
    with pytest.raises(ConfigError) as caught:
        parse(mapping, ["soc", "desk"], known={"entity": ["Example"]})
    assert [str(problem) for problem in caught.value.problems] == [
        "route: unknown key 'recever': did you mean 'receiver'?",
        "route.receiver: unknown receiver 'sock': did you mean 'soc'?",
        "route.routes[0].match: unknown label 'severty': did you mean 'severity'?",
        "route.routes[0].match.severity: unknown severity 'criticl': did you mean 'critical'?",
        "route.routes[0].match.entity: unknown entity 'Exampel': did you mean 'Example'?",
        "route.routes[0].match.chain: unknown chain 'etherium': did you mean 'ethereum'?",
        "route.routes[1].receiver: expected the name of a receiver",
        "route.routes[1].continue: expected true or false",
        "route.routes[1].match.wallet: an empty list matches nothing: name values, or remove the label",
        "route.routes[2].match: expected a mapping from label to values, {severity: [critical]} for example",
        "route.routes[2].routes: expected a list of routes",
        "route.routes[3]: expected a mapping with receiver, match and routes",
        "route.routes[4].match.entity: expected text or a list of texts",
        "route.routes[4].match.kind: expected text or a list of texts",
    ]


@pytest.mark.parametrize("mapping", [{}, {"receiver": None}, {"routes": [{"receiver": "soc"}]}])
def test_root_needs_a_receiver(mapping: dict[str, Any]) -> None:
    """Without a root receiver an alert could be without one."""
    with pytest.raises(ConfigError, match="receiver is missing"):
        parse(mapping, ["soc"])


@pytest.mark.parametrize("extra", [{"match": {"role": "hot"}}, {"continue": True}])
def test_root_takes_everything(extra: dict[str, Any]) -> None:
    """A root that takes only some alerts is refused."""
    with pytest.raises(ConfigError, match="outermost route takes every alert"):
        parse({"receiver": "soc", **extra}, ["soc"])


_names = st.sampled_from(["a", "b", "c"])
_matches = st.dictionaries(
    st.sampled_from(LABELS), st.frozensets(st.sampled_from(["x", "y", "high", "opened"])), max_size=3
)
_routes = st.recursive(
    st.builds(Route, _names, _matches, st.booleans()),
    lambda inner: st.builds(Route, _names, _matches, st.booleans(), st.lists(inner, max_size=3).map(tuple)),
    max_leaves=12,
)
_labels = st.dictionaries(st.sampled_from(LABELS), st.sampled_from(["x", "y", "x,y", "high", ""]))


@given(st.builds(Route, _names, routes=st.lists(_routes, max_size=4).map(tuple)), _labels, st.sampled_from(AlertKind))
def test_every_alert_reaches_somebody(route: Route, labels: dict[str, str], kind: AlertKind) -> None:
    """Whatever the tree and the alert: at least one receiver, none twice, all of them in the tree."""
    reached = receivers(route, Alert("1", kind, "t", "b", labels=labels))
    assert reached
    assert len(set(reached)) == len(reached)
    assert set(reached) <= {"a", "b", "c"}


TIMES = parse_times({
    "night": [{"from": "22:00", "to": "07:00", "zone": "UTC"}],
    "day": [{"from": "07:00", "to": "22:00", "zone": "UTC"}],
})  # fmt: skip


def test_waits_are_inherited(alert: Make) -> None:
    """A route has what the one around it has, unless it says otherwise; nothing waits where nothing is said."""
    mapping = {
        "receiver": "root", "group_by": ["wallet"], "group_wait": 30, "group_interval": 300, "repeat_interval": 3600,
        "quiet": ["night"], "escalation": "late",
        "routes": [
            {"match": {"severity": "high"}},
            {"match": {"severity": "critical"}, "receiver": "pager", "group_by": [], "group_wait": 0, "quiet": [],
             "repeat_interval": 60, "active": "day", "escalation": "none"},
        ],
    }  # fmt: skip
    root = parse(mapping, times=TIMES, policies=["late"])
    high, critical = root.routes
    assert (high.group_by, high.group_wait, high.group_interval) == (("wallet",), 30.0, 300.0)
    assert (high.quiet, high.repeat_interval, high.escalation, high.receiver) == (("night",), 3600.0, "late", "root")
    assert (critical.group_by, critical.group_wait, critical.group_interval) == ((), 0.0, 300.0)
    assert (critical.quiet, critical.active, critical.escalation) == ((), ("day",), "")
    plain = parse({"receiver": "root"})
    assert plain == Route("root") and not plain.group_wait and not plain.repeat_interval and not plain.quiet


def test_the_way_down(alert: Make) -> None:
    """Each route that an alert ends in, with the routes down to it."""
    inner = {"match": {"severity": "critical"}, "receiver": "pager"}
    desk = {"match": {"role": "hot"}, "receiver": "desk", "continue": True, "routes": [inner]}
    route = tree(desk, {"receiver": "log"})
    assert [(way.receiver, way.path) for way in ways(route, alert())] == [
        ("pager", ("route", "route.routes[0]", "route.routes[0].routes[0]")),
        ("log", ("route", "route.routes[1]")),
    ]


def test_every_problem_of_waiting() -> None:
    """Wrong lengths, names that do not exist, and times that leave no moment."""
    mapping = {
        "receiver": "root", "group_wait": -1, "group_interval": "5m", "repeat_interval": True, "group_by": ["walet"],
        "quiet": ["nigth"], "escalation": "lat", "routes": [{"quiet": "night", "active": "night"}],
    }  # fmt: skip
    with pytest.raises(ConfigError) as caught:
        parse(mapping, times=TIMES, policies=["late"])
    assert [str(problem) for problem in caught.value.problems] == [
        "route.group_wait: expected a number of seconds, 0 for none",
        "route.group_interval: expected a number of seconds, 0 for none",
        "route.repeat_interval: expected a number of seconds, 0 for none",
        "route.group_by: unknown label 'walet': did you mean 'wallet'?",
        "route.quiet: unknown time 'nigth': did you mean 'night'?",
        "route.escalation: unknown escalation 'lat': did you mean 'late'?",
        "route.routes[0]: quiet and active leave no moment of the week: what waits would wait for ever",
    ]
