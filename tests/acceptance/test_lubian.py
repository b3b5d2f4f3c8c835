"""LuBian: all 91 transactions as they are listed, caught at the first, and followed block by block."""

from __future__ import annotations

import csv
import os
import re
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest
from click.testing import CliRunner

from monitor.case import load_case
from monitor.case_run import judge, run_case
from monitor.cli import demo
from monitor.ids import from_iso, iso

DATA = Path(os.environ.get("HEISTWATCH_DATA") or Path(__file__).parents[2] / ".." / "shared" / "data") / "incidents"
LIST = DATA / "lubian_2020-12-28_first_17_minutes.csv"
COIN = 100_000_000
STATED = Decimal("112153.4952830")  # BTC, the sum of the list


def test_the_movements_are_91_and_add_up() -> None:
    """Each has a hash, a payer, a receiver of its own, an amount, a time to the second and a source."""
    case = load_case("lubian-2020")
    moves = case.file.theft
    assert len(moves) == len({m.tx for m in moves}) == len({m.to for m in moves}) == 91
    assert all(m.tx is not None and len(m.tx) == 64 and m.source and m.precision == "second" for m in moves)
    assert sum(Decimal(m.value.removesuffix(" BTC")) for m in moves) == STATED
    assert sum(step.value for step in case.replay.stolen) == STATED * COIN
    assert Counter(iso(m.at) for m in moves) == {
        "2020-12-28T19:40:43Z": 4, "2020-12-28T19:43:53Z": 40, "2020-12-28T19:57:01Z": 47,
    }  # fmt: skip
    assert not case.file.totals


@pytest.mark.skipif(not LIST.exists(), reason="no real data (HEISTWATCH_DATA)")
def test_the_replay_is_the_list() -> None:
    """What is replayed is the transcribed list, transaction by transaction and in its order."""
    with LIST.open(encoding="utf-8") as lines:
        listed = [
            (row["tx_hash"], from_iso(row["time_utc"]), row["from_address"], row["to_address"], Decimal(row["amount"]))
            for row in csv.DictReader(lines)
        ]
    replayed = [
        (step.tx, step.at, step.inputs[0][0], step.outputs[0][0], Decimal(step.value) / COIN)
        for step in load_case("lubian-2020").replay.stolen
    ]
    assert replayed == listed


def test_it_opens_at_the_first_of_the_91() -> None:
    """Critical at once, 3.2 % gone; at the end one incident with 91 suspects and everything lost."""
    case = load_case("lubian-2020")
    found = run_case(case)
    (incident,) = found["incidents"]
    assert incident["opened_tx"] == incident["paged_tx"] == case.theft_transactions[0]
    assert incident["severity"] == "critical" and incident["share_lost"] == 1.0
    assert incident["share_lost_at_open"] == pytest.approx(3552.31 / float(STATED))
    assert {finding["tx"] for finding in incident["findings"]} == set(case.theft_transactions)
    assert set(incident["suspects"]) == {m.to for m in case.file.theft}
    assert [entry["value"] for entry in incident["lost"]] == [str(int(STATED * COIN))]
    verdict = judge(case, found)
    assert verdict["minutes"] == 0 and verdict["false_alarms"] == 0
    assert verdict["saved"] == ["98,014.235283 BTC"]  # in the two blocks after the first


def test_the_demo_follows_it_live() -> None:
    """`heistwatch demo --case lubian-2020`: each of the three blocks is one message, all of them critical."""
    done = CliRunner().invoke(demo.command, ["--case", "lubian-2020", "--fast"], standalone_mode=False)
    assert done.exception is None and done.return_value == 0, done.output
    told = re.findall(r"(\S+) +CRITICAL incident\.(\w+) .*?([\d,.]+) BTC sent", done.output)
    assert told == [
        ("2020-12-28T19:40:43Z", "opened", "14,139.26"),
        ("2020-12-28T19:43:53Z", "escalated", "95,478.8007765"),
        ("2020-12-28T19:57:01Z", "updated", "112,153.495283"),
    ]
    assert "3 signed webhooks for 1 incident, all verified" in done.output
