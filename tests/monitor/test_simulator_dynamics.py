"""What balances do: never below zero, swept and refilled at their marks, moved as the life says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.scorecard.dynamics import (
    DEPOSIT,
    HIGH,
    LOW,
    MIGRATION,
    PAYMENT,
    REFILL,
    SISTER,
    SWEEP,
    THEFT,
    Flows,
    Piece,
    run,
)
from tests.scorecard.theft import KINDS, steal
from tests.scorecard.world import DAY, HOUR, WORLDS, Life, draw

SEEDS = range(1, 9)


def balances(life: Life, flows: Flows) -> np.ndarray:
    """The balance of the moved asset after each movement."""
    after = np.zeros(len(flows.at), np.int64)
    for a in range(len(life.assets)):
        mine = flows.asset == a
        signed = np.where(flows.out[mine], -flows.value[mine], flows.value[mine])
        after[mine] = life.target[a] + np.cumsum(signed)
    return after


@pytest.mark.parametrize("world", WORLDS)
def test_balances_are_never_negative_and_time_never_runs_back(world: str) -> None:
    """In every world, with every kind of theft."""
    for seed in SEEDS:
        life = draw(WORLDS[world], seed, 80)
        kind = list(KINDS)[seed % len(KINDS)]
        flows = run(life, steal(kind, life, 60, 65))
        assert (balances(life, flows) >= 0).all()
        assert (flows.value > 0).all()
        assert (np.diff(flows.at) >= 0).all()
        assert (flows.what == THEFT).any()


def test_what_is_too_much_goes_to_cold_down_to_the_target() -> None:
    """A sweep that is no test leaves the target, and comes only above 1.6 targets."""
    seen = 0
    for seed in SEEDS:
        life = draw(WORLDS["base"], seed, 120)
        flows = run(life)
        after = balances(life, flows)
        for i in np.flatnonzero(flows.what == SWEEP):
            target = life.target[flows.asset[i]]
            assert after[i] + flows.value[i] > HIGH * target
            if flows.value[i] > 1000 * life.dollar[flows.asset[i]]:
                assert after[i] == target
                seen += 1
    assert seen > 5


def test_cold_refills_up_to_the_target_some_time_after_the_low_mark() -> None:
    """A refill tops up to the target, half an hour to six hours and a half after the hour of the low mark."""
    seen = 0
    for seed in SEEDS:
        life = draw(WORLDS["base"], seed, 120)
        flows = run(life)
        after = balances(life, flows)
        for i in np.flatnonzero(flows.what == REFILL):
            a = flows.asset[i]
            assert after[i] == life.target[a]
            earlier = (flows.asset == a) & (flows.at < flows.at[i] - life.refill_delay) & (np.arange(len(after)) < i)
            assert (after[earlier][-2000:] < LOW * life.target[a]).any()
            seen += 1
    assert seen > 5


def test_cold_addresses_rotate() -> None:
    """A sweep goes to the address in force at its hour, the first one before any rotation."""
    for seed in SEEDS:
        life = draw(WORLDS["base"], seed, 180)
        flows = run(life)
        mine = np.flatnonzero(flows.what == SWEEP)
        hours = flows.at[mine] // HOUR * HOUR
        assert np.array_equal(flows.place[mine], np.searchsorted(life.rotation, hours, side="right"))


def test_a_probed_rotation_begins_with_fifty_dollars() -> None:
    """The first sweep to a new cold address is a test where the life says so, an hour before the real one."""
    probed = 0
    for seed in range(1, 20):
        life = draw(WORLDS["base"], seed, 120)
        flows = run(life)
        mine = np.flatnonzero(flows.what == SWEEP)
        for k, tested in enumerate(life.rotation_probed, start=1):
            to = mine[flows.place[mine] == k]
            if len(to) and tested:
                assert flows.value[to[0]] == 50 * life.dollar[flows.asset[to[0]]]
                probed += 1
    assert probed > 3


def test_a_migration_takes_nearly_all_of_every_asset() -> None:
    """Its last piece leaves 3 % of each asset; without one nothing goes there."""
    moved = 0
    for seed in range(1, 30):
        life = draw(WORLDS["base"], seed, 180)
        flows = run(life)
        mine = np.flatnonzero(flows.what == MIGRATION)
        assert (len(mine) > 0) == (len(life.migration_at) > 0)
        if len(mine):
            after = balances(life, flows)
            for a in range(len(life.assets)):
                last = mine[flows.asset[mine] == a][-1]
                assert after[last] <= 0.031 * (after[last] + flows.value[last])
            moved += 1
    assert 3 <= moved <= 20  # 35 % of wallets


def test_sister_wallets_get_their_shares() -> None:
    """Each planned move is carried out, as 3 to 25 % of the balance of then."""
    life = next(found for seed in range(1, 50) if len((found := draw(WORLDS["base"], seed, 60)).sister_at))
    flows = run(life)
    mine = np.flatnonzero(flows.what == SISTER)
    assert len(mine) == len(life.sister_at)
    before = balances(life, flows)[mine] + flows.value[mine]
    assert flows.value[mine] / before == pytest.approx(life.sister_share, rel=1e-6)


def test_a_life_with_a_theft_is_the_same_until_it_begins() -> None:
    """Nothing before the first piece changes, and customers go on afterwards."""
    life = draw(WORLDS["base"], 2, 80)
    at = 70 * DAY
    plain, robbed = run(life), run(life, [Piece(at, life.main, 0.9, 0)])
    until = int(np.searchsorted(plain.at, at))
    for name in ("at", "asset", "what", "value", "place"):
        assert np.array_equal(getattr(plain, name)[:until], getattr(robbed, name)[:until])
    assert ((robbed.what == PAYMENT) & (robbed.at > at + HOUR)).sum() > 10
    assert ((robbed.what == REFILL) & (robbed.at > at)).any()


def test_a_run_ends_where_it_should() -> None:
    """``until`` cuts the same life off after its hour."""
    life = draw(WORLDS["base"], 2, 40)
    whole, part = run(life), run(life, until=10 * DAY)
    assert part.at[-1] < 10 * DAY + HOUR
    assert np.array_equal(whole.value[: len(part.value)], part.value)


def test_a_withdrawal_takes_at_most_six_tenths_of_what_is_there() -> None:
    """A withdrawal larger than that is paid in part, and deposits are what the life says."""
    life = draw(WORLDS["base"], 4, 40)
    greedy = replace(life, value=np.repeat(life.target.max(), len(life.value)))
    flows = run(greedy)
    after = balances(greedy, flows)
    mine = flows.what == PAYMENT
    assert (flows.value[mine] <= 0.6000001 * (after[mine] + flows.value[mine]) + 1).all()
    assert flows.value[flows.what == DEPOSIT].sum() == greedy.deposits.sum()
