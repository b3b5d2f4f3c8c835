"""Where a fetch begins and ends: block numbers, or times, whose block is found by bisection over headers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from monitor.errors import ConfigError
from monitor.ids import from_iso

__all__ = ["Bound", "block_from", "read_bound"]

TimeOf = Callable[[int], Awaitable[int]]


@dataclass(frozen=True, slots=True)
class Bound:
    """A block number or a time (UTC seconds); one of them is None."""

    number: int | None = None
    time: int | None = None


def read_bound(text: str, option: str) -> Bound:
    """A bound as the user wrote it; ConfigError says what was expected.

    >>> read_bound("17000000", "--from"), read_bound("2018-01-26", "--to")
    (Bound(number=17000000, time=None), Bound(number=None, time=1516924800))
    """
    text = text.strip()
    bare = text.replace("_", "").replace(",", "")
    if bare.isascii() and bare.isdigit():
        number = int(bare)
        if number >= 2**62:
            raise ConfigError(f"{option}: no chain has a block {number}")
        return Bound(number=number)
    try:
        return Bound(time=from_iso(text))
    except ValueError:
        raise ConfigError(
            f"{option} was {text!r}, expected a block number, or a time in ISO 8601 such as 2018-01-25T15:02:00Z"
        ) from None


async def block_from(time_of: TimeOf, time: int, low: int, head: int, block_seconds: float) -> int:
    """The first block whose time is ``time`` (UTC seconds) or later; ``head + 1`` where there is none yet.

    Headers alone are asked for: about twice the logarithm of the distance. It is looked for downwards from the head, so
    that a node without its oldest blocks can tell.

    Parameters
    ----------
    low : the chain's first block
    """
    now = await time_of(head)
    if now < time:
        return head + 1
    late = head  # at or after the time
    stride = max(1, int((now - time) / max(block_seconds, 0.01)))
    early = max(low - 1, head - stride)
    while early >= low and await time_of(early) >= time:
        late, stride = early, stride * 2
        early = max(low - 1, late - stride)
    while late - early > 1:
        middle = (early + late) // 2
        if await time_of(middle) >= time:
            late = middle
        else:
            early = middle
    return late


