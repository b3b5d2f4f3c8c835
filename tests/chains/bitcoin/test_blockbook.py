"""What is Blockbook's own: forms of its URL, what it does not have, inputs without an address; real pages."""

from __future__ import annotations

import json
import tarfile
from collections import Counter
from os import environ
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chains.base import ChainSpec, Terms
from chains.bitcoin import blockbook
from chains.bitcoin.base import outpoint
from chains.bitcoin.blockbook import BlockbookSource
from chains.bitcoin.script import address_of, script_of
from monitor.errors import ChainUnavailable
from monitor.model import BlockRef
from monitor.networks import by_name

DATA = Path(environ.get("HEISTWATCH_DATA") or Path(__file__).parents[4] / "shared/data") / "blockbook-api"
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


async def test_forms_of_the_url(node: Any, rest_server: Any) -> None:
    """The API's own path may be part of the URL or not, of each in its way; terms stay with their endpoint."""
    servers = [await rest_server("blockbook", node) for _ in range(3)]
    urls = [server.url.rstrip("/") + end for server, end in zip(servers, ("", "/api", "/api/v2/"), strict=True)]
    source = BlockbookSource(spec(*urls, terms={urls[1]: Terms(weight=7)}), NETWORK)
    await source.open()
    for _ in urls:
        assert (await source.head()).hash == node.rpc("getbestblockhash")
        source.rotate()
    assert [server.asked.total() > 1 for server in servers] == [True] * 3
    assert [state.weight for state in source.endpoints()] == [1.0, 7, 1.0]
    assert not any(state.failures for state in source.endpoints())
    await source.aclose()


async def test_what_it_does_not_have(node: Any, rest_server: Any) -> None:
    """An empty hash for a height above its newest block, and its status for a path that it does not know, cost one
    request each and do not speak against it."""
    server = await rest_server("blockbook", node)
    source = BlockbookSource(spec(server.url), NETWORK)
    await source.open()
    server.asked.clear()
    with pytest.raises(ChainUnavailable, match="no block of that height"):
        await source.hash_at(node.height + 1)
    server.is_old = True
    with pytest.raises(ChainUnavailable, match="gives no raw blocks: one of April 2022"):
        await source.block(node.height, node.rpc("getbestblockhash"))
    assert server.asked.total() == 2
    assert [state.circuit for state in source.endpoints()] == ["closed"]
    server.is_old, server.behind = False, 2
    number = node.height - 2
    assert await source.head() == BlockRef(NETWORK.chain, number, node.rpc("getblockhash", number))
    await source.aclose()


async def test_inputs_without_an_address(node: Any, rest_server: Any) -> None:
    """What a bare multisig and a bare key held is found in the outputs that they were; the rest by its address."""
    server = await rest_server("blockbook", node)
    own = [node.rpc("getaddressinfo", node.rpc("getnewaddress", "", "bech32"))["pubkey"] for _ in range(2)]
    multisig = bytes.fromhex("51" + "".join(f"21{key}" for key in own) + "52ae")
    scripts = [multisig, bytes.fromhex(f"21{own[0]}ac"), script_of(node.miner, NETWORK)]
    points = []
    for script in scripts:
        hash = server.pay_script(script)
        place = next(
            out["n"]
            for out in node.rpc("getrawtransaction", hash, True)["vout"]
            if out["scriptPubKey"]["hex"] == script.hex() and out["value"] == 1
        )
        points.append((hash, place))
    node.mine(1)
    inputs = [{"txid": hash, "vout": n} for hash, n in points]
    raw = node.rpc("createrawtransaction", inputs, [{node.miner: "2.9"}])
    signed = node.rpc("signrawtransactionwithwallet", raw)
    assert signed["complete"]
    spender = node.rpc("sendrawtransaction", signed["hex"], 0)
    node.mine(1)
    source = BlockbookSource(spec(server.url), NETWORK)
    await source.open()
    server.asked.clear()
    found = await source.inputs_of([spender])
    wanted = [(COIN, script) for script in scripts]
    assert [tuple(found[outpoint(*point)]) for point in points] == wanted
    assert server.asked.total() == 3  # the transaction, and two that made what has no address
    assert await source.unspent({multisig: address_of(multisig, NETWORK)}) is None
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
