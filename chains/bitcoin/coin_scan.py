"""The coins of some scripts from a node's whole set of them: ``scantxoutset``. It takes minutes on large chains."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from typing import Any

import msgspec

from chains.bitcoin.base import Unspent
from chains.bitcoin.core_answers import Scan
from chains.bitcoin.offers import SCAN, Offers
from chains.exchange import MethodUnsupported, RpcError
from chains.rpc import JsonRpc
from monitor.errors import ChainInconsistent, ChainUnavailable
from monitor.model import BlockRef

__all__ = ["SECONDS", "CoinScan"]

log = logging.getLogger(__name__)

SECONDS = 1800.0  # for an answer
PAUSE = 2.0  # before another try while the node reads for somebody else
SAY = 60.0  # between two lines about how far it is
MOST_BYTES = 30_000_000  # of a request: a node takes 32 MiB


class _Progress(msgspec.Struct):
    progress: float = 0.0  # per cent


class CoinScan:
    """Reads coins, one question at a time.

    Parameters
    ----------
    name, chain : of the chain, for the log and for blocks
    rpc : calls that may take `SECONDS`
    ask : calls beside it, which answer at once
    offers : notes which nodes do not offer it
    sleep, clock : pause and monotonic time
    """

    def __init__(
        self,
        name: str,
        chain: str,
        rpc: JsonRpc,
        ask: JsonRpc,
        offers: Offers,
        sleep: Callable[[float], Awaitable[Any]],
        clock: Callable[[], float],
    ) -> None:
        self._name, self._chain = name, chain
        self._rpc, self._ask, self._offers = rpc, ask, offers
        self._sleep, self._clock = sleep, clock
        self._turn = asyncio.Lock()

    async def coins(self, scripts: Collection[bytes]) -> Unspent | None:
        """The coins of these output scripts; None where the node does not offer that.

        Raises
        ------
        ChainUnavailable : it does not answer, or reads for somebody else all the time
        ChainInconsistent : what it tells makes no sense
        """
        wanted = [f"raw({script.hex()})" for script in scripts]  # other forms of descriptors lack some scripts
        if sum(map(len, wanted)) > MOST_BYTES:
            log.warning("%s: %d scripts are too many to read their coins at once", self._name, len(wanted))
            return None
        async with self._turn:
            beside = asyncio.create_task(self._say(), name=f"coins of {self._name}: progress")
            try:
                found = await self._scan(wanted)
            finally:
                beside.cancel()
                await asyncio.gather(beside, return_exceptions=True)
        if found is None:
            return None
        self._offers.note(self._rpc.endpoint, SCAN, True)
        try:
            return Unspent(BlockRef(self._chain, found.height, found.bestblock), found.coins)
        except ChainInconsistent as error:
            raise ChainInconsistent(f"{self._rpc.endpoint}: {error}") from None

    async def _scan(self, wanted: list[str]) -> Scan | None:
        end = self._clock() + SECONDS
        while True:
            try:
                found: Scan | None = await self._rpc.call("scantxoutset", "start", wanted, type=Scan)
            except MethodUnsupported as error:
                log.info("%s: coins cannot be read: %s", self._name, error)
                self._offers.note(self._rpc.endpoint, SCAN, False)
                return None
            except RpcError as error:
                if "in progress" not in str(error) or self._clock() > end:
                    raise
                await self._sleep(PAUSE)
                continue
            if found is None or not found.success:
                raise ChainUnavailable(f"{self._name}: {self._rpc.endpoint} gave up reading its coins")
            return found

    async def _say(self) -> None:
        """Tell now and then how far it is."""
        while True:
            await asyncio.sleep(SAY)  # it only speaks
            try:
                found = await self._ask.call("scantxoutset", "status", type=_Progress)
            except ChainUnavailable as error:
                log.debug("%s: %s", self._name, error)
                continue
            if found is not None:
                log.info("%s: coins are read, %.0f %%", self._name, found.progress)
