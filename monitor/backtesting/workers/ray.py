"""Tasks in a Ray cluster: one that the program is connected to, the one that `RAY_ADDRESS` names, or one of our own.

One of our own lives on this machine alone, listens on 127.0.0.1, reports its use to nobody and leaves nothing behind.
In any other, each node must see the data and the work folder under the same paths (docs/cluster.md).
"""

from __future__ import annotations

import importlib
import os
import secrets
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self, TypeVar

from monitor.backtesting.workers.base import thread_limits, usable_cores
from monitor.backtesting.workers.book import TaskBook
from monitor.errors import ConfigError, WorkerLost

__all__ = ["RayWorkers"]

T = TypeVar("T")
R = TypeVar("R")
STORE = 200 * 2**20  # bytes of shared memory for results on their way; more than that goes to disk
AHEAD = 2  # tasks handed over for each worker, so that none waits for us
STARTS = 3  # attempts
LONGEST = 40  # characters of a temporary folder with which the paths of Ray's sockets keep to the system's 107
LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"  # "0": listen on 127.0.0.1 alone; read on other systems, too
QUIET = {  # no report of its use, no advice on stderr
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_OBJECT_STORE_ALLOW_SLOW_STORAGE": "1",
}
# Whoever reaches a cluster may run programs on it, also on 127.0.0.1. Ray guards it with a token, which it would leave
# in the home folder unless one is given; it remembers the first one that a process has.
TOKEN = {"RAY_AUTH_TOKEN": secrets.token_hex(32)}
GIVEN = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")


class RayWorkers:
    """See `Workers`. Connects, or starts a cluster, when there is work."""

    def __init__(self, count: int | None) -> None:
        with _environment(QUIET):
            try:
                self._ray: Any = importlib.import_module("ray")
            except ImportError:
                raise ConfigError("the engine ray needs the package ray: pip install heistwatch[ray]") from None
        self.count = count or usable_cores()
        self._wanted = count
        self._joined = self._started = False
        self._folder = ""  # of a cluster of our own

    def run(self, work: Callable[[T], R], tasks: Sequence[T], told: Callable[[int], None] | None = None) -> list[R]:
        """See `Workers`."""
        self._join()
        # Ray would repeat lost tasks as well, but its error would not say which part of ours it was.
        remote = self._ray.remote(num_cpus=1, max_retries=0)(work)
        book: TaskBook[R] = TaskBook(tasks, told)
        given: dict[Any, int] = {}  # number of the task by the reference to its result
        try:
            while not book.is_over:
                while len(given) < AHEAD * self.count and (number := book.take()) is not None:
                    given[remote.remote(tasks[number])] = number
                for reference in self._ray.wait(list(given), num_returns=1)[0]:
                    self._settle(book, given.pop(reference), reference)
        finally:  # only where something failed, or on Ctrl-C, is one left
            for reference in given:
                self._ray.cancel(reference, force=True)
        return book.results()

    def warm(self, work: Callable[[], None]) -> None:
        """See `Workers`. Ray says not where a task runs: on a busy cluster one worker may be warm twice."""
        self.run(_without_task, [work] * self.count)

    def close(self) -> None:
        """See `Workers`; a cluster that others started stays."""
        if self._started:
            self._ray.shutdown()
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)  # processes that are ending may still write logs
        self._joined = self._started = False
        self._folder = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _settle(self, book: TaskBook[Any], number: int, reference: Any) -> None:
        """Take the result of a task, or what became of it."""
        kinds = self._ray.exceptions
        try:
            book.done(number, self._ray.get(reference))
        except kinds.RayTaskError as error:
            cause = error.cause
            book.failed(number, cause if isinstance(cause, BaseException) else error)
        except (kinds.WorkerCrashedError, kinds.NodeDiedError, kinds.OutOfMemoryError, kinds.ObjectLostError) as error:
            book.lost(number, f"was lost ({type(error).__name__})")

    def _join(self) -> None:
        """Be connected to a cluster."""
        if self._joined:
            return
        ray, address = self._ray, os.environ.get("RAY_ADDRESS")
        with _signals_kept():
            if ray.is_initialized():
                pass
            elif address:
                self._connect(address)
            else:
                self._start_patiently()
        self._joined = True
        if self._wanted is None:
            self.count = max(1, int(ray.cluster_resources().get("CPU", 1)))

    def _connect(self, address: str) -> None:
        try:
            self._ray.init(address=address, log_to_driver=False, logging_level="ERROR")
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise WorkerLost(f"no Ray cluster answers at RAY_ADDRESS={address}: {error}") from None
        self._started = True

    def _start_patiently(self) -> None:
        """Start a cluster of our own. Ray gives up after 30 seconds, which a machine under load may need."""
        for attempt in range(1, STARTS + 1):
            try:
                return self._start()
            except Exception as error:  # Ray raises plain ones here
                if attempt == STARTS:
                    raise WorkerLost(f"Ray does not start: {' '.join(str(error).split())}") from error

    def _start(self) -> None:
        root = tempfile.gettempdir()
        self._folder = tempfile.mkdtemp(prefix="hw-ray-", dir=root if len(root) <= LONGEST else "/tmp")
        constants: Any = importlib.import_module("ray._private.ray_constants")
        before, constants.ENABLE_RAY_CLUSTER = constants.ENABLE_RAY_CLUSTER, False  # as LOOPBACK, which it read once
        try:
            token = {} if any(name in os.environ for name in GIVEN) else TOKEN
            with _environment({**QUIET, **token, **thread_limits(self.count), LOOPBACK: "0"}):
                self._ray.init(
                    address="local",
                    num_cpus=self.count,
                    include_dashboard=False,
                    log_to_driver=False,
                    logging_level="ERROR",
                    object_store_memory=STORE,
                    _temp_dir=self._folder,
                    _node_ip_address="127.0.0.1",
                )
        except BaseException:
            self._started = True  # in part
            self.close()
            raise
        finally:
            constants.ENABLE_RAY_CLUSTER = before
        self._started = True


def _without_task(work: Callable[[], None]) -> None:
    work()


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set variables that processes started meanwhile inherit; what Ray sets itself does not stay either."""
    before = {name: os.environ.get(name) for name in (*values, "RAY_AUTH_MODE")}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Ray takes SIGTERM for itself where it starts or connects; the command has its own way to end."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
