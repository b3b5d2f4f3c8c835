"""Any split of the same flows into batches gives the same state and the same hits."""

from __future__ import annotations

from itertools import pairwise
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor import state as state_module
from monitor.features import table
from monitor.fold import DONE, NEED_HITS, NEED_POOL, NEED_UNDO, fold
from monitor.state import EngineState

DAY = 86400
START = 1_700_000_000


def places(state: EngineState) -> list[tuple[int, int]]:
    """Records of two wallets: the first with two assets, the second with one on another chain."""
    names = [("a", "x:1", "x:1/coin"), ("a", "x:1", "x:1/token"), ("b", "x:2", "x:2/coin")]
    return [(state.add_asset(*name), state.wallet(name[0], name[1], 1.0)) for name in names]


def rows_of(seed: int, count: int, destinations: int) -> FlowRows:
    """Random rows over some weeks: payments of all sizes, arrivals, fees, told balances, trusted payments."""
    rng = Random(seed)
    found = places(EngineState())
    builder = RowBuilder()
    at = START
    for place, (slot, wallet) in enumerate(found):
        if rng.random() < 0.7:
            builder.add(slot, wallet, at + place, TELL, 1e20 * rng.uniform(0.5, 2.0))
    for _ in range(count):
        at += rng.choice([0, 5, 60, 1200, 7200, 40000]) - (300 if rng.random() < 0.05 else 0)
        slot, wallet = rng.choice(found)
        op = rng.choices([IN, OUT, SPEND, TELL], [20, 70, 8, 2])[0]
        share = 10.0 ** rng.uniform(-6.0, -0.2)
        key = rng.randrange(1, destinations + 1) * 0x9E3779B97F4A7C15 % 2**64
        flags = TRUSTED if rng.random() < 0.05 else 0
        builder.add(slot, wallet, at, op, 1e20 * share, key if op == OUT else 0, flags if op == OUT else 0)
    return builder.build()


def folded(
    rows: FlowRows, cuts: list[int], *, keep_undo: bool = False, pool: int = 1 << 12
) -> tuple[list[Any], bytes, EngineState]:
    """The canonical state, the hits with their rows in the whole, and the state itself, folded in slices."""
    state = EngineState()
    state._pool = table.new_pool(pool)
    places(state)
    hits = []
    for begin, end in pairwise([0, *sorted(cuts), len(rows)]):
        found, _ = state.fold(rows[begin:end], keep_undo=keep_undo)
        found["row"] += begin
        hits.append(found)
    joined = np.concatenate(hits)
    return list(state.dump()), b"".join(joined[name].tobytes() for name in joined.dtype.names), state  # no padding


def cuts_of(seed: int, count: int) -> list[int]:
    rng = Random(seed)
    return [rng.randrange(count + 1) for _ in range(rng.choice([1, 3, 10, count]))]


def differs(seed: int, count: int, destinations: int, cuts: list[int], **options: Any) -> bool:
    rows = rows_of(seed, count, destinations)
    whole, hits, _ = folded(rows, [])
    dump, again, _ = folded(rows, cuts, **options)
    return (dump, again) != (whole, hits)


def test_any_split_gives_the_same_state_and_hits(lab: Any) -> None:
    """Slices of any length, kept undo or not, end in the same bytes and raise the same hits."""
    raised = []

    @lab.tries(150)
    @given(st.integers(0, 2**32), st.integers(20, 500), st.sampled_from([3, 12, 100]), st.booleans())
    def check(seed: int, count: int, destinations: int, keep_undo: bool) -> None:
        assert not differs(seed, count, destinations, cuts_of(seed, count), keep_undo=keep_undo)
        raised.append(len(folded(rows_of(seed, count, destinations), [])[1]))

    check()
    assert sum(size > 0 for size in raised) > len(raised) // 2  # thefts are among the rows


def test_a_fold_that_knows_batch_boundaries_is_caught(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted fault: a fold that changes something once a batch gives other bytes for other splits."""

    def told_of_boundaries(begin: int, slots: Any, *rest: Any) -> Any:
        done, why = fold(begin, slots, *rest)
        assets = rest[8]
        assets["peak"][assets["used"] == 1] *= 1.0 + 1e-15  # a little more at each call
        return done, why

    monkeypatch.setattr(state_module, "fold", told_of_boundaries)
    assert differs(1, 200, 12, [50, 100])


def test_a_table_that_grows_between_batches_is_the_same(lab: Any) -> None:
    """Thousands of destinations: tables double and the pool moves, at other rows for other splits."""
    rng = Random(3)
    slot, wallet = places(EngineState())[0]
    builder = RowBuilder()
    for n in range(6000):
        key = rng.randrange(1, 2**64) if rng.random() < 0.8 else n
        builder.add(slot, wallet, START + 20 * n, OUT, 1e18 * rng.random(), key)
    rows = builder.build()
    whole, hits, state = folded(rows, [])
    assert state._asset_tables[slot]["bits"] >= 13 and len(state._pool) > 1 << 12
    for cuts in ([1], [4095, 4096, 4097], list(range(0, 6000, 37))):
        assert folded(rows, cuts, keep_undo=True)[:2] == (whole, hits)


def test_eviction_at_the_cap_is_the_same() -> None:
    """More than 23,000 destinations of one wallet asset: what is forgotten depends on what was folded alone."""
    slot, wallet = places(EngineState())[0]
    rng = Random(5)
    count = 23_600
    builder = RowBuilder()
    keys = [rng.randrange(1, 2**64) for _ in range(count)]
    for n, key in enumerate(keys):
        builder.add(slot, wallet, START + n // 3, OUT, 1e10, key)
    for key in keys[:400]:  # forgotten by now, and back
        builder.add(slot, wallet, START + count, OUT, 1e10, key)
    rows = builder.build()
    whole, hits, state = folded(rows, [])
    cap = (1 << table.MAX_BITS) * 7 // 10
    held = int(state._asset_tables[slot]["count"])
    assert held == count + 400 - cap // 8 < cap
    forgotten = [key for key in keys if table.find(state._pool, state._asset_tables, slot, np.uint64(key)) < 0]
    assert forgotten == sorted(forgotten, key=keys.index) and len(forgotten) == cap // 8 - 400
    assert min(map(keys.index, forgotten)) == 400  # the 400 oldest came back, the next oldest are gone
    assert folded(rows, [cap - 1, cap, cap + 1, 23_100])[:2] == (whole, hits)
    assert folded(rows, [cap + 1], keep_undo=True)[:2] == (whole, hits)


def test_full_buffers_stop_before_a_row_and_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch that overflows hits, pool and undo many times equals one with room for all from the start."""
    rows = rows_of(11, 800, 400)
    whole, hits, state = folded(rows, [], keep_undo=True)
    assert len(state._pool) >= 1 << 12
    stops: list[int] = []

    def counted(*parts: Any) -> Any:
        done, why = fold(*parts)
        stops.append(why)
        return done, why

    class Small:
        """NumPy, but the buffers for hits and undo begin small."""

        @staticmethod
        def zeros(size: Any, kind: Any = float) -> Any:
            return np.zeros({state_module.HIT: 1, state_module.UNDONE: 4}.get(kind, size), kind)

        def __getattr__(self, name: str) -> Any:
            return getattr(np, name)

    with monkeypatch.context() as patch:
        patch.setattr(state_module, "fold", counted)
        patch.setattr(state_module, "np", Small())
        assert folded(rows, [], keep_undo=True, pool=64)[:2] == (whole, hits)
    assert {NEED_HITS, NEED_POOL, NEED_UNDO, DONE} == set(stops)


def test_undo_of_every_batch_leads_back(lab: Any) -> None:
    """What a batch wrote down as its undo gives the state before it, evictions included."""
    rows = rows_of(17, 300, 40)
    state = EngineState()
    places(state)
    dumps, undos = [list(state.dump())], []
    for begin in range(0, 300, 25):
        part = rows[begin : begin + 25]
        before = state.before(part)
        _, undone = state.fold(part, keep_undo=True)
        undos.append(state.after(before, undone)[1])
        dumps.append(list(state.dump()))
    for undo, before_dump in zip(reversed(undos), reversed(dumps[:-1]), strict=True):
        state.put(undo)
        assert list(state.dump()) == before_dump
