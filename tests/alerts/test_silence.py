"""Silences: what they keep from being said, and what they never do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from alerts.silence import (
    Silence,
    applies,
    make_silence,
    mute,
    read_silence,
    touching_critical,
    without_effect,
    write_silence,
)
from monitor.errors import ConfigError, StoreError
from monitor.model import Alert, AlertKind, Severity

Make = Callable[..., Alert]
DAY = 86400.0


def silence(created: float = 0.0, expires: float = 100.0, comment: str = "moving", **matchers: Any) -> Silence:
    values = {label: {value} if isinstance(value, str) else set(value) for label, value in matchers.items()}
    return make_silence(values, author="ann", comment=comment, created=created, expires=expires)


def message(alert: Make, severity: str, kind: str = "updated") -> Alert:
    labels = {"severity": severity, "entity": "X", "wallet": "hot-1,hot-2", "kind": kind}
    return alert(severity=Severity.parse(severity), kind=AlertKind(kind), labels=labels)


@pytest.mark.parametrize(
    ("matchers", "severity", "kind", "kept"),
    [
        ({"entity": "X"}, "low", "updated", True),
        ({"entity": "X"}, "high", "opened", True),
        ({"entity": "Y"}, "low", "updated", False),
        ({"entity": "X"}, "critical", "updated", False),
        ({"entity": "X", "severity": ["low", "critical"]}, "critical", "updated", True),
        ({"severity": "critical"}, "critical", "reminder", True),
        ({"wallet": "hot-2"}, "critical", "updated", False),
        ({"incident": "i1"}, "critical", "updated", False),
        ({"incident": "i1"}, "high", "updated", True),
        ({"entity": "X"}, "high", "escalated", False),
        ({"severity": "critical"}, "high", "escalated", False),
        ({"severity": ["high", "critical"]}, "high", "escalated", True),
        ({"severity": ["high", "critical"]}, "critical", "escalated", True),
        ({"severity": "high", "wallet": "hot-2"}, "high", "updated", True),
        ({"severity": "high", "wallet": "hot"}, "high", "updated", False),
    ],
)
def test_what_is_kept(alert: Make, matchers: dict[str, Any], severity: str, kind: str, kept: bool) -> None:
    """All labels must fit; critical needs its name, and so does what grew."""
    assert applies(silence(**matchers), message(alert, severity, kind), 50.0) is kept


@pytest.mark.parametrize("kind", ["resolved", "retracted", "blind", "recovered", "drill"])
def test_what_is_never_kept(alert: Make, kind: str) -> None:
    """Corrections, the monitor's own messages, drills."""
    assert not applies(silence(severity=["low", "critical"]), message(alert, "low", kind), 50.0)


def test_time(alert: Make) -> None:
    """It holds from its beginning to its end, the end left out."""
    kept = [applies(silence(10.0, 20.0, entity="X"), message(alert, "low"), now) for now in (9.9, 10.0, 19.9, 20.0)]
    assert kept == [False, True, True, False]


def test_the_longest_counts(alert: Make) -> None:
    """Of several, the one that ends last is named."""
    short, long, other = silence(expires=60.0, entity="X"), silence(expires=90.0, entity="X"), silence(entity="Y")
    assert mute([short, long, other], message(alert, "low"), 50.0) == long
    assert mute([short, other], message(alert, "low"), 70.0) is None


def test_it_must_say_who_why_and_how_long() -> None:
    """Every problem at once."""
    with pytest.raises(ConfigError) as caught:
        make_silence({}, author=" ", comment="", created=5.0, expires=5.0)
    assert [problem.message.split(":")[0] for problem in caught.value.problems] == [
        "a silence needs a matcher, severity=low for example", "a silence needs an author",
        "a silence needs a comment", "a silence must end after it begins",
    ]  # fmt: skip
    with pytest.raises(ConfigError, match="within a year"):
        silence(expires=400 * DAY, entity="X")


def test_critical_is_shown() -> None:
    """Those that touch critical, while they hold, the next to end first, cleaned of what hides."""
    late, soon = silence(severity="critical", entity="X"), silence(expires=60.0, severity=["low", "critical"])
    hidden = silence(severity="critical", comment="a\u202eb\nc")
    lines = touching_critical([late, soon, hidden, silence(severity="high")], 50.0)
    assert len(lines) == 3
    assert lines[0] == "SILENCED severity=critical,low until 1970-01-01T00:01:00Z by ann: moving"
    assert any(line.endswith("by ann: ab c") for line in lines)
    assert touching_critical([soon], 60.0) == []


def test_stored(alert: Make) -> None:
    """It is read as it was written, and what cannot be read is said."""
    one = silence(entity=["X", "Ü"])
    assert read_silence(write_silence(one)) == one
    with pytest.raises(StoreError, match="silence cannot be read"):
        read_silence(b'{"id": 3}')


@pytest.mark.parametrize(
    ("matchers", "says"),
    [
        ({"kind": ["drill", "blind"]}, "messages of kind blind, drill are never silenced"),
        ({"kind": "resolved", "severity": "low"}, "messages of kind resolved are never silenced"),
        ({"kind": ["escalated", "drill"]}, "growth (kind escalated) is silenced only where its severity is named"),
        ({"kind": ["escalated", "drill"], "severity": "high"}, ""),
        ({"kind": ["updated", "drill"]}, ""),
        ({"severity": "low"}, ""),
    ],
)
def test_a_silence_without_effect(matchers: dict[str, Any], says: str) -> None:
    """Whoever asks for it must not believe that it holds."""
    assert without_effect(silence(**matchers)) == says
