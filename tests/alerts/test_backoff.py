"""Pauses between attempts, and what an attempt makes of its row."""

from __future__ import annotations

import random
from collections.abc import Callable
from email.utils import formatdate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.backoff import DAY, delay, retry_after, settle
from alerts.base import Receipt
from monitor.model import Outcome, Reason
from monitor.store import OutboxRow

NOW = 1_700_000_000.0


@given(st.integers(1, 100_000), st.randoms(use_true_random=False))
def test_delay_bounds(attempt: int, rng: random.Random) -> None:
    """The pause after attempt n lies between 0 and min(2^(n-1), 600) s."""
    assert 0 <= delay(attempt, rng.uniform) <= min(2 ** (min(attempt, 11) - 1), 600)


def test_delay_reaches_its_bounds() -> None:
    """It is spread over the whole range: neither constant nor all at one end."""
    rng = random.Random(1)
    drawn = [delay(5, rng.uniform) for _ in range(2000)]
    assert min(drawn) < 0.2
    assert max(drawn) > 15.8
    assert 7.5 < sum(drawn) / len(drawn) < 8.5


@pytest.mark.parametrize(
    ("value", "date", "expected"),
    [
        ("0", None, 0.0),
        (" 120 ", None, 120.0),
        ("1.5", None, None),
        ("-3", None, None),
        ("soon", None, None),
        ("", None, None),
        (None, None, None),
        ("٣", None, None),
        ("9" * 40, None, None),
        (formatdate(NOW + 90, usegmt=True), None, 90.0),
        (formatdate(NOW - 90, usegmt=True), None, 0.0),
        (formatdate(NOW + 3690, usegmt=True), formatdate(NOW + 3600, usegmt=True), 90.0),
        (formatdate(NOW + 90, usegmt=True), "nonsense", 90.0),
        ("Sunday, 06-Nov-94 08:49:37 GMT", None, 0.0),
        ("Thu, 99 Foo 2018 99:99:99 GMT", None, None),
    ],
)
def test_retry_after(value: str | None, date: str | None, expected: float | None) -> None:
    """Seconds or an HTTP date, read against the clock of who wrote it; anything else says nothing."""
    assert retry_after(value, NOW, date) == expected


@given(st.text(), st.text())
def test_retry_after_never_fails(value: str, date: str) -> None:
    """No header can raise or give a time before now."""
    pause = retry_after(value, NOW, date)
    assert pause is None or pause >= 0


def settled(row: OutboxRow, receipt: Receipt, now: float = NOW) -> tuple[Any, str, float]:
    return settle(row, receipt, now, max)


def test_settle_states(row: Callable[..., OutboxRow]) -> None:
    """Accepted is done, rejected dead at once, a failure due again after the pause of its number."""
    waiting = row(queued_at=NOW, attempts=2)
    delivery, state, next_at = settled(waiting, Receipt(Outcome.ACCEPTED, Reason.OK, external_id="x", detail="204"))
    assert (state, next_at, delivery.attempt, delivery.external_id, delivery.at) == ("done", 0.0, 3, "x", NOW)
    delivery, state, next_at = settled(waiting, Receipt(Outcome.REJECTED, Reason.GONE))
    assert (state, next_at, delivery.reason) == ("dead", 0.0, Reason.GONE)
    delivery, state, next_at = settled(waiting, Receipt(Outcome.RETRY, Reason.TIMEOUT))
    assert (state, next_at, delivery.outcome) == ("due", NOW + 4, Outcome.RETRY)


@pytest.mark.parametrize(("asked", "pause"), [(30.0, 30.0), (0.5, 0.5), (0.0, 4.0), (-1.0, 4.0), (float("nan"), 4.0)])
def test_settle_honours_what_was_asked(row: Callable[..., OutboxRow], asked: float, pause: float) -> None:
    """A pause that was asked for is kept as it is; one of nothing must not become a loop without pause."""
    receipt = Receipt(Outcome.RETRY, Reason.RATE_LIMITED, retry_after=asked)
    assert settled(row(queued_at=NOW, attempts=2), receipt)[1:] == ("due", NOW + pause)


def test_settle_ends_after_a_day(row: Callable[..., OutboxRow]) -> None:
    """The last attempt is the one whose successor would come a day after queueing; its answer is not forgotten."""
    receipt = Receipt(Outcome.RETRY, Reason.SERVER_ERROR, detail="host answered 503")
    old = row(queued_at=NOW, attempts=200)
    assert settled(old, receipt, NOW + DAY - 600.5)[1:] == ("due", NOW + DAY - 0.5)
    delivery, state, next_at = settled(old, receipt, NOW + DAY - 600)
    assert (state, next_at) == ("dead", 0.0)
    assert (delivery.outcome, delivery.reason) == (Outcome.REJECTED, Reason.EXPIRED)
    assert delivery.detail == "not delivered within a day, last server_error: host answered 503"
