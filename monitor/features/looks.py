"""What a wallet's transactions look like, and its last doings, compiled: HW-7, SWEEP, signs of personal wallets.

All of it is kept a (wallet, chain), in the fusion record. A transaction's look is packed in its row (see
`monitor.rows.pack_marks`, and `pack_coin_marks` where coins are spent); missing fields say nothing.
"""

from __future__ import annotations

import math

import numpy as np

from monitor.compiled import compiled
from monitor.features.dtypes import PRINT_BINS, PRINTS, SWEEPS, SWEPT
from monitor.features.maths import log10
from monitor.rows import NONCE_TOLD, SCRIPT_TOLD

__all__ = [
    "SWEEP_WINDOW",
    "TOPUP_WINDOW",
    "learn_look",
    "notice_expected",
    "notice_look",
    "notice_out",
    "notice_topup",
    "swept",
]

KNOWN_FROM = 50.0  # payments with a field before it says anything
KEEP = 200.0  # payments that the averages reach back
FEE_KEEP = 0.1
ODD_MOST = 0.5  # log10 units a field
SWEEP_WINDOW = 600
TOPUP_WINDOW = 1800
_FEE, _LAST = 0, 5  # the last field: the step from the last nonce, or the form of the coins that are spent


@compiled()
def _bin(w, field, marks):  # type: ignore[no-untyped-def]
    """What a field is, 1 to 15; 0 where the transaction does not show it.

    The fee rate is taken against the wallet's own usual one, in steps of a factor 1.4; the nonce against its last.
    """
    if field == _FEE:
        fee = np.int64(marks & np.uint64(0xFF))
        if fee == 0:
            return np.int64(0)
        if w.printed[_FEE] == 0.0:
            return np.int64(8)
        step = np.int64(math.floor((float(fee) - w.fee_level) / 2.0 + 0.5)) + 8
        return min(np.int64(15), max(np.int64(1), step))
    if field == _LAST:
        if marks & np.uint64(SCRIPT_TOLD) != 0:
            return np.int64((marks >> np.uint64(32)) & np.uint64(0xF))
        if marks & np.uint64(NONCE_TOLD) == 0:
            return np.int64(0)
        if w.printed[_LAST] == 0.0:
            return np.int64(2)
        gap = np.int64(marks >> np.uint64(32)) - np.int64(w.last_nonce)
        return np.int64(1 if gap == 0 else 2 if gap == 1 else 3 if 1 < gap < 4 else 4 if gap > 0 else 5)
    return np.int64((marks >> np.uint64(4 + 4 * field)) & np.uint64(0xF))


@compiled()
def notice_look(w, marks, f):  # type: ignore[no-untyped-def]
    """How unlike the wallet's own transactions this one looks: log10 likelihood ratio, 0 or more, and by field.

    Half of all thieves sign as the owner does, half in any way: LR = 1/2 + 1/2 (1/8) / p with p the wallet's own share
    of such transactions. A field adds at most 0.5. A usual look proves nothing and takes nothing away.
    """
    f.odd = 0.0
    f.dearer = 0.0
    for field in range(PRINTS):
        f.unlike[field] = 0.0
        f.usual[field] = 0
    if marks == 0:
        return
    for field in range(PRINTS):
        b = _bin(w, field, marks)
        n = w.printed[field]
        if b == 0 or n < KNOWN_FROM:
            continue
        p = max(w.prints[field, b], 0.5 / (n + 1.0))
        f.unlike[field] = min(ODD_MOST, max(0.0, log10(0.5 + 0.0625 / p)))
        f.usual[field] = _usual(w, field)
        f.odd += f.unlike[field]
    fee = marks & np.uint64(0xFF)
    if fee != 0 and w.printed[_FEE] >= KNOWN_FROM:
        f.dearer = float(fee) - w.fee_level


@compiled()
def _usual(w, field):  # type: ignore[no-untyped-def]
    """What a field mostly is."""
    best = 0
    for i in range(1, PRINT_BINS):
        if w.prints[field, i] > w.prints[field, best]:
            best = i
    return best


@compiled()
def learn_look(w, marks):  # type: ignore[no-untyped-def]
    """An ordinary payment: its look becomes more usual. A lasting change is usual after some 20 transactions."""
    if marks == 0:
        return
    for field in range(PRINTS):
        b = _bin(w, field, marks)
        if b == 0:
            continue
        w.printed[field] = min(KEEP, w.printed[field] + 1.0)
        step = 1.0 / w.printed[field]
        for i in range(PRINT_BINS):
            w.prints[field, i] -= w.prints[field, i] * step
        w.prints[field, b] += step
    fee = marks & np.uint64(0xFF)
    if fee != 0:
        w.fee_level += (np.float32(fee) - w.fee_level) * max(FEE_KEEP, 1.0 / max(1.0, w.printed[_FEE]))
    if marks & np.uint64(NONCE_TOLD) != 0:
        w.last_nonce = np.uint32(marks >> np.uint64(32))


@compiled()
def swept(w, key, identity, t):  # type: ignore[no-untyped-def]
    """Note that an asset goes to an address (calls without coins too); assets that did so within ten minutes."""
    place = -1
    for i in range(SWEEPS):
        if w.swept_to[i] == key and t - w.swept_at[i] <= SWEEP_WINDOW:
            place = i
            break
    if place < 0:
        place = 0
        oldest = w.swept_at[0]
        for i in range(1, SWEEPS):
            if w.swept_at[i] < oldest:
                oldest = w.swept_at[i]
                place = i
        w.swept_to[place] = key
        w.swept_at[place] = t
        w.swept_n[place] = 0
        for i in range(SWEPT):
            w.swept_id[place, i] = 0
    short = np.uint32(identity & np.uint64(0xFFFFFFFF))
    for i in range(w.swept_n[place]):
        if w.swept_id[place, i] == short:
            return float(w.swept_n[place])
    if w.swept_n[place] < SWEPT:
        w.swept_id[place, w.swept_n[place]] = short
        w.swept_n[place] += 1
    return float(w.swept_n[place])


@compiled()
def notice_topup(w, t):  # type: ignore[no-untyped-def]
    """Coins for fees came from an address that the wallet never paid."""
    w.topup_at = t


@compiled()
def notice_expected(w, t):  # type: ignore[no-untyped-def]
    """An expected payment: the wallet is in use; it is no part of a split."""
    if w.last_out != t:
        w.last_out = t
        w.last_value = 0.0


@compiled()
def notice_out(w, value, identity, t, f):  # type: ignore[no-untyped-def]
    """Write how long the wallet was idle, since when it has coins for fees, and how it splits; then remember this."""
    f.idle = float(t - w.last_out) if w.last_out != 0 else -1.0
    f.topup = -1.0
    if w.topup_at != 0 and t - w.topup_at <= TOPUP_WINDOW:
        f.topup = float(t - w.topup_at)
    f.split = 0.0
    if w.last_out == t and w.last_asset == identity and w.last_value > 0.0 and value > 0.0:
        f.split = max(value, w.last_value) / (value + w.last_value)
    w.last_out = t
    w.last_asset = identity
    w.last_value = value
