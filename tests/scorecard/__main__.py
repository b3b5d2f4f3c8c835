"""`python -m tests.scorecard` (`make scorecard`): how often false alarms come, how early thefts are seen, in figures.

Simulated wallets and the built-in thefts go through the public backtest, and one table comes out. All of it is written
to docs/scorecard.json and docs/scorecard.md; a part of it (`--only`, `--budget`, `--sample`, `--seeds tuning`) is
printed, and written only where `--out` says.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import click

from monitor.app import warm_up
from monitor.case import case_ids, load_case
from monitor.case_run import judge, run_case, scorecard
from monitor.errors import ConfigError
from tests.scorecard.plan import CASES, Part, chosen, named_seeds, tasks
from tests.scorecard.rows import SCHEMA, rows
from tests.scorecard.score import Outcome, play
from tests.scorecard.show import markdown, terminal

ROOT = Path(__file__).resolve().parents[2]
SAID_EVERY = 15.0  # seconds between progress lines that do not go to a terminal


class Progress:
    """One line that says how far it is; on a terminal it is written over."""

    def __init__(self, work: float) -> None:
        self._work, self._done = max(work, 1e-9), 0.0
        self._begin = self._said = time.monotonic()

    def add(self, work: float) -> None:
        """More is done."""
        self._done += work
        now = time.monotonic()
        share, spent = min(1.0, self._done / self._work), now - self._begin
        line = f"scorecard: {share:4.0%}, {_clock(spent)} so far, about {_clock(spent / share - spent)} to go"
        if sys.stderr.isatty():
            click.echo(f"\r{line} ", nl=False, err=True)
        elif now - self._said >= SAID_EVERY:
            self._said = now
            click.echo(line, err=True)

    def end(self) -> float:
        """Seconds that it took."""
        if sys.stderr.isatty():
            click.echo("", err=True)
        return time.monotonic() - self._begin


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def measure(parts: Sequence[Part], jobs: int, progress: Callable[[float], None]) -> list[Outcome]:
    """Every wallet of these parts, in ``jobs`` processes. The outcome does not depend on how many."""
    work = tasks(parts)
    if jobs == 1:
        found = []
        for task in work:
            found += play(task)
            progress(task.work)
        return found
    os.environ["POLARS_MAX_THREADS"] = "1"  # of the processes that begin now
    warm_up()  # compiled once, before several want it
    outcomes: list[Outcome] = []
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        running = {pool.submit(play, task): task for task in work}
        try:
            for done in as_completed(running):
                outcomes += done.result()
                progress(running[done].work)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return outcomes


def historical() -> list[dict[str, Any]]:
    """The rows of all built-in cases that can be replayed."""
    cases = [case for case in map(load_case, case_ids()) if case.replayable]
    found: list[dict[str, Any]] = scorecard([judge(case, run_case(case)) for case in cases])["rows"]
    return found


def write(folder: Path, card: dict[str, Any], command: str) -> None:
    """scorecard.json and scorecard.md."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "scorecard.json").write_text(json.dumps(card, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    (folder / "scorecard.md").write_text(markdown(card["rows"], command), encoding="utf-8")


@click.command(context_settings={"help_option_names": ["-h", "--help"]}, help=__doc__)
@click.option("--out", metavar="DIR", help="Write scorecard.json and scorecard.md here.")
@click.option("--only", metavar="WORLD/KIND,...", help="These alone; * fits anything, `cases` are those of history.")
@click.option("--budget", metavar="B,...", help="At these budgets alone.")
@click.option("--seeds", type=click.Choice(["tuning", "scoring"]), default="scoring", show_default=True)
@click.option("--sample", is_flag=True, help="The sample rows alone, which the tests compare.")
@click.option("--jobs", type=click.IntRange(1), default=os.cpu_count() or 1, show_default=True, help="Processes.")
@click.option("--json", "as_json", is_flag=True, help="Print the card as JSON.")
def main(
    out: str | None, only: str | None, budget: str | None, seeds: str, sample: bool, jobs: int, as_json: bool
) -> None:
    """Measure, print, write."""
    patterns = [text.strip() for text in only.split(",")] if only else []
    try:
        budgets = [float(text) for text in budget.split(",")] if budget else []
        if any(not b > 0 for b in budgets):
            raise ValueError
        if sample and seeds == "tuning":
            raise ConfigError("--sample is of the scoring seeds")
        parts = chosen(named_seeds(seeds), only=patterns, budgets=budgets, sample=sample)
    except ValueError:
        raise click.BadParameter("numbers above 0, such as 0.3,1", param_hint="--budget") from None
    except ConfigError as error:
        raise click.UsageError(str(error)) from None
    progress = Progress(sum(part.work for part in parts))
    found = rows(parts, measure(parts, jobs, progress.add))
    if not patterns or CASES in patterns:
        found += historical()
    seconds = progress.end()
    command = " ".join(["python -m tests.scorecard", *sys.argv[1:]])
    card = {"schema": SCHEMA, "command": command, "rows": found}
    click.echo(json.dumps(card, indent=1, sort_keys=True) if as_json else terminal(found))
    click.echo(f"scorecard: {len(found)} rows in {_clock(seconds)}", err=True)
    whole = not (patterns or budgets or sample) and seeds == "scoring"
    if out is not None or whole:
        write(Path(out) if out is not None else ROOT / "docs", card, command)


if __name__ == "__main__":
    main()
