"""Who is told of what: a tree of routes over the labels of an alert, as in Alertmanager."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from alerts.intervals import Times, free_at, spans_of
from alerts.matchers import LABELS, Labels, Match, MatchReader, agrees, is_list, labels_of
from monitor.errors import ConfigError
from monitor.model import Alert
from monitor.registry import did_you_mean

__all__ = ["LABELS", "Route", "Way", "parse", "receivers", "ways"]

_SECONDS = ("group_wait", "group_interval", "repeat_interval")
_NAMES = ("quiet", "active")
_KEYS = ("receiver", "match", "continue", "routes", "group_by", *_SECONDS, *_NAMES, "escalation")
_ANY_WEEK = 1_704_067_200.0  # a Monday; times repeat weekly


@dataclass(frozen=True, slots=True)
class Route:
    """One place in the tree: what it takes, to whom it goes, when it may wait, and what is inside.

    Every key of ``match`` must agree, with any one of its values; an empty ``match`` takes everything. Of the routes
    inside the first that takes an alert gets it, and those after it only where it says ``continue`` (``go_on``). What
    no route inside takes goes to ``receiver``. The root takes everything, so that no alert is without a receiver.

    The rest is about messages that may wait at all (see `alerts.plan`); none of it waits where it is left out, and a
    route has it from the route around it. ``group_by`` are labels whose values, with the entity, make a group;
    ``group_wait`` is how long a group gathers, ``group_interval`` how long after a message the next one of a group
    may come, and ``repeat_interval`` after how long an open incident that nobody acknowledged is said again, all in
    seconds. ``quiet`` and ``active`` name times in which, and outside of which, low and medium severities wait.
    ``escalation`` names a policy; ``none`` is none.
    """

    receiver: str
    match: Match = field(default_factory=dict)
    go_on: bool = False
    routes: tuple[Route, ...] = ()
    group_by: tuple[str, ...] = ()
    group_wait: float = 0.0
    group_interval: float = 0.0
    repeat_interval: float = 0.0
    quiet: tuple[str, ...] = ()
    active: tuple[str, ...] = ()
    escalation: str = ""


@dataclass(frozen=True, slots=True)
class Way:
    """A route that takes an alert; ``path`` are the routes down to it, ``route.routes[0]`` for example."""

    route: Route
    path: tuple[str, ...]

    @property
    def receiver(self) -> str:
        """Who gets it."""
        return self.route.receiver


def receivers(route: Route, alert: Alert) -> tuple[str, ...]:
    """Names of the receivers of ``alert``, each once, in the order of the tree; never empty for a root.

    >>> from monitor.model import AlertKind, Severity
    >>> route = parse({"receiver": "desk", "routes": [{"match": {"severity": "critical"}, "receiver": "pager"}]})
    >>> receivers(route, Alert("1", AlertKind.OPENED, "title", "body", Severity.CRITICAL))
    ('pager',)
    >>> receivers(route, Alert("2", AlertKind.BLIND, "title", "body"))
    ('desk',)
    """
    return tuple(dict.fromkeys(way.receiver for way in ways(route, alert)))


def ways(route: Route, alert: Alert) -> tuple[Way, ...]:
    """Every route that ``alert`` ends in, in the order of the tree; never empty for a root.

    >>> from monitor.model import AlertKind
    >>> tree = parse({"receiver": "desk", "routes": [{"match": {"kind": "blind"}, "receiver": "ops"}]})
    >>> [(way.receiver, way.path) for way in ways(tree, Alert("2", AlertKind.BLIND, "title", "body"))]
    [('ops', ('route', 'route.routes[0]'))]
    """
    return tuple(_taken(route, labels_of(alert), ("route",)))


def _taken(route: Route, labels: Labels, path: tuple[str, ...]) -> Iterator[Way]:
    taken = False
    for place, inner in enumerate(route.routes):
        if agrees(inner.match, labels):
            taken = True
            yield from _taken(inner, labels, (*path, f"{path[-1]}.routes[{place}]"))
            if not inner.go_on:
                break
    if not taken:
        yield Way(route, path)


def parse(
    mapping: Mapping[str, Any],
    receivers: Collection[str] | None = None,
    *,
    known: Mapping[str, Collection[str]] | None = None,
    chains: Mapping[str, str] | None = None,
    times: Times | None = None,
    policies: Collection[str] | None = None,
) -> Route:
    """The tree of a ``route`` mapping; ConfigError with every problem found, each at its place in the mapping.

    Parameters
    ----------
    mapping : ``{receiver, routes: [{match: {label: value or [values]}, receiver, continue, routes}]}``; a route
        without a receiver has that of the route around it; lengths of time are numbers of seconds
    receivers : names that exist; None accepts any
    known, chains : see `alerts.matchers.MatchReader`
    times : what ``quiet`` and ``active`` may name
    policies : what ``escalation`` may name

    Examples
    --------
    >>> parse({"receiver": "soc", "routes": [{"match": {"role": "coldd"}}]}, ["soc"])
    Traceback (most recent call last):
    monitor.errors.ConfigError: route.routes[0].match.role: unknown role 'coldd': did you mean 'cold'?
    """
    parser = _Parser(receivers, MatchReader(known, chains), times or {}, policies or ())
    route = parser.route(mapping, "route", None)
    if parser.reader.problems:
        raise ConfigError(parser.reader.problems)
    return route


class _Parser:
    """Reads one tree and collects what is wrong with it."""

    def __init__(
        self, receivers: Collection[str] | None, reader: MatchReader, times: Times, policies: Collection[str]
    ) -> None:
        self.reader = reader
        self._receivers = receivers
        self._times = times
        self._policies = policies

    def route(self, mapping: object, where: str, around: Route | None) -> Route:
        """One route and those inside it; ``around`` is the route around it, None for the root."""
        if not isinstance(mapping, Mapping):
            self._wrong(where, "expected a mapping with receiver, match and routes")
            return around or Route("")
        for key in mapping:
            if key not in _KEYS:
                self._wrong(where, f"unknown key {key!r}: {did_you_mean(str(key), _KEYS)}")
        receiver = self._receiver(mapping.get("receiver"), where, around)
        go_on = mapping.get("continue", False)
        if not isinstance(go_on, bool):
            self._wrong(f"{where}.continue", "expected true or false")
        match = self.reader.match(mapping.get("match"), f"{where}.match")
        if around is None and (match or go_on is True):
            self._wrong(where, "the outermost route takes every alert: put `match` and `continue` into its `routes`")
        inside = mapping.get("routes")
        if inside is None:
            inside = ()
        elif not is_list(inside):
            self._wrong(f"{where}.routes", "expected a list of routes")
            inside = ()
        own = Route(receiver, match, go_on is True, **self._waits(mapping, where, around))
        routes = tuple(self.route(item, f"{where}.routes[{place}]", own) for place, item in enumerate(inside))
        return replace(own, routes=routes)

    def _receiver(self, name: object, where: str, around: Route | None) -> str:
        inherited = around.receiver if around is not None else ""
        if name is None:
            if around is None:
                self._wrong(where, "receiver is missing: who gets what no other route takes?")
            return inherited
        if not isinstance(name, str):
            self._wrong(f"{where}.receiver", "expected the name of a receiver")
            return inherited
        if self._receivers is not None and name not in self._receivers:
            hint = did_you_mean(name, self._receivers)
            self._wrong(f"{where}.receiver", f"unknown receiver {name!r}: {hint}")
        return name

    def _waits(self, mapping: Mapping[str, Any], where: str, around: Route | None) -> dict[str, Any]:
        """What the route says of waiting, else what the one around it says."""
        found: dict[str, Any] = {}
        around = around or Route("")
        for name in _SECONDS:
            given = mapping.get(name)
            found[name] = getattr(around, name) if given is None else self._seconds(given, f"{where}.{name}")
        by = mapping.get("group_by")
        found["group_by"] = around.group_by if by is None else self.reader.labels(by, f"{where}.group_by")
        for name in _NAMES:
            given = mapping.get(name)
            found[name] = getattr(around, name) if given is None else self._names(given, f"{where}.{name}")
        if any(mapping.get(name) is not None for name in _NAMES):
            self._check_open(found["quiet"], found["active"], where)
        policy = mapping.get("escalation")
        found["escalation"] = around.escalation if policy is None else self._policy(policy, f"{where}.escalation")
        return found

    def _seconds(self, given: object, where: str) -> float:
        if isinstance(given, int | float) and not isinstance(given, bool) and 0 <= given < 1e9:
            return float(given)
        self._wrong(where, "expected a number of seconds, 0 for none")
        return 0.0

    def _names(self, given: object, where: str) -> tuple[str, ...]:
        items = given if is_list(given) else (given,)
        for name in items:
            if name not in self._times:
                self._wrong(where, f"unknown time {name!r}: {did_you_mean(str(name), self._times)}")
        return tuple(dict.fromkeys(str(name) for name in items if name in self._times))

    def _check_open(self, quiet: tuple[str, ...], active: tuple[str, ...], where: str) -> None:
        if free_at(spans_of(self._times, quiet), spans_of(self._times, active), _ANY_WEEK) is None:
            self._wrong(where, "quiet and active leave no moment of the week: what waits would wait for ever")

    def _policy(self, name: object, where: str) -> str:
        if name == "none":  # as `repeat_interval: 0` and `quiet: []`: not what the route around has
            return ""
        if not isinstance(name, str) or name not in self._policies:
            self._wrong(where, f"unknown escalation {name!r}: {did_you_mean(str(name), self._policies)}")
            return ""
        return name

    def _wrong(self, where: str, message: str) -> None:
        self.reader.wrong(where, message)
