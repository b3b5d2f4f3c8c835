"""The first start on a real node with two weeks of history: the monitor learns it while it watches."""

from __future__ import annotations

import asyncio
import itertools
import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from chains.base import ChainSpec
from chains.evm.watcher import EvmChain
from monitor.app import make_engine
from monitor.config import load_config

CHAIN = "eip155:31337"
ETHER = f"{CHAIN}/slip44:60"
DAY = 86400
DAYS = 16  # of history; the last 14 are learned
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def until(what: str, look: Callable[[], Any], seconds: float = 60.0) -> Any:
    """The first true answer of ``look``, for what offers no event to wait for."""
    end = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < end, f"not within {seconds:g} s: {what}"
        time.sleep(0.02)
    return found


class Past:
    """A node with a history: one wallet that pays customers every few hours, empty blocks in between."""

    def __init__(self, node: Any, start: int) -> None:
        self.node, self.wallet, self.customers = node, node.accounts[0], node.accounts[1:6]
        self.regular = node.accounts[6]
        for hour in range(0, DAYS * 24 - 1, 4):
            node.rpc("evm_setNextBlockTimestamp", start + hour * 3600)
            fresh = f"0x{0xC0000 + hour:040x}"
            node.send(self.wallet, fresh if hour % 8 else self.regular, 3 + hour % 5)
            node.rpc("anvil_mine", "0x3", hex(600))
        node.rpc("evm_setNextBlockTimestamp", int(time.time()))
        node.mine()

    def thief(self, number: int) -> str:
        """An address that was never paid."""
        return f"0x{0xBAD00 + number:040x}"


@pytest.fixture
def past(make_node: Callable[..., Any]) -> Past:
    """A node whose chain began sixteen days ago."""
    start = int(time.time()) - DAYS * DAY
    return Past(make_node("--timestamp", str(start - 60)), start)


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write a configuration of one wallet: (address, endpoint, receiver, rate)."""

    def made(address: str, url: str, receiver: Any, rate: float) -> Path:
        path = tmp_path / "heistwatch.yaml"
        hook = f'{{type: webhook, url: "http://127.0.0.1:{receiver.port}/hook", secret: "{SECRET}"}}'
        path.write_text(
            f"""version: 1
chains:
  - {{name: dev, kind: evm, chain_id: "{CHAIN}", endpoints: ["{url}"], poll_seconds: 0.1, backfill_rate: {rate}}}
wallets: [{{id: hot, entity: Example, role: hot, addresses: ["dev:{address}"]}}]
http: {{listen: "127.0.0.1:0"}}
receivers: [{{name: soc, channels: [{hook}]}}]
route: {{receiver: soc}}
"""
        )
        return path

    return made


def learning(monitor: Any) -> dict[str, Any]:
    """What the monitor says of how the chain learns."""
    found: dict[str, Any] = monitor.coverage().get("learning", {})
    return found


BASELINE = b"g\x1f"  # of records of who controls an account


async def straight(config: Path, url: str, low: int, first: int, high: int) -> list[tuple[bytes, bytes]]:
    """The state after a fold of the same blocks, read one by one as a live monitor does, with the node's balances."""
    engine = make_engine(load_config(config))
    address = engine.watchlist.addresses("hot", CHAIN)[0]
    chain = EvmChain(ChainSpec("dev", "evm", CHAIN, (url,)), engine.watchlist.watch(CHAIN))
    try:
        await chain.open()
        for number in range(low, high + 1):
            block = await chain.block(number)
            wanted = {asset for _, _, asset in engine.unknown_balances(block)} | ({ETHER} if number == first else set())
            below = (await chain.block(number - 1)).ref
            told = await chain.balances([(address, asset) for asset in sorted(wanted)], below)
            engine.connect(block, {("hot", CHAIN, asset): value or 0 for (_, asset), value in told.items()})
    finally:
        await chain.aclose()
    return [record for record in engine.dump() if not record[0].startswith(BASELINE)]


def stored(config: Path) -> tuple[list[tuple[bytes, bytes]], dict[str, Any]]:
    """The state in the store: (records, the chain's mark). The spool must be gone."""
    with sqlite3.connect(config.parent / "heistwatch.db") as connection:
        found = connection.execute("SELECT key, value FROM state ORDER BY key").fetchall()
    assert not [key for key, _ in found if key.startswith(b"b\x1f")]
    (mark,) = [json.loads(value) for key, value in found if key.startswith(b"c\x1f")]
    (baseline,) = [json.loads(value) for key, value in found if key.startswith(BASELINE)]  # read at a live block
    assert baseline["values"]["form"] == "account"
    records = [(key, value) for key, value in found if not key.startswith((b"c\x1f", BASELINE))]
    assert len(records) > 40  # an asset, a wallet, and the destinations of two weeks
    return records, mark


def test_first_start(past: Past, watch: Any, make_receiver: Any, write: Any) -> None:
    """Learned within seconds: then an ordinary payment is silent, a theft at the budget a statistical finding."""
    soc, node = make_receiver(), past.node
    url = f"http://127.0.0.1:{node.port}"
    config = write(past.wallet, url, soc, 5000)
    first = node.height
    monitor = watch(config).ready()
    found = until("the history is learned", lambda: (e := learning(monitor)).get("state") == "backfilled" and e)
    monitor.err.wait(r"dev: 14\.0 days of history before block \d+ are learned; history holds 0 outflows")
    assert found["would_have_raised"] == 0 and found["note"] == ""
    ordinary = node.send(past.wallet, past.customers[0], 6)["block"]
    monitor.scanned(ordinary)
    assert soc.of("Example") == []
    theft = node.send(past.wallet, past.thief(1), 700)
    post = soc.wait("Example", "incident.opened")
    assert post.incident["opened_block"] == theft["block"] and post.incident["suspects"] == [past.thief(1)]
    (finding,) = post.incident["findings"]
    assert finding["detector"].startswith("HW") and "guard rail" not in finding["summary"]
    assert "usual daily maximum" in finding["summary"]
    ranges = monitor.coverage()["ranges"]  # what is read live shows more than history does
    assert monitor.coverage()["gaps"] == [] and ranges[-1]["last"] >= theft["block"]
    assert all(below["last"] + 1 == above["first"] for below, above in itertools.pairwise(ranges))
    assert monitor.end() == 0
    records, mark = stored(config)
    assert mark["low"] == ranges[0]["first"] and mark["block"] == first
    assert mark["since"] >= int(time.time()) - 14 * DAY - 60
    assert records == asyncio.run(straight(config, url, mark["low"], first, theft["block"]))


def test_killed_and_started_again(past: Past, watch: Any, make_receiver: Any, write: Any) -> None:
    """It goes on where it was, and ends as if nothing had happened; meanwhile the guard rail watches."""
    soc, node = make_receiver(), past.node
    url = f"http://127.0.0.1:{node.port}"
    config = write(past.wallet, url, soc, 25)
    first = node.height
    monitor = watch(config).ready()
    before = until("a part is fetched", lambda: (e := learning(monitor)).get("blocks_done", 0) > 50 and e)
    assert before["state"] == "backfilling" and before["blocks_done"] < before["blocks_total"]
    assert "guard rail alone" in before["says"]
    monitor.kill()
    payment = node.send(past.wallet, past.customers[1], 5)["block"]
    config = write(past.wallet, url, soc, 5000)
    again = watch(config).ready()
    again.scanned(payment)
    found = until("the history is learned", lambda: (e := learning(again)).get("state") == "backfilled" and e)
    assert found["blocks_total"] == before["blocks_total"]
    again.err.wait("days of history before block")
    assert again.end() == 0 and soc.of("Example") == []
    records, mark = stored(config)
    assert records == asyncio.run(straight(config, url, mark["low"], first, payment))


class NoLogs:
    """In front of a node: refuses eth_getLogs, passes everything else on."""

    def __init__(self, node: Any) -> None:
        self.refused = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                many = asked if isinstance(asked, list) else [asked]
                answers = [outer.answer(node, one) for one in many]
                data = json.dumps(answers if isinstance(asked, list) else answers[0]).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                """Be quiet."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                """A monitor that ends breaks its connections off."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def answer(self, node: Any, one: dict[str, Any]) -> dict[str, Any]:
        """The reply to one call."""
        if one["method"] == "eth_getLogs":
            self.refused += 1
            return {"jsonrpc": "2.0", "id": one["id"], "error": {"code": -32601, "message": "method not available"}}
        return {"jsonrpc": "2.0", "id": one["id"], "result": node.rpc(one["method"], *one["params"])}

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(20)


@pytest.fixture
def no_logs(past: Past) -> Iterator[NoLogs]:
    """The node of `past`, behind something that refuses logs."""
    server = NoLogs(past.node)
    yield server
    server.close()


def test_an_endpoint_without_logs(past: Past, no_logs: NoLogs, watch: Any, make_receiver: Any, write: Any) -> None:
    """Said once, shown in coverage; the chain stays learning, and the guard rail catches a drain."""
    soc, node = make_receiver(), past.node
    monitor = watch(write(past.wallet, no_logs.url, soc, 5000)).ready()
    found = until("the refusal is known", lambda: (e := learning(monitor)).get("state") == "refused" and e)
    assert "eth_getLogs" in found["note"] and "guard rail alone" in found["says"] and no_logs.refused
    monitor.err.wait("no history can be had")
    monitor.scanned(node.send(past.wallet, past.thief(2), 700)["block"])
    assert soc.of("Example") == []
    node.send(past.wallet, past.thief(3), 5000)
    post = soc.wait("Example", "incident.opened")
    assert "guard rail exceeded" in post.incident["findings"][-1]["summary"]
    assert monitor.end() == 0 and monitor.err.text.count("no history can be had") == 1
