"""The first fold, compiled: one flow into its asset record, and the features of an outflow.

The statistics are those of `monitor.detectors` HW-1 to HW-3. "Novel" is the part of a payment above three times the
largest amount that the same destination got before yesterday, so that a destination cannot be groomed within a day.
"Again" is what one destination gets beyond its largest payment: honest customers take most of what they take at once,
a theft in pieces does not.
"""

from __future__ import annotations

import math

import numpy as np

from monitor.compiled import compiled
from monitor.features.maths import exp

__all__ = ["CONFIRMED", "SUSPECT", "advance", "deduct", "inflow", "learn_familiar", "outflow", "start", "tell"]

DAY = 86400
MONTH = 30 * DAY
YOUNG_DAY, YOUNG_SLOW = 7 * DAY, 14 * DAY  # below this age the whole amount counts, over a day and ten days
SUSPECT = 1  # destination flag: what goes there is not learned
PROBED = 4  # flag: the first payment was a tiny one
CONFIRMED = 2  # flag of a suspect: a person said that it is a theft
# What strangers may send for a while must not hide a theft: what is held beyond the typical balance makes no payment
# look smaller, and beyond this multiple of it (once it is known for a month) makes it grow no faster.
GROWS = 1.25
PROBE_SHARE = 1e-4  # a first payment below this share of the typical balance is a probe
PROBE_WINDOW = 6 * 3600
_HUGE = 1e30  # amounts in scale units are cut here: float32 sums of them stay finite
PROFILE_FROM = 14 * DAY
R10M, R1H, R6H, R24H, FRESH, REPEATED = 0, 1, 2, 3, 4, 5  # places of the rings' sums


@compiled()
def start(a, t, value):  # type: ignore[no-untyped-def]
    """Begin an asset record at its first flow or told balance."""
    a.used = 1
    a.born = t
    a.clock = t
    _, exponent = math.frexp(max(value, 1.0))
    a.scale = math.ldexp(1.0, exponent)
    a.head_10m = t // 60
    a.head_1h = t // 300
    a.head_6h = t // 900
    a.head_24h = t // 1800
    a.hour = t // 3600
    for i in range(24):
        a.by_hour[i] = 1.0
    for i in range(7):
        a.by_weekday[i] = 1.0


@compiled()
def _sum(ring):  # type: ignore[no-untyped-def]
    one = two = three = four = 0.0  # four sums that do not wait for one another
    n = ring.shape[0] // 4 * 4
    for i in range(0, n, 4):
        one += ring[i]
        two += ring[i + 1]
        three += ring[i + 2]
        four += ring[i + 3]
    for i in range(n, ring.shape[0]):
        one += ring[i]
    return (one + two) + (three + four)


@compiled()
def _renew(ring, head, now, total):  # type: ignore[no-untyped-def]
    """Empty the buckets between the newest and ``now``; returns the new sum, the old one being ``total``."""
    if total == 0.0:  # amounts are never negative: there is nothing in it
        return 0.0
    n = ring.shape[0]
    place = head % n
    for _ in range(min(now - head, n)):
        place = place + 1 if place + 1 < n else 0
        ring[place] = 0.0
    return _sum(ring)


@compiled()
def _turn(a, t):  # type: ignore[no-untyped-def]
    """Bring every ring to ``t``: buckets that end leave, and what is left is summed anew."""
    if t // 60 == a.head_10m:
        return
    a.sums[R10M] = _renew(a.ring_10m, a.head_10m, t // 60, a.sums[R10M])
    a.head_10m = t // 60
    if t // 300 == a.head_1h:
        return
    a.sums[R1H] = _renew(a.ring_1h, a.head_1h, t // 300, a.sums[R1H])
    a.sums[FRESH] = _renew(a.ring_fresh, a.head_1h, t // 300, a.sums[FRESH])
    a.head_1h = t // 300
    if t // 900 == a.head_6h:
        return
    a.sums[R6H] = _renew(a.ring_6h, a.head_6h, t // 900, a.sums[R6H])
    a.head_6h = t // 900
    if t // 1800 == a.head_24h:
        return
    a.sums[R24H] = _renew(a.ring_24h, a.head_24h, t // 1800, a.sums[R24H])
    a.sums[REPEATED] = _renew(a.ring_again, a.head_24h, t // 1800, a.sums[REPEATED])
    a.head_24h = t // 1800


@compiled()
def _close_hour(a, t):  # type: ignore[no-untyped-def]
    """Fold the finished hour into the profile by hour and weekday (novel outflow, clipped), and the idle ones since.

    Idle hours count whether or not something arrived in them: else anybody could bend the profile with dust.
    """
    hour = t // 3600
    if hour == a.hour:
        return
    level = min(a.hour_novel, 1.0)
    for past in range(a.hour, hour):
        h = past % 24
        w = (past // 24 + 3) % 7  # 1970-01-01 was a Thursday; 0 is Monday
        a.by_hour[h] = 0.9 * a.by_hour[h] + 0.1 * level
        a.by_weekday[w] = 0.98 * a.by_weekday[w] + 0.02 * level
        level = 0.0
    a.hour = hour
    a.hour_novel = 0.0


@compiled()
def season(a, t):  # type: ignore[no-untyped-def]
    """Usual novel outflow of this hour over that of all hours, 0.3 to about 3; 1 in the first fortnight."""
    if t - a.born < PROFILE_FROM:
        return 1.0
    hours, days = _sum(a.by_hour), _sum(a.by_weekday)
    if hours <= 0.0 or days <= 0.0:
        return 1.0
    h = t // 3600
    by_hour = 24.0 * a.by_hour[h % 24] / hours
    by_day = 7.0 * a.by_weekday[(h // 24 + 3) % 7] / days
    return min(4.0, 0.3 + 0.7 * by_hour * by_day)


@compiled()
def advance(a, t):  # type: ignore[no-untyped-def]
    """Let time pass to ``t``: averages, decays, rings. Returns the time on the record's own clock."""
    if t <= a.clock:
        return a.clock
    dt = float(t - a.clock)
    window = min(max(float(t - a.born), 3600.0), float(MONTH))
    held = min(a.balance, GROWS * a.typical) if t - a.born >= MONTH else a.balance
    a.typical += (held - a.typical) * (1.0 - exp(-dt / window))
    a.peak = max(a.balance, a.peak * exp(-dt / (48.0 * 3600.0)))
    _turn(a, t)
    _close_hour(a, t)
    a.clock = t
    return t


@compiled()
def inflow(a, value):  # type: ignore[no-untyped-def]
    """Coins arrive."""
    a.balance += value
    if a.balance > a.largest:
        a.largest = a.balance
    if a.balance > a.peak:
        a.peak = a.balance
    if a.typical <= 0.0:
        a.typical = a.balance


@compiled()
def deduct(a, value):  # type: ignore[no-untyped-def]
    """Coins leave. A balance that was unknown, or has unseen inflows, is lifted by what it turns out to lack."""
    a.balance -= value
    if a.balance < 0.0:
        lack = -a.balance
        a.balance = 0.0
        a.typical += lack
        a.peak += lack
        a.largest = max(a.largest, value, a.peak)


@compiled()
def tell(a, value):  # type: ignore[no-untyped-def]
    """The balance is told (by the chain or a table): take it over; averages follow where they were guesses."""
    if a.known == 0:
        a.typical = max(0.0, a.typical + value - a.balance) if a.clock > a.born else value
    a.balance = value
    a.known = 1
    a.largest = max(a.largest, value)
    a.peak = max(a.peak, value)


@compiled()
def _roll(d, day):  # type: ignore[no-untyped-def]
    """Bring the familiar amounts of a destination to ``day``."""
    if d.day == day:
        return
    if day == d.day + 1:
        d.older = max(d.older, d.yesterday)
        d.yesterday = d.today
    else:
        d.older = max(d.older, d.yesterday, d.today)
        d.yesterday = 0.0
    d.today = 0.0
    d.day = day


@compiled()
def _begin_destination(d, x, typical, t):  # type: ignore[no-untyped-def]
    d.first = t
    d.last = t
    d.day = t // DAY
    if x < PROBE_SHARE * typical:
        d.flags |= PROBED


@compiled()
def _pour(a, d, novel, in_24h, age, suspect, typical):  # type: ignore[no-untyped-def]
    """The novel part of a payment, and what it repeats, into the rings of the wallet asset."""
    if novel > 0.0:
        a.ring_10m[a.head_10m % 10] += novel
        a.ring_1h[a.head_1h % 12] += novel
        a.ring_6h[a.head_6h % 24] += novel
        a.ring_24h[a.head_24h % 48] += novel
        for i in range(FRESH):
            a.sums[i] += novel
        if age < DAY:
            a.ring_fresh[a.head_1h % 12] += novel
            a.sums[FRESH] += novel
        if not suspect:
            a.hour_novel += novel / typical
    repeated = min(in_24h, max(d.older, d.yesterday, d.today))
    a.ring_again[a.head_24h % 48] += repeated
    a.sums[REPEATED] += repeated


@compiled()
def _describe(a, d, x, novel, age, suspect, typical, t, f):  # type: ignore[no-untyped-def]
    """The features of a payment, after `_pour`."""
    balance = a.balance / a.scale
    f.value = x
    f.novel = novel
    f.d1 = d.d1
    f.d24 = d.d24
    f.u10m = a.sums[R10M]
    f.u1h = a.sums[R1H]
    f.u6h = a.sums[R6H]
    f.u24h = a.sums[R24H]
    f.fresh = a.sums[FRESH]
    f.again1 = max(0.0, d.d1 - max(x, d.today, d.yesterday))
    f.again24 = a.sums[REPEATED]
    f.again240 = max(0.0, d.d240 - max(x, d.today, d.yesterday, d.older))
    f.season = season(a, t)
    f.typical = typical
    f.balance = balance
    f.peak = max(a.peak / a.scale, balance + x)
    most = max(f.d24, f.u1h, 0.7 * d.d240)
    f.share = min(1.0, most / max(0.5 * typical, min(balance + most, typical)))
    f.age = float(age)
    f.probe = -1.0
    if (d.flags & PROBED) != 0 and age <= PROBE_WINDOW and x > 10.0 * PROBE_SHARE * typical:
        f.probe = float(age)
    f.suspect = 1 if suspect else 0


@compiled()
def outflow(a, d, is_new, value, t, q, f):  # type: ignore[no-untyped-def]
    """One payment to an unlisted destination: update ``a`` and ``d``, write the features. True where it matters.

    What never matters: payments within what their destination is used to. ``q`` is the wallet's row of `PARAMETERS`.
    """
    x = min(value / a.scale, _HUGE)
    deduct(a, value)
    typical = max(a.typical, max(1.0, 1e-6 * a.largest)) / a.scale
    if is_new:
        _begin_destination(d, x, typical, t)
    _roll(d, t // DAY)
    suspect = (d.flags & SUSPECT) != 0
    novel = x if suspect else max(0.0, x - q.familiar * d.older)
    age = t - np.int64(d.first)
    appeared = np.int64(d.first) - a.born >= YOUNG_DAY  # while the record is young, any address may be an old one
    in_10d = x if appeared and age < YOUNG_SLOW else novel
    in_24h = x if appeared and age < YOUNG_DAY else novel
    in_1h = in_day = in_days = 0.0
    if not is_new:
        hours = float(t - np.int64(d.last)) / 3600.0
        in_1h = d.d1 * exp(-hours)
        in_day = d.d24 * exp(-hours / 24.0)
        in_days = d.d240 * exp(-hours / 240.0)
    d.d1 = in_1h + novel
    d.d24 = in_day + in_24h
    d.d240 = in_days + in_10d
    d.last = t
    _pour(a, d, novel, in_24h, age, suspect, typical)
    if not (novel > 0.0 or (in_10d > 0.0 and d.d240 > 0.02 * typical)):
        return False
    _describe(a, d, x, novel, age, suspect, typical, t, f)
    return True


@compiled()
def learn_familiar(d, x):  # type: ignore[no-untyped-def]
    """An ordinary payment makes its destination more familiar (from the day after tomorrow on)."""
    if x > d.today:
        d.today = x
