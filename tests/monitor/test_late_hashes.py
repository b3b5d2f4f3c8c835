"""A backtest whose hashes are read late says what one says that read them with the rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from monitor.app import run_backtest
from monitor.backtesting.outcome import Outcome
from monitor.backtesting.truth import Truth, TruthIncident
from monitor.config import Config, config_from_mapping
from tests.acceptance.engine_data import DAY, START, account, owned, traffic

WALLETS = 5


def rows() -> pl.DataFrame:
    """The native table of one network in chain order, with thefts."""
    found = [
        {
            "chain": "ethereum", "block_number": 1_000_000 + (at - START) // 12, "block_timestamp": at,
            "transaction_hash": f"0x{n:064X}", "transaction_index": n, "transfer_index": n, "from_address": sender,
            "to_address": receiver, "asset": "native", "value": str(value),
        }
        for n, (at, sender, receiver, value) in enumerate(sorted(traffic(WALLETS, 3, thefts=2)))
    ]  # fmt: skip
    return pl.DataFrame(found)


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The same rows as Parquet, and as CSV, where hashes are read with the rows."""
    folder = tmp_path_factory.mktemp("late")
    found = {kind: str(folder / f"a.{kind}") for kind in ("parquet", "csv")}
    rows().write_parquet(found["parquet"], row_group_size=300)
    rows().write_csv(found["csv"])
    return found


def config(**more: Any) -> Config:
    mapping = owned([f"ethereum:{account(n)}" for n in range(1, WALLETS + 1)], 3)
    mapping["wallets"][2] |= more
    return config_from_mapping(mapping, Path.cwd(), "late")


def said(outcome: Outcome) -> str:
    """The report but for the speed."""
    found = {key: part for key, part in outcome.report.items() if key != "speed"}
    return json.dumps(found, sort_keys=True)


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"role": "cold"},
        {"rules": [{"asset": "native", "over": "50 %", "window": "1h"}]},
        {"trusted": [{"address": f"ethereum:{account(1003)}"}]},
    ],
    ids=["hot", "cold", "rules", "trusted"],
)
def test_reports_are_the_same(more: dict[str, Any], paths: dict[str, str]) -> None:
    on = config(**more)
    with run_backtest(on, [paths["parquet"]]) as late, run_backtest(on, [paths["csv"]]) as plain:
        assert said(late) == said(plain)
        hashes = [finding["tx"] for incident in late["incidents"] for finding in incident["findings"]]
        assert hashes and all(len(hash) == 66 and hash == hash.lower() for hash in hashes)


def test_workers_read_them_too(paths: dict[str, str]) -> None:
    with run_backtest(config(), [paths["parquet"]]) as one, (
        run_backtest(config(), [paths["parquet"]], engine="processes")
    ) as other:
        assert said(one) == said(other)


def test_frames_and_labels_see_them(paths: dict[str, str]) -> None:
    stolen = rows().filter(pl.col("to_address") == account(0xBAD1))["transaction_hash"][0]
    truth = Truth(
        "labels",
        (
            TruthIncident("by hash", "", transactions=frozenset({stolen.lower().removeprefix("0x")})),
            TruthIncident("by time", "", start=START + 20 * DAY, end=START + 21 * DAY),
        ),
    )
    found = []
    for path in paths.values():
        with run_backtest(config(), [path]) as outcome:
            scored = outcome.score(truth)
            incident = outcome.incidents[0].id
            found.append((outcome.frames.flows(incident).to_dicts(), outcome.frames.daily().to_dicts(), scored))
    assert found[0] == found[1]
    assert all(len(flow["tx"]) == 66 for flow in found[0][0])
