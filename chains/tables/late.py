"""Transaction hashes of Parquet files, read when somebody asks for them.

They are the largest column of most files and hardly compress, but few rows are ever shown one by one. So rows have the
place of their hash instead (`LATE`), and whoever shows one reads it there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from chains.tables.disorder import FILE
from chains.tables.layout import HASH
from chains.tables.lines import packing, reading
from chains.tables.table import Table
from chains.tables.text import ROW
from monitor.errors import ConfigError, Problem
from monitor.texts.letters import lower

__all__ = ["LATE", "PLACE", "LateHashes", "are_filled"]

LATE = "__hash_at"  # a column: the place of the row's hash, null where the hash is there
_ROW_BITS = 40
PLACE = (pl.col(FILE) * (1 << _ROW_BITS) + pl.col(ROW)).alias(LATE)
_NEAR = 100_000  # rows that are rather read than skipped: to begin anew takes about as long
_RUN = 1 << 20  # rows that are read together, at most


@dataclass(frozen=True)
class _File:
    """How a file was when its rows were read."""

    path: str
    size: int
    changed: int


@dataclass(frozen=True)
class LateHashes:
    """The files with hashes, by their place among all files."""

    files: Mapping[int, _File]

    @classmethod
    def of_tables(cls, tables: Mapping[int, Table]) -> LateHashes:
        """Those of files whose hashes may be read late."""
        found = {}
        for number, table in tables.items():
            if _may_be_late(table):
                with reading(table.path):
                    now = Path(table.path).stat()
                found[number] = _File(table.path, now.st_size, now.st_mtime_ns)
        return cls(found)

    def whole(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The same rows with the hash of each.

        Raises
        ------
        ConfigError : a file cannot be read any more, or is not the same
        """
        if LATE not in frame.columns:
            return frame
        hashes = self.at(frame[LATE])
        if HASH in frame.columns:
            hashes = frame[HASH].zip_with(frame[LATE].is_null(), hashes)
        return frame.drop(LATE).with_columns(hashes.alias(HASH))

    def at(self, places: pl.Series) -> pl.Series:
        """The hash at each place, null where there is none."""
        wanted = places.drop_nulls().unique().sort()
        rows = wanted.to_numpy()
        cuts = np.flatnonzero(np.diff(rows) > _NEAR) + 1  # two files are farther from one another
        runs = [part for run in np.split(rows, cuts) for part in _parts(run)]
        texts = lower(pl.concat([pl.Series([], dtype=pl.String), *map(self._read, runs)]))
        known = pl.DataFrame({LATE: wanted, HASH: texts})
        return places.alias(LATE).to_frame().join(known, on=LATE, how="left", maintain_order="left")[HASH]

    def _read(self, places: NDArray[np.int64]) -> pl.Series:
        """The hashes at rising places of one file."""
        file, first = self.files[int(places[0]) >> _ROW_BITS], int(places[0]) & ((1 << _ROW_BITS) - 1)
        with reading(file.path):
            now = Path(file.path).stat()
            if (now.st_size, now.st_mtime_ns) != (file.size, file.changed):
                raise ConfigError(Problem("the file changed after its rows were read: run again", file.path))
            rows = pl.scan_parquet(file.path, glob=False, hive_partitioning=False).select(HASH)
            found = rows.slice(first - 1, int(places[-1] - places[0]) + 1).collect().to_series()
        return found if len(found) == len(places) else found.gather(places - places[0])


def _parts(run: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Places of one file, cut where they span too many rows."""
    while len(run):
        end = int(np.searchsorted(run, run[0] + _RUN))
        yield run[:end]
        run = run[end:]


def _may_be_late(table: Table) -> bool:
    """Whether single rows of a file can be read again: Parquet on this machine, hashes as texts in their column."""
    plain = table.form == "parquet" and table.dtypes.get(HASH) == pl.String and table.names.get(HASH) == HASH
    return plain and not packing(table.path)


def are_filled(rows: pl.LazyFrame) -> bool:
    """Whether every row has a hash; Parquet files mostly say so without being read."""
    missing = rows.filter(pl.col(HASH).is_null() | (pl.col(HASH) == ""))
    return bool(missing.select(pl.len()).collect(engine="streaming").item() == 0)
