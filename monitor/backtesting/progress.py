"""How far a backtest is: what its stages tell, and to whom."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

__all__ = ["Progress", "Silent", "Told", "progress_of"]


class Progress(Protocol):
    """Hears how far the work is. Every call is cheap: a stage may call it for each batch, not for each row.

    A stage begins with `stage` and lasts until the next one begins. Within it, `at` and `advance` both move the same
    mark: the first to a place, the second onwards.
    """

    def stage(self, name: str, total: int | None, unit: str) -> None:
        """A stage begins.

        Parameters
        ----------
        name : what is done, as a person reads it: ``reading``, ``arranging``, ``replaying``
        total : how many units there are to do, None where nobody knows
        unit : ``bytes``, ``rows``, ``blocks``, ...
        """

    def advance(self, done: int) -> None:
        """That many more units of the stage are done."""

    def at(self, done: int) -> None:
        """So many units of the stage are done in all."""

    def note(self, text: str) -> None:
        """A few words beside the stage's bar, for example the rows that were read; the latest ones count."""


class Silent:
    """Nobody listens."""

    def stage(self, name: str, total: int | None, unit: str) -> None:
        """A stage begins."""

    def advance(self, done: int) -> None:
        """More is done."""

    def at(self, done: int) -> None:
        """So much is done."""

    def note(self, text: str) -> None:
        """Words beside the bar."""


class Told:
    """Tells a plain function ``(units done, units in all)``, once at the beginning of a stage and at each step.

    Where the total is not known, what is done so far stands for it.
    """

    def __init__(self, tell: Callable[[int, int], None]) -> None:
        self._tell = tell
        self._total: int | None = None
        self._done = 0

    def stage(self, name: str, total: int | None, unit: str) -> None:
        """A stage begins."""
        self._total = total
        self.at(0)

    def advance(self, done: int) -> None:
        """More is done."""
        self.at(self._done + done)

    def at(self, done: int) -> None:
        """So much is done."""
        self._done = done
        self._tell(done, done if self._total is None else self._total)

    def note(self, text: str) -> None:
        """A plain function hears no words."""


def progress_of(listener: Progress | Callable[[int, int], None] | None) -> Progress:
    """Whatever a caller gave as ``progress``, as a `Progress`: one, a plain function of (done, total), or nothing."""
    if listener is None:
        return Silent()
    if callable(listener):
        return Told(listener)
    return listener
