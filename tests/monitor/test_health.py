"""Is the monitor blind? The rules, what people hear of it and when, and that a restart neither repeats nor forgets."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from monitor.blind import OVER_LOOKS, REMIND_SECONDS, Blind
from monitor.health import ChainStatus, MonitorStatus, Trouble, blind_after, is_over, scans, troubles
from monitor.memory_store import MemoryStore
from monitor.model import Alert, BlockRef
from monitor.store import OutboxRow
from monitor.vitals import Vitals
from monitor.watch import Followed, Watch

ETH = "eip155:1"
WELL = ChainStatus("ethereum", ETH, 144.0, head=100, tip=100, scanned=100, head_age=5.0, started_age=900.0)
START = 1_700_000_000.0


def status(**changes: Any) -> MonitorStatus:
    return MonitorStatus((replace(WELL, **changes),))


def test_a_chain_that_is_followed_is_no_trouble() -> None:
    """A pause shorter than the limit, a block on its way, and one failed look are nothing."""
    for well in (
        status(),
        status(head_age=143.0),
        status(lag=1, tip_age=100.0),
        status(error="timeout", error_age=59.0),
        status(undecoded=9),
        status(lag=500, lag_age=3.0, tip_age=1.0),
    ):
        assert troubles(well) == () and scans(well)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"head_age": 144.0}, "no new block for 2 min"),
        ({"head_age": None, "started_age": 200.0}, "no new block for 3 min"),
        ({"error": "refused", "error_age": 60.0}, "it cannot be read"),
        ({"error": "refused", "error_age": 60.0, "endpoints": (("a", "open"), ("b", "quarantined"))}, "no endpoint"),
        ({"error": "refused", "error_age": 60.0, "endpoints": (("a", "open"), ("b", "closed"))}, "it cannot be read"),
        ({"lag": 3, "tip_age": 144.0}, "block 100 is not left behind, 3 are missing"),
        ({"lag": 13, "lag_age": 288.0}, "13 blocks behind, and not catching up"),
    ],
)
def test_a_chain_that_is_not_seen_is_one_trouble(changes: dict[str, Any], said: str) -> None:
    """Whatever the cause: under one key, with the cause in its title, and nothing scans."""
    ill = status(**changes)
    (trouble,) = troubles(ill)
    assert trouble.key == f"chain/{ETH}" and trouble.chain == ETH and said in trouble.what and not scans(ill)
    assert "The last block that was looked at is 100." in trouble.why


def test_the_end_of_a_replay_is_no_trouble_but_a_dead_endpoint_is() -> None:
    """No head comes after the last one of a history."""
    assert troubles(status(replay=True, head_age=9e9)) == ()
    assert troubles(status(replay=True, error="refused", error_age=61.0))


def test_a_consumer_that_hangs_is_the_trouble_not_its_chains() -> None:
    """Followers wait for it, and say nothing of their chains meanwhile."""
    hung = replace(status(head_age=9e9), busy_age=60.0, waiting=256)
    assert [trouble.key for trouble in troubles(hung)] == ["consumer"] and not scans(hung)
    assert "256 events wait" in troubles(hung)[0].why
    assert not is_over(hung, f"chain/{ETH}") and not is_over(hung, "consumer")
    assert troubles(replace(hung, busy_age=59.0)) != troubles(hung) and troubles(replace(status(), busy_age=59.0)) == ()


def test_transactions_that_are_not_understood_are_a_trouble_but_do_not_stop_the_heartbeat() -> None:
    """Of them people hear; the chain is watched all the same."""
    (trouble,) = troubles(status(undecoded=10))
    assert trouble.key == f"undecoded/{ETH}" and scans(status(undecoded=10))


def test_a_chain_before_its_first_head_does_not_scan() -> None:
    """Nothing is wrong yet, and nothing is watched yet either."""
    young = status(head=None, tip=None, head_age=None, started_age=1.0)
    assert troubles(young) == () and not scans(young)


def test_over_is_what_is_seen_to_be_over() -> None:
    """After a start nothing is wrong for a while: that is no sign. A chain that is no more followed is over."""
    key = f"chain/{ETH}"
    assert is_over(status(), key)
    assert not is_over(status(head_age=None, started_age=1.0), key)
    assert not is_over(status(head=None, head_age=None), key)
    assert not is_over(status(error="timeout", error_age=1.0), key)
    assert not is_over(status(lag=13), key) and is_over(status(lag=12), key)
    assert is_over(MonitorStatus(()), key)


def test_how_long_is_too_long() -> None:
    """12 blocks, at least a minute, five where the network's rhythm is not known; or as the owner says."""
    assert [blind_after(s, known=True) for s in (2, 12, 600)] == [60, 144, 7200]
    assert blind_after(2, known=False) == 300 and blind_after(600, known=False) == 7200
    assert blind_after(12, known=True, chosen=5) == 5


# -- what is read of a running monitor ----------------------------------------------------------------------------


def monitor(**changes: Any) -> Any:
    tip = BlockRef(ETH, 100, "h")
    follower = SimpleNamespace(tip=tip, head=tip, head_seen_at=0.0, last_error=None, lag=0)
    item = SimpleNamespace(
        name="ethereum", chain=ETH, follower=follower, replay=False, block_seconds=12.0, blind_after=None,
        undecoded=0, backfill=None, source=SimpleNamespace(),
    )  # fmt: skip
    watch = SimpleNamespace(followed={ETH: item}, busy_since=None, waiting=0)
    parts = SimpleNamespace(watch=watch, started_monotonic=0.0, pipeline=SimpleNamespace(tips={ETH: tip}))
    return SimpleNamespace(parts=parts, watch=watch, item=item, follower=follower)


def test_vitals_measure_how_long_things_last() -> None:
    """Errors from the first look that saw them, a tip from its change, lag from when it was last as low."""
    it, now = monitor(), [10.0]
    vitals = Vitals(it.parts, lambda: now[0])
    assert troubles(vitals.read()) == () and vitals.read().chains[0].head_age == 10.0
    it.follower.last_error = "refused"
    assert vitals.read().chains[0].error_age == 0.0
    now[0] = 75.0
    assert vitals.read().chains[0].error_age == 65.0 and troubles(vitals.read())
    it.follower.last_error = None
    assert vitals.read().chains[0].error_age == 0.0
    it.follower.lag = 20
    vitals.read()
    now[0] = 100.0
    it.follower.lag = 25
    assert vitals.read().chains[0].lag_age == 25.0
    it.follower.lag, it.follower.tip = 3, BlockRef(ETH, 120, "i")
    assert (vitals.read().chains[0].lag_age, vitals.read().chains[0].tip_age) == (0.0, 0.0)
    it.watch.busy_since, now[0] = 100.0, 161.0
    assert vitals.read().busy_age == 61.0


def test_vitals_count_what_was_not_understood_within_an_hour() -> None:
    """Those of earlier hours are forgotten."""
    it, now = monitor(), [0.0]
    vitals = Vitals(it.parts, lambda: now[0])
    seen = []
    for at, count in ((0, 0), (10, 12), (3000, 14), (3615, 14), (7300, 14)):
        now[0], it.item.undecoded = float(at), count
        seen.append(vitals.read().chains[0].undecoded)
    assert seen == [0, 12, 14, 2, 0]


# -- what people hear --------------------------------------------------------------------------------------------


class Told:
    """A `Blind` over a status that the test sets, at a clock that it moves."""

    def __init__(self, store: MemoryStore | None = None) -> None:
        self.store, self.now, self.status, self.more = store or MemoryStore(), START, status(), list[Trouble]()
        self.alerts: list[Alert] = []
        self.receivers: Sequence[str] = ("soc",)
        self.blind = Blind(
            lambda: self.status, self.store, self._rows, more=(lambda now: self.more,), clock=lambda: self.now
        )

    def _rows(self, alert: Alert, now: float, also: Sequence[str]) -> list[OutboxRow]:
        self.alerts.append(alert)
        names = dict.fromkeys([*self.receivers, *also])
        return [OutboxRow(alert.id, name, "0:x", b"", now, alert.type) for name in names]

    async def look(self, seconds: float = 5.0, times: int = 1) -> list[str]:
        """Types of the messages that so many looks gave."""
        before = len(self.alerts)
        for _ in range(times):
            self.now += seconds
            await self.blind.look()
        return [alert.type for alert in self.alerts[before:]]


ILL = {"error": "refused", "error_age": 60.0}


async def test_a_trouble_is_said_once_then_every_six_hours_then_that_it_is_over() -> None:
    """With ids of their own, rows in the store, and what was missed meanwhile."""
    it = Told()
    assert await it.look(times=3) == []
    it.status = status(**ILL)
    assert await it.look(times=50) == ["monitor.blind"]
    assert await it.look(REMIND_SECONDS) == ["monitor.blind"] and await it.look(times=9) == []
    it.status = status(scanned=130, lag=2)
    assert await it.look(times=OVER_LOOKS - 1) == []
    assert await it.look() == ["monitor.recovered"] and await it.look(times=9) == []
    blind, again, over = it.alerts
    assert blind.title == "ethereum: it cannot be read" and "refused" in blind.body
    assert again.title == f"STILL: {blind.title}" and "This lasts since 2023-11-14T22:12:" in again.body
    assert over.title.startswith("Over after 6.1 h: ethereum") and over.labels["chain"] == ETH
    assert "Blocks 101 to 130 were caught up. 2 more are on their way." in over.body
    assert len({alert.id for alert in it.alerts}) == 3
    assert [row.kind for row in await it.store.outbox()] == ["monitor.blind"] * 2 + ["monitor.recovered"]
    assert await it.store.notes("blind/") == []


async def test_a_trouble_that_flickers_is_one() -> None:
    """One good look between bad ones is not the end."""
    it = Told()
    for _ in range(10):
        it.status = status(**ILL)
        await it.look()
        it.status = status()
        await it.look()
    assert [alert.type for alert in it.alerts] == ["monitor.blind"]


async def test_another_cause_on_the_same_chain_is_the_same_trouble() -> None:
    """First no answer, then old heads: people know already that the chain is not seen."""
    it = Told()
    it.status = status(**ILL)
    await it.look()
    it.status = status(head_age=400.0)
    assert await it.look(times=5) == []


async def test_a_restart_neither_repeats_nor_forgets() -> None:
    """What was said is in the store; right after the start, when nothing is known yet, nothing is over."""
    it = Told()
    it.status = status(**ILL)
    await it.look()
    later = Told(it.store)
    later.now = it.now + 100
    later.status = status(head=None, tip=None, head_age=None, started_age=1.0)
    assert await later.look(times=5) == []
    later.status = status(**ILL)
    assert await later.look(times=5) == []
    later.status = status()
    assert await later.look(times=OVER_LOOKS) == ["monitor.recovered"]


async def test_whoever_heard_the_alarm_hears_that_it_is_over() -> None:
    """Also where the routes lead elsewhere by then."""
    it = Told()
    it.status = status(**ILL)
    await it.look()
    it.receivers, it.status = ("desk",), status()
    await it.look(times=OVER_LOOKS)
    assert [row.receiver for row in await it.store.outbox() if row.kind == "monitor.recovered"] == ["desk", "soc"]


async def test_what_others_see_is_said_too() -> None:
    """A missed drill, with its label; over when they do not name it any more."""
    it = Told()
    it.more = [Trouble("drill", "The drill did not take place", "why", 9.0, labels=(("drill", "missed"),))]
    assert await it.look(times=3) == ["monitor.blind"]
    assert it.alerts[0].labels["drill"] == "missed" and "chain" not in it.alerts[0].labels
    it.more = []
    assert await it.look(times=OVER_LOOKS) == ["monitor.recovered"] and it.alerts[1].labels["drill"] == "missed"


async def test_a_gap_that_is_being_filled_is_named_as_missing() -> None:
    """That the head is followed again does not mean that everything was seen."""
    it = Told()
    it.status = status(**ILL)
    await it.look()
    it.status = status(scanned=900, filling="gap 12 %")
    await it.look(times=OVER_LOOKS)
    assert "Blocks that were missed after 100 are being fetched beside the head (gap 12 %)" in it.alerts[1].body


async def test_a_consumer_that_hangs_is_told_while_it_hangs() -> None:
    """The message is queued beside the consumer, whose block never ends; once it goes on that is told too."""
    ref = BlockRef(ETH, 7, "h7")
    go_on, took = asyncio.Event(), asyncio.Event()

    class Follower:
        tip = head = ref
        head_seen_at, last_error, lag = time.monotonic(), None, 0

        async def events(self) -> AsyncIterator[Any]:
            yield SimpleNamespace(ref=ref)  # a block that is disconnected
            await asyncio.Event().wait()

    class Pipeline:
        tips: ClassVar = {ETH: ref}
        changes: ClassVar[list[Any]] = []

        async def disconnect(self, _: BlockRef) -> None:
            took.set()
            await go_on.wait()

        async def flush(self, _: str) -> None: ...
        async def attend(self) -> bool:
            return False

    class Dispatcher:
        def wake(self) -> None: ...
        async def run(self) -> None:
            await asyncio.Event().wait()

    followed = Followed("ethereum", ETH, f"{ETH}/slip44:60", SimpleNamespace(), Follower())  # type: ignore[arg-type]
    watch = Watch([followed], Pipeline(), Dispatcher())  # type: ignore[arg-type]
    parts, later = SimpleNamespace(watch=watch, started_monotonic=0.0, pipeline=Pipeline()), [0.0]
    vitals, it = Vitals(parts, lambda: time.monotonic() + later[0]), Told()
    it.blind._read = vitals.read
    running = asyncio.create_task(watch.run())
    await took.wait()
    assert await it.look() == []
    later[0] = 61.0
    assert await it.look(times=3) == ["monitor.blind"] and it.alerts[0].title.startswith("The monitor hangs")
    go_on.set()
    while watch.busy_since is not None:  # noqa: ASYNC110 (an attribute, no event)
        await asyncio.sleep(0)
    assert await it.look(times=OVER_LOOKS) == ["monitor.recovered"]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
