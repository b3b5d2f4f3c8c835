"""Is a fee far beyond what a wallet pays otherwise? Pure.

What is kept of fees (HW-7) are shares of the last 200 payments, in steps of a factor 1.4 around the usual rate. So
"beyond the 99.9th percentile of its own history" cannot be told exactly: it is said where less than half a payment in
200 was as dear, and the fee is at least four times the usual one.
"""

from __future__ import annotations

from typing import Any

from monitor.rows import pack_marks

__all__ = ["fee_spike"]

KNOWN_FROM = 100.0  # payments with a fee
RARE = 0.0025  # share of payments that were as dear
LEAST = 4.0  # times the usual rate
_MIDDLE, _TOP = 8, 15


def fee_spike(record: Any, fee_rate: float) -> float | None:
    """How many times the usual fee rate of a wallet this is; None where it is nothing special, or little is known.

    Parameters
    ----------
    record : a row of `FUSION`, see `monitor.features.looks` for its fields
    fee_rate : in the chain's smallest unit
    """
    packed = pack_marks(fee_rate, None, None, None, None, None) & 0xFF
    if not packed or float(record["printed"][0]) < KNOWN_FROM:
        return None
    quarters = packed - float(record["fee_level"])
    times = 2.0 ** (quarters / 4)
    bin_ = min(_TOP, max(1, int((quarters / 2.0 + 0.5) // 1) + _MIDDLE))
    share = float(record["prints"][0, bin_:].sum())
    return times if times >= LEAST and share < RARE else None
