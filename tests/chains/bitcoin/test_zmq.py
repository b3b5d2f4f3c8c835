"""What nodes publish by ZMQ: a real publisher wakes the watcher at once; anything odd is a hint at most."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from typing import Any

import pytest
import pytest_asyncio
import zmq
import zmq.asyncio

from chains.base import ChainSpec, PendingSeen
from chains.bitcoin import zmq_feed
from chains.bitcoin.block import parse_tx
from chains.bitcoin.pending import BitcoinMempool
from chains.bitcoin.watcher import BitcoinChain
from chains.bitcoin.zmq_feed import MOST, ZmqFeed, is_published
from monitor.networks import by_name

NETWORK = by_name("bitcoin-regtest")
assert NETWORK is not None
PATIENCE = 30.0


@pytest.fixture(scope="module")
def node(bsvd: Callable[[], Any]) -> Any:
    """A node that publishes, with coins to spend."""
    node = bsvd()
    node.mine(110)
    return node


@pytest_asyncio.fixture
async def publisher() -> AsyncIterator[tuple[Any, str]]:
    """A publisher that is made up: (socket, URL)."""
    context = zmq.asyncio.Context()
    socket = context.socket(zmq.XPUB)  # it hears of subscriptions: nothing is sent before there is one
    port = socket.bind_to_random_port("tcp://127.0.0.1")
    yield socket, f"tcp://127.0.0.1:{port}"
    context.destroy(linger=0)


def number(n: int) -> bytes:
    """A sequence number."""
    return n.to_bytes(4, "little")


async def test_a_real_node_tells_of_blocks_and_transactions(node: Any) -> None:
    """Transactions come with all their bytes, as the node has them, and blocks set their event."""
    feed = ZmqFeed(node.feeds)
    feed.start()
    got: list[bytes] = []
    async with asyncio.timeout(PATIENCE):
        while not feed.blocks.is_set():  # until the subscription holds, nothing is told
            await asyncio.to_thread(node.mine, 1)
            await asyncio.sleep(0.1)
        feed.take()
        hash = await asyncio.to_thread(node.pay, {node.rpc("getnewaddress"): Decimal(1)})
        while hash not in [parse_tx(data).hash for data in got]:
            await feed.wait()
            got += feed.take()
    assert bytes.fromhex(node.rpc("getrawtransaction", hash)) in got
    assert feed.missed == feed.garbage == feed.dropped == 0
    await feed.aclose()
    await feed.aclose()


async def test_the_watcher_wakes_at_a_block(node: Any) -> None:
    """With a poll interval of minutes, a published block is what wakes; its block is then read from the node."""
    address = node.rpc("getnewaddress")
    spec = ChainSpec("coins", "bitcoin", NETWORK.chain, (node.url, *node.feeds), poll_seconds=600.0)
    chain = BitcoinChain(spec, {address: None})
    await chain.open()
    async with asyncio.timeout(PATIENCE):
        first = asyncio.create_task(chain.wake())
        while not first.done():  # until the subscription holds
            await asyncio.to_thread(node.mine, 1)
            await asyncio.wait({first}, timeout=0.1)
        node.pay({address: Decimal(2)})
        waiting = asyncio.create_task(chain.wake())
        await asyncio.to_thread(node.mine, 1)
        await waiting
    head = await chain.head()
    block = await chain.block(head.number)
    assert any(t.to_address == address and t.value == 200_000_000 for t in block.transfers)
    assert block.transfers[0].tx.script_type in ("p2pkh", "p2pk")
    await chain.aclose()


async def test_an_unconfirmed_spend_comes_at_once(node: Any) -> None:
    """A spend of watched coins is told as the node publishes it, though lists are minutes apart."""
    address = node.rpc("getnewaddress")
    node.pay({address: Decimal(3)})
    node.mine(1)
    spec = ChainSpec("coins", "bitcoin", NETWORK.chain, (node.url, *node.feeds), poll_seconds=5.0)
    mempool = BitcoinMempool(spec, {address: None})
    events = mempool.pending({})
    task = asyncio.ensure_future(anext(events))
    coin = next(c for c in node.rpc("listunspent", 1, 99, [address]))
    raw = node.rpc("createrawtransaction", [{"txid": coin["txid"], "vout": coin["vout"]}], {node.miner: "2.999"})
    signed = node.rpc("signrawtransaction", raw)["hex"]
    hash = node.rpc("sendrawtransaction", signed)
    async with asyncio.timeout(PATIENCE):
        (seen,) = await task
    assert isinstance(seen, PendingSeen) and seen.pending.tx.hash == hash
    assert seen.pending.transfers[0].value == 299_900_000 and seen.pending.tx.fee == 100_000
    await events.aclose()
    await mempool.aclose()
    node.mine(1)


async def test_odd_messages(publisher: tuple[Any, str]) -> None:
    """Wrong parts are counted, a hole in the numbers means to look again, a restart of the publisher too."""
    socket, url = publisher
    feed = ZmqFeed([url])
    feed.start()
    async with asyncio.timeout(PATIENCE):
        for _ in range(4):
            await socket.recv()  # subscriptions
        for parts in ([b"rawtx", b"x"], [b"rawtx", b"x", b"12345"], [b"rawtxother", b"x", number(0)]):
            await socket.send_multipart(parts)
        for n in (7, 8, 11):
            await socket.send_multipart([b"rawtx", b"%d" % n, number(n)])
        taken: list[bytes] = []
        while len(taken) < 3:
            await feed.wait()
            taken += feed.take()
        assert taken == [b"7", b"8", b"11"] and feed.garbage == 3 and feed.missed == 2
        assert feed.blocks.is_set()  # something was missed: look
        feed.blocks.clear()
        await socket.send_multipart([b"rawtx", b"0", number(0)])  # it began anew
        while not feed.take():
            await feed.wait()
        assert feed.blocks.is_set() and feed.missed == 3
        await socket.send_multipart([b"hashtx", b"h" * 32, number(0)])
        await feed.wait()
        assert feed.take() == []
    await feed.aclose()


async def test_nobody_takes(
    publisher: tuple[Any, str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What is not taken in time goes, the oldest first, and is counted; by number, and by bytes."""
    feed = ZmqFeed([publisher[1]])
    for n in range(MOST + 3):
        feed._take_in(publisher[1], [b"rawtx", b"%d" % n, number(n)])
    taken = feed.take()
    assert len(taken) == MOST and taken[0] == b"3" and feed.dropped == 3
    monkeypatch.setattr(zmq_feed, "MOST_BYTES", 5)
    for n, body in enumerate((b"aaa", b"bb", b"c", b"dddd", b"ee" * 9)):
        feed._take_in(publisher[1], [b"rawtx", body, number(MOST + 3 + n)])
        assert sum(map(len, feed._waiting)) <= 5
    assert feed.take() == [] and feed.dropped == 8  # the last one alone is too much
    assert [r.getMessage() for r in caplog.records].count(
        "transactions are published faster than they are read: the oldest are left out"
    ) == 1


async def test_blocks_alone(publisher: tuple[Any, str]) -> None:
    """Who waits for blocks does not subscribe to transactions, which would only pile up."""
    feed = ZmqFeed([publisher[1]], only_blocks=True)
    feed.start()
    async with asyncio.timeout(PATIENCE):
        assert sorted([await publisher[0].recv() for _ in range(2)]) == [b"\x01hashblock", b"\x01rawblock"]
        await publisher[0].send_multipart([b"rawtx", b"x", number(0)])
        await publisher[0].send_multipart([b"rawblock", b"x", number(0)])
        await feed.blocks.wait()
    assert feed.take() == [] and not feed.transactions.is_set() and feed.garbage == 0
    await feed.aclose()


async def test_an_address_that_is_none(caplog: pytest.LogCaptureFixture) -> None:
    """It is said; the others are heard all the same."""
    feed = ZmqFeed(["tcp://nonsense"])
    feed.start()
    await asyncio.gather(*feed._tasks)
    assert "nothing is heard from tcp://nonsense" in caplog.text
    await feed.aclose()


async def test_a_publisher_that_is_away(free_port: int) -> None:
    """Nothing is raised, and nothing comes; closing is quick."""
    feed = ZmqFeed([f"tcp://127.0.0.1:{free_port}"])
    feed.start()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await feed.wait()
    begun = time.monotonic()
    await feed.aclose()
    assert time.monotonic() - begun < PATIENCE


async def test_whether_anybody_publishes(publisher: tuple[Any, str], free_port: int) -> None:
    """A publisher greets; a closed port, and a URL that is none, do not."""
    assert await is_published(publisher[1], PATIENCE)
    assert not await is_published(f"tcp://127.0.0.1:{free_port}", 0.2)
    assert not await is_published("tcp://nonsense", 0.2)
