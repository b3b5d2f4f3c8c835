"""One measurement of the bench `backtest`, in a process of its own: ``python -m tests.bench.backtest_run JSON``.

The clock runs from the first read to the finished result. Imports and compilation come before: the same is done once on
a small file. The whole process is timed from outside.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def main() -> None:
    """Measure, and print seconds, CPU seconds and what was found as JSON."""
    asked: dict[str, Any] = json.loads(sys.argv[1])
    if asked["cores"]:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: asked["cores"]])  # before Polars counts them
    case = _case(asked)
    case([asked["warm"]])
    begin, used = time.perf_counter(), time.process_time()
    found = case(asked["paths"])
    seconds, used = time.perf_counter() - begin, time.process_time() - used
    print(json.dumps({"seconds": seconds, "cpu": used, **found}))


def _case(asked: Mapping[str, Any]) -> Callable[[Sequence[str]], dict[str, Any]]:
    from tests.bench import scans
    from tests.bench.transfers import watched_addresses

    watched = watched_addresses(asked["wallets"])
    plain = {
        "polars": scans.scan_polars, "duckdb": scans.scan_duckdb, "loop": scans.loop, "named": scans.loop_by_name,
        "vectorized": scans.vectorized,
    }.get(asked["case"])  # fmt: skip
    if plain is not None:
        return lambda paths: {"found": plain(paths, watched)}
    return _sweep(asked) if asked["case"] == "sweep" else _backtest(asked)


def _backtest(asked: Mapping[str, Any]) -> Callable[[Sequence[str]], dict[str, Any]]:
    """A backtest under an engine; ``clock`` is what its report says, which leaves the start of workers out."""
    from monitor.app import run_backtest, warm_up
    from tests.bench.transfers import bench_config

    warm_up()
    config = bench_config(asked["wallets"])

    def work(paths: Sequence[str]) -> dict[str, Any]:
        if asked["case"] != "local" and paths == [asked["warm"]]:  # its workers start anew each time
            return {}
        with run_backtest(config, paths, engine=asked["case"]) as outcome:
            found = outcome.report
        data, clock = found["data"], found["speed"]["wall_seconds"]
        return {"found": data["flows"], "rows": data["rows"], "incidents": len(found["incidents"]), "clock": clock}

    return work


def _sweep(asked: Mapping[str, Any]) -> Callable[[Sequence[str]], dict[str, Any]]:
    """A backtest and a sweep over 20 settings in its one pass: as the command does it."""
    from monitor.app import run_backtest, warm_up
    from monitor.backtesting.sweep import run_sweep
    from monitor.backtesting.sweep_grid import parse_sweep
    from tests.bench.transfers import bench_config

    warm_up()
    config, grid = bench_config(asked["wallets"]), parse_sweep([f"budget={','.join(str(n / 5) for n in range(1, 21))}"])

    def work(paths: Sequence[str]) -> dict[str, Any]:
        with run_backtest(config, paths, sweep=grid) as outcome:
            return {"found": len(run_sweep(outcome, grid).rows)}

    return work


if __name__ == "__main__":
    main()
