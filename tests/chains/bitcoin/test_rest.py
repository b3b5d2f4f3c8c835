"""Esplora and Blockbook: loopback servers that speak as these do, in front of a real node; blocks equal the node's own.

The forms are those of Esplora's ``API.md`` and of Blockbook's ``docs/api.md``.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import tarfile
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from decimal import Decimal
from os import environ
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from aiohttp import web

from chains.base import ChainSpec
from chains.bitcoin import blockbook
from chains.bitcoin.base import outpoint
from chains.bitcoin.blockbook import BlockbookSource
from chains.bitcoin.esplora import EsploraSource
from chains.bitcoin.rest import MOST_ACCOUNTS
from chains.bitcoin.script import address_of, script_of
from chains.bitcoin.watcher import BitcoinChain
from chains.exchange import MethodUnsupported
from monitor.errors import ChainError, ChainInconsistent, ChainUnavailable
from monitor.networks import by_name

DATA = Path(environ.get("HEISTWATCH_DATA") or Path(__file__).parents[4] / "shared/data") / "blockbook-api"
NETWORK = by_name("litecoin-regtest")
assert NETWORK is not None
COIN = 100_000_000
PATIENCE = 30.0


def units(amount: Any) -> int:
    """Base units of an amount in coins."""
    return int(Decimal(str(amount)) * COIN)


class Server:
    """One service in front of a node. ``faults`` are answers by path, in the place of the right ones."""

    def __init__(self, node: Any) -> None:
        self.node, self.port = node, 0
        self.faults: dict[str, web.Response | Callable[[], Any]] = {}
        self.asked: Counter[str] = Counter()
        self.scanning = threading.Lock()

    @property
    def url(self) -> str:
        """The base URL, with a key in its path."""
        return f"http://127.0.0.1:{self.port}/key-{id(self)}/{self.base}"

    base = "api"

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Any request."""
        path = request.match_info["path"]
        self.asked[path.split("/")[0]] += 1
        for part, fault in self.faults.items():
            if path.startswith(part):
                found = fault() if callable(fault) else fault
                return found if isinstance(found, web.StreamResponse) else web.json_response(found)
        try:
            found = await asyncio.to_thread(self.answer, path, dict(request.query))
        except AssertionError as error:
            return web.Response(status=404, text=str(error)[:80])
        if isinstance(found, bytes):
            return web.Response(body=found)
        return web.Response(text=found) if isinstance(found, str) else web.json_response(found)

    def answer(self, path: str, query: dict[str, str]) -> Any:
        """The right answer; AssertionError where there is none."""
        raise NotImplementedError

    def coins(self, address: str) -> list[dict[str, Any]]:
        """Confirmed coins of an address."""
        with self.scanning:  # a node reads its coins for one at a time
            found: list[dict[str, Any]] = self.node.rpc("scantxoutset", "start", [f"addr({address})"])["unspents"]
        return found

    def raw(self, hash: str) -> bytes:
        """A transaction."""
        return bytes.fromhex(self.node.rpc("getrawtransaction", hash))

    def waiting(self, address: str) -> list[str]:
        """Waiting transactions that pay an address or spend its coins."""
        script = script_of(address, NETWORK)
        found = []
        for hash in self.node.rpc("getrawmempool"):
            tx = self.node.rpc("getrawtransaction", hash, True)
            scripts = [out["scriptPubKey"]["hex"] for out in [*tx["vout"], *self.prevs(tx)]]
            if script is not None and script.hex() in scripts:
                found.append(hash)
        return found

    def prevs(self, tx: dict[str, Any]) -> list[dict[str, Any]]:
        """Outputs that a decoded transaction spends."""
        return [
            self.node.rpc("getrawtransaction", item["txid"], True)["vout"][item["vout"]]
            for item in tx["vin"]
            if "txid" in item
        ]


class Esplora(Server):
    """As ``API.md`` of Esplora says."""

    def answer(self, path: str, query: dict[str, str]) -> Any:
        match path.split("/"):
            case ["blocks", "tip", "hash"]:
                return self.node.rpc("getbestblockhash")
            case ["blocks", "tip", "height"]:
                return str(self.node.height)
            case ["block-height", number]:
                return self.node.rpc("getblockhash", int(number))
            case ["block", hash, "raw"]:
                return bytes.fromhex(self.node.rpc("getblock", hash, 0))
            case ["block", hash]:
                return {"id": hash, "height": self.node.rpc("getblockheader", hash)["height"], "tx_count": 1}
            case ["tx", hash, "raw"]:
                return self.raw(hash)
            case ["tx", hash]:
                return self.tx(hash)
            case ["address", address, "utxo"]:
                return [self.coin(coin) for coin in self.coins(address)]
            case ["address", address, "txs", "mempool"]:
                return [self.tx(hash) for hash in self.waiting(address)]
        raise AssertionError("not found")

    def tx(self, hash: str) -> dict[str, Any]:
        """A transaction with its prevouts."""
        tx = self.node.rpc("getrawtransaction", hash, True)
        inputs = zip([item for item in tx["vin"] if "txid" in item], self.prevs(tx), strict=True)
        return {
            "txid": hash,
            "vin": [
                {"txid": i["txid"], "vout": i["vout"], "is_coinbase": False, "prevout": self.output(p)}
                for i, p in inputs
            ],
            "vout": [self.output(out) for out in tx["vout"]],
            "status": {"confirmed": "blockhash" in tx},
        }

    def output(self, out: dict[str, Any]) -> dict[str, Any]:
        """An output."""
        return {"scriptpubkey": out["scriptPubKey"]["hex"], "value": units(out["value"])}

    def coin(self, coin: dict[str, Any]) -> dict[str, Any]:
        """A coin."""
        status = {"confirmed": True, "block_height": coin["height"]}
        return {"txid": coin["txid"], "vout": coin["vout"], "value": units(coin["amount"]), "status": status}


class Blockbook(Server):
    """As ``docs/api.md`` of Blockbook says."""

    base = ""

    def answer(self, path: str, query: dict[str, str]) -> Any:
        assert path.startswith("api/v2"), "not found"
        match path.removeprefix("api/v2").strip("/").split("/"):
            case [""]:
                return {"blockbook": {"coin": "Litecoin", "bestHeight": self.node.height}, "backend": {}}
            case ["block-index", number]:
                return {"blockHash": self.node.rpc("getblockhash", int(number))}
            case ["rawblock", hash]:
                return {"hex": self.node.rpc("getblock", hash, 0)}
            case ["tx", hash]:
                return self.tx(hash)
            case ["utxo", address] if query == {"confirmed": "true"}:
                return [self.coin(coin) for coin in self.coins(address)]
            case ["address", address] if query == {"details": "txids"}:
                waiting = self.waiting(address)
                return {"address": address, "unconfirmedTxs": len(waiting), "txids": [*waiting, "ab" * 32]}
        raise AssertionError("not found")

    def tx(self, hash: str) -> dict[str, Any]:
        """A transaction, with its own bytes."""
        tx = self.node.rpc("getrawtransaction", hash, True)
        inputs = zip([item for item in tx["vin"] if "txid" in item], self.prevs(tx), strict=True)
        return {
            "txid": hash,
            "vin": [self.input(n, i, p) for n, (i, p) in enumerate(inputs)],
            "vout": [
                {"value": str(units(out["value"])), "n": n, "hex": out["scriptPubKey"]["hex"]}
                for n, out in enumerate(tx["vout"])
            ],
            "hex": tx["hex"],
        }

    def input(self, number: int, item: dict[str, Any], prev: dict[str, Any]) -> dict[str, Any]:
        """An input; its output number is left out where it is 0."""
        found = {
            "txid": item["txid"], "n": number, "addresses": prev["scriptPubKey"].get("addresses", []),
            "isAddress": True, "value": str(units(prev["value"])),
        }  # fmt: skip
        return found | ({"vout": item["vout"]} if item["vout"] else {})

    def coin(self, coin: dict[str, Any]) -> dict[str, Any]:
        """A coin."""
        return {
            "txid": coin["txid"], "vout": coin["vout"], "value": str(units(coin["amount"])), "height": coin["height"],
            "confirmations": self.node.height - coin["height"] + 1,
        }  # fmt: skip


@pytest.fixture(scope="module")
def node(litecoind: Callable[..., Any]) -> Any:
    """A node with an index, as services have."""
    node = litecoind(txindex=True)
    node.mine(125)
    return node


@pytest_asyncio.fixture
async def serve(node: Any) -> AsyncIterator[Callable[..., Any]]:
    """Start services."""
    runners = []

    async def start(kind: type[Server]) -> Server:
        server = kind(node)
        app = web.Application()
        base = f"{server.base}/" if server.base else ""
        app.router.add_get(f"/key-{id(server)}/{base}{{path:.*}}", server.handle)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        runners.append(runner)
        server.port = runner.addresses[0][1]
        return server

    yield start
    for runner in runners:
        await runner.cleanup()


def spec(*urls: str, **more: Any) -> ChainSpec:
    """A chain with these endpoints."""
    return ChainSpec("ltc", "bitcoin", NETWORK.chain, urls, timeout_seconds=PATIENCE, **more)


BOTH = pytest.mark.parametrize(
    ("kind", "source_of"), [(Esplora, EsploraSource), (Blockbook, BlockbookSource)], ids=["esplora", "blockbook"]
)


@BOTH
async def test_blocks_equal_those_of_the_node(node: Any, serve: Any, kind: Any, source_of: Any) -> None:
    """Payments in and out, read through a service found by asking, are what the node itself gives."""
    server = await serve(kind)
    addresses = {form: node.rpc("getnewaddress", "", form) for form in ("legacy", "p2sh-segwit", "bech32")}
    watch = dict.fromkeys(addresses.values())
    through, direct = BitcoinChain(spec(server.url), watch), BitcoinChain(spec(node.url), watch)
    await through.open()
    await direct.open()
    node.pay({address: Decimal("1.5") for address in addresses.values()})
    node.mine(1)
    first = node.height
    coins = node.rpc("listunspent", 1, 9, list(watch))
    raw = node.rpc(
        "createrawtransaction", [{"txid": c["txid"], "vout": c["vout"]} for c in coins], [{node.miner: "4.4"}]
    )
    node.rpc("sendrawtransaction", node.rpc("signrawtransactionwithwallet", raw)["hex"], 0)
    node.mine(1)
    assert await through.head() == await direct.head()
    before = server.asked.total()
    for number in (first, first + 1):
        got, wanted = await through.block(number), await direct.block(number)
        assert got.transfers == wanted.transfers and got.ref == wanted.ref and got.blind_spots == ()
    assert len(wanted.transfers[0].from_addresses) == 3
    assert server.asked.total() - before <= 2 * 3  # the hash, the block, one transaction that touches us
    pairs = [(address, NETWORK.asset) for address in watch]
    for at in (wanted.ref, got.ref):
        assert await through.balances(pairs, at) == await direct.balances(pairs, at)
    await through.aclose()
    await direct.aclose()


@BOTH
async def test_coins_and_waiting_transactions(node: Any, serve: Any, kind: Any, source_of: Any) -> None:
    """Confirmed coins alone count; what waits of named accounts is told, with its bytes."""
    server = await serve(kind)
    address = node.rpc("getnewaddress", "", "bech32")
    script = script_of(address, NETWORK)
    assert script is not None
    source = source_of(spec(server.url, accounts=(address,)), NETWORK)
    await source.open()
    hash = node.pay({address: Decimal(2)})
    assert set(await source.waiting()) == {hash}
    told = await source.raw_transactions([hash, "00" * 32])
    assert told == {hash: bytes.fromhex(node.rpc("getrawtransaction", hash))}
    assert (await source.unspent({script: address})).coins == ()
    node.mine(1)
    assert set(await source.waiting()) == set()
    found = await source.unspent({script: address})
    ((point, value, owner, height, _),) = found.coins
    assert (value, owner, height, found.at.number) == (2 * COIN, script, node.height, node.height)
    assert (await source.prevouts([point]))[point] == (2 * COIN, script)
    assert await source.prevouts([outpoint("00" * 32, 0), outpoint(hash, 99)]) == {}
    await source.aclose()


@BOTH
async def test_faults(node: Any, serve: Any, kind: Any, source_of: Any) -> None:
    """Pages in HTML, wrong hashes, another chain, blocks that are not there: declared errors without secrets."""
    server = await serve(kind)
    source = source_of(spec(server.url), NETWORK)
    best = node.rpc("getbestblockhash")
    prefix = "api/v2/" if kind is Blockbook else ""
    html = lambda: web.Response(text="<html>maintenance</html>", content_type="text/html")  # noqa: E731
    server.faults = {"": html}
    for ask in (
        source.head, lambda: source.hash_at(3), lambda: source.block(node.height, best), source.open,
        lambda: source.inputs_of([best]), lambda: source.unspent({b"\x51": node.miner}),
    ):  # fmt: skip
        with pytest.raises((ChainUnavailable, ChainInconsistent)) as caught:
            await ask()
        assert "key-" not in str(caught.value)
    await source.aclose()
    source = source_of(spec(server.url), NETWORK)
    other = node.rpc("getblock", node.rpc("getblockhash", 5), 0)
    raw = {"hex": other} if kind is Blockbook else web.Response(body=bytes.fromhex(other))
    server.faults = {f"{prefix}rawblock": lambda: raw} if kind is Blockbook else {f"block/{best}/raw": lambda: raw}
    with pytest.raises(ChainInconsistent, match="asked for block"):
        await source.block(node.height, best)
    server.faults = {}
    with pytest.raises(ChainUnavailable, match="has no block"):
        await source.hash_at(node.height + 5)
    await source.aclose()
    wrong = {"blockHash": "ee" * 32} if kind is Blockbook else web.Response(text="ee" * 32)
    server.faults = {f"{prefix}block-": lambda: wrong}
    with pytest.raises(ChainError, match="another chain"):
        stranger = source_of(spec(server.url), NETWORK)
        try:
            await stranger.open()
        finally:
            await stranger.aclose()


@BOTH
async def test_failover(node: Any, serve: Any, kind: Any, source_of: Any) -> None:
    """One of two services answers 503, then 429 with a pause: the other one is asked."""
    first, second = await serve(kind), await serve(kind)
    source = source_of(spec(first.url, second.url), NETWORK)
    await source.open()
    for status, headers in ((503, {}), (429, {"Retry-After": "30"})):
        first.faults = {"": lambda status=status, headers=headers: web.Response(status=status, headers=headers)}
        assert (await source.head()).number == node.height
        assert await source.hash_at(7) == node.rpc("getblockhash", 7)
    await source.aclose()


async def test_the_tip_moves_while_coins_are_read(node: Any, serve: Any) -> None:
    """Coins are those of one block: they are read again where it changed meanwhile, a few times."""
    server = await serve(Esplora)
    address = node.rpc("getnewaddress", "", "bech32")
    script = script_of(address, NETWORK)
    assert script is not None
    source = EsploraSource(spec(server.url), NETWORK)
    await source.open()
    mined = iter([1, 1])

    def moving() -> Any:
        node.mine(next(mined, 0))
        return []

    server.faults = {f"address/{address}/utxo": moving}
    found = await source.unspent({script: address})
    assert found is not None and found.at.hash == node.rpc("getbestblockhash") and server.asked["address"] == 3
    server.faults = {f"address/{address}/utxo": lambda: node.mine(1) and []}
    assert await source.unspent({script: address}) is None
    await source.aclose()


@BOTH
async def test_too_many_accounts(kind: Any, source_of: Any) -> None:
    """A service is not asked about the waiting transactions of hundreds of addresses."""
    accounts = tuple(f"a{n}" for n in range(MOST_ACCOUNTS + 1))
    source = source_of(spec("http://127.0.0.1:1/", accounts=accounts), NETWORK)
    with pytest.raises(MethodUnsupported, match="50 addresses at most"):
        await source.waiting()
    await source.aclose()


@pytest.mark.skipif(not DATA.is_dir(), reason="the real answers of Blockbook are not here")
def test_real_answers_of_blockbook() -> None:
    """Transactions of real address pages are read, and what goes in is what comes out and the fee."""
    names = {"bitcoin": "bitcoin", "bitcoincash": "bitcoin-cash", "litecoin": "litecoin", "doge": "dogecoin"}
    seen = Counter[str]()
    with tarfile.open(DATA / "blockatlas.tar.gz") as archive:
        for member in archive.getmembers():
            coin = Path(member.name).name.partition("-api_v2_")[0]
            if coin not in names or not member.isfile():
                continue
            content = archive.extractfile(member)
            assert content is not None
            for item in json.load(content)["transactions"]:
                tx = msgspec.convert(item, blockbook._Tx)
                paid = sum(int(out.value) for out in tx.vout)
                assert sum(int(i.value or 0) for i in tx.vin) - paid == int(item["fees"])
                network = by_name(names[coin])
                assert network is not None
                for i in tx.vin:
                    script = BlockbookSource._script(_of(network), (i.addresses or [""])[0])
                    assert script is not None and address_of(script, network)
                seen[coin] += 1
    assert set(seen) == set(names) and seen.total() > 50


def _of(network: Any) -> Any:
    """A source of that network, without connections."""
    source = object.__new__(BlockbookSource)
    source._network = network
    return source


def test_script_hashes_of_esplora() -> None:
    """Esplora's script hash is not reversed, Electrum's is."""
    script = b"\x6a\x01\x07"
    assert address_of(script, NETWORK) == "scripthash:" + hashlib.sha256(script).digest()[::-1].hex()
    assert replace(spec("http://a"), quorum=1).quorum == 1
