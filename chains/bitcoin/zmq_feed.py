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
MOST_BYTES = 64_000_000  # of them
LARGEST = 64_000_000  # bytes of a message: whole blocks may be published
_BLOCKS, _TRANSACTIONS = (b"hashblock", b"rawblock"), (b"rawtx", b"hashtx")


class ZmqFeed:
    """Subscribes when it is first waited for, and reconnects by itself.

    Parameters
    ----------
    urls : ``tcp://host:port`` or ``ipc://path`` of publishers
    only_blocks : transactions are not subscribed to

    Attributes
    ----------
    blocks : set when a block was told of, or may have been missed; whoever waits clears it
    transactions : the same for transactions
    dropped : transactions that were not taken in time
    missed : messages that the sequence numbers say are missing
    garbage : messages that cannot be understood
    """

    def __init__(self, urls: Sequence[str], *, only_blocks: bool = False) -> None:
        self._urls = tuple(urls)
        self._topics = _BLOCKS if only_blocks else (*_BLOCKS, *_TRANSACTIONS)
        self.blocks, self.transactions = asyncio.Event(), asyncio.Event()
        self.dropped = self.missed = self.garbage = 0
        self._waiting: deque[bytes] = deque()
        self._held = 0  # bytes that wait
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
        self._held = 0
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
            socket.setsockopt(zmq.TCP_KEEPALIVE, 1)  # connections are lost in silence, too
            socket.setsockopt(zmq.TCP_KEEPALIVE_IDLE, 60)
            socket.setsockopt(zmq.IPV6, "[" in url)
            for topic in self._topics:
                socket.setsockopt(zmq.SUBSCRIBE, topic)
            try:
                socket.connect(url)
            except zmq.ZMQError as error:
                log.warning("nothing is heard from %s, which is no address of a publisher: %s", url, error)
                return
            while True:
                self._take_in(url, await socket.recv_multipart())
        finally:
            socket.close(linger=0)

    def _take_in(self, url: str, parts: Sequence[bytes]) -> None:
        if len(parts) != 3 or len(parts[2]) != 4 or parts[0] not in self._topics:
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
            self._held += len(body)
            while len(self._waiting) > MOST or self._held > MOST_BYTES:
                self._held -= len(self._waiting.popleft())
                self._drop()
        self.transactions.set()

    def _drop(self) -> None:
        self.dropped += 1
        if self.dropped == 1:
            log.warning("transactions are published faster than they are read: the oldest are left out")


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
