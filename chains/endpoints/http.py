"""The HTTP connections to one endpoint."""

from __future__ import annotations

import asyncio
import email.utils
import io
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import aiohttp
import msgspec
from yarl import URL

from chains.endpoints.endpoint import Answer, Request, Send
from chains.endpoints.failure import Failure
from chains.exchange import Kind, clean, kind_of, reason

__all__ = ["LARGEST", "HttpLink", "status_failure"]

LARGEST = 256 * 2**20  # bytes an answer, unpacked: traces of a large block are tens of millions
LONGEST_REASON = 400  # bytes of a refusal in plain text; what is longer is a page
_SMALL = 2**16  # bytes of a request that are sent in one go
_BUSY = frozenset({408, 425, 429})  # besides 5xx: the same request may succeed later


class HttpLink:
    """HTTP to one endpoint; see `Link`.

    Parameters
    ----------
    url : with its secrets
    timeout : seconds for one attempt, from connecting to the last byte
    greet : awaited with `send` before the first answer is used, and after each answer over a new connection
    largest : bytes of an answer, unpacked, that are read at most; None: `LARGEST`
    """

    transport = "http"

    def __init__(
        self,
        url: str,
        *,
        timeout: float,
        greet: Callable[[Send], Awaitable[None]] | None = None,
        largest: int | None = None,
    ) -> None:
        self._url, self._timeout, self._greet = url, timeout, greet
        self._largest = LARGEST if largest is None else largest
        self._session: aiohttp.ClientSession | None = None
        self._opened = 0  # connections so far
        self._met: int | None = None  # connections when it was greeted last, None before
        self._meeting = asyncio.Lock()

    async def ask(self, request: Request) -> Answer:
        """See `Link`."""
        if self._greet is None:
            return await self.send(request)
        if self._met is None:
            await self._meet()
        answer = await self.send(request)
        if self._met is None or self._met < self._opened:  # what is behind the new connection may be another chain
            await self._meet()
        return answer

    async def meet(self) -> None:
        """See `Link`."""
        self._met = None
        await self._meet()

    async def aclose(self) -> None:
        """See `Link`."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def send(self, request: Request) -> Answer:
        """One request and its answer, without a greeting."""
        try:
            return await self._send(request)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise Failure(kind_of(error), reason(error, self._timeout)) from None

    async def _meet(self) -> None:
        if self._greet is None:
            return
        wanted = self._opened
        async with self._meeting:
            if self._met is not None and self._met >= wanted:
                return
            await self._greet(self.send)
            self._met = self._opened  # those of the greeting itself too

    async def _send(self, request: Request) -> Answer:
        if self._session is None:
            self._session = self._new_session()
        headers = {"Content-Type": "application/json"} if request.body is not None else {}
        target = _target(self._url, request.path, request.params)
        body = request.body if request.body is None or len(request.body) <= _SMALL else io.BytesIO(request.body)
        # A redirect would turn POST into GET, and could carry a key to another host.
        async with self._session.request(
            request.verb, target, data=body, headers=headers, allow_redirects=False
        ) as response:
            data = await self._read(response)
            return Answer(data, response.status, response.headers.get("Retry-After"))

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        """The body, which may be far larger than its packed form, up to a bound."""
        parts, size = [], 0
        async for part in response.content.iter_any():
            size += len(part)
            if size > self._largest:
                response.close()
                raise Failure(Kind.TOO_LARGE, f"answer of more than {self._largest:,} bytes", final=True)
            parts.append(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _new_session(self) -> aiohttp.ClientSession:
        async def opened(*_: Any) -> None:
            self._opened += 1

        trace = aiohttp.TraceConfig()
        trace.on_connection_create_end.append(opened)
        return aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=self._timeout), trace_configs=[trace] if self._greet else None
        )


def _target(endpoint: str, path: str, params: Mapping[str, Any] | None) -> URL:
    url = URL(endpoint)
    if path:
        query = url.query
        url = url.with_path(f"{url.raw_path.rstrip('/')}/{path.lstrip('/')}", encoded=True).with_query(query)
    return url.update_query(dict(params)) if params else url


def status_failure(url: str, answer: Answer) -> Failure:
    """What an answer with an error status says."""
    status = answer.status
    if status >= 500 or status in _BUSY:
        kind = Kind.LIMITED if status == 429 else Kind.SERVER
        return Failure(kind, f"HTTP {status}", status=status, pause=_seconds(answer.retry_after))
    kind = Kind.TOO_LARGE if status == 413 else Kind.REFUSED
    failure = Failure(kind, f"HTTP {status}", status=status, final=True)
    try:
        told = msgspec.json.decode(answer.data)
        failure.detail = clean(told.get("message") or told.get("error") or "", url)
    except (msgspec.DecodeError, AttributeError, UnicodeError, RecursionError):
        failure.detail = _plain(answer.data, url)
    if failure.detail or status == 401:
        failure.reason += f" ({failure.detail or 'it does not accept the user, password or key'})"
    return failure


def _plain(data: bytes, url: str) -> str:
    """A refusal in one line of plain text, "Too many history entries" for example; nothing of a page in HTML."""
    text = data[:LONGEST_REASON].decode(errors="replace").strip()
    return "" if len(data) > LONGEST_REASON or text.startswith("<") else clean(text, url)


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
