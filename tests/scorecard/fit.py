"""`python -m tests.scorecard.fit --world WORLD`: a peer prior from daily maxima of wallets of its own.

Wallets are folded at a budget so small that nothing fires, without guard rail. Each one's daily maxima give its level
(`u`, `centre`) and mean excess (`s`, `width`); the prior is their mean over wallets. `pool_q` is what the excess over
centre, in widths, then exceeds with each chance of `pool_p` on an active day, where centre and width are those that the
engine would have known the day before.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import click
import numpy as np
import polars as pl
from numpy.typing import NDArray

from monitor.app import fold_history
from monitor.features.dtypes import CHANNELS, FUSION, MAXIMA_DAYS, STATISTICS
from monitor.fusion import QUANTILE, QUANTILE_RARE, RARE, SLOW, _tail
from monitor.priors import PEER
from tests.scorecard.personal import PERSONAL
from tests.scorecard.plan import ALL_WORLDS, CLEAN, CLEAN_DAYS, HOLDER_DAYS, Part
from tests.scorecard.score import configured, simulate_any
from tests.scorecard.table import START
from tests.scorecard.world import DAY

FITTING = range(10_000, 11_000)  # seeds of wallets that only this tool looks at
NEVER_FIRES = 1e-12  # false alarms in 30 days
KNOWN_FROM = 20  # active days from which excesses count
K, C = len(STATISTICS), len(CHANNELS)

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Days:
    """A wallet's active days: ``maxima`` (n, K + C) of its statistics and scores, of ``days`` days in all."""

    seed: int
    maxima: Floats
    days: int


def daily_maxima(part: Part) -> Iterator[Days]:
    """The active days of each wallet of a part, the last one (of a theft, say) included."""
    at_once = 50 if part.world == PERSONAL.name else 4
    for first in range(0, len(part.seeds), at_once):
        wallets = [simulate_any(part, seed) for seed in part.seeds[first : first + at_once]]
        with tempfile.TemporaryDirectory(prefix="heistwatch-fit-") as folder:
            paths = [str(Path(folder) / "transfers.parquet"), str(Path(folder) / "balances.parquet")]
            pl.concat([wallet.transfers() for wallet in wallets]).write_parquet(paths[0])
            pl.concat([wallet.balances() for wallet in wallets]).write_parquet(paths[1])
            silent = {wallet.name: {"GUARD": {"enabled": False}} for wallet in wallets}
            config = replace(configured(wallets, NEVER_FIRES, Path(folder)), detectors=silent)
            found: dict[str, list[Floats]] = {wallet.name: [] for wallet in wallets}
            known = dict.fromkeys(found, 0)
            for end in range(MAXIMA_DAYS, part.days + MAXIMA_DAYS, MAXIMA_DAYS):
                _, engine, _ = fold_history(config, paths, end=START + end * DAY)
                for key, value in engine.dump():
                    kind, *name = key.decode().split("\x1f")
                    if kind != "w":
                        continue
                    record = np.frombuffer(value, FUSION)[0]
                    fresh = int(record["days"]) - known[name[0]]
                    places = np.arange(known[name[0]], known[name[0]] + fresh) % MAXIMA_DAYS
                    found[name[0]].append(record["maxima"].astype(np.float64)[:, places].T)
                    known[name[0]] += fresh
                    if end >= part.days and record["active"]:
                        found[name[0]].append(record["today"].astype(np.float64)[None, :])
            for wallet in wallets:
                rows = found[wallet.name]
                yield Days(wallet.life.seed, np.concatenate(rows) if rows else np.zeros((0, K + C)), part.days)


def own_tails(days: Sequence[Days], place: int, part: float, most: float) -> tuple[Floats, Floats]:
    """Level and mean excess of each wallet in one statistic or score; excesses are cut at ``most``."""
    levels, excesses = [], []
    for wallet in days:
        x = wallet.maxima[:, place]
        level = np.quantile(x, part)
        levels.append(level)
        if (x > level).any():
            excesses.append(np.minimum(x[x > level] - level, most).mean())
    return np.array(levels), np.array(excesses)


def standardised(days: Sequence[Days], channel: int, centre: float, width: float) -> Floats:
    """Each active day's score over what was known the day before: centres and widths shrunk to these."""
    part = QUANTILE_RARE if channel == SLOW else QUANTILE
    found = []
    for wallet in days:
        x = np.ascontiguousarray(wallet.maxima[:, K + channel].astype(np.float32))
        for n in range(min(KNOWN_FROM, len(x)), len(x)):
            before = x[max(0, n - MAXIMA_DAYS) : n]
            u, s = _tail(before, len(before), centre, width, part)
            found.append((float(x[n]) - u) / s)
    return np.array(found)


def fit(days: Sequence[Days], pool_p: Floats) -> dict[str, list[float] | list[list[float]]]:
    """A peer prior, by the names of `monitor.priors.PRIORS`."""
    enough = [wallet for wallet in days if len(wallet.maxima) >= KNOWN_FROM]
    parts = [QUANTILE if k < RARE else QUANTILE_RARE for k in range(K)]
    tails = [own_tails(enough, k, parts[k], 1.0) for k in range(K)]
    scores = [own_tails(enough, K + c, QUANTILE_RARE if c == SLOW else QUANTILE, 2.0) for c in range(C)]
    centre, width = [float(u.mean()) for u, _ in scores], [float(s.mean()) for _, s in scores]
    pool = [standardised(days, c, centre[c], width[c]) for c in range(C)]
    return {
        "u": [round(float(u.mean()), 2) for u, _ in tails],
        "s": [round(float(s.mean()), 2) for _, s in tails],
        "centre": [round(x, 2) for x in centre],
        "width": [round(x, 2) for x in width],
        "pool_q": [[round(float(q), 2) for q in np.quantile(x, 1.0 - pool_p)] for x in pool],
    }


@click.command(context_settings={"help_option_names": ["-h", "--help"]}, help=__doc__)
@click.option("--world", type=click.Choice(list(ALL_WORLDS)), default=PERSONAL.name, show_default=True)
@click.option("--wallets", type=click.IntRange(1, len(FITTING)), default=400, show_default=True)
@click.option("--skip", type=click.IntRange(0, len(FITTING) - 1), default=0, help="Wallets passed over.")
def main(world: str, wallets: int, skip: int) -> None:
    """Simulate, fold, print."""
    personal = world == PERSONAL.name
    seeds = tuple(FITTING)[skip : skip + wallets]
    part = Part(world, CLEAN, seeds, days=HOLDER_DAYS if personal else CLEAN_DAYS)
    days = list(daily_maxima(part))
    active = [len(wallet.maxima) / wallet.days for wallet in days]
    click.echo(f"{len(days)} wallets, {part.days} days, active on {np.mean(active):.2f} of them")
    pool_p = PEER["pool_p"][int(personal)]
    click.echo(f"{'pool_p':8} {pool_p.tolist()}")
    for name, values in fit(days, pool_p).items():
        click.echo(f"{name:8} {values}")


if __name__ == "__main__":
    main()
