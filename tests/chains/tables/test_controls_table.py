"""The controls table: read in every form, checked, in chain order; and folded by a backtest."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from chains.tables import ChainInfo, Reading, parse_source, read
from monitor.app import run_backtest
from monitor.config import config_from_mapping

SAFE, THIEF, OWNER = "0x" + "5a" * 20, "0x" + "66" * 20, "0x" + "0e" * 20
CHAINS = {"ethereum": ChainInfo("eip155:1", "evm", "eip155:1/slip44:60", 12.0)}
WATCH = {"eip155:1": frozenset({SAFE})}
COLUMNS = ["chain", "block_number", "block_timestamp", "transaction_hash", "transaction_index", "kind", "account",
           "subject", "detail"]  # fmt: skip


def row(number: int, kind: str, subject: str, detail: Any = None, **more: Any) -> dict[str, Any]:
    text = json.dumps(detail) if detail is not None else ""
    account = "0x" + SAFE[2:].upper()
    found = ["ethereum", number, 1_700_000_000 + 12 * number, f"0xAB{number}", 3, kind, account, subject, text]
    return dict(zip(COLUMNS, found, strict=True)) | more


ROWS = [
    row(9, "threshold_change", "1", {"before": "3"}),
    row(7, "implementation_change", THIEF, {"slot": "safe"}),
    row(7, "delegate_call", THIEF, transaction_index=2),
    row(8, "owner_change", OWNER, account=OWNER),
]


def write(path: Path, rows: Sequence[dict[str, Any]]) -> str:
    if path.suffix == ".csv":
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)
    elif path.suffix == ".parquet":
        pl.DataFrame(rows).write_parquet(path)
    else:
        path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return str(path)


def table(*paths: str, **options: Any) -> Reading:
    return read([parse_source(path) for path in paths], chains=CHAINS, watch=WATCH, **options)


@pytest.mark.parametrize("form", ["csv", "parquet", "ndjson"])
def test_every_form_gives_the_same_rows(tmp_path: Path, form: str) -> None:
    """In chain order, canonical, those of watched accounts alone; nothing of it is a transfer."""
    found = table(write(tmp_path / f"controls.{form}", ROWS))
    assert found.controls is not None and found.frame.is_empty() and found.transfers == 0
    assert found.controls.select("block_number", "kind", "account", "subject").rows() == [
        (7, "delegate_call", SAFE, THIEF), (7, "implementation_change", SAFE, THIEF), (9, "threshold_change", SAFE, "1")
    ]  # fmt: skip
    assert found.controls["transaction_hash"].to_list() == ["0xab7", "0xab7", "0xab9"]
    assert (found.rows, found.bad_rows) == (4, 0)


def test_details_may_be_nested_in_json(tmp_path: Path) -> None:
    """An object is as good as its text."""
    path = write(tmp_path / "controls.ndjson", [{**r, "detail": json.loads(r["detail"] or "{}")} for r in ROWS])
    found = table(path)
    assert found.controls is not None
    assert [json.loads(text or "{}") for text in found.controls["detail"]] == [{}, {"slot": "safe"}, {"before": "3"}]


def test_rows_that_make_no_sense_are_bad(tmp_path: Path) -> None:
    """An unknown kind, a detail that is no object, no account: counted and kept with the reason."""
    rows = [
        *ROWS,
        row(10, "owner_chang", OWNER),
        row(10, "owner_change", OWNER, "text"),
        row(11, "refund", OWNER, account=""),
    ]
    found = table(write(tmp_path / "controls.csv", rows))
    assert found.bad_rows == 3 and found.controls is not None and found.controls.height == 3
    reasons = [bad.reason for bad in found.bad]
    assert reasons[0].startswith("kind was 'owner_chang', expected one of approval,")
    assert reasons[1] == "detail is no JSON object" and reasons[2] == "account is empty"


def test_the_time_range_holds(tmp_path: Path) -> None:
    found = table(write(tmp_path / "controls.csv", ROWS), start=1_700_000_000 + 12 * 9)
    assert found.controls is not None and found.controls["block_number"].to_list() == [9]


def test_a_backtest_tells_changes_of_control_before_the_coins_leave(tmp_path: Path) -> None:
    """A Safe whose code is exchanged by a delegatecall; minutes later it is emptied: one incident, opened in time."""
    history = tmp_path / "history.csv"
    lines = ["chain,block_number,block_timestamp,transaction_hash,from_address,to_address,asset,value"]
    base = 1_700_000_000 - 30 * 86400
    lines += [
        f"ethereum,{n},{base + n * 86400},0xin{n},{OWNER if n % 2 else SAFE},{SAFE if n % 2 else OWNER},native,{10**20}"
        for n in range(1, 6)
    ]
    theft = 1_700_000_000 + 12 * 20
    lines.append(f"ethereum,20,{theft},0xout,{SAFE},{THIEF},native,{10**22}")
    history.write_text("\n".join(lines) + "\n")
    balances = tmp_path / "balances.csv"
    balances.write_text(f"chain,address,asset,block_number,value\nethereum,{SAFE},native,0,{10**22}\n")
    changes = [{**change, "block_number": 13, "block_timestamp": theft - 156} for change in ROWS[1:3]]
    controls = write(tmp_path / "controls.csv", changes)
    wallet = {"id": "safe", "role": "treasury", "addresses": [f"ethereum:{SAFE}"]}
    config = config_from_mapping({"wallets": [wallet]}, tmp_path, "case")
    report = run_backtest(config, [str(history), str(balances), controls])
    (incident,) = report["incidents"]
    assert {f["detector"] for f in incident["findings"][:2]} == {"CT-1", "CT-2"}
    assert incident["opened_block"] == 13 and incident["severity"] == "critical"
    assert incident["lost"][0]["value"] == str(10**22) and incident["share_lost_at_open"] == 0.0
    assert THIEF in incident["suspects"] and incident["wallets"] == ["safe"]
    alone = run_backtest(config, [controls])
    assert [i["opened_block"] for i in alone["incidents"]] == [13] and alone["incidents"][0]["lost"] == []
