"""A bound on requests a second."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

__all__ = ["Throttle"]


class Throttle:
    """Lets requests through at no more than ``rate`` a second, evenly.

    Parameters
    ----------
    rate : requests a second, above 0
    sleep, clock : pause and monotonic seconds, for tests
    """

    def __init__(
        self,
        rate: float,
        *,
        sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.rate = rate
        self._sleep, self._clock = sleep, clock
        self._free_at = clock()

    async def take(self, count: int = 1) -> None:
        """Wait until ``count`` more requests may be sent; what they cost is waited for by who comes next."""
        now = self._clock()
        begin = max(self._free_at, now)
        self._free_at = begin + count / self.rate
        if begin > now:
            await self._sleep(begin - now)
