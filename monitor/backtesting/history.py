"""History in chain order, as a backtest reads it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

__all__ = ["Batch", "History"]


def _as_they_are(frame: pl.DataFrame) -> pl.DataFrame:
    return frame


@dataclass(frozen=True)
class Batch:
    """Whole blocks of one chain.

    Attributes
    ----------
    chain : CAIP-2
    frame : rows that touch the watch list in chain order, columns of `chains.tables.layout.FRAME`; there may be no
        hashes, which take long to read: who shows rows asks `rows` for them, or `whole`
    with_hashes : the same rows with their hashes
    """

    chain: str
    frame: pl.DataFrame
    with_hashes: Callable[[pl.DataFrame], pl.DataFrame] = _as_they_are

    def part(self, rows: slice | pl.Expr | pl.Series) -> Batch:
        """Some of its rows."""
        return replace(self, frame=self.frame[rows] if isinstance(rows, slice) else self.frame.filter(rows))

    def rows(self, places: NDArray[np.int64]) -> list[dict[str, Any]]:
        """Rows with their hashes, as mappings."""
        return self.with_hashes(self.frame[places]).to_dicts()

    def whole(self) -> pl.DataFrame:
        """All rows with their hashes."""
        return self.with_hashes(self.frame)


class History(Protocol):
    """History that may be gone through again and again until it is closed; memory stays bounded."""

    def batches(self) -> Iterator[Batch]:
        """All of it: chains one after another, sorted by name, each in order of its blocks."""
        ...

    def close(self) -> None:
        """Give up what was put aside on disk; there is nothing to go through afterwards."""
        ...

    def keep(self) -> None:
        """Let `close` leave what a work folder holds: another run goes on from it."""
        ...
