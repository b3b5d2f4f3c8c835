"""Addresses kept beside the configuration: text with one a line, CSV or Parquet with a column ``address``."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    import polars

__all__ = ["read_addresses", "read_parts"]

Row = tuple[int, str, str]
"""Line (or row) from 1, address as written, chain as written (empty: not said)."""

ROWS = 1 << 16  # of a part
CHARACTERS = 1 << 21  # of a part of a text


def read_addresses(path: Path) -> Iterator[Row]:
    """The rows of `read_parts`, one by one."""
    for part in read_parts(path):
        yield from part.iter_rows()


def read_parts(path: Path) -> Iterator[polars.DataFrame]:
    """The rows of a list of addresses, part by part; the suffix tells its form.

    Text: one a line, blank lines and ``#`` comments are left out. CSV, TSV and Parquet: a column ``address``, and
    ``chain`` where they are of several chains. Columns of a part: ``row`` (line or row from 1), ``text`` (address as
    written), ``chain`` (as written; empty: not said).

    Raises ValueError (a sentence about the file) where it cannot be read.
    """
    suffix = path.suffix.lower()
    try:
        if suffix == ".parquet":
            yield from _parquet(path)
            return
        mark = {".csv": ",", ".tsv": "\t"}.get(suffix)
        quoted = mark is not None and _has_quotes(path)
        with path.open(encoding="utf-8-sig", newline="" if quoted else None) as stream:
            if mark is None:
                yield from _text(stream)
            elif quoted:
                yield from _csv(csv.reader(stream, delimiter=mark), path)
            else:
                yield from _plain_csv(stream, mark, path)
    except OSError as error:
        raise ValueError(f"file {path} cannot be read: {error.strerror or 'unknown reason'}") from None
    except UnicodeDecodeError:
        raise ValueError(f"file {path} is not UTF-8 text") from None
    except csv.Error:
        raise ValueError(f"file {path} is not CSV") from None


def _columns(names: list[str], path: Path) -> tuple[int, int | None]:
    plain = [name.strip().lower() for name in names]
    if "address" not in plain:
        raise ValueError(f"file {path} has no column 'address'")
    return plain.index("address"), plain.index("chain") if "chain" in plain else None


def _part(**columns: Any) -> polars.DataFrame:
    import polars as pl

    return pl.DataFrame(columns, schema={"row": pl.Int64, "text": pl.String, "chain": pl.String})


def _lines(stream: TextIO, line: int) -> Iterator[polars.DataFrame]:
    """The rest of a text, line by line: ``row`` from ``line`` on, and ``text``."""
    import polars as pl

    kept = ""
    while True:
        block = stream.read(CHARACTERS)
        whole, newline, kept = (kept + block).rpartition("\n") if block else (kept, "", "")
        if newline or (not block and whole):
            texts = pl.Series("text", [whole]).str.split("\n").explode()
            rows = pl.int_range(line, line + len(texts), eager=True).alias("row")
            line += len(texts)
            yield pl.DataFrame([rows, texts])
        if not block:
            return


def _text(stream: TextIO) -> Iterator[polars.DataFrame]:
    import polars as pl

    for part in _lines(stream, 1):
        plain = pl.col("text").str.replace(r"(?s)#.*$", "").str.strip_chars()
        rows = part.with_columns(plain, chain=pl.lit("")).filter(pl.col("text") != "")
        if rows.height:
            yield rows


def _plain_csv(stream: TextIO, mark: str, path: Path) -> Iterator[polars.DataFrame]:
    """CSV without quotes: a cell is what is between two marks."""
    import polars as pl

    address, chain = _columns(stream.readline().rstrip("\n").split(mark), path)
    for part in _lines(stream, 2):
        rows = part.filter(pl.col("text").str.strip_chars(mark) != "")
        cells = pl.col("text").str.split(mark)
        said = pl.lit("") if chain is None else cells.list.get(chain, null_on_oob=True).fill_null("").str.strip_chars()
        written = cells.list.get(address, null_on_oob=True).fill_null("").str.strip_chars()
        if rows.height:
            yield rows.select("row", text=written, chain=said)


def _csv(reader: Iterator[list[str]], path: Path) -> Iterator[polars.DataFrame]:
    address, chain = _columns(next(reader, []), path)
    width = max(address, chain or 0) + 1
    numbered = enumerate(reader, 2)
    while rows := list(islice(numbered, ROWS)):
        cells = [(number, row if len(row) >= width else [*row, *[""] * width]) for number, row in rows if any(row)]
        yield _part(
            row=[number for number, _ in cells],
            text=[row[address].strip() for _, row in cells],
            chain=[row[chain].strip() if chain is not None else "" for _, row in cells],
        )


def _has_quotes(path: Path) -> bool:
    with path.open("rb") as stream:
        return any(b'"' in block for block in iter(lambda: stream.read(1 << 20), b""))


def _parquet(path: Path) -> Iterator[polars.DataFrame]:
    import polars as pl

    try:
        with path.open("rb"):  # a missing file is told as such
            rows = pl.scan_parquet(path, glob=False)
        names = rows.collect_schema().names()
        address, chain = _columns(names, path)
        said = pl.lit("") if chain is None else pl.col(names[chain]).cast(pl.String, strict=False).fill_null("")
        written = pl.col(names[address]).cast(pl.String, strict=False).fill_null("")
        for start in range(0, int(rows.select(pl.len()).collect().item()), ROWS):
            part = rows.slice(start, ROWS).select(text=written, chain=said).collect()
            numbers = pl.int_range(start + 1, start + 1 + part.height, eager=True).alias("row")
            yield part.select(numbers, "text", "chain")
    except (OSError, ValueError):
        raise
    except Exception:  # a reader's own errors stop here
        raise ValueError(f"file {path} is not Parquet") from None
