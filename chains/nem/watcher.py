"""The NEM chain watcher, on the REST API of a NIS1 node.

Public nodes do not tell block hashes. A block's identity is therefore `chains.nem.decode.identity`, made of its
signature and its parent's hash, and `NemChain.block` reads block *n*, then block *n - 1*, and states the identity of
the latter as the parent: linkage is checked by reading again, never trusted from memory. The order matters: after a
reorg between the two readings the old *n* names a new parent, which does not fit the tip, and it is read again.

A node that trusts us also answers ``/local/chain/blocks-after``. Where an endpoint does, both blocks come from one
answer, the hash in the block's header is checked against its parent's, and transaction hashes are the node's own.
Identities stay the same, so endpoints of both sorts can stand in for each other.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Container, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import msgspec

from chains.base import ChainSpec, EndpointState
from chains.nem.decode import NEMESIS_PARENT, RawBlock, decode_block, identity, mosaic_name, parse_block
from chains.patience import Standstill, read_again
from chains.rpc import HttpPool, Refused, Single
from monitor.addresses.nem import canonical, of_public_key
from monitor.errors import ChainError, ChainInconsistent, ChainUnavailable, ConfigError, DecodeError, Problem
from monitor.model import Block, BlockRef
from monitor.networks import Network, by_chain

__all__ = ["NemChain"]


PORTS = {"http": 7890, "https": 7891}
POLL_SECONDS = 5.0
STALL_SECONDS = 600.0  # ten block times without a new head before another endpoint is preferred
AFTER = "local/chain/blocks-after"
_NETWORK_IDS = {104: "nem:mainnet", -104: "nem:testnet", 152: "nem:testnet", 96: "mijin", -96: "mijin"}


_Pair = tuple[RawBlock, RawBlock | None, list[str] | None]  # the block, the one below it, its transactions' hashes


class _Explored(msgspec.Struct):
    tx: dict[str, Any]
    hash: str


class _Entry(msgspec.Struct):
    """A block as the local API gives it."""

    block: dict[str, Any]
    hash: str
    txes: list[_Explored]


class NemChain:
    """NEM (NIS1) over HTTP; see `chains.base.Chain` for the contract of each method.

    Parameters
    ----------
    spec : ``chain`` must be ``nem:mainnet`` or ``nem:testnet``. An endpoint without a port means 7890, with
        ``https`` 7891. ``options["signers"]``, allowed where ``replay`` is true only, maps public keys (hex) to the
        addresses that they stand for: a replay of old facts knows the addresses, but not the keys behind them.
    watch : canonical addresses
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
        network = by_chain(spec.chain)
        if network is None or network.kind != "nem":
            raise ConfigError(f"chain {spec.name}: {spec.chain!r} is no NEM chain, expected nem:mainnet or nem:testnet")
        self.spec = spec
        self._network, self._watch, self._sleep = network, watch, sleep
        self._signers = _signers(spec, network)
        endpoints = [_with_port(url) for url in spec.endpoints]
        self._pool = HttpPool(
            endpoints, timeout=spec.timeout_seconds, rng=rng, sleep=sleep, on_connect=self._verify
        )
        self._with_hashes: set[str] = set()  # endpoints that answer the local API
        self._poll = POLL_SECONDS if spec.poll_seconds is None else spec.poll_seconds
        self._standstill = Standstill(spec.name, self._pool, STALL_SECONDS, clock)

    def endpoints(self) -> Sequence[EndpointState]:
        """What each endpoint is worth now."""
        return self._pool.states()

    async def open(self) -> None:
        """Check the network of every endpoint, and whether it answers the local API.

        Raises
        ------
        ChainError : all endpoints serve another network; one of several that does is never asked again
        ChainUnavailable : no endpoint can be reached; one of several that cannot is checked before its first use
        """
        await self._pool.check()

    async def head(self) -> BlockRef:
        """The newest block of the endpoint that answers; after a long standstill another endpoint is preferred."""
        answer = await self._pool.get("chain/last-block")
        try:
            block = self._parse(answer)
        except ChainInconsistent as error:
            message = f"{self.spec.name}: {self._pool.endpoint}: {error}"
            self._pool.rotate()
            raise ChainInconsistent(message) from None
        self._standstill.see(block.height)
        return BlockRef(self.spec.chain, block.height, identity(block))

    async def block(self, number: int) -> Block:
        """One block and its parent's identity, read again a few times while answers contradict each other.

        Raises
        ------
        ChainUnavailable : it is not there (yet)
        ChainInconsistent : the contradiction stays
        """
        return await read_again(self._read, number, self.spec.name, self._pool, self._sleep)

    async def balances(self, wanted: Sequence[tuple[str, str]], at: BlockRef) -> Mapping[tuple[str, str], int | None]:
        """Balances of XEM and mosaics.

        NIS1 knows them at the head only: None unless ``at`` is the head before and after they were asked.
        """
        unknown: dict[tuple[str, str], int | None] = dict.fromkeys(wanted)
        if not wanted or await self._height() != at.number:
            return unknown
        found = dict(unknown)
        owned: dict[str, dict[tuple[str, str], int | None] | None] = {}
        for address, asset in found:
            if asset == self._network.asset:
                found[address, asset] = await self._xem(address)
            elif asset.startswith(f"{self.spec.chain}/") and (name := mosaic_name(asset)) is not None:
                if address not in owned:
                    owned[address] = await self._mosaics(address)
                mosaics = owned[address]
                found[address, asset] = None if mosaics is None else mosaics.get(name, 0)
        still = await self._height() == at.number and identity(await self._at(at.number)) == at.hash
        return found if still else unknown

    async def wake(self) -> None:
        """Return after the poll interval: NIS1's own hints (STOMP) are not used."""
        await self._sleep(self._poll)

    async def aclose(self) -> None:
        """Close connections; calling it twice is fine."""
        await self._pool.aclose()

    async def raw(self, number: int) -> RawBlock:
        """A block as the node gives it; ChainUnavailable where it is not there, ChainInconsistent where it is none."""
        return await self._at(number)

    def decoded(self, block: RawBlock, below: RawBlock | None) -> Block:
        """A block on the one ``below`` it, None before block 1, both from the endpoint that answered last."""
        parent_hash = NEMESIS_PARENT if below is None else identity(below)
        source = self._pool.endpoint
        return decode_block(block, parent_hash, self._network, self._watch, signers=self._signers, source=source)

    async def _read(self, number: int) -> Block:
        trusted = self._pool.endpoint in self._with_hashes
        pair = await self._local_pair(number) if trusted and number > 2 else None
        block, below, hashes = pair or await self._public_pair(number)
        parent_hash = NEMESIS_PARENT if below is None else identity(below)
        return decode_block(
            block, parent_hash, self._network, self._watch, signers=self._signers, hashes=hashes,
            source=self._pool.endpoint,
        )

    async def _public_pair(self, number: int) -> _Pair:
        """The block first, then the one below it: see the module's explanation."""
        block = await self._at(number)
        source = self._pool.endpoint
        below = await self._at(number - 1) if number > 1 else None
        if self._pool.endpoint != source:
            raise ChainInconsistent(f"block {number} and its parent came from different endpoints")
        return block, below, None

    async def _at(self, number: int) -> RawBlock:
        return self._parse(await self._pool.post("block/at/public", {"height": number}), number)

    async def _local_pair(self, number: int) -> _Pair | None:
        """Both blocks from one answer of the local API; None where the public one has to do."""
        source = self._pool.endpoint
        try:
            answer = await self._pool.post(AFTER, {"height": number - 2})
        except ChainUnavailable as error:
            if isinstance(error, Refused):
                self._with_hashes.discard(source)
            return None
        try:
            entries = msgspec.convert(answer["data"], list[_Entry])
        except (msgspec.ValidationError, KeyError, TypeError):
            raise ChainInconsistent(f"the answer to {AFTER} cannot be understood") from None
        if len(entries) < 2:
            raise ChainUnavailable(f"{self.spec.name}: {self._pool.endpoint} has no block {number} yet")
        lower, upper = entries[:2]
        below, block = self._parse(lower.block, number - 1), self._parse(upper.block, number)
        if block.prevBlockHash.data != lower.hash:
            raise ChainInconsistent(f"block {number} does not name block {number - 1} of the same answer as its parent")
        block.transactions = [explored.tx for explored in upper.txes]
        return block, below, [explored.hash for explored in upper.txes]

    async def _height(self) -> int | None:
        answer = await self._pool.get("chain/height")
        return answer.get("height") if isinstance(answer, dict) else None

    async def _xem(self, address: str) -> int | None:
        answer = await self._pool.get("account/get", {"address": address})
        try:
            return _natural(answer["account"]["balance"])
        except (KeyError, TypeError):
            return None

    async def _mosaics(self, address: str) -> dict[tuple[str, str], int | None] | None:
        answer = await self._pool.get("account/mosaic/owned", {"address": address})
        try:
            return {
                (m["mosaicId"]["namespaceId"], m["mosaicId"]["name"]): _natural(m["quantity"]) for m in answer["data"]
            }
        except (KeyError, TypeError):
            return None

    async def _verify(self, pool: Single) -> None:
        answer = await pool.get("node/info")
        try:
            network_id = answer["metaData"]["networkId"]
        except (KeyError, TypeError):
            raise ChainError(f"endpoint {pool.endpoint} does not answer as a NIS1 node") from None
        served = _NETWORK_IDS.get(network_id, "an unknown network")
        if served != self.spec.chain:
            raise ChainError(
                f"endpoint {pool.endpoint} serves {served} (networkId {network_id}), "
                f"configuration says {self.spec.chain}"
            )
        try:
            answer = await pool.post(AFTER, {"height": 1})
        except ChainUnavailable:
            return  # the rule on public nodes
        if isinstance(answer, dict) and "data" in answer:
            self._with_hashes.add(pool.endpoint)

    def _parse(self, answer: Any, number: int | None = None) -> RawBlock:
        """The block behind an answer; where the answer makes no sense it is asked for again, elsewhere if possible."""
        try:
            block = parse_block(answer)
        except DecodeError as error:
            raise ChainInconsistent(str(error)) from None
        if number is not None and block.height != number:
            raise ChainInconsistent(f"asked for block {number}, got {block.height}")
        return block


def _natural(value: Any) -> int | None:
    return value if type(value) is int and value >= 0 else None


def _with_port(url: str) -> str:
    """The endpoint with NIS1's port where it names none; what is no URL is left for `HttpPool` to refuse."""
    try:
        parts = urlsplit(url)
        if parts.port is not None or not parts.hostname or parts.scheme not in PORTS:
            return url
    except ValueError:
        return url
    return parts._replace(netloc=f"{parts.netloc.rstrip(':')}:{PORTS[parts.scheme]}").geturl()


def _signers(spec: ChainSpec, network: Network) -> dict[str, str]:
    """Addresses by public key, from ``options["signers"]``."""
    given = (spec.options or {}).get("signers")
    if not given:
        return {}
    if not spec.replay:
        raise ConfigError(
            f"chain {spec.name}: options.signers puts other addresses in the place of the real ones, "
            "so it needs replay: true"
        )
    if not isinstance(given, Mapping):
        raise ConfigError(f"chain {spec.name}: options.signers must map public keys to addresses")
    signers, problems = {}, []
    for place, (key, address) in enumerate(given.items(), 1):
        try:
            of_public_key(str(key), network.params["network_byte"])
            signers[str(key).lower()] = canonical(str(address), network)
        except ValueError as error:
            problems.append(Problem(f"chain {spec.name}: options.signers, entry {place}: {error}"))
    if problems:
        raise ConfigError(problems)
    return signers
