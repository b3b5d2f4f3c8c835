"""Thefts that wait to be mined, on a real node, from outside: alarm, confirmation, cancellation, drop, restart."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from eth_account import Account

MNEMONIC = "test test test test test test test test test test test junk"  # anvil's own, public
GWEI = 10**9
ETHER = 10**18


class Pending:
    """A node that mines when it is told to, and a monitor of it that hears by subscription or by polling."""

    def __init__(self, node: Any, soc: Any, monitor: Any, names: Iterator[tuple[str, str]]) -> None:
        self.node, self.soc, self.monitor, self._names = node, soc, monitor, names
        self.thieves = 0

    def wallet(self) -> tuple[str, str]:
        """(entity, address) that no other test uses; it paid something before."""
        return next(self._names)

    def thief(self) -> str:
        self.thieves += 1
        return f"0x{0xDAD0000 + self.thieves:040x}"

    def send(self, sender: str, to: str, ether: float, *, gwei: int = 5, **more: Any) -> str:
        """A transaction that waits; its hash."""
        fees = {"maxFeePerGas": hex(gwei * 2 * GWEI), "maxPriorityFeePerGas": hex(gwei * GWEI), "gas": "0x5208"}
        call = {"from": sender, "to": to, "value": hex(int(ether * ETHER)), **fees, **more}
        hash_: str = self.node.rpc("eth_sendTransaction", call)
        return hash_

    def mine(self, blocks: int = 1) -> None:
        self.node.mine(blocks)
        self.monitor.scanned(self.node.height)


ENDPOINTS = {"subscription": "ws", "polling": "http"}


@pytest.fixture(scope="module", params=ENDPOINTS)
def waiting(
    request: Any, make_node: Any, make_receiver: Any, watch: Any, write_config: Any, tmp_path_factory: Any
) -> Pending:
    """One node, one receiver and one monitor for all tests of a way to hear."""
    node, soc = make_node("--no-mining"), make_receiver()
    wallets = {f"{request.param}-{n}": address for n, address in enumerate(node.accounts[:8])}
    for address in wallets.values():
        node.rpc("eth_sendTransaction", {"from": address, "to": node.accounts[-1], "value": hex(ETHER)})
    node.mine()
    path = write_config(tmp_path_factory.mktemp("mempool"), node, wallets, soc)
    endpoint = f"{ENDPOINTS[request.param]}://127.0.0.1:{node.port}"
    text = path.read_text().replace(node.endpoints, f'["{endpoint}"], poll_seconds: 0.3')
    path.write_text(text)
    return Pending(node, soc, watch(path).ready(), iter(wallets.items()))


def test_a_drain_is_told_before_it_is_mined_and_confirmed_after(waiting: Pending) -> None:
    """One incident, one alarm, one confirmation; the twin, an ordinary payment that waits, says nothing."""
    entity, address = waiting.wallet()
    benign, other = waiting.wallet()
    waiting.send(other, waiting.node.accounts[-1], 1)
    thief = waiting.thief()
    hash_ = waiting.send(address, thief, 9000)
    height = waiting.node.height
    opened = waiting.soc.wait(entity, "incident.opened")
    assert waiting.node.height == height, "it was to be told before it is mined"
    data, incident = opened.message["data"], opened.incident
    assert data["title"].startswith("Unconfirmed: ") and incident["unconfirmed"] is True
    assert incident["suspects"] == [thief] and incident["lost"][0]["value"] == str(9000 * ETHER)
    (finding,) = incident["findings"]
    assert finding["tx"] == hash_ and finding["evidence"]["pending"] is True
    assert any("Not yet confirmed" in line for line in incident["explanation"])
    waiting.mine()
    mined = waiting.soc.wait(entity, "incident.updated")
    assert mined.incident["id"] == incident["id"] and mined.incident["unconfirmed"] is False
    assert [f["id"] for f in mined.incident["findings"]] == [finding["id"]]
    assert "pending" not in mined.incident["findings"][0]["evidence"]
    assert mined.incident["opened_block"] == waiting.node.height
    waiting.mine()
    assert [post.type for post in waiting.soc.of(entity)] == ["incident.opened", "incident.updated"]
    assert waiting.soc.of(benign) == []


def test_a_rescue_by_a_higher_fee_retracts_it(waiting: Pending) -> None:
    """The owner sends nothing to himself with the same nonce: the alarm ends, and says what replaced it."""
    entity, address = waiting.wallet()
    waiting.send(address, waiting.thief(), 9000, nonce="0x1")
    opened = waiting.soc.wait(entity, "incident.opened")
    cancel = waiting.send(address, address, 0, gwei=50, nonce="0x1")
    retracted = waiting.soc.wait(entity, "incident.retracted")
    assert retracted.incident["id"] == opened.incident["id"] and retracted.incident["lost"] == []
    assert any(f"replaced by {cancel}" in line for line in retracted.incident["explanation"])
    waiting.mine(2)
    assert [post.type for post in waiting.soc.of(entity)] == ["incident.opened", "incident.retracted"]


def test_a_race_to_another_address_is_one_incident(waiting: Pending) -> None:
    """The thief outbids himself: both destinations are suspects until a block decides."""
    entity, address = waiting.wallet()
    first, second = waiting.thief(), waiting.thief()
    waiting.send(address, first, 9000, nonce="0x1")
    opened = waiting.soc.wait(entity, "incident.opened")
    waiting.send(address, second, 9500, gwei=50, nonce="0x1")
    racing = waiting.soc.wait(entity, "incident.updated")
    assert set(racing.incident["suspects"]) == {first, second} and racing.incident["unconfirmed"] is True
    assert any("race" in line for line in racing.incident["explanation"])
    waiting.mine()
    mined = waiting.soc.wait(entity, "incident.updated", count=2)
    assert mined.incident["id"] == opened.incident["id"] and mined.incident["suspects"] == [second]
    assert mined.incident["lost"][0]["value"] == str(9500 * ETHER) and not mined.incident["unconfirmed"]


def test_a_dropped_transaction_is_retracted(waiting: Pending) -> None:
    """No node knows it any more: some blocks later it did not happen."""
    entity, address = waiting.wallet()
    hash_ = waiting.send(address, waiting.thief(), 9000)
    waiting.soc.wait(entity, "incident.opened")
    waiting.node.rpc("anvil_dropTransaction", hash_)
    for _ in range(40):  # the node is asked twice first, and then some blocks pass
        waiting.mine()
        try:
            retracted = waiting.soc.wait(entity, "incident.retracted", seconds=0.5)
        except AssertionError:
            continue
        break
    else:
        pytest.fail("it was never retracted")
    assert any("dropped" in line for line in retracted.incident["explanation"])


def test_a_delegation_that_waits_is_told_before_it_holds(waiting: Pending) -> None:
    """A stranger brings what the account's key signed (EIP-7702): one finding, before its block and after it."""
    entity, address = waiting.wallet()
    Account.enable_unaudited_hdwallet_features()
    place = f"m/44'/60'/0'/0/{waiting.node.accounts.index(address)}"
    key, delegate = Account.from_mnemonic(MNEMONIC, account_path=place), f"0x{0xF6:040x}"
    signed = Account.sign_authorization({"chainId": 31337, "address": delegate, "nonce": 1}, key.key)
    entry = {"chainId": "0x7a69", "address": delegate, "nonce": "0x1", "yParity": hex(signed.y_parity),
             "r": hex(signed.r), "s": hex(signed.s)}  # fmt: skip
    waiting.send(waiting.node.accounts[-2], delegate, 0, gas="0x40000", type="0x4", authorizationList=[entry])
    opened = waiting.soc.wait(entity, "incident.opened")
    (finding,) = opened.incident["findings"]
    assert finding["detector"] == "CT-12" and finding["evidence"]["mempool"] == ["MP-1", "MP-4"]
    assert opened.incident["unconfirmed"] and opened.incident["severity"] == "critical"
    waiting.mine()
    mined = waiting.soc.wait(entity, "incident.updated")
    assert [f["id"] for f in mined.incident["findings"]] == [finding["id"]] and not mined.incident["unconfirmed"]


def test_it_is_settled_after_a_restart(waiting: Pending, watch: Callable[..., Any]) -> None:
    """Killed while it waits, mined while nobody looks: confirmed at the next start."""
    entity, address = waiting.wallet()
    waiting.send(address, waiting.thief(), 9000)
    opened = waiting.soc.wait(entity, "incident.opened")
    waiting.monitor.kill()
    waiting.node.mine()
    waiting.monitor = watch(waiting.monitor.config).ready()
    mined = waiting.soc.wait(entity, "incident.updated")
    assert mined.incident["id"] == opened.incident["id"] and not mined.incident["unconfirmed"]
    metrics = waiting.monitor.http("GET", "/metrics")[1]
    assert "heistwatch_mempool_dropped_total" in metrics
