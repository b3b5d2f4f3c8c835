"""Nodes by JSON-RPC: real ones with and without index, one that pruned, one behind a proxy that changes answers."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from decimal import Decimal
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from aiohttp import web

from chains.base import ChainSpec
from chains.bitcoin import core
from chains.bitcoin.base import Prevout, outpoint
from chains.bitcoin.core import CoreSource
from chains.bitcoin.core_answers import prevouts_of, units
from chains.bitcoin.offers import HOLDS, INDEX, NUMBERS, PREVOUTS, SCAN, Offers
from chains.bitcoin.outputs import RecentOutputs
from chains.bitcoin.script import script_of
from chains.exchange import Refused
from monitor.errors import ChainError, ChainInconsistent, ChainUnavailable
from monitor.networks import by_name

FOUND, OTHER = by_name("litecoin-regtest"), by_name("bitcoin-regtest")
assert FOUND is not None and OTHER is not None
NETWORK = FOUND
COIN = 100_000_000
PATIENCE = 30.0
JSON = msgspec.json.Encoder(decimal_format="number")  # amounts as nodes write them


@pytest.fixture(scope="module")
def node(litecoind: Callable[..., Any]) -> Any:
    """A node with an index, coins of several forms, and payments between them."""
    node = litecoind(txindex=True)
    node.mine(110)
    for form in ("legacy", "p2sh-segwit", "bech32"):
        node.pay({node.rpc("getnewaddress", "", form): Decimal("1.23456789")})
    node.mine(1)
    node.pay({node.rpc("getnewaddress"): Decimal("57.00000001")})
    node.mine(1)
    return node


Make = Callable[..., CoreSource]


@pytest_asyncio.fixture
async def source() -> AsyncIterator[Make]:
    """Make sources of endpoints; each is closed. Pauses pass at once."""
    made: list[CoreSource] = []

    async def nap(_: float) -> None:
        await asyncio.sleep(0)

    def make(*urls: str, network: Any = NETWORK, **more: Any) -> CoreSource:
        spec = ChainSpec("coins", "bitcoin", network.chain, urls, timeout_seconds=more.pop("timeout", PATIENCE))
        made.append(CoreSource(spec, network, **{"sleep": nap, **more}))
        return made[-1]

    yield make
    for each in made:
        await each.aclose()
        await each.aclose()


class Fails(Exception):
    """An error object as the answer."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Proxy:
    """In front of a node. ``answers`` are by method: called with the parameters, they give another answer."""

    def __init__(self, node: Any) -> None:
        self.node, self.port = node, 0
        self.answers: dict[str, Callable[..., Any]] = {}
        self.asked: Counter[str] = Counter()
        self.takes_batches = True

    @property
    def url(self) -> str:
        """With a password."""
        who = ":".join(("user", "sesame"))
        return f"http://{who}@127.0.0.1:{self.port}"

    async def handle(self, request: web.Request) -> web.Response:
        """Any request."""
        body = await request.json()
        if isinstance(body, list) and not self.takes_batches:
            return web.json_response({"id": None, "error": {"code": -32600, "message": "no batch"}}, status=400)
        calls = body if isinstance(body, list) else [body]
        replies = [await self.answer(call) for call in calls]
        failed = not isinstance(body, list) and replies[0]["error"] is not None
        content = JSON.encode(replies if isinstance(body, list) else replies[0])
        return web.Response(body=content, status=500 if failed else 200)  # as Core of before version 28

    async def answer(self, call: Mapping[str, Any]) -> dict[str, Any]:
        """To one call."""
        method, params = call["method"], call["params"]
        self.asked[method] += 1
        try:
            if method in self.answers:
                found = self.answers[method](*params)
                result = await found if asyncio.iscoroutine(found) else found
            else:
                result = await asyncio.to_thread(self.forward, method, *params)
        except Fails as error:
            return {"id": call["id"], "result": None, "error": {"code": error.code, "message": str(error)}}
        return {"id": call["id"], "result": result, "error": None}

    def forward(self, method: str, *params: Any) -> Any:
        """What the node says."""
        try:
            return self.node.rpc(method, *params)
        except AssertionError as error:
            if not hasattr(error, "code"):
                raise
            raise Fails(error.code, str(error)) from None

    def with_prevouts(self, hash: str, verbosity: Any = 1) -> Any:
        """``getblock`` as Core gives it from version 23 on: the third form tells what inputs spend."""
        if verbosity is False or verbosity != 3:
            return self.forward("getblock", hash, verbosity)
        block = self.forward("getblock", hash, 2)
        for item in (item for tx in block["tx"] for item in tx["vin"] if "txid" in item):
            spent = self.forward("getrawtransaction", item["txid"], True)["vout"][item["vout"]]
            item["prevout"] = {
                "generated": False, "height": 1, "value": spent["value"], "scriptPubKey": spent["scriptPubKey"]
            }  # fmt: skip
        return block

    def without_numbers(self, hash: str, verbosity: Any = True) -> Any:
        """``getblock`` as of Core 0.14, of which Dogecoin is made."""
        if not isinstance(verbosity, bool):
            raise Fails(-1, "JSON value is not a boolean as expected")
        return self.forward("getblock", hash, verbosity)


@pytest_asyncio.fixture
async def proxy(node: Any) -> AsyncIterator[Callable[..., Awaitable[Proxy]]]:
    """Start proxies."""
    runners = []

    async def start(behind: Any = node) -> Proxy:
        made = Proxy(behind)
        app = web.Application()
        app.router.add_post("/", made.handle)
        runner = web.AppRunner(app, handler_cancellation=True)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        runners.append(runner)
        made.port = runner.addresses[0][1]
        return made

    yield start
    for runner in runners:
        await runner.cleanup()


def truth(node: Any, hash: str) -> dict[bytes, Prevout]:
    """What the inputs of a block spend, as the node's index has it."""
    found = {}
    for tx in node.rpc("getblock", hash, 2)["tx"]:
        for item in tx["vin"]:
            if "txid" in item:
                spent = node.rpc("getrawtransaction", item["txid"], True)["vout"][item["vout"]]
                script = bytes.fromhex(spent["scriptPubKey"]["hex"])
                found[outpoint(item["txid"], item["vout"])] = Prevout(int(spent["value"] * COIN), script)
    return found


async def until(holds: Callable[[], Any]) -> None:
    """Wait until a node says so."""

    def look() -> None:
        end = time.monotonic() + PATIENCE
        while not holds():
            assert time.monotonic() < end
            time.sleep(0.05)

    await asyncio.to_thread(look)


# -- a real node ------------------------------------------------------------------------------------------------------


async def test_blocks_and_what_their_inputs_spend(node: Any, source: Make) -> None:
    """Every block is the node's; this one tells no prevouts with blocks, which is asked once, and all by its index."""
    reader = source(node.url)
    await reader.open()
    head = await reader.head()
    assert (head.number, head.hash) == (node.height, node.rpc("getbestblockhash"))
    spent = 0
    for number in range(head.number - 5, head.number + 1):
        hash = await reader.hash_at(number)
        fetched = await reader.block(number, hash)
        assert fetched.raw.header.hash == hash == node.rpc("getblockhash", number)
        assert [tx.hash for tx in fetched.raw.txs] == node.rpc("getblock", hash)["tx"]
        right = truth(node, hash)
        assert not fetched.prevouts and fetched.complete == (not right)
        assert await reader.prevouts(right.keys()) == right
        spent += len(right)
    assert spent >= 4
    (state,) = reader.endpoints()
    assert state.offers[PREVOUTS] is False and INDEX not in state.offers and state.head == head.number
    with pytest.raises(ChainUnavailable, match="no block 99999 there yet"):
        await reader.hash_at(99999)
    with pytest.raises(ChainUnavailable, match="not found"):
        await reader.block(1, "ab" * 32)


async def test_transactions_that_wait(node: Any, source: Make) -> None:
    """They are listed, can be fetched, and their outputs are known before they are mined."""
    reader = source(node.url)
    hash = node.pay({node.rpc("getnewaddress"): Decimal("0.5")})
    assert hash in await reader.waiting()
    raws = await reader.raw_transactions([hash, "ab" * 32])
    assert {name: raw.hex() for name, raw in raws.items()} == {hash: node.rpc("getrawtransaction", hash)}
    outputs = node.rpc("getrawtransaction", hash, True)["vout"]
    points = [outpoint(hash, n) for n in range(len(outputs))]
    found = await reader.prevouts([*points, outpoint(hash, 99), outpoint("ab" * 32, 0)])
    assert {point: prevout.value for point, prevout in found.items()} == {
        point: int(output["value"] * COIN) for point, output in zip(points, outputs, strict=True)
    }
    assert found.keys() == (await reader.prevouts(points)).keys()
    node.mine(1)
    assert hash not in await reader.waiting()


async def test_coins(node: Any, source: Make) -> None:
    """Of scripts of every form, also among a hundred thousand of others; what waits to be mined does not count."""
    reader = source(node.url)
    held: dict[bytes, str] = {}
    for form in ("legacy", "p2sh-segwit", "bech32"):
        address = node.rpc("getnewaddress", "", form)
        held[script_of(address, NETWORK) or b""] = address
        node.pay({address: Decimal("0.12345678")})
    bare = b"\x21" + bytes.fromhex(node.rpc("getaddressinfo", address)["pubkey"]) + b"\xac"
    node.mine(1)
    node.pay({address: Decimal(9)})
    others = {b"\0\x14" + n.to_bytes(20, "big"): f"none{n}" for n in range(100_000)}
    found = await reader.unspent({**held, bare: "bare", **others})
    assert found is not None and found.at == await reader.head()
    assert sorted((coin.script, coin.value, coin.height) for coin in found.coins) == sorted(
        (script, 12_345_678, node.height) for script in held
    )
    assert await reader.prevouts([coin.outpoint for coin in found.coins]) == {
        coin.outpoint: Prevout(coin.value, coin.script) for coin in found.coins
    }
    node.mine(1)


async def test_without_index(node: Any, litecoind: Callable[..., Any], source: Make) -> None:
    """Coins are known though the node has no index, spent ones where another endpoint has one."""
    bare = litecoind(wallet=False)
    for number in range(1, node.height + 1):
        bare.rpc("submitblock", node.rpc("getblock", node.rpc("getblockhash", number), 0))
    assert bare.rpc("getbestblockhash") == node.rpc("getbestblockhash")
    spent = next(iter(truth(node, node.rpc("getblockhash", 112))))
    coin = node.rpc("listunspent", 1)[0]
    unspent = outpoint(coin["txid"], coin["vout"])
    value, script = int(coin["amount"] * COIN), bytes.fromhex(coin["scriptPubKey"])
    alone = source(bare.url)
    assert await alone.prevouts([spent, unspent]) == {unspent: Prevout(value, script)}
    assert alone.endpoints()[0].offers[INDEX] is False
    both = source(bare.url, node.url)
    found = await both.prevouts([spent, unspent])
    assert found[unspent] == Prevout(value, script) and found[spent].value > 0
    await until(lambda: bare.rpc("uptime") >= 3)  # the next run shall not look like this one
    await alone.aclose()  # the node waits until nobody is connected
    await both.aclose()
    bare.stop()
    assert (await both.head()).number == node.height  # the other one answers
    bare.start("-txindex=1")
    await until(lambda: bare.rpc("getindexinfo").get("txindex", {}).get("synced"))
    assert await alone.prevouts([spent]) == {spent: found[spent]}  # after a new start it is asked anew
    assert INDEX not in alone.endpoints()[0].offers


async def test_stopped_and_started(litecoind: Callable[..., Any], source: Make) -> None:
    """While it is away that is said, without its password; afterwards it goes on."""
    node = litecoind(wallet=False)
    reader = source(node.url)
    await reader.open()
    node.stop(hard=True)
    with pytest.raises(ChainUnavailable, match="connection") as caught:
        await reader.head()
    assert node.password not in str(caught.value)
    node.start()
    reader._pool.endpoints[0].breaker.succeeded()  # its pause is over
    assert (await reader.head()).number == 0


async def test_wrong_password_and_wrong_chain(node: Any, source: Make) -> None:
    """Both are said clearly; another chain is for good, a node that refuses us is not."""
    url = node.url.replace(node.password, "pässwört")
    with pytest.raises(ChainUnavailable, match="does not accept the user, password") as caught:
        await source(url).open()
    assert "sswört" not in str(caught.value)
    with pytest.raises(ChainError, match="serves another chain: its block 0 is 530827f3") as wrong:
        await source(node.url, network=OTHER).open()
    assert not isinstance(wrong.value, ChainUnavailable) and node.password not in str(wrong.value)


async def test_pruned(bsvd: Callable[..., Any], proxy: Any, source: Make) -> None:
    """A block that the node does not keep: clear, for good where none has it, and read where another one has it."""
    node = bsvd(prune=True)
    node.mine(1001)
    hash = node.rpc("getblockhash", 10)
    kept = node.rpc("getblock", hash, 0)
    node.rpc("pruneblockchain", 700)
    reader = source(node.url, network=OTHER)
    with pytest.raises(Refused, match="not found on disk"):
        await reader.block(10, hash)
    assert (await reader.block(1001, await reader.hash_at(1001))).raw.size > 80
    other = await proxy(node)
    other.answers["getblock"] = lambda wanted, *_: kept
    both = source(node.url, other.url, network=OTHER)
    fetched = await both.block(10, hash)
    assert fetched.raw.header.hash == hash and fetched.endpoint == f"127.0.0.1:{other.port}"
    other.answers["getblock"] = _fails(-1, "Block not available (pruned data)")
    with pytest.raises(Refused, match="pruned data"):
        await both.block(10, hash)
    other.answers["getblock"] = _fails(-5, "Block not found")
    with pytest.raises(ChainUnavailable) as caught:  # it may yet come
        await both.block(10, hash)
    assert not isinstance(caught.value, Refused)
    assert await reader.unspent({b"\x51": "none"}) is None and reader.endpoints()[0].offers[SCAN] is False


def _fails(code: int, message: str) -> Callable[..., Any]:
    def answer(*_: Any) -> Any:
        raise Fails(code, message)

    return answer


# -- answers that this node does not give -----------------------------------------------------------------------------


@pytest.mark.parametrize("batches", [True, False])
async def test_prevouts_with_the_block(node: Any, proxy: Any, source: Make, batches: bool) -> None:
    """Core from version 23 on tells them all, to the last unit; so nothing more is asked."""
    between = await proxy()
    between.answers["getblock"] = between.with_prevouts
    between.takes_batches = batches
    reader = source(between.url)
    for number in range(109, node.height + 1):
        hash = await reader.hash_at(number)
        fetched = await reader.block(number, hash)
        assert fetched.complete and fetched.prevouts == truth(node, hash)
    assert reader.endpoints()[0].offers[PREVOUTS] is True and not between.asked["gettxout"]
    with pytest.raises(ChainUnavailable):
        await reader.hash_at(node.height + 1)
    assert await reader.prevouts([outpoint("ab" * 32, 0)]) == {}


async def test_some_prevouts(node: Any, proxy: Any, source: Make) -> None:
    """Where some are missing, those that are there count, and the block is not complete."""
    between = await proxy()

    def leaky(hash: str, verbosity: Any = 1) -> Any:
        block = between.with_prevouts(hash, verbosity)
        if verbosity == 3:
            del block["tx"][1]["vin"][0]["prevout"]
        return block

    between.answers["getblock"] = leaky
    reader = source(between.url)
    hash = node.rpc("getblockhash", 111)
    fetched = await reader.block(111, hash)
    right = truth(node, hash)
    assert not fetched.complete and len(fetched.prevouts) == len(right) - 1 > 0
    assert all(right[point] == prevout for point, prevout in fetched.prevouts.items())


async def test_old_nodes(node: Any, proxy: Any, source: Make) -> None:
    """Dogecoin's takes a truth value: found out once, and the blocks are the same. It does not tell its uptime."""
    between = await proxy()
    between.answers |= {"getblock": between.without_numbers, "uptime": _fails(-32601, "Method not found")}
    between.answers["scantxoutset"] = _fails(-32601, "Method not found")
    reader = source(between.url)
    await reader.open()
    for number in (111, 112):
        hash = await reader.hash_at(number)
        fetched = await reader.block(number, hash)
        assert fetched.raw.data.hex() == node.rpc("getblock", hash, 0) and not fetched.complete
        assert await reader.prevouts(truth(node, hash)) == truth(node, hash)
    assert reader.endpoints()[0].offers == {NUMBERS: False, PREVOUTS: False}
    assert between.asked["getblock"] == 5  # both forms and another try at first, then one each
    assert await reader.unspent({b"\x51": "none"}) is None


async def test_prevouts_that_take_too_long(node: Any, proxy: Any, source: Make) -> None:
    """Where a node does not give them in time, its block is taken without them, and they are not asked for again."""
    between = await proxy()

    async def slow(hash: str, verbosity: Any = 1) -> Any:
        if verbosity == 3:
            await asyncio.sleep(PATIENCE)
        return await asyncio.to_thread(between.forward, "getblock", hash, verbosity)

    between.answers["getblock"] = slow
    reader = source(between.url, timeout=1.0)
    hash = await reader.hash_at(111)
    fetched = await reader.block(111, hash)
    assert fetched.raw.header.hash == hash and not fetched.complete
    assert reader.endpoints()[0].offers[PREVOUTS] is False
    await reader.block(112, await reader.hash_at(112))


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda p, hash, verbosity=1: "zz", "not hexadecimal"),
        (lambda p, hash, verbosity=1: p.forward("getblock", hash, 0)[:-2], "byte"),
        (lambda p, hash, verbosity=1: p.forward("getblock", p.node.rpc("getblockhash", 5), 0), "asked for block"),
        (lambda p, hash, verbosity=1: _spoilt(p, hash, verbosity, "-1"), "makes no sense"),
        (lambda p, hash, verbosity=1: _spoilt(p, hash, verbosity, "1e400"), "makes no sense"),
        (lambda p, hash, verbosity=1: _spoilt(p, hash, verbosity, "0.000000001"), "finer"),
    ],
)
async def test_blocks_that_lie(proxy: Any, source: Make, answer: Any, words: str) -> None:
    """A block or amount that contradicts itself is said to be inconsistent, by whom, and never used."""
    between = await proxy()
    between.answers["getblock"] = lambda *params: answer(between, *params)
    reader = source(between.url)
    with pytest.raises(ChainInconsistent, match=words) as caught:
        await reader.block(111, await reader.hash_at(111))
    assert f"127.0.0.1:{between.port}" in str(caught.value)


def _spoilt(between: Proxy, hash: str, verbosity: Any, value: str) -> Any:
    block = between.with_prevouts(hash, verbosity)
    if verbosity == 3:
        block["tx"][1]["vin"][0]["prevout"]["value"] = Decimal(value)
    return block


async def test_another_form_of_blocks(node: Any, proxy: Any, source: Make) -> None:
    """A third form that is something else (here: text) hides no block."""
    between = await proxy()
    between.answers["getblock"] = lambda hash, verbosity=1: between.forward("getblock", hash, 0)
    reader = source(between.url)
    fetched = await reader.block(111, await reader.hash_at(111))
    assert not fetched.prevouts and not fetched.complete and reader.endpoints()[0].offers[PREVOUTS] is False


async def test_while_it_starts(proxy: Any, source: Make) -> None:
    """A node that loads its blocks is asked again; "not found" while it does would be a lie."""
    between = await proxy()
    left = [3]

    def loading(*params: Any) -> Any:
        left[0] -= 1
        if left[0] >= 0:
            raise Fails(-28, "Loading block index...")
        return between.forward("getblockhash", *params)

    between.answers["getblockhash"] = loading
    reader = source(between.url)
    with pytest.raises(ChainUnavailable, match="Loading block index"):
        await reader.open()
    assert (await reader.head()).number > 100 and left[0] < 0
    between.answers["getrawtransaction"] = _fails(-28, "Verifying blocks...")
    with pytest.raises(ChainUnavailable, match="Verifying blocks") as caught:
        await reader.prevouts([outpoint("ab" * 32, 0)])
    assert not isinstance(caught.value, Refused) and "sesame" not in str(caught.value)


async def test_still_loading_the_chain(node: Any, proxy: Any, source: Make, caplog: pytest.LogCaptureFixture) -> None:
    """Its head is low, which is said once. Below the block that tells the chain it cannot be used yet."""
    between = await proxy()
    between.answers["getblockchaininfo"] = lambda: {**node.rpc("getblockchaininfo"), "initialblockdownload": True}
    reader = source(between.url)
    await reader.head()
    await reader.head()
    assert [r.getMessage() for r in caplog.records if "still loading" in r.getMessage()] == [
        f"coins: 127.0.0.1:{between.port} is still loading the chain, at block {node.height}"
    ]
    between.answers["getblockhash"] = _fails(-8, "Block height out of range")
    with pytest.raises(ChainUnavailable, match="is it still loading"):
        await source(between.url).open()


async def test_coins_are_read_for_somebody_else(node: Any, proxy: Any, source: Make) -> None:
    """A node reads its coins for one at a time: the next waits for its turn. What was broken off is no answer."""
    between = await proxy()
    left = [2]

    def busy(*params: Any) -> Any:
        left[0] -= 1
        if left[0] >= 0:
            raise Fails(-8, 'Scan already in progress, use action "abort" or "status"')
        return between.forward("scantxoutset", *params)

    between.answers["scantxoutset"] = busy
    reader = source(between.url)
    found = await reader.unspent({b"\x51": "none"})
    assert found is not None and found.coins == () and between.asked["scantxoutset"] == 3
    between.answers["scantxoutset"] = lambda *_: {
        "success": False, "height": 1, "bestblock": "ab" * 32, "unspents": []
    }  # fmt: skip
    with pytest.raises(ChainUnavailable, match="gave up"):
        await reader.unspent({b"\x51": "none"})


async def test_one_that_lags_is_not_preferred(node: Any, proxy: Any, source: Make) -> None:
    """Of several nodes the one that is behind is asked last, as soon as that shows."""
    behind, ahead = await proxy(), await proxy()
    low = node.rpc("getblockhash", 5)
    behind.answers["getblockchaininfo"] = lambda: {"blocks": 5, "bestblockhash": low}
    now = [1000.0]
    reader = source(behind.url, ahead.url, clock=lambda: now[0])
    await reader.open()
    assert (await reader.head()).number == 5
    now[0] += core.COMPARE_SECONDS
    await reader.head()
    await asyncio.gather(*reader._tasks)
    await reader.head()  # now it shows which one lags
    assert (await reader.head()).number == node.height
    assert [state.lagging for state in reader.endpoints()] == [True, False]


async def test_no_secret_is_told(node: Any, source: Make, caplog: pytest.LogCaptureFixture) -> None:
    """Neither in the log, nor by any text of the source."""
    caplog.set_level(logging.DEBUG)
    reader = source(node.url)
    await reader.open()
    await reader.head()
    await reader.unspent({b"\x51": "none"})
    said = "\n".join([*(r.getMessage() for r in caplog.records), repr(reader), repr(reader.endpoints())])
    assert node.password not in said


# -- the parts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "wanted"), [("0.1", 10_000_000), ("1e-8", 1), ("20999999.9769", 2_099_999_997_690_000), ("0", 0)]
)
def test_amounts(text: str, wanted: int) -> None:
    """Exactly, in any form of a number."""
    assert units(msgspec.json.decode(text, type=Decimal)) == wanted


@pytest.mark.parametrize("text", ["-0.1", "1e-9", "1e400", '"NaN"', '"-Infinity"', '"sNaN"', "10000000000001"])
def test_amounts_that_make_no_sense(text: str) -> None:
    """They are no amounts."""
    with pytest.raises(ChainInconsistent):
        units(msgspec.json.decode(text, type=Decimal))


@pytest.mark.parametrize("text", [b"[]", b"7", b'{"tx": [{"vin": [{"txid": "AB"}]}]}', b'{"tx": [1]}', b"{"])
def test_another_form_is_none(text: bytes) -> None:
    """Not an error: the node does not offer it."""
    assert prevouts_of(text) is None
    assert prevouts_of(b'{"tx": [{"vin": [{"coinbase": "00"}, {"ismweb": true}]}]}') == {}


def test_outputs_are_bounded() -> None:
    """By outputs, not by transactions; what is asked for stays."""
    kept = RecentOutputs(most=5)
    first, second, third = (bytes([n]) * 32 for n in range(3))
    kept.keep(first, (Prevout(1, b"a"), Prevout(2, b"b")))
    kept.keep(second, (Prevout(3, b"c"), Prevout(4, b"d")))
    assert kept.find([first + bytes(4), first + b"\x05\0\0\0"]) == {first + bytes(4): Prevout(1, b"a")}
    kept.keep(third, (Prevout(5, b"e"), Prevout(6, b"f")))
    assert set(kept.find(hash + bytes(4) for hash in (first, second, third))) == {first + bytes(4), third + bytes(4)}
    kept.keep(first, (Prevout(1, b"a"),) * 6)
    assert not kept.find([first + bytes(4)])


def test_what_is_known_of_a_run() -> None:
    """It is forgotten when a node was started anew, when it does not tell that, and after a while."""
    now = [0.0]
    offers = Offers(lambda: now[0])
    for seconds in (100.0, None):
        offers.runs("node", seconds)
        offers.note("node", INDEX, False)
        assert offers.lacks("node", INDEX) and not offers.lacks("other", INDEX)
        if seconds is not None:
            now[0] += 10
            offers.runs("node", seconds + 10)
            assert offers.lacks("node", INDEX)  # the same run
            offers.runs("node", 3.0)
        else:
            offers.runs("node", None)
        assert not offers.lacks("node", INDEX)
    offers.note("node", INDEX, False)
    now[0] += HOLDS + 1
    assert not offers.lacks("node", INDEX)
