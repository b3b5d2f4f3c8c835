"""When a recorded block becomes visible to its readers."""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_right
from collections.abc import Awaitable, Callable, Sequence
from itertools import accumulate
from typing import Any

__all__ = ["Pace"]


class Pace:
    """How many blocks of a recording are visible now.

    =====================  =====================================================================
    ``Pace(60.0)``         by time: recorded minutes pass as seconds
    ``Pace()``             as fast as the reader asks: each `ask` but the first shows one more
    ``Pace(manual=True)``  step by step: only `release` shows more
    =====================  =====================================================================

    `release` works in every mode. Nothing is visible before `begin`.

    Parameters
    ----------
    speed : recorded seconds a real second, above 0; None is not by time
    manual : show blocks on `release` alone (without ``speed``)
    clock, sleep : the monotonic clock in seconds and the pause, for tests
    """

    def __init__(
        self,
        speed: float | None = None,
        *,
        manual: bool = False,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
    ) -> None:
        if speed is not None and not 0 < speed < float("inf"):
            raise ValueError(f"speed was {speed}, expected recorded seconds a real second, above 0")
        if speed is not None and manual:
            raise ValueError("a pace is by speed or manual, not both")
        self._speed = speed
        self._manual = manual
        self._clock = clock
        self._sleep = sleep
        self._due: list[float] = []  # by time: the moment of each block on the clock, never decreasing
        self._total = 0
        self._shown = 0
        self._asked = False
        self._changed = asyncio.Event()

    @property
    def visible(self) -> int:
        """The number of visible blocks, from the first on; it falls only at `begin`."""
        if self._speed is not None and self._shown < self._total:
            self._shown = max(self._shown, bisect_right(self._due, self._clock()))
        return self._shown

    @property
    def total(self) -> int:
        """The number of blocks, visible or not."""
        return self._total

    def begin(self, timestamps: Sequence[int], shown: int = 1) -> None:
        """Start with blocks of these ``timestamps`` (UTC seconds, in chain order), the first ``shown`` visible at once.

        By time, the last of the shown blocks is now. Called again it starts anew, after a reorg for example. Times that
        step backwards (some chains allow it) show the block together with the one before.
        """
        self._total = len(timestamps)
        self._shown = min(shown, self._total)
        self._asked = False
        if self._speed is not None and timestamps:
            speed, now = self._speed, self._clock()
            origin = max(timestamps[: self._shown], default=timestamps[0])
            self._due = [now + (t - origin) / speed for t in accumulate(timestamps, max)]
        self._wake()

    def ask(self) -> int:
        """A reader asks for the head: the number of blocks that it may see."""
        if self._speed is None and not self._manual:
            if self._asked and self._shown < self._total:
                self._shown += 1
                self._wake()
            self._asked = True
        return self.visible

    async def release(self, count: int = 1) -> int:
        """Show ``count`` more blocks now, and let waiting readers run; the number of visible blocks."""
        self._shown = min(self._total, self.visible + count)
        self._wake()
        await asyncio.sleep(0)
        return self._shown

    async def wait(self, count: int) -> int:
        """Return when at least ``count`` blocks are visible, with their number (never where there are not as many)."""
        while (now := self.visible) < count:
            await self._next(count)
        return now

    async def _next(self, count: int) -> None:
        """Until something changes, or block number ``count`` is due by time."""
        changed = asyncio.ensure_future(self._changed.wait())
        waiting: set[asyncio.Future[Any]] = {changed}
        if self._speed is not None and count <= self._total:
            pause = max(0.0, self._due[count - 1] - self._clock())
            waiting.add(asyncio.ensure_future(self._sleep(pause)))
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for future in waiting:
                future.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
