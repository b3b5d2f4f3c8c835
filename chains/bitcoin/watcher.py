"""The chain watcher of the Bitcoin family: heads, checked blocks, balances.

A block is asked for by the hash that the source gives for its height, and taken only where its header has that hash,
its transactions the merkle root, and the header the work: nothing of two blocks can mix. What its inputs spend is found
by `chains.bitcoin.prevouts`. ZMQ and polling only say when to look.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Container, Mapping, Sequence
from dataclasses import replace
from typing import Any

from chains.base import ChainSpec, EndpointState
from chains.bitcoin.balances import Balances
from chains.bitcoin.decode import decode_block
from chains.bitcoin.prevouts import Prevouts
from chains.bitcoin.sources import Sources, feeds_of
from chains.bitcoin.watched import WatchedScripts
from chains.bitcoin.zmq_feed import ZmqFeed
from chains.patience import Standstill, read_again
from monitor.errors import ConfigError
from monitor.model import Block, BlockRef
from monitor.networks import Network, by_chain

__all__ = ["BitcoinChain", "network_of"]

POLL_SECONDS, POLL_COSTLY = 2.0, 15.0  # of a node, of a service that counts requests
STALL_BLOCKS, STALL_SECONDS = 10, 600.0  # without a new head before another endpoint is preferred
SIZES = 256  # blocks of which is remembered how much was watched when they were read


class BitcoinChain:
    """Bitcoin or one of its relatives; see `chains.base.Chain` for the contract of each method.

    Parameters
    ----------
    spec : ``chain`` is ``bip122:...``. Endpoints are nodes (JSON-RPC, user and password in the URL), Esplora or
        Blockbook services, and ``tcp://host:port`` where a node publishes ``hashblock`` and ``rawtx`` by ZMQ.
        ``options``: ``api`` (what all of them speak: ``auto``, ``rpc``, ``esplora``, ``blockbook``) and what describes
        a network that is not built in, see `monitor.networks`.
    watch : canonical addresses
    sleep, clock, rng : pause, monotonic time and jitter, for tests
    """

    def __init__(
        self,
        spec: ChainSpec,
        watch: Container[str],
        *,
        sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
    ) -> None:
        self.spec, self._sleep = spec, sleep
        self._network = network_of(spec)
        self.source = Sources(spec, self._network, sleep=sleep, clock=clock, rng=rng)
        self._watched = WatchedScripts(watch, self._network)
        self._prevouts = Prevouts(self.source, self._watched, spec.kept)
        self._balances = Balances(
            spec.name, self.source, self._watched, self._plain, self._prevouts.learn, clock
        )
        self._feed = ZmqFeed(feeds, only_blocks=True) if (feeds := feeds_of(spec)) else None
        stall = max(STALL_SECONDS, STALL_BLOCKS * self._network.block_seconds)
        self._standstill = Standstill(spec.name, self.source, stall, clock)
        self._sizes: OrderedDict[str, int] = OrderedDict()  # how much was watched when a block was read, by its hash

    def rotate(self) -> None:
        """Prefer another endpoint from now on."""
        self.source.rotate()

    def endpoints(self) -> Sequence[EndpointState]:
        """What each endpoint is worth now."""
        return self.source.endpoints()

    async def open(self) -> None:
        """Find out what the endpoints are, and check that they serve this chain.

        Raises
        ------
        ChainError : all serve another chain
        ChainUnavailable : none can be reached
        """
        await self.source.open()
        if hasattr(self._watched.watch, "used"):
            self._balances.look()  # coins show how far a descriptor is in use

    async def head(self) -> BlockRef:
        """The newest block; after a long standstill another endpoint is preferred."""
        head = await self.source.head()
        self._standstill.see(head.number)
        return head

    async def block(self, number: int) -> Block:
        """One block, read again a few times while what endpoints say contradicts itself.

        Raises
        ------
        ChainUnavailable : it is not there (yet)
        ChainInconsistent : the contradiction stays
        """
        block = await self._plain(number)
        if not self._balances.owes:
            return block
        return replace(block, balances=await self._balances.before(block, self._network.asset))

    def is_stale(self, block: Block) -> bool:
        """Whether more is watched now than when this block was read."""
        return self._sizes.get(block.ref.hash, self._watched.size) != self._watched.size

    async def balances(self, wanted: Sequence[tuple[str, str]], at: BlockRef) -> Mapping[tuple[str, str], int | None]:
        """Balances of the coin itself; None for what a source cannot tell, or not within seconds: see `Balances`."""
        mine = [address for address, asset in wanted if asset == self._network.asset]
        found = await self._balances.of(mine, at)
        return {
            (address, asset): found[address] if asset == self._network.asset else None for address, asset in wanted
        }

    async def wake(self) -> None:
        """Return when a node publishes a block, or after the poll interval."""
        usual = POLL_COSTLY if self.source.costly else POLL_SECONDS
        seconds = self.spec.poll_seconds or min(usual, self._network.block_seconds / 4)
        if self._feed is None:
            await self._sleep(seconds)
            return
        self._feed.start()
        try:
            async with asyncio.timeout(seconds):
                await self._feed.blocks.wait()
        except TimeoutError:
            pass
        self._feed.blocks.clear()

    async def aclose(self) -> None:
        """Close connections; calling it twice is fine."""
        await self._balances.aclose()
        if self._feed is not None:
            await self._feed.aclose()
        await self.source.aclose()

    async def _plain(self, number: int) -> Block:
        return await read_again(self._read, number, self.spec.name, self.source, self._sleep)

    async def _read(self, number: int) -> Block:
        fetched = await self.source.block(number, await self.source.hash_at(number))
        size = -1
        while size != self._watched.size:
            size = self._watched.size
            found = await self._prevouts.of_block(fetched)
        if self._prevouts.wants_coins:
            self._prevouts.wants_coins = False
            self._balances.look()
        block = decode_block(fetched, number, found, self._watched, self._network)
        self._sizes[block.ref.hash] = size
        self._sizes.move_to_end(block.ref.hash)
        if len(self._sizes) > SIZES:
            self._sizes.popitem(last=False)
        return block


def network_of(spec: ChainSpec) -> Network:
    """The network of a chain; ConfigError where it is none of this family."""
    network = spec.network or by_chain(spec.chain)
    if network is None or network.kind != "bitcoin":
        raise ConfigError(f"chain {spec.name}: {spec.chain!r} is no chain of the Bitcoin family (bip122:...)")
    return network
