"""Transfers as flows of watched wallets, on account chains and on UTXO chains."""

from __future__ import annotations

from monitor.model import Block, BlockRef, Direction, Flow, Role, Transfer, TransferKind, Tx, Wallet
from monitor.watchlist import Watchlist

ETH, BTC = "eip155:1", "bip122:000000000019d6689c085ae165831e93"
IN, OUT, INTERNAL = Direction.IN, Direction.OUT, Direction.INTERNAL
HOT = Wallet("hot", "One", Role.HOT, ((ETH, "h1"), (ETH, "h2"), (BTC, "q1"), (BTC, "q2")), budget=2.0)
COLD = Wallet("cold", "One", Role.COLD, ((BTC, "q3"),))
LIST = Watchlist([HOT, COLD])


def shown(flows: list[Flow]) -> list[tuple[str, Direction, str, int, TransferKind]]:
    return [(f.wallet, f.direction, f.counterparty, f.value, f.transfer.kind) for f in flows]


def account(*moves: tuple[str, str, int]) -> list[tuple[str, Direction, str, int, TransferKind]]:
    ref = BlockRef(ETH, 1, "b")
    native = TransferKind.NATIVE
    transfers = tuple(
        Transfer(ref, Tx(f"t{n}", n), n, native, "coin", (source,), to, value, (value,))
        for n, (source, to, value) in enumerate(moves)
    )
    return shown(LIST.flows(Block(ref, "", 7, transfers)))


def joined(
    inputs: dict[str, int], outputs: list[tuple[str, int]], fee: int | None = None
) -> list[tuple[str, Direction, str, int, TransferKind]]:
    ref, tx = BlockRef(BTC, 1, "b"), Tx("t", 0, fee=fee)
    transfers = tuple(
        Transfer(ref, tx, n, TransferKind.NATIVE, "coin", tuple(inputs), to, value, tuple(inputs.values()))
        for n, (to, value) in enumerate(outputs)
    )
    return shown(LIST.flows(Block(ref, "", 7, transfers)))


NATIVE, FEE = TransferKind.NATIVE, TransferKind.FEE


def test_a_wallet_on_several_chains_divides_its_budget() -> None:
    """Two chains: half of the budget on each."""
    assert LIST.budget("hot", ETH) == 1.0 and LIST.budget("cold", BTC) == 1.0
    assert LIST.addresses("hot", ETH) == ("h1", "h2") and set(LIST.chains) == {ETH, BTC}
    assert LIST.wallet_at(ETH, "q1") is None and LIST.wallet_at(BTC, "q1") is HOT


def test_account_flows() -> None:
    """Arrival, payment, a move inside, something between strangers."""
    assert account(("a", "h1", 5), ("h1", "b", 6), ("h1", "h2", 7), ("a", "b", 8)) == [
        ("hot", IN, "a", 5, NATIVE),
        ("hot", OUT, "b", 6, NATIVE),
        ("hot", INTERNAL, "h2", 7, NATIVE),
    ]


def test_flows_are_in_chain_order_whatever_the_reading() -> None:
    """Transfers handed over in another order come out by position in the block."""
    ref = BlockRef(ETH, 1, "b")
    one = Transfer(ref, Tx("t1", 0), 0, NATIVE, "coin", ("h1",), "b", 1, (1,))
    two = Transfer(ref, Tx("t2", 1), 5, NATIVE, "coin", ("h1",), "b", 2, (2,))
    assert [f.value for f in LIST.flows(Block(ref, "", 7, (two, one)))] == [1, 2]


def test_change_is_internal() -> None:
    """The payment alone leaves; change to any own address is internal, and the fee is its own spending."""
    assert joined({"q1": 100}, [("shop", 30), ("q2", 69)], fee=1) == [
        ("hot", INTERNAL, "q2", 69, NATIVE),
        ("hot", OUT, "", 1, FEE),
        ("hot", OUT, "shop", 30, NATIVE),
    ]


def test_a_fee_that_nobody_told_is_what_is_missing() -> None:
    """Inputs less outputs."""
    assert ("hot", OUT, "", 4, FEE) in joined({"q1": 100}, [("shop", 30), ("q1", 66)])


def test_consolidation_costs_its_fee_alone() -> None:
    """Own coins joined: internal, and the fee."""
    assert joined({"q1": 60, "q2": 40}, [("q1", 98)]) == [("hot", INTERNAL, "q1", 98, NATIVE), ("hot", OUT, "", 2, FEE)]


def test_mixed_inputs_share_payments_and_fee() -> None:
    """A stranger paid half of the inputs: half of the fee, and what is left of ours spread over foreign outputs."""
    assert joined({"q1": 100, "s": 100}, [("x", 90), ("y", 45), ("q1", 55)], fee=10) == [
        ("hot", INTERNAL, "q1", 55, NATIVE),
        ("hot", OUT, "", 5, FEE),
        ("hot", OUT, "x", 26, NATIVE),  # of the 40 that left: two thirds, rounded down
        ("hot", OUT, "y", 14, NATIVE),  # and the rest, so that no unit is lost
    ]


def test_getting_more_than_was_put_in_is_an_arrival() -> None:
    """In a joint transaction we may receive more than we paid: no outflow, the surplus came in."""
    assert joined({"q1": 10, "s": 100}, [("q2", 50), ("s", 60)], fee=0) == [
        ("hot", INTERNAL, "q2", 50, NATIVE),
        ("hot", IN, "s", 40, NATIVE),
    ]


def test_two_watched_wallets_in_one_transaction() -> None:
    """Each sees its own part: the payer an outflow, the receiver an arrival."""
    assert joined({"q1": 100}, [("q3", 60), ("q1", 40)], fee=0) == [
        ("hot", INTERNAL, "q1", 40, NATIVE),
        ("hot", OUT, "q3", 60, NATIVE),
        ("cold", IN, "q1", 60, NATIVE),
    ]


def test_an_arrival_is_each_output() -> None:
    """Two outputs to us of a stranger's transaction are two arrivals; its fee is not ours."""
    assert joined({"s": 100}, [("q1", 20), ("x", 50), ("q2", 25)]) == [
        ("hot", IN, "s", 20, NATIVE),
        ("hot", IN, "s", 25, NATIVE),
    ]


def test_outflow_is_inputs_less_outputs_less_fee() -> None:
    """Whatever the shape: what leaves, the fee and what stays add up to the inputs."""
    for outputs in ([("a", 10), ("b", 20), ("q1", 60)], [("q2", 97)], [("a", 99)], [("a", 0), ("q1", 95)]):
        flows = joined({"q1": 70, "q2": 30}, outputs)
        assert sum(value for _, direction, _, value, _ in flows if direction is not IN) == 100
