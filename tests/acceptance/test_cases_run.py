"""Every built-in theft through the backtest, and the demo as a user runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from monitor.case import case_ids, load_case
from monitor.case_run import judge, run_case

REPLAYABLE = [name for name in case_ids() if load_case(name).replayable]


@pytest.mark.parametrize("name", REPLAYABLE)
def test_a_theft_is_paged_and_the_time_before_is_silent(name: str) -> None:
    """At least a high incident, none on the background, nothing but the theft."""
    case = load_case(name)
    found = run_case(case)
    verdict = judge(case, found)
    assert verdict["paged"] and verdict["severity"] in ("high", "critical"), verdict
    assert verdict["false_alarms"] == 0
    assert found["data"]["bad_rows"] == 0
    for incident in found["incidents"]:
        notices = {finding["detector"].partition("-")[0] for finding in incident["findings"]} == {"CW"}
        assert incident["budget_exceeded"] != notices  # what a cold wallet pays is told, and counts apart
        assert 0 < incident["share_lost_at_open"] <= 1
        assert {finding["tx"] for finding in incident["findings"]} <= set(case.theft_transactions)


def test_coincheck_opens_at_the_first_or_second_large_payment() -> None:
    """By the second 100,000,000 XEM, with at most 40 % gone; the whole loss is in one incident."""
    case = load_case("coincheck-2018")
    found = run_case(case)
    (incident,) = found["incidents"]
    assert incident["opened_tx"] in case.theft_transactions[1:3]
    assert incident["share_lost_at_open"] <= 0.40
    assert incident["lost"] == [
        {
            "asset": "nem:mainnet/slip44:43",
            "chain": "nem:mainnet",
            "display": "526,300,010 XEM",
            "value": "526300010000000",
        }
    ]
    assert incident["suspects"] == ["NC4C6PSUW5CLTDT5SXAGJDQJGZNESKFK5MCN77OG"]


def test_zaif_is_one_incident_over_three_chains() -> None:
    """BTC, BCH and MONA of one entity join."""
    found = run_case(load_case("zaif-2018"))
    (incident,) = found["incidents"]
    assert len({finding["chain"] for finding in incident["findings"]}) == 3


def test_two_runs_give_the_same_report(tmp_path: Path) -> None:
    """Reports are equal without ``speed``."""
    reports = []
    for _ in range(2):
        found = run_case(load_case("wintermute-2022"))
        del found["speed"]
        reports.append(json.dumps(found, sort_keys=True))
    assert reports[0] == reports[1]


def test_the_demo_shows_a_theft_caught_live() -> None:
    """The live monitor over loopback nodes: one incident a theft, every webhook verified, exit 0."""
    done = subprocess.run(
        [sys.executable, "-m", "monitor", "demo", "--fast"],
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "incident.opened" in done.stdout
    assert "526,300,010 XEM" in done.stdout
    assert done.stdout.count("for 1 incident, all verified") == 2
    assert "342,000 ETH sent to suspects" in done.stdout
    assert "Traceback" not in done.stderr
