"""The records of the engine's state: fixed width, changed only by compiled code.

Amounts inside the state are float64 (or float32 in units of the record's own power-of-two ``scale``): every statistic
is a ratio, so no unit and no price enters. Times are int64 UTC seconds on the wallet's own clock (the running maximum
of the block times of its flows).
"""

from __future__ import annotations

import numpy as np

__all__ = [
    "ASSET",
    "CHANNELS",
    "DESTINATION",
    "FEATURES",
    "FUSION",
    "HIT",
    "MAXIMA_DAYS",
    "PARAMETERS",
    "PRINTS",
    "PRINT_BINS",
    "RECENT_ASSETS",
    "STATISTICS",
    "SWEEPS",
    "SWEPT",
    "TABLE",
    "UNDONE",
]

STATISTICS = (
    "single", "dest_1h", "dest_24h", "total_10m", "total_1h", "total_6h", "total_24h",
    "fresh_1h", "again_1h", "again_24h", "again_10d",
)  # fmt: skip
CHANNELS = ("fast", "day", "slow")
MAXIMA_DAYS = 60  # active days of daily maxima that a wallet remembers
RECENT_ASSETS = 8  # other assets whose evidence is remembered, see HW-6
SWEEPS, SWEPT = 8, 8  # addresses to which several assets go, see SWEEP, and the assets remembered of each
PRINTS, PRINT_BINS = 6, 16  # fields of a transaction's fingerprint, see HW-7, and what each may be

_K, _C = len(STATISTICS), len(CHANNELS)

# Windows as bucket rings: 10 x 1 min, 12 x 5 min, 24 x 15 min, 48 x 30 min. Their sums are kept, and taken anew where a
# bucket ends: between two ends a flow touches below 300 bytes of this record; the whole is below 1.5 KB.
ASSET = np.dtype(
    [
        ("born", "i8"),  # first flow
        ("clock", "i8"),  # last flow
        ("scale", "f8"),  # power of two; unit of the float32 fields here and in the destinations
        ("balance", "f8"),  # base units
        ("typical", "f8"),  # balance averaged over 30 days (over the age while younger)
        ("largest", "f8"),  # largest balance seen
        ("peak", "f8"),  # maximum of the balance, decaying with 48 h
        ("known", "u1"),  # the balance was told, not only inferred from flows
        ("used", "u1"),
        ("head_10m", "i4"),  # number of the newest bucket of each ring
        ("head_1h", "i4"),
        ("head_6h", "i4"),
        ("head_24h", "i4"),
        ("ring_10m", "f4", (10,)),
        ("ring_1h", "f4", (12,)),
        ("ring_6h", "f4", (24,)),
        ("ring_24h", "f4", (48,)),
        ("ring_fresh", "f4", (12,)),  # of the hour, to destinations first paid within a day
        ("ring_again", "f4", (48,)),  # of the day, what is paid to one address beyond its largest payment
        ("sums", "f8", (6,)),  # of the rings above, in their order
        ("hour", "i4"),  # hour of the accumulator below (hours since 1970)
        ("hour_novel", "f4"),  # novel outflow of that hour, share of the typical balance
        ("by_hour", "f4", (24,)),  # slow averages of the same by hour of day
        ("by_weekday", "f4", (7,)),  # and by day of week
    ],
    align=True,
)

# 48 bytes a destination of one (wallet, chain, asset); the same record, without amounts, marks a suspect.
DESTINATION = np.dtype(
    [
        ("key", "u8"),  # 0 is an empty place
        ("first", "u4"),
        ("last", "u4"),
        ("d1", "f4"),  # decaying sums: novel part over 1 h
        ("d24", "f4"),  # over 24 h, whole amount while younger than 7 days
        ("d240", "f4"),  # over 240 h, whole amount while younger than 14 days
        ("older", "f4"),  # largest amount before yesterday: the familiar amount
        ("yesterday", "f4"),
        ("today", "f4"),
        ("spare", "u4"),
        ("day", "u2"),  # day of ``today`` since 1970
        ("flags", "u2"),
    ],
    align=True,
)
assert DESTINATION.itemsize == 48

FUSION = np.dtype(
    [
        ("born", "i8"),
        ("clock", "i8"),
        ("day", "i4"),  # day being accumulated, since 1970
        ("days", "i4"),  # active days (with a novel outflow) completed, ever
        ("warm_from", "i8"),  # statistics may fire from here on
        ("used", "u1"),
        ("active", "u1"),  # the accumulated day has a novel outflow
        ("exceeded", "u1", (_C + 1,)),  # channel (and guard rail) exceeded today, unconfirmed
        ("guard", "f8"),  # level of the adaptive guard rail, 1 or more
        ("guard_peak", "f8"),  # highest level at which it fired today
        ("alarm", "i8"),  # last flow that fired, 0 never
        ("delta", "f8", (_C,)),  # the controller's shift of each threshold
        ("tau", "f8", (_C,)),  # thresholds of today
        ("centre", "f8", (_C,)),  # tail of the fused score, see monitor.fusion
        ("width", "f8", (_C,)),
        ("u", "f4", (_K,)),  # level that 30 % of active days exceed, by statistic
        ("s", "f4", (_K,)),  # mean excess above it
        ("today", "f4", (_K + _C,)),  # running maxima of the day
        ("maxima", "f4", (_K + _C, MAXIMA_DAYS)),  # of the last active days, a ring
        ("recent_at", "i8", (RECENT_ASSETS,)),
        ("recent_id", "u8", (RECENT_ASSETS,)),
        ("swept_to", "u8", (SWEEPS,)),  # addresses that got something lately,
        ("swept_at", "i8", (SWEEPS,)),  # since when,
        ("swept_n", "u1", (SWEEPS,)),  # how many assets,
        ("swept_id", "u4", (SWEEPS, SWEPT)),  # and which
        ("prints", "f4", (PRINTS, PRINT_BINS)),  # how often each field of a transaction is what, slow averages
        ("printed", "f4", (PRINTS,)),  # payments with the field, at most 200
        ("fee_level", "f4"),  # usual fee rate, in quarters of a doubling
        ("last_nonce", "u4"),
        ("last_out", "i8"),  # last payment, expected ones too, 0 never
        ("last_value", "f8"),  # the last payment of the same moment, for splits,
        ("last_asset", "u8"),
        ("topup_at", "i8"),  # native coins last came from an address that was never paid, 0 never
    ],
    align=True,
)

# What detectors see of one outflow. All amounts are in units of the asset record's scale.
FEATURES = np.dtype(
    [
        ("value", "f8"),
        ("novel", "f8"),
        ("d1", "f8"),
        ("d24", "f8"),
        ("u10m", "f8"),
        ("u1h", "f8"),
        ("u6h", "f8"),
        ("u24h", "f8"),
        ("fresh", "f8"),
        ("again1", "f8"),
        ("again24", "f8"),
        ("again240", "f8"),  # of this destination over ten days, beyond its largest payment
        ("season", "f8"),
        ("typical", "f8"),
        ("balance", "f8"),  # after this flow
        ("peak", "f8"),
        ("share", "f8"),
        ("age", "f8"),  # seconds since the destination was first paid
        ("probe", "f8"),  # seconds since a tiny first payment to it, -1 none
        ("others", "f8"),  # other assets of the wallet with evidence within two hours
        ("swept", "f8"),  # assets that went to this fresh address within ten minutes
        ("odd", "f8"),  # how unlike the wallet's own the transaction looks, log10 units
        ("unlike", "f4", (PRINTS,)),  # the same of each field
        ("usual", "u1", (PRINTS,)),  # what each of those fields mostly is, 0 not known
        ("dearer", "f8"),  # fee rate against the usual one, in quarters of a doubling
        ("idle", "f8"),  # seconds since the wallet's last outflow, -1 none
        ("topup", "f8"),  # seconds since coins for fees came from a stranger, -1 none
        ("split", "f8"),  # share of the larger of two payments of one asset and moment, 0 none
        ("kind", "u1"),  # of the destination, from labels: see monitor.rows
        ("foreign", "u1"),  # another account's transaction moved it
        ("suspect", "u1"),
    ],
    align=True,
)

# What may be set for a wallet: one row a fusion record, made by monitor.parameters, no part of the state.
PARAMETERS = np.dtype(
    [
        ("budget", "f8"),  # false alarms a 30 days on this chain
        ("peer", "i4"),  # row of the peer priors
        ("personal", "u1"),
        ("warm_up", "i8"),  # seconds
        ("floor", "f8"),  # share of the balance below which no threshold is looked at
        ("familiar", "f8"),
        ("uses", "f8", (_K,)),  # weight of each statistic in its channel, 0 or more
        ("probe", "f8"),
        ("drain_most", "f8"),
        ("drain_much", "f8"),
        ("others", "f8"),
        ("others_most", "f8"),
        ("odd_most", "f8"),
        ("bad", "f8"),
        ("service", "f8"),
        ("exchange", "f8"),
        ("swept", "f8"),
        ("swept_most", "f8"),
        ("to_one", "f8"),
        ("to_all", "f8"),
        ("calm", "f8"),
        ("fresh", "f8"),
        ("known", "f8"),
        ("drained", "f8"),
        ("further", "f8"),
        ("further_most", "f8"),
        ("foreign", "f8"),
        ("split", "f8"),
        ("dormant", "f8"),
        ("topup", "f8"),
    ],
    align=True,
)

TABLE = np.dtype([("offset", "i8"), ("bits", "i4"), ("count", "i4")], align=True)

HIT = np.dtype(
    [
        ("row", "i8"),
        ("kind", "i4"),  # 1 over a threshold, 2 to a suspect but under every threshold, 3 close under it
        ("fired", "i4"),  # bits: 1 fast, 2 day, 4 slow, 8 guard rail
        ("score", "f8", (_C,)),
        ("tau", "f8", (_C,)),
        ("return_days", "f8"),
        ("x", "f8", (_K,)),
        ("u", "f8", (_K,)),
        ("z", "f8", (_K,)),
        ("share", "f8"),
        ("gone", "f8"),  # novel outflow of the last hour as a share of what was there
        ("drain", "f8"),  # balance left as a share of its recent peak
        ("balance", "f8"),  # base units, after the flow
        ("typical", "f8"),
        ("age", "f8"),
        ("probe", "f8"),
        ("others", "f8"),
        ("swept", "f8"),
        ("odd", "f8"),
        ("unlike", "f4", (PRINTS,)),
        ("usual", "u1", (PRINTS,)),
        ("dearer", "f8"),
        ("idle", "f8"),
        ("topup", "f8"),
        ("split", "f8"),
        ("kind_of", "u1"),  # of the destination, from labels
        ("foreign", "u1"),
        ("personal", "u1"),
        ("width", "f8", (_C,)),
        ("days", "i4"),
        ("warm", "u1"),
    ],
    align=True,
)

UNDONE = np.dtype([("owner", "i8"), ("key", "u8"), ("had", "u1"), ("record", DESTINATION)], align=True)
