"""Which settings share what, compiled: lanes, classes and marks.

Settings that differ in the budget, or in weights, see the same payments. What is measured of an asset and of its
destinations (`monitor.features.kernel`) depends on a setting in two ways only: by its ``familiar`` factor, and by which
payments it took for a theft, since those are not learned. So the settings of an asset record share one *lane*: one
ASSET record and one table of destinations, kept under the lane's smallest setting. Where some settings learn a payment
and others do not, the lane's record of the destination is that of those who do, and a PENDING entry says for whom it
is another one. Only when that destination is paid again the lane is split, since only then what is measured differs.

What a wallet's daily maxima teach (levels of statistics, looks, recent assets) is shared in the same way by a *class*,
kept in the FUSION record of its smallest setting; settings of a class are in one lane for every asset. Thresholds,
controller, guard rail and the maxima of the fused scores are each setting's own.

Suspects are kept for all settings together: one table a wallet, and for each suspect the moment from which each setting
holds it for one, -1 never.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from monitor.compiled import compiled
from monitor.features import kernel, table
from monitor.features.dtypes import MAXIMA_DAYS, PRINT_BINS, PRINTS, RECENT_ASSETS, STATISTICS
from monitor.fold import DONE, FORGET, NEED_POOL

__all__ = [
    "DIFFERS",
    "NEED_MARKS",
    "NEED_PENDING",
    "OVERFLOW",
    "PENDING",
    "Parts",
    "begin_lanes",
    "copy_class",
    "look_up_marks",
    "mark",
    "part_class",
    "room",
    "settle",
    "wait",
]

NEED_MARKS, NEED_PENDING, OVERFLOW = 11, 12, 13
DIFFERS = 8  # flag of a destination: not the same for all settings of its lane
MOST_MARKS = 22_000  # suspects of one wallet, of all settings together; a table of the plain fold evicts at 22,937
K = len(STATISTICS)
_SUSPECT = kernel.SUSPECT

# A destination that some settings of a lane did not learn: ``older`` is what they hold for the day's largest payment.
PENDING = np.dtype(
    [("key", "u8"), ("next", "i8"), ("lane", "i4"), ("older", "f4")],
    align=True,
)


class Parts(NamedTuple):
    """The arrays of n asset records, m wallets (on a chain) and S settings; see the module's docstring."""

    settings: NDArray[np.void]  # PARAMETERS (m, S)
    fusions: NDArray[np.void]  # FUSION (m, S)
    classes: NDArray[np.int16]  # (m, S) smallest setting of the class of each
    assets: NDArray[np.void]  # ASSET (n, S)
    lanes: NDArray[np.int16]  # (n, S) smallest setting of the lane of each
    tables: NDArray[np.void]  # TABLE (n * S), of destinations
    pool: NDArray[np.void]
    used: NDArray[np.int64]  # (1)
    mark_tables: NDArray[np.void]  # TABLE (m), of suspects; ``spare`` is the row of ``since``
    mark_pool: NDArray[np.void]
    mark_used: NDArray[np.int64]  # (1)
    since: NDArray[np.int64]  # (x, S)
    marks: NDArray[np.int64]  # (1) rows of ``since`` that are taken
    pending: NDArray[np.void]  # PENDING (y)
    unlearned: NDArray[np.bool_]  # (y, S) who did not learn it
    first: NDArray[np.int64]  # (n) first pending entry of an asset record, -1 none
    waiting: NDArray[np.int64]  # (1) entries that are taken
    # scratch of one row, by setting (or by the head of a lane or class)
    features: NDArray[np.void]
    evidence: NDArray[np.float64]  # (S, EVIDENCE_SIZE)
    levels: NDArray[np.float64]  # (S, K)
    scores: NDArray[np.float64]  # (S, C)
    bounds: NDArray[np.float64]  # (S, C)
    exact: NDArray[np.bool_]
    acts: NDArray[np.int8]
    marked: NDArray[np.bool_]
    moved: NDArray[np.bool_]
    counts: NDArray[np.bool_]
    places: NDArray[np.int64]


@compiled()
def begin_lanes(v, slot, j):  # type: ignore[no-untyped-def]
    """Lanes of a fresh asset record: settings with the same idea of what is familiar."""
    n = v.lanes.shape[1]
    for s in range(n):
        v.lanes[slot, s] = s
        for other in range(s):
            if v.settings[j, other].familiar == v.settings[j, s].familiar:
                v.lanes[slot, s] = other
                break


@compiled()
def copy_class(v, j, old, new):  # type: ignore[no-untyped-def]
    """What a class learned, to the head of a new class."""
    a, b = v.fusions[j, old], v.fusions[j, new]
    for k in range(K):
        b.u[k] = a.u[k]
        b.s[k] = a.s[k]
        b.today[k] = a.today[k]
        for day in range(MAXIMA_DAYS):
            b.maxima[k, day] = a.maxima[k, day]
    for i in range(RECENT_ASSETS):
        b.recent_at[i] = a.recent_at[i]
        b.recent_id[i] = a.recent_id[i]
    for field in range(PRINTS):
        b.printed[field] = a.printed[field]
        for i in range(PRINT_BINS):
            b.prints[field, i] = a.prints[field, i]
    b.fee_level = a.fee_level
    b.last_nonce = a.last_nonce


@compiled()
def part_class(v, j, h, keep):  # type: ignore[no-untyped-def]
    """Those of class ``h`` where ``keep`` is not what it is for ``h`` become a class; returns its head, -1 none."""
    head = -1
    for s in range(h + 1, v.classes.shape[1]):
        if v.classes[j, s] == h and keep[s] != keep[h]:
            if head < 0:
                head = s
                copy_class(v, j, h, s)
            v.classes[j, s] = head
    return head


@compiled(forceinline=True)
def look_up_marks(v, j, key, t):  # type: ignore[no-untyped-def]
    """Which settings hold this destination for a suspect; a mark that nobody confirmed is forgotten in time."""
    n = v.marked.shape[0]
    place = table.find(v.mark_pool, v.mark_tables, j, key)
    if place < 0:
        for s in range(n):
            v.marked[s] = False
        return
    row = v.mark_pool[place].spare
    for s in range(n):
        if v.since[row, s] >= 0 and t - v.since[row, s] > FORGET:
            v.since[row, s] = -1
        v.marked[s] = v.since[row, s] >= 0


@compiled()
def mark(v, j, key, s, t):  # type: ignore[no-untyped-def]
    """Setting ``s`` holds this destination for a suspect from now on (room was checked)."""
    place = table.find(v.mark_pool, v.mark_tables, j, key)
    if place < 0:
        table.reserve(v.mark_pool, v.mark_used, v.mark_tables, j)
        place = table.insert(v.mark_pool, v.mark_tables, j, key)
        row = v.marks[0]
        v.mark_pool[place].spare = row
        v.marks[0] += 1
        for other in range(v.since.shape[1]):
            v.since[row, other] = -1
    v.since[v.mark_pool[place].spare, s] = t


@compiled(forceinline=True)
def room(v, slot, j):  # type: ignore[no-untyped-def]
    """Whether one more payment fits everywhere, once its lanes are settled."""
    if v.mark_tables[j].count >= MOST_MARKS:
        return OVERFLOW
    if v.marks[0] >= v.since.shape[0]:
        return NEED_MARKS
    if v.mark_used[0] + table.growth(v.mark_tables, j) > v.mark_pool.shape[0]:
        return NEED_MARKS
    n = v.lanes.shape[1]
    if v.waiting[0] + n > v.pending.shape[0]:
        return NEED_PENDING
    wanted = np.int64(0)
    for s in range(n):
        if v.lanes[slot, s] == s:
            wanted += table.growth(v.tables, slot * n + s)
    return NEED_POOL if v.used[0] + wanted > v.pool.shape[0] else DONE


@compiled(forceinline=True)
def settle(v, slot, j, key):  # type: ignore[no-untyped-def]
    """Split lanes until each is of one mind on a destination, and knows what it may forget; DONE, or what is full.

    Returning early is harmless: what was split is whole.
    """
    n = v.lanes.shape[1]
    if v.first[slot] < 0:  # nothing differs: marks alone, which may come from another asset
        alike = True
        for s in range(1, n):
            alike = alike and v.marked[s] == v.marked[0]
        if alike:
            return DONE
    for lane in range(n):
        while v.lanes[slot, lane] == lane and _disputed(v, slot, lane, key):
            why = _split(v, slot, j, lane)
            if why != DONE:
                return why
    return DONE


@compiled()
def _disputed(v, slot, lane, key):  # type: ignore[no-untyped-def]
    """Whether a lane must be split before this payment; fills ``moved`` with those that leave."""
    n = v.lanes.shape[1]
    found = False
    for s in range(n):
        v.moved[s] = v.lanes[slot, s] == lane and v.marked[s] != v.marked[lane]
        found = found or v.moved[s]
    if found or v.first[slot] < 0:
        return found
    owner = slot * n + lane
    place = table.find(v.pool, v.tables, owner, key)
    if place >= 0 and (v.pool[place].flags & DIFFERS) != 0:
        return _leaving(v, slot, lane, _entry(v, slot, lane, key))
    if place < 0 and table.is_full(v.tables, owner):  # what goes depends on who is a suspect
        at = v.first[slot]
        while at >= 0:
            if v.pending[at].lane == lane:
                return _leaving(v, slot, lane, at)
            at = v.pending[at].next
    return False


@compiled()
def _entry(v, slot, lane, key):  # type: ignore[no-untyped-def]
    at = v.first[slot]
    while v.pending[at].lane != lane or v.pending[at].key != key:
        at = v.pending[at].next
    return at


@compiled()
def _leaving(v, slot, lane, at):  # type: ignore[no-untyped-def]
    """Those of a lane to whom a pending entry means something else than to its head."""
    for s in range(v.lanes.shape[1]):
        v.moved[s] = v.lanes[slot, s] == lane and v.unlearned[at, s] != v.unlearned[at, lane]
    return True


@compiled()
def _split(v, slot, j, lane):  # type: ignore[no-untyped-def]
    """Give those that leave a lane (``moved``) one of their own, and settle what was pending."""
    n = v.lanes.shape[1]
    old = v.tables[slot * n + lane]
    size = np.int64(1) << old.bits if old.bits > 0 else np.int64(0)
    if v.used[0] + size > v.pool.shape[0]:
        return NEED_POOL
    entries = 0
    at = v.first[slot]
    while at >= 0:
        entries += 1
        at = v.pending[at].next
    if v.waiting[0] + entries > v.pending.shape[0]:
        return NEED_PENDING
    new = -1
    for s in range(n):
        if v.moved[s]:
            new = s if new < 0 else new
            v.lanes[slot, s] = new
    v.assets[slot, new] = v.assets[slot, lane]
    fresh = v.tables[slot * n + new]
    fresh.offset, fresh.bits, fresh.count = v.used[0], old.bits, old.count
    for i in range(size):
        v.pool[v.used[0] + i] = v.pool[old.offset + i]
    v.used[0] += size
    for h in range(n):
        if v.classes[j, h] == h:
            part_class(v, j, h, v.moved)
    _share_out(v, slot, lane, new)
    return DONE


@compiled()
def _share_out(v, slot, lane, new):  # type: ignore[no-untyped-def]
    """Pending entries of a lane after its split: each half takes over its own."""
    before = np.int64(-1)
    at = v.first[slot]
    while at >= 0:
        following = v.pending[at].next
        if v.pending[at].lane == lane:
            if not _resolved(v, slot, new, at):
                wait(v, slot, new, v.pending[at].key, v.pending[at].older, v.unlearned[at])
                if before < 0:  # the new one is the first now
                    before = v.first[slot]
            if _resolved(v, slot, lane, at):
                if before < 0:
                    v.first[slot] = following
                else:
                    v.pending[before].next = following
                at = following
                continue
        before = at
        at = following


@compiled()
def _resolved(v, slot, lane, at):  # type: ignore[no-untyped-def]
    """Whether a pending entry means the same to all of a lane; then its destination becomes what it is to them."""
    n = v.lanes.shape[1]
    mine, learned = False, False
    for s in range(n):
        if v.lanes[slot, s] == lane:
            mine = mine or v.unlearned[at, s]
            learned = learned or not v.unlearned[at, s]
    place = table.find(v.pool, v.tables, slot * n + lane, v.pending[at].key)
    if place < 0 or (v.pool[place].flags & DIFFERS) == 0:  # forgotten since
        return True
    if mine and learned:
        return False
    d = v.pool[place]
    d.flags &= ~DIFFERS
    if mine:
        d.today = v.pending[at].older
        d.flags |= _SUSPECT
    return True


@compiled()
def wait(v, slot, lane, key, older, unlearned):  # type: ignore[no-untyped-def]
    """Write down that some settings did not learn a payment (room was checked)."""
    at = v.waiting[0]
    v.waiting[0] += 1
    entry = v.pending[at]
    entry.key = key
    entry.lane = lane
    entry.older = older
    entry.next = v.first[slot]
    for s in range(v.lanes.shape[1]):
        v.unlearned[at, s] = unlearned[s]
    v.first[slot] = at


def empty_scratch(settings: int) -> dict[str, Any]:
    """The scratch fields of `Parts`."""
    from monitor.detectors import EVIDENCE_SIZE
    from monitor.features.dtypes import CHANNELS, FEATURES

    c = len(CHANNELS)
    return {
        "features": np.zeros(settings, FEATURES),
        "evidence": np.zeros((settings, EVIDENCE_SIZE)),
        "levels": np.zeros((settings, K)),
        "scores": np.zeros((settings, c)),
        "bounds": np.zeros((settings, c)),
        "exact": np.zeros(settings, np.bool_),
        "acts": np.zeros(settings, np.int8),
        "marked": np.zeros(settings, np.bool_),
        "moved": np.zeros(settings, np.bool_),
        "counts": np.zeros(settings, np.bool_),
        "places": np.zeros(settings, np.int64),
    }
