"""Which endpoints of a chain lag, from the heads that all of them tell."""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Callable

from chains.endpoints.pool import Pool

__all__ = ["HeadWatch"]

log = logging.getLogger(__name__)

LAG_BLOCKS = 3  # block times behind the best that are still normal
LAG_SECONDS = 3.0  # at least: on fast chains a few blocks are the way through the network
KEPT = 512  # heights whose arrival is remembered


class HeadWatch:
    """Compares heads by when they arrived here, on the monotonic clock; block times say nothing.

    An endpoint lags when it still lacks a block that another one told of more than a few block times ago, or is more
    than a few blocks behind. It is then asked after the others until it has caught up.

    Parameters
    ----------
    name : the chain, for the log
    pool : its endpoints
    block_seconds : usual time between blocks
    clock : monotonic, in seconds
    """

    def __init__(self, name: str, pool: Pool, block_seconds: float, clock: Callable[[], float]) -> None:
        self._name, self._pool, self._clock = name, pool, clock
        self._most_seconds = max(LAG_SECONDS, LAG_BLOCKS * block_seconds)
        self._most_blocks = max(LAG_BLOCKS, math.ceil(LAG_SECONDS / block_seconds))
        self._told: dict[str, int] = {}
        self._arrivals: deque[tuple[int, float]] = deque(maxlen=KEPT)  # heights never seen before, rising
        self.news_at = clock()  # when a height arrived that was new

    def see(self, name: str, number: int) -> None:
        """An endpoint (by its redacted name) told just now that its newest block is ``number``."""
        endpoint = self._pool.find(name)
        now = self._clock()
        self._told[name] = endpoint.head = number
        best = max(self._told.values())
        while self._arrivals and self._arrivals[-1][0] > best:  # rolled back, everywhere
            self._arrivals.pop()
        if not self._arrivals or number > self._arrivals[-1][0]:
            self._arrivals.append((number, now))
            self.news_at = now
        since = next((at for height, at in self._arrivals if height > number), now)
        lagging = best - number > self._most_blocks or now - since > self._most_seconds
        if lagging != endpoint.lagging:
            endpoint.lagging = lagging
            if lagging:
                log.warning(
                    "%s: %s lags: block %d, %d below the best, for %.0f s",
                    self._name, name, number, best - number, now - since,
                )  # fmt: skip
            else:
                log.info("%s: %s has caught up", self._name, name)

    def forget(self, name: str) -> None:
        """An endpoint is no longer asked: what it told counts no more."""
        self._told.pop(name, None)
