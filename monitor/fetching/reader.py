"""Past blocks, asked for again for as long as there is hope; several readings at once, handed over in order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

from monitor.errors import ChainError, ChainInconsistent, ChainUnavailable, HistoryRefused, ReorgTooDeep
from monitor.fetching.cut import Cut
from monitor.fetching.piece import Piece
from monitor.past import History, Stretch

__all__ = ["Ahead", "PastSource", "Reader"]

log = logging.getLogger("heistwatch.fetch")
T = TypeVar("T")

CONTRADICTIONS = 5  # readings of the same blocks that may contradict themselves, each time elsewhere where one can
REFUSALS = 3  # times that blocks are refused before it is believed
LONGEST_PAUSE = 30.0  # seconds


class PastSource(History, Protocol):
    """What gives past blocks, and can be told to ask another endpoint: see `chains.base.History`."""

    def contradicted(self) -> None: ...


class Reader:
    """Reads stretches.

    Parameters
    ----------
    name : of the chain, for errors
    source : gives them
    patience : seconds without any answer after which it gives up
    sleep, clock : pause and monotonic seconds
    """

    def __init__(
        self,
        name: str,
        source: PastSource,
        *,
        patience: float,
        sleep: Callable[[float], Awaitable[Any]],
        clock: Callable[[], float],
    ) -> None:
        self.name = name
        self._source, self._patience, self._sleep, self._clock = source, patience, sleep, clock
        self._answered_at = clock()

    def contradicted(self) -> None:
        """What was read does not fit: prefer another endpoint for a while."""
        self._source.contradicted()

    async def stretch(self, start: int, end: int) -> Stretch:
        """Blocks ``start`` to ``end`` (exclusive).

        Raises
        ------
        HistoryRefused : no endpoint gives them
        ChainInconsistent : the contradiction stays
        ChainUnavailable : nothing was answered for too long
        """
        what = f"block {start}" if end == start + 1 else f"blocks {start} to {end - 1}"
        return await self._insist(what, lambda: self._source.history(start, end))

    async def time_of(self, number: int) -> int:
        """The time of a block, UTC seconds; errors as in `stretch`."""
        return await self._insist(f"block {number}", lambda: self._source.time_of(number))

    async def _insist(self, what: str, ask: Callable[[], Awaitable[T]]) -> T:
        contradictions = refusals = failures = 0
        begun = self._clock()
        while True:
            try:
                found = await ask()
            except ReorgTooDeep:
                raise
            except HistoryRefused:
                refusals += 1
                if refusals >= REFUSALS:
                    raise
                self._source.contradicted()
                await self._sleep(0.1 * 2**refusals)
            except ChainInconsistent as error:
                contradictions += 1
                log.warning("%s: %s contradict themselves: %s", self.name, what, error)
                if contradictions >= CONTRADICTIONS:
                    raise ChainInconsistent(f"{self.name}: {what}: {error}") from None
                self._source.contradicted()
                await self._sleep(min(1.0, 0.1 * 2**contradictions))
            except ChainUnavailable as error:
                pause = max(error.retry_after or 0.0, min(LONGEST_PAUSE, 0.5 * 2.0 ** min(failures, 10)))
                if self._clock() + pause - max(begun, self._answered_at) > self._patience:
                    raise ChainUnavailable(f"{self.name}: {what}: {error}", error.retry_after) from None
                failures += 1
                log.log(
                    logging.WARNING if failures == 3 else logging.DEBUG,
                    "%s: %s: %s; trying again in %.0f s", self.name, what, error, pause,
                )  # fmt: skip
                await self._sleep(pause)
            except ChainError:
                raise
            else:
                self._answered_at = self._clock()
                return found


class Ahead:
    """Pieces in the order of their blocks, of which several are read at once.

    Parameters
    ----------
    read : reads blocks ``start`` to ``end`` (exclusive)
    cut : where readings end
    width : how many are under way at a time
    """

    def __init__(self, read: Callable[[int, int], Awaitable[Piece]], cut: Cut, width: int) -> None:
        self._read, self._cut, self._width = read, cut, max(1, width)
        self._tasks: dict[tuple[int, int], asyncio.Task[Piece]] = {}

    async def take(self, start: int, end: int) -> Piece:
        """The piece that begins at ``start``, in a range that ends at ``end``."""
        wanted: list[tuple[int, int]] = []
        at = start
        while at < end and len(wanted) < self._width:
            upto = self._cut.step_end(at, end)
            wanted.append((at, upto))
            at = upto
        for key in wanted:
            if key not in self._tasks:
                self._tasks[key] = asyncio.create_task(self._reading(*key), name=f"blocks {key[0]}")
        return await self._tasks.pop(wanted[0])

    async def forget(self) -> None:
        """End all readings: what they give is not wanted any more."""
        tasks, self._tasks = list(self._tasks.values()), {}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _reading(self, start: int, end: int) -> Piece:
        return await self._read(start, end)
