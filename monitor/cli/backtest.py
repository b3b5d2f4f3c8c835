"""`heistwatch backtest`: the same engine over history."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from monitor.backtesting.stopping import Stop
from monitor.cli.common import data_option, find_config, json_option, print_json
from monitor.cli.files import check_places, write_report, written
from monitor.cli.history_options import period, period_options, renamed
from monitor.cli.interrupt import listening
from monitor.cli.progress import Bars, progress
from monitor.cli.show import show_files, show_report
from monitor.cli.what_if import Question, Verdict
from monitor.config import Config
from monitor.errors import ConfigError, Problem
from monitor.model import Severity
from monitor.registry import did_you_mean

if TYPE_CHECKING:
    from monitor.backtesting.outcome import Outcome

__all__ = ["command"]

_ENGINES = ("local", "processes", "ray")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?b)?", re.IGNORECASE)
_LEAST = 64 << 20  # bytes: below, nothing is gained by holding fewer rows


@dataclass(frozen=True)
class _Asked:
    """What to do with the outcome, beside showing it."""

    out: Path | None
    page: Path | None
    level: Severity | None
    question: Question

    @property
    def files(self) -> Mapping[str, str]:
        """What lies where."""
        return {what: str(path) for what, path in (("report", self.out), ("page", self.page)) if path is not None}


@click.command()
@click.argument("config", metavar="CONFIG")
@data_option
@period_options
@click.option("--report", "out", metavar="OUT.json", type=Path, help="Write the report here.")
@click.option("--html", "page", metavar="OUT.html", type=Path, help="Write the report here as one page to look at.")
@click.option("--engine", metavar="NAME", default="local", help="local (the default), processes or ray.")
@click.option("--workers", metavar="N", help="How many processes; one a core without it.")
@click.option("--work", metavar="DIR", type=Path, help="Keep what is done here until all is: go on after an end.")
@click.option("--memory", metavar="SIZE", help="Rows to hold in memory, 1 GiB without it; the rest goes to disk.")
@click.option("--fail-on", metavar="SEVERITY", help="Exit with 1 where an incident is at least this severe.")
@click.option("--truth", metavar="FILE", type=Path, help="Labelled incidents: what was caught, missed, and how late.")
@click.option("--sweep", "sweeps", multiple=True, metavar="K=V,V", help="Try settings: budget=0.3,1,3; repeatable.")
@click.option("--detectors", "own", multiple=True, metavar="FILE.py", help="Detectors of your own; repeatable.")
@click.option("--strict", is_flag=True, help="Check every row of Parquet files too.")
@json_option
def command(
    config: str,
    data: tuple[str, ...],
    more: tuple[str, ...],
    start: str | None,
    end: str | None,
    mapped: tuple[str, ...],
    out: Path | None,
    page: Path | None,
    engine: str,
    workers: str | None,
    work: Path | None,
    memory: str | None,
    fail_on: str | None,
    truth: Path | None,
    sweeps: tuple[str, ...],
    own: tuple[str, ...],
    strict: bool,
    as_json: bool,
) -> int:
    """Run history through the engine and show what would have alarmed.

    Reads Parquet, CSV, NDJSON and JSON, plain or compressed, from files, folders, globs and URLs (s3://, gs://, az://,
    hf://, https://): the native table, exports of ethereum-etl, cryo, bitcoin-etl and block explorers, and blocks.
    """
    first, last = period(start, end)
    level = _severity(fail_on)
    check_places({"report": out, "page": page})
    means = _means(engine, workers, work, memory)
    options = {"start": first, "end": last, "strict": strict, "rename": renamed(mapped), **means}
    found = find_config(config, own)
    asked = _Asked(out, page, level, Question.read(truth, sweeps, found))
    return _run(found, [*data, *more], options, asked, as_json)


def _run(config: Config, data: list[str], options: dict[str, Any], asked: _Asked, as_json: bool) -> int:
    from monitor.app import run_backtest

    stop, verdict = Stop(), Verdict()
    kept = options.get("work") is not None
    told = Bars()
    outcome: Outcome | None = None
    try:
        with progress(as_json) as told, listening(stop, lambda: _stopped(told, kept)):
            outcome = run_backtest(config, data, progress=told, stop=stop, sweep=asked.question.grid, **options)
            if not stop.asked:
                verdict = asked.question.answer(outcome, told, stop)
    except KeyboardInterrupt:  # `Stopped`, or what Ray makes of it on its way
        if outcome is None:
            click.echo(f"heistwatch: {_stopped(told, kept)}", err=True)
            return 130
    if stop.asked:
        outcome.history.keep()
    with outcome:
        report = {**outcome.report, **verdict.data()}
        if asked.out is not None:
            write_report(asked.out, report)
        if asked.page is not None:
            _write_page(asked.page, outcome, verdict)
    if as_json:
        print_json(report)
    else:
        show_report(report, _budgets(config))
        verdict.show()
        show_files(asked.files)
    if stop.asked:
        click.echo(f"heistwatch: {_stopped(told, kept, reported=True)}", err=True)
        return 130
    found = (Severity.parse(item["severity"]) for item in report["incidents"])
    return int(asked.level is not None and any(severity >= asked.level for severity in found))


def _stopped(told: Bars, kept: bool, reported: bool = False) -> str:
    """The line of a run that was stopped."""
    what = "what was found until then is reported" if reported else "nothing is reported"
    again = "the same command goes on from there" if kept else "--work DIR would keep what is done"
    return f"stopped {told.where}; {what}; {again}"


def _means(engine: str, workers: str | None, work: Path | None, memory: str | None) -> dict[str, Any]:
    """Options on how it is run; all that is wrong with them at once."""
    found: dict[str, Any] = {"engine": engine, "work": work}
    problems: list[Problem] = []
    if engine not in _ENGINES:
        problems.append(Problem(f"--engine: no engine {engine!r}: {did_you_mean(engine, _ENGINES)}"))
    if workers is not None:
        if re.fullmatch(r"[1-9][0-9]{0,3}", workers) is None:
            problems.append(Problem(f"--workers was {workers!r}, expected a number from 1 to 9999"))
        elif engine == "local":
            problems.append(Problem("--workers goes with --engine processes or ray: local is one process"))
        else:
            found["workers"] = int(workers)
    if memory is not None:
        size = _bytes(memory)
        if size is None:
            problems.append(Problem(f"--memory was {memory!r}, expected a size such as 2GB, at least 64MiB"))
        else:
            found["memory"] = size
    if work is not None and work.exists() and not work.is_dir():
        problems.append(Problem("--work must be a folder; this is a file", str(work)))
    if problems:
        raise ConfigError(problems)
    return found


def _bytes(text: str) -> int | None:
    """A size in bytes, None where it is none or too small to work with.

    >>> _bytes("1.5 GB"), _bytes("2GiB"), _bytes("12"), _bytes("much")
    (1500000000, 2147483648, None, None)
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None or len(match[1]) > 15:
        return None
    unit = 1024 if (match[3] or "").lower() == "ib" or not match[3] else 1000
    size = int(float(match[1]) * unit ** ("", "k", "m", "g", "t").index(match[2].lower()))
    return size if size >= _LEAST else None


def _severity(word: str | None) -> Severity | None:
    if word is None:
        return None
    try:
        return Severity.parse(word)
    except ValueError as error:
        raise ConfigError(f"--fail-on: {error}") from None


def _write_page(path: Path, outcome: Outcome, verdict: Verdict) -> None:
    from monitor.backtesting.page import write_page

    written(path, lambda place: write_page(place, outcome, **verdict.page()), "page")


def _budgets(config: Config) -> Mapping[str, float]:
    """What owners accept, of wallets that statistics judge."""
    return {w.id: w.budget for w in config.wallets if not w.role.is_exact}
