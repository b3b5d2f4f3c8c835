"""`heistwatch backtest`: the same engine over history."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from monitor.cli.common import data_option, find_config, json_option, print_json
from monitor.cli.show import show_report
from monitor.errors import ConfigError
from monitor.ids import from_iso
from monitor.model import Severity

__all__ = ["command", "progress_bar"]


def _time(text: str | None, option: str) -> int | None:
    if text is None:
        return None
    try:
        return from_iso(text)
    except ValueError as error:
        raise ConfigError(f"{option}: {error}") from None


@contextmanager
def progress_bar() -> Iterator[Any]:
    """A bar on a terminal, nothing elsewhere; yields the function to call with (done, total)."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("reading"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("reading", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@click.command()
@click.argument("config", metavar="CONFIG")
@data_option
@click.option("--from", "start", metavar="T", help="First moment, inclusive (ISO 8601, UTC).")
@click.option("--to", "end", metavar="T", help="Last moment, exclusive.")
@click.option("--report", "out", metavar="OUT.json", help="Write the report here.")
@click.option("--fail-on", metavar="SEVERITY", help="Exit with 1 where an incident is at least this severe.")
@click.option("--map", "mapped", multiple=True, metavar="NEW=OLD", help="Read column OLD as NEW; repeatable.")
@click.option("--strict", is_flag=True, help="Check every row of Parquet files too.")
@json_option
def command(
    config: str,
    data: tuple[str, ...],
    more: tuple[str, ...],
    start: str | None,
    end: str | None,
    out: str | None,
    fail_on: str | None,
    mapped: tuple[str, ...],
    strict: bool,
    as_json: bool,
) -> int:
    """Run history through the engine and show what would have alarmed.

    Reads Parquet, CSV, NDJSON and JSON, plain or compressed: the native table, balances tables, and ethereum-etl
    transactions, token_transfers and blocks.
    """
    from monitor.app import run_backtest

    level = _severity(fail_on)
    if out is not None:
        check_place(Path(out))
    rename = dict(_pair(text) for text in mapped)
    with progress_bar() as progress:
        found = run_backtest(
            find_config(config),
            [*data, *more],
            start=_time(start, "--from"),
            end=_time(end, "--to"),
            strict=strict,
            rename=rename,
            progress=progress,
        )
    if out is not None:
        write_report(Path(out), found)
    if as_json:
        print_json(found)
    else:
        show_report(found, out)
    if level is not None and any(Severity.parse(item["severity"]) >= level for item in found["incidents"]):
        return 1
    return 0


def _severity(word: str | None) -> Severity | None:
    if word is None:
        return None
    try:
        return Severity.parse(word)
    except ValueError as error:
        raise ConfigError(f"--fail-on: {error}") from None


def _pair(text: str) -> tuple[str, str]:
    new, found, old = text.partition("=")
    if not found or not new or not old:
        raise ConfigError(f"--map was {text!r}, expected NEW=OLD, for example value=amount")
    return new, old


def check_place(path: Path) -> None:
    """Before hours of work: can a report be written there at all?"""
    why = ""
    if path.is_dir():
        why = "it is a folder"
    elif not path.parent.is_dir():
        why = "its folder is not there"
    elif not os.access(path if path.exists() else path.parent, os.W_OK):
        why = "permission denied"
    if why:
        raise ConfigError(f"{path}: the report cannot be written: {why}")


def write_report(path: Path, found: dict[str, Any]) -> None:
    """Write a report with sorted keys."""
    try:
        path.write_text(json.dumps(found, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: the report cannot be written: {error.strerror}") from None
