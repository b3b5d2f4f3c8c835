"""Histories that are made up row by row: weeks of ordinary traffic, then whatever a test adds, through the backtest.

Nothing here happened. The traffic is `monitor.background`'s; the same texts give the same tables on every machine.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from monitor.app import fold_history
from monitor.background import Hot, generate
from monitor.config import config_from_mapping
from monitor.engine import Engine
from monitor.made_addresses import made_address
from monitor.networks import by_name

__all__ = ["BITCOIN", "DAY", "END", "ETHER", "HOUR", "START", "Made", "made"]

HOUR, DAY = 3600, 86400
START = 1_609_718_400  # Monday 2021-01-04 00:00 UTC
END = START + 70 * DAY  # of the ordinary traffic
BITCOIN, ETHER = 10**8, 10**18
BLOCK_SECONDS = {"ethereum": 12, "bitcoin": 600}
FIRST_BLOCK = {"ethereum": 11_000_000, "bitcoin": 664_000}


def made(chain: str, name: str) -> str:
    """An address that nobody has the keys of."""
    network = by_name(chain)
    assert network is not None
    return made_address(network, f"heistwatch made history {name}")


@dataclass
class Made:
    """Wallets of owners on one chain, and what moved.

    Attributes
    ----------
    wallets : id to (entity, addresses, trusted addresses)
    rows : movements in any order
    held : balances told before the first block: (address, asset) to base units
    """

    chain: str
    wallets: dict[str, tuple[str, list[str], list[str]]] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    held: dict[tuple[str, str], int] = field(default_factory=dict)

    def wallet(self, name: str, *, entity: str = "One", trusted: tuple[str, ...] = (), more: int = 0) -> str:
        """Watch a wallet; its first address. ``more``: how many further addresses it has."""
        own = [self.at(name), *(self.at(f"{name} {k}") for k in range(more))]
        self.wallets[name] = (entity, own, list(trusted))
        return own[0]

    def at(self, name: str) -> str:
        """The address of a name."""
        return made(self.chain, name)

    def move(
        self, at: int, sender: str, to: str, value: int, asset: str = "native", *, signer: str | None = None,
        kind: str | None = None,
    ) -> None:  # fmt: skip
        """One transaction: ``sender`` pays ``to``; on a UTXO chain what it has beyond that comes back to it."""
        number = len(self.rows)
        row = {
            "at": at, "tx": hashlib.sha256(f"{self.chain} {number}".encode()).hexdigest(), "to": to, "value": value,
            "asset": asset, "sender": sender, "signer": signer or sender, "kind": kind,
        }  # fmt: skip
        self.rows.append(row)

    def live(self, name: str, target: int, *, asset: str = "native", end: int = END, **traffic: Any) -> str:
        """Ordinary traffic of a wallet that holds ``target`` base units; its address."""
        own = self.at(name)
        self.held[own, asset] = target
        shape = Hot(kind="hot", **traffic)
        seed = f"{self.chain} {name} {asset}"
        for p in generate(shape, seed, START, end, target, lambda n: self.at(f"customer {seed} {n}")):
            if p.out:
                self.move(p.at, own, p.counterparty, p.value, asset)
            else:
                self.move(p.at, p.counterparty, own, p.value, asset)
        return own

    # -- through the backtest -------------------------------------------------------------------------------------

    def frame(self) -> pl.DataFrame:
        """The native table."""
        ordered = sorted(enumerate(self.rows), key=lambda item: (item[1]["at"], item[0]))
        seconds, first = BLOCK_SECONDS[self.chain], FIRST_BLOCK[self.chain]
        utxo = self.chain == "bitcoin"
        found: list[dict[str, Any]] = []
        for place, (_, row) in enumerate(ordered):
            block = (row["at"] - START) // seconds
            base = {
                "chain": self.chain, "block_number": first + block, "block_timestamp": START + block * seconds,
                "transaction_hash": ("" if utxo else "0x") + row["tx"], "transaction_index": place,
                "asset": row["asset"], "kind": row["kind"] or ("native" if row["asset"] == "native" else "token"),
            }  # fmt: skip
            if not utxo:
                found.append(
                    base | {"transfer_index": place, "from_address": row["sender"], "to_address": row["to"],
                            "value": str(row["value"]), "tx_from": row["signer"]}
                )  # fmt: skip
                continue
            inputs = {"from_address": [row["sender"]], "input_values": [str(row["value"] * 2)]}
            for k, (to, value) in enumerate([(row["to"], row["value"]), (row["sender"], row["value"])]):
                found.append(base | inputs | {"transfer_index": 2 * place + k, "to_address": to, "value": str(value)})
        return pl.DataFrame(found, infer_schema_length=None)

    def balances(self) -> pl.DataFrame:
        """The balances table."""
        return pl.DataFrame(
            [
                {"chain": self.chain, "address": address, "asset": asset, "block_number": FIRST_BLOCK[self.chain] - 1,
                 "value": str(value)}
                for (address, asset), value in self.held.items()
            ]
        )  # fmt: skip

    def run(self, folder: Path, budget: float = 1.0) -> tuple[list[dict[str, Any]], Engine]:
        """(incidents of the report, the engine after it)."""
        paths = [str(folder / "transfers.parquet"), str(folder / "balances.parquet")]
        self.frame().write_parquet(paths[0])
        self.balances().write_parquet(paths[1])
        config = config_from_mapping(
            {
                "version": 1,
                "budget": {"false_alarms_per_wallet_month": budget},
                "wallets": [
                    {
                        "id": name, "entity": entity, "role": "hot",
                        "addresses": [f"{self.chain}:{a}" for a in own],
                        "trusted": [f"{self.chain}:{a}" for a in trusted],
                    }
                    for name, (entity, own, trusted) in self.wallets.items()
                ],
            },
            folder,
            "made",
        )  # fmt: skip
        report, engine, _ = fold_history(config, paths)
        assert report["data"]["bad_rows"] == 0, report["data"]["bad"]
        incidents: list[dict[str, Any]] = report["incidents"]
        return incidents, engine
