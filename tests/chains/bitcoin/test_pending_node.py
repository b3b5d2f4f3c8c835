"""The mempool of a real litecoind, through its whole life: seen, bumped, spent on, mined, undone, lost at a restart."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest
import pytest_asyncio
import zmq
import zmq.asyncio

from chains.base import ChainSpec, PendingGone, PendingSeen
from chains.bitcoin.pending import BitcoinMempool
from monitor.model import TxFlag
from monitor.networks import by_name

NETWORK = by_name("litecoin-regtest")
PATIENCE = 60.0
REPLACEABLE = 0xFFFFFFFD


class Listener:
    """A mempool, and all that it told so far."""

    def __init__(self, mempool: BitcoinMempool) -> None:
        self.mempool, self.events, self._news = mempool, list[Any](), asyncio.Condition()
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        async for events in self.mempool.pending({}):
            async with self._news:
                self.events += events
                self._news.notify_all()

    async def wait(self, hash: str, kind: type[Any], count: int = 1) -> Any:
        """The event of that kind and number about a transaction."""
        async with asyncio.timeout(PATIENCE), self._news:
            while len(found := [e for e in self.events if isinstance(e, kind) and _hash(e) == hash]) < count:
                await self._news.wait()
        return found[count - 1]

    async def close(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await self.mempool.aclose()


def _hash(event: Any) -> str:
    return str(event.pending.tx.hash if isinstance(event, PendingSeen) else event.hash)


@pytest_asyncio.fixture
async def listen() -> AsyncIterator[Callable[..., Listener]]:
    """Start listeners; each ends with the test."""
    listeners: list[Listener] = []

    def start(url: str, *watch: str, feed: str = "", poll: float = 0.1) -> Listener:
        assert NETWORK is not None
        urls = (url, feed) if feed else (url,)
        spec = ChainSpec("local", "bitcoin", NETWORK.chain, urls, poll_seconds=poll, accounts=watch)
        listeners.append(Listener(BitcoinMempool(spec, dict.fromkeys(watch))))
        return listeners[-1]

    yield start
    for one in listeners:
        await one.close()


def make(node: Any, coins: list[tuple[str, int]], pays: Mapping[str, str]) -> str:
    """A transaction that waits; its hash."""
    inputs = [{"txid": txid, "vout": vout, "sequence": REPLACEABLE} for txid, vout in coins]
    raw = node.rpc("createrawtransaction", inputs, [{to: value} for to, value in pays.items()])
    signed = node.rpc("signrawtransactionwithwallet", raw)
    assert signed["complete"], signed
    return str(node.rpc("sendrawtransaction", signed["hex"], 0))


@pytest.mark.parametrize("index", [True, False], ids=["index", "no index"])
async def test_from_first_sight_to_the_end(litecoind: Any, listen: Callable[..., Listener], index: bool) -> None:
    """Amounts, owners and fees are exact without an index of transactions as well, of three kinds of address."""
    node = await asyncio.to_thread(litecoind, txindex=index, options=("-mempoolreplacement=1",))
    own = [node.rpc("getnewaddress", "", kind) for kind in ("bech32", "legacy", "p2sh-segwit")]
    thief, change = node.rpc("getnewaddress", "", "bech32"), node.rpc("getrawchangeaddress", "bech32")
    node.mine(110)
    node.pay(dict.fromkeys(own, 10))
    node.mine()
    coins = [(coin["txid"], coin["vout"]) for coin in node.rpc("listunspent", 1, 999, own)]
    listener = listen(node.url, *own)
    theft = make(node, coins, {thief: "20", change: "9.9999"})
    pending = (await listener.wait(theft, PendingSeen)).pending
    assert [(t.to_address, t.value) for t in pending.transfers] == [(thief, 20 * 10**8), (change, 999_990_000)]
    assert sorted(pending.transfers[0].from_addresses) == sorted(
        node.rpc("decodescript", node.rpc("gettxout", *coin, False)["scriptPubKey"]["hex"])["addresses"][0]
        for coin in coins
    )
    assert pending.transfers[0].input_values == (10**9,) * 3 and pending.tx.fee == 10_000
    size = node.rpc("getmempoolentry", theft)["vsize"]
    assert pending.tx.fee_rate == pytest.approx(10_000 / size) and pending.tx.script_type == "mixed"
    assert pending.tx.flags & TxFlag.REPLACEABLE and len(pending.tx.spends) == 3

    bumped = node.rpc("bumpfee", theft)["txid"]
    rival = (await listener.wait(bumped, PendingSeen)).pending
    assert (await listener.wait(theft, PendingGone)).why == "replaced"
    assert set(rival.tx.spends) == set(pending.tx.spends) and rival.tx.fee > pending.tx.fee
    back = make(node, [(bumped, [t.to_address for t in rival.transfers].index(thief))], {own[0]: "19.9"})
    assert not [e for e in listener.events if _hash(e) == back]  # it brings coins, and takes none
    child = make(node, [(back, 0)], {thief: "19.8"})
    told = (await listener.wait(child, PendingSeen)).pending
    assert told.tx.spends == (f"{back}:0",) and told.transfers[0].input_values == (1_990_000_000,)
    assert (await listener.wait(back, PendingSeen)).pending.transfers[0].to_address == own[0]

    (block,) = node.mine()
    for hash_ in (bumped, child):
        gone = await listener.wait(hash_, PendingGone)
        assert (gone.why, gone.block) == ("mined", node.height)
    node.rpc("invalidateblock", block)
    await listener.wait(child, PendingSeen, count=2)
    await listener.wait(bumped, PendingSeen, count=2)
    await asyncio.to_thread(node.stop)
    await asyncio.to_thread(node.start, "-persistmempool=0")
    for hash_ in (bumped, child):
        gone = await listener.wait(hash_, PendingGone, count=2)
        assert (gone.why, gone.block) == ("dropped", node.height)
    assert listener.mempool.dropped == 0


async def test_what_is_published_is_told_at_once(litecoind: Any, listen: Callable[..., Listener]) -> None:
    """Long before the next list; Debian's node is built without a publisher, so its transactions are published here."""
    node = await asyncio.to_thread(litecoind)
    own, thief = node.rpc("getnewaddress"), node.rpc("getnewaddress")
    node.mine(110)
    node.pay({own: 10})
    node.mine()
    coins = [(coin["txid"], coin["vout"]) for coin in node.rpc("listunspent", 1, 999, [own])]
    context = zmq.asyncio.Context()
    try:
        publisher = context.socket(zmq.XPUB)  # it hears of subscribers
        port = publisher.bind_to_random_port("tcp://127.0.0.1")
        listener = listen(node.url, own, feed=f"tcp://127.0.0.1:{port}", poll=3600.0)
        async with asyncio.timeout(PATIENCE):
            while await publisher.recv() != b"\x01rawtx":
                pass
        theft = make(node, coins, {thief: "9.999"})
        raw = bytes.fromhex(node.rpc("getrawtransaction", theft))
        await publisher.send_multipart([b"rawtx", b"\x02nonsense", (0).to_bytes(4, "little")])
        await publisher.send_multipart([b"rawtx", raw, (1).to_bytes(4, "little")])
        assert (await listener.wait(theft, PendingSeen)).pending.transfers[0].to_address == thief
        await listener.close()
    finally:
        context.destroy(linger=0)
