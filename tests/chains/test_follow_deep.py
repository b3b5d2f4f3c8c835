"""A chain that endpoints show rewritten below what can be undone: canned servers on two forks, over HTTP."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

from chains.base import BlockConnected, BlockDisconnected, ChainSpec
from chains.evm.watcher import EvmChain
from chains.follow import DEEP_READS, Follower
from chains.recorded.evm import RecordedEvmServer
from chains.recorded.evm_blocks import Draft, RecordedBlock, construct
from monitor.model import BlockRef

CHAIN = "eip155:31337"
OLD = construct(31337, [Draft(1_700_000_000 + n) for n in range(20)])
NEW = construct(31337, [Draft(1_700_000_500 + n, extra=b"new") for n in range(18)], parents=OLD[:4])
FINAL = 12  # blocks at or below cannot be undone


def ref(block: RecordedBlock) -> BlockRef:
    return BlockRef(CHAIN, block.number, block.hash)


@pytest.fixture
async def servers() -> AsyncIterator[tuple[RecordedEvmServer, RecordedEvmServer]]:
    """One on the old branch, one on the new."""
    async with RecordedEvmServer(31337, OLD) as old, RecordedEvmServer(31337, [*OLD[:4], *NEW]) as new:
        yield old, new


async def follow(urls: list[str], wanted: int) -> tuple[list[int], Follower, int]:
    """From the old tip until block ``wanted`` is connected, or 20 wakes: the events, and how many pauses.

    At each wake the next endpoint is preferred.
    """
    chain = EvmChain(ChainSpec("canned", "evm", CHAIN, tuple(urls), poll_seconds=0.01), set())
    pauses = 0
    enough = asyncio.Event()

    wakes = 0
    wake = chain.wake

    async def sleep(seconds: float) -> None:
        nonlocal pauses
        pauses += 1
        await asyncio.sleep(0)

    async def woken() -> None:
        nonlocal wakes
        wakes += 1
        if wakes >= 20:
            enough.set()
        await wake()
        chain.rotate()

    chain.wake = woken  # type: ignore[method-assign]

    async def ancestor(number: int) -> BlockRef:
        return ref(OLD[number])

    async def can_undo(number: int) -> bool:
        return number > FINAL

    follower = Follower(
        chain, tip=ref(OLD[-1]), ancestor=ancestor, can_undo=can_undo, sleep=sleep, rng=random.Random(1)
    )
    seen: list[int] = []

    async def consume() -> None:
        async with aclosing(follower.events()) as events:
            async for event in events:
                assert isinstance(event, BlockConnected | BlockDisconnected)
                number = event.block.ref.number if isinstance(event, BlockConnected) else -event.ref.number
                seen.append(number)
                if number == wanted:
                    enough.set()

    task: asyncio.Task[Any] = asyncio.create_task(consume())
    try:
        async with asyncio.timeout(20):
            await enough.wait()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await chain.aclose()
    return seen, follower, pauses


async def test_the_only_endpoint_is_believed_when_it_persists(servers: Any) -> None:
    """It is asked again a few times; then the new branch is followed from the fork on, and nothing ends."""
    seen, follower, pauses = await follow([servers[1].url], 21)
    assert seen == [*range(-19, -3), *range(4, 22)] and pauses >= DEEP_READS - 1
    assert follower.tip == ref(NEW[-1])


async def test_two_endpoints_that_agree(servers: Any) -> None:
    """A second endpoint that shows the same is enough."""
    async with RecordedEvmServer(31337, [*OLD[:4], *NEW]) as second:
        seen, follower, _ = await follow([servers[1].url, second.url], 21)
    assert seen == [*range(-19, -3), *range(4, 22)] and follower.tip == ref(NEW[-1])


async def test_an_endpoint_that_stands_alone_is_not_believed(servers: Any) -> None:
    """Where the other one still has the old branch, no final block is given up."""
    seen, follower, pauses = await follow([servers[1].url, servers[0].url], 999)
    assert pauses and not [number for number in seen if -FINAL <= number < 0] and follower.tip == ref(OLD[-1])
