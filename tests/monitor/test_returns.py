"""Coins that come back: whose part of a transaction counts, and when a loss is made good."""

from __future__ import annotations

import pytest

from monitor.model import BlockRef, Direction, Flow, Transfer, TransferKind, Tx
from monitor.returns import is_returned, returned_at, returns_of

CHAIN = "bip122:000000000019d6689c085ae165831e93"


def arrival(value: int, senders: dict[str, int], inputs: bool = True) -> Flow:
    transfer = Transfer(
        BlockRef(CHAIN, 7, "h"), Tx("t", 0), 3, TransferKind.NATIVE, "coin", tuple(senders), "cold", value,
        tuple(senders.values()) if inputs else (),
    )  # fmt: skip
    return Flow(transfer, "cold", Direction.IN, next(iter(senders)), value, 99)


def test_each_suspect_returns_its_part_of_the_inputs() -> None:
    """30 of 100 in come from one suspect, 20 from another: the parts are exact, and the rest is a stranger's."""
    flow = arrival(90, {"stranger": 50, "x": 30, "y": 20})
    found = returns_of(flow, {(CHAIN, "x"), (CHAIN, "y"), ("other:1", "stranger")})
    assert [(m.counterparty, m.value) for m in found] == [("x", 27), ("y", 18)]
    assert {(m.wallet, m.chain, m.asset, m.at, m.tx, m.index, m.block_number) for m in found} == {
        ("cold", CHAIN, "coin", 99, "t", 3, 7)
    }
    assert returns_of(flow, {("other:1", "x")}) == []


def test_parts_add_up_to_the_whole() -> None:
    """Whatever the rounding, no unit is lost or made between the senders."""
    flow = arrival(1001, {"a": 3, "b": 3, "c": 1})
    assert sum(m.value for m in returns_of(flow, {(CHAIN, name) for name in "abc"})) == 1001


def test_one_sender_without_input_values_returns_all() -> None:
    """Account chains name the sender alone."""
    (found,) = returns_of(arrival(10**30 + 1, {"x": 0}, inputs=False), {(CHAIN, "x")})
    assert found.value == 10**30 + 1


@pytest.mark.parametrize(
    ("lost", "returned", "enough"),
    [
        ({"a": 10**30}, {"a": 9 * 10**29}, True),
        ({"a": 10**30}, {"a": 9 * 10**29 - 1}, False),  # exact where floats are not
        ({"a": 10, "b": 10}, {"a": 1000}, False),
        ({"a": 1}, {"a": 0}, False),
        ({}, {"a": 1}, False),
    ],
)
def test_nine_tenths_of_every_asset(lost: dict[str, int], returned: dict[str, int], enough: bool) -> None:
    """Exact at the limit; nothing lost is nothing returned."""
    assert is_returned(lost, returned) is enough


def test_the_moment_is_that_of_the_arrival_that_completed_it() -> None:
    """What comes later does not move it."""
    flows = [arrival(value, {"x": 1}) for value in (40, 50, 10)]
    moves = [m for flow in flows for m in returns_of(flow, {(CHAIN, "x")})]
    assert returned_at({"coin": 100}, moves[:1]) is None and returned_at({"coin": 100}, moves) == 99
