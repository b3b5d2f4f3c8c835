"""Balances of watched addresses from the coins that a source tells of.

To read a node's whole set of coins takes minutes on large chains, so it happens beside the blocks. What it gives is
carried to the block that was asked about by what the blocks in between moved, and where it came too late for the
question, the next block brings it along (`Block.balances`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping

from chains.bitcoin.base import Coin, Source, Unspent
from chains.bitcoin.watched import WatchedScripts
from monitor.errors import ChainError, ChainUnavailable
from monitor.model import Block, BlockRef

__all__ = ["Balances", "net"]

log = logging.getLogger(__name__)

PATIENCE = 3.0  # seconds that a question waits for its answer
FAR = 16  # blocks that a balance is carried over; beyond, coins are read again
AGAIN = 60.0  # seconds after a failure before they are read again


class Balances:
    """Reads coins beside the blocks, and answers from them.

    Parameters
    ----------
    name : of the chain, for the log
    source : tells coins
    watched : their scripts
    read : a block by its number, as the watcher gives it
    learn : told of all coins that were read
    clock : monotonic seconds
    """

    def __init__(
        self,
        name: str,
        source: Source,
        watched: WatchedScripts,
        read: Callable[[int], Awaitable[Block]],
        learn: Callable[[Iterable[Coin]], None],
        clock: Callable[[], float],
    ) -> None:
        self._name, self._source, self._watched = name, source, watched
        self._read, self._learn, self._clock = read, learn, clock
        self._task: asyncio.Task[None] | None = None
        self._found: Unspent | None = None
        self._asked: frozenset[bytes] = frozenset()  # scripts that it is about
        self._owed: set[str] = set()  # addresses whose balance came too late
        self._told_at: int | None = None  # the block that brought them along
        self._not_before = 0.0

    @property
    def owes(self) -> bool:
        """Whether an answer came too late for its question."""
        return bool(self._owed) and self._found is not None

    def look(self) -> None:
        """Read the coins of all single watched addresses, beside what goes on."""
        if (self._task is None or self._task.done()) and self._clock() >= self._not_before:
            self._task = asyncio.create_task(self._scan(), name=f"coins of {self._name}")

    async def of(self, addresses: Iterable[str], at: BlockRef) -> Mapping[str, int | None]:
        """Balances after block ``at``, as far as they are known within a few seconds; None for the others."""
        wanted = list(dict.fromkeys(addresses))
        scripts = {address: script for script, address in self._watched.known().items()}
        if not self._asked >= {scripts[address] for address in wanted if address in scripts} or self._is_far(at):
            self.look()
        if self._task is not None and not self._task.done():
            await asyncio.wait({self._task}, timeout=PATIENCE)
        found = await self._at(at)
        answers: dict[str, int | None] = {}
        for address in wanted:
            known = found is not None and scripts.get(address) in self._asked
            answers[address] = found.get(address, 0) if known and found is not None else None
        late = {address for address, value in answers.items() if value is None and address in scripts}
        self._owed = (self._owed | late) - {address for address, value in answers.items() if value is not None}
        if late:
            self._told_at = None
        return answers

    async def before(self, block: Block, asset: str) -> tuple[tuple[str, str, int], ...]:
        """What is owed from earlier questions, as balances before a block: for `Block.balances`."""
        if not self._owed or self._found is None or self._told_at not in (None, block.ref.number):
            return ()
        below = BlockRef(block.ref.chain, block.ref.number - 1, block.parent_hash)
        try:
            found = await self._at(below)
        except ChainError as error:
            log.debug("%s: balances before block %d: %s", self._name, block.ref.number, error)
            return ()
        if found is None:
            if self._is_far(below):
                self.look()
            return ()
        told = [a for s, a in self._watched.known().items() if s in self._asked]
        self._told_at = block.ref.number
        return tuple((address, asset, found.get(address, 0)) for address in sorted(told))

    async def aclose(self) -> None:
        """End what is being read; calling it twice is fine."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def _is_far(self, at: BlockRef) -> bool:
        return self._found is not None and abs(self._found.at.number - at.number) > FAR

    async def _scan(self) -> None:
        """Read coins, again where a gap limit moved with them."""
        try:
            while True:
                scripts = dict(self._watched.known())
                if not scripts:
                    return
                found = await self._source.unspent(scripts)
                if found is None:
                    self._not_before = self._clock() + AGAIN
                    return
                self._learn(found.coins)
                self._found, self._asked = found, frozenset(scripts)
                owned = {scripts[coin.script] for coin in found.coins if coin.script in scripts}
                if not self._watched.used(owned):
                    return
        except ChainUnavailable as error:
            log.info("%s: coins cannot be read now: %s", self._name, error)
            self._not_before = self._clock() + min(AGAIN, error.retry_after or AGAIN)
        except ChainError as error:
            log.warning("%s: coins cannot be read: %s", self._name, error)
            self._not_before = self._clock() + AGAIN

    async def _at(self, at: BlockRef) -> dict[str, int] | None:
        """Balances after a block; None where the coins do not belong to its chain, or are too far away."""
        found = self._found
        if found is None or self._is_far(at):
            return None
        sums: dict[str, int] = {}
        known = self._watched.known()
        for coin in found.coins:
            address = known.get(coin.script)
            if address is not None:
                sums[address] = sums.get(address, 0) + coin.value
        low, high = sorted((at, found.at), key=lambda ref: ref.number)
        if low.number == high.number and low.hash != high.hash:
            self._found = None  # the coins are those of a block that is no more
            return None
        sign = -1 if at is low else 1
        below = low.hash
        for number in range(low.number + 1, high.number + 1):
            block = await self._read(number)
            if block.parent_hash != below:
                self._found = None
                return None
            below = block.ref.hash
            for address, value in net(block).items():
                sums[address] = sums.get(address, 0) + sign * value
        if below != high.hash:
            self._found = None
            return None
        return sums


def net(block: Block) -> dict[str, int]:
    """What a block adds to each address, in base units."""
    sums: dict[str, int] = {}
    seen: set[str] = set()
    for transfer in block.transfers:
        sums[transfer.to_address] = sums.get(transfer.to_address, 0) + transfer.value
        if transfer.tx.hash not in seen:
            seen.add(transfer.tx.hash)
            for address, value in zip(transfer.from_addresses, transfer.input_values, strict=True):
                sums[address] = sums.get(address, 0) - value
    return sums
