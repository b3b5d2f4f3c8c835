"""What reading label files gave: labels, rows that cannot be read with their places, and a count of the rest."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import polars as pl

from monitor.labels.book import SCHEMA
from monitor.labels.label import Label

__all__ = ["KEPT", "BadRow", "FileRead", "Gathered"]

KEPT = 1000  # bad rows kept for showing; all are counted


@dataclass(frozen=True, slots=True)
class BadRow:
    """One row that cannot be read; ``line`` is 1-based, as an editor shows it (in Parquet the row)."""

    path: str
    line: int
    reason: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.reason}"


@dataclass(slots=True)
class FileRead:
    """One file: its layout, and how many rows were read, are bad, or are of chains not known here."""

    path: str
    layout: str
    labels: int = 0
    bad: int = 0
    foreign: int = 0


@dataclass(slots=True)
class Gathered:
    """Labels of several files. ``foreign`` counts rows by the coin of a chain that is not known here."""

    files: list[FileRead] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)  # files of folders that are no data
    bad: list[BadRow] = field(default_factory=list)
    foreign: Counter[str] = field(default_factory=Counter)
    _parts: list[pl.DataFrame] = field(default_factory=list)
    _rows: list[tuple[str | None, str, str, int, str, int]] = field(default_factory=list)

    @property
    def bad_rows(self) -> int:
        """All bad rows, kept or not."""
        return sum(file.bad for file in self.files)

    @property
    def labels(self) -> int:
        """Labels read, repetitions too."""
        return sum(file.labels for file in self.files)

    def begin(self, path: str, layout: str) -> None:
        """The next rows are of this file."""
        self.files.append(FileRead(path, layout))

    def add(self, label: Label) -> None:
        """A label of the file begun last."""
        self.files[-1].labels += 1
        self._rows.append((label.chain, label.address, label.name, int(label.kind), label.source, label.known_since))

    def add_bad(self, line: int, reason: str) -> None:
        """A row of the file begun last that cannot be read."""
        self.files[-1].bad += 1
        if len(self.bad) < KEPT:
            self.bad.append(BadRow(self.files[-1].path, line, reason))

    def add_foreign(self, coin: str) -> None:
        """A row of the file begun last whose chain is not known here."""
        self.files[-1].foreign += 1
        self.foreign[coin] += 1

    def add_frame(self, frame: pl.DataFrame) -> None:
        """A whole table of `SCHEMA`, of the file begun last."""
        self.files[-1].labels += frame.height
        self._parts.append(frame)

    def frame(self) -> pl.DataFrame:
        """All labels, a table of `SCHEMA`."""
        rows = pl.DataFrame(self._rows, schema=SCHEMA, orient="row")
        return pl.concat([*self._parts, rows]) if self._parts else rows
