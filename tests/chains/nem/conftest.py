"""What tests of NEM share: a watcher's specification, moves, transactions, servers whose blocks are all visible."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

from chains.base import ChainSpec
from chains.nem.watcher import NemChain
from chains.recorded.nem import Move, RecordedNemServer
from chains.recorded.nem_blocks import Recording
from chains.recorded.pace import Pace

VICTIM = "NC3BI3DNMR2PGEOOMP2NKXQGSAKMS7GYRKVA5CSZ"
THIEF = "NC4C6PSUW5CLTDT5SXAGJDQJGZNESKFK5MCN77OG"
T0 = 1_516_892_520  # 2018-01-25T15:02:00Z


class FaultyNemServer(RecordedNemServer):
    """A node that may say that it is at height ``boast``, or answer for its head only when ``hold`` is set."""

    boast: int | None = None
    hold: asyncio.Event | None = None

    def _gets(self) -> dict[str, Any]:
        usual = super()._gets()
        usual["/chain/last-block"] = self._slowly(usual["/chain/last-block"])
        return usual

    def _slowly(self, usual: Any) -> Any:
        async def handler(request: web.Request) -> web.StreamResponse:
            if self.boast is not None:
                self.calls[request.path] += 1
                return web.json_response({**self.blocks[-1], "height": self.boast})
            answer: web.StreamResponse = await usual(request)
            if self.hold is not None:
                await self.hold.wait()
            return answer

        return handler


async def no_pause(_: float) -> None:
    """A pause that takes no time."""
    await asyncio.sleep(0)


def moves_of(count: int, *, start: int = T0, step: int = 60, value: int = 1_000_000) -> list[Move]:
    """Payments of the victim to the thief, one a block, each of another amount."""
    return [Move(start + step * n, VICTIM, THIEF, value + n) for n in range(count)]


@pytest.fixture
def moves() -> Callable[..., list[Move]]:
    """`moves_of`."""
    return moves_of


@pytest.fixture
def spec() -> Callable[..., ChainSpec]:
    """Makes a specification: URLs, and other fields than the usual ones."""

    def make(*urls: str, **fields: Any) -> ChainSpec:
        options: dict[str, Any] = {"chain": "nem:mainnet", "poll_seconds": 0.001, "timeout_seconds": 5.0, **fields}
        return ChainSpec("nem", "nem", endpoints=urls, **options)

    return make


Serve = Callable[..., Awaitable[FaultyNemServer]]


@pytest_asyncio.fixture
async def nis() -> AsyncIterator[Serve]:
    """Starts loopback nodes; ``shown`` blocks are visible (all unless said otherwise), more by ``pace.release``."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(recording: Recording, *, shown: int | None = None, **options: Any) -> FaultyNemServer:
            pace = Pace(manual=True)
            server = FaultyNemServer(recording, pace=pace, **options)
            await stack.enter_async_context(server)
            await pace.release((pace.total if shown is None else shown) - pace.visible)
            return server

        yield start


@pytest_asyncio.fixture
async def opened(spec: Callable[..., ChainSpec]) -> AsyncIterator[Callable[..., Awaitable[NemChain]]]:
    """Opens watchers over servers, without pauses."""
    chains: list[NemChain] = []

    async def start(*servers: RecordedNemServer, watch: Any = frozenset(), **fields: Any) -> NemChain:
        options: dict[str, Any] = {"replay": True, "options": {"signers": dict(servers[0]._signers)}} | fields
        chain = NemChain(spec(*(server.url for server in servers), **options), watch, sleep=no_pause)
        chains.append(chain)
        await chain.open()
        return chain

    yield start
    for chain in chains:
        await chain.aclose()
