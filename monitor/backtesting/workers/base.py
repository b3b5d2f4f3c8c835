"""What does the parts of a backtest, in whatever number of processes, and the rules that all of them keep.

Work is a plain function of a module, and a task plain data that can be pickled: both may go to another process, or to
another machine. A result depends on the task alone, so that a task may be done again where a worker was lost.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Protocol, Self, TypeVar

__all__ = ["THREADS", "Workers", "thread_limits", "usable_cores"]

T = TypeVar("T")
R = TypeVar("R")
# Libraries that start a thread a core each unless told: Polars, Numba, and what NumPy multiplies matrices with.
THREADS = ("POLARS_MAX_THREADS", "NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class Workers(Protocol):
    """Does tasks; a context manager that ends what it started."""

    count: int
    """How many tasks are done at a time."""

    def run(self, work: Callable[[T], R], tasks: Sequence[T], told: Callable[[int], None] | None = None) -> list[R]:
        """Do ``work`` on every task.

        Parameters
        ----------
        work : a function of a module
        tasks : plain data; where one has an attribute ``name``, errors call it so
        told : hears after each task how many are done

        Returns
        -------
        the results in the order of the tasks, whatever order they ended in

        Raises
        ------
        what ``work`` raises, with its own type: of several tasks that fail, the first one's in their order
        WorkerLost : the workers that did a task were lost, three times
        """
        ...

    def warm(self, work: Callable[[], None]) -> None:
        """Start the workers and do ``work`` on each: what follows finds imports and compilation done."""
        ...

    def close(self) -> None:
        """End the workers; nothing where they have ended."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def usable_cores() -> int:
    """Cores that this process may run on, which may be fewer than the machine has."""
    return len(os.sched_getaffinity(0))


def thread_limits(count: int) -> Mapping[str, str]:
    """Environment of ``count`` workers that share the cores without contending; what is set already stays."""
    each = str(max(1, usable_cores() // count))
    return {name: each for name in THREADS if name not in os.environ}
