"""JSON-RPC 2.0: calls and batches with typed answers, over an `Exchange` (HTTP or a socket)."""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Callable, Container, Iterator, Sequence
from typing import Any

import msgspec

from chains.batching import BatchSizes
from chains.exchange import Exchange, Kind, MethodUnsupported, Refused, RpcError, Unanswered, Unusable
from chains.nesting import nested

__all__ = ["JsonRpc"]

_DIVISIBLE = frozenset({Kind.TIMEOUT, Kind.TOO_LARGE, Kind.INCOMPLETE, Kind.CUT_OFF})  # fewer calls may do better
_TOO_MANY = re.compile(
    r"batch.*(too (large|big|long|many)|limit|exceed|maximum)|(response|request).*too (large|big)"
    r"|too many (requests|calls) in",
    re.I,
)
_STARTING = -28  # Bitcoin Core loads its blocks, and answers every call so
_LIMITED = re.compile(r"rate limit|too many requests|request limit|capacity|exceeded .*per second", re.I)
_UNSUPPORTED = re.compile(
    r"method\b.*(not (found|supported|available|allowed|whitelisted|exist)|unsupported|disabled)"
    r"|(unsupported|unknown|invalid) method|not implemented|is not available",
    re.I,
)


class _ErrorObject(msgspec.Struct):
    code: int | float | str | None = None
    message: str | None = None


# An error object, or text alone as some gateways send it.
_Error = _ErrorObject | str


class _Raw(msgspec.Struct):
    id: int | str | None = None
    result: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    error: _Error | None = None


@functools.lru_cache(maxsize=64)
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    """One pass over the answer: the envelope and the typed result together."""
    fields: list[Any] = [
        ("id", int | str | None, None),
        ("result", Any if kind is Any else _or_null(kind) | msgspec.UnsetType, msgspec.UNSET),
        ("error", _Error | None, None),
    ]
    return msgspec.json.Decoder(msgspec.defstruct("Reply", fields))


def _or_null(kind: Any) -> Any:
    return kind if kind in (Any, msgspec.Raw) else kind | None


@functools.lru_cache(maxsize=16)
def _pair_decoder(first: Any, second: Any) -> msgspec.json.Decoder[Any]:
    """One pass over both replies, where they come in the order of the questions."""
    types = (_decoder(first).type, _decoder(second).type)
    return msgspec.json.Decoder(tuple[types])  # type: ignore[valid-type]


class _TooMany(RpcError):
    """The batch was refused for its size."""


class JsonRpc:
    """JSON-RPC 2.0 over an `Exchange`.

    Parameters
    ----------
    exchange : where requests go
    ids : numbers for requests; those who share a socket share them
    sizes : how many calls of a batch each endpoint takes; those who share endpoints share them
    answers : codes of errors that are the answer to a call, which no other endpoint would give another way
    """

    def __init__(
        self,
        exchange: Exchange,
        ids: Iterator[int] | None = None,
        sizes: BatchSizes | None = None,
        answers: Container[int | float | str | None] = (),
    ) -> None:
        self._exchange, self._answers = exchange, answers
        self._ids = itertools.count(1) if ids is None else ids
        self._sizes = BatchSizes() if sizes is None else sizes

    @property
    def endpoint(self) -> str:
        """The redacted name of the endpoint that answered last."""
        return self._exchange.endpoint

    async def call(self, method: str, *params: Any, type: Any = Any) -> Any:
        """The result of one call, decoded as ``type`` (a msgspec type); None where the result is null.

        Raises
        ------
        MethodUnsupported : the endpoint does not offer the method, or not with these parameters
        RpcError : the call was answered with another error object, a reverted ``eth_call`` for example
        ChainUnavailable : no usable answer from any endpoint
        """
        ident = next(self._ids)
        decoder = _decoder(type)

        def decode(data: bytes) -> Any:
            reply = nested(decoder.decode, data)
            if reply.error is not None:
                return self._error(method, reply.error)
            if reply.id not in (ident, str(ident)):
                raise Unusable("answer to another request")
            if reply.result is msgspec.UNSET:
                raise Unusable("answer without result")
            return reply.result

        result = await self._exchange.exchange(_request(ident, method, params), decode, method)
        if isinstance(result, RpcError):
            raise self._named(result)
        return result

    async def batch(self, calls: Sequence[tuple[str, Sequence[Any]]], type: Any = Any) -> list[Any]:
        """The results of several calls in their order, each decoded as ``type``.

        A call that the endpoint answered with an error object gives the `RpcError` (or `MethodUnsupported`) itself in
        its place, not raised. Large batches are sent in parts, which get smaller where an endpoint refuses them, leaves
        out replies or does not answer in time; one by one where it takes none.

        Raises
        ------
        ChainUnavailable : no usable answer, or replies missing
        """
        results: list[Any] = []
        while len(results) < len(calls):
            name = self.endpoint
            part = calls[len(results) : len(results) + self._sizes.of(name)]
            try:
                found = await self._part(part, type)
            except _TooMany:
                self._sizes.halve(self.endpoint, len(part))
                continue
            except Unanswered as error:
                if not error.kinds & _DIVISIBLE:
                    raise
                self._sizes.halve(name, len(part))
                if len(part) == 1:
                    results.append(await self._alone(*part[0], type))
                continue
            self._sizes.passed(self.endpoint, len(part))
            results += found
        return results

    async def pair(
        self, first: tuple[str, Sequence[Any], Any], second: tuple[str, Sequence[Any], Any]
    ) -> tuple[Any, Any] | None:
        """The results of two calls (method, params, type) in one request; an `RpcError` in the place of either.

        None where the endpoint takes no batch: ask one after the other.

        Raises
        ------
        ChainUnavailable : no usable answer, or a reply missing
        """
        idents = (next(self._ids), next(self._ids))
        calls = (first, second)
        body = b"[%b]" % b",".join(_request(i, c[0], c[1]) for i, c in zip(idents, calls, strict=True))
        decoder = _pair_decoder(first[2], second[2])
        what = f"{first[0]} and {second[0]}"

        def decode(data: bytes) -> Any:
            try:
                replies = decoder.decode(data)
            except msgspec.ValidationError:
                return self._any_order(data, idents, calls, what)
            if [str(reply.id) for reply in replies] != [str(ident) for ident in idents]:
                return self._any_order(data, idents, calls, what)
            return [self._unpacked(reply, call[0]) for reply, call in zip(replies, calls, strict=True)]

        if self._sizes.of(self.endpoint) == 1:
            return None
        results = await self._together(body, decode, what, 2)
        if isinstance(results, RpcError):
            self._sizes.refused(self.endpoint)
            return None
        found = [self._named(result) if isinstance(result, RpcError) else result for result in results]
        return found[0], found[1]

    def _unpacked(self, reply: Any, method: str) -> Any:
        if reply.error is not None:
            return self._error(method, reply.error, inside=True)
        if reply.result is msgspec.UNSET:
            raise Unusable(f"reply to {method} without result")
        return reply.result

    def _any_order(self, data: bytes, idents: Sequence[int], calls: Sequence[tuple[str, Any, Any]], what: str) -> Any:
        """Results of a batch whose replies come in another order; the error where there is none at all."""
        replies = msgspec.json.decode(data, type=list[_Raw] | _Raw)
        if isinstance(replies, _Raw):
            if replies.error is None:
                raise Unusable("answer to a batch is not a list")
            return self._refusal(what, replies.error)
        by_id = {str(reply.id): reply for reply in replies}
        if missing := sum(str(i) not in by_id for i in idents):
            raise Unusable(f"{missing} of {len(calls)} replies missing", kind=Kind.INCOMPLETE)
        return [self._result(c[0], by_id[str(i)], c[2]) for i, c in zip(idents, calls, strict=True)]

    async def aclose(self) -> None:
        """Close connections; calling it twice is fine."""
        await self._exchange.aclose()

    async def _part(self, calls: Sequence[tuple[str, Sequence[Any]]], type: Any) -> list[Any]:
        if self._sizes.of(self.endpoint) == 1:
            return [await self._alone(method, params, type) for method, params in calls]
        idents = [next(self._ids) for _ in calls]
        body = b"[%b]" % b",".join(_request(i, m, p) for i, (m, p) in zip(idents, calls, strict=True))
        what = f"batch of {len(calls)} {calls[0][0]}"

        def decode(data: bytes) -> Any:
            return self._any_order(data, idents, [(method, params, type) for method, params in calls], what)

        results = await self._together(body, decode, what, len(calls))
        if isinstance(results, _TooMany) and len(calls) > 1:
            raise results
        if isinstance(results, RpcError):
            self._sizes.refused(self.endpoint)
            return [await self._alone(method, params, type) for method, params in calls]
        return [self._named(r) if isinstance(r, RpcError) else r for r in results]

    async def _together(self, body: bytes, decode: Callable[[bytes], Any], what: str, calls: int) -> Any:
        """What ``decode`` makes of the answer to a batch; the `RpcError` where it is no request for the endpoint."""
        try:
            return await self._exchange.exchange(body, decode, what, calls)
        except Refused as error:
            if error.status != 400:
                raise
            return (_TooMany if _TOO_MANY.search(error.detail) else RpcError)(str(error))

    def _refusal(self, what: str, error: _Error) -> RpcError:
        """The exception for an error object that stands for a whole batch."""
        message = error if isinstance(error, str) else error.message or ""
        if _TOO_MANY.search(message):
            return _TooMany(f"{what}: {self._exchange.scrub(message)}")
        return self._error(what, error, inside=True)

    async def _alone(self, method: str, params: Sequence[Any], type: Any) -> Any:
        try:
            return await self.call(method, *params, type=type)
        except RpcError as error:
            return error

    def _named(self, error: RpcError) -> RpcError:
        return type(error)(f"{self.endpoint}: {error}")

    def _result(self, method: str, reply: _Raw, kind: Any) -> Any:
        if reply.error is not None:
            return self._error(method, reply.error, inside=True)
        if isinstance(reply.result, msgspec.UnsetType):
            raise Unusable(f"reply to {method} without result")
        return msgspec.json.decode(reply.result, type=_or_null(kind))

    def _error(self, method: str, error: _Error, inside: bool = False) -> RpcError:
        """The exception for an error object that is the answer; raises `Unusable` where the endpoint is the trouble.

        A reverted call, parameters that it does not take or a missing method are answers. Anything else (quota,
        "header not found", internal error) another endpoint may do better; inside a batch it stays with its call.
        """
        code, message = (None, error) if isinstance(error, str) else (error.code, error.message or "")
        text = f"{method}: {self._exchange.scrub(message) or 'error'}"
        if code is not None:
            text += f" (code {self._exchange.scrub(code)})"
        if code == 429 or _LIMITED.search(message):
            raise Unusable(text, kind=Kind.LIMITED)
        if code in (-32601, -32602, -32004) or _UNSUPPORTED.search(message):
            return MethodUnsupported(text)
        if code == _STARTING:
            raise Unusable(text, kind=Kind.ERROR)
        if inside or code == 3 or "revert" in message or code in self._answers:
            return RpcError(text)
        raise Unusable(text, final=True, kind=Kind.ERROR)


def _request(ident: int, method: str, params: Sequence[Any]) -> bytes:
    return msgspec.json.encode({"jsonrpc": "2.0", "id": ident, "method": method, "params": list(params)})
