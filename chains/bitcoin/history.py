"""Past blocks of the Bitcoin family, on connections of their own and at a bounded rate."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Container, Sequence
from typing import Any

from chains.base import ChainSpec, EndpointState, Stretch
from chains.bitcoin.base import Fetched
from chains.bitcoin.decode import decode_block
from chains.bitcoin.prevouts import Prevouts
from chains.bitcoin.sources import Sources
from chains.bitcoin.watched import WatchedScripts
from chains.bitcoin.watcher import network_of
from chains.exchange import Refused
from monitor.errors import ChainInconsistent, HistoryRefused
from monitor.model import Block

__all__ = ["BitcoinHistory"]


class BitcoinHistory:
    """See `chains.base.History`.

    Parameters
    ----------
    spec, watch : as for `chains.bitcoin.watcher.BitcoinChain`; the connections are others than those of the watcher
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
        self._network = network_of(spec)
        self._source = Sources(spec, self._network, rate=rate, sleep=sleep, clock=clock)
        self._watched = WatchedScripts(watch, self._network)
        self._prevouts = Prevouts(self._source, self._watched)
        self._opening = asyncio.Lock()
        self._opened = False

    async def time_of(self, number: int) -> int:
        """The time of a block, UTC seconds."""
        return (await self._fetch(number)).raw.header.time

    async def history(self, start: int, end: int) -> Stretch:
        """Blocks ``start`` to ``end`` (exclusive), each with what is watched when it is read.

        Raises
        ------
        HistoryRefused : no endpoint has these blocks
        ChainUnavailable, ChainInconsistent : ask again later
        """
        blocks = await self._blocks(start, end)
        first, last = blocks[0], blocks[-1]
        touching = tuple(block for block in blocks if block.transfers)
        spots = tuple(dict.fromkeys(spot for block in blocks for spot in block.blind_spots))
        return Stretch(
            first.ref, first.parent_hash, last.ref, first.timestamp, last.timestamp, last.source, spots, touching,
            tuple((block.ref.hash, block.timestamp) for block in blocks),
        )  # fmt: skip

    def contradicted(self) -> None:
        """What was read does not fit what was read elsewhere: another endpoint is preferred for a while."""
        self._source.contradicted()

    def endpoints(self) -> Sequence[EndpointState]:
        """What each endpoint is worth now."""
        return self._source.endpoints()

    async def aclose(self) -> None:
        """Close connections; calling it twice is fine."""
        await self._source.aclose()

    async def _blocks(self, start: int, end: int) -> list[Block]:
        blocks: list[Block] = []
        for number in range(start, end):
            fetched = await self._fetch(number)
            size = -1
            while size != self._watched.size:  # a gap limit moved with it
                size = self._watched.size
                found = await self._prevouts.of_block(fetched)
            block = decode_block(fetched, number, found, self._watched, self._network)
            if blocks and block.parent_hash != blocks[-1].ref.hash:
                raise ChainInconsistent(f"{self.spec.name}: block {number} does not follow block {number - 1}")
            blocks.append(block)
        return blocks

    async def _fetch(self, number: int) -> Fetched:
        async with self._opening:
            if not self._opened:
                await self._source.open()
                self._opened = True
        try:
            return await self._source.block(number, await self._source.hash_at(number))
        except Refused as error:
            raise HistoryRefused(f"{self.spec.name}: no endpoint gives block {number}: {error}") from None
