"""A receiver of webhooks for the bench, in a process of its own: notes when each came.

``python -m tests.bench.sink MODE`` prints its port, serves until its standard input ends, and then prints one line of
JSON: [[id, monotonic seconds], ...]. MODE is ``ok``, ``dead`` (503 at once) or ``slow`` (answers after 2 s).
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time

_HEAD = re.compile(rb"(?im)^(webhook-id|content-length): *(\S+) *\r$")
SLOW_SECONDS = 2.0
ANSWERS = {
    "ok": b"HTTP/1.1 204 No Content\r\n\r\n",
    "slow": b"HTTP/1.1 204 No Content\r\n\r\n",
    "dead": b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
}


class Sink(asyncio.Protocol):
    """One connection: requests one after the other, each with a length."""

    came: list[tuple[str, float]] = []  # noqa: RUF012  # of all connections

    def __init__(self, mode: str) -> None:
        self._mode = mode
        self._left = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._left += data
        while (end := self._left.find(b"\r\n\r\n")) >= 0:
            head = {name.lower(): value for name, value in _HEAD.findall(self._left[: end + 2])}
            whole = end + 4 + int(head[b"content-length"])
            if len(self._left) < whole:
                return
            self._left = self._left[whole:]
            self.came.append((head[b"webhook-id"].decode(), time.monotonic()))
            if self._mode == "slow":
                asyncio.get_running_loop().call_later(SLOW_SECONDS, self._answer)
            else:
                self._answer()

    def _answer(self) -> None:
        self._transport.write(ANSWERS[self._mode])


async def main(mode: str) -> None:
    """Serve until standard input ends."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Sink(mode), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    server.close()
    print(json.dumps(Sink.came), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
