"""Routes: every receiver that one names exists, and every receiver can be reached."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from monitor.config.alert_file import RouteEntry
from monitor.config.problems import shown
from monitor.config.shape import SeverityWord
from monitor.config.tree import Node
from monitor.config.types import Receiver
from monitor.errors import Problem
from monitor.registry import did_you_mean

__all__ = ["build_route"]


def build_route(
    entry: RouteEntry | None,
    node: Node | None,
    receivers: Sequence[Receiver],
    problems: list[Problem],
    warnings: list[Problem],
    escalated: Collection[str] = (),
) -> dict[str, Any]:
    """The routing tree as a mapping; without one, the first receiver gets everything (empty without receivers).

    ``escalated`` are receivers who come in where nobody acknowledges.
    """
    names = [receiver.name for receiver in receivers]
    if entry is None or node is None:
        if len(names) > 1 and not set(names[1:]) <= set(escalated):
            warnings.append(Problem(f"there is no route: {names[0]!r} gets everything, the other receivers nothing"))
        return {"receiver": names[0]} if names else {}
    if entry.receiver is None and "receiver" not in node.lost:
        problems.append(node.problem("route.receiver is missing: who gets what no other route matches?"))
    used = set(escalated)
    for route, place in _walk(entry, node):
        _check_match(place, problems)
        if route.receiver is not None:
            used.add(route.receiver)
            if route.receiver not in names:
                there, hint = place.at("receiver"), did_you_mean(route.receiver, names)
                problems.append(there.problem(f"{there.label} {shown(there)}, which is no receiver: {hint}"))
    warnings += [node.problem(f"receiver {n!r} is in no route: it gets nothing") for n in names if n not in used]
    return entry.model_dump(by_alias=True, exclude_unset=True)


def _walk(entry: RouteEntry, node: Node) -> Iterator[tuple[RouteEntry, Node]]:
    yield entry, node
    for route, place in zip(entry.routes, node.at("routes").value if entry.routes else (), strict=True):
        yield from _walk(route, place)


def _check_match(node: Node, problems: list[Problem]) -> None:
    """A misspelt severity would silently match nothing."""
    severity = node.at("match", "severity")
    if severity.key != "severity":
        return
    valid = [str(word) for word in SeverityWord]
    items = severity.value if isinstance(severity.value, list) else [severity]
    problems += [
        item.problem(f"{item.label} {shown(item)}, {did_you_mean(item.value, valid)}")
        for item in items
        if item.value not in valid
    ]
