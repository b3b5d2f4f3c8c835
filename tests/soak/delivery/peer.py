"""A receiver that misbehaves by a script: an HTTP server, and a TCP proxy before it that breaks connections.

What happens to a request depends on the seed, its alert and its attempt alone, not on what else goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import socket
import ssl
import struct
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate

from tests.soak.delivery.ledger import Seen

__all__ = ["Fault", "Peer", "Script", "http_date"]

_HEAD = re.compile(rb"(?im)^(webhook-id|content-length): *(\S+) *\r$")
DRIBBLE_SECONDS = 0.05  # between two bytes of a slow answer: longer in all than a sender waits


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to one request.

    ``status`` is the server's answer. ``cut`` is the proxy's deed: ``body`` (reset while the request is on its way),
    ``answer`` (reset in the middle of the answer), ``after`` (reset after the server accepted, before any answer),
    ``slow`` (the answer dribbles), empty: nothing.
    """

    status: int = 204
    cut: str = ""
    retry_after: str = ""


Script = Callable[[str, int, random.Random], Fault]
"""What happens to (alert id, attempt from 1), by chance."""


class Peer:
    """One destination. ``url`` stays the same while it is closed and opened again.

    Parameters
    ----------
    name : of the destination, in the ledger
    script : what happens to each request
    seed : of chance
    note : is told of each request that the server had whole
    """

    def __init__(self, name: str, script: Script, seed: int, note: Callable[[Seen], None]) -> None:
        self.name, self.script, self.life = name, script, 0
        self.attempts: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.asked_at = self.asked_until = 0.0  # by Retry-After, in the sender's time
        self._seed, self._note = seed, note
        self._proxy: asyncio.Server | None = None
        self._server: asyncio.Server | None = None
        self._port = 0
        self._behind = 0
        self._open: set[asyncio.StreamWriter] = set()

    @property
    def port(self) -> int:
        """Of the proxy."""
        return self._port

    async def start(self, context: ssl.SSLContext | None = None) -> None:
        """Listen (again), with TLS where a context is given."""
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
            self._behind = self._server.sockets[0].getsockname()[1]
        self._proxy = await asyncio.start_server(
            self._pass, "127.0.0.1", self._port, ssl=context, reuse_address=True, backlog=256
        )
        self._port = self._proxy.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Refuse connections."""
        if self._proxy is not None:
            self._proxy.close()
            for writer in list(self._open):
                _reset(writer)
            self._proxy = None

    async def drained(self) -> None:
        """Wait until nothing of a sender that is gone is on its way."""
        await asyncio.sleep(0)
        while self._open:  # noqa: ASYNC110
            await asyncio.sleep(0.001)

    async def aclose(self) -> None:
        """End both."""
        await self.close()
        if self._server is not None:
            self._server.close()
            self._server = None
        for _ in range(3):
            await asyncio.sleep(0.01)  # handlers of connections end

    # -- the server -----------------------------------------------------------------------------------------------

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request a connection of the proxy; the fault comes in a line before it."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            status, told, life, retry_after = (await reader.readline()).decode().rstrip("\n").split("\t")
            alert_id, _, body = await _request(reader)
            accepted = 200 <= int(status) < 300
            self._note(Seen((self.name, alert_id), body, accepted, told == "1", int(life)))
            extra = f"Retry-After: {retry_after}\r\n" if retry_after else ""
            length = "" if int(status) == 204 else "Content-Length: 0\r\n"
            writer.write(f"HTTP/1.1 {status} Scripted\r\n{extra}{length}\r\n".encode())
            await writer.drain()
        writer.close()

    # -- the proxy ------------------------------------------------------------------------------------------------

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        life = self.life
        try:
            while await self._exchange(reader, writer, life):
                pass
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # the sender is gone
        finally:
            self._open.discard(writer)
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, life: int) -> bool:
        """One request; whether the connection may carry another."""
        first = await reader.readexactly(1)
        if first == b"\x16":  # TLS, on a port without it
            writer.write(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
            await writer.drain()
            return False
        head = first + await reader.readuntil(b"\r\n\r\n")
        fields = _fields(head)
        alert_id = fields[b"webhook-id"].decode()
        self.attempts[alert_id] += 1
        attempt = self.attempts[alert_id]
        fault = self.script(alert_id, attempt, random.Random(f"{self._seed}/{self.name}/{alert_id}/{attempt}"))
        self.faults[fault.cut or str(fault.status)] += 1
        length = int(fields[b"content-length"])
        if fault.cut == "body":
            await reader.readexactly(length // 2)
            _reset(writer)
            return False
        body = await reader.readexactly(length)
        answer = await self._ask(head + body, fault, life)
        return await self._answer(writer, answer, fault.cut)

    async def _ask(self, request: bytes, fault: Fault, life: int) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._behind)
        writer.write(f"{fault.status}\t{int(not fault.cut)}\t{life}\t{fault.retry_after}\n".encode() + request)
        answer = await reader.read()
        writer.close()
        return answer

    async def _answer(self, writer: asyncio.StreamWriter, answer: bytes, cut: str) -> bool:
        if cut == "slow":
            for byte in answer:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(DRIBBLE_SECONDS)
            return True
        if cut in ("answer", "after"):
            if cut == "answer":
                writer.write(answer[: len(answer) // 2])
                await writer.drain()
                await asyncio.sleep(0)
            _reset(writer)
            return False
        writer.write(answer)
        await writer.drain()
        return True


async def _request(reader: asyncio.StreamReader) -> tuple[str, bytes, bytes]:
    """(alert id, head, body)."""
    head = await reader.readuntil(b"\r\n\r\n")
    fields = _fields(head)
    return fields[b"webhook-id"].decode(), head, await reader.readexactly(int(fields[b"content-length"]))


def _fields(head: bytes) -> dict[bytes, bytes]:
    return {name.lower(): value for name, value in _HEAD.findall(head[:-2])}


def _reset(writer: asyncio.StreamWriter) -> None:
    """End a connection with RST, not FIN."""
    raw = writer.get_extra_info("socket")
    if raw is not None:
        with contextlib.suppress(OSError):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def http_date(moment: float) -> str:
    """As Retry-After writes it."""
    return formatdate(moment, usegmt=True)


