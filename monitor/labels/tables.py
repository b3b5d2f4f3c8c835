"""Label tables as text: CSV and its relatives, JSON, and plain lists of addresses. Pure: text in, rows out."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from typing import Any

from monitor.labels.given import Given, fields_of, given_of

__all__ = ["csv_fields", "csv_rows", "is_list", "json_rows", "list_rows"]

Row = tuple[int, list[Given] | str]
"""Line from 1, and what the row says, or why it cannot be read."""

_TOKEN = re.compile(r"[\w.:\-]{20,110}")


def _delimiter(text: str) -> str:
    header = text.split("\n", 1)[0]
    return max(",;\t", key=header.count)


def csv_fields(text: str) -> dict[str, list[str]]:
    """What the columns that the first line names are good for, see `monitor.labels.given.fields_of`."""
    header = next(csv.reader([text.split("\n", 1)[0]], delimiter=_delimiter(text)), [])
    return fields_of(header)


def csv_rows(text: str) -> Iterator[Row]:
    """The rows of a CSV (comma, semicolon or tab) with a header.

    Raises
    ------
    ValueError : not CSV from some line on; the message has the line
    """
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text))
    header = next(reader)
    fields = fields_of(header)
    line = reader.line_num + 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                if any(cell.strip() for cell in cells[len(header) :]):
                    yield line, f"{len(cells)} cells where the header has {len(header)}: quote a cell with a comma"
                else:
                    yield line, given_of(dict(zip(header, cells, strict=False)), fields)
            line = reader.line_num + 1
    except csv.Error as error:
        raise ValueError(f"line {line} is not CSV: {error}") from None


def is_list(text: str) -> bool:
    """Whether every line is one word that may be an address; ``#`` begins a comment."""
    lines = [line.split("#", 1)[0].strip() for line in text.splitlines()]
    return any(lines) and all(_TOKEN.fullmatch(line) for line in lines if line)


def list_rows(text: str) -> Iterator[Row]:
    """The addresses of a list, one a line."""
    for line, written in enumerate(text.splitlines(), 1):
        address = written.split("#", 1)[0].strip()
        if address:
            yield line, [Given(address)]


def json_rows(text: str) -> tuple[bool, Iterator[Row]]:
    """Whether it is a mere list of addresses, and its rows: a list of texts or objects, or one object a line.

    Raises
    ------
    ValueError : not JSON, or of another shape; the message has the line
    """
    items = _elements(text) if text.lstrip().startswith("[") else _lines(text)
    found = list(items)
    if not all(isinstance(value, (str, dict)) for _, value in found):
        raise ValueError("expected a list of addresses, or of objects with an address each")
    bare = all(isinstance(value, str) for _, value in found)
    return bare, ((line, _said(value)) for line, value in found)


def _said(value: Any) -> list[Given] | str:
    if isinstance(value, str):
        return [Given(value)]
    row = {str(key): _text(cell) for key, cell in value.items()}
    fields = fields_of(list(row))
    return given_of(row, fields) if "address" in fields else "no address in this object"


def _text(cell: Any) -> str:
    if isinstance(cell, list):
        return ", ".join(map(_text, cell))
    return "" if cell is None or isinstance(cell, dict) else str(cell)


def _line(text: str, place: int) -> int:
    return text.count("\n", 0, place) + 1


def _elements(text: str) -> Iterator[tuple[int, Any]]:
    """The elements of a JSON list with their lines."""
    decoder, blank = json.JSONDecoder(), re.compile(r"\s*")
    place, line, counted = text.index("[") + 1, 1, 0

    def skip(at: int) -> int:
        match = blank.match(text, at)
        return match.end() if match else at

    try:
        place = skip(place)
        while text[place : place + 1] != "]":
            line, counted = line + text.count("\n", counted, place), place
            value, place = decoder.raw_decode(text, place)
            yield line, value
            place = skip(place)
            if text[place : place + 1] == ",":
                place = skip(place + 1)
            elif text[place : place + 1] != "]":
                raise ValueError(f"line {_line(text, place)} is not JSON: expected ',' or ']'")
        if text[place + 1 :].strip():
            raise ValueError(f"line {_line(text, place)} is not JSON: something follows the list")
    except json.JSONDecodeError as error:
        raise ValueError(f"line {_line(text, error.pos)} is not JSON: {error.msg}") from None
    except RecursionError:
        raise ValueError("the JSON is nested too deeply") from None


def _lines(text: str) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except (json.JSONDecodeError, RecursionError):
                raise ValueError(f"line {number} is not JSON: expected one object a line, or a list") from None
