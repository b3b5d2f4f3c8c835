"""Coins that come back: whose part of a transaction counts, and when a loss is made good."""

from __future__ import annotations

import random

import pytest

from monitor.grouping import GAP, Early
from monitor.model import BlockRef, Direction, Finding, Flow, Movement, Severity, Transfer, TransferKind, Tx
from monitor.returns import WINDOW, Answers, is_returned, returned_at, returns_of

DAY = 86400
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


def _finding(rng: random.Random, n: int) -> Finding:
    """Somewhere within a few blocks, whose times may go back."""
    number = rng.randrange(60)
    evidence = {"destination_label": "exchange"} if rng.random() < 0.1 else {}
    at, index = number * DAY + rng.randrange(-3 * DAY, 3 * DAY), rng.randrange(3)
    return Finding(
        f"f{n:03d}", "HW-1", "w", CHAIN, Severity.HIGH, 1.0, "", "0x0", at, number, index,
        destination=rng.choice("ab"), evidence=evidence,
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(30))
def test_what_is_looked_up_is_what_a_look_at_all_finds(seed: int) -> None:
    """The finding that a return answers, and whether a payment came early: by order, and by going through all."""
    rng = random.Random(seed)
    findings = [_finding(rng, n) for n in range(rng.randrange(40))]
    answers, early = Answers(findings), Early(findings)
    for _ in range(100):
        number = rng.randrange(62)
        move = Movement(
            "w", CHAIN, "coin", rng.choice("abc"), 1, number * DAY + rng.randrange(-40 * DAY, 40 * DAY), "0x1",
            rng.randrange(3), number,
        )  # fmt: skip
        place = (move.block_number, move.index)
        about = (f for f in findings if f.destination == move.counterparty and not f.evidence)
        open_ = (f for f in about if (f.block_number, f.index) < place and move.at <= f.at + WINDOW)
        assert answers.to(move) == max(open_, key=lambda f: (f.block_number, f.index, f.id), default=None)
        assert early.has(move) == any(f.at - GAP <= move.at and place <= (f.block_number, f.index) for f in findings)
