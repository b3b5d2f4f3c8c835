"""New coins of a miner: they count when they may be spent, are undone with their block, and stored with it."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from chains.tables.layout import FRAME
from monitor.assets import AssetNames
from monitor.engine import Engine, Folded
from monitor.maturity import MaturityBook
from monitor.model import Block, BlockRef, Role, Severity, Transfer, TransferKind, Tx, TxFlag, Wallet
from monitor.replay import replay
from monitor.watchlist import Watchlist

BTC, DOGE = "bip122:000000000019d6689c085ae165831e93", "bip122:1a91e3dace36e2be3bf030a65679fe82"
COIN = 10**8
START = 1_700_006_400
Coins = list[tuple[str, int]]
POOL = Wallet("pool", "Miner", Role.HOT, ((BTC, "m1"), (BTC, "m2"), (DOGE, "d1")))


class Chain:
    """A chain whose blocks pay a pool."""

    def __init__(self, chain: str = BTC, *, told: int | None = None) -> None:
        self.chain, self.asset = chain, f"{chain}/slip44:0"
        self.engine = Engine(Watchlist([POOL]), [self.asset])
        self.told = told
        self.undo: dict[int, Any] = {}

    def block(self, number: int, *txs: tuple[Coins, Coins]) -> Folded:
        """Transactions are inputs and outputs; one without inputs makes new coins."""
        ref, moves = BlockRef(self.chain, number, f"b{number}"), list[Transfer]()
        for place, (inputs, outputs) in enumerate(txs):
            tx = Tx(f"t{number}-{place}", place, flags=0 if inputs else TxFlag.COINBASE)
            owners, values = tuple(a for a, _ in inputs), tuple(v for _, v in inputs)
            for to, value in outputs:
                moves.append(Transfer(ref, tx, len(moves), TransferKind.NATIVE, self.asset, owners, to, value, values))
        told = {("pool", self.chain, self.asset): self.told} if self.told is not None else {}
        self.told = None
        folded = self.engine.connect(Block(ref, "", START + 600 * number, tuple(moves)), told)
        self.undo[number] = folded.undo
        return folded

    @property
    def balance(self) -> int:
        """What the statistics take for the balance."""
        slot = self.engine.state.asset("pool", self.chain, self.asset)
        return round(self.engine.state.balance(slot)[0]) if slot >= 0 else 0


def reward(to: str = "m1", value: int = 3 * COIN) -> tuple[Coins, Coins]:
    return [], [(to, value)]


def pay(value: int, to: str = "customer", source: str = "m2") -> tuple[Coins, Coins]:
    return [(source, value)], [(to, value)]


def test_new_coins_count_when_they_are_mature() -> None:
    """A flow of the wallet each; the balance rises a hundred blocks later, before what is paid then."""
    chain = Chain(told=50 * COIN)
    assert [f.value for f in chain.block(1, reward(), pay(COIN)).flows] == [3 * COIN, COIN]
    assert chain.balance == 49 * COIN
    chain.block(100, pay(COIN))
    assert chain.balance == 48 * COIN
    chain.block(101, pay(COIN))  # 1 + 100: the first block that may spend them
    assert chain.balance == 50 * COIN and chain.engine.intake.maturing.dump() == []


def test_a_dogecoin_matures_later() -> None:
    """After 240 blocks."""
    chain = Chain(DOGE, told=50)
    chain.block(1, ([], [("d1", 10)]))
    chain.block(240, ([("s", 5)], [("d1", 5)]))
    assert chain.balance == 55
    chain.block(241, ([("s", 5)], [("d1", 5)]))
    assert chain.balance == 70


def test_a_theft_of_all_that_can_be_stolen() -> None:
    """Mature coins alone could go: nine in ten of them are gone, not one in ten of everything."""
    chain = Chain(told=50 * COIN)
    for number in range(1, 100):
        chain.block(number, reward(), pay(COIN // 100))
    (hit,) = chain.block(100, pay(44 * COIN, "thief")).hits
    assert float(hit.record["gone"]) == pytest.approx(44 / 49.01, rel=0.03)


def test_a_told_balance_has_all_new_coins_in_it() -> None:
    """They do not count a second time."""
    chain = Chain(told=50 * COIN)
    chain.block(1, reward())
    chain.told = 60 * COIN
    chain.block(2, pay(COIN))
    chain.block(150, pay(COIN))
    assert chain.balance == 58 * COIN


def test_one_entry_a_block() -> None:
    """Whoever pays a pool a thousand times in one block fills nothing."""
    chain = Chain(told=50 * COIN)
    chain.block(1, ([], [("m1", 1)] * 1000))
    ((_, value),) = chain.engine.intake.maturing.dump()
    assert value.decode().count("[") == 2
    chain.block(101, pay(COIN))
    assert chain.balance == 49 * COIN + 1000


def test_blocks_are_undone_and_stored() -> None:
    """Each block back gives the state of before it; a fresh engine on the stored state goes on the same way."""
    chain, dumps = Chain(told=50 * COIN), []
    txs = {1: [reward()], 2: [reward("m2"), pay(COIN)], 101: [reward(), pay(COIN)], 102: [pay(COIN)], 300: [pay(COIN)]}
    for number, mine in txs.items():
        dumps.append(chain.engine.dump())
        chain.block(number, *mine)
        after = Engine(Watchlist([POOL]), [chain.asset])
        after.load(chain.engine.dump())
        assert after.dump() == chain.engine.dump()
    assert any(key.startswith(b"m\x1f") for key, _ in dumps[2]) and chain.engine.intake.maturing.dump() == []
    for number in reversed(txs):
        chain.engine.disconnect(chain.undo[number])
        assert chain.engine.dump() == dumps.pop()
    assert MaturityBook().get(b"m\x1fpool\x1f" + BTC.encode()) is None


def test_history_gives_the_same_state() -> None:
    """Live blocks and a table; in tables a coinbase has no inputs at all."""
    chain, rows = Chain(), []
    txs = {1: [reward()], 50: [reward(), reward("m2")], 120: [pay(COIN)], 149: [pay(COIN)], 150: [pay(2 * COIN)]}
    for number, mine in txs.items():
        chain.block(number, *mine)
        for place, (inputs, outputs) in enumerate(mine):
            rows += [
                dict.fromkeys(FRAME) | {
                    "chain": BTC, "block_number": number, "block_timestamp": START + 600 * number, "kind": "native",
                    "transaction_hash": f"t{number}-{place}", "transaction_index": place, "transfer_index": len(rows),
                    "asset": chain.asset, "inputs": [a for a, _ in inputs] or None, "to_address": to,
                    "input_values": [str(v) for _, v in inputs] or None, "value": str(value), "amount": float(value),
                }
                for to, value in outputs
            ]  # fmt: skip
    past = Engine(Watchlist([POOL]), [chain.asset])
    found = replay(past, pl.DataFrame(rows, schema=dict(FRAME), orient="row"), AssetNames())
    assert past.dump() == chain.engine.dump() and found.flows == 6
    assert not [i for i in found.correlator.all() if i.severity >= Severity.HIGH]
