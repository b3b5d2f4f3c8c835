"""The second fold, compiled: evidence into scores that are calibrated against the owner's false-alarm budget.

State is one record a (wallet, chain). The unit of calibration is the wallet's *daily maximum* of the score over active
days (days with a novel outflow), not the single payment: "at most b false alarms in 30 days" means a threshold that the
maximum of a clean active day exceeds with chance ``share * d * (1 + 2 d)``, ``d = b / 30`` (more where few days are
active; alarms of neighbouring days are one). Own maxima are shrunk to the peer prior; the tail above the 70 % quantile
is taken as exponential in log units, with its far end as peers show it; an adaptive conformal controller moves the
threshold after days that exceeded it unconfirmed.

Source: Gibbs and Candes, "Adaptive conformal inference under distribution shift", 2021, for the controller.
"""

from __future__ import annotations

import numpy as np

from monitor.compiled import compiled
from monitor.detectors.base import Evidence
from monitor.features.dtypes import CHANNELS, MAXIMA_DAYS, RECENT_ASSETS, STATISTICS
from monitor.features.maths import exp, exp10, log, log10
from monitor.priors import SPLIT

__all__ = [
    "advance_day",
    "bounds",
    "channels",
    "learn",
    "levels",
    "matters",
    "pass_days",
    "remember",
    "return_days",
    "stands_out",
    "start",
    "thresholds",
]

K = len(STATISTICS)
C = len(CHANNELS)
DAY = 86400
WARM_UP = 7 * DAY
GAP_DAYS = 14
QUANTILE = 0.70
EXCEEDED = 1.0 - QUANTILE
Z_AT_U = 0.523  # -log10(EXCEEDED)
Z_MAX = 6.0
Z_LEAST = Z_AT_U - 0.5  # of a statistic that says nothing, as most do most of the time
RARE = int(Evidence.AGAIN_1H)
QUANTILE_RARE = 0.9
Z_AT_RARE = 1.0
PRIOR_DAYS_U = 7.0
PRIOR_DAYS_S = 6.0
ETA = 0.3
DELTA_MIN, DELTA_MAX = -0.6, 2.0
GUARD_STEP, GUARD_MAX, GUARD_KEEP = 1.15, 3.3, 0.995
LN10 = 2.302585092994046
NEVER = -9.0
FAST, DAYLY, SLOW = 0, 1, 2
OF_CHANNEL = (0, 0, 1, 0, 0, 1, 1, 0, 0, 1, 2)  # of each statistic
JOINED = 2.0  # days that the alarms of one incident reach over, beyond the first
MARGIN = 1e-6  # far above what rounding does to a fused level
SLACK = 0.053
LOG2_10 = 3.321928094887362
ONE, BIAS = 4503599627370496.0, 1023.0  # of a float64: the step of its exponent in its bits, and what is added to it
ABOVE_LINE = 0.08607134  # the most that log2(1 + x) - x is between 0 and 1
UNREACHED = 99.0  # threshold of a channel that is not used
OTHERS_WINDOW = 2 * 3600
PERSONAL_SHARE = 0.1  # what of an asset must go in a personal wallet to count for the others


@compiled()
def start(w, t, q, peer):  # type: ignore[no-untyped-def]
    """Begin a fusion record at the wallet's first flow."""
    w.used = 1
    w.born = t
    w.clock = t
    w.day = t // DAY
    w.warm_from = t + q.warm_up
    w.guard = 1.0
    for k in range(K):
        w.u[k] = peer.u[k]
        w.s[k] = peer.s[k]
    for c in range(C):
        w.centre[c] = peer.centre[c]
        w.width[c] = peer.width[c]
    for i in range(K + C):
        w.today[i] = NEVER
    thresholds(w, q, peer)


@compiled()
def _quantile(peer, c, p):  # type: ignore[no-untyped-def]
    """Standardised excess that a clean active day exceeds with chance ``p``."""
    lp = log(min(p, 1.0))
    n = peer.pool_p.shape[0]
    i = 1
    while i < n - 1 and log(peer.pool_p[i]) > lp:
        i += 1
    l0, l1 = log(peer.pool_p[i - 1]), log(peer.pool_p[i])
    return peer.pool_q[c, i - 1] + (peer.pool_q[c, i] - peer.pool_q[c, i - 1]) * (lp - l0) / (l1 - l0)


@compiled()
def _log_chance(peer, c, q):  # type: ignore[no-untyped-def]
    """The inverse: natural log of the chance that a clean active day exceeds ``q``; the last slope goes on for ever."""
    n = peer.pool_p.shape[0]
    i = 1
    while i < n - 1 and peer.pool_q[c, i] < q:
        i += 1
    l0, l1 = log(peer.pool_p[i - 1]), log(peer.pool_p[i])
    return l0 + (l1 - l0) * (q - peer.pool_q[c, i - 1]) / (peer.pool_q[c, i] - peer.pool_q[c, i - 1])


@compiled()
def _chance(q, peer, c):  # type: ignore[no-untyped-def]
    """The clean-day chance that the budget allows channel ``c``.

    Alarms within a day of each other are one incident, so that more days may have one the larger the budget is.
    """
    days = q.budget / 30.0
    return peer.share[c] * SPLIT * days * (1.0 + JOINED * days)


@compiled()
def _active_share(w):  # type: ignore[no-untyped-def]
    """Share of days with a novel outflow; 1 while too young to tell."""
    age = w.day - w.born // DAY
    return min(1.0, max(1.0, float(w.days)) / float(age)) if age >= 7 else 1.0


@compiled()
def thresholds(w, q, peer):  # type: ignore[no-untyped-def]
    """Today's thresholds from the tail of each channel's daily maxima and the controller."""
    active = _active_share(w)
    for c in range(C):
        if peer.share[c] == 0.0:
            w.tau[c] = UNREACHED
            continue
        p = min(1.0, _chance(q, peer, c) / active)
        w.tau[c] = w.centre[c] + w.width[c] * _quantile(peer, c, p) + w.delta[c]


@compiled()
def return_days(w, c, s, peer):  # type: ignore[no-untyped-def]
    """Days between incidents of clean days with ``s`` or more in channel ``c``: 30/budget at ``tau``.

    The budget's split is undone, and that several such days may be one incident.
    """
    if peer.share[c] == 0.0:
        return 0.0
    q = (s - w.delta[c] - w.centre[c]) / w.width[c]
    log_p = min(0.0, _log_chance(peer, c, q)) + log(_active_share(w)) - log(peer.share[c] * SPLIT)
    days = exp(min(50.0, -log_p))
    return 0.5 * days * (1.0 + exp(0.5 * log(1.0 + 4.0 * JOINED / days)))


@compiled()
def _largest(values, found):  # type: ignore[no-untyped-def]
    """The largest of some numbers, as many as ``found`` takes, in order: most others cost a comparison each."""
    many = len(found)
    for i in range(len(values)):
        x = values[i]
        if i < many:
            place = i
            while place > 0 and found[place - 1] > x:
                found[place] = found[place - 1]
                place -= 1
            found[place] = x
        elif x > found[0]:
            place = 0
            while place + 1 < many and found[place + 1] < x:
                found[place] = found[place + 1]
                place += 1
            found[place] = x


@compiled(owns=True)
def _tail(maxima, n, u_peer, s_peer, quantile):  # type: ignore[no-untyped-def]
    """Level and mean excess of the last ``n`` daily maxima, shrunk to the peer prior."""
    at = quantile * (n - 1)
    low = int(at)
    top = np.empty(n - low, maxima.dtype)  # those below decide nothing
    _largest(maxima[:n], top)
    level = top[0] + (at - low) * (top[min(1, n - 1 - low)] - top[0])
    excess = 0.0
    count = 0.0
    for i in range(n - low):
        if top[i] > level:
            excess += min(top[i] - level, 4.0 * s_peer)
            count += 1.0
    mean = excess / count if count > 0.0 else s_peer
    u = (n * level + PRIOR_DAYS_U * u_peer) / (n + PRIOR_DAYS_U)
    s = (count * mean + PRIOR_DAYS_S * s_peer) / (count + PRIOR_DAYS_S)
    return u, s


@compiled()
def _close_day(w, peer):  # type: ignore[no-untyped-def]
    """An active day ends: its maxima join the ring, levels and tails are learned anew."""
    place = w.days % MAXIMA_DAYS
    for i in range(K + C):
        w.maxima[i, place] = w.today[i]
        w.today[i] = NEVER
    w.days += 1
    w.active = 0
    n = min(w.days, MAXIMA_DAYS)
    if n >= 3:
        for k in range(K):
            part = QUANTILE if k < RARE else QUANTILE_RARE
            w.u[k], w.s[k] = _tail(w.maxima[k], n, peer.u[k], peer.s[k], part)
    if n >= 5:
        for c in range(C):
            part = QUANTILE_RARE if c == SLOW else QUANTILE
            w.centre[c], w.width[c] = _tail(w.maxima[K + c], n, peer.centre[c], peer.width[c], part)


@compiled()
def _control(w, q, peer, day_end):  # type: ignore[no-untyped-def]
    """Midnight: the controller counts what was exceeded without a confirmation, then forgets it."""
    for c in range(C):
        if day_end >= w.warm_from:
            hit = 1.0 if w.exceeded[c] != 0 else 0.0
            moved = w.delta[c] + ETA * (hit - _chance(q, peer, c))
            w.delta[c] = min(DELTA_MAX, max(DELTA_MIN, moved))
        w.exceeded[c] = 0
    if w.exceeded[C] != 0:
        w.guard = min(GUARD_MAX, max(w.guard, w.guard_peak) * GUARD_STEP)
    w.exceeded[C] = 0
    w.guard_peak = 0.0
    w.guard = 1.0 + (w.guard - 1.0) * GUARD_KEEP


@compiled()
def advance_day(w, t, q, peer):  # type: ignore[no-untyped-def]
    """Let the wallet's clock pass to ``t``; every UTC midnight passed is one step of the controller."""
    w.clock = max(w.clock, t)
    day = w.clock // DAY
    if day == w.day:
        return
    if w.active != 0:
        _close_day(w, peer)
    pass_days(w, day, q, peer)


@compiled()
def pass_days(w, day, q, peer):  # type: ignore[no-untyped-def]
    """Midnights up to ``day``, the one being accumulated closed already."""
    passed = day - w.day
    if passed > GAP_DAYS:  # nobody looked, or nobody paid in or out: such days say nothing of how active the wallet is
        w.born += (passed - 1) * DAY
    for i in range(min(passed, 400)):
        _control(w, q, peer, (w.day + i + 1) * DAY)
    w.day = day
    thresholds(w, q, peer)


@compiled()
def others(w, identity, t):  # type: ignore[no-untyped-def]
    """Other assets of the wallet with evidence of their own within two hours before ``t``."""
    n = 0.0
    for i in range(RECENT_ASSETS):
        if w.recent_id[i] != 0 and w.recent_id[i] != identity and t - w.recent_at[i] < OTHERS_WINDOW:
            n += 1.0
    return n


@compiled()
def remember(w, z, f, q, identity, t):  # type: ignore[no-untyped-def]
    """Note where this asset showed evidence: in its own place, else in the one unused longest."""
    if q.personal != 0:
        if f.share < PERSONAL_SHARE:
            return
    elif max(z[Evidence.SINGLE], z[Evidence.DEST_1H]) <= 1.0:
        return
    place = 0
    for i in range(RECENT_ASSETS):
        if w.recent_id[i] == identity:
            place = i
            break
        if w.recent_at[i] < w.recent_at[place]:
            place = i
    w.recent_id[place] = identity
    w.recent_at[place] = t


@compiled()
def levels(w, e, z):  # type: ignore[no-untyped-def]
    """How rare each statistic of the evidence ``e`` is: -log10 of the rate of days on which it is exceeded, about."""
    for k in range(K):
        z0 = Z_AT_U if k < RARE else Z_AT_RARE
        if e[k] > w.u[k]:
            z[k] = z0 + (e[k] - w.u[k]) / (w.s[k] * LN10)
        else:
            z[k] = max(Z_LEAST, Z_AT_U + (e[k] - w.u[k]) * 0.25)
        z[k] = min(z[k], Z_MAX)


@compiled()
def channels(q, e, z, s):  # type: ignore[no-untyped-def]
    """The scores ``s`` of the channels, from the levels of the statistics and what the context adds.

    Inside a channel the rates are averaged as e-values (valid under any dependence up to a constant, which the
    calibration of the sum removes); context terms are added, then the sum is calibrated.
    """
    _with_context(q, e, _fused(q, z, FAST), _fused(q, z, DAYLY), _fused(q, z, SLOW), s)


@compiled()
def _with_context(q, e, fast, day, slow, s):  # type: ignore[no-untyped-def]
    """Scores from the fused levels of the channels."""
    context = e[Evidence.ODD] + e[Evidence.KIND] + e[Evidence.SWEPT]
    signs = e[Evidence.PROBE] + e[Evidence.DRAIN] + e[Evidence.OTHERS]
    for k in range(Evidence.FRESH, Evidence.TOPUP + 1):
        signs += e[k]
    s[0] = e[Evidence.SHARE] + context + signs
    if q.personal == 0:
        s[0] += fast
    s[1] = day + e[Evidence.DRAIN] + 0.5 * (e[Evidence.OTHERS] + context) + e[Evidence.DAY_LEVEL]
    s[2] = slow + e[Evidence.SLOW_LEVEL]


@compiled()
def _fused(q, z, channel):  # type: ignore[no-untyped-def]
    """log10 of the weighted mean of the e-values of a channel; as good as nothing where all its weights are 0."""
    total = 0.0
    weight = 0.0
    least = exp10(Z_LEAST)
    for k in range(K):
        if OF_CHANNEL[k] == channel:
            total += q.uses[k] * (exp10(z[k]) if z[k] > Z_LEAST else least)
            weight += q.uses[k]
    return log10(total / weight) if weight > 0.0 else NEVER


@compiled()
def bounds(q, e, z, b):  # type: ignore[no-untyped-def]
    """What the scores cannot exceed, and reach but for `SLACK`, at a fraction of their cost."""
    _with_context(q, e, _fused_bound(q, z, FAST), _fused_bound(q, z, DAYLY), _fused_bound(q, z, SLOW), b)
    for c in range(C):
        b[c] += MARGIN


@compiled()
def _fused_bound(q, z, channel):  # type: ignore[no-untyped-def]
    """What `_fused` cannot exceed: between powers of two, 2^x lies below a straight line, log2 little above one."""
    total = 0.0
    weight = 0.0
    for k in range(K):
        if OF_CHANNEL[k] == channel:
            bits = np.int64((z[k] * LOG2_10 + BIAS) * ONE)
            total += q.uses[k] * bits.view(np.float64)
            weight += q.uses[k]
    if weight <= 0.0:
        return NEVER
    mean = total / weight
    return (np.float64(mean).view(np.int64) / ONE - BIAS + ABOVE_LINE) / LOG2_10


@compiled()
def stands_out(w, guard, s):  # type: ignore[no-untyped-def]
    """Whether scores (or their bounds) may be an alarm or a signal: if not, they only raise the day's maxima."""
    if guard >= w.guard or s[0] >= w.tau[0] - w.width[0] or s[0] >= w.tau[0]:
        return True
    return s[1] >= w.tau[1] or s[2] >= w.tau[2]


@compiled()
def matters(w, guard, s):  # type: ignore[no-untyped-def]
    """Whether scores with these bounds may matter: for an alarm, a signal, or the day's maxima."""
    return stands_out(w, guard, s) or s[0] > w.today[K] or s[1] > w.today[K + 1] or s[2] > w.today[K + 2]


@compiled()
def learn(w, e, s, limit):  # type: ignore[no-untyped-def]
    """Raise the day's maxima; scores no further than the thresholds where ``limit`` is set (a flow that fired)."""
    w.active = 1
    for k in range(K):
        x = e[k]
        if limit:
            x = min(x, w.u[k] + 4.0 * w.s[k])
        if x > w.today[k]:
            w.today[k] = x
    for c in range(C):
        x = min(s[c], w.tau[c]) if limit else s[c]
        if x > w.today[K + c]:
            w.today[K + c] = x
