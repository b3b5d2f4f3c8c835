"""From alert to outbox rows: one a channel, frozen, in order, and never lost to a fault of one form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from alerts.outbox import destinations, rows
from monitor.model import Alert, AlertKind


def test_one_row_a_channel(alert: Callable[..., Alert], fake: Any) -> None:
    """Each channel of each receiver gets a row with everything that delivery needs, due at once."""
    receivers = {"soc": [fake(), fake(type="other")], "desk": [fake()], "idle": [fake()]}
    made = rows(alert(), receivers, ["desk", "soc", "desk"], 12.5)
    assert [(row.receiver, row.channel) for row in made] == [("desk", "0:fake"), ("soc", "0:fake"), ("soc", "1:other")]
    first = made[0]
    assert (first.alert_id, first.body, first.queued_at) == ("a1", b"a1 12.5", 12.5)
    assert (first.kind, first.incident_id, first.severity) == ("incident.opened", "i1", 4)
    assert (first.state, first.attempts, first.next_at) == ("due", 0, 0.0)
    assert {(row.receiver, row.channel) for row in made} <= set(destinations(receivers))


def test_monitor_alert_belongs_to_no_incident(fake: Any) -> None:
    """An alert of the monitor itself has neither incident nor severity."""
    (row,) = rows(Alert("m", AlertKind.BLIND, "t", "b"), {"soc": [fake()]}, ["soc"], 1.0)
    assert (row.kind, row.incident_id, row.severity) == ("monitor.blind", "", 0)


@pytest.mark.parametrize(
    ("played", "expected"),
    [("drill", "drill.opened"), ("retracted", "drill.retracted"), ("blind", "drill.opened"), ("", "drill.opened")],
)
def test_type_of_a_drill(alert: Callable[..., Alert], fake: Any, played: str, expected: str) -> None:
    """A drill's type says that it is one, and what it plays."""
    drill = alert(kind=AlertKind.DRILL, labels={"kind": played})
    assert rows(drill, {"soc": [fake()]}, ["soc"], 1.0)[0].kind == expected


def test_a_form_that_cannot_be_written_becomes_a_plain_one(alert: Callable[..., Alert], fake: Any) -> None:
    """A channel that fails on the incident's data still carries title and text; its neighbour is whole."""

    class Picky(fake):  # type: ignore[misc]
        def render(self, alert: Alert, queued_at: float) -> bytes:
            if alert.incident is not None:
                raise TypeError("secret text of the error")
            return f"{alert.title}|{alert.body}".encode()

    picky, whole = rows(alert(), {"soc": [Picky(), fake()]}, ["soc"], 1.0)
    assert picky.body.startswith(b"CRITICAL: Example Exchange")
    assert b"(shortened: the whole message could not be written, TypeError)" in picky.body
    assert b"secret" not in picky.body
    assert (picky.incident_id, whole.body) == ("i1", b"a1 1.0")
