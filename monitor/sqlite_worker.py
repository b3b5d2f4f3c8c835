"""One thread that runs every job of a database connection, the urgent ones first."""

from __future__ import annotations

import asyncio
import itertools
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from monitor.errors import StoreError

__all__ = ["Worker"]

T = TypeVar("T")
_Job = tuple[int, int, Callable[[], Any] | None, "Future[Any] | None"]
_URGENT, _NORMAL, _STOP = range(3)


class Worker:
    """Runs jobs one at a time on its own thread: urgent ones first, otherwise in order of arrival."""

    def __init__(self, name: str) -> None:
        self._jobs: queue.PriorityQueue[_Job] = queue.PriorityQueue()
        self._order = itertools.count()
        self._stopped = False
        self._thread = threading.Thread(target=self._loop, name=name, daemon=True)
        self._thread.start()

    async def run(self, job: Callable[[], T], *, urgent: bool = False) -> T:
        """The result of ``job``, run on the thread.

        A job whose caller is cancelled before its turn is left out; one that already runs is finished.
        """
        if self._stopped:
            raise StoreError("the store is closed")
        future: Future[T] = Future()
        self._jobs.put((_URGENT if urgent else _NORMAL, next(self._order), job, future))
        return await asyncio.wrap_future(future)

    async def stop(self) -> None:
        """Finish what is queued, then end the thread."""
        if not self._stopped:
            self._stopped = True
            self._jobs.put((_STOP, next(self._order), None, None))
        await asyncio.to_thread(self._thread.join)

    def _loop(self) -> None:
        while True:
            _, _, job, future = self._jobs.get()
            if job is None or future is None:
                return
            if not future.set_running_or_notify_cancel():
                continue
            try:
                result = job()
            except BaseException as error:  # handed to the caller, whatever it is
                future.set_exception(error)
            else:
                future.set_result(result)
            del job, future  # an idle thread must not keep the last result alive
