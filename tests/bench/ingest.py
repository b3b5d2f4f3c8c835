"""Reading blocks with their receipts from a node on loopback: the watcher, a bare client and web3.py, in one run.

The bare client does two requests a block and typed decoding. The watcher does all that it does live: it compares
receipts with the block, screens every transaction and log against the watch set, and checks what it was given.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp

from chains.base import ChainSpec
from chains.evm.watcher import EvmChain
from tests.bench.canned import FIRST, bare, made, serving

BLOCKS = 32
ROUNDS = 7
AT_ONCE = 8  # requests under way, as the follower does while it catches up
PASSES = 6  # over the blocks in a round
Read = Callable[[int], Awaitable[Any]]


async def rate(read: Read, passes: int) -> tuple[float, float]:
    """(blocks a second, CPU ms a block in this process)."""
    limit = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> None:
        async with limit:
            await read(number)

    wall, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(one(FIRST + n) for _ in range(passes) for n in range(BLOCKS)))
    count = passes * BLOCKS
    return count / (time.perf_counter() - wall), 1000 * (time.process_time() - cpu) / count


async def main() -> None:
    """Alternating rounds, medians."""
    from web3 import AsyncHTTPProvider, AsyncWeb3

    watch = {f"0x{(number + 1) ** 13 * 7919 % 2**160:040x}": None for number in range(1_000)}
    found: dict[str, dict[str, Any]] = {}
    for name, transactions, other in (("300 tx, 550 logs", 300, 400), ("1,000 tx, 1,000 logs", 1000, 500)):
        answers = made(BLOCKS, transactions, other)
        with serving(answers) as url:
            chain = EvmChain(ChainSpec("bench", "evm", "eip155:1", (url,)), watch)
            await chain.open()
            web3 = AsyncWeb3(AsyncHTTPProvider(url))

            async def default(number: int, web3: Any = web3) -> None:
                block = await web3.eth.get_block(number, True)
                await web3.eth.get_block_receipts(block["hash"])

            async with aiohttp.ClientSession() as session:

                async def simple(number: int, session: aiohttp.ClientSession = session, url: str = url) -> None:
                    await bare(session, url, number)

                rounds: dict[str, list[tuple[float, float]]] = {"bare": [], "watcher": [], "web3": []}
                await rate(simple, 1), await rate(chain.block, 1)
                for turn in range(ROUNDS):
                    rounds["bare"].append(await rate(simple, PASSES))
                    rounds["watcher"].append(await rate(chain.block, PASSES))
                    if turn < 2:
                        rounds["web3"].append(await rate(default, 1))
            await chain.aclose()
            await web3.provider.disconnect()
        figures = {who: [statistics.median(p) for p in zip(*values, strict=True)] for who, values in rounds.items()}
        ratios = [w[0] / b[0] for b, w in zip(rounds["bare"], rounds["watcher"], strict=True)]
        found[name] = {
            "bare client, blocks/s": round(figures["bare"][0]),
            "watcher, blocks/s": round(figures["watcher"][0]),
            "watcher / bare client": round(statistics.median(ratios), 2),
            "AsyncWeb3, blocks/s": round(figures["web3"][0], 1),
            "watcher / AsyncWeb3": round(figures["watcher"][0] / figures["web3"][0], 1),
            "CPU a block, ms: bare, watcher, AsyncWeb3": " / ".join(f"{figures[w][1]:.2f}" for w in rounds),
        }
    print(json.dumps({f"{block}: {what}": value for block, part in found.items() for what, value in part.items()}))


if __name__ == "__main__":
    asyncio.run(main())
