"""Prices from an HTTP service that answers JSON: one request for all assets, at an interval, kept until the next."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

import aiohttp
from yarl import URL

from monitor.prices.book import PriceBook

__all__ = ["HttpPrices"]

LARGEST = 4 * 2**20  # bytes of an answer


class HttpPrices:
    """A source of prices, see `monitor.prices.refresh.Source`.

    Parameters
    ----------
    url : with ``{ids}`` for the ids of all assets, joined by commas; it is a secret
    ids : the service's id of each asset, by CAIP-19
    pick : where in the answer a price lies: keys joined by points, ``{id}`` for the id
    timeout : seconds
    clock : UTC seconds
    """

    def __init__(
        self,
        url: str,
        ids: Mapping[str, str],
        pick: str = "{id}.usd",
        timeout: float = 10.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._url, self._ids, self._pick, self._timeout, self._clock = url, dict(ids), pick, timeout, clock
        self._session: aiohttp.ClientSession | None = None
        self._tag = ""  # of the last answer: the service may say that nothing changed
        self._last: Any = None

    @property
    def name(self) -> str:
        """Host of the service, without what may be a key."""
        return URL(self._url).host or "prices"

    async def refresh(self, book: PriceBook) -> list[str]:
        """Ask once; what is wrong, in words, one line an asset or one for all."""
        try:
            answer = await self._ask()
        except TimeoutError:
            return [f"no answer within {self._timeout:g} s"]
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return [f"no prices ({type(error).__name__})"]
        if isinstance(answer, str):
            return [answer]
        now, problems = int(self._clock()), []
        for asset, ident in self._ids.items():
            try:
                book.add(asset, now, float(_at(answer, self._pick.replace("{id}", ident))))
            except (LookupError, TypeError, ValueError):
                problems.append(f"no price of {ident}")
        return problems

    async def _ask(self) -> Any:
        """The decoded answer; text says why there is none."""
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=self._timeout))
        url = URL(self._url.replace("{ids}", ",".join(dict.fromkeys(self._ids.values()))), encoded=False)
        headers = {"Accept": "application/json", **({"If-None-Match": self._tag} if self._tag else {})}
        async with self._session.get(url, headers=headers, allow_redirects=False) as response:
            if response.status == 304 and self._last is not None:
                return self._last
            if response.status != 200:
                return f"HTTP {response.status}"
            body = await response.content.read(LARGEST + 1)
            while len(body) <= LARGEST and (more := await response.content.read(LARGEST)):
                body += more
            if len(body) > LARGEST:
                return f"an answer of more than {LARGEST:,} bytes"
            self._last, self._tag = _decoded(body), response.headers.get("ETag", "")
            return self._last

    async def aclose(self) -> None:
        """Close connections; calling it twice is fine."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()
            await asyncio.sleep(0)


def _decoded(body: bytes) -> Any:
    import msgspec

    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        raise ValueError("not JSON") from None


def _at(answer: Any, path: str) -> Any:
    """What lies at ``a.b.c``; a number as key is a place in a list."""
    for key in path.split("."):
        answer = answer[int(key)] if isinstance(answer, list) else answer[key]
    return answer
