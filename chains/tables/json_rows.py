"""Rows of JSON files as text columns: an object a line, arrays of objects, the answers of block explorers.

Every number stays the text that the file has. A column may begin in any record: one that the beginning of a file does
not show starts the reading anew.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import partial
from itertools import islice
from typing import Any

import polars as pl

from chains.tables.arrays import entries
from chains.tables.documents.streams import Cut
from chains.tables.lines import lines
from chains.tables.nested import LISTS, PARTS, part_of, parts_dtype, texts, written
from chains.tables.text import ROW, Chunk, numbered
from monitor.errors import ConfigError, Problem

__all__ = [
    "LateColumns",
    "array_chunks",
    "array_sample",
    "is_envelope",
    "json_chunks",
    "json_columns",
    "json_records",
    "ndjson_chunks",
    "record_of",
]

_OBJECTS = frozenset({"detail"})  # columns whose nested objects are read, as JSON text
_FILLED = re.compile(r"\S")
_SAMPLED = 1 << 20  # bytes of a file that are looked at together for the columns of its records
_SMALL = 512  # lines below which a chunk with a broken line is read one by one
# Numbers that a JSON reader would round: with a point or exponent, or beyond 64 bits. Quoting one inside a string
# makes the line invalid, and an invalid line is read by the exact, slow way.
_ROUNDED = r"([:\[,]\s*)(-?[0-9]+[.eE][0-9.eE+-]*|-?[0-9]{19,})(\s*[,}\]])"


class LateColumns(Exception):  # it starts a reading anew and is no error of this program
    """A JSON file has columns that its beginning does not show: the file, and records that have them."""

    def __init__(self, path: str, records: list[dict[str, Any]]) -> None:
        super().__init__(path, records)
        self.path, self.records = path, records


def json_columns(records: Iterable[Mapping[str, Any]]) -> tuple[dict[str, bool], frozenset[str]]:
    """Columns of sample records: name to "has lists", and the names of nested objects that are never read.

    A column is nested where most of its values are: a few odd ones are bad rows. One list makes it a column of lists,
    since a single value is read as a list of one.
    """
    columns: dict[str, list[int]] = {}  # values, lists, and what is nested
    for record in records:
        for key, value in record.items():
            counts = columns.setdefault(key, [0, 0, 0])
            is_list = isinstance(value, list)
            counts[0] += value is not None and value != []
            counts[1] += is_list
            counts[2] += (isinstance(value, dict) and key not in _OBJECTS) or (
                is_list and any(isinstance(v, dict | list) for v in value)
            )
    nested = (key for key, (values, _, inside) in columns.items() if 2 * inside > values)
    return {key: lists > 0 for key, (_, lists, _) in columns.items()}, frozenset(nested)


def ndjson_chunks(
    path: str, wanted: dict[str, bool], tick: Callable[[int], None] | None = None, late: Collection[str] = ()
) -> Iterator[Chunk]:
    """The rows of a JSON lines file.

    Parameters
    ----------
    wanted : column to "has lists" (they come joined by ``|``)
    tick : told the bytes of the file on disk read so far
    late : columns, in small letters, that no record is known to have

    Raises
    ------
    LateColumns : a record has one of these
    """
    decode, look = _decoder(wanted), _Late(path, late)
    for first, series in lines(path, tick):
        look(series)
        yield decode(numbered(first, series))


def array_chunks(
    path: str, wanted: dict[str, bool], tick: Callable[[int], None] | None = None, late: Collection[str] = ()
) -> Iterator[Chunk]:
    """The rows of JSON arrays, or of objects over several lines, numbered from 1; the rest as in `ndjson_chunks`.

    What is no object is a bad row, and so is the end of a file that breaks off.
    """
    decode, look, first = _decoder(wanted), _Late(path, late), 1
    try:
        for series in entries(path, tick):
            look(series)
            yield decode(numbered(first, series))
            first += len(series)
    except Cut as cut:
        empty: dict[str, Any] = {ROW: pl.Int64} | dict.fromkeys(wanted, pl.String)
        yield Chunk(pl.DataFrame(schema=empty), [(first, str(cut))])


class _Late:
    """Looks for columns that no record is known to have."""

    def __init__(self, path: str, names: Collection[str]) -> None:
        self._path, self._names = path, frozenset(names)
        self._pattern = f'(?i)"({"|".join(map(re.escape, sorted(names)))})"\\s*:'

    def __call__(self, series: pl.Series) -> None:
        if not self._names:
            return
        found = []
        for line in series.filter(series.str.contains(self._pattern)).head(_SMALL):
            record = record_of(line)
            if not self._names.isdisjoint(key.lower() for key in record):
                found.append(record)
        if found:
            raise LateColumns(self._path, found)


def record_of(line: str) -> dict[str, Any]:
    """The object of a line of JSON, empty where it has none."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def _decoder(wanted: dict[str, bool]) -> Callable[[pl.DataFrame], Chunk]:
    """What makes rows of numbered lines of JSON."""
    fields: dict[str, Any] = {}
    made: list[pl.Expr] = []
    parts: dict[str, list[str]] = {}
    for name, lists in wanted.items():
        outer, _, part = name.partition(".")
        if part in PARTS.get(outer, ()):
            parts.setdefault(outer, []).append(part)
            text = texts(outer, part)
            made.append((text if outer in LISTS else pl.when(text != "").then(text)).alias(name))
        else:
            fields[name] = pl.List(pl.String) if lists else pl.String
            entry = pl.col(name).list.eval(pl.element().fill_null("")).list.join("|")
            there = pl.col(name).list.len() > 0 if lists else pl.col(name) != ""
            made.append(pl.when(there).then(entry if lists else pl.col(name)).alias(name))
    dtype = pl.Struct(fields | {outer: parts_dtype(outer, names) for outer, names in parts.items()})
    return partial(_decode, dtype=dtype, made=made, names=list(wanted))


def _decode(rows: pl.DataFrame, dtype: pl.Struct, made: list[pl.Expr], names: list[str]) -> Chunk:
    exact = pl.col("line").str.replace_all(_ROUNDED, '$1"$2"$3')
    if rows["line"].str.contains("[", literal=True).any():  # neighbours in a list share a comma
        exact = exact.str.replace_all(_ROUNDED, '$1"$2"$3')
    try:
        frame = rows.select(ROW, exact.str.json_decode(dtype).alias("line")).unnest("line")
    except pl.exceptions.PolarsError:
        if rows.height <= _SMALL:
            return _one_by_one(rows, names)
        half = rows.height // 2
        one, two = _decode(rows[:half], dtype, made, names), _decode(rows[half:], dtype, made, names)
        return Chunk(pl.concat([one.frame, two.frame]), one.bad + two.bad)
    return Chunk(frame.select(ROW, *made))


def _one_by_one(rows: pl.DataFrame, names: list[str]) -> Chunk:
    good: list[tuple[int, Any]] = []
    bad: list[tuple[int, str]] = []
    for row, line in rows.select(ROW, "line").iter_rows():
        try:
            good.append((row, json.loads(line, parse_int=str, parse_float=str)))
        except (ValueError, RecursionError) as error:
            bad.append((row, f"not valid JSON: {error}"))
    return _records(good, names, bad)


def is_envelope(record: Any) -> bool:
    """Whether it is the answer of a block explorer's API, whose ``result`` holds the records."""
    return isinstance(record, dict) and {"status", "result"} <= record.keys() <= {"status", "message", "result"}


def array_sample(path: str, most: int) -> list[Any]:
    """The first entries of JSON arrays that can be read, with every number as its text."""
    found: list[Any] = []
    try:
        for line in islice((line for series in entries(path, size=_SAMPLED) for line in series), most):
            try:
                found.append(json.loads(line, parse_int=str, parse_float=str))
            except (ValueError, RecursionError):
                continue
    except Cut:
        pass  # told where the rows are read
    return found


def json_records(path: str) -> list[Any]:
    """The records of a block explorer's answers with every number as its text, and whatever objects lie beside them;
    the file is read as a whole.
    """
    text = "\n".join(line for _, series in lines(path) for line in series).lstrip("\ufeff")
    try:
        records = _values(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(Problem(f"not valid JSON: {error}", path)) from None
    found: list[Any] = []
    for record in records:
        if not is_envelope(record):
            found.append(record)
        elif isinstance(record["result"], list):
            found += record["result"]
        else:
            raise ConfigError(Problem(f"the explorer's answer is an error: {str(record['result'])[:100]}", path))
    return found


def _values(text: str) -> list[Any]:
    """A JSON array, or values one after another; numbers as their text."""
    decoder = json.JSONDecoder(parse_int=str, parse_float=str)
    found: list[Any] = []
    place, end = 0, len(text.rstrip())
    while place < end:
        value, place = decoder.raw_decode(text, _FILLED.search(text, place).start())  # type: ignore[union-attr]
        found += value if isinstance(value, list) else [value]
    return found


def json_chunks(path: str, wanted: Iterable[str]) -> Iterator[Chunk]:
    """The rows of a block explorer's answers, numbered from 1."""
    yield _records(list(enumerate(json_records(path), 1)), list(wanted), [])


def _records(records: list[tuple[int, Any]], names: list[str], bad: list[tuple[int, str]]) -> Chunk:
    objects = [(row, record) for row, record in records if isinstance(record, dict)]
    bad = sorted(bad + [(row, "not a JSON object") for row, record in records if not isinstance(record, dict)])
    columns: dict[str, Any] = {ROW: [row for row, _ in objects]}
    for name in names:
        columns[name] = [_text(record[name]) if name in record else part_of(record, name) for _, record in objects]
    return Chunk(pl.DataFrame(columns, schema={ROW: pl.Int64} | dict.fromkeys(names, pl.String)), bad)


def _text(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return json.dumps(value)
    if isinstance(value, list):
        return "|".join(_text(v) or "" for v in value) if value else None
    return written(value) if isinstance(value, str) and value else None
