"""The height that a network's nodes call final (or safe): asked now and then, never an error."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from chains.evm.wire import RpcHeader
from chains.rpc import JsonRpc, MethodUnsupported
from monitor.errors import ChainUnavailable

__all__ = ["DEPTH", "FINALIZED", "SAFE", "FinalHeight"]

log = logging.getLogger(__name__)

DEPTH, SAFE, FINALIZED = "depth", "safe", "finalized"
EVERY_BLOCKS = 8  # block times between two questions
SHORTEST, LONGEST = 2.0, 60.0  # seconds between them
PATIENCE = 3.0  # seconds for one answer


class FinalHeight:
    """Asks for the block with a tag.

    Parameters
    ----------
    name : of the chain, for messages
    tag : `SAFE` or `FINALIZED`; `DEPTH` asks nothing
    block_seconds : usual time between blocks
    clock : monotonic, seconds
    """

    def __init__(
        self, rpc: JsonRpc, name: str, tag: str, block_seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rpc, self._name, self._tag, self._clock = rpc, name, tag, clock
        self._every = min(LONGEST, max(SHORTEST, EVERY_BLOCKS * block_seconds))
        self._asked: float | None = None
        self._height: int | None = None
        self._said = False

    async def height(self) -> int | None:
        """The greatest height that was ever told, asked again after a while; None where nobody tells.

        What is final stays final, so a lower answer (an endpoint that lags) changes nothing.
        """
        now = self._clock()
        if self._tag == DEPTH or (self._asked is not None and now - self._asked < self._every):
            return self._height
        self._asked = now
        try:
            async with asyncio.timeout(PATIENCE):
                header = await self._rpc.call("eth_getBlockByNumber", self._tag, False, type=RpcHeader)
            if header is not None:
                self._height = max(int(header.number, 16), self._height or 0)
        except MethodUnsupported as error:
            if not self._said:
                log.info("%s: the depth decides what is final: %s", self._name, error)
            self._said = True
        except (TimeoutError, ValueError, ChainUnavailable) as error:
            log.debug("%s: nobody told what is %s: %s", self._name, self._tag, error)
        return self._height
