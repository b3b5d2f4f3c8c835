"""The outcome of a backtest for people who work in Python: typed, and as data frames with exact sums."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import jsonschema
import polars as pl
import pytest
from pydantic import BaseModel, ValidationError

import monitor
from monitor.backtesting.flow_frames import sum_exactly
from monitor.backtesting.frames import COLUMNS, sweep_frame
from monitor.backtesting.outcome import Outcome
from monitor.backtesting.typed import Report, backtest_schema
from monitor.errors import ConfigError

ETHER, DAY, START = 10**18, 86400, 1_700_006_400  # 2023-11-15 00:00 UTC
HOT, SISTER, CUSTOMER, THIEF = ("0x" + digit * 40 for digit in "1234")
TOKEN, HUGE = "0x" + "77" * 20, 2**250
COLUMNS_OF_TABLE = (
    "chain,block_number,block_timestamp,transaction_hash,transaction_index,transfer_index,from_address,to_address,"
    "asset,value,kind,tx_from"
)


def history(folder: Path) -> Path:
    """Ten days of payments, a token with amounts beyond 128 bits, a fee, a move inside, a bad row, and a theft."""
    rows: list[tuple[int, str, str, str, int | str, str]] = [(0, CUSTOMER, HOT, "native", 1000 * ETHER, "native")]
    rows += [(3600 * n, HOT, CUSTOMER, "native", ETHER, "native") for n in range(1, 240)]
    rows += [(3600, CUSTOMER, HOT, TOKEN, HUGE, "token"), (7200, HOT, CUSTOMER, TOKEN, HUGE - 1, "token")]
    rows += [(7200, HOT, "", "native", 21_000, "fee"), (7300, HOT, SISTER, "native", 5, "native")]
    rows += [(10 * DAY, HOT, THIEF, "native", 700 * ETHER, "native")]
    rows += [(10 * DAY + 60, THIEF, HOT, "native", 7, "native")]
    rows += [(10 * DAY + 90, HOT, THIEF, "native", "many", "native")]
    lines = [
        f"ethereum,{at // 12 + 1},{START + at},0x{n:064x},{n},{n},{sender},{to},{asset},{value},{kind},{sender}"
        for n, (at, sender, to, asset, value, kind) in enumerate(sorted(rows, key=lambda row: row[0]))
    ]
    path = folder / "history.csv"
    path.write_text("\n".join([COLUMNS_OF_TABLE, *lines, ""]))
    return path


CONFIG: Mapping[str, Any] = {
    "assets": [{"chain": "ethereum", "asset": TOKEN, "symbol": "BIG", "decimals": 2}],
    "wallets": [{"id": "hot", "entity": "Us", "role": "hot", "addresses": [f"ethereum:{HOT}", f"ethereum:{SISTER}"]}],
}


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    found = monitor.backtest(CONFIG, str(history(tmp_path_factory.mktemp("history"))))
    assert isinstance(found, Outcome)
    return found


def test_an_outcome_is_the_report_too(outcome: Outcome) -> None:
    """Whoever took a dictionary before still finds everything at its key."""
    assert outcome["schema"] == "heistwatch/backtest/1" and dict(outcome) == outcome.report
    assert outcome["data"]["bad_rows"] == 1 and json.loads(json.dumps(dict(outcome))) == outcome.report


def extra(model: BaseModel) -> list[str]:
    """Fields that no model describes."""
    found = [f"{type(model).__name__}.{name}" for name in model.model_extra or {}]
    for value in vars(model).values():
        for item in value if isinstance(value, tuple) else value.values() if isinstance(value, dict) else [value]:
            found += extra(item) if isinstance(item, BaseModel) else []
    return found


def test_a_cell_of_a_notebook_shows_it_shortly(outcome: Outcome) -> None:
    data = outcome["data"]
    assert repr(outcome) == f"<Outcome: 1 incidents, {data['rows']} rows, {data['flows']} flows>"


def test_types_are_those_of_the_report(outcome: Outcome) -> None:
    """Every field of the report is described and typed; the published schema accepts it, and not a broken one."""
    report = outcome.typed
    assert isinstance(report, Report) and extra(report) == []
    incident = report.incidents[0]
    assert incident.lost[0].value == 700 * ETHER and incident.opened_at == datetime(2023, 11, 25, tzinfo=UTC)
    assert report.incident(incident.id[:6]) == incident and incident.findings[0].value == 700 * ETHER
    jsonschema.validate(outcome.report, backtest_schema())
    broken = json.loads(json.dumps(outcome.report))
    broken["incidents"][0]["lost"][0]["value"] = 7e20
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, backtest_schema())
    with pytest.raises(ValidationError):
        Report.model_validate(broken)


def test_frames_have_the_documented_columns(outcome: Outcome) -> None:
    """Each table has its columns and types in order, whether it has rows or not."""
    frames = outcome.frames
    tables = {
        "incidents": frames.incidents, "findings": frames.findings, "lost": frames.lost, "wallets": frames.wallets,
        "bad_rows": frames.bad_rows, "chains": frames.chains, "daily": frames.daily(),
        "flows": frames.flows(outcome.incidents[0].id),
    }  # fmt: skip
    assert set(tables) == set(COLUMNS)
    for name, table in tables.items():
        assert dict(table.schema) == dict(COLUMNS[name]), name
        assert len(table), name
        assert not any(table[column].is_null().all() for column in ("value", "at", "wallet") if column in table.columns)


def test_frames_say_what_the_report_says(outcome: Outcome) -> None:
    """One row each, exact amounts, aware times, severities that can be compared."""
    frames, entry = outcome.frames, outcome["incidents"][0]
    assert frames.incidents["id"].to_list() == [item["id"] for item in outcome["incidents"]]
    assert frames.incidents["opened_at"][0] == datetime(2023, 11, 25, tzinfo=UTC)
    assert len(frames.incidents.filter(pl.col("severity") >= "high")) == 1
    assert frames.findings["id"].to_list() == [f["id"] for item in outcome["incidents"] for f in item["findings"]]
    (lost,) = frames.lost.rows(named=True)
    assert (lost["value"], lost["amount"], lost["symbol"], lost["returned"]) == (str(700 * ETHER), 700.0, "ETH", "7")
    assert lost["display"] == entry["lost"][0]["display"]
    paid = outcome["wallets"][0]["flows_out"]
    assert frames.wallets.select("id", "role", "flows_out").rows() == [("hot", "hot", paid)]
    assert frames.bad_rows["reason"].to_list() == [item["reason"] for item in outcome["data"]["bad"]]
    assert frames.chains["rows"].sum() <= outcome["data"]["rows"]


def test_daily_sums_are_exact(outcome: Outcome) -> None:
    """In and out by wallet, chain, asset and UTC day: beyond 128 bits too; fees go out, moves inside are none."""
    daily = outcome.frames.daily()
    ether = daily.filter(pl.col("symbol") == "ETH")
    first, last = ether.row(0, named=True), ether.row(-1, named=True)
    assert (first["day"], last["day"]) == (date(2023, 11, 15), date(2023, 11, 25))
    assert first["inflow_value"] == str(1000 * ETHER) and first["outflow_value"] == str(23 * ETHER + 21_000)
    assert (first["flows_in"], first["flows_out"]) == (1, 23)
    assert (last["inflow_value"], last["outflow_value"], last["outflow"]) == ("7", str(700 * ETHER), 700.0)
    assert sum(map(int, ether["outflow_value"])) == 939 * ETHER + 21_000
    (big,) = daily.filter(pl.col("symbol") == "BIG").rows(named=True)
    assert (big["inflow_value"], big["outflow_value"]) == (str(HUGE), str(HUGE - 1))
    assert big["inflow"] == pytest.approx(HUGE / 100)


def test_flows_around_an_incident(outcome: Outcome) -> None:
    """Its wallets' flows in the window, in order, with those that touch a suspect marked."""
    name = outcome.incidents[0].id
    flows = outcome.frames.flows(name[:8], before=3600 * 4, after=0)
    assert flows["at"].is_sorted() and flows["at"][0] == datetime(2023, 11, 24, 20, tzinfo=UTC)
    assert flows.filter(pl.col("suspect"))["value"].to_list() == [str(700 * ETHER)]
    assert len(outcome.frames.flows(name, after=60).filter(pl.col("suspect"))) == 2
    with pytest.raises(KeyError, match="0 incidents"):
        outcome.frames.flows("no such")


def test_scores_and_sweeps_from_python(outcome: Outcome, tmp_path: Path) -> None:
    """The file's labels, or its path; every combination of settings is a row, with its own values first."""
    truth = tmp_path / "truth.yaml"
    truth.write_text("incidents: [{id: theft, wallets: [hot], from: 2023-11-25T00:00:00Z}]\n")
    assert outcome.score(truth).recall == 1.0
    frame = sweep_frame(outcome.sweep({"budget": [0.3, 1], "detectors.GUARD.enabled": [True, False]}, truth))
    assert frame.columns[:3] == ["budget", "detectors.GUARD.enabled", "incidents"] and len(frame) == 4
    assert frame["recall"].to_list() == [1.0] * 4 and frame.schema["delay"] == pl.Float64
    assert sweep_frame(outcome.sweep({"budget": [0.3, 1]}))["recall"].to_list() == [None, None]
    with pytest.raises(ConfigError, match="--sweep budget=0"):
        outcome.sweep({"budget": [0]})


def test_sums_of_any_size() -> None:
    """Against Python's own whole numbers: nulls, zeros, and 78 digits."""
    values = ["0", None, "9" * 78, "1", str(2**256), "10" * 20]
    frame = pl.DataFrame({"group": [1, 1, 1, 2, 2, 2], "value": values})
    found = dict(sum_exactly(frame, ["group"], ["value"]).iter_rows())
    assert found == {1: "9" * 78, 2: str(1 + 2**256 + int("10" * 20))}


SCRIPT = """
import monitor
from monitor.backtesting.outcome import Outcome
from monitor.own import Said, View, detector
from monitor.model import Flow
import polars as pl

@detector("A-1", "Mine")
def mine(flow: Flow, view: View) -> Said:
    "All."
    return ("low", view.amount) if flow.value > 5 else None

outcome: Outcome = monitor.backtest("heistwatch.yaml", "history.csv", detectors=[mine])
frame: pl.DataFrame = outcome.frames.daily()
lost: int = outcome.typed.incidents[0].lost[0].value
wrong: str = outcome.typed.incidents[0].lost[0].value
"""


def test_types_reach_users(tmp_path: Path) -> None:
    """mypy --strict over a user's script: what is right passes, and what is wrong is found."""
    (tmp_path / "script.py").write_text(SCRIPT)
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file", str(root / "pyproject.toml"), "--no-error-summary",
         "--follow-imports", "silent", "--cache-dir", str(root / ".mypy_cache"), str(tmp_path / "script.py")],
        cwd=root, capture_output=True, text=True,
    )  # fmt: skip
    found = done.stdout.splitlines()
    assert len(found) == 1 and "script.py:16: error: Incompatible types in assignment" in found[0], done.stdout
