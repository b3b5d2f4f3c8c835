"""Keeping the price book fresh beside the watching: trouble is logged when it begins and when it ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from monitor.prices.book import PriceBook

__all__ = ["EVERY", "Source", "keep_fresh"]

log = logging.getLogger("heistwatch.prices")

EVERY = 60.0  # seconds between two readings


class Source(Protocol):
    """Where prices come from."""

    @property
    def name(self) -> str:
        """For the log, without secrets."""
        ...

    async def refresh(self, book: PriceBook) -> list[str]:
        """Ask once and add what is told; returns what is wrong, in words. Never raises for trouble of the source."""
        ...

    async def aclose(self) -> None:
        """Close connections."""
        ...


async def keep_fresh(
    source: Source,
    book: PriceBook,
    every: float = EVERY,
    sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
) -> None:
    """Until cancelled: read prices, wait, again."""
    known: list[str] = []
    try:
        while True:
            problems = await source.refresh(book)
            if problems and problems != known:
                log.warning("prices from %s: %s", source.name, "; ".join(problems[:5]))
            elif known and not problems:
                log.info("prices from %s are back", source.name)
            known = problems
            await sleep(every)
    finally:
        await source.aclose()
