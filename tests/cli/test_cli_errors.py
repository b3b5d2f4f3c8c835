"""Mistakes in arguments: one clear line on standard error, the right exit code, never a traceback."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import HOT


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["backtset"], "did you mean 'backtest'?"),
        (["wach", "x.yaml"], "did you mean 'watch'?"),
        (["nonsense"], "expected one of"),
        (["incidents", "lst"], "list"),
        (["incidents", "aknowledge", "1"], "aknowledge"),
        (["case", "shwo", "x"], "show"),
        (["backtest", "heistwatch.yaml", "--data", "x.csv", "--fial-on", "high"], "--fail-on"),
        (["backtest", "heistwatch.yaml"], "--data"),
        (["backtest"], "CONFIG"),
        (["schema", "extra"], "extra"),
        (["check", "a.yaml", "b.yaml"], "b.yaml"),
        (["case", "show", "coincheck-2108"], "did you mean 'coincheck-2018'?"),
        (["case", "run"], "--all"),
        (["case", "run", "coincheck-2018", "--all"], "--all"),
        (["detectors", "HW-77"], "did you mean 'HW-7'?"),
        (["deliveries", "list", "--state", "lost"], "due"),
        (["watch", "--log-level", "LOUD"], "--log-level"),
    ],
)
def test_arguments(refused: Callable[..., str], config: Path, arguments: list[str], said: str) -> None:
    """A wrong command, option or value is code 2, and the line names what was meant or allowed."""
    assert said in refused(2, *arguments)


@pytest.mark.parametrize(
    "arguments",
    [["check"], ["watch"], ["incidents", "list"], ["incidents", "confirm", "1"], ["coverage"], ["deliveries", "list"]],
)
def test_no_configuration(refused: Callable[..., str], here: Path, arguments: list[str]) -> None:
    """Without any configuration the line says how to name or to make one."""
    line = refused(2, *arguments)
    assert line.startswith("heistwatch.yaml: ") and "-c" in line and "heistwatch init" in line


def test_missing_configuration(refused: Callable[..., str], here: Path) -> None:
    """A file that was named and is not there is named again."""
    for arguments in (["check", "nope.yaml"], ["coverage", "-c", "nope.yaml"], ["watch", "nope.yaml"]):
        assert refused(2, *arguments) == "nope.yaml: no such configuration file"
    assert refused(2, "check", str(here)).startswith(f"{here}: ")


def test_configuration_of_the_environment(
    heistwatch: Callable[..., Any], refused: Callable[..., str], config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """$HEISTWATCH_CONFIG stands in for -c, and -c goes before it."""
    elsewhere = config.rename(config.with_name("other.yaml"))
    monkeypatch.setenv("HEISTWATCH_CONFIG", str(elsewhere))
    assert heistwatch("coverage").code == 0
    assert refused(2, "coverage", "-c", "nope.yaml") == "nope.yaml: no such configuration file"


def test_debug_shows_where(config: Path, monkeypatch: pytest.MonkeyPatch, heistwatch: Callable[..., Any]) -> None:
    """An error that nobody foresaw is one line; --debug raises it."""
    import monitor.config
    from monitor.cli import main

    def broken() -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(monitor.config, "json_schema", broken)
    ran = heistwatch("schema")
    assert ran.code == 1 and len(ran.problems) == 1
    assert "RuntimeError: a fault of ours" in ran.problems[0] and "--debug" in ran.problems[0]
    with pytest.raises(RuntimeError, match="a fault of ours"):
        main(["schema", "--debug"])


def test_watch_without_endpoints(refused: Callable[..., str], config: Path) -> None:
    """There is nothing to watch: code 2, and what is missing."""
    assert "endpoint" in _last(refused, "watch", config, "--quiet")


def _last(refused: Callable[..., str], *arguments: object) -> str:
    return refused(2, *arguments)


def test_init(heistwatch: Callable[..., Any], refused: Callable[..., str], here: Path) -> None:
    """`init` never overwrites silently, and a place that cannot be written is an argument that is wrong."""
    assert heistwatch("init", "--out", "heistwatch.yaml").code == 0
    assert "--force" in refused(2, "init", "--out", "heistwatch.yaml")
    assert heistwatch("init", "--out", "heistwatch.yaml", "--force").code == 0
    assert "cannot be written" in refused(2, "init", "--out", "nowhere/heistwatch.yaml")
    assert heistwatch("init").out.strip() == (here / "heistwatch.yaml").read_text().strip()
    assert heistwatch("check").code == 0


def test_standard_output_that_is_full(config: Path, theft: Path) -> None:
    """It is told in a line, as any full disk."""
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run(
            [sys.executable, "-m", "monitor", "backtest", str(config), "--data", str(theft)], stdout=full,
            stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    said = "heistwatch: what was found cannot be written: No space left on device"
    assert (ran.returncode, ran.stderr.strip().splitlines()[-1]) == (2, said)


def test_data_of_other_wallets(config: Path, theft: Path, heistwatch: Callable[..., Any]) -> None:
    """A wrong address, or a wrong chain, looks like peace: it is told."""
    assert "touches a watched wallet" not in heistwatch("backtest", config, "--data", theft).out
    config.write_text(config.read_text().replace(HOT[2:10], "0" * 8))
    assert "note: no transfer touches a watched wallet" in heistwatch("backtest", config, "--data", theft).out
