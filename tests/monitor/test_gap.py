"""A gap after downtime: the head is followed at once, what is found is provisional, and in the end all is right."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from monitor.assets import AssetNames
from monitor.backfill import Backfill
from monitor.coverage import coverage_data
from monitor.engine import Engine
from monitor.errors import HistoryRefused
from monitor.incidents import Correlator
from monitor.marks import MarkState
from monitor.memory_store import MemoryStore
from monitor.model import Alert, Block, BlockRef, Role, Status, Transfer, TransferKind, Tx, Wallet
from monitor.pipeline import Pipeline
from monitor.store import OutboxRow
from monitor.verdicts import verdict
from monitor.watch import Followed, Watch
from monitor.watchlist import Watchlist

ETH = "eip155:1"
ETHER = f"{ETH}/slip44:60"
START, STEP, HELD = 1_700_006_400, 7200, 10**20
PAST, LAST = 120, 200  # the last block before the gap, and the last in it
HOT = Wallet("hot", "One", Role.HOT, ((ETH, "h1"),))


def block(number: int, *moves: tuple[str, int], fork: str = "", below: str = "", sender: str = "h1") -> Block:
    """A block of (to, value) payments; ``below``: the branch of its parent."""
    ref = BlockRef(ETH, number, f"b{number}{fork}")
    transfers = tuple(
        Transfer(ref, Tx(f"t{number}-{n}", n, initiator=sender), n, TransferKind.NATIVE, ETHER, (sender,), to, value,
                 (value,))
        for n, (to, value) in enumerate(moves)
    )  # fmt: skip
    return Block(ref, f"b{number - 1}{below}", START + number * STEP, transfers, source="node")


def ordinary(number: int) -> list[tuple[str, int]]:
    """A payment to a customer in two blocks of three."""
    return [] if number % 3 == 0 else [(f"c{number % 9}", HELD // 4000 * (1 + number * 7 % 5))]


@dataclass
class Run:
    """A stretch as a chain family gives it."""

    first: BlockRef
    parent_hash: str
    last: BlockRef
    start: int
    end: int
    source: str
    blind_spots: tuple[str, ...]
    blocks: tuple[Block, ...]
    headers: tuple[tuple[str, int], ...]


class World:
    """A chain that can be asked."""

    def __init__(self) -> None:
        self.blocks = {number: block(number, *ordinary(number)) for number in range(1, LAST + 40)}
        self.oldest, self.asked, self.at_once, self.most = 0, 0, 0, 0
        self.gate = asyncio.Event()  # until it is set, only the first two stretches are given

    async def time_of(self, number: int) -> int:
        return self.blocks[number].timestamp

    async def history(self, start: int, end: int) -> Run:
        self.asked += 1
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        try:
            if self.asked > 2:
                await self.gate.wait()
            await asyncio.sleep(0)
        finally:
            self.at_once -= 1
        if start < self.oldest:
            raise HistoryRefused(f"no block {start}")
        run = [self.blocks[number] for number in range(start, end)]
        first, last = run[0], run[-1]
        return Run(
            first.ref, first.parent_hash, last.ref, first.timestamp, last.timestamp, "archive", (),
            tuple(item for item in run if item.transfers), tuple((item.ref.hash, item.timestamp) for item in run),
        )  # fmt: skip

    async def aclose(self) -> None: ...

    async def balances(self, wanted: Sequence[tuple[str, str]], at: BlockRef) -> Mapping[tuple[str, str], int | None]:
        seen = [t for b in self.blocks.values() for t in b.transfers if b.ref.number <= at.number]
        held = HELD + sum(t.value if t.to_address == "h1" else -t.value for t in seen)
        return dict.fromkeys(wanted, held)


class Follower:
    """Hands over the events of a queue."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Any] = asyncio.Queue()
        self.tip = self.head = self.head_seen_at = self.last_error = None
        self.lag = 0

    async def events(self) -> AsyncIterator[Any]:
        while True:
            yield await self.queue.get()
            self.queue.task_done()


@dataclass
class Connected:
    block: Block


@dataclass
class Gone:
    ref: BlockRef


@dataclass
class LeftOut:
    tip: BlockRef
    head: BlockRef


class Quiet:
    """A dispatcher with nothing to do."""

    def wake(self) -> None: ...

    async def run(self) -> None: ...


def make_engine() -> Engine:
    return Engine(Watchlist([HOT]), [ETHER])


class Live:
    """A running monitor on a store."""

    def __init__(self, world: World, store: MemoryStore) -> None:
        self.world, self.store, self.follower = world, store, Follower()
        self.alerts: list[Alert] = []
        self.engine = make_engine()
        self.pipeline = Pipeline(
            self.engine, Correlator(), store, AssetNames(), self._route, lambda: 5.0, {ETH: 10}
        )

    def _route(self, alert: Alert, now: float, also: Sequence[str] = ()) -> list[OutboxRow]:
        self.alerts.append(alert)
        return []

    @property
    def kinds(self) -> list[str]:
        return [str(alert.kind) for alert in self.alerts]

    async def start(self) -> None:
        await self.pipeline.start()
        self.pipeline.tips[ETH] = await self.store.checkpoint(ETH)
        self.backfill = Backfill(
            "eth", ETH, lambda: self.world, self.world, self.pipeline, self.store, make_engine, step=9,
            block_seconds=STEP, width=4, sleep=lambda _: asyncio.sleep(0),
        )  # fmt: skip
        item = Followed("eth", ETH, ETHER, self.world, self.follower, backfill=self.backfill)
        self.watch = Watch([item], self.pipeline, Quiet())

    async def see(self, *events: Any) -> None:
        """Let the monitor take blocks, or events, in and store them."""
        for event in events:
            if isinstance(event, Block):
                self.world.blocks[event.ref.number] = event
            await self.follower.queue.put(Connected(event) if isinstance(event, Block) else event)
        await self.follower.queue.join()
        await self.idle()

    async def idle(self) -> None:
        async def nothing() -> None: ...

        await self.watch.between_blocks(ETH, nothing)

    async def follow(self, low: int, high: int) -> None:
        await self.see(*(self.world.blocks[number] for number in range(low, high + 1)))

    async def jump(self) -> None:
        """Leave the gap out, and take the block above it in."""
        tip, head = self.world.blocks[PAST].ref, self.world.blocks[LAST + 1]
        await self.see(LeftOut(tip, head.ref), head)

    async def filled(self) -> None:
        """Until nothing is fetched any more."""
        self.world.gate.set()
        async with asyncio.timeout(20):
            while ETH in self.pipeline.marks:
                await self.idle()
        await self.idle()


@asynccontextmanager
async def running(world: World, store: MemoryStore | None = None) -> AsyncIterator[Live]:
    """A monitor that runs; it is killed at the end."""
    live = Live(world, store or MemoryStore())
    await live.start()
    task = asyncio.create_task(live.watch.run())
    try:
        yield live
        assert not task.done(), task.exception()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def straight(world: World, high: int) -> Live:
    """A monitor that saw the same blocks one after the other."""
    async with running(world) as live:
        await live.follow(1, high)
    return live


def plain(live: Live) -> list[Any]:
    """What stands, without what says how it was found."""
    return [
        (i.id, i.status, i.severity, i.lost, i.opened_block, [f.id for f in i.findings])
        for i in live.pipeline.correlator.all()
        if i.status is not Status.RETRACTED
    ]


async def test_late_findings_open_incidents() -> None:
    """A theft in the gap is told when it is read, marked as late; state and incidents are those of a straight fold."""
    world = World()
    world.blocks[150] = block(150, ("thief", HELD * 30 // 100))
    async with running(world) as live:
        await live.follow(1, PAST)
        await live.jump()
        assert live.alerts == [] and live.pipeline.marks[ETH].state is MarkState.GAP
        await live.follow(LAST + 2, LAST + 6)
        await live.filled()
        (incident,) = live.pipeline.correlator.all()
        assert incident.opened_block == 150 and incident.findings[0].evidence["late"] is True
        assert live.kinds == ["opened"]
        await live.follow(LAST + 7, LAST + 12)
        calm = await straight(world, LAST + 12)
        assert live.engine.dump() == calm.engine.dump() and plain(live) == plain(calm)
        flows = await live.store.flows("hot", ETH)
        assert flows == await calm.store.flows("hot", ETH) and len(flows) > 100
    assert world.most == 4


async def test_what_is_found_meanwhile_is_told_at_once_and_stands() -> None:
    """A theft at the head is alerted before the gap is read, as provisional; afterwards it is the same incident."""
    world = World()
    async with running(world) as live:
        await live.follow(1, PAST)
        await live.jump()
        await live.see(block(LAST + 2, ("thief", HELD * 45 // 100)))
        (before,) = live.pipeline.correlator.all()
        assert live.kinds == ["opened"] and before.findings[0].evidence["provisional"] is True
        assert any("120 blocks" in text or "not read yet" in text for text in before.findings[0].evidence["missing"])
        await live.filled()
        (after,) = live.pipeline.correlator.all()
        assert after.id == before.id and after.lost == before.lost and live.kinds == ["opened"]
        assert not {"provisional", "late"} & after.findings[0].evidence.keys()
        assert plain(live) == plain(await straight(world, LAST + 2))


async def test_what_does_not_hold_is_retracted() -> None:
    """What is large against the state of before the gap, but not against that of now, is taken back when it is full."""
    world = World()
    world.blocks[PAST + 3] = block(PAST + 3, ("h1", HELD * 100), sender="friend")
    async with running(world) as live:
        await live.follow(1, PAST)
        await live.jump()
        await live.see(block(LAST + 2, ("new", HELD * 80 // 100)))
        assert live.kinds == ["opened"]
        await live.filled()
        calm = await straight(world, LAST + 2)
        assert live.engine.dump() == calm.engine.dump() and plain(live) == plain(calm) == []
        assert live.kinds == ["opened", "retracted"]


async def test_killed_while_it_is_filled() -> None:
    """The next start goes on where it was; coverage shows the gap until it is full."""
    world, store = World(), MemoryStore()
    async with running(world, store) as live:
        await live.follow(1, PAST)
        await live.jump()
        await live.follow(LAST + 2, LAST + 5)
        assert str(live.backfill.progress).startswith("gap ")
    first = world.asked
    shown = coverage_data(await store.coverage(), live.pipeline.marks)[ETH]
    assert shown["gaps"] == [{"first": PAST + 1, "last": LAST}]
    assert (shown["filling"]["first"], shown["filling"]["last"]) == (PAST + 1, LAST) and "learning" not in shown
    async with running(world, store) as again:
        await again.follow(LAST + 6, LAST + 8)
        await again.filled()
        assert again.engine.dump() == (await straight(world, LAST + 8)).engine.dump()
        found = coverage_data(await store.coverage(), again.pipeline.marks)[ETH]
        assert found["gaps"] == [] and "filling" not in found and again.backfill.progress is None
        assert {(r["first"], r["last"], r["source"]) for r in found["ranges"]} == {
            (1, PAST, "node"), (PAST + 1, LAST, "archive"), (LAST + 1, LAST + 8, "node"),
        }  # fmt: skip
        assert [key async for key, _ in store.state(b"b\x1f")] == []
    assert first >= 2 and world.asked < first + 9  # what was there was not read again


async def test_a_second_absence() -> None:
    """Away again before the gap is full: both are filled as one."""
    world, store = World(), MemoryStore()
    async with running(world, store) as live:
        await live.follow(1, PAST)
        await live.jump()
        await live.follow(LAST + 2, LAST + 4)
    async with running(world, store) as again:
        await again.see(LeftOut(world.blocks[LAST + 4].ref, world.blocks[LAST + 20].ref), world.blocks[LAST + 20])
        assert again.pipeline.marks[ETH].runs == ((LAST + 1, LAST + 4),)
        await again.filled()
        assert again.engine.dump() == (await straight(world, LAST + 20)).engine.dump()
        assert coverage_data(await store.coverage())[ETH]["gaps"] == []


async def test_a_rewrite_below_the_gap() -> None:
    """Blocks that were replaced while nobody looked go with what they showed."""
    world = World()
    world.blocks[PAST] = block(PAST, ("thief", HELD * 30 // 100))
    async with running(world) as live:
        await live.follow(1, PAST)
        assert live.kinds == ["opened"]
        for number in (PAST - 1, PAST, PAST + 1):
            fork, below = ("x" if number <= PAST else ""), ("x" if number >= PAST else "")
            world.blocks[number] = block(number, ("c1", HELD // 900), fork=fork, below=below)
        await live.jump()
        await live.filled()
        calm = await straight(world, LAST + 1)
        assert live.engine.dump() == calm.engine.dump() and live.kinds == ["opened", "retracted"]


async def test_undo_reaches_into_what_was_filled() -> None:
    """After the gap is full, a rewrite below its upper end is undone like any other."""
    world = World()
    async with running(world) as live:
        await live.follow(1, PAST)
        await live.jump()
        await live.filled()
        await live.see(*(Gone(BlockRef(ETH, number, f"b{number}")) for number in range(LAST + 1, LAST - 4, -1)))
        fork = LAST - 3
        branch = [block(n, ("new", 5 * n), fork="x", below="x" if n > fork else "") for n in range(fork, LAST + 3)]
        await live.see(*branch)
        assert live.engine.dump() == (await straight(world, LAST + 2)).engine.dump()


async def test_pruned(caplog: pytest.LogCaptureFixture) -> None:
    """What no endpoint gives stays a gap: said loudly, shown, and the head goes on."""
    world, store = World(), MemoryStore()
    async with running(world, store) as live:
        await live.follow(1, PAST)
        await live.jump()
        world.oldest = LAST + 40
        await live.filled()
        assert live.kinds == ["blind"] and f"blocks {PAST + 1} to {LAST} were not read" in live.alerts[0].title
        assert coverage_data(await store.coverage())[ETH]["gaps"] == [{"first": PAST + 1, "last": LAST}]
        await live.see(block(LAST + 2, ("thief", HELD * 45 // 100)))
        assert live.kinds == ["blind", "opened"]
        assert "provisional" not in live.pipeline.correlator.all()[0].findings[0].evidence
        assert [key async for key, _ in store.state(b"b\x1f")] == []
    assert "were not read, and will not be" in caplog.text


async def test_pruned_in_the_middle() -> None:
    """The part that is given is folded; the rest stays a gap."""
    world, store = World(), MemoryStore()
    world.blocks[LAST - 2] = block(LAST - 2, ("thief", HELD * 30 // 100))
    async with running(world, store) as live:
        await live.follow(1, PAST)
        await live.jump()
        world.oldest = LAST - 17
        await live.filled()
        assert live.kinds == ["blind", "opened"]
        assert coverage_data(await store.coverage())[ETH]["gaps"] == [{"first": PAST + 1, "last": LAST - 18}]


async def test_a_verdict_meanwhile() -> None:
    """A false alarm while the gap is read stays one."""
    world = World()
    async with running(world) as live:
        await live.follow(1, PAST)
        await live.jump()
        await live.see(block(LAST + 2, ("partner", HELD * 45 // 100)))
        (incident,) = live.pipeline.correlator.all()
        await live.store.say(verdict("false-alarm", incident.id, by="ana", comment="", at=1.0))
        await live.see(block(LAST + 3), block(LAST + 4, ("partner", HELD // 500)))
        await live.filled()
        (after,) = live.pipeline.correlator.all()
        assert (after.id, after.status) == (incident.id, Status.FALSE_ALARM) and live.kinds == ["opened", "resolved"]
        assert [key for key, _ in live.engine.dump() if key.startswith(b"s\x1f")] == []
