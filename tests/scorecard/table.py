"""A simulated wallet as a user has it: rows of the native table, a balances table, and its part of a configuration."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from monitor.made_addresses import made_address
from monitor.networks import by_name
from tests.scorecard.dynamics import DEPOSIT, MIGRATION, PAYMENT, REFILL, SISTER, SWEEP, THEFT, Flows
from tests.scorecard.world import SISTERS, Life, World

__all__ = ["BLOCK_SECONDS", "FIRST_BLOCK", "START", "Simulated", "configuration", "number_of"]

CHAIN = "ethereum"
START = 1_609_718_400  # Monday 2021-01-04 00:00 UTC
BLOCK_SECONDS = 12
FIRST_BLOCK = 11_000_000
DIGITS = 16  # of a transaction hash: the place of the movement in its wallet's history
_customers: list[str] = []


def _made(text: str) -> str:
    network = by_name(CHAIN)
    assert network is not None
    return made_address(network, f"heistwatch scorecard {text}")


def _customer_addresses(count: int) -> list[str]:
    """Addresses of customers, the same ones in all wallets: each wallet is an owner of its own."""
    _customers.extend(_made(f"customer {i}") for i in range(len(_customers), count))
    return _customers[:count]


def number_of(tx: str) -> int:
    """The place of a movement in its wallet's history, from the hash of its transaction."""
    return int(tx[-DIGITS:])


@dataclass(frozen=True, slots=True)
class Simulated:
    """A wallet with its movements. ``name`` is its id and its entity's."""

    name: str
    world: World
    life: Life
    flows: Flows

    def address(self, role: str = "wallet", number: int = 0) -> str:
        """An address of it, or of what belongs to it: cold, sister, migration, deposits, thief."""
        return _made(f"{self.name} {role} {number}")

    def assets(self) -> list[str]:
        """Its assets as the table names them: ``native``, or a made contract."""
        return ["native" if a.symbol == "ETH" else _made(f"token {a.symbol}") for a in self.life.assets]

    def trusted(self) -> list[str]:
        """What its owner knows of its own other addresses; an outsider knows none."""
        if not self.world.known:
            return []
        own = [self.address("cold", k) for k in range(len(self.life.rotation) + 1)]
        own += [self.address("sister", k) for k in range(SISTERS)]
        return own + ([self.address("migration")] if self.life.announced else [])

    def transfers(self) -> pl.DataFrame:
        """Rows of the native table: one a movement, one transaction each, values exact text."""
        f, here = self.flows, self.address()
        block = f.at // BLOCK_SECONDS
        first = np.r_[True, block[1:] != block[:-1]] if len(block) else np.zeros(0, bool)
        place = np.arange(len(block)) - np.maximum.accumulate(np.where(first, np.arange(len(block)), 0))
        other, out = self._others(), pl.Series(f.out)
        assets = self.life.assets
        asset = pl.Series(f.asset)
        prefix = "0x" + hashlib.sha256(self.name.encode()).hexdigest()[: 64 - DIGITS]
        zeros = pl.Series([str(a.scale)[1:] for a in assets]).gather(asset)
        table = pl.DataFrame(
            {
                "block_number": FIRST_BLOCK + block,
                "block_timestamp": START + block * BLOCK_SECONDS,
                "transaction_index": place,
                "transfer_index": place,
                "other": other,
                "asset": pl.Series(self.assets()).gather(asset),
                "decimals": pl.Series([a.decimals for a in assets]).gather(asset),
                "symbol": pl.Series([a.symbol for a in assets]).gather(asset),
                "digits": f.value,
                "zeros": zeros,
                "out": out,
            }
        )
        return table.select(
            pl.lit(CHAIN).alias("chain"),
            "block_number",
            "block_timestamp",
            transaction_hash=pl.lit(prefix)
            + pl.int_range(pl.len(), dtype=pl.Int64).cast(pl.String).str.zfill(DIGITS),
            transaction_index="transaction_index",
            transfer_index="transfer_index",
            from_address=pl.when("out").then(pl.lit(here)).otherwise("other"),
            to_address=pl.when("out").then("other").otherwise(pl.lit(here)),
            asset="asset",
            value=pl.col("digits").cast(pl.String) + pl.col("zeros"),
            decimals="decimals",
            symbol="symbol",
            tx_from=pl.when("out").then(pl.lit(here)).otherwise("other"),
        )

    def _others(self) -> pl.Series:
        """The other side of every movement."""
        what, place = self.flows.what, self.flows.place
        names = list(_customer_addresses(self.life.customers))
        index = place.copy()
        roles = {DEPOSIT: "deposits", REFILL: "cold", SWEEP: "cold", SISTER: "sister", MIGRATION: "migration"}
        for kind, role in (*roles.items(), (THEFT, "thief")):
            mine = what == kind
            if mine.any():
                index[mine] += len(names)
                names += [self.address(role, k) for k in range(int(place[mine].max()) + 1)]
        assert (what[index < self.life.customers] == PAYMENT).all()
        return pl.Series(names).gather(index)

    def balances(self) -> pl.DataFrame:
        """Rows of the balances table: what it held of each asset before the first block."""
        return pl.DataFrame(
            {
                "chain": CHAIN,
                "address": self.address(),
                "asset": self.assets(),
                "block_number": FIRST_BLOCK - 1,
                "value": [str(int(t) * a.scale) for t, a in zip(self.life.target, self.life.assets, strict=True)],
            }
        )

    def entry(self) -> Mapping[str, Any]:
        """Its part of a configuration."""
        return {
            "id": self.name,
            "entity": self.name,
            "role": "hot",
            "addresses": [f"{CHAIN}:{self.address()}"],
            "trusted": [f"{CHAIN}:{address}" for address in self.trusted()],
        }


def configuration(wallets: Sequence[Simulated], budget: float) -> dict[str, Any]:
    """A configuration that watches these wallets at ``budget`` false alarms a wallet in 30 days."""
    return {
        "version": 1,
        "budget": {"false_alarms_per_wallet_month": budget},
        "wallets": [wallet.entry() for wallet in wallets],
    }
