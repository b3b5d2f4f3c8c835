"""Messages about messages: one for many that waited, and one that says an open incident again. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from alerts.case import Case, is_correction
from alerts.escalate import waited
from alerts.held import Held
from alerts.matchers import severity_of
from alerts.text import bounded, clean
from monitor.ids import iso, stable_id
from monitor.model import Alert, AlertKind

__all__ = ["Waiting", "covered", "first_of", "reminder_of", "summary_of"]

SHOWN = 20  # incidents in a summary; the others are counted
_LINE = 300  # characters
_JOINED = ("wallet", "role", "chain", "detector")
_WHY = {
    "group": "updates that were gathered",
    "storm": "more messages than the receiver takes in a minute",
    "quiet": "what came in quiet hours",
    "silence": "what came while it was silenced",
    "inhibited": "what another incident hid",
}


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waited of one incident, and the incident as it was told last."""

    held: Held
    case: Case


def covered(held: Held, alert_id: str) -> tuple[str, ...]:
    """The ids of what waited that a message with an id of its own stands for."""
    return tuple(name for name in held.covers if name != alert_id)


def summary_of(waiting: Sequence[Waiting], silenced: Iterable[str]) -> Alert:
    """One message for several that waited for one receiver; all of one entity.

    Parameters
    ----------
    waiting : at least one, in the order in which they are to be shown
    silenced : a line for each silence that touches critical alerts

    Raises
    ------
    ValueError : they are of several entities
    """
    entities = {item.held.entity for item in waiting}
    if len(entities) != 1:
        raise ValueError(f"a summary is of one entity, not of {len(entities)}")
    [entity] = entities
    covers = tuple(dict.fromkeys(name for item in waiting for name in item.held.covers))
    latest = [item.case.latest for item in waiting]
    severity = max((found for alert in latest if (found := severity_of(alert)) is not None), default=None)
    why = " and ".join(dict.fromkeys(_WHY.get(item.held.why, item.held.why) for item in waiting))
    messages = f"{len(covers)} message{'' if len(covers) == 1 else 's'}"
    incidents = f"{len(waiting)} incident{'' if len(waiting) == 1 else 's'}"
    since = iso(min(item.held.since for item in waiting))
    lines = [*silenced, f"{messages} of {incidents} waited since {since}: {why}."]
    lines += [_line(item) for item in waiting[:SHOWN]]
    if len(waiting) > SHOWN:
        lines.append(f"… and {len(waiting) - SHOWN} more: `heistwatch incidents list` shows them")
    labels = {"severity": str(severity) if severity is not None else "", "entity": entity, "kind": "summary"}
    for name in _JOINED:
        values = {value for alert in latest for value in alert.labels.get(name, "").split(",") if value}
        labels[name] = ",".join(sorted(values))
    return Alert(
        id=stable_id("summary", waiting[0].held.receiver, *covers),
        kind=AlertKind.SUMMARY,
        title=f"{entity or 'Unnamed owner'}: {incidents}, {messages}",
        body="\n".join(lines),
        severity=severity,
        labels={name: value for name, value in labels.items() if value},
        runbook=next((alert.runbook for alert in latest if severity_of(alert) is severity), ""),
        covers=covers,
    )


def _line(item: Waiting) -> str:
    """One incident of a summary: its latest title, what came, and where to look."""
    alert, held = item.case.latest, item.held
    state = "over" if is_correction(alert) else "acknowledged" if item.case.acknowledged_at is not None else "open"
    kinds = ", ".join(dict.fromkeys(held.kinds))
    return bounded(clean(f"{alert.title} [{held.incident}, {state}: {kinds}]"), _LINE)


def first_of(alert: Alert) -> Alert:
    """An update as the first that a receiver hears of its incident: to it, that opens. What it was is covered."""
    if alert.kind is not AlertKind.UPDATED or alert.incident is None:
        return alert
    opened = AlertKind.OPENED
    return replace(
        alert,
        id=stable_id("alert", str(alert.incident.get("id", "")), int(alert.incident.get("revision") or 0), opened),
        kind=opened,
        labels={**alert.labels, "kind": str(opened)},
        covers=tuple(dict.fromkeys([*alert.covers, alert.id])),
    )


def reminder_of(case: Case, receiver: str, now: float) -> Alert:
    """An open incident that nobody acknowledged, said again; its id follows from when it was said last.

    Parameters
    ----------
    now : wall clock, UTC seconds
    """
    last, alert = case.said.get(receiver, case.opened), case.latest
    time = waited(now - case.opened)
    return replace(
        alert,
        id=stable_id("reminder", case.incident, receiver, repr(float(last))),
        kind=AlertKind.REMINDER,
        title=f"STILL OPEN after {time}: {alert.title}",
        body=f"Nobody acknowledged this for {time}.\n{alert.body}",
        labels={**alert.labels, "kind": str(AlertKind.REMINDER)},
        links={},
        covers=(),
    )
