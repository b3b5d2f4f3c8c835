"""What the configuration says of alerts beyond receivers: names that it refers to exist, and reach somebody."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from zoneinfo import available_timezones

from monitor.config.alert_file import RouteEntry
from monitor.config.file import ConfigFile
from monitor.config.problems import shown
from monitor.config.tree import Node
from monitor.config.types import Alerting, HeartbeatConfig, Receiver
from monitor.drill_schedule import wrong_drill
from monitor.errors import Problem
from monitor.registry import did_you_mean

__all__ = ["build_alerting", "check_zone"]


def build_alerting(
    file: ConfigFile, root: Node, receivers: Sequence[Receiver], problems: list[Problem], warnings: list[Problem]
) -> Alerting:
    """Times, inhibition, escalations, drills and heartbeats; what is wrong joins ``problems``."""
    names = [receiver.name for receiver in receivers]
    _times(file, root, problems)
    if file.route is not None and (node := root.child("route")) is not None:
        _routes(file.route, node, file, problems)
    for name, steps in file.escalations.items():
        for place, step in enumerate(steps):
            node = root.at("escalations", name, place, "receiver")
            if step.receiver not in names:
                hint = did_you_mean(step.receiver, names)
                problems.append(node.problem(f"{node.label} {shown(node)}, which is no receiver: {hint}"))
        after = [step.after for step in steps]
        if after != sorted(after):
            node = root.at("escalations", name)
            problems.append(node.problem(f"{node.label}: the steps are not in the order of `after`"))
        node = root.at("escalations", name)
        if not steps and not node.lost and name not in root.at("escalations").lost:
            problems.append(node.problem(f"{node.label} has no step"))
    if file.drill is not None:
        check_zone(file.drill.zone, root.at("drill", "zone"), problems)
        problems += [
            root.at("drill", wrong.where).problem(f"drill.{wrong.where}: {wrong.message}")
            for wrong in wrong_drill(_plain(file.drill))
        ]
    if file.drill is not None and not receivers:
        warnings.append(root.at("drill").problem("drill reaches nobody: there are no receivers"))
    return Alerting(
        times={name: [_plain(entry) for entry in entries] for name, entries in file.times.items()},
        inhibit=tuple(_plain(entry) for entry in file.inhibit),
        escalations={name: [_plain(step) for step in steps] for name, steps in file.escalations.items()},
        drill=_plain(file.drill) if file.drill is not None else None,
        heartbeat=tuple(HeartbeatConfig(entry.type, entry.url, float(entry.every)) for entry in file.heartbeat),
    )


def check_zone(zone: str, node: Node, problems: list[Problem]) -> None:
    """A misspelt zone would move a night to another time of day."""
    if zone not in (known := available_timezones()):
        problems.append(node.problem(f"{node.label} is no IANA time zone: {_near(zone, known)}"))


def _near(zone: str, known: set[str]) -> str:
    hint = did_you_mean(zone, known)
    return hint if hint.startswith("did") else "expected a name such as Europe/Berlin"


def _plain(entry: Any) -> dict[str, Any]:
    dumped: dict[str, Any] = entry.model_dump(by_alias=True, mode="json")
    return dumped


def _times(file: ConfigFile, root: Node, problems: list[Problem]) -> None:
    for name, entries in file.times.items():
        for place, entry in enumerate(entries):
            check_zone(entry.zone, root.at("times", name, place, "zone"), problems)


def _routes(entry: RouteEntry, node: Node, file: ConfigFile, problems: list[Problem]) -> None:
    known: Mapping[str, Mapping[str, Any]] = {"quiet": file.times, "active": file.times}
    for key, names in known.items():
        for name in getattr(entry, key) or ():
            if name not in names:
                there = node.at(key)
                problems.append(there.problem(f"{there.label}: {name!r} is none of `times`: {_hint(name, names)}"))
    if entry.escalation is not None and entry.escalation not in (*file.escalations, "none"):
        there, hint = node.at("escalation"), _hint(entry.escalation, file.escalations)
        problems.append(there.problem(f"{there.label} {shown(there)}, which is none of `escalations`: {hint}"))
    for route, place in _inner(entry, node):
        _routes(route, place, file, problems)


def _hint(name: str, names: Mapping[str, Any]) -> str:
    return did_you_mean(name, names) if names else "there are none"


def _inner(entry: RouteEntry, node: Node) -> Iterator[tuple[RouteEntry, Node]]:
    return zip(entry.routes, node.at("routes").value if entry.routes else (), strict=True)
