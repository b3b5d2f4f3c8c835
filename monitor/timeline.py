"""What happened around an incident: what people said of it, and who was told when."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from monitor.ids import iso
from monitor.incidents import Correlator
from monitor.model import Delivery, Outcome
from monitor.store import OperatorEvent, OutboxRow, Store

__all__ = ["Entry", "delivered", "ids_of", "seconds_of", "stored_timeline", "timeline"]


@dataclass(frozen=True, slots=True)
class Entry:
    """``at`` is wall clock in UTC seconds, None where it is not known; ``what`` is ``said``, ``told`` or ``failed``."""

    at: float | None
    what: str
    text: str

    @property
    def when(self) -> str:
        """To the second, for people."""
        return "-" if self.at is None else str(iso(int(self.at)))

    def data(self) -> dict[str, Any]:
        """As JSON has it."""
        return {"at": iso(self.at), "what": self.what, "text": self.text}


def timeline(
    history: Iterable[Mapping[str, Any]],
    rows: Iterable[OutboxRow],
    attempts: Iterable[Delivery],
    said: Iterable[OperatorEvent] = (),
) -> list[Entry]:
    """What was said and told, oldest first; what has no time stands first.

    Parameters
    ----------
    history : of the incident, as published
    rows : of its messages
    attempts : to deliver them, oldest first
    said : of it; those not yet in force are in no history so far
    """
    entries = [_said(entry) for entry in history]
    entries += [
        Entry(event.at, "said", f"said and not yet in force: {_words(event.kind, event.by, event.comment)}")
        for event in said
        if event.effective is None
    ]
    tried: dict[tuple[str, str, str], list[Delivery]] = {}
    for attempt in attempts:
        tried.setdefault((attempt.alert_id, attempt.receiver, attempt.channel), []).append(attempt)
    entries += [delivered(row, tried.get((row.alert_id, row.receiver, row.channel), ())) for row in rows]
    return sorted(entries, key=lambda entry: (entry.at is not None, entry.at or 0.0))


def ids_of(correlator: Correlator, incident_id: str) -> list[str]:
    """The id of an incident, and those of the ones that it took over."""
    merged = ((name, correlator.get(name)) for name in correlator.merged)
    return [incident_id, *(name for name, home in merged if home is not None and home.id == incident_id)]


async def stored_timeline(
    store: Store, ids: Sequence[str], history: Iterable[Mapping[str, Any]] = ()
) -> list[Entry]:
    """The `timeline` of an incident as a store has it; ``ids``: its own, and of those that it took over."""
    rows = [row for name in ids for row in await store.outbox(incident_id=name)]
    told = dict.fromkeys(row.alert_id for row in rows)
    attempts = [attempt for name in told for attempt in await store.deliveries(name)]
    said = [event for event in await store.said(pending=True) if event.incident_id in ids]
    return timeline(history, rows, attempts, said)


def seconds_of(text: Any) -> float | None:
    """UTC seconds of ISO 8601 text, with its fraction; None where it is none.

    >>> seconds_of("2018-01-25T15:02:00.250Z"), seconds_of("")
    (1516892520.25, None)
    """
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except ValueError:
        return None


def _said(entry: Mapping[str, Any]) -> Entry:
    words = _words(str(entry.get("what", "")), str(entry.get("by", "")), str(entry.get("comment", "")))
    return Entry(seconds_of(entry.get("at", "")), "said", words)


def _words(what: str, by: str, comment: str) -> str:
    return f"{what} by {by}: {comment}" if comment else f"{what} by {by}"


def delivered(row: OutboxRow, attempts: Sequence[Delivery]) -> Entry:
    """How one message came to one channel, or did not."""
    channel = row.channel.partition(":")[2] or row.channel
    whom = f"{row.receiver} by {channel} ({row.kind or 'message'})"
    last = attempts[-1] if attempts else None
    tries = f"{row.attempts} attempt{'' if row.attempts == 1 else 's'}"
    if row.state == "done":
        got = next((a for a in reversed(attempts) if a.outcome is Outcome.ACCEPTED), last)
        at = got.at if got is not None else row.queued_at
        return Entry(at, "told", f"told {whom} after {max(0.0, at - row.queued_at):.1f} s, {tries}")
    why = "" if last is None else f", last {last.reason}{f': {last.detail}' if last.detail else ''}"
    at = last.at if last is not None else row.queued_at
    if row.state == "dead":
        return Entry(at, "failed", f"NOT told {whom}: given up after {tries}{why}")
    if not row.attempts:
        return Entry(row.queued_at, "told", f"to be told: {whom}, queued")
    return Entry(at, "failed", f"not told yet {whom}: {tries}{why}; next at {iso(row.next_at) or 'once'}")
