"""Calibrated state in the store, and a live monitor that starts with it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import pytest

from monitor.assets import AssetNames
from monitor.calibrate import Past, calibrate, learned
from monitor.coverage import coverage_data
from monitor.engine import Engine
from monitor.errors import ConfigError
from monitor.followed import begin
from monitor.incidents import Correlator
from monitor.marks import Mark, MarkState, owner_of
from monitor.memory_store import MemoryStore
from monitor.model import Block, BlockRef, Role, Transfer, TransferKind, Tx, Wallet
from monitor.pipeline import Pipeline
from monitor.store import Commit
from monitor.watch import Followed, Watch
from monitor.watchlist import Watchlist

ETH = "eip155:1"
ETHER, COIN = f"{ETH}/slip44:60", f"{ETH}/erc20:0xaa"
HOT = Wallet("hot", "One", Role.HOT, ((ETH, "h1"),))
SECOND = Wallet("second", "One", Role.HOT, ((ETH, "h2"),))
DAY, START, HELD = 86400, 1_700_000_000, 10**20
PAST = Past(ETH, 1, 100, START, START + 20 * DAY)


def block(number: int, at: int, *moves: tuple[str, str, int, str], fork: str = "") -> Block:
    """A block of (from, to, value, asset) payments by their senders."""
    ref = BlockRef(ETH, number, f"b{number}{fork}")
    transfers = []
    for n, (sender, to, value, asset) in enumerate(moves):
        kind = TransferKind.NATIVE if asset == ETHER else TransferKind.TOKEN
        tx = Tx(f"t{number}-{n}{fork}", n, initiator=sender)
        transfers.append(Transfer(ref, tx, n, kind, asset, (sender,), to, value, (value,)))
    return Block(ref, f"b{number - 1}", at, tuple(transfers), source="node")


def past_engine(*wallets: Wallet) -> Engine:
    """An engine that has seen twenty days of ordinary payments in ether and in a token."""
    engine = Engine(Watchlist(wallets or (HOT,)), [ETHER])
    for n in range(1, 101):
        at = START + (n - 1) * DAY // 5
        told = {("hot", ETH, ETHER): HELD} if n == 1 else {}
        moves = [("h1", f"shop{n}", HELD // 100 + n, ETHER), ("h1", "shop", 5, COIN)]
        engine.connect(block(n, at, *moves), told)
    return engine


class Source:
    """A chain that knows balances, and is asked for them; ``silent``: it cannot tell."""

    def __init__(self) -> None:
        self.asked: list[list[tuple[str, str]]] = []
        self.silent = False

    async def head(self) -> BlockRef:
        return BlockRef(ETH, 1000, "b1000")

    async def balances(self, wanted: Sequence[tuple[str, str]], at: BlockRef) -> Mapping[tuple[str, str], int | None]:
        self.asked.append(list(wanted))
        known = {ETHER: HELD * 3, COIN: 777}
        return {item: None if self.silent else known[item[1]] for item in wanted}


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


class Connected:
    def __init__(self, connected: Block) -> None:
        self.block = connected


class Gone:
    def __init__(self, ref: BlockRef) -> None:
        self.ref = ref


class Quiet:
    """A dispatcher with nothing to do."""

    def wake(self) -> None: ...

    async def run(self) -> None: ...


class Live:
    """A started monitor on a store."""

    def __init__(self, store: MemoryStore, source: Source | None = None) -> None:
        self.source, self.follower = source or Source(), Follower()
        self.engine = Engine(Watchlist([HOT]), [ETHER])
        self.pipeline = Pipeline(
            self.engine, Correlator(), store, AssetNames(), lambda *_: [], lambda: 5.0, {ETH: 64}
        )
        self.item = Followed("eth", ETH, ETHER, self.source, self.follower)
        self.watch = Watch([self.item], self.pipeline, Quiet())

    async def start(self) -> Live:
        await self.pipeline.start()
        return self

    async def see(self, *events: Any) -> None:
        """Let the monitor take these events in, and store them."""
        for event in events:
            await self.watch._handle(ETH, event)
            await self.watch._flush(ETH)


async def calibrated(store: MemoryStore | None = None) -> MemoryStore:
    store = store or MemoryStore()
    await calibrate(store, past_engine(), [PAST])
    return store


async def test_a_live_monitor_takes_the_state_over() -> None:
    """After a start on calibrated state the engine is what history left, byte by byte, and its statistics are on."""
    live = await Live(await calibrated()).start()
    assert live.engine.dump() == past_engine().dump()
    (found,) = learned(live.engine)
    assert (found.wallet, found.chain, found.maxima, round(found.days, 1)) == ("hot", ETH, 20, 19.8)
    assert found.on_from == START + 7 * DAY
    assert {u.statistic: u.says for u in found.usual}["dest_1h"] == "to one address within an hour"


async def test_carried_balances_are_asked_once(caplog: pytest.LogCaptureFixture) -> None:
    """The first live block asks for every balance that came with history, and the answers take their place for good."""
    caplog.set_level(logging.INFO)
    store = await calibrated()
    live = await Live(store).start()
    await live.see(Connected(block(1000, START + 40 * DAY, ("h1", "shop", 7, ETHER))))
    assert sorted(live.source.asked[0]) == [("h1", COIN), ("h1", ETHER)]
    assert live.engine.state.balance(live.engine.state.asset("hot", ETH, ETHER)) == (HELD * 3, True)
    assert live.engine.state.balance(live.engine.state.asset("hot", ETH, COIN)) == (777, True)
    assert "history up to block 100" in caplog.text and "899 blocks (20.0 days)" in caplog.text
    await live.see(Connected(block(1001, START + 40 * DAY + 12, ("h1", "shop", 7, COIN))))
    again = await Live(store).start()
    await again.see(Connected(block(1002, START + 40 * DAY + 24, ("h1", "shop", 7, COIN))))
    assert len(live.source.asked) == 1 and again.source.asked == []
    assert again.pipeline.marks[ETH].stale == () and again.pipeline.marks[ETH].started


async def test_what_cannot_be_told_is_asked_again() -> None:
    """A node that cannot tell at the first block is asked later, also after a restart."""
    store = await calibrated()
    live = await Live(store).start()
    live.source.silent = True
    await live.see(Connected(block(1000, START + 40 * DAY)))
    assert len(live.pipeline.marks[ETH].stale) == 2 and live.pipeline.marks[ETH].started
    again = await Live(store).start()
    await again.see(Connected(block(1001, START + 40 * DAY + 12)))
    assert len(again.source.asked) == 1 and again.pipeline.marks[ETH].stale == ()


async def test_a_disconnected_first_block_asks_again() -> None:
    """What a block did to the mark is undone with it: the balances of the block in its place are asked."""
    live = await Live(await calibrated()).start()
    await live.see(Connected(block(1000, START + 40 * DAY)), Connected(block(1001, START + 40 * DAY + 12)))
    await live.see(Gone(BlockRef(ETH, 1001, "b1001")), Gone(BlockRef(ETH, 1000, "b1000")))
    assert not live.pipeline.marks[ETH].started and len(live.pipeline.marks[ETH].stale) == 2
    assert live.engine.dump() == past_engine().dump()
    await live.see(Connected(block(1000, START + 40 * DAY, fork="x")))
    assert len(live.source.asked) == 2 and live.pipeline.marks[ETH].stale == ()


async def test_a_wallet_that_left_is_not_asked_for() -> None:
    """Calibrated wallets that the configuration no longer names, or that left the chain, are no question."""
    store = MemoryStore()
    await calibrate(store, past_engine(HOT, SECOND), [PAST])
    mark = Mark(MarkState.CALIBRATED, 100, START, stale=(("gone", ETHER), ("hot", ETHER)))
    live = await Live(store).start()
    live.pipeline.marks[ETH] = mark
    await live.see(Connected(block(1000, START + 40 * DAY)))
    assert live.source.asked == [[("h1", ETHER)]]


async def followed() -> tuple[MemoryStore, Live]:
    """A store that has followed ether up to block 120."""
    store = MemoryStore()
    live = await Live(store).start()
    for n in range(110, 121):
        await live.see(Connected(block(n, START + n * 60, ("h1", "old", HELD // 50, ETHER))))
    return store, live


async def test_a_followed_chain_is_refused() -> None:
    """Live state is not overwritten by mistake; nothing changes."""
    store, _ = await followed()
    before = [item async for item in store.state()]
    with pytest.raises(ConfigError, match=r"has followed eip155:1 up to block 120: --replace"):
        await calibrate(store, past_engine(), [PAST])
    assert [item async for item in store.state()] == before


async def test_replace_takes_the_place_of_live_state() -> None:
    """No record of the old state is left, and the blocks that led to it cannot be undone into the new one."""
    store, _ = await followed()
    await calibrate(store, past_engine(), [PAST], replace=True)
    live = await Live(store).start()
    assert live.engine.dump() == past_engine().dump()
    stored = await store.block(ETH, 120)
    assert stored is not None and stored.undo == ()
    tip = await store.checkpoint(ETH)
    assert tip is not None and tip.number == 120
    config: Any = type("Chain", (), {"name": "eth", "start": None})
    assert await begin(config, tip, live.pipeline.marks[ETH], live.source) == (None, 121)


async def test_other_wallets_and_chains_stay() -> None:
    """--replace takes away the records of the wallets and chains in the history alone."""
    store = MemoryStore()
    other = Engine(Watchlist([SECOND, Wallet("far", "Two", Role.HOT, (("eip155:56", "f"),))]), [ETHER])
    other.connect(block(110, START, ("h2", "shop", 5, ETHER)))
    await store.commit(Commit(ETH, None, state=tuple(other.dump())))
    await calibrate(store, past_engine(HOT, SECOND), [PAST], replace=True)
    found = dict([item async for item in store.state()])
    assert set(dict(other.dump())) <= set(found) and set(dict(past_engine().dump())) <= set(found)


@pytest.mark.parametrize(
    ("block_known", "tip", "start", "expected"),
    [
        (100, None, None, (None, 1000)),  # a long gap: at the head
        (900, None, None, (None, 901)),  # a short one is read
        (1000, None, None, (None, 1001)),  # no block twice
        (100, None, 500, (None, 500)),  # as the configuration says
        (600, None, 500, (None, 601)),  # but never inside the history
        (600, BlockRef(ETH, 550, "x"), None, (None, 601)),
        (600, BlockRef(ETH, 700, "x"), 5, (None, 701)),
    ],
)
async def test_where_a_calibrated_chain_begins(
    block_known: int, tip: BlockRef | None, start: int | None, expected: tuple[None, int]
) -> None:
    """Above the history, above what was followed, and at the head where too much is missing."""
    config: Any = type("Chain", (), {"name": "eth", "start": start})
    mark = Mark(MarkState.CALIBRATED, block_known, START)
    assert await begin(config, tip, mark, Source()) == expected


async def test_a_started_chain_goes_on_from_its_tip() -> None:
    """After the first live block a calibrated chain is like any other."""
    config: Any = type("Chain", (), {"name": "eth", "start": 7})
    mark, tip = Mark(MarkState.CALIBRATED, 100, START, started=True), BlockRef(ETH, 200, "x")
    assert await begin(config, tip, mark, Source()) == (tip, 7) == await begin(config, tip, None, Source())


async def test_coverage_shows_history_and_the_gap() -> None:
    """The history is a range of its own; what lies between it and the head is a gap."""
    store = await calibrated()
    await (live := await Live(store).start()).see(Connected(block(1000, START + 40 * DAY)))
    found = coverage_data(await store.coverage())[ETH]
    assert [(r["first"], r["last"], r["source"]) for r in found["ranges"]] == [
        (1, 100, "history tables"), (1000, 1000, "node")
    ]  # fmt: skip
    assert found["gaps"] == [{"first": 101, "last": 999}] and found["blocks"] == 101
    assert live.item.blocks == 1


@pytest.mark.parametrize(
    ("key", "owner"),
    [
        (b"a\x1fhot\x1feip155:1\x1feip155:1/slip44:60", ("hot", ETH)),
        (b"t\x1fhot\x1f0\x1feip155:1/slip44:60", ("hot", ETH)),
        (b"w\x1fhot\x1feip155:10", None),
        (b"w\x1felse\x1feip155:1", None),
        (b"c\x1feip155:1", None),
        (b"b\x1feip155:1\x1feip155:1", None),
    ],
)
def test_whose_record_it_is(key: bytes, owner: tuple[str, str] | None) -> None:
    """A record's wallet and chain are read from its key; what is no wallet's is nobody's."""
    assert owner_of(key, {"hot"}, [ETH]) == owner
