"""What several commands share: finding the configuration, printing JSON or tables, running coroutines."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from monitor.config import Config, load_config
from monitor.errors import ConfigError

__all__ = [
    "config_option",
    "count",
    "data_option",
    "find_config",
    "json_option",
    "print_json",
    "run",
    "stored",
    "table",
]

T = TypeVar("T")
DEFAULT = "heistwatch.yaml"


def find_config(path: str | None, own: Sequence[str] = ()) -> Config:
    """The configuration named, else that of ``$HEISTWATCH_CONFIG``, else ``./heistwatch.yaml``.

    ``own`` are files with detectors, beside those that it names.
    """
    chosen = path or os.environ.get("HEISTWATCH_CONFIG") or DEFAULT
    if not Path(chosen).is_file():
        hint = "" if path else ": name one with -c, or write one with `heistwatch init --out heistwatch.yaml`"
        raise ConfigError(f"{chosen}: no such configuration file{hint}")
    return load_config(Path(chosen), own=own)


def config_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """``-c CONFIG`` for commands without a CONFIG argument."""
    return click.option("-c", "--config", "config", metavar="CONFIG", help="Configuration file.")(function)


def data_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """``--data PATH...``: it repeats, and paths after it (``more``) belong to it, as of a shell's ``*.csv``."""
    function = click.argument("more", nargs=-1, metavar="")(function)
    return click.option(
        "--data", multiple=True, required=True, metavar="[CHAIN=]PATH...", help="Files, folders or globs; repeatable."
    )(function)


def json_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """``--json`` for commands that print data."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(function)


def print_json(value: Any) -> None:
    """Print a value as indented JSON with sorted keys."""
    click.echo(json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False))


def count(number: int, one: str) -> str:
    """A number of things.

    >>> count(1, "incident"), count(1200, "incident")
    ('1 incident', '1,200 incidents')
    """
    return f"{number:,} {one}{'' if number == 1 else 's'}"


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], title: str = "", *, numbers: bool = False) -> None:
    """A table on a terminal, tab-separated lines elsewhere; a cell is one line, whatever somebody wrote into it.

    Parameters
    ----------
    numbers : whether all columns but the first are numbers
    """
    rows = [["".join(c if c.isprintable() else " " for c in cell) for cell in row] for row in rows]
    if not sys.stdout.isatty():
        for row in rows:
            click.echo("\t".join(row))
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    shown = Table(title=title or None, title_justify="left", header_style="bold")
    for place, column in enumerate(columns):
        right = numbers and place > 0
        shown.add_column(column, overflow="fold", justify="right" if right else "left")  # half an address is none
    for row in rows:
        shown.add_row(*(escape(cell) for cell in row))
    Console().print(shown)


@asynccontextmanager
async def stored(config: Config) -> AsyncIterator[Any]:
    """The store, open. Where its file is not there it is an empty one: a look leaves no file behind."""
    from monitor.store_url import open_store

    url = config.store.url.get_secret_value()
    path = Path(url.removeprefix("sqlite:///"))
    if config.store.kind == "sqlite" and not path.exists():
        click.echo(f"heistwatch: there is no store {path} yet; `heistwatch watch` makes it", err=True)
        url = "memory://"
    store = open_store(url, base=config.base)
    await store.open()
    try:
        yield store
    finally:
        await store.aclose()


def run(main: Coroutine[Any, Any, T], *, terminated: int = 128 + signal.SIGTERM) -> T:
    """Run a coroutine; SIGTERM cancels it like Ctrl-C, and the exit code is ``terminated`` then.

    Only of what runs until it is ended is that a clean end, 0: elsewhere nobody may take half of it for all.
    """

    async def guarded() -> T:
        task = asyncio.ensure_future(main)
        loop = asyncio.get_running_loop()
        stopped = False

        def stop() -> None:
            nonlocal stopped
            stopped = True
            task.cancel()

        loop.add_signal_handler(signal.SIGTERM, stop)
        try:
            return await task
        except asyncio.CancelledError:
            if stopped:
                raise click.exceptions.Exit(terminated) from None
            raise
        finally:
            loop.remove_signal_handler(signal.SIGTERM)

    return asyncio.run(guarded())
