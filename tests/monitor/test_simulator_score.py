"""Reports into outcomes, outcomes into rows: what counts as caught, when, and at which cost."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from monitor.errors import ConfigError
from monitor.ids import iso
from tests.scorecard.dynamics import PAYMENT, THEFT
from tests.scorecard.plan import CARD, Part, chosen, named_seeds, tasks
from tests.scorecard.rows import rows
from tests.scorecard.score import Outcome, judge, play, simulate
from tests.scorecard.seeds import SAMPLE, SCORING
from tests.scorecard.show import markdown, terminal
from tests.scorecard.table import BLOCK_SECONDS, START, Simulated

PART = Part("base", "coincheck", (1,))


@pytest.fixture(scope="module")
def robbed() -> Simulated:
    """A wallet with a theft in it."""
    return simulate(PART, 1)


def at(wallet: Simulated, number: int) -> int:
    return int(START + wallet.flows.at[number] // BLOCK_SECONDS * BLOCK_SECONDS)


def incident(wallet: Simulated, opened: int, *findings: int, paged: int | None = None, **more: Any) -> dict[str, Any]:
    """An incident that opened with a movement, and has findings of others."""
    hashes = wallet.transfers()["transaction_hash"]
    return {
        "entity": wallet.name,
        "budget_exceeded": True,
        "opened_at": iso(at(wallet, opened)),
        "opened_tx": hashes[opened],
        "paged_at": None if paged is None else iso(at(wallet, paged)),
        "paged_tx": None if paged is None else hashes[paged],
        "findings": [{"tx": hashes[i]} for i in (opened, *findings)],
        **more,
    }


def stolen(wallet: Simulated) -> list[int]:
    return [int(i) for i in np.flatnonzero(wallet.flows.what == THEFT)]


def test_an_incident_during_the_theft_counts_with_what_had_gone(robbed: Simulated) -> None:
    """The share is that of the stolen value up to and including the opening flow, and minutes from the first."""
    pieces = stolen(robbed)
    found = judge(PART, 1.0, robbed, [incident(robbed, pieces[3], paged=pieces[5])])
    value = robbed.flows.value[pieces]
    assert found.detected and found.named and found.alarmed and not found.joined
    assert found.share == pytest.approx(value[:4].sum() / value.sum())
    assert found.minutes == pytest.approx((at(robbed, pieces[3]) - at(robbed, pieces[0])) / 60)
    assert found.paged_share == pytest.approx(value[:6].sum() / value.sum())


def test_an_incident_before_the_theft_does_not_count_but_may_be_joined(robbed: Simulated) -> None:
    """A theft whose findings go to an incident that was open is neither detected nor missed."""
    pieces = stolen(robbed)
    early = int(np.flatnonzero(robbed.flows.out[: pieces[0]])[-40])
    nothing = judge(PART, 1.0, robbed, [incident(robbed, early)])
    assert not (nothing.detected or nothing.joined or nothing.alarmed)
    joined = judge(PART, 1.0, robbed, [incident(robbed, early, pieces[1], paged=pieces[1])])
    assert joined.joined and joined.alarmed and not joined.detected
    assert joined.share is None and joined.paged_share is not None


def test_an_incident_of_something_else_is_detected_but_not_named(robbed: Simulated) -> None:
    """Chance is shown as chance: no payment of the theft is among the findings."""
    pieces = stolen(robbed)
    other = int(np.flatnonzero((robbed.flows.what == PAYMENT) & (np.arange(len(robbed.flows.at)) > pieces[-1]))[0])
    found = judge(PART, 1.0, robbed, [incident(robbed, other)])
    assert found.detected and not found.named
    assert found.share == 1.0


def test_plain_rules_and_late_incidents_do_not_count(robbed: Simulated) -> None:
    """Only what exceeded a budget, until an hour after the last payment."""
    pieces = stolen(robbed)
    rule = incident(robbed, pieces[0], budget_exceeded=False)
    late = incident(robbed, pieces[0], opened_at=iso(at(robbed, pieces[-1]) + 3601))
    just = incident(robbed, pieces[0], opened_at=iso(at(robbed, pieces[-1]) + 3600))
    assert [judge(PART, 1.0, robbed, [i]).detected for i in (rule, late, just)] == [False, False, True]


def test_value_of_several_assets_counts_in_starting_balances() -> None:
    """A coin with more decimals does not drown the others."""
    part = Part("base", "zaif", (1,))
    wallet = next(w for w in (simulate(part, seed) for seed in range(1, 30)) if len(w.life.assets) >= 2)
    pieces = stolen(wallet)
    worth = [float(wallet.flows.value[i] / wallet.life.target[wallet.flows.asset[i]]) for i in pieces]
    found = judge(part, 1.0, wallet, [incident(wallet, pieces[4])])
    assert found.share == pytest.approx(sum(worth[:5]) / sum(worth))


def test_clean_rows_count_what_opens_after_thirty_days() -> None:
    """Five months count; the mean, the 95 % point, the worst wallet, pages a year, and the first week apart."""
    part = Part("base", "clean", (1, 2), days=180)
    one = Outcome("base", "clean", 1.0, 1, opened=(3.0, 29.9, 30.0, 60.5, 179.0), paged=(10.0, 60.5))
    two = Outcome("base", "clean", 1.0, 2)
    month, week = rows([part], [two, one])
    assert (month["kind"], month["n"], month["realised"], month["worst_wallet"]) == ("clean", 2, 0.3, 0.6)
    assert month["p95"] == pytest.approx(0.57)
    assert month["pages_a_year"] == pytest.approx(365 / 150 / 2, rel=1e-5)
    assert (week["kind"], week["realised"], week["per_days"]) == ("clean, first 7 days", 0.5, 7)
    assert month["recall"] is None


def test_theft_rows_have_shares_and_medians() -> None:
    """Recall over those that joined nothing, medians over those that were caught."""
    part = Part("heavy", "fanout", (1, 2, 3, 4))
    outcomes = [
        Outcome("heavy", "fanout", 1.0, 1, detected=True, named=True, share=0.2, minutes=4.0),
        Outcome("heavy", "fanout", 1.0, 2, detected=True, share=0.4, minutes=8.0, alarmed=True, paged_share=0.5),
        Outcome("heavy", "fanout", 1.0, 3, joined=True),
        Outcome("heavy", "fanout", 1.0, 4),
    ]
    (row,) = rows([part], outcomes)
    assert [row[k] for k in ("n", "recall", "named", "joined", "paged")] == [4, 0.666667, 0.333333, 0.25, 0.25]
    assert row["share_lost_at_open"] == pytest.approx(0.3)
    assert (row["minutes"], row["share_lost_at_page"], row["realised"]) == (6.0, 0.5, None)


def test_the_sample_has_rows_of_its_own() -> None:
    """They cover the sample's seeds alone, and are the same whether the others ran or not."""
    part = Part("base", "fanout", tuple(SCORING), sampled=True)
    outcomes = [Outcome("base", "fanout", 1.0, s, detected=s in SAMPLE) for s in SCORING]
    whole, sample = rows([part], outcomes)
    assert (whole["n"], sample["n"]) == (len(SCORING), len(SAMPLE))
    assert (sample["kind"], sample["recall"]) == ("fanout, sample", 1.0)
    assert rows([replace(part, seeds=tuple(SAMPLE))], [o for o in outcomes if o.seed in SAMPLE]) == [sample]


def test_every_wallet_is_done_once() -> None:
    """Tasks cover the seeds of their parts, and the card covers what it promises."""
    parts = chosen(named_seeds("scoring"))
    assert len(parts) == len(CARD)
    done = sorted((t.world, t.kind, seed) for t in tasks(parts) for seed in t.seeds)
    assert done == sorted((p.world, p.kind, seed) for p in parts for seed in p.seeds)
    assert len(set(done)) == len(done)
    assert all(len(p.seeds) >= 120 for p in parts if p.kind == "clean")
    assert all(len(p.seeds) >= 200 for p in parts if p.world == "base" and p.kind != "clean")


def test_parts_are_chosen_by_name() -> None:
    """WORLD, WORLD/KIND and patterns; a name that fits nothing is an error with a hint."""
    seeds = named_seeds("tuning")
    (clean,) = chosen(seeds, only=["base/clean"], budgets=[1.0])
    assert clean.budgets == (1.0,) and set(clean.seeds) <= set(seeds)
    assert {p.world for p in chosen(seeds, only=["quiet"])} == {"quiet"}
    assert {p.world for p in chosen(seeds, only=["*/coincheck"])} >= {"base", "heavy", "outsider"}
    with pytest.raises(ConfigError, match=r"base/clean"):
        chosen(seeds, only=["base/claen"])


def test_tables_show_three_digits() -> None:
    """Rounded for people; worlds explained; shares, yes and no."""
    part = Part("base", "clean", (1, 2), days=180)
    made = rows([part], [Outcome("base", "clean", 1.0, s, opened=(40.0 + s, 70.0)) for s in (1, 2)])
    made[0]["realised"] = 0.123456
    made.append({"case": "a-case", "severity": "high", "minutes": 2.0, "share_lost_at_open": 0.19, "realised": 0,
                 "paged": True, "recall": 1.0})  # fmt: skip
    assert "0.123 " in terminal(made) and "0.1234" not in terminal(made)
    page = markdown(made, "make scorecard")
    assert "`make scorecard`" in page and "| a-case | high | 2 | 0.19 | 0 | yes |" in page


def test_what_a_wallet_shows_does_not_depend_on_its_company() -> None:
    """The same wallet alone and among others of one backtest."""
    few = Part("quiet", "single60", (1, 2, 3), days=70, between=(60.0, 62.0))
    together = play(few)
    alone = [found for seed in few.seeds for found in play(replace(few, seeds=(seed,)))]
    assert together == alone
    assert any(o.detected for o in together)
