"""The compiled second fold: tails, thresholds from the budget, the controller, the guard rail, what is learned."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from monitor import compiled as _compiled  # noqa: F401  (before any kernel)
from monitor import fusion
from monitor.detectors.base import EVIDENCE_SIZE, Evidence
from monitor.features.dtypes import CHANNELS, FUSION, STATISTICS
from monitor.priors import CHANNEL_SHARE, PEER, SPLIT

DAY = 86400
BORN = 20_000 * DAY
K, C = len(STATISTICS), len(CHANNELS)
PEERS: Any = PEER[0]


def wallet(budget: float = 1.0) -> Any:
    records = np.zeros(1, FUSION)
    fusion.start(records[0], BORN, budget, PEERS)
    return records[0]


def evidence(**levels: float) -> Any:
    """An evidence vector: all statistics tiny, context nothing, but what is named."""
    e = np.zeros(EVIDENCE_SIZE)
    e[:K] = -9.0
    for name, level in levels.items():
        e[Evidence[name]] = level
    return e


def days(w: Any, count: int, *, exceeded: int | None = None) -> None:
    """Let midnights pass, with a channel exceeded on each day."""
    for _ in range(count):
        if exceeded is not None:
            w["exceeded"][exceeded] = 1
        fusion.advance_day(w, int(w["clock"]) + DAY, PEERS)


def test_quantile_and_chance_are_inverses() -> None:
    """What is exceeded with chance p has chance p, in every channel, also beyond the last known point."""
    for c in range(C):
        for p in (0.9, 0.3, 0.2, 0.1, 0.033, 0.02, 0.01, 0.0033, 0.001, 1e-5, 1e-9):
            q = fusion._quantile(PEERS, c, p)
            assert fusion._log_chance(PEERS, c, q) == pytest.approx(math.log(p), abs=1e-9)
        levels = [fusion._quantile(PEERS, c, p) for p in (0.5, 0.3, 0.1, 0.01, 1e-4)]
        assert levels == sorted(levels)


def test_quantiles_pass_through_the_shipped_points() -> None:
    """The pool's points themselves come out unchanged."""
    for c in range(C):
        for p, q in zip(PEER["pool_p"][0], PEER["pool_q"][0][c], strict=True):
            assert fusion._quantile(PEERS, c, p) == pytest.approx(q, abs=1e-12)


@pytest.mark.parametrize("budget", [0.1, 0.3, 1.0, 3.0])
@pytest.mark.parametrize("delta", [-0.6, 0.0, 1.3])
def test_return_period_at_the_threshold_is_the_budget(budget: float, delta: float) -> None:
    """A score at the threshold comes back every 30 / budget days, in every channel, wherever the controller stands."""
    w = wallet(budget)
    w["delta"][:] = delta
    w["centre"][:], w["width"][:] = (1.3, 0.7, 0.2), (0.5, 0.3, 0.25)
    fusion.thresholds(w, PEERS)
    for c in range(C):
        assert fusion.return_days(w, c, float(w["tau"][c]), PEERS) == pytest.approx(30 / budget, rel=1e-9)
        longer = fusion.return_days(w, c, float(w["tau"][c]) + 1.0, PEERS)
        assert longer > 31 / budget


def test_thresholds_follow_the_channel_s_share_of_the_budget() -> None:
    """tau = centre + width * Q(share * split * budget / 30) + delta; a smaller budget stands higher."""
    w, strict = wallet(1.0), wallet(0.1)
    for c in range(C):
        p = CHANNEL_SHARE[c] * SPLIT * 1.0 / 30
        expected = PEER["centre"][0][c] + PEER["width"][0][c] * fusion._quantile(PEERS, c, p)
        assert w["tau"][c] == pytest.approx(expected, rel=1e-12)
        assert strict["tau"][c] > w["tau"][c]
    assert sum(CHANNEL_SHARE) == pytest.approx(1.0)


def test_quiet_wallets_spend_their_budget_on_active_days() -> None:
    """Two active days in ten: the chance a day is five times as high, and the return period still 30 / budget."""
    w = wallet()
    w["days"], w["day"] = 2, BORN // DAY + 10
    fusion.thresholds(w, PEERS)
    for c in range(C):
        p = 5 * CHANNEL_SHARE[c] * SPLIT / 30
        expected = PEER["centre"][0][c] + PEER["width"][0][c] * fusion._quantile(PEERS, c, p)
        assert w["tau"][c] == pytest.approx(expected, rel=1e-12)
        assert fusion.return_days(w, c, float(w["tau"][c]), PEERS) == pytest.approx(30, rel=1e-9)
    w["day"] = BORN // DAY + 6  # too young to tell
    fusion.thresholds(w, PEERS)
    assert w["tau"][0] == pytest.approx(float(wallet()["tau"][0]))


def test_the_controller_moves_at_midnight_by_eta_times_the_surprise() -> None:
    """delta += 0.5 * (exceeded - chance) once a midnight, only when warm, and what was exceeded is forgotten."""
    w = wallet()
    days(w, 6, exceeded=0)
    assert list(w["delta"]) == [0.0, 0.0, 0.0] and list(w["exceeded"]) == [0, 0, 0, 0]
    days(w, 1)
    chance = [share * SPLIT / 30 for share in CHANNEL_SHARE]
    assert list(w["delta"]) == pytest.approx([-0.5 * p for p in chance], rel=1e-12)
    days(w, 1, exceeded=1)
    assert list(w["delta"]) == pytest.approx([-p if c != 1 else 0.5 - p for c, p in enumerate(chance)], rel=1e-12)
    before = float(w["delta"][1])
    fusion.advance_day(w, int(w["clock"]) + 5, PEERS)  # the same day
    assert w["delta"][1] == before


def test_the_controller_stays_within_its_bounds() -> None:
    """delta never leaves -0.6 to 2.0, and the threshold moves with it."""
    w = wallet()
    days(w, 40, exceeded=0)
    high = float(w["tau"][0])
    w["delta"][0] = 0.0
    fusion.thresholds(w, PEERS)
    assert high == pytest.approx(float(w["tau"][0]) + 2.0, rel=1e-12)
    w["delta"][0] = 2.0
    days(w, 2000)
    assert w["delta"][0] == -0.6 and w["delta"][2] == -0.6


def test_days_without_flows_count_one_by_one() -> None:
    """A jump over ten midnights is ten steps of the controller, the first alone with what was exceeded."""
    one, ten = wallet(), wallet()
    for w in (one, ten):
        days(w, 8)
        w["exceeded"][0] = 1
    days(one, 10)
    fusion.advance_day(ten, int(ten["clock"]) + 10 * DAY, PEERS)
    assert one.tobytes() == ten.tobytes()


def test_the_guard_rail_rises_once_a_day_and_sinks_slowly() -> None:
    """After a day on which it fired: 1.15 times the highest level, 3.3 at most; then half a percent back a day."""
    w = wallet()
    w["exceeded"][C], w["guard_peak"] = 1, 1.4
    assert w["guard"] == 1.0  # not before midnight: a theft in several payments is one alarm
    days(w, 1)
    risen = 1.0 + (1.4 * 1.15 - 1.0) * 0.995
    assert w["guard"] == pytest.approx(risen, rel=1e-12) and w["guard_peak"] == 0.0 and w["exceeded"][C] == 0
    days(w, 1)
    assert w["guard"] == pytest.approx(1.0 + (risen - 1.0) * 0.995, rel=1e-12)
    w["exceeded"][C], w["guard_peak"] = 1, 50.0
    days(w, 1)
    assert w["guard"] == pytest.approx(1.0 + 2.3 * 0.995, rel=1e-12)
    days(w, 2000)
    assert w["guard"] == pytest.approx(1.0, abs=1e-3)


def test_the_days_maxima_are_learned_from_five_active_days_on() -> None:
    """Own levels are shrunk to the prior by 7 days, mean excesses by 6; inactive days leave no trace."""
    w = wallet()
    for level in (-2.0, -1.9, -1.8, -1.7, -1.6):
        fusion.learn(w, evidence(SINGLE=level), np.full(C, level), False)
        assert w["active"] == 1
        days(w, 1)
        days(w, 1)  # nothing happened
    assert w["days"] == 5
    level = -1.8 + 0.8 * 0.1  # 70 % quantile of the five; two lie above it
    excess = (-1.7 - level) + (-1.6 - level)
    assert w["u"][0] == pytest.approx((5 * level + 7 * PEER["u"][0][0]) / 12, rel=1e-6)
    assert w["s"][0] == pytest.approx((excess + 6 * PEER["s"][0][0]) / 8, rel=1e-6)
    assert w["centre"][0] == pytest.approx((5 * level + 7 * PEER["centre"][0][0]) / 12, rel=1e-6)


def test_what_fired_is_learned_no_further_than_the_threshold() -> None:
    """An attack raises the day's maxima to the thresholds at most: it cannot teach the monitor that it is normal."""
    w = wallet()
    fusion.learn(w, evidence(SINGLE=3.0), np.array([99.0, 98.0, 0.1]), True)
    assert list(w["today"][K:]) == pytest.approx([w["tau"][0], w["tau"][1], 0.1], rel=1e-6)
    assert w["today"][0] == pytest.approx(w["u"][0] + 4 * w["s"][0], rel=1e-6)
    fusion.learn(w, evidence(SINGLE=3.0), np.array([99.0, 98.0, 0.1]), False)
    assert w["today"][0] == 3.0 and w["today"][K] == 99.0


def test_scores_are_means_of_rates_with_context() -> None:
    """Four statistics at their level and a probe: log10 of the mean rate, plus the context terms."""
    w = wallet()
    z, s = np.zeros(K), np.zeros(C)
    levels = {name: float(w["u"][k]) for k, name in enumerate(list(Evidence.__members__)[:K])}
    fusion.score(w, evidence(**levels, PROBE=0.3, DRAIN=0.5, OTHERS=0.6, SHARE=0.2), z, s)
    assert list(z) == pytest.approx([0.523] * K)
    assert list(s) == pytest.approx([0.523 + 0.2 + 1.4, 0.523 + 0.5 + 0.3, 0.523])
    far = dict.fromkeys(levels, 99.0)
    fusion.score(w, evidence(**far), z, s)
    assert list(z) == [6.0] * K  # never rarer than once in a million days
