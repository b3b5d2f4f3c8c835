"""Where files leave the order of their chain: nothing is lost by it, but people want to know."""

from __future__ import annotations

from typing import cast

import polars as pl

from chains.tables.pieces import AXIS
from chains.tables.text import ROW

__all__ = ["FILE", "Disorder"]

FILE = "__file"


class Disorder:
    """Looks at rows in the order of their file.

    Attributes
    ----------
    first : by the file's place among the files: the first row of an earlier block than a row before it
    is_none : whether all rows so far came in chain order, one file after another
    """

    def __init__(self) -> None:
        self.first: dict[int, int] = {}
        self.is_none = True
        self._top: dict[str, int] = {}  # latest block so far, by chain
        self._tops: dict[tuple[str, int], int] = {}  # latest block so far, by chain and file

    def look(self, chain: str, rows: pl.DataFrame) -> None:
        """More rows of a chain, maybe of several files."""
        places = rows.select(FILE, AXIS, ROW)  # nothing else is copied
        alone = places[FILE].min() == places[FILE].max()
        parts = [((places[FILE][0],), places)] if alone else places.group_by(FILE, maintain_order=True)
        for (file,), part in parts:
            axis, key = part[AXIS], (chain, int(file))
            self.is_none &= int(axis[0]) >= self._top.get(chain, int(axis[0]))
            top = self._tops.get(key, int(axis[0]))
            if not axis.is_sorted() or int(axis[0]) < top:
                before = axis.cum_max().clip(lower_bound=top)
                row = int(part[ROW][int((axis < before).arg_true()[0])])
                self.first[key[1]] = min(row, self.first.get(key[1], row))
                self.is_none = False
            self._tops[key] = max(top, cast(int, axis.max()))
            self._top[chain] = max(self._tops[key], self._top.get(chain, top))
