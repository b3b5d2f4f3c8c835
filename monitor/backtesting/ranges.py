"""Ranges of history put in chain order as they are asked for."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from monitor.backtesting.history import Batch
from monitor.backtesting.ledger import Ledger
from monitor.backtesting.stages import Ordered, OrderTask, order

__all__ = ["RangeHistory"]


class RangeHistory:
    """See `monitor.backtesting.history.History`: ranges put in order as they are asked for, or kept in order."""

    def __init__(self, reading: Any, ledger: Ledger, ordered: Sequence[Ordered] | None = None) -> None:
        self._reading, self._ordered, self._ledger = reading, ordered, ledger
        self._end = weakref.finalize(self, ledger.end)

    def keep(self) -> None:
        """The end is not the end of the work: another run goes on from what a work folder holds."""
        self._end.detach()
        self._end = weakref.finalize(self, self._ledger.leave)

    def batches(self) -> Iterator[Batch]:
        """One range ahead is put in order while the last one is looked at."""
        for ordered in self.ordered():
            yield ordered.batch()

    def ordered(self) -> Iterator[Ordered]:
        """The same with what was counted; nothing is kept in memory but the first range, where it is all there is."""
        if self._ordered is not None:
            yield from self._ordered
            return
        tasks = [OrderTask(part, self._reading.wanted) for part in self._reading.ranges]
        if len(tasks) < 2:
            self._ordered = [order(task) for task in tasks]
            yield from self._ordered
            return
        with ThreadPoolExecutor(1, "arrange") as ahead:
            coming = ahead.submit(order, tasks[0])
            for task in tasks[1:]:
                found, coming = coming.result(), ahead.submit(order, task)
                yield found
            yield coming.result()

    def close(self) -> None:
        """Remove what was put aside."""
        self._end()
