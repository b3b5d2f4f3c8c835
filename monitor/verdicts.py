"""What people can say of an incident."""

from __future__ import annotations

from monitor.ids import stable_id
from monitor.store import OperatorEvent

__all__ = ["KINDS", "verdict"]

KINDS = {
    "ack": "acknowledge",
    "confirm": "confirm",
    "false-alarm": "false-alarm",
    "resolve": "resolve",
    "reopen": "reopen",
}
"""Words of the command line and of the HTTP interface, to the kind that is stored."""


def verdict(word: str, incident_id: str, *, by: str, comment: str, at: float) -> OperatorEvent:
    """An operator event; ``at`` is wall clock, UTC seconds."""
    kind = KINDS[word]
    return OperatorEvent(stable_id("verdict", incident_id, kind, by, repr(at)), kind, incident_id, by, comment, at)
