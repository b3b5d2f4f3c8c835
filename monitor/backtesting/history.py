"""History in chain order, as a backtest reads it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import polars as pl

__all__ = ["Batch", "History"]


@dataclass(frozen=True)
class Batch:
    """Whole blocks of one chain.

    Attributes
    ----------
    chain : CAIP-2
    frame : rows that touch the watch list in chain order, columns of `chains.tables.layout.FRAME`
    """

    chain: str
    frame: pl.DataFrame


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
