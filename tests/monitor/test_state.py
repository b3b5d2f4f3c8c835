"""The engine's records by name: growth, undo, stored form, verdicts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from monitor.errors import StoreError
from monitor.features.dtypes import ASSET, DESTINATION, FUSION
from monitor.model import Role
from monitor.parameters import parameters
from monitor.rows import IN, OUT, TELL, RowBuilder
from monitor.state import EngineState

DAY = 86400
BORN = 20_000 * DAY
SEP = "\x1f"


def paid(state: EngineState, name: tuple[str, str, str], *payments: tuple[int, int, float, int]) -> Any:
    """Fold (seconds, what, amount, destination) rows of one asset; (state delta, undo)."""
    slot = state.asset(*name)
    slot = slot if slot >= 0 else state.add_asset(*name)
    place = state.wallet(name[0], name[1], parameters(Role.HOT, 1.0))
    builder = RowBuilder()
    for seconds, op, amount, key in payments:
        builder.add(slot, place, BORN + seconds, op, amount, key)
    rows = builder.build()
    before = state.before(rows)
    _, undone = state.fold(rows, keep_undo=True)
    return state.after(before, undone)


COIN = ("w", "c:1", "c:1/coin")


def test_record_sizes_are_those_of_the_design() -> None:
    """A destination takes 48 bytes, an asset at most 1.5 KB, fusion at most 6 KB."""
    assert DESTINATION.itemsize == 48 and ASSET.itemsize <= 1536 and FUSION.itemsize <= 6144


def test_a_flow_touches_a_small_part_of_its_asset() -> None:
    """Between two ends of buckets: every field that is no ring, and one bucket of each ring, below 300 bytes."""
    rings = [name for name in ASSET.names or () if name.startswith("ring_")]
    plain = sum(ASSET[name].itemsize for name in ASSET.names or () if name not in rings)
    assert len(rings) == ASSET["sums"].shape[0] == 6 and plain + 4 * len(rings) < 300


def test_a_delta_names_what_changed_and_its_undo_takes_it_back() -> None:
    """The first block of a wallet: asset, fusion and destination appear; its undo deletes all three."""
    state = EngineState()
    delta, undo = paid(state, COIN, (0, TELL, 100.0, 0), (0, OUT, 1.0, 7))
    names = [SEP.join(("a", *COIN)), SEP.join(("d", *COIN, f"{7:016x}")), SEP.join(("w", "w", "c:1"))]
    assert [key.decode() for key, _ in delta] == names and dict(delta) == dict(state.dump())
    assert undo == tuple((key, None) for key, _ in delta)
    state.put(undo)
    assert list(state.dump()) == [] and state.asset(*COIN) == -1 and state.assets_of("w", "c:1") == 0


def test_records_survive_storage() -> None:
    """A state that is loaded from its dump, in any order, is the same and goes on the same way."""
    state = EngineState()
    for n in range(40):
        name = ("w", "c:1", f"c:1/token{n % 3}")
        paid(state, name, (n * 900, IN, 1e6, 0), (n * 900, OUT, 1e4 * n + 1.0, n + 1))
    paid(state, COIN, (0, TELL, 1e6, 0), (1, OUT, 4e5, 9))
    assert state.is_suspect("w", "c:1", 9)
    stored = list(state.dump())
    for order in (stored, stored[::-1]):
        again = EngineState()
        again.put(order)
        assert list(again.dump()) == stored and again.is_suspect("w", "c:1", 9)
        for one in (again,):
            paid(one, COIN, (90_000, OUT, 1e5, 9))
        whole = EngineState()
        whole.put(stored)
        paid(whole, COIN, (90_000, OUT, 1e5, 9))
        assert list(again.dump()) == list(whole.dump())


def test_a_dump_does_not_know_where_records_lie() -> None:
    """The same flows of three wallets, opened in another order: the same dump."""
    names = [("a", "c:1", "x"), ("b", "c:1", "x"), ("a", "c:2", "y")]
    dumps = []
    for order in (names, names[::-1]):
        state = EngineState()
        for name in order:
            state.add_asset(*name)
        for n, name in enumerate(names):
            paid(state, name, (n, TELL, 50.0, 0), (n, OUT, 1.0, 5 + n))
        dumps.append(list(state.dump()))
    assert dumps[0] == dumps[1] and len(dumps[0]) == 9


def test_places_of_undone_assets_are_used_again() -> None:
    """An asset that a reorg took away leaves nothing behind for the next one in its place."""
    state = EngineState()
    _, undo = paid(state, COIN, (0, TELL, 100.0, 0), (0, OUT, 90.0, 7))
    slot = state.asset(*COIN)
    state.prove(slot)
    state.put(undo)
    other = ("v", "c:1", "c:1/other")
    paid(state, other, (5, IN, 3.0, 0))
    fresh = EngineState()
    paid(fresh, other, (5, IN, 3.0, 0))
    assert state.asset(*other) == slot and not state.is_proven(slot)
    assert list(state.dump()) == list(fresh.dump())


def test_many_wallets_and_assets_grow_the_arrays() -> None:
    """More records than there were places: all keep their content."""
    state = EngineState()
    for n in range(100):
        paid(state, (f"w{n}", "c:1", f"asset{n}"), (n, IN, 100.0 + n, 0))
    assert [state.balance(state.asset(f"w{n}", "c:1", f"asset{n}")) for n in range(100)] == [
        (100.0 + n, False) for n in range(100)
    ]


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        (SEP.join(("w", "w", "c:1")), b"short", "another version"),
        (SEP.join(("a", *COIN)), b"short", "another version"),
        (SEP.join(("q", "w")), b"", "unknown kind"),
        (SEP.join(("d", *COIN, f"{7:016x}")), bytes(48), "without its asset"),
        (SEP.join(("s", "w", "c:1", f"{7:016x}")), bytes(48), "without its wallet"),
    ],
)
def test_a_state_that_does_not_fit_is_refused(key: str, value: bytes, says: str) -> None:
    """Records of another version, and records whose owner is missing, stop the start."""
    with pytest.raises(StoreError, match=says):
        EngineState().put([(key.encode(), value)])


def test_a_false_alarm_makes_its_destination_ordinary() -> None:
    """The mark goes, the sums go, the amount is familiar from now on; the undo brings all of it back."""
    state = EngineState()
    paid(state, COIN, (0, TELL, 1000.0, 0), (60, OUT, 400.0, 9))
    before = list(state.dump())
    delta, undo = state.clear_suspect("w", "c:1", 9, {"c:1/coin": 400.0})
    assert not state.is_suspect("w", "c:1", 9)
    key = SEP.join(("d", *COIN, f"{9:016x}")).encode()
    record = np.frombuffer(dict(delta)[key], DESTINATION)[0]
    scale = float(state._assets[state.asset(*COIN)]["scale"])
    assert record["older"] * scale == 400.0 and record["flags"] == 0 and record["d24"] == 0.0
    assert dict(state.dump()) == {k: v for k, v in (dict(before) | dict(delta)).items() if v is not None}
    _, undone = paid(state, COIN, (70, OUT, 100.0, 9))
    assert not state.is_suspect("w", "c:1", 9)  # three times 400 is familiar
    state.put(undone)
    state.put(undo)
    assert list(state.dump()) == before


def test_a_confirmed_theft_is_not_counted_by_the_controller() -> None:
    """What was exceeded today is forgotten before midnight; the undo brings it back."""
    state = EngineState()
    paid(state, COIN, (0, TELL, 1000.0, 0), (60, OUT, 400.0, 9))
    before = list(state.dump())
    place = 0
    assert state._fusions[place]["exceeded"].any()
    delta, undo = state.confirm_theft("w", "c:1", 9)
    assert not state._fusions[place]["exceeded"].any() and len(delta) == 2
    state.put(undo)
    assert list(state.dump()) == before
    assert state.confirm_theft("nobody", "c:1", 9) == ((), ())


def test_learning_days_count_down() -> None:
    """A wallet without flows is unknown; after its first flow seven days are left, then none."""
    state = EngineState()
    assert state.learning_days("w", "c:1") is None
    paid(state, COIN, (0, IN, 1.0, 0))
    assert state.learning_days("w", "c:1") == 7.0
    paid(state, COIN, (2 * DAY, IN, 1.0, 0))
    assert state.learning_days("w", "c:1") == 5.0
    paid(state, COIN, (30 * DAY, IN, 1.0, 0))
    assert state.learning_days("w", "c:1") == 0.0
