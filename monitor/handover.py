"""The hand-over note: what the next person on call must know, as data and as text to paste. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from monitor.assets import AssetNames
from monitor.ids import iso
from monitor.incidents import CLOSED
from monitor.model import Delivery, Incident, Status
from monitor.published import incident_data
from monitor.store import OperatorEvent, OutboxRow
from monitor.timeline import Entry, delivered, seconds_of

__all__ = ["Stored", "handover", "handover_text"]

_LATE = 300.0  # seconds that a message may wait before the note names it
_SHOWN = 20  # lines of one part
_ENDED = (*CLOSED, Status.RETRACTED)


@dataclass(frozen=True, slots=True)
class Stored:
    """What a store holds. Times are wall clock, UTC seconds.

    ``escalations`` are by incident: {policy, steps, next_at or None}; ``waiting`` since when nobody looks at an
    incident; ``silences`` lines for people; ``troubles`` what the monitor cannot see; ``chains`` the last block by
    chain: (number, its time).
    """

    incidents: Sequence[Incident] = ()
    said: Sequence[OperatorEvent] = ()  # not in force so far
    rows: Sequence[OutboxRow] = ()  # due and dead
    attempts: Sequence[Delivery] = ()
    silences: Sequence[str] = ()
    escalations: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    waiting: Mapping[str, float] = field(default_factory=dict)
    troubles: Sequence[str] = ()
    chains: Mapping[str, tuple[int, int]] = field(default_factory=dict)


def handover(stored: Stored, names: AssetNames, since: float, now: float) -> dict[str, Any]:
    """What is open, what was closed since, what is silenced, what did not arrive, how far each chain was read.

    Parameters
    ----------
    since : what was closed earlier is left out; wall clock, UTC seconds
    """
    pending: dict[str, list[OperatorEvent]] = {}
    for event in stored.said:
        pending.setdefault(event.incident_id, []).append(event)
    entries = [_incident(i, names, pending.get(i.id, ()), stored, now) for i in stored.incidents]
    closed = [entry for entry in entries if entry["status"] in _ENDED and (_last(entry) or 0.0) >= since]
    undelivered = _undelivered(stored.rows, stored.attempts, since, now)
    return {
        "at": iso(now),
        "since": iso(since),
        "open": sorted((e for e in entries if e["status"] not in _ENDED), key=_rank, reverse=True),
        "closed": closed,
        "silences": list(stored.silences),
        "undelivered": [entry.data() for entry in undelivered],
        "troubles": list(stored.troubles),
        "chains": {
            chain: {"block": number, "block_time": iso(at), "seconds_ago": round(max(0.0, now - at))}
            for chain, (number, at) in sorted(stored.chains.items())
        },
    }


_ORDER = ("info", "low", "medium", "high", "critical")


def _rank(entry: Mapping[str, Any]) -> tuple[bool, int, str]:
    """What nobody looks at first, then the worst, then the newest."""
    return entry["acknowledged"] is None or entry["outgrown"], _ORDER.index(entry["severity"]), entry["opened_at"]


def _incident(
    incident: Incident,
    names: AssetNames,
    pending: Iterable[OperatorEvent],
    stored: Stored,
    now: float,
) -> dict[str, Any]:
    data = incident_data(incident, names)
    said = [dict(entry) for entry in data["history"]]
    said += [{"what": e.kind, "by": e.by, "comment": e.comment, "at": iso(e.at), "pending": True} for e in pending]
    looked = next((entry for entry in reversed(said) if entry["what"] in ("acknowledge", "confirm", "reopen")), None)
    if looked is not None and looked["what"] == "reopen":  # nobody since
        looked = None
    # An acknowledgement is of what was known: growth past that severity begins anew, and nobody looks at it since.
    waits, at = stored.waiting.get(incident.id), seconds_of(looked["at"]) if looked is not None else None
    outgrown = looked is not None and looked["what"] == "acknowledge" and (waits or 0.0) > (at or 0.0)
    escalation = stored.escalations.get(incident.id) if looked is None or outgrown else None
    words = next((entry for entry in reversed(said) if entry.get("comment") and entry["what"] != "merged"), None)
    return {
        "id": incident.id,
        "entity": incident.entity,
        "severity": data["severity"],
        "status": data["status"],
        "opened_at": data["opened_at"],
        "age_seconds": round(max(0.0, now - incident.opened_at)),
        "lost": ", ".join(item["display"] for item in data["lost"]) or "nothing yet",
        "share_lost": data["share_lost"],
        "acknowledged": looked,
        "outgrown": outgrown,
        "last_words": words,
        "last_said": said[-1] if said else None,
        "escalation": dict(escalation) if escalation is not None else None,
    }


def _last(entry: Mapping[str, Any]) -> float | None:
    """When something was said of it last, else when it opened."""
    return seconds_of((entry["last_said"] or {}).get("at") or entry["opened_at"])


def _undelivered(
    rows: Iterable[OutboxRow], attempts: Iterable[Delivery], since: float, now: float
) -> list[Entry]:
    """Dead letters since then, and what waits for long."""
    tried: dict[tuple[str, str, str], list[Delivery]] = {}
    for attempt in attempts:
        tried.setdefault((attempt.alert_id, attempt.receiver, attempt.channel), []).append(attempt)
    found = []
    for row in rows:
        late = row.state == "due" and now - row.queued_at >= _LATE
        entry = delivered(row, tried.get((row.alert_id, row.receiver, row.channel), ()))
        if late or (row.state == "dead" and (entry.at or 0.0) >= since):
            found.append(entry)
    return found


# -- text -------------------------------------------------------------------------------------------------------------


def handover_text(note: Mapping[str, Any]) -> str:
    """The note as text, to paste at a change of shift."""
    lines = [f"HAND-OVER {note['at']} (since {note['since']})", ""]
    lines += _part("OPEN", [line for entry in note["open"] for line in _open_lines(entry)], len(note["open"]))
    lines += _part("CLOSED SINCE", [_closed_line(entry) for entry in note["closed"]])
    lines += _part("SILENCED", note["silences"])
    lines += _part("NOT DELIVERED", [f"{entry['at']} {entry['text']}" for entry in note["undelivered"]])
    lines += _part("CANNOT BE SEEN OR TOLD", note["troubles"])
    chains = [
        f"{chain}: block {entry['block']} of {entry['block_time']}, {_ago(entry['seconds_ago'])} old"
        for chain, entry in note["chains"].items()
    ]
    lines += _part("CHAINS, as stored", chains)
    return "\n".join(lines).rstrip()


def _one(text: Any) -> str:
    """On one line: a comment may have several."""
    return " ".join(str(text).split())


def _part(title: str, lines: Sequence[str], number: int | None = None) -> list[str]:
    """One part; nothing in it is said, too."""
    count = len(lines) if number is None else number
    shown = [f"  {line}" for line in lines[: 4 * _SHOWN]]
    rest = [f"  and {len(lines) - len(shown)} more lines"] if len(lines) > len(shown) else []
    return [f"{title}: {count or 'none'}", *shown, *rest, ""]


def _open_lines(entry: Mapping[str, Any]) -> list[str]:
    share = f" ({entry['share_lost'] * 100:.0f} % of the balance)" if entry["share_lost"] is not None else ""
    head = f"{entry['severity'].upper()} {entry['entity']}: {entry['lost']} left{share}, {entry['status']}"
    lines = [f"{head}, opened {entry['opened_at']} ({_ago(entry['age_seconds'])} ago), {entry['id']}"]
    looked = entry["acknowledged"]
    if looked is None:
        lines.append("  NOBODY acknowledged it")
    else:
        what = "confirmed" if looked["what"] == "confirm" else "acknowledged"
        since = ", before it grew: NOBODY acknowledged that" if entry["outgrown"] else ""
        lines.append(f"  {what} by {looked['by']} at {looked.get('at', '')}{since}")
    if (escalation := entry["escalation"]) is not None:
        then = f"next at {escalation['next_at']}" if escalation.get("next_at") else "no further step"
        taken = ", ".join(map(str, escalation["steps"])) or "none"
        lines.append(f"  escalation {escalation['policy']}: steps taken: {taken}; {then}")
    if (words := entry["last_words"]) is not None:
        lines.append(f"  last words: {words['by']} at {words.get('at', '')}: {_one(words['comment'])}")
    return lines


def _closed_line(entry: Mapping[str, Any]) -> str:
    said = entry["last_said"] or {}
    by = f" by {said['by']} at {said.get('at', '')}" if said else ""
    comment = f": {_one(said['comment'])}" if said.get("comment") else ""
    return f"{entry['severity'].upper()} {entry['entity']}: {entry['status']}{by}{comment}, {entry['id']}"


def _ago(seconds: float) -> str:
    """A length of time in its two largest units.

    >>> _ago(59), _ago(3660), _ago(90000)
    ('59 s', '1 h 1 min', '1 d 1 h')
    """
    units = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
    left = int(seconds)
    parts: list[str] = []
    for size, name in units:
        if left >= size and len(parts) < 2:
            parts.append(f"{left // size} {name}")
        left %= size
    return " ".join(parts) or "0 s"
