"""Backtests against bare scans and a plain loop, on the same made transfers; flows a second; growth; sweeps.

The clock of a case runs from the first read to the finished result (`tests.bench.backtest_run`); of the engines that
start workers it is the report's own, which begins when these are ready. Beside it stands the whole process. Every
figure is the median of several rounds over all cases, each in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median as middle
from tempfile import TemporaryDirectory
from typing import Any

from tests.bench.measured import Measured, largest, median, of_case
from tests.bench.transfers import History, made

SPARSE = History(20_000_000, 16)
DENSE = History(2_000_000, 4, dense=True, per_block=20)  # 17 days, as SPARSE: longer than wallets learn
ROUNDS, GROWING = 5, 1  # the latter of each size, where one thing grows
LOOPED = 1  # file that the plain loops go through: the 16th part, their time is multiplied
CASES = ("polars", "duckdb", "local", "processes", "ray", "loop", "named", "vectorized", "sweep")
Figures = dict[str, Any]


def _rounds(cases: Sequence[Callable[[], Measured]], rounds: int = ROUNDS) -> list[list[Measured]]:
    """Results of each case. One round where only that it runs is asked.

    Each round has all cases in an order of its own: what one leaves behind (memory that the system must fetch back for
    the next) falls on another each time.
    """
    rounds = 1 if "--small" in sys.argv else rounds
    found: list[list[Measured]] = [[] for _ in cases]
    rng = random.Random(5)
    for _ in range(rounds):
        for place in rng.sample(range(len(cases)), len(cases)):
            found[place].append(cases[place]())
    return found


def _case(name: str, paths: Sequence[Path], warm: Path, **how: Any) -> Callable[[], Measured]:
    return lambda: of_case(name, paths, warm, **how)


def _incidents(runs: Mapping[str, Sequence[Measured]]) -> str:
    return f"{runs['local'][0].said['incidents']:,} incidents"


def against_scans(sparse: History, paths: Sequence[Path], warm: Path) -> Figures:
    """Few rows touch the watch list: what does a backtest cost beside finding them?"""
    part = dict.fromkeys(("loop", "named"), paths[:LOOPED])
    runs = dict(zip(CASES, _rounds([_case(name, part.get(name, paths), warm) for name in CASES]), strict=True))
    factor = len(paths) / LOOPED
    seconds = {name: median(found) for name, found in runs.items()}
    for name in ("processes", "ray"):
        seconds[name] = median(runs[name], "clock")
    for name in part:
        seconds[name] *= factor
    whole = {name: middle(run.whole for run in found) for name, found in runs.items()}
    best, flows = min(seconds["polars"], seconds["duckdb"]), runs["local"][0].said["found"]
    found: Figures = {
        "transfers": f"{sparse.rows:,} in {sparse.files} files, 1,000 wallets, {flows:,} flows, {_incidents(runs)}"
    }
    words = {"polars": "bare Polars scan", "duckdb": "bare DuckDB scan", "local": "backtest, local",
             "processes": "backtest, processes", "ray": "backtest, ray"}  # fmt: skip
    for name, text in words.items():
        found[f"{text}, s (whole process, s)"] = f"{seconds[name]:.2f} ({whole[name]:.2f})"
    loops = {"named": "plain loop, rows as dictionaries", "loop": "plain loop, rows as tuples"}
    for name, text in loops.items():
        found[f"{text}, a fixed threshold, s, a 16th of the rows times 16"] = f"{seconds[name]:.1f}"
    found["the loop's work by Polars, which reads two columns, s"] = f"{seconds['vectorized']:.2f}"
    found["backtest local / faster bare scan (target: at most 2.0)"] = round(seconds["local"] / best, 2)
    for name, text in loops.items():
        found[f"{text} / backtest local (target: at least 15)"] = round(seconds[name] / seconds["local"], 1)
        found[f"{text} / faster bare scan"] = round(seconds[name] / best, 1)
        found[f"{text} / the loop's work by Polars"] = round(seconds[name] / seconds["vectorized"], 1)
    found["sweep over 20 settings / backtest local (target: at most 3)"] = round(seconds["sweep"] / seconds["local"], 2)
    found["transfers a second, local"] = f"{sparse.rows / seconds['local']:,.0f}"
    found["peak memory of all processes, local / processes / ray, MB"] = " / ".join(
        f"{largest(runs[name]):,.0f}" for name in ("local", "processes", "ray")
    )
    return found


def every_row(paths: Sequence[Path], warm: Path) -> Figures:
    """Every row touches a wallet: what does a flow cost? On one core, to which the process is bound."""
    one, all_, apart, swept = _rounds(
        [
            _case("local", paths, warm, cores=1),
            _case("local", paths, warm),
            _case("processes", paths, warm),
            _case("sweep", paths, warm),
        ]
    )
    flows = one[0].said["found"]
    return {
        "every row touches one of 1,000 wallets": f"{flows:,} flows, {_incidents({'local': all_})}",
        "flows a second on one core, local (target: 1,000,000)": f"{flows / median(one):,.0f}",
        "flows a second on all cores, local": f"{flows / median(all_):,.0f}",
        "flows a second on all cores, processes": f"{flows / median(apart, 'clock'):,.0f}",
        "every row touches: sweep over 20 settings / backtest local (target: at most 3)": round(
            median(swept) / median(all_), 2
        ),
        "peak memory, local / processes, MB": f"{largest(all_):,.0f} / {largest(apart):,.0f}",
    }


def growth(sparse: History, paths: Sequence[Path], warm: Path) -> Figures:
    """Seconds a million transfers, as one thing grows and the rest stays."""
    per = sparse.rows // sparse.files
    found: Figures = {}
    counts = [4, 8, 16]
    runs = _rounds([_case("local", paths[:count], warm) for count in counts], GROWING)
    found[f"s a million transfers: {', '.join(f'{count * per:,}' for count in counts)} transfers"] = " / ".join(
        f"{median(each) * 1e6 / (count * per):.3f}" for count, each in zip(counts, runs, strict=True)
    )
    wallets = [100, 1000, 10_000]
    runs = _rounds([_case("local", paths[:4], warm, wallets=count) for count in wallets], GROWING)
    found[f"s a million transfers: {', '.join(f'{count:,}' for count in wallets)} wallets"] = " / ".join(
        f"{median(each) * 1e6 / (4 * per):.3f} ({each[0].said['found']:,} flows)" for each in runs
    )
    files = [4, 32, 256]
    shares = [History(sparse.rows // 2048 * 256, count) for count in files]
    timed = []
    for share in shares:
        with made(share) as parts:
            timed.append(_rounds([_case("local", parts, warm)], GROWING)[0])
    found[f"s a million transfers: {', '.join(map(str, files))} files"] = " / ".join(
        f"{median(each) * 1e6 / share.rows:.3f}" for share, each in zip(shares, timed, strict=True)
    )
    return found


def main() -> None:
    """Make, measure, remove."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--small", action="store_true", help="a twentieth of the rows: whether it runs, no figures")
    small = parser.parse_args().small
    sparse, dense = (replace(each, rows=each.rows // (20 if small else 1)) for each in (SPARSE, DENSE))
    found: Figures = {}
    with TemporaryDirectory(prefix="heistwatch-bench-") as folder, made(History(4000, 1), Path(folder)) as [warm]:
        with made(sparse) as paths:
            found |= against_scans(sparse, paths, warm)
            found |= growth(sparse, paths, warm)
        with made(dense) as paths:
            found |= every_row(paths, warm)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
