"""Requests to the endpoints of one chain: which is asked, how often, and what is said when none answers.

The endpoint that answered last is asked first, unless another is heavier or sounder. Where it fails the next is asked
at once; pauses (exponential back-off, full jitter) come after a whole round. An endpoint that asked for rest
(``Retry-After``) is left alone meanwhile, one that keeps failing until a probe succeeds, one of another chain for good.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from chains.base import EndpointState
from chains.endpoints.breaker import CLOSED, OPEN
from chains.endpoints.endpoint import Answer, Endpoint, Request, Send
from chains.endpoints.failure import Failure
from chains.endpoints.http import status_failure
from chains.endpoints.single import Single
from chains.exchange import Kind, Refused, Unanswered, Unusable, backoff, clean
from monitor.errors import ChainError, ChainInconsistent, ChainUnavailable

__all__ = ["LONGEST_PAUSE", "Greeting", "Pool", "Sleep"]

log = logging.getLogger(__name__)
T = TypeVar("T")
Sleep = Callable[[float], Awaitable[Any]]
Greeting = Callable[[Single], Awaitable[None]]

LONGEST_PAUSE = 60.0  # seconds: an endpoint that asks for more is left to the caller
_DIVISIBLE = frozenset({Kind.TIMEOUT, Kind.TOO_LARGE, Kind.INCOMPLETE, Kind.CUT_OFF})


class Pool:
    """An `Exchange` over several endpoints of one chain.

    Parameters
    ----------
    attempts : tries a request over all endpoints together (each endpoint is tried at least once)
    rng, sleep, clock : the source of jitter, the pause and monotonic seconds
    on_connect : awaited with one endpoint alone on each new connection to it. A `ChainUnavailable` from it counts as a
        failed attempt; any other `ChainError` says that the endpoint is none of this chain: it is never asked again.
    """

    def __init__(
        self,
        *,
        attempts: int,
        rng: random.Random,
        sleep: Sleep,
        clock: Callable[[], float],
        on_connect: Greeting | None = None,
    ) -> None:
        self._endpoints: tuple[Endpoint, ...] = ()
        self._attempts = attempts
        self._rng, self._sleep, self._clock = rng, sleep, clock
        self._on_connect = on_connect
        self._current = 0
        self._probes: dict[str, asyncio.Task[None]] = {}

    def _take(self, endpoints: Iterable[Endpoint]) -> None:
        """Take the endpoints, in the order of the configuration; once."""
        self._endpoints = tuple(endpoints)
        for endpoint in self._endpoints:
            endpoint.probed = self._on_connect is not None and len(self._endpoints) > 1

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(e.name for e in self._endpoints)})"

    @property
    def endpoint(self) -> str:
        """The redacted name of the endpoint that answered last (before any answer, of the one that is asked first)."""
        return self._endpoints[self._current].name

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """All of them, in the order of the configuration."""
        return self._endpoints

    @property
    def names(self) -> list[str]:
        """The redacted names of all endpoints that are not quarantined, in the order in which they would be asked."""
        return [endpoint.name for endpoint in self._ranked()]

    def states(self) -> list[EndpointState]:
        """All endpoints, in the order of the configuration."""
        return [endpoint.state(number == self._current) for number, endpoint in enumerate(self._endpoints)]

    def only(self, name: str) -> Single:
        """One endpoint alone, by its redacted name: one attempt a request, counted like any other."""
        endpoint = self.find(name)

        async def attempt(request: Request, decode: Callable[[bytes], T]) -> T:
            if not endpoint.askable:
                raise Failure(Kind.CONNECT, _why_not(endpoint), final=endpoint.quarantined is not None)
            if endpoint.resting > 0:
                raise Failure(Kind.LIMITED, f"it asked for {endpoint.resting:.0f} s of rest", pause=endpoint.resting)
            return await self._attempt(endpoint, request, decode)

        return Single(endpoint.name, endpoint.url, endpoint.link.transport, attempt)

    def find(self, name: str) -> Endpoint:
        """The endpoint of that name; KeyError where there is none."""
        for endpoint in self._endpoints:
            if endpoint.name == name:
                return endpoint
        raise KeyError(name)

    async def check(self) -> None:
        """Connect to every endpoint and greet it, also those that were of another chain before.

        Raises
        ------
        ChainUnavailable : no endpoint could be reached; those that could not are checked before their first use
        ChainError : all of them are of another chain
        """
        failures: dict[Endpoint, Failure] = {}

        async def meet(endpoint: Endpoint) -> None:
            try:
                await self._meet(endpoint)
            except Failure as failure:
                failures[endpoint] = failure

        for endpoint in self._endpoints:
            endpoint.quarantined = None
        await asyncio.gather(*(meet(endpoint) for endpoint in self._endpoints))
        self._check_quarantine()
        left = [endpoint for endpoint in self._endpoints if endpoint.quarantined is None]
        if all(endpoint in failures for endpoint in left):
            raise _give_up("", {endpoint: failures[endpoint] for endpoint in left})
        for endpoint in left:
            if endpoint in failures:
                log.warning("%s cannot be reached yet: %s", endpoint.name, failures[endpoint].reason)

    def rotate(self) -> None:
        """Ask the endpoint in use after the others for a while (it lags, or contradicts itself)."""
        self._endpoints[self._current].set_aside()
        ranked = self._ranked()
        if ranked:
            self._current = self._endpoints.index(ranked[0])

    def contradicted(self) -> None:
        """What the endpoint in use gave contradicts itself, or others: that is counted, and another one preferred."""
        self._endpoints[self._current].count(Kind.INCONSISTENT)
        self.rotate()

    async def exchange(self, body: bytes, decode: Callable[[bytes], T], what: str, calls: int = 1) -> T:
        """POST ``body`` to the endpoint itself (JSON-RPC); see `Exchange`."""
        return await self._rounds(Request(body, rpc=True, calls=calls), decode, what)

    def scrub(self, text: object) -> str:
        """Text of an endpoint on one short line, without the secrets of any endpoint."""
        return clean(text, *(endpoint.url for endpoint in self._endpoints))

    async def aclose(self) -> None:
        """Close connections; calling it twice is fine."""
        probes, self._probes = list(self._probes.values()), {}
        for probe in probes:
            probe.cancel()
        await asyncio.gather(*probes, return_exceptions=True)
        for endpoint in self._endpoints:
            await endpoint.link.aclose()

    def greeting(self, name: str, url: str, transport: str) -> Callable[[Send], Awaitable[None]] | None:
        """What the link of an endpoint awaits on each new connection."""
        greet = self._on_connect
        if greet is None:
            return None

        async def met(send: Send) -> None:
            async def attempt(request: Request, decode: Callable[[bytes], T]) -> T:
                return _decoded(url, await send(request), request, decode)

            try:
                await greet(Single(name, url, transport, attempt))
            except ChainUnavailable as error:
                kind = next(iter(getattr(error, "kinds", ())), Kind.ERROR)
                reason = str(error).rpartition(f"{name}: ")[2]
                raise Failure(kind, reason, final=isinstance(error, Refused), pause=error.retry_after) from None
            except ChainInconsistent as error:
                raise Failure(Kind.INCONSISTENT, str(error)) from None
            except ChainError as error:
                self._quarantine(self.find(name), error)
                raise

        return met

    # -- one request ----------------------------------------------------------------------------------------------

    async def _rounds(self, request: Request, decode: Callable[[bytes], T], what: str) -> T:
        self._revive()
        failures: dict[Endpoint, Failure] = {}
        done: set[Endpoint] = set()  # asking them again does not help
        tries = max(self._attempts, len(self._endpoints))
        for round_number in itertools.count():
            order = [endpoint for endpoint in self._order(what) if endpoint not in done][:tries]
            awake = [endpoint for endpoint in order if not endpoint.resting]
            for endpoint in awake:
                tries -= 1
                try:
                    answer = await self._attempt(endpoint, request, decode)
                except Failure as failure:
                    failures[endpoint] = failure
                    log.debug("%s: %s: %s", endpoint.name, what, failure.reason)
                    if failure.final or (request.calls > 1 and failure.kind in _DIVISIBLE):
                        done.add(endpoint)
                else:
                    self._current = self._endpoints.index(endpoint)
                    return answer
            left = [endpoint for endpoint in order if endpoint not in done and endpoint.quarantined is None]
            pause = self._pause(round_number, [endpoint.resting for endpoint in left])
            if not left or tries <= 0 or pause > LONGEST_PAUSE:
                break
            rested = [endpoint for endpoint in left if endpoint.resting <= pause]
            await self._sleep(pause)
            for endpoint in rested:
                endpoint.rest_until = 0.0
        self._check_quarantine()
        for endpoint in order:
            if endpoint.resting and endpoint not in failures:
                reason = f"it asked for {endpoint.resting:.0f} s of rest"
                failures[endpoint] = Failure(Kind.LIMITED, reason, pause=endpoint.resting)
        raise _give_up(what, failures)

    async def _attempt(self, endpoint: Endpoint, request: Request, decode: Callable[[bytes], T]) -> T:
        if self._on_connect is not None and endpoint.breaker.state != CLOSED:
            await self._meet(endpoint)
        if endpoint.limiter is not None:
            await endpoint.limiter.take(request.calls)
        begun = self._clock()
        try:
            answer = _decoded(endpoint.url, await endpoint.link.ask(request), request, decode)
        except Failure as failure:
            self._failed(endpoint, failure, request.rpc)
            raise
        except ChainError as error:
            raise self._quarantine(endpoint, error) from None
        self._succeeded(endpoint, self._clock() - begun)
        return answer

    async def _meet(self, endpoint: Endpoint) -> None:
        """Greet an endpoint anew; `Failure` where it cannot be reached or is none of ours."""
        begun = self._clock()
        try:
            await endpoint.link.meet()
        except Failure as failure:
            self._failed(endpoint, failure, rpc=True)
            raise
        except ChainError as error:
            raise self._quarantine(endpoint, error) from None
        self._succeeded(endpoint, self._clock() - begun)

    # -- what is known of endpoints -------------------------------------------------------------------------------

    def _ranked(self) -> list[Endpoint]:
        """Endpoints that are not quarantined, the preferred first."""
        count = len(self._endpoints)
        if count == 1:
            return [e for e in self._endpoints if e.quarantined is None]
        order = sorted(range(count), key=lambda i: (*self._endpoints[i].rank(), (i - self._current) % count))
        return [self._endpoints[i] for i in order if self._endpoints[i].quarantined is None]

    def _order(self, what: str) -> list[Endpoint]:
        """Whom to ask: those with a closed circuit; where there is none, those whose probe is due."""
        ranked = self._ranked()
        found = [e for e in ranked if e.breaker.state == CLOSED or (not e.probed and e.breaker.state != OPEN)]
        found = found or [e for e in ranked if e.breaker.state != OPEN]
        if found:
            return found
        self._check_quarantine()
        soonest = max(0.0, min(e.breaker.due for e in ranked) - self._clock())
        reasons = "; ".join(f"{e.name}: {_why_not(e)}" for e in ranked)
        raise ChainUnavailable(f"{clean(what)}: {reasons}", soonest)

    def _pause(self, round_number: int, resting: Sequence[float]) -> float:
        """Seconds to wait: random up to the back-off, but at least the shortest rest that was asked for."""
        return max(min(resting, default=0.0), backoff(self._rng, round_number))

    def _revive(self) -> None:
        """Probe endpoints that failed, beside what goes on: one that hangs must not delay a block."""
        for endpoint in self._endpoints:
            breaker = endpoint.breaker
            if (
                endpoint.probed and breaker.suspect and breaker.is_due
                and endpoint.name not in self._probes and endpoint.quarantined is None
            ):  # fmt: skip
                self._probes[endpoint.name] = asyncio.create_task(self._probe(endpoint), name=f"probe {endpoint.name}")

    async def _probe(self, endpoint: Endpoint) -> None:
        try:
            await self._meet(endpoint)
        except Failure as failure:
            log.debug("%s: still %s", endpoint.name, failure.reason)
        finally:
            self._probes.pop(endpoint.name, None)

    def _succeeded(self, endpoint: Endpoint, seconds: float) -> None:
        if endpoint.succeeded(seconds):
            log.warning("%s answers again", endpoint.name)

    def _failed(self, endpoint: Endpoint, failure: Failure, rpc: bool) -> None:
        if endpoint.failed(failure, rpc):
            log.warning("%s is left alone for now: %s", endpoint.name, failure.reason)

    def _quarantine(self, endpoint: Endpoint, error: ChainError) -> Failure:
        if endpoint.quarantined is None:
            endpoint.quarantined = str(error)
            log.error("%s is never asked again: %s", endpoint.name, error)
        failure = Failure(Kind.WRONG_CHAIN, str(error), final=True)
        endpoint.failed(failure)
        return failure

    def _check_quarantine(self) -> None:
        """ChainError where every endpoint is of another chain."""
        reasons = [endpoint.quarantined for endpoint in self._endpoints]
        if all(reason is not None for reason in reasons):
            raise ChainError("; ".join(dict.fromkeys(reason or "" for reason in reasons)))


def _decoded(url: str, answer: Answer, request: Request, decode: Callable[[bytes], T]) -> T:
    """What is in an answer; `Failure` where it cannot be used."""
    status = answer.status
    # A JSON-RPC error may come with any status; one that carries it is an answer like another.
    if status < 300 or (request.rpc and status not in (401, 403, 429, 503)):
        try:
            return decode(answer.data)
        except Unusable as error:
            raise Failure(error.kind, clean(error, url), status=status, final=error.final) from None
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            if status < 300:
                kind = "unexpected answer" if isinstance(error, msgspec.ValidationError) else "answer is not JSON"
                raise Failure(Kind.UNREADABLE, f"{kind}: {clean(error, url, length=100)}") from None
    raise status_failure(url, answer)


def _why_not(endpoint: Endpoint) -> str:
    return endpoint.quarantined or f"left alone after {endpoint.last_reason}"


def _give_up(what: str, failures: Mapping[Endpoint, Failure]) -> ChainUnavailable:
    reasons = "; ".join(f"{e.name}: {f.reason}" for e, f in failures.items())
    message = f"{clean(what)}: {reasons}" if what else reasons
    kinds = {f.kind for f in failures.values()}
    last = list(failures.values())[-1]
    if all(f.final for f in failures.values()):
        return Refused(message, last.status, last.detail, kinds)
    asked = [f.pause for f in failures.values() if not f.final and f.pause is not None]
    return Unanswered(message, min(asked, default=None), kinds)
