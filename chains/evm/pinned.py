"""Questions about the state after one block: by its hash (EIP-1898), or by its number where that is not understood.

With a number the answer may be of another block of that height, so the hash at that number is asked for last.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chains.evm.wire import RpcHeader
from chains.rpc import JsonRpc, MethodUnsupported, RpcError
from monitor.errors import ChainInconsistent, ChainUnavailable
from monitor.model import BlockRef

__all__ = ["SETTLING", "Call", "Pinned", "word_of"]

SETTLING = 0.05  # seconds after which what looks like a change is asked for again
"""Some nodes (anvil) answer about their newest block with what the next one, which they are making, does to it."""

Call = tuple[str, tuple[Any, ...]]
"""Method, and its parameters without the block."""


class Pinned:
    """Asks about the state after a block. What one endpoint answers is never mixed with another block's."""

    def __init__(self, rpc: JsonRpc) -> None:
        self._rpc = rpc
        self._by_number: set[str] = set()  # endpoints that do not understand a block hash

    @property
    def endpoint(self) -> str:
        """The redacted name of the endpoint that answered last."""
        return self._rpc.endpoint

    async def ask(self, calls: Sequence[Call], at: BlockRef, type: Any = Any) -> list[Any]:
        """The answers in their order; an `RpcError` in the place of each that was refused.

        Raises
        ------
        ChainUnavailable : no endpoint gave a usable answer
        ChainInconsistent : asked by number, and the block of that number is another one
        """
        if not calls:
            return []
        if self._rpc.endpoint in self._by_number:
            return await self._numbered(calls, at, type)
        answers = await self._rpc.batch(
            [(method, [*given, {"blockHash": at.hash}]) for method, given in calls], type=type
        )
        refused = [place for place, answer in enumerate(answers) if isinstance(answer, MethodUnsupported)]
        if not refused:
            return answers
        again = await self._numbered([calls[place] for place in refused], at, type)
        for place, answer in zip(refused, again, strict=True):
            answers[place] = answer
        if len(refused) == len(calls) and not any(isinstance(answer, MethodUnsupported) for answer in again):
            self._by_number.add(self._rpc.endpoint)
        return answers

    async def at_height(self, calls: Sequence[Call], number: int) -> list[Any]:
        """The answers after the block of that number, whichever it is; an `RpcError` where there is none."""
        return await self._rpc.batch([(method, [*given, hex(number)]) for method, given in calls]) if calls else []

    async def _numbered(self, calls: Sequence[Call], at: BlockRef, type: Any) -> list[Any]:
        answers = await self._rpc.batch([(method, [*given, hex(at.number)]) for method, given in calls], type=type)
        if all(isinstance(answer, RpcError) for answer in answers):
            return answers
        try:
            header = await self._rpc.call("eth_getBlockByNumber", hex(at.number), False, type=RpcHeader)
        except RpcError as error:
            raise ChainUnavailable(str(error)) from None
        if header is None or header.hash.lower() != at.hash:
            raise ChainInconsistent(f"block {at.number} is no longer {at.hash[:66]}")
        return answers


def word_of(answer: Any) -> str | None:
    """A word of storage, or a call's answer of one word; None for anything else."""
    if not isinstance(answer, str) or len(answer) != 66:
        return None
    try:
        int(answer, 16)
    except ValueError:
        return None
    return answer.lower()
