"""Which coins the inputs of known movements spend.

History tells who paid whom how much, and seldom with which coins. So an address spends its oldest coins first, and an
output is cut into as many coins of the same address as later inputs will need: no change appears of which history does
not know. What an address spends beyond what it was seen to get, it had before the recording.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from chains.bitcoin.base import Coin

__all__ = ["Lot", "Move", "Piece", "Planned", "Planner", "Script"]

Script = str | bytes  # an address, or an output script where it has none


class Move(NamedTuple):
    """A transaction by what is known of it.

    ``inputs`` and ``outputs`` are (address or output script, base units). An address that pays from several coins is
    named once. ``name``: what the source calls it, to find its hash later.
    """

    inputs: tuple[tuple[Script, int], ...]
    outputs: tuple[tuple[Script, int], ...]
    name: str = ""
    version: int = 2
    lock_time: int = 0
    sequence: int = 0xFFFFFFFF


@dataclass(eq=False, slots=True)
class Lot:
    """Money that a script got at once: an output that may be cut into coins, or a coin that is there already."""

    script: bytes
    left: int
    coin: Coin | None = None
    pieces: list[int] = field(default_factory=list)  # base units of each coin
    points: list[bytes] = field(default_factory=list)  # its outpoints, once it is built

    def close(self) -> None:
        """What nobody spends is one more coin, as is an output of nothing."""
        if self.left or not self.pieces:
            self.pieces.append(self.left)
            self.left = 0


class Piece(NamedTuple):
    """One coin of a lot."""

    lot: Lot
    number: int

    @property
    def point(self) -> bytes:
        """Its outpoint; the lot is built."""
        return self.lot.coin.outpoint if self.lot.coin is not None else self.lot.points[self.number]

    @property
    def value(self) -> int:
        """Base units."""
        return self.lot.coin.value if self.lot.coin is not None else self.lot.pieces[self.number]


class Planned(NamedTuple):
    """A move with the coins that it spends and the lots that it makes, in the order of its outputs."""

    move: Move
    spent: tuple[Piece, ...]
    made: tuple[Lot, ...]


class Planner:
    """Chooses coins, move by move; `finish` when all moves are planned.

    Parameters
    ----------
    opening : base units that scripts have before the first move, as coins that can still be cut
    coins : what is unspent and cannot be cut: spending more than is needed gives change

    Attributes
    ----------
    before : lots from before the first move, those of ``opening`` and what was missing
    """

    def __init__(self, opening: Mapping[bytes, int], coins: Sequence[Coin] = ()) -> None:
        self._queues: dict[bytes, deque[Lot]] = defaultdict(deque)
        self._lots: list[Lot] = []
        self.before: list[Lot] = []
        for coin in coins:
            self._queues[coin.script].append(Lot(coin.script, coin.value, coin))
        for script, value in opening.items():
            if value:
                self._queues[script].append(self._had(script, value))

    def plan(self, move: Move, inputs: Sequence[tuple[bytes, int]], outputs: Sequence[tuple[bytes, int]]) -> Planned:
        """One more move; ``inputs`` and ``outputs`` are its own, by script."""
        spent: list[Piece] = []
        change: list[tuple[bytes, int]] = []
        for script, value in inputs:
            found, rest = self._take(script, value)
            spent += found
            change += [(script, rest)] if rest else []
        made = [self._make(script, value) for script, value in (*outputs, *change)]
        for lot in made:
            self._queues[lot.script].append(lot)
        return Planned(move, tuple(spent), tuple(made))

    def spend(self, points: Sequence[bytes]) -> None:
        """A transaction that is given whole spends these coins, as far as they are known."""
        gone = set(points)
        for queue in self._queues.values():
            if any(lot.coin is not None and lot.coin.outpoint in gone for lot in queue):
                left = [lot for lot in queue if lot.coin is None or lot.coin.outpoint not in gone]
                queue.clear()
                queue.extend(left)

    def add(self, coin: Coin) -> None:
        """A coin that such a transaction made."""
        self._queues[coin.script].append(Lot(coin.script, coin.value, coin))

    def finish(self) -> None:
        """Nothing more is spent: what is left of each lot is a coin."""
        for lot in (*self.before, *self._lots):
            lot.close()

    def _had(self, script: bytes, value: int) -> Lot:
        lot = Lot(script, value)
        self.before.append(lot)
        return lot

    def _make(self, script: bytes, value: int) -> Lot:
        lot = Lot(script, value)
        self._lots.append(lot)
        return lot

    def _take(self, script: bytes, value: int) -> tuple[list[Piece], int]:
        """Coins of a script that are worth ``value``, and what has to come back of them."""
        queue, found = self._queues[script], []
        while value > 0:
            if not queue:
                queue.append(self._had(script, value))
            lot = queue[0]
            part = lot.left if lot.coin is not None else min(lot.left, value)
            if part:
                lot.left -= part
                lot.pieces.append(part)
                found.append(Piece(lot, len(lot.pieces) - 1))
            value -= part
            if not lot.left:
                queue.popleft()
        return found, -value
