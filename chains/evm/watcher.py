"""The EVM chain watcher: heads, blocks with their receipts, balances.

A block is read by number once, with the receipts at its height where one request gives both; receipts of another block
are not taken. Everything else is asked by its hash, so that a reorganisation or a change of endpoint in between cannot
mix two blocks. Value that contracts move internally comes from traces (`chains.evm.traces`), where an
endpoint offers them; without, the state of watched accounts tells of it (`chains.evm.accounts`). Both say what they
could not see in `Block.blind_spots`.

Which endpoint is asked is a matter of `chains.evm.nodes`. The hash of each block is recomputed from its header, and
where a quorum is asked for, as many endpoints as it says must give the same hash and the same logs.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Container, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from chains.base import ChainSpec, EndpointState
from chains.evm.accounts import Accounts
from chains.evm.decode import decode_block, native_asset, screen_of, touching
from chains.evm.emitted import Emitted
from chains.evm.finality import FinalHeight
from chains.evm.header import HeaderCheck
from chains.evm.names import TokenNames
from chains.evm.nodes import EvmNodes
from chains.evm.proposals import Proposals
from chains.evm.quorum import Quorum
from chains.evm.traces import Traces, mode_of
from chains.evm.wire import RpcBlock, RpcHeader, RpcLog, RpcReceipt, RpcStamp, check_logs
from chains.patience import read_again
from chains.rpc import JsonRpc, MethodUnsupported, RpcError
from monitor.errors import ChainError, ChainInconsistent, ChainUnavailable, ConfigError, DecodeError
from monitor.model import Block, BlockRef
from monitor.networks import by_chain

__all__ = ["EvmChain"]

BALANCE_OF = "0x70a08231"  # balanceOf(address)
PAIRS = "pairs"  # a capability: a block and the receipts at its height in one request


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
        self.nodes = EvmNodes(spec, sleep=sleep, clock=clock, rng=rng)
        self._exchange, self._rpc = self.nodes.pool, self.nodes.rpc
        self._headers = HeaderCheck(spec.name, len(spec.endpoints))
        self._quorum = Quorum(spec.name, spec.quorum, self.nodes.pool, self.nodes.rpc_of, sleep)
        self._traces = Traces(self.nodes, mode_of(spec.options))
        self._accounts = Accounts(self._rpc, spec, self._native, watch)
        self._proposals = Proposals(spec, sleep=sleep, clock=clock)
        self._names = TokenNames(self._rpc, spec.chain)
        seconds = network.block_seconds if (network := by_chain(spec.chain)) else 12.0
        self._final = FinalHeight(self._rpc, spec.name, spec.finality, seconds, clock)

    @property
    def rpc(self) -> JsonRpc:
        """The calls behind it."""
        return self._rpc

    def rotate(self) -> None:
        """Prefer the next endpoint from now on."""
        self._exchange.rotate()

    def endpoints(self) -> Sequence[EndpointState]:
        """What each endpoint is worth now."""
        return self.nodes.states()

    async def probe(self) -> None:
        """Ask every endpoint what it offers; see `endpoints`."""
        await self.nodes.probe()

    async def open(self) -> None:
        """Check the chain id of every endpoint.

        Raises
        ------
        ChainError : all endpoints serve another chain; one of several that does is never asked again
        ChainUnavailable : no endpoint can be reached; one of several that cannot is checked before its first use
        """
        await self.nodes.open()

    async def head(self) -> BlockRef:
        """The newest block of the endpoint that answers; one that lags behind others is asked after them."""
        header = await self._rpc.call("eth_getBlockByNumber", "latest", False, type=RpcHeader)
        source = self._rpc.endpoint
        if header is None:
            self._exchange.rotate()
            raise ChainUnavailable(f"{self.spec.name}: {source} has no latest block")
        ref = BlockRef(self.spec.chain, self._number(header.number), header.hash.lower())
        self.nodes.saw_head(source, ref.number)
        return ref

    async def block(self, number: int) -> Block:
        """One block with its receipts, read again a few times while its parts contradict each other.

        Raises
        ------
        ChainUnavailable : it is not there (yet)
        ChainInconsistent : the contradiction stays
        """
        self._proposals.start()
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

    async def describe(self, assets: Sequence[str]) -> Mapping[str, tuple[str, int]]:
        """(symbol, decimals) that tokens give themselves, cut and cleaned; those without an answer are left out.

        Raises
        ------
        ChainUnavailable : no endpoint can be reached
        """
        return await self._names.describe(assets)

    async def final_height(self) -> int | None:
        """The height that nodes call final, as of a few blocks ago; None where the depth alone decides."""
        return await self._final.height()

    async def wake(self) -> None:
        """Return at a new head's notification, or after the poll interval."""
        await self.nodes.wake()

    async def aclose(self) -> None:
        """Close connections; calling it twice is fine."""
        await self._proposals.aclose()
        await self.nodes.aclose()

    async def _read(self, number: int) -> Block:
        block, receipts = await self._both(number)
        source = self._rpc.endpoint
        if block is None:
            self._exchange.rotate()
            raise ChainUnavailable(f"{self.spec.name}: {source} has no block {number} yet")
        if self._number(block.number) != number:
            raise ChainInconsistent(f"asked for block {number}, got {self._number(block.number)}")
        if receipts is not None and {receipt.block_hash for receipt in receipts} - {block.hash}:
            receipts = None  # another block has taken its place in between: ask by the hash
        return self._proposals.attach(await self.complete(block, source, receipts), len(block.transactions))

    async def _both(self, number: int) -> tuple[RpcBlock | None, list[RpcReceipt] | None]:
        """A block and, where one request gives them too, the receipts at its height."""
        asked = ("eth_getBlockByNumber", [hex(number), True], RpcBlock)
        known = self.nodes.capabilities
        if known.supports(self._rpc.endpoint, PAIRS) is not False:
            found, failed = None, None
            try:
                found = await self._rpc.pair(asked, ("eth_getBlockReceipts", [hex(number)], list[RpcReceipt]))
            except ChainUnavailable as error:  # down, or confused by a list: a single call tells
                failed = error
            if found is not None and not isinstance(found[0], RpcError):
                if isinstance(found[1], MethodUnsupported):
                    known.refuse(self._rpc.endpoint, PAIRS)
                return found[0], None if isinstance(found[1], RpcError) else found[1]
            block = await self._rpc.call(asked[0], *asked[1], type=RpcBlock)
            if found is None or failed is not None:
                known.refuse(self._rpc.endpoint, PAIRS)
            return block, None
        return await self._rpc.call(asked[0], *asked[1], type=RpcBlock), None

    def check_header(self, block: RpcBlock, source: str) -> str | None:
        """Recompute a block's hash from its header; the blind spot where the network's cannot be, else None.

        Raises
        ------
        ChainInconsistent : it is another one
        """
        return self._headers.see(block, source)

    async def complete(
        self, block: RpcBlock, source: str, receipts: list[RpcReceipt] | None = None, emitted: Emitted | None = None
    ) -> Block:
        """A block that was read from ``source`` (redacted), with its receipts, asked for unless they are given.

        ``emitted``: see `Accounts.observe`.

        Raises
        ------
        ChainUnavailable : they cannot be had, or too few endpoints for the quorum
        ChainInconsistent : they are not those of this block, its hash is not its header's, or endpoints disagree
        """
        spot = self.check_header(block, source)
        if receipts is None or not block.transactions:
            receipts = await self._receipts(block)
        logs = None
        if receipts is None:
            logs, receipts = await self._logs_and_receipts(block)
        traced = await self._traces.of(block)
        try:
            decoded = decode_block(
                block, receipts, self._watch, self.spec.chain,
                logs=logs, source=source, screen=self._screen, traced=traced,
            )  # fmt: skip
        except DecodeError as error:  # a header without a readable time: the endpoint's fault, never a reason to go on
            raise ChainUnavailable(f"{source}: {error}") from None
        said: Iterable[RpcLog] = logs if logs is not None else (log for receipt in receipts for log in receipt.logs)
        if self.spec.quorum > 1:
            said = list(said)
            await self._quorum.agree(block, said, source)
        if spot is not None:
            decoded = replace(decoded, blind_spots=(*decoded.blind_spots, spot))
        return await self._accounts.observe(decoded, block, said, emitted)

    async def _receipts(self, block: RpcBlock) -> list[RpcReceipt] | None:
        """The block's receipts; None where the endpoint does not offer them by hash."""
        if not block.transactions:
            return []
        if self.nodes.capabilities.supports(self._rpc.endpoint, "eth_getBlockReceipts") is False:
            return None
        try:
            receipts: list[RpcReceipt] | None = await self._rpc.call(
                "eth_getBlockReceipts", block.hash, type=list[RpcReceipt]
            )
        except MethodUnsupported:
            self.nodes.capabilities.refuse(self._rpc.endpoint, "eth_getBlockReceipts")
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
