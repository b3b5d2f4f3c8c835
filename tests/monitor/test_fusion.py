"""The compiled second fold: tails, thresholds from the budget, the controller, the guard rail, what is learned."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from monitor import compiled as _compiled  # noqa: F401  (before any kernel)
from monitor import fusion
from monitor.detectors.base import EVIDENCE_SIZE, Evidence
from monitor.features.dtypes import CHANNELS, FUSION, MAXIMA_DAYS, STATISTICS
from monitor.model import Role
from monitor.parameters import parameters
from monitor.priors import CHANNEL_SHARE, PEER, SPLIT

DAY = 86400
BORN = 20_000 * DAY
K, C = len(STATISTICS), len(CHANNELS)
PEERS: Any = PEER[0]


def wallet(budget: float = 1.0) -> Any:
    records = np.zeros(1, FUSION)
    fusion.start(records[0], BORN, settings(budget), PEERS)
    return records[0]


def settings(budget: float = 1.0) -> Any:
    """What is set for a hot wallet."""
    return parameters(Role.HOT, budget)[0]


Q: Any = settings()


def allowed(channel: int, budget: float = 1.0) -> float:
    """Chance of a clean day to be over the threshold: the budget a day, and more where neighbouring days are one."""
    per_day = budget / 30
    return CHANNEL_SHARE[channel] * SPLIT * per_day * (1 + fusion.JOINED * per_day)


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
        fusion.advance_day(w, int(w["clock"]) + DAY, Q, PEERS)


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
    fusion.thresholds(w, settings(budget), PEERS)
    for c in range(C):
        assert fusion.return_days(w, c, float(w["tau"][c]), PEERS) == pytest.approx(30 / budget, rel=1e-9)
        longer = fusion.return_days(w, c, float(w["tau"][c]) + 1.0, PEERS)
        assert longer > 31 / budget


def test_thresholds_follow_the_channel_s_share_of_the_budget() -> None:
    """tau = centre + width * Q(allowed chance) + delta; a smaller budget stands higher."""
    w, strict = wallet(1.0), wallet(0.1)
    for c in range(C):
        p = allowed(c)
        expected = PEER["centre"][0][c] + PEER["width"][0][c] * fusion._quantile(PEERS, c, p)
        assert w["tau"][c] == pytest.approx(expected, rel=1e-12)
        assert strict["tau"][c] > w["tau"][c]
    assert sum(CHANNEL_SHARE) == pytest.approx(1.0)


def test_quiet_wallets_spend_their_budget_on_active_days() -> None:
    """Two active days in ten: the chance a day is five times as high, and the return period still 30 / budget."""
    w = wallet()
    w["days"], w["day"] = 2, BORN // DAY + 10
    fusion.thresholds(w, Q, PEERS)
    for c in range(C):
        p = 5 * allowed(c)
        expected = PEER["centre"][0][c] + PEER["width"][0][c] * fusion._quantile(PEERS, c, p)
        assert w["tau"][c] == pytest.approx(expected, rel=1e-12)
        assert fusion.return_days(w, c, float(w["tau"][c]), PEERS) == pytest.approx(30, rel=1e-9)
    w["day"] = BORN // DAY + 6  # too young to tell
    fusion.thresholds(w, Q, PEERS)
    assert w["tau"][0] == pytest.approx(float(wallet()["tau"][0]))


def test_the_controller_moves_at_midnight_by_eta_times_the_surprise() -> None:
    """delta += eta * (exceeded - chance) once a midnight, only when warm, and what was exceeded is forgotten."""
    w = wallet()
    days(w, 6, exceeded=0)
    assert list(w["delta"]) == [0.0, 0.0, 0.0] and list(w["exceeded"]) == [0, 0, 0, 0]
    days(w, 1)
    chance = [allowed(c) for c in range(C)]
    assert list(w["delta"]) == pytest.approx([-fusion.ETA * p for p in chance], rel=1e-12)
    days(w, 1, exceeded=1)
    steps = [fusion.ETA * ((c == 1) - 2 * p) for c, p in enumerate(chance)]
    assert list(w["delta"]) == pytest.approx(steps, rel=1e-12)
    before = float(w["delta"][1])
    fusion.advance_day(w, int(w["clock"]) + 5, Q, PEERS)  # the same day
    assert w["delta"][1] == before


def test_the_controller_stays_within_its_bounds() -> None:
    """delta never leaves -0.6 to 2.0, and the threshold moves with it."""
    w = wallet()
    days(w, 40, exceeded=0)
    high = float(w["tau"][0])
    w["delta"][0] = 0.0
    fusion.thresholds(w, Q, PEERS)
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
    fusion.advance_day(ten, int(ten["clock"]) + 10 * DAY, Q, PEERS)
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


@pytest.mark.parametrize("quantile", [fusion.QUANTILE, fusion.QUANTILE_RARE])
@pytest.mark.parametrize("n", range(1, MAXIMA_DAYS + 1))
def test_levels_and_tails_are_those_of_all_maxima_in_order(n: int, quantile: float) -> None:
    """Many alike, all alike, rising, falling, and any."""
    rng = np.random.default_rng(n)
    some = rng.normal(size=MAXIMA_DAYS).astype(np.float32)
    for maxima in (some, some.round(1), np.full_like(some, -9.0), np.sort(some), np.sort(some)[::-1].copy()):
        own = np.sort(maxima[:n]).astype(np.float64)
        level = np.quantile(own, quantile)
        over = np.minimum(own[own > level] - level, 4.0 * 0.2)
        mean = over.mean() if len(over) else 0.2
        expected = (n * level + 7.0 * 0.1) / (n + 7.0), (len(over) * mean + 6.0 * 0.2) / (len(over) + 6.0)
        assert fusion._tail(maxima, n, 0.1, 0.2, quantile) == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_what_fired_is_learned_no_further_than_the_threshold() -> None:
    """An attack raises the day's maxima to the thresholds at most: it cannot teach the monitor that it is normal."""
    w = wallet()
    fusion.learn(w, evidence(SINGLE=3.0), np.array([99.0, 98.0, 0.1]), True)
    assert list(w["today"][K:]) == pytest.approx([w["tau"][0], w["tau"][1], 0.1], rel=1e-6)
    assert w["today"][0] == pytest.approx(w["u"][0] + 4 * w["s"][0], rel=1e-6)
    fusion.learn(w, evidence(SINGLE=3.0), np.array([99.0, 98.0, 0.1]), False)
    assert w["today"][0] == 3.0 and w["today"][K] == 99.0


def fuse(w: Any, q: Any, e: Any, z: Any, s: Any) -> None:
    """Evidence into levels and scores, as a fold does it."""
    fusion.levels(w, e, z)
    fusion.channels(q, e, z, s)


def test_scores_are_means_of_rates_with_context() -> None:
    """Four statistics at their level and a probe: log10 of the mean rate, plus the context terms."""
    w = wallet()
    z, s = np.zeros(K), np.zeros(C)
    levels = {name: float(w["u"][k]) for k, name in enumerate(list(Evidence.__members__)[:K])}
    fuse(w, Q, evidence(**levels, PROBE=0.3, DRAIN=0.5, OTHERS=0.6, SHARE=0.2), z, s)
    assert list(z) == pytest.approx([0.523] * K)
    assert list(s) == pytest.approx([0.523 + 0.2 + 1.4, 0.523 + 0.5 + 0.3, 0.523])
    far = dict.fromkeys(levels, 99.0)
    fuse(w, Q, evidence(**far), z, s)
    assert list(z) == [6.0] * K  # never rarer than once in a million days


@pytest.mark.parametrize("role", [Role.HOT, Role.PERSONAL])
def test_bounds_are_reached_but_for_the_slack(role: Role) -> None:
    """Over levels of all kinds, powers of two and both ends among them: never below the scores, and close above."""
    rng, q = np.random.default_rng(1), parameters(role, 1.0)[0]
    for turn in range(3000):
        z = rng.normal(1.0, 2.0, K) if turn % 3 else np.round(rng.uniform(0, 18, K)) * np.log10(2.0)
        e = np.zeros(len(Evidence))
        e[K : Evidence.GUARD] = rng.normal(0.0, 0.5, Evidence.GUARD - K)
        z, s, b = np.clip(z, fusion.Z_LEAST, fusion.Z_MAX), np.zeros(C), np.zeros(C)
        fusion.channels(q, e, z, s)
        fusion.bounds(q, e, z, b)
        assert (s < b).all() and (b < s + fusion.SLACK).all()


def scored(role: Role = Role.HOT, set_for: dict[str, Any] | None = None, **terms: float) -> list[float]:
    """The three scores of an evidence vector for a wallet with these settings."""
    z, s = np.zeros(K), np.zeros(C)
    fuse(wallet(), parameters(role, 1.0, set_for)[0], evidence(**terms), z, s)
    return [float(x) for x in s]


@pytest.mark.parametrize(
    ("term", "fast", "day", "slow"),
    [
        ("SHARE", 1.0, 0.0, 0.0),
        ("DAY_LEVEL", 0.0, 1.0, 0.0),
        ("SLOW_LEVEL", 0.0, 0.0, 1.0),
        ("DRAIN", 1.0, 1.0, 0.0),
        ("PROBE", 1.0, 0.0, 0.0),
        ("OTHERS", 1.0, 0.5, 0.0),
        ("ODD", 1.0, 0.5, 0.0),
        ("KIND", 1.0, 0.5, 0.0),
        ("SWEPT", 1.0, 0.5, 0.0),
        ("FRESH", 1.0, 0.0, 0.0),
        ("DRAINED", 1.0, 0.0, 0.0),
        ("FOREIGN", 1.0, 0.0, 0.0),
        ("SPLIT", 1.0, 0.0, 0.0),
        ("DORMANT", 1.0, 0.0, 0.0),
        ("TOPUP", 1.0, 0.0, 0.0),
        ("GUARD", 0.0, 0.0, 0.0),
        ("GONE", 0.0, 0.0, 0.0),
    ],
)
def test_each_term_counts_in_its_channels(term: str, fast: float, day: float, slow: float) -> None:
    """A term of one is added wholly to the fast score, to the others in its part; the guard rail to none."""
    plain, more = scored(), scored(**{term: 1.0})
    assert [b - a for a, b in zip(plain, more, strict=True)] == pytest.approx([fast, day, slow], abs=1e-12)


def test_every_term_is_in_the_table_above() -> None:
    """A new place of evidence gets its row."""
    (mark,) = test_each_term_counts_in_its_channels.pytestmark  # type: ignore[attr-defined]
    assert [row[0] for row in mark.args[1]] == [
        "SHARE", "DAY_LEVEL", "SLOW_LEVEL", "DRAIN", "PROBE", "OTHERS", *list(Evidence.__members__)[K + 6 :]
    ]  # fmt: skip


def test_statistics_count_by_their_weights() -> None:
    """A channel is the log10 of the weighted mean of the rates; a weight of 0 leaves a statistic out."""
    w = wallet()
    others = sum(float(Q["uses"][k]) for k in range(1, K) if fusion.OF_CHANNEL[k] == fusion.FAST)
    high = {"SINGLE": float(w["u"][0] + w["s"][0] * fusion.LN10)}  # z = 1.523
    low = 10 ** (fusion.Z_AT_U - 0.5)
    for weight in (1.0, 4.0, 10.0):
        expected = math.log10((weight * 10**1.523 + others * low) / (weight + others))
        assert scored(set_for={"HW-1": {"weight": weight}}, **high)[0] == pytest.approx(expected, abs=1e-6)
    assert scored(set_for={"HW-1": {"weight": 0}}, **high)[0] == pytest.approx(math.log10(low), abs=1e-9)
    silent = {name: {"enabled": False} for name in ("HW-1", "HW-2", "HW-3")}
    assert scored(set_for=silent, **high) == [fusion.NEVER] * C


def test_a_personal_wallet_s_fast_score_is_its_signs_alone() -> None:
    """Likelihood ratios are added up without the statistics; its day and slow channels are those of other wallets."""
    assert scored(Role.PERSONAL, SINGLE=5.0, SHARE=0.25, FOREIGN=0.9)[0] == pytest.approx(1.15)
    assert scored(Role.PERSONAL, TOTAL_24H=5.0)[1:] == scored(TOTAL_24H=5.0)[1:]


def test_levels_are_learned_from_three_active_days_on() -> None:
    """Levels of statistics move with the third active day, those of scores with the fifth; rare ones at 90 %."""
    w = wallet()
    for n in range(5):
        fusion.learn(w, evidence(SINGLE=-2.0, AGAIN_1H=-1.0 + 0.1 * n), np.zeros(C), False)
        days(w, 1)
        peer = [float(np.float32(PEER["u"][0][k])) for k in range(K)]
        assert (w["u"][0] != pytest.approx(peer[0])) == (n >= 2)
        assert (w["centre"][0] != PEER["centre"][0][0]) == (n >= 4)
    rare = Evidence.AGAIN_1H
    assert w["u"][rare] == pytest.approx((5 * -0.64 + 7 * PEER["u"][0][rare]) / 12, rel=1e-5)  # 90 % of five maxima
    assert w["u"][0] == pytest.approx((5 * -2.0 + 7 * PEER["u"][0][0]) / 12, rel=1e-5)


def test_personal_wallets_have_their_own_peers() -> None:
    """The role chooses the row of the priors."""
    assert int(parameters(Role.PERSONAL, 0.1)["peer"][0]) == 1 and int(Q["peer"]) == 0
    records = np.zeros(1, FUSION)
    peer = PEER[1:2].copy()
    peer["u"], peer["centre"] = -3.0, 2.5
    fusion.start(records[0], BORN, parameters(Role.PERSONAL, 0.1)[0], peer[0])
    assert set(records[0]["u"].tolist()) == {-3.0} and set(records[0]["centre"].tolist()) == {2.5}


def test_a_channel_without_a_share_of_the_budget_never_fires() -> None:
    """Where the peers use a channel not at all its threshold is out of reach and its score says nothing of rarity."""
    records, peer = np.zeros(1, FUSION), PEER[0:1].copy()
    peer["share"] = (1.0, 0.0, 0.0)
    w = records[0]
    fusion.start(w, BORN, Q, peer[0])
    assert list(w["tau"][1:]) == [fusion.UNREACHED] * 2 and w["tau"][0] < 10.0
    assert [fusion.return_days(w, c, 50.0, peer[0]) for c in (1, 2)] == [0.0, 0.0]
    assert fusion.return_days(w, 0, float(w["tau"][0]), peer[0]) == pytest.approx(30.0)
    w["delta"][:] = 2.0
    fusion.advance_day(w, BORN + DAY, Q, peer[0])
    assert list(w["tau"][1:]) == [fusion.UNREACHED] * 2


def test_the_warm_up_is_the_wallet_s_own() -> None:
    """Statistics may fire from the first flow on plus the days that are set."""
    records = np.zeros(1, FUSION)
    for days_set in (0.0, 7.0, 30.0):
        chosen = parameters(Role.HOT, 1.0, {"FUSION": {"warm_up_days": days_set}})
        fusion.start(records[0], BORN, chosen[0], PEERS)
        assert records[0]["warm_from"] == BORN + days_set * DAY
