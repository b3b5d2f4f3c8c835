"""The nodes of one EVM chain: their connections, who lags, what they offer, and when to look for a new block.

Subscriptions wake, polling decides: what a ``ws://`` or ``wss://`` endpoint tells by itself only makes the next look
come sooner. Calls go over it too, after HTTP endpoints of the same weight.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from chains.base import ChainSpec, EndpointState
from chains.batching import BatchSizes
from chains.endpoints.heads import HeadWatch
from chains.evm.capabilities import HOLDS, Capabilities, ask_offering, probe
from chains.exchange import MethodUnsupported, redact
from chains.patience import Standstill
from chains.rpc import HttpPool, JsonRpc, Single
from chains.websocket import Note
from monitor.errors import ChainError, ChainUnavailable, ConfigError
from monitor.networks import by_chain

__all__ = ["EvmNodes"]

log = logging.getLogger(__name__)

FASTEST_POLL = 0.05  # seconds
STALL_BLOCKS = 10  # block times without a new head before another endpoint is preferred
STALL_SECONDS = 30.0  # at least
COMPARE_BLOCKS, COMPARE_SECONDS = 4, 15.0  # the heads of all endpoints are compared so often, whichever is longer
SILENT_BLOCKS, SILENT_SECONDS = 1.5, 2.0  # and after so long without news


class _Head(msgspec.Struct):
    number: str | None = None
    hash: str | None = None


class EvmNodes:
    """All endpoints of one chain.

    Parameters
    ----------
    spec : with their URLs, weights and rates
    sleep, clock, rng : pause, monotonic time and jitter

    Attributes
    ----------
    pool : the endpoints as one `Exchange`
    rpc : calls to whichever of them is best
    capabilities : what each of them offers
    """

    def __init__(
        self,
        spec: ChainSpec,
        *,
        sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
    ) -> None:
        self.spec = spec
        self._sleep, self._clock = sleep, clock
        self.pool = HttpPool(
            spec.endpoints, timeout=spec.timeout_seconds, rng=rng, sleep=sleep, clock=clock, on_connect=self._greet,
            terms=spec.terms, notify=self._told,
        )  # fmt: skip
        _check_quorum(spec)
        self._ids, self._sizes = itertools.count(1), BatchSizes()
        for endpoint in self.pool.endpoints:
            if endpoint.limiter is not None:
                self._sizes.bound(endpoint.name, endpoint.limiter.most)
        self.rpc = JsonRpc(self.pool, self._ids, self._sizes)
        self.capabilities = Capabilities(clock)
        seconds = network.block_seconds if (network := by_chain(spec.chain)) else 12.0
        self._block_seconds = seconds
        self._poll = max(FASTEST_POLL, spec.poll_seconds or min(seconds, 4.0) / 2)
        self._heads = HeadWatch(spec.name, self.pool, seconds, clock)
        self._standstill = Standstill(spec.name, self.pool, max(STALL_SECONDS, STALL_BLOCKS * seconds), clock)
        self._compared_at = clock()
        self._probed_at: float | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._news = asyncio.Event()
        self._last_told: str | None = None

    def rpc_of(self, name: str) -> JsonRpc:
        """Calls to one endpoint alone, by its redacted name."""
        return JsonRpc(self.pool.only(name), self._ids, self._sizes)

    async def ask(self, capability: str, method: str, *params: Any, type: Any = Any) -> Any:
        """A call at an endpoint that offers ``capability`` (see `chains.evm.capabilities`), whichever that is.

        Raises
        ------
        MethodUnsupported : none does
        ChainUnavailable : those that may gave no answer
        """
        return await ask_offering(
            self.capabilities, self.pool.names, self.rpc_of, capability, method, *params, type=type
        )

    async def open(self) -> None:
        """Check the chain id of every endpoint that can be reached; see `Pool.check`."""
        await self.pool.check()

    async def probe(self) -> None:
        """Ask every endpoint for what is not known of it; those that do not answer stay unknown."""
        await asyncio.gather(*(self._probe(name) for name in self.pool.names))

    def saw_head(self, name: str, number: int) -> None:
        """An endpoint told its newest block; now and then the others are asked too, beside what goes on."""
        self._heads.see(name, number)
        self._standstill.see(number)
        if len(self.pool.endpoints) > 1 and self._is_due():
            self._compared_at = self._clock()
            self._beside(self.compare())

    async def compare(self) -> None:
        """Ask the other endpoints for their heads."""

        async def ask(name: str) -> None:
            try:
                self._heads.see(name, int(await self.rpc_of(name).call("eth_blockNumber", type=str), 16))
            except (ChainUnavailable, TypeError, ValueError):
                pass  # counted with the endpoint; its circuit says the rest

        await asyncio.gather(*(ask(name) for name in self.pool.names if name != self.pool.endpoint))

    def states(self) -> Sequence[EndpointState]:
        """All endpoints, in the order of the configuration."""
        return [replace(state, offers=self.capabilities.of(state.name)) for state in self.pool.states()]

    async def wake(self) -> None:
        """Return at a new head's notification, or after the poll interval; beside it, now and then, `probe`."""
        if self._probed_at is None or self._clock() - self._probed_at > HOLDS:
            self._probed_at = self._clock()
            self._beside(self.probe())
        if not self.pool.has_sockets:
            await self._sleep(self._poll)
            return
        self.pool.listen()
        try:
            async with asyncio.timeout(self._poll):
                await self._news.wait()
        except TimeoutError:
            pass
        self._news.clear()

    async def aclose(self) -> None:
        """Close connections; calling it twice is fine."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.pool.aclose()

    def _beside(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name=f"nodes of {self.spec.name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _is_due(self) -> bool:
        now = self._clock()
        since = now - self._compared_at
        if since >= max(COMPARE_SECONDS, COMPARE_BLOCKS * self._block_seconds):
            return True
        silent = now - self._heads.news_at > max(SILENT_SECONDS, SILENT_BLOCKS * self._block_seconds)
        return silent and since >= max(SILENT_SECONDS, self._block_seconds)

    async def _probe(self, name: str) -> None:
        try:
            rpc = self.rpc_of(name)
            await probe(self.capabilities, rpc)
            await rpc.batch([("eth_chainId", [])] * 2)
        except ChainUnavailable as error:
            log.info("%s: %s", self.spec.name, error)
            return
        (self.capabilities.refuse if self._sizes.of(name) == 1 else self.capabilities.offer)(name, "batch")

    async def _greet(self, single: Single) -> None:
        rpc = JsonRpc(single, self._ids, self._sizes)
        answer = await rpc.call("eth_chainId", type=str)
        try:
            served = f"eip155:{int(answer, 16)}"
        except (TypeError, ValueError):
            raise ChainUnavailable(f"{single.endpoint}: unreadable chain id") from None
        if served != self.spec.chain:
            raise ChainError(f"endpoint {single.endpoint} serves {served}, configuration says {self.spec.chain}")
        if single.transport == "ws":
            try:
                await rpc.call("eth_subscribe", "newHeads")
            except MethodUnsupported:
                log.info("%s: %s offers no subscription, polling instead", self.spec.name, single.endpoint)

    def _told(self, name: str, note: Note | None) -> None:
        """A subscription told of a head, or may have missed one: look now, unless another told of it before."""
        head = _Head()
        if note is not None:
            try:
                head = msgspec.json.decode(note.result, type=_Head)
                if head.number is not None:
                    self._heads.see(name, int(head.number, 16))
            except (msgspec.DecodeError, ValueError):
                pass  # a hint all the same
        if head.hash is not None and head.hash == self._last_told:
            return
        self._last_told = head.hash
        self._news.set()


def _check_quorum(spec: ChainSpec) -> None:
    """ConfigError where the quorum can never be reached."""
    hosts = {redact(url) for url in spec.endpoints}
    if spec.quorum > len(hosts):
        raise ConfigError(
            f"chain {spec.name}: quorum is {spec.quorum}, but its endpoints are at {len(hosts)} different hosts"
        )
