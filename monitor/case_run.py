"""Running a built-in case: its rows as history through the backtest, and what an alarm would have saved."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monitor.app import run_backtest
from monitor.case import Case
from monitor.config import config_from_mapping
from monitor.ids import from_iso
from monitor.model import Severity

__all__ = ["judge", "run_case", "scorecard"]


def run_case(case: Case) -> dict[str, Any]:
    """A backtest report of the case's generated background and its theft."""
    with tempfile.TemporaryDirectory(prefix="heistwatch-case-") as folder:
        paths = [
            _write(Path(folder) / "transfers.ndjson", case.rows()),
            _write(Path(folder) / "balances.ndjson", case.balances()),
        ]
        config = config_from_mapping(case.config(), Path(folder), f"case {case.id}")
        with run_backtest(config, paths) as outcome:
            found = outcome.report
    found["data"]["notes"].insert(0, f"built-in case {case.id}: the traffic before the theft is generated")
    return found


def _write(path: Path, rows: Sequence[Mapping[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def judge(case: Case, found: Mapping[str, Any]) -> dict[str, Any]:
    """What a report of a case amounts to.

    Returns
    -------
    detected, paged (high or critical, of the theft), false_alarms (incidents opened before the theft), opened_at,
    minutes from the first theft transaction to the incident, share_lost_at_open (mean over the theft's incidents),
    saved: what had not yet gone when the incident was paged, and hours until the victim really noticed, with the mark
    of a time that is not verified
    """
    begin = case.theft_starts_at
    incidents = found["incidents"]
    before = [i for i in incidents if from_iso(i["opened_at"]) < begin]
    caught = [i for i in incidents if from_iso(i["opened_at"]) >= begin]
    paged = [from_iso(i["paged_at"]) for i in caught if i["paged_at"]]
    shares = [i["share_lost_at_open"] for i in caught if i["share_lost_at_open"] is not None]
    worst = max((Severity.parse(i["severity"]) for i in caught), default=Severity.INFO)
    opened = min((from_iso(i["opened_at"]) for i in caught), default=None)
    noticed = case.noticed_at
    return {
        "case": case.id,
        "detected": bool(caught),
        "severity": str(worst),
        "paged": bool(paged),
        "false_alarms": len(before),
        "incidents": len(caught),
        "opened_at": opened,
        "minutes": round((opened - begin) / 60, 2) if opened is not None else None,
        "share_lost_at_open": sum(shares) / len(shares) if shares else None,
        "saved": [stolen.display for stolen in case.stolen_after(min(paged))] if paged else [],
        "noticed_hours_after": round((noticed - begin) / 3600, 2) if noticed is not None else None,
        "noticed_mark": case.noticed_mark,
    }


def scorecard(judged: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The scorecard of cases, schema ``heistwatch/scorecard/1``."""
    rows = [
        {
            "case": j["case"],
            "kind": "historical",
            "n": 1,
            "budget": None,
            "realised": j["false_alarms"],
            "worst_wallet": None,
            "recall": 1.0 if j["detected"] else 0.0,
            "share_lost_at_open": j["share_lost_at_open"],
            "minutes": j["minutes"],
            "paged": j["paged"],
            "severity": j["severity"],
        }
        for j in judged
    ]
    return {"schema": "heistwatch/scorecard/1", "rows": rows}
