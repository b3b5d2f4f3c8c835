"""Inhibition: while one incident is known of, lesser ones that go with it are not said. Pure.

As in Alertmanager (prometheus.io/docs/alerting/latest/configuration, ``inhibit_rules``), and narrower where that can
lose an alarm: a critical alert is never inhibited, nor one that says that an incident grew; what inhibits must have
been said itself; labels that must be equal must be there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from alerts.board import Board
from alerts.case import Case
from alerts.matchers import Labels, Match, MatchReader, agrees, entity_of, incident_of, is_list, labels_of, severity_of
from monitor.errors import ConfigError
from monitor.model import Alert, AlertKind, Severity
from monitor.registry import did_you_mean

__all__ = ["Rule", "inhibiting", "parse_rules"]

_KEYS = ("source", "target", "equal")
_NEVER = (
    AlertKind.BLIND, AlertKind.RECOVERED, AlertKind.DRILL, AlertKind.RESOLVED, AlertKind.RETRACTED, AlertKind.ESCALATED,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Rule:
    """While an incident that ``source`` matches is open, what ``target`` matches waits, where ``equal`` agree."""

    source: Match
    target: Match
    equal: tuple[str, ...] = ("entity",)


def inhibiting(rules: Iterable[Rule], alert: Alert, board: Board) -> Case | None:
    """The open case for whose sake ``alert`` is not said; None where there is none.

    A case counts from the moment on that somebody was told of it, so that no two can inhibit each other. It never
    inhibits itself, nor does one that is a target of the same rule inhibit what is a source of it, too.
    """
    if alert.kind in _NEVER or severity_of(alert) is Severity.CRITICAL:
        return None
    labels, own = labels_of(alert), incident_of(alert)
    for rule in rules:
        if not agrees(rule.target, labels):
            continue
        both = agrees(rule.source, labels)
        cases = board.open_cases(entity_of(alert) if "entity" in rule.equal else None)
        told = (case for case in cases if case.incident != own and case.told and not case.is_drill)
        found = [case for case in told if _is_source(rule, case, labels, both)]
        if found:
            return min(found, key=lambda case: (case.opened, case.incident))
    return None


def _is_source(rule: Rule, case: Case, labels: Labels, both: bool) -> bool:
    there = labels_of(case.latest)
    if not agrees(rule.source, there) or (both and agrees(rule.target, there)):
        return False
    return all(not there.get(label, frozenset()).isdisjoint(labels.get(label, ())) for label in rule.equal)


def parse_rules(
    given: Sequence[Any],
    *,
    known: Mapping[str, Collection[str]] | None = None,
    chains: Mapping[str, str] | None = None,
) -> tuple[Rule, ...]:
    """The rules of an ``inhibit`` list; ConfigError with every problem.

    Parameters
    ----------
    given : ``[{source: {label: values}, target: {label: values}, equal: [labels]}]``; ``equal`` is the entity where it
        is not given
    known, chains : see `alerts.matchers.MatchReader`

    Examples
    --------
    >>> parse_rules([{"source": {"severity": "critical"}, "target": {"severity": ["low", "critical"]}}])
    Traceback (most recent call last):
    monitor.errors.ConfigError: inhibit[0].target.severity: critical alerts are never inhibited: leave critical out
    """
    reader = MatchReader(known, chains)
    rules = [_rule(item, f"inhibit[{place}]", reader) for place, item in enumerate(given)]
    if reader.problems:
        raise ConfigError(reader.problems)
    return tuple(rules)


def _rule(item: object, where: str, reader: MatchReader) -> Rule:
    if not isinstance(item, Mapping):
        reader.wrong(where, "expected a mapping with source, target and equal")
        return Rule({}, {})
    for key in item:
        if key not in _KEYS:
            reader.wrong(where, f"unknown key {key!r}: {did_you_mean(str(key), _KEYS)}")
    matches = {}
    for name in ("source", "target"):
        if not item.get(name):
            reader.wrong(f"{where}.{name}", "is missing: it would match everything")
        matches[name] = reader.match(item.get(name), f"{where}.{name}")
    if str(Severity.CRITICAL) in matches["target"].get("severity", ()):
        reader.wrong(f"{where}.target.severity", "critical alerts are never inhibited: leave critical out")
    equal = item.get("equal")
    if equal is not None and is_list(equal) and not equal:
        reader.wrong(f"{where}.equal", "an empty list lets one owner's incident hide another's: name labels")
    found = ("entity",) if equal is None else reader.labels(equal, f"{where}.equal")
    return Rule(matches["source"], matches["target"], found)
