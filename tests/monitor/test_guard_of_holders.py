"""The guard rail of holders without history: one asset alone is calm, several or another's signature are not."""

from __future__ import annotations

import numpy as np
import pytest

from monitor.fold import GUARD_BIT
from monitor.model import Role
from monitor.parameters import parameters
from monitor.rows import FOREIGN, OUT, TELL, RowBuilder
from monitor.state import EngineState

HELD, BORN, DAY = 1e18, 1_700_000_000, 86400
THIEF = 77


def fired(payments: list[tuple[int, str, float, int]], role: Role = Role.PERSONAL) -> list[bool]:
    """Whether the guard rail fires, of payments to one address: (seconds after the start, asset, share, flags)."""
    state, builder = EngineState(), RowBuilder()
    wallet = state.wallet("w", "c", parameters(role, 0.1))
    slots = {name: state.add_asset("w", "c", name) for name in ("a", "b")}
    for slot in slots.values():
        builder.add(slot, wallet, BORN, TELL, HELD)
    left = dict.fromkeys(slots, HELD)
    for at, asset, share, flags in payments:
        builder.add(slots[asset], wallet, BORN + at, OUT, left[asset] * share, THIEF, flags)
        left[asset] *= 1.0 - share
    hits, _ = state.fold(builder.build())
    by_row = {int(hit["row"]): bool(hit["fired"] & GUARD_BIT) for hit in np.asarray(hits)}
    return [by_row.get(2 + n, False) for n in range(len(payments))]


def test_one_asset_alone_is_calm_for_a_holder_and_not_for_a_hot_wallet() -> None:
    """Holders sell all of an asset every now and then."""
    assert fired([(DAY, "a", 0.99, 0)]) == [False]
    assert fired([(DAY, "a", 0.99, 0)], Role.HOT) == [True]


@pytest.mark.parametrize(("share", "fires"), [(0.95, True), (0.55, False)])
def test_a_second_asset_within_two_hours_is_not(share: float, fires: bool) -> None:
    """From 60 % of it on; the first asset must have lost a tenth."""
    assert fired([(DAY, "a", 0.5, 0), (DAY + 300, "b", share, 0)]) == [False, fires]
    assert fired([(DAY, "a", 0.01, 0), (DAY + 300, "b", share, 0)]) == [False, False]
    assert fired([(DAY, "a", 0.5, 0), (DAY + 7300, "b", share, 0)]) == [False, False]


def test_somebody_else_s_signature_is_not() -> None:
    """A drain through an approval in the first week."""
    assert fired([(DAY, "a", 0.9, FOREIGN)]) == [True]
    assert fired([(DAY, "a", 0.3, FOREIGN)]) == [False]


def test_an_address_known_for_a_week_is_calm() -> None:
    """What goes to it again, in whole, is the owner's."""
    early = [(60, "a", 0.001, 0), (90, "b", 0.001, 0)]
    late = [(8 * DAY, "a", 0.9, 0), (8 * DAY + 60, "b", 0.9, 0)]
    assert fired(early + late) == [False] * 4
    assert fired([(at - 2 * DAY, *rest) for at, *rest in late])[1]  # type: ignore[arg-type, list-item]
    soon = [(6 * DAY, "a", 0.9, 0), (6 * DAY + 60, "b", 0.9, 0)]
    assert fired(early + soon)[3]
