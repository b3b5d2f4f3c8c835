"""Kinds of thefts: they take what they say, when they say, from where they say."""

from __future__ import annotations

import numpy as np
import pytest

from tests.scorecard.dynamics import THEFT, UNITS, run
from tests.scorecard.theft import KINDS, steal
from tests.scorecard.world import DAY, HOUR, WORLDS, draw

SEEDS = range(1, 13)
# of one asset's balance when it begins; wallets go on paying meanwhile, so that the last payments may find less
TAKEN = {
    "coincheck": (0.95, 0.99),
    "zaif": (0.85, 0.95),
    "single60": (0.60, 0.60),
    "fanout": (0.95, 0.95),
    "staged24": (0.95, 0.95),
}
LASTS = {"coincheck": 26 * 60, "zaif": 2 * HOUR, "single60": 0, "fanout": HOUR, "staged24": DAY}


def test_every_kind_is_held_here() -> None:
    """No kind of theft is without a test of its size."""
    assert set(KINDS) == {*TAKEN, "bleed_same", "bleed_rotated"}


@pytest.mark.parametrize("kind", TAKEN)
def test_a_theft_asks_for_its_share_within_its_time(kind: str) -> None:
    """The pieces add up to the share of each asset, between the first and the last allowed second."""
    low, high = TAKEN[kind]
    for seed in SEEDS:
        life = draw(WORLDS["base"], seed, 100)
        pieces = steal(kind, life, 60, 85)
        assert 60 * DAY <= pieces[0].at < 85 * DAY
        assert pieces[-1].at - pieces[0].at <= LASTS[kind]
        assets = range(len(life.assets)) if kind == "zaif" else [life.main]
        assert {p.asset for p in pieces} == set(assets)
        for asset in assets:
            asked = sum(p.size for p in pieces if p.asset == asset and p.mode != UNITS)
            assert low - 1e-9 <= asked <= high + 1e-9


@pytest.mark.parametrize("kind", TAKEN)
def test_a_theft_gets_its_share(kind: str) -> None:
    """What leaves is that share of the balance at the start; where others empty the wallet first, somewhat less."""
    low, high = TAKEN[kind]
    got = []
    for seed in SEEDS:
        life = draw(WORLDS["base"], seed, 100)
        pieces = steal(kind, life, 60, 85)
        flows = run(life, pieces, pieces[-1].at)
        stolen = flows.what == THEFT
        for asset in {p.asset for p in pieces}:
            mine = flows.asset == asset
            begin = int(np.flatnonzero(stolen & mine)[0])
            earlier = mine & (np.arange(len(mine)) < begin)
            signed = np.where(flows.out, -flows.value, flows.value)
            held = life.target[asset] + signed[earlier].sum()
            got.append(flows.value[stolen & mine].sum() / held)
    assert max(got) <= high + 1e-4  # coincheck's ten dollars come on top
    assert np.median(got) >= low - 0.02
    assert min(got) > 0.5


def test_coincheck_begins_with_ten_dollars() -> None:
    """A tiny test, then 8 to 12 payments to the same address two to eight minutes later."""
    for seed in SEEDS:
        life = draw(WORLDS["base"], seed, 100)
        first, *rest = steal("coincheck", life, 60, 85)
        assert first.mode == UNITS and first.size == 10 * life.dollar[life.main]
        assert 8 <= len(rest) <= 12
        assert 120 <= rest[0].at - first.at <= 481
        assert {p.thief for p in (first, *rest)} == {0}


def test_zaif_takes_every_asset_to_addresses_of_its_own() -> None:
    """10 to 40 payments an asset, one or two addresses each, none shared."""
    for seed in SEEDS:
        life = draw(WORLDS["base"], seed, 100)
        pieces = steal("zaif", life, 60, 85)
        for asset in range(len(life.assets)):
            mine = [p for p in pieces if p.asset == asset]
            assert 10 <= len(mine) <= 40
            assert {p.thief for p in mine} <= {2 * asset, 2 * asset + 1}


def test_a_fan_out_never_pays_an_address_twice() -> None:
    """60 to 100 addresses, one payment each."""
    for seed in SEEDS:
        pieces = steal("fanout", draw(WORLDS["base"], seed, 100), 60, 85)
        assert 60 <= len(pieces) <= 100
        assert len({p.thief for p in pieces}) == len(pieces)


@pytest.mark.parametrize(("kind", "addresses"), [("bleed_same", 1), ("bleed_rotated", None)])
def test_a_bleed_takes_three_percent_of_what_is_there_each_day(kind: str, addresses: int | None) -> None:
    """Ten days, one to three payments a day; to one address, or to a new one each time."""
    for seed in SEEDS:
        life = draw(WORLDS["base"], seed, 100)
        pieces = steal(kind, life, 60, 85)
        days = np.array([(p.at - 60 * DAY) for p in pieces])
        assert days.max() - days.min() <= 10 * DAY
        assert sum(p.size for p in pieces) == pytest.approx(0.30)
        assert 10 <= len(pieces) <= 30
        assert len({p.thief for p in pieces}) == (addresses or len(pieces))
        flows = run(life, pieces, pieces[-1].at)
        stolen = flows.value[flows.what == THEFT].sum() / life.target[life.main]
        assert 0.05 < stolen < 0.5


def test_a_theft_is_the_same_for_a_seed() -> None:
    """Equal seeds give equal thefts; kinds and seeds do not share their chance."""
    lives = [draw(WORLDS["base"], seed, 100) for seed in (1, 2)]
    assert steal("zaif", lives[0], 60, 85) == steal("zaif", lives[0], 60, 85)
    starts = {steal(kind, life, 60, 85)[0].at for kind in KINDS for life in lives}
    assert len(starts) == 2 * len(KINDS)
