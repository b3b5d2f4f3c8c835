"""One file of history: its form and columns read off the content, and its rows."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import polars as pl

from chains.tables.documents.document import Document, sight_of
from chains.tables.documents.layouts import LAYOUTS
from chains.tables.json_rows import (
    array_chunks,
    array_sample,
    is_envelope,
    json_chunks,
    json_columns,
    json_records,
    ndjson_chunks,
    record_of,
)
from chains.tables.layout import Layout, known_columns, spelled
from chains.tables.lines import head, packing, reading, unpacked
from chains.tables.lines import size as size_of
from chains.tables.mapping import Unit
from chains.tables.nested import dotted, parts_of
from chains.tables.place import address
from chains.tables.source import ChainInfo
from chains.tables.text import ROW, Chunk, csv_chunks, csv_header, separator
from monitor.errors import ConfigError, Problem

__all__ = ["Table", "gather", "open_table", "open_tables", "scan_tables"]

_PARQUET = b"PAR1"
_RECORDS = 1000  # of a JSON file, that tell its columns
_FIRST_LINES = 5
# Parts of Parquet files that are read ahead, unless the user has said how many: Polars keeps far more in memory by
# itself, and is no faster for it.
os.environ.setdefault("POLARS_ROW_GROUP_PREFETCH_SIZE", str(max(4, pl.thread_pool_size())))


@dataclass(frozen=True)
class Table:
    """One file.

    Attributes
    ----------
    path : the file
    form : ``parquet``, ``csv``, ``ndjson``, ``array`` (of JSON), ``json`` (answers of an explorer) or ``document``
    dtypes : column name, as the layouts know it, to type
    names : column of the file to that name
    mark : field separator in CSV
    lists : columns that hold lists in JSON
    size : bytes on disk
    units : column to the unit of its numbers, where the user said one
    document : of documents of blocks, what the table is made of; a file of them is several tables
    layout : its layout, None where none fits its columns
    seen : names, in small letters, that its records are known to have, in JSON
    """

    path: str
    form: str
    dtypes: Mapping[str, pl.DataType]
    names: Mapping[str, str]
    mark: str = ","
    lists: frozenset[str] = frozenset()
    size: int = 0
    units: Mapping[str, Unit] = field(default_factory=dict)
    document: Document | None = None
    layout: Layout | None = None
    seen: frozenset[str] = frozenset()

    def scan(self) -> pl.LazyFrame:
        """The rows of a Parquet file, numbered from 1 in `ROW`."""
        with reading(self.path):
            return self._named(_scan(self.path))

    def _named(self, frame: pl.LazyFrame) -> pl.LazyFrame:
        parts = dotted(frame.collect_schema()) if any("." in name for name in self.names) else {}
        frame = frame.with_columns(part.alias(name) for name, (part, _) in parts.items()) if parts else frame
        changed = {old: new for old, new in self.names.items() if old != new}
        taken = [new for new in changed.values() if new in self.names and new not in changed]
        return frame.drop(taken).rename(changed)

    def chunks(
        self,
        wanted: frozenset[str],
        tick: Callable[[int], None] | None = None,
        watch: Mapping[str, Container[str]] | None = None,
    ) -> Iterator[Chunk]:
        """The rows of a text file or of documents.

        Parameters
        ----------
        wanted : columns to give, by the layouts' names
        tick : told the bytes of the file on disk read so far
        watch : CAIP-2 to watched addresses, see `chains.tables.documents.document.Document.chunks`
        """
        if self.document is not None:
            yield from self.document.chunks(wanted, tick, watch)
            return
        old = {name: file_name for file_name, name in self.names.items() if name in wanted}
        columns = {file_name: file_name in self.lists for file_name in old.values()}
        if self.form == "csv":
            chunks = csv_chunks(self.path, tuple(self.names), self.mark, columns, tick)
        elif self.form in ("ndjson", "array"):
            read = ndjson_chunks if self.form == "ndjson" else array_chunks
            chunks = read(self.path, columns, tick, known_columns() - self.seen)
        else:
            chunks = json_chunks(self.path, columns)
        for chunk in chunks:
            chunk.frame = chunk.frame.select(ROW, *[pl.col(file_name).alias(name) for name, file_name in old.items()])
            yield chunk


def scan_tables(tables: Sequence[Table]) -> pl.LazyFrame:
    """The rows of Parquet files of one schema, those of one after another, numbered from 1 through all."""
    if len(tables) == 1:
        return tables[0].scan()
    paths = [address(table.path) for table in tables]
    return tables[0]._named(
        pl.scan_parquet(paths, row_index_name=ROW, row_index_offset=1, glob=False, hive_partitioning=False).cast(
            {ROW: pl.Int64}
        )
    )


def open_tables(path: str, rename: Mapping[str, str], seen: Sequence[Mapping[str, Any]] = ()) -> list[Table]:
    """Look at a file's beginning: one table of a file of rows, several of a file of documents, none of an empty answer.

    Tables of documents have their ``layout``, whose ``kind`` is the chain's family; what they read is known once all
    files were looked at and their chains are known: see `gather`.

    Parameters
    ----------
    path : the file
    rename : new column name to the file's own; documents have no columns
    seen : records of a JSON file that have columns which its beginning does not show

    Raises
    ------
    ConfigError : it is empty, corrupt, or nothing that is known
    """
    sight = sight_of(path)
    if sight is None:
        return [open_table(path, rename, seen)]
    if not sight.family:
        return []
    tables = []
    for gives, layout in LAYOUTS[sight.family].items():
        if gives == "controls" and sight.family == "bitcoin":
            continue
        names = [name for name in layout.optional if name != "chain"]
        dtypes: dict[str, pl.DataType] = dict.fromkeys(names, pl.String())
        document = Document(path, sight, gives)
        same = {name: name for name in names}
        tables.append(Table(path, "document", dtypes, same, size=size_of(path), document=document, layout=layout))
    return tables


def gather(tables: Sequence[tuple[Table, ChainInfo | None]]) -> list[Table]:
    """The same tables in the same order, those of documents knowing their chain and each other.

    Receipts, logs, traces, undo data and what inputs spend may lie in other files than their blocks. Blocks without a
    time get it like other rows where any table of the chain has times; else a block without one is a bad row.

    Parameters
    ----------
    tables : all tables of a reading with the chain of rows that name none
    """
    beside: dict[tuple[str, str], set[tuple[str, Any]]] = {}
    timed: set[str] = set()
    for table, info in tables:
        chain = info.chain if info is not None else ""
        if (document := table.document) is not None:
            beside.setdefault((document.sight.family, chain), set()).add((table.path, document.sight.binary))
            timed |= {chain} if document.sight.times else set()
        elif {"block_timestamp", "timestamp"} & table.dtypes.keys():
            timed.add(chain)
    found = []
    for table, info in tables:
        if (document := table.document) is not None and info is not None:
            files = tuple(sorted(beside[document.sight.family, info.chain], key=lambda file: str(file[0])))
            is_timed = not document.sight.timeless or info.chain not in timed
            document = replace(document, chain=info.chain, timed=is_timed, beside=files)
            left_out = () if is_timed or document.gives != "transfers" else ("block_timestamp",)
            kept = {name: dtype for name, dtype in table.dtypes.items() if name not in left_out}
            table = replace(table, document=document, dtypes=kept)
        found.append(table)
    return found


def open_table(path: str, rename: Mapping[str, str], seen: Sequence[Mapping[str, Any]] = ()) -> Table:
    """Look at a file's beginning.

    Parameters
    ----------
    path : the file
    rename : new column name to the file's own
    seen : records of a JSON file that have columns which its beginning does not show

    Raises
    ------
    ConfigError : it is empty, corrupt, or neither Parquet nor CSV nor JSON
    """
    size = size_of(path)
    start = head(path)
    if not start.strip():
        raise ConfigError(Problem("the file is empty", path))
    lists: frozenset[str] = frozenset()
    keys: frozenset[str] = frozenset()
    mark = ","
    dtypes: dict[str, pl.DataType]
    if start[:4] == _PARQUET:
        form = "parquet"
        with reading(path):
            schema = dict(_scan(path).drop(ROW).collect_schema())
            dtypes = schema | {name: dtype for name, (_, dtype) in dotted(schema).items()}
    elif _is_json(start):
        form, records = _sample(path, start)
        columns, nested = json_columns(records)
        more, inside = json_columns(seen)
        columns, nested = {**more, **columns}, nested | (inside - columns.keys())
        keys = frozenset(name.lower() for name in columns)
        lists = frozenset(name for name, has in columns.items() if has)
        dtypes = {name: pl.String() for name in (*columns, *parts_of(nested, columns)) if name not in nested}
    else:
        form = "csv"
        first = next(line for line in start.decode("utf-8", "replace").split("\n") if line.strip()).strip("\r")
        if "\x00" in first or "\ufffd" in first:
            raise ConfigError(Problem("neither Parquet nor CSV nor JSON", path))
        if "\r" in first:
            raise ConfigError(Problem("lines end with a carriage return alone: save the file with line feeds", path))
        mark = separator(first)
        dtypes = dict.fromkeys(csv_header(path, first), pl.String())
    new = {old: name for name, old in rename.items() if old in dtypes}
    # a column that another one is renamed to is set aside
    names = {old: new.get(old, f"{old} (replaced)" if old in new.values() else old) for old in dtypes}
    units = {name: unit for name, unit in getattr(rename, "units", {}).items() if rename[name] in dtypes}
    said: dict[str, pl.DataType] = {}
    if "asset" not in names.values() and units.get("value", Unit("")).coin:  # the rows are of the chain's own coin
        said["asset"] = pl.Null()
    layout, spellings = spelled([*names.values(), *said], new.values())
    names = {old: spellings.get(name, name) for old, name in names.items()}
    found = {names[old]: dtype for old, dtype in dtypes.items()}
    return Table(path, form, found | said, names, mark, lists, size, units, layout=layout, seen=keys)


def _scan(path: str) -> pl.LazyFrame:
    kind = packing(path)
    if kind == "zstd":
        raise ConfigError(Problem("Parquet inside zstd cannot be read: decompress it first", path))
    source: Any = io.BytesIO(unpacked(path)) if kind not in ("", "remote") else address(path)
    return pl.scan_parquet(
        source, row_index_name=ROW, row_index_offset=1, glob=False, hive_partitioning=False
    ).cast({ROW: pl.Int64})


def _sample(path: str, start: bytes) -> tuple[str, list[dict[str, Any]]]:
    """Form and first records of a JSON file."""
    text = start.decode("utf-8", "replace").lstrip("\ufeff")
    is_array = text.lstrip()[0] == "["
    found = [] if is_array else [record for line in text.splitlines()[:_RECORDS] if (record := record_of(line))]
    if found and not is_envelope(found[0]):
        return "ndjson", found
    found = [record for record in array_sample(path, _RECORDS) if isinstance(record, dict)]
    if found and is_envelope(found[0]):
        return "json", [record for record in json_records(path) if isinstance(record, dict)]
    if not found and not is_array:
        raise ConfigError(Problem("neither JSON lines (one object a line) nor a JSON array of objects", path))
    return "array", found


def _is_json(start: bytes) -> bool:
    """By the first letter; or by an object in one of the next lines, where the first one is broken."""
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n")
    if text[:1] in (b"[", b"{"):
        return True
    lines = text.decode("utf-8", "replace").split("\n", _FIRST_LINES)[:_FIRST_LINES]
    return any(record_of(line) for line in lines)
