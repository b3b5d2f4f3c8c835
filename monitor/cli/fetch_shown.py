"""How `heistwatch fetch` shows how far it is: a bar on a terminal, lines elsewhere, JSON lines with ``--json``."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from monitor.cli.common import count
from monitor.fetching.standing import Estimate, Standing
from monitor.past import span

__all__ = ["Display", "shown"]

LINE_SECONDS = 10.0  # between two lines where there is no terminal


class Display:
    """Lines on standard error."""

    def __init__(self, as_json: bool) -> None:
        self._json = as_json
        self._said_at: float | None = None

    def begins(self, chain: str, out: str, estimate: Estimate) -> None:
        """What it will take."""
        if self._json:
            self._line({
                "estimate": {
                    "first": estimate.first, "last": estimate.last, "blocks": estimate.blocks,
                    "requests": estimate.requests, "requests_per_second": estimate.rate, "seconds": estimate.seconds,
                }
            })  # fmt: skip
            return
        click.echo(f"heistwatch: {_wording(chain, out, estimate)}", err=True)

    def told(self, standing: Standing) -> None:
        """How far it is."""
        now = time.monotonic()
        if self._said_at is not None and now - self._said_at < LINE_SECONDS:
            return
        self._said_at = now
        if self._json:
            left = standing.left
            self._line({
                "progress": {
                    "what": standing.what, "block": standing.block, "done": standing.done, "total": standing.total,
                    "blocks_per_second": round(standing.rate, 1), "requests": standing.requests,
                    "seconds_left": None if left is None else round(left, 1),
                }
            })  # fmt: skip
            return
        click.echo(f"heistwatch: {_standing(standing)}", err=True)

    def close(self) -> None:
        """Nothing is shown any more."""

    @staticmethod
    def _line(value: dict[str, Any]) -> None:
        click.echo(json.dumps(value, sort_keys=True), err=True)


class Bar(Display):
    """A bar on the terminal."""

    def __init__(self) -> None:
        super().__init__(as_json=False)
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[said]}"),
            TimeRemainingColumn(), console=Console(stderr=True), transient=True,
        )  # fmt: skip
        self._task = self._bar.add_task("fetching", total=None, said="")
        self._bar.start()

    def told(self, standing: Standing) -> None:
        """How far it is."""
        said = f"blocks, {standing.rate:,.1f} a second, {count(standing.requests, 'request')}"
        self._bar.update(
            self._task, completed=standing.done, total=standing.total, description=standing.what, said=said
        )

    def close(self) -> None:
        """Take the bar away; calling it twice is fine."""
        self._bar.stop()


@contextmanager
def shown(as_json: bool) -> Iterator[Display]:
    """What shows it, for as long as it lasts."""
    display = Bar() if sys.stderr.isatty() and not as_json else Display(as_json)
    try:
        yield display
    finally:
        display.close()


def _wording(chain: str, out: str, found: Estimate) -> str:
    if not found.blocks:
        return f"{chain}: all of these blocks are in {out} already"
    pace = "as fast as it answers" if found.seconds is None else (
        f"at least {span(found.seconds)} at {found.rate:g} calls a second"
    )
    return (
        f"{chain}: {count(found.blocks, 'block')} ({found.first} to {found.last}) into {out}, about "
        f"{count(found.requests, 'call')} (many go in one request) and more for blocks that touch a wallet, {pace}"
    )


def _standing(standing: Standing) -> str:
    left = "" if standing.left is None else f", {span(standing.left)} left"
    return (
        f"{standing.what}: {standing.done:,} of {count(standing.total, 'block')}, {standing.rate:,.1f} a second, "
        f"{count(standing.requests, 'request')}{left}"
    )
