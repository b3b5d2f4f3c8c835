"""JSON-RPC over a WebSocket: requests, and subscriptions as hints.

The socket is opened when it is needed, and again after it broke; on every opening it is greeted, which checks the
chain and subscribes anew, because a node forgets subscriptions with the connection. What happened in between is not
replayed: notifications only say "look now".
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import msgspec

from chains.endpoints.endpoint import Answer, Request, Send
from chains.endpoints.failure import Failure
from chains.exchange import Kind, backoff, kind_of, reason, redact
from chains.nesting import nested
from monitor.errors import ChainError

__all__ = ["Note", "SocketLink"]

log = logging.getLogger(__name__)
LARGEST = 256 * 2**20  # bytes a message: blocks with receipts pass aiohttp's default of 4 MiB


class Note(msgspec.Struct):
    """What a subscription told: its name, and the thing itself, not looked into."""

    subscription: Any = None
    result: msgspec.Raw = msgspec.Raw(b"null")


class _Peek(msgspec.Struct):
    id: int | str | None = None
    method: str | None = None
    params: Note | None = None


_PEEK = msgspec.json.Decoder(_Peek | list[_Peek])


class _Ident(msgspec.Struct):
    id: int | str | None = None


class _Line:
    """One open connection: answers are matched by id, notifications go to ``notify``."""

    def __init__(
        self, socket: aiohttp.ClientWebSocketResponse, timeout: float, notify: Callable[[Note | None], None]
    ) -> None:
        self.closed = asyncio.Event()
        self._socket, self._timeout, self._notify = socket, timeout, notify
        self._waiting: dict[str, asyncio.Future[bytes]] = {}
        self._reader = asyncio.create_task(self._read())

    async def send(self, request: Request) -> Answer:
        """The answer to one request or batch; `Failure` without one."""
        body = request.body or b""
        ident = _ident(body)
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting[ident] = future
        try:
            if self.closed.is_set():
                raise Failure(Kind.LOST, "connection lost")
            async with asyncio.timeout(self._timeout):
                await self._socket.send_str(body.decode())
                return Answer(await future)
        except (aiohttp.ClientError, OSError) as error:
            raise Failure(kind_of(error), reason(error, self._timeout)) from None
        finally:
            self._waiting.pop(ident, None)
            if not future.cancel() and not future.cancelled():
                future.exception()  # seen: a loss that came while sending

    async def aclose(self) -> None:
        """Close the connection; calling it twice is fine."""
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)
        await self._socket.close()

    async def _read(self) -> None:
        try:
            async for message in self._socket:
                if message.type is aiohttp.WSMsgType.TEXT:
                    self._take(message.data.encode())
                elif message.type is aiohttp.WSMsgType.BINARY:
                    self._take(message.data)
        finally:
            self.closed.set()
            for future in self._waiting.values():
                if not future.done():
                    future.set_exception(Failure(Kind.LOST, "connection lost"))

    def _take(self, data: bytes) -> None:
        try:
            seen = nested(_PEEK.decode, data)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return
        # Replies of a batch may come in any order: the first that somebody waits for names it.
        replies = seen if isinstance(seen, list) else [seen]
        future = next((self._waiting[str(r.id)] for r in replies if str(r.id) in self._waiting), None)
        if future is not None and not future.done():
            future.set_result(data)
            return
        for reply in replies:
            if reply.method == "eth_subscription":
                self._notify(reply.params)


class SocketLink:
    """A WebSocket to one ``ws://`` or ``wss://`` endpoint; see `chains.endpoints.endpoint.Link`.

    Parameters
    ----------
    url : with its secrets
    timeout : seconds for one attempt; also the interval of pings that find a dead connection
    notify : called with each notification, and with None where some may have been missed
    greet : awaited on every new connection, before anything else uses it
    rng, sleep : jitter and pause
    """

    transport = "ws"

    def __init__(
        self,
        url: str,
        *,
        timeout: float,
        notify: Callable[[Note | None], None],
        greet: Callable[[Send], Awaitable[None]] | None = None,
        rng: random.Random | None = None,
        sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
    ) -> None:
        self._url, self._timeout, self._notify, self._greet = url, timeout, notify, greet
        self._rng, self._sleep = rng or random.Random(), sleep
        self._line: _Line | None = None
        self._session: aiohttp.ClientSession | None = None
        self._opening = asyncio.Lock()

    async def ask(self, request: Request) -> Answer:
        """See `Link`."""
        line = await self._open()
        try:
            return await line.send(request)
        except Failure:
            if self._line is line:  # whatever it was, a fresh connection is the cure
                self._line = None
                await line.aclose()
            raise

    async def meet(self) -> None:
        """See `Link`."""
        line, self._line = self._line, None
        if line is not None:
            await line.aclose()
        await self._open()

    async def listen(self) -> None:
        """Keep the socket open for notifications until cancelled; trouble is logged and means a later try.

        Ends where the greeting finds that the endpoint is of another chain.
        """
        failures = 0
        while True:
            try:
                line = await self._open()
                failures = 0
                await line.closed.wait()
                log.info("%s: subscription lost", redact(self._url))
            except Failure as failure:
                log.info("%s: no subscription: %s", redact(self._url), failure.reason)
            except ChainError as error:
                log.error("%s", error)
                return
            self._notify(None)  # heads may have passed unseen
            await self._sleep(backoff(self._rng, failures))
            failures += 1

    async def aclose(self) -> None:
        """See `Link`."""
        line, self._line = self._line, None
        session, self._session = self._session, None
        if line is not None:
            await line.aclose()
        if session is not None:
            await session.close()

    async def _open(self) -> _Line:
        async with self._opening:
            if self._line is not None and not self._line.closed.is_set():
                return self._line
            if self._line is not None:
                await self._line.aclose()
            self._line = None
            line = await self._dial()
            try:
                if self._greet is not None:
                    await self._greet(line.send)
            except BaseException:
                await line.aclose()
                raise
            self._line = line
            return line

    async def _dial(self) -> _Line:
        if self._session is None:
            self._session = aiohttp.ClientSession()
        try:
            async with asyncio.timeout(self._timeout):
                socket = await self._session.ws_connect(
                    self._url, heartbeat=self._timeout, max_msg_size=LARGEST,
                    timeout=aiohttp.ClientWSTimeout(ws_close=1.0),
                )  # fmt: skip
        except aiohttp.WSServerHandshakeError as error:
            final = 400 <= error.status < 500 and error.status != 429
            kind = Kind.REFUSED if final else Kind.LIMITED if error.status == 429 else Kind.SERVER
            raise Failure(kind, reason(error, self._timeout), status=error.status) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise Failure(kind_of(error), reason(error, self._timeout)) from None
        return _Line(socket, self._timeout, self._notify)


def _ident(body: bytes) -> str:
    seen = msgspec.json.decode(body, type=_Ident | list[_Ident])
    return str(seen[0].id if isinstance(seen, list) else seen.id)
