"""Ending a backtest early, with what is done.

A `Stop` is the wish of the user, from Ctrl-C or SIGTERM (the command line listens). By default the wish ends the work
where it stands: the handler raises `Stopped`, which runs through the stages like any error, so that ``finally`` and
``with`` close files, end workers and remove temporary folders. Where a half-done step would leave nothing to report,
the stage holds the wish back and asks for it where it can end well::

    with stop.held():
        for batch in batches:
            if stop.asked:
                break  # what was replayed so far is whole
            replay(batch)

A second wish is not held back: whoever presses twice wants out now. A library that does not come back to Python for a
while keeps any handler waiting; then the command ends without it, and what `cleaning` named is all that is tidied.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["Stop", "Stopped"]


class Stopped(KeyboardInterrupt):
    """The user ended the work. Not an `Exception`, so that no handler of errors takes it for one."""

    def __init__(self) -> None:
        super().__init__("stopped")


class Stop:
    """Whether the user asked to end early.

    Attributes
    ----------
    asked : how often the user asked
    """

    def __init__(self) -> None:
        self.asked = 0
        self._held = 0
        self._cleaners: list[Callable[[], object]] = []

    def ask(self) -> None:
        """The user asks. Raises `Stopped` unless a stage holds the first wish back."""
        self.asked += 1
        if not self._held or self.asked > 1:
            raise Stopped

    def check(self) -> None:
        """Raise `Stopped` where the user asked: for steps that hold the wish back and cannot report a part."""
        if self.asked:
            raise Stopped

    @property
    def holding(self) -> bool:
        """Whether a stage holds the wish back."""
        return self._held > 0

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the first wish back: the work inside polls `asked` between its steps."""
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1

    @contextmanager
    def cleaning(self, clean: Callable[[], object]) -> Iterator[None]:
        """Do ``clean`` where the process must end inside of the block, without a ``finally``.

        Parameters
        ----------
        clean : removes a folder, for example; it is called from another thread
        """
        self._cleaners.append(clean)
        try:
            yield
        finally:
            self._cleaners.remove(clean)

    def clean(self) -> None:
        """What is named by `cleaning` at this moment, the last one first."""
        for clean in reversed(self._cleaners):
            clean()
