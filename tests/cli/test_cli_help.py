"""Help: it is there at once, for every command, and says what to do next."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from monitor.cli import COMMANDS

HEAVY = {"numba", "numpy", "web3", "polars", "aiohttp", "pydantic", "redis", "rich"}


def python(code: str) -> subprocess.CompletedProcess[str]:
    """Run a piece of code in a process of its own."""
    root = Path(__file__).parents[2]
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, timeout=60)


@pytest.mark.parametrize("arguments", [[], ["--help"], ["--version"]])
def test_light(arguments: list[str]) -> None:
    """Help imports nothing that takes time."""
    ran = python(
        f"""
import sys
from monitor.cli import main
try:
    main({arguments!r})
except SystemExit as stop:
    assert stop.code == 0
print(*sorted(name for name in sys.modules if "." not in name), file=sys.stderr)
"""
    )
    assert ran.returncode == 0 and ran.stdout
    assert {"click", "monitor"} <= set(ran.stderr.split()) and not HEAVY & set(ran.stderr.split())


def test_module() -> None:
    """`python -m monitor` is the command."""
    ran = python("import runpy, sys; sys.argv = ['x', '--version']; runpy.run_module('monitor', run_name='__main__')")
    assert (ran.returncode, ran.stdout.startswith("heistwatch, version ")) == (0, True)


def test_alone(heistwatch: Callable[..., Any]) -> None:
    """Without a command it says what to do next, by commands that exist."""
    ran = heistwatch()
    assert ran.code == 0 and "What to do next" in ran.out
    named = [line.split()[1] for line in ran.out.splitlines() if line.startswith("  heistwatch ")]
    assert named == ["case", "init", "check", "backtest", "watch"] and set(named) <= set(COMMANDS)


def test_every_command_has_help(heistwatch: Callable[..., Any]) -> None:
    """Every command is listed with one line, and has help of its own; so do the commands below it."""
    listed = heistwatch("--help").out
    for name, (_, text) in COMMANDS.items():
        assert f"  {name} " in listed and text.split(":")[0][:40] in listed
        ran = heistwatch(name, "--help")
        assert ran.code == 0 and ran.out.startswith(f"Usage: heistwatch {name}")
    for name in ("list", "show", "ack", "confirm", "false-alarm", "resolve", "reopen"):
        ran = heistwatch("incidents", name, "--help")
        assert ran.code == 0 and ran.out.startswith(f"Usage: heistwatch incidents {name}")


@pytest.mark.parametrize("group", ["incidents", "case", "deliveries"])
def test_group_alone(heistwatch: Callable[..., Any], group: str) -> None:
    """A group without a command shows its commands, and is no success."""
    ran = heistwatch(group)
    assert ran.code == 2 and "list" in ran.out + ran.err


def test_head_closes_the_pipe() -> None:
    """`heistwatch schema | head -1` ends without a word."""
    code = f"{sys.executable!r} -m monitor schema | head -1; exit ${{PIPESTATUS[0]}}"
    root = Path(__file__).parents[2]
    ran = subprocess.run(["bash", "-c", code], capture_output=True, text=True, cwd=root, timeout=60)
    assert (ran.stdout, ran.stderr, ran.returncode) == ("{\n", "", 0)
