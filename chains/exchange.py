"""What requests to endpoints have in common: the `Exchange` protocol, its errors, back-off, texts without secrets."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Collection
from enum import StrEnum
from typing import Protocol, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

import aiohttp

from monitor.errors import ChainUnavailable

__all__ = [
    "Exchange",
    "Kind",
    "MethodUnsupported",
    "Refused",
    "RpcError",
    "Unanswered",
    "Unusable",
    "backoff",
    "clean",
    "kind_of",
    "reason",
    "redact",
]

T = TypeVar("T")

BACKOFF_BASE = 0.25  # seconds, upper bound of the first pause
BACKOFF_CAP = 8.0  # seconds


class Kind(StrEnum):
    """Why an attempt at an endpoint failed; a closed list, for numbers."""

    TIMEOUT = "timeout"
    CONNECT = "connect"  # refused, no such host, TLS
    LOST = "lost"  # the connection broke before the answer
    CUT_OFF = "cut_off"  # the body ended early
    TOO_LARGE = "too_large"  # the request for the endpoint (413), or the answer for us
    LIMITED = "limited"  # 429, or an error object that says so
    SERVER = "server"  # 5xx
    REFUSED = "refused"  # 4xx that no retry cures
    UNREADABLE = "unreadable"  # not JSON, or of another form
    INCOMPLETE = "incomplete"  # replies of a batch are missing
    ERROR = "error"  # an error object that another endpoint may do without
    WRONG_CHAIN = "wrong_chain"
    INCONSISTENT = "inconsistent"  # it contradicts itself or others


class RpcError(ChainUnavailable):
    """The endpoint answered this very call with a JSON-RPC error object."""


class MethodUnsupported(RpcError):
    """The endpoint does not offer this method, or not with these parameters: use another way."""


class Unanswered(ChainUnavailable):
    """No endpoint gave a usable answer; ``kinds`` are those of the last failure of each."""

    def __init__(self, message: str, retry_after: float | None = None, kinds: Collection[Kind] = ()) -> None:
        super().__init__(message, retry_after)
        self.kinds = frozenset(kinds)


class Refused(Unanswered):
    """Every endpoint answered with a status that no retry cures (401, 403, 404, ...).

    ``status`` is the last one, ``detail`` what its body said (JSON ``message`` or ``error``), shortened and scrubbed.
    """

    def __init__(self, message: str, status: int, detail: str = "", kinds: Collection[Kind] = (Kind.REFUSED,)) -> None:
        super().__init__(message, kinds=kinds)
        self.status = status
        self.detail = detail


class Unusable(Exception):
    """Raised by a decoder: the answer cannot be used.

    ``final`` says that this endpoint will not do better (ask the others once); otherwise the request is repeated. Never
    leaves an `Exchange`.
    """

    def __init__(self, reason: str, *, final: bool = False, kind: Kind = Kind.UNREADABLE) -> None:
        super().__init__(reason)
        self.final, self.kind = final, kind


def redact(url: str) -> str:
    """An endpoint's name for people: host and port, nothing that may be a key.

    >>> redact("https://user:pw@node.example:8545/v3/KEY?apikey=KEY")
    'node.example:8545'
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return "(not a URL)"
    if not host:
        return "(not a URL)"
    host = f"[{host}]" if ":" in host else host
    return f"{host}:{port}" if port else host


def clean(text: object, *urls: str, length: int = 160) -> str:
    """Text of an endpoint made fit for one line of an error: printable, short, without the secrets of ``urls``."""
    line = "".join(c if c.isprintable() else " " for c in str(text))
    for url in urls:
        for secret in _secrets(url):
            line = line.replace(secret, "***")
    line = " ".join(line.split())
    return line if len(line) <= length else line[: length - 1] + "…"


@functools.lru_cache(maxsize=256)
def _secrets(url: str) -> tuple[str, ...]:
    """The parts of an endpoint that may be a key, longest first, as written and decoded."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return (url,) if url else ()
    found = {p for p in parts.path.split("/") if len(p) > 4}
    found |= {v for _, v in parse_qsl(parts.query) if len(v) > 4}
    found |= {v for v in (parts.username, parts.password) if v and len(v) > 2}
    found |= {unquote(v) for v in found}
    return tuple(sorted(found, key=len, reverse=True))


class Exchange(Protocol):
    """One request and its answer, wherever it comes from.

    ``decode`` turns the answer's bytes into a value; `Unusable` or ``msgspec.DecodeError`` from it means "ask again".
    """

    @property
    def endpoint(self) -> str:
        """The redacted name of the endpoint that answered last."""

    def rotate(self) -> None:
        """Prefer another endpoint for a while (the current one lags, or contradicts itself)."""

    async def exchange(self, body: bytes, decode: Callable[[bytes], T], what: str, calls: int = 1) -> T:
        """Send ``body``; ChainUnavailable, saying ``what`` was asked, when no endpoint gives a usable answer.

        ``calls`` is how many calls it holds: what a rate limit counts. Several are not sent again as they are where
        they were too much: the caller divides them.
        """

    def scrub(self, text: object) -> str:
        """Text of an endpoint on one short line, without the secrets of any endpoint."""

    async def aclose(self) -> None:
        """Close connections; calling it twice is fine."""


def backoff(rng: random.Random, round_number: int) -> float:
    """Seconds to wait after a failed round (counted from 0): random up to a doubling bound (full jitter)."""
    return rng.uniform(0.0, min(BACKOFF_CAP, BACKOFF_BASE * 2.0 ** min(round_number, 16)))


def kind_of(error: Exception) -> Kind:
    """What went wrong with a connection."""
    if isinstance(error, TimeoutError):
        return Kind.TIMEOUT
    if isinstance(error, aiohttp.ClientPayloadError):
        return Kind.CUT_OFF
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ServerFingerprintMismatch | ValueError):
        return Kind.CONNECT
    return Kind.LOST


def reason(error: Exception, timeout: float) -> str:
    """One clear line, without the message of the library (it may hold the URL)."""
    if isinstance(error, TimeoutError):
        return f"no answer within {timeout:g} s"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "host name not found"
    if isinstance(error, aiohttp.ClientSSLError | aiohttp.ServerFingerprintMismatch):
        return "TLS failed (certificate or protocol)"
    if isinstance(error, aiohttp.ClientConnectorError):
        refused = isinstance(error.os_error, ConnectionRefusedError)
        return "connection refused" if refused else f"cannot connect ({clean(error.os_error.strerror or 'no reason')})"
    if isinstance(error, aiohttp.ClientResponseError):
        return f"HTTP {error.status}"
    if isinstance(error, aiohttp.ClientPayloadError):
        return "answer cut off"
    if isinstance(error, aiohttp.ServerDisconnectedError | ConnectionError):
        return "connection lost"
    return f"request failed ({type(error).__name__})"
