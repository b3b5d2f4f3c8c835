"""An alert as programs read it: the JSON of webhooks, of the file channel and of commands."""

from __future__ import annotations

from typing import Any

from alerts.message import message_of
from alerts.template import Templates
from alerts.text import encodable, shown
from monitor.ids import iso
from monitor.model import Alert

__all__ = ["wire"]

TITLE_CHARACTERS, TEXT_CHARACTERS = 1000, 100_000


def wire(alert: Alert, queued_at: float, own: Templates | None = None) -> dict[str, Any]:
    """``{type, timestamp, data}`` of plain JSON types; equal alerts queued at the same time give equal values.

    ``data`` has ``severity`` only about incidents, ``links`` and ``covers`` only where there are any. Title and body
    are for people, and hold nothing that cannot be seen; the rest is data, as it is.
    """
    data: dict[str, Any] = {
        "id": alert.id,
        "kind": str(alert.kind),
        "title": shown(alert.title, TITLE_CHARACTERS),
        "body": shown(alert.body, TEXT_CHARACTERS, lines=True),
        "labels": alert.labels,
        "runbook": alert.runbook,
        "incident": alert.incident,
    }
    if own is not None:
        message = message_of(alert, queued_at)
        data["title"] = own.title(message)
        data["body"] = own.body(message) or data["body"]
    if alert.severity is not None and not alert.type.startswith("monitor."):
        data["severity"] = str(alert.severity)
    if alert.links:
        data["links"] = alert.links
    if alert.covers:
        data["covers"] = alert.covers
    made: dict[str, Any] = encodable({"type": alert.type, "timestamp": iso(queued_at), "data": data})
    return made
