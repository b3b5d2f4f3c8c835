"""Where an incident stands with people: who looks at it, what silences it, and what waits to be said of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from monitor.ids import iso
from monitor.model import Incident, Status

__all__ = ["standing", "standing_lines"]

_OVER = (Status.RESOLVED, Status.FALSE_ALARM, Status.RETRACTED)
_LOOKS = ("acknowledge", "confirm", "reopen")


async def standing(config: Any, store: Any, incidents: Sequence[Incident], now: float) -> list[dict[str, Any]]:
    """For each of ``incidents``: ``acknowledged`` (by, at; None: by nobody), ``silences``, and what is ``held``.

    Parameters
    ----------
    now : wall clock, UTC seconds
    """
    from alerts.held import PREFIX, read_held
    from alerts.silence import PREFIX as SILENCES
    from alerts.silence import applies, in_order, read_silence
    from alerts.silencing import silence_data
    from monitor.app import asset_names
    from monitor.published import alert_of

    names, roles = asset_names(config), {wallet.id: wallet.role for wallet in config.wallets}
    held: dict[str, list[dict[str, Any]]] = {}
    for _, value in await store.notes(PREFIX):
        item = read_held(value)
        entry = {"receiver": item.receiver, "why": item.why, "since": iso(item.since), "until": iso(item.until)}
        held.setdefault(item.incident, []).append({**entry, "detail": item.detail, "messages": len(item.covers)})
    said: dict[str, list[dict[str, Any]]] = {}
    for event in await store.said(pending=True):
        said.setdefault(event.incident_id, []).append({"what": event.kind, "by": event.by, "at": iso(event.at)})
    silences = in_order(read_silence(value) for _, value in await store.notes(SILENCES))
    found = []
    for incident in incidents:
        alert, over = alert_of(incident, "updated", names, roles), incident.status in _OVER
        found.append(
            {
                "acknowledged": _looked([*incident.history, *said.get(incident.id, ())]),
                "silences": [silence_data(each) for each in silences if not over and applies(each, alert, now)],
                "held": held.get(incident.id, []),
            }
        )
    return found


def _looked(said: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Who said last that somebody looks at it; a reopening takes that back."""
    last = next((entry for entry in reversed(said) if entry["what"] in _LOOKS), None)
    if last is None or last["what"] == "reopen":
        return None
    return {"by": last["by"], "at": last.get("at")}


def standing_lines(found: Mapping[str, Any]) -> list[str]:
    """Lines for people; none where nothing is to be said."""
    from alerts.matchers import shown

    lines = []
    if (looked := found["acknowledged"]) is not None:
        lines.append(f"acknowledged by {looked['by']} at {looked['at']}")
    for silence in found["silences"]:
        match = shown(silence["match"])
        lines.append(f"silenced until {silence['expires']} by {silence['author']}: {silence['comment']} ({match})")
    for item in found["held"]:
        count = item["messages"]
        lines.append(f"{count} message{'' if count == 1 else 's'} for {item['receiver']} held back: {item['detail']}")
    return lines
