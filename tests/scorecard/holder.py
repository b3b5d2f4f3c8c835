"""A simulated personal wallet as a user has it: native table, balances table, labels, its part of a configuration."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from monitor.made_addresses import made_address
from monitor.networks import by_name
from tests.scorecard.dynamics import PAYMENT, THEFT
from tests.scorecard.personal import COIN, FEE, IN, LISTED, OWN, STOLEN, Move, Year
from tests.scorecard.table import BLOCK_SECONDS, CHAIN, DIGITS, FIRST_BLOCK, START
from tests.scorecard.world import Ints

__all__ = ["Holder", "personal_configuration"]

DECIMALS = (18, 6, 8)
_SHARED = ("router", "relayer", "settlement", "exchange", "contract", "market")  # the same address for every wallet
_LABELLED = {"router 0": "dex", "router 1": "dex", "settlement 0": "defi"}
_SCHEMA = {
    "chain": pl.String, "block_number": pl.Int64, "block_timestamp": pl.Int64, "transaction_hash": pl.String,
    "transaction_index": pl.Int64, "transfer_index": pl.Int64, "from_address": pl.String, "to_address": pl.String,
    "asset": pl.String, "value": pl.String, "decimals": pl.Int64, "symbol": pl.String, "kind": pl.String,
    "tx_from": pl.String, "nonce": pl.Int64, "fee_rate": pl.Float64, "gas_limit": pl.Int64,
}  # fmt: skip


@cache
def _made(text: str) -> str:
    network = by_name(CHAIN)
    assert network is not None
    return made_address(network, f"heistwatch scorecard {text}")


def token(number: int) -> str:
    """The contract of a token, ``native`` for the chain's own coin (-1)."""
    return "native" if number < 0 else _made(f"token {number}")


def decimals(number: int) -> int:
    """Its digits after the point."""
    return 18 if number < 0 else DECIMALS[number % len(DECIMALS)]


@dataclass(frozen=True, slots=True)
class Numbers:
    """Movements as `tests.scorecard.score.judge` looks at them: seconds, PAYMENT or THEFT or -1, asset, units."""

    at: Ints
    what: Ints
    asset: Ints
    value: Ints


@dataclass(frozen=True, slots=True)
class Worth:
    """``target``: units of each asset that a dollar buys, so that what went counts in dollars."""

    seed: int
    target: Ints


@dataclass(frozen=True)
class Holder:
    """A wallet with its year. ``name`` is its id and its entity's."""

    name: str
    year: Year

    @property
    def address(self) -> str:
        """The wallet's address."""
        return _made(f"{self.name} wallet")

    def other(self, name: str) -> str:
        """The address of another side; a look-alike begins and ends like the address that it apes."""
        if name.startswith("alike "):
            real, fake = self.other(name.removeprefix("alike ")), _made(f"{self.name} {name}")
            return real[:7] + fake[7:-5] + real[-5:]
        return _made(name if name.split()[0] in _SHARED else f"{self.name} {name}")

    @cached_property
    def flows(self) -> Numbers:
        """Its movements, one by one; the n-th of a transaction stands for all before it."""
        moves = self.year.moves
        what = [THEFT if m.what == STOLEN else -1 if m.what == IN else PAYMENT for m in moves]
        columns = ([m.at for m in moves], what, [m.asset for m in moves], [m.value for m in moves])
        return Numbers(*(np.array(column, np.int64) for column in columns))

    @property
    def life(self) -> Worth:
        """What counts as how much."""
        per_dollar = [max(1, round(COIN / h.price)) for h in self.year.holdings]
        return Worth(self.year.seed, np.array(per_dollar, np.int64))

    @property
    def flow_count(self) -> int:
        """Rows that the backtest counts as flows: neither fees nor anything without value."""
        return sum(m.value > 0 and m.what != FEE for m in self.year.moves)

    def transfers(self) -> pl.DataFrame:
        """Rows of the native table."""
        moves = self.year.moves
        last = {m.tx: place for place, m in enumerate(moves)}
        prefix = "0x" + hashlib.sha256(self.name.encode()).hexdigest()[: 64 - DIGITS]
        nonces: dict[int, int] = {}
        rows: list[tuple[Any, ...]] = []
        block, place, txs = -1, 0, {0: 0}
        for m in moves:
            if m.at // BLOCK_SECONDS != block:
                block, place, txs = m.at // BLOCK_SECONDS, 0, {}
            index = txs.setdefault(m.tx, len(txs))
            if m.signer == OWN:
                nonces.setdefault(m.tx, len(nonces))
            rows.append(self._row(m, block, index, place, f"{prefix}{last[m.tx]:0{DIGITS}d}", nonces.get(m.tx)))
            place += 1
        return pl.DataFrame(rows, schema=_SCHEMA, orient="row")

    def _row(self, m: Move, block: int, index: int, place: int, tx: str, nonce: int | None) -> tuple[Any, ...]:
        held = self.year.holdings[m.asset].token
        here, there = self.address, self.other(m.other) if m.what != FEE else ""
        kind = "fee" if m.what == FEE else "native" if held < 0 else "token"
        signer = here if m.signer == OWN else self.other(m.signer)
        told = self.year.told
        return (
            CHAIN, FIRST_BLOCK + block, START + block * BLOCK_SECONDS, tx, index, place,
            there if m.what == IN else here, here if m.what == IN else there,
            token(held), str(m.value * 10 ** (decimals(held) - 6)), decimals(held), "ETH" if held < 0 else f"T{held}",
            kind, *((signer, nonce, m.fee_rate, m.gas or None) if told else (None, None, None, None)),
        )  # fmt: skip

    def balances(self) -> pl.DataFrame:
        """Rows of the balances table: what it held of each asset before the first block."""
        held = self.year.holdings
        return pl.DataFrame(
            {
                "chain": CHAIN,
                "address": self.address,
                "asset": [token(h.token) for h in held],
                "block_number": FIRST_BLOCK - 1,
                "value": [str(h.start * 10 ** (decimals(h.token) - 6)) for h in held],
            }
        )

    def entry(self) -> Mapping[str, Any]:
        """Its part of a configuration."""
        return {
            "id": self.name,
            "entity": self.name,
            "role": "personal",
            "addresses": [f"{CHAIN}:{self.address}"],
            "trusted": [f"{CHAIN}:{self.other(name)}" for name in self.year.trusted],
        }


def personal_configuration(holders: Sequence[Holder], budget: float, folder: Path) -> dict[str, Any]:
    """A configuration that watches these wallets at ``budget`` false alarms in 30 days, with a pack of labels."""
    labels = [{"address": f"{CHAIN}:{_made(name)}", "name": name, "kind": kind} for name, kind in _LABELLED.items()]
    for holder in holders:
        for name, kind in sorted(holder.year.labelled.items()):
            labels.append({"address": f"{CHAIN}:{holder.other(name)}", "name": name, "kind": kind})
    lines = ["heistwatch_labels: 1", "source: made up", "known_since: 2020-01-01", "labels:"]
    lines += [f'  - {{address: "{x["address"]}", name: "{x["name"]}", kind: {x["kind"]}}}' for x in labels]
    (folder / "labels.yaml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return {
        "version": 1,
        "assets": [
            {"chain": CHAIN, "asset": token(i), "symbol": f"T{i}", "decimals": decimals(i)} for i in range(LISTED)
        ],
        "labels": ["labels.yaml"],
        "wallets": [{**holder.entry(), "budget": budget} for holder in holders],
    }


