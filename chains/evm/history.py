"""Past blocks of an EVM chain: which of them touch the watch set, and those in full.

Native coins leave no log, so every block is read with its transactions, in batches. Token transfers and approvals are
found through logs, filtered by the watched addresses, what contracts move inside of transactions through
``trace_filter`` where it is offered; ranges adapt to what the endpoint gives at once. A block that touches the watch
set is then completed as the watcher does it, so that it is the very block that a live reading gives. Where more
addresses are watched than a filter holds, each block is completed. What could not be looked for is a blind spot.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Container, Mapping, Sequence, Set
from typing import Any

from chains.base import ChainSpec, EndpointState, Stretch
from chains.evm.decode import NO_TRACES, touching
from chains.evm.emitted import Emitted
from chains.evm.reconcile import RECONCILED
from chains.evm.trace_filter import TraceFilter
from chains.evm.traces import mode_of
from chains.evm.watcher import EvmChain
from chains.evm.wire import RpcBlock, RpcLog
from chains.rpc import Refused, RpcError
from chains.throttle import Throttle
from monitor.errors import ChainInconsistent, ChainUnavailable, HistoryRefused
from monitor.model import Block, BlockRef

__all__ = ["EvmHistory"]

MOST_LOG_BLOCKS = 10_000  # of one question for logs
FIRST_LOG_BLOCKS = 1_000
BLOCK_CALLS = 3  # about, for receipts and traces of one block
STATE_CALLS = 2  # and for the state of its accounts
MOST_BATCH = 20  # blocks of one batch
IN_A_FILTER = 500  # addresses of one question for logs
MOST_ADDRESSES = 5_000  # beyond them each block is completed: two requests a block are fewer than so many filters
ASKED_AGAIN = 3  # a block that is not there is asked for so often, each time elsewhere


class EvmHistory:
    """See `chains.base.History`.

    Parameters
    ----------
    spec, watch : as for `chains.evm.EvmChain`; the connections are others than those of the watcher
    rate : calls a second; each call of a batch is one
    sleep, clock : pause and monotonic time, for tests

    Attributes
    ----------
    checks_headers : recompute the hash of every block, not of those alone that touch the watch set
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
        self._watch = watch
        self._chain = EvmChain(spec, watch, sleep=sleep)
        self._rpc = self._chain.rpc
        self._throttle = Throttle(rate, sleep=sleep, clock=clock)
        self._filters = _filters(watch)
        self._calls: TraceFilter | None = None
        if isinstance(watch, Mapping | Set) and self._filters is not None and mode_of(spec.options) != "off":
            self._calls = TraceFilter(self._chain.nodes, sorted(watch), self._throttle)
        self._log_blocks = FIRST_LOG_BLOCKS
        self._batch = max(1, min(MOST_BATCH, int(rate)))
        self._opened = False
        self.checks_headers = False

    async def time_of(self, number: int) -> int:
        """The time of a block, UTC seconds."""
        await self._open()
        (block,) = await self._blocks(number, number + 1)
        return _number(block.timestamp)

    async def history(self, start: int, end: int) -> Stretch:
        """Blocks ``start`` to ``end`` (exclusive).

        Raises
        ------
        HistoryRefused : no endpoint has these blocks, or gives their logs
        ChainUnavailable, ChainInconsistent : ask again later
        """
        await self._open()
        blocks = await self._blocks(start, end)
        _check_links(blocks)
        source = self._rpc.endpoint
        unchecked = {self._chain.check_header(block, source) for block in blocks if self.checks_headers}
        logs = await self._logs_of(blocks, start, end)
        called = await self._called(blocks, start, end)
        found: list[Block] = []
        emitted = Emitted()  # of this stretch alone: those above it were read before
        for block in blocks:
            # Who controls the accounts is read at the lower end, too: changes without an event are between two ends.
            own = block is blocks[0] and bool(self.spec.accounts)
            if logs is None or own or self._touches(block, logs.get(block.hash, ()), called or ()):
                await self._throttle.take(BLOCK_CALLS + (STATE_CALLS if self.spec.accounts else 0))
                found.append(await self._chain.complete(block, source, emitted=emitted))
        spots = {NO_TRACES if spot == RECONCILED else spot for block in found for spot in block.blind_spots}
        spots.update(spot for spot in unchecked if spot is not None)
        if called is None and logs is not None:
            spots.add(NO_TRACES)
        first, last = blocks[0], blocks[-1]
        return Stretch(
            self._ref(first), first.parent_hash.lower(), self._ref(last),
            _number(first.timestamp), _number(last.timestamp), source, tuple(sorted(spots)),
            tuple(block for block in found if block.transfers or block.controls or block.readings),
            tuple((block.hash.lower(), _number(block.timestamp)) for block in blocks),
        )  # fmt: skip

    def contradicted(self) -> None:
        """What was read does not fit what was read elsewhere: another endpoint is preferred for a while."""
        self._chain.nodes.pool.contradicted()

    def endpoints(self) -> Sequence[EndpointState]:
        """What each endpoint is worth now."""
        return self._chain.endpoints()

    async def aclose(self) -> None:
        """Close connections; calling it twice is fine."""
        await self._chain.aclose()

    async def _open(self) -> None:
        if not self._opened:
            await self._chain.open()
            self._opened = True

    def _ref(self, block: RpcBlock) -> BlockRef:
        return BlockRef(self.spec.chain, _number(block.number), block.hash.lower())

    # -- blocks ---------------------------------------------------------------------------------------------------

    async def _blocks(self, start: int, end: int) -> list[RpcBlock]:
        """All blocks with their transactions; smaller batches where an endpoint does not take them."""
        found: list[RpcBlock] = []
        while (at := start + len(found)) < end:
            numbers = range(at, min(end, at + self._batch))
            await self._throttle.take(len(numbers))
            calls = [("eth_getBlockByNumber", [hex(number), True]) for number in numbers]
            try:
                answers = await self._rpc.batch(calls, type=RpcBlock)
            except ChainUnavailable as error:
                if len(numbers) > 1:
                    self._batch = max(1, len(numbers) // 2)
                    continue
                if isinstance(error, Refused):
                    raise HistoryRefused(f"{self.spec.name}: no endpoint gives block {at}: {error}") from None
                raise
            for number, answer in zip(numbers, answers, strict=True):
                found.append(answer if isinstance(answer, RpcBlock) else await self._alone(number))
        for number, block in zip(range(start, end), found, strict=True):
            if _number(block.number) != number:
                raise ChainInconsistent(f"asked for block {number}, got {_number(block.number)}")
        return found

    async def _alone(self, number: int) -> RpcBlock:
        """A block that was not in a batch, asked for again, at other endpoints too."""
        why = "it is not there"
        for _ in range(ASKED_AGAIN):
            await self._throttle.take()
            try:
                block: RpcBlock | None = await self._rpc.call("eth_getBlockByNumber", hex(number), True, type=RpcBlock)
            except (RpcError, Refused) as error:
                why, block = str(error), None
            if block is not None:
                return block
            self._chain.rotate()
        raise HistoryRefused(f"{self.spec.name}: no endpoint gives block {number}: {why}")

    # -- calls ----------------------------------------------------------------------------------------------------

    async def _called(self, blocks: Sequence[RpcBlock], start: int, end: int) -> set[str] | None:
        """Hashes of the blocks in which contracts called watched accounts or back; None where that is not told."""
        if self._calls is None:
            return None
        found = await self._calls.blocks(start, end)
        if found is not None and not found <= {block.hash.lower() for block in blocks}:
            raise ChainInconsistent(f"{self.spec.name}: a trace of another block than {start} to {end - 1}")
        return found

    def _touches(self, block: RpcBlock, logs: Sequence[RpcLog], called: Container[str]) -> bool:
        """Whether a block concerns the watch set: through a call, a log, a transaction, or a validator's withdrawal."""
        return (
            block.hash.lower() in called
            or any(one.address.lower() in self._watch for one in block.withdrawals or ())
            or bool(touching(block, logs, self._watch))
        )

    # -- logs -----------------------------------------------------------------------------------------------------

    async def _logs_of(self, blocks: Sequence[RpcBlock], start: int, end: int) -> dict[str, list[RpcLog]] | None:
        """Logs of tokens that touch the watch set, by block hash; None where each block must be looked at."""
        if self._filters is None:
            return None
        found: dict[str, list[RpcLog]] = {block.hash: [] for block in blocks}
        at = start
        while at < end and self._filters:
            upto = min(end, at + self._log_blocks)
            logs = await self._ask(at, upto)
            if logs is None:
                continue
            for log in logs:
                if log.removed or log.block_hash not in found:
                    raise ChainInconsistent(f"{self.spec.name}: a log of another block than {at} to {upto - 1}")
                found[log.block_hash].append(log)
            at = upto
            self._log_blocks = min(MOST_LOG_BLOCKS, self._log_blocks * 2)
        return found

    async def _ask(self, start: int, end: int) -> list[RpcLog] | None:
        """Logs of blocks ``start`` to ``end`` (exclusive); None: too many at once, `_log_blocks` was halved."""
        found: list[RpcLog] = []
        reach = {"fromBlock": hex(start), "toBlock": hex(end - 1)}
        for wanted in self._filters or ():
            await self._throttle.take()
            try:
                found += await self._rpc.call("eth_getLogs", {**reach, **wanted}, type=list[RpcLog]) or ()
            except ChainUnavailable as error:
                if end - start > 1:
                    self._log_blocks = max(1, (end - start) // 2)
                    return None
                if isinstance(error, RpcError | Refused):
                    raise HistoryRefused(f"{self.spec.name}: no endpoint gives logs: {error}") from None
                raise
        return found


def _filters(watch: Container[str]) -> list[dict[str, Any]] | None:
    """The questions for logs: of any kind that name watched addresses, or are theirs; None where there are too many."""
    if not isinstance(watch, Mapping | Set) or len(watch) > MOST_ADDRESSES:
        return None
    words = ["0x" + address[2:].rjust(64, "0") for address in sorted(watch)]
    found: list[dict[str, Any]] = []
    for at in range(0, len(words), IN_A_FILTER):
        part = words[at : at + IN_A_FILTER]
        found += [{"topics": [None] * place + [part]} for place in (1, 2, 3)]
        found.append({"address": ["0x" + word[26:] for word in part]})
    return found


def _check_links(blocks: Sequence[RpcBlock]) -> None:
    """ChainInconsistent unless each block is the parent of the next."""
    for below, block in itertools.pairwise(blocks):
        if block.parent_hash != below.hash:
            raise ChainInconsistent(f"block {_number(block.number)} is no child of the block before it")


def _number(quantity: str) -> int:
    try:
        return int(quantity, 16)
    except (TypeError, ValueError):
        raise ChainInconsistent("a block with an unreadable number or time") from None
