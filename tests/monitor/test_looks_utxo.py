"""What a transaction that spends coins looks like: fields, evidence, words; live blocks and history alike."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest

from chains.tables.layout import FRAME
from monitor.assets import AssetNames
from monitor.engine import Engine, Folded
from monitor.findings import finding_of
from monitor.intake import marks_of
from monitor.model import Block, BlockRef, Flow, Role, Transfer, TransferKind, Tx, TxFlag, Wallet
from monitor.replay import replay
from monitor.rows import SCRIPTS, count_bin, count_range, log_bin, log_range, pack_coin_marks, pack_marks
from monitor.watchlist import Watchlist

BTC = "bip122:000000000019d6689c085ae165831e93"
COIN, DAY = 10**8, 86400
ASSET = f"{BTC}/slip44:0"
START = 1_700_006_400
HOT = Wallet("hot", "One", Role.HOT, ((BTC, "q1"), (BTC, "q2")))
PAYMENTS = 120
# What the wallet's own transactions look like.
USUAL: dict[str, Any] = {
    "fee_rate": 20.0, "n_outputs": 2, "version": 2, "flags": TxFlag.REPLACEABLE, "script_type": "p2wpkh",
}  # fmt: skip
Coins = list[tuple[str, int]]


class Chain:
    """Blocks of one transaction each, of a wallet that holds a thousand coins."""

    def __init__(self) -> None:
        self.engine = Engine(Watchlist([HOT]), [ASSET])
        self.names = AssetNames()
        self.number = 0
        self.rows: list[dict[str, Any]] = []

    def block(self, inputs: Coins, outputs: Coins, **look: Any) -> Folded:
        self.number += 1
        at, told = START + self.number * 7200, {}
        if self.number == 1:
            told[("hot", BTC, ASSET)] = 1000 * COIN
        ref = BlockRef(BTC, self.number, f"b{self.number}")
        fee = sum(v for _, v in inputs) - sum(v for _, v in outputs)
        tx = Tx(f"t{self.number}", 1, **({"fee": fee} | USUAL | {"n_outputs": len(outputs)} | look))
        owners, values = tuple(a for a, _ in inputs), tuple(v for _, v in inputs)
        moves = tuple(
            Transfer(ref, tx, n, TransferKind.NATIVE, ASSET, owners, to, value, values)
            for n, (to, value) in enumerate(outputs)
        )
        self.rows += [_row(t, at) for t in moves]
        return self.engine.connect(Block(ref, "", at, moves), told)

    def settled(self) -> Chain:
        """After two weeks of small payments with change, and what arrives."""
        for n in range(PAYMENTS):
            value = COIN // 2 + n * 3331
            self.block([("q1", 3 * COIN)], [(f"c{n % 7}", value), ("q2", 3 * COIN - value - 4000 - n)])
        return self

    def theft(self, inputs: int = 1, **look: Any) -> tuple[float, str, list[str]]:
        """How unlike a theft of 400 coins looks, and what the finding says of that."""
        value = 400 * COIN + 12_345
        coins = [("q1", value + 7000 - inputs + 1), *[("q1", 1)] * (inputs - 1)]
        (hit,) = self.block(coins, [("thief", value)], **({"n_outputs": 2} | look)).hits
        finding = finding_of(hit, self.names)
        return float(hit.record["odd"]), finding.summary, list(finding.evidence["unlike"])


def _row(t: Transfer, at: int) -> dict[str, Any]:
    return dict.fromkeys(FRAME) | {
        "chain": BTC, "block_number": t.block.number, "block_timestamp": at, "transaction_hash": t.tx.hash,
        "transaction_index": t.tx.index, "transfer_index": t.index, "kind": "native", "asset": ASSET,
        "inputs": list(t.from_addresses), "input_values": [str(v) for v in t.input_values], "to_address": t.to_address,
        "value": str(t.value), "amount": float(t.value), "fee": str(t.tx.fee), "fee_rate": t.tx.fee_rate,
        "n_outputs": t.tx.n_outputs, "version": t.tx.version, "flags": int(t.tx.flags),
        "script_type": t.tx.script_type or None,
    }  # fmt: skip


def test_bins_have_their_ranges() -> None:
    """Each number lies in the range of its own bin, and ranges follow each other."""
    for bin_of, range_of in ((count_bin, count_range), (log_bin, log_range)):
        for number in [*range(1, 300), 4095, 4096, 8191, 8192, 11_000, 2**27, 2**40]:
            first, last = range_of(bin_of(number))
            assert first <= number and (last is None or number <= last)
        for place in range(1, 15):
            assert range_of(place)[1] == range_of(place + 1)[0] - 1
    assert (count_bin(None), count_bin(0), count_bin(-3)) == (0, 0, 0)


def test_fields_have_places_of_their_own() -> None:
    """One field alone changes its own bits; forms of scripts never look like a nonce."""
    none = pack_coin_marks(None, None, None, None, None, "")
    assert none == 0 and pack_coin_marks(None, None, None, 2, None, "") == 3 << 16
    assert pack_coin_marks(None, 131, None, None, None, "") == count_bin(131) << 8
    assert pack_coin_marks(None, None, 11_000, None, None, "") == 15 << 12
    assert pack_coin_marks(20.0, None, None, None, None, "") == pack_marks(20.0, None, None, None, None, None)
    forms = [pack_coin_marks(None, None, None, None, None, form) for form in (*SCRIPTS, "witness_v3", "nonstandard")]
    assert [mark >> 32 for mark in forms] == [1, 2, 3, 4, 5, 6, 7, 8, 9, 9] and all(m >> 24 & 3 == 2 for m in forms)
    flags = [pack_coin_marks(None, None, None, None, flag, "") >> 20 for flag in (0, 1, 4, TxFlag.COINJOIN | 1)]
    assert flags == [1, 2, 5, 2]  # what is no habit of one's own is no part of it


def test_inputs_are_counted_where_nobody_says_how_many() -> None:
    """A table names all inputs of a transaction: history has them as a live block has."""
    owners = ("q1",) * 131
    moved = Transfer(BlockRef(BTC, 1, "b"), Tx("t", 0), 0, TransferKind.NATIVE, ASSET, owners, "a", 5, (1,) * 131)
    flow = Flow(moved, "hot", Watchlist([HOT]).flows(Block(moved.block, "", 0, (moved,)))[-1].direction, "a", 5, 0)
    assert marks_of(flow) == marks_of(replace(flow, transfer=replace(moved, tx=Tx("t", 0, n_inputs=131))))
    assert marks_of(flow) >> 8 & 0xF == count_bin(131)


@pytest.mark.parametrize(
    ("look", "inputs", "words"),
    [
        ({"fee_rate": 600.0}, 1, "pays about 27 times its usual fee rate"),
        ({"fee_rate": 1.0}, 1, "pays about 1/19 of its usual fee rate"),
        ({}, 131, "spends 131 coins (usually 1)"),
        ({"n_outputs": 40}, 1, "has 40 outputs (usually 2)"),
        ({"version": 1}, 1, "has version 1 (usually 2)"),
        ({"script_type": "p2tr"}, 1, "spends coins of the form p2tr (usually p2wpkh)"),
        ({"flags": 0}, 1, "may not be replaced (BIP 125)"),
        ({"flags": TxFlag.REPLACEABLE | TxFlag.LOCKED}, 1, "has a lock time"),
        ({"flags": TxFlag.REPLACEABLE | TxFlag.ROUND_FEE, "fee": COIN // 10}, 1, "pays a round fee of 0.1 BTC"),
        ({"flags": TxFlag.REPLACEABLE | TxFlag.ROUND_AMOUNT}, 1, "moves a round amount"),
    ],
)
def test_each_field_is_evidence(look: dict[str, Any], inputs: int, words: str) -> None:
    """One field that is unlike the wallet's own adds weight, and the finding says which, against what is usual."""
    odd, summary, said = Chain().settled().theft(inputs, **look)
    assert odd >= 0.3 and said == [words]
    assert f"the transaction looks unlike the wallet's own: it {said[0]}" in summary


def test_the_first_transaction_of_dmm() -> None:
    """A fee of 0.1 BTC where 0.0013 is usual: the rate and the round amount, both in words, together the most."""
    flags = TxFlag.REPLACEABLE | TxFlag.ROUND_FEE
    odd, summary, said = Chain().settled().theft(fee=COIN // 10, fee_rate=20.0 * 77, flags=flags, n_outputs=1)
    assert odd >= 1.0 and {"pays about 76 times its usual fee rate", "pays a round fee of 0.1 BTC"} <= set(said)
    assert "pays a round fee of 0.1 BTC" in summary


def test_a_usual_look_says_nothing() -> None:
    """Negative: a thief inside the wallet's own software; no word of it."""
    odd, summary, said = Chain().settled().theft()
    assert odd == 0.0 and said == [] and "looks unlike" not in summary and "who signed" not in summary


def test_bithumb_s_four_hundred() -> None:
    """Positive: each of many transactions with a fee of exactly 0.1 is unlike, since a theft teaches nothing."""
    chain, found = Chain().settled(), []
    flags = TxFlag.REPLACEABLE | TxFlag.ROUND_FEE
    for n in range(20):
        value = 41 * COIN + n
        folded = chain.block([("q1", value + COIN // 10)], [("thief", value)], fee_rate=4e4, flags=flags, n_outputs=2)
        found += [float(hit.record["odd"]) for hit in folded.hits if hit.fired]
    assert found and min(found) >= 0.8


def test_a_wallet_whose_software_changes() -> None:
    """Look-alike: another version and taproot coins are unlike at first, and usual after some twenty payments."""
    chain = Chain().settled()
    new = {"version": 1, "script_type": "p2tr"}
    for n in range(25):
        value = COIN // 2 + n * 7717
        chain.block([("q1", 3 * COIN)], [(f"c{n % 7}", value), ("q2", 3 * COIN - value - 4000)], **new)
    odd, _, said = chain.theft(**new)
    assert odd < 0.15 and said == []


def test_batches_are_usual_where_they_are() -> None:
    """Look-alike: a wallet that pays forty customers at once does so again; one that does not is unlike."""
    chain = Chain().settled()
    for n in range(30):
        customers = [(f"b{n}-{m}", COIN // 100 + m * 77) for m in range(40)]
        chain.block([("q1", 3 * COIN)], [*customers, ("q2", 2 * COIN)])
    assert chain.theft(n_outputs=41)[2] == [] != Chain().settled().theft(n_outputs=41)[2]


def test_others_in_the_same_transaction_are_told() -> None:
    """Mixed owners and a CoinJoin are said; a payment of the wallet alone that only looks like one is not."""
    value = 400 * COIN
    mixed = [("q1", value), ("stranger", value)], [("thief", 2 * value - COIN // 10)]
    (hit,) = Chain().settled().block(*mixed).hits
    assert "others paid into the same transaction: this is the wallet's part of 799.9 BTC" in finding_of(
        hit, AssetNames()
    ).summary
    (hit,) = Chain().settled().block(*mixed, flags=TxFlag.REPLACEABLE | TxFlag.COINJOIN).hits
    assert "it looks like a CoinJoin of several owners" in finding_of(hit, AssetNames()).summary
    alone = [("q1", value), ("q2", value)], [("thief", value), ("thief2", value - 5000)]
    hits = Chain().settled().block(*alone, flags=TxFlag.REPLACEABLE | TxFlag.COINJOIN).hits
    assert hits and all("CoinJoin" not in finding_of(hit, AssetNames()).summary for hit in hits)


def test_missing_evidence() -> None:
    """Who signed is never asked where coins are spent; inputs that nobody knows, and a fee that nobody told, are."""
    value = 400 * COIN
    known = Chain().settled().block([("q1", value)], [("thief", value - 5000)]).hits[0]
    assert finding_of(known, AssetNames()).evidence["missing"] == ["long history: 2 active days, the rest is what "
                                                                  "wallets in general do"]
    (hit,) = Chain().settled().block([("q1", value), ("", 0)], [("thief", value)], fee=None, fee_rate=None).hits
    assert "owners and amounts of some inputs" in finding_of(hit, AssetNames()).evidence["missing"]
    bare = dict.fromkeys(("fee_rate", "version"))
    (hit,) = Chain().settled().block([("q1", value)], [("thief", value)], **bare).hits
    assert "fee rate and version" in finding_of(hit, AssetNames()).evidence["missing"]


@pytest.mark.parametrize("told_all", [True, False])
def test_history_is_folded_as_live_blocks_are(told_all: bool) -> None:
    """State and findings are equal, be it that a table tells the version, flags and the form of scripts or not."""
    live = Chain()
    less: dict[str, Any] = {} if told_all else {"version": None, "script_type": "", "flags": 0}
    odd = {"version": 1, "flags": TxFlag.ROUND_FEE, "script_type": "p2pkh"} | less
    for n in range(PAYMENTS):
        value = COIN // 2 + n * 3331
        live.block([("q1", 3 * COIN)], [(f"c{n % 7}", value), ("q2", 3 * COIN - value - 4000)], **less)
    coins = [("q1", 400 * COIN), *[("q2", COIN)] * 130]
    theft = live.block(coins, [("thief", 530 * COIN)], fee_rate=1500.0, n_outputs=2, **odd)
    findings = [finding_of(hit, live.names) for hit in theft.hits]
    past = Engine(Watchlist([HOT]), [ASSET])
    told = pl.DataFrame(
        [{"chain": BTC, "address": "q1", "asset": ASSET, "block_number": 0, "value": str(1000 * COIN)}]
    )
    found = replay(past, pl.DataFrame(live.rows, schema=dict(FRAME), orient="row"), AssetNames(), told)
    assert past.dump() == live.engine.dump()
    (incident,) = found.correlator.all()
    assert [(f.id, f.summary, f.evidence) for f in incident.findings] == [
        (f.id, f.summary, f.evidence) for f in findings
    ]
    assert any("has version 1 (usually 2)" in f.summary for f in findings) is told_all
    assert any("spends 131 coins (usually 1)" in f.summary for f in findings) and np.isfinite(incident.share_lost or 0)
