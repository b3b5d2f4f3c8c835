"""What would raise an alarm right now: payments tried on copies of the records, so that nothing is changed. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from monitor.features import table
from monitor.features.dtypes import FEATURES, HIT, TABLE, UNDONE
from monitor.features.maths import exp, log
from monitor.fold import DONE, SCRATCH, fold
from monitor.ids import hash64
from monitor.priors import PEER
from monitor.rows import OUT
from monitor.state import Records

__all__ = ["Smallest", "smallest_alarm", "would_fire"]

NEWCOMER = hash64("to", "a destination that nobody ever paid")
TRIED = 24  # amounts a round
ROUNDS = 4  # each narrows the answer by as many steps as amounts are tried
SPAN = 1e-9  # the least share of what there is that is tried
PLACES = 16  # of a destination table that begins
FIRED = 1


@dataclass(frozen=True, slots=True)
class Smallest:
    """The smallest payment that would raise an alarm, base units, and the bits of what it exceeds (`HIT`'s fired)."""

    value: int
    fired: int


def would_fire(records: Records, at: int, amounts: NDArray[np.float64]) -> NDArray[np.int32]:
    """What each payment would exceed if it alone came next, as bits; 0: nothing.

    Each goes to an address that was never paid and has no label; its transaction looks like any other of the wallet.

    Parameters
    ----------
    records : `monitor.state.EngineState.records`
    at : UTC seconds, not before the wallet's last flow
    amounts : base units, shape (n,)

    Returns
    -------
    bits as in the field ``fired`` of `HIT`, shape (n,)
    """
    n = len(amounts)
    places = np.arange(n, dtype=np.int32)
    hits, counts = np.zeros(n + 1, HIT), np.zeros(1, np.int64)
    end, why = fold(
        0,
        places,
        places,
        np.full(n, at, np.int64),
        np.full(n, OUT, np.int8),
        amounts,
        np.full(n, NEWCOMER, np.uint64),
        np.zeros(n, np.uint8),
        np.zeros(n, np.uint64),
        np.full(n, records.identity, np.uint64),
        np.repeat(records.settings, n),
        np.repeat(records.asset, n),
        np.repeat(records.fusion, n),
        np.zeros(2 * n, TABLE),
        n,
        table.new_pool(2 * (n + 1) * PLACES),
        np.zeros(1, np.int64),
        PEER,
        np.zeros(1, FEATURES),
        np.zeros(SCRATCH),
        hits,
        counts,
        np.zeros(0, UNDONE),
        np.zeros(1, np.int64),
    )
    assert (end, why) == (n, DONE)  # every buffer has room for all rows
    found = np.zeros(n, np.int32)
    fired = hits[: counts[0]]
    fired = fired[fired["kind"] == FIRED]
    found[fired["row"]] = fired["fired"]
    return found


def smallest_alarm(records: Records, at: int) -> Smallest | None:
    """The smallest payment to a new address, of what is there, that would raise an alarm of the statistics at ``at``.

    It is found to better than one part in a thousand: it fires, and what is smaller by that much does not. None: not
    even a payment of all that is there would, as while a wallet learns.
    """
    most = max(float(records.asset["balance"][0]), float(records.asset["typical"][0]))
    if most < 1.0:
        return None
    low, high, fired = max(1.0, most * SPAN), most, 0
    for _ in range(ROUNDS):
        ratio = log(high / low) / (TRIED - 1)
        amounts = np.array([low * exp(ratio * n) for n in range(TRIED - 1)] + [high])
        bits = would_fire(records, at, amounts)
        hits = np.flatnonzero(bits)
        if not len(hits):
            return None
        first = int(hits[0])
        high, fired = float(amounts[first]), int(bits[first])
        if first == 0:
            break
        low = float(amounts[first - 1])
    return Smallest(math.ceil(high), fired)
