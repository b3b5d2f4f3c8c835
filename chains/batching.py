"""How many calls of a JSON-RPC batch each endpoint takes: learned from what it refuses."""

from __future__ import annotations

__all__ = ["BATCH", "BatchSizes"]

BATCH = 100  # calls at first; many providers refuse more
GROW_AFTER = 10  # full batches in a row before a larger one is tried
ASK_AGAIN = 1_000  # single calls before an endpoint that takes no batch is tried again


class BatchSizes:
    """Sizes by endpoint: halved at once, grown slowly.

    >>> sizes = BatchSizes()
    >>> sizes.halve("node", 100)
    >>> sizes.of("node"), sizes.of("another")
    (50, 100)
    """

    def __init__(self, most: int = BATCH) -> None:
        self.most = most
        self._sizes: dict[str, int] = {}
        self._passed: dict[str, int] = {}  # full batches in a row
        self._bounds: dict[str, int] = {}

    def bound(self, endpoint: str, calls: int) -> None:
        """Never send it more calls together."""
        self._bounds[endpoint] = max(1, calls)

    def of(self, endpoint: str) -> int:
        """Calls that a batch for this endpoint holds at most; 1: ask one by one."""
        return min(self._sizes.get(endpoint, self.most), self._bounds.get(endpoint, self.most))

    def halve(self, endpoint: str, calls: int) -> None:
        """A batch of so many calls was too much."""
        self._sizes[endpoint] = max(1, min(calls, self.of(endpoint)) // 2)
        self._passed[endpoint] = 0

    def refused(self, endpoint: str) -> None:
        """It takes no batch at all."""
        self._sizes[endpoint], self._passed[endpoint] = 1, 0

    def passed(self, endpoint: str, calls: int) -> None:
        """A batch of so many calls was answered."""
        size = self._sizes.get(endpoint)
        if size is None or calls < size:
            return
        self._passed[endpoint] = self._passed.get(endpoint, 0) + 1
        if self._passed[endpoint] >= (ASK_AGAIN if size == 1 else GROW_AFTER):
            self._passed[endpoint] = 0
            self._sizes[endpoint] = min(self.most, size + max(1, size // 4))
