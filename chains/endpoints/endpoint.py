"""One endpoint: how to reach it, and what it is worth now."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from chains.base import EndpointState, Terms
from chains.endpoints.breaker import CLOSED, Breaker
from chains.endpoints.failure import BROKEN, Failure
from chains.endpoints.limiter import Limiter
from chains.exchange import BACKOFF_BASE, Kind, redact

__all__ = ["Answer", "Endpoint", "Link", "Request", "Send", "names_of"]

ASIDE = 30.0  # seconds that an endpoint is asked last after it lagged or contradicted itself; doubles each time
LONGEST_ASIDE = 600.0
MOST_REST = 3600.0  # seconds of rest that an endpoint may ask for
LONGEST_REST = 15.0  # seconds after a 429 that does not say how long


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent: to HTTP all of it, to a socket the body."""

    body: bytes | None
    verb: str = "POST"
    path: str = ""
    params: Any = None
    rpc: bool = False  # an error status may carry an answer
    calls: int = 1  # of a batch


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, before anybody looked into it."""

    data: bytes
    status: int = 200
    retry_after: str | None = None  # the header


Send = Callable[[Request], Awaitable[Answer]]


class Link(Protocol):
    """The connection to one endpoint. It opens when it is needed, and whoever made it greets each new connection."""

    transport: str  # http | ws

    async def ask(self, request: Request) -> Answer:
        """`Failure` without an answer in time; ChainError for what the greeting found wrong."""

    async def meet(self) -> None:
        """Connect and greet now, whether or not that was done before; errors as in `ask`."""

    async def aclose(self) -> None:
        """Close the connection; calling it twice is fine."""


class Endpoint:
    """The state of one endpoint.

    Parameters
    ----------
    name : for people and for numbers, unique within its chain
    url : with its secrets: never shown
    link : its connection
    terms : its weight and rate
    clock, sleep, rng : monotonic seconds, pause and jitter
    """

    def __init__(
        self,
        name: str,
        url: str,
        link: Link,
        terms: Terms,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[Any]],
        rng: random.Random,
    ) -> None:
        self.name, self.url, self.link, self.terms = name, url, link, terms
        self.breaker = Breaker(clock, rng)
        self.limiter = Limiter(terms.rate, sleep=sleep, clock=clock) if terms.rate is not None else None
        self.probed = False  # whether somebody probes it while it is suspect; otherwise the next request does
        self.quarantined: str | None = None  # why it is never asked again
        self.lagging = False
        self.head: int | None = None
        self.last_reason = ""
        self.rest_until = 0.0
        self._clock = clock
        self._limited = 0  # 429s in a row
        self._aside_since, self._aside_until, self._aside_for = 0.0, 0.0, 0.0
        self._requests, self._seconds = 0, 0.0
        self._failures: Counter[str] = Counter()

    @property
    def resting(self) -> float:
        """Seconds for which it asked to be left alone."""
        return max(0.0, self.rest_until - self._clock())

    @property
    def askable(self) -> bool:
        """Whether requests may go to it at all."""
        return self.quarantined is None and self.breaker.state == CLOSED

    def rank(self) -> tuple[float, ...]:
        """The order of preference, lowest first: sound ones, then heavier ones, then HTTP."""
        now = self._clock()
        aside = now < self._aside_until
        suspect = self.breaker.suspect and (self.probed or not self.breaker.is_due)
        badness = 4 * suspect + 2 * aside + self.lagging
        waits = self.limiter is not None and self.limiter.delay() > 0
        return (
            badness, self._aside_since if aside else 0.0, waits, -self.terms.weight, self.link.transport == "ws"
        )  # fmt: skip

    def set_aside(self) -> None:
        """Ask it after the others for a while."""
        now = self._clock()
        if now < self._aside_until:
            self._aside_since = now
            return
        again = now < self._aside_until + LONGEST_ASIDE and self._aside_for
        self._aside_for = min(LONGEST_ASIDE, 2 * self._aside_for) if again else ASIDE
        self._aside_since, self._aside_until = now, now + self._aside_for

    def succeeded(self, seconds: float) -> bool:
        """Note an answer that took ``seconds``; whether it closed an open circuit."""
        self._requests += 1
        self._seconds += seconds
        self._limited, self.rest_until = 0, 0.0
        return self.breaker.succeeded()

    def failed(self, failure: Failure, rpc: bool = True) -> bool:
        """Note a failure; whether it opened the circuit just now."""
        self._requests += 1
        self._failures[failure.kind] += 1
        self.last_reason = failure.reason
        if failure.kind is Kind.LIMITED or failure.pause is not None:
            own = min(LONGEST_REST, BACKOFF_BASE * 2.0 ** min(self._limited, 16))
            self._limited += 1
            self.rest_until = self._clock() + min(MOST_REST, own if failure.pause is None else failure.pause)
        if failure.kind in BROKEN or (failure.kind is Kind.REFUSED and rpc):
            return self.breaker.failed()
        return False

    def count(self, kind: Kind) -> None:
        """Note a fault of an answer that was taken at first."""
        self._failures[kind] += 1

    def state(self, in_use: bool) -> EndpointState:
        """For people and for numbers."""
        return EndpointState(
            name=self.name,
            transport=self.link.transport,
            weight=self.terms.weight,
            rate=self.terms.rate,
            in_use=in_use,
            circuit="quarantined" if self.quarantined is not None else self.breaker.state,
            head=self.head,
            lagging=self.lagging,
            requests=self._requests,
            failures=dict(sorted(self._failures.items())),
            seconds=self._seconds,
            reason=self.quarantined or (self.last_reason if self.breaker.suspect else ""),
        )


def names_of(urls: Sequence[str]) -> list[str]:
    """Redacted names that differ: host and port, with ``#2`` and so on where several URLs share them.

    >>> names_of(["http://a/x", "http://a/y", "http://b"])
    ['a', 'a#2', 'b']
    """
    seen: Counter[str] = Counter()
    names = []
    for url in urls:
        name = redact(url)
        seen[name] += 1
        names.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
    return names
