"""What a transaction looks like: how its maker signs, rounds and joins. Pure.

Software leaves its marks (version, lock time, sequence numbers, forms of scripts), and people leave theirs: a thief who
types a fee types a round one. The real thefts in which the first transaction looked unlike all before: a fee of 0.1 BTC
where 0.0013 was usual (DMM, 2024), exactly 0.1 BTC on each of some 400 transactions (Bithumb, 2019).
"""

from __future__ import annotations

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
JOINED = 3  # equal outputs of a CoinJoin, and scripts that pay for it, at least


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

    Equal outputs have one amount and form, and different scripts; the form is one that inputs have, too. Most outputs
    have an equal one, and those of the most frequent amount are

    - at most as many as the scripts that pay, and
    - joined by nearly as many other outputs, the change of each (JoinMarket, Wasabi), or nothing but them comes out of
      as many inputs, each of which is worth one (Whirlpool).

    A batch of equal payments by one owner has few inputs for its outputs, or they lie on few scripts, or it has one
    output for all of its change.
    """
    sources = {prevout.script for prevout in prevouts if prevout is not None}
    if len(sources) < JOINED:
        return False
    values, scripts = tx.output_values, tx.output_scripts
    groups: dict[tuple[int, str], set[bytes]] = {}
    for value, script in zip(values, scripts, strict=True):
        if value:
            groups.setdefault((value, type_of(script)), set()).add(script)
    if not groups:
        return False
    (amount, form), most = max(groups.items(), key=lambda item: (len(item[1]), item[0]))
    equal, every = len(most), len(values)
    repeated = sum(len(group) for group in groups.values() if len(group) > 1)
    if not JOINED <= equal <= len(sources) or 2 * repeated < every - 1:
        return False
    if form not in {type_of(script) for script in sources}:
        return False
    all_mixed = every == equal == len(prevouts) and all(p is not None and p.value >= amount for p in prevouts)
    return all_mixed or every - equal >= equal - 1


def _script_type(tx: RawTx, prevouts: Sequence[Prevout | None]) -> str:
    """The form of all inputs, read from what they spend, or where that is not known from themselves."""
    forms = {type_of(script) for script in {prevout.script for prevout in prevouts if prevout is not None}}
    unknown = [n for n, prevout in enumerate(prevouts) if prevout is None]
    if unknown:
        script_sigs, witnesses = tx.script_sigs, tx.witnesses  # each a copy of all inputs
        for n in unknown:
            shown = spent_scripts(script_sigs[n], witnesses[n])
            if not shown:
                return ""
            forms.add(type_of(shown[0]))
    return "mixed" if len(forms) > 1 else next(iter(forms), "")
