"""Tasks in this process, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self, TypeVar

__all__ = ["LocalWorkers"]

T = TypeVar("T")
R = TypeVar("R")


class LocalWorkers:
    """See `Workers`; the libraries' own threads use the cores."""

    count = 1

    def run(self, work: Callable[[T], R], tasks: Sequence[T], told: Callable[[int], None] | None = None) -> list[R]:
        """See `Workers`."""
        results = []
        for number, task in enumerate(tasks, 1):
            results.append(work(task))
            if told is not None:
                told(number)
        return results

    def warm(self, work: Callable[[], None]) -> None:
        """See `Workers`."""
        work()

    def close(self) -> None:
        """See `Workers`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
