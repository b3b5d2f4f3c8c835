"""Prices from a table: columns ``asset``, ``time`` and ``price``; CSV, NDJSON, JSON or Parquet, plain or compressed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import polars as pl

from monitor.errors import ConfigError, Problem
from monitor.ids import from_iso
from monitor.prices.book import PriceBook

__all__ = ["fill_from"]

Resolve = Callable[[str], Sequence[str]]
_READERS = {
    ".csv": lambda path: pl.read_csv(path, infer_schema=False),
    ".ndjson": lambda path: pl.read_ndjson(path),
    ".jsonl": lambda path: pl.read_ndjson(path),
    ".json": lambda path: pl.read_json(path),
    ".parquet": lambda path: pl.read_parquet(path),
}
_COLUMNS = ("asset", "time", "price")
_MOST = 20  # problems that are told


def fill_from(path: Path, book: PriceBook, resolve: Resolve) -> None:
    """Put a table of prices into the book.

    Parameters
    ----------
    resolve : CAIP-19 assets that a name in the column ``asset`` stands for; ValueError says why it stands for none

    Raises
    ------
    ConfigError : the file is not such a table; every bad row is told with its place, up to twenty
    """
    frame = _read(path)
    missing = [name for name in _COLUMNS if name not in frame.columns]
    if missing:
        raise ConfigError(f"{path}: no column {', '.join(missing)}: a price table has asset, time, price (US dollars)")
    problems: list[Problem] = []
    assets: dict[str, Sequence[str]] = {}
    found: dict[str, dict[int, float]] = {}
    for number, (name, time, price) in enumerate(frame.select(_COLUMNS).iter_rows(), 2):
        try:
            if name not in assets:
                assets[name] = resolve(str(name or ""))
            at, dollars = _time(time), _price(price)
        except ValueError as error:
            problems.append(Problem(f"row {number}: {error}", str(path)))
            continue
        for asset in assets[name]:
            found.setdefault(asset, {})[at] = dollars
    if problems:
        more = [Problem(f"and {len(problems) - _MOST} more rows", str(path))] if len(problems) > _MOST else []
        raise ConfigError([*problems[:_MOST], *more])
    for asset, rows in found.items():
        book.fill(asset, rows.items())


def _read(path: Path) -> pl.DataFrame:
    kinds = [suffix.lower() for suffix in path.suffixes if suffix.lower() in _READERS]
    if not kinds:
        raise ConfigError(f"{path}: expected a file named .csv, .ndjson, .json or .parquet (.gz and .zst are fine)")
    try:
        return _READERS[kinds[-1]](path)
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigError(f"{path}: the price table cannot be read: {reason}") from None


def _time(value: object) -> int:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return int(value)
    text = str(value or "").strip()
    try:
        return int(float(text)) if text.replace(".", "", 1).isdigit() else int(from_iso(text))
    except (ValueError, ConfigError):
        raise ValueError(f"time {text!r} is neither UTC seconds nor ISO 8601") from None


def _price(value: object) -> float:
    try:
        price = float(str(value))
    except ValueError:
        raise ValueError(f"price {value!r} is not a number") from None
    if not 0 <= price < float("inf"):
        raise ValueError(f"price {value!r} is not a price in US dollars")
    return price
