"""Whatever engine does a backtest, its report is the same byte for byte, also where workers or all of it are killed."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from monitor.app import run_backtest
from monitor.backtesting.workers.make import workers
from monitor.config import config_from_mapping

ROOT = Path(__file__).parents[2]
PATIENCE = 120.0  # seconds for what takes a moment, on a loaded machine
SEVERAL = pytest.mark.parametrize("engine", ["processes", "ray"])


def nothing() -> None:
    pass


def text_of(report: Any) -> str:
    """A report without what tells how fast it was made."""
    return json.dumps({key: part for key, part in report.items() if key != "speed"}, sort_keys=True, indent=1)


def backtested(made: Any, **options: Any) -> str:
    config = config_from_mapping(made.config, Path.cwd(), "engines")
    with run_backtest(config, made.data, **options) as outcome:
        return text_of(outcome.report)


@pytest.fixture(scope="module")
def one_cluster() -> Iterator[None]:
    """Ray takes seconds to start: backtests join a cluster that the program is connected to."""
    with workers("ray", 2) as crew:
        crew.warm(nothing)
        yield


@pytest.fixture(scope="module")
def reports() -> Callable[[Any], str]:
    """The report of the engine `local` on a history, made once."""
    kept: dict[str, str] = {}

    def of(made: Any) -> str:
        name = repr(made.data)
        if name not in kept:
            kept[name] = backtested(made)
            found = json.loads(kept[name])
            assert any(incident["severity"] == "critical" for incident in found["incidents"])
            assert len({incident["entity"] for incident in found["incidents"]}) > 1
        return kept[name]

    return of


class Killer:
    """Kills every worker at each stage's first finished part: others are in the midst of theirs."""

    def __init__(self) -> None:
        self.killed: list[int] = []
        self._stage = self._struck = ""

    def stage(self, name: str, total: int | None, unit: str) -> None:
        self._stage = name

    def at(self, done: int) -> None:
        if done and self._struck != self._stage:
            self._struck = self._stage
            for pid in _workers_of(os.getpid()):
                os.kill(pid, signal.SIGKILL)
                self.killed.append(pid)

    def advance(self, done: int) -> None:
        pass

    def note(self, text: str) -> None:
        pass


def _workers_of(pid: int) -> list[int]:
    """Process ids of all workers below a process."""
    parents, lines = dict[int, int](), dict[int, str]()
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(path.name)] = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            lines[int(path.name)] = (path / "cmdline").read_text().replace("\0", " ")
        except (FileNotFoundError, ProcessLookupError):  # it ended meanwhile
            continue
    below, fresh = set[int](), {pid}
    while fresh := {child for child, parent in parents.items() if parent in fresh} - below:
        below |= fresh
    ours = ("monitor.backtesting.workers.child", "ray::_do")
    return sorted(child for child in below if any(text in lines.get(child, "") for text in ours))


@SEVERAL
def test_every_engine_gives_the_same_report(
    engine: str, engine_history: Any, reports: Callable[[Any], str], one_cluster: None
) -> None:
    """Native tables in no order, ethereum-etl with joins, coins and accounts with balances and controls."""
    assert backtested(engine_history, engine=engine, workers=2) == reports(engine_history)


def test_the_number_of_workers_changes_nothing(
    native_history: Callable[[], Any], reports: Callable[[Any], str]
) -> None:
    """More workers than owners, too."""
    made = native_history()
    assert backtested(made, engine="processes", workers=5) == reports(made)


@SEVERAL
def test_killed_workers_change_nothing(
    engine: str, engine_history: Any, reports: Callable[[Any], str], one_cluster: None
) -> None:
    """All workers are killed once in each stage, by their own ids."""
    killer = Killer()
    assert backtested(engine_history, engine=engine, workers=2, progress=killer) == reports(engine_history)
    assert killer.killed


PROGRAM = """
import json, sys
from pathlib import Path
from monitor.app import run_backtest
from monitor.config import config_from_mapping

asked = json.loads(sys.argv[1])

class Tell:
    now = ""
    def stage(self, name, total, unit):
        self.now = name
        print("stage", name, total, flush=True)
    def at(self, done):
        print("at", self.now, done, flush=True)
        if [self.now, done] == asked["stop"]:
            sys.stdin.readline()  # to be killed here
    def advance(self, done): pass
    def note(self, text): pass

config = config_from_mapping(asked["config"], Path.cwd(), "engines")
with run_backtest(config, asked["data"], progress=Tell(), **asked["options"]) as outcome:
    print("report", json.dumps(outcome.report), flush=True)
"""


class Run:
    """A backtest in a program of its own, which stops where it is told to."""

    def __init__(self, made: Any, stop: list[Any] | None = None, **options: Any) -> None:
        asked = {"config": made.config, "data": made.data, "options": options, "stop": stop}
        self._process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, json.dumps(asked)],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.lines: list[str] = []

    def kill_at(self, line: str) -> None:
        """Kill it once it said this; its workers end with it."""
        assert self._process.stdout is not None
        while self.lines[-1:] != [line]:
            said = self._process.stdout.readline()
            assert said, f"it ended before it said {line!r}"
            self.lines.append(said.strip())
        handles = [os.pidfd_open(pid) for pid in _workers_of(self._process.pid)]
        self._process.kill()
        self._process.communicate()
        for handle in handles:
            assert select.select([handle], [], [], PATIENCE)[0], "a worker was left"
            os.close(handle)

    def report(self) -> str:
        """Its report, when it has ended by itself."""
        said, _ = self._process.communicate()
        assert self._process.returncode == 0
        *self.lines, last = said.splitlines()
        return text_of(json.loads(last.removeprefix("report ")))


@pytest.mark.parametrize("engine", ["local", "processes"])
def test_a_killed_run_goes_on(
    engine: str, native_history: Callable[[], Any], reports: Callable[[Any], str], tmp_path: Path
) -> None:
    """Killed in the midst of reading: the same command reads what is left, and gives the same report."""
    made = native_history()
    options = {"engine": engine, "work": str(tmp_path), **({} if engine == "local" else {"workers": 2})}
    Run(made, ["reading", 3], **options).kill_at("at reading 3")
    again = Run(made, **options)
    assert again.report() == reports(made)
    done = [int(line.split()[2]) for line in again.lines if line.startswith("at reading")]
    assert done[0] > 3 and done[-1] == len(done) + done[0] - 1  # the first one told is the first that was missing


@pytest.mark.parametrize("engine", ["local", "processes"])
def test_what_was_read_is_not_read_again(
    engine: str, native_history: Callable[[], Any], reports: Callable[[Any], str], tmp_path: Path
) -> None:
    """Killed when all is read: the rows in the files are wiped out before it goes on, and the report is the same."""
    made = native_history()
    expected = reports(made)
    options = {"engine": engine, "work": str(tmp_path), **({} if engine == "local" else {"workers": 2})}
    run = Run(made, ["replaying", 1], **options)
    run.kill_at("at replaying 1")
    for path in Path(made.data[0]).glob("*.parquet"):
        wipe(path)
    assert Run(made, **options).report() == expected


def wipe(path: Path) -> None:
    """Overwrite all rows of a Parquet file; what describes them stays, as do its size and time."""
    before, data = path.stat(), path.read_bytes()
    footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    path.write_bytes(data[:4] + bytes(footer - 4) + data[footer:])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
