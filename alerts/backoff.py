"""What follows an attempt: delivered, tried again later, or a dead letter. Pure; clock and chance come from outside."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from alerts.base import Receipt
from monitor.model import Delivery, Outcome, Reason
from monitor.store import OutboxRow

__all__ = ["DAY", "LONGEST", "Uniform", "delay", "retry_after", "settle"]

LONGEST = 600.0
"""No pause of our own is longer, in seconds."""

DAY = 86400.0
"""An alert is tried for so long after it was queued, in seconds."""

Uniform = Callable[[float, float], float]
"""A random number between two bounds, `random.Random.uniform` for example."""


def delay(attempt: int, uniform: Uniform) -> float:
    """Seconds between the failure of attempt number ``attempt`` (from 1) and the next.

    Uniform between 0 and min(2^(attempt - 1), 600): senders that failed together do not come back together.

    >>> [delay(attempt, max) for attempt in (1, 2, 5, 10, 11, 5000)]
    [1.0, 2.0, 16.0, 512.0, 600.0, 600.0]
    """
    return uniform(0.0, min(2.0 ** min(attempt - 1, 10), LONGEST))


def retry_after(value: str | None, now: float, date: str | None = None) -> float | None:
    """Seconds that a ``Retry-After`` header asks to wait, never negative; None where it says nothing usable.

    Parameters
    ----------
    value : delay in seconds or an HTTP date
    now : wall clock, UTC seconds
    date : the answer's own ``Date`` header: a date is read against the clock that wrote it, ours may be wrong

    Examples
    --------
    >>> retry_after("17", now=0.0)
    17.0
    >>> retry_after("Thu, 25 Jan 2018 15:02:30 GMT", now=1516892520.0)
    30.0
    >>> retry_after("soon", now=0.0) is None
    True
    """
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit() and len(value) <= 10:
        return float(value)
    until = _http_date(value)
    if until is None:
        return None
    written = _http_date(date) if date else None
    return max(0.0, until - (now if written is None else written))


def _http_date(text: str) -> float | None:
    try:
        moment = parsedate_to_datetime(text)
        if moment.tzinfo is None:  # RFC 9110: always GMT
            moment = moment.replace(tzinfo=UTC)
        return (moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def settle(row: OutboxRow, receipt: Receipt, now: float, uniform: Uniform) -> tuple[Delivery, str, float]:
    """What to record of an attempt.

    An attempt whose successor would come a day or more after the alert was queued is the last: the row is dead, with
    reason ``expired`` and the last answer in the detail. A pause that the other side asked for is kept to the second
    and never shortened.

    Parameters
    ----------
    row : as it was before the attempt
    now : wall clock after the attempt, UTC seconds

    Returns
    -------
    (delivery, state of the row: due, done or dead, next attempt in UTC seconds or 0)
    """
    outcome, reason, detail = receipt.outcome, receipt.reason, receipt.detail
    state, next_at = {Outcome.ACCEPTED: "done", Outcome.REJECTED: "dead"}.get(outcome, "due"), 0.0
    if outcome is Outcome.RETRY:
        next_at = now + (asked(receipt) or delay(row.attempts + 1, uniform))
        if next_at >= row.queued_at + DAY:
            last = f"{reason}: {detail}" if detail else str(reason)
            outcome, reason, detail = Outcome.REJECTED, Reason.EXPIRED, f"not delivered within a day, last {last}"
            state, next_at = "dead", 0.0
    delivery = Delivery(
        alert_id=row.alert_id,
        receiver=row.receiver,
        channel=row.channel,
        attempt=row.attempts + 1,
        outcome=outcome,
        reason=reason,
        at=now,
        external_id=receipt.external_id,
        detail=detail,
    )
    return delivery, state, next_at


def asked(receipt: Receipt) -> float:
    """Seconds of pause that the other side asked for, 0 where it did not."""
    seconds = receipt.retry_after
    return seconds if seconds is not None and math.isfinite(seconds) and seconds > 0 else 0.0
