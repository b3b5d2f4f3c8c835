"""The mempool of a chain of coins, against a node that is made up: what is told, when, and what becomes of it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from typing import Any

import pytest
import pytest_asyncio

from chains.base import ChainSpec, PendingGone, PendingSeen
from chains.bitcoin import pending as module
from chains.bitcoin import pending_list
from chains.bitcoin.base import Fetched, Prevout, outpoint
from chains.bitcoin.block import parse_block, parse_tx
from chains.bitcoin.build import build_block, build_coinbase, build_tx
from chains.bitcoin.pending import BitcoinMempool
from chains.bitcoin.pending_list import Listed
from chains.bitcoin.script import address_of, spent_scripts
from chains.exchange import MethodUnsupported
from monitor.errors import ChainError, ChainInconsistent, ChainUnavailable
from monitor.model import BlockRef, TxFlag
from monitor.networks import by_name

NETWORK = by_name("bitcoin-regtest")
PATIENCE = 20.0
SIGNATURE = b"\x30" + b"\x01" * 70
GENESIS = "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206"


def key(n: int) -> bytes:
    return b"\x02" + n.to_bytes(32, "big")


def script(n: int) -> bytes:
    """P2WPKH of key ``n``; people are numbers here, 1 is ours."""
    return spent_scripts(b"", [SIGNATURE, key(n)])[0]


def address(n: int) -> str:
    assert NETWORK is not None
    return address_of(script(n), NETWORK)


class Node:
    """A node that does what a test says, as a `chains.bitcoin.base.Source`."""

    endpoint, costly = "node", False

    def __init__(self) -> None:
        self.raw: dict[str, bytes] = {}
        self.owner: dict[bytes, Prevout] = {}
        self.pool: list[str] = []
        self.blocks: list[tuple[BlockRef, bytes]] = []
        self.fails: Callable[[str, Any], Exception | None] = lambda method, about: None
        self.asked: list[tuple[str, Any]] = []
        self.lists, self.listed = 0, asyncio.Event()
        self.fork = 0
        self.mine()

    # what a test does

    def spend(
        self, coins: Sequence[tuple[str, int]], pays: Mapping[int, int], *, sequence: int = 0xFFFFFFFD, by: int = 1
    ) -> str:
        """A transaction that nobody knows so far; ``coins`` are (hash, output)."""
        inputs = [(outpoint(*coin), b"", sequence, (SIGNATURE, key(by))) for coin in coins]
        raw = build_tx(inputs, [(value, script(to)) for to, value in pays.items()])
        hash_ = parse_tx(raw).hash
        self.raw[hash_] = raw
        for n, (to, value) in enumerate(pays.items()):
            self.owner[outpoint(hash_, n)] = Prevout(value, script(to))
        return hash_

    def coin(self, value: int, n: int = 1) -> tuple[str, int]:
        """A coin of somebody that lies in a block long since."""
        hash_ = f"{len(self.owner) + 1:064x}"
        self.owner[outpoint(hash_, 0)] = Prevout(value, script(n))
        return hash_, 0

    def wait(self, *hashes: str) -> None:
        self.pool += hashes

    def leave(self, *hashes: str) -> None:
        self.pool = [one for one in self.pool if one not in hashes]

    def mine(self, *hashes: str) -> int:
        """A block with these; its height."""
        number = len(self.blocks) + 1
        txs = [self.raw[one] for one in hashes]
        coinbase = build_coinbase(number, [(5000, b"\x51")], txs, bytes([self.fork]))
        parent = self.blocks[-1][0].hash if self.blocks else GENESIS
        data = build_block(parent, 1_700_000_000 + number, [coinbase, *txs])
        assert NETWORK is not None
        self.blocks.append((BlockRef(NETWORK.chain, number, parse_block(data, NETWORK).header.hash), data))
        self.leave(*hashes)
        return number

    def undo(self, *hashes: str) -> None:
        """The newest block is no more; these wait again."""
        self.blocks.pop()
        self.fork += 1
        self.wait(*hashes)

    # what it answers

    def _answer(self, method: str, about: Any = None) -> None:
        self.asked.append((method, about))
        if (error := self.fails(method, about)) is not None:
            raise error

    async def open(self) -> None:
        self._answer("open")

    async def head(self) -> BlockRef:
        self._answer("head")
        return self.blocks[-1][0]

    async def hash_at(self, number: int) -> str:
        self._answer("hash_at", number)
        if number < 1:
            return GENESIS
        return self.blocks[number - 1][0].hash

    async def block(self, number: int, hash: str) -> Fetched:
        self._answer("block", number)
        if number < 1:
            raise ChainUnavailable("the genesis block is not kept")
        assert NETWORK is not None
        return Fetched(parse_block(self.blocks[number - 1][1], NETWORK))

    async def prevouts(self, wanted: Collection[bytes]) -> Mapping[bytes, Prevout]:
        self._answer("prevouts", wanted)
        return {point: self.owner[point] for point in wanted if point in self.owner}

    async def waiting(self) -> Collection[str]:
        self._answer("waiting")
        self.lists += 1
        self.listed.set()
        return list(self.pool)

    async def raw_transactions(self, hashes: Sequence[str]) -> Mapping[str, bytes]:
        self._answer("raw", tuple(hashes))
        return {one: self.raw[one] for one in hashes if one in self.raw}

    async def aclose(self) -> None: ...


class Publisher:
    """What a node publishes, as a `chains.bitcoin.zmq_feed.ZmqFeed`."""

    def __init__(self) -> None:
        self.raws: list[bytes] = []
        self.news = asyncio.Event()

    def start(self) -> None: ...

    def publish(self, raw: bytes | None) -> None:
        self.raws += [raw] if raw is not None else []
        self.news.set()

    def take(self) -> list[bytes]:
        found, self.raws = self.raws, []
        return found

    async def wait(self) -> None:
        await self.news.wait()
        self.news.clear()

    async def aclose(self) -> None: ...


class Listener:
    """A mempool, and all that it told so far."""

    def __init__(self, mempool: BitcoinMempool, known: Collection[str] = ()) -> None:
        self.mempool, self.events, self._news = mempool, list[Any](), asyncio.Condition()
        self.task = asyncio.create_task(self._run(dict.fromkeys(known, ("", -1))))

    async def _run(self, known: Mapping[str, tuple[str, int]]) -> None:
        async for events in self.mempool.pending(known):
            async with self._news:
                self.events += events
                self._news.notify_all()

    def of(self, hash: str) -> list[Any]:
        """What was told of one transaction."""
        return [e for e in self.events if (e.pending.tx.hash if isinstance(e, PendingSeen) else e.hash) == hash]

    async def wait(self, hash: str, kind: type[Any], count: int = 1) -> Any:
        """The event of that kind and number about a transaction."""
        async with asyncio.timeout(PATIENCE), self._news:
            while len(found := [e for e in self.of(hash) if isinstance(e, kind)]) < count:
                await self._news.wait()
        return found[count - 1]

    async def close(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await self.mempool.aclose()


async def lists(node: Node, count: int) -> None:
    """Until the pool was listed so many times more, and what that showed was told."""
    wanted = node.lists + count + 1  # the one after it began when all of it was done
    async with asyncio.timeout(PATIENCE):
        while node.lists < wanted:
            node.listed.clear()
            await node.listed.wait()


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> Node:
    """It answers, whatever URL is asked; nobody waits for long."""
    made = Node()
    monkeypatch.setattr(module, "Sources", lambda spec, network, **more: made)
    monkeypatch.setattr(module, "PACE", 0.005)
    monkeypatch.setattr(module, "backoff", lambda rng, failures: 0.0)
    return made


Listen = Callable[..., Listener]


@pytest_asyncio.fixture
async def listen(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Listen]:
    """Start listeners; each ends with the test."""
    listeners: list[Listener] = []

    def start(known: Collection[str] = (), publisher: Publisher | None = None, poll: float = 0.02) -> Listener:
        assert NETWORK is not None
        monkeypatch.setattr(module, "ZmqFeed", lambda urls: publisher)
        urls = ("http://node.invalid", *(("tcp://node.invalid:1",) if publisher is not None else ()))
        spec = ChainSpec("local", "bitcoin", NETWORK.chain, urls, poll_seconds=poll, accounts=(address(1),))
        mempool = BitcoinMempool(spec, {address(1): "hot"}, rng=random.Random(1))
        listeners.append(Listener(mempool, known))
        return listeners[-1]

    yield start
    for one in listeners:
        await one.close()


async def test_a_spend_is_told_with_all_that_it_moves(node: Node, listen: Listen) -> None:
    """Outputs, all inputs, fee, flags and coins; what touches nobody, or pays us alone, is not told."""
    one, two = node.coin(60), node.coin(40)
    theft = node.spend([one, two], {9: 70, 1: 20})
    foreign = node.spend([node.coin(50, 7)], {8: 40}, by=7)
    deposit = node.spend([node.coin(50, 7)], {1: 40}, by=7)
    node.wait(foreign, theft, deposit)
    listener = listen()
    pending = (await listener.wait(theft, PendingSeen)).pending
    tx = pending.tx
    assert [(t.to_address, t.value) for t in pending.transfers] == [(address(9), 70), (address(1), 20)]
    assert {t.from_addresses for t in pending.transfers} == {(address(1), address(1))}
    assert {t.input_values for t in pending.transfers} == {(60, 40)} and all(t.tx is tx for t in pending.transfers)
    assert tx.pending and tx.fee == 10 and tx.spends == tuple(f"{hash_}:{n}" for hash_, n in (one, two))
    assert tx.flags & TxFlag.REPLACEABLE and tx.n_inputs == 2 and tx.fee_rate is not None
    await lists(node, 2)
    assert listener.of(foreign) == [] and listener.of(deposit) == [] and len(listener.of(theft)) == 1
    assert listener.mempool.dropped == 0


async def test_mined(node: Node, listen: Listen) -> None:
    """Gone with the height of its block, once; nothing more is asked about it."""
    theft = node.spend([node.coin(60)], {9: 50})
    node.wait(theft)
    listener = listen()
    await listener.wait(theft, PendingSeen)
    node.mine()
    number = node.mine(theft)
    gone = await listener.wait(theft, PendingGone)
    assert (gone.why, gone.block) == ("mined", number)
    node.mine()
    await lists(node, 3)
    assert [type(e) for e in listener.of(theft)][-1] is PendingGone


async def test_replaced_by_one_that_waits(node: Node, listen: Listen) -> None:
    """The rival is told before the other is said to be gone."""
    coin = node.coin(60)
    theft, rescue = node.spend([coin, node.coin(5)], {9: 50}), node.spend([coin], {1: 55})
    node.wait(theft)
    listener = listen()
    await listener.wait(theft, PendingSeen)
    node.leave(theft)
    node.wait(rescue)
    gone = await listener.wait(theft, PendingGone)
    assert gone.why == "replaced" and gone.block == 1
    assert listener.events.index(listener.of(rescue)[0]) < listener.events.index(gone)


async def test_a_double_spend_in_a_block(node: Node, listen: Listen) -> None:
    """By one that nobody saw wait, of a coin that is not even ours."""
    foreign = node.coin(60, 7)
    joint = node.spend([node.coin(60), foreign], {9: 110})
    node.wait(joint)
    listener = listen()
    await listener.wait(joint, PendingSeen)
    node.leave(joint)
    node.mine(node.spend([foreign], {8: 50}, by=7))
    assert (await listener.wait(joint, PendingGone)).why == "replaced"


async def test_evicted_and_back(node: Node, listen: Listen) -> None:
    """Dropped with the height of that; told again when the pool has it again."""
    theft = node.spend([node.coin(60)], {9: 50})
    node.wait(theft)
    listener = listen()
    await listener.wait(theft, PendingSeen)
    node.leave(theft)
    gone = await listener.wait(theft, PendingGone)
    assert (gone.why, gone.block) == ("dropped", 1)
    node.wait(theft)
    await listener.wait(theft, PendingSeen, count=2)


async def test_missing_from_one_list_it_waits_on(node: Node, listen: Listen) -> None:
    """A node that has just started lists less than it had."""
    theft = node.spend([node.coin(60)], {9: 50})
    node.wait(theft)
    listener = listen()
    await listener.wait(theft, PendingSeen)
    before = node.lists

    def short(method: str, about: Any) -> None:
        if method == "waiting":
            node.pool = [] if node.lists == before + 1 else [theft]

    node.fails = short
    await lists(node, 4)
    assert not [e for e in listener.of(theft) if isinstance(e, PendingGone)]


async def test_a_reorg_puts_it_back(node: Node, listen: Listen) -> None:
    """Told to be mined, it is told to wait again; and again with each new head, since the first may come too early."""
    theft = node.spend([node.coin(60)], {9: 50})
    node.wait(theft)
    listener = listen()
    await listener.wait(theft, PendingSeen)
    node.mine(theft)
    await listener.wait(theft, PendingGone)
    node.undo(theft)
    await listener.wait(theft, PendingSeen, count=2)
    node.mine()
    await listener.wait(theft, PendingSeen, count=3)
    node.undo()
    node.mine()
    await listener.wait(theft, PendingSeen, count=4)


async def test_chains_of_what_waits_come_parents_first(node: Node, listen: Listen) -> None:
    """A deposit that is spent before it is mined comes with what spends it, and the child of that after both."""
    deposit = node.spend([node.coin(90, 7)], {1: 80}, by=7)
    first = node.spend([(deposit, 0)], {9: 30, 1: 40})
    second = node.spend([(first, 1)], {9: 35})
    node.wait(second, first, deposit)
    listener = listen()
    await listener.wait(second, PendingSeen)
    order = [e.pending.tx.hash for e in listener.events]
    assert order == [deposit, first, second]
    arrival = listener.events[0].pending
    assert arrival.tx.spends == () and arrival.transfers[0].to_address == address(1)
    assert listener.events[1].pending.tx.spends == (f"{deposit}:0",)


async def test_after_a_restart(node: Node, listen: Listen) -> None:
    """What is known is told again, or to be gone, before anything else is fetched."""
    theft, mined, lost = (node.spend([node.coin(60 + n)], {9: 50}) for n in range(3))
    others = [node.spend([node.coin(9, 7)], {8: n + 1}, by=7) for n in range(200)]
    number = node.mine(mined)
    node.wait(*others, theft)
    listener = listen(known=[theft, mined, lost])
    assert (await listener.wait(theft, PendingSeen)).pending.tx.spends
    assert theft in next(about for method, about in node.asked if method == "raw")
    gone = await listener.wait(mined, PendingGone)
    assert (gone.why, gone.block) == ("mined", number)
    assert (await listener.wait(lost, PendingGone)).why == "dropped"


async def test_what_is_published_is_told_when_it_is_listed(node: Node, listen: Listen) -> None:
    """At once, without being fetched; what blocks have, and what no list ever shows, is not told."""
    publisher = Publisher()
    theft, connected, refused = (node.spend([node.coin(60 + n)], {9: 50}) for n in range(3))
    node.mine(connected)
    listener = listen(publisher=publisher, poll=3600.0)
    await lists(node, -1)
    node.wait(theft)
    for raw in (b"", b"\x01nonsense", node.raw[connected], node.raw[refused], node.raw[theft]):
        publisher.publish(raw)
    await listener.wait(theft, PendingSeen)
    publisher.publish(node.raw[theft])
    marker = node.spend([node.coin(3)], {9: 2})
    node.wait(marker)
    publisher.publish(node.raw[marker])
    await listener.wait(marker, PendingSeen)
    assert listener.of(connected) == [] and listener.of(refused) == [] and len(listener.of(theft)) == 1
    fetched = {one for method, about in node.asked if method == "raw" for one in about}
    assert theft not in fetched and listener.mempool.dropped == 2


async def test_a_publisher_of_hashes_makes_it_look(node: Node, listen: Listen) -> None:
    """What it tells without the transaction itself, and what was missed of it, is listed at once."""
    publisher = Publisher()
    listener = listen(publisher=publisher, poll=3600.0)
    await lists(node, -1)
    theft = node.spend([node.coin(60)], {9: 50})
    node.wait(theft)
    publisher.publish(None)
    await listener.wait(theft, PendingSeen)


async def test_a_publisher_that_says_nothing_is_made_up_for_by_lists(node: Node, listen: Listen) -> None:
    """It is a hint, and no more."""
    theft = node.spend([node.coin(60)], {9: 50})
    listener = listen(publisher=Publisher())
    node.wait(theft)
    await listener.wait(theft, PendingSeen)


async def test_a_node_that_chokes_on_one_hides_no_other(node: Node, listen: Listen) -> None:
    """Requests with it fail: smaller ones are made, until it is left out alone, and counted."""
    bad, theft = node.spend([node.coin(1)], {9: 1}), node.spend([node.coin(60)], {9: 50})
    others = [node.spend([node.coin(9, 7)], {8: n + 1}, by=7) for n in range(30)]
    node.fails = lambda method, about: ChainUnavailable("no") if method == "raw" and bad in about else None
    node.wait(*others[:15], bad, *others[15:], theft)
    listener = listen()
    await listener.wait(theft, PendingSeen)
    async with asyncio.timeout(PATIENCE):
        while listener.mempool.dropped != 1:
            await lists(node, 0)
    assert listener.of(bad) == []
    later = node.spend([node.coin(60)], {9: 51})
    node.wait(later)
    await listener.wait(later, PendingSeen)


async def test_what_a_node_chokes_on_holds_nothing_up(
    node: Node, listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It answers otherwise: nobody waits longer and longer because of some transactions."""
    rounds: list[int] = []
    monkeypatch.setattr(module, "backoff", lambda rng, failures: rounds.append(failures) or 0.0)
    bad = [node.spend([node.coin(n + 1)], {9: n + 1}) for n in range(5)]
    theft = node.spend([node.coin(60)], {9: 50})
    node.fails = lambda method, about: ChainInconsistent("no") if method == "raw" and set(bad) & set(about) else None
    node.wait(*bad, theft)
    listener = listen()
    await listener.wait(theft, PendingSeen)
    assert rounds == []


async def test_a_parent_that_a_node_chokes_on_hides_no_theft(node: Node, listen: Listen) -> None:
    """What spends coins that wait themselves is told without their arrival, where that cannot be read."""
    arrival = node.spend([node.coin(60, 2)], {1: 55}, by=2)
    theft = node.spend([(arrival, 0)], {9: 50})
    node.fails = lambda method, about: ChainInconsistent("no") if method == "raw" and arrival in about else None
    node.wait(arrival, theft)
    listener = listen()
    await listener.wait(theft, PendingSeen)
    assert [event.pending.tx.hash for event in listener.events] == [theft]


async def test_a_node_that_is_away_loses_nothing(node: Node, listen: Listen) -> None:
    """Whatever fails on the way is done again; that all requests fail is no fault of a transaction."""
    thefts = [node.spend([node.coin(60)], {9: n + 1}) for n in range(30)]
    listener, rng = listen(), random.Random(5)
    await lists(node, -1)
    for n, theft in enumerate(thefts):
        node.wait(theft)
        last = len(node.asked) + (rng.randrange(6) if n % 2 else 10**6)  # answer, and no more

        def away(method: str, about: Any, last: int = last) -> Exception | None:
            return ChainUnavailable("away") if len(node.asked) > last else None

        node.fails = away
        for _ in range(20):
            await asyncio.sleep(0)
        await asyncio.sleep(0.005)
    node.fails = lambda method, about: None
    for theft in thefts:
        await listener.wait(theft, PendingSeen)
    assert listener.mempool.dropped == 0


async def test_what_is_gone_is_told_although_the_rest_of_the_round_fails(node: Node, listen: Listen) -> None:
    """Requests for something else fail on the way."""
    theft, other = node.spend([node.coin(60)], {9: 50}), node.spend([node.coin(60)], {9: 40})
    node.wait(theft)
    listener = listen()
    await listener.wait(theft, PendingSeen)
    node.fails = lambda method, about: ChainUnavailable("no") if method == "raw" else None
    node.leave(theft)
    node.wait(other)
    assert (await listener.wait(theft, PendingGone)).why == "dropped"


async def test_without_an_answer_for_long_all_is_given_up(
    node: Node, listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody can say that it waits still."""
    theft = node.spend([node.coin(60)], {9: 50})
    node.wait(theft)
    listener = listen()
    await listener.wait(theft, PendingSeen)
    monkeypatch.setattr(module, "LOST_SECONDS", 0.01)
    node.fails = lambda method, about: ChainUnavailable("away")
    assert (await listener.wait(theft, PendingGone)).why == "dropped"


@pytest.mark.parametrize("error", [MethodUnsupported("no"), ChainError("another chain")])
async def test_where_it_is_not_offered_it_ends(node: Node, listen: Listen, error: Exception) -> None:
    """Without a word to the rest of the monitor."""
    node.fails = lambda method, about: error
    listener = listen()
    async with asyncio.timeout(PATIENCE):
        await listener.task
    assert listener.events == []


async def test_blocks_that_cannot_be_had_hold_nothing_up(node: Node, listen: Listen) -> None:
    """A pruned node, or a service that gives none: the follower's blocks say what became of it."""
    theft = node.spend([node.coin(60)], {9: 50})
    node.wait(theft)
    listener = listen()
    await listener.wait(theft, PendingSeen)
    node.fails = lambda method, about: ChainUnavailable("pruned") if method == "block" else None
    node.mine(theft)
    gone = await listener.wait(theft, PendingGone)
    assert (gone.why, gone.block) == ("dropped", 2)


async def test_what_is_told_is_bounded(node: Node, listen: Listen, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest is given up."""
    monkeypatch.setattr(module, "TOLD", 5)
    thefts = [node.spend([node.coin(60)], {9: n + 1}) for n in range(8)]
    node.wait(*thefts)
    listener = listen()
    await listener.wait(thefts[0], PendingSeen)
    await lists(node, 2)
    gone = [e for e in listener.events if isinstance(e, PendingGone)]
    assert len(gone) == 3 and {e.why for e in gone} == {"dropped"}


# -- lists ------------------------------------------------------------------------------------------------------------


def name(n: int) -> str:
    return f"{n:064x}"


def test_a_list_is_compared_with_the_one_before() -> None:
    """New ones are queued once, newest first; those that left or were read otherwise are not fetched."""
    listed = Listed()
    listed.update([name(n) for n in range(5)])
    assert listed.queued == 5 and name(3) in listed and name(7) not in listed
    assert listed.take(2) == [name(0), name(1)]
    listed.read([name(8), name(2)])
    listed.update([name(n) for n in (0, 1, 3, 7, 8, 9)])
    assert listed.take(9) == [name(9), name(7), name(3)] and listed.queued == 0 and len(listed) == 6
    listed.update([])
    listed.update([name(3)])
    assert listed.take(9) == [name(3)] and listed.dropped == 0


def test_a_flood_of_names_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound they are counted, and looked at never."""
    monkeypatch.setattr(pending_list, "QUEUED", 50)
    monkeypatch.setattr(pending_list, "READ", 10)
    listed = Listed()
    listed.update([name(n) for n in range(80)])
    assert listed.queued == 50 and listed.dropped == 30 and len(listed.take(99)) == 50
    listed.read(name(n) for n in range(100, 200))
    listed.update([name(n) for n in range(100, 200)])
    assert listed.queued == 50 and listed.dropped == 70
