"""What the REST services for the Bitcoin family have in common: one request a question, counted by who runs them."""

from __future__ import annotations

import asyncio
import logging
import random
import re
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import Annotated, Any, TypeVar

import msgspec

from chains.base import ChainSpec, EndpointState, terms_within
from chains.bitcoin.base import Coin, Fetched, Prevout, Unspent
from chains.bitcoin.block import RawBlock, parse_block, parse_tx
from chains.endpoints.heads import HeadWatch
from chains.exchange import MethodUnsupported, Refused, Unusable
from chains.rpc import HttpPool, Single
from monitor.errors import ChainError, ChainInconsistent, ChainUnavailable, DecodeError
from monitor.model import BlockRef
from monitor.networks import Network

__all__ = [
    "NOT_THERE", "Amount", "Hash", "Hex", "Number", "RestSource",
    "checked_tx", "hash_of", "json_of", "text_of", "tx_of",
]  # fmt: skip

log = logging.getLogger(__name__)

T = TypeVar("T")

TOGETHER = 4  # requests at a time
MOST_SCRIPTS = 2_000  # whose coins are asked for, one by one
MOST_ACCOUNTS = 50  # whose waiting transactions are asked for, one by one
COMPARE_SECONDS = 60.0  # the heads of all endpoints are compared so often
HEAD_SECONDS = 30.0  # a block that others have and an endpoint lacks for three times as long: it lags
ASKED = 3  # times that coins are read while the newest block changes
NOT_THERE = (400, 404)  # statuses for what a service does not have, or refuses to list
_HASH = re.compile(r"[0-9a-f]{64}")

# Fields of answers, checked as they are read: what comes in is what can be used.
Hash = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]
Hex = Annotated[str, msgspec.Meta(pattern=r"^([0-9a-f]{2})*$")]
Amount = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,20}$")]  # base units as text
Number = Annotated[int, msgspec.Meta(ge=0, lt=1 << 32)]


def text_of(data: bytes) -> str:
    """A plain text answer."""
    return data.decode().strip()


def hash_of(data: bytes) -> str:
    """A hash as plain text; `Unusable` for anything else, a page in HTML for example."""
    text = text_of(data)
    if not _HASH.fullmatch(text):
        raise Unusable("no hash where one was expected")
    return text


def json_of(type: Any) -> Callable[[bytes], Any]:
    """A decoder of JSON of that form."""
    return msgspec.json.Decoder(type).decode


def tx_of(type: Any, hash: str) -> Callable[[bytes], Any]:
    """A decoder of a transaction, which must be the one that was asked for."""
    decode = json_of(type)

    def decoded(data: bytes) -> Any:
        found = decode(data)
        if found.txid != hash:
            raise Unusable("answer about another transaction")
        return found

    return decoded


def checked_tx(data: bytes, hash: str) -> bytes:
    """A serialised transaction, which must be the one that was asked for; `Unusable` for anything else."""
    try:
        found = parse_tx(data).hash
    except DecodeError as error:
        raise Unusable(f"no transaction: {error}") from None
    if found != hash:
        raise Unusable("answer about another transaction")
    return data


class RestSource:
    """The part of a `chains.bitcoin.base.Source` that Esplora and Blockbook share.

    Parameters
    ----------
    spec : ``endpoints`` are base URLs, which may have a path and hold keys
    network : whose blocks they give
    rate : requests a second, None for no bound beside that of each endpoint
    sleep, clock, rng : pause, monotonic time and jitter
    """

    costly = True

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
        self._spec, self._network = spec, network
        terms = terms_within(spec, rate)
        self._pool = HttpPool(
            spec.endpoints, timeout=spec.timeout_seconds, rng=rng, sleep=sleep, clock=clock, on_connect=self._greet,
            terms=terms,
        )  # fmt: skip
        self._turn = asyncio.Semaphore(TOGETHER)
        self._heads = HeadWatch(spec.name, self._pool, min(network.block_seconds, HEAD_SECONDS), clock)
        self._clock, self._compared_at = clock, clock()
        self._comparing: asyncio.Task[None] | None = None

    # -- what each service does in its own way ----------------------------------------------------------------------

    async def _hash_at(self, reader: HttpPool | Single, number: int) -> str:
        """The hash of a block of the best chain."""
        raise NotImplementedError

    async def _head(self, reader: HttpPool | Single) -> BlockRef:
        """The newest block."""
        raise NotImplementedError

    async def _raw_block(self, hash: str) -> bytes:
        raise NotImplementedError

    async def _inputs(self, hash: str) -> Mapping[bytes, Prevout]:
        """Prevouts of a transaction's inputs."""
        raise NotImplementedError

    async def _outputs(self, hash: str) -> Sequence[Prevout]:
        """Outputs of a transaction."""
        raise NotImplementedError

    async def _coins(self, script: bytes, address: str) -> Iterable[Coin] | None:
        """Confirmed coins of a script; None where the service cannot tell all of them."""
        raise NotImplementedError

    async def _waiting_of(self, address: str) -> Iterable[str]:
        """Hashes of waiting transactions that touch an address."""
        raise NotImplementedError

    async def _raw_tx(self, hash: str) -> bytes:
        raise NotImplementedError

    # -- what follows from that -------------------------------------------------------------------------------------

    @property
    def endpoint(self) -> str:
        """The redacted name of the endpoint that answered last."""
        return self._pool.endpoint

    async def open(self) -> None:
        """See `Source`."""
        await self._pool.check()

    async def head(self) -> BlockRef:
        """See `Source`. Now and then the others are asked too, so that one that lags is not preferred."""
        head = await self._head(self._pool)
        self._heads.see(self.endpoint, head.number)
        if len(self._pool.endpoints) > 1 and self._clock() - self._compared_at >= COMPARE_SECONDS:
            self._compared_at = self._clock()
            if self._comparing is None or self._comparing.done():
                self._comparing = asyncio.create_task(self._compare(), name=f"services of {self._spec.name}")
        return head

    async def hash_at(self, number: int) -> str:
        """See `Source`."""
        try:
            return await self._hash_at(self._pool, number)
        except Refused as error:
            raise self._absent(f"block {number}", error) from None

    async def block(self, number: int, hash: str) -> Fetched:
        """See `Source`."""
        try:
            data = await self._raw_block(hash)
        except Refused as error:
            raise self._absent(f"block {hash}", error) from None
        return Fetched(self._parsed(data, number, hash), endpoint=self.endpoint)

    async def prevouts(self, wanted: Collection[bytes]) -> Mapping[bytes, Prevout]:
        """See `Source`: one request for each transaction that made one of them."""
        hashes = list(dict.fromkeys(point[31::-1].hex() for point in wanted))
        made = dict(zip(hashes, await self._all(self._outputs, hashes), strict=True))
        found = {}
        for point in wanted:
            outputs = made[point[31::-1].hex()] or ()
            number = int.from_bytes(point[32:], "little")
            if number < len(outputs):
                found[point] = outputs[number]
        return found

    async def inputs_of(self, hashes: Collection[str]) -> Mapping[bytes, Prevout]:
        """Prevouts of all inputs of these transactions: one request for each."""
        found: dict[bytes, Prevout] = {}
        for inputs in await self._all(self._inputs, list(hashes)):
            found |= inputs or {}
        return found

    async def unspent(self, scripts: Mapping[bytes, str]) -> Unspent | None:
        """See `Source`: a request or two for each script; None where the newest block, or who answers, changes all
        the time, or where a service does not list the coins of one of them."""
        if len(scripts) > MOST_SCRIPTS:
            raise MethodUnsupported(f"{self._spec.name}: coins of {len(scripts):,} scripts are too many to ask for")
        for _ in range(ASKED):
            before, asked = await self.head(), self.endpoint
            found = await self._all(self._coins_of, list(scripts.items()))
            if await self.head() != before or self.endpoint != asked:
                continue
            if any(coins is None for coins in found):
                return None
            return Unspent(before, tuple(coin for coins in found for coin in coins or ()))
        log.info("%s: coins were read %d times, and the newest block changed each time", self._spec.name, ASKED)
        return None

    async def waiting(self) -> Collection[str]:
        """See `Source`: those of the named accounts, if these are not too many."""
        accounts = self._spec.accounts
        if not accounts or len(accounts) > MOST_ACCOUNTS:
            raise MethodUnsupported(
                f"{self._spec.name}: a service tells what waits of {MOST_ACCOUNTS} addresses at most, "
                f"watched are {len(accounts):,}"
            )
        found = await self._all(self._waiting_of, list(accounts))
        return {hash for hashes in found for hash in hashes or ()}

    async def raw_transactions(self, hashes: Sequence[str]) -> Mapping[str, bytes]:
        """See `Source`."""
        found = await self._all(self._raw_tx, list(hashes))
        return {hash: data for hash, data in zip(hashes, found, strict=True) if data}

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
        comparing, self._comparing = self._comparing, None
        if comparing is not None:
            comparing.cancel()
            await asyncio.gather(comparing, return_exceptions=True)
        await self._pool.aclose()

    async def _compare(self) -> None:
        """Ask the other endpoints for their heads."""

        async def ask(name: str) -> None:
            try:
                self._heads.see(name, (await self._head(self._pool.only(name))).number)
            except ChainError as error:  # counted with the endpoint; its circuit says the rest
                log.debug("%s: no head to compare: %s", self._spec.name, error)

        await asyncio.gather(*(ask(name) for name in self._pool.names if name != self.endpoint))

    async def _greet(self, single: Single) -> None:
        """Is it this chain."""
        height = int(self._network.params.get("at", 0))
        found = await self._hash_at(single, height)
        if not found.startswith(self._network.chain.partition(":")[2]):
            raise ChainError(
                f"endpoint {single.endpoint} serves another chain: its block {height} is {found}, "
                f"configuration says {self._spec.chain}"
            )

    async def _coins_of(self, item: tuple[bytes, str]) -> Iterable[Coin] | None:
        try:
            return await self._coins(*item)
        except Refused as error:
            if error.status in NOT_THERE:  # "Too many history entries", for example
                log.info("%s: balances stay unknown: %s", self._spec.name, error)
            raise

    async def _all(self, ask: Callable[[Any], Awaitable[T]], about: Sequence[Any]) -> list[T | None]:
        """Answers to the same question about several things, a few at a time; None where there is no such thing."""

        async def one(item: Any) -> T | None:
            async with self._turn:
                try:
                    return await ask(item)
                except Refused as error:
                    if error.status in NOT_THERE:
                        return None
                    raise

        tasks = [asyncio.ensure_future(one(item)) for item in about]
        try:
            return list(await asyncio.gather(*tasks))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _parsed(self, data: bytes, number: int, hash: str) -> RawBlock:
        try:
            raw = parse_block(data, self._network, check_work=not self._spec.replay)
        except DecodeError as error:
            raise ChainInconsistent(f"{self.endpoint}: block {number}: {error}") from None
        if raw.header.hash != hash:
            raise ChainInconsistent(f"{self.endpoint}: asked for block {hash}, got {raw.header.hash}")
        return raw

    def _absent(self, what: str, error: Refused) -> ChainUnavailable:
        """The error for what a service does not have; one that it refuses to tell stays what it is."""
        if error.status not in NOT_THERE:
            return error
        self.rotate()
        return ChainUnavailable(f"{self._spec.name}: {self.endpoint} has no {what} (yet)")
