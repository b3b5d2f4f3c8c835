"""Durable delivery: at least once, in order, each destination on its own, and nothing recorded that did not happen."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from alerts.base import Receipt
from alerts.dispatch import Dispatcher
from alerts.lane import PAGE
from monitor.errors import StoreError
from monitor.memory_store import MemoryStore
from monitor.model import Delivery, Outcome, Reason
from monitor.store import OutboxRow

Row = Callable[..., OutboxRow]
START = 1_700_000_000.0
DAY = 86400.0
DOWN = Receipt(Outcome.RETRY, Reason.CONNECTION, detail="host refused")


class Longest(random.Random):
    """The longest pause that chance allows, so that times are exact."""

    def uniform(self, a: float, b: float) -> float:
        return b


def dispatcher(store: Any, clock: Any, receivers: dict[str, Any], **options: Any) -> Dispatcher:
    options.setdefault("rng", Longest())
    return Dispatcher(store, receivers, clock=clock, sleep=clock.sleep, **options)


@asynccontextmanager
async def running(made: Dispatcher) -> AsyncIterator[Dispatcher]:
    task = asyncio.create_task(made.run())
    try:
        yield made
    finally:
        made.stop()
        await task


async def states(store: Any) -> dict[str, str]:
    return {row.alert_id: row.state for row in await store.outbox()}


async def test_delivers_what_waits_and_what_comes(store: Any, clock: Any, fake: Any, row: Row) -> None:
    """Rows from before the start go out at the start, a later one at `wake`, without time passing."""
    channel = fake()
    await store.enqueue([row("a")])
    async with running(dispatcher(store, clock, {"soc": [channel]})) as made:
        await made.idle()
        await store.enqueue([row("b")])
        made.wake()
        await made.idle()
    assert [(sent_id, body) for _, sent_id, body in channel.sent] == [("a", b"body of a"), ("b", b"body of b")]
    assert clock.now == START
    assert await states(store) == {"a": "done", "b": "done"}
    recorded = await store.deliveries()
    assert [(d.alert_id, d.attempt, d.outcome, d.reason, d.at) for d in recorded] == [
        ("a", 1, Outcome.ACCEPTED, Reason.OK, START),
        ("b", 1, Outcome.ACCEPTED, Reason.OK, START),
    ]


async def test_retry_times(store: Any, clock: Any, fake: Any, row: Row) -> None:
    """Attempt n is followed after up to min(2^(n-1), 600) s; the bytes never change; the last one is recorded."""
    channel = fake([DOWN] * 12)
    await store.enqueue([row("a")])
    async with running(dispatcher(store, clock, {"soc": [channel]})):
        await clock.until(3000)
    pauses = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600]
    assert channel.times("a") == [sum(pauses[:n]) for n in range(13)]
    assert {body for _, _, body in channel.sent} == {b"body of a"}
    assert [d.attempt for d in await store.deliveries("a")] == list(range(1, 14))
    assert await states(store) == {"a": "done"}


async def test_retry_times_are_spread(store: Any, clock: Any, fake: Any, row: Row) -> None:
    """With real chance fifty rows that fail together do not come back together, and none later than allowed."""
    rows = [row(f"a{n}") for n in range(50)]
    channel = fake([DOWN] * 50)
    await store.enqueue(rows)
    async with running(dispatcher(store, clock, {"soc": [channel]}, rng=random.Random(7))):
        await clock.until(2)
    second = [channel.times(each.alert_id)[1] for each in rows]
    assert all(0 <= at <= 1 for at in second)
    assert len(set(second)) == 50
    assert min(second) < 0.1 < 0.9 < max(second)


async def test_retry_after_is_honoured(store: Any, clock: Any, fake: Any, row: Row) -> None:
    """A pause that was asked for is kept exactly, for the whole destination, and not by another one."""
    limited = fake([Receipt(Outcome.RETRY, Reason.RATE_LIMITED, retry_after=17.0)])
    other = fake()
    await store.enqueue([row("a"), row("a", receiver="desk")])
    async with running(dispatcher(store, clock, {"soc": [limited], "desk": [other]})) as made:
        await made.idle()
        await store.enqueue([row("b"), row("b", receiver="desk")])
        made.wake()
        await clock.until(60)
    assert limited.times("a") == [0, 17]
    assert limited.times("b") == [17]
    assert other.ids == ["a", "b"]
    assert other.times("b") == [0]


async def test_absurd_retry_after_holds_only_its_own_row(store: Any, clock: Any, fake: Any, row: Row) -> None:
    """A pause past the day makes that row a dead letter at once, and delays others by at most ten minutes."""
    channel = fake([Receipt(Outcome.RETRY, Reason.SERVER_ERROR, retry_after=1e9)])
    await store.enqueue([row("a"), row("b")])
    async with running(dispatcher(store, clock, {"soc": [channel]}, concurrency=1)):
        await clock.until(1000)
    assert await states(store) == {"a": "dead", "b": "done"}
    assert channel.times("b") == [600]


async def test_order_within_an_incident(store: Any, clock: Any, fake: Any, row: Row) -> None:
    """A later alert of an incident waits for the earlier one; other incidents and rows of none do not."""
    channel = fake(fails={"a1": 3})
    await store.enqueue([row("a1", "A")])
    async with running(dispatcher(store, clock, {"soc": [channel]})) as made:
        await made.idle()
        await store.enqueue([row("a2", "A"), row("b1", "B"), row("n1"), row("n2"), row("a3", "A")])
        made.wake()
        await clock.until(30)
    assert channel.times("a1") == [0, 1, 3, 7]
    assert channel.times("a2") == channel.times("a3") == [7]
    assert channel.times("b1") == channel.times("n1") == channel.times("n2") == [0]
    assert [sent for sent in channel.ids if sent.startswith("a")] == ["a1"] * 4 + ["a2", "a3"]
    assert set((await states(store)).values()) == {"done"}


async def test_order_is_by_destination(store: Any, clock: Any, fake: Any, row: Row) -> None:
    """That one destination is behind with an incident keeps no other from its next message."""
    down, up = fake(otherwise=DOWN), fake()
    for name in ("a1", "a2"):
        await store.enqueue([row(name, "A"), row(name, "A", receiver="desk")])
    async with running(dispatcher(store, clock, {"soc": [down], "desk": [up]})):
        await clock.until(10)
    assert set(down.ids) == {"a1"}
    assert up.ids == ["a1", "a2"]


async def test_dead_letter_lets_the_next_pass(store: Any, clock: Any, fake: Any, row: Row) -> None:
    """A rejected alert is dead at once; the next of its incident goes out."""
    channel = fake([Receipt(Outcome.REJECTED, Reason.GONE, detail="410")])
    await store.enqueue([row("a1", "A"), row("a2", "A")])
    async with running(dispatcher(store, clock, {"soc": [channel]})) as made:
        await made.idle()
    assert channel.ids == ["a1", "a2"]
    assert await states(store) == {"a1": "dead", "a2": "done"}
    assert [d.reason for d in await store.deliveries()] == [Reason.GONE, Reason.OK]


async def test_order_survives_a_restart(store: Any, clock: Any, fake: Any, row: Row) -> None:
    """The earlier alert waits for its next attempt when the process ends: after it the later one still waits for it."""
    await store.enqueue([row("a1", "A", attempts=9, next_at=START + 300), row("a2", "A")])
    channel = fake()
    async with running(dispatcher(store, clock, {"soc": [channel]})):
        await clock.until(299)
        assert channel.sent == []
        await clock.until(301)
    assert (channel.ids, channel.times("a1")) == (["a1", "a2"], [300])
    assert (await store.deliveries("a1"))[0].attempt == 10


@pytest.mark.parametrize("how", ["slow", "hanging", "failing", "raising"])
async def test_no_channel_delays_another(store: Any, clock: Any, fake: Any, row: Row, how: str) -> None:
    """Three hundred alerts to a sick channel before those to a healthy one: these go out in no time at all."""

    async def slow() -> Receipt:
        await clock.sleep(10)
        return Receipt(Outcome.ACCEPTED, Reason.OK)

    async def hanging() -> Receipt:
        await asyncio.Event().wait()
        raise AssertionError

    answers = {"slow": slow, "hanging": hanging, "failing": DOWN, "raising": RuntimeError("no")}
    sick, healthy = fake(otherwise=answers[how]), fake()
    await store.enqueue([row(f"s{n}") for n in range(300)])
    await store.enqueue([row(f"h{n}", receiver="desk") for n in range(20)])
    async with running(dispatcher(store, clock, {"soc": [sick], "desk": [healthy]}, grace=0.0)):
        await clock.until(5)
        assert len(sick.sent) >= 4
    assert healthy.ids == [f"h{n}" for n in range(20)]
    assert {at for at, _, _ in healthy.sent} == {START}


async def test_concurrency_is_bounded(store: Any, clock: Any, fake: Any, row: Row) -> None:
    """Never more attempts at a time on one destination than told, and with one they keep the order of queueing."""

    async def slow() -> Receipt:
        await clock.sleep(1)
        return Receipt(Outcome.ACCEPTED, Reason.OK)

    for concurrency, seconds in ((1, 12), (4, 3)):
        channel = fake(otherwise=slow)
        first = int(clock.now - START)
        await store.enqueue([row(f"{concurrency}-{n}") for n in range(12)])
        async with running(dispatcher(store, clock, {"soc": [channel]}, concurrency=concurrency)) as made:
            await clock.until(first + seconds - 0.5)
            assert len(channel.sent) == 12
            assert "due" in (await states(store)).values()
            await clock.until(first + seconds)
            await made.idle()
        assert channel.most_flying == concurrency
        assert channel.ids == [f"{concurrency}-{n}" for n in range(12)]


async def test_expires_after_a_day(store: Any, clock: Any, fake: Any, row: Row) -> None:
    """A channel that is down gets attempts for 24 h after queueing, then the alert is a dead letter; nothing after."""
    channel = fake(otherwise=DOWN)
    seen: list[Delivery] = []
    await store.enqueue([row("a")])
    async with running(dispatcher(store, clock, {"soc": [channel]}, on_delivery=seen.append)):
        await clock.until(2 * DAY)
    times = channel.times("a")
    assert DAY - 600 <= times[-1] < DAY
    assert len(times) == 10 + 1 + int((DAY - 1023) / 600)
    assert await states(store) == {"a": "dead"}
    assert seen == list(await store.deliveries())
    assert {d.reason for d in seen[:-1]} == {Reason.CONNECTION}
    assert (seen[-1].outcome, seen[-1].reason) == (Outcome.REJECTED, Reason.EXPIRED)
    assert seen[-1].detail == "not delivered within a day, last connection: host refused"


@pytest.mark.parametrize(("answer", "state"), [(None, "done"), (DOWN, "dead")])
async def test_after_a_long_absence_one_more_attempt(
    store: Any, clock: Any, fake: Any, row: Row, answer: Receipt | None, state: str
) -> None:
    """A monitor that was off for three days tries once what it still holds: late is better than never."""
    channel = fake([answer] if answer else [])
    await store.enqueue([row("a", queued_at=START - 3 * DAY, attempts=4)])
    async with running(dispatcher(store, clock, {"soc": [channel]})):
        await clock.until(DAY)
    assert channel.ids == ["a"]
    assert await states(store) == {"a": state}


async def test_unexpected_exception_is_retried(store: Any, clock: Any, fake: Any, row: Row) -> None:
    """A channel that raises, or is cancelled from inside, is recorded without its text and tried again."""
    secret = "https://hooks.example/T0KEN"
    channel = fake([ValueError(secret), KeyError(secret), asyncio.CancelledError()])
    await store.enqueue([row("a")])
    async with running(dispatcher(store, clock, {"soc": [channel]})):
        await clock.until(20)
    assert channel.times("a") == [0, 1, 3, 7]
    recorded = await store.deliveries("a")
    assert [d.reason for d in recorded] == [Reason.INTERNAL] * 3 + [Reason.OK]
    assert recorded[0].detail.startswith("ValueError at conftest.py:")
    assert all(secret not in d.detail for d in recorded)


async def test_hanging_channel_times_out(
    store: Any, clock: Any, fake: Any, row: Row, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A channel that never returns is cut off, and the next rows get their turn."""
    monkeypatch.setattr("alerts.lane.ATTEMPT_SECONDS", 0.01)

    async def hanging() -> Receipt:
        await asyncio.Event().wait()
        raise AssertionError

    channel = fake([hanging])
    await store.enqueue([row("a"), row("b")])
    async with running(dispatcher(store, clock, {"soc": [channel]}, concurrency=1)) as made:
        await made.idle()
    assert [(d.alert_id, d.reason) for d in await store.deliveries()] == [("a", Reason.TIMEOUT), ("b", Reason.OK)]


async def test_observer_that_fails_stops_nothing(
    store: Any, clock: Any, fake: Any, row: Row, caplog: pytest.LogCaptureFixture
) -> None:
    """Who only watches deliveries cannot end them; the failure is logged."""

    def broken(delivery: Delivery) -> None:
        raise RuntimeError("metrics")

    await store.enqueue([row("a"), row("b")])
    async with running(dispatcher(store, clock, {"soc": [fake()]}, on_delivery=broken)) as made:
        await made.idle()
    assert set((await states(store)).values()) == {"done"}
    assert "the observer of deliveries failed" in caplog.text


async def test_store_error_passes_up(store: Any, clock: Any, fake: Any, row: Row) -> None:
    """A store that fails ends the dispatcher with its own error, be it on reading or on recording; idle returns."""

    async def broken(*args: Any, **options: Any) -> Any:
        raise StoreError("disk full")

    await store.enqueue([row("a")])
    store.record = broken
    made = dispatcher(store, clock, {"soc": [fake()], "desk": [fake()]})
    with pytest.raises(StoreError, match="disk full"):
        await made.run()
    await made.idle()
    store.ready = store.due = broken
    with pytest.raises(StoreError, match="disk full"):
        await dispatcher(store, clock, {"soc": [fake()]}).run()


async def test_killed_between_acceptance_and_record(store: Any, clock: Any, fake: Any, row: Row) -> None:
    """The one case of a repeat: accepted, killed before the record; it comes again with the same id and bytes."""
    accepted = asyncio.Event()
    original = store.record

    async def killed(*args: Any, **options: Any) -> None:
        accepted.set()
        raise StoreError("killed here")

    first = fake()
    await store.enqueue([row("a", "A"), row("b", "A")])
    store.record = killed
    with pytest.raises(StoreError):
        await dispatcher(store, clock, {"soc": [first]}).run()
    assert accepted.is_set()
    assert await store.deliveries() == []
    store.record = original
    second = fake()
    async with running(dispatcher(store, clock, {"soc": [second]})) as made:
        await made.idle()
    assert [sent[1:] for sent in first.sent] == [("a", b"body of a")]
    assert [sent[1:] for sent in second.sent] == [("a", b"body of a"), ("b", b"body of b")]


async def test_restart_resumes(store: Any, clock: Any, fake: Any, row: Row) -> None:
    """Stopped in the middle of thirty rows and started again: every row exactly once, attempts counted on."""
    channel = fake([DOWN])
    await store.enqueue([row(f"a{n}") for n in range(30)])
    made = dispatcher(store, clock, {"soc": [channel]}, concurrency=1, on_delivery=lambda d: stop_after(10))

    def stop_after(count: int) -> None:
        if len(channel.sent) == count:
            made.stop()

    await made.run()
    assert 10 <= len(channel.sent) < 30
    async with running(dispatcher(store, clock, {"soc": [channel]})):
        await clock.until(5)
    assert sorted(channel.ids) == sorted(["a0", *(f"a{n}" for n in range(30))])
    assert [d.attempt for d in await store.deliveries("a0")] == [1, 2]


async def test_stop_lets_an_attempt_end(store: Any, clock: Any, fake: Any, row: Row) -> None:
    """Stopping waits for the attempt in flight and records it; nothing new starts."""
    asked, answer = asyncio.Event(), asyncio.Event()

    async def waits() -> Receipt:
        asked.set()
        await answer.wait()
        return Receipt(Outcome.ACCEPTED, Reason.OK)

    channel = fake([waits])
    await store.enqueue([row("a"), row("b")])
    made = dispatcher(store, clock, {"soc": [channel]}, concurrency=1)
    task = asyncio.create_task(made.run())
    await asked.wait()
    made.stop()
    await clock.settle()
    assert not task.done()
    answer.set()
    await task
    assert await states(store) == {"a": "done", "b": "due"}
    assert channel.ids == ["a"]


@pytest.mark.parametrize("how", ["stop", "cancel"])
async def test_stop_cancels_after_grace(store: Any, clock: Any, fake: Any, row: Row, how: str) -> None:
    """An attempt without an answer at the end of the grace is given up, unrecorded: it is due again."""
    asked = asyncio.Event()

    async def never() -> Receipt:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    await store.enqueue([row("a")])
    made = dispatcher(store, clock, {"soc": [fake([never])]}, grace=0.01)
    task = asyncio.create_task(made.run())
    await asked.wait()
    if how == "stop":
        made.stop()
        await task
    else:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert await states(store) == {"a": "due"}
    assert await store.deliveries() == []
    assert len(asyncio.all_tasks()) == 1


async def test_what_was_accepted_is_recorded_even_when_stopping(store: Any, clock: Any, fake: Any, row: Row) -> None:
    """A record under way is never cut off: it would repeat the message without need."""
    recording, go_on = asyncio.Event(), asyncio.Event()
    original = store.record

    async def slow_record(*args: Any, **options: Any) -> None:
        recording.set()
        await go_on.wait()
        await original(*args, **options)

    store.record = slow_record
    await store.enqueue([row("a")])
    task = asyncio.create_task(dispatcher(store, clock, {"soc": [fake()]}, grace=0.0).run())
    await recording.wait()
    task.cancel()
    await asyncio.sleep(0.02)
    assert not task.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await states(store) == {"a": "done"}


async def test_rows_of_channels_that_are_no_more(store: Any, clock: Any, fake: Any, row: Row) -> None:
    """Rows to a channel that left the configuration become dead letters that somebody hears of, not silent ones."""
    seen: list[Delivery] = []
    await store.enqueue([row("a", channel="0:other"), row("b", receiver="gone"), row("c")])
    async with running(dispatcher(store, clock, {"soc": [fake()]}, on_delivery=seen.append)) as made:
        await made.idle()
    assert await states(store) == {"a": "dead", "b": "dead", "c": "done"}
    assert sorted((d.alert_id, d.attempt, d.reason) for d in seen) == [
        ("a", 0, Reason.GONE),
        ("b", 0, Reason.GONE),
        ("c", 1, Reason.OK),
    ]


async def test_rows_of_a_channel_that_has_another_place_now(store: Any, clock: Any, fake: Any, row: Row) -> None:
    """Who puts a channel before another loses no message: it goes to the channel of that type, under the same id."""
    channel, slack = fake(), fake(type="slack")
    late = row("late", channel="0:fake", next_at=clock.now + 1e6, attempts=7)
    await store.enqueue([row("a", channel="0:fake"), late, row("b", channel="2:fake"), row("b", channel="1:fake")])
    given: list[str] = []

    async def take_over(rows: Any) -> None:
        given.extend(row.alert_id for row in rows)

    made = dispatcher(store, clock, {"soc": [slack, channel]})
    await made.settle_orphans(take_over)
    async with running(made):
        await made.idle()
    assert sorted(channel.ids) == ["a", "b", "late"] and slack.ids == []
    states = {(row.alert_id, row.channel): row.state for row in await store.outbox()}
    assert states["a", "0:fake"] == states["a", "1:fake"] == states["late", "1:fake"] == "done"
    assert states["b", "2:fake"] == "dead" and given == ["b"]  # the one channel that there is has it already


async def test_idle_waits_for_attempts_but_not_for_the_future(store: Any, clock: Any, fake: Any, row: Row) -> None:
    """`idle` is false while something is sent, true while the rest waits for later."""
    gate = asyncio.Event()

    async def gated() -> Receipt:
        await gate.wait()
        return DOWN

    await store.enqueue([row("a")])
    async with running(dispatcher(store, clock, {"soc": [fake([gated])]})) as made:
        idle = asyncio.create_task(made.idle())
        await clock.settle()
        assert not idle.done()
        gate.set()
        await idle
        assert await states(store) == {"a": "due"}


async def test_idle_dispatcher_does_nothing(store: Any, clock: Any, fake: Any) -> None:
    """Without rows there is no polling: nothing sleeps, nothing is read, until `wake`."""
    reads = 0
    for name in ("due", "outbox", "next_due", "ready", "next_ready"):
        original = getattr(store, name, None)
        if original is None:
            continue

        async def counted(*args: Any, original: Any = original, **options: Any) -> Any:
            nonlocal reads
            reads += 1
            return await original(*args, **options)

        setattr(store, name, counted)
    async with running(dispatcher(store, clock, {"soc": [fake()]})) as made:
        await made.idle()
        before = reads
        await clock.until(10 * DAY)
        assert reads == before
        made.wake()
        await made.idle()
        assert reads > before


async def test_clock_set_forward_is_noticed(store: Any, clock: Any, fake: Any, row: Row) -> None:
    """A row waits by the wall clock: when that is set forward, the row goes out within a minute, not an hour later."""
    real = type(clock)()  # sleeps go by this one, as by a monotonic clock
    channel = fake()
    await store.enqueue([row("a", next_at=START + 3600)])
    made = Dispatcher(store, {"soc": [channel]}, clock=clock, sleep=real.sleep, rng=Longest())
    async with running(made):
        await made.idle()
        clock.now += 7200
        await real.until(61)
        assert channel.ids == ["a"]


async def test_without_channels(store: Any, clock: Any) -> None:
    """A dispatcher without destinations is idle and stops."""
    async with running(dispatcher(store, clock, {"soc": []})) as made:
        made.wake()
        await made.idle()


async def test_runs_once(store: Any, clock: Any) -> None:
    """Two runs would send everything twice."""
    made = dispatcher(store, clock, {})
    async with running(made):
        await made.idle()
    with pytest.raises(RuntimeError, match="runs once"):
        await made.run()


async def test_storm_is_read_in_pages(store: Any, clock: Any, fake: Any, row: Row) -> None:
    """Two thousand rows at once: all delivered once and in order by incident, while few are held at a time."""
    rows = [row(f"a{n:04}", incident=f"i{n % 50}") for n in range(2000)]
    await store.enqueue(rows)
    channel = fake()
    async with running(dispatcher(store, clock, {"soc": [channel]})) as made:
        await made.idle()
    assert sorted(channel.ids) == [each.alert_id for each in rows]
    for place in range(50):
        mine = [sent for sent in channel.ids if int(sent[1:]) % 50 == place]
        assert mine == sorted(mine)
    assert store.most <= 10 * PAGE


async def test_critical_rows_leave_a_long_queue_first(clock: Any, fake: Any, row: Row) -> None:
    """Behind three pages of others: critical rows go next, with what precedes them in their incident, in its order."""
    store = MemoryStore()
    channel = fake()
    rows = [row(f"a{n:03}") for n in range(3 * PAGE)]
    rows += [row("low", "I"), row("raised", "I", severity=4), row("after", "I"), row("alone", severity=4)]
    await store.enqueue(rows)
    async with running(dispatcher(store, clock, {"soc": [channel]}, concurrency=1)) as made:
        await made.idle()
    assert channel.ids[:4] == ["low", "raised", "after", "alone"]
    assert channel.ids[4:] == [f"a{n:03}" for n in range(3 * PAGE)]


async def test_what_is_critical_and_comes_later_goes_next(store: Any, clock: Any, fake: Any, row: Row) -> None:
    """Rows read before do not keep a critical one waiting that was committed since."""
    gate = asyncio.Event()

    async def gated() -> Receipt:
        await gate.wait()
        return Receipt(Outcome.ACCEPTED, Reason.OK)

    channel = fake([gated])
    await store.enqueue([row(f"a{n}") for n in range(20)])
    async with running(dispatcher(store, clock, {"soc": [channel]}, concurrency=1)) as made:
        await clock.settle()
        await store.enqueue([row("now", severity=4)])
        made.wake()
        gate.set()
        await made.idle()
    assert channel.ids[:3] == ["a0", "now", "a1"]


async def test_a_queue_of_one_incident_is_not_read_anew_for_each(store: Any, clock: Any, fake: Any, row: Row) -> None:
    """Many messages of few incidents: order kept, and few reads."""
    reads = 0
    original = store.due

    async def counted(*args: Any, **options: Any) -> Any:
        nonlocal reads
        reads += 1
        return await original(*args, **options)

    store.due = counted
    if hasattr(store, "ready") and store.ready is not None:
        ready = store.ready

        async def counted_ready(*args: Any, **options: Any) -> Any:
            nonlocal reads
            reads += 1
            return await ready(*args, **options)

        store.ready = counted_ready
    await store.enqueue([row(f"a{n:04}", incident=f"i{n % 3}") for n in range(900)])
    channel = fake()
    async with running(dispatcher(store, clock, {"soc": [channel]})) as made:
        await made.idle()
    for place in range(3):
        mine = [sent for sent in channel.ids if int(sent[1:]) % 3 == place]
        assert len(mine) == 300 and mine == sorted(mine)
    assert reads <= 2 * 900 / PAGE + 5


async def test_too_many_without_a_time_rests_the_destination(store: Any, clock: Any, fake: Any, row: Row) -> None:
    """429 without Retry-After: the pause of that message holds for all of the destination."""
    channel = fake([Receipt(Outcome.RETRY, Reason.RATE_LIMITED)])
    await store.enqueue([row("a", attempts=3), row("b"), row("c")])
    async with running(dispatcher(store, clock, {"soc": [channel]}, concurrency=1)):
        await clock.until(20)
    assert channel.times("a") == [0, 8]
    assert channel.times("b") == [8] and channel.times("c") == [8]


async def test_replies_go_under_the_first_accepted_message(store: Any, clock: Any, fake: Any, row: Row) -> None:
    """A channel with threads gets the name of the incident's first message at its own destination, also later on."""

    class Threaded(fake):  # type: ignore[misc]
        threads = True

        async def send(self, row: OutboxRow, now: float) -> Receipt:
            replies.append((row.receiver, row.alert_id, row.reply_to))
            await super().send(row, now)
            return Receipt(Outcome.ACCEPTED, Reason.OK, external_id=f"{row.receiver}-{row.alert_id}")

    replies: list[tuple[str, str, str | None]] = []
    await store.enqueue([row("a", "I"), row("b", "I"), row("c"), row("b", "I", receiver="desk")])
    async with running(dispatcher(store, clock, {"soc": [Threaded()], "desk": [Threaded()]})) as made:
        await made.idle()
    await store.enqueue([row("d", "I")])
    async with running(dispatcher(store, clock, {"soc": [Threaded()], "desk": [Threaded()]})) as made:  # a restart
        await made.idle()
    assert sorted(replies, key=str) == sorted(
        [("soc", "a", None), ("soc", "b", "soc-a"), ("soc", "c", None), ("desk", "b", None), ("soc", "d", "soc-a")],
        key=str,
    )


async def test_channels_get_the_store_before_the_first_attempt(store: Any, clock: Any, fake: Any, row: Row) -> None:
    """Those that keep something of their own."""

    class Keeping(fake):  # type: ignore[misc]
        kept: Any = None

        def attach(self, store: Any) -> None:
            assert not self.sent
            self.kept = store

    channel = Keeping()
    await store.enqueue([row("a")])
    async with running(dispatcher(store, clock, {"soc": [channel]})) as made:
        await made.idle()
    assert channel.kept is store and channel.ids == ["a"]


async def test_each_channel_says_how_many_at_once(store: Any, clock: Any, fake: Any, row: Row) -> None:
    """``concurrency`` of the channel counts where the dispatcher was told none."""

    async def slow() -> Receipt:
        await clock.sleep(1)
        return Receipt(Outcome.ACCEPTED, Reason.OK)

    narrow, wide = fake(otherwise=slow), fake(otherwise=slow)
    narrow.concurrency, wide.concurrency = 2, 7
    await store.enqueue([row(f"a{n}", receiver=name) for n in range(20) for name in ("soc", "desk")])
    async with running(dispatcher(store, clock, {"soc": [narrow], "desk": [wide]})):
        await clock.until(15)
    assert (narrow.most_flying, wide.most_flying) == (2, 7)


async def test_a_record_that_is_slow_holds_its_incident_only_until_the_answer(
    store: Any, clock: Any, fake: Any, row: Row
) -> None:
    """What was accepted lets the next of its incident go, but keeps its place until it is recorded."""
    go_on = asyncio.Event()
    original = store.record

    async def slow_record(*args: Any, **options: Any) -> None:
        await go_on.wait()
        await original(*args, **options)

    store.record = slow_record
    await store.enqueue([row(f"a{n}", "A") for n in range(5)])
    channel = fake()
    async with running(dispatcher(store, clock, {"soc": [channel]}, concurrency=3)) as made:
        await clock.settle()
        assert channel.ids == ["a0", "a1", "a2"]
        go_on.set()
        await made.idle()
    assert channel.ids == [f"a{n}" for n in range(5)]


async def test_one_that_hangs_delays_no_later_attempt_of_others(store: Any, clock: Any, fake: Any, row: Row) -> None:
    """While the first message of an incident hangs with others behind it, a failed one elsewhere is tried in time."""

    async def hanging() -> Receipt:
        await asyncio.Event().wait()
        raise AssertionError

    channel = fake([hanging, DOWN])
    await store.enqueue([row("a0", "A"), row("b0", "B"), *(row(f"a{n}", "A") for n in range(1, 5))])
    async with running(dispatcher(store, clock, {"soc": [channel]}, grace=0.0)):
        await clock.until(3)
    assert channel.times("b0") == [0, 1]


async def test_a_long_queue_does_not_hammer_who_is_down(store: Any, clock: Any, fake: Any, row: Row) -> None:
    """Down with 500 waiting: after a hundred failures 20 attempts a second; all at once when it accepts again."""
    channel = fake(otherwise=DOWN)
    await store.enqueue([row(f"a{n}") for n in range(500)])
    async with running(dispatcher(store, clock, {"soc": [channel]})):
        await clock.until(0.001)
        assert len(channel.sent) <= 100 + 100 + 4
        await clock.until(10)
        assert 300 <= len(channel.sent) <= 100 + 100 + 10 * 20 + 4
        ready = len(await store.due(clock.now, 500))
        before = len(channel.sent)
        channel.otherwise = Receipt(Outcome.ACCEPTED, Reason.OK)
        await clock.until(10.3)
        assert len(channel.sent) - before >= ready > 100, "what is ready goes at once"
        await clock.until(600)
    assert set((await states(store)).values()) == {"done"}
