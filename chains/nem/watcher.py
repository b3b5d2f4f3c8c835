"""The NEM chain watcher, on the REST API of NIS1 nodes.

Public nodes do not tell block hashes. A block's identity is therefore `chains.nem.decode.identity`, made of its
signature and its parent's hash, and `NemChain.block` reads block *n*, then block *n - 1*, and states the identity of
the latter as the parent: linkage is checked by reading again, never trusted from memory. The order matters: after a
reorg between the two readings the old *n* names a new parent, which does not fit the tip, and it is read again.

A node that trusts us also answers ``/local/chain/blocks-after``. Where an endpoint does, both blocks come from one
answer, the hash in the block's header is checked against its parent's, and transaction hashes are the node's own.
Identities stay the same, so endpoints of both sorts can stand in for each other.

Where there are several endpoints, a block and its parent are compared with what the others say (`chains.nem.nodes`).
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Container, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from chains.base import ChainSpec, EndpointState
from chains.nem import binary
from chains.nem.agreement import Voice, voice
from chains.nem.balances import Balances
from chains.nem.decode import NEMESIS_PARENT, RawBlock, decode_block, identity, mosaics_sent
from chains.nem.definitions import Definitions
from chains.nem.mosaic import name_of
from chains.nem.nodes import AFTER, NemNodes, parsed
from chains.patience import read_again
from chains.rpc import Refused
from monitor.addresses.nem import canonical, of_public_key
from monitor.errors import ChainInconsistent, ChainUnavailable, ConfigError, Problem
from monitor.model import Block, BlockRef
from monitor.networks import Network, by_chain

__all__ = ["NemChain", "signers_of"]


POLL_SECONDS = 5.0
SECOND_OPINIONS = 3  # endpoints that may be outvoted before a block is given up for now


_Pair = tuple[RawBlock, RawBlock | None, list[str] | None]  # the block, the one below it, its transactions' hashes


class _Reading(NamedTuple):
    """A block, and what its source says of it and of the one below it, None before block 1."""

    block: Block
    own: Voice
    below: Voice | None


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
        self._signers = signers_of(spec, network)
        self.nodes = NemNodes(spec, sleep=sleep, clock=clock, rng=rng)
        self.definitions = Definitions(self.nodes.pool, spec.chain, clock)
        self._pool = self.nodes.pool
        self._balances = Balances(self.nodes, network)
        self._poll = POLL_SECONDS if spec.poll_seconds is None else spec.poll_seconds

    def endpoints(self) -> Sequence[EndpointState]:
        """What each endpoint is worth now."""
        return self.nodes.states()

    async def open(self) -> None:
        """Check the network of every endpoint, and whether it answers the local API.

        Raises
        ------
        ChainError : all endpoints serve another network; one of several that does is never asked again
        ChainUnavailable : no endpoint can be reached; one of several that cannot is checked before its first use
        """
        await self.nodes.open()

    async def head(self) -> BlockRef:
        """The newest block that most endpoints have; one that lags, stands still or runs ahead is asked last."""
        return await self.nodes.head()

    async def block(self, number: int) -> Block:
        """One block and its parent's identity, read again a few times while answers contradict each other.

        Raises
        ------
        ChainUnavailable : it is not there (yet)
        ChainInconsistent : the contradiction stays
        """
        for _ in range(SECOND_OPINIONS):
            reading = await read_again(self._read, number, self.spec.name, self._pool, self._sleep)
            if await self._is_agreed(reading):
                return reading.block
        raise ChainInconsistent(f"{self.spec.name}: endpoints do not agree on block {number}")

    async def balances(self, wanted: Sequence[tuple[str, str]], at: BlockRef) -> Mapping[tuple[str, str], int | None]:
        """Balances of XEM and mosaics.

        NIS1 knows them at the head: None unless ``at`` is the head before and after they were asked, or, for XEM, where
        an endpoint keeps balances of the past.
        """
        return await self._balances.after(wanted, at)

    async def describe(self, assets: Sequence[str]) -> Mapping[str, tuple[str, int]]:
        """(name, decimal places) of mosaics; see `Definitions.describe`."""
        return await self.definitions.describe(assets)

    async def wake(self) -> None:
        """Return after the poll interval: NIS1's own hints (STOMP) are not used."""
        await self._sleep(self._poll)

    async def aclose(self) -> None:
        """Close connections; calling it twice is fine."""
        await self.nodes.aclose()

    async def raw(self, number: int) -> RawBlock:
        """A block as the node gives it; ChainUnavailable where it is not there, ChainInconsistent where it is none."""
        return await self.nodes.at(number)

    async def decoded(self, block: RawBlock, below: RawBlock | None, hashes: list[str] | None, source: str) -> Block:
        """A block on the one ``below`` it, None before block 1, both from ``source``."""
        levies = {}
        if sent := mosaics_sent(block, self._network, self._watch, signers=self._signers):
            levies = await self.definitions.levies(sent)
        for tx in block.transactions:
            self._redefined(tx)
        parent_hash = NEMESIS_PARENT if below is None else identity(below)
        return decode_block(
            block, parent_hash, self._network, self._watch, signers=self._signers, hashes=hashes, levies=levies,
            source=source,
        )

    def _redefined(self, tx: Mapping[str, Any]) -> None:
        """What is known of a mosaic holds until it is defined anew."""
        inner = tx.get("otherTrans")
        tx = inner if isinstance(inner, Mapping) else tx
        if tx.get("type") == binary.MOSAIC_DEFINITION:
            try:
                self.definitions.forget(name_of(tx["mosaicDefinition"]["id"]))
            except (KeyError, TypeError, ValueError):
                pass  # named in the block's ``undecoded``

    async def _is_agreed(self, reading: _Reading) -> bool:
        """Whether no majority of endpoints gives another block, or another one below it."""
        if len(self.spec.endpoints) < 2:
            return True
        number, source = reading.block.ref.number, reading.block.source
        if not await self.nodes.is_agreed(number, reading.own, source):
            return False
        return reading.below is None or await self.nodes.is_agreed(number - 1, reading.below, source)

    async def _read(self, number: int) -> _Reading:
        trusted = self._pool.endpoint in self.nodes.local
        pair = await self._local_pair(number) if trusted and number > 2 else None
        block, below, hashes = pair or await self._public_pair(number)
        decoded = await self.decoded(block, below, hashes, self._pool.endpoint)
        return _Reading(decoded, voice(block), None if below is None else voice(below))

    async def _public_pair(self, number: int) -> _Pair:
        """The block first, then the one below it: see the module's explanation."""
        block = await self.nodes.at(number)
        source = self._pool.endpoint
        below = await self.nodes.at(number - 1) if number > 1 else None
        if self._pool.endpoint != source:
            raise ChainInconsistent(f"block {number} and its parent came from different endpoints")
        return block, below, None

    async def _local_pair(self, number: int) -> _Pair | None:
        """Both blocks from one answer of the local API; None where the public one has to do."""
        source = self._pool.endpoint
        try:
            answer = await self._pool.post(AFTER, {"height": number - 2})
        except ChainUnavailable as error:
            if isinstance(error, Refused):
                self.nodes.local.discard(source)
            return None
        try:
            entries = msgspec.convert(answer["data"], list[_Entry])
        except (msgspec.ValidationError, KeyError, TypeError):
            raise ChainInconsistent(f"the answer to {AFTER} cannot be understood") from None
        if len(entries) < 2:
            raise ChainUnavailable(f"{self.spec.name}: {self._pool.endpoint} has no block {number} yet")
        lower, upper = entries[:2]
        below, block = parsed(lower.block, number - 1), parsed(upper.block, number)
        if block.prevBlockHash.data != lower.hash:
            raise ChainInconsistent(f"block {number} does not name block {number - 1} of the same answer as its parent")
        below.transactions = [explored.tx for explored in lower.txes]
        block.transactions = [explored.tx for explored in upper.txes]
        return block, below, [explored.hash for explored in upper.txes]


def signers_of(spec: ChainSpec, network: Network) -> dict[str, str]:
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
