"""The live monitor on a real node of the Bitcoin family, watching descriptor wallets: litecoind, regtest.

The keys are made here, and transactions signed with them: the monitor knows the public descriptors alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from embit import bech32
from embit.bip32 import HDKey
from embit.hashes import hash160
from embit.networks import NETWORKS

CHAIN = "bip122:530827f38f93b43ed12af0b3ad25a288"
ASSET = f"{CHAIN}/slip44:1"
REGTEST = NETWORKS["regtest"]
COIN = 100_000_000
HELD = Decimal(100)  # coins of each wallet at the start
FEE = Decimal("0.0001")
FINAL, REPLACEABLE = 0xFFFFFFFE, 0xFFFFFFFD


class Purse:
    """A wallet of derived keys on a node: two branches, for payments and change."""

    def __init__(self, node: Any, name: str) -> None:
        self.node, self.entity = node, name
        self._account = HDKey.from_seed(f"{name:_<32}".encode(), version=REGTEST["xprv"]).derive("m/84h/1h/0h")
        self._next = [0, 0]
        self._keys: dict[str, Any] = {}
        self.coins: list[dict[str, Any]] = []  # unspent, as the tests know them

    @property
    def descriptors(self) -> list[str]:
        """What the monitor is given."""
        public = self._account.to_public().to_base58()
        return [f"ltc:wpkh({public}/{branch}/*)" for branch in (0, 1)]

    def address(self, branch: int = 0, index: int | None = None) -> str:
        """The next address of a branch, or the one of that index."""
        if index is None:
            index = self._next[branch]
        self._next[branch] = max(self._next[branch], index + 1)
        key = self._account.derive([branch, index]).key
        address = str(bech32.encode("rltc", 0, hash160(key.get_public_key().sec())))
        self._keys[address] = key
        return address

    def take(self, coins: list[dict[str, Any]], outputs: Mapping[str, Decimal], sequence: int = FINAL) -> str:
        """A signed transaction that spends these coins; what it pays to own addresses is not a coin yet."""
        inputs = [{"txid": c["txid"], "vout": c["vout"], "sequence": sequence} for c in coins]
        raw = self.node.rpc("createrawtransaction", inputs, [{to: str(value)} for to, value in outputs.items()])
        wifs = [self._keys[coin["address"]].wif(REGTEST) for coin in coins]
        known = [{key: c[key] for key in ("txid", "vout", "scriptPubKey", "amount")} for c in coins]
        signed = self.node.rpc("signrawtransactionwithkey", raw, wifs, known)
        assert signed["complete"], signed
        return str(signed["hex"])

    def send(self, outputs: Mapping[str, Decimal], *, coins: list[dict[str, Any]] | None = None, **how: Any) -> str:
        """Spend coins (all, where not said), into the mempool; its hash. What pays this purse is found by `look`."""
        spent = list(self.coins) if coins is None else coins
        hash = str(self.node.rpc("sendrawtransaction", self.take(spent, outputs, **how)))
        self.coins = [coin for coin in self.coins if coin not in spent]
        return hash

    def look(self) -> Decimal:
        """Read the coins from the node; their sum."""
        found = self.node.rpc("scantxoutset", "start", [f"addr({address})" for address in self._keys])["unspents"]
        self.coins = [
            {**coin, "amount": str(Decimal(str(coin["amount"]))), "address": coin["desc"].partition("(")[2][:-10]}
            for coin in found
        ]
        return sum((Decimal(coin["amount"]) for coin in self.coins), Decimal(0))


class Sea:
    """One node, one receiver, one monitor; every test takes a purse of its own."""

    def __init__(self, node: Any, soc: Any, monitor: Any, purses: list[Purse]) -> None:
        self.node, self.soc, self.monitor, self._free = node, soc, monitor, purses
        self.strangers = 0

    def purse(self) -> Purse:
        """A watched wallet with 100 coins that no other test uses."""
        return self._free.pop(0)

    def stranger(self) -> str:
        """An address that nobody used."""
        self.strangers += 1
        return str(bech32.encode("rltc", 0, self.strangers.to_bytes(20, "big")))

    def scanned(self) -> None:
        """Wait until the newest block is stored."""
        self.monitor.scanned(self.node.rpc("getblockcount"), CHAIN)


def fund(node: Any, purses: list[Purse]) -> None:
    """Two coins for each, of 60 and 40."""
    for part in (Decimal(60), Decimal(40)):
        node.pay({purse.address(): part for purse in purses})
    node.mine(1)
    for purse in purses:
        assert purse.look() == HELD


def configuration(
    write_config: Callable[..., Path], folder: Path, node: Any, purses: list[Purse], soc: Any, more: str = ""
) -> Path:
    """A configuration that watches the descriptors of these purses."""
    path = write_config(folder, None, {}, soc, more)
    lines = path.read_text().split("\n")
    lines[1] = (
        f'chains: [{{name: ltc, kind: bitcoin, chain_id: "{CHAIN}", endpoints: ["{node.url}"], backfill: "0", '
        "poll_seconds: 0.2}]"
    )
    wallets = [
        f"  - {{id: wallet-{p.entity}, entity: {p.entity}, role: hot, addresses: {p.descriptors}}}".replace("'", '"')
        for p in purses
    ]
    lines[3:3] = wallets
    path.write_text("\n".join(lines))
    return path


@pytest.fixture(scope="module")
def sea(
    litecoind: Any, make_receiver: Any, watch: Any, write_config: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Sea]:
    """The shared monitor, ready, with the balances of all wallets."""
    node, soc = litecoind(txindex=True, options=("-mempoolreplacement=1",)), make_receiver()
    node.mine(140)
    purses = [Purse(node, f"house-{n}") for n in range(8)]
    fund(node, purses)
    monitor = watch(configuration(write_config, tmp_path_factory.mktemp("sea"), node, purses, soc)).ready()
    sea = Sea(node, soc, monitor, purses)
    node.mine(1)
    sea.scanned()
    yield sea


def lost(post: Any) -> list[tuple[str, str]]:
    """(asset, base units) that an incident counts as lost."""
    return [(item["asset"], item["value"]) for item in post.incident["lost"]]


def test_drain(sea: Sea) -> None:
    """A drained descriptor wallet alarms before its block, and is the same incident when it is mined."""
    purse, thief = sea.purse(), sea.stranger()
    hash = purse.send({thief: HELD - FEE})
    post = sea.soc.wait(purse.entity)
    assert post.type == "incident.opened" and post.incident["suspects"] == [thief]
    assert lost(post) == [(ASSET, str(int((HELD - FEE) * COIN)))]
    assert [finding["tx"] for finding in post.incident["findings"]] == [hash]
    assert post.message["data"]["severity"] == "critical"
    sea.node.mine(1)
    sea.scanned()
    assert {p.incident["id"] for p in sea.soc.of(purse.entity)} == {post.incident["id"]}
    assert "incident.retracted" not in [p.type for p in sea.soc.of(purse.entity)]


def test_ordinary_days_are_silent(sea: Sea) -> None:
    """A batch of small withdrawals with change, then a consolidation: many flows, and nothing to say."""
    purse = sea.purse()
    batch = {sea.stranger(): Decimal("0.01") for _ in range(20)}
    purse.send({**batch, purse.address(1): HELD - Decimal("0.2") - FEE})
    sea.node.mine(1)
    left = purse.look()
    assert left == HELD - Decimal("0.2") - FEE
    halves = {purse.address(1): left / 2, purse.address(1): left / 2 - FEE}
    purse.send(halves)
    sea.node.mine(1)
    left = purse.look()
    purse.send({purse.address(): left - FEE})
    sea.node.mine(1)
    sea.scanned()
    assert sea.soc.of(purse.entity) == []


def test_replaced_by_fee(sea: Sea) -> None:
    """A theft whose fee is raised while it waits stays one incident, and counts once."""
    purse, thief = sea.purse(), sea.stranger()
    coins = list(purse.coins)
    purse.send({thief: HELD - FEE}, coins=coins, sequence=REPLACEABLE)
    opened = sea.soc.wait(purse.entity, "incident.opened")
    second = purse.send({thief: HELD - 10 * FEE}, coins=coins, sequence=REPLACEABLE)
    sea.node.mine(1)
    sea.scanned()
    code = sea.monitor.http("GET", f"/incidents/{opened.incident['id']}")
    assert code[0] == 200 and code[1]["status"] == "open"
    assert [item["value"] for item in code[1]["lost"]] == [str(int((HELD - 10 * FEE) * COIN))]
    assert {finding["tx"] for finding in code[1]["findings"]} >= {second}
    assert {p.incident["id"] for p in sea.soc.of(purse.entity)} == {opened.incident["id"]}


def test_rescued_by_double_spend(sea: Sea) -> None:
    """The owner's own spend is mined in the place of a theft that waits: the alarm is taken back."""
    purse, thief = sea.purse(), sea.stranger()
    coins = list(purse.coins)
    purse.send({thief: HELD - FEE}, coins=coins)
    opened = sea.soc.wait(purse.entity, "incident.opened")
    rescue = purse.take(coins, {purse.address(1): HELD - 2 * FEE})
    sea.node.rpc("generateblock", sea.node.miner, [rescue])
    gone = sea.soc.wait(purse.entity, "incident.retracted")
    assert gone.incident["id"] == opened.incident["id"] and gone.incident["lost"] == []


def test_reorg_keeps_the_theft(sea: Sea) -> None:
    """The block of a theft is invalidated and the theft mined again: nobody hears a second time."""
    purse, thief = sea.purse(), sea.stranger()
    hash = purse.send({thief: HELD - FEE})
    sea.node.mine(1)
    opened = sea.soc.wait(purse.entity, "incident.opened")
    sea.scanned()
    sea.node.rpc("invalidateblock", sea.node.rpc("getbestblockhash"))
    sea.node.mine(2, address=sea.stranger())
    assert sea.node.rpc("getrawtransaction", hash, True)["confirmations"] == 2
    sea.scanned()
    found = sea.monitor.http("GET", f"/incidents/{opened.incident['id']}")[1]
    assert found["status"] == "open"
    assert [post.type for post in sea.soc.of(purse.entity)] == ["incident.opened"]


def test_reorg_drops_the_theft(sea: Sea) -> None:
    """The other branch spends the coins otherwise: what was mined is retracted."""
    purse, thief = sea.purse(), sea.stranger()
    coins = list(purse.coins)
    purse.send({thief: HELD - FEE}, coins=coins)
    sea.node.mine(1)
    opened = sea.soc.wait(purse.entity, "incident.opened")
    sea.scanned()
    sea.node.rpc("invalidateblock", sea.node.rpc("getbestblockhash"))
    rescue = purse.take(coins, {purse.address(1): HELD - 2 * FEE})
    sea.node.rpc("generateblock", sea.node.miner, [rescue])
    sea.node.mine(1, address=sea.stranger())
    gone = sea.soc.wait(purse.entity, "incident.retracted")
    assert gone.incident["id"] == opened.incident["id"] and gone.incident["status"] == "retracted"


def test_gap_limit_follows_use(sea: Sea) -> None:
    """Coins on the address at the end of the gap are watched, and so are those that follow; a theft of them alarms."""
    purse, thief = sea.purse(), sea.stranger()
    far = [purse.address(0, 19), purse.address(0, 35), purse.address(0, 50)]
    sea.node.pay(dict.fromkeys(far[:1], Decimal(10)))
    sea.node.mine(1)
    sea.node.pay(dict.fromkeys(far[1:], Decimal(200)))
    sea.node.mine(1)
    sea.scanned()
    assert purse.look() == HELD + 410
    purse.send({thief: Decimal(400) - FEE}, coins=[c for c in purse.coins if Decimal(c["amount"]) == 200])
    sea.node.mine(1)
    post = sea.soc.wait(purse.entity, "incident.opened")
    assert lost(post) == [(ASSET, str(int((400 - FEE) * COIN)))]


def test_node_away(sea: Sea) -> None:
    """A theft while the node is down for the monitor: found when it is back, in its block."""
    purse, thief = sea.purse(), sea.stranger()
    raw = purse.take(purse.coins, {thief: HELD - FEE})
    sea.node.stop()
    sea.node.start()
    sea.node.rpc("sendrawtransaction", raw)
    sea.node.mine(1)
    post = sea.soc.wait(purse.entity, "incident.opened", seconds=40.0)
    assert post.incident["suspects"] == [thief]
    sea.scanned()
    assert sea.monitor.coverage(CHAIN)["gaps"] == []


@pytest.mark.parametrize("pruned", [False, True])
def test_node_without_index(
    pruned: bool, litecoind: Any, make_receiver: Any, watch: Any, write_config: Any, tmp_path: Path
) -> None:
    """No index of transactions: spends are seen all the same, also those of the time when the monitor was down."""
    node, soc = litecoind(txindex=False, prune=pruned), make_receiver()
    node.mine(120)
    purses = [Purse(node, f"pruned-{n}") for n in range(2)]
    fund(node, purses)
    config = configuration(write_config, tmp_path, node, purses, soc)
    monitor = watch(config).ready()
    node.mine(1)
    monitor.scanned(node.rpc("getblockcount"), CHAIN)
    thief = bech32.encode("rltc", 0, b"\x01" * 20)
    purses[0].send({thief: HELD - FEE})
    node.mine(1)
    post = soc.wait(purses[0].entity, "incident.opened")
    assert lost(post) == [(ASSET, str(int((HELD - FEE) * COIN)))]
    monitor.scanned(node.rpc("getblockcount"), CHAIN)
    monitor.kill()
    purses[1].send({thief: HELD - FEE})
    node.mine(3)
    watch(config).ready()
    post = soc.wait(purses[1].entity, "incident.opened")
    assert lost(post)[0][0] == ASSET and int(lost(post)[0][1]) >= int((HELD - FEE) * COIN)
