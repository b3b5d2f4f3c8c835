"""What an on-call service has to know of an alert: which problem it is about, and whether that is open or over."""

from __future__ import annotations

from alerts.text import clean
from monitor.ids import stable_id
from monitor.model import Alert, AlertKind

__all__ = ["is_over", "problem_key"]

_OVER = {"resolved", "retracted", "recovered"}
_CHANGING = {"kind", "severity", "incident", "reason"}  # labels that differ between a trouble's beginning and its end
KEY_CHARACTERS = 200  # services take 250 and more


def is_over(alert: Alert) -> bool:
    """Whether the alert ends its problem; a drill ends as what it plays does."""
    return alert.type.partition(".")[2] in _OVER


def problem_key(alert: Alert) -> str:
    """The name of the problem: the same for all messages of an incident, and for trouble of the monitor and its end.

    The id of the incident; a drill's begins with ``drill-``, so that it never touches a problem that is real. What
    belongs to no incident is told apart by its labels, those apart that change (severity, kind, reason); without
    labels every message is a problem of its own.

    >>> blind = Alert("1", AlertKind.BLIND, "blind", "", labels={"chain": "eip155:1", "kind": "blind"})
    >>> seeing = Alert("2", AlertKind.RECOVERED, "seeing", "", labels={"chain": "eip155:1", "kind": "recovered"})
    >>> problem_key(blind) == problem_key(seeing)
    True
    """
    incident = clean(str((alert.incident or {}).get("id") or alert.labels.get("incident") or ""))
    if not incident:
        lasting = sorted(clean(f"{name}={value}") for name, value in alert.labels.items() if name not in _CHANGING)
        incident = f"monitor-{stable_id('problem', *lasting)}" if lasting else alert.id
    if alert.kind is AlertKind.DRILL and not incident.startswith("drill-"):
        incident = f"drill-{incident}"
    return incident if len(incident) <= KEY_CHARACTERS else stable_id("problem", incident)
