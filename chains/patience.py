"""What every watcher does about endpoints that contradict themselves or stand still."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

from monitor.errors import ChainInconsistent

__all__ = ["READS", "Standstill", "read_again"]

log = logging.getLogger(__name__)

READS = 4  # readings of a block before its contradiction is believed

T = TypeVar("T")


class _Endpoints(Protocol):
    @property
    def endpoint(self) -> str: ...

    def rotate(self) -> None: ...

    def contradicted(self) -> None: ...


class Standstill:
    """Prefers another endpoint when the one in use shows no new head for long.

    Parameters
    ----------
    name : the chain, for the log
    seconds : how long is long
    clock : monotonic, in seconds
    """

    def __init__(self, name: str, endpoints: _Endpoints, seconds: float, clock: Callable[[], float]) -> None:
        self._name, self._endpoints, self._seconds, self._clock = name, endpoints, seconds, clock
        self._best, self._moved_at = -1, clock()

    def see(self, number: int) -> None:
        """Note the height of a head that an endpoint just told."""
        if number > self._best:
            self._best, self._moved_at = number, self._clock()
        elif self._clock() - self._moved_at > self._seconds:
            log.warning("%s: no new head from %s for %.0f s", self._name, self._endpoints.endpoint, self._seconds)
            self._endpoints.rotate()
            self._moved_at = self._clock()


async def read_again(
    read: Callable[[int], Awaitable[T]],
    number: int,
    name: str,
    endpoints: _Endpoints,
    sleep: Callable[[float], Awaitable[Any]],
) -> T:
    """A block, read again from another endpoint while its parts contradict each other.

    Raises
    ------
    ChainInconsistent : the contradiction stays
    """
    for attempt in range(READS - 1):
        try:
            return await read(number)
        except ChainInconsistent:
            endpoints.contradicted()
            await sleep(0.1 * 2**attempt)
    try:
        return await read(number)
    except ChainInconsistent as error:
        raise ChainInconsistent(f"{name}: {error} ({endpoints.endpoint})") from None
