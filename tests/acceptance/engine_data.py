"""A plugin with three made histories on which the engines of a backtest are held against each other."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import polars as pl
import pytest

from monitor.made_addresses import made_address
from monitor.networks import by_name

DAY = 86_400
START = 1_700_006_400  # a midnight
ETHER = 10**18
DAYS = 20  # of ordinary traffic before the theft
NEM, COINS = (
    [made_address(network, f"heistwatch engines {n}") for n in range(count)]
    for network, count in ((by_name("nem"), 8), (by_name("bitcoin"), 3))
    if network is not None
)


@dataclass(frozen=True)
class Made:
    """A history: its configuration, and what goes after ``--data``."""

    config: dict[str, Any]
    data: list[str]


def account(number: int) -> str:
    return f"0x{number:040x}"


def owned(addresses: list[str], owners: int, **more: Any) -> dict[str, Any]:
    """A configuration of hot wallets, dealt out to several owners."""
    return {
        "version": 1,
        "wallets": [
            {"id": f"w{n}", "entity": f"Owner {n % owners}", "role": "hot", "addresses": [address]}
            for n, address in enumerate(addresses)
        ],
        **more,
    }


def traffic(wallets: int, seed: int, thefts: int, per_day: int = 12) -> list[tuple[int, str, str, int]]:
    """(time, from, to, wei) of wallets 1, 2, ...: ordinary days, then everything of some of them leaves."""
    rng, rows = Random(seed), list[tuple[int, str, str, int]]()
    for wallet in range(1, wallets + 1):
        mine = account(wallet)
        rows.append((START, account(900), mine, 1000 * ETHER))
        for _ in range(per_day * DAYS):
            other = account(1000 + rng.randrange(60))
            at, value = START + 1 + rng.randrange(DAYS * DAY), rng.randrange(ETHER // 10, ETHER)
            rows.append((at, mine, other, value) if rng.random() < 0.5 else (at, other, mine, value))
        if wallet <= thefts:
            at = START + DAYS * DAY + 3600 * wallet
            rows += [(at + 30 * n, mine, account(0xBAD0 + wallet), 180 * ETHER) for n in range(5)]
    for n in range(wallets * 40):  # strangers among themselves
        rows.append((START + rng.randrange(DAYS * DAY), account(5000 + n), account(7000 + n), ETHER))
    return rows


def native_in_files(folder: Path) -> Made:
    """The native table on two networks in nine Parquet files, their rows in no order at all."""
    rng, rows = Random(2), list[dict[str, Any]]()
    for chain, seed in (("ethereum", 3), ("base", 4)):
        for n, (at, sender, receiver, value) in enumerate(traffic(7, seed, thefts=2)):
            rows.append({
                "chain": chain, "block_number": 1_000_000 + (at - START) // 12, "block_timestamp": at,
                "transaction_hash": f"0x{seed}{n:063x}", "transaction_index": n % 50, "transfer_index": n % 50,
                "from_address": sender, "to_address": receiver, "asset": "native", "value": str(value),
            })  # fmt: skip
    rng.shuffle(rows)
    for part in range(9):
        pl.DataFrame(rows[part::9]).write_parquet(folder / f"part-{part}.parquet", row_group_size=300)
    places = [f"{chain}:{account(n)}" for n in range(1, 8) for chain in ("ethereum", "base")]
    return Made(owned(places, 3), [str(folder)])


def tables_of_ethereum_etl(folder: Path) -> Made:
    """Transactions and token transfers in CSV files; the times are in tables of blocks alone."""
    rows = sorted(traffic(6, 5, thefts=3))
    blocks = {at: 2_000_000 + n for n, at in enumerate(sorted({row[0] for row in rows}))}
    transactions, tokens = list[dict[str, Any]](), list[dict[str, Any]]()
    for n, (at, sender, receiver, value) in enumerate(rows):
        common = {"from_address": sender, "to_address": receiver, "value": value, "block_number": blocks[at]}
        transactions.append({
            "hash": f"0x{n:064x}", "nonce": n, "block_hash": "0xb", "transaction_index": n % 3, "gas": 21000,
            "gas_price": 50, "input": "0x", **common,
        })  # fmt: skip
        if n % 3 == 0:
            tokens.append({"token_address": account(0x70CE), "transaction_hash": f"0x{n:064x}", "log_index": n % 7,
                           **common})  # fmt: skip
    times = [{"number": number, "hash": f"0x{number:x}", "timestamp": at, "miner": account(9), "gas_limit": 1}
             for at, number in blocks.items()]  # fmt: skip
    for name, table, files in (("transactions", transactions, 4), ("token_transfers", tokens, 3), ("blocks", times, 2)):
        for part in range(files):
            pl.DataFrame(table[::-1][part::files]).write_csv(folder / f"{name}-{part}.csv")
    return Made(owned([f"ethereum:{account(n)}" for n in range(1, 7)], 2), [str(folder / "*.csv")])


def coins_and_accounts(folder: Path) -> Made:
    """Bitcoin and NEM in one table, balances that were told, changes of control, plain rules; a file has bad rows."""
    coins = [_coin_row(n) for n in range(900)] + [_coin_row(n, theft=True) for n in range(900, 903)]
    nem = [_nem_row(n) for n in range(1200)] + [_nem_row(n, theft=True) for n in range(1200, 1206)]
    rows = [row for pair in zip(coins, nem, strict=False) for row in pair] + nem[len(coins) :]
    for part in range(4):
        (folder / f"moves-{part}.ndjson").write_text("".join(json.dumps(row) + "\n" for row in rows[part::4]))
    broken = {**nem[5], "value": "many", "transaction_hash": "broken"}
    (folder / "broken.ndjson").write_text(json.dumps(broken) + "\n" + json.dumps({**nem[6], "to_address": None}) + "\n")
    told = [
        {"chain": "nem", "address": NEM[0], "asset": "native", "block_number": 10, "value": str(9_000_000 * 10**6)},
        {"chain": "nem", "address": NEM[1], "asset": "native", "block_number": 10, "value": str(8_000_000 * 10**6)},
        {"chain": "bitcoin", "address": COINS[0], "asset": "native", "block_number": 10, "value": str(500 * 10**8)},
    ]
    (folder / "balances.ndjson").write_text("".join(json.dumps(row) + "\n" for row in told))
    owner = {
        "chain": "ethereum", "block_number": 77, "block_timestamp": START + DAY, "kind": "owner_change",
        "transaction_hash": f"0x{77:064x}", "transaction_index": 0, "account": account(1), "subject": account(2),
        "detail": json.dumps({"old": account(3)}),
    }  # fmt: skip
    (folder / "controls.ndjson").write_text(json.dumps(owner) + "\n")
    places = [f"bitcoin:{COINS[0]}", f"nem:{NEM[0]}", f"nem:{NEM[1]}", f"ethereum:{account(1)}"]
    config = owned(places, 3)
    config["wallets"][1]["rules"] = [{"asset": "native", "over": "50 %", "window": "1h"}]
    return Made(config, [str(folder)])


def _coin_row(n: int, theft: bool = False) -> dict[str, Any]:
    at = START + (DAYS * DAY + 600 * (n - 900) if theft else n * 1900)
    value = 100 * 10**8 if theft else 10**7 + n * 1000
    spends = theft or n % 2 == 0
    sender, receiver = (COINS[0], COINS[2] if theft else COINS[1]) if spends else (COINS[1], COINS[0])
    return {
        "chain": "bitcoin", "block_number": 100 + (at - START) // 600, "block_timestamp": at,
        "transaction_hash": f"{n:064x}", "transaction_index": n % 5, "transfer_index": n % 5, "asset": "native",
        "from_address": [sender], "input_values": [str(value + 1000)], "to_address": receiver, "value": str(value),
    }  # fmt: skip


def _nem_row(n: int, theft: bool = False) -> dict[str, Any]:
    at = START + (DAYS * DAY + 300 * (n - 1200) if theft else n * 1400)
    mine, other = NEM[n % 2], NEM[2 + n % 5]
    out = theft or n % 3 == 0
    return {
        "chain": "nem", "block_number": 100 + (at - START) // 60, "block_timestamp": at,
        "transaction_hash": f"{n:064x}", "transaction_index": n % 9, "transfer_index": n % 9, "asset": "native",
        "from_address": mine if out else other, "to_address": NEM[7] if theft else other if out else mine,
        "value": str(1_500_000 * 10**6 if theft else (100 + n) * 10**6), "fee": "50000",
    }  # fmt: skip


MAKERS: dict[str, Callable[[Path], Made]] = {
    "native": native_in_files,
    "ethereum-etl": tables_of_ethereum_etl,
    "coins": coins_and_accounts,
}


@pytest.fixture(scope="session", params=sorted(MAKERS))
def engine_history(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Each of the three."""
    return MAKERS[request.param](tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="session")
def native_history(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Made]:
    """Makes the first of the three, in a folder of its own: what a test may spoil."""
    return lambda: native_in_files(tmp_path_factory.mktemp("spoilt"))
