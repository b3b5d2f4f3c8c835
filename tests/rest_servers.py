"""A plugin with services for the Bitcoin family: Esplora and Blockbook on loopback, in front of a real node.

The forms are those of Esplora's ``API.md`` (github.com/Blockstream/esplora), and of Blockbook's ``docs/api.md`` and
``server/public.go`` (github.com/trezor/blockbook). Like these, Esplora leaves confirmed coins out of its list that a
waiting transaction spends; Blockbook answers with an empty hash above its newest block, and with its status to a path
that it does not know.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

from chains.bitcoin.script import script_of, type_of
from monitor.networks import by_name
from tests.nodes import RpcFailed

NETWORK = by_name("litecoin-regtest")
assert NETWORK is not None
COIN = 100_000_000
HASHED = "scripthash:"


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
        except (LookupError, RpcFailed) as error:
            return web.Response(status=404, text=str(error)[:80])
        if isinstance(found, bytes):
            return web.Response(body=found)
        return web.Response(text=found) if isinstance(found, str) else web.json_response(found)

    def answer(self, path: str, query: dict[str, str]) -> Any:
        """The right answer; LookupError where there is none."""
        raise NotImplementedError

    def coins(self, script: str) -> list[dict[str, Any]]:
        """Confirmed coins of a script."""
        with self.scanning:  # a node reads its coins for one at a time
            found: list[dict[str, Any]] = self.node.rpc("scantxoutset", "start", [f"raw({script})"])["unspents"]
        return found

    def pay_script(self, script: bytes) -> str:
        """Pay one coin to a script, into the node's mempool: it may be one that has no address."""
        node, own = self.node, script_of(self.node.miner, NETWORK)
        if own is None:
            raise LookupError("the miner has no script")
        raw = node.rpc("createrawtransaction", [], [{node.miner: "1"}])
        raw = raw.replace(f"{len(own):02x}{own.hex()}", f"{len(script):02x}{script.hex()}")
        funded = node.rpc("fundrawtransaction", raw)["hex"]
        return str(node.rpc("sendrawtransaction", node.rpc("signrawtransactionwithwallet", funded)["hex"], 0))

    def raw(self, hash: str) -> bytes:
        """A transaction."""
        return bytes.fromhex(self.node.rpc("getrawtransaction", hash))

    def waiting(self, script: str) -> list[str]:
        """Waiting transactions that pay a script or spend its coins."""
        return [hash for hash in self.node.rpc("getrawmempool") if self.touches(hash, script)]

    def touches(self, hash: str, script: str) -> bool:
        """Whether a transaction pays a script, or spends its coins."""
        tx = self.node.rpc("getrawtransaction", hash, True)
        return any(out["scriptPubKey"]["hex"] == script for out in [*tx["vout"], *self.prevs(tx)])

    def prevs(self, tx: dict[str, Any]) -> list[dict[str, Any]]:
        """Outputs that a decoded transaction spends."""
        return [
            self.node.rpc("getrawtransaction", item["txid"], True)["vout"][item["vout"]]
            for item in tx["vin"]
            if "txid" in item
        ]


class Esplora(Server):
    """As ``API.md`` of Esplora says. ``scripts``: by Esplora's script hash, what has no address."""

    def __init__(self, node: Any) -> None:
        super().__init__(node)
        self.scripts: dict[str, str] = {}

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
            case ["address" | "scripthash" as form, name, *rest]:
                return self.account(self.script(form, name), rest)
        raise LookupError("not found")

    def script(self, form: str, name: str) -> str:
        """The script of an address, or of a script hash (not reversed) among the node's own coins."""
        if form == "address":
            script = script_of(name, NETWORK)
            if script is None:
                raise LookupError("Invalid Bitcoin address")
            return script.hex()
        return self.scripts[name]

    def account(self, script: str, rest: list[str]) -> Any:
        """What is known of a script. As if another coin had been spent before."""
        waiting = [self.tx(hash) for hash in self.waiting(script)]
        coins = self.coins(script)
        match rest:
            case []:
                balance = sum(units(coin["amount"]) for coin in coins)
                past = COIN if coins else 0
                sums = {"funded_txo_sum": balance + past, "spent_txo_sum": past, "tx_count": len(coins)}
                return {"chain_stats": sums, "mempool_stats": {"tx_count": len(waiting)}}
            case ["utxo"]:
                spent = {(item["txid"], item["vout"]) for tx in waiting for item in tx["vin"]}
                return [self.coin(coin) for coin in coins if (coin["txid"], coin["vout"]) not in spent]
            case ["txs", "mempool"]:
                return waiting
        raise LookupError("not found")

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
    """As ``docs/api.md`` of Blockbook says. ``is_old``: of before April 2022; ``behind``: blocks not indexed yet."""

    base = ""
    is_old = False
    behind = 0

    def answer(self, path: str, query: dict[str, str]) -> Any:
        if not f"{path}/".startswith("api/"):
            raise LookupError("not found")
        match path.removeprefix("api/v2").strip("/").split("/"):
            case ["block-index", number]:
                known = int(number) <= self.node.height
                return {"blockHash": self.node.rpc("getblockhash", int(number)) if known else ""}
            case ["rawblock", hash] if not self.is_old:
                return {"hex": self.node.rpc("getblock", hash, 0)}
            case ["tx", hash]:
                return self.tx(hash)
            case ["utxo", address] if query == {"confirmed": "true"}:
                return [self.coin(coin) for coin in self.coins(self.script(address))]
            case ["address", address] if query == {"details": "txids"}:
                waiting = self.waiting(self.script(address))
                return {"address": address, "unconfirmedTxs": len(waiting), "txids": [*waiting, "ab" * 32]}
        status = {"coin": "Litecoin", "inSync": not self.behind, "bestHeight": self.node.height - self.behind}
        return {"blockbook": status, "backend": {"blocks": self.node.height}}

    def script(self, address: str) -> str:
        """The script of an address."""
        script = script_of(address, NETWORK)
        if script is None:
            raise LookupError("invalid address")
        return script.hex()

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
        """An input; its output number is left out where it is 0. A bare key or multisig is no address."""
        form = type_of(bytes.fromhex(prev["scriptPubKey"]["hex"]))
        found = {
            "txid": item["txid"], "n": number, "addresses": prev["scriptPubKey"].get("addresses", []),
            "isAddress": form not in ("p2pk", "multisig"), "value": str(units(prev["value"])),
        }  # fmt: skip
        return found | ({"vout": item["vout"]} if item["vout"] else {})

    def coin(self, coin: dict[str, Any]) -> dict[str, Any]:
        """A coin."""
        return {
            "txid": coin["txid"], "vout": coin["vout"], "value": str(units(coin["amount"])), "height": coin["height"],
            "confirmations": self.node.height - coin["height"] + 1,
        }  # fmt: skip


@pytest.fixture(scope="session")
def indexed_node(litecoind: Callable[..., Any]) -> Any:
    """A node with an index, as services have."""
    node = litecoind(txindex=True)
    node.mine(125)
    return node


@pytest_asyncio.fixture
async def rest_server() -> AsyncIterator[Callable[[str, Any], Awaitable[Server]]]:
    """Start services: ``await rest_server("esplora", node)``, or ``"blockbook"``; the node needs ``txindex``."""
    runners = []

    async def start(kind: str, node: Any) -> Server:
        server: Server = {"esplora": Esplora, "blockbook": Blockbook}[kind](node)
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
