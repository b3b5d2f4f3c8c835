"""The live monitor on a real node: thefts alarm within seconds, reorgs are followed, people are heard."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

CHAIN = "eip155:31337"
TOKEN_FILE = Path(__file__).parents[1] / "chains/data/token.json"
SUPPLY = 10**24
FIRST_POST = 10.0  # seconds from the transaction to the webhook, with room for a loaded machine
INCIDENT_KEYS = {
    "id", "entity", "wallets", "status", "severity", "revision", "opened_at", "suspects", "lost", "share_lost",
    "findings", "explanation",
}  # fmt: skip


def test_native_drain(live: Any, heistwatch: Any) -> None:
    """A drained wallet is one signed message within seconds: its block, its transaction, what went, and to whom."""
    entity, address = live.wallet()
    for _ in range(2):
        live.monitor.scanned(live.node.send(address, live.node.accounts[-1], 1)["block"])
    assert live.soc.of(entity) == []
    thief, began = live.thief(), time.monotonic()
    receipt = live.node.send(address, thief, 9000)
    post = live.soc.wait(entity)
    print(f"webhook {post.at - began:.3f} s after the transaction was sent")
    assert post.at - began < FIRST_POST
    assert post.type == "incident.opened" and post.headers["content-type"] == "application/json"
    data, incident = post.message["data"], post.incident
    assert post.id == data["id"] and data["kind"] == "opened" and data["severity"] == "critical"
    assert set(incident) >= INCIDENT_KEYS
    assert incident["opened_block"] == receipt["block"] and incident["opened_tx"] == receipt["transactionHash"]
    assert incident["suspects"] == [thief] and incident["wallets"] == [f"wallet-{entity}"]
    assert [(item["chain"], item["asset"], item["value"]) for item in incident["lost"]] == [
        (CHAIN, f"{CHAIN}/slip44:60", str(9000 * 10**18))
    ]
    assert incident["status"] == "open" and incident["findings"][0]["tx"] == receipt["transactionHash"]
    assert incident["share_lost"] == pytest.approx(0.9, abs=0.01)
    assert live.soc.wrong == []
    code, out, _ = heistwatch("incidents", "list", "-c", live.config, "--json")
    listed = [item for item in json.loads(out) if item["entity"] == entity]
    [known] = listed
    assert code == 0 and {key: known[key] for key in incident} == incident


def test_token_drain(live: Any) -> None:
    """A drained token balance alarms too, though nobody listed the token."""
    entity, address = live.wallet()
    token = json.loads(TOKEN_FILE.read_text())
    coin = live.node.send(live.node.accounts[-1], data=token["bytecode"] + f"{SUPPLY:064x}")["contractAddress"]

    def pay(sender: str, to: str, value: int) -> dict[str, Any]:
        data = f"0x{token['methods']['transfer(address,uint256)']}{to[2:]:0>64}{value:064x}"
        receipt: dict[str, Any] = live.node.send(sender, coin, data=data)
        return receipt

    pay(live.node.accounts[-1], address, SUPPLY // 2)
    live.monitor.scanned(pay(address, live.node.accounts[-2], SUPPLY // 1000)["block"])
    assert live.soc.of(entity) == []
    thief, began = live.thief(), time.monotonic()
    stolen = SUPPLY * 45 // 100
    receipt = pay(address, thief, stolen)
    post = live.soc.wait(entity, "incident.opened")
    print(f"webhook {post.at - began:.3f} s after the transaction was sent")
    assert post.at - began < FIRST_POST
    assert post.incident["opened_block"] == receipt["block"] and post.incident["suspects"] == [thief]
    assert [(item["asset"], item["value"]) for item in post.incident["lost"]] == [
        (f"{CHAIN}/erc20:{coin.lower()}", str(stolen))
    ]


def test_dropped_theft_is_retracted_and_comes_back(live: Any) -> None:
    """What a reorg drops is retracted to whoever was told; mined again, it is the same incident, updated."""
    entity, _, receipt, opened = live.steal()
    raw = live.node.raw(receipt)
    live.node.rpc("anvil_reorg", 1, [])
    live.node.mine()
    retracted = live.soc.wait(entity, "incident.retracted")
    assert retracted.incident["id"] == opened.incident["id"] and retracted.id != opened.id
    assert retracted.incident["status"] == "retracted" and retracted.incident["lost"] == []
    assert retracted.incident["revision"] > opened.incident["revision"]
    again = live.node.rpc("eth_sendRawTransaction", raw)
    assert again == receipt["transactionHash"]
    updated = live.soc.wait(entity, "incident.updated")
    assert updated.incident["id"] == opened.incident["id"] and updated.incident["status"] == "open"
    assert updated.incident["lost"] == opened.incident["lost"]
    assert updated.incident["opened_block"] == live.node.height > receipt["block"]
    assert [post.type for post in live.soc.of(entity)] == [
        "incident.opened", "incident.retracted", "incident.updated"
    ]  # fmt: skip


def test_theft_mined_again_is_not_retracted(live: Any) -> None:
    """A reorg that moves the theft to another block at once says nothing to anybody."""
    entity, _, receipt, _ = live.steal()
    live.node.rpc("anvil_reorg", 1, [[live.node.raw(receipt), 0]])
    moved = live.node.rpc("eth_getTransactionReceipt", receipt["transactionHash"])
    assert moved["blockHash"] != receipt["blockHash"]
    live.node.mine(3)
    other, *_ = live.steal()  # whatever was to be said before it, has been said
    assert other != entity
    assert [post.type for post in live.soc.of(entity)] == ["incident.opened"]


def test_retraction_does_not_need_another_block(live: Any) -> None:
    """A dropped theft is retracted within seconds even where the chain stands still afterwards."""
    entity, _, _, opened = live.steal()
    live.node.rpc("anvil_reorg", 1, [])
    retracted = live.soc.wait(entity, "incident.retracted")
    assert retracted.incident["id"] == opened.incident["id"]
    assert live.monitor.coverage()["gaps"] == []


def test_false_alarm_by_command(live: Any, heistwatch: Any) -> None:
    """A verdict of the command line takes effect at the next block, closes the incident and tells who was told."""
    entity, thief, _, opened = live.steal()
    name = opened.incident["id"]
    code, out, _ = heistwatch(
        "incidents", "false-alarm", name[:12], "-c", live.config, "--by", "alice", "--comment", "our own cold wallet"
    )
    assert code == 0 and name in out and "next block" in out
    _, shown, _ = heistwatch("incidents", "show", name, "-c", live.config)
    assert "not yet in force: false-alarm by alice" in shown
    live.node.mine()
    resolved = live.soc.wait(entity, "incident.resolved")
    assert resolved.incident["id"] == name and resolved.incident["status"] == "false_alarm"
    [entry] = resolved.incident["history"]
    assert (entry["what"], entry["by"], entry["comment"]) == ("false-alarm", "alice", "our own cold wallet")
    assert resolved.incident["suspects"] == [thief]


def test_confirm_by_http(live: Any, token: str) -> None:
    """A confirmation over HTTP takes effect at the next block and needs no message; a wrong token is refused."""
    entity, _, _, opened = live.steal(6000)
    name, monitor = opened.incident["id"], live.monitor
    path = f"/incidents/{name}/confirm"
    assert monitor.http("POST", path)[0] == 401
    assert monitor.http("POST", path, "wrong")[0] == 401
    assert monitor.http("POST", f"/incidents/{'0' * 20}/confirm", token)[0] == 404
    status, answer = monitor.http("POST", f"{path}?by=bob&comment=seen", token)
    assert status == 202 and answer["incident"] == name
    live.node.mine()
    live.monitor.scanned(live.node.height)
    found = monitor.http("GET", f"/incidents/{name}")[1]
    assert found["status"] == "confirmed" and found["history"][0]["by"] == "bob"
    assert monitor.http("POST", f"/incidents/{name}/resolve", token)[0] == 202
    live.node.mine()
    assert live.soc.wait(entity, "incident.resolved").incident["status"] == "resolved"
    assert [post.type for post in live.soc.of(entity)] == ["incident.opened", "incident.resolved"]


def test_growing_theft_stays_one_incident(live: Any) -> None:
    """Further payments to the thief grow the incident; nobody is told that another one began."""
    entity, address = live.wallet()
    thief = live.thief()
    live.node.send(address, thief, 7000)
    opened = live.soc.wait(entity, "incident.opened")
    live.node.send(address, thief, 2500)
    later = live.soc.wait(entity, count=2)
    assert later.type in ("incident.updated", "incident.escalated")
    assert later.incident["id"] == opened.incident["id"]
    assert later.incident["lost"][0]["value"] == str(9500 * 10**18)
