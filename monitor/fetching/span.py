"""The blocks that a fetch is about: bounds against the chain's head, and which of them are final."""

from __future__ import annotations

from dataclasses import dataclass

from monitor.errors import ConfigError
from monitor.fetching.bounds import Bound, TimeOf, block_from
from monitor.ids import iso

__all__ = ["Span", "span_of"]


@dataclass(frozen=True, slots=True)
class Span:
    """Blocks ``first`` to ``end`` (exclusive) of a chain whose newest is ``head``; above ``final`` is not final yet."""

    first: int
    end: int
    head: int
    final: int


async def span_of(
    start: Bound,
    end: Bound | None,
    *,
    head: int,
    final: int,
    lowest: int,
    block_seconds: float,
    time_of: TimeOf,
) -> Span:
    """What bounds come to.

    Parameters
    ----------
    end : None means all blocks that are final
    head, final : heights of the newest block, and of the newest that counts as final
    lowest : the chain's first block

    Raises
    ------
    ConfigError : there is no such block, or none between the bounds
    """

    async def number(bound: Bound) -> int:
        if bound.number is not None:
            return bound.number
        assert bound.time is not None
        return await block_from(time_of, bound.time, lowest, head, block_seconds)

    first = max(lowest, await number(start))
    if first > head:
        what = f"block {first}" if start.number is not None else f"block from {iso(start.time)} on"
        raise ConfigError(f"--from: the chain has no {what} yet, its newest is {head}")
    if end is None:
        if final < first:
            raise ConfigError(f"block {first} is not final yet (the newest is {head}): say with --to how far to go")
        return Span(first, final + 1, head, final)
    stop = await number(end)
    if stop > head + 1:
        raise ConfigError(f"--to was {stop}, but the chain's newest block is {head}: at most {head + 1}")
    if stop <= first:
        raise ConfigError(f"there is no block from {first} (inclusive) to {stop} (exclusive)")
    return Span(first, stop, head, final)
