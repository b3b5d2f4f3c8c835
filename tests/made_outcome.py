"""Outcomes of backtests made in memory: a month of a wallet's customers, and a theft."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from chains.tables.layout import BALANCES, FRAME
from monitor.assets import AssetNames
from monitor.backtesting.history import Batch
from monitor.backtesting.outcome import Outcome
from monitor.config import Config, config_from_mapping
from monitor.engine import Engine
from monitor.model import Severity
from monitor.replay import replay
from monitor.report import report
from monitor.watchlist import Watchlist

ETH, BTC = "eip155:1", "bip122:000000000019d6689c085ae165831e93"
ETHER, BITCOIN = f"{ETH}/slip44:60", f"{BTC}/slip44:0"
DAY, HOUR = 86400, 3600
START = 1_700_006_400  # a midnight
COIN = 10**18
HOT, SUSPECT = "0x" + "11" * 20, "0x" + "bad0" * 10
COINS_OF = "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa"
DAYS = 30
THEFT = START + DAYS * DAY + 5 * HOUR


def config(**more: Any) -> Config:
    wallets = [
        {"id": "hot", "entity": "One", "role": "hot", "addresses": [f"ethereum:{HOT}"]},
        {"id": "coins", "entity": "Two", "role": "hot", "addresses": [f"bitcoin:{COINS_OF}"]},
    ]
    return config_from_mapping({"version": 1, "wallets": wallets} | more, Path("/nowhere"), "test")


def row(at: int, to: str, value: int, *, source: str = HOT, chain: str = ETH) -> dict[str, Any]:
    coins = chain == BTC
    return dict.fromkeys(FRAME) | {
        "chain": chain, "block_number": at - START + 10, "block_timestamp": at, "transaction_hash": f"t{at}-{to[-6:]}",
        "transaction_index": 0, "transfer_index": 0, "kind": "native", "asset": BITCOIN if coins else ETHER,
        "from_address": None if coins else source, "inputs": [source] if coins else None,
        "input_values": [str(value)] if coins else None, "to_address": to, "value": str(value), "amount": float(value),
    }  # fmt: skip


def ordinary(chain: str = ETH) -> list[dict[str, Any]]:
    """A month of a wallet's customers: they pay in what they take out."""
    random = np.random.default_rng(7)
    own = COINS_OF if chain == BTC else HOT
    rows = []
    for at in sorted(random.integers(START, START + DAYS * DAY, 1200).tolist()):
        value = int(random.lognormal(0.0, 1.0) * COIN)
        customer = f"0x{int(random.zipf(1.5)) % 5000 + 1000:040x}"
        rows.append(row(at, own, value, source="0x" + "cc" * 20, chain=chain))
        rows.append(row(at + 60, customer, value, source=own, chain=chain))
    return rows


def theft() -> list[dict[str, Any]]:
    """A small first payment, then nearly all in three."""
    moves = ((0, COIN // 100), (120, 300 * COIN), (240, 250 * COIN), (600, 200 * COIN))
    return [row(THEFT + after, SUSPECT, value) for after, value in moves]


def table(rows: list[dict[str, Any]]) -> pl.DataFrame:
    frame = pl.DataFrame(rows, schema=dict(FRAME), orient="row")
    return frame.sort("chain", "block_number", maintain_order=True)


TOLD = pl.DataFrame(
    [(ETH, HOT, ETHER, 5, str(800 * COIN)), (BTC, COINS_OF, BITCOIN, 5, str(800 * COIN))],
    schema=dict(BALANCES), orient="row",
)  # fmt: skip


class Kept:
    """A history in memory, in batches of so many blocks."""

    def __init__(self, frame: pl.DataFrame, blocks: int = 10**9) -> None:
        self._frame, self._blocks = frame, blocks

    def batches(self) -> Iterator[Batch]:
        for chain in sorted(self._frame["chain"].unique().to_list()):
            mine = self._frame.filter(pl.col("chain") == chain)
            numbers = mine["block_number"].unique(maintain_order=True).to_list()
            for begin in range(0, len(numbers), self._blocks):
                part = numbers[begin : begin + self._blocks]
                yield Batch(chain, mine.filter(pl.col("block_number").is_between(part[0], part[-1])))

    def close(self) -> None: ...


def outcome(
    frame: pl.DataFrame, told: pl.DataFrame | None = TOLD, on: Config | None = None, engine: Engine | None = None
) -> Outcome:
    on = on or config()
    listed = {chain.network.asset for chain in on.chains}
    names = AssetNames(on.assets)
    engine = engine or Engine(Watchlist(on.wallets), listed, None, None, on.detectors)
    done = replay(engine, frame, names, told)
    first, last = frame["block_timestamp"].min(), frame["block_timestamp"].max()
    chains = {
        chain: {"rows": 1, "transfers": 1, "first": first, "last": last} for chain in frame["chain"].unique().sort()
    }
    data = {"rows": len(frame), "bad_rows": 0, "transfers": len(frame), "first": first, "last": last,
            "chains": chains, "notes": []}  # fmt: skip
    incidents = tuple(i for i in done.correlator.all() if i.severity > Severity.INFO)
    made = report(data, done, incidents, names, [w.id for w in on.wallets], {"wall_seconds": 1.0})
    return Outcome(made, on, names, incidents, Kept(frame), done.wallets, told)
