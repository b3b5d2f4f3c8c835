"""Blocking work beside the event loop, in a few threads of its own: a disk or library that hangs stops nobody else."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

__all__ = ["Apart", "Busy"]

T = TypeVar("T")


class Busy(Exception):
    """Every thread still hangs in earlier work."""


class Apart:
    """Runs blocking functions in at most ``most`` threads.

    The threads are daemons, unlike those of the loop's own pool: one that hangs for ever keeps neither the loop from
    closing nor the process from ending. A thread cannot be stopped: work that was given up goes on, and holds its
    place until it ends.
    """

    def __init__(self, name: str, most: int = 1) -> None:
        self._name = name
        self._places = threading.BoundedSemaphore(most)

    async def run(self, work: Callable[[], T], seconds: float) -> T:
        """What ``work`` returns or raises; `Busy` where no thread is free, TimeoutError after ``seconds``."""
        if not self._places.acquire(blocking=False):
            raise Busy
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()

        def settle(result: T | None, error: Exception | None) -> None:
            if done.done():
                return
            if error is not None:
                done.set_exception(error)
            else:
                done.set_result(result)  # type: ignore[arg-type]  # T may be None itself

        def body() -> None:
            result: T | None = None
            failure: Exception | None = None
            try:
                result = work()
            except Exception as error:
                failure = error
            finally:
                self._places.release()
            try:
                loop.call_soon_threadsafe(settle, result, failure)
            except RuntimeError:  # the loop has ended meanwhile
                pass

        threading.Thread(target=body, name=self._name, daemon=True).start()
        async with asyncio.timeout(seconds):
            return await done
