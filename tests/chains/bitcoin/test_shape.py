"""What a transaction looks like: marks of its software, round amounts, CoinJoins and what only resembles one."""

from __future__ import annotations

import random
from collections.abc import Container, Sequence

import pytest

from chains.bitcoin.base import Prevout, outpoint
from chains.bitcoin.block import RawTx, parse_tx
from chains.bitcoin.build import build_tx
from chains.bitcoin.shape import Shape, is_coinjoin, is_round, shape_of
from monitor.model import TxFlag

COIN = 10**8
FINAL = 0xFFFFFFFF
KEY, SIGNATURE = b"\x02" + b"\x11" * 32, b"\x30" + b"\x05" * 70


def wpkh(number: int) -> bytes:
    return b"\x00\x14" + number.to_bytes(20)


def taproot(number: int) -> bytes:
    return b"\x51\x20" + number.to_bytes(32)


def made(
    coins: Sequence[tuple[int, bytes]], outputs: Sequence[tuple[int, bytes]], sequence: int = FINAL, lock_time: int = 0
) -> tuple[RawTx, list[Prevout | None]]:
    """A transaction that spends coins of these amounts and scripts, and what its inputs spend."""
    inputs = [(outpoint(f"{n:064x}", 0), b"", sequence, ()) for n in range(1, len(coins) + 1)]
    return parse_tx(build_tx(inputs, outputs, lock_time=lock_time)), [Prevout(*coin) for coin in coins]


def shape(
    outputs: Sequence[tuple[int, bytes]], change: Container[int] = (), fee: int | None = 1234, **more: int
) -> Shape:
    tx, prevouts = made([(9 * COIN, wpkh(1))], outputs, **more)
    return shape_of(tx, prevouts, change, fee)


# -- single marks -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("amount", "expected"),
    [
        (COIN // 10, True),  # DMM, Bithumb
        (130_000, True),
        (10_000, True),
        (25 * COIN, True),
        (5000 * COIN, True),
        (9_900, False),  # below 0.0001, where any number of units is as short
        (131_000, False),
        (COIN + 10_000, False),
        (12_345_678, False),
        (0, False),
    ],
)
def test_round_amounts(amount: int, expected: bool) -> None:
    """Two digits and zeros, down to 0.0001."""
    assert is_round(amount) == expected


def test_few_amounts_are_round_by_chance() -> None:
    """Look-alike: fees as software computes them are round about once in a thousand times."""
    rng = random.Random(1)
    fees = [rng.randrange(10_000, 200_000) for _ in range(20_000)]
    assert sum(map(is_round, fees)) / len(fees) < 0.002


def test_what_software_writes() -> None:
    """Sequence numbers below 0xfffffffe ask for replacement, a lock time is one; 0xfffffffe only lets that count."""
    plain = [(COIN + 1, wpkh(2))]
    assert shape(plain).flags == 0
    assert shape(plain, sequence=0xFFFFFFFE).flags == 0
    assert shape(plain, sequence=0xFFFFFFFE, lock_time=800_000).flags == TxFlag.LOCKED
    assert shape(plain, sequence=0xFFFFFFFD).flags == TxFlag.REPLACEABLE
    assert shape(plain, sequence=0, lock_time=1).flags == TxFlag.REPLACEABLE | TxFlag.LOCKED


def test_round_fee_and_amount() -> None:
    """The largest output counts that is no change; a fee that nobody knows is not round."""
    assert shape([(COIN + 1, wpkh(2))], fee=COIN // 10).flags == TxFlag.ROUND_FEE
    assert shape([(COIN + 1, wpkh(2))], fee=None).flags == 0
    outputs = [(5 * COIN, wpkh(2)), (COIN // 2 + 7, wpkh(3)), (7 * COIN, wpkh(1))]
    assert shape(outputs, change={2}).flags == TxFlag.ROUND_AMOUNT
    assert shape([(COIN, wpkh(2)), (5 * COIN + 1, wpkh(3)), (7 * COIN, wpkh(1))], change={2}).flags == 0
    assert shape([(7 * COIN, wpkh(1))], change={0}).flags == 0  # a consolidation pays nobody


def test_new_coins_have_no_marks() -> None:
    """A coinbase: its sequence and lock time are the miner's."""
    tx = parse_tx(build_tx([(bytes(32) + b"\xff" * 4, b"\x01\x07", 0, ())], [(50 * COIN, wpkh(1))], lock_time=9))
    assert shape_of(tx, [], (), None) == Shape(TxFlag(0), "")


def test_forms_of_what_is_spent() -> None:
    """One form, several, or none where an input shows nothing of what it spends."""
    tx, prevouts = made([(1, wpkh(1)), (1, wpkh(2))], [(1, wpkh(3))])
    assert shape_of(tx, prevouts, (), 1).script_type == "p2wpkh"
    assert shape_of(tx, [prevouts[0], Prevout(1, taproot(1))], (), 1).script_type == "mixed"
    assert shape_of(tx, [prevouts[0], None], (), None).script_type == ""
    shown = build_tx([(outpoint("11" * 32, 0), b"", FINAL, [SIGNATURE, KEY])], [(1, wpkh(3))])
    assert shape_of(parse_tx(shown), [None], (), None).script_type == "p2wpkh"


# -- several owners ---------------------------------------------------------------------------------------------------


def joined(name: str) -> tuple[RawTx, list[Prevout | None]]:
    """Transactions of the shapes that are in use."""
    coins = [(COIN + 10_000 * n + 777, wpkh(n)) for n in range(1, 121)]
    if name == "Whirlpool":  # five in, five out, all of one amount; new coins pay the miners
        inputs = [(COIN + (700 if n < 2 else 0), wpkh(n + 1)) for n in range(5)]
        return made(inputs, [(COIN, wpkh(50 + n)) for n in range(5)])
    if name == "JoinMarket":  # makers have change, the taker sends all that he has
        inputs = [(2 * COIN + 31 * n, wpkh(n)) for n in range(1, 7)] + [(COIN // 3, wpkh(90)), (COIN, wpkh(91))]
        change = [(COIN + 17 * n, wpkh(200 + n)) for n in range(1, 6)]
        return made(inputs, [*[(COIN, wpkh(100 + n)) for n in range(6)], *change])
    if name == "Wasabi 1":  # a change each, and the coordinator
        equal = [(COIN // 10, wpkh(1000 + n)) for n in range(60)]
        return made(coins, [*equal, *[(COIN + 9973 * n, wpkh(2000 + n)) for n in range(60)], (123_457, wpkh(3000))])
    if name == "Wasabi 2":  # many amounts that others have, too
        equal = [(2**17 * 3**level, wpkh(1000 + 20 * level + n)) for level in range(4) for n in range(20)]
        return made(coins, [*equal, *[(9973 * n, wpkh(2000 + n)) for n in range(15)]])
    raise ValueError(name)


@pytest.mark.parametrize("name", ["Whirlpool", "JoinMarket", "Wasabi 1", "Wasabi 2"])
def test_coinjoins(name: str) -> None:
    """As many equal outputs of the payers' form as payers can be."""
    tx, prevouts = joined(name)
    assert is_coinjoin(tx, prevouts)
    assert shape_of(tx, prevouts, (), 1234).flags & TxFlag.COINJOIN
    assert not is_coinjoin(tx, [None] * len(prevouts))  # who paid is not known


def lookalike(name: str) -> tuple[RawTx, list[Prevout | None]]:
    """What one owner makes."""
    many = [(COIN + 31 * n, wpkh(n)) for n in range(1, 41)]
    if name == "equal payments of one address":
        return made([(9 * COIN, wpkh(1))] * 12, [(COIN // 100, wpkh(100 + n)) for n in range(10)] + [(COIN, wpkh(1))])
    if name == "equal payments out of deposits":  # many scripts, one change
        return made(many, [(COIN // 100, wpkh(100 + n)) for n in range(30)] + [(39 * COIN, wpkh(99))])
    if name == "a batch with some round amounts":
        some = [(COIN // 10, wpkh(100 + n)) for n in range(4)]
        return made(many, [*some, *[(99_991 * n, wpkh(200 + n)) for n in range(1, 30)], (20 * COIN, wpkh(99))])
    if name == "equal payments to another form":  # customers with taproot, coins of P2WPKH
        pairs = [(COIN // 10, taproot(n)) for n in range(8)] + [(COIN // 10 + 7 * n, wpkh(300 + n)) for n in range(8)]
        return made(many, pairs)
    if name == "equal outputs to one script":
        return made(many, [(COIN, wpkh(7))] * 10 + [(COIN + n, wpkh(200 + n)) for n in range(10)])
    if name == "a consolidation":
        return made(many, [(40 * COIN, wpkh(1))])
    if name == "a payment with change":
        return made(many[:3], [(COIN, wpkh(50)), (COIN, wpkh(51))])
    if name == "data":
        return made(many, [(0, b"\x6a\x01" + bytes([n])) for n in range(8)] + [(n, wpkh(n)) for n in range(1, 9)])
    raise ValueError(name)


@pytest.mark.parametrize(
    "name",
    [
        "equal payments of one address", "equal payments out of deposits", "a batch with some round amounts",
        "equal payments to another form", "equal outputs to one script", "a consolidation", "a payment with change",
        "data",
    ],
)  # fmt: skip
def test_what_one_owner_makes(name: str) -> None:
    """No CoinJoin: too few payers, one change for all, other forms, or amounts that differ."""
    assert not is_coinjoin(*lookalike(name))


def test_eleven_thousand_inputs() -> None:
    """Inputs that show nothing are read once each: nothing of it grows with the square of their number."""
    tx, _ = made([(COIN, wpkh(1))] * 11_000, [(COIN, wpkh(2))])
    calls = 0
    plain = RawTx.script_sigs.fget  # type: ignore[attr-defined]
    assert plain is not None

    class Counted(RawTx):
        @property
        def script_sigs(self) -> list[bytes]:
            nonlocal calls
            calls += 1
            found: list[bytes] = plain(self)
            return found

    counted = Counted(tx._block, tx.index)
    shape_of(counted, [Prevout(COIN, wpkh(1)), *[None] * 10_999], (), None)
    assert calls <= 1
