"""How many messages a second a destination gets: a token bucket. Pure; the clock comes from outside."""

from __future__ import annotations

import math

__all__ = ["BURST", "Pace"]

BURST = 3.0
"""So many messages may go at once after a rest, but never more than one second's worth (and always one)."""


class Pace:
    """Lets through ``rate`` messages a second, and a small burst after a rest.

    Parameters
    ----------
    rate : messages a second, over 0; None: any number
    burst : messages at once after a rest; None: as `BURST` says

    Examples
    --------
    >>> pace = Pace(2.0)
    >>> [pace.wait(0.0), pace.take(0.0), pace.take(0.0), pace.wait(0.0), pace.wait(0.5)]
    [0.0, None, None, 0.5, 0.0]
    """

    def __init__(self, rate: float | None, burst: float | None = None) -> None:
        if rate is not None and not (math.isfinite(rate) and rate > 0):
            raise ValueError(f"rate was {rate}, expected a number over 0 or None")
        self._rate = rate
        self._most = max(1.0, min(BURST, rate or 0.0) if burst is None else burst)
        self._tokens = self._most
        self._at = -math.inf

    def wait(self, now: float) -> float:
        """Seconds from ``now`` until the next message may go; 0 where it may at once."""
        if self._rate is None:
            return 0.0
        self._fill(now)
        missing = 1.0 - self._tokens
        return missing / self._rate if missing > 1e-9 else 0.0  # what was waited out may be a rounding error short

    def take(self, now: float) -> None:
        """A message goes at ``now``."""
        if self._rate is not None:
            self._fill(now)
            self._tokens = max(0.0, self._tokens - 1.0)

    def _fill(self, now: float) -> None:
        """A clock that was set back must not stop the flow: time goes on from where it stands."""
        if self._rate is not None and now > self._at > -math.inf:
            self._tokens = min(self._most, self._tokens + (now - self._at) * self._rate)
        self._at = now
