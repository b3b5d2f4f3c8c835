"""Ctrl-C and SIGTERM during a backtest: real processes, real signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

HEISTWATCH = (sys.executable, "-m", "monitor")
PATIENCE = 120  # seconds on a loaded machine
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a process with its output piped; it ends with the test."""
    made: list[subprocess.Popen[str]] = []

    def run(*command: object) -> subprocess.Popen[str]:
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        words = [str(word) for word in command]
        pipe = subprocess.PIPE
        made.append(subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=environment))
        return made[-1]

    yield run
    for process in made:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def two_chains(config: Path, theft: Path) -> Path:
    """A configuration of two chains, and the same theft on the second, which comes later in order."""
    text = config.read_text().replace('31337"}]', '31337"}, {name: other, kind: evm, chain_id: "eip155:31338"}]')
    address = text.split("dev:")[1].split('"')[0]
    config.write_text(text.replace(f'"dev:{address}"', f'"dev:{address}", "other:{address}"'))
    Path("other.csv").write_text(theft.read_text().replace("\ndev,", "\nother,"))
    return config


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_while_reading(start: Start, config: Path, theft: Path, number: signal.Signals) -> None:
    """Code 130, one line that says how far it came, no traceback, no half report."""
    os.mkfifo("endless.csv")
    process = start(*HEISTWATCH, "backtest", config, "--data", theft, "endless.csv", "--report", "report.json")
    with Path("endless.csv").open("w"):  # opens when the process begins to read it, which then waits for more
        process.send_signal(number)
        out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (130, "")
    assert err.startswith("heistwatch: stopped ") and err.count("\n") == 1
    assert sorted(path.name for path in Path().iterdir()) == ["endless.csv", "heistwatch.yaml", "theft.csv"]


DEAF = """
import pathlib, signal, sys, threading
from monitor.backtesting.stopping import Stop
from monitor.cli.interrupt import listening
stop = Stop()
with listening(stop, lambda: "stopped in a library"), stop.cleaning(pathlib.Path(sys.argv[1]).unlink):
    signal.signal(signal.SIGINT, lambda *_: None)  # as if Python never came to its handler
    print("deaf", flush=True)
    while True:
        threading.Event().wait(60)
"""


def test_a_library_that_does_not_come_back(start: Start, tmp_path: Path) -> None:
    """The process ends all the same: tidied, with its line, code 130."""
    rubbish = tmp_path / "rubbish"
    rubbish.touch()
    process = start(sys.executable, "-c", DEAF, rubbish)
    assert process.stdout is not None and process.stdout.readline() == "deaf\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, err) == (130, "heistwatch: stopped in a library\n")
    assert not rubbish.exists()


HOLDS = """
import sys, time
from monitor.backtesting.stopping import Stop, Stopped
from monitor.cli.interrupt import listening
stop = Stop()
with listening(stop, lambda: "ended at once"):
    try:
        with stop.held():
            print("step", flush=True)
            while not stop.asked or sys.argv[1] == "deaf":
                time.sleep(0.001)
        print("whole step done", flush=True)
        stop.check()
    except Stopped:
        print("stopped", flush=True)
"""


def test_a_step_is_finished(start: Start) -> None:
    """A stage that holds the wish back ends at its own place, after saying so."""
    process = start(sys.executable, "-c", HOLDS, "hears")
    assert process.stdout is not None and process.stdout.readline() == "step\n"
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (0, "whole step done\nstopped\n")
    assert err in ("", "heistwatch: stopping after this step; once more ends at once\n")  # it may be done before


def test_twice_means_now(start: Start) -> None:
    """A second signal is not held back."""
    process = start(sys.executable, "-c", HOLDS, "deaf")
    assert process.stdout is not None and process.stderr is not None and process.stdout.readline() == "step\n"
    process.send_signal(signal.SIGINT)
    assert "once more" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, err) in ((130, "heistwatch: ended at once\n"), (0, "")) and "whole" not in out


WAITS = """
import sys
from monitor.cli import main, progress
at = progress.Bars.at
def waiting(self, done):
    at(self, done)
    if self.name == "replaying" and done == 1:
        print("one part is replayed", flush=True)
        sys.stdin.readline()
progress.Bars.at = waiting
main(sys.argv[1:])
"""


def chains_lost(report: dict[str, Any]) -> list[str]:
    """Chains of all that was lost."""
    return sorted({item["chain"] for incident in report["incidents"] for item in incident["lost"]})


def test_stopped_while_replaying(start: Start, two_chains: Path, theft: Path) -> None:
    """What was found until then is shown and written, with up to when; the same command then does the rest."""
    command = ("backtest", two_chains, "--data", theft, "other.csv", "--report", "report.json", "--work", "work")
    process = start(sys.executable, "-c", WAITS, *command)
    assert process.stdout is not None and process.stdin is not None
    assert process.stdout.readline() == "one part is replayed\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate("\n", timeout=PATIENCE)
    assert process.returncode == 130
    lines = err.splitlines()
    assert lines[-1].startswith("heistwatch: stopped while replaying, 1 of 2 parts; what was found until then is")
    assert lines[-1].endswith("the same command goes on from there")
    report = json.loads(Path("report.json").read_text())
    assert any("ended early" in note and "2023-11-25T08:13:20Z" in note for note in report["data"]["notes"])
    assert chains_lost(report) == ["eip155:31337"] and "ended early" in out
    assert list(Path("work").rglob("*.pickle"))
    whole = start(*HEISTWATCH, *command)
    out, err = whole.communicate(timeout=PATIENCE)
    assert (whole.returncode, err) == (0, "") and "ended early" not in out
    assert chains_lost(json.loads(Path("report.json").read_text())) == ["eip155:31337", "eip155:31338"]
    assert not list(Path("work").rglob("*.pickle"))


FORGETS = """
import sys
from monitor import app
from monitor.cli import main
def forgets(*_, stop, **options):
    try:
        stop.ask()
    except KeyboardInterrupt:
        raise KeyboardInterrupt from None  # as Ray does
app.run_backtest = forgets
main(sys.argv[1:])
"""


def test_a_library_that_raises_its_own(start: Start, config: Path, theft: Path) -> None:
    """The line is the same where a library turns the wish into an interrupt of its own."""
    process = start(sys.executable, "-c", FORGETS, "backtest", config, "--data", theft)
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (130, "")
    assert err.startswith("heistwatch: stopped ") and err.count("\n") == 1
