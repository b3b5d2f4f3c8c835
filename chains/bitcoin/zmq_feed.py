"""What a node publishes by ZeroMQ: blocks and transactions as they come. Hints, never truth.

Source: Bitcoin Core, "Block and Transaction Broadcasting with ZeroMQ": messages of three parts (topic, body, sequence
number of the topic, little-endian).
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from typing import Any

__all__ = ["ZmqFeed", "is_published"]

log = logging.getLogger(__name__)

MOST = 10_000  # transactions that wait to be taken
LARGEST = 4_000_000  # bytes of a message
_BLOCKS, _TRANSACTIONS = (b"hashblock", b"rawblock"), (b"rawtx", b"hashtx")


class ZmqFeed:
    """Subscribes when it is first waited for, and reconnects by itself.

    Parameters
    ----------
    urls : ``tcp://host:port`` or ``ipc://path`` of publishers

    Attributes
    ----------
    blocks : set when a block was told of, or may have been missed; whoever waits clears it
    transactions : the same for transactions
    dropped : transactions that were not taken in time
    missed : messages that the sequence numbers say are missing
    garbage : messages that cannot be understood
    """

    def __init__(self, urls: Sequence[str]) -> None:
        self._urls = tuple(urls)
        self.blocks, self.transactions = asyncio.Event(), asyncio.Event()
        self.dropped = self.missed = self.garbage = 0
        self._waiting: deque[bytes] = deque()
        self._last: dict[tuple[str, bytes], int] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._context: Any = None

    def start(self) -> None:
        """Subscribe; calling it twice is fine."""
        if self._tasks:
            return
        import zmq.asyncio

        self._context = zmq.asyncio.Context()
        self._tasks = [asyncio.create_task(self._listen(url), name="zmq") for url in self._urls]

    async def wait(self) -> None:
        """Return when transactions came, or may have been missed."""
        self.start()
        await self.transactions.wait()
        self.transactions.clear()

    def take(self) -> list[bytes]:
        """Serialised transactions since the last time, oldest first."""
        taken = list(self._waiting)
        self._waiting.clear()
        return taken

    async def aclose(self) -> None:
        """Unsubscribe; calling it twice is fine."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        context, self._context = self._context, None
        if context is not None:
            context.destroy(linger=0)

    async def _listen(self, url: str) -> None:
        import zmq

        socket = self._context.socket(zmq.SUB)
        try:
            socket.setsockopt(zmq.RCVHWM, MOST)
            socket.setsockopt(zmq.MAXMSGSIZE, LARGEST)
            socket.setsockopt(zmq.RECONNECT_IVL_MAX, 5_000)
            for topic in (*_BLOCKS, *_TRANSACTIONS):
                socket.setsockopt(zmq.SUBSCRIBE, topic)
            socket.connect(url)
            while True:
                self._take_in(url, await socket.recv_multipart())
        finally:
            socket.close(linger=0)

    def _take_in(self, url: str, parts: Sequence[bytes]) -> None:
        if len(parts) != 3 or len(parts[2]) != 4 or parts[0] not in (*_BLOCKS, *_TRANSACTIONS):
            self.garbage += 1
            return
        topic, body, number = parts[0], parts[1], int.from_bytes(parts[2], "little")
        last = self._last.get((url, topic))
        self._last[url, topic] = number
        if last is not None and number != (last + 1) & 0xFFFFFFFF:
            self.missed += (number - last - 1) & 0xFFFFFFFF if number > last else 1
            self.blocks.set()
            self.transactions.set()
        if topic in _BLOCKS:
            self.blocks.set()
            return
        if topic == b"rawtx":
            self._waiting.append(body)
            if len(self._waiting) > MOST:
                self._waiting.popleft()
                self.dropped += 1
        self.transactions.set()


async def is_published(url: str, seconds: float) -> bool:
    """Whether a publisher greets us at a URL within so many seconds."""
    import zmq
    import zmq.asyncio

    context = zmq.asyncio.Context()
    try:
        socket = context.socket(zmq.SUB)
        greetings = socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED)
        socket.connect(url)
        async with asyncio.timeout(seconds):
            await greetings.recv_multipart()
        return True
    except (TimeoutError, zmq.ZMQError):
        return False
    finally:
        context.destroy(linger=0)
