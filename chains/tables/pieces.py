"""Rows of history on their way to chain order: pieces sorted by block, in memory or, beyond a limit, on disk.

A piece holds rows of one chain between two blocks. Whoever wants the rows of a range of blocks reads the few pieces
that overlap it, so that no more than a range is ever held in memory, however much there is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import polars as pl

from monitor.errors import StoreError

__all__ = ["AXIS", "ROWS", "Heap", "Piece", "between"]

AXIS = "__axis"  # what rows are ordered by first: the block number, or UTC seconds where a table has none
ROWS = 65_536  # of a piece


@dataclass(frozen=True)
class Piece:
    """Rows of one chain, sorted by `AXIS`.

    Attributes
    ----------
    chain : CAIP-2
    low, high : of `AXIS`, both inclusive
    rows : how many
    frame : the rows, None where they are on disk
    path : an Arrow file, empty where they are in memory
    size : bytes of the rows in memory, about
    """

    chain: str
    low: int
    high: int
    rows: int
    frame: pl.DataFrame | None = None
    path: str = ""
    size: int = 0

    def read(self) -> pl.DataFrame:
        """The rows."""
        if self.frame is not None:
            return self.frame
        try:
            return pl.read_ipc(self.path)
        except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
            raise StoreError(f"{self.path}: rows that were put aside cannot be read: {error}") from None

    def put_aside(self, folder: str) -> Piece:
        """The same on disk."""
        return self if self.frame is None else _piece(self.chain, self.frame, folder)


class Heap:
    """Takes rows in any order; gives pieces.

    Parameters
    ----------
    folder : where rows go beyond ``room``; None keeps all in memory
    room : bytes of rows that may stay in memory
    """

    def __init__(self, folder: str | None = None, room: int = 1 << 62) -> None:
        self._folder, self._room = folder, room
        self._held: dict[str, list[pl.DataFrame]] = {}
        self._bytes, self._rows = 0.0, 0
        self._pieces: list[Piece] = []

    def add(self, chain: str, frame: pl.DataFrame) -> None:
        """Take rows of one chain; they have `AXIS`."""
        if frame.is_empty():
            return
        self._held.setdefault(chain, []).append(frame)
        self._bytes += frame.estimated_size()
        self._rows += frame.height
        if self._folder is not None and self._bytes > self._room:
            self._cut(self._folder)

    def pieces(self) -> list[Piece]:
        """All rows so far; the heap is empty afterwards. Those that never left memory stay there."""
        self._cut(self._folder if self._pieces else None)
        found, self._pieces = self._pieces, []
        return found

    def _cut(self, folder: str | None) -> None:
        for chain in sorted(self._held):
            frames = self._held[chain]
            rows = pl.concat(frames, how="diagonal") if len(frames) > 1 else frames[0]
            frames.clear()
            if not rows[AXIS].is_sorted():
                rows = rows.sort(AXIS, maintain_order=True)
            each = self._bytes / max(1, self._rows)
            self._pieces += (_piece(chain, part, folder, int(each * part.height)) for part in _parts(rows))
        self._held, self._bytes = {}, 0.0
        self._rows = 0


def _parts(rows: pl.DataFrame) -> Iterator[pl.DataFrame]:
    for begin in range(0, rows.height, ROWS):
        yield rows[begin : begin + ROWS]


def _piece(chain: str, rows: pl.DataFrame, folder: str | None, size: int = 0) -> Piece:
    axis = rows[AXIS]
    low, high = int(axis[0]), int(axis[-1])
    if folder is None:
        return Piece(chain, low, high, rows.height, rows, size=size)
    path = Path(folder) / f"{uuid4().hex}.arrow"
    try:
        rows.write_ipc(path)
    except (OSError, pl.exceptions.PolarsError) as error:  # those of Polars have no strerror
        raise StoreError(f"{path}: rows cannot be put aside: {error}; name another folder by --work") from None
    return Piece(chain, low, high, rows.height, None, str(path))


def between(pieces: Sequence[Piece], low: int, high: int) -> pl.DataFrame | None:
    """Rows of pieces (of one chain) whose `AXIS` lies in [low, high); None where there is none."""
    frames = []
    for piece in pieces:
        if piece.low < high and piece.high >= low:
            frame = piece.read()
            if piece.low < low or piece.high >= high:
                axis = frame[AXIS]
                begin, end = axis.search_sorted(low, "left"), axis.search_sorted(high, "left")
                frame = frame[begin:end]
            if frame.height:
                frames.append(frame)
    return pl.concat(frames, how="diagonal") if frames else None
