"""What holds for Esplora and Blockbook alike: blocks equal those of the node behind them, faults are declared."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from aiohttp import web

from chains.base import ChainSpec
from chains.bitcoin import rest
from chains.bitcoin.base import outpoint
from chains.bitcoin.blockbook import BlockbookSource
from chains.bitcoin.esplora import EsploraSource
from chains.bitcoin.rest import MOST_ACCOUNTS
from chains.bitcoin.script import script_of
from chains.bitcoin.watcher import BitcoinChain
from chains.exchange import MethodUnsupported
from monitor.errors import ChainError, ChainInconsistent, ChainUnavailable
from monitor.networks import by_name

NETWORK = by_name("litecoin-regtest")
assert NETWORK is not None
COIN = 100_000_000
PATIENCE = 30.0


@pytest.fixture
def node(indexed_node: Any) -> Any:
    """A node with an index, as services have."""
    return indexed_node


def spec(*urls: str, **more: Any) -> ChainSpec:
    """A chain with these endpoints."""
    return ChainSpec("ltc", "bitcoin", NETWORK.chain, urls, timeout_seconds=PATIENCE, **more)


BOTH = pytest.mark.parametrize(
    ("kind", "source_of"), [("esplora", EsploraSource), ("blockbook", BlockbookSource)], ids=["esplora", "blockbook"]
)


@BOTH
async def test_blocks_equal_those_of_the_node(node: Any, rest_server: Any, kind: str, source_of: Any) -> None:
    """Payments in and out, read through a service found by asking, are what the node itself gives."""
    server = await rest_server(kind, node)
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
async def test_coins_and_waiting_transactions(node: Any, rest_server: Any, kind: str, source_of: Any) -> None:
    """Confirmed coins alone count; what waits of named accounts is told, with its bytes."""
    server = await rest_server(kind, node)
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
async def test_faults(node: Any, rest_server: Any, kind: str, source_of: Any) -> None:
    """Pages in HTML, wrong hashes, another chain, blocks that are not there: declared errors without secrets."""
    server = await rest_server(kind, node)
    source = source_of(spec(server.url), NETWORK)
    best = node.rpc("getbestblockhash")
    prefix = "api/v2/" if kind == "blockbook" else ""
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
    raw = {"hex": other} if kind == "blockbook" else web.Response(body=bytes.fromhex(other))
    server.faults = {f"{prefix}rawblock": lambda: raw} if kind == "blockbook" else {f"block/{best}/raw": lambda: raw}
    with pytest.raises(ChainInconsistent, match="asked for block"):
        await source.block(node.height, best)
    whole = bytes.fromhex(node.rpc("getblock", best, 0))
    for cut in (whole[:40], whole[: len(whole) // 2], whole + b"\0", b""):
        part = {"hex": cut.hex()} if kind == "blockbook" else web.Response(body=cut)
        path = f"{prefix}rawblock" if kind == "blockbook" else f"block/{best}/raw"
        server.faults = {path: lambda part=part: part}
        with pytest.raises(ChainInconsistent):
            await source.block(node.height, best)
    server.faults = {}
    with pytest.raises(ChainUnavailable, match="has no block"):
        await source.hash_at(node.height + 5)
    await source.aclose()
    wrong = {"blockHash": "ee" * 32} if kind == "blockbook" else web.Response(text="ee" * 32)
    server.faults = {f"{prefix}block-": lambda: wrong}
    with pytest.raises(ChainError, match="another chain"):
        stranger = source_of(spec(server.url), NETWORK)
        try:
            await stranger.open()
        finally:
            await stranger.aclose()


@BOTH
async def test_failover(node: Any, rest_server: Any, kind: str, source_of: Any) -> None:
    """One of two services answers 503, then 429 with a pause: the other one is asked."""
    first, second = await rest_server(kind, node), await rest_server(kind, node)
    source = source_of(spec(first.url, second.url), NETWORK)
    await source.open()
    for status, headers in ((503, {}), (429, {"Retry-After": "30"})):
        first.faults = {"": lambda status=status, headers=headers: web.Response(status=status, headers=headers)}
        assert (await source.head()).number == node.height
        assert await source.hash_at(7) == node.rpc("getblockhash", 7)
    await source.aclose()


@BOTH
async def test_one_that_lags_is_asked_last(
    node: Any, rest_server: Any, kind: str, source_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The head of the other service is looked at beside; the one that stays far behind it is left."""
    monkeypatch.setattr(rest, "COMPARE_SECONDS", 0.0)
    behind, ahead = await rest_server(kind, node), await rest_server(kind, node)
    old = node.rpc("getblockhash", node.height - 20)
    behind.faults = {"blocks/tip/hash": lambda: web.Response(text=old)}
    behind.behind = 20
    source = source_of(spec(behind.url, ahead.url), NETWORK)
    await source.open()
    assert (await source.head()).number == node.height - 20
    assert source._comparing is not None
    await source._comparing
    assert (await source.head()).number == node.height - 20  # this told us of both
    assert (await source.head()).number == node.height
    await source.aclose()


@BOTH
async def test_a_transaction_is_the_one_that_was_asked_for(
    node: Any, rest_server: Any, kind: str, source_of: Any
) -> None:
    """Bytes of another transaction, and what is none, are faults of the service; the other one is asked."""
    lying, honest = await rest_server(kind, node), await rest_server(kind, node)
    hash, other = (node.pay({node.miner: Decimal(1)}) for _ in range(2))
    node.mine(1)
    wanted = bytes.fromhex(node.rpc("getrawtransaction", hash))
    source = source_of(spec(lying.url, honest.url), NETWORK)
    await source.open()
    for wrong in (bytes.fromhex(node.rpc("getrawtransaction", other)), b"<html>maintenance</html>"):
        answer = {"txid": hash, "hex": wrong.hex()}
        lying.faults = {
            f"tx/{hash}/raw": lambda wrong=wrong: web.Response(body=wrong),
            f"api/v2/tx/{hash}": lambda answer=answer: web.json_response(answer),
        }
        assert await source.raw_transactions([hash]) == {hash: wanted}
        source.rotate()
    await source.aclose()


@BOTH
async def test_too_many_accounts(kind: str, source_of: Any) -> None:
    """A service is not asked about the waiting transactions of hundreds of addresses."""
    accounts = tuple(f"a{n}" for n in range(MOST_ACCOUNTS + 1))
    source = source_of(spec("http://service.test/", accounts=accounts), NETWORK)
    with pytest.raises(MethodUnsupported, match="50 addresses at most"):
        await source.waiting()
    await source.aclose()
