"""Which tasks of a run wait, failed or are done, whoever does them."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from monitor.errors import WorkerLost

__all__ = ["ATTEMPTS", "TaskBook"]

R = TypeVar("R")
ATTEMPTS = 3  # a task that ended three workers would end the fourth


class TaskBook(Generic[R]):
    """Tasks by their number, given out in order; results and errors come back in any order.

    Where tasks fail, the first one's error counts, as if they were done one after the other: what comes after it is not
    given out any more, what comes before it is finished.
    """

    def __init__(self, tasks: Sequence[Any], told: Callable[[int], None] | None = None) -> None:
        self._tasks = tasks
        self._told = told
        self._waiting = list(range(len(tasks)))  # a heap
        self._given: set[int] = set()
        self._tries = [0] * len(tasks)
        self._results: dict[int, R] = {}
        self._failed: tuple[int, BaseException] | None = None

    @property
    def is_over(self) -> bool:
        """Whether nothing that matters waits or is being done."""
        return not any(map(self._matters, (*self._waiting[:1], *self._given)))

    def take(self) -> int | None:
        """The next task to do; None where none waits that matters."""
        if not self._waiting or not self._matters(self._waiting[0]):
            return None
        number = heapq.heappop(self._waiting)
        self._given.add(number)
        self._tries[number] += 1
        return number

    def done(self, number: int, result: R) -> None:
        """A task has its result."""
        self._given.remove(number)
        self._results[number] = result
        if self._told is not None:
            self._told(len(self._results))

    def failed(self, number: int, error: BaseException) -> None:
        """A task raised, and would raise again."""
        self._given.remove(number)
        if self._matters(number):
            self._failed = number, error

    def lost(self, number: int, how: str) -> None:
        """What did a task ended; ``how``, in words. The task waits again, unless that is so for the third time."""
        if self._tries[number] < ATTEMPTS:
            self._given.remove(number)
            heapq.heappush(self._waiting, number)
            return
        name = getattr(self._tasks[number], "name", "") or f"part {number + 1} of {len(self._tasks)}"
        self.failed(number, WorkerLost(f"{name}: {ATTEMPTS} workers ended while they did this part: the last {how}"))

    def returned(self, number: int) -> None:
        """A task was not begun: it waits again, and that was no attempt at it."""
        self._given.remove(number)
        self._tries[number] -= 1
        heapq.heappush(self._waiting, number)

    def results(self) -> list[R]:
        """All results in order, or the error that counts, raised."""
        if self._failed is not None:
            raise self._failed[1]
        return [self._results[number] for number in range(len(self._tasks))]

    def _matters(self, number: int) -> bool:
        return self._failed is None or number < self._failed[0]
