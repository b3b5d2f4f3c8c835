"""What people can say of an incident."""

from __future__ import annotations

from monitor.ids import stable_id
from monitor.store import OperatorEvent

__all__ = ["KINDS", "linked_id", "verdict"]

KINDS = {
    "ack": "acknowledge",
    "confirm": "confirm",
    "false-alarm": "false-alarm",
    "resolve": "resolve",
    "reopen": "reopen",
    "note": "note",
}
"""Words of the command line and of the HTTP interface, to the kind that is stored. A note changes nothing."""


def verdict(
    word: str, incident_id: str, *, by: str, comment: str, at: float, nonce: str | None = None
) -> OperatorEvent:
    """An operator event.

    Parameters
    ----------
    at : wall clock, UTC seconds
    nonce : of the link through which it was said: the event's id follows from it alone, and a store keeps the first
        event of an id, so that a link acts once whatever is killed, or pressed twice
    """
    kind = KINDS[word]
    name = stable_id("verdict", incident_id, kind, by, repr(at)) if nonce is None else linked_id(nonce)
    return OperatorEvent(name, kind, incident_id, by, comment, at)


def linked_id(nonce: str) -> str:
    """The id of what is said through the link with this nonce."""
    return stable_id("verdict by link", nonce)
