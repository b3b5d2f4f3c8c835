"""Simulated wallets: what a seed decides, and what the worlds promise."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from tests.scorecard.dynamics import PAYMENT, run
from tests.scorecard.seeds import SAMPLE, SCORING, TUNING
from tests.scorecard.world import BREAK, DAY, HOUR, WORLDS, Life, draw

SEEDS = range(1, 7)  # of neither set
QUIET_SEEDS = range(1, 41)


def bytes_of(life: Life) -> bytes:
    """Everything in a life, arrays bit by bit."""
    values = [getattr(life, field.name) for field in fields(life)]
    return b"|".join(v.tobytes() if isinstance(v, np.ndarray) else repr(v).encode() for v in values)


@pytest.mark.parametrize("world", WORLDS)
def test_a_seed_gives_the_same_bytes(world: str) -> None:
    """Equal seeds give equal lives and movements bit by bit, another seed gives others."""
    one, again, other = (draw(WORLDS[world], seed, 40) for seed in (1, 1, 2))
    assert bytes_of(one) == bytes_of(again)
    assert bytes_of(one) != bytes_of(other)
    flows, same = run(one), run(again)
    for name in ("at", "asset", "what", "value", "place"):
        assert getattr(flows, name).tobytes() == getattr(same, name).tobytes()


def test_an_outsider_sees_the_very_wallets_of_base() -> None:
    """Only what the configuration knows differs."""
    assert bytes_of(draw(WORLDS["base"], 3, 40)) == bytes_of(draw(WORLDS["outsider"], 3, 40))


def test_the_sets_of_seeds_are_apart() -> None:
    """Nothing of the published table is ever tuned on, and the sample is part of it."""
    assert not set(TUNING) & set(SCORING)
    assert set(SAMPLE) < set(SCORING)


def test_a_quiet_wallet_pays_between_every_third_day_and_thrice_a_day() -> None:
    """0.3 to 3 withdrawals a day, and the whole range is used."""
    rates = []
    for seed in QUIET_SEEDS:
        flows = run(draw(WORLDS["quiet"], seed, 180))
        rates.append((flows.what == PAYMENT).sum() / 180)
    assert 0.3 <= min(rates) < 0.7
    assert 2.0 < max(rates) <= 3.0


@pytest.mark.parametrize(
    ("world", "low", "high"), [("base", 0.05, 0.20), ("heavy", 0.05, 0.25), ("wrong_prior", 0.2, 0.6)]
)
def test_no_withdrawal_is_above_the_cap_of_its_world(world: str, low: float, high: float) -> None:
    """The largest withdrawal is the wallet's cap, inside the world's range."""
    for seed in SEEDS:
        life = draw(WORLDS[world], seed, 60)
        largest = (life.value / life.target[life.asset]).max()
        assert low * 0.999 <= largest <= high * 1.001


def test_a_base_wallet_turns_over_what_it_should() -> None:
    """Withdrawn a day: 15 to 100 % of the target balance, give or take the noise of a short life."""
    for seed in SEEDS:
        life = draw(WORLDS["base"], seed, 60)
        a_day = (life.value / life.target[life.asset]).sum() / 60 / len(life.assets)
        assert 0.10 < a_day < 1.9


def test_a_regime_wallet_is_a_base_wallet_until_the_break_and_turns_over_three_times_as_much_then() -> None:
    """The same withdrawals and deposits before day 90, amounts and deposits threefold from there."""
    for seed in SEEDS:
        base, regime = draw(WORLDS["base"], seed, 180), draw(WORLDS["regime"], seed, 180)
        early = int(np.searchsorted(base.at, BREAK - HOUR))  # tests come up to an hour before what they test
        for name in ("at", "asset", "value", "to"):
            assert np.array_equal(getattr(base, name)[:early], getattr(regime, name)[:early])
        late = BREAK // HOUR
        assert np.array_equal(regime.deposits[:, :late], base.deposits[:, :late])
        ratio = regime.deposits[:, late:].sum() / base.deposits[:, late:].sum()
        assert ratio == pytest.approx(3.0, rel=1e-6)
        paid = [(x.value / x.target[x.asset])[x.at >= BREAK].sum() for x in (base, regime)]
        assert 1.3 < paid[1] / paid[0] < 4.5  # where the mean would pass the cap, the cap holds


def test_new_destinations_are_as_frequent_as_the_world_says() -> None:
    """15 to 40 % of base's withdrawals, 40 to 75 % of heavy's; less among large ones, more with tests before."""
    for world, low, high in (("base", 0.08, 0.42), ("heavy", 0.24, 0.78)):
        for seed in SEEDS:
            life = draw(WORLDS[world], seed, 60)
            assert low < life.customers / len(life.at) < high


def test_days_have_a_rhythm_and_withdrawals_come_in_crowds() -> None:
    """Hours of the day differ, and hourly counts scatter more than independent customers would."""
    life = draw(WORLDS["base"], 1, 120)
    by_hour = np.bincount(life.at // HOUR % 24, minlength=24)
    assert by_hour.max() > 1.5 * by_hour.min()
    counts = np.bincount(life.at // HOUR, minlength=120 * 24)
    assert counts.var() > 1.5 * counts.mean()


def test_times_rise_and_stay_inside() -> None:
    """Withdrawals are in order, within the days that were asked for."""
    for world in WORLDS.values():
        life = draw(world, 5, 30)
        assert (np.diff(life.at) >= 0).all()
        assert len(life.at) == 0 or (life.at[0] >= 0 and life.at[-1] < 30 * DAY)
