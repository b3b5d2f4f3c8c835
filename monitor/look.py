"""How a transaction was made, in words: what is unlike the wallet's own (HW-7), and who else is part of it. Pure."""

from __future__ import annotations

from typing import Any

from monitor.assets import AssetNames
from monitor.features.maths import exp10
from monitor.model import Flow, TxFlag
from monitor.networks import by_chain
from monitor.rows import SCRIPTS, count_range, log_range

__all__ = ["BLIND_INPUTS", "ODD", "has_unknown_inputs", "made_by", "unlike"]

ODD = 0.3  # log10 units of HW-7 from which it is worth saying
NOTABLE = 0.1  # of one field
BLIND_INPUTS = "owners and amounts of some inputs"
UTXO = "bip122:"
_FEE, _SIZE, _OUTPUTS, _VERSION, _FLAGS, _LAST = range(6)  # fields of `monitor.features.looks`
_QUARTER = 0.07525749891599529  # log10 of a quarter of a doubling
_FLAG_WORDS = {  # present where they usually are not, and the other way round
    TxFlag.REPLACEABLE: ("may be replaced (BIP 125)", "may not be replaced (BIP 125)"),
    TxFlag.LOCKED: ("has a lock time", "has no lock time"),
    TxFlag.ROUND_FEE: ("pays a round fee", ""),
    TxFlag.ROUND_AMOUNT: ("moves a round amount", ""),
}


def made_by(flow: Flow, record: Any, names: AssetNames) -> list[str]:
    """What there is to say of the making of a payment's transaction.

    Parameters
    ----------
    record : the fields of `HIT`
    """
    parts = []
    if float(record["odd"]) >= ODD:
        marks = unlike(flow, record, names)
        parts.append("the transaction looks unlike the wallet's own" + (f": it {', '.join(marks)}" if marks else ""))
    transfer = flow.transfer
    if not transfer.block.chain.startswith(UTXO) or flow.value >= transfer.value:
        return parts  # the wallet alone paid it
    if transfer.tx.flags & TxFlag.COINJOIN:
        parts.append("it looks like a CoinJoin of several owners: whose coin went where cannot be told")
    else:
        whole = names.display(transfer.asset, transfer.value)
        parts.append(f"others paid into the same transaction: this is the wallet's part of {whole}")
    return parts


def has_unknown_inputs(flow: Flow) -> bool:
    """Whether nobody could tell who owned some of the coins that were spent."""
    return flow.transfer.block.chain.startswith(UTXO) and "" in flow.transfer.from_addresses


def unlike(flow: Flow, record: Any, names: AssetNames) -> list[str]:
    """What the transaction does unlike the wallet's own, the most unlike first: to be read after "it"."""
    odd = [float(record["unlike"][field]) for field in range(len(record["unlike"]))]
    found = []
    for field in sorted(range(len(odd)), key=lambda field: (-odd[field], field)):
        if odd[field] >= NOTABLE:
            found += _words(field, flow, int(record["usual"][field]), float(record["dearer"]), names)
    return found


def _words(field: int, flow: Flow, usual: int, dearer: float, names: AssetNames) -> list[str]:
    tx, spends_coins = flow.transfer.tx, flow.transfer.block.chain.startswith(UTXO)
    if field == _FEE:
        return [_fee_words(float(exp10(abs(dearer) * _QUARTER)), dearer > 0)]
    if field == _SIZE and spends_coins:
        return [f"spends {_many(len(flow.transfer.from_addresses), 'coin')} (usually {_range(*count_range(usual))})"]
    if field == _SIZE:
        return [f"allows {tx.gas_limit or 0:,} gas (usually {_range(*log_range(usual))})"]
    if field == _OUTPUTS:
        bounds = count_range(usual) if spends_coins else log_range(usual)
        return [f"has {_many(tx.n_outputs or 0, 'output')} (usually {_range(*bounds)})"]
    if field == _VERSION:
        return [f"has version {tx.version} (usually {usual - 1})"]
    if field == _FLAGS:
        return _flag_words(flow, usual - 1, names)
    if spends_coins:
        return [f"spends coins of the form {tx.script_type} (usually {_form(usual)})"]
    return ["does not follow the wallet's last nonce as usual"]


def _fee_words(times: float, is_more: bool) -> str:
    """The usual rate is known to a fifth or so: rates are kept by quarters of a doubling."""
    shown = f"{times:.1f}" if times < 9.95 else f"{times:,.0f}"
    return f"pays about {shown} times its usual fee rate" if is_more else f"pays about 1/{shown} of its usual fee rate"


def _flag_words(flow: Flow, usual: int, names: AssetNames) -> list[str]:
    tx, found = flow.transfer.tx, []
    for flag, (present, absent) in _FLAG_WORDS.items():
        is_present = bool(tx.flags & flag)
        if is_present == bool(usual & flag):
            continue
        words = present if is_present else absent
        network = by_chain(flow.transfer.block.chain)
        if flag is TxFlag.ROUND_FEE and is_present and tx.fee is not None and network is not None:
            words += f" of {names.display(network.asset, tx.fee)}"
        found += [words] if words else []
    return found


def _form(place: int) -> str:
    return SCRIPTS[place - 1] if 0 < place <= len(SCRIPTS) else "another one"


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _range(first: int, last: int | None) -> str:
    if last is None:
        return f"{first:,} or more"
    return f"{first:,}" if first == last else f"{first:,} to {last:,}"
