"""Long lists as watch sets of the table readers: the same rows as single addresses give, in every form and layout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from chains.tables import ChainInfo, Reading, Source, read
from monitor.addresses.compact import AddressSet, WatchedAddresses
from monitor.app import run_backtest
from monitor.config import config_from_mapping
from monitor.config.fleets import LONG_LIST

ETHEREUM, BITCOIN = "eip155:1", "bip122:000000000019d6689c085ae165831e93"
NAMES = [f"0x{i:040x}" for i in range(1, 60)]
Make, Write = Callable[..., dict[str, Any]], Callable[..., Path]


def reading(path: Path, infos: dict[str, ChainInfo], watch: dict[str, Any]) -> Reading:
    return read([Source(str(path))], chains=infos, watch=watch)


@pytest.mark.parametrize("form", ["parquet", "csv", "ndjson"])
def test_a_long_list_finds_the_rows_of_its_members(
    tmp_path: Path, infos: dict[str, ChainInfo], native_row: Make, write: Write, form: str
) -> None:
    """Senders and receivers, in any letter case, beside single addresses; other rows are only counted."""
    rows = [
        native_row(
            block_number=i, transaction_hash=f"0x{i:02x}", from_address=NAMES[i % 50],
            to_address=NAMES[(7 * i) % 50].upper().replace("X", "x"),
        )
        for i in range(200)
    ]  # fmt: skip
    path = write(tmp_path / f"t.{form}", rows)
    single, listed = NAMES[:2], NAMES[2:9]
    expected = reading(path, infos, {ETHEREUM: frozenset(single + listed)})
    found = reading(path, infos, {ETHEREUM: WatchedAddresses(frozenset(single), (AddressSet.of(listed),))})
    assert found.frame.equals(expected.frame) and 30 < found.frame.height < 150
    assert (found.rows, found.transfers) == (200, 200)
    whole = reading(path, infos, {ETHEREUM: WatchedAddresses(lists=(AddressSet.of(single), AddressSet.of(listed)))})
    assert whole.frame.equals(expected.frame)


def test_a_list_of_another_chain_finds_nothing(
    tmp_path: Path, three_chains: dict[str, ChainInfo], native_row: Make, write: Write
) -> None:
    """Look-alike: the same address text on another chain."""
    path = write(tmp_path / "t.parquet", [native_row()])
    members = AddressSet.of([str(native_row()["from_address"])])
    assert reading(path, three_chains, {"eip155:10": WatchedAddresses(lists=(members,))}).frame.is_empty()
    assert reading(path, three_chains, {ETHEREUM: WatchedAddresses(lists=(members,))}).frame.height == 1


@pytest.mark.parametrize("form", ["parquet", "ndjson"])
def test_inputs_of_members(
    tmp_path: Path, three_chains: dict[str, ChainInfo], native_row: Make, write: Write, form: str
) -> None:
    """On chains of outputs any input of a member counts, also a repeated one; rows without inputs do not matter."""
    rows = [
        native_row(chain="bitcoin", block_number=1, transaction_hash="aa", to_address="z",
                   from_address=["x", "m", "m"], input_values=["1", "2", "3"]),
        native_row(chain="bitcoin", block_number=2, transaction_hash="bb", to_address="z",
                   from_address=["x", "y"], input_values=["1", "2"]),
        native_row(chain="bitcoin", block_number=3, transaction_hash="cc", to_address="m",
                   from_address=["x"], input_values=["9"]),
    ]  # fmt: skip
    path = write(tmp_path / f"t.{form}", rows)
    found = reading(path, three_chains, {BITCOIN: WatchedAddresses(frozenset({"q"}), (AddressSet.of(["m"]),))})
    expected = reading(path, three_chains, {BITCOIN: frozenset({"q", "m"})})
    assert found.frame.equals(expected.frame) and found.frame["transaction_hash"].to_list() == ["aa", "cc"]


def test_a_backtest_of_a_fleet(tmp_path: Path, native_row: Make, write: Write) -> None:
    """A configuration with a long list gives the report of one that names the members that moved, one by one."""
    hot, thief = "0x" + "e" * 40, "0x" + "f" * 40
    rows = [
        native_row(block_number=i, block_timestamp=1_500_000_000 + 60 * i, transaction_hash=f"0x{i:02x}",
                   from_address=NAMES[i % 40], to_address=hot if i < 90 else thief, value=str(10**18))
        for i in range(96)
    ]  # fmt: skip
    path = write(tmp_path / "t.parquet", rows)
    more = [f"0x{i:040x}" for i in range(100, LONG_LIST + 100)]
    pl.DataFrame({"address": NAMES[:40] + more}).write_parquet(tmp_path / "fleet.parquet")

    def report(addresses: list[str]) -> dict[str, Any]:
        wallets = [
            {"id": "users", "entity": "Us", "role": "deposit", "addresses": addresses},
            {"id": "hot", "entity": "Us", "role": "hot", "addresses": [f"ethereum:{hot}"]},
        ]
        done = run_backtest(config_from_mapping({"version": 1, "wallets": wallets}, tmp_path, "case"), [str(path)])
        return {key: value for key, value in done.items() if key != "speed"}

    found = report(["ethereum:file:fleet.parquet"])
    assert found == report([f"ethereum:{name}" for name in NAMES[:40]])
    (incident,) = found["incidents"]
    assert incident["severity"] == "critical" and incident["wallets"] == ["users"]
    assert incident["lost"][0]["value"] == str(6 * 10**18) and incident["suspects"] == [thief]
    assert incident["budget_exceeded"] is False and found["data"]["flows"] == 96 + 90
