"""Every detector through both folds: rows in, evidence and hits out; where it speaks, where not, its look-alike.

A term is measured as the difference that it makes: the score of one payment with the detector and without it, on two
copies of the same state. So no test knows the priors.
"""

from __future__ import annotations

import copy
import functools
from typing import Any

import numpy as np
import pytest

from monitor import fusion
from monitor.detectors import DETECTORS, Evidence
from monitor.detectors.hw2 import LOG_RARE
from monitor.features.dtypes import STATISTICS
from monitor.fold import GUARD_BIT
from monitor.model import Role
from monitor.parameters import parameters
from monitor.rows import (
    BAD,
    EXCHANGE,
    FOREIGN,
    IN,
    KIND_SHIFT,
    NATIVE,
    OUT,
    SERVICE,
    SPEND,
    TELL,
    TOUCH,
    TRUSTED,
    RowBuilder,
    pack_marks,
)
from monitor.state import EngineState, asset_key

MINUTE, HOUR, DAY = 60, 3600, 86400
BORN = 20_000 * DAY
NOW = 40 * DAY  # seconds after the first flow at which tests begin
HELD = 1e20
OUR, USD = "c:1/coin", "c:1/usd"
THIEF = 999
GWEI = 1e9


def marks(fee: float | None = 60 * GWEI, gas: int | None = 21_000, nonce: int | None = None) -> int:
    return pack_marks(fee, gas, None, None, None, nonce)


class Watched:
    """One wallet with some assets, each of which holds `HELD` when it begins."""

    def __init__(self, role: Role = Role.HOT, settings: dict[str, dict[str, Any]] | None = None) -> None:
        self.state = EngineState()
        self.role, self.settings = role, settings or {}
        self.place = self.state.wallet("w", "c:1", parameters(role, 1.0, self.settings))

    def row(
        self, at: int, op: int, share: float, key: int = 0, flags: int = 0, look: int = 0, *, asset: str = OUR
    ) -> Any:
        """Fold one row; its hit (of any kind), or None."""
        builder = RowBuilder()
        slot = self.state.asset("w", "c:1", asset)
        if op == TOUCH:
            builder.add(-1, self.place, BORN + at, TOUCH, 0.0, key, 0, asset_key(asset))
        elif slot < 0:
            slot = self.state.add_asset("w", "c:1", asset)
            builder.add(slot, self.place, BORN + at, TELL, HELD)
        if op != TOUCH:
            builder.add(slot, self.place, BORN + at, op, share * HELD, key, flags, look)
        hits, _ = self.state.fold(builder.build())
        return hits[0] if len(hits) else None

    def pay(self, at: int, share: float, key: int, flags: int = 0, look: int = 0, **more: Any) -> Any:
        """A payment of a share of `HELD`; its hit where it fired."""
        hit = self.row(at, OUT, share, key, flags, look, **more)
        return hit if hit is not None and hit["kind"] == 1 else None

    def seen(self, at: int, share: float, key: int, *more: Any, **named: Any) -> Any:
        """What a payment on a copy of this state shows: its hit with every threshold taken away."""
        other = copy.deepcopy(self)
        other.row(at, SPEND, 0.0)  # the clock comes first: thresholds are set at midnight
        wallet = other.state._fusions[other.place]
        wallet["tau"][:], wallet["warm_from"] = -1000.0, 0
        hit = other.pay(at, share, key, *more, **named)
        assert hit is not None
        return hit

    def term(self, detector: str, at: int, share: float, key: int, *more: Any, **named: Any) -> float:
        """What a detector adds to the fast score of a payment."""
        other = copy.deepcopy(self)
        other.state.wallet("w", "c:1", parameters(self.role, 1.0, {**self.settings, detector: {"enabled": False}}))
        plain = self.seen(at, share, key, *more, **named)["score"][0]
        return round(float(plain - other.seen(at, share, key, *more, **named)["score"][0]), 9)

    def default(self, field: str) -> float:
        """A field of this wallet's settings."""
        return float(self.state._settings[self.place][field])


@functools.cache
def _settled(role: Role, look: bool) -> Watched:
    wallet = Watched(role)
    wallet.row(0, TELL, 1.0)
    n = 0
    for day in range(NOW // DAY):
        for k in range(5):
            at = day * DAY + k * 4 * HOUR
            seen = marks((50 + 20 * (n * 7 % 11) / 10) * GWEI, nonce=n) if look else 0
            wallet.row(at, OUT, 0.004, 1 + (day + k) % 6, 0, seen)
            wallet.row(at + MINUTE, IN, 0.004)
            n += 1
    return wallet


def settled(role: Role = Role.HOT, *, look: bool = False) -> Watched:
    """Forty days of small payments to six customers, the last one seven hours ago; 200 payments in all."""
    return copy.deepcopy(_settled(role, look))


def x(hit: Any, name: str) -> float:
    return float(hit["x"][STATISTICS.index(name)])


def test_every_detector_has_a_test_here() -> None:
    """A new detector comes with its cases."""
    named = " ".join(name for name in globals() if name.startswith("test_")).replace("_", "-").upper()
    for detector in DETECTORS:
        assert f"TEST-{detector.id}-" in named, detector.id


# -- statistics -------------------------------------------------------------------------------------------------------


def test_hw_1_one_large_payment_to_an_unfamiliar_address() -> None:
    """A fifth to a new address fires and is seen as a fifth; an ordinary one does not; a familiar amount is nothing."""
    hit = settled().pay(NOW, 0.2, THIEF)
    assert hit["fired"] & 1 and x(hit, "single") == pytest.approx(np.log10(0.2), abs=0.01)
    assert settled().pay(NOW, 0.004, THIEF) is None
    known = settled()
    known.row(NOW, OUT, 0.1, 7, TRUSTED)
    known.state.clear_suspect("w", "c:1", 1, {OUR: 0.07 * HELD})  # a person said that 7 % to customer 1 is ordinary
    assert known.pay(NOW + DAY, 0.2, 1) is None and known.pay(NOW + DAY, 0.2, 2) is not None


def test_hw_2_payments_adding_up_at_one_address() -> None:
    """Five pieces within eight minutes: the sum and what was repeated; one piece and five customers are less."""
    theft, once, many = settled(), settled(), settled()
    for n in range(4):
        theft.row(NOW + 2 * MINUTE * n, OUT, 0.004, THIEF)
        many.row(NOW + 2 * MINUTE * n, OUT, 0.004, 1000 + n)
    hits = [one.seen(NOW + 8 * MINUTE, 0.006, THIEF) for one in (theft, once, many)]
    assert [x(hit, "single") for hit in hits] == pytest.approx([np.log10(0.006)] * 3, abs=0.02)
    assert x(hits[0], "dest_1h") == pytest.approx(np.log10(0.022), abs=0.05)
    assert x(hits[0], "again_1h") == pytest.approx(np.log10(0.016), abs=0.08)
    for hit in hits[1:]:
        assert x(hit, "dest_1h") == pytest.approx(np.log10(0.006), abs=0.02)
        assert x(hit, "again_1h") == x(hit, "again_24h") == x(hit, "again_10d") == LOG_RARE


def test_hw_2_a_bleed_to_one_address_over_days() -> None:
    """A hundredth and a half a day to the same address adds up over ten days; to a new one each day it does not."""
    same, new = settled(), settled()
    for day in range(6):
        same.row(NOW + day * DAY, OUT, 0.015, THIEF)
        new.row(NOW + day * DAY, OUT, 0.015, 1000 + day)
    one, other = same.seen(NOW + 6 * DAY, 0.015, THIEF), new.seen(NOW + 6 * DAY, 0.015, 2000)
    sums = sum(0.015 * np.exp(-day / 10) for day in range(7))
    assert x(one, "again_10d") == pytest.approx(np.log10(sums - 0.015), abs=0.05)
    assert x(other, "again_10d") == LOG_RARE and one["score"][2] > other["score"][2] + 0.3
    assert x(one, "again_1h") == x(other, "again_1h") == LOG_RARE


def test_hw_3_much_to_many_addresses() -> None:
    """Thirty new addresses within ten minutes fire, one does not; thirty payments to familiar customers are nothing."""
    theft = settled()
    fired = [theft.pay(NOW + 20 * n, 0.0045, 1000 + n) is not None for n in range(30)]
    assert not fired[0] and fired[-1]
    hit = theft.seen(NOW + 11 * MINUTE, 0.0045, 5000)
    one = settled().seen(NOW + 11 * MINUTE, 0.0051, 5000)  # the level of the hour is in both
    assert x(hit, "total_1h") - x(one, "total_1h") == pytest.approx(np.log10(31 * 0.0045 / 0.0051), abs=0.03)
    assert x(hit, "total_6h") == pytest.approx(np.log10(31 * 0.0045), abs=0.02)
    assert x(hit, "total_10m") < x(hit, "total_1h") - 0.01  # the first of them are eleven minutes old
    assert x(hit, "fresh_1h") == pytest.approx(x(hit, "total_1h"), abs=1e-6)  # all of them are fresh
    customers = settled()
    assert not any(customers.pay(NOW + 20 * n, 0.008, 1 + n % 6) for n in range(30))


def test_hw_3_old_addresses_are_not_fresh() -> None:
    """Larger payments than usual to addresses known for days are novel, yet not fresh."""
    known = settled()
    for n in range(5):
        known.row(NOW, OUT, 1e-6, 1000 + n)
    for n in range(5):
        known.row(NOW + 5 * DAY + n, OUT, 0.01, 1000 + n)
    hit = known.seen(NOW + 5 * DAY + 60, 0.01, THIEF)
    assert x(hit, "total_1h") - x(hit, "fresh_1h") == pytest.approx(np.log10(6), abs=0.01)


# -- context ----------------------------------------------------------------------------------------------------------


def test_hw_4_the_wallet_is_being_emptied() -> None:
    """Less than 10 % left, less than a quarter, more; and a wallet that ran dry over a week before its refill."""
    one = settled()
    most, much = one.default("drain_most"), one.default("drain_much")
    assert one.term("HW-4", NOW, 0.92, THIEF) == most > much > 0
    assert one.term("HW-4", NOW, 0.80, THIEF) == much
    assert one.term("HW-4", NOW, 0.70, THIEF) == 0.0
    dry = settled()
    for n in range(90):
        dry.row(NOW + n * 4 * HOUR, OUT, 0.0099, 1 + n % 6, TRUSTED)
    assert dry.term("HW-4", NOW + 20 * DAY, 0.009, THIEF) == 0.0  # a twelfth of a twelfth is left, and little moved


def test_hw_5_a_tiny_payment_came_first() -> None:
    """A test payment within six hours adds, an ordinary first payment or a test long ago does not."""
    probed, plain, late = settled(), settled(), settled()
    for one, at, share in ((probed, NOW, 1e-5), (plain, NOW, 0.001), (late, NOW - 6 * HOUR - 1, 1e-5)):
        one.row(at, OUT, share, THIEF)
    terms = [one.term("HW-5", NOW + 60, 0.1, THIEF) for one in (probed, plain, late)]
    assert terms == [probed.default("probe"), 0.0, 0.0] and terms[0] > 0
    mine = settled(Role.PERSONAL)
    mine.row(NOW, OUT, 1e-5, THIEF)
    assert mine.term("HW-5", NOW + 60, 0.1, THIEF) == mine.default("probe") < 0  # owners test their payments


def test_hw_6_several_assets_at_once() -> None:
    """Each other asset with evidence within two hours adds, three no more than two; ordinary payments add nothing."""
    for others in range(4):
        one = settled()
        for n in range(others):
            one.row(NOW + n, OUT, 0.5, THIEF, asset=f"c:1/token{n}")
        expected = min(one.default("others_most"), others * one.default("others"))
        assert one.term("HW-6", NOW + HOUR, 0.1, THIEF) == pytest.approx(expected)
        assert one.term("HW-6", NOW + HOUR, 0.01, 3000) == 0.0  # too little moved
        assert one.term("HW-6", NOW + 2 * HOUR + 3, 0.1, THIEF) == 0.0
    calm = settled()
    for at in (NOW, NOW + 3 * DAY):  # the second is as usual for that customer
        calm.row(at, OUT, 0.001, 5, asset=USD)
    calm.row(NOW + 3 * DAY, OUT, 0.5, 5, TRUSTED, asset="c:1/token")
    assert calm.term("HW-6", NOW + 3 * DAY + HOUR, 0.1, THIEF) == 0.0


def test_hw_7_the_transaction_looks_unlike_the_wallet_s_own() -> None:
    """After 200 payments at 50 to 70 gwei one at 500 adds 0.3 or more, one at 65 nothing, one without marks nothing."""
    one = settled(look=True)
    assert one.term("HW-7", NOW, 0.2, THIEF, 0, marks(500 * GWEI, nonce=200)) >= 0.3
    assert one.term("HW-7", NOW, 0.2, THIEF, 0, marks(65 * GWEI, nonce=200)) == 0.0
    assert one.term("HW-7", NOW, 0.2, THIEF, 0, 0) == 0.0
    assert one.term("HW-7", NOW, 0.2, THIEF, 0, marks(None, None)) == 0.0
    gap = marks(60 * GWEI, nonce=5000)
    assert one.term("HW-7", NOW, 0.2, THIEF, 0, gap) >= 0.3
    both = marks(500 * GWEI, 900_000, 5000)
    assert one.term("HW-7", NOW, 0.2, THIEF, 0, both) == one.default("odd_most")
    assert one.term("HW-7", NOW, 0.02, THIEF, 0, both) == 0.0  # too little moved
    assert settled().term("HW-7", NOW, 0.2, THIEF, 0, both) == 0.0  # a wallet whose look nobody told


def test_hw_7_says_nothing_before_fifty_payments() -> None:
    """A field is compared once fifty payments showed it."""
    for count, spoken in ((49, False), (50, True)):
        one = Watched()
        for n in range(count):
            one.row(n * HOUR, OUT, 0.001, 1 + n % 5, 0, marks(60 * GWEI, None, n))
        assert (one.term("HW-7", 3 * DAY, 0.2, THIEF, 0, marks(500 * GWEI)) > 0.0) == spoken


def test_hw_7_a_lasting_change_becomes_usual() -> None:
    """Look-alike: new software with another gas limit is odd at first and no more after some twenty payments."""
    one = settled(look=True)
    terms = []
    for n in range(30):
        look = marks(60 * GWEI, 900_000, 200 + n)
        terms.append(one.term("HW-7", NOW + n * HOUR, 0.1, 5000, 0, look))
        one.row(NOW + n * HOUR, OUT, 0.002, 1 + n % 6, 0, look)
    assert terms[0] >= 0.3 and terms[20] < 0.15 and terms[29] < 0.1


def test_hw_7_a_theft_teaches_nothing() -> None:
    """Payments that fire are not learned: the thief's look stays odd, however often he pays."""
    one = settled(look=True)
    look = marks(500 * GWEI, 900_000)
    first = one.term("HW-7", NOW, 0.1, THIEF, 0, look)
    assert one.pay(NOW, 0.2, THIEF, 0, look) is not None
    for n in range(40):
        one.row(NOW + n, OUT, 0.01, THIEF, 0, look)
    assert one.term("HW-7", NOW + HOUR, 0.05, THIEF, 0, look) == first > 0


@pytest.mark.parametrize("role", [Role.HOT, Role.PERSONAL])
def test_hw_8_what_labels_say(role: Role) -> None:
    """Known bad, services and exchanges have a weight each; no label has none, nor a payment that is small."""
    one = settled(role)
    for kind, field in ((BAD, "bad"), (SERVICE, "service"), (EXCHANGE, "exchange"), (0, "")):
        expected = one.default(field) if field else 0.0
        assert one.term("HW-8", NOW, 0.1, THIEF, kind << KIND_SHIFT) == pytest.approx(expected)
        assert one.term("HW-8", NOW, 0.02, THIEF, kind << KIND_SHIFT) == 0.0
    assert one.default("bad") > 0 > one.default("exchange")


def sweep(one: Watched, gap: int, *, touches: tuple[int, ...] = (1, 3), begin: int = NOW) -> float:
    """Four assets to one address, some in calls without coins, then the fifth: what SWEEP adds."""
    for n in range(4):
        op = TOUCH if n in touches else OUT
        one.row(begin + gap * n, op, 0.3, THIEF, asset=f"c:1/token{n}")
    return one.term("SWEEP", begin + gap * 4, 0.3, THIEF)


def test_sweep_many_assets_to_one_fresh_address() -> None:
    """Five within ten minutes count from the third on, calls without value among them; over an hour none do."""
    one = settled()
    most, each = one.default("swept_most"), one.default("swept")
    assert sweep(settled(), 2 * MINUTE) == pytest.approx(min(most, 3 * each)) and most >= 2 * each > 0
    assert sweep(settled(), 2 * MINUTE, touches=()) == pytest.approx(min(most, 3 * each))
    assert sweep(settled(), 2 * MINUTE, touches=(0, 1, 2, 3)) == pytest.approx(min(most, 3 * each))
    assert sweep(settled(), 15 * MINUTE) == 0.0


def test_sweep_of_two_assets_or_to_an_old_address_is_none() -> None:
    """Two assets are no sweep, nor five to an address that had this one before; one asset five times is one."""
    two, same, known = settled(), settled(), settled()
    two.row(NOW, OUT, 0.3, THIEF, asset=USD)
    assert two.term("SWEEP", NOW + 60, 0.3, THIEF) == 0.0
    for n in range(5):
        same.row(NOW + n, OUT, 0.01, THIEF)
    assert same.term("SWEEP", NOW + 60, 0.3, THIEF) == 0.0
    known.row(NOW, OUT, 0.001, THIEF)
    assert sweep(known, MINUTE, begin=NOW + DAY) == 0.0 and sweep(settled(), MINUTE, begin=NOW + DAY) > 0.0
    spread = settled()
    for n in range(5):
        spread.row(NOW + n, OUT, 0.3, 4000 + n, asset=f"c:1/token{n}")
    assert spread.term("SWEEP", NOW + 60, 0.3, THIEF) == 0.0  # a new address each: HW-6


# -- personal wallets -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("detector", [d.id for d in DETECTORS if d.id.startswith("PW-")])
def test_pw_signs_are_those_of_personal_wallets(detector: str) -> None:
    """In a hot wallet none of them counts, unless its owner sets a weight."""
    for role, counts in ((Role.HOT, False), (Role.PERSONAL, True)):
        terms = []
        for at, flags in ((NOW, FOREIGN), (NOW + 100 * DAY, FOREIGN)):
            one = settled(role)
            one.row(at, IN, 0.1, 777, NATIVE)
            one.row(at, OUT, 0.8, 888)
            terms.append(one.term(detector, at, 0.2, THIEF, flags))
            terms.append(settled(role).term(detector, NOW + 100 * DAY, 0.99, THIEF))
        assert any(terms) == counts, (role, terms)


def test_pw_1_an_address_that_was_never_paid() -> None:
    """Fresh for a day; then nothing, and from a week on it is a known one."""
    one = settled(Role.PERSONAL)
    one.row(NOW, OUT, 0.001, 21)
    fresh, known = one.default("fresh"), one.default("known")
    ages = (0, DAY - 5, DAY, 7 * DAY - 5, 7 * DAY)
    assert [one.term("PW-1", NOW + age, 0.1, 21) for age in ages] == [fresh, fresh, 0.0, 0.0, known]
    assert one.term("PW-1", NOW + 7 * DAY, 0.1, THIEF) == fresh
    assert fresh > 0 >= known


def test_pw_2_nearly_everything_goes() -> None:
    """Under 5 % left adds, 6 % does not; each other asset of which a tenth went adds too, up to a limit."""
    one = settled(Role.PERSONAL)
    assert one.term("PW-2", NOW, 0.96, THIEF) == one.default("drained") > 0
    assert one.term("PW-2", NOW, 0.94, THIEF) == 0.0
    for others in range(5):
        one = settled(Role.PERSONAL)
        for n in range(others):
            one.row(NOW + n, OUT, 0.2, THIEF, asset=f"c:1/token{n}")
            one.row(NOW + n, OUT, 0.05, THIEF, asset=f"c:1/small{n}")  # look-alike: a small part of it
        expected = min(one.default("further_most"), others * one.default("further"))
        assert one.term("PW-2", NOW + HOUR, 0.3, THIEF) == pytest.approx(expected)
        assert one.term("PW-2", NOW + 2 * HOUR + 9, 0.3, THIEF) == 0.0


def test_pw_3_another_account_signed() -> None:
    """Coins that a stranger's transaction moves; not those of the owner's own."""
    one = settled(Role.PERSONAL)
    assert one.term("PW-3", NOW, 0.2, THIEF, FOREIGN) == one.default("foreign") > 0
    assert one.term("PW-3", NOW, 0.2, THIEF) == 0.0
    assert one.seen(NOW, 0.2, THIEF, FOREIGN)["foreign"] == 1


@pytest.mark.parametrize(
    ("first", "second", "splits"),
    [
        (80, 20, True), (20, 80, True), (75, 25, True), (70, 30, True), (80.9, 19.1, True), (81.2, 18.8, False),
        (50, 50, False), (60, 40, False), (90, 10, False), (77.5, 22.5, False),
    ],
)  # fmt: skip
def test_pw_4_a_split_between_two(first: float, second: float, splits: bool) -> None:
    """Two payments of one asset at one moment in a known proportion, in any order; other proportions are bills."""
    one = settled(Role.PERSONAL)
    one.row(NOW, OUT, first / 250, THIEF)
    assert one.term("PW-4", NOW, second / 250, 888) == (one.default("split") if splits else 0.0)
    assert one.default("split") > 0


def test_pw_4_look_alikes_are_no_splits() -> None:
    """80 and 20 of two assets, a second apart, or of which one was expected."""
    other, late, expected = (settled(Role.PERSONAL) for _ in range(3))
    other.row(NOW, OUT, 0.32, THIEF, asset=USD)
    late.row(NOW - 1, OUT, 0.32, THIEF)
    expected.row(NOW, OUT, 0.32, THIEF, TRUSTED)
    assert [one.term("PW-4", NOW, 0.08, 888) for one in (other, late, expected)] == [0.0] * 3
    between = settled(Role.PERSONAL)  # expected coins between the two parts change nothing
    between.row(NOW, OUT, 0.32, THIEF)
    between.row(NOW, OUT, 0.01, 5, TRUSTED)
    between.row(NOW, SPEND, 0.0001)
    assert between.term("PW-4", NOW, 0.08, 888) == between.default("split")
    before = settled(Role.PERSONAL)
    before.row(NOW - 60, OUT, 0.32, THIEF)
    before.row(NOW, OUT, 0.01, 5, TRUSTED)  # expected coins in this moment do not revive the payment before
    assert before.term("PW-4", NOW, 0.08, 888) == 0.0


def test_pw_7_a_dormant_wallet_awakes() -> None:
    """Ninety days without a payment add, 180 twice as much where a fifth moves; a wallet's first payment adds none."""
    last = NOW - 8 * HOUR  # of `settled`
    one = settled(Role.PERSONAL)
    weight = one.default("dormant")
    assert one.seen(last + 90 * DAY, 0.3, THIEF)["idle"] == 90 * DAY
    assert one.term("PW-7", last + 90 * DAY, 0.3, THIEF) == 0.0
    assert one.term("PW-7", last + 90 * DAY + 1, 0.3, THIEF) == weight > 0
    assert one.term("PW-7", last + 180 * DAY + 1, 0.3, THIEF) == 2 * weight
    assert one.term("PW-7", last + 180 * DAY + 1, 0.1, THIEF) == weight
    young = Watched(Role.PERSONAL)
    young.row(0, TELL, 1.0)
    assert young.seen(200 * DAY, 0.3, THIEF)["idle"] == -1.0 and young.term("PW-7", 200 * DAY, 0.3, THIEF) == 0.0


def test_pw_7_expected_payments_are_a_sign_of_life() -> None:
    """Look-alike: the owner pays trusted addresses all the time; arrivals, fees and calls wake nobody."""
    used, still = settled(Role.PERSONAL), settled(Role.PERSONAL)
    used.row(NOW + 90 * DAY, OUT, 0.01, 5, TRUSTED)
    for op, key in ((IN, 5), (SPEND, 0), (TOUCH, 5)):
        still.row(NOW + 90 * DAY, op, 0.01, key)
    at = NOW + 100 * DAY
    assert used.seen(at, 0.1, THIEF)["idle"] == 10 * DAY and used.term("PW-7", at, 0.1, THIEF) == 0.0
    assert still.term("PW-7", at, 0.1, THIEF) == still.default("dormant")


def test_pw_9_a_stranger_paid_for_the_fees() -> None:
    """Native coins of an address that was never paid count for half an hour; of a customer's, and tokens, never."""
    one = settled(Role.PERSONAL)
    one.row(NOW, IN, 0.001, 777, NATIVE)
    assert one.term("PW-9", NOW + 30 * MINUTE, 0.2, THIEF, asset=USD) == one.default("topup") > 0
    assert one.seen(NOW + 600, 0.2, THIEF, asset=USD)["topup"] == 600
    assert one.term("PW-9", NOW + 30 * MINUTE + 1, 0.2, THIEF, asset=USD) == 0.0
    known, tokens = settled(Role.PERSONAL), settled(Role.PERSONAL)
    known.row(NOW, IN, 0.001, 1, NATIVE)
    tokens.row(NOW, IN, 0.001, 777, 0, asset=USD)
    assert [item.term("PW-9", NOW + 60, 0.2, THIEF) for item in (known, tokens)] == [0.0, 0.0]


# -- the guard rail, and the wallet as a whole ------------------------------------------------------------------------


def test_guard_a_large_part_within_an_hour() -> None:
    """Its share to one address or to all fires on the first day; a little less, or the same over a day, does not."""
    one = Watched()
    one.row(0, TELL, 1.0)
    to_one, to_all = one.default("to_one"), one.default("to_all")
    assert copy.deepcopy(one).pay(60, to_one + 0.01, THIEF)["fired"] == GUARD_BIT
    assert copy.deepcopy(one).pay(60, to_one - 0.01, THIEF) is None
    many, slow = copy.deepcopy(one), copy.deepcopy(one)
    part = to_one * 0.47
    count = int(to_all / part) + 1
    assert [many.pay(60 + n, part, 100 + n) is not None for n in range(count)] == [False] * (count - 1) + [True]
    assert not any(slow.pay(60 + 3 * HOUR * n, part / 1.6, 100 + n) for n in range(count))


def test_guard_can_be_set_and_put_out_of_reach() -> None:
    """A wallet's own shares hold; disabled it never fires; a factor for calm payments of personal wallets."""
    for settings, fires in (
        ({"to_one": 0.9, "to_all": 1.0}, (False, True)), ({"enabled": False}, (False, False)), ({}, (True, True)),
    ):  # fmt: skip
        found = []
        for share in (0.5, 0.95):
            one = Watched(Role.HOT, {"GUARD": settings})
            one.row(0, TELL, 1.0)
            found.append(one.pay(60, share, THIEF) is not None)
        assert tuple(found) == fires, settings
    alone, signed = Watched(Role.PERSONAL, {"GUARD": {"calm": 0}}), Watched(Role.PERSONAL, {"GUARD": {"calm": 0}})
    for one in (alone, signed):
        one.row(0, TELL, 1.0)
    assert alone.pay(60, 0.95, THIEF) is None and signed.pay(60, 0.95, THIEF, FOREIGN)["fired"] == GUARD_BIT


def test_fusion_floor_and_warm_up() -> None:
    """Below the floor nothing is looked at; before the warm-up is over the statistics are silent."""
    for floor, fires in ((0.005, True), (0.15, False)):
        one = Watched(Role.HOT, {"FUSION": {"floor": floor, "warm_up_days": 0}})
        one.row(0, TELL, 1.0)
        one.state._fusions[one.place]["tau"][:] = -1000.0
        assert (one.pay(60, 0.1, THIEF) is not None) == fires
    for warm, day, fires in ((1.0, 0.9, False), (1.0, 1.0, True), (30.0, 29.9, False), (30.0, 30.0, True)):
        one = Watched(Role.HOT, {"FUSION": {"warm_up_days": warm}})
        one.row(0, TELL, 1.0)
        at = int(day * DAY)
        one.row(at, SPEND, 0.0)
        one.state._fusions[one.place]["tau"][:] = -1000.0
        hit = one.pay(at, 0.1, THIEF)
        assert (hit is not None) == fires and (hit is None or hit["warm"] == 1)


def test_fusion_needs_more_than_one_sign() -> None:
    """Look-alike of everything: each context sign on an ordinary small payment of a hot wallet raises no alarm."""
    flags = (BAD << KIND_SHIFT, SERVICE << KIND_SHIFT, FOREIGN)
    look = marks(500 * GWEI, 900_000, 9999)
    for flag in flags:
        assert settled(look=True).pay(NOW, 0.004, THIEF, flag, look) is None
    assert fusion.K == len(STATISTICS) == Evidence.SHARE
