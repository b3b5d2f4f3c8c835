"""One endpoint alone, as an `Exchange`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

import msgspec

from chains.endpoints.endpoint import Request
from chains.endpoints.failure import Failure
from chains.exchange import Refused, Unanswered, clean

__all__ = ["Single"]

T = TypeVar("T")


class _Attempt(Protocol):
    async def __call__(self, request: Request, decode: Callable[[bytes], T]) -> T: ...


class Single:
    """One attempt a request, at this endpoint and no other; an `Exchange`.

    Parameters
    ----------
    endpoint : its redacted name
    url : with its secrets
    transport : http | ws
    attempt : one request and what ``decode`` makes of its answer; `Failure` without one
    """

    def __init__(self, endpoint: str, url: str, transport: str, attempt: _Attempt) -> None:
        self.endpoint, self.transport = endpoint, transport
        self._url, self._attempt = url, attempt

    async def get(self, path: str, params: Mapping[str, Any] | None = None) -> Any:
        """The JSON answer to GET ``path``; see `chains.rpc.HttpPool.get`."""
        return await self._asked(Request(None, "GET", path, params), msgspec.json.decode, path)

    async def read(self, path: str, decode: Callable[[bytes], T], params: Mapping[str, Any] | None = None) -> T:
        """What ``decode`` makes of the answer to GET ``path``; see `chains.rpc.HttpPool.read`."""
        return await self._asked(Request(None, "GET", path, params), decode, path)

    async def post(self, path: str, body: Any) -> Any:
        """The JSON answer to POST ``path`` with ``body`` as JSON."""
        return await self._asked(Request(msgspec.json.encode(body), "POST", path), msgspec.json.decode, path)

    async def exchange(self, body: bytes, decode: Callable[[bytes], T], what: str, calls: int = 1) -> T:
        """See `Exchange`."""
        return await self._asked(Request(body, rpc=True, calls=calls), decode, what)

    def rotate(self) -> None:
        """There is no other."""

    def scrub(self, text: object) -> str:
        """Text of the endpoint on one short line, without its secrets."""
        return clean(text, self._url)

    async def aclose(self) -> None:
        """Nothing: the connection is its pool's."""

    async def _asked(self, request: Request, decode: Callable[[bytes], T], what: str) -> T:
        try:
            return await self._attempt(request, decode)
        except Failure as failure:
            message = f"{clean(what)}: {self.endpoint}: {failure.reason}"
            if failure.final:
                raise Refused(message, failure.status, failure.detail, (failure.kind,)) from None
            raise Unanswered(message, failure.pause, (failure.kind,)) from None
