"""Options of the commands that read history tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import click

from monitor.errors import ConfigError, Problem
from monitor.ids import from_iso

__all__ = ["period", "period_options", "renamed"]


def period_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """``--from T``, ``--to T`` and ``--map NEW=OLD[:UNIT]``, as ``start``, ``end`` and ``mapped``."""
    for option in (
        click.option(
            "--map", "mapped", multiple=True, metavar="NEW=OLD[:UNIT]",
            help="Read column OLD as NEW, its numbers in a unit (value=amount:18, block_timestamp=t:ms); repeatable.",
        ),
        click.option("--to", "end", metavar="T", help="Last moment, exclusive."),
        click.option("--from", "start", metavar="T", help="First moment, inclusive (ISO 8601, UTC)."),
    ):  # fmt: skip
        function = option(function)
    return function


def period(start: str | None, end: str | None) -> tuple[int | None, int | None]:
    """UTC seconds of both ends; ConfigError for both of them at once."""
    problems: list[Problem] = []
    found: list[int | None] = []
    for option, text in (("--from", start), ("--to", end)):
        try:
            found.append(None if text is None else from_iso(text))
        except ValueError as error:
            problems.append(Problem(f"{option}: {error}"))
            found.append(None)
    first, last = found
    if first is not None and last is not None and first >= last:
        problems.append(Problem(f"--from {start} is not before --to {end}: there is nothing between them"))
    if problems:
        raise ConfigError(problems)
    return first, last


def renamed(mapped: tuple[str, ...]) -> Mapping[str, str]:
    """The columns of ``--map``."""
    from chains.tables.mapping import parse_mapping

    return parse_mapping(mapped)
