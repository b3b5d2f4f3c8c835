"""Which kind of service each endpoint is, and which of them is asked: `Sources`.

Endpoints of one kind share a pool, which fails over between them. Where a chain has endpoints of several kinds (a node
of one's own, and a public service for the day on which it is down), those of the first endpoint's kind are preferred,
and the others asked where none of them answers.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from importlib import import_module
from typing import Any, NoReturn, TypeVar
from urllib.parse import urlsplit

from chains.base import ChainSpec, EndpointState
from chains.bitcoin.base import Fetched, Prevout, Source, Unspent
from chains.exchange import Kind as Failed
from chains.exchange import MethodUnsupported, Refused, RpcError, redact
from chains.rpc import HttpPool, JsonRpc
from monitor.errors import ChainError, ChainUnavailable, ConfigError
from monitor.model import BlockRef
from monitor.networks import Network
from monitor.registry import did_you_mean

__all__ = ["Kind", "Sources", "feeds_of", "kind_of"]

log = logging.getLogger(__name__)

T = TypeVar("T")

ASIDE = 30.0  # seconds after which the preferred kind is asked again
PROBE_SECONDS, PROBE_SOON = 60.0, 2.0  # how often endpoints that did not answer are asked what they are; if all did not
_FEEDS = ("tcp", "ipc")


class Kind(StrEnum):
    """What an endpoint speaks."""

    RPC = "rpc"
    ESPLORA = "esplora"
    BLOCKBOOK = "blockbook"


_MADE = {
    Kind.RPC: "chains.bitcoin.core:CoreSource",
    Kind.ESPLORA: "chains.bitcoin.esplora:EsploraSource",
    Kind.BLOCKBOOK: "chains.bitcoin.blockbook:BlockbookSource",
}


def feeds_of(spec: ChainSpec) -> tuple[str, ...]:
    """Those of the endpoints that publish by ZMQ: hints, and no more."""
    return tuple(url for url in spec.endpoints if urlsplit(url).scheme in _FEEDS)


async def kind_of(url: str, timeout: float) -> Kind | str:
    """What an endpoint speaks; the reason where it does not answer, or not in a form that is known here."""
    pool = HttpPool([url], timeout=timeout, attempts=1)
    try:
        refusal = await _refusal(JsonRpc(pool))
        if refusal is None:
            return Kind.RPC
        if isinstance(await _got(pool, "blocks/tip/height"), int):
            return Kind.ESPLORA
        for path in ("api/v2", "api/", "api/status"):
            answer = await _got(pool, path)
            if isinstance(answer, dict) and "blockbook" in answer:
                return Kind.BLOCKBOOK
        return f"it does not answer as a node ({refusal}), nor as Esplora or Blockbook"
    except ChainUnavailable as error:
        return str(error)
    finally:
        await pool.aclose()


async def _refusal(rpc: JsonRpc) -> ChainUnavailable | None:
    """Why it is no node with JSON-RPC, as far as its answer says; None where it is one."""
    try:
        await rpc.call("getblockchaininfo")
    except RpcError:
        return None
    except ChainUnavailable as error:
        if _is_away(error):
            raise
        is_unknown = isinstance(error, Refused) and error.status == 401  # a node that does not know us
        is_node = is_unknown or Failed.ERROR in getattr(error, "kinds", ())  # "Loading block index", for example
        return None if is_node else error
    return None


def _is_away(error: ChainUnavailable) -> bool:
    """Whether there was no answer at all."""
    kinds: frozenset[Failed] = getattr(error, "kinds", frozenset())
    return bool(kinds) and kinds <= {Failed.TIMEOUT, Failed.CONNECT, Failed.LOST}


async def _got(pool: HttpPool, path: str) -> Any:
    try:
        return await pool.get(path)
    except ChainUnavailable as error:
        if _is_away(error):
            raise
        return None


class Sources:
    """The endpoints of one chain as one `Source`.

    Parameters
    ----------
    spec : ``options["api"]`` says what all of its HTTP endpoints speak (`Kind`); without, each is asked
    network : whose blocks they give
    rate : requests a second, None for no bound
    sleep, clock, rng : pause, monotonic time and jitter

    Raises
    ------
    ConfigError : no HTTP endpoint, or an unknown ``options["api"]``
    """

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
        self._made: dict[str, Any] = {"rate": rate, "sleep": sleep, "clock": clock, "rng": rng}
        self._clock = clock
        self._urls = [url for url in spec.endpoints if urlsplit(url).scheme not in _FEEDS]
        for url in self._urls:
            if urlsplit(url).scheme not in ("http", "https"):
                raise ConfigError(
                    f"chain {spec.name}: endpoint {redact(url)} is not an http:// or https:// URL, "
                    "nor tcp:// for what a node publishes by ZMQ"
                )
        if not self._urls:
            raise ConfigError(f"chain {spec.name}: a chain needs at least one http:// or https:// endpoint")
        self._kinds: dict[str, Kind] = {}
        self._unknown: dict[str, str] = {}  # endpoints of which it cannot be told yet, and why
        if (said := (spec.options or {}).get("api", "auto")) != "auto":
            if said not in list(Kind):
                hint = did_you_mean(str(said), ["auto", *(kind.value for kind in Kind)])
                raise ConfigError(f"chain {spec.name}: options.api is unknown: {hint}")
            self._kinds = dict.fromkeys(self._urls, Kind(said))
        self._sources: dict[Kind, Source] = {}
        self._refused: dict[Kind, ChainError] = {}
        self._aside: dict[Kind, float] = {}  # asked last until then
        self._current: Kind | None = None
        self._probed_at: float | None = None

    @property
    def endpoint(self) -> str:
        """The redacted name of the endpoint that answered last."""
        return self._now.endpoint if self._sources else redact(self._urls[0])

    @property
    def costly(self) -> bool:
        """Whether each prevout is a request of its own, at a service that counts them."""
        return bool(self._sources) and bool(getattr(self._now, "costly", False))

    @property
    def kinds(self) -> Mapping[str, Kind]:
        """What each endpoint speaks, by its redacted name, as far as it is known."""
        return {redact(url): kind for url, kind in self._kinds.items()}

    async def open(self) -> None:
        """See `chains.bitcoin.base.Source`.

        Raises
        ------
        ChainError : all endpoints serve another chain
        ChainUnavailable : none answers
        """
        await self._probe()
        errors: list[ChainError] = []
        opened = 0
        for kind, source in list(self._sources.items()):
            try:
                await source.open()
                opened += 1
                self._refused.pop(kind, None)
            except ChainUnavailable as error:
                errors.append(error)
            except ChainError as error:
                self._refused[kind] = error
                log.error("%s: %s", self._spec.name, error)
        if not opened:
            self._raise(errors)

    async def head(self) -> BlockRef:
        """See `chains.bitcoin.base.Source`."""
        if len(self._kinds) < len(self._urls) and self._is_due():
            await self._probe()
        return await self._first(lambda source: source.head())

    async def hash_at(self, number: int) -> str:
        """See `chains.bitcoin.base.Source`."""
        return await self._first(lambda source: source.hash_at(number))

    async def block(self, number: int, hash: str) -> Fetched:
        """See `chains.bitcoin.base.Source`."""
        return await self._first(lambda source: source.block(number, hash))

    async def prevouts(self, wanted: Collection[bytes]) -> Mapping[bytes, Prevout]:
        """See `chains.bitcoin.base.Source`."""
        return await self._first(lambda source: source.prevouts(wanted))

    async def inputs_of(self, hashes: Collection[str]) -> Mapping[bytes, Prevout]:
        """Prevouts of all inputs of these transactions, at services: see `chains.bitcoin.rest`."""

        async def ask(source: Source) -> Mapping[bytes, Prevout]:
            inputs_of = getattr(source, "inputs_of", None)
            if inputs_of is None:
                raise ChainUnavailable(f"{self._spec.name}: {source.endpoint} is asked about single coins")
            found: Mapping[bytes, Prevout] = await inputs_of(hashes)
            return found

        return await self._first(ask)

    async def unspent(self, scripts: Mapping[bytes, str]) -> Unspent | None:
        """See `chains.bitcoin.base.Source`."""
        return await self._first(lambda source: source.unspent(scripts))

    async def waiting(self) -> Collection[str]:
        """See `chains.bitcoin.base.Source`."""
        return await self._first(lambda source: source.waiting())

    async def raw_transactions(self, hashes: Sequence[str]) -> Mapping[str, bytes]:
        """See `chains.bitcoin.base.Source`."""
        return await self._first(lambda source: source.raw_transactions(hashes))

    def endpoints(self) -> Sequence[EndpointState]:
        """What each endpoint is worth now, in the order of the configuration as far as it is known what they are."""
        return [state for source in self._sources.values() for state in source.endpoints()]

    def rotate(self) -> None:
        """Prefer another endpoint for a while."""
        if self._sources:
            self._now.rotate()
            self._set_aside()

    def contradicted(self) -> None:
        """What the endpoint in use gave contradicts itself, or others."""
        if self._sources:
            self._now.contradicted()
            self._set_aside()

    async def aclose(self) -> None:
        """Close connections; calling it twice is fine."""
        for source in self._sources.values():
            await source.aclose()

    # -- which is which -------------------------------------------------------------------------------------------

    def _is_due(self) -> bool:
        seconds = PROBE_SECONDS if self._sources else PROBE_SOON
        return self._probed_at is None or self._clock() - self._probed_at > seconds

    async def _probe(self) -> None:
        """Find out what endpoints are of which it is not known; new ones join their kind."""
        self._probed_at = self._clock()
        unknown = [url for url in self._urls if url not in self._kinds]
        found = await asyncio.gather(*(kind_of(url, self._spec.timeout_seconds) for url in unknown))
        for url, kind in zip(unknown, found, strict=True):
            if isinstance(kind, Kind):
                self._kinds[url] = kind
                log.info("%s: %s speaks %s", self._spec.name, redact(url), kind)
            else:
                self._unknown[url] = kind
        for kind in dict.fromkeys(self._kinds[url] for url in self._urls if url in self._kinds):
            urls = tuple(url for url in self._urls if self._kinds.get(url) is kind)
            old = self._sources.get(kind)
            if old is None or len(old.endpoints()) != len(urls):
                self._sources[kind] = self._make(kind, urls)
                if old is not None:
                    await old.aclose()

    def _make(self, kind: Kind, urls: tuple[str, ...]) -> Source:
        module, _, name = _MADE[kind].partition(":")
        terms = {url: terms for url, terms in self._spec.terms.items() if url in urls}
        spec = replace(self._spec, endpoints=urls, terms=terms)
        made: Source = getattr(import_module(module), name)(spec, self._network, **self._made)
        return made

    # -- one call -------------------------------------------------------------------------------------------------

    @property
    def _now(self) -> Source:
        return self._sources[self._current if self._current in self._sources else next(iter(self._sources))]

    def _ranked(self) -> list[Kind]:
        first = [self._kinds[url] for url in self._urls if url in self._kinds]
        usable = [kind for kind in dict.fromkeys(first) if kind in self._sources and kind not in self._refused]
        now = self._clock()
        return sorted(usable, key=lambda kind: self._aside.get(kind, 0.0) > now)

    def _set_aside(self) -> None:
        if self._current is not None and len(self._sources) > 1:
            self._aside[self._current] = self._clock() + ASIDE

    async def _first(self, call: Callable[[Source], Awaitable[T]]) -> T:
        """The answer of the first kind that gives one."""
        errors: list[ChainError] = []
        if not self._sources and self._is_due():
            await self._probe()
        for kind in self._ranked():
            try:
                answer = await call(self._sources[kind])
            except MethodUnsupported as error:
                errors.append(error)
            except ChainUnavailable as error:
                errors.append(error)
                if len(self._sources) > 1:
                    self._aside[kind] = self._clock() + ASIDE
            except ChainError as error:
                if type(error) is not ChainError or len(self._sources) == 1:  # of this very question
                    raise
                self._refused[kind] = error  # of another chain, seen when it came back: the others go on
                log.error("%s: %s", self._spec.name, error)
            else:
                self._current = kind
                return answer
        self._raise(errors)

    def _raise(self, errors: Sequence[ChainError]) -> NoReturn:
        if len(errors) == 1:
            raise errors[0]
        if errors:
            if all(isinstance(error, MethodUnsupported) for error in errors):
                raise errors[0]
            pauses = [error.retry_after for error in errors if isinstance(error, ChainUnavailable)]
            pause = min((pause for pause in pauses if pause is not None), default=None)
            raise ChainUnavailable("; ".join(str(error) for error in errors), pause)
        if self._refused and len(self._refused) == len(self._sources) and len(self._kinds) == len(self._urls):
            raise next(iter(self._refused.values()))
        reasons = [self._unknown[url] for url in self._urls if url in self._unknown and url not in self._kinds]
        raise ChainUnavailable(
            f"{'; '.join(reasons) or 'no endpoint answers'}"
            " (options.api says what endpoints speak where that cannot be found out)"
        )
