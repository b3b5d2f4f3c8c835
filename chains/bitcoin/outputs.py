"""Outputs of transactions that were looked up lately."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from chains.bitcoin.base import Prevout

__all__ = ["RecentOutputs"]

MOST = 200_000  # outputs


class RecentOutputs:
    """Whole transactions by hash; those that were not asked for longest go first.

    Parameters
    ----------
    most : outputs that are kept
    """

    def __init__(self, most: int = MOST) -> None:
        self._most, self._held = most, 0
        self._known: OrderedDict[bytes, tuple[Prevout, ...]] = OrderedDict()

    def keep(self, hash: bytes, outputs: tuple[Prevout, ...]) -> None:
        """The outputs of a transaction; its hash is as it is in blocks."""
        self._held += len(outputs) - len(self._known.pop(hash, ()))
        self._known[hash] = outputs
        while self._held > self._most:
            self._held -= len(self._known.popitem(last=False)[1])

    def find(self, points: Iterable[bytes]) -> dict[bytes, Prevout]:
        """Those of these outpoints that are known."""
        found: dict[bytes, Prevout] = {}
        for point in points:
            outputs = self._known.get(point[:32])
            if outputs is None:
                continue
            self._known.move_to_end(point[:32])
            number = int.from_bytes(point[32:], "little")
            if number < len(outputs):
                found[point] = outputs[number]
        return found
