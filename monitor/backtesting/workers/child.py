"""A worker process: does one task after the other for the process that started it, and ends with it.

The parent starts it as ``python -m monitor.backtesting.workers.child FD``, where FD is a connected socket. A fresh
interpreter, not a fork: a fork would copy the locks of Polars' and Numba's threads without the threads.
"""

from __future__ import annotations

import os
import pickle
import select
import signal
import sys
import threading
import traceback
from multiprocessing.connection import Connection
from typing import Any

__all__ = ["BEGUN", "main"]

BEGUN = b""  # says that a task was taken up; what follows is its result


def main(descriptor: int) -> None:
    """Serve the parent until it closes the connection."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, who ends us
    threading.Thread(target=_end_with_parent, args=(descriptor,), daemon=True).start()
    parent = Connection(descriptor)
    while True:
        try:
            asked = parent.recv_bytes()
        except (EOFError, OSError):
            return
        try:
            parent.send_bytes(BEGUN)
            parent.send_bytes(_done(asked))
        except OSError:
            return


def _done(asked: bytes) -> bytes:
    """The pickled (whether it succeeded, result or error) of a pickled (work, task)."""
    try:
        work, task = pickle.loads(asked)
        return pickle.dumps((True, work(task)), pickle.HIGHEST_PROTOCOL)
    except BaseException as error:
        text = traceback.format_exc()
        return _carried(error, text)


def _carried(error: BaseException, text: str) -> bytes:
    """An error as it can be pickled, with the trace of this process as a note."""
    error.add_note(f"in a worker:\n{text}")
    try:
        data = pickle.dumps((False, error), pickle.HIGHEST_PROTOCOL)
        found: tuple[bool, Any] = pickle.loads(data)
        if type(found[1]) is type(error):
            return data
    except Exception:  # an error that does not survive pickling: its text does
        pass
    return pickle.dumps((False, RuntimeError(f"{type(error).__name__}: {error}\n{text}")), pickle.HIGHEST_PROTOCOL)


def _end_with_parent(descriptor: int) -> None:
    """End this process once the other end of the connection is gone, whatever it is doing: kill -9 leaves no orphan."""
    watched = select.poll()
    watched.register(descriptor, select.POLLRDHUP)
    watched.poll()
    os._exit(1)


if __name__ == "__main__":
    main(int(sys.argv[1]))
