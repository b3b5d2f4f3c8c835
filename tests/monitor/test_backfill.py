"""Backfill: history fetched while the head is followed, folded, and put in the place of what was learning."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest

from monitor.assets import AssetNames
from monitor.backfill import Backfill
from monitor.coverage import coverage_data
from monitor.engine import Engine
from monitor.errors import ChainUnavailable, HistoryRefused
from monitor.incidents import Correlator
from monitor.marks import Mark, MarkState, spool_prefix
from monitor.memory_store import MemoryStore
from monitor.model import Alert, Block, BlockRef, Role, Severity, Status, Transfer, TransferKind, Tx, Wallet
from monitor.past import linked
from monitor.pipeline import Pipeline
from monitor.refold import Refold, Walk
from monitor.spool import Head, Said, Seen, pack_seen, pack_stretch, unpack_blocks, unpack_head, unpack_seen
from monitor.store import OutboxRow
from monitor.swap import state_delta
from monitor.verdicts import verdict
from monitor.watch import Followed, Watch
from monitor.watchlist import Watchlist

ETH, BSC = "eip155:1", "eip155:56"
ETHER, COIN = f"{ETH}/slip44:60", f"{ETH}/erc20:0xaa"
DAY, SPAN = 86400, 14 * 86400
START, STEP = 1_700_006_400, 7200  # midnight; seconds between blocks
PAST = 15 * 12  # blocks of history: fifteen days
HELD = {ETHER: 10**20, COIN: 7 * 10**24}
HOT = Wallet("hot", "One", Role.HOT, ((ETH, "h1"), (BSC, "h2")))


def block(number: int, *moves: tuple[str, int, str], fork: str = "", sender: str = "h1", below: str = "") -> Block:
    """A block of (to, value, asset) payments by the wallet; ``below``: the branch of its parent."""
    ref = BlockRef(ETH, number, f"b{number}{fork}")
    transfers = []
    for n, (to, value, asset) in enumerate(moves):
        kind = TransferKind.NATIVE if asset == ETHER else TransferKind.TOKEN
        tx = Tx(f"t{number}-{n}{fork}", n, initiator=sender)
        transfers.append(Transfer(ref, tx, n, kind, asset, (sender,), to, value, (value,)))
    return Block(ref, f"b{number - 1}{below}", START + number * STEP, tuple(transfers), source="node",
                 blind_spots=("inside",))  # fmt: skip


def ordinary(number: int) -> list[tuple[str, int, str]]:
    """What the wallet pays in block ``number``: nothing in every third one, else a customer, and often a regular."""
    if number % 3 == 0:
        return []
    moves = [(f"c{number}", HELD[ETHER] // 4000 * (1 + number * 7 % 5), ETHER)]
    return moves + ([("shop", HELD[COIN] // 7000 * (1 + number % 4), COIN)] if number % 2 else [])


CHAIN = {number: block(number, *ordinary(number)) for number in range(1, PAST + 1)}


class World:
    """A chain that can be asked: its blocks, balances, and how it misbehaves."""

    def __init__(self, blocks: Mapping[int, Block]) -> None:
        self.blocks = dict(blocks)
        self.asked: list[tuple[int, int]] = []
        self.faults: list[Exception] = []
        self.oldest = 0  # given by any endpoint
        self.gate: asyncio.Event | None = None  # until it is set, the fourth stretch hangs
        self.hangs = asyncio.Event()
        self.closed = asyncio.Event()

    async def time_of(self, number: int) -> int:
        if number < max(1, self.oldest):
            raise HistoryRefused(f"no block {number}")
        return self.blocks[number].timestamp

    async def history(self, start: int, end: int) -> Any:
        self.asked.append((start, end))
        if self.faults:
            raise self.faults.pop(0)
        if self.gate is not None and len(self.asked) > 3:
            self.hangs.set()
            await self.gate.wait()
        if start < self.oldest:
            raise HistoryRefused(f"no block {start}")
        run = [self.blocks[number] for number in range(start, end)]
        touching = tuple(item for item in run if item.transfers)
        first, last = run[0], run[-1]
        ends = (first.ref, first.parent_hash, last.ref, first.timestamp, last.timestamp)
        return Run(*ends, "node", ("inside",), touching, tuple((item.ref.hash, item.timestamp) for item in run))

    async def aclose(self) -> None:
        self.closed.set()

    def balance(self, asset: str, after: int) -> int:
        """Of the wallet, after a block."""
        seen = [t for b in self.blocks.values() for t in b.transfers if t.asset == asset and b.ref.number <= after]
        return HELD[asset] + sum(t.value if t.to_address == "h1" else -t.value for t in seen)

    async def balances(self, wanted: Sequence[tuple[str, str]], at: BlockRef) -> Mapping[tuple[str, str], int | None]:
        return {item: self.balance(item[1], at.number) for item in wanted}


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
        self.engine = make_engine()
        self.alerts: list[Alert] = []
        self.told: dict[int, Any] = {}  # what was told at each block
        self.pipeline = Pipeline(
            self.engine, Correlator(), store, AssetNames(), self._route, lambda: 5.0, {ETH: 10, BSC: 10}
        )
        self.watch: Watch
        self.over = world.closed  # the backfill closes its history at its end

    def _route(self, alert: Alert, now: float, also: Sequence[str] = ()) -> list[OutboxRow]:
        self.alerts.append(alert)
        return []

    async def start(self, step: int = 25) -> None:
        await self.pipeline.start()
        self.pipeline.tips[ETH] = await self.store.checkpoint(ETH)
        self.pipeline.backfills[ETH] = SPAN
        self.backfill = Backfill(
            "eth", ETH, lambda: self.world, self.world, self.pipeline, self.store, make_engine, step=step,
            block_seconds=STEP, sleep=lambda _: asyncio.sleep(0),
        )  # fmt: skip
        item = Followed("eth", ETH, ETHER, self.world, self.follower, backfill=self.backfill)
        self.watch = Watch([item], self.pipeline, Quiet())
        connect = self.pipeline.connect

        async def noting(block: Block, told: Any = None) -> Any:
            self.told[block.ref.number] = told
            return await connect(block, told)

        self.pipeline.connect = noting  # type: ignore[method-assign]

    async def see(self, *events: Any) -> None:
        """Let the monitor take blocks, or events, in and store them."""
        for event in events:
            if isinstance(event, Block):
                self.world.blocks[event.ref.number] = event
                event = Connected(event)
            await self.follower.queue.put(event)
        await self.follower.queue.join()
        await self.watch.between_blocks(ETH, self.nothing)

    async def nothing(self) -> None: ...

    async def until(self, state: MarkState) -> Mark:
        """The chain's mark, once its backfill is over and it is in that state."""
        async with asyncio.timeout(20):
            await self.over.wait()
        await self.watch.between_blocks(ETH, self.nothing)
        mark = self.pipeline.marks[ETH]
        assert mark.state is state
        return mark

    async def stored(self) -> dict[bytes, bytes]:
        """The state in the store, marks apart."""
        return {key: value async for key, value in self.store.state() if not key.startswith(b"c\x1f")}


@asynccontextmanager
async def running(world: World, store: MemoryStore | None = None, step: int = 25) -> AsyncIterator[Live]:
    """A monitor that runs; it is killed at the end."""
    live = Live(world, store or MemoryStore())
    await live.start(step)
    task = asyncio.create_task(live.watch.run())
    try:
        yield live
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def straight(world: World, live: Live, low: int, high: int) -> Engine:
    """The fold of the same blocks in their order, with the true balances, and what the monitor was told."""
    engine = make_engine()
    for number in range(low, high + 1):
        item = world.blocks[number]
        told = {key: world.balance(key[2], number - 1) for key in engine.unknown_balances(item)}
        engine.connect(item, {**told, **(live.told.get(number) or {})})
    return engine


LIVE = [block(number, *ordinary(number)) for number in range(PAST + 1, PAST + 30)]
LOW = PAST + 1 - 14 * 12


async def test_the_state_is_that_of_a_straight_fold() -> None:
    """Engine and store hold, byte by byte, what folding the same blocks in their order leaves; the spool is gone."""
    world = World(CHAIN)
    async with running(world) as live:
        await live.see(*LIVE[:3])
        mark = await live.until(MarkState.BACKFILLED)
        assert live.engine.dump() == straight(world, live, LOW, PAST + 3).dump()
        await live.see(*LIVE[3:])
        expected = straight(world, live, LOW, PAST + 29).dump()
        assert live.engine.dump() == expected and await live.stored() == dict(expected)
        assert (mark.low, mark.block, mark.since) == (LOW, PAST + 1, START + LOW * STEP) and mark.note == ""
        assert live.engine.state.learning_days("hot", ETH) == 0
    assert world.closed.is_set()


async def test_newest_first_without_gaps() -> None:
    """Stretches go from the first live block down to two weeks before it; nothing is asked twice."""
    world = World(CHAIN)
    async with running(world) as live:
        await live.see(LIVE[0])
        await live.until(MarkState.BACKFILLED)
    assert [end for _, end in world.asked] == [PAST + 1, *(start for start, _ in world.asked[:-1])]
    assert world.asked[-1][0] == LOW and all(end - start <= 25 for start, end in world.asked)


async def test_until_then_the_guard_rail_alone() -> None:
    """While history is fetched statistics are off; after it a theft at the budget is a statistical finding."""
    world = World(CHAIN)
    world.gate = asyncio.Event()
    theft = ("thief", HELD[ETHER] * 8 // 100, ETHER)
    async with running(world) as live:
        await live.see(LIVE[0], block(PAST + 2, theft))
        assert live.alerts == [] and live.pipeline.marks[ETH].state is MarkState.BACKFILLING
        assert (live.engine.state.learning_days("hot", ETH) or 0) > 6
        world.gate.set()
        await live.until(MarkState.BACKFILLED)
        (incident,) = live.pipeline.correlator.all()
        assert incident.findings[0].detector.startswith("HW") and incident.opened_block == PAST + 2
        assert not incident.findings[0].evidence["guard_rail"] and not incident.findings[0].evidence["learning"]
        assert [str(alert.kind) for alert in live.alerts] == ["opened"]
        await live.see(*LIVE[2:6], block(PAST + 7, ("other", HELD[ETHER] * 9 // 100, ETHER)))
        assert len(live.pipeline.correlator.all()[0].findings) + len(live.pipeline.correlator.all()) >= 3
        assert live.engine.dump() == straight(world, live, LOW, PAST + 7).dump()


async def test_what_the_guard_rail_said_is_said_once() -> None:
    """A finding of the time of learning is the same finding after it: one incident, nothing told twice."""
    world = World(CHAIN)
    world.gate = asyncio.Event()
    async with running(world) as live:
        await live.see(LIVE[0], block(PAST + 2, ("thief", HELD[ETHER] * 40 // 100, ETHER)))
        assert [str(alert.kind) for alert in live.alerts] == ["opened"]
        before = live.pipeline.correlator.all()[0]
        world.gate.set()
        await live.until(MarkState.BACKFILLED)
        (incident,) = live.pipeline.correlator.all()
        assert incident.id == before.id and incident.lost == before.lost and incident.severity >= Severity.HIGH
        assert {str(alert.kind) for alert in live.alerts[1:]} <= {"escalated"}


async def test_alarms_of_history_are_counted_not_told() -> None:
    """A theft in the fetched past raises nothing; it is said how many outflows would have."""
    world = World({**CHAIN, PAST - 24: block(PAST - 24, ("thief", HELD[ETHER] * 45 // 100, ETHER))})
    async with running(world) as live:
        await live.see(LIVE[0])
        mark = await live.until(MarkState.BACKFILLED)
        assert mark.would_have == 1 and live.alerts == [] and live.pipeline.correlator.all() == []
        shown = coverage_data(await live.store.coverage(), live.pipeline.marks)[ETH]["learning"]
        assert shown["would_have_raised"] == 1 and shown["state"] == "backfilled"


@pytest.mark.parametrize("killed_after", [1, 2, 3])
async def test_killed_and_restarted(killed_after: int) -> None:
    """What was fetched is not fetched again, and the end is the same as without the kill."""
    world, store = World(CHAIN), MemoryStore()
    world.gate = asyncio.Event()
    async with running(world, store) as live:
        await live.see(*LIVE[:killed_after])
        async with asyncio.timeout(20):
            await world.hangs.wait()
        await live.watch.between_blocks(ETH, live.nothing)
        told = live.told
    first, world.gate, world.closed = list(world.asked), None, asyncio.Event()
    async with running(world, store) as again:
        again.told.update(told)
        assert again.pipeline.marks[ETH].done == 75 and again.engine.dump() == live.engine.dump()
        await again.see(*LIVE[killed_after:8])
        await again.until(MarkState.BACKFILLED)
        assert again.engine.dump() == straight(world, again, LOW, PAST + 8).dump()
    assert world.asked[4][1] == first[2][0]  # goes on below the third
    assert sum(end - start for start, end in [*first[:3], *world.asked[4:]]) == PAST + 1 - LOW


async def test_undo_after_the_swap() -> None:
    """Blocks that are not final are undone into the new state: a rewrite of them ends as if it had come before."""
    world = World(CHAIN)
    world.gate = asyncio.Event()
    async with running(world) as live:
        await live.see(*LIVE[:6])
        world.gate.set()
        await live.until(MarkState.BACKFILLED)
        await live.see(*(Gone(item.ref) for item in reversed(LIVE[3:6])))
        assert live.engine.dump() == straight(world, live, LOW, PAST + 3).dump()
        branch = [block(n, ("elsewhere", 5 * n, ETHER), fork="x", below="x" if n > PAST + 4 else "")
                  for n in range(PAST + 4, PAST + 8)]  # fmt: skip
        await live.see(*branch)
        assert live.engine.dump() == straight(world, live, LOW, PAST + 7).dump()
        flows = await live.store.flows("hot", ETH)
        assert [f.block_number for f in flows] == sorted(f.block_number for f in flows)
        assert {f.tx for f in flows} == {
            t.tx.hash for n in range(PAST + 1, PAST + 8) for t in world.blocks[n].transfers
        }


async def test_a_rewrite_while_it_is_fetched() -> None:
    """Live blocks that went are not folded; what the first one's new branch left below it is fetched again."""
    world = World(CHAIN)
    world.gate = asyncio.Event()
    async with running(world) as live:
        await live.see(*LIVE[:2])
        async with asyncio.timeout(20):
            await world.hangs.wait()
        for n in (PAST, PAST - 1):  # two blocks below the first live one change as well
            world.blocks[n] = block(n, ("late", 77 + n, ETHER), fork="y", below="y" if n == PAST else "")
        await live.see(Gone(LIVE[1].ref), Gone(LIVE[0].ref))
        assert ETH not in live.pipeline.marks
        await live.see(block(PAST + 1, ("new", 123, ETHER), fork="y", below="y"))
        world.gate.set()
        mark = await live.until(MarkState.BACKFILLED)
        assert mark.parent == f"b{PAST}y"
        assert live.engine.dump() == straight(world, live, LOW, PAST + 1).dump()


async def test_trouble_is_no_refusal() -> None:
    """An endpoint that does not answer, or answers nonsense, is asked again."""
    world = World(CHAIN)
    world.faults = [ChainUnavailable("down")] * 5 + [HistoryRefused("once")] * 2
    async with running(world) as live:
        await live.see(LIVE[0])
        await live.until(MarkState.BACKFILLED)
        assert live.engine.dump() == straight(world, live, LOW, PAST + 1).dump()


async def test_refused(caplog: pytest.LogCaptureFixture) -> None:
    """An endpoint without history leaves the chain learning, said once; nothing of it stays in the store."""
    world, store = World(CHAIN), MemoryStore()
    world.oldest = PAST + 1
    async with running(world, store) as live:
        await live.see(*LIVE[:2])
        mark = await live.until(MarkState.REFUSED)
        await live.see(*LIVE[2:5])
        assert [key async for key, _ in store.state(spool_prefix(ETH))] == []
        assert live.engine.state.learning_days("hot", ETH) and "no block" in mark.note
        assert coverage_data(await store.coverage(), live.pipeline.marks)[ETH]["learning"]["state"] == "refused"
    assert len([r for r in caplog.records if "no history can be had" in r.message]) == 1
    world.closed = asyncio.Event()
    async with running(world, store) as again:
        await again.see(*LIVE[5:7])
        assert again.pipeline.marks[ETH].state is MarkState.REFUSED


async def test_part_of_the_history() -> None:
    """Where endpoints reach back six days only, those are learned, and it is said."""
    world = World(CHAIN)
    world.oldest = PAST + 1 - 6 * 12
    async with running(world) as live:
        await live.see(LIVE[0])
        mark = await live.until(MarkState.BACKFILLED)
        assert mark.low == world.oldest and mark.note == f"no endpoint gives blocks before {world.oldest}"
        assert live.engine.dump() == straight(world, live, world.oldest, PAST + 1).dump()
        assert 0.5 < (live.engine.state.learning_days("hot", ETH) or 0) < 1.5


async def test_history_that_is_withdrawn_on_the_way() -> None:
    """Refused in the middle: what was fetched by then is used."""
    world = World(CHAIN)
    world.gate = asyncio.Event()
    async with running(world) as live:
        await live.see(LIVE[0])
        async with asyncio.timeout(20):
            await world.hangs.wait()
        world.oldest = world.asked[2][0]
        world.gate.set()
        mark = await live.until(MarkState.BACKFILLED)
        assert mark.low == world.oldest == PAST + 1 - 75
        assert live.engine.dump() == straight(world, live, world.oldest, PAST + 1).dump()


async def test_a_verdict_while_learning() -> None:
    """A false alarm of the time of learning stays one: closed, and the address ordinary in the new state."""
    world = World(CHAIN)
    world.gate = asyncio.Event()
    async with running(world) as live:
        await live.see(LIVE[0], block(PAST + 2, ("partner", HELD[ETHER] * 40 // 100, ETHER)))
        (incident,) = live.pipeline.correlator.all()
        await live.store.say(verdict("false-alarm", incident.id, by="ana", comment="", at=1.0))
        await live.see(block(PAST + 3), block(PAST + 4, ("partner", HELD[ETHER] // 500, ETHER)))
        world.gate.set()
        await live.until(MarkState.BACKFILLED)
        (after,) = live.pipeline.correlator.all()
        assert after.id == incident.id and after.status is Status.FALSE_ALARM
        assert [str(alert.kind) for alert in live.alerts] == ["opened", "resolved"]
        expected = straight(world, live, LOW, PAST + 2)
        expected.clear_suspect("hot", ETH, "partner", {ETHER: HELD[ETHER] * 40 // 100}, false_alarm=True)
        for number in (PAST + 3, PAST + 4):
            expected.connect(world.blocks[number], live.told[number])
        assert live.engine.dump() == expected.dump()
        assert [key for key, _ in live.engine.dump() if key.startswith(b"s\x1f")] == []
        await live.see(Gone(BlockRef(ETH, PAST + 4, f"b{PAST + 4}")), Gone(BlockRef(ETH, PAST + 3, f"b{PAST + 3}")))
        assert live.engine.dump() == straight(world, live, LOW, PAST + 2).dump()
        assert [key for key, _ in live.engine.dump() if key.startswith(b"s\x1f")] != []


async def test_a_confirmed_theft_while_learning() -> None:
    """A confirmation of the time of learning holds in the new state: the thief is never learned."""
    world = World(CHAIN)
    world.gate = asyncio.Event()
    async with running(world) as live:
        await live.see(LIVE[0], block(PAST + 2, ("thief", HELD[ETHER] * 40 // 100, ETHER)))
        (incident,) = live.pipeline.correlator.all()
        await live.store.say(verdict("confirm", incident.id, by="ana", comment="", at=1.0))
        await live.see(block(PAST + 3))
        world.gate.set()
        await live.until(MarkState.BACKFILLED)
        expected = straight(world, live, LOW, PAST + 2)
        expected.confirm_theft([("hot", ETH, "thief")])
        assert live.engine.dump() == expected.dump() != straight(world, live, LOW, PAST + 2).dump()
        (after,) = live.pipeline.correlator.all()
        assert after.status is Status.CONFIRMED and after.id == incident.id


def test_records_that_the_new_state_lacks_go() -> None:
    """A swap leaves nothing of the old state of the chain: suspects, destinations, assets."""
    old, fresh = make_engine(), make_engine()
    told = {("hot", ETH, asset): value for asset, value in HELD.items()}
    old.connect(block(1, ("thief", HELD[ETHER] // 2, ETHER), ("shop", 5, COIN)), told)
    fresh.connect(block(1, ("shop", 5, ETHER)), told)
    assert {key[:1] for key, _ in old.dump()} - {key[:1] for key, _ in fresh.dump()} == {b"s"}
    delta = state_delta(old, fresh, ETH)
    old.load(delta)
    assert old.dump() == fresh.dump() and None in dict(delta).values()
    assert state_delta(old, fresh, ETH) == ()


def test_a_refold_follows_rewrites() -> None:
    """Live blocks that are no more are taken back, with the balances carried over them, before others are folded."""
    world, told = World(CHAIN), {("hot", ETHER): HELD[ETHER], ("hot", COIN): HELD[COIN]}
    kept, gone = Seen(block(PAST + 1, ("x", 5, ETHER))), Seen(block(PAST + 2, ("y", 9, ETHER), ("y", 3, COIN)))
    other = Seen(block(PAST + 2, ("z", 7, ETHER), ("z", 4, COIN), fork="x"))
    later = Seen(block(PAST + 3, ("z", 8, COIN), fork="x"))
    past = [world.blocks[number] for number in range(1, 30) if number % 2 == 0]  # nothing of the token yet
    crooked, direct = Refold(make_engine(), told), Refold(make_engine(), told)
    for fold in (crooked, direct):
        fold.past(past)
    crooked.follow([kept, gone])
    crooked.follow([kept, gone])
    assert len(crooked.live) == 2
    crooked.follow([kept, other, later])
    direct.follow([kept, other, later])
    assert crooked.engine.dump() == direct.engine.dump() and len(crooked.live) == 3
    slot = direct.engine.state.asset("hot", ETH, COIN)
    assert direct.engine.state.balance(slot) == (float(HELD[COIN] - 12), True)
    assert crooked._net == direct._net


def test_balances_before_from_balances_after() -> None:
    """What was there at first follows from what is there now; unseen inflows never make it negative."""
    walk = Walk(make_engine())
    walk.add([block(1, ("x", 30, ETHER), ("x", 4, COIN)), block(2, ("h1", 10, ETHER), sender="friend")])
    ref, liar = BlockRef(ETH, 3, "b3"), Tx("f", 0, initiator="liar")
    walk.add([Block(ref, "b2", START, (Transfer(ref, liar, 0, TransferKind.TOKEN, "fake", ("h1",), "x", 5, (5,)),))])
    assert walk.wanted == [("hot", ETHER), ("hot", COIN)]
    assert walk.before({("hot", ETHER): 100, ("hot", COIN): 6}) == {("hot", ETHER): 120, ("hot", COIN): 10}
    assert walk.before({("hot", ETHER): 0}) == {("hot", ETHER): 20}
    gain = Walk(make_engine())
    gain.add([block(1, ("h1", 50, ETHER), sender="friend")])
    assert gain.before({("hot", ETHER): 30}) == {("hot", ETHER): 0}


async def test_other_chains_stay_as_they_are() -> None:
    """The state of the wallet's other chains is not touched by a swap."""
    world, store = World(CHAIN), MemoryStore()
    other = make_engine()
    ref = BlockRef(BSC, 1, "s1")
    tx, coin = Tx("s", 0, initiator="h2"), f"{BSC}/slip44:714"
    transfer = Transfer(ref, tx, 0, TransferKind.NATIVE, coin, ("h2",), "x", 5, (5,))
    other.connect(Block(ref, "", START, (transfer,)))
    async with running(world, store) as live:
        live.engine.load(other.dump())
        await live.see(*LIVE[:3])
        await live.until(MarkState.BACKFILLED)
        found = dict(live.engine.dump())
        assert {key: found[key] for key, _ in other.dump()} == dict(other.dump())


async def test_coverage_reaches_back() -> None:
    """Fetched blocks are covered without a gap, those that were stored anew still are, undecoded counts stay."""
    world = World(CHAIN)
    async with running(world) as live:
        odd = replace(LIVE[1], undecoded=("q",))
        await live.see(LIVE[0], odd, *LIVE[2:20])
        await live.until(MarkState.BACKFILLED)
        (only,) = await live.store.coverage(ETH)
        assert (only.first, only.last, only.undecoded, only.source) == (LOW, PAST + 20, 1, "node")


async def test_progress() -> None:
    """Blocks done and in all, and time left at the rate so far; nothing once it is over."""
    world = World(CHAIN)
    world.gate = asyncio.Event()
    async with running(world) as live:
        before = live.backfill.progress
        assert before is not None and str(before) == "backfill begins"
        await live.see(LIVE[0])
        async with asyncio.timeout(20):
            await world.hangs.wait()
        progress = live.backfill.progress
        assert progress is not None and (progress.done, progress.total) == (75, 14 * 12)
        assert progress.seconds_left is not None and 0 < progress.seconds_left < 60 and "44 %" in str(progress)
        world.gate.set()
        await live.until(MarkState.BACKFILLED)
        assert live.backfill.progress is None


async def test_an_error_in_the_history_leaves_the_guard_rail(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever a source of history does wrong, the monitor goes on."""
    world = World(CHAIN)
    world.faults = [ZeroDivisionError("odd")]
    async with running(world) as live:
        await live.see(LIVE[0])
        assert "ZeroDivisionError" in (await live.until(MarkState.REFUSED)).note
        await live.see(LIVE[1], block(PAST + 3, ("thief", HELD[ETHER] * 40 // 100, ETHER)))
        assert [str(alert.kind) for alert in live.alerts] == ["opened"]


def test_the_spool_keeps_everything() -> None:
    """Blocks, amounts beyond 64 bits, balances and verdicts come back as they went in."""
    big = block(5, ("x", 2**255 + 1, COIN))
    head = Head(1, 9, "p", "l", 3, 4, "node", ("inside",))
    packed = pack_stretch(head, (big, CHAIN[1]))
    assert unpack_head(packed) == head and unpack_blocks(packed) == (big, CHAIN[1])
    seen = Seen(big, (("hot", COIN, 2**200),), (Said("false-alarm", "hot", "x", ((COIN, 2**99),)),))
    assert unpack_seen(pack_seen(seen)) == seen and seen.balances == {("hot", ETH, COIN): 2**200}


def test_only_what_links_counts() -> None:
    """Stretches count from the first live block down as far as hashes link them."""
    mark = Mark(MarkState.BACKFILLING, 100, 0, parent="h99", low=10)
    top, middle, low = (
        Head(first, last, f"h{first - 1}", f"h{last}", 0, 0) for first, last in ((80, 99), (50, 79), (10, 49))
    )
    assert linked(mark, [low, top, middle]) == [top, middle, low]
    assert linked(mark, [low, top]) == [top]
    assert linked(mark, [low, replace_head(middle, last_hash="x"), top]) == [top]
    assert linked(mark, [replace_head(top, last_hash="x"), middle, low]) == [] == linked(mark, [])


def replace_head(head: Head, **changes: Any) -> Head:
    return Head(**{**{name: getattr(head, name) for name in head.__struct_fields__}, **changes})


