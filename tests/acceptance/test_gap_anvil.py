"""The monitor was away for long: the head is followed at once, the rest is told late. And a deep reorganisation."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

CHAIN = "eip155:31337"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MISSED = 600  # blocks


def until(what: str, look: Callable[[], Any], seconds: float = 60.0) -> Any:
    """The first true answer of ``look``, for what offers no event to wait for."""
    end = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < end, f"not within {seconds:g} s: {what}"
        time.sleep(0.02)
    return found


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write a configuration of two wallets, each of an owner of its own."""

    def made(node: Any, receiver: Any, rate: float, finality: int = 20) -> Path:
        path = tmp_path / "heistwatch.yaml"
        hook = f'{{type: webhook, url: "http://127.0.0.1:{receiver.port}/hook", secret: "{SECRET}"}}'
        path.write_text(
            f"""version: 1
chains:
  - {{name: dev, kind: evm, chain_id: "{CHAIN}", endpoints: ["http://127.0.0.1:{node.port}"], poll_seconds: 0.1,
      backfill: 0, backfill_rate: {rate}, catch_up_seconds: 0.001, finality_depth: {finality}}}
wallets:
  - {{id: one, entity: First, role: hot, addresses: ["dev:{node.accounts[0]}"]}}
  - {{id: two, entity: Second, role: hot, addresses: ["dev:{node.accounts[1]}"]}}
http: {{listen: "127.0.0.1:0"}}
receivers: [{{name: soc, channels: [{hook}]}}]
route: {{receiver: soc}}
"""
        )
        return path

    return made


def test_away_for_long(make_node: Any, make_receiver: Any, watch: Any, write: Any) -> None:
    """A theft at the head is told while what was missed is still being read; the theft in there follows, marked late.

    Killed in the middle, it goes on with what it has. In the end every block is covered, and nothing is provisional.
    """
    node, soc = make_node(), make_receiver()
    first, second = node.accounts[:2]
    monitor = watch(write(node, soc, 60)).ready()
    monitor.scanned(node.send(first, node.accounts[5], 1)["block"])
    monitor.kill()
    stored = node.height
    node.rpc("anvil_mine", hex(MISSED // 2))
    missed = node.send(first, "0x" + "0bad" * 10, 9000)
    node.rpc("anvil_mine", hex(MISSED // 2))

    monitor = watch(write(node, soc, 60)).ready()
    seen = until("the gap", lambda: monitor.coverage().get("filling"))
    assert seen["first"] > stored and "provisional" in seen["says"]
    node.send(second, "0x" + "0bed" * 10, 9000)
    now = soc.wait("Second", "incident.opened")
    assert now.incident["findings"][0]["evidence"]["provisional"] is True and soc.of("First") == []
    assert monitor.coverage()["gaps"] == [{"first": seen["first"], "last": monitor.coverage()["filling"]["last"]}]
    assert monitor.http("GET", "/readyz")[1]["chains"]["dev"]["filling"].startswith("gap ")
    monitor.kill()

    monitor = watch(write(node, soc, 2000)).ready()
    late = soc.wait("First", "incident.opened")
    assert late.incident["opened_block"] == missed["block"]
    assert late.incident["findings"][0]["evidence"]["late"] is True
    until("the gap is full", lambda: monitor.coverage()["gaps"] == [] and "filling" not in monitor.coverage())
    monitor.err.wait(r"dev: the gap of blocks \d+ to \d+ is filled")
    last = node.send(second, node.accounts[6], 1)
    monitor.scanned(last["block"])
    found = [i for i in monitor.http("GET", "/incidents")[1] if i["entity"] == "Second"]
    assert [i["id"] for i in found] == [now.incident["id"]] and "provisional" not in found[0]["findings"][0]["evidence"]
    assert [post.type for post in soc.of("Second")] == ["incident.opened"]
    assert monitor.end() == 0


def test_deeper_than_final(make_node: Any, make_receiver: Any, watch: Any, write: Any) -> None:
    """A chain that is replaced below what can be undone: said, followed, and nothing is missed on the new branch."""
    node, soc = make_node(), make_receiver()
    first, second = node.accounts[:2]
    config = write(node, soc, 60, finality=2)
    monitor = watch(config).ready()
    node.mine(3)
    both = node.send(first, "0x" + "0bad" * 10, 9000)
    soc.wait("First", "incident.opened")
    again = node.raw(both)
    node.mine(8)
    monitor.scanned(node.height)
    node.rpc("anvil_reorg", 10, [[again, 2]])
    node.mine(4)
    monitor.scanned(node.height)
    blind = until("that it was rewritten is said", lambda: [p for p in soc.posts if p.type == "monitor.blind"])
    assert len(blind) == 1 and "final here" in json.loads(blind[0].body)["data"]["title"]
    theft = node.send(second, "0x" + "0bed" * 10, 9000)
    assert soc.wait("Second", "incident.opened").incident["opened_block"] == theft["block"]
    node.mine(12)
    monitor.scanned(node.height)
    found = {i["entity"]: i["status"] for i in monitor.http("GET", "/incidents")[1]}
    assert found == {"First": "open", "Second": "open"} and monitor.coverage()["gaps"] == []
    assert "replaced when it could not be undone" in monitor.coverage()["learning"]["note"]
    assert monitor.end() == 0
