"""Past blocks of NEM: all of them, one request a block, or those that touch a few accounts."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Container, Mapping, Sequence
from dataclasses import replace
from typing import Any

from chains.base import ChainSpec, EndpointState, Stretch
from chains.nem.accounts import AccountViews, TooBusy
from chains.nem.agreement import voice
from chains.nem.decode import BLIND_SPOTS, RawBlock, timestamp
from chains.nem.watcher import NemChain
from chains.rpc import Refused
from chains.throttle import Throttle
from monitor.errors import ChainInconsistent, HistoryRefused
from monitor.model import Block

__all__ = ["NemHistory"]

log = logging.getLogger(__name__)

REWRITES = 360  # blocks that NIS1 may rewrite: above that account views may be of another branch than the blocks
MOST_ACCOUNTS = 200  # that are worth asking about one by one


class NemHistory:
    """See `chains.base.History`.

    Parameters
    ----------
    spec, watch : as for `chains.nem.watcher.NemChain`; the connections are others than those of the watcher
    rate : requests a second
    sleep, clock : pause and monotonic time, for tests
    """

    def __init__(
        self,
        spec: ChainSpec,
        watch: Container[str],
        rate: float,
        *,
        sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.spec = spec
        self._chain = NemChain(spec, watch, sleep=sleep)
        self._throttle = Throttle(rate, sleep=sleep, clock=clock)
        self._opened = False
        self._settled: int | None = None  # the highest block that cannot be rewritten, as of the first look
        self._views = self._views_of(watch)
        self._turn = asyncio.Lock()  # of the views

    def _views_of(self, watch: Container[str]) -> AccountViews | None:
        """Account views, where they cover the watch list and are worth while."""
        accounts = self.spec.accounts
        covered = isinstance(watch, Collection) and len(watch) == len(accounts)
        if not covered or not 0 < len(accounts) <= MOST_ACCOUNTS:
            return None
        return AccountViews(self._chain.nodes.pool, accounts, self._throttle.take)

    async def time_of(self, number: int) -> int:
        """The time of a block, UTC seconds."""
        return timestamp((await self._raw(number)).timeStamp)

    async def history(self, start: int, end: int) -> Stretch:
        """Blocks ``start`` to ``end`` (exclusive).

        They are read from the highest down, as the watcher does it: where the chain is rewritten meanwhile, it is the
        upper end that does not fit the block above it.

        Raises
        ------
        HistoryRefused : no endpoint has these blocks
        ChainUnavailable, ChainInconsistent : ask again later
        """
        raws = [await self._agreed(number) for number in range(end - 1, max(0, start - 2), -1)]
        below: list[RawBlock | None] = [*raws[1:], None]
        pairs = list(zip(raws, below, strict=True))[: end - start][::-1]
        blocks = [await self._decoded(block, under) for block, under in pairs]
        headers = tuple((block.ref.hash, block.timestamp) for block in blocks)
        return _stretch(blocks, headers)

    async def brief(self, start: int, end: int) -> Stretch:
        """The same without headers, from account views where that takes fewer requests; errors as in `history`.

        Only the ends and the blocks that the views name are read. Each of these is read as a whole, so that it equals
        the watcher's, and compared with the views in both directions: what a view names must be in its block, and what
        a block shows of an account must be in its view.
        """
        if self._views is None or start > (settled := await self._settled_height()):
            return await self.history(start, end)
        if end > settled + 1:
            return _joined(await self.brief(start, settled + 1), await self.history(settled + 1, end))
        views = self._views
        try:
            async with self._turn:
                named = await views.between(start, end)
        except (TooBusy, Refused) as error:
            busy = isinstance(error, TooBusy)
            why = "its accounts are too busy to be asked about one by one" if busy else f"no list of accounts: {error}"
            log.info("%s: %s", self.spec.name, why)
            self._views = None
            return await self.history(start, end)
        numbers = {start, end - 1, *named}
        raws = {
            number: await self._agreed(number)
            for number in sorted({*numbers, *(number - 1 for number in numbers)} - {0}, reverse=True)
        }
        for number, listed in named.items():
            held = {tx.get("signature") for tx in raws[number].transactions}
            if not held.issuperset(listed):
                views.forget()
                self._chain.nodes.set_aside(self._chain.nodes.pool.endpoint)
                raise ChainInconsistent(f"block {number} lacks transactions that its accounts are said to have")
        blocks = [await self._decoded(raws[number], raws.get(number - 1)) for number in sorted(numbers)]
        accounts = views.accounts
        if not all(_is_named(b, raws[b.ref.number], named.get(b.ref.number, {}), accounts) for b in blocks):
            log.warning("%s: what the endpoint lists of accounts is not all: blocks are read instead", self.spec.name)
            self._views = None
            return await self.history(start, end)
        return _stretch(blocks, ())

    def contradicted(self) -> None:
        """What was read does not fit what was read elsewhere: another endpoint is preferred for a while."""
        self._chain.nodes.pool.contradicted()

    def endpoints(self) -> Sequence[EndpointState]:
        """What each endpoint is worth now."""
        return self._chain.endpoints()

    async def aclose(self) -> None:
        """Close connections; calling it twice is fine."""
        await self._chain.aclose()

    async def _settled_height(self) -> int:
        if self._settled is None:
            await self._open()
            await self._throttle.take()
            self._settled = (await self._chain.head()).number - REWRITES
        return self._settled

    async def _open(self) -> None:
        if not self._opened:
            await self._chain.open()
            self._opened = True

    async def _decoded(self, block: RawBlock, below: RawBlock | None) -> Block:
        return await self._chain.decoded(block, below, None, self._chain.nodes.pool.endpoint)

    async def _agreed(self, number: int) -> RawBlock:
        """A block that no majority of endpoints has otherwise; whoever gave another one is asked last from now on."""
        block, nodes = await self._raw(number), self._chain.nodes
        if len(self.spec.endpoints) > 1 and not await nodes.is_agreed(number, voice(block), nodes.pool.endpoint):
            raise ChainInconsistent(f"{self.spec.name}: endpoints do not agree on block {number}")
        return block

    async def _raw(self, number: int) -> RawBlock:
        await self._open()
        await self._throttle.take()
        try:
            return await self._chain.raw(number)
        except Refused as error:
            raise HistoryRefused(f"{self.spec.name}: no endpoint gives block {number}: {error}") from None


def _stretch(blocks: list[Block], headers: tuple[tuple[str, int], ...]) -> Stretch:
    """A run of blocks, lowest first, of which at least the ends were read."""
    first, last = blocks[0], blocks[-1]
    touching = tuple(block for block in blocks if block.transfers or block.controls)
    return Stretch(
        first.ref, first.parent_hash, last.ref, first.timestamp, last.timestamp, last.source, BLIND_SPOTS, touching,
        headers,
    )  # fmt: skip


def _joined(lower: Stretch, upper: Stretch) -> Stretch:
    """Two runs as one, without headers; ChainInconsistent where they do not fit."""
    if upper.parent_hash != lower.last.hash:
        raise ChainInconsistent(f"block {lower.last.number} is no parent of block {upper.first.number}")
    return replace(
        upper, first=lower.first, parent_hash=lower.parent_hash, start=lower.start,
        blocks=(*lower.blocks, *upper.blocks), headers=(),
    )  # fmt: skip


def _is_named(block: Block, raw: RawBlock, listed: Mapping[str, set[str]], accounts: Collection[str]) -> bool:
    """Whether views name every transaction of a block that an account sends, or that is sent to one.

    Parameters
    ----------
    listed : accounts by signature, as the views have it for this block
    """
    for transfer in block.transfers:
        tx = raw.transactions[transfer.tx.index]
        inner = tx.get("otherTrans", tx)
        parties = {transfer.from_addresses[0]}
        if str(inner.get("recipient", "")).replace("-", "").upper() == transfer.to_address:
            parties.add(transfer.to_address)  # levies and rents are listed with who pays them alone
        if parties.intersection(accounts) - listed.get(str(tx.get("signature")), set()):
            return False
    return True
