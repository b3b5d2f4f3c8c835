"""The compiled first fold: exact values of decays, windows, familiarity and balances."""

from __future__ import annotations

import math
from random import Random
from typing import Any

import numpy as np
import pytest

from monitor import compiled as _compiled  # noqa: F401  (before any kernel)
from monitor.features import kernel
from monitor.features.dtypes import ASSET, DESTINATION, FEATURES
from monitor.model import Role
from monitor.parameters import parameters

RINGS = ("ring_10m", "ring_1h", "ring_6h", "ring_24h", "ring_fresh", "ring_again")
HOUR, DAY = 3600, 86400
BORN = 20_000 * DAY  # a midnight, a Friday


class Asset:
    """One asset record, one destination each by name, and the features of the last payment."""

    def __init__(self, balance: float = 1024.0, *, told: bool = True, familiar: float = 3.0) -> None:
        self.settings = parameters(Role.HOT, 1.0, {"HW-1": {"familiar": familiar}})
        self.records = np.zeros(1, ASSET)
        self.destinations: dict[str, Any] = {}
        self.features = np.zeros(1, FEATURES)
        self.clock = BORN
        kernel.start(self.a, BORN, balance)
        if told:
            kernel.tell(self.a, balance)

    @property
    def a(self) -> Any:
        return self.records[0]

    @property
    def f(self) -> Any:
        return self.features[0]

    def at(self, seconds: int) -> Asset:
        self.clock = kernel.advance(self.a, BORN + seconds)
        return self

    def pay(self, to: str, value: float, *, learn: bool = True) -> bool:
        new = to not in self.destinations
        d = self.destinations.setdefault(to, np.zeros(1, DESTINATION))[0]
        matters = kernel.outflow(self.a, d, new, value, self.clock, self.settings[0], self.f)
        if learn:
            kernel.learn_familiar(d, value / self.a["scale"])
        return bool(matters)


def test_scale_is_the_power_of_two_above_the_first_amount() -> None:
    """Amounts are kept in units of a power of two: 1e18 wei give 2^60, below one unit 2."""
    for value, scale in ((1e18, 2.0**60), (1024.0, 2048.0), (0.0, 2.0), (3.0, 4.0)):
        records = np.zeros(1, ASSET)
        kernel.start(records[0], BORN, value)
        assert records[0]["scale"] == scale


def test_typical_balance_follows_over_the_age_then_over_thirty_days() -> None:
    """An exponential average: over an hour at least, over the age, over 30 days at most."""
    item = Asset(1000.0)
    item.at(1800)
    kernel.inflow(item.a, 1000.0)
    item.at(3600)  # half an hour at 2000, window one hour
    assert item.a["typical"] == pytest.approx(1000 + 1000 * (1 - math.exp(-0.5)), rel=1e-12)
    before = float(item.a["typical"])
    item.at(2 * DAY)  # window: the age of two days
    assert item.a["typical"] == pytest.approx(before + (2000 - before) * (1 - math.exp(-47 / 48)), rel=1e-12)
    before = float(item.a["typical"])
    item.at(100 * DAY)
    assert item.a["typical"] == pytest.approx(before + (2000 - before) * (1 - math.exp(-98 / 30)), rel=1e-12)


def test_recent_peak_decays_with_48_hours_down_to_the_balance() -> None:
    """After 24 h the peak is exp(-1/2) of what it was; it is never below the balance."""
    item = Asset(1000.0)
    kernel.deduct(item.a, 900.0)
    item.at(DAY)
    assert item.a["peak"] == pytest.approx(1000 * math.exp(-0.5), rel=1e-12)
    item.at(60 * DAY)
    assert item.a["peak"] == 100.0


def test_time_never_goes_back() -> None:
    """An earlier block time changes nothing and is taken as the clock."""
    item = Asset().at(HOUR)
    before = item.records.tobytes()
    assert kernel.advance(item.a, BORN + 10) == BORN + HOUR
    assert item.records.tobytes() == before


@pytest.mark.parametrize(
    ("field", "width", "buckets"), [("u10m", 60, 10), ("u1h", 300, 12), ("u6h", 900, 24), ("u24h", 1800, 48)]
)
def test_rings_let_go_at_the_border_of_a_bucket(field: str, width: int, buckets: int) -> None:
    """A payment counts until its bucket falls out: at the last second of the tenth minute still, then no more."""
    for second in (0, 1, width - 1):
        for late, counted in ((buckets * width - 1, 64.0), (buckets * width, 0.0)):
            item = Asset(2048.0).at(width * 1000 + second)
            item.pay("x", 64.0)
            assert item.f[field] * item.a["scale"] == 64.0
            item.at(width * 1000 + late)
            item.pay("y", 32.0)
            assert item.f[field] * item.a["scale"] == counted + 32.0


def test_sums_of_the_rings_are_those_of_their_buckets() -> None:
    """What is kept beside a ring is its sum at any time, after long and short pauses and over borders of buckets."""
    rng, item, at = Random(5), Asset(2048.0), 0
    for _ in range(2000):
        at += rng.choice([0, 1, 20, 59, 60, 300, 899, 1800, 7000, 40_000, 90_000])
        item.at(at).pay(f"d{rng.randrange(12)}", 10 ** rng.uniform(-3, 2))
        for name, kept in zip(RINGS, item.a["sums"], strict=True):
            total = float(np.sum(item.a[name], dtype=np.float64))
            assert kept == pytest.approx(total, rel=1e-6, abs=1e-9), (name, at)


def test_rings_skip_what_lies_between() -> None:
    """A jump over half a window clears the buckets between and keeps the others; a jump over all clears all."""
    item = Asset(2048.0)
    for minute in range(10):
        item.at(60 * minute).pay(f"d{minute}", 1.0)
    assert item.f["u10m"] * item.a["scale"] == 10.0
    item.at(60 * 14).pay("z", 1.0)  # minutes 0 to 4 are gone, 10 to 13 had nothing
    assert item.f["u10m"] * item.a["scale"] == 6.0
    item.at(60 * 1000).pay("z", 1.0)
    assert item.f["u10m"] * item.a["scale"] == 1.0


def test_sums_of_a_destination_decay() -> None:
    """Per destination: e-fold in one hour, 24 hours and 240 hours."""
    item = Asset(2048.0)
    item.pay("x", 128.0)
    item.at(2 * HOUR).pay("x", 64.0)
    scale = item.a["scale"]
    for field, hours in (("d1", 1), ("d24", 24), ("d240", 240)):
        sums = 128 * math.exp(-2 / hours) + 64
        assert item.destinations["x"][0][field] * scale == pytest.approx(sums, rel=1e-6)  # float32
        if field != "d240":
            assert item.f[field] * scale == pytest.approx(sums, rel=1e-6)


def test_what_is_paid_again_counts_beyond_the_largest_payment() -> None:
    """Over an hour, a day and ten days: nothing for the first payment to an address, what it repeats for the next."""
    item = Asset(2048.0)
    scale = item.a["scale"]
    item.pay("x", 64.0)
    assert (item.f["again1"], item.f["again24"], item.f["again240"]) == (0.0, 0.0, 0.0)
    item.pay("x", 32.0)
    assert [item.f[name] * scale for name in ("again1", "again24", "again240")] == [32.0, 32.0, 32.0]
    item.pay("x", 128.0)  # a new largest one: what it repeats is the former largest
    assert [item.f[name] * scale for name in ("again1", "again24", "again240")] == [96.0, 96.0, 96.0]
    item.pay("y", 16.0)  # another customer: his own sums begin, the day's total over all addresses stays
    assert [item.f[name] * scale for name in ("again1", "again24", "again240")] == [0.0, 96.0, 0.0]
    item.at(DAY).pay("x", 1.0)
    assert item.f["again24"] * scale == 1.0  # the day before is gone, 1 repeats yesterday's
    assert item.f["again240"] * scale == pytest.approx(224 * math.exp(-0.1) + 1 - 128, rel=1e-6)


def test_what_is_paid_again_forgets_the_learned_part_with_age() -> None:
    """Below seven (a day) and fourteen days of age (ten days) whole payments add up, after that their novel part."""
    item = Asset(2048.0).at(7 * DAY)
    scale = item.a["scale"]
    item.pay("x", 64.0)
    item.at(14 * DAY - 1).pay("x", 64.0)
    assert item.f["again24"] * scale == 64.0 and item.f["novel"] == 0.0
    item.at(14 * DAY).pay("x", 64.0)
    assert item.f["again24"] * scale == 64.0 and item.f["again240"] > 0.0  # nothing was added to the day
    item.at(80 * DAY)
    assert not item.pay("x", 64.0) and not item.pay("x", 192.0)
    assert item.pay("x", 200.0) and item.f["novel"] * scale == 8.0
    assert item.f["again24"] * scale == 8.0 and item.f["again240"] == 0.0


def test_an_address_seen_in_the_first_week_may_be_an_old_one() -> None:
    """While the record is young, nobody knows how long an address has been paid: only its novel part adds up."""
    for first, counted in ((7 * DAY - 1, 0.0), (7 * DAY, 64.0)):
        item = Asset(2048.0).at(first)
        item.pay("x", 64.0)
        item.at(first + 3 * DAY).pay("x", 64.0)
        assert item.destinations["x"]["d240"][0] * item.a["scale"] == pytest.approx(64 * math.exp(-0.3) + counted)


def test_fresh_outflow_is_that_to_addresses_first_paid_within_a_day() -> None:
    """Within the hour, novel payments to addresses younger than a day; what goes to older ones is not in it."""
    item = Asset(2048.0)
    scale = item.a["scale"]
    item.pay("old", 1.0)
    item.at(DAY - 1).pay("old", 128.0)
    assert item.f["fresh"] * scale == 128.0 and item.f["u1h"] * scale == 128.0
    item.at(DAY).pay("old", 64.0)
    assert item.f["fresh"] * scale == 128.0 and item.f["u1h"] * scale == 192.0
    item.pay("new", 32.0)
    assert item.f["fresh"] * scale == 160.0
    item.at(DAY + HOUR).pay("new", 2.0)
    assert item.f["fresh"] * scale == 2.0


@pytest.mark.parametrize(("familiar", "novel"), [(0.0, 100.0), (3.0, 70.0), (10.0, 0.0)])
def test_how_much_is_familiar_can_be_set(familiar: float, novel: float) -> None:
    """The factor on the largest amount before yesterday is the wallet's own parameter."""
    item = Asset(2048.0, familiar=familiar)
    item.pay("x", 10.0)
    item.at(20 * DAY).pay("x", 100.0)
    assert (item.f["novel"] * item.a["scale"] if novel else 0.0) == novel


def test_familiar_is_what_came_before_yesterday() -> None:
    """A destination is familiar up to three times its largest amount before yesterday: grooming needs two midnights."""
    item = Asset(2048.0)
    scale = item.a["scale"]
    item.at(12 * HOUR).pay("x", 10.0)
    item.at(DAY + 12 * HOUR).pay("x", 50.0)
    assert item.f["novel"] * scale == 50.0  # yesterday's 10 does not count yet
    item.at(2 * DAY).pay("x", 50.0)
    assert item.f["novel"] * scale == 50.0 - 3 * 10.0
    item.at(3 * DAY).pay("x", 151.0)
    assert item.f["novel"] * scale == 1.0  # 50 was paid before yesterday
    item.at(9 * DAY).pay("x", 500.0)
    assert item.f["novel"] * scale == 500.0 - 3 * 151.0


def test_what_is_not_learned_makes_nothing_familiar() -> None:
    """Payments that were kept from learning leave the destination as strange as before."""
    item = Asset(2048.0)
    item.pay("x", 10.0, learn=False)
    item.at(5 * DAY).pay("x", 10.0)
    assert item.f["novel"] * item.a["scale"] == 10.0


def test_a_payment_within_the_familiar_does_not_matter() -> None:
    """Of an old destination, what is within its usual amount is no evidence; of a young one the whole counts."""
    item = Asset(2048.0).at(7 * DAY)
    item.pay("x", 100.0)
    assert item.at(9 * DAY).pay("x", 200.0)  # younger than 14 days: adds up over ten days
    assert item.f["novel"] == 0.0 and item.f["d24"] * item.a["scale"] == pytest.approx(200 + 100 * math.exp(-2))
    item.at(80 * DAY)
    assert not item.pay("x", 200.0)
    assert item.pay("x", 700.0)
    assert item.f["novel"] * item.a["scale"] == 700.0 - 600.0


def test_a_suspect_is_never_familiar() -> None:
    """Payments to a suspect are novel wholly, and are not taken for the usual level of an hour."""
    item = Asset(2048.0)
    item.pay("x", 100.0)
    before = float(item.a["hour_novel"])
    item.at(3 * DAY)
    item.destinations["x"][0]["flags"] = kernel.SUSPECT
    assert item.pay("x", 100.0)
    assert item.f["novel"] * item.a["scale"] == 100.0 and item.f["suspect"] == 1
    assert before > 0.0 and item.a["hour_novel"] == 0.0


def test_a_balance_that_was_guessed_is_lifted_by_what_it_lacks() -> None:
    """Paying more than is known shows that there was more: balance 0, typical and peak lifted by the lack."""
    item = Asset(100.0, told=False)
    kernel.inflow(item.a, 100.0)
    kernel.deduct(item.a, 250.0)
    a = item.a
    assert (a["balance"], a["typical"], a["peak"], a["largest"], a["known"]) == (0.0, 250.0, 250.0, 250.0, 0)


def test_a_told_balance_is_taken_over() -> None:
    """Told at once: typical is it; told later for a guess: typical shifts with it; told again: only the balance."""
    item = Asset(500.0, told=True)
    assert (item.a["balance"], item.a["typical"], item.a["known"]) == (500.0, 500.0, 1)
    guessed = Asset(100.0, told=False)
    kernel.inflow(guessed.a, 100.0)
    guessed.at(HOUR)
    kernel.tell(guessed.a, 700.0)
    assert (guessed.a["balance"], guessed.a["typical"], guessed.a["peak"]) == (700.0, 700.0, 700.0)
    kernel.tell(guessed.a, 300.0)
    assert (guessed.a["balance"], guessed.a["typical"], guessed.a["largest"]) == (300.0, 700.0, 700.0)


def test_a_tiny_first_payment_is_a_probe_for_six_hours() -> None:
    """A first payment below 1e-4 of the typical balance, then one above 1e-3 within six hours."""
    for seconds, seen in ((6 * HOUR, 6.0 * HOUR), (6 * HOUR + 1, -1.0)):
        item = Asset(1e6)
        item.pay("x", 99.0)
        item.at(seconds).pay("x", 1500.0)
        assert item.f["probe"] == seen
    small = Asset(1e6)
    small.pay("x", 99.0)
    small.at(60).pay("x", 900.0)
    assert small.f["probe"] == -1.0
    plain = Asset(1e6)
    plain.pay("x", 101.0)
    plain.at(60).pay("x", 5000.0)
    assert plain.f["probe"] == -1.0


def test_share_is_of_what_was_there() -> None:
    """A quarter of the balance to a new address is a share of a quarter, the second one of a half."""
    item = Asset(1024.0)
    item.pay("x", 256.0)
    assert item.f["share"] == 0.25 and item.f["balance"] * item.a["scale"] == 768.0
    item.at(60).pay("x", 256.0)
    assert item.f["share"] == 512 / item.f["typical"] / item.a["scale"] == pytest.approx(0.5, rel=0.01)


def test_what_strangers_send_makes_no_payment_look_smaller() -> None:
    """Nothing beyond the typical balance counts as there, and a known wallet's grows with 1.25 of it at most."""
    item = Asset(1024.0).at(40 * DAY)
    kernel.inflow(item.a, 4096.0)
    item.pay("x", 256.0)
    assert item.f["share"] == pytest.approx(0.25) and item.f["typical"] * item.a["scale"] == pytest.approx(1024.0)
    item.at(47 * DAY)
    assert item.a["typical"] == pytest.approx(1024 * (1 + 0.25 * (1 - math.exp(-7 / 30))), rel=0.01)
    young = Asset(1024.0).at(20 * DAY)
    kernel.inflow(young.a, 4096.0)
    young.at(27 * DAY)
    assert young.a["typical"] > 1.5 * 1024  # what a young record holds is what is typical


def test_season_needs_a_fortnight() -> None:
    """The usual level of the hour counts from the fifteenth day on, and stays between 0.3 and 4."""
    item = Asset(1024.0)
    assert kernel.season(item.a, BORN + 14 * DAY - 1) == 1.0
    assert kernel.season(item.a, BORN + 14 * DAY) == pytest.approx(1.0)
    item.a["by_hour"][:] = 0.0
    item.a["by_hour"][5] = 1.0
    assert kernel.season(item.a, BORN + 20 * DAY) == pytest.approx(0.3)
    assert kernel.season(item.a, BORN + 20 * DAY + 5 * HOUR) == 4.0
