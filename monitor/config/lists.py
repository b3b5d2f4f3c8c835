"""Addresses kept beside the configuration: text with one a line, CSV or Parquet with a column ``address``."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

__all__ = ["read_addresses"]

Row = tuple[int, str, str]
"""Line (or row) from 1, address as written, chain as written (empty: not said)."""


def read_addresses(path: Path) -> Iterator[Row]:
    """The rows of a list of addresses; the suffix tells its form.

    Text: one a line, blank lines and ``#`` comments are left out. CSV, TSV and Parquet: a column ``address``, and
    ``chain`` where they are of several chains.

    Raises ValueError (a sentence about the file) where it cannot be read.
    """
    suffix = path.suffix.lower()
    try:
        if suffix == ".parquet":
            yield from _parquet(path)
            return
        with path.open(encoding="utf-8-sig", newline="") as stream:
            if suffix in (".csv", ".tsv"):
                yield from _csv(csv.reader(stream, delimiter="," if suffix == ".csv" else "\t"), path)
            else:
                for number, line in enumerate(stream, 1):
                    text = line.split("#", 1)[0].strip()
                    if text:
                        yield number, text, ""
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


def _csv(reader: Iterator[list[str]], path: Path) -> Iterator[Row]:
    address, chain = _columns(next(reader, []), path)
    for number, row in enumerate(reader, 2):
        if any(row):
            cells = [*row, *[""] * (max(address, chain or 0) + 1 - len(row))]
            yield number, cells[address].strip(), "" if chain is None else cells[chain].strip()


def _parquet(path: Path) -> Iterator[Row]:
    import polars

    try:
        frame = polars.read_parquet(path)
    except OSError:
        raise
    except Exception:  # a reader's own errors stop here
        raise ValueError(f"file {path} is not Parquet") from None
    address, chain = _columns(frame.columns, path)
    for number, row in enumerate(frame.iter_rows(), 1):
        yield number, str(row[address] or ""), "" if chain is None else str(row[chain] or "")
