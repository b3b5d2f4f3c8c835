"""How a transaction was made, in words: what is unlike the wallet's own (HW-7), and who else is part of it. Pure."""

from __future__ import annotations

from monitor.model import Flow, TxFlag

__all__ = ["ODD", "made_by"]

ODD = 0.3  # log10 units of HW-7 from which it is worth saying


def made_by(flow: Flow, *, odd: bool) -> list[str]:
    """What there is to say of the making of a payment's transaction.

    Parameters
    ----------
    odd : it looks unlike the wallet's own
    """
    tx, parts = flow.transfer.tx, []
    if odd:
        marks = _marks(flow)
        parts.append("the transaction looks unlike the wallet's own" + (f" ({', '.join(marks)})" if marks else ""))
    if tx.n_inputs is None:  # account chains: one signer, one payment
        return parts
    if tx.flags & TxFlag.COINJOIN:
        parts.append("it looks like a CoinJoin: several owners, equal outputs; whose coin went where cannot be told")
    elif flow.value < flow.transfer.value:
        parts.append("others paid into the same transaction: this is the wallet's part of the output")
    return parts


def _marks(flow: Flow) -> list[str]:
    """Of UTXO chains: what a person would look at."""
    tx = flow.transfer.tx
    if tx.n_inputs is None:
        return []
    found = [f"{tx.fee_rate:.3g} base units a virtual byte"] if tx.fee_rate is not None else []
    found.append(f"{tx.n_inputs} input{'' if tx.n_inputs == 1 else 's'}")
    if tx.n_outputs is not None:
        found.append(f"{tx.n_outputs} output{'' if tx.n_outputs == 1 else 's'}")
    if tx.version is not None:
        found.append(f"version {tx.version}")
        words = (
            (TxFlag.ROUND_FEE, "a round fee"), (TxFlag.ROUND_AMOUNT, "a round amount"),
            (TxFlag.REPLACEABLE, "replaceable"), (TxFlag.LOCKED, "with a lock time"),
        )  # fmt: skip
        found += [word for flag, word in words if tx.flags & flag]
    return [*found, tx.script_type] if tx.script_type else found
