"""What is Esplora's own: coins that wait to be spent, script hashes, coins that it does not list."""

from __future__ import annotations

import hashlib
import logging
from decimal import Decimal
from typing import Any

import pytest
from aiohttp import web

from chains.base import ChainSpec
from chains.bitcoin.esplora import EsploraSource
from chains.bitcoin.script import address_of, script_of
from monitor.networks import by_name

NETWORK = by_name("litecoin-regtest")
assert NETWORK is not None
COIN = 100_000_000
PATIENCE = 30.0
EMPTY = {"chain_stats": {"funded_txo_sum": 0, "spent_txo_sum": 0, "tx_count": 0}}


@pytest.fixture
def node(indexed_node: Any) -> Any:
    """A node with an index, as services have."""
    return indexed_node


def spec(*urls: str, **more: Any) -> ChainSpec:
    """A chain with these endpoints."""
    return ChainSpec("ltc", "bitcoin", NETWORK.chain, urls, timeout_seconds=PATIENCE, **more)


async def test_coins_that_wait_to_be_spent_count(node: Any, rest_server: Any) -> None:
    """A balance is that of the newest block, also while a transaction waits that takes all, and one that spends it."""
    server = await rest_server("esplora", node)
    address = node.rpc("getnewaddress", "", "bech32")
    script = script_of(address, NETWORK)
    assert script is not None
    node.pay({address: Decimal(3)})
    node.mine(1)
    source = EsploraSource(spec(server.url), NETWORK)
    await source.open()
    before = await source.unspent({script: address})
    assert before is not None and [coin.value for coin in before.coins] == [3 * COIN]
    (coin,) = node.rpc("listunspent", 1, 9, [address])
    first = send(node, coin, {address: "2.9"})
    send(node, {"txid": first, "vout": 0}, {node.miner: "2.8"})
    found = await source.unspent({script: address})
    assert found is not None and [coin[:3] for coin in found.coins] == [coin[:3] for coin in before.coins]
    node.mine(1)
    assert (await source.unspent({script: address})).coins == ()
    await source.aclose()


async def test_coins_that_are_not_listed(node: Any, rest_server: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Coins that are too many to list, or that do not add up, are unknown, and the log says why."""
    server = await rest_server("esplora", node)
    address = node.rpc("getnewaddress", "", "bech32")
    node.pay({address: Decimal(1)})
    node.mine(1)
    script = script_of(address, NETWORK)
    assert script is not None
    source = EsploraSource(spec(server.url), NETWORK)
    await source.open()
    many = lambda: web.Response(status=400, text="Too many history entries")  # noqa: E731
    for fault, why in ((many, "Too many history entries"), (list, "are not those of its sums")):
        server.faults = {f"address/{address}/utxo": fault}
        with caplog.at_level(logging.INFO):
            assert await source.unspent({script: address}) is None
        assert why in caplog.text and "key-" not in caplog.text
    await source.aclose()


async def test_what_has_no_address(node: Any, rest_server: Any) -> None:
    """A bare multisig is asked about by Esplora's script hash, which is Electrum's reversed."""
    server = await rest_server("esplora", node)
    keys = [node.rpc("getaddressinfo", node.rpc("getnewaddress", "", "bech32"))["pubkey"] for _ in range(2)]
    script = bytes.fromhex("51" + "".join(f"21{key}" for key in keys) + "52ae")
    address = address_of(script, NETWORK)
    assert address == "scripthash:" + hashlib.sha256(script).digest()[::-1].hex()
    server.scripts = {hashlib.sha256(script).hexdigest(): script.hex()}
    hash = server.pay_script(script)
    source = EsploraSource(spec(server.url, accounts=(address,)), NETWORK)
    await source.open()
    assert set(await source.waiting()) == {hash}
    node.mine(1)
    found = await source.unspent({script: address})
    assert found is not None and [(coin.value, coin.height) for coin in found.coins] == [(COIN, node.height)]
    await source.aclose()


async def test_the_tip_moves_while_coins_are_read(node: Any, rest_server: Any) -> None:
    """Coins are those of one block: they are read again where it changed meanwhile, a few times."""
    server = await rest_server("esplora", node)
    address = node.rpc("getnewaddress", "", "bech32")
    script = script_of(address, NETWORK)
    assert script is not None
    source = EsploraSource(spec(server.url), NETWORK)
    await source.open()
    mined = iter([1, 1])

    def moving() -> Any:
        node.mine(next(mined, 0))
        return EMPTY

    server.faults = {f"address/{address}": moving}
    found = await source.unspent({script: address})
    assert found is not None and found.at.hash == node.rpc("getbestblockhash") and server.asked["address"] == 3
    server.faults = {f"address/{address}": lambda: node.mine(1) and EMPTY}
    assert await source.unspent({script: address}) is None
    await source.aclose()


def send(node: Any, coin: dict[str, Any], outputs: dict[str, str]) -> str:
    """Spend one of the node's own coins into the mempool."""
    raw = node.rpc("createrawtransaction", [{"txid": coin["txid"], "vout": coin["vout"]}], [outputs])
    return str(node.rpc("sendrawtransaction", node.rpc("signrawtransactionwithwallet", raw)["hex"], 0))
