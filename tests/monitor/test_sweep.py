"""Sweeps: grids in words, the shared fold against folds apart, rows and reports equal to those of single runs."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from monitor.app import run_backtest
from monitor.backtesting.sweep import SEVERITIES, run_sweep
from monitor.backtesting.sweep_grid import parse_sweep
from monitor.backtesting.sweep_table import SCHEMA, chart_points, sweep_data, sweep_lines, sweep_table
from monitor.backtesting.truth import Truth, TruthIncident
from monitor.backtesting.truth_score import CAUGHT, MISSED, Fate, Scored
from monitor.backtesting.variants import CannotShare
from monitor.backtesting.variants.state import VariantState
from monitor.cli.what_if import records
from monitor.config import Config, config_from_mapping
from monitor.errors import ConfigError
from monitor.model import Role
from monitor.parameters import parameters
from monitor.rows import FOREIGN, IN, NATIVE, OUT, SPEND, TELL, TOUCH, TRUSTED, FlowRows
from monitor.state import EngineState

DAY = 86400
START = 1_700_006_400  # a midnight
HOT, COLD, SELF = "0x" + "a1" * 20, "0x" + "c0" * 20, "0x" + "5e" * 20
THIEF = "0x" + "bad0" * 10


# -- grids ------------------------------------------------------------------------------------------------------------


def config(**wallet: Any) -> Config:
    wallets = [
        {"id": "hot", "entity": "exchange", "role": "hot", "addresses": [f"ethereum:{HOT}"], **wallet},
        {"id": "vault", "entity": "exchange", "role": "cold", "addresses": [f"ethereum:{COLD}"]},
        {"id": "me", "role": "personal", "addresses": [f"ethereum:{SELF}"]},
    ]
    return config_from_mapping({"wallets": wallets}, Path(), "config")


def test_a_grid_is_the_product_of_its_keys() -> None:
    grid = parse_sweep(["budget=0.3,1", "detectors.HW-5.weight=0,1.5", "detectors.guard.enabled=true,false"])
    assert len(grid) == 8 == len(list(grid.settings()))
    assert list(grid.settings())[1] == {
        "budget": 0.3, "detectors.HW-5.weight": 0, "detectors.guard.enabled": False,
    }  # fmt: skip
    found = grid.configs(config())
    assert [c.wallets[0].budget for c in found] == [0.3] * 4 + [1.0] * 4
    assert found[1].detectors["hot"] == {"HW-5": {"weight": 0}, "GUARD": {"enabled": False}}
    assert found[2].detectors["me"] == {"HW-5": {"weight": 1.5}, "GUARD": {"enabled": True}}
    assert all("vault" not in c.detectors for c in found)  # neither judges cold wallets


def test_a_setting_is_the_configuration_that_says_the_same() -> None:
    """What a grid makes of a configuration is what the file with that value gives."""
    plain = {"wallets": [{"id": "hot", "role": "hot", "addresses": [f"ethereum:{HOT}"], "budget": 2.0},
                         {"id": "me", "role": "personal", "addresses": [f"ethereum:{SELF}"]},
                         {"id": "till", "role": "treasury", "addresses": [f"ethereum:{COLD}"]}]}  # fmt: skip
    base = config_from_mapping(plain, Path(), "config")
    for value in (0.05, 0.3, 3):
        [found] = parse_sweep([f"budget={value}"]).configs(base)
        wanted = config_from_mapping(
            {**plain, "budget": {"false_alarms_per_wallet_month": value}}, Path(), "config"
        )
        assert found.wallets == wanted.wallets
        assert found.false_alarms_per_wallet_month == wanted.false_alarms_per_wallet_month
    [found] = parse_sweep(["wallets.hot.budget=0.5"]).configs(base)
    assert [wallet.budget for wallet in found.wallets] == [0.5, 0.1, 1.0]
    notes = parse_sweep(["budget.false_alarms_per_wallet_month=1,2"]).notes(base)
    assert len(notes) == 2
    assert "budget of their own" in notes[0]


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        (["budget"], "--sweep budget: expected KEY=VALUE,VALUE"),
        (["budget=1,"], "expected KEY=VALUE,VALUE"),
        (["=1"], "expected KEY=VALUE,VALUE"),
        ([], "expected KEY=VALUE,VALUE"),
        (["budget=1", "budget.false_alarms_per_wallet_month=2"], "budget is given twice"),
        (["budget=1,1"], "a value is given twice"),
        (["budget=1,1.0"], "a value is given twice"),
        (["detectors.HW-5.weight=0", "detectors.hw-5.weight=1"], "detectors.hw-5.weight is given twice"),
        (["bugdet=1"], "unknown key 'bugdet': did you mean 'budget'?"),
        (["detectors.HW-5=1"], "expected budget, detectors.NAME.PARAMETER"),
        (["budget=" + ",".join(map(str, range(1, 60))), "detectors.HW-5.weight=" + ",".join(map(str, range(60)))],
         "3,540 settings, expected 1,000 at most"),
    ],
)  # fmt: skip
def test_a_wrong_grid_is_refused_in_words(texts: list[str], says: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_sweep(texts)
    assert says in str(error.value)


def test_wallets_that_exact_rules_judge_have_no_budget_to_sweep() -> None:
    mapping = {"wallets": [{"id": "vault", "entity": "e", "role": "cold", "addresses": ["ethereum:0x" + "1" * 40]}]}
    cold = config_from_mapping({"version": 1, **mapping}, Path.cwd(), "config")
    with pytest.raises(ConfigError, match="exact rules alone judge it, no budget: nothing to sweep"):
        parse_sweep(["wallets.vault.budget=1,2"]).configs(cold)


def test_what_a_configuration_refuses_is_told_with_its_place_all_at_once() -> None:
    grid = parse_sweep(
        ["budget=1,-1,many", "detectors.HW-5.weight=99", "detectors.HW-5.wieght=1", "detectors.HW-55.weight=1",
         "wallets.hto.budget=1", "wallets.hot.detectors.CW-1.times=2"]
    )  # fmt: skip
    with pytest.raises(ConfigError) as error:
        grid.configs(config())
    found = [str(problem) for problem in error.value.problems]
    assert found[0] == "--sweep budget=-1: budget.false_alarms_per_wallet_month was -1, expected a number above 0"
    assert found[1].startswith("--sweep budget=many: ")
    assert found[2] == "--sweep detectors.HW-5.weight=99: HW-5: weight is 99, expected -1 to 6"
    assert found[3].startswith("--sweep detectors.HW-5.wieght=1: HW-5: wieght is unknown")
    assert "did you mean 'HW-5'?" in found[4]
    assert "there is no wallet 'hto': did you mean 'hot'?" in found[5]
    assert "CW-1 judges only wallets of role cold" in found[6]
    assert len(found) == 7


# -- the shared fold --------------------------------------------------------------------------------------------------

Settings = Sequence[tuple[float, Mapping[str, Mapping[str, Any]] | None]]
BUDGETS: Settings = [(float(budget), None) for budget in np.geomspace(0.05, 30, 9)]
MIXED: Settings = [
    (1.0, None), (1.0, {"HW-5": {"weight": 2.0}}), (3.0, {"HW-1": {"weight": 3.0}}), (3.0, {"GUARD": {"to_one": 0.1}}),
    (0.5, {"FUSION": {"floor": 0.02}}), (1.0, {"FUSION": {"warm_up_days": 1}}), (2.0, {"HW-1": {"familiar": 1.0}}),
    (5.0, {"FUSION": {"warm_up_days": 1}, "GUARD": {"to_all": 0.2}}), (2.0, {"HW-1": {"familiar": 1.0}}),
]  # fmt: skip


def named(role: Role, budget: float, given: Mapping[str, Any] | None) -> EngineState:
    """A state with two wallets of two assets each."""
    state = EngineState()
    for wallet in ("w0", "w1"):
        state.wallet(wallet, "c", parameters(role, budget, given))
        for asset in ("a", "b"):
            state.add_asset(wallet, "c", asset)
    return state


def traffic(seed: int, n: int, again: float, known: int) -> FlowRows:
    """Rows of two wallets over 60 days, of every kind, with enough large ones that settings come to differ."""
    rng = np.random.default_rng(seed)
    wallet, asset = rng.integers(0, 2, n), rng.integers(0, 2, n)
    ops = rng.choice([IN, OUT, SPEND, TELL, TOUCH], n, p=[0.42, 0.55, 0.01, 0.01, 0.01]).astype(np.int8)
    pays = ops == OUT
    amounts = np.exp(rng.normal(size=n) * 1.7) * 1e18 * np.where(ops == TELL, 30, 1)
    friends = rng.integers(1, 2**63, (2, known), dtype=np.uint64)
    strangers = rng.integers(1, 2**63, n, dtype=np.uint64)
    keys = np.where(rng.random(n) < again, friends[wallet, rng.integers(0, known, n)], strangers)
    kind = rng.random(n)
    flags = np.where(pays & (kind < 0.02), TRUSTED, np.where(pays & (kind < 0.04), FOREIGN, 0))
    flags = np.where((ops == IN) & (kind < 0.1), NATIVE, flags).astype(np.uint8)
    marks = np.where(pays & (rng.random(n) < 0.5), rng.integers(0, 2**26, n, dtype=np.uint64), np.uint64(0))
    marks = np.where(ops == TOUCH, strangers, marks)
    slots = np.where(ops == TOUCH, -1, wallet * 2 + asset).astype(np.int32)
    times = np.sort(rng.integers(0, 60 * DAY, n)) + START
    return FlowRows(slots, wallet.astype(np.int32), times, ops, amounts, keys, flags, marks)


def part(rows: FlowRows, begin: int, end: int) -> FlowRows:
    names = ("slots", "wallets", "times", "ops", "amounts", "keys", "flags", "marks")
    return FlowRows(*(getattr(rows, name)[begin:end] for name in names))


def together(role: Role, settings: Settings, rows: FlowRows, cuts: int) -> list[NDArray[np.void]]:
    given = [lambda wallet, chain, b=b, g=g: parameters(role, b, g) for b, g in settings]
    state = VariantState(named(role, 1.0, None), given)
    edges = np.linspace(0, len(rows), cuts + 1).astype(int)
    found: list[list[NDArray[np.void]]] = [[] for _ in settings]
    for begin, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        for mine, hits in zip(found, state.fold(part(rows, begin, end)), strict=True):
            hits["row"] += begin
            mine.append(hits)
    return [np.concatenate(hits) for hits in found]


@pytest.mark.parametrize(
    ("seed", "role", "settings", "again", "known", "cuts"),
    [
        (1, Role.HOT, BUDGETS, 0.3, 20, 1),
        (2, Role.HOT, BUDGETS, 0.9, 5, 7),
        (3, Role.HOT, MIXED, 0.7, 20, 1),
        (4, Role.HOT, MIXED, 0.95, 100, 5),
        (5, Role.PERSONAL, BUDGETS, 0.9, 20, 3),
        (6, Role.PERSONAL, MIXED, 0.3, 5, 1),
        (7, Role.TREASURY, MIXED, 0.9, 3, 40),
    ],
)
def test_settings_together_hit_as_each_alone(
    seed: int, role: Role, settings: Settings, again: float, known: int, cuts: int
) -> None:
    """Every field of every hit of every setting, though lanes and classes split all the time."""
    rows = traffic(seed, 2500, again, known)
    found = together(role, settings, rows, cuts)
    alone = [named(role, budget, given).fold(rows)[0] for budget, given in settings]
    assert [len(hits) for hits in found] == [len(hits) for hits in alone]
    assert all((one == other).all() for one, other in zip(found, alone, strict=True))
    assert len({len(hits) for hits in alone}) > 2  # settings do differ
    assert min(len(hits) for hits in alone) > 0


def test_full_tables_of_destinations_forget_the_same() -> None:
    """What a full table forgets depends on who is a suspect, which differs by setting."""
    rows = traffic(9, 60_000, 0.05, 50)
    rows = FlowRows(
        np.zeros(len(rows), np.int32), np.zeros(len(rows), np.int32), rows.times,
        np.where(rows.ops == TOUCH, OUT, rows.ops).astype(np.int8), rows.amounts, rows.keys, rows.flags, rows.marks,
    )  # fmt: skip
    settings = BUDGETS[3:7]
    found = together(Role.HOT, settings, rows, 2)
    for (budget, given), hits in zip(settings, found, strict=True):
        alone, _ = named(Role.HOT, budget, given).fold(rows)
        assert len(hits) == len(alone)
        assert (hits == alone).all()


# -- whole sweeps -----------------------------------------------------------------------------------------------------


def history(folder: Path, seed: int = 5, days: int = 60) -> tuple[Path, int, list[str]]:
    """Two months of three wallets, and a theft of the hot one; the table, when the theft began, its transactions."""
    rng = np.random.default_rng(seed)
    n = 1500
    times = np.sort(rng.integers(0, days * DAY, n))
    to = [f"0x{int(key):040x}" for key in rng.integers(10**6, 10**6 + 400, n)]
    who = rng.choice([HOT, SELF], n, p=[0.85, 0.15])
    values = np.exp(rng.normal(size=n) * 1.2) * 1e17
    arrives = rng.random(n) < 0.4
    rows = [
        (int(t), other if into else own, own if into else other, int(value * (2 if into else 1)))
        for t, own, other, value, into in zip(times, who, to, values, arrives, strict=True)
    ]
    rows += [(60, "0x" + "77" * 20, owner, 10**20) for owner in (HOT, COLD, SELF)]
    begin = 50 * DAY + 7200
    rows += [(begin + 60 * k, HOT, THIEF, 25 * 10**18) for k in range(4)]
    rows += [(begin + 3 * DAY, COLD, "0x" + "ee" * 20, 10**18)]
    rows.sort()
    frame = pl.DataFrame(
        {
            "chain": ["ethereum"] * len(rows),
            "block_number": [1000 + at // 12 for at, *_ in rows],
            "block_timestamp": [START + at for at, *_ in rows],
            "transaction_hash": [f"0x{number:064x}" for number in range(len(rows))],
            "transaction_index": [0] * len(rows),
            "transfer_index": list(range(len(rows))),
            "from_address": [source for _, source, _, _ in rows],
            "to_address": [target for _, _, target, _ in rows],
            "asset": ["native"] * len(rows),
            "value": [str(value) for *_, value in rows],
        }
    )
    path = folder / "history.parquet"
    frame.write_parquet(path)
    stolen = frame.filter(pl.col("to_address") == THIEF)["transaction_hash"].to_list()
    return path, START + begin, stolen


def alone(setting: Config, path: Path) -> dict[str, Any]:
    with run_backtest(setting, [str(path)]) as outcome:
        return dict(outcome.report)


def test_each_setting_reports_what_a_run_with_it_alone_reports(tmp_path: Path) -> None:
    """Byte for byte, speed apart: budgets, parameters of statistics, and parameters of policies."""
    path, _, _ = history(tmp_path)
    base = config()
    grid = parse_sweep(["budget=0.1,1,9", "detectors.FUSION.floor=0.005,0.05", "detectors.CW-1.enabled=true,false"])
    with run_backtest(base, [str(path)]) as outcome:
        before = _text(outcome.report)
        sweep = run_sweep(outcome, grid, reports=True)
        quick = run_sweep(outcome, grid)
        assert _text(outcome.report) == before
    with run_backtest(base, [str(path)], sweep=grid) as outcome:  # half of them in one pass with the backtest itself
        assert _text(outcome.report) == before
        assert outcome.swept is not None
        assert len(outcome.swept.numbers) == 6
        at_once = run_sweep(outcome, grid)
        assert at_once == quick
    counts = []
    for setting, row, fast in zip(grid.configs(base), sweep.rows, quick.rows, strict=True):
        wanted = alone(setting, path)
        assert row.report is not None
        assert _text(row.report) == _text(wanted)
        counts.append(len(wanted["incidents"]))
        by_severity = {name: sum(i["severity"] == name for i in wanted["incidents"]) for name in SEVERITIES}
        assert row.incidents == fast.incidents == by_severity
        shares = [i["share_lost_at_open"] for i in wanted["incidents"] if i["share_lost_at_open"] is not None]
        assert row.share_lost_at_open == fast.share_lost_at_open == (sum(shares) / len(shares) if shares else None)
        months = sum(wallet["days"] for wallet in wanted["wallets"]) / 30
        assert fast.false_alarms == pytest.approx(len(wanted["incidents"]) / months)
        assert fast.report is None
    assert len(set(counts)) > 2


def _text(report: Mapping[str, Any]) -> str:
    return json.dumps({key: value for key, value in report.items() if key != "speed"}, sort_keys=True)


def test_settings_that_cannot_share_are_folded_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, _, _ = history(tmp_path)
    grid = parse_sweep(["budget=0.1,1,9"])

    def refuse(self: VariantState, rows: FlowRows) -> list[NDArray[np.void]]:
        if len(rows) > 1:  # the warm-up has one
            raise CannotShare
        return []

    with run_backtest(config(), [str(path)]) as outcome:
        shared = run_sweep(outcome, grid, reports=True)
        monkeypatch.setattr(VariantState, "fold", refuse)
        apart = run_sweep(outcome, grid, reports=True)
        before = _text(outcome.report)
    with run_backtest(config(), [str(path)], sweep=grid) as outcome:
        assert outcome.swept is None
        assert _text(outcome.report) == before
    assert [_text(row.report or {}) for row in shared.rows] == [_text(row.report or {}) for row in apart.rows]


def test_a_sweep_against_labelled_incidents(tmp_path: Path) -> None:
    """The theft is caught by the budgets that catch it, and what is left is the false alarms."""
    path, begin, stolen = history(tmp_path)
    hashes = frozenset(tx.removeprefix("0x") for tx in stolen)
    labelled = TruthIncident("theft", "exchange", ("hot",), transactions=hashes)
    with run_backtest(config(), [str(path)]) as outcome:
        sweep = run_sweep(outcome, parse_sweep(["budget=0.1,3"]), Truth("labels.yaml", (labelled,)))
    for row in sweep.rows:
        assert row.scored is not None
        assert row.scored.recall == 1.0
        assert len(row.scored.unmatched) + len(row.scored.matched) == row.count
        assert row.false_alarms == row.scored.false_alarms
        fate = row.scored.fates[0]
        assert fate.first is not None
        assert fate.first.at == begin
        assert fate.delay()[0] in (0, 60, 120, 180)
    assert len(sweep.rows[0].scored.unmatched) < len(sweep.rows[1].scored.unmatched)  # type: ignore[union-attr]
    data = sweep_data(sweep)
    assert data["schema"] == SCHEMA == "heistwatch/sweep/1"
    assert json.loads(json.dumps(data)) == data
    assert [row["values"] for row in data["rows"]] == [{"budget": 0.1}, {"budget": 3}]
    assert data["rows"][0]["truth"]["caught"] == 1
    assert data["chart"] == [
        {"label": label, "false_alarms": x, "share_lost": y} for label, x, y in chart_points(sweep)
    ]
    assert [point["label"] for point in data["chart"]] == ["budget=0.1", "budget=3"]


def test_what_a_setting_misses_it_lost(tmp_path: Path) -> None:
    """A setting that catches less is never the better one for it: of what it missed, all had gone."""
    path, begin, stolen = history(tmp_path)
    hashes = frozenset(tx.removeprefix("0x") for tx in stolen)
    caught = TruthIncident("theft", "exchange", ("hot",), transactions=hashes)
    missed = TruthIncident("early", "exchange", ("hot",), start=begin - 40 * 86400, end=begin - 40 * 86400 + 7200)
    with run_backtest(config(), [str(path)]) as outcome:
        both = [
            run_sweep(outcome, parse_sweep(["budget=0.1"]), Truth("labels.yaml", labels)).rows[0]
            for labels in ((caught,), (caught, missed))
        ]
    assert [(row.scored.count(CAUGHT), row.scored.count(MISSED)) for row in both if row.scored] == [(1, 0), (1, 1)]
    alone, together = (row.share_lost for row in both)
    assert alone is not None and together == pytest.approx((alone + 1.0) / 2)
    assert both[1].scored is not None and both[1].scored.mean_share() == alone
    nothing = Scored((Fate(missed, MISSED),), (), (), 1.0)
    assert nothing.mean_loss() == 1.0 and nothing.mean_share() is None


def test_a_sweep_in_words(tmp_path: Path) -> None:
    from rich.console import Console

    path, _, _ = history(tmp_path)
    with run_backtest(config(), [str(path)]) as outcome:
        sweep = run_sweep(outcome, parse_sweep(["budget=0.1,3"]))
    lines = sweep_lines(sweep)
    assert lines[0].split()[:2] == ["budget", "incidents"]
    assert [line.split()[0] for line in lines[1:3]] == ["0.1", "3"]
    assert [line.split()[1] for line in lines[1:3]] == [str(row.count) for row in sweep.rows]
    assert lines[3].startswith("note: 1 personal wallets take 0.1")
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(sweep_table(sweep))
    assert "What if" in console.export_text()
    for line in (lines := records(sweep_table(sweep), 40)):
        assert len(line) <= 40
    text = " ".join(" ".join(lines).split())
    assert f"- budget 0.1, incidents {sweep.rows[0].count}, critical " in text and "- budget 3, incidents " in text
