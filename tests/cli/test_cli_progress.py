"""Bars of long work: on a terminal, in their stages' units, and silent elsewhere."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from monitor.backtesting.progress import Progress, Silent, progress_of
from monitor.cli.progress import Bars, amount, progress


def test_words_of_amounts() -> None:
    """Bytes in decimal units, everything else as it is counted."""
    assert amount(999, None, "bytes") == "999 B" and amount(1_500_000, 3_000_000_000, "bytes") == "1.5 MB of 3.0 GB"
    assert amount(5, 12_000, "blocks") == "5 of 12,000 blocks"


def test_where_it_is() -> None:
    """The stage, and how much of it is done."""
    bars: Progress = Bars()
    assert isinstance(bars, Bars) and bars.where == "before anything was read"
    bars.stage("reading", 2_000_000, "bytes")
    assert bars.where == "while reading"
    bars.advance(500_000)
    bars.advance(500_000)
    bars.note("three files")
    assert bars.where == "while reading, 1.0 MB of 2.0 MB"
    bars.stage("replaying", None, "rows")
    bars.at(7)
    assert bars.where == "while replaying, 7 rows"


def test_plain_functions_hear_it_too() -> None:
    """Callers that give a function of (done, total) hear each stage from its beginning to its end."""
    heard: list[tuple[int, int]] = []
    told = progress_of(lambda done, total: heard.append((done, total)))
    told.stage("reading", 9, "bytes")
    told.advance(4)
    told.at(9)
    told.stage("replaying", None, "rows")
    told.advance(3)
    told.note("words")
    assert heard == [(0, 9), (4, 9), (9, 9), (0, 0), (3, 3)]
    assert isinstance(progress_of(None), Silent) and progress_of(told) is told


def test_silent_elsewhere(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is written where standard error is no terminal, or quiet is asked for."""
    for terminal in (False, True):
        monkeypatch.setattr(sys, "stderr", _Terminal(terminal))
        with progress(quiet=terminal) as bars:
            bars.stage("reading", 10, "bytes")
            bars.at(10)
        assert sys.stderr.getvalue() == ""  # type: ignore[attr-defined]
    assert capsys.readouterr() == ("", "")


class _Terminal(io.StringIO):
    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


def test_on_a_terminal(config: Path, theft: Path) -> None:
    """A real terminal shows the stages while it works, and keeps none of them: standard output is the summary alone."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    command = [sys.executable, "-m", "monitor", "backtest", str(config), "--data", str(theft)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, env=environment, text=True) as process:
        os.close(theirs)
        assert process.stdout is not None
        shown = b""
        while True:
            try:
                part = os.read(ours, 4096)
            except OSError:  # how a terminal says that nobody writes to it any more
                break
            if not part:
                break
            shown += part
        out = process.stdout.read()
    os.close(ours)
    assert process.returncode == 0 and "reading" not in out and "incident" in out
    assert b"reading" in shown and b"replaying" in shown and b"\x1b[2K" in shown
