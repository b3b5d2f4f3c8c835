"""Requests to HTTP endpoints: `HttpPool`, and what those who use it need.

Everything that goes wrong is a `ChainUnavailable` that names endpoints by host and port alone: keys live in the user
info, the path and the query of an endpoint.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec

from chains.base import Terms
from chains.endpoints.endpoint import Endpoint, Request, names_of
from chains.endpoints.http import HttpLink
from chains.endpoints.pool import Greeting, Pool, Sleep
from chains.endpoints.single import Single
from chains.exchange import Exchange, MethodUnsupported, Refused, RpcError, Unusable, clean, redact
from chains.jsonrpc import JsonRpc
from chains.websocket import Note, SocketLink
from monitor.errors import ConfigError

__all__ = [
    "Exchange",
    "HttpPool",
    "JsonRpc",
    "MethodUnsupported",
    "Refused",
    "RpcError",
    "Single",
    "Unusable",
    "clean",
    "redact",
]


T = TypeVar("T")


class HttpPool(Pool):
    """Requests to several endpoints that serve the same chain.

    Parameters
    ----------
    endpoints : URLs, with their secrets, in order of preference
    timeout : seconds for one attempt, from connecting to the last byte
    attempts : tries a request over all endpoints together (each endpoint is tried at least once)
    rng, sleep, clock : the source of jitter, the pause and monotonic seconds, for tests
    on_connect : see `chains.endpoints.pool.Pool`
    terms : weights and rates by URL
    notify : called with an endpoint's name and what a subscription told (None: something may have been missed); where
        it is given, ``ws://`` and ``wss://`` endpoints are taken too
    largest : bytes of an answer that are read at most; None: `chains.endpoints.http.LARGEST`
    """

    def __init__(
        self,
        endpoints: Sequence[str],
        *,
        timeout: float = 10.0,
        attempts: int = 4,
        rng: random.Random | None = None,
        sleep: Sleep = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
        on_connect: Greeting | None = None,
        terms: Mapping[str, Terms] | None = None,
        notify: Callable[[str, Note | None], None] | None = None,
        largest: int | None = None,
    ) -> None:
        schemes = ("http", "https") if notify is None else ("http", "https", "ws", "wss")
        wanted = " or ".join(f"{scheme}://" for scheme in schemes)
        if not endpoints:
            raise ConfigError(f"a chain needs at least one {wanted} endpoint")
        for url in endpoints:
            if redact(url).startswith("(") or urlsplit(url).scheme not in schemes:
                raise ConfigError(f"endpoint {redact(url)} is not an {wanted} URL")
        rng = rng or random.Random()
        super().__init__(attempts=attempts, rng=rng, sleep=sleep, clock=clock, on_connect=on_connect)
        self._listeners: list[asyncio.Task[None]] = []
        self._sockets: list[SocketLink] = []
        made = []
        for name, url in zip(names_of(endpoints), endpoints, strict=True):
            link: HttpLink | SocketLink
            if urlsplit(url).scheme in ("http", "https"):
                link = HttpLink(url, timeout=timeout, greet=self.greeting(name, url, "http"), largest=largest)
            else:
                link = self._socket(name, url, timeout, rng, notify)
            made.append(Endpoint(name, url, link, (terms or {}).get(url, Terms()), clock, sleep, rng))
        self._take(made)

    @property
    def has_sockets(self) -> bool:
        """Whether an endpoint may tell of new blocks by itself."""
        return bool(self._sockets)

    def listen(self) -> None:
        """Keep the sockets open for notifications from now on; calling it twice is fine."""
        if not self._listeners:
            self._listeners = [asyncio.create_task(socket.listen()) for socket in self._sockets]

    async def get(self, path: str, params: Mapping[str, Any] | None = None) -> Any:
        """The JSON answer to GET ``path`` (appended to the endpoint's own path) with query ``params``.

        Raises
        ------
        Refused : every endpoint answered with a status that no retry cures
        ChainUnavailable : no endpoint gave a usable answer
        """
        return await self._rounds(Request(None, "GET", path, params), msgspec.json.decode, path)

    async def read(self, path: str, decode: Callable[[bytes], T], params: Mapping[str, Any] | None = None) -> T:
        """What ``decode`` makes of the answer to GET ``path``; errors as in `get`, `Unusable` from it asks again."""
        return await self._rounds(Request(None, "GET", path, params), decode, path)

    async def post(self, path: str, body: Any) -> Any:
        """The JSON answer to POST ``path`` with ``body`` as JSON; errors as in `get`."""
        return await self._rounds(Request(msgspec.json.encode(body), "POST", path), msgspec.json.decode, path)

    async def aclose(self) -> None:
        """Close connections; calling it twice is fine."""
        listeners, self._listeners = self._listeners, []
        for listener in listeners:
            listener.cancel()
        await asyncio.gather(*listeners, return_exceptions=True)
        await super().aclose()

    def _socket(
        self, name: str, url: str, timeout: float, rng: random.Random, notify: Callable[[str, Note | None], None] | None
    ) -> SocketLink:
        def told(note: Note | None) -> None:
            if notify is not None:
                notify(name, note)

        link = SocketLink(
            url, timeout=timeout, notify=told, greet=self.greeting(name, url, "ws"), rng=rng, sleep=self._sleep
        )
        self._sockets.append(link)
        return link
