"""The file of `labels import`: Parquet, canonical rows of `SCHEMA` with kinds as words, replaced as a whole."""

from __future__ import annotations

import os
from pathlib import Path

import polars as pl

from monitor.errors import ConfigError, Problem
from monitor.labels.book import SCHEMA
from monitor.labels.kind import LabelKind

__all__ = ["column", "is_imported", "merge", "read_imported", "write_imported"]

_MARK, _VERSION = "heistwatch_labels", "1"
_IDENTITY = ["chain", "address", "name", "kind", "source"]


def is_imported(path: Path) -> bool:
    """Whether `write_imported` made this Parquet file.

    Raises
    ------
    ConfigError : damaged, or of a newer version
    """
    try:
        version = pl.read_parquet_metadata(path).get(_MARK)
    except (pl.exceptions.PolarsError, OSError):
        raise ConfigError(Problem("not a Parquet file that can be read", str(path))) from None
    if version not in (None, _VERSION):
        raise ConfigError(Problem("written by a newer heistwatch: import the labels again with this one", str(path)))
    return version is not None


def column(path: Path, name: str) -> pl.Series:
    """One column of an imported file, as in `SCHEMA`; a column at a time needs less memory than all at once.

    Raises
    ------
    ConfigError : the file is damaged
    """
    try:
        series = pl.read_parquet(path, columns=[name])[name]
        if name == "kind":
            series = series.replace_strict({str(kind): int(kind) for kind in LabelKind}, return_dtype=pl.Int8)
        series = series.cast(SCHEMA[name])
    except (pl.exceptions.PolarsError, OSError):
        raise ConfigError(Problem(f"column {name!r} cannot be read: import the labels again", str(path))) from None
    if name != "chain" and series.null_count():
        raise ConfigError(Problem(f"column {name!r} has empty cells: import the labels again", str(path)))
    return series


def read_imported(path: Path) -> pl.DataFrame:
    """A whole imported file, a table of `SCHEMA`."""
    return pl.DataFrame([column(path, name) for name in SCHEMA])


def merge(old: pl.DataFrame, new: pl.DataFrame) -> tuple[pl.DataFrame, int, int]:
    """Both tables without repetitions, sorted; how many labels are new, and how many are known earlier than before.

    The same statement of the same source is one label, known since the earliest time of any.
    """
    before = old.group_by(_IDENTITY).agg(pl.col("known_since").min())
    after = pl.concat([old, new]).group_by(_IDENTITY).agg(pl.col("known_since").min()).select(list(SCHEMA))
    joined = after.join(before, on=_IDENTITY, how="left", nulls_equal=True, suffix="_before")
    added = joined["known_since_before"].null_count()
    earlier = int((joined["known_since"] < joined["known_since_before"]).sum())
    return after.sort(["address", "chain", "known_since", "kind", "name", "source"]), added, earlier


def write_imported(path: Path, frame: pl.DataFrame) -> None:
    """Put a table of `SCHEMA` in the place of the file: all of it, or nothing.

    Raises
    ------
    ConfigError : it cannot be written there
    """
    words = frame.with_columns(
        pl.col("kind").replace_strict({int(kind): str(kind) for kind in LabelKind}, return_dtype=pl.String)
    )
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with beside.open("wb") as stream:
            words.write_parquet(stream, compression="zstd", metadata={_MARK: _VERSION})
            stream.flush()
            os.fsync(stream.fileno())
        beside.replace(path)
    except OSError as error:
        raise ConfigError(Problem(f"cannot be written: {error.strerror or 'unknown reason'}", str(path))) from None
    finally:
        beside.unlink(missing_ok=True)
