"""Nodes with the JSON-RPC of Bitcoin Core: Core itself, and what grew out of it (Litecoin, Dogecoin, Monacoin, BCHN).

A block is read in its serialised form, which can be checked to the last bit and which every version gives, and beside
it in the form with prevouts (``getblock`` 3), which Core gives from version 23 on. What a node does not offer is found
out by asking, once for each of its runs.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from chains.base import ChainSpec, EndpointState, terms_within
from chains.batching import BatchSizes
from chains.bitcoin.base import Fetched, Prevout, Unspent
from chains.bitcoin.block import RawBlock, parse_block
from chains.bitcoin.coin_scan import SECONDS, CoinScan
from chains.bitcoin.core_answers import Hash, Info, Output, data_of, outputs_of, prevouts_of
from chains.bitcoin.offers import INDEX, NUMBERS, PREVOUTS, Offers
from chains.bitcoin.outputs import RecentOutputs
from chains.endpoints.heads import HeadWatch
from chains.exchange import Kind, Refused, RpcError, Unanswered
from chains.rpc import HttpPool, JsonRpc, Single
from monitor.errors import ChainError, ChainInconsistent, ChainUnavailable, DecodeError
from monitor.model import BlockRef
from monitor.networks import Network

__all__ = ["CoreSource"]

log = logging.getLogger(__name__)

TOGETHER = 4  # requests at a time: a node has few workers and turns others away
COMPARE_SECONDS = 15.0  # the heads of all endpoints are compared so often
HEAD_SECONDS = 20.0  # blocks go around in seconds, however far apart they are: three times this is a lag
PART = 100  # transactions that are asked for together

#: Codes of Core's errors (``rpc/protocol.h``) that are answers: miscellaneous, wrong type, not found, wrong parameter,
#: not to be decoded.
_ANSWERS = frozenset({-1, -3, -5, -8, -22})
_GONE = ("pruned", "not found on disk")  # what they say of blocks that they do not keep
_HEAVY = frozenset({Kind.TIMEOUT, Kind.TOO_LARGE, Kind.CUT_OFF, Kind.INCOMPLETE})


class CoreSource:
    """See `chains.bitcoin.base.Source`.

    Parameters
    ----------
    spec : ``endpoints`` are ``http(s)://user:password@host:port``
    network : whose blocks they give
    rate : calls a second, None for no bound beside that of each endpoint
    sleep, clock, rng : pause, monotonic time and jitter
    """

    costly = False

    def __init__(
        self,
        spec: ChainSpec,
        network: Network,
        *,
        rate: float | None = None,
        sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
    ) -> None:
        self._spec, self._network, self._clock = spec, network, clock
        terms = terms_within(spec, rate)
        made: dict[str, Any] = {
            "rng": rng, "sleep": sleep, "clock": clock, "terms": terms, "on_connect": self._greet
        }  # fmt: skip
        self._offers = Offers(clock)
        self._ids, self._sizes = itertools.count(1), BatchSizes()
        self._pool = HttpPool(spec.endpoints, timeout=spec.timeout_seconds, **made)
        for endpoint in self._pool.endpoints:
            if endpoint.limiter is not None:
                self._sizes.bound(endpoint.name, endpoint.limiter.most)
        self._rpc = self._calls(self._pool)
        self._scans = HttpPool(spec.endpoints, timeout=SECONDS, attempts=1, **made)
        self._scan = CoinScan(
            spec.name, network.chain, self._calls(self._scans), self._rpc, self._offers, sleep, clock
        )  # fmt: skip
        self._turn = asyncio.Semaphore(TOGETHER)
        self._outputs = RecentOutputs()
        self._heads = HeadWatch(spec.name, self._pool, min(network.block_seconds, HEAD_SECONDS), clock)
        self._compared_at = clock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._syncing: set[str] = set()  # endpoints of which it was said

    @property
    def endpoint(self) -> str:
        """The redacted name of the endpoint that answered last."""
        return self._pool.endpoint

    async def open(self) -> None:
        """See `Source`."""
        await self._pool.check()

    async def head(self) -> BlockRef:
        """See `Source`. Now and then the others are asked too, so that one that lags is not preferred."""
        async with self._turn:
            info: Info | None = await self._rpc.call("getblockchaininfo", type=Info)
            name = self.endpoint
        if info is None:
            raise ChainUnavailable(f"{self._spec.name}: {name} says nothing of its chain")
        if info.initialblockdownload and name not in self._syncing and not self._spec.replay:
            self._syncing.add(name)
            log.warning("%s: %s is still loading the chain, at block %d", self._spec.name, name, info.blocks)
        self._heads.see(name, info.blocks)
        if len(self._pool.endpoints) > 1 and self._clock() - self._compared_at >= COMPARE_SECONDS:
            self._compared_at = self._clock()
            self._beside(self._compare())
        return BlockRef(self._network.chain, info.blocks, info.bestblockhash)

    async def hash_at(self, number: int) -> str:
        """See `Source`."""
        (found,) = await self._batch(self._rpc, [("getblockhash", [number])], Hash)
        if isinstance(found, str):
            return found
        name = self.endpoint
        self.rotate()
        raise ChainUnavailable(f"{self._spec.name}: {found or name} (no block {number} there yet)")

    async def block(self, number: int, hash: str) -> Fetched:
        """See `Source`."""
        async with self._turn:
            text, full, source = await self._both(hash)
        try:
            raw = parse_block(data_of(text), self._network, check_work=not self._spec.replay)
            if raw.header.hash != hash:
                raise ChainInconsistent(f"asked for block {hash}, got {raw.header.hash}")
            known = self._told(raw, full, source)
        except (ChainInconsistent, DecodeError) as error:
            raise ChainInconsistent(f"{source}: block {number}: {error}") from None
        complete = all(point in known for point in raw.outpoints[1:])  # the first is the coinbase's
        return Fetched(raw, known, complete, source)

    async def prevouts(self, wanted: Collection[bytes]) -> Mapping[bytes, Prevout]:
        """See `Source`. A transaction is fetched once for all of its outputs, and remembered for a while."""
        found = self._outputs.find(wanted)
        missing = [point for point in wanted if point not in found]
        if not missing:
            return found
        found |= await self._look_up(self._rpc, missing)
        source = self.endpoint
        if not self._offers.lacks(source, INDEX):
            return found
        for name in self._pool.names:
            missing = [point for point in missing if point not in found]
            if missing and name != source and not self._offers.lacks(name, INDEX):
                try:
                    found |= await self._look_up(self._calls(self._pool.only(name)), missing)
                except ChainUnavailable as error:
                    log.debug("%s: prevouts: %s", self._spec.name, error)
        return found

    async def unspent(self, scripts: Mapping[bytes, str]) -> Unspent | None:
        """See `Source`."""
        return await self._scan.coins(scripts)

    async def waiting(self) -> Collection[str]:
        """See `Source`."""
        async with self._turn:
            found: list[str] | None = await self._rpc.call("getrawmempool", type=list[Hash])
        return found or ()

    async def raw_transactions(self, hashes: Sequence[str]) -> Mapping[str, bytes]:
        """See `Source`."""
        answers = await self._batch(self._rpc, [("getrawtransaction", [hash]) for hash in hashes], str)
        return {hash: data_of(text) for hash, text in zip(hashes, answers, strict=True) if isinstance(text, str)}

    def endpoints(self) -> Sequence[EndpointState]:
        """What each endpoint is worth now."""
        return [replace(state, offers=self._offers.of(state.name)) for state in self._pool.states()]

    def rotate(self) -> None:
        """Prefer another endpoint for a while."""
        self._pool.rotate()

    def contradicted(self) -> None:
        """What the endpoint in use gave contradicts itself, or others."""
        self._pool.contradicted()

    async def aclose(self) -> None:
        """Close connections; calling it twice is fine."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._pool.aclose()
        await self._scans.aclose()

    # -- calls ----------------------------------------------------------------------------------------------------

    def _calls(self, exchange: HttpPool | Single) -> JsonRpc:
        return JsonRpc(exchange, self._ids, self._sizes, _ANSWERS)

    async def _greet(self, single: Single) -> None:
        """Is it this chain; and was it started anew."""
        rpc = self._calls(single)
        height = int(self._network.params.get("at", 0))
        try:
            found = await rpc.call("getblockhash", height, type=Hash)
        except RpcError as error:
            raise ChainUnavailable(f"{error} (block {height} tells the chain; is it still loading?)") from None
        if found is None:
            raise ChainUnavailable(f"{single.endpoint}: it does not tell the hash of block {height}")
        if not found.startswith(self._network.chain.partition(":")[2]):
            raise ChainError(
                f"endpoint {single.endpoint} serves another chain: its block {height} is {found}, "
                f"configuration says {self._spec.chain}"
            )
        try:
            runs = await rpc.call("uptime", type=float)
        except ChainUnavailable:
            runs = None  # versions before 0.15, and services that do not tell it
        self._offers.runs(single.endpoint, runs)

    async def _batch(self, rpc: JsonRpc, calls: Sequence[tuple[str, Sequence[Any]]], type: Any) -> list[Any]:
        if not calls:
            return []
        async with self._turn:
            return await rpc.batch(calls, type=type)

    def _beside(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name=f"nodes of {self._spec.name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _compare(self) -> None:
        """Ask the other endpoints for their heads."""

        async def ask(name: str) -> None:
            try:
                found = await self._calls(self._pool.only(name)).call("getblockcount", type=int)
            except ChainUnavailable:
                return  # counted with the endpoint; its circuit says the rest
            if found is not None:
                self._heads.see(name, found)

        await asyncio.gather(*(ask(name) for name in self._pool.names if name != self.endpoint))

    # -- blocks ---------------------------------------------------------------------------------------------------

    async def _both(self, hash: str) -> tuple[str, msgspec.Raw | None, str]:
        """The serialised block, the same with prevouts where the node gives them, and who gave it."""
        name, is_heavy = self.endpoint, False
        if self._offers.lacks(name, PREVOUTS):
            text, source = await self._serialised(hash)
            return text, None, source
        try:
            pair = await self._rpc.pair(
                ("getblock", [hash, self._plain(name)], str), ("getblock", [hash, 3], msgspec.Raw)
            )
        except Unanswered as error:
            if not error.kinds & _HEAVY:
                raise
            pair, is_heavy = None, True
        if pair is not None and isinstance(pair[0], str):
            source = self.endpoint
            return pair[0], self._full(pair[1], source), source
        text, source = await self._serialised(hash)
        if is_heavy:  # it gives the block, but not in time with the prevouts
            self._offers.note(source, PREVOUTS, False)
        if pair is not None or self._offers.lacks(source, PREVOUTS):
            return text, None, source
        try:  # it takes no two calls in one request
            full: Any = await self._calls(self._pool.only(source)).call("getblock", hash, 3, type=msgspec.Raw)
        except RpcError as error:
            full = error
        return text, self._full(full, source), source

    def _full(self, answer: Any, source: str) -> msgspec.Raw | None:
        if not isinstance(answer, RpcError):
            return answer if isinstance(answer, msgspec.Raw) else None
        if "undo" not in str(answer).lower():  # of old blocks, a pruned node has none any more
            self._offers.note(source, PREVOUTS, False)
        return None

    def _told(self, raw: RawBlock, full: msgspec.Raw | None, source: str) -> dict[bytes, Prevout]:
        """Prevouts that came with a block, of its inputs alone."""
        found = prevouts_of(full) if full is not None else None
        known = {point: found[point] for point in raw.outpoints if point in found} if found else {}
        if full is not None and len(raw.outpoints) > 1:
            self._offers.note(source, PREVOUTS, bool(known))
        return known

    async def _serialised(self, hash: str) -> tuple[str, str]:
        """The serialised block and who gave it; where a node has pruned it, another one may have it."""
        answers: list[str | ChainUnavailable] = [await self._plain_block(self._rpc, hash)]
        first = source = self.endpoint
        for name in self._pool.names:
            if isinstance(answers[-1], str) or name == first:
                continue
            source = name
            try:
                answers.append(await self._plain_block(self._calls(self._pool.only(name)), hash))
            except ChainUnavailable as error:
                answers.append(error)
        if isinstance(found := answers[-1], str):
            return found, source
        text = f"{self._spec.name}: {'; '.join(map(str, answers))}"
        if all(any(words in str(answer) for words in _GONE) for answer in answers):
            raise Refused(text, 404)
        raise ChainUnavailable(text)

    async def _plain_block(self, rpc: JsonRpc, hash: str) -> str | RpcError:
        plain = self._plain(rpc.endpoint)
        (answer,) = await rpc.batch([("getblock", [hash, plain])], type=str)
        if isinstance(answer, RpcError) and plain is not False and "boolean" in str(answer):
            self._offers.note(rpc.endpoint, NUMBERS, False)
            self._offers.note(rpc.endpoint, PREVOUTS, False)
            (answer,) = await rpc.batch([("getblock", [hash, False])], type=str)
        return answer if answer is not None else RpcError(f"{rpc.endpoint}: there is no block {hash}")

    def _plain(self, endpoint: str) -> int:
        """How the serialised form is asked for: by a truth value on nodes that grew out of Core 0.14."""
        return False if self._offers.lacks(endpoint, NUMBERS) else 0

    # -- prevouts -------------------------------------------------------------------------------------------------

    async def _look_up(self, rpc: JsonRpc, points: Sequence[bytes]) -> dict[bytes, Prevout]:
        """Outputs by their transactions, or as coins where there is no index of transactions."""
        wanted: dict[bytes, list[bytes]] = {}
        for point in points:
            wanted.setdefault(point[:32], []).append(point)
        found: dict[bytes, Prevout] = {}
        hashes, seen = list(wanted), set()
        for start in range(0, len(hashes), PART):
            part = hashes[start : start + PART]
            answers = await self._batch(rpc, [("getrawtransaction", [hash[::-1].hex()]) for hash in part], str)
            for hash, answer in zip(part, answers, strict=True):
                if isinstance(answer, RpcError) and "txindex" in str(answer):
                    self._offers.note(rpc.endpoint, INDEX, False)
                outputs = outputs_of(answer, hash, self._network)
                if outputs is None:
                    continue
                seen.add(hash)
                self._outputs.keep(hash, outputs)
                for point in wanted[hash]:
                    if (number := int.from_bytes(point[32:], "little")) < len(outputs):
                        found[point] = outputs[number]
        return found | await self._coins(rpc, [point for point in points if point[:32] not in seen])

    async def _coins(self, rpc: JsonRpc, points: Sequence[bytes]) -> dict[bytes, Prevout]:
        """Outputs that no block spends: nodes know them without an index."""
        calls = [("gettxout", [point[31::-1].hex(), int.from_bytes(point[32:], "little"), False]) for point in points]
        answers = await self._batch(rpc, calls, Output)
        return {
            point: answer.prevout for point, answer in zip(points, answers, strict=True) if isinstance(answer, Output)
        }
