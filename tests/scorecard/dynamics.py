"""What a wallet's balances do with its life, hour by hour: withdrawals, sweeps to cold, refills, moves, and a theft.

A theft is carried out within the same run: balances fall, customers go on withdrawing, refills go on arriving. All
amounts are whole units, so that balances are exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit

from tests.scorecard.world import HOUR, Ints, Life

__all__ = [
    "DEPOSIT", "MIGRATION", "OF_BALANCE", "OF_START", "PAYMENT", "REFILL", "SISTER", "SWEEP", "THEFT", "UNITS",
    "Flows", "Piece", "run",
]  # fmt: skip

DEPOSIT, REFILL, PAYMENT, SWEEP, SISTER, MIGRATION, THEFT = range(7)
OF_START, OF_BALANCE, UNITS = range(3)  # what the size of a piece of a theft counts in
AT, ASSET, WHAT, VALUE, PLACE = range(5)
HIGH, LOW = 1.6, 0.35  # shares of the target: above, the rest goes to cold; below, cold refills
ANSWER = 0.6  # a withdrawal takes no more of a balance
PROBE = 50  # dollars of a test of the wallet itself
NEVER = np.int64(2**62)


@dataclass(frozen=True, slots=True)
class Piece:
    """One payment of a theft: ``size`` is a share of the balance when the theft began, or then, or units."""

    at: int
    asset: int
    size: float
    thief: int
    mode: int = OF_START


@dataclass(frozen=True, slots=True)
class Flows:
    """Every movement of one wallet in order, arrays of one length."""

    at: Ints  # seconds
    asset: Ints
    what: Ints  # DEPOSIT .. THEFT
    value: Ints  # units, above zero
    place: Ints  # the other side: customer, cold address, sister or thief by its number

    @property
    def out(self) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Which ones leave."""
        return self.what >= PAYMENT


def run(life: Life, theft: Sequence[Piece] = (), until: int | None = None) -> Flows:
    """All movements of a life, with a theft in it, up to the hour in which second ``until`` lies."""
    hours = life.days * 24 if until is None else min(life.days * 24, until // HOUR + 1)
    pieces = sorted(theft, key=lambda p: p.at)
    rows = _run(
        hours, life.target, life.deposits, life.at, life.asset, life.value, life.to,
        life.rotation, life.rotation_probed, np.int64(life.refill_delay),
        life.sister_at, life.sister_asset, life.sister_share, life.sister_to,
        life.migration_at, life.migration_probed, life.dollar * PROBE,
        np.array([p.at for p in pieces], np.int64), np.array([p.asset for p in pieces], np.int64),
        np.array([p.size for p in pieces], np.float64), np.array([p.thief for p in pieces], np.int64),
        np.array([p.mode for p in pieces], np.int64),
    )  # fmt: skip
    return Flows(rows[:, AT], rows[:, ASSET], rows[:, WHAT], rows[:, VALUE], rows[:, PLACE])


@njit(cache=True)
def _put(rows, n, balance, at, asset, what, value, place):  # type: ignore[no-untyped-def]
    """Write a movement down and change the balance; nothing of no value, nothing that is not there."""
    if what >= PAYMENT:
        value = min(value, balance[asset])
    if value <= 0:
        return n
    balance[asset] += -value if what >= PAYMENT else value
    rows[n, AT], rows[n, ASSET], rows[n, WHAT], rows[n, VALUE], rows[n, PLACE] = at, asset, what, value, place
    return n + 1


@njit(cache=True)
def _next(times, i):  # type: ignore[no-untyped-def]
    return times[i] if i < len(times) else NEVER


@njit(cache=True)
def _migrate(rows, n, balance, at, done, of, probed, probe):  # type: ignore[no-untyped-def]
    """One piece of every asset: a test, equal parts, and nearly all at last."""
    for a in range(len(balance)):
        left = of - done
        if probed and done == 0:
            value = min(probe[a], balance[a] // 10_000)
        elif left == 1:
            value = np.int64(balance[a] * 0.97)
        else:
            value = balance[a] // left
        n = _put(rows, n, balance, at, a, MIGRATION, value, 0)
    return n


@njit(cache=True)
def _arrivals(rows, n, balance, hour, deposits, target, refill_at, cold):  # type: ignore[no-untyped-def]
    for a in range(len(balance)):
        n = _put(rows, n, balance, hour * HOUR, a, DEPOSIT, deposits[a, hour], 0)
        if refill_at[a] <= hour * HOUR:
            n = _put(rows, n, balance, hour * HOUR, a, REFILL, target[a] - balance[a], cold)
            refill_at[a] = NEVER
    return n


@njit(cache=True)
def _sweeps(rows, n, balance, hour, target, refill_at, delay, cold, test, probe):  # type: ignore[no-untyped-def]
    """What is too much goes to cold at the end of the hour, after a test an hour before where ``test`` is set."""
    at = hour * HOUR + HOUR - 1
    for a in range(len(balance)):
        if balance[a] > HIGH * target[a]:
            if test[0]:
                n = _put(rows, n, balance, at, a, SWEEP, probe[a], cold)
                test[0] = False
            else:
                n = _put(rows, n, balance, at, a, SWEEP, balance[a] - target[a], cold)
        if balance[a] < LOW * target[a] and refill_at[a] == NEVER:
            refill_at[a] = at + delay
    return n


@njit(cache=True)
def _run(  # type: ignore[no-untyped-def]
    hours, target, deposits, at, asset, value, to, rotation, rotation_probed, delay, sister_at, sister_asset,
    sister_share, sister_to, move_at, move_probed, probe, theft_at, theft_asset, theft_size, theft_to, theft_mode,
):  # fmt: skip
    assets = len(target)
    rows = np.empty((len(at) + len(sister_at) + assets * (3 * hours + len(move_at)) + len(theft_at), 5), np.int64)
    balance, start = target.copy(), np.full(assets, -1, np.int64)
    refill_at, test = np.full(assets, NEVER, np.int64), np.zeros(1, np.bool_)
    n = i = j = m = q = cold = 0
    for hour in range(hours):
        while cold < len(rotation) and rotation[cold] <= hour * HOUR:
            test[0] = rotation_probed[cold]
            cold += 1
        n = _arrivals(rows, n, balance, hour, deposits, target, refill_at, cold)
        while True:
            pay, move, sister, steal = _next(at, i), _next(move_at, m), _next(sister_at, j), _next(theft_at, q)
            now = min(min(pay, move), min(sister, steal))
            if now >= (hour + 1) * HOUR:
                break
            if now == steal:
                a = theft_asset[q]
                if start[a] < 0:
                    start[a] = balance[a]
                whole = 1.0 if theft_mode[q] == UNITS else start[a] if theft_mode[q] == OF_START else balance[a]
                n = _put(rows, n, balance, now, a, THEFT, np.int64(theft_size[q] * whole), theft_to[q])
                q += 1
            elif now == pay:
                most = np.int64(ANSWER * balance[asset[i]])
                n = _put(rows, n, balance, now, asset[i], PAYMENT, min(value[i], most), to[i])
                i += 1
            elif now == sister:
                part = np.int64(sister_share[j] * balance[sister_asset[j]])
                n = _put(rows, n, balance, now, sister_asset[j], SISTER, part, sister_to[j])
                j += 1
            else:
                n = _migrate(rows, n, balance, now, m, len(move_at), move_probed, probe)
                m += 1
        n = _sweeps(rows, n, balance, hour, target, refill_at, delay, cold, test, probe)
    return rows[:n]
