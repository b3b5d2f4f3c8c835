"""Flows of transactions that spend coins: whoever shares one, nothing is lost and nothing counted twice."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor import coin_flows
from monitor.model import Block, BlockRef, Direction, Flow, Role, Transfer, TransferKind, Tx, Wallet
from monitor.watchlist import Watchlist

BTC = "bip122:000000000019d6689c085ae165831e93"
IN, OUT, INTERNAL = Direction.IN, Direction.OUT, Direction.INTERNAL
NATIVE, FEE = TransferKind.NATIVE, TransferKind.FEE
WALLETS = {name: [f"{name}{n}" for n in range(3)] for name in ("hot", "cold", "mine")}
LIST = Watchlist(
    Wallet(name, "One", Role.HOT, tuple((BTC, address) for address in addresses))
    for name, addresses in WALLETS.items()
)
OWNER = {address: name for name, addresses in WALLETS.items() for address in addresses}
Coins = Sequence[tuple[str, int]]
Shown = tuple[str, Direction, str, int, TransferKind]


def flows_of(inputs: Coins, outputs: Coins, fee: int | None = None) -> list[Flow]:
    ref, tx = BlockRef(BTC, 1, "b"), Tx("t", 0, fee=fee)
    owners, values = tuple(a for a, _ in inputs), tuple(v for _, v in inputs)
    moves = (Transfer(ref, tx, n, NATIVE, "coin", owners, to, v, values) for n, (to, v) in enumerate(outputs))
    return LIST.flows(Block(ref, "", 7, tuple(moves)))


def shown(inputs: Coins, outputs: Coins, fee: int | None = None) -> list[Shown]:
    return [(f.wallet, f.direction, f.counterparty, f.value, f.transfer.kind) for f in flows_of(inputs, outputs, fee)]


# -- exactly, whoever shares it ---------------------------------------------------------------------------------------

ADDRESSES = st.sampled_from([*OWNER, "s1", "s2", "s3"])
AMOUNTS = st.integers(0, 10) | st.integers(0, 21 * 10**14)
COINS = st.lists(st.tuples(ADDRESSES, AMOUNTS), min_size=1, max_size=9)


def totals(coins: Coins) -> dict[str, int]:
    found = dict.fromkeys(WALLETS, 0)
    for address, value in coins:
        if address in OWNER:
            found[OWNER[address]] += value
    return found


def problems(inputs: Coins, outputs: Coins, fee: int | None) -> list[str]:
    """What is wrong with the flows of a transaction, against the sums of what it spends and makes."""
    flows = flows_of(inputs, outputs, fee)
    spent, got, found = totals(inputs), totals(outputs), []
    for name in WALLETS:
        mine = [f for f in flows if f.wallet == name]
        left = sum(f.value for f in mine if f.direction is OUT)
        came = sum(f.value for f in mine if f.direction is IN)
        stayed = sum(f.value for f in mine if f.direction is INTERNAL)
        if left - came != spent[name] - got[name]:
            found.append(f"{name} lost {left} and got {came}: {spent[name]} were spent, {got[name]} made")
        if spent[name] and stayed != got[name]:
            found.append(f"{name} keeps {stayed} of {got[name]}")
        if came and any(f.direction is OUT and f.transfer.kind is not FEE for f in mine):
            found.append(f"{name} both pays and is paid")
    for n, group in groupby(sorted(flows, key=lambda f: f.transfer.index), key=lambda f: f.transfer.index):
        paid = sum(f.value for f in group if f.direction is OUT and f.transfer.kind is not FEE)
        if paid > outputs[n][1] + len(WALLETS):  # each payer's part is rounded
            found.append(f"output {n} of {outputs[n][1]} was paid {paid}")
    if any(f.value <= 0 or f.counterparty in WALLETS[f.wallet] for f in flows if f.direction is not INTERNAL):
        found.append("a flow of nothing, or to oneself")
    return found


def affordable(inputs: Coins, outputs: Coins) -> Coins:
    """Outputs of which the inputs can pay all."""
    left, made = sum(value for _, value in inputs), []
    for address, value in outputs:
        made.append((address, min(left, value)))
        left -= made[-1][1]
    return made


@settings(max_examples=400, derandomize=True, database=None, deadline=None)
@given(COINS, COINS, st.booleans())
def test_what_flows_out_is_inputs_less_outputs(inputs: Coins, outputs: Coins, is_told: bool) -> None:
    """Of each wallet, exactly: payments, fee, arrivals; no output gets more than is in it. The fee is told, or not."""
    made = affordable(inputs, outputs)
    fee = sum(v for _, v in inputs) - sum(v for _, v in made)
    assert problems(inputs, made, fee if is_told else None) == []


@settings(max_examples=300, derandomize=True, database=None, deadline=None)
@given(COINS, COINS, st.none() | AMOUNTS)
def test_what_is_not_known_makes_no_flow_negative(inputs: Coins, outputs: Coins, fee: int | None) -> None:
    """Amounts of inputs that nobody told, a fee that does not fit: no flow below zero, no wallet loses what it had."""
    flows = flows_of([("", 0), *inputs], outputs, fee)
    assert all(f.value > 0 for f in flows)
    for name, spent in totals(inputs).items():
        lost = sum(f.value for f in flows if f.wallet == name and f.direction is OUT)
        assert lost <= spent


@pytest.mark.parametrize("fault", ["a unit is lost", "change is paid", "the fee is forgotten"])
def test_a_planted_fault_is_noticed(monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    """Parts that do not add up, change that counts as paid, a fee that nobody pays: the property sees each."""
    joint = ([("hot0", 100), ("s1", 101)], [("a", 67), ("b", 66), ("hot1", 60)], None)
    assert problems(*joint) == []
    whole, Joint = coin_flows._up_to, coin_flows._Joint
    if fault == "a unit is lost":
        monkeypatch.setattr(coin_flows, "_up_to", lambda amount, place, of: whole(amount, place, of + 1))
    elif fault == "change is paid":
        monkeypatch.setattr(Joint, "surplus", lambda self, owner: self.spent[owner] - self.fees[owner])
    else:
        monkeypatch.setattr(Joint, "surplus", lambda self, owner: self.spent[owner] - self.got[owner])
    assert problems(*joint)


# -- one by one -------------------------------------------------------------------------------------------------------


def test_a_batch_is_many_flows_of_one_transaction() -> None:
    """Fifty customers are paid at once; the fee is one flow, the change none."""
    customers = [(f"c{n}", 1000 + n) for n in range(50)]
    flows = shown([("hot0", 100_000)], [*customers, ("hot1", 48_000)])
    assert flows[0] == ("hot", INTERNAL, "hot1", 48_000, NATIVE)
    assert flows[1] == ("hot", OUT, "", 100_000 - 48_000 - sum(v for _, v in customers), FEE)
    assert flows[2:] == [("hot", OUT, to, value, NATIVE) for to, value in customers]


def test_wallets_of_one_entity() -> None:
    """A move from one to the other is an outflow of one and an arrival at the other, the fee the payer's."""
    assert shown([("hot0", 100)], [("cold0", 99)]) == [
        ("hot", OUT, "", 1, FEE), ("hot", OUT, "cold0", 99, NATIVE), ("cold", IN, "hot0", 99, NATIVE),
    ]  # fmt: skip


def test_two_wallets_pay_the_thief_together() -> None:
    """Each less its own change: what one gets back is not paid by the other."""
    assert shown([("hot0", 100), ("cold0", 100)], [("thief", 150), ("cold1", 40)]) == [
        ("hot", OUT, "", 5, FEE), ("hot", OUT, "thief", 95, NATIVE),
        ("cold", INTERNAL, "cold1", 40, NATIVE), ("cold", OUT, "", 5, FEE), ("cold", OUT, "thief", 55, NATIVE),
    ]  # fmt: skip


def test_a_coinjoin_moves_only_what_it_costs() -> None:
    """Three owners, three equal outputs, the change of each: our outflow is the fee and what we paid for mixing."""
    inputs = [("hot0", 130), ("s1", 150), ("s2", 170)]
    outputs = [("hot1", 100), ("x1", 100), ("x2", 100), ("hot2", 27), ("y1", 48), ("y2", 72)]
    flows = shown(inputs, outputs)
    assert flows[:2] == [("hot", INTERNAL, "hot1", 100, NATIVE), ("hot", INTERNAL, "hot2", 27, NATIVE)]
    assert sum(value for _, direction, _, value, _ in flows if direction is OUT) == 3


def test_a_stranger_who_adds_coins_gets_what_leaves_us() -> None:
    """The thief's own input, and his output to the same address: he is paid the difference."""
    assert shown([("thief", 7), ("hot0", 100)], [("thief", 106)]) == [
        ("hot", OUT, "", 1, FEE), ("hot", OUT, "thief", 99, NATIVE),
    ]  # fmt: skip
    assert shown([("hot0", 100), ("thief", 20)], [("thief", 60), ("fresh", 60)], 0) == [
        ("hot", OUT, "thief", 40, NATIVE), ("hot", OUT, "fresh", 60, NATIVE),
    ]  # fmt: skip


def test_data_outputs() -> None:
    """OP_RETURN without value is nothing; with value it is burnt: paid to its script hash."""
    nowhere = "scripthash:" + "ab" * 32
    assert shown([("hot0", 100)], [(nowhere, 0), ("hot1", 99)]) == [
        ("hot", INTERNAL, "hot1", 99, NATIVE), ("hot", OUT, "", 1, FEE),
    ]  # fmt: skip
    assert ("hot", OUT, nowhere, 9, NATIVE) in shown([("hot0", 100)], [(nowhere, 9), ("hot1", 90)])


def test_outputs_of_no_value_to_us_are_nothing() -> None:
    """They cost their maker nothing, and could name any counterparty."""
    assert shown([("s1", 5)], [("hot0", 0), ("hot1", 0)]) == []
    assert shown([("hot0", 5)], [("hot1", 0), ("a", 5)]) == [("hot", OUT, "a", 5, NATIVE)]


def test_new_coins_have_no_sender() -> None:
    """A miner's reward arrives from nobody; its fees are no fee of the miner."""
    assert shown([], [("mine0", 50), ("scripthash:00", 0)]) == [("mine", IN, "", 50, NATIVE)]


def test_unknown_inputs_have_paid_what_is_missing() -> None:
    """Half of what was spent is not known: the wallet's share is a half, not all."""
    flows = shown([("hot0", 100), ("", 0)], [("a", 150), ("b", 50)])
    assert flows == [("hot", OUT, "a", 75, NATIVE), ("hot", OUT, "b", 25, NATIVE)]
    told = shown([("hot0", 100), ("", 0)], [("a", 150), ("b", 40)], 10)
    assert told == [("hot", OUT, "", 5, FEE), ("hot", OUT, "a", 75, NATIVE), ("hot", OUT, "b", 20, NATIVE)]


def test_outputs_that_a_table_leaves_out_were_spent() -> None:
    """A fee that is told and less than what is missing: the rest left the wallet all the same."""
    assert shown([("hot0", 100)], [("a", 30)], 1) == [("hot", OUT, "", 70, FEE), ("hot", OUT, "a", 30, NATIVE)]


def test_an_arrival_comes_from_whoever_paid_most() -> None:
    """Not from an unknown input, nor from ourselves."""
    assert shown([("", 900), ("s1", 10), ("s2", 30), ("s1", 15)], [("hot0", 50)]) == [("hot", IN, "s2", 50, NATIVE)]
    assert shown([("", 900)], [("hot0", 50)]) == [("hot", IN, "", 50, NATIVE)]


def test_a_consolidation_of_eleven_thousand_coins() -> None:
    """Internal, and its fee; each address is looked up once."""
    asked: list[str] = []

    class Counting(dict[str, Wallet]):
        def get(self, address: str, default: object = None) -> object:  # type: ignore[override]
            asked.append(address)
            return super().get(address)

    watch = Counting(LIST.watch(BTC))  # type: ignore[call-overload]
    inputs = [(f"hot{n % 3}", 10) for n in range(11_000)]
    ref, tx = BlockRef(BTC, 1, "b"), Tx("t", 0)
    owners, values = tuple(a for a, _ in inputs), tuple(v for _, v in inputs)
    output = Transfer(ref, tx, 0, NATIVE, "coin", owners, "hot1", 109_000, values)
    flows = coin_flows.utxo_flows([output], watch, 7)  # type: ignore[arg-type]
    assert [(f.direction, f.value) for f in flows] == [(INTERNAL, 109_000), (OUT, 1000)]
    assert sorted(asked) == ["hot0", "hot1", "hot2"]
