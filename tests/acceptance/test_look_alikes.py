"""What looks like a theft and is none: one incident at most, and where the funds return it ends low and resolved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from monitor.ids import from_iso
from tests.acceptance.made_history import BITCOIN, DAY, END, ETHER, HOUR, START, Made

ASSETS = 24


def raised(case: Made, folder: Path) -> list[dict[str, Any]]:
    """Incidents of what the test added; those of ordinary traffic before it stay within two in seventy days."""
    incidents, _ = case.run(folder)
    late = [i for i in incidents if from_iso(i["opened_at"]) >= END - HOUR]
    ordinary = len(incidents) - len(late)
    assert ordinary <= 4 * len(case.wallets), f"{ordinary} false alarms in the weeks before"
    return late


def lost(incident: dict[str, Any]) -> int:
    """Of its only asset."""
    (item,) = incident["lost"]
    return int(item["value"])


@pytest.mark.parametrize("back", [True, False])
@pytest.mark.parametrize("same", [True, False])
def test_maintenance_moves(tmp_path: Path, back: bool, same: bool) -> None:
    """8 x 3,000 BTC to own wallets that nobody listed: one incident; back within two days, it is low and resolved."""
    case = Made("bitcoin")
    hot = case.wallet("hot")
    case.live("hot", 40_000 * BITCOIN)
    fee = 5000
    for k in range(8):
        own = case.at("own" if same else f"own {k}")
        case.move(END + 600 * k, hot, own, 3000 * BITCOIN)
        if back:
            case.move(END + DAY + 3 * HOUR * k, own, hot, 3000 * BITCOIN - fee)
    (incident,) = raised(case, tmp_path)
    assert lost(incident) == 24_000 * BITCOIN and incident["budget_exceeded"]
    returned = [int(item["value"]) for item in incident["returned"]]
    if back:
        assert (incident["status"], incident["severity"]) == ("resolved", "low")
        assert returned == [24_000 * BITCOIN - 8 * fee] and any("came back" in line for line in incident["explanation"])
    else:
        assert incident["status"] == "open" and incident["severity"] in ("high", "critical") and returned == []


@pytest.mark.parametrize("test_payment", [True, False])
def test_cold_rotation(tmp_path: Path, test_payment: bool) -> None:
    """A fifth of the balance to a new cold address, where the old one was listed: one incident, after a test or not."""
    case = Made("ethereum")
    cold, new = case.at("cold"), case.at("new cold")
    hot = case.wallet("hot", trusted=(cold,))
    case.live("hot", 20_000 * ETHER)
    for week in range(9):
        case.move(START + (7 * week + 5) * DAY, hot, cold, 3000 * ETHER)
        case.move(START + (7 * week + 6) * DAY, cold, hot, 3000 * ETHER)
    if test_payment:
        case.move(END - HOUR // 2, hot, new, ETHER)
    case.move(END, hot, new, 2000 * ETHER)
    case.move(END + HOUR, hot, new, 2000 * ETHER)
    (incident,) = raised(case, tmp_path)
    assert lost(incident) == (4000 + test_payment) * ETHER and incident["suspects"] == [new]


def test_sister_wallets(tmp_path: Path) -> None:
    """Three quarters of one wallet to another of the same owner, and back: nothing."""
    case = Made("ethereum")
    one, two = case.wallet("one"), case.wallet("two")
    case.live("one", 20_000 * ETHER)
    case.live("two", 9000 * ETHER)
    for k in range(6):
        case.move(END + 600 * k, one, two, 2500 * ETHER)
    case.move(END + DAY, two, one, 15_000 * ETHER)
    assert raised(case, tmp_path) == []


@pytest.mark.parametrize("back", [True, False])
def test_sweep_of_all_assets(tmp_path: Path, back: bool) -> None:
    """24 assets to one new address within eight minutes: one incident; all but one of them back is not returned."""
    case = Made("ethereum")
    hot, new = case.wallet("hot"), case.at("new")
    assets = ["native", *(case.at(f"token {k}") for k in range(1, ASSETS))]
    for k, asset in enumerate(assets):
        case.live("hot", (1000 + 37 * k) * ETHER, asset=asset, per_day=12.0, deposits_per_day=4.0)
        case.move(END + 20 * k, hot, new, (900 + 30 * k) * ETHER, asset)
        if back or k:
            case.move(END + DAY + 20 * k, new, hot, (900 + 30 * k) * ETHER, asset)
    (incident,) = raised(case, tmp_path)
    assert sorted(int(item["value"]) for item in incident["lost"]) == [(900 + 30 * k) * ETHER for k in range(ASSETS)]
    assert len(incident["returned"]) == ASSETS - (not back)
    assert (incident["status"], incident["severity"] == "low") == (("resolved", True) if back else ("open", False))


def test_first_withdrawal_of_a_whale(tmp_path: Path) -> None:
    """A new customer takes 12 % of the balance at once, and more within the hour: one incident at most."""
    case = Made("ethereum")
    hot = case.wallet("hot")
    case.live("hot", 20_000 * ETHER)
    case.move(END, hot, case.at("whale"), 2400 * ETHER)
    case.move(END + HOUR // 2, hot, case.at("whale"), 200 * ETHER)
    assert len(raised(case, tmp_path)) <= 1


@pytest.mark.parametrize(("chain", "unit"), [("bitcoin", BITCOIN), ("ethereum", ETHER)])
def test_proof_of_reserves(tmp_path: Path, chain: str, unit: int) -> None:
    """Payments to own addresses, and from each to itself: nothing."""
    case = Made(chain)
    hot = case.wallet("hot", more=3)
    case.live("hot", 20_000 * unit)
    for k in range(3):
        own = case.at(f"hot {k}")
        case.move(END + 60 * k, hot, own, 5000 * unit)
        case.move(END + HOUR + 60 * k, own, own, 5000 * unit)
        case.move(END + DAY + 60 * k, own, hot, 5000 * unit)
    assert raised(case, tmp_path) == []
