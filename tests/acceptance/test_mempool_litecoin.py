"""Thefts that wait on a real node of the Bitcoin family, from outside: alarm before the block, and whatever follows.

Replacement to the same and to another destination, cancellation, children, a double spend in a block, eviction, a
reorg that puts the theft back, a restart while it waits. All of it is one incident each time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import pytest

CHAIN = "bip122:530827f38f93b43ed12af0b3ad25a288"
COIN = 10**8
REPLACEABLE = 0xFFFFFFFD
Point = tuple[str, int]


class Waiting:
    """A node that mines when it is told to, and a monitor of it. Each wallet is one address with 60 and 40 coins."""

    def __init__(self, node: Any, soc: Any, wallets: Mapping[str, str]) -> None:
        self.node, self.soc, self._free = node, soc, iter(wallets.items())
        self.monitor: Any = None
        self._coins: dict[str, list[Point]] = {address: [] for address in wallets.values()}
        for part in (60, 40):
            self.node.pay(dict.fromkeys(self._coins, Decimal(part)))
            found = self.node.rpc("listunspent", 0, 9999999, list(self._coins))
            for coin in found:  # the node's own payments are to leave them alone
                self._coins[coin["address"]].append((coin["txid"], coin["vout"]))
            self.node.rpc("lockunspent", False, [{"txid": coin["txid"], "vout": coin["vout"]} for coin in found])
        self.node.mine()

    def wallet(self) -> tuple[str, str, list[Point]]:
        """(entity, address, coins) that no other test uses."""
        entity, address = next(self._free)
        return entity, address, self._coins[address]

    def address(self) -> str:
        """One of nobody in particular."""
        found: str = self.node.rpc("getnewaddress", "", "bech32")
        return found

    def made(self, coins: Sequence[Point], pays: Mapping[str, str]) -> str:
        """A signed transaction, in hex; what is missing in ``pays`` is the fee."""
        inputs = [{"txid": txid, "vout": vout, "sequence": REPLACEABLE} for txid, vout in coins]
        raw = self.node.rpc("createrawtransaction", inputs, [{to: value} for to, value in pays.items()])
        signed = self.node.rpc("signrawtransactionwithwallet", raw)
        assert signed["complete"], signed
        found: str = signed["hex"]
        return found

    def send(self, coins: Sequence[Point], pays: Mapping[str, str]) -> str:
        """A transaction that waits; its hash."""
        found: str = self.node.rpc("sendrawtransaction", self.made(coins, pays), 0)
        return found

    def mine(self, blocks: int = 1) -> list[str]:
        hashes: list[str] = self.node.mine(blocks)
        self.scanned()
        return hashes

    def mine_without(self, blocks: int = 1, *raws: str) -> None:
        """Blocks that leave the pool as it is; ``raws`` are in the first."""
        for n in range(blocks):
            self.node.rpc("generateblock", self.node.miner, list(raws) if n == 0 else [])
        self.scanned()

    def scanned(self) -> None:
        self.monitor.scanned(self.node.height, CHAIN)

    def kinds(self, entity: str) -> list[str]:
        return [post.type.removeprefix("incident.") for post in self.soc.of(entity)]

    def now(self, post: Any) -> dict[str, Any]:
        """The incident of a message as it is now."""
        status, found = self.monitor.http("GET", f"/incidents/{post.incident['id']}")
        assert status == 200
        incident: dict[str, Any] = found
        return incident


@pytest.fixture(scope="module")
def waiting(litecoind: Any, make_receiver: Any, watch: Any, write_config: Any, tmp_path_factory: Any) -> Waiting:
    """One node without an index, one receiver and one monitor for all tests."""
    node, soc = litecoind(options=("-mempoolreplacement=1", "-mempoolexpiry=1")), make_receiver()
    kinds = ("bech32", "legacy", "p2sh-segwit")
    wallets = {f"owner-{n}": node.rpc("getnewaddress", "", kinds[n % 3]) for n in range(9)}
    node.mine(120)
    found = Waiting(node, soc, wallets)
    path = write_config(tmp_path_factory.mktemp("mempool"), None, {}, soc)
    lines = path.read_text().split("\n")
    lines[1] = (
        f'chains: [{{name: ltc, kind: bitcoin, chain_id: "{CHAIN}", endpoints: ["{node.url}"], backfill: "0", '
        "poll_seconds: 0.2}]"
    )
    lines[3:3] = [
        f'  - {{id: wallet-{entity}, entity: {entity}, role: hot, addresses: ["ltc:{address}"]}}'
        for entity, address in wallets.items()
    ]
    path.write_text("\n".join(lines))
    found.monitor = watch(path).ready()
    found.mine()
    return found


def units(coins: str) -> str:
    return str(int(Decimal(coins) * COIN))


def test_a_drain_is_told_before_it_is_mined_and_confirmed_after(waiting: Waiting) -> None:
    """One alarm, one confirmation; the twins, a payment with change and a consolidation that wait, say nothing."""
    entity, _, coins = waiting.wallet()
    benign, own, others = waiting.wallet()
    change = waiting.send(others[:1], {waiting.address(): "0.05", own: "59.9499"})
    waiting.send([(change, 1), others[1]], {own: "99.9498"})
    thief = waiting.address()
    hash_ = waiting.send(coins, {thief: "99.999"})
    height = waiting.node.height
    opened = waiting.soc.wait(entity, "incident.opened")
    assert waiting.node.height == height, "it was to be told before it is mined"
    incident = opened.incident
    assert opened.message["data"]["title"].startswith("Unconfirmed: ") and incident["unconfirmed"] is True
    assert incident["suspects"] == [thief] and incident["lost"][0]["value"] == units("99.999")
    (finding,) = incident["findings"]
    assert finding["tx"] == hash_ and finding["evidence"]["pending"] is True and finding["evidence"]["replaceable"]
    assert any("same coins at a higher fee" in line for line in incident["explanation"])
    waiting.mine()
    mined = waiting.soc.wait(entity, "incident.updated")
    assert mined.incident["id"] == incident["id"] and mined.incident["unconfirmed"] is False
    assert [f["id"] for f in mined.incident["findings"]] == [finding["id"]]
    assert "pending" not in mined.incident["findings"][0]["evidence"]
    waiting.mine()
    assert waiting.kinds(entity) == ["opened", "updated"] and waiting.kinds(benign) == []


def test_a_cancellation_takes_the_alarm_back(waiting: Waiting) -> None:
    """The owner sends one of the coins to himself at a higher fee."""
    entity, own, coins = waiting.wallet()
    waiting.send(coins, {waiting.address(): "99.999"})
    opened = waiting.soc.wait(entity, "incident.opened")
    rescue = waiting.send(coins[:1], {own: "59.9"})
    gone = waiting.soc.wait(entity, "incident.retracted")
    assert gone.incident["id"] == opened.incident["id"] and gone.incident["lost"] == []
    assert any(f"replaced by {rescue}" in line for line in gone.incident["explanation"])
    waiting.mine(2)
    assert waiting.kinds(entity) == ["opened", "retracted"]


def test_fee_bump_and_race_are_one_incident(waiting: Waiting) -> None:
    """The thief raises his fee, then pays another address of his: it counts once, and a block decides."""
    entity, _, coins = waiting.wallet()
    first, second = waiting.address(), waiting.address()
    waiting.send(coins, {first: "99.999"})
    opened = waiting.soc.wait(entity, "incident.opened")
    bump = waiting.send(coins, {first: "99.99"})
    waiting.soc.wait(entity, "incident.updated")
    last = waiting.send(coins[:1], {second: "59.9"})
    racing = waiting.soc.wait(entity, "incident.updated", count=2)
    assert set(racing.incident["suspects"]) == {first, second} and racing.incident["unconfirmed"] is True
    assert racing.incident["lost"][0]["value"] == units("59.9")
    assert any(f"{last} spends the coins of {bump}" in line for line in racing.incident["explanation"])
    waiting.mine()
    mined = waiting.soc.wait(entity, "incident.updated", count=3)
    assert mined.incident["suspects"] == [second] and mined.incident["unconfirmed"] is False
    assert mined.incident["lost"][0]["value"] == units("59.9")
    assert {post.incident["id"] for post in waiting.soc.of(entity)} == {opened.incident["id"]}
    assert set(waiting.kinds(entity)) == {"opened", "updated"}


def test_a_double_spend_in_a_block_ends_it_and_its_child(waiting: Waiting) -> None:
    """A miner has the owner's own spend of a coin: neither the theft nor what spends its change can ever be."""
    entity, own, coins = waiting.wallet()
    thief = waiting.address()
    theft = waiting.send(coins, {thief: "60", own: "39.999"})
    opened = waiting.soc.wait(entity, "incident.opened")
    child = waiting.send([(theft, 1)], {thief: "39.99"})
    waiting.soc.wait(entity, "incident.escalated" if "escalated" in waiting.kinds(entity) else "incident.updated")
    assert {f["tx"] for f in waiting.now(opened)["findings"]} == {theft, child}
    waiting.mine_without(1, waiting.made(coins[1:], {own: "39.9"}))
    gone = waiting.soc.wait(entity, "incident.retracted")
    assert gone.incident["id"] == opened.incident["id"] and gone.incident["lost"] == []
    waiting.mine(2)
    assert waiting.kinds(entity)[-1] == "retracted"


def test_evicted_it_is_taken_back_some_blocks_later(waiting: Waiting) -> None:
    """The node's pool lets go what waited for long; as other nodes may have it still, some blocks pass."""
    entity, _, coins = waiting.wallet()
    theft = waiting.send(coins, {waiting.address(): "99.999"})
    waiting.soc.wait(entity, "incident.opened")
    waiting.node.rpc("setmocktime", int(time.time()) + 2 * 3600)
    waiting.node.pay({waiting.address(): Decimal("0.1")})  # the next one that comes in makes it look
    waiting.node.rpc("setmocktime", 0)
    assert theft not in waiting.node.rpc("getrawmempool")
    for _ in range(40):
        waiting.mine_without()
        try:
            gone = waiting.soc.wait(entity, "incident.retracted", seconds=0.5)
        except AssertionError:
            continue
        break
    else:
        pytest.fail("it was never retracted")
    assert any("dropped" in line for line in gone.incident["explanation"])


def test_a_reorg_puts_it_back_into_the_pool(waiting: Waiting) -> None:
    """Its block is no more, and the new branch passes without it: it waits again, and nobody hears that it is over."""
    entity, _, coins = waiting.wallet()
    theft = waiting.send(coins, {waiting.address(): "99.999"})
    opened = waiting.soc.wait(entity, "incident.opened")
    (block,) = waiting.mine()
    waiting.soc.wait(entity, "incident.updated")
    waiting.node.rpc("invalidateblock", block)
    assert theft in waiting.node.rpc("getrawmempool")
    waiting.mine_without(4)
    assert waiting.now(opened)["unconfirmed"] is True and waiting.now(opened)["status"] == "open"
    waiting.mine(2)
    incident = waiting.now(opened)
    assert incident["unconfirmed"] is False and incident["lost"][0]["value"] == units("99.999")
    assert "retracted" not in waiting.kinds(entity)


@pytest.mark.parametrize("end", ["mined", "cancelled"])
def test_after_a_restart_it_is_settled(waiting: Waiting, watch: Callable[..., Any], end: str) -> None:
    """Killed while it waits: mined while nobody looks, or replaced by one that waits at the next start."""
    entity, own, coins = waiting.wallet()
    waiting.send(coins, {waiting.address(): "99.999"})
    opened = waiting.soc.wait(entity, "incident.opened")
    waiting.monitor.kill()
    if end == "mined":
        waiting.node.mine()
    else:
        waiting.send(coins[:1], {own: "59.9"})
    waiting.monitor = watch(waiting.monitor.config).ready()
    after = waiting.soc.wait(entity, "incident.updated" if end == "mined" else "incident.retracted")
    assert after.incident["id"] == opened.incident["id"] and after.incident["unconfirmed"] is (end != "mined")
    assert waiting.monitor.http("GET", "/metrics")[1].count("heistwatch_mempool_dropped_total{") == 1
