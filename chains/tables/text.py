"""Rows of CSV files as text columns, checked line by line and still vectorised, and what rows of text come in.

A record is one line: a field may be quoted but holds no line break. Every number stays the text that the file has, so
that 2^256 - 1 survives and ``1e18`` is seen for what it is.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import polars as pl

from chains.tables.lines import lines
from monitor.errors import ConfigError, Problem

__all__ = ["ROW", "Chunk", "csv_chunks", "csv_header", "numbered", "separator"]

ROW = "__row"
_SMALL = 512  # lines below which they are joined one by one


@dataclass
class Chunk:
    """Some rows of a file: ``frame`` has `ROW` (Int64, as in the file) and text columns, null where empty.

    Of documents, whose transactions may be many rows or none, ``rows`` counts the transactions, bad ones too; ``blind``
    is what these cannot show (`monitor.model.Block.blind_spots`), ``notes`` sentences to how often each holds.
    """

    frame: pl.DataFrame
    bad: list[tuple[int, str]] = field(default_factory=list)
    rows: int | None = None
    blind: frozenset[str] = frozenset()
    notes: dict[str, int] = field(default_factory=dict)

    @property
    def counted(self) -> int:
        """Data rows, bad ones too."""
        return self.frame.height + len(self.bad) if self.rows is None else self.rows


def separator(header: str) -> str:
    """The field separator of a CSV header: comma, else tab, semicolon."""
    return next((mark for mark in ",\t;" if mark in header), ",")


def csv_header(path: str, line: str) -> tuple[str, ...]:
    """Column names of a CSV header line; ConfigError where one occurs twice."""
    names = tuple(name.strip() for name in next(csv.reader([line.lstrip("\ufeff")], delimiter=separator(line)), []))
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(Problem(f"column {twice[0]!r} occurs twice in the header", path))
    return names


def csv_chunks(
    path: str, header: Sequence[str], mark: str, wanted: Iterable[str], tick: Callable[[int], None] | None = None
) -> Iterator[Chunk]:
    """The rows of a CSV file after its header (its first line that is not blank).

    Parameters
    ----------
    path : the file
    header : all column names in file order
    mark : field separator
    wanted : the columns to give
    tick : told the bytes of the file on disk read so far
    """
    places = [i for i, name in enumerate(header) if name in set(wanted)]
    seen_header = False
    for first, series in lines(path, tick):
        rows = numbered(first, series)
        if not seen_header and rows.height:
            rows, seen_header = rows.slice(1), True
        line = pl.col("line")
        bare = pl.when(line.str.contains('"', literal=True)).then(line.str.replace_all(r'"[^"]*"', "")).otherwise(line)
        fields = bare.str.count_matches(mark, literal=True).cast(pl.Int64) + 1
        rows = rows.with_columns(__fields=fields, __open=bare.str.contains('"', literal=True))
        broken = rows.filter(pl.col("__open") | (pl.col("__fields") != len(header)))
        bad = [
            (row, "a quoted field is not closed" if is_open else f"{count} fields, expected {len(header)}")
            for row, count, is_open in broken.select(ROW, "__fields", "__open").iter_rows()
        ]
        good = rows.filter(~pl.col("__open") & (pl.col("__fields") == len(header))) if bad else rows
        yield Chunk(_csv_frame(good, header, mark, places), bad)


def _csv_frame(rows: pl.DataFrame, header: Sequence[str], mark: str, places: list[int]) -> pl.DataFrame:
    names = [header[i] for i in places]
    if not rows.height:
        return pl.DataFrame(schema={ROW: pl.Int64} | dict.fromkeys(names, pl.String))
    text = "\n".join(rows["line"].to_list()) if rows.height < _SMALL else rows["line"].str.join("\n").item()
    frame = pl.read_csv(f"{text}\n".encode(), has_header=False, separator=mark, columns=places, infer_schema=False)
    frame.columns = names
    if '"' in text:  # a field that is quoted and empty is an empty text, and no other field is
        frame = frame.with_columns(pl.when(pl.col(name) != "").then(pl.col(name)).alias(name) for name in names)
    if frame.height != rows.height:  # a quoting that polars and the count above read differently
        fields = list(csv.reader(rows["line"].to_list(), delimiter=mark))
        columns = {header[i]: [f[i] or None for f in fields] for i in places}
        frame = pl.DataFrame(columns, schema=dict.fromkeys(names, pl.String))
    return frame.with_columns(rows[ROW])


def numbered(first: int, series: pl.Series) -> pl.DataFrame:
    """Lines that are not blank, with their numbers."""
    series = series.str.strip_prefix("\ufeff") if first == 1 else series
    frame = pl.DataFrame({"line": series}).with_row_index(ROW, first).cast({ROW: pl.Int64})
    return frame.filter(pl.col("line").str.strip_chars() != "")
