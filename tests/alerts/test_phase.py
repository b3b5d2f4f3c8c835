"""Which messages are about the same problem, and which end it."""

from __future__ import annotations

import pytest

from alerts.phase import KEY_CHARACTERS, is_over, problem_key
from monitor.model import Alert, AlertKind


def of_monitor(kind: AlertKind, **labels: str) -> Alert:
    """What the monitor says of itself."""
    return Alert(kind.value, kind, "title", "body", labels={"kind": str(kind), "severity": "high", **labels})


@pytest.mark.parametrize(
    ("kind", "played", "over"),
    [
        ("opened", "", False), ("updated", "", False), ("escalated", "", False), ("reminder", "", False),
        ("summary", "", False), ("blind", "", False), ("resolved", "", True), ("retracted", "", True),
        ("recovered", "", True), ("drill", "opened", False), ("drill", "resolved", True), ("drill", "retracted", True),
        ("drill", "", False),
    ],
)  # fmt: skip
def test_is_over(kind: str, played: str, over: bool) -> None:
    """A drill ends as what it plays does."""
    labels = {"kind": played} if played else {}
    assert is_over(Alert("a", AlertKind(kind), "t", "b", labels=labels)) is over


def test_two_troubles_of_one_chain_are_two() -> None:
    """The end of one resolves that one alone, also where its reason changed meanwhile."""
    heads = of_monitor(AlertKind.BLIND, chain="eip155:1", trouble="head/eip155:1", reason="timeout")
    queue = of_monitor(AlertKind.BLIND, chain="eip155:1", trouble="queue")
    over = of_monitor(AlertKind.RECOVERED, chain="eip155:1", trouble="head/eip155:1", reason="connection")
    assert problem_key(heads) == problem_key(over) != problem_key(queue)


def test_an_incident_and_its_drill() -> None:
    """The id of the incident, wherever it is said; a drill never has the key of what is real."""
    incident = {"id": "i1"}
    assert problem_key(Alert("a", AlertKind.OPENED, "t", "b", incident=incident)) == "i1"
    assert problem_key(Alert("a", AlertKind.SUMMARY, "t", "b", labels={"incident": "i1"})) == "i1"
    assert problem_key(Alert("a", AlertKind.DRILL, "t", "b", incident=incident)) == "drill-i1"
    assert problem_key(Alert("a", AlertKind.DRILL, "t", "b", incident={"id": "drill-7"})) == "drill-7"
    assert problem_key(Alert("alone", AlertKind.BLIND, "t", "b")) == "alone"


def test_a_huge_id_is_shortened() -> None:
    """To one that services take, and still one's own."""
    keys = {problem_key(Alert("a", AlertKind.OPENED, "t", "b", incident={"id": "x" * 5000 + end})) for end in "ab"}
    assert len(keys) == 2
    assert all(len(key) <= KEY_CHARACTERS for key in keys)


def test_half_a_character_in_a_label() -> None:
    """What no encoding writes is no reason to lose a message."""
    assert problem_key(of_monitor(AlertKind.BLIND, chain="\ud800")).startswith("monitor-")
    assert problem_key(Alert("a", AlertKind.OPENED, "t", "b", incident={"id": "i\ud8001" * 500}))
