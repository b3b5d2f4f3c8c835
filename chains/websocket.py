"""JSON-RPC over a WebSocket: requests, and subscriptions as hints.

The socket is opened when it is needed, and again after it broke; on every opening `greet` checks the chain and
subscribes anew, because a node forgets subscriptions with the connection. What happened in between is not replayed:
notifications only say "look now".
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import aiohttp
import msgspec

from chains.exchange import Unusable, backoff, clean, reason, redact
from chains.jsonrpc import JsonRpc
from monitor.errors import ChainError, ChainUnavailable

__all__ = ["Socket"]

log = logging.getLogger(__name__)
T = TypeVar("T")
LARGEST = 256 * 2**20  # bytes a message: blocks with receipts pass aiohttp's default of 4 MiB


class _Peek(msgspec.Struct):
    id: int | str | None = None
    method: str | None = None


class _Lost(Exception):
    """The connection failed or gave no answer in time."""


class _Line:
    """One open connection: answers are matched by id, notifications go to ``notify``. It is an `Exchange`."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, url: str, timeout: float, notify: Callable[[], None]):
        self.endpoint = redact(url)
        self.closed = asyncio.Event()
        self._socket, self._url, self._timeout, self._notify = socket, url, timeout, notify
        self._waiting: dict[str, asyncio.Future[bytes]] = {}
        self._reader = asyncio.create_task(self._read())

    async def ask(self, body: bytes) -> bytes:
        """The answer to one request or batch; `_Lost` without one."""
        ident = _ident(body)
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting[ident] = future
        try:
            if self.closed.is_set():
                raise _Lost("connection lost")
            async with asyncio.timeout(self._timeout):
                await self._socket.send_str(body.decode())
                return await future
        except (aiohttp.ClientError, OSError) as error:
            raise _Lost(reason(error, self._timeout)) from None
        finally:
            self._waiting.pop(ident, None)
            if not future.cancel() and not future.cancelled():
                future.exception()  # seen: a loss that came while sending

    async def exchange(self, body: bytes, decode: Callable[[bytes], T], what: str) -> T:
        """One attempt, for the greeting."""
        try:
            return decode(await self.ask(body))
        except (_Lost, Unusable, msgspec.DecodeError) as error:
            raise ChainUnavailable(f"{clean(what)}: {self.endpoint}: {self.scrub(error)}") from None

    def rotate(self) -> None:
        """There is no other."""

    def scrub(self, text: object) -> str:
        """Text of the endpoint on one short line, without its secrets."""
        return clean(text, self._url)

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
                    future.set_exception(_Lost("connection lost"))

    def _take(self, data: bytes) -> None:
        try:
            seen = msgspec.json.decode(data, type=_Peek | list[_Peek])
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return
        # Replies of a batch may come in any order: the first that somebody waits for names it.
        replies = seen if isinstance(seen, list) else [seen]
        future = next((self._waiting[str(r.id)] for r in replies if str(r.id) in self._waiting), None)
        if future is not None and not future.done():
            future.set_result(data)
        elif any(reply.method == "eth_subscription" for reply in replies):
            self._notify()


class Socket:
    """A WebSocket to one of several ``ws://`` or ``wss://`` endpoints of the same chain; an `Exchange`.

    Parameters
    ----------
    endpoints : URLs, with their secrets, in order of preference
    greet : awaited with a `JsonRpc` on every new connection, before anything else uses it
    notify : called, without arguments, for each notification
    timeout : seconds for one attempt; also the interval of pings that find a dead connection
    attempts, rng, sleep : as in `chains.rpc.HttpPool`
    """

    def __init__(
        self,
        endpoints: Sequence[str],
        *,
        greet: Callable[[JsonRpc], Awaitable[None]],
        notify: Callable[[], None],
        timeout: float = 10.0,
        attempts: int = 4,
        rng: random.Random | None = None,
        sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
    ) -> None:
        self._endpoints = tuple(endpoints)
        self._greet, self._notify = greet, notify
        self._timeout, self._attempts = timeout, attempts
        self._rng, self._sleep = rng or random.Random(), sleep
        self._current = 0
        self._stale = False
        self._line: _Line | None = None
        self._session: aiohttp.ClientSession | None = None
        self._opening = asyncio.Lock()

    def __repr__(self) -> str:
        return f"Socket({', '.join(map(redact, self._endpoints))})"

    @property
    def endpoint(self) -> str:
        """The redacted name of the endpoint in use."""
        return redact(self._endpoints[self._current])

    def rotate(self) -> None:
        """Use the next endpoint from now on."""
        self._current = (self._current + 1) % len(self._endpoints)
        self._stale = True

    def scrub(self, text: object) -> str:
        """Text of an endpoint on one short line, without the secrets of any endpoint."""
        return clean(text, *self._endpoints)

    async def connect(self) -> None:
        """Open and greet the endpoint in use, unless it is open.

        Raises
        ------
        ChainUnavailable : it cannot be reached
        ChainError : what ``greet`` found wrong
        """
        await self._open()

    async def exchange(self, body: bytes, decode: Callable[[bytes], T], what: str) -> T:
        """See `chains.exchange.Exchange`."""
        reasons: dict[str, str] = {}
        for attempt in range(max(self._attempts, len(self._endpoints))):
            if attempt and attempt % len(self._endpoints) == 0:
                await self._sleep(backoff(self._rng, attempt // len(self._endpoints) - 1))
            name, final = self.endpoint, False
            try:
                return decode(await (await self._open()).ask(body))
            except Unusable as error:
                reasons[name], final = self.scrub(error), error.final
            except msgspec.DecodeError as error:
                reasons[name] = f"unexpected answer: {self.scrub(error)}"
            except (_Lost, ChainUnavailable) as error:
                reasons[name] = str(error).rpartition(f"{name}: ")[2]
                self._stale = True
            if len(self._endpoints) > 1:
                self.rotate()
            if final and attempt >= len(self._endpoints) - 1:
                break
        raise ChainUnavailable(f"{clean(what)}: " + "; ".join(f"{name}: {why}" for name, why in reasons.items()))

    async def listen(self) -> None:
        """Keep the socket open for notifications until cancelled; trouble is logged and means a later try."""
        failures = 0
        while True:
            try:
                line = await self._open()
                failures = 0
                await line.closed.wait()
                log.info("%s: subscription lost", line.endpoint)
            except ChainError as error:
                log.log(logging.INFO if isinstance(error, ChainUnavailable) else logging.WARNING, "%s", error)
                self.rotate()
            self._notify()  # heads may have passed unseen
            await self._sleep(backoff(self._rng, failures))
            failures += 1

    async def aclose(self) -> None:
        """Close the connection; calling it twice is fine."""
        line, self._line = self._line, None
        session, self._session = self._session, None
        if line is not None:
            await line.aclose()
        if session is not None:
            await session.close()

    async def _open(self) -> _Line:
        async with self._opening:
            if self._line is not None and not self._stale and not self._line.closed.is_set():
                return self._line
            if self._line is not None:
                await self._line.aclose()
            self._line, self._stale = None, False
            line = await self._dial(self._endpoints[self._current])
            try:
                await self._greet(JsonRpc(line))
            except BaseException:
                await line.aclose()
                raise
            self._line = line
            return line

    async def _dial(self, url: str) -> _Line:
        if self._session is None:
            self._session = aiohttp.ClientSession()
        try:
            async with asyncio.timeout(self._timeout):
                socket = await self._session.ws_connect(
                    url, heartbeat=self._timeout, max_msg_size=LARGEST, timeout=aiohttp.ClientWSTimeout(ws_close=1.0)
                )
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise ChainUnavailable(f"{redact(url)}: {reason(error, self._timeout)}") from None
        return _Line(socket, url, self._timeout, self._notify)


def _ident(body: bytes) -> str:
    seen = msgspec.json.decode(body, type=_Peek | list[_Peek])
    return str(seen[0].id if isinstance(seen, list) else seen.id)
