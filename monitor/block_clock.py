"""Which block a moment of a replay falls into, through the blocks whose number and time are known. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise

__all__ = ["BlockClock"]


class BlockClock:
    """Times to blocks: straight lines between anchors, the network's usual pace outside them.

    Parameters
    ----------
    anchors : (number, UTC seconds) of at least one block, strictly increasing in both
    seconds : usual time between blocks

    Examples
    --------
    >>> clock = BlockClock([(100, 1000), (110, 1600)], 60.0)
    >>> clock.at(1000), clock.at(1059), clock.at(1061), clock.at(999), clock.at(1721)
    ((100, 1000), (100, 1000), (101, 1060), (99, 940), (112, 1720))
    """

    def __init__(self, anchors: Sequence[tuple[int, int]], seconds: float) -> None:
        if not anchors or any(b[0] <= a[0] or b[1] <= a[1] for a, b in pairwise(anchors)):
            raise ValueError("block numbers and times must increase together")
        self._anchors = list(anchors)
        self._times = [time for _, time in anchors]
        self._seconds = seconds

    def at(self, time: int) -> tuple[int, int]:
        """Number and time of the last block that is not after ``time``."""
        place = bisect_right(self._times, time)
        number, start = self._anchors[max(0, place - 1)]
        if 0 < place < len(self._anchors):
            next_number, next_start = self._anchors[place]
            pace = (next_start - start) / (next_number - number)
        else:
            pace = self._seconds
        blocks = int((time - start) // pace)
        return number + blocks, start + int(blocks * pace // 1)
