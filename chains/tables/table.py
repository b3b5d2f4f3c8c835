"""One file of history: its form and columns read off the content, and its rows."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from chains.tables.lines import head, packing, reading, unpacked
from chains.tables.text import (
    ROW,
    Chunk,
    csv_chunks,
    csv_header,
    json_chunks,
    json_columns,
    json_records,
    ndjson_chunks,
    separator,
)
from monitor.errors import ConfigError, Problem

__all__ = ["Table", "open_table"]

_PARQUET = b"PAR1"


@dataclass(frozen=True)
class Table:
    """One file.

    Attributes
    ----------
    path : the file
    form : ``parquet``, ``csv``, ``ndjson`` or ``json``
    dtypes : column name, as the layouts know it, to type
    names : column of the file to that name
    mark : field separator in CSV
    lists : columns that hold lists in JSON
    size : bytes on disk
    """

    path: str
    form: str
    dtypes: Mapping[str, pl.DataType]
    names: Mapping[str, str]
    mark: str = ","
    lists: frozenset[str] = frozenset()
    size: int = 0

    def scan(self) -> pl.LazyFrame:
        """The rows of a Parquet file, numbered from 1 in `ROW`."""
        with reading(self.path):
            frame = _scan(self.path)
        changed = {old: new for old, new in self.names.items() if old != new}
        taken = [new for new in changed.values() if new in self.names and new not in changed]
        return frame.drop(taken).rename(changed)

    def chunks(self, wanted: frozenset[str], tick: Callable[[int], None] | None = None) -> Iterator[Chunk]:
        """The rows of a text file, with those columns (by the layouts' names) alone."""
        old = {name: file_name for file_name, name in self.names.items() if name in wanted}
        columns = {file_name: file_name in self.lists for file_name in old.values()}
        if self.form == "csv":
            chunks = csv_chunks(self.path, tuple(self.names), self.mark, columns, tick)
        elif self.form == "ndjson":
            chunks = ndjson_chunks(self.path, columns, tick)
        else:
            chunks = json_chunks(self.path, columns)
        for chunk in chunks:
            chunk.frame = chunk.frame.select(ROW, *[pl.col(file_name).alias(name) for name, file_name in old.items()])
            yield chunk


def open_table(path: str, rename: Mapping[str, str]) -> Table:
    """Look at a file's beginning.

    Parameters
    ----------
    path : the file
    rename : new column name to the file's own

    Raises
    ------
    ConfigError : it is empty, corrupt, or neither Parquet nor CSV nor JSON
    """
    with reading(path):
        size = Path(path).stat().st_size
    start = head(path)
    if not start.strip():
        raise ConfigError(Problem("the file is empty", path))
    lists: frozenset[str] = frozenset()
    mark = ","
    dtypes: dict[str, pl.DataType]
    if start[:4] == _PARQUET:
        form = "parquet"
        with reading(path):
            dtypes = dict(_scan(path).drop(ROW).collect_schema())
    elif start.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"[", b"{"):
        form, records = _sample(path, start)
        columns, nested = json_columns(records)
        lists = frozenset(name for name, has in columns.items() if has)
        dtypes = {name: pl.String() for name in columns if name not in nested}
    else:
        form = "csv"
        first = next(line for line in start.decode("utf-8", "replace").splitlines() if line.strip())
        if "\x00" in first or "\ufffd" in first:
            raise ConfigError(Problem("neither Parquet nor CSV nor JSON", path))
        mark = separator(first)
        dtypes = dict.fromkeys(csv_header(path, first), pl.String())
    new = {old: name for name, old in rename.items() if old in dtypes}
    # a column that another one is renamed to is set aside
    names = {old: new.get(old, f"{old} (replaced)" if old in new.values() else old) for old in dtypes}
    return Table(path, form, {names[old]: dtype for old, dtype in dtypes.items()}, names, mark, lists, size)


def _scan(path: str) -> pl.LazyFrame:
    kind = packing(path)
    if kind == "zstd":
        raise ConfigError(Problem("Parquet inside zstd cannot be read: decompress it first", path))
    source: Any = io.BytesIO(unpacked(path)) if kind else path
    return pl.scan_parquet(
        source, row_index_name=ROW, row_index_offset=1, glob=False, hive_partitioning=False
    ).cast({ROW: pl.Int64})


def _sample(path: str, start: bytes) -> tuple[str, list[dict[str, Any]]]:
    """Form and first records of a JSON file."""
    text = start.decode("utf-8", "replace").lstrip("\ufeff")
    if text.lstrip()[0] == "[":
        return "json", [r for r in json_records(path)[:1000] if isinstance(r, dict)]
    found: list[dict[str, Any]] = []
    for line in text.splitlines()[:1000]:
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict):
            found.append(record)
    if not found:
        raise ConfigError(Problem("neither JSON lines (one object a line) nor a JSON array of objects", path))
    return "ndjson", found
