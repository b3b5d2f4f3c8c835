"""Tasks in several processes of this machine.

Each worker is a fresh interpreter with a socket to us and one task at a time. A worker that ends, for whatever reason,
closes its socket: its task is done again by a new one. When we end, for whatever reason, workers see the same of us.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from monitor.backtesting.workers.base import thread_limits
from monitor.backtesting.workers.book import TaskBook
from monitor.backtesting.workers.child import BEGUN

__all__ = ["ProcessWorkers"]

T = TypeVar("T")
R = TypeVar("R")
PATIENCE = 10.0  # seconds between the end of a worker's connection and its own


class ProcessWorkers:
    """See `Workers`. Workers start when there is work for them, and stay until `close`."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._idle: list[_Worker] = []
        self._busy: dict[Connection, tuple[_Worker, int]] = {}  # with the number of the task that it does

    @property
    def pids(self) -> tuple[int, ...]:
        """Process ids of the workers that run."""
        return tuple(worker.pid for worker in (*self._idle, *(worker for worker, _ in self._busy.values())))

    def run(self, work: Callable[[T], R], tasks: Sequence[T], told: Callable[[int], None] | None = None) -> list[R]:
        """See `Workers`."""
        book: TaskBook[R] = TaskBook(tasks, told)
        try:
            while not book.is_over:
                while len(self._busy) < self.count and (number := book.take()) is not None:
                    self._give(work, tasks, number)
                self._collect(book)
        finally:  # only where something failed, or on Ctrl-C, is one busy: it may be for hours
            while self._busy:
                self._busy.popitem()[1][0].end()
        return book.results()

    def warm(self, work: Callable[[], None]) -> None:
        """See `Workers`."""
        self._idle += [_Worker(self.count) for _ in range(self.count - len(self._idle))]
        self.run(_without_task, [work] * self.count)

    def close(self) -> None:
        """See `Workers`."""
        while self._idle:
            self._idle.pop().end()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _give(self, work: Callable[[T], R], tasks: Sequence[T], number: int) -> None:
        asked = pickle.dumps((work, tasks[number]), pickle.HIGHEST_PROTOCOL)
        worker = self._idle.pop() if self._idle else _Worker(self.count)
        self._busy[worker.connection] = worker, number
        worker.ask(asked)

    def _collect(self, book: TaskBook[Any]) -> None:
        """Wait for the next answers, or ends, of workers."""
        for connection in wait(list(self._busy)):
            assert isinstance(connection, Connection)
            worker, number = self._busy[connection]
            answer = worker.answer()
            if answer is BEGUN:
                continue
            del self._busy[connection]
            if answer is None:
                how = worker.how_it_ended()
                if worker.has_worked and not worker.has_begun:  # it ended while it was idle
                    book.returned(number)
                else:
                    book.lost(number, how)
                continue
            worker.has_worked, worker.has_begun = True, False
            self._idle.append(worker)
            succeeded, found = answer
            if succeeded:
                book.done(number, found)
            else:
                book.failed(number, found)


class _Worker:
    """One process, and the connection to it.

    Attributes
    ----------
    has_worked : whether it did a task
    has_begun : whether it took up the task that it was given last
    """

    def __init__(self, count: int) -> None:
        self.has_worked = self.has_begun = False
        self.connection, theirs = Pipe()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "monitor.backtesting.workers.child", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,  # ours may be a report
                pass_fds=[theirs.fileno()],
                env=_environment(count),
                process_group=0,  # Ctrl-C on a terminal is for us, who end the workers
            )
        finally:
            theirs.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, asked: bytes) -> None:
        """Give it a task; where it has ended, `answer` says so."""
        try:
            self.connection.send_bytes(asked)
        except OSError:
            pass

    def answer(self) -> Any:
        """What it says: BEGUN; or whether it succeeded, with its result or error; None where it ended."""
        try:
            data = self.connection.recv_bytes()
        except (EOFError, OSError):
            return None
        if data == BEGUN:
            self.has_begun = True
            return BEGUN
        return pickle.loads(data)

    def end(self) -> None:
        """End it, whatever it is doing."""
        self.connection.close()
        self._process.kill()
        self._process.wait()

    def how_it_ended(self) -> str:
        """Take leave of one that ended, or is about to; in words, how."""
        self.connection.close()
        try:
            code = self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        if code < 0:
            return f"was killed by {signal.Signals(-code).name} (did memory run out?)"
        return f"exited with status {code}"


def _without_task(work: Callable[[], None]) -> None:
    work()


def _environment(count: int) -> Mapping[str, str]:
    """Ours, with a share of the cores, and modules found where we find them."""
    path = os.pathsep.join(part or str(Path.cwd()) for part in sys.path)
    return {**os.environ, **thread_limits(count), "PYTHONPATH": path}
