"""Destinations: one open-addressing table a wallet asset, all in one growing pool, compiled.

Results never depend on where a record lies: look-ups go by key, and what is evicted is chosen by (last use, key). A
table grows by doubling within the pool; when the pool itself is full, the caller is told before anything is changed.
"""

from __future__ import annotations

import numpy as np

from monitor.compiled import compiled
from monitor.features.dtypes import DESTINATION
from monitor.features.prefetch import prefetch as _prefetch

__all__ = [
    "MAX_BITS", "enlarged", "find", "growth", "insert", "is_full", "new_pool", "oldest", "prefetch", "remove",
    "reserve",
]

MIN_BITS = 4
MAX_BITS = 15  # 32,768 places, 22,937 destinations: 1.5 MB a wallet asset at most
_LOAD_NUM, _LOAD_DEN = 7, 10
_LARGE = 1 << 20  # places of a pool that is too large to have room for as much again
_AHEAD = 8  # times what a pool needs is asked of the system, which gives memory as it is touched


@compiled()
def _home(bits, key):  # type: ignore[no-untyped-def]
    """The place in a table of 2^``bits`` where ``key`` is looked for first."""
    mask = (np.int64(1) << bits) - 1
    mixed = key * np.uint64(0x9E3779B97F4A7C15)
    return np.int64(mixed >> np.uint64(64 - bits)) & mask


@compiled(inline="never")
def _slot(pool, offset, bits, key):  # type: ignore[no-untyped-def]
    """Place of ``key``, else of the empty place where it would go."""
    mask = (np.int64(1) << bits) - 1
    place = _home(bits, key)
    while True:
        held = pool[offset + place].key
        if held == key or held == 0:
            return offset + place
        place = (place + 1) & mask


@compiled()
def find(pool, tables, owner, key):  # type: ignore[no-untyped-def]
    """Index into the pool, or -1 where ``owner`` has no record of ``key``."""
    table = tables[owner]
    if table.count == 0:
        return np.int64(-1)
    place = _slot(pool, table.offset, table.bits, key)
    return place if pool[place].key == key else np.int64(-1)


@compiled()
def prefetch(pool, tables, owner, key):  # type: ignore[no-untyped-def]
    """Fetch the memory where `find` will look into the caches, without waiting for it."""
    table = tables[owner]
    if table.count != 0:
        _prefetch(pool, table.offset + _home(table.bits, key))


@compiled()
def growth(tables, owner):  # type: ignore[no-untyped-def]
    """Places that the pool must have free before one more key of ``owner`` goes in."""
    table = tables[owner]
    if table.bits == 0:
        return np.int64(1) << MIN_BITS
    if (table.count + 1) * _LOAD_DEN <= (np.int64(1) << table.bits) * _LOAD_NUM or table.bits >= MAX_BITS:
        return np.int64(0)
    return np.int64(2) << table.bits


@compiled()
def reserve(pool, used, tables, owner):  # type: ignore[no-untyped-def]
    """Make sure that one more key fits, growing the table if needed; the pool must have room for `growth`."""
    needed = growth(tables, owner)
    if needed == 0:
        return
    table = tables[owner]
    if table.bits == 0:
        table.offset = used[0]
        table.bits = MIN_BITS
        used[0] += needed
        return
    size = np.int64(1) << table.bits
    old, bits = table.offset, table.bits + 1
    offset = used[0]
    used[0] += needed
    for i in range(old, old + size):
        if pool[i].key != 0:
            place = _slot(pool, offset, bits, pool[i].key)
            pool[place] = pool[i]
            pool[i].key = 0
    table.offset = offset
    table.bits = bits


@compiled()
def is_full(tables, owner):  # type: ignore[no-untyped-def]
    """Whether the largest allowed table would pass its load with one more key."""
    table = tables[owner]
    return table.bits >= MAX_BITS and (table.count + 1) * _LOAD_DEN > (np.int64(1) << table.bits) * _LOAD_NUM


@compiled(owns=True)
def oldest(pool, tables, owner):  # type: ignore[no-untyped-def]
    """Keys of the eighth of the records that was used longest ago, by (last, key); of suspects where all are."""
    table = tables[owner]
    size = np.int64(1) << table.bits
    last = np.empty(table.count, np.int64)
    keys = np.empty(table.count, np.uint64)
    n = 0
    for suspects in range(2):
        for i in range(table.offset, table.offset + size):
            if pool[i].key != 0 and (suspects == 1 or (pool[i].flags & 3) == 0):
                last[n] = pool[i].last
                keys[n] = pool[i].key
                n += 1
        if n > 0:
            break
    by_key = np.argsort(keys[:n], kind="mergesort")
    order = by_key[np.argsort(last[:n][by_key], kind="mergesort")]
    return keys[:n][order[: max(1, n // 8)]] if n else keys[:0]


@compiled()
def insert(pool, tables, owner, key):  # type: ignore[no-untyped-def]
    """Index of a new, zeroed record of ``key``; call only after `reserve`."""
    table = tables[owner]
    place = _slot(pool, table.offset, table.bits, key)
    record = pool[place]
    record.key = key
    record.first = 0
    record.last = 0
    record.d1 = 0.0
    record.d24 = 0.0
    record.d240 = 0.0
    record.older = 0.0
    record.yesterday = 0.0
    record.today = 0.0
    record.spare = 0
    record.day = 0
    record.flags = 0
    table.count += 1
    return place


@compiled()
def remove(pool, tables, owner, key):  # type: ignore[no-untyped-def]
    """Take ``key`` out (nothing happens where it is not there), closing the gap it leaves."""
    table = tables[owner]
    if table.count == 0:
        return
    hole = _slot(pool, table.offset, table.bits, key)
    if pool[hole].key != key:
        return
    mask = (np.int64(1) << table.bits) - 1
    offset = table.offset
    table.count -= 1
    place = hole - offset
    following = place
    while True:
        following = (following + 1) & mask
        held = pool[offset + following].key
        if held == 0:
            break
        home = _home(table.bits, held)
        if ((following - home) & mask) >= ((following - place) & mask):
            pool[offset + place] = pool[offset + following]
            place = following
    pool[offset + place].key = 0


@compiled()
def _move(old, tables, pool):  # type: ignore[no-untyped-def]
    """Copy every table into an empty pool, one behind the other. Returns how many places are taken."""
    at = np.int64(0)
    for owner in range(len(tables)):
        table = tables[owner]
        if table.bits == 0:
            continue
        size, offset = np.int64(1) << table.bits, table.offset
        for i in range(size):
            pool[at + i] = old[offset + i]
        table.offset = at
        at += size
    return at


@compiled()
def _slide(pool, used, tables, order):  # type: ignore[no-untyped-def]
    """Close the gaps between tables (``order``: by their offsets). Returns how many places are taken then."""
    at = np.int64(0)
    for owner in order:
        table = tables[owner]
        if table.bits == 0:
            continue
        size, offset = np.int64(1) << table.bits, table.offset
        if offset > at:
            for i in range(size):
                pool[at + i] = pool[offset + i]
            table.offset = at
        at += size
    for i in range(at, used):
        pool[i].key = 0
    return at


def enlarged(pool: np.ndarray, used: np.ndarray, tables: np.ndarray) -> np.ndarray:
    """The pool with room for more (as much again, of a large one a quarter), and nothing of what outgrown tables left.

    Tables stay in the same memory as long as there is enough behind them: the system clears whatever it gives.

    Parameters
    ----------
    pool : DESTINATION (n), made here or by `new_pool`
    used : int64 (1), how many of its places are taken; changed
    tables : TABLE (owners), whose offsets follow
    """
    sizes = np.where(tables["bits"] > 0, np.int64(1) << tables["bits"].astype(np.int64), 0)
    live, largest = int(sizes.sum()), int(sizes.max(initial=1 << MIN_BITS))
    wanted = max(live + max(min(live, _LARGE), live // 4, 4 * largest), 1 << 12)
    ground = pool if pool.base is None else pool.base
    if wanted <= len(ground):
        used[0] = _slide(ground, used[0], tables, np.argsort(tables["offset"], kind="stable"))
        return ground[:wanted]
    ground = new_pool(_AHEAD * wanted)
    used[0] = _move(pool, tables, ground)
    return ground[:wanted]


def new_pool(places: int) -> np.ndarray:
    """An empty pool of that many places."""
    return np.zeros(places, DESTINATION)
