"""What a transaction looks like: how its maker signs, rounds and joins. Pure.

Software leaves its marks (version, lock time, sequence numbers, forms of scripts), and people leave theirs: a thief who
types a fee types a round one. The real thefts in which the first transaction looked unlike all before: a fee of 0.1 BTC
where 0.0013 was usual (DMM, 2024), exactly 0.1 BTC on each of some 400 transactions (Bithumb, 2019).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Sequence
from typing import NamedTuple

from chains.bitcoin.base import Prevout
from chains.bitcoin.block import RawTx
from chains.bitcoin.script import spent_scripts, type_of
from monitor.model import TxFlag

__all__ = ["Shape", "is_coinjoin", "is_round", "shape_of"]

SIGNALS = 0xFFFFFFFE  # sequence numbers below it ask for replacement (BIP 125)
SMALLEST_ROUND = 10_000  # base units: 0.0001 coins
DIGITS = 2  # that a round amount has at most, before its zeros
JOINED = 3  # equal outputs, and distinct inputs, of a CoinJoin at least


class Shape(NamedTuple):
    """The marks of a transaction. ``script_type`` is that of all inputs, ``mixed``, or empty where it is not known."""

    flags: TxFlag
    script_type: str


def shape_of(tx: RawTx, prevouts: Sequence[Prevout | None], change: Container[int], fee: int | None) -> Shape:
    """The marks of a transaction.

    Parameters
    ----------
    prevouts : what its inputs spend, as far as it is known; empty for a coinbase
    change : places of the outputs that go back to those who pay
    fee : base units, None where it is not known
    """
    flags = TxFlag(0)
    if not tx.is_coinbase:
        flags |= TxFlag.REPLACEABLE if any(sequence < SIGNALS for sequence in tx.sequences) else TxFlag(0)
        flags |= TxFlag.LOCKED if tx.lock_time else TxFlag(0)
        flags |= TxFlag.ROUND_FEE if fee is not None and is_round(fee) else TxFlag(0)
        paid = [value for n, value in enumerate(tx.output_values) if n not in change]
        flags |= TxFlag.ROUND_AMOUNT if paid and is_round(max(paid)) else TxFlag(0)
        flags |= TxFlag.COINJOIN if is_coinjoin(tx, prevouts) else TxFlag(0)
    return Shape(flags, _script_type(tx, prevouts))


def is_round(amount: int) -> bool:
    """Whether somebody may have typed it: at most two digits and then zeros, down to 0.0001 coins.

    >>> is_round(10_000_000), is_round(130_000), is_round(131_072), is_round(5_000)
    (True, True, False, False)
    """
    if amount < SMALLEST_ROUND:
        return False
    return len(str(amount).rstrip("0")) <= DIGITS


def is_coinjoin(tx: RawTx, prevouts: Sequence[Prevout | None]) -> bool:
    """Whether several people seem to have made it together: as many equal outputs of one form as there are payers.

    At least `JOINED` outputs have the same amount and form, and different scripts; and there are at least as many
    inputs, of at least as many different scripts. A batch of equal payments has them too, but one payer: it has few
    inputs for its outputs, or they lie on few scripts.
    """
    sources = {prevout.script for prevout in prevouts if prevout is not None}
    if len(sources) < JOINED:
        return False
    groups: dict[tuple[int, str], set[bytes]] = {}
    for value, script in zip(tx.output_values, tx.output_scripts, strict=True):
        groups.setdefault((value, type_of(script)), set()).add(script)
    equal = max((len(scripts) for (value, _), scripts in groups.items() if value), default=0)
    return equal >= JOINED and len(sources) >= equal and 2 * equal >= len(tx.output_scripts) - 1


def _script_type(tx: RawTx, prevouts: Sequence[Prevout | None]) -> str:
    found: Counter[str] = Counter()
    for n, prevout in enumerate(prevouts):
        if prevout is not None:
            found[type_of(prevout.script)] += 1
        elif shown := spent_scripts(*tx.shown(n)):
            found[type_of(shown[0])] += 1
        else:
            return ""
    return "" if not found else next(iter(found)) if len(found) == 1 else "mixed"
