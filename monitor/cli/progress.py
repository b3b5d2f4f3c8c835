"""How far long work is: bars on a terminal, nothing elsewhere; and in words when it is stopped."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["Bars", "progress"]

_UNITS = ("B", "kB", "MB", "GB", "TB")


class Bars:
    """A `monitor.backtesting.progress.Progress` that remembers the stage, and shows each one as a bar.

    Parameters
    ----------
    bars : a `rich.progress.Progress`; None shows nothing
    """

    def __init__(self, bars: Any = None) -> None:
        self._bars, self._bar = bars, None
        self.name, self.unit = "", ""
        self.total: int | None = None
        self.done = 0

    def stage(self, name: str, total: int | None, unit: str) -> None:
        """A stage begins; the bar of the one before it is full."""
        if self._bars is not None:
            if self._bar is not None:
                self._bars.update(self._bar, completed=self.total or self.done, total=self.total or self.done)
            self._bar = self._bars.add_task(name, total=total or None, unit=unit, note="")
        self.name, self.total, self.unit, self.done = name, total or None, unit, 0

    def advance(self, done: int) -> None:
        """More is done."""
        self.at(self.done + done)

    def at(self, done: int) -> None:
        """So much is done."""
        self.done = done
        if self._bars is not None and self._bar is not None:
            self._bars.update(self._bar, completed=done)

    def note(self, text: str) -> None:
        """Words beside the bar."""
        if self._bars is not None and self._bar is not None:
            self._bars.update(self._bar, note=text)

    def tell(self, done: int, total: int) -> None:
        """Done and all, of work that tells no stages: bytes that are read."""
        if not self.name:
            self.stage("reading", total, "bytes")
        self.at(done)

    @property
    def where(self) -> str:
        """How far it is, in words: ``while reading, 1.2 GB of 5.0 GB``."""
        if not self.name:
            return "before anything was read"
        return f"while {self.name}" + (f", {amount(self.done, self.total, self.unit)}" if self.done else "")


def amount(done: int, total: int | None, unit: str) -> str:
    """Done of all, in a unit.

    >>> amount(1_234_567, 5_000_000, "bytes"), amount(1200, None, "rows")
    ('1.2 MB of 5.0 MB', '1,200 rows')
    """
    if unit == "bytes":
        return _bytes(done) + (f" of {_bytes(total)}" if total else "")
    return f"{done:,}" + (f" of {total:,}" if total else "") + f" {unit}"


def _bytes(number: float) -> str:
    for unit in _UNITS[:-1]:
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} {_UNITS[-1]}"


@contextmanager
def progress(quiet: bool = False) -> Iterator[Bars]:
    """Bars on standard error where that is a terminal and ``quiet`` is not set; they go when the work ends."""
    if quiet or not sys.stderr.isatty():
        yield Bars()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Amount(ProgressColumn):
        """Done of all, in the stage's own unit."""

        def render(self, task: Any) -> Text:
            return Text(amount(int(task.completed), int(task.total) if task.total else None, task.fields["unit"]))

    columns = (
        TextColumn("{task.description:<10}"), BarColumn(), Amount(), TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        yield Bars(bars)
