"""The compiled loop: both folds, flow by flow, over any batch of flows in chain order.

A batch may hold flows of many wallets, chains and assets; a live block and a hundred thousand rows of history are the
same call, and any split of the same flows into batches gives the same state and the same hits. Features and fusion are
folded flow by flow, so that what opens an incident is not learned by the very next flow, wherever batches end.

The loop stops early, before it changes anything for the row it stopped at, when a buffer is full; the caller enlarges
that buffer and calls again from this row.
"""

from __future__ import annotations

import numpy as np

from monitor import fusion
from monitor.compiled import compiled
from monitor.detectors import EVIDENCE_SIZE, Evidence, evidence
from monitor.features import kernel, looks, table
from monitor.features.dtypes import CHANNELS, PRINTS, STATISTICS
from monitor.rows import FOREIGN, IN, KIND_SHIFT, NATIVE, OUT, TELL, TOUCH, TRUSTED

__all__ = ["DONE", "NEED_HITS", "NEED_POOL", "NEED_UNDO", "SCRATCH", "fold"]

DONE, NEED_HITS, NEED_POOL, NEED_UNDO = 0, 1, 2, 3
K = len(STATISTICS)
C = len(CHANNELS)
SCRATCH = EVIDENCE_SIZE + K + C  # numbers that a row needs while it is folded
MOST_GROWTH = 2 << table.MAX_BITS  # places that two tables take at most when they grow
AHEAD = 8  # rows: so long before its turn the record of a destination is asked for
OWN_SHARE = 0.001  # of the typical balance: what a payment must be itself to join a fresh incident
ALARM_FRESH = 86400
SIGNAL_SHARE = 0.03
GUARD_BIT = 8
FORGET = 7 * 86400  # an alarm that nobody answered for so long is learned from like anything else

_evidence = evidence
_outflow, _advance, _inflow, _deduct, _tell, _learn_familiar = (
    kernel.outflow,
    kernel.advance,
    kernel.inflow,
    kernel.deduct,
    kernel.tell,
    kernel.learn_familiar,
)
_start_asset, _start_wallet = kernel.start, fusion.start
_SUSPECT, _CONFIRMED = kernel.SUSPECT, kernel.CONFIRMED


@compiled()
def _note(undo, undone, owner, pool, place, key):  # type: ignore[no-untyped-def]
    """Write down a destination record as it was (``place`` -1: it was not there)."""
    if undo.shape[0] == 0:
        return
    u = undo[undone[0]]
    u.owner = owner
    u.key = key
    u.had = 0
    if place >= 0:
        u.had = 1
        u.record = pool[place]
    undone[0] += 1


@compiled(owns=True)
def _evict(pool, tables, owner, undo, undone):  # type: ignore[no-untyped-def]
    """Make room in a table that is full."""
    for old in table.oldest(pool, tables, owner):
        _note(undo, undone, owner, pool, table.find(pool, tables, owner, old), old)
        table.remove(pool, tables, owner, old)


@compiled()
def _open(pool, used, tables, owner, key, undo, undone):  # type: ignore[no-untyped-def]
    """The record of ``key``, made if needed (room was checked). Returns (place, is new)."""
    place = table.find(pool, tables, owner, key)
    if place >= 0:
        _note(undo, undone, owner, pool, place, key)
        return place, False
    if table.is_full(tables, owner):
        _evict(pool, tables, owner, undo, undone)
    table.reserve(pool, used, tables, owner)
    _note(undo, undone, owner, pool, np.int64(-1), key)
    return table.insert(pool, tables, owner, key), True


@compiled()
def _undo_room(undo, undone, tables, slot, suspects):  # type: ignore[no-untyped-def]
    """Whether one row's worth of undo fits: a destination, a suspect that goes and comes, and evictions."""
    if undo.shape[0] == 0:
        return True
    need = 4
    if table.is_full(tables, slot):
        need += tables[slot].count
    if table.is_full(tables, suspects):
        need += tables[suspects].count
    return undone[0] + need <= undo.shape[0]


@compiled()
def _pool_room(pool, used, tables, slot, suspects):  # type: ignore[no-untyped-def]
    """Whether the pool has room for one more destination and one more suspect."""
    return used[0] + table.growth(tables, slot) + table.growth(tables, suspects) <= pool.shape[0]


@compiled()
def _mark_of(pool, tables, suspects, key, t, undo, undone):  # type: ignore[no-untyped-def]
    """Place of a destination's mark as a suspect, -1 none. A mark that nobody confirmed is forgotten in time."""
    mark = table.find(pool, tables, suspects, key)
    if mark < 0 or (pool[mark].flags & _CONFIRMED) != 0 or t - np.int64(pool[mark].first) <= FORGET:
        return mark
    _note(undo, undone, suspects, pool, mark, key)
    table.remove(pool, tables, suspects, key)
    return np.int64(-1)


@compiled()
def _is_ready(a, t):  # type: ignore[no-untyped-def]
    """Whether shares of this asset's balance mean something: it was told, or a week of flows shows it."""
    return a.known != 0 or t >= a.born + fusion.WARM_UP


@compiled()
def _is_bystander(w, f, t):  # type: ignore[no-untyped-def]
    """A small payment while an incident is fresh: the sums are high by the theft, not by this customer."""
    fresh = w.alarm != 0 and t - w.alarm < ALARM_FRESH
    return fresh and max(f.value, f.d24) < OWN_SHARE * f.typical


@compiled()
def _judge(w, a, f, q, e, s, t):  # type: ignore[no-untyped-def]
    """Bits of what this outflow exceeds: channels once warm, and the guard rail; nothing on a guessed balance."""
    fired = 0
    if not _is_ready(a, t):
        return fired
    if t >= w.warm_from and f.share >= q.floor:
        for c in range(C):
            if s[c] >= w.tau[c]:
                fired |= 1 << c
    if e[Evidence.GUARD] >= w.guard:
        fired |= GUARD_BIT
    return fired


@compiled()
def _is_signal(w, a, f, s, t):  # type: ignore[no-untyped-def]
    """Close under the fast threshold: it counts where another wallet or chain of the entity shows as much."""
    return t >= w.warm_from and _is_ready(a, t) and f.share >= SIGNAL_SHARE and s[0] >= w.tau[0] - w.width[0]


@compiled()
def _notice(w, f, key, value, identity, flags, marks, t):  # type: ignore[no-untyped-def]
    """Features that come from the wallet's other doings and from the transaction; they are remembered with it."""
    f.swept = looks.swept(w, key, identity, t)
    looks.notice_look(w, marks, f)
    f.kind = flags >> KIND_SHIFT
    f.foreign = 1 if flags & FOREIGN else 0
    looks.notice_out(w, value, identity, t, f)


@compiled()
def _record_hit(h, i, kind, fired, w, a, f, e, z, s, t, q, peer):  # type: ignore[no-untyped-def]
    """Fill a hit for people and the correlator."""
    h.row = i
    h.kind = kind
    h.fired = fired
    best = 0.0
    for c in range(C):
        h.score[c] = s[c]
        h.tau[c] = w.tau[c]
        best = max(best, fusion.return_days(w, c, s[c], peer))
    h.return_days = best
    for k in range(K):
        h.x[k] = e[k]
        h.u[k] = w.u[k]
        h.z[k] = z[k]
    h.share = f.share
    h.gone = e[Evidence.GONE]
    h.drain = f.balance / f.peak if f.peak > 0.0 else 1.0
    h.balance = a.balance
    h.typical = a.typical
    h.age = f.age
    h.probe = f.probe
    h.others = f.others
    h.swept = f.swept
    h.odd = f.odd
    for k in range(PRINTS):
        h.unlike[k] = f.unlike[k]
        h.usual[k] = f.usual[k]
    h.dearer = f.dearer
    h.idle = f.idle
    h.topup = f.topup
    h.kind_of = f.kind
    h.foreign = f.foreign
    h.split = f.split
    h.personal = q.personal
    for c in range(C):
        h.width[c] = w.width[c]
    h.days = w.days
    h.warm = 1 if t >= w.warm_from else 0


@compiled()
def _plain_hit(h, i, w, a, t, first):  # type: ignore[no-untyped-def]
    """A payment to a suspect that says nothing new: only the amount counts."""
    h.row = i
    h.kind = 2
    h.fired = 0
    h.return_days = 0.0
    h.balance = a.balance
    h.typical = a.typical
    h.age = float(t - first)
    h.probe = -1.0
    h.idle = -1.0
    h.topup = -1.0
    h.days = w.days
    h.warm = 1 if t >= w.warm_from else 0


@compiled(nogil=True)
def fold(  # type: ignore[no-untyped-def]
    begin, slots, wallets, times, ops, amounts, keys, flags, marks, identities, settings,
    assets, fusions, tables, first_suspects, pool, used, peers, features, scratch, hits, counts, undo, undone,
):
    """Fold rows ``begin`` to the end; see the module's docstring.

    Parameters
    ----------
    slots, wallets : int32 (n), record of the asset and of the fusion of each row
    times : int64 (n), UTC seconds of the block
    ops : int8 (n), IN, OUT, SPEND, TELL or TOUCH
    amounts : float64 (n), base units
    keys : uint64 (n), the other address of an IN, OUT or TOUCH row
    flags : uint8 (n), see `monitor.rows`
    marks : uint64 (n), look of the transaction, see `monitor.rows.pack_marks`; of a TOUCH, which has no slot (-1),
        the asset's identity
    identities : uint64 (asset records), the asset's identity within its wallet and chain
    settings : PARAMETERS (fusion records)
    assets, fusions : ASSET and FUSION records
    tables : TABLE records; the table of asset record i is i, that of the suspects of fusion record j is
        ``first_suspects + j``
    pool, used : DESTINATION records, and int64 (1) how many places are taken
    peers : PRIORS (n)
    features, scratch : FEATURES (1) and float64 (`SCRATCH`), of the row at hand
    hits, counts : HIT buffer, and int64 (1) how many are filled
    undo, undone : UNDONE buffer (empty: no undo is kept), and int64 (1) how many are filled

    Returns
    -------
    (row, why) : the row after the last folded one; DONE, or the buffer to enlarge
    """
    f = features[0]
    e, z, s = scratch[:EVIDENCE_SIZE], scratch[EVIDENCE_SIZE : EVIDENCE_SIZE + K], scratch[EVIDENCE_SIZE + K : SCRATCH]
    for i in range(begin, slots.shape[0]):
        ahead = i + AHEAD
        if ahead < slots.shape[0] and slots[ahead] >= 0:
            table.prefetch(pool, tables, slots[ahead], keys[ahead])
        slot = slots[i]
        j = wallets[i]
        op = ops[i]
        pays = op == OUT and (flags[i] & TRUSTED) == 0
        if pays:
            if counts[0] >= hits.shape[0]:
                return i, NEED_HITS
            if not _undo_room(undo, undone, tables, slot, first_suspects + j):
                return i, NEED_UNDO
            if used[0] + MOST_GROWTH > pool.shape[0] and not _pool_room(pool, used, tables, slot, first_suspects + j):
                return i, NEED_POOL
        w = fusions[j]
        q = settings[j]
        peer = peers[q.peer]
        value = amounts[i]
        if w.used == 0:
            _start_wallet(w, times[i], q, peer)
        fusion.advance_day(w, times[i], q, peer)
        if op == TOUCH:
            looks.swept(w, keys[i], marks[i], w.clock)
            continue
        a = assets[slot]
        if a.used == 0:
            _start_asset(a, times[i], value)
        t = _advance(a, max(times[i], w.clock))
        if op == IN:
            _inflow(a, value)
            if (flags[i] & NATIVE) != 0 and table.find(pool, tables, slot, keys[i]) < 0:
                looks.notice_topup(w, t)
            continue
        if op == TELL:
            _tell(a, value)
            continue
        key = keys[i]
        identity = identities[slot]
        if not pays:
            _deduct(a, value)
            if op == OUT:
                looks.notice_expected(w, t)
            continue
        place, is_new = _open(pool, used, tables, slot, key, undo, undone)
        d = pool[place]
        suspects = first_suspects + j
        marked = _mark_of(pool, tables, suspects, key, t, undo, undone) >= 0
        d.flags = (d.flags & ~_SUSPECT) | (_SUSPECT if marked else 0)
        counts_for = _outflow(a, d, is_new, value, t, q, f)
        _notice(w, f, key, value, identity, flags[i], marks[i], t)
        if not counts_for:
            if marked:
                _plain_hit(hits[counts[0]], i, w, a, t, np.int64(d.first))
                counts[0] += 1
            else:
                _learn_familiar(d, value / a.scale)
                looks.learn_look(w, marks[i])
            continue
        f.others = fusion.others(w, identity, t)
        _evidence(f, q, e)
        fusion.levels(w, e, z)
        fusion.bounds(q, e, z, s)
        is_ready = _is_ready(a, t)
        if is_ready:
            fusion.remember(w, z, f, q, identity, t)
        fired = 0
        if marked or (is_ready and fusion.matters(w, e[Evidence.GUARD], s)):  # else the bounds will do as well
            fusion.channels(q, e, z, s)
            fired = _judge(w, a, f, q, e, s, t)
        if fired != 0 and not marked and _is_bystander(w, f, t):
            _learn_familiar(d, value / a.scale)
            continue
        if fired == 0:
            if marked:
                _record_hit(hits[counts[0]], i, 2, 0, w, a, f, e, z, s, t, q, peer)
                counts[0] += 1
            else:
                _learn_familiar(d, value / a.scale)
                looks.learn_look(w, marks[i])
                if is_ready:
                    fusion.learn(w, e, s, False)
                if _is_signal(w, a, f, s, t):
                    _record_hit(hits[counts[0]], i, 3, 0, w, a, f, e, z, s, t, q, peer)
                    counts[0] += 1
            continue
        _record_hit(hits[counts[0]], i, 1, fired, w, a, f, e, z, s, t, q, peer)
        counts[0] += 1
        if not marked:
            fusion.learn(w, e, s, True)
            mark, _ = _open(pool, used, tables, suspects, key, undo, undone)
            pool[mark].flags = _SUSPECT
            pool[mark].first = t
            pool[mark].last = t
            d.flags |= _SUSPECT
        for c in range(C):
            if fired & (1 << c):
                w.exceeded[c] = 1
        if fired & GUARD_BIT:
            w.exceeded[C] = 1
            w.guard_peak = max(w.guard_peak, e[Evidence.GUARD])
        w.alarm = t
    return slots.shape[0], DONE
