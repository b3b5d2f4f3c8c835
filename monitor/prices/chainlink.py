"""Prices from Chainlink feeds, read through the chains' own endpoints.

Source: Chainlink's ``AggregatorV3Interface`` (``latestRoundData``, ``decimals``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from monitor.errors import ChainError
from monitor.prices.book import PriceBook

__all__ = ["ChainlinkPrices", "Feed"]

LATEST_ROUND_DATA = "0xfeaf968c"
DECIMALS = "0x313ce567"


class Calls(Protocol):
    """A chain whose contracts can be asked."""

    async def call(self, to: str, data: str) -> tuple[str, int] | None:
        """(what a contract answers as hex, time of the block after which); None where it gives no answer."""


@dataclass(frozen=True, slots=True)
class Feed:
    """A feed's contract on a chain (CAIP-2), and the asset (CAIP-19) whose price it tells."""

    asset: str
    chain: str
    contract: str


class ChainlinkPrices:
    """A source of prices, see `monitor.prices.refresh.Source`.

    Parameters
    ----------
    feeds : what to read
    chains : by CAIP-2
    max_age : seconds after its last update for which a feed's answer is believed; feeds move at least once a day
    """

    name = "chainlink"

    def __init__(self, feeds: tuple[Feed, ...], chains: Mapping[str, Calls], max_age: int = 90_000) -> None:
        self._feeds, self._chains, self._max_age = feeds, chains, max_age
        self._decimals: dict[Feed, int] = {}

    async def refresh(self, book: PriceBook) -> list[str]:
        """Read every feed once; what is wrong, in words."""
        problems = []
        for feed in self._feeds:
            try:
                problem = await self._read(feed, book)
            except ChainError as error:
                problem = str(error)
            if problem:
                problems.append(f"feed {feed.contract}: {problem}")
        return problems

    async def _read(self, feed: Feed, book: PriceBook) -> str:
        chain = self._chains.get(feed.chain)
        if chain is None:
            return f"{feed.chain} is not followed"
        if feed not in self._decimals:
            words = _words(await chain.call(feed.contract, DECIMALS), 1)
            if words is None or words[0] > 77:
                return "it tells no decimals: is it a feed?"
            self._decimals[feed] = words[0]
        told = await chain.call(feed.contract, LATEST_ROUND_DATA)
        words = _words(told, 5)
        if told is None or words is None:
            return "it tells no price: is it a feed?"
        answer, updated, at = words[1], words[3], told[1]
        if not 0 < answer < 2**255:
            return "its price is not above zero"
        if updated > at + 3600 or at - updated > self._max_age:
            return f"its price is {at - updated} s old"
        book.add(feed.asset, at, answer / 10 ** self._decimals[feed])
        return ""

    async def aclose(self) -> None:
        """Nothing of its own is open."""


def _words(told: tuple[str, int] | None, count: int) -> list[int] | None:
    """The first 32-byte words of an answer as numbers; None where there are fewer."""
    try:
        data = bytes.fromhex(told[0].removeprefix("0x")) if told is not None else b""
    except ValueError:
        return None
    if len(data) < 32 * count:
        return None
    return [int.from_bytes(data[32 * i : 32 * i + 32]) for i in range(count)]
