"""A bound on the calls that one endpoint gets in any second."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

__all__ = ["Limiter"]


class Limiter:
    """At most ``rate`` calls in any one second, at once where none were made before.

    Providers count calls in a window, and a new block asks for a few together: spreading them evenly would only delay
    it. A rate below 1 is one call in 1 / rate seconds.

    Parameters
    ----------
    rate : calls a second, above 0
    sleep, clock : pause and monotonic seconds
    """

    def __init__(self, rate: float, *, sleep: Callable[[float], Awaitable[Any]], clock: Callable[[], float]) -> None:
        self.most = max(1, math.floor(rate))  # calls in a window
        self._window = self.most / rate  # seconds
        self._sleep, self._clock = sleep, clock
        self._sent: deque[float] = deque(maxlen=self.most)  # never decreasing; also those that still wait

    def delay(self, calls: int = 1) -> float:
        """Seconds until that many calls may be sent together."""
        return max(0.0, self._free_at(calls) - self._clock())

    async def take(self, calls: int = 1) -> None:
        """Wait until that many calls may be sent together, and count them."""
        free_at = self._free_at(calls)
        self._sent.extend([free_at] * min(calls, self.most))
        if (pause := free_at - self._clock()) > 0:
            await self._sleep(pause)

    def _free_at(self, calls: int) -> float:
        now = self._clock()
        over = len(self._sent) + min(calls, self.most) - self.most
        if over <= 0:
            return max(now, self._sent[-1]) if self._sent else now
        return max(now, self._sent[-1], self._sent[over - 1] + self._window)
