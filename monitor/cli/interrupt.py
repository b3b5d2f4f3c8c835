"""Ctrl-C and SIGTERM for long work: what is done is told, what was begun is tidied, and the exit code is 130."""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from monitor.backtesting.stopping import Stop

__all__ = ["PATIENCE", "listening"]

PATIENCE = 2.0  # seconds that a library may take to come back to Python
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def listening(stop: Stop, last_words: Callable[[], str]) -> Iterator[None]:
    """Take Ctrl-C and SIGTERM for a wish to stop, while the block runs in the main thread.

    The first one asks ``stop``. Python's handlers run between its own steps only, and one query of Polars may take
    minutes: a thread watches, and ends the process where the wish is not heard in time and nothing would be reported.
    The second one always ends it so.

    Parameters
    ----------
    stop : what the stages of the work look at
    last_words : the line to leave where the process ends without returning here
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # a signal has no handler elsewhere
        return
    watch = _Watch(stop, last_words)
    before = {number: signal.signal(number, watch.handle) for number in _SIGNALS}
    woken = signal.set_wakeup_fd(watch.wake.fileno(), warn_on_full_buffer=False)
    watch.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(woken)
        for number, handler in before.items():
            signal.signal(number, handler)
        watch.end()


class _Watch(threading.Thread):
    """Sees a signal at once, whatever the main thread does."""

    def __init__(self, stop: Stop, last_words: Callable[[], str]) -> None:
        super().__init__(name="interrupt", daemon=True)
        self._stop_wish, self._last_words = stop, last_words
        self._seen, self.wake = socket.socketpair()
        self._seen.setblocking(False)
        self.wake.setblocking(False)
        self._heard = threading.Event()

    def handle(self, number: int, frame: object) -> None:
        """Python's handler, in the main thread."""
        self._heard.set()
        self._stop_wish.ask()

    def run(self) -> None:
        """Wait for the first signal, then for the main thread, then for a second signal."""
        signals = 0
        while True:
            waits = signals == 1 and not (self._heard.is_set() or self._stop_wish.holding)
            ready, _, _ = select.select([self._seen], [], [], PATIENCE if waits else None)
            if not ready:
                if not self._heard.is_set():
                    self._leave()
                continue
            for byte in self._seen.recv(64):
                if byte == 0:  # the block has ended
                    return
                signals += byte in _SIGNALS
            if signals > 1:
                self._leave()
            if signals == 1 and self._stop_wish.holding:
                _say("stopping after this step; once more ends at once")

    def end(self) -> None:
        """The block has ended."""
        self.wake.send(b"\0")
        self.join()
        self._seen.close()
        self.wake.close()

    def _leave(self) -> None:
        self._stop_wish.clean()
        _say(self._last_words())
        os._exit(130)


def _say(text: str) -> None:
    print(f"heistwatch: {text}", file=sys.stderr, flush=True)
