"""Rows that cannot be read: counted, and the first of them kept with their place and the reason."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import reduce
from heapq import nsmallest

import polars as pl

__all__ = ["KEPT", "BadRow", "BadRows", "Check", "any_bad", "first_reason"]

KEPT = 100  # bad rows kept for showing; all are counted


@dataclass(frozen=True, slots=True)
class BadRow:
    """One row that cannot be read. ``row`` is 1-based as an editor shows it: a CSV header is row 1."""

    path: str
    row: int
    reason: str

    def __str__(self) -> str:
        return f"{self.path}:{self.row}: {self.reason}"


@dataclass
class BadRows:
    """Collects bad rows over all files."""

    count: int = 0
    kept: list[BadRow] = field(default_factory=list)

    def add(self, path: str, rows: Iterable[tuple[int, str]], count: int | None = None) -> None:
        """Take rows of one file, in any order; of all that were given the first are kept.

        Parameters
        ----------
        path : the file
        rows : (row number, reason) pairs
        count : how many there are where ``rows`` is only the beginning
        """
        rows = list(rows)
        self.count += len(rows) if count is None else count
        shown = str(path)  # a URL without its secrets: rows are stored
        before = [bad for bad in self.kept if bad.path != shown]
        mine = [bad for bad in self.kept if bad.path == shown]
        mine += [BadRow(shown, row, reason) for row, reason in nsmallest(KEPT, rows)]
        self.kept = [*before, *sorted(mine, key=lambda bad: bad.row)][:KEPT]

    def join(self, other: BadRows) -> None:
        """Take those of other files, however many were kept of them."""
        self.count += other.count
        self.kept += other.kept


@dataclass(frozen=True, slots=True)
class Check:
    """A vectorised test of rows: ``bad`` is a boolean expression, ``reason`` a text one, both over the raw columns."""

    bad: pl.Expr
    reason: pl.Expr


def any_bad(checks: Iterable[Check]) -> pl.Expr:
    """True where any check fails (a null answer is a pass)."""
    found = [check.bad.fill_null(False) for check in checks]
    return reduce(lambda a, b: a | b, found) if found else pl.lit(False)


def first_reason(checks: Iterable[Check]) -> pl.Expr:
    """The reason of the first check that fails."""
    return pl.coalesce([pl.when(c.bad.fill_null(False)).then(c.reason) for c in checks] + [pl.lit("unreadable")])
