"""`heistwatch watch`: the monitor."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import time
from contextlib import AsyncExitStack
from typing import Any

import click

from monitor.cli.common import count, find_config, run
from monitor.config import HttpConfig
from monitor.config.show import not_applied, waiting
from monitor.errors import ConfigError
from monitor.health import troubles
from monitor.ids import iso

__all__ = ["command"]


@click.command()
@click.argument("config", metavar="CONFIG", required=False)
@click.option("--quiet", is_flag=True, help="No status lines.")
@click.option(
    "--log-level",
    type=click.Choice(["DEBUG", "INFO", "WARNING", "ERROR"], case_sensitive=False),
    default="INFO",
    show_default=True,
    help="How much is logged to standard error.",
)
def command(config: str | None, quiet: bool, log_level: str) -> None:
    """Follow the chains, detect, alert. Without receivers alerts come to this terminal.

    SIGTERM and Ctrl-C end it cleanly; it starts again where it stopped. SIGHUP reads the configuration again: a wrong
    one is reported, and the old one goes on.
    """
    logging.basicConfig(
        level=log_level.upper(),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    logging.getLogger("numba").setLevel(logging.WARNING)
    found = find_config(config)
    if not quiet:
        click.echo("starting; the very first start compiles for up to a minute", err=True)
    run(_forever(found, config, quiet), terminated=0)


async def _forever(config: Any, path: str | None, quiet: bool) -> None:
    """Watch, and begin anew with the new configuration after each reload; where that fails, with the one before."""
    reload = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reload.set)
    before = None
    while True:
        try:
            before, config = config, await _watch(config, path, quiet, reload)
            click.echo("the configuration was read again", err=True)
        except ConfigError as error:
            if before is None:
                raise
            before, config = None, before
            _not_reloaded(error)


async def _watch(config: Any, path: str | None, quiet: bool, reload: asyncio.Event) -> Any:
    """Watch until a valid new configuration is there; returns it."""
    from monitor.running import running
    from monitor.web import serve

    async with running(config) as parts, AsyncExitStack() as stack:
        try:
            site = await serve(parts, config.http, _hooks(config, parts))
            stack.push_async_callback(site.aclose)
            _lead(parts, config, site.address)
            where = f"http://{site.address}/healthz says how it is"
        except ConfigError as error:
            if config.http != HttpConfig():
                raise
            _lead(parts, config, "")
            where = f"without HTTP ({error}: set http.listen)"
        for warning in config.warnings:
            click.echo(f"warning: {warning}", err=True)
        for line in waiting(config):
            click.echo(f"note: {line}", err=True)
        for line in not_applied(config):
            click.echo(f"not applied by this version: {line}", err=True)
        if not config.receivers:
            click.echo("no receivers are configured: alerts are printed here", err=True)
        click.echo(f"watching; {where}", err=True)
        tasks = [asyncio.create_task(parts.watch.run())]
        if not quiet:
            tasks.append(asyncio.create_task(_status(parts)))
        tasks.append(asyncio.create_task(_reloaded(path, reload)))
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()  # an error ends the monitor
            return tasks[-1].result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def _hooks(config: Any, parts: Any) -> Any:
    """What the HTTP interface needs of alerts."""
    from alerts.silencing import Silencing
    from monitor.alerting import labels_known
    from monitor.web import Hooks

    return Hooks(parts.links.read, Silencing(parts.store, *labels_known(config)))


def _lead(parts: Any, config: Any, address: str) -> None:
    """Links in messages lead to where the interface really listens, unless the owner says where it is reached."""
    from alerts.link import base_url

    if not config.http.public_url:
        parts.links.base_url = base_url(None, address)


async def _reloaded(path: str | None, reload: asyncio.Event) -> Any:
    """The next configuration that is right, once somebody asks for it."""
    from monitor.alerting import checked

    while True:
        await reload.wait()
        reload.clear()
        try:
            found = find_config(path)
            checked(found)
            return found
        except ConfigError as error:
            _not_reloaded(error)


def _not_reloaded(error: ConfigError) -> None:
    for problem in error.problems:
        click.echo(f"heistwatch: not reloaded: {problem}", err=True)


async def _status(parts: Any) -> None:
    """On a terminal a live table; elsewhere one line a minute."""
    if not sys.stderr.isatty():
        while True:
            await asyncio.sleep(60)
            for row in _rows(parts):
                click.echo("status " + " ".join(f"{key}={value}" for key, value in row.items()), err=True)
            now = told(parts.last_delivery, parts.ailing, parts.desk.board, time.time())
            click.echo(f"status alerts: {now}", err=True)
    from rich.console import Console
    from rich.live import Live
    from rich.markup import escape
    from rich.table import Table

    with Live(console=Console(stderr=True), refresh_per_second=2, transient=True) as live:
        while True:
            rows = _rows(parts)
            shown = Table(
                *(rows[0] if rows else ["chain"]), title="heistwatch", title_justify="left", caption_justify="left"
            )
            for row in rows:
                shown.add_row(*(escape(str(value)) for value in row.values()))
            shown.caption = escape(told(parts.last_delivery, parts.ailing, parts.desk.board, time.time()))
            live.update(shown)
            await asyncio.sleep(0.5)


def told(last_delivery: str | None, ailing: Any, board: Any, now: float) -> str:
    """How telling people goes: the last delivery, channels that fail, what is held back and by how many silences."""
    failing = [f"{state['receiver']}/{state['channel']}" for state in ailing.states()]
    silences = sum(silence.created <= now < silence.expires for silence in board.silences.values())
    messages = sum(len(held.covers) for held in board.held.values())
    return ", ".join(
        (
            f"last delivery {last_delivery or '-'}",
            f"failing channels {' '.join(failing) or '-'}",
            f"held back {count(messages, 'message')}",
            count(silences, "silence"),
        )
    )


def _learning(item: Any, days: list[float]) -> str:
    """How the chain learns: a backfill's progress, else the days that the youngest wallet has left."""
    progress = item.backfill.progress if item.backfill is not None else None
    if progress is not None:
        return str(progress)
    return f"{max(days):.0f} days left" if days else "-"


def _rows(parts: Any) -> list[dict[str, str]]:
    rows = []
    ill = {trouble.chain: trouble.what for trouble in troubles(parts.beside.vitals.read())}
    for item in parts.watch.followed.values():
        follower = item.follower
        learning = [
            days
            for name in parts.pipeline.engine.watchlist.wallets
            if (days := parts.pipeline.engine.state.learning_days(name, item.chain)) is not None and days > 0
        ]
        rows.append(
            {
                "chain": item.name,
                "block": str(follower.tip.number) if follower.tip else "-",
                "lag": str(follower.lag),
                "time": (iso(item.block_time) or "-") if item.block_time else "-",
                "learning": _learning(item, learning),
                "last delivery": parts.last_delivery or "-",
                "trouble": follower.last_error or ill.get(item.chain) or ill.get("") or "-",
            }
        )
    return rows


