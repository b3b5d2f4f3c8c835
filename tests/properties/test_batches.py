"""Any split of the same flows into batches gives the same state and the same hits."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor import state as state_module
from monitor.features import table
from monitor.features.dtypes import ASSET, FUSION
from monitor.fold import DONE, NEED_HITS, NEED_POOL, NEED_UNDO, fold
from monitor.model import Role
from monitor.parameters import parameters
from monitor.rows import (
    FOREIGN,
    IN,
    KIND_SHIFT,
    NATIVE,
    OUT,
    SPEND,
    TELL,
    TOUCH,
    TRUSTED,
    FlowRows,
    RowBuilder,
    pack_marks,
)
from monitor.state import EngineState, asset_key

DAY = 86400
START = 1_700_000_000


NAMES = [("a", "x:1", "x:1/coin"), ("a", "x:1", "x:1/token"), ("b", "x:2", "x:2/coin"), ("b", "x:2", "x:2/token")]
SETTINGS = {
    "a": parameters(Role.HOT, 1.0, {"HW-1": {"familiar": 2}, "FUSION": {"warm_up_days": 2}}),
    "b": parameters(Role.PERSONAL, 3.0, {"GUARD": {"to_one": 0.4}, "FUSION": {"warm_up_days": 1}}),
}


def places(state: EngineState) -> list[tuple[int, int]]:
    """Records of two wallets with two assets each: a hot one, and a personal one on another chain."""
    return [(state.add_asset(*name), state.wallet(name[0], name[1], SETTINGS[name[0]])) for name in NAMES]


def look_of(rng: Random, nonce: int) -> int:
    """What a transaction looks like: mostly the wallet's usual, now and then quite another, or not told."""
    if rng.random() < 0.1:
        return 0
    fee, limit = (6e10 * rng.uniform(0.8, 1.3), 21_000) if rng.random() < 0.85 else (10 ** rng.uniform(9, 13), 900_000)
    version, flags = rng.choice([(None, None), (2, 0), (2, 0), (2, 1)])
    return pack_marks(
        fee, rng.choice([limit, None]), rng.choice([None, 2, 40]), version, flags, nonce + rng.choice([0, 0, 0, 9])
    )


def rows_of(seed: int, count: int, destinations: int) -> FlowRows:
    """Random rows over some weeks.

    Payments of all sizes with marks, labels of their destinations and signers, arrivals with and without a sender,
    fees, told balances, trusted payments, calls without coins.
    """
    rng = Random(seed)
    found = places(EngineState())
    builder = RowBuilder()
    at, nonce = START, 0
    for place, (slot, wallet) in enumerate(found):
        if rng.random() < 0.7:
            builder.add(slot, wallet, at + place, TELL, 1e20 * rng.uniform(0.5, 2.0))
    for _ in range(count):
        at += rng.choice([0, 0, 5, 60, 1200, 7200, 40000]) - (300 if rng.random() < 0.05 else 0)
        which = rng.randrange(len(found))
        slot, wallet = found[which]
        op = rng.choices([IN, OUT, SPEND, TELL, TOUCH], [18, 64, 8, 2, 8])[0]
        share = 10.0 ** (rng.uniform(-6.0, -3.0) if rng.random() < 0.6 else rng.uniform(-6.0, -0.2))
        key = rng.randrange(1, destinations + 1) * 0x9E3779B97F4A7C15 % 2**64
        if op == TOUCH:
            builder.add(-1, wallet, at, TOUCH, 0.0, key, 0, asset_key(rng.choice([NAMES[which][2], "x/other"])))
        elif op == OUT:
            nonce += 1
            flags = rng.choice([0] * 16 + [TRUSTED, FOREIGN, *(kind << KIND_SHIFT for kind in (1, 2, 3))])
            look = 0 if flags & (TRUSTED | FOREIGN) else look_of(rng, nonce)
            builder.add(slot, wallet, at, OUT, 1e20 * share, key, flags, look)
        elif op == IN and rng.random() < 0.5:
            builder.add(slot, wallet, at, IN, 1e20 * share, key, NATIVE)
        else:
            builder.add(slot, wallet, at, op, 1e20 * share)
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


def test_the_scripts_hold_every_kind_of_row() -> None:
    """Marks, kinds, other signers, calls without coins, and what follows from them in state and hits."""
    hits, done = [], []
    for seed in range(8):
        rows = rows_of(seed, 600, (100, 4)[seed % 2])
        assert {IN, OUT, SPEND, TELL, TOUCH} == set(rows.ops.tolist())
        pays = rows.flags[rows.ops == OUT]
        assert {0, TRUSTED, FOREIGN, 1 << KIND_SHIFT, 2 << KIND_SHIFT, 3 << KIND_SHIFT} == set(pays.tolist())
        assert NATIVE in rows.flags[rows.ops == IN] and (rows.marks[rows.ops == OUT] > 0).any()
        state = EngineState()
        places(state)
        hits.append(state.fold(rows)[0])
        done += [state._fusions[0], state._fusions[1]]
    found = np.concatenate(hits)
    for name in ("odd", "others", "kind_of", "foreign"):
        assert (found[name] > 0).any(), name
    assert (found["swept"] > 1).any() and (found["topup"] >= 0).any() and (found["idle"] >= 0).any()
    assert {1, 2} <= set(found["kind"].tolist()) and all(wallet["printed"].min() > 20 for wallet in done)
    assert any(wallet["topup_at"] > 0 for wallet in done) and all(wallet["swept_n"].max() >= 1 for wallet in done)


def test_a_fold_that_knows_batch_boundaries_is_caught(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted fault: a fold that changes something once a batch gives other bytes for other splits."""

    def told_of_boundaries(begin: int, slots: Any, *rest: Any) -> Any:
        done, why = fold(begin, slots, *rest)
        (assets,) = (part for part in rest if getattr(part, "dtype", None) == ASSET)
        assets["peak"][assets["used"] == 1] *= 1.0 + 1e-15  # a little more at each call
        return done, why

    monkeypatch.setattr(state_module, "fold", told_of_boundaries)
    assert differs(1, 200, 12, [50, 100])


@pytest.mark.parametrize("field", ["prints", "swept_at", "last_out", "fee_level"])
def test_a_fold_that_forgets_looks_between_batches_is_caught(field: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted fault: what a wallet's transactions look like, begun anew with each batch."""

    def forgets(begin: int, slots: Any, *rest: Any) -> Any:
        (fusions,) = (part for part in rest if getattr(part, "dtype", None) == FUSION)
        if begin == 0:
            fusions[field] = 0
        return fold(begin, slots, *rest)

    monkeypatch.setattr(state_module, "fold", forgets)
    assert differs(1, 300, 12, [100, 200])


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
    """What a batch wrote down as its undo gives the state before it; folded again it leads to the same once more."""
    rows = rows_of(17, 400, 40)
    assert (rows.ops == TOUCH).sum() > 10 and (rows.marks > 0).sum() > 100
    state = EngineState()
    places(state)
    dumps, undos = [list(state.dump())], []
    for begin in range(0, len(rows), 25):
        part = rows[begin : begin + 25]
        before = state.before(part)
        _, undone = state.fold(part, keep_undo=True)
        undos.append(state.after(before, undone)[1])
        dumps.append(list(state.dump()))
    for undo, before_dump in zip(reversed(undos), reversed(dumps[:-1]), strict=True):
        state.put(undo)
        assert list(state.dump()) == before_dump
    assert dumps[0] == []
    slots = [slot for slot, _ in places(state)]  # records that went with the undo are opened anew, in other places
    state.fold(replace(rows, slots=np.array([*slots, -1], np.int32)[rows.slots]))
    assert list(state.dump()) == dumps[-1]
