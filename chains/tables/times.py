"""Times of rows that carry none: from blocks whose time is known, interpolated between them, else estimated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy

import numpy as np
import polars as pl
from numpy.typing import NDArray

__all__ = ["BlockTimes", "with_times"]

Integers = NDArray[np.int64]


class BlockTimes:
    """Block times of one chain.

    Parameters
    ----------
    knots : frames with ``block_number`` and ``time`` (UTC seconds), in any order, repeated or not; not all empty
    block_seconds : the usual time between blocks, for blocks beyond the known ones; 0 takes the knots' mean
    """

    def __init__(self, knots: Sequence[pl.DataFrame], block_seconds: float) -> None:
        known = pl.concat(knots).group_by("block_number").agg(pl.col("time").min()).sort("block_number")
        self._blocks: Integers = known["block_number"].to_numpy()
        self._times: Integers = known["time"].to_numpy()
        span = int(self._blocks[-1] - self._blocks[0])
        mean = float(self._times[-1] - self._times[0]) / span if span else 0.0
        self._seconds = block_seconds or mean

    def cut(self, low: int, high: int) -> BlockTimes:
        """The same for the blocks [low, high) alone, in less memory."""
        first = max(int(np.searchsorted(self._blocks, low)) - 1, 0)
        last = int(np.searchsorted(self._blocks, high)) + 1
        part = copy(self)
        part._blocks, part._times = self._blocks[first:last].copy(), self._times[first:last].copy()
        if not len(part._blocks):
            part._blocks, part._times = self._blocks[-1:].copy(), self._times[-1:].copy()
        return part

    def at(self, blocks: Integers) -> tuple[Integers, Integers]:
        """Times of blocks.

        Parameters
        ----------
        blocks : block numbers, shape (n,)

        Returns
        -------
        (times, how) : UTC seconds, and 0 known, 1 interpolated, 2 estimated from the usual block time; shape (n,)
        """
        first, last = self._blocks[0], self._blocks[-1]
        times = np.interp(blocks, self._blocks, self._times).astype(np.int64)
        times = np.where(blocks < first, times - np.round((first - blocks) * self._seconds).astype(np.int64), times)
        times = np.where(blocks > last, times + np.round((blocks - last) * self._seconds).astype(np.int64), times)
        how = np.where(np.isin(blocks, self._blocks), 0, np.where((blocks < first) | (blocks > last), 2, 1))
        return np.maximum(times, 0), how.astype(np.int64)


def with_times(
    frame: pl.DataFrame, times_of: Callable[[str], BlockTimes], column: str
) -> tuple[pl.DataFrame, dict[int, int]]:
    """Fill a null ``column`` by ``chain`` and ``block_number``.

    Returns
    -------
    (frame, counts) : the rows in their order; rows filled by how they were, see `BlockTimes.at`
    """
    counts = {0: 0, 1: 0, 2: 0}
    missing = frame.with_row_index("__i").filter(pl.col(column).is_null())
    if missing.is_empty():
        return frame, counts
    parts: list[pl.DataFrame] = []
    for (chain,), part in missing.group_by("chain"):
        times, how = times_of(str(chain)).at(part["block_number"].to_numpy())
        parts.append(pl.DataFrame({"__i": part["__i"], "__time": times}))
        for value, count in zip(*np.unique(how, return_counts=True), strict=True):
            counts[int(value)] += int(count)
    filled = frame.with_row_index("__i").join(pl.concat(parts), on="__i", how="left", maintain_order="left")
    return filled.with_columns(pl.coalesce(column, "__time").alias(column)).drop("__i", "__time"), counts
