"""Channels that do not deliver: who hears of it, once, and that it is over; whatever is restarted in between."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from alerts.ailing import APART_SECONDS, FAILING_SECONDS, PREFIX, Ailing
from alerts.dispatch import Dispatcher
from alerts.outbox import destinations, rows
from monitor.errors import StoreError
from monitor.memory_store import MemoryStore
from monitor.model import Alert, Delivery, Outcome, Reason
from monitor.store import OutboxRow

START = 1_700_000_000.0
HOOK, CHAT = ("soc", "0:fake"), ("desk", "0:fake")


class Ward:
    """Two receivers of a channel each, of which the tree names ``tree``; time moves as told."""

    def __init__(self, fake: Any, tree: Sequence[str] = ("soc",), names: Sequence[str] = ("soc", "desk")) -> None:
        self.store = MemoryStore()
        self.receivers = {name: [fake()] for name in names}
        self.tree = tree
        self.now = START
        self.made = self.again()

    def again(self) -> Ailing:
        """As after a restart, not yet loaded."""
        self.made = Ailing(self.store, destinations(self.receivers), self.rows)
        return self.made

    def rows(self, alert: Alert, names: Sequence[str] | None, now: float) -> Sequence[OutboxRow]:
        self.alert = alert
        return rows(alert, self.receivers, self.tree if names is None else names, now)

    def heard(self, where: tuple[str, str], outcome: Outcome, reason: Reason, detail: str = "") -> None:
        self.made.heard(Delivery("a", *where, 1, outcome, reason, self.now, detail=detail))

    def fails(self, where: tuple[str, str] = HOOK, reason: Reason = Reason.CONNECTION) -> None:
        self.heard(where, Outcome.RETRY, reason, "hooks.example refused")

    def accepts(self, where: tuple[str, str] = HOOK) -> None:
        self.heard(where, Outcome.ACCEPTED, Reason.OK)

    async def after(self, seconds: float) -> list[tuple[str, str]]:
        """What one tick after so many seconds queues: (type, receiver)."""
        self.now += seconds
        before = len(await self.store.outbox())
        queued = await self.made.tick(self.now)
        found = [(row.kind, row.receiver) for row in (await self.store.outbox())[before:]]
        assert queued == bool(found)
        return found


@pytest.fixture
def ward(fake: Any) -> Ward:
    """The tree names the channel that will fail."""
    return Ward(fake)


BLIND, WELL = "monitor.blind", "monitor.recovered"


async def test_failing_for_five_minutes(ward: Ward) -> None:
    """Told once, after five minutes without an acceptance, through the other channel; and that it is over, to both."""
    ward.fails()
    assert await ward.after(0) == []
    ward.now += 100
    ward.fails()
    assert await ward.after(FAILING_SECONDS - 101) == []
    assert await ward.after(1) == [(BLIND, "desk")]
    alert = ward.alert
    assert {"receiver": "soc", "channel": "0:fake", "reason": "connection"}.items() <= alert.labels.items()
    assert "hooks.example refused" in alert.body and "deliveries retry" in alert.body
    ward.fails()
    assert await ward.after(10_000) == []
    ward.accepts()
    assert await ward.after(1) == [(WELL, "soc"), (WELL, "desk")]
    assert {key: value for key, value in ward.alert.labels.items() if key != "kind"} == {
        key: value for key, value in alert.labels.items() if key != "kind"
    }, "on-call services know by these that it is the same trouble"
    assert await ward.after(10_000) == []
    assert await ward.store.notes(PREFIX) == []


async def test_an_acceptance_in_between_is_no_failure(ward: Ward) -> None:
    """One in twenty that fails is retried, and nobody is bothered."""
    for _ in range(100):
        ward.fails()
        assert await ward.after(20) == []
        ward.accepts()
        assert await ward.after(1) == []
    assert ward.made.states() == []


@pytest.mark.parametrize("reason", [Reason.AUTH, Reason.GONE, Reason.CLIENT_ERROR, Reason.EXPIRED])
async def test_a_dead_letter_is_told_at_once(ward: Ward, reason: Reason) -> None:
    """Even where the channel accepts the next one in the same second: an alert did not arrive."""
    ward.heard(HOOK, Outcome.REJECTED, reason)
    ward.accepts()
    found = await ward.after(0.5)
    assert found[0] == (BLIND, "desk") and (WELL, "soc") in found
    assert ward.alert.labels["reason"] == str(reason)


async def test_one_that_comes_and_goes_does_not_drown_others(ward: Ward) -> None:
    """Dead letters without end: no more than a pair of messages in fifteen minutes, and the last is never hidden."""
    told = 0
    for _ in range(200):
        ward.heard(HOOK, Outcome.REJECTED, Reason.CLIENT_ERROR)
        ward.accepts()
        told += (BLIND, "desk") in await ward.after(60)
    assert told == pytest.approx(200 * 60 / APART_SECONDS, abs=1)
    ward.heard(HOOK, Outcome.REJECTED, Reason.CLIENT_ERROR)
    ward.accepts()
    found = [*await ward.after(1), *await ward.after(APART_SECONDS), *await ward.after(APART_SECONDS)]
    assert found.count((BLIND, "desk")) == 1 and found.count((WELL, "desk")) == 1


async def test_the_tree_before_all_others(fake: Any) -> None:
    """Those that the tree names; all others only where none of these is well."""
    ward = Ward(fake, tree=("soc", "pager"), names=("soc", "desk", "pager", "mail"))
    ward.heard(HOOK, Outcome.REJECTED, Reason.AUTH)
    assert await ward.after(0) == [(BLIND, "pager")]
    ward.heard(("pager", "0:fake"), Outcome.REJECTED, Reason.AUTH)
    assert sorted(await ward.after(0)) == [(BLIND, "desk"), (BLIND, "mail"), (BLIND, "soc")]
    ward.accepts(("pager", "0:fake"))
    assert sorted({receiver for _, receiver in await ward.after(1)}) == ["desk", "mail", "pager", "soc"]


async def test_a_receiver_of_two_channels(fake: Any) -> None:
    """The other channel of the same receiver is another route."""
    ward = Ward(fake, names=("soc",))
    ward.receivers["soc"].append(fake())
    ward.again()
    ward.heard(HOOK, Outcome.REJECTED, Reason.GONE)
    assert await ward.after(0) == [(BLIND, "soc")]
    assert [row.channel for row in await ward.store.outbox()] == ["1:fake"]


async def test_the_only_channel(fake: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Logged loudly, shown, and told when it is back: what was, and that it is over."""
    ward = Ward(fake, names=("soc",))
    ward.fails()
    assert await ward.after(FAILING_SECONDS) == []
    assert "no other channel" in caplog.text and caplog.records[-1].levelname == "ERROR"
    [state] = ward.made.states()
    assert state == {
        "receiver": "soc", "channel": "0:fake", "since": "2023-11-14T22:13:20Z", "reason": "connection",
        "detail": "hooks.example refused", "dead_letters": 0, "told": False,
    }  # fmt: skip
    await ward.again().load()
    assert await ward.after(3600) == [] and len(ward.made.states()) == 1
    ward.accepts()
    assert await ward.after(1) == [(BLIND, "soc"), (WELL, "soc")]
    assert ward.made.states() == []


async def test_a_restart_neither_repeats_nor_forgets(ward: Ward) -> None:
    """Told before it, it is not told again; nor does the clock of the five minutes begin anew; its end is told."""
    ward.fails()
    assert await ward.after(100) == []
    await ward.again().load()
    ward.fails()
    assert await ward.after(FAILING_SECONDS - 100) == [(BLIND, "desk")]
    await ward.again().load()
    ward.fails()
    assert await ward.after(10_000) == []
    await ward.again().load()
    ward.accepts()
    assert {kind for kind, _ in await ward.after(1)} == {WELL}
    await ward.again().load()
    assert await ward.after(10_000) == []


async def test_notes_of_channels_that_are_no_more(ward: Ward, fake: Any) -> None:
    """Go at the start; a note that cannot be read is said."""
    ward.heard(CHAT, Outcome.REJECTED, Reason.AUTH)
    await ward.after(0)
    del ward.receivers["desk"]
    await ward.again().load()
    assert await ward.store.notes(PREFIX) == [] and ward.made.states() == []
    await ward.store.note([(f"{PREFIX}soc/0:fake", b"[]")])
    with pytest.raises(StoreError, match="another version"):
        await ward.again().load()


async def test_what_is_configured_no_more_is_not_watched(ward: Ward) -> None:
    """Rows that the dispatcher buries are of no channel that could be well again."""
    ward.heard(("gone", "0:fake"), Outcome.REJECTED, Reason.GONE)
    assert await ward.after(0) == []


@pytest.mark.parametrize("seed", range(20))
async def test_any_course_of_events(fake: Any, seed: int) -> None:
    """Random failures, acceptances, pauses and restarts: blind and recovered take turns, and the state is right."""
    rng, ward = random.Random(seed), Ward(fake)
    events: list[str] = []
    for _ in range(300):
        step = rng.choice([ward.fails, ward.accepts, None, None])
        if step is not None:
            step()
        if rng.random() < 0.1:
            events += [kind for kind, receiver in await ward.after(0) if receiver == "desk"]
            await ward.again().load()
        events += [kind for kind, receiver in await ward.after(rng.choice([1, 30, 200, 1000])) if receiver == "desk"]
    assert all(a != b for a, b in itertools.pairwise(events)) and events[0] == BLIND
    assert len(events) > 10
    ward.accepts()
    events += [kind for kind, receiver in await ward.after(5000) if receiver == "desk"]
    assert events[-1] == WELL and ward.made.states() == []


async def test_with_a_dispatcher(clock: Any, fake: Any, row: Callable[..., OutboxRow]) -> None:
    """One channel is down for ten minutes: the other gets its alerts, then the news, and later the end of it."""
    from alerts.base import Receipt

    down, store = Receipt(Outcome.RETRY, Reason.TLS, detail="hooks.example shows no certificate"), MemoryStore()
    sick, well = fake(otherwise=down), fake()
    receivers = {"soc": [sick], "desk": [well]}
    ailing = Ailing(
        store, destinations(receivers), lambda alert, names, now: rows(alert, receivers, names or ["soc"], now)
    )
    made = Dispatcher(store, receivers, clock=clock, sleep=clock.sleep, on_delivery=ailing.heard)
    await store.enqueue([row("a"), row("a", receiver="desk")])
    task = asyncio.create_task(made.run())
    for minute in range(20):
        await clock.until(60 * minute)
        if minute == 10:
            sick.otherwise = Receipt(Outcome.ACCEPTED, Reason.OK)
        if await ailing.tick(clock.now):
            made.wake()
    await clock.settle()
    made.stop()
    await task
    kinds = [body.split()[0].decode() for _, _, body in well.sent]
    assert len(kinds) == 3
    told = [row.kind for row in await store.outbox() if row.receiver == "desk"]
    assert told == ["", BLIND, WELL]
    assert [row.kind for row in await store.outbox() if row.receiver == "soc"] == ["", WELL]
