"""Who is told of what: a tree of routes over the labels of an alert, as in Alertmanager."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from monitor.errors import ConfigError, Problem
from monitor.model import Alert, AlertKind, Role, Severity
from monitor.networks import NETWORKS, by_name
from monitor.registry import did_you_mean

__all__ = ["LABELS", "Route", "parse", "receivers"]

LABELS = ("severity", "entity", "wallet", "role", "chain", "detector", "kind")
"""The labels that a route may match."""

_JOINED = {"wallet", "role", "chain", "detector"}  # labels that hold several values, joined by commas
_KEYS = ("receiver", "match", "continue", "routes")
_WORDS: dict[str, tuple[str, ...]] = {
    "severity": tuple(str(severity) for severity in Severity),
    "role": tuple(role.value for role in Role),
    "kind": tuple(kind.value for kind in AlertKind),
}


@dataclass(frozen=True, slots=True)
class Route:
    """One place in the tree: what it takes, to whom it goes, and what is inside.

    Every key of ``match`` must agree, with any one of its values; an empty ``match`` takes everything. Of the routes
    inside the first that takes an alert gets it, and those after it only where it says ``continue`` (``go_on``). What
    no route inside takes goes to ``receiver``. The root takes everything, so that no alert is without a receiver.
    """

    receiver: str
    match: Mapping[str, frozenset[str]] = field(default_factory=dict)
    go_on: bool = False
    routes: tuple[Route, ...] = ()


def receivers(route: Route, alert: Alert) -> tuple[str, ...]:
    """Names of the receivers of ``alert``, each once, in the order of the tree; never empty for a root.

    >>> route = parse({"receiver": "desk", "routes": [{"match": {"severity": "critical"}, "receiver": "pager"}]})
    >>> receivers(route, Alert("1", AlertKind.OPENED, "title", "body", Severity.CRITICAL))
    ('pager',)
    >>> receivers(route, Alert("2", AlertKind.BLIND, "title", "body"))
    ('desk',)
    """
    return tuple(dict.fromkeys(_taken(route, _labels(alert))))


def _labels(alert: Alert) -> dict[str, frozenset[str]]:
    labels = {
        name: frozenset(value.split(",")) if name in _JOINED else frozenset((value,))
        for name, value in alert.labels.items()
    }
    if alert.severity is not None:
        labels.setdefault("severity", frozenset((str(alert.severity),)))
    # A drill that plays an incident carries the played kind as its label and is a drill all the same.
    labels["kind"] = labels.get("kind", frozenset()) | {str(alert.kind)}
    return labels


def _taken(route: Route, labels: Mapping[str, frozenset[str]]) -> Iterator[str]:
    taken = False
    for inner in route.routes:
        if _matches(inner, labels):
            taken = True
            yield from _taken(inner, labels)
            if not inner.go_on:
                break
    if not taken:
        yield route.receiver


def _matches(route: Route, labels: Mapping[str, frozenset[str]]) -> bool:
    return all(not values.isdisjoint(labels.get(name, ())) for name, values in route.match.items())


def parse(
    mapping: Mapping[str, Any],
    receivers: Collection[str] | None = None,
    *,
    known: Mapping[str, Collection[str]] | None = None,
    chains: Mapping[str, str] | None = None,
) -> Route:
    """The tree of a ``route`` mapping; ConfigError with every problem found, each at its place in the mapping.

    Parameters
    ----------
    mapping : ``{receiver, routes: [{match: {label: value or [values]}, receiver, continue, routes}]}``; a route
        without a receiver has that of the route around it
    receivers : names that exist; None accepts any
    known : values that exist by label (entity, wallet, detector), since a misspelt one would match nothing for ever;
        a label that is not in it accepts any value
    chains : CAIP-2 identifiers by configured chain name; the names of built-in networks are known without it

    Examples
    --------
    >>> parse({"receiver": "soc", "routes": [{"match": {"role": "coldd"}}]}, ["soc"])
    Traceback (most recent call last):
    monitor.errors.ConfigError: route.routes[0].match.role: unknown role 'coldd': did you mean 'cold'?
    """
    parser = _Parser(receivers, known or {}, chains or {})
    route = parser.route(mapping, "route", None)
    if parser.problems:
        raise ConfigError(parser.problems)
    return route


class _Parser:
    """Reads one tree and collects what is wrong with it."""

    def __init__(
        self, receivers: Collection[str] | None, known: Mapping[str, Collection[str]], chains: Mapping[str, str]
    ) -> None:
        self.problems: list[Problem] = []
        self._receivers = receivers
        self._known = known
        self._chains = chains

    def route(self, mapping: object, where: str, around: str | None) -> Route:
        """One route and those inside it; ``around`` is the receiver of the route around it, None for the root."""
        if not isinstance(mapping, Mapping):
            self._wrong(where, "expected a mapping with receiver, match and routes")
            return Route(around or "")
        for key in mapping:
            if key not in _KEYS:
                self._wrong(where, f"unknown key {key!r}: {did_you_mean(str(key), _KEYS)}")
        receiver = self._receiver(mapping.get("receiver"), where, around)
        go_on = mapping.get("continue", False)
        if not isinstance(go_on, bool):
            self._wrong(f"{where}.continue", "expected true or false")
        match = self._match(mapping.get("match"), f"{where}.match")
        if around is None and (match or go_on is True):
            self._wrong(where, "the outermost route takes every alert: put `match` and `continue` into its `routes`")
        inside = mapping.get("routes")
        if inside is None:
            inside = ()
        elif not _is_list(inside):
            self._wrong(f"{where}.routes", "expected a list of routes")
            inside = ()
        routes = tuple(self.route(item, f"{where}.routes[{place}]", receiver) for place, item in enumerate(inside))
        return Route(receiver, match, go_on is True, routes)

    def _receiver(self, name: object, where: str, around: str | None) -> str:
        if name is None:
            if around is None:
                self._wrong(where, "receiver is missing: who gets what no other route takes?")
            return around or ""
        if not isinstance(name, str):
            self._wrong(f"{where}.receiver", "expected the name of a receiver")
            return around or ""
        if self._receivers is not None and name not in self._receivers:
            hint = did_you_mean(name, self._receivers)
            self._wrong(f"{where}.receiver", f"unknown receiver {name!r}: {hint}")
        return name

    def _match(self, mapping: object, where: str) -> dict[str, frozenset[str]]:
        if mapping is None:
            return {}
        if not isinstance(mapping, Mapping):
            self._wrong(where, "expected a mapping from label to values, {severity: [critical]} for example")
            return {}
        match = {}
        for label, values in mapping.items():
            if label in LABELS:
                match[label] = frozenset(self._values(label, values, f"{where}.{label}"))
            else:
                self._wrong(where, f"unknown label {label!r}: {did_you_mean(str(label), LABELS)}")
        return match

    def _values(self, label: str, values: object, where: str) -> Iterator[str]:
        items: Sequence[Any] = values if _is_list(values) else (values,)
        if not items:
            self._wrong(where, "an empty list matches nothing: name values, or remove the label")
        for item in items:
            if not isinstance(item, str) or not item.strip():
                self._wrong(where, "expected text or a list of texts")
            else:
                yield self._value(label, item.strip(), where)

    def _value(self, label: str, value: str, where: str) -> str:
        if label == "chain" and ":" not in value:
            network = by_name(value)
            chain = self._chains.get(value) or (network.chain if network else None)
            if chain is None:
                names = [*self._chains, *(network.name for network in NETWORKS)]
                self._wrong(where, f"unknown chain {value!r}: {did_you_mean(value, names)}")
            return chain or value
        words = _WORDS.get(label)
        if words is not None:
            value = value.lower()
        valid = words if words is not None else self._known.get(label)
        if valid is not None and value not in valid:
            self._wrong(where, f"unknown {label} {value!r}: {did_you_mean(value, valid)}")
        return value

    def _wrong(self, where: str, message: str) -> None:
        self.problems.append(Problem(message, where))


def _is_list(value: object) -> TypeGuard[Sequence[Any]]:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)
