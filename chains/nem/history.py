"""Past blocks of NEM, one request a block: a node lists an account's transactions, but not their place in the block."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Container
from typing import Any

from chains.base import ChainSpec, Stretch
from chains.nem.watcher import NemChain
from chains.nem.decode import BLIND_SPOTS, RawBlock, timestamp
from chains.rpc import Refused
from chains.throttle import Throttle
from monitor.errors import HistoryRefused

__all__ = ["NemHistory"]


class NemHistory:
    """See `chains.base.History`.

    Parameters
    ----------
    spec, watch : as for `chains.nem.watcher.NemChain`; the connections are others than those of the watcher
    rate : requests a second
    sleep, clock : pause and monotonic time, for tests
    """

    def __init__(
        self,
        spec: ChainSpec,
        watch: Container[str],
        rate: float,
        *,
        sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.spec = spec
        self._chain = NemChain(spec, watch, sleep=sleep)
        self._throttle = Throttle(rate, sleep=sleep, clock=clock)
        self._opened = False

    async def time_of(self, number: int) -> int:
        """The time of a block, UTC seconds."""
        return timestamp((await self._raw(number)).timeStamp)

    async def history(self, start: int, end: int) -> Stretch:
        """Blocks ``start`` to ``end`` (exclusive).

        They are read from the highest down, as the watcher does it: where the chain is rewritten meanwhile, it is the
        upper end that does not fit the block above it.

        Raises
        ------
        HistoryRefused : no endpoint has these blocks
        ChainUnavailable, ChainInconsistent : ask again later
        """
        raws = [await self._raw(number) for number in range(end - 1, max(0, start - 2), -1)]
        below: list[RawBlock | None] = [*raws[1:], None]
        blocks = [self._chain.decoded(*pair) for pair in zip(raws, below, strict=True)][: end - start][::-1]
        first, last = blocks[0], blocks[-1]
        touching = tuple(block for block in blocks if block.transfers or block.controls)
        return Stretch(
            first.ref, first.parent_hash, last.ref, first.timestamp, last.timestamp, last.source, BLIND_SPOTS, touching,
            tuple((block.ref.hash, block.timestamp) for block in blocks),
        )  # fmt: skip

    async def aclose(self) -> None:
        """Close connections; calling it twice is fine."""
        await self._chain.aclose()

    async def _raw(self, number: int) -> RawBlock:
        if not self._opened:
            await self._chain.open()
            self._opened = True
        await self._throttle.take()
        try:
            return await self._chain.raw(number)
        except Refused as error:
            raise HistoryRefused(f"{self.spec.name}: no endpoint gives block {number}: {error}") from None
