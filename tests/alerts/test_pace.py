"""How many messages a second go out: the bucket alone, and on a lane."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.dispatch import Dispatcher
from alerts.pace import BURST, Pace


def sent(rate: float, seconds: float, step: float = 0.001) -> list[float]:
    """When messages go, where there are always some that want to."""
    pace, found = Pace(rate), []
    for place in range(int(seconds / step)):
        now = place * step
        while pace.wait(now) <= 0:
            pace.take(now)
            found.append(now)
    return found


@pytest.mark.parametrize("rate", [0.5, 1.0, 2.0, 5.0, 30.0])
def test_rate_and_burst(rate: float) -> None:
    """In any stretch of time no more than the rate and one small burst, and over a long one as many as allowed."""
    found = sent(rate, 20.0)
    burst = max(1.0, min(BURST, rate))
    for first in range(len(found)):
        for last in range(first, len(found)):
            assert last - first + 1 <= burst + rate * (found[last] - found[first]) + 0.01
    assert len(found) >= rate * 19


@given(st.floats(0.01, 100.0), st.lists(st.floats(-1000.0, 1000.0), max_size=40))
def test_no_clock_stops_it(rate: float, steps: list[float]) -> None:
    """Whatever the wall clock does, the next message waits no longer than the pause of the rate."""
    pace, now = Pace(rate), 1.7e9
    for step in steps:
        now += step
        wait = pace.wait(now)
        assert 0.0 <= wait <= 1.0 / rate + 1e-9
        if wait <= 0:
            pace.take(now)


def test_without_a_rate_nothing_waits() -> None:
    """None is any number."""
    pace = Pace(None)
    for _ in range(1000):
        assert pace.wait(5.0) == 0.0
        pace.take(5.0)


@pytest.mark.parametrize("rate", [0.0, -1.0, math.inf, math.nan])
def test_a_rate_is_over_zero(rate: float) -> None:
    """Anything else is an error of the caller."""
    with pytest.raises(ValueError, match="rate"):
        Pace(rate)


async def test_a_lane_keeps_the_pace(store: Any, clock: Any, fake: Any, row: Any) -> None:
    """Ten messages at two a second take four seconds (two go at once); another destination waits for nothing."""
    paced, free = fake(), fake()
    paced.rate = 2.0
    await store.enqueue([row(f"a{n}") for n in range(10)] + [row(f"b{n}", receiver="desk") for n in range(10)])
    made = Dispatcher(store, {"soc": [paced], "desk": [free]}, clock=clock, sleep=clock.sleep)
    task = asyncio.create_task(made.run())
    await clock.until(3.9)
    assert len(paced.sent) == 9
    idle = asyncio.create_task(made.idle())
    await clock.settle()
    assert not idle.done(), "what waits for its turn is still being delivered"
    await clock.until(4.1)
    await idle
    assert paced.ids == [f"a{n}" for n in range(10)]
    assert [round(at - paced.sent[0][0], 2) for at, *_ in paced.sent] == [0, 0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4]
    assert {at for at, *_ in free.sent} == {paced.sent[0][0]}
    made.stop()
    await task


async def test_a_pause_that_was_asked_for_counts_too(store: Any, clock: Any, fake: Any, row: Any) -> None:
    """Who asks for rest gets it, and then the pace again."""
    from alerts.base import Receipt
    from monitor.model import Outcome, Reason

    channel = fake([Receipt(Outcome.RETRY, Reason.RATE_LIMITED, retry_after=10.0)])
    channel.rate = 1.0
    await store.enqueue([row("a"), row("b")])
    made = Dispatcher(store, {"soc": [channel]}, clock=clock, sleep=clock.sleep)
    task = asyncio.create_task(made.run())
    await clock.until(30)
    assert channel.times("a") == [0, 10] and channel.times("b") == [11]
    made.stop()
    await task
