"""Programs that are measured from outside: how long they take as a whole, and how much memory they hold together."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Measured", "largest", "measured", "median", "of_case"]

ROOT = Path(__file__).resolve().parents[2]
EVERY = 0.05  # seconds between two looks at memory


@dataclass(frozen=True)
class Measured:
    """A program that ended.

    Attributes
    ----------
    whole : seconds from its start to its end
    peak : bytes that it and all processes it started held at most, shared pages counted once a process
    said : what it printed, as JSON
    """

    whole: float
    peak: int
    said: Mapping[str, Any]


def measured(command: Sequence[str], whole: bool = False) -> Measured:
    """Run a program of the project to its end; its last line is JSON, or all that it prints (``whole``)."""
    begin = time.perf_counter()
    program = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    over, peaks = threading.Event(), [0]
    watch = threading.Thread(target=_watch, args=(program.pid, over, peaks))
    watch.start()
    out, _ = program.communicate()
    seconds = time.perf_counter() - begin
    over.set()
    watch.join()
    if program.returncode:
        raise SystemExit(f"{' '.join(command)[:200]} ended with {program.returncode}")
    return Measured(seconds, max(peaks), json.loads(out if whole else out.splitlines()[-1]))


def of_case(case: str, paths: Sequence[Path], warm: Path, wallets: int = 1000, cores: int | None = None) -> Measured:
    """A case of `tests.bench.backtest_run`."""
    asked = {"case": case, "paths": [str(p) for p in paths], "warm": str(warm), "wallets": wallets, "cores": cores}
    return measured([sys.executable, "-m", "tests.bench.backtest_run", json.dumps(asked)])


def median(runs: Sequence[Measured], name: str = "seconds") -> float:
    """Of what each said."""
    return statistics.median(run.said[name] for run in runs)


def largest(runs: Sequence[Measured]) -> float:
    """MB that any of them held."""
    return max(run.peak for run in runs) / 2**20


def _watch(pid: int, over: threading.Event, peaks: list[int]) -> None:
    while not over.wait(EVERY):
        peaks.append(sum(_resident(each) for each in _family(pid)))


def _family(pid: int) -> list[int]:
    """A process and all below it."""
    found, fresh = [pid], [pid]
    while fresh:
        children: list[int] = []
        for each in fresh:
            try:
                for tasks in Path(f"/proc/{each}/task").glob("*/children"):
                    children += map(int, tasks.read_text().split())
            except (FileNotFoundError, ProcessLookupError):  # it, or one of its threads, ended meanwhile
                continue
        found, fresh = found + children, children
    return found


def _resident(pid: int) -> int:
    try:
        fields = Path(f"/proc/{pid}/statm").read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(fields[1]) * 4096
