"""Simulated wallets through the public backtest, and what its report says of each of them."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from monitor.app import run_backtest
from monitor.config import Config, config_from_mapping
from monitor.ids import from_iso
from tests.scorecard.dynamics import THEFT, run
from tests.scorecard.holder import Holder, personal_configuration
from tests.scorecard.personal import PERSONAL
from tests.scorecard.personal_theft import live
from tests.scorecard.plan import Part
from tests.scorecard.table import BLOCK_SECONDS, START, Simulated, configuration, number_of
from tests.scorecard.theft import steal
from tests.scorecard.world import DAY, HOUR, WORLDS, draw

__all__ = ["Outcome", "configured", "judge", "play", "simulate", "simulate_any"]

ROWS = 125_000  # of one backtest, so that memory stays bounded
GRACE = HOUR  # an incident counts for a theft until so long after its last payment


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one wallet at one budget.

    Attributes
    ----------
    opened, paged : days at which incidents opened, and at which they became high or critical
    detected : an incident that exceeded the budget opened during the theft
    named : of these, one has a finding that is a payment of the theft
    joined : none opened, but the theft added findings to an incident that was open before
    share, minutes : of the theft when the first such incident opened: what had gone, how long it had lasted
    alarmed : an incident was paged during the theft
    paged_share, paged_minutes : the same at that moment
    """

    world: str
    kind: str
    budget: float
    seed: int
    opened: tuple[float, ...] = ()
    paged: tuple[float, ...] = ()
    detected: bool = False
    named: bool = False
    joined: bool = False
    share: float | None = None
    minutes: float | None = None
    alarmed: bool = False
    paged_share: float | None = None
    paged_minutes: float | None = None


def simulate_any(part: Part, seed: int) -> Simulated | Holder:
    """One wallet of a part, of whatever world."""
    if part.world == PERSONAL.name:
        name = f"{part.name}-{seed}".replace("/", "-")
        return Holder(name, live(seed, part.days, part.theft, part.between))
    return simulate(part, seed)


def simulate(part: Part, seed: int) -> Simulated:
    """One hot wallet of a part; with a theft its history ends some time after the last payment that counts."""
    world = WORLDS[part.world]
    life = draw(world, seed, part.days)
    name = f"{part.name}-{seed}".replace("/", "-")
    if part.theft is None:
        return Simulated(name, world, life, run(life))
    pieces = steal(part.theft, life, *part.between)
    return Simulated(name, world, life, run(life, pieces, pieces[-1].at + 2 * GRACE))


def play(part: Part) -> list[Outcome]:
    """All wallets of a part, at each budget: one backtest for as many wallets as fit."""
    found: list[Outcome] = []
    wallets: list[Simulated | Holder] = []
    tables: list[pl.DataFrame] = []
    for seed in part.seeds:
        wallets.append(simulate_any(part, seed))
        tables.append(wallets[-1].transfers())
        if seed == part.seeds[-1] or sum(map(len, tables)) >= ROWS:
            found += _backtests(part, wallets, tables)
            wallets, tables = [], []
    return found


def configured(wallets: Sequence[Simulated | Holder], budget: float, folder: Path) -> Config:
    """The configuration of wallets of one world; what it refers to is written to ``folder``."""
    hot = [wallet for wallet in wallets if isinstance(wallet, Simulated)]
    holders = [wallet for wallet in wallets if isinstance(wallet, Holder)]
    made = personal_configuration(holders, budget, folder) if holders else configuration(hot, budget)
    return config_from_mapping(made, folder, "scorecard")


def _backtests(part: Part, wallets: Sequence[Simulated | Holder], tables: Sequence[pl.DataFrame]) -> list[Outcome]:
    found = []
    with tempfile.TemporaryDirectory(prefix="heistwatch-scorecard-") as folder:
        paths = [str(Path(folder) / "transfers.parquet"), str(Path(folder) / "balances.parquet")]
        pl.concat(tables).write_parquet(paths[0], compression="lz4")
        pl.concat([wallet.balances() for wallet in wallets]).write_parquet(paths[1])
        for budget in part.budgets:
            report = run_backtest(configured(wallets, budget, Path(folder)), paths)
            rows = sum(wallet.flow_count if isinstance(wallet, Holder) else len(wallet.flows.at) for wallet in wallets)
            if report["data"]["bad_rows"] or report["data"]["flows"] != rows:
                raise AssertionError(f"{part.name}: {report['data']['flows']} of {rows} rows were read as flows")
            by_owner: dict[str, list[Mapping[str, Any]]] = {wallet.name: [] for wallet in wallets}
            for incident in report["incidents"]:
                by_owner[incident["entity"]].append(incident)
            found += [judge(part, budget, wallet, by_owner[wallet.name]) for wallet in wallets]
    return found


def judge(part: Part, budget: float, wallet: Simulated | Holder, incidents: Sequence[Mapping[str, Any]]) -> Outcome:
    """What the incidents of a wallet's owner amount to."""
    seed = wallet.life.seed
    if part.theft is None:
        return Outcome(
            part.world,
            part.kind,
            budget,
            seed,
            opened=_days(i["opened_at"] for i in incidents),
            paged=_days(i["paged_at"] for i in incidents if i["paged_at"]),
        )
    stolen = np.flatnonzero(wallet.flows.what == THEFT)
    first, last = (_time(wallet, int(stolen[place])) for place in (0, -1))
    counted = [i for i in incidents if i["budget_exceeded"] and from_iso(i["opened_at"]) <= last + GRACE]
    during = [i for i in counted if from_iso(i["opened_at"]) >= first]
    payments = set(stolen.tolist())
    about = [i for i in counted if any(number_of(f["tx"]) in payments for f in i["findings"])]
    paged = [i for i in counted if i["paged_at"] and first <= from_iso(i["paged_at"]) <= last + GRACE]
    opening = min(during, key=lambda i: number_of(i["opened_tx"]), default=None)
    alarm = min(paged, key=lambda i: number_of(i["paged_tx"]), default=None)
    return Outcome(
        part.world,
        part.kind,
        budget,
        seed,
        detected=opening is not None,
        named=any(i in about for i in during),
        joined=opening is None and bool(about),
        share=None if opening is None else _gone(wallet, number_of(opening["opened_tx"])),
        minutes=None if opening is None else (from_iso(opening["opened_at"]) - first) / 60,
        alarmed=alarm is not None,
        paged_share=None if alarm is None else _gone(wallet, number_of(alarm["paged_tx"])),
        paged_minutes=None if alarm is None else (from_iso(alarm["paged_at"]) - first) / 60,
    )


def _days(times: Any) -> tuple[float, ...]:
    return tuple(sorted((from_iso(at) - START) / DAY for at in times))


def _time(wallet: Simulated | Holder, number: int) -> int:
    """UTC seconds of the block of a movement."""
    return int(START + wallet.flows.at[number] // BLOCK_SECONDS * BLOCK_SECONDS)


def _gone(wallet: Simulated | Holder, number: int) -> float:
    """What had gone to the thief up to and including a movement, over all that he got.

    Assets count in starting balances, in personal wallets in dollars.
    """
    f = wallet.flows
    gone = np.cumsum(np.where(f.what == THEFT, f.value / wallet.life.target[f.asset], 0.0))
    return float(gone[number] / gone[-1])
