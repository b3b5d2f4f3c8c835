"""Simulated holders: what their years and the thefts from them are like, and what becomes of them as tables."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from monitor.ids import iso
from monitor.priors import PEER
from tests.scorecard.fit import C, Days, K, daily_maxima, fit, own_tails
from tests.scorecard.holder import Holder, decimals, token
from tests.scorecard.personal import COIN, FEE, FORGED, IN, LISTED, OUT, OWN, STOLEN, TOUCH, Year
from tests.scorecard.personal_theft import THEFTS, live
from tests.scorecard.plan import CARD, Part
from tests.scorecard.score import judge, play, simulate_any
from tests.scorecard.table import BLOCK_SECONDS, START, number_of
from tests.scorecard.world import DAY

MINUTE = 60
BETWEEN = (260.0, 290.0)


@pytest.fixture(scope="module")
def years() -> list[Year]:
    """Sixty holders."""
    return [live(seed, 360) for seed in range(60)]


def robbed(kind: str, seed: int = 5) -> tuple[Year, list[int]]:
    """A year with a theft, and the places of the theft's movements."""
    year = live(seed, 360, kind, BETWEEN)
    return year, [i for i, m in enumerate(year.moves) if m.what == STOLEN]


def test_a_seed_decides_everything() -> None:
    """The same wallet twice; another seed is another wallet."""
    assert live(3, 200) == live(3, 200)
    assert live(3, 200).moves != live(4, 200).moves


def test_holders_are_as_assumed(years: list[Year]) -> None:
    """Assets, payments a day, half of the sources tell who signed, some holders sleep for months."""
    assert {len(y.holdings) for y in years} <= set(range(1, 13)) and len({len(y.holdings) for y in years}) > 4
    assert 20 < sum(y.told for y in years) < 40
    per_day = [sum(m.what == OUT for m in y.moves) / y.days for y in years]
    assert 0.15 < float(np.median(per_day)) < 0.5 and max(per_day) < 2.5
    gaps = [max(np.diff([0, *(m.at for m in y.moves if m.signer == OWN), y.days * DAY])) / DAY for y in years]
    assert 0.05 < np.mean([gap > 55 for gap in gaps]) < 0.6


def test_payments_have_heavy_tails(years: list[Year]) -> None:
    """Of tokens, one payment in twenty to two hundred takes everything; half take less than a twelfth."""
    shares = []
    for year in years:
        balance = [h.start for h in year.holdings]
        for m in year.moves:
            if m.what == OUT and m.asset and balance[m.asset]:
                shares.append(m.value / balance[m.asset])
            balance[m.asset] += m.value if m.what == IN else -m.value if m.what in (OUT, FEE) else 0
    assert len(shares) > 2000
    assert 1 / 200 < np.mean([share > 0.999 for share in shares]) < 1 / 20
    assert 0.01 < float(np.median(shares)) < 1 / 12


def test_nothing_is_paid_that_is_not_there(years: list[Year]) -> None:
    """In the order in which things were done, no balance ends below zero, and forged transfers move nothing."""
    for year in years:
        left = {a: h.start for a, h in enumerate(year.holdings)}
        for m in year.moves:
            left[m.asset] += m.value if m.what == IN else -m.value
            assert (m.value == 0) == (m.what in (TOUCH, FORGED))
        assert min(left.values()) >= 0
    kinds = Counter(m.what for year in years for m in year.moves)
    assert min(kinds[what] for what in (IN, OUT, FEE, TOUCH, FORGED)) > 100 and STOLEN not in kinds


@pytest.mark.parametrize("kind", sorted(THEFTS))
def test_thieves_take_much_to_addresses_that_were_never_paid(kind: str) -> None:
    """All kinds: a large part of each stolen asset, to fresh addresses, and two hours later the history ends."""
    for seed in range(8):
        year, stolen = robbed(kind, seed)
        first, last = year.moves[stolen[0]], year.moves[stolen[-1]]
        assert BETWEEN[0] * DAY <= first.at <= BETWEEN[1] * DAY + 1
        thieves = {year.moves[i].other for i in stolen}
        assert not any(m.other in thieves and m.what == OUT for m in year.moves[: stolen[0]])
        assert year.moves[-1].at <= last.at + 7200
        assert last.at - first.at <= 20 * MINUTE


def test_a_key_sweep_takes_up_to_seven_assets_within_ten_minutes() -> None:
    """Signed by the owner's key; both orders occur; one or two addresses."""
    orders = set()
    for seed in range(20):
        year, stolen = robbed("key_sweep", seed)
        moves = [year.moves[i] for i in stolen]
        assert moves[-1].at - moves[0].at <= 10 * MINUTE and len({m.asset for m in moves}) == len(moves) <= 7
        assert len({m.other for m in moves}) <= 2 and {m.signer for m in moves} == {OWN}
        worth = [m.value * year.holdings[m.asset].price for m in moves]
        if len(worth) > 2:
            orders.add(worth[0] > worth[-1])
    assert orders == {True, False}


def test_other_signs_are_there() -> None:
    """Foreign signature, fixed split in one transaction, strangers' fees, months of sleep, a look-alike."""
    year, stolen = robbed("approval_drain")
    assert {year.moves[i].signer for i in stolen} == {"thief contract"} and all(year.moves[i].asset for i in stolen)
    year, stolen = robbed("split_drain")
    pair = [year.moves[i] for i in stolen[:2]]
    parts = sorted(m.value / sum(m.value for m in pair) for m in pair)
    assert pair[0].tx == pair[1].tx and round(parts[1], 2) in (0.70, 0.75, 0.80)
    year, stolen = robbed("topup_sweep")
    gas = [m for m in year.moves if m.other == "thief funder"]
    assert len(gas) == 1 and 0 < year.moves[stolen[0]].at - gas[0].at <= 10 * MINUTE
    year, stolen = robbed("dormant_sweep")
    before = [m.at for m in year.moves[: stolen[0]] if m.signer == OWN and m.what in (OUT, TOUCH)]
    assert not before or year.moves[stolen[0]].at - before[-1] > 90 * DAY
    year, stolen = robbed("poisoned_payment")
    holder = Holder("a", year)
    alike = year.moves[stolen[0]].other
    real, fake = holder.other(alike.removeprefix("alike ")), holder.other(alike)
    assert real != fake and real[:7] == fake[:7] and real[-5:] == fake[-5:]


def test_the_table_says_what_happened() -> None:
    """Exact values, one transaction's hash, rising nonces, and who signed only where the source tells."""
    seen = set()
    for seed in range(12):
        holder = Holder(f"w{seed}", live(seed, 120))
        table, moves = holder.transfers(), holder.year.moves
        assert len(table) == len(moves) and holder.flow_count == sum(m.value > 0 and m.what != FEE for m in moves)
        for row, m in zip(table.iter_rows(named=True), moves, strict=True):
            held = holder.year.holdings[m.asset].token
            assert int(row["value"]) == m.value * 10 ** decimals(held) // COIN and row["asset"] == token(held)
            assert row["block_timestamp"] == START + m.at // BLOCK_SECONDS * BLOCK_SECONDS
            assert moves[number_of(row["transaction_hash"])].tx == m.tx
            assert (row["from_address"] == holder.address) != (m.what == IN)
        own = table.filter(table["tx_from"] == holder.address)
        assert (own["nonce"].diff().drop_nulls() >= 0).all()
        assert (table["tx_from"].null_count() == 0) == holder.year.told
        seen.add(holder.year.told)
    assert seen == {True, False}


def test_a_forged_transfer_is_signed_by_a_stranger() -> None:
    """It stands in the wallet's name, but the wallet did not sign it."""
    holder = next(h for h in (Holder("w", live(seed, 360)) for seed in range(9)) if h.year.told)
    rows = holder.transfers().rows(named=True)
    forged = [row for row, m in zip(rows, holder.year.moves, strict=True) if m.what == FORGED]
    assert forged and all(r["value"] == "0" and r["from_address"] == holder.address for r in forged)
    assert all(r["tx_from"] not in (holder.address, None) for r in forged)


def test_what_went_counts_in_dollars() -> None:
    """Half of the stolen worth is half, whatever the prices of the assets."""
    part = Part("personal", "key_sweep", (5,), (0.1,), 360, BETWEEN)
    holder = simulate_any(part, 5)
    assert isinstance(holder, Holder)
    stolen = [i for i, m in enumerate(holder.year.moves) if m.what == STOLEN]
    worth = [holder.year.moves[i].value * holder.year.holdings[holder.year.moves[i].asset].price for i in stolen]
    assert len(worth) > 1
    tx = holder.transfers()["transaction_hash"][stolen[0]]
    at = iso(START + holder.year.moves[stolen[0]].at // BLOCK_SECONDS * BLOCK_SECONDS)
    incident = {"budget_exceeded": True, "opened_at": at, "opened_tx": tx, "paged_at": None, "findings": [{"tx": tx}]}
    found = judge(part, 0.1, holder, [incident])
    assert found.detected and found.named
    assert found.share == pytest.approx(worth[0] / sum(worth), rel=1e-3)


def test_holders_go_through_the_backtest() -> None:
    """Every row that moves coins is read as a flow, and a wallet alone is judged as it is among others."""
    part = Part("personal", "topup_sweep", (1, 2, 3), (0.1,), 360, BETWEEN)
    together = play(part)
    assert [o.seed for o in together] == [1, 2, 3] and all(o.detected and o.named for o in together)
    assert play(Part("personal", "topup_sweep", (2,), (0.1,), 360, BETWEEN)) == [together[1]]


def test_the_card_has_holders() -> None:
    """All kinds of thefts at the default budget of personal wallets, and clean years at two budgets."""
    mine = {part.kind: part for part in CARD if part.world == "personal"}
    assert set(THEFTS) < set(mine) and mine["clean"].budgets == (0.1, 0.3) and mine["clean"].days == 360
    assert all(part.budgets == (0.1,) and len(part.seeds) == 200 for kind, part in mine.items() if kind != "clean")
    assert LISTED < 40


def test_daily_maxima_are_those_of_active_days() -> None:
    """Each active day once, in order, also where there are more than the engine remembers."""
    part = Part("personal", "clean", tuple(range(10_000, 10_012)), days=150)
    found = {wallet.seed: wallet for wallet in daily_maxima(part)}
    assert set(found) == set(part.seeds)
    assert max(len(wallet.maxima) for wallet in found.values()) > 60
    assert all(wallet.maxima.shape[1] == K + C and len(wallet.maxima) <= 150 for wallet in found.values())
    most = max(found.values(), key=lambda wallet: len(wallet.maxima))
    assert np.isfinite(most.maxima).all() and len({row.tobytes() for row in most.maxima}) > 50


def test_a_prior_is_fitted_to_what_wallets_do() -> None:
    """Exponential excesses above a known level: level, mean excess and quantiles come back."""
    r = np.random.default_rng(1)
    days = [Days(seed, r.exponential(0.4, (1000, K + C)) + 1.0, 1000) for seed in range(20)]
    levels, excesses = own_tails(days, 0, 0.7, 2.0)
    assert levels.mean() == pytest.approx(1.0 + 0.4 * np.log(1 / 0.3), abs=0.02)
    assert excesses.mean() == pytest.approx(0.4, abs=0.02)
    prior = fit(days, PEER["pool_p"][1])
    assert prior["centre"][0] == pytest.approx(levels.mean(), abs=0.02)
    assert prior["pool_q"][0][0] == pytest.approx(0.0, abs=0.1)
    assert prior["pool_q"][0][2] == pytest.approx(np.log(0.3 / 0.033), abs=0.35)
