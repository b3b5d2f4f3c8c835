"""What nodes offer and what not: learned from their answers, and again after they were started anew."""

from __future__ import annotations

from collections.abc import Callable, Mapping

__all__ = ["INDEX", "NUMBERS", "PREVOUTS", "SCAN", "Offers"]

#: Prevouts with blocks (``getblock`` 3); the form of a block asked for by a number, not by a truth value; transactions
#: of all blocks by hash (``txindex``); the coins of scripts.
PREVOUTS, NUMBERS, INDEX, SCAN = "prevouts", "verbosity", "txindex", "scantxoutset"

HOLDS = 3600.0  # seconds after which it is asked again
DRIFT = 1.2  # seconds by which the start of a node may seem to move: it tells whole ones


class Offers:
    """What is known of each endpoint, by its redacted name.

    Parameters
    ----------
    clock : monotonic seconds
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._known: dict[str, dict[str, tuple[bool, float]]] = {}
        self._started: dict[str, float] = {}

    def lacks(self, endpoint: str, what: str) -> bool:
        """Whether it said, not long ago, that it does not offer this."""
        return self.of(endpoint).get(what) is False

    def note(self, endpoint: str, what: str, has: bool) -> None:
        """It answered, or it does not offer this."""
        self._known.setdefault(endpoint, {})[what] = has, self._clock()

    def runs(self, endpoint: str, seconds: float | None) -> None:
        """A new connection: it runs for so long (None: it does not say). What was known of another run is forgotten."""
        old = self._started.pop(endpoint, None)
        if seconds is not None:
            self._started[endpoint] = self._clock() - seconds
        if seconds is None or old is None or abs(self._started[endpoint] - old) > DRIFT:
            self._known.pop(endpoint, None)

    def of(self, endpoint: str) -> Mapping[str, bool]:
        """All that is known."""
        now = self._clock()
        return {what: has for what, (has, at) in self._known.get(endpoint, {}).items() if now - at <= HOLDS}
