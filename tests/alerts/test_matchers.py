"""What is matched, and how it is written."""

from __future__ import annotations

from collections.abc import Callable

from alerts.matchers import MatchReader, agrees, entity_of, incident_of, labels_of, severity_of, shown
from monitor.model import Alert, AlertKind, Severity

Make = Callable[..., Alert]


def test_the_incident_is_a_label(alert: Make) -> None:
    """Whether the alert carries it as a label or as its incident."""
    assert labels_of(alert())["incident"] == {"i1"}
    assert labels_of(alert(labels={"incident": "i2"}))["incident"] == {"i2"}
    blind = Alert("m", AlertKind.BLIND, "t", "b")
    assert "incident" not in labels_of(blind) and incident_of(blind) == ""
    assert agrees({"incident": frozenset({"i1", "i9"})}, labels_of(alert()))
    assert not agrees({"incident": frozenset({"i9"})}, labels_of(alert()))


def test_the_worse_severity_counts(alert: Make) -> None:
    """What must not be held back is not, should field and label differ."""
    assert severity_of(alert(severity=Severity.LOW)) is Severity.CRITICAL
    assert severity_of(alert(labels={"severity": "low"})) is Severity.CRITICAL
    assert severity_of(alert(labels={"severity": "nonsense"}, severity=None)) is None


def test_whose_coins(alert: Make) -> None:
    """The label, else what the incident says."""
    assert entity_of(alert()) == "Example Exchange"
    assert entity_of(alert(labels={}, incident={"id": "i1", "entity": "Other"})) == "Other"
    assert entity_of(Alert("m", AlertKind.BLIND, "t", "b")) == ""


def test_pairs() -> None:
    """Texts of the command line: values joined by commas or by repetition; a known name may have a comma itself."""
    reader = MatchReader({"entity": ["Other, Inc", "Example"]}, {"mine": "eip155:9"})
    given = ["severity=low,HIGH", "entity=Other, Inc", "entity=Example", "chain=mine,ethereum", "incident=i1"]
    match = reader.pairs(given, "--match")
    assert not reader.problems
    assert match == {
        "severity": {"low", "high"}, "entity": {"Other, Inc", "Example"}, "chain": {"eip155:9", "eip155:1"},
        "incident": {"i1"},
    }  # fmt: skip
    assert shown(match) == "chain=eip155:1,eip155:9 entity=Example,Other, Inc incident=i1 severity=high,low"


def test_pairs_that_are_wrong() -> None:
    """Every mistake at once, with a hint."""
    reader = MatchReader({"entity": ["Example"]})
    reader.pairs(["severity", "sevrity=low", "entity=Exampel", "role="], "--match")
    assert [str(problem) for problem in reader.problems] == [
        "--match: expected LABEL=VALUE, 'severity' has no =",
        "--match: unknown label 'sevrity': did you mean 'severity'?",
        "--match: unknown entity 'Exampel': did you mean 'Example'?",
        "--match: expected LABEL=VALUE, 'role=' has no value",
    ]
