"""What came of a drill: who was reached, how fast, and what failed. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from monitor.drill_note import Drill
from monitor.ids import iso
from monitor.model import Delivery, Outcome, Reason
from monitor.store import OperatorEvent, OutboxRow

__all__ = ["acknowledged", "all_settled", "problems", "report"]

REMINDER = "drill.reminder"


def all_settled(rows: Iterable[OutboxRow]) -> bool:
    """Whether nothing of it is still on its way."""
    return all(row.state != "due" for row in rows)


def acknowledged(drill: Drill, said: Iterable[OperatorEvent]) -> OperatorEvent | None:
    """Who said first that they look at it, whatever the words."""
    mine = (event for event in said if event.incident_id == drill.id and event.kind not in ("note", "reopen"))
    return min(mine, key=lambda event: event.at, default=None)


def problems(
    drill: Drill, rows: Sequence[OutboxRow], deliveries: Sequence[Delivery], said: Iterable[OperatorEvent]
) -> list[str]:
    """What was not as it must be, one line a thing."""
    found = [
        f"{entry['receiver']} was not reached through {entry['channel']}: {entry['reason']}"
        for entry in _destinations(rows, deliveries)
        if not entry["reached"]
    ]
    if not rows:
        found.append("it reached nobody: no receiver gets it")
    if drill.by == "command" and drill.ack_within and acknowledged(drill, said) is None:
        found.append(f"nobody acknowledged it within {drill.ack_within:g} s")
    return found


def report(
    drill: Drill,
    rows: Sequence[OutboxRow],
    deliveries: Sequence[Delivery],
    said: Sequence[OperatorEvent],
    receivers: Iterable[str] = (),
) -> dict[str, Any]:
    """Everything about a drill as plain JSON values.

    Parameters
    ----------
    rows, deliveries : those of the drill
    said : what people said; of other incidents, too
    receivers : all that are configured: those that the drill did not go to are named

    Returns
    -------
    ``{drill, case, wallet, started, finished, reached, deliveries: [{receiver, channel, messages, accepted, reached,
    seconds, attempts, reason}], acknowledged: {by, at, seconds} | null, escalation: [{receiver, channel, at, seconds}],
    not_on_the_way: [receiver], problems: [text]}``; seconds are from the queue to the acceptance of the first message
    """
    heard = acknowledged(drill, said)
    start = drill.queued if drill.queued is not None else drill.asked
    reached = {row.receiver for row in rows}
    return {
        "drill": drill.id,
        "case": drill.case,
        "wallet": drill.wallet,
        "started": iso(round(start, 3)),
        "finished": iso(round(drill.finished, 3)) if drill.finished is not None else None,
        "reached": bool(drill.reached),
        "deliveries": list(_destinations(rows, deliveries)),
        "acknowledged": None if heard is None else _heard(heard, start),
        "escalation": [_step(row, deliveries, start) for row in rows if row.kind == REMINDER],
        "not_on_the_way": sorted(set(receivers) - reached),
        "problems": list(drill.problems),
    }


def _heard(event: OperatorEvent, start: float) -> dict[str, Any]:
    return {
        "by": event.by,
        "at": iso(round(event.at, 3)),
        "seconds": round(max(0.0, event.at - start), 3),
        "comment": event.comment,
    }


def _step(row: OutboxRow, deliveries: Iterable[Delivery], start: float) -> dict[str, Any]:
    at = _accepted(row, deliveries)
    return {
        "receiver": row.receiver,
        "channel": row.channel,
        "at": iso(round(row.queued_at, 3)),
        "after_seconds": round(row.queued_at - start, 3),
        "seconds": round(at - row.queued_at, 3) if at is not None else None,
    }


def _destinations(rows: Sequence[OutboxRow], deliveries: Sequence[Delivery]) -> list[dict[str, Any]]:
    places: dict[tuple[str, str], list[OutboxRow]] = {}
    for row in rows:
        places.setdefault((row.receiver, row.channel), []).append(row)
    return [_destination(mine, deliveries) for mine in places.values()]


def _destination(rows: Sequence[OutboxRow], deliveries: Sequence[Delivery]) -> dict[str, Any]:
    first = rows[0]
    tries = [d for row in rows for d in deliveries if _is_of(d, row)]
    accepted_at = _accepted(first, deliveries)
    accepted = [row for row in rows if row.state == "done"]
    return {
        "receiver": first.receiver,
        "channel": first.channel,
        "messages": len(rows),
        "accepted": len(accepted),
        "reached": len(accepted) == len(rows),
        "seconds": round(max(0.0, accepted_at - first.queued_at), 3) if accepted_at is not None else None,
        "attempts": len([d for d in tries if d.attempt]),
        "reason": None if len(accepted) == len(rows) else _why_not(tries),
    }


def _why_not(tries: Sequence[Delivery]) -> str:
    """The last failure; that the time of the drill was over says less than what went wrong before."""
    bad = [d for d in tries if d.outcome is not Outcome.ACCEPTED]
    telling = [d for d in bad if d.reason is not Reason.EXPIRED] or bad
    if not telling:
        return "not attempted so far"
    last = telling[-1]
    return f"{last.reason}, {last.detail}" if last.detail else str(last.reason)


def _is_of(delivery: Delivery, row: OutboxRow) -> bool:
    return (delivery.alert_id, delivery.receiver, delivery.channel) == (row.alert_id, row.receiver, row.channel)


def _accepted(row: OutboxRow, deliveries: Iterable[Delivery]) -> float | None:
    return next((d.at for d in deliveries if _is_of(d, row) and d.outcome is Outcome.ACCEPTED), None)
