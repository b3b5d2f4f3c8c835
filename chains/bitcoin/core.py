"""Nodes with the JSON-RPC of Bitcoin Core: Core itself, and what grew out of it (Litecoin, Dogecoin, Monacoin, BCHN).

A block is read in its serialised form, which can be checked to the last bit and which every version gives, and beside
it in the form with prevouts (``getblock`` 3), which Core gives from version 23 on. What a node does not offer is found
out once, by asking.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Annotated, Any

import msgspec

from chains.base import ChainSpec, EndpointState, Terms
from chains.bitcoin.base import Coin, Fetched, Prevout, Unspent, outpoint
from chains.bitcoin.block import parse_block, parse_tx
from chains.exchange import Refused, RpcError
from chains.rpc import HttpPool, JsonRpc, Single
from monitor.errors import ChainError, ChainInconsistent, ChainUnavailable, DecodeError
from monitor.model import BlockRef
from monitor.networks import Network

__all__ = ["CoreSource"]

log = logging.getLogger(__name__)

COIN = 100_000_000  # base units
MOST_COINS = 10**13  # more than any chain of the family has
TOGETHER = 4  # requests at a time: a node has few workers and turns others away
SCAN_SECONDS = 1800.0  # to read the whole set of coins
SCAN_PAUSE = 2.0
KEPT = 20_000  # transactions whose outputs are remembered


class _Info(msgspec.Struct):
    blocks: Number
    bestblockhash: Hash
    initialblockdownload: bool = False


Hex = Annotated[str, msgspec.Meta(pattern=r"^([0-9a-f]{2})*$")]
Hash = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]
Number = Annotated[int, msgspec.Meta(ge=0, lt=1 << 32)]


class _Script(msgspec.Struct):
    hex: Hex


class _Output(msgspec.Struct):
    value: Decimal
    scriptPubKey: _Script


class _Input(msgspec.Struct):
    txid: Hash | None = None
    vout: Number | None = None
    prevout: _Output | None = None


class _Tx(msgspec.Struct):
    vin: list[_Input]


class _Block(msgspec.Struct):
    tx: list[_Tx]


class _Unspent(msgspec.Struct):
    txid: Hash
    vout: Number
    scriptPubKey: Hex
    amount: Decimal
    height: int
    coinbase: bool = False


class _Scan(msgspec.Struct):
    success: bool
    height: int
    bestblock: Hash
    unspents: list[_Unspent]


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
        self._spec, self._network, self._sleep = spec, network, sleep
        terms = dict(spec.terms)
        if rate is not None:
            usual = {url: terms.get(url, Terms()) for url in spec.endpoints}
            terms = {url: replace(term, rate=min(rate, term.rate or rate)) for url, term in usual.items()}
        self._pool = HttpPool(
            spec.endpoints, timeout=spec.timeout_seconds, rng=rng, sleep=sleep, clock=clock, on_connect=self._greet,
            terms=terms,
        )  # fmt: skip
        self._scans = HttpPool(
            spec.endpoints, timeout=SCAN_SECONDS, attempts=1, rng=rng, sleep=sleep, clock=clock, terms=terms
        )
        self._rpc, self._scanner = JsonRpc(self._pool), JsonRpc(self._scans)
        self._turn = asyncio.Semaphore(TOGETHER)
        self._raw: dict[str, Any] = {}  # how an endpoint asks for the serialised form: 0, or false on old nodes
        self._bare: set[str] = set()  # endpoints that give no prevouts with blocks
        self._no_index: set[str] = set()
        self._known: OrderedDict[bytes, tuple[Prevout, ...]] = OrderedDict()
        self._said_syncing = False

    @property
    def endpoint(self) -> str:
        """The redacted name of the endpoint that answered last."""
        return self._pool.endpoint

    async def open(self) -> None:
        """See `Source`."""
        await self._pool.check()

    async def head(self) -> BlockRef:
        """See `Source`."""
        info = await self._call("getblockchaininfo", type=_Info)
        if info is None:
            raise ChainUnavailable(f"{self._spec.name}: {self.endpoint} says nothing of its chain")
        if info.initialblockdownload and not self._said_syncing and not self._spec.replay:
            self._said_syncing = True
            log.warning("%s: %s is still loading the chain, at block %d", self._spec.name, self.endpoint, info.blocks)
        return BlockRef(self._network.chain, info.blocks, info.bestblockhash)

    async def hash_at(self, number: int) -> str:
        """See `Source`."""
        (found,) = await self._batch([("getblockhash", [number])], Hash)
        if isinstance(found, str):
            return found
        name = self.endpoint
        self.rotate()
        why = f" ({found})" if isinstance(found, RpcError) and "out of range" not in str(found) else ""
        raise ChainUnavailable(f"{self._spec.name}: {name} has no block {number} yet{why}")

    async def block(self, number: int, hash: str) -> Fetched:
        """See `Source`."""
        text, full = await self._both(hash)
        source = self.endpoint
        try:
            raw = parse_block(bytes.fromhex(text), self._network, check_work=not self._spec.replay)
        except DecodeError as error:
            raise ChainInconsistent(f"{source}: block {number}: {error}") from None
        if raw.header.hash != hash:
            raise ChainInconsistent(f"{source}: asked for block {hash}, got {raw.header.hash}")
        known = _prevouts(full) if full is not None else {}
        complete = full is not None and len(known) == len(set(raw.outpoints)) - 1
        if full is not None and not complete and len(raw.outpoints) > 1:
            self._bare.add(source)
        return Fetched(raw, known, complete, source)

    async def prevouts(self, wanted: Collection[bytes]) -> Mapping[bytes, Prevout]:
        """See `Source`. A transaction is fetched once for all of its outputs, and remembered for a while."""
        await self._fetch(list(dict.fromkeys(point[:32] for point in wanted if point[:32] not in self._known)))
        found: dict[bytes, Prevout] = {}
        for point in wanted:
            outputs = self._known.get(point[:32], ())
            number = int.from_bytes(point[32:], "little")
            if number < len(outputs):
                found[point] = outputs[number]
        if self.endpoint in self._no_index:
            found |= await self._coins([point for point in wanted if point not in found])
        while len(self._known) > KEPT:
            self._known.popitem(last=False)
        return found

    async def unspent(self, scripts: Mapping[bytes, str]) -> Unspent | None:
        """See `Source`."""
        wanted = [f"raw({script.hex()})" for script in scripts]
        while True:
            try:
                found = await self._scanner.call("scantxoutset", "start", wanted, type=_Scan)
                break
            except RpcError as error:
                log.info("%s: coins cannot be read: %s", self._spec.name, error)
                return None
            except ChainUnavailable as error:
                if "in progress" not in str(error):
                    raise
                await self._sleep(SCAN_PAUSE)
        if found is None or not found.success:
            return None
        coins = (
            Coin(outpoint(c.txid, c.vout), _units(c.amount), bytes.fromhex(c.scriptPubKey), c.height, c.coinbase)
            for c in found.unspents
        )
        return Unspent(BlockRef(self._network.chain, found.height, found.bestblock), tuple(coins))

    async def waiting(self) -> Collection[str]:
        """See `Source`."""
        found: list[str] | None = await self._call("getrawmempool", type=list[Hash])
        return found or ()

    async def raw_transactions(self, hashes: Sequence[str]) -> Mapping[str, bytes]:
        """See `Source`."""
        answers = await self._batch([("getrawtransaction", [hash]) for hash in hashes], Hex)
        return {hash: bytes.fromhex(text) for hash, text in zip(hashes, answers, strict=True) if isinstance(text, str)}

    def endpoints(self) -> Sequence[EndpointState]:
        """What each endpoint is worth now."""
        return self._pool.states()

    def rotate(self) -> None:
        """Prefer another endpoint for a while."""
        self._pool.rotate()

    def contradicted(self) -> None:
        """What the endpoint in use gave contradicts itself, or others."""
        self._pool.contradicted()

    async def aclose(self) -> None:
        """Close connections; calling it twice is fine."""
        await self._pool.aclose()
        await self._scans.aclose()

    # -- calls ----------------------------------------------------------------------------------------------------

    async def _greet(self, single: Single) -> None:
        """Is it this chain."""
        height = int(self._network.params.get("at", 0))
        found = await JsonRpc(single).call("getblockhash", height, type=str)
        wanted = self._network.chain.partition(":")[2]
        if not str(found).startswith(wanted):
            raise ChainError(
                f"endpoint {single.endpoint} serves another chain: its block {height} is {found}, "
                f"configuration says {self._spec.chain}"
            )

    async def _call(self, method: str, *params: Any, type: Any) -> Any:
        async with self._turn:
            return await self._rpc.call(method, *params, type=type)

    async def _batch(self, calls: Sequence[tuple[str, Sequence[Any]]], type: Any) -> list[Any]:
        if not calls:
            return []
        async with self._turn:
            return await self._rpc.batch(calls, type=type)

    async def _both(self, hash: str) -> tuple[str, _Block | None]:
        """The serialised block, and the same with prevouts where the node gives them."""
        full = None
        name = self.endpoint
        plain = self._raw.get(name, 0)
        async with self._turn:
            if name not in self._bare:
                pair = await self._rpc.pair(("getblock", [hash, plain], Hex), ("getblock", [hash, 3], _Block))
                if pair is not None and isinstance(pair[0], str):
                    if isinstance(pair[1], RpcError):
                        self._bare.add(self.endpoint)
                    else:
                        full = pair[1]
                    return pair[0], full
            text = await self._serialised(hash, plain)
        return text, full

    async def _serialised(self, hash: str, plain: Any) -> str:
        answers = await self._rpc.batch([("getblock", [hash, plain])], type=Hex)
        if isinstance(answers[0], RpcError) and plain is not False and "boolean" in str(answers[0]):
            self._raw[self.endpoint] = False
            self._bare.add(self.endpoint)
            answers = await self._rpc.batch([("getblock", [hash, False])], type=Hex)
        if isinstance(answers[0], RpcError):
            if "pruned" in str(answers[0]):
                raise Refused(f"{self._spec.name}: {answers[0]}", 404)
            raise ChainUnavailable(f"{self._spec.name}: {answers[0]}")
        if answers[0] is None:
            raise ChainUnavailable(f"{self._spec.name}: {self.endpoint} has no block {hash}")
        return str(answers[0])

    async def _fetch(self, hashes: Sequence[bytes]) -> None:
        """Outputs of transactions, into what is remembered."""
        answers = await self._batch([("getrawtransaction", [hash[::-1].hex()]) for hash in hashes], Hex)
        for hash, answer in zip(hashes, answers, strict=True):
            if isinstance(answer, RpcError):
                if "txindex" in str(answer):
                    self._no_index.add(self.endpoint)
                continue
            try:
                tx = parse_tx(bytes.fromhex(answer or ""), self._network)
            except DecodeError:
                continue
            if tx.hash == hash[::-1].hex():
                outputs = zip(tx.output_values, tx.output_scripts, strict=True)
                self._known[hash] = tuple(Prevout(*output) for output in outputs)

    async def _coins(self, points: Sequence[bytes]) -> dict[bytes, Prevout]:
        """Outputs that are not spent in a block, from nodes without an index."""
        calls = [
            ("gettxout", [point[31::-1].hex(), int.from_bytes(point[32:], "little"), False]) for point in points
        ]
        answers = await self._batch(calls, _Output)
        return {
            point: Prevout(_units(answer.value), bytes.fromhex(answer.scriptPubKey.hex))
            for point, answer in zip(points, answers, strict=True)
            if isinstance(answer, _Output)
        }


def _prevouts(block: _Block) -> dict[bytes, Prevout]:
    return {
        outpoint(item.txid, item.vout): Prevout(
            _units(item.prevout.value), bytes.fromhex(item.prevout.scriptPubKey.hex)
        )
        for tx in block.tx
        for item in tx.vin
        if item.txid is not None and item.vout is not None and item.prevout is not None
    }


def _units(amount: Decimal) -> int:
    """Base units of an amount in coins, exactly; ChainInconsistent where it can be none."""
    if not 0 <= amount <= MOST_COINS:
        raise ChainInconsistent("an amount of coins that makes no sense")
    return int(amount * COIN)
