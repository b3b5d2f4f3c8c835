"""The pacing of a replay: by time, by the reader's questions, by hand."""

from __future__ import annotations

import asyncio

import pytest

from chains.recorded.pace import Pace


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.sleeps: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


def test_by_time_compresses_the_recorded_times() -> None:
    """At speed 60 a block that came a minute later is visible a second later, not before."""
    clock = Clock()
    pace = Pace(60.0, clock=clock)
    pace.begin([100, 160, 220, 1000])
    seen = []
    for now in (1000.0, 1000.99, 1001.0, 1002.0, 1014.9, 1015.0, 9999.0):
        clock.now = now
        seen.append(pace.visible)
    assert seen == [1, 1, 2, 3, 3, 4, 4]


def test_by_time_starts_from_the_last_block_shown() -> None:
    """History shown at the start is not waited for."""
    clock = Clock()
    pace = Pace(10.0, clock=clock)
    pace.begin([0, 1000, 2000, 2010], shown=3)
    assert pace.visible == 3
    clock.now += 1.0
    assert pace.visible == 4


def test_by_time_lets_block_time_step_back() -> None:
    """A block whose time is before its parent's is shown with its parent, and hides nothing after it."""
    clock = Clock()
    pace = Pace(1.0, clock=clock)
    pace.begin([100, 110, 105, 111])
    clock.now += 9.5
    assert pace.visible == 1
    clock.now += 0.5
    assert pace.visible == 3
    clock.now += 1.0
    assert pace.visible == 4


async def test_wait_sleeps_until_the_block_is_due() -> None:
    """Waiting for a block by time sleeps exactly to its moment."""
    clock = Clock()
    pace = Pace(10.0, clock=clock, sleep=clock.sleep)
    pace.begin([100, 150, 200])
    assert await pace.wait(3) == 3
    assert sum(clock.sleeps) == pytest.approx(10.0)


def test_as_the_reader_asks() -> None:
    """Every question for the head but the first shows one more block, up to the last."""
    pace = Pace()
    pace.begin([1, 2, 3], shown=1)
    assert [pace.ask() for _ in range(5)] == [1, 2, 3, 3, 3]
    pace.begin([1, 2, 3, 4], shown=2)
    assert [pace.ask(), pace.ask()] == [2, 3]


async def test_manual_waits_for_release() -> None:
    """By hand nothing but `release` shows blocks, questions included; a waiting reader wakes."""
    pace = Pace(manual=True)
    pace.begin([1, 2, 3, 4], shown=1)
    assert [pace.ask(), pace.ask()] == [1, 1]
    reader = asyncio.create_task(pace.wait(3))
    assert await pace.release() == 2
    assert not reader.done()
    assert await pace.release() == 3
    assert await reader == 3
    assert await pace.release(9) == 4 == pace.total


async def test_a_new_beginning_wakes_waiters_and_may_hide_blocks() -> None:
    """After `begin` the count may be lower; a waiter looks again."""
    pace = Pace(manual=True)
    pace.begin([1, 2, 3], shown=3)
    reader = asyncio.create_task(pace.wait(4))
    await asyncio.sleep(0)
    pace.begin([1, 2], shown=2)
    assert pace.visible == 2
    pace.begin([1, 2, 3, 4], shown=4)
    assert await reader == 4


async def test_a_cancelled_wait_leaves_no_task() -> None:
    """Cancelling a waiter passes through and leaves nothing pending."""
    pace = Pace(0.001)
    pace.begin([0, 1000])
    reader = asyncio.create_task(pace.wait(2))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize("speed", [0.0, -1.0, float("inf"), float("nan")])
def test_a_speed_that_is_none_is_refused(speed: float) -> None:
    """A speed is above zero and finite."""
    with pytest.raises(ValueError, match="speed was"):
        Pace(speed)


def test_speed_and_manual_exclude_each_other() -> None:
    """A pace has one mode."""
    with pytest.raises(ValueError, match="not both"):
        Pace(1.0, manual=True)
