"""What nodes call final, from a real node and from ones that do not say."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from chains.base import ChainSpec
from chains.evm.watcher import EvmChain

CHAIN = "eip155:31337"
SPEC = ChainSpec("local", "evm", CHAIN, (), finality="finalized")


class Clock:
    """A monotonic clock that stands still until it is moved."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def watcher() -> Any:
    """Make watchers that end with the test."""
    chains = []

    def make(url: str, clock: Clock, **more: Any) -> EvmChain:
        chains.append(EvmChain(replace(SPEC, endpoints=(url,), **more), frozenset(), clock=clock))
        return chains[-1]

    yield make
    for chain in chains:
        await chain.aclose()


async def test_the_tag_of_a_node(start_anvil: Callable[..., Awaitable[Any]], watcher: Any) -> None:
    """Two blocks below the head where the node says so, asked now and then; the depth asks nothing."""
    anvil, clock = await start_anvil("--slots-in-an-epoch", "1"), Clock()
    chain, safe = watcher(anvil.url, clock), watcher(anvil.url, clock, finality="safe")
    await anvil.rpc("anvil_mine", "0xa")
    assert (await chain.final_height(), await safe.final_height()) == (8, 9)
    await anvil.rpc("anvil_mine", "0xa")
    assert await chain.final_height() == 8  # remembered
    clock.now += 3600
    assert await chain.final_height() == 18
    assert await watcher(anvil.url, clock, finality="depth").final_height() is None


async def test_nobody_says(canned: Any, watcher: Any, fault: Any) -> None:
    """No tag, no block, nonsense, an answer below one before: never an error, never less than was told."""
    clock = Clock()
    chain = watcher(canned.url, clock)
    canned.methods["eth_chainId"] = "0x7a69"
    heights = []
    for answer in (
        fault(-32602, "unknown tag"), None, {"hash": "0x1", "number": "0x64"}, {"hash": "0x1", "number": "0x5a"},
        {"hash": "0x1", "number": "?"}, fault(-39001, "finalized block not found"),
    ):  # fmt: skip
        canned.methods["eth_getBlockByNumber"] = answer
        heights.append(await chain.final_height())
        clock.now += 3600
    assert heights == [None, None, 100, 100, 100, 100]
