"""A circuit breaker: an endpoint that keeps failing is left alone, and probed after pauses that grow."""

from __future__ import annotations

import random
from collections.abc import Callable

__all__ = ["CLOSED", "HALF_OPEN", "OPEN", "Breaker"]

CLOSED, OPEN, HALF_OPEN = "closed", "open", "half-open"
FAILURES = 5  # in a row, which open it
FIRST_PAUSE = 1.0  # seconds before the first probe
LONGEST_PAUSE = 30.0


class Breaker:
    """The circuit of one endpoint.

    Closed, requests flow; after `FAILURES` in a row it opens and none does; when a pause is over it is half-open, and
    one probe decides. After the first failure the endpoint is ``suspect``: it is still asked, but after all others.

    Parameters
    ----------
    clock : monotonic, in seconds
    rng : jitter, so that many monitors do not probe in step
    """

    def __init__(self, clock: Callable[[], float], rng: random.Random) -> None:
        self._clock, self._rng = clock, rng
        self._failures = 0
        self.due = 0.0  # when the next probe may be made

    @property
    def suspect(self) -> bool:
        """Whether the last attempt failed."""
        return self._failures > 0

    @property
    def state(self) -> str:
        """``closed``, ``open`` or ``half-open``."""
        if self._failures < FAILURES:
            return CLOSED
        return HALF_OPEN if self.is_due else OPEN

    @property
    def is_due(self) -> bool:
        """Whether a probe may be made."""
        return self._clock() >= self.due

    def failed(self) -> bool:
        """Note a failure; whether it opened the circuit just now."""
        self._failures += 1
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(self._failures - 1, 16))
        self.due = self._clock() + pause * self._rng.uniform(0.75, 1.0)
        return self._failures == FAILURES

    def succeeded(self) -> bool:
        """Note a success; whether it closed a circuit that was open."""
        opened = self._failures >= FAILURES
        self._failures = 0
        return opened
