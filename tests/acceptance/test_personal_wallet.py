"""A holder's wallet through the public backtest: an ordinary year raises nothing, each kind of theft is named."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

import monitor
from monitor.ids import iso
from monitor.made_addresses import made_address
from monitor.networks import by_name

DAY, BLOCK = 86400, 12
START, FIRST = 1_609_718_400, 11_000_000  # 2021-01-04
YEAR = 365
ETHER = 10**18
TOKENS = ("ALFA", "BETA", "GAMA")
THEFT = START + 300 * DAY + 39_996
HEAD = (
    "chain", "block_number", "block_timestamp", "transaction_hash", "transaction_index", "transfer_index",
    "from_address", "to_address", "asset", "value", "decimals", "symbol", "tx_from",
)  # fmt: skip
Row = tuple[int, str, str, int, str, str]  # time, to or from ("<" before it), symbol, value, tx, signer


def address(name: str) -> str:
    network = by_name("ethereum")
    assert network is not None
    return made_address(network, f"personal wallet test {name}")


ME, STOCK = address("me"), {"ETH": 40 * ETHER, "ALFA": 900 * ETHER, "BETA": 70_000 * ETHER, "GAMA": 5 * ETHER}


def ordinary(days: int = YEAR) -> list[Row]:
    """Small payments to friends and strangers, income that makes up for them, a third of an asset sold now and then."""
    rows: list[Row] = []
    for day in range(1, days):
        at = START + day * DAY + (day * 7919) % 50_000
        symbol = ("ETH", *TOKENS)[day % 4]
        if day % 3 == 0:
            share = 1 + (day * 31) % 9  # per mille to per cent
            other = f"friend {day % 5}" if day % 9 else f"stranger {day}"
            rows.append((at, other, symbol, STOCK[symbol] * share // 200, f"pay {day}", "me"))
            rows.append((at + 30_000, "<payer", symbol, STOCK[symbol] * share // 200, f"income {day}", "payer"))
        if day % 100 == 50:
            rows.append((at + 600, "own exchange account", symbol, STOCK[symbol] // 3, f"sale {day}", "me"))
            rows.append((at + 3 * DAY, "<payer", symbol, STOCK[symbol] // 3, f"buy {day}", "payer"))
    return rows


def key_sweep() -> list[Row]:
    """Everything within six minutes, signed with the owner's key."""
    order = ("GAMA", "ALFA", "BETA", "ETH")
    return [(THEFT + 120 * n, "thief", s, STOCK[s] * 97 // 100, f"sweep {n}", "me") for n, s in enumerate(order)]


def approval_drain() -> list[Row]:
    """Two tokens in a stranger's own transactions."""
    two = enumerate(TOKENS[:2])
    return [(THEFT + 36 * n, "thief", s, STOCK[s] * 98 // 100, f"drain {n}", "drainer") for n, s in two]


def split() -> list[Row]:
    """Four fifths to the thief and one to his supplier, in one transaction."""
    whole = STOCK["ALFA"] * 95 // 100
    return [(THEFT, "thief", "ALFA", whole * 8 // 10, "split", "drainer"),
            (THEFT, "supplier", "ALFA", whole * 2 // 10, "split", "drainer")]  # fmt: skip


def write(folder: Path, rows: Sequence[Row]) -> list[str]:
    """The native table and a balances table."""
    assets = {"ETH": "native", **{name: address(f"token {name}") for name in TOKENS}}
    with (folder / "transfers.csv").open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(HEAD)
        for n, (at, other, symbol, value, tx, signer) in enumerate(sorted(rows, key=lambda r: r[0])):
            block = (at - START) // BLOCK
            there = address(other.removeprefix("<"))
            sides = (there, ME) if other.startswith("<") else (ME, there)
            out.writerow((
                "ethereum", FIRST + block, START + block * BLOCK, "0x" + tx.encode().hex().zfill(64), 0, n, *sides,
                assets[symbol], value, 18, symbol, address(signer),
            ))  # fmt: skip
    with (folder / "balances.csv").open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(("chain", "address", "asset", "block_number", "value"))
        out.writerows(("ethereum", ME, assets[symbol], FIRST - 1, value) for symbol, value in STOCK.items())
    return [str(folder / "transfers.csv"), str(folder / "balances.csv")]


def backtest(folder: Path, rows: Sequence[Row], **wallet: Any) -> dict[str, Any]:
    entry = {"id": "mine", "role": "personal", "addresses": [f"ethereum:{ME}"], **wallet}
    report: dict[str, Any] = monitor.backtest({"version": 1, "wallets": [entry]}, write(folder, rows))
    assert report["data"]["bad_rows"] == 0 and report["data"]["flows"] == len(rows)
    return report


def test_an_ordinary_year_raises_nothing(tmp_path: Path) -> None:
    """At the default budget of personal wallets, with a third of an asset sold now and then."""
    report = backtest(tmp_path, ordinary())
    assert report["incidents"] == []
    assert report["wallets"][0]["flows_out"] > 120


@pytest.mark.parametrize(
    ("theft", "detector", "says"),
    [
        (key_sweep, "PW-2", ["less than 5 % of its recent peak is left", "other asset(s) of the wallet moved"]),
        (approval_drain, "PW-3", ["another account's transaction moved it"]),
        (split, "PW-4", ["it left in two parts at once, 80 to 20"]),
    ],
)
def test_a_theft_is_paged_and_its_sign_is_named(
    theft: Callable[[], list[Row]], detector: str, says: list[str], tmp_path: Path
) -> None:
    """One incident, opened by a payment of the theft, with the sign in its findings and its explanation."""
    report = backtest(tmp_path, ordinary(300) + theft())
    (incident,) = report["incidents"]
    assert incident["opened_at"] >= iso(THEFT) and incident["severity"] in ("high", "critical")
    assert address("thief") in incident["suspects"]
    assert detector in {finding["detector"] for finding in incident["findings"]}
    summaries = " | ".join(finding["summary"] for finding in incident["findings"])
    assert all(text in summaries for text in says), summaries
    assert any(says[0] in line for line in incident["explanation"]), incident["explanation"]


def test_the_same_payments_of_a_hot_wallet_are_named_by_its_statistics(tmp_path: Path) -> None:
    """Signs of personal wallets speak for personal wallets alone."""
    report = backtest(tmp_path, ordinary(300) + approval_drain(), role="hot", budget=0.1)
    found = {finding["detector"] for incident in report["incidents"] for finding in incident["findings"]}
    assert found and not any(name.startswith("PW-") for name in found)


def test_a_small_first_payment_to_a_stranger_is_nothing(tmp_path: Path) -> None:
    """The look-alike: a new address, a twentieth of one asset, by the owner."""
    one = [(THEFT, "somebody new", "ALFA", STOCK["ALFA"] // 20, "new", "me")]
    assert backtest(tmp_path, ordinary(300) + one)["incidents"] == []


def test_all_of_one_asset_to_an_own_account_is_nothing(tmp_path: Path) -> None:
    """The look-alike of a sweep: one asset, all of it, to an address that got some of it weeks before."""
    one = [(THEFT, "own exchange account", "BETA", STOCK["BETA"], "sold", "me")]
    assert backtest(tmp_path, ordinary(300) + one)["incidents"] == []
