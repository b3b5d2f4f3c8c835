"""What a backtest is held against: labelled incidents (`--truth`), and other settings (`--sweep`)."""

from __future__ import annotations

import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from monitor.backtesting.progress import Progress
from monitor.backtesting.stopping import Stop
from monitor.cli.show import clean
from monitor.config import Config

if TYPE_CHECKING:
    from rich.table import Table

    from monitor.backtesting.outcome import Outcome
    from monitor.backtesting.sweep import Sweep
    from monitor.backtesting.sweep_grid import Grid
    from monitor.backtesting.truth import Truth
    from monitor.backtesting.truth_score import Scored

__all__ = ["Question", "Verdict"]


@dataclass(frozen=True)
class Verdict:
    """What came of it; None where it was not asked for."""

    scored: Scored | None = None
    sweep: Sweep | None = None

    def data(self) -> dict[str, Any]:
        """The keys ``truth`` and ``sweep`` of a report."""
        from monitor.backtesting.sweep_table import sweep_data, truth_data

        found: dict[str, Any] = {}
        if self.scored is not None:
            found["truth"] = truth_data(self.scored)
        if self.sweep is not None:
            found["sweep"] = sweep_data(self.sweep)
        return found

    def page(self) -> dict[str, Any]:
        """What the page takes."""
        from monitor.backtesting.page.judged import labelled, settings

        found: dict[str, Any] = {}
        if self.scored is not None:
            found["truth"] = labelled(self.scored)
        if self.sweep is not None:
            found["sweep"] = settings(self.sweep)
        return found

    def show(self) -> None:
        """Tables on a terminal, aligned lines elsewhere."""
        from monitor.backtesting import sweep_table as shown

        if self.scored is not None:
            click.echo("")
            _echo(shown.truth_lines(self.scored))
            _table(shown.truth_table, shown.truth_rows, self.scored)
        if self.sweep is not None:
            click.echo("")
            if sys.stdout.isatty():
                _table(shown.sweep_table, shown.sweep_lines, self.sweep)
                _echo([f"note: {note}" for note in self.sweep.notes])
            else:
                _echo(shown.sweep_lines(self.sweep))


@dataclass(frozen=True)
class Question:
    """What was asked for."""

    truth: Truth | None = None
    grid: Grid | None = None

    @classmethod
    def read(cls, truth: Path | None, sweep: tuple[str, ...], config: Config) -> Question:
        """Both, checked before any work; ConfigError."""
        from monitor.backtesting.sweep_grid import parse_sweep
        from monitor.backtesting.truth import load_truth, named

        grid = parse_sweep(sweep) if sweep else None
        if grid is not None:
            grid.configs(config)
        chains = {chain.name: chain.chain for chain in config.chains}
        return cls(named(load_truth(truth), chains) if truth is not None else None, grid)

    def answer(self, outcome: Outcome, progress: Progress, stop: Stop) -> Verdict:
        """Go through the history of an outcome."""
        from monitor.backtesting.truth_score import score

        scored = score(outcome, self.truth) if self.truth is not None else None
        if self.grid is None:
            return Verdict(scored)
        from monitor.backtesting.sweep import run_sweep

        return Verdict(scored, run_sweep(outcome, self.grid, self.truth, progress=progress, stop=stop))


def _echo(lines: list[str]) -> None:
    for line in lines:
        click.echo(clean(line))


def records(table: Table, width: int) -> list[str]:
    """A table as paragraphs, a row each, for a terminal that it does not fit: its first cell, then what has a value."""
    names = [str(column.header) for column in table.columns]
    lines = [str(table.title)]
    for cells in zip(*(column.cells for column in table.columns), strict=True):
        said = [f"{name} {cell}" for name, cell in zip(names, cells, strict=True) if str(cell) != "-"]
        lines += textwrap.wrap(", ".join(said), max(20, width), initial_indent="- ", subsequent_indent="  ")
    return lines


def _table(table: Any, rows: Any, of: Any) -> None:
    if not sys.stdout.isatty():
        _echo(rows(of))
        return
    from rich.console import Console

    found, console = table(of), Console()
    wide = sum(column.min_width or 0 for column in found.columns) + 3 * len(found.columns) + 1
    if wide <= console.width:
        console.print(found)
    else:
        _echo(records(found, console.width))
