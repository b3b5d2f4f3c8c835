"""The compiled loop over rows for many settings at once; each gets the hits that `monitor.fold` would give it alone.

Every step is that of `monitor.fold.fold`, done once for all that share it (`monitor.backtesting.variants.parts`), and
scores are computed only where one could exceed something. It is longer than other modules: compiled code that is called
a few million times a second is kept in one place.
"""

from __future__ import annotations

import numpy as np

from monitor import fold as plain
from monitor import fusion
from monitor.backtesting.variants import parts
from monitor.compiled import compiled
from monitor.detectors import EVIDENCE_SIZE, Evidence, evidence
from monitor.features import kernel, looks, table
from monitor.features.dtypes import CHANNELS, MAXIMA_DAYS, STATISTICS
from monitor.fold import DONE, GUARD_BIT, NEED_HITS
from monitor.rows import FOREIGN, IN, KIND_SHIFT, NATIVE, OUT, TELL, TOUCH, TRUSTED

__all__ = ["fold_variants"]

K = len(STATISTICS)
C = len(CHANNELS)
DAY = 86400
MARKED, QUIET, FIRED, BYSTANDER = 0, 1, 2, 3  # what a payment was to a setting

_DIFFERS, _OVERFLOW = parts.DIFFERS, parts.OVERFLOW
_begin_lanes, _part_class, _look_up_marks, _mark, _room, _settle, _wait = (
    parts.begin_lanes, parts.part_class, parts.look_up_marks, parts.mark, parts.room, parts.settle, parts.wait,
)  # fmt: skip
_is_ready, _is_bystander, _judge, _is_signal, _record_hit, _plain_hit = (
    plain._is_ready, plain._is_bystander, plain._judge, plain._is_signal, plain._record_hit,
    plain._plain_hit,
)  # fmt: skip
_advance, _outflow, _inflow, _deduct, _tell, _learn_familiar, _start_asset = (
    kernel.advance, kernel.outflow, kernel.inflow, kernel.deduct, kernel.tell, kernel.learn_familiar, kernel.start,
)  # fmt: skip
_SUSPECT = kernel.SUSPECT
_tail, _pass_days, _levels, _channels = fusion._tail, fusion.pass_days, fusion.levels, fusion.channels
_QUANTILE, _QUANTILE_RARE, _RARE, _SLOW, _NEVER = (
    fusion.QUANTILE, fusion.QUANTILE_RARE, fusion.RARE, fusion.SLOW, fusion.NEVER,
)  # fmt: skip
_evidence = evidence
_GUARD = int(Evidence.GUARD)


@compiled()
def _same(a, b, n):  # type: ignore[no-untyped-def]
    for i in range(n):  # noqa: SIM110 (compiled)
        if a[i] != b[i]:
            return False
    return True


@compiled()
def _close_day(v, j, s, alike, alike_head, peer):  # type: ignore[no-untyped-def]
    """`monitor.fusion` at the end of an active day, for one setting; ``alike`` closed the same day, -1 none."""
    w = v.fusions[j, s]
    is_head = v.classes[j, s] == s
    place = w.days % MAXIMA_DAYS
    for i in range(0 if is_head else K, K + C):
        w.maxima[i, place] = w.today[i]
        w.today[i] = _NEVER
    w.days += 1
    w.active = 0
    n = min(w.days, MAXIMA_DAYS)
    if n >= 3 and is_head:
        for k in range(K):
            if alike_head >= 0 and v.fusions[j, alike_head].days == w.days:
                other = v.fusions[j, alike_head]
                if _same(w.maxima[k], other.maxima[k], n):  # the same maxima teach the same: sorting is dear
                    w.u[k] = other.u[k]
                    w.s[k] = other.s[k]
                    continue
            part = _QUANTILE if k < _RARE else _QUANTILE_RARE
            w.u[k], w.s[k] = _tail(w.maxima[k], n, peer.u[k], peer.s[k], part)
    if n >= 5:
        for c in range(C):
            if alike >= 0 and v.fusions[j, alike].days == w.days:
                other = v.fusions[j, alike]
                if _same(w.maxima[K + c], other.maxima[K + c], n):
                    w.centre[c] = other.centre[c]
                    w.width[c] = other.width[c]
                    continue
            part = _QUANTILE_RARE if c == _SLOW else _QUANTILE
            w.centre[c], w.width[c] = _tail(w.maxima[K + c], n, peer.centre[c], peer.width[c], part)


@compiled(forceinline=True)
def _advance_day(v, j, t, peers):  # type: ignore[no-untyped-def]
    """`monitor.fusion.advance_day` for all settings of a wallet; its clock is that of the first."""
    first = v.fusions[j, 0]
    if first.used == 0:
        for s in range(v.classes.shape[1]):
            fusion.start(v.fusions[j, s], t, v.settings[j, s], peers[v.settings[j, s].peer])
    first.clock = max(first.clock, t)
    if first.clock // DAY != first.day:
        _turn_day(v, j, first.clock, peers)


@compiled()
def _turn_day(v, j, clock, peers):  # type: ignore[no-untyped-def]
    """Midnight for all settings of a wallet."""
    alike, alike_head = -1, -1
    for s in range(v.classes.shape[1]):
        w = v.fusions[j, s]
        q = v.settings[j, s]
        w.clock = clock
        if w.active != 0:
            _close_day(v, j, s, alike, alike_head, peers[q.peer])
            alike = s
            if v.classes[j, s] == s:
                alike_head = s
        _pass_days(w, clock // DAY, q, peers[q.peer])


@compiled(owns=True)
def _evict(v, owner):  # type: ignore[no-untyped-def]
    """Make room in a table that is full."""
    for old in table.oldest(v.pool, v.tables, owner):
        table.remove(v.pool, v.tables, owner, old)


@compiled(forceinline=True)
def _new_or_old(v, owner, key):  # type: ignore[no-untyped-def]
    """(place of a destination, whether it was made), as `monitor.fold` opens one."""
    place = table.find(v.pool, v.tables, owner, key)
    if place >= 0:
        return place, False
    if table.is_full(v.tables, owner):
        _evict(v, owner)
    table.reserve(v.pool, v.used, v.tables, owner)
    return table.insert(v.pool, v.tables, owner, key), True


@compiled(forceinline=True)
def _measure(v, slot, j, t, value, key, flags, identity):  # type: ignore[no-untyped-def]
    """A payment into every lane of its asset, and the features that all settings see alike."""
    n = v.lanes.shape[1]
    w = v.fusions[j, 0]
    f = v.features[0]
    f.swept = looks.swept(w, key, identity, t)
    looks.notice_out(w, value, identity, t, f)
    f.kind = flags >> KIND_SHIFT
    f.foreign = 1 if flags & FOREIGN else 0
    for lane in range(n):
        if v.lanes[slot, lane] != lane:
            continue
        place, is_new = _new_or_old(v, slot * n + lane, key)
        d = v.pool[place]
        d.flags = (d.flags & ~_SUSPECT) | (_SUSPECT if v.marked[lane] else 0)
        mine = v.features[lane]
        v.counts[lane] = _outflow(v.assets[slot, lane], d, is_new, value, t, v.settings[j, lane], mine)
        v.places[lane] = place
        if lane > 0:
            mine.swept, mine.idle, mine.topup, mine.split = f.swept, f.idle, f.topup, f.split
            mine.kind, mine.foreign = f.kind, f.foreign


@compiled(forceinline=True)
def _weigh(v, h, lane, j, t, marks, identity, ready):  # type: ignore[no-untyped-def]
    """Evidence and levels of a payment as a class sees them."""
    f, w, q = v.features[h], v.fusions[j, h], v.settings[j, h]
    if h != lane:
        v.features[h] = v.features[lane]
    looks.notice_look(w, marks, f)
    f.others = fusion.others(w, identity, t)
    _evidence(f, q, v.evidence[h])
    _levels(w, v.evidence[h], v.levels[h])
    fusion.bounds(q, v.evidence[h], v.levels[h], v.bounds[h])
    if ready:
        fusion.remember(w, v.levels[h], f, q, identity, t)
    v.exact[h] = False


@compiled(forceinline=True)
def _record(hit, v, i, kind, fired, w, a, h, j, t, q, peer):  # type: ignore[no-untyped-def]
    _record_hit(hit, i, kind, fired, w, a, v.features[h], v.evidence[h], v.levels[h], v.scores[h], t, q, peer)
    for k in range(K):  # levels are the class's
        hit.u[k] = v.fusions[j, h].u[k]


@compiled()
def _decide(v, i, s, h, a, j, t, key, hit, peer):  # type: ignore[no-untyped-def]
    """What a payment is to one setting; returns (what it was, whether ``hit`` was filled)."""
    w, q, f, e, marked = v.fusions[j, s], v.settings[j, s], v.features[h], v.evidence[h], v.marked[s]
    scores = v.scores[h]
    if not v.exact[h]:
        _channels(v.settings[j, h], e, v.levels[h], scores)
        v.exact[h] = True
    fired = _judge(w, a, f, q, e, scores, t)
    if fired != 0 and not marked and _is_bystander(w, f, t):
        return BYSTANDER, False
    if fired == 0:
        if marked:
            _record(hit, v, i, 2, 0, w, a, h, j, t, q, peer)
            return MARKED, True
        w.active = 1
        for c in range(C):
            if scores[c] > w.today[K + c]:
                w.today[K + c] = scores[c]
        if _is_signal(w, a, f, scores, t):
            _record(hit, v, i, 3, 0, w, a, h, j, t, q, peer)
            return QUIET, True
        return QUIET, False
    _record(hit, v, i, 1, fired, w, a, h, j, t, q, peer)
    if not marked:
        w.active = 1
        for c in range(C):
            x = min(scores[c], w.tau[c])
            if x > w.today[K + c]:
                w.today[K + c] = x
        _mark(v, j, key, s, t)
    for c in range(C):
        if fired & (1 << c):
            w.exceeded[c] = 1
    if fired & GUARD_BIT:
        w.exceeded[C] = 1
        w.guard_peak = max(w.guard_peak, e[Evidence.GUARD])
    w.alarm = t
    return MARKED if marked else FIRED, True


@compiled()
def _clips(v, j, h):  # type: ignore[no-untyped-def]
    """Whether what a class learns of an alarm is less than what it would learn of an ordinary payment."""
    w, e = v.fusions[j, h], v.evidence[h]
    for k in range(K):  # noqa: SIM110 (compiled)
        if e[k] > w.today[k] and e[k] > w.u[k] + 4.0 * w.s[k]:
            return True
    return False


@compiled(forceinline=True)
def _teach(v, j, h, act, marks, learns):  # type: ignore[no-untyped-def]
    """What a payment teaches a class; ``learns`` unless the asset's balance is a guess or the payment never counts."""
    w, e = v.fusions[j, h], v.evidence[h]
    if act == QUIET:
        looks.learn_look(w, marks)
    if learns and act in (QUIET, FIRED):
        for k in range(K):
            x = min(e[k], w.u[k] + 4.0 * w.s[k]) if act == FIRED else e[k]
            if x > w.today[k]:
                w.today[k] = x


@compiled(forceinline=True)
def _learn_classes(v, j, slot, marks, ready):  # type: ignore[no-untyped-def]
    """Classes learn a payment; those whose settings take it for different things are parted first."""
    n = v.classes.shape[1]
    alike = True
    for s in range(1, n):
        alike = alike and v.acts[s] == v.acts[0]
    for h in range(0 if not alike else n, n):
        if v.classes[j, h] != h:
            continue
        differ, clips = False, marks != 0
        for s in range(h + 1, n):
            differ = differ or (v.classes[j, s] == h and v.acts[s] != v.acts[h])
        if not differ:
            continue
        clips = clips or _clips(v, j, h)
        for s in range(h, n):
            if v.classes[j, s] == h and v.acts[s] == FIRED and not clips:
                v.acts[s] = QUIET
        for act in range(MARKED, BYSTANDER + 1):
            if act == v.acts[h]:
                continue
            for s in range(n):
                v.moved[s] = v.acts[s] == act
            new = _part_class(v, j, h, v.moved)
            if new >= 0:
                for k in range(EVIDENCE_SIZE):
                    v.evidence[new, k] = v.evidence[h, k]
    for h in range(n):
        if v.classes[j, h] == h:
            _teach(v, j, h, v.acts[h], marks, ready and v.counts[v.lanes[slot, h]])


@compiled(forceinline=True)
def _learn_lanes(v, slot, key, value):  # type: ignore[no-untyped-def]
    """Lanes learn that a destination got an amount, for those settings that do."""
    n = v.lanes.shape[1]
    for lane in range(n):
        if v.lanes[slot, lane] != lane:
            continue
        d = v.pool[v.places[lane]]
        learned, fired = False, False
        for s in range(n):
            if v.lanes[slot, s] == lane:
                learned = learned or v.acts[s] == QUIET or v.acts[s] == BYSTANDER
                fired = fired or v.acts[s] == FIRED
        older = d.today
        if learned:
            _learn_familiar(d, value / v.assets[slot, lane].scale)
        if not fired:
            continue
        if learned:
            for s in range(n):
                v.moved[s] = v.acts[s] == FIRED
            d.flags |= _DIFFERS
            _wait(v, slot, lane, key, older, v.moved)
        else:
            d.flags |= _SUSPECT


@compiled(forceinline=True)
def _pay(v, i, slot, j, t, value, key, flags, marks, identity, peers, hits, who, counts):  # type: ignore[no-untyped-def]
    """One payment to an unlisted destination, its lanes settled."""
    n = v.lanes.shape[1]
    _measure(v, slot, j, t, value, key, flags, identity)
    ready = _is_ready(v.assets[slot, 0], t)
    fusions, classes, acts, marked, evidence_of, bounds, scores = (
        v.fusions, v.classes, v.acts, v.marked, v.evidence, v.bounds, v.scores,
    )  # fmt: skip
    for s in range(n):
        lane, h = v.lanes[slot, s], classes[j, s]
        w = fusions[j, s]
        acts[s] = QUIET
        filled = False
        if v.counts[lane]:
            if h == s:
                _weigh(v, s, lane, j, t, marks, identity, ready)
            if not marked[s]:
                guard = evidence_of[h, _GUARD]
                if not ready:
                    continue
                if not fusion.matters(w, guard, bounds[h]):
                    w.active = 1
                    continue
                if not v.exact[h]:
                    _channels(v.settings[j, h], evidence_of[h], v.levels[h], scores[h])
                    v.exact[h] = True
                if not fusion.stands_out(w, guard, scores[h]):
                    w.active = 1
                    for c in range(C):
                        w.today[K + c] = max(w.today[K + c], scores[h, c])
                    continue
            peer = peers[v.settings[j, s].peer]
            acts[s], filled = _decide(v, i, s, h, v.assets[slot, lane], j, t, key, hits[counts[0]], peer)
        elif marked[s]:
            first = np.int64(v.pool[v.places[lane]].first)
            _plain_hit(hits[counts[0]], i, w, v.assets[slot, lane], t, first)
            acts[s], filled = MARKED, True
        if filled:
            who[counts[0]] = s
            counts[0] += 1
    _learn_lanes(v, slot, key, value)
    _learn_classes(v, j, slot, marks, ready)


@compiled(forceinline=True)
def _other(v, slot, j, op, t, value, key, flags):  # type: ignore[no-untyped-def]
    """A row that is no payment to be judged; False where lanes forgot different destinations."""
    n = v.lanes.shape[1]
    w = v.fusions[j, 0]
    new, old = False, False
    for lane in range(n):
        if v.lanes[slot, lane] != lane:
            continue
        a = v.assets[slot, lane]
        if op == IN:
            _inflow(a, value)
            if (flags & NATIVE) != 0:
                known = table.find(v.pool, v.tables, slot * n + lane, key) >= 0
                new, old = new or not known, old or known
        elif op == TELL:
            _tell(a, value)
        else:
            _deduct(a, value)
    if new:
        looks.notice_topup(w, t)
    if op == OUT:
        looks.notice_expected(w, t)
    return not (new and old)


@compiled(forceinline=True)
def _due(v, slot, j, time):  # type: ignore[no-untyped-def]
    """The time that a row is folded at: that of its block, or of the wallet's or the asset's clock where later."""
    t = time
    if v.fusions[j, 0].used != 0:
        t = max(t, v.fusions[j, 0].clock)
    if v.assets[slot, 0].used != 0:
        t = max(t, v.assets[slot, 0].clock)
    return t


@compiled(nogil=True)
def fold_variants(  # type: ignore[no-untyped-def]
    begin, slots, wallets, times, ops, amounts, keys, flags, marks, identities, v, peers, hits, who, counts,
):
    """Fold rows ``begin`` to the end for S settings.

    Parameters
    ----------
    slots ... identities, peers : as of `monitor.fold.fold`; rows of one wallet must be in chain order
    v : `monitor.backtesting.variants.parts.Parts`
    hits, who, counts : HIT buffer, the setting of each (int64), and how many are filled, int64 (1)

    Returns
    -------
    (row, why) : the row after the last folded one; DONE, the buffer to enlarge, or OVERFLOW: these settings cannot
        be folded together
    """
    n = v.classes.shape[1]
    for i in range(begin, slots.shape[0]):
        slot, j, op, key, value = slots[i], wallets[i], ops[i], keys[i], amounts[i]
        pays = op == OUT and (flags[i] & TRUSTED) == 0
        if slot >= 0 and v.assets[slot, 0].used == 0:
            _begin_lanes(v, slot, j)
        if pays:
            if counts[0] + n > hits.shape[0]:
                return i, NEED_HITS
            _look_up_marks(v, j, key, _due(v, slot, j, times[i]))
            why = _settle(v, slot, j, key)
            if why == DONE:
                why = _room(v, slot, j)
            if why != DONE:
                return i, why
        _advance_day(v, j, times[i], peers)
        w = v.fusions[j, 0]
        if op == TOUCH:
            looks.swept(w, key, marks[i], w.clock)
            continue
        t = times[i]
        for lane in range(n):
            if v.lanes[slot, lane] == lane:
                a = v.assets[slot, lane]
                if a.used == 0:
                    _start_asset(a, times[i], value)
                t = _advance(a, max(times[i], w.clock))
        if pays:
            _pay(v, i, slot, j, t, value, key, flags[i], marks[i], identities[slot], peers, hits, who, counts)
        elif not _other(v, slot, j, op, t, value, key, flags[i]):
            return i, _OVERFLOW
    return slots.shape[0], DONE
