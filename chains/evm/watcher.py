"""The EVM chain watcher: heads, blocks with their receipts, balances.

A block is read by number once; everything else is asked by its hash, so that a reorganisation or a change of endpoint
in between cannot mix two blocks. Blind spots: value that contracts move internally, validator withdrawals and block
rewards (they leave no transaction or log).

Calls go to the http:// and https:// endpoints. A ws:// or wss:// endpoint is a hint for new heads; where there is no
other, calls go over it too.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Container, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from chains.base import ChainSpec
from chains.evm.decode import decode_block, native_asset, screen_of, touching
from chains.evm.wire import RpcBlock, RpcHeader, RpcLog, RpcReceipt, RpcStamp, check_logs
from chains.patience import Standstill, read_again
from chains.rpc import Exchange, HttpPool, JsonRpc, MethodUnsupported, RpcError
from chains.websocket import Socket
from monitor.errors import ChainError, ChainInconsistent, ChainUnavailable, ConfigError, DecodeError
from monitor.model import Block, BlockRef
from monitor.networks import by_chain

__all__ = ["EvmChain"]

log = logging.getLogger(__name__)

BALANCE_OF = "0x70a08231"  # balanceOf(address)
FASTEST_POLL = 0.05  # seconds
STALL_BLOCKS = 10  # block times without a new head before another endpoint is preferred
STALL_SECONDS = 30.0  # at least


class EvmChain:
    """An Ethereum-like chain over JSON-RPC; see `chains.base.Chain` for the contract of each method.

    Parameters
    ----------
    spec : ``chain`` must be ``eip155:N``; every endpoint must serve that very N
    watch : canonical (lower-case) addresses
    sleep, clock, rng : pause, monotonic time and jitter, for tests
    """

    def __init__(
        self,
        spec: ChainSpec,
        watch: Container[str],
        *,
        sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
    ) -> None:
        try:
            self._native = native_asset(spec.chain)
        except DecodeError as error:
            raise ConfigError(f"chain {spec.name}: {error}") from None
        self.spec = spec
        self._watch, self._screen, self._sleep = watch, screen_of(watch), sleep
        sockets = [url for url in spec.endpoints if urlsplit(url).scheme in ("ws", "wss")]
        others = [url for url in spec.endpoints if url not in sockets]
        settings: dict[str, Any] = {"timeout": spec.timeout_seconds, "rng": rng, "sleep": sleep}
        self._news = asyncio.Event()
        self._socket = Socket(sockets, greet=self._greet, notify=self._news.set, **settings) if sockets else None
        self._pool = HttpPool(others, on_connect=self._verify, **settings) if others or not sockets else None
        exchange: Exchange | None = self._pool or self._socket
        assert exchange is not None
        self._exchange, self._rpc = exchange, JsonRpc(exchange)
        self._listener: asyncio.Task[None] | None = None
        self._without_pairs: set[str] = set()  # endpoints that take no batch, or give no receipts by number
        self._without_receipts: set[str] = set()  # endpoints that do not know eth_getBlockReceipts by hash
        seconds = network.block_seconds if (network := by_chain(spec.chain)) else 12.0
        self._poll = max(FASTEST_POLL, spec.poll_seconds or min(seconds, 4.0) / 2)
        self._standstill = Standstill(spec.name, exchange, max(STALL_SECONDS, STALL_BLOCKS * seconds), clock)

    @property
    def rpc(self) -> JsonRpc:
        """The calls behind it."""
        return self._rpc

    def rotate(self) -> None:
        """Prefer the next endpoint from now on."""
        self._exchange.rotate()

    async def open(self) -> None:
        """Check the chain id of every endpoint.

        Raises
        ------
        ChainError : an endpoint serves another chain
        ChainUnavailable : no endpoint can be reached; one of several that cannot is checked before its first use
        """
        if self._pool is not None:
            await self._pool.check()
        if self._socket is not None:
            try:
                await self._socket.connect()
            except ChainUnavailable as error:
                if self._pool is None:
                    raise
                log.warning("%s: no subscription, polling instead: %s", self.spec.name, error)

    async def head(self) -> BlockRef:
        """The newest block of the endpoint that answers; after a long standstill another endpoint is preferred."""
        header = await self._rpc.call("eth_getBlockByNumber", "latest", False, type=RpcHeader)
        if header is None:
            self._exchange.rotate()
            raise ChainUnavailable(f"{self.spec.name}: {self._rpc.endpoint} has no latest block")
        ref = BlockRef(self.spec.chain, self._number(header.number), header.hash.lower())
        self._standstill.see(ref.number)
        return ref

    async def block(self, number: int) -> Block:
        """One block with its receipts, read again a few times while its parts contradict each other.

        Raises
        ------
        ChainUnavailable : it is not there (yet)
        ChainInconsistent : the contradiction stays
        """
        return await read_again(self._read, number, self.spec.name, self._exchange, self._sleep)

    async def balances(self, wanted: Sequence[tuple[str, str]], at: BlockRef) -> Mapping[tuple[str, str], int | None]:
        """Native and token balances after block ``at``, by its hash, or by its number where that is not understood."""
        found: dict[tuple[str, str], int | None] = dict.fromkeys(wanted)
        calls = {item: call for item in found if (call := self._balance_call(*item)) is not None}
        for place in ({"blockHash": at.hash}, hex(at.number)):
            if not calls:
                break
            answers = await self._rpc.batch([(method, [what, place]) for method, what in calls.values()])
            left = {}
            for (item, call), answer in zip(calls.items(), answers, strict=True):
                if isinstance(answer, MethodUnsupported):
                    left[item] = call
                else:
                    found[item] = _amount(answer, exact=call[0] == "eth_call")
            calls = left
        return found

    async def call(self, to: str, data: str) -> tuple[str, int] | None:
        """What a contract answers after the newest block, and that block's time; None where it gives no answer.

        Raises
        ------
        ChainUnavailable : no endpoint can be reached
        """
        head = await self._rpc.call("eth_getBlockByNumber", "latest", False, type=RpcStamp)
        if head is None:
            return None
        for place in ({"blockHash": head.hash}, head.number):
            try:
                answer = await self._rpc.call("eth_call", {"to": to, "data": data}, place, type=str)
            except MethodUnsupported:
                continue
            except RpcError:
                return None
            return None if answer is None else (answer, self._number(head.timestamp))
        return None

    async def wake(self) -> None:
        """Return at a new head's notification, or after the poll interval."""
        if self._socket is None:
            await self._sleep(self._poll)
            return
        if self._listener is None:
            self._listener = asyncio.create_task(self._socket.listen(), name=f"heads of {self.spec.name}")
        try:
            async with asyncio.timeout(self._poll):
                await self._news.wait()
        except TimeoutError:
            pass
        self._news.clear()

    async def aclose(self) -> None:
        """Close connections; calling it twice is fine."""
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.cancel()
            await asyncio.gather(listener, return_exceptions=True)
        if self._socket is not None:
            await self._socket.aclose()
        if self._pool is not None:
            await self._pool.aclose()

    async def _read(self, number: int) -> Block:
        block, receipts = await self._both(number)
        source = self._rpc.endpoint
        if block is None:
            self._exchange.rotate()
            raise ChainUnavailable(f"{self.spec.name}: {source} has no block {number} yet")
        if self._number(block.number) != number:
            raise ChainInconsistent(f"asked for block {number}, got {self._number(block.number)}")
        if receipts is not None and any(receipt.block_hash != block.hash for receipt in receipts):
            receipts = None  # another block has taken its place in between: ask by the hash
        return await self.complete(block, source, receipts)

    async def _both(self, number: int) -> tuple[RpcBlock | None, list[RpcReceipt] | None]:
        """A block and, where one request gives them too, the receipts at its height."""
        asked = ("eth_getBlockByNumber", [hex(number), True], RpcBlock)
        if self._rpc.endpoint not in self._without_pairs:
            found, failed = None, None
            try:
                found = await self._rpc.pair(asked, ("eth_getBlockReceipts", [hex(number)], list[RpcReceipt]))
            except ChainUnavailable as error:  # down, or confused by a list: a single call tells
                failed = error
            if found is not None and not isinstance(found[0], RpcError):
                if isinstance(found[1], MethodUnsupported):
                    self._without_pairs.add(self._rpc.endpoint)
                return found[0], None if isinstance(found[1], RpcError) else found[1]
            block = await self._rpc.call(asked[0], *asked[1], type=RpcBlock)
            if found is None or failed is not None:
                self._without_pairs.add(self._rpc.endpoint)
            return block, None
        return await self._rpc.call(asked[0], *asked[1], type=RpcBlock), None

    async def complete(self, block: RpcBlock, source: str, receipts: list[RpcReceipt] | None = None) -> Block:
        """A block that was read from ``source`` (redacted), with its receipts, asked for unless they are given.

        Raises
        ------
        ChainUnavailable : they cannot be had
        ChainInconsistent : they are not those of this block
        """
        if receipts is None or not block.transactions:
            receipts = await self._receipts(block)
        logs = None
        if receipts is None:
            logs, receipts = await self._logs_and_receipts(block)
        try:
            return decode_block(
                block, receipts, self._watch, self.spec.chain, logs=logs, source=source, screen=self._screen
            )
        except DecodeError as error:  # a header without a readable time: the endpoint's fault, never a reason to go on
            raise ChainUnavailable(f"{source}: {error}") from None

    async def _receipts(self, block: RpcBlock) -> list[RpcReceipt] | None:
        """The block's receipts; None where the endpoint does not offer them by hash."""
        if not block.transactions:
            return []
        if self._rpc.endpoint in self._without_receipts:
            return None
        try:
            receipts: list[RpcReceipt] | None = await self._rpc.call(
                "eth_getBlockReceipts", block.hash, type=list[RpcReceipt]
            )
        except MethodUnsupported:
            self._without_receipts.add(self._rpc.endpoint)
            return None
        if receipts is None:
            raise ChainInconsistent(f"block {block.hash} has gone while it was read")
        return receipts

    async def _logs_and_receipts(self, block: RpcBlock) -> tuple[list[RpcLog], list[RpcReceipt]]:
        """All logs by the block's hash, and the receipts of the transactions that touch the watch set."""
        logs: list[RpcLog] | None = await self._rpc.call("eth_getLogs", {"blockHash": block.hash}, type=list[RpcLog])
        if logs is None:
            raise ChainInconsistent(f"block {block.hash} has gone while it was read")
        check_logs(block, logs)
        calls = [("eth_getTransactionReceipt", [hash]) for hash in touching(block, logs, self._watch)]
        receipts: list[RpcReceipt] = []
        for (_, (hash,)), receipt in zip(calls, await self._rpc.batch(calls, type=RpcReceipt), strict=True):
            if isinstance(receipt, ChainError):
                raise receipt
            if receipt is None:
                raise ChainInconsistent(f"transaction {hash} has gone while block {block.hash} was read")
            receipts.append(receipt)
        return logs, receipts

    def _balance_call(self, address: str, asset: str) -> tuple[str, Any] | None:
        if asset == self._native:
            return "eth_getBalance", address
        prefix = f"{self.spec.chain}/erc20:"
        if not asset.startswith(prefix):
            return None
        return "eth_call", {"to": asset.removeprefix(prefix), "data": BALANCE_OF + address[2:].rjust(64, "0")}

    async def _verify(self, pool: HttpPool) -> None:
        await self._greet(JsonRpc(pool), subscribe=False)

    async def _greet(self, rpc: JsonRpc, subscribe: bool = True) -> None:
        answer = await rpc.call("eth_chainId", type=str)
        served = f"eip155:{self._number(answer or '')}"
        if served != self.spec.chain:
            raise ChainError(f"endpoint {rpc.endpoint} serves {served}, configuration says {self.spec.chain}")
        if subscribe:
            try:
                await rpc.call("eth_subscribe", "newHeads")
            except MethodUnsupported:
                log.info("%s: %s offers no subscription, polling instead", self.spec.name, rpc.endpoint)

    def _number(self, quantity: str) -> int:
        try:
            return int(quantity, 16)
        except ValueError:
            raise ChainUnavailable(f"{self.spec.name}: {self._rpc.endpoint} gave an unreadable number") from None


def _amount(answer: Any, *, exact: bool) -> int | None:
    """A balance; ``exact`` asks for one 32-byte word, because "0x" is what an account without code returns."""
    if not isinstance(answer, str) or (exact and len(answer) != 66):
        return None
    try:
        return int(answer, 16)
    except ValueError:
        return None
