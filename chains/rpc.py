"""Requests to HTTP endpoints: rotation, retry, back-off.

`HttpPool` sends a request to the endpoint that answered last; where that fails it goes to the next one at once, and
waits (exponential back-off, full jitter, ``Retry-After`` honoured) only after a whole round of endpoints. Everything
that goes wrong is a `ChainUnavailable` that names endpoints by host and port alone: keys live in the user info, the
path and the query of an endpoint.
"""

from __future__ import annotations

import asyncio
import email.utils
import itertools
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import urlsplit

import aiohttp
import msgspec
from yarl import URL

from chains.exchange import (
    Exchange,
    MethodUnsupported,
    Refused,
    RpcError,
    Unusable,
    backoff,
    clean,
    reason,
    redact,
)
from chains.jsonrpc import JsonRpc
from monitor.errors import ChainUnavailable, ConfigError

__all__ = ["Exchange", "HttpPool", "JsonRpc", "MethodUnsupported", "Refused", "RpcError", "Unusable", "clean", "redact"]

log = logging.getLogger(__name__)
T = TypeVar("T")
Sleep = Callable[[float], Awaitable[Any]]

LONGEST_PAUSE = 60.0  # seconds: an endpoint that asks for more is left to the caller
_BUSY = frozenset({408, 425, 429})  # besides 5xx: the same request may succeed later


class _Failure(Exception):
    """One attempt at one endpoint that failed: why, and how long it asked us to wait."""

    def __init__(self, reason: str, *, status: int = 0, final: bool = False, pause: float | None = None) -> None:
        super().__init__(reason)
        self.reason, self.status, self.final, self.pause = reason, status, final, pause
        self.detail = ""


class HttpPool:
    """HTTP requests to one of several endpoints that serve the same chain.

    Parameters
    ----------
    endpoints : URLs, with their secrets, in order of preference
    timeout : seconds for one attempt, from connecting to the last byte
    attempts : tries a request over all endpoints together (each endpoint is tried at least once)
    rng, sleep : the source of jitter and the pause, for tests
    on_connect : awaited with a pool of one endpoint before that endpoint's first use, until it has passed once. A
        `ChainUnavailable` from it counts as a failed attempt, any other error reaches the caller.
    """

    def __init__(
        self,
        endpoints: Sequence[str],
        *,
        timeout: float = 10.0,
        attempts: int = 4,
        rng: random.Random | None = None,
        sleep: Sleep = asyncio.sleep,
        on_connect: Callable[[HttpPool], Awaitable[None]] | None = None,
    ) -> None:
        if not endpoints:
            raise ConfigError("a chain needs at least one http:// or https:// endpoint")
        for url in endpoints:
            if urlsplit(url).scheme not in ("http", "https") or redact(url).startswith("("):
                raise ConfigError(f"endpoint {redact(url)} is not an http:// or https:// URL")
        self._endpoints = tuple(endpoints)
        self._timeout = timeout
        self._attempts = attempts
        self._rng = rng or random.Random()
        self._sleep = sleep
        self._on_connect = on_connect
        self._checked: set[int] = set()
        self._current = 0
        self._session: aiohttp.ClientSession | None = None

    def __repr__(self) -> str:
        return f"HttpPool({', '.join(map(redact, self._endpoints))})"

    @property
    def endpoint(self) -> str:
        """The redacted name of the endpoint that answered last (the first one before any answer)."""
        return redact(self._endpoints[self._current])

    async def check(self) -> None:
        """Run ``on_connect`` for every endpoint that has not passed it yet.

        Raises
        ------
        ChainUnavailable : no endpoint could be reached; those that could not are checked at their first use
        ChainError : what ``on_connect`` found wrong
        """
        failures: dict[int, _Failure] = {}
        for index in range(len(self._endpoints)):
            try:
                await self._check(index)
            except _Failure as failure:
                failures[index] = failure
        if len(failures) == len(self._endpoints):
            raise self._give_up("", failures)

    def rotate(self) -> None:
        """Prefer the next endpoint from now on (the current one lags, or contradicts itself)."""
        self._current = (self._current + 1) % len(self._endpoints)

    async def get(self, path: str, params: Mapping[str, Any] | None = None) -> Any:
        """The JSON answer to GET ``path`` (appended to the endpoint's own path) with query ``params``.

        Raises
        ------
        Refused : every endpoint answered with a status that no retry cures
        ChainUnavailable : no endpoint gave a usable answer
        """
        return await self._rounds("GET", path, params, None, msgspec.json.decode, path)

    async def post(self, path: str, body: Any) -> Any:
        """The JSON answer to POST ``path`` with ``body`` as JSON; errors as in `get`."""
        return await self._rounds("POST", path, None, msgspec.json.encode(body), msgspec.json.decode, path)

    async def exchange(self, body: bytes, decode: Callable[[bytes], T], what: str) -> T:
        """POST ``body`` to the endpoint itself (JSON-RPC); see `Exchange`."""
        return await self._rounds("POST", "", None, body, decode, what, rpc=True)

    def scrub(self, text: object) -> str:
        """Text of an endpoint on one short line, without the secrets of any endpoint."""
        return clean(text, *self._endpoints)

    async def aclose(self) -> None:
        """Close connections; calling it twice is fine."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _rounds(
        self,
        verb: str,
        path: str,
        params: Mapping[str, Any] | None,
        body: bytes | None,
        decode: Callable[[bytes], T],
        what: str,
        rpc: bool = False,
    ) -> T:
        order = [(self._current + i) % len(self._endpoints) for i in range(len(self._endpoints))]
        failures: dict[int, _Failure] = {}
        tries = max(self._attempts, len(order))
        for round_number in itertools.count():
            for index in order[: max(0, tries)]:
                tries -= 1
                try:
                    await self._check(index)
                    answer = await self._once(index, verb, path, params, body, decode, rpc)
                except _Failure as failure:
                    failures[index] = failure
                    log.debug("%s: %s: %s", redact(self._endpoints[index]), what, failure.reason)
                else:
                    self._current = index
                    return answer
            order = [i for i in order if not failures[i].final] if tries > 0 else []
            pause = self._pause(round_number, [failures[i].pause for i in order])
            if not order or pause > LONGEST_PAUSE:
                break
            await self._sleep(pause)
        raise self._give_up(what, failures)

    def _pause(self, round_number: int, asked: Sequence[float | None]) -> float:
        """Seconds to wait: random up to the back-off, but at least the shortest pause that was asked for."""
        return max(min((a or 0.0 for a in asked), default=0.0), backoff(self._rng, round_number))

    def _give_up(self, what: str, failures: Mapping[int, _Failure]) -> ChainUnavailable:
        names = {i: redact(self._endpoints[i]) for i in failures}
        reasons = "; ".join(f"{names[i]}: {f.reason}" for i, f in failures.items())
        message = f"{clean(what)}: {reasons}" if what else reasons
        last = list(failures.values())[-1]
        if all(f.final for f in failures.values()):
            return Refused(message, last.status, last.detail)
        asked = [f.pause for f in failures.values() if not f.final]
        return ChainUnavailable(message, min((a for a in asked if a is not None), default=None))

    async def _check(self, index: int) -> None:
        if self._on_connect is None or index in self._checked:
            return
        url = self._endpoints[index]
        probe = HttpPool([url], timeout=self._timeout, attempts=1, rng=self._rng, sleep=self._sleep)
        try:
            await self._on_connect(probe)
        except ChainUnavailable as error:
            reason = str(error).rpartition(f"{redact(url)}: ")[2]
            raise _Failure(reason, final=isinstance(error, Refused), pause=error.retry_after) from None
        finally:
            await probe.aclose()
        self._checked.add(index)

    async def _once(
        self,
        index: int,
        verb: str,
        path: str,
        params: Mapping[str, Any] | None,
        body: bytes | None,
        decode: Callable[[bytes], T],
        rpc: bool,
    ) -> T:
        url = self._endpoints[index]
        try:
            status, retry_after, data = await self._send(verb, _target(url, path, params), body)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise _Failure(reason(error, self._timeout)) from None
        # A JSON-RPC error may come with any status; one that carries it is an answer like another.
        if status < 300 or (rpc and status not in (401, 403, 429, 503)):
            try:
                return decode(data)
            except Unusable as error:
                raise _Failure(clean(error, url), status=status, final=error.final) from None
            except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
                if status < 300:
                    kind = "unexpected answer" if isinstance(error, msgspec.ValidationError) else "answer is not JSON"
                    raise _Failure(f"{kind}: {clean(error, url, length=100)}") from None
        raise _status_failure(url, status, retry_after, data)

    async def _send(self, verb: str, url: URL, body: bytes | None) -> tuple[int, str | None, bytes]:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=self._timeout))
        headers = {"Content-Type": "application/json"} if body is not None else {}
        # A redirect would turn POST into GET, and could carry a key to another host.
        async with self._session.request(verb, url, data=body, headers=headers, allow_redirects=False) as response:
            return response.status, response.headers.get("Retry-After"), await response.read()


def _target(endpoint: str, path: str, params: Mapping[str, Any] | None) -> URL:
    url = URL(endpoint)
    if path:
        query = url.query
        url = url.with_path(f"{url.raw_path.rstrip('/')}/{path.lstrip('/')}", encoded=True).with_query(query)
    return url.update_query(dict(params)) if params else url


def _status_failure(url: str, status: int, retry_after: str | None, data: bytes) -> _Failure:
    if status >= 500 or status in _BUSY:
        return _Failure(f"HTTP {status}", status=status, pause=_seconds(retry_after))
    failure = _Failure(f"HTTP {status}", status=status, final=True)
    try:
        told = msgspec.json.decode(data)
        failure.detail = clean(told.get("message") or told.get("error") or "", url)
    except (msgspec.DecodeError, AttributeError, UnicodeError, RecursionError):
        pass
    if failure.detail:
        failure.reason += f" ({failure.detail})"
    return failure


def _seconds(retry_after: str | None) -> float | None:
    """``Retry-After`` (seconds, or an HTTP date) in seconds from now; None where it says nothing usable."""
    if not retry_after:
        return None
    text = retry_after.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None
