"""Where transactions that wait to be mined come from: a subscription, or looks at the pool, whichever is offered.

A subscription (``newPendingTransactions``) gives whole transactions where the node knows how, else hashes that are
asked for, so many a round and no more. Without one the pool is looked at every second: all of it (``txpool_content``)
where it is small, else the part of each watched sender (``txpool_contentFrom``), which does not show what others do
with a watched account.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from chains.evm.capabilities import Capabilities
from chains.evm.pending_tx import RpcPending, number
from chains.rpc import JsonRpc, MethodUnsupported, RpcError
from chains.websocket import Note

__all__ = ["Feed"]

log = logging.getLogger(__name__)

KEPT = 4096  # notes that wait to be looked at; of a flood, what is beyond is counted and left
FETCHED = 64  # hashes asked for in one round
DECODED = 512  # transactions looked at in one round
LARGEST_POOL = 5000  # transactions of a pool that is read as a whole: some megabytes each time
SENDERS = 100  # watched senders that are asked about one by one, in one look
REMEMBERED = 20_000  # transactions of a pool that were looked at before

_Content = dict[str, dict[str, dict[str, msgspec.Raw]]]
_Own = dict[str, dict[str, msgspec.Raw]]


class Feed:
    """Transactions as they come.

    Parameters
    ----------
    rpc : calls to the endpoints
    senders : watched accounts that are named one by one

    Attributes
    ----------
    subscribed : names of endpoints that tell by themselves
    dropped : transactions that were left out, since too many came
    """

    def __init__(self, rpc: JsonRpc, senders: Sequence[str], name: str) -> None:
        self.subscribed: set[str] = set()
        self.dropped = 0
        self.news = asyncio.Event()
        self._rpc, self._senders, self._name = rpc, senders, name
        self._notes: deque[bytes] = deque()
        self._missed = True  # the pool as it is at the start tells itself to nobody
        self._known = Capabilities()
        self._seen: dict[int, None] = {}
        self._turn = 0

    def told(self, name: str, note: Note | None) -> None:
        """A subscription told something, or may have missed something (None). Costs next to nothing."""
        if note is None:
            self._missed = True
        elif len(self._notes) >= KEPT:
            self.dropped += 1
        else:
            self._notes.append(bytes(note.result))
        self.news.set()

    def look_again(self) -> None:
        """Look at the pool once, although a subscription should have told."""
        self._missed = True

    async def take(self) -> list[RpcPending]:
        """What came since the last time; some of it may be mined by now.

        Raises
        ------
        ChainUnavailable : no endpoint answers
        MethodUnsupported : there is neither a subscription nor a pool to look at
        """
        self.news.clear()
        found, hashes = self._read_notes()
        if hashes:
            self.dropped += max(0, len(hashes) - FETCHED)
            found += await self.fetch(hashes[-FETCHED:])
        if self._missed or not self.subscribed:
            found += await self._look()
        return found

    async def fetch(self, hashes: Sequence[str]) -> list[RpcPending]:
        """Those that are not mined; one that makes no sense costs itself alone.

        Raises
        ------
        ChainUnavailable : no endpoint answers
        """
        answers = await self._rpc.batch([("eth_getTransactionByHash", [hash]) for hash in hashes])
        waiting = [a for a in answers if isinstance(a, dict) and a.get("blockNumber") is None]
        return [tx for answer in waiting if (tx := _read(msgspec.json.encode(answer))) is not None]

    def _read_notes(self) -> tuple[list[RpcPending], list[str]]:
        told, hashes = [], []
        for _ in range(min(len(self._notes), DECODED)):
            try:
                said = msgspec.json.decode(self._notes.popleft(), type=RpcPending | str)
            except (msgspec.DecodeError, UnicodeError, RecursionError):
                continue
            told.append(said) if isinstance(said, RpcPending) else hashes.append(said)
        if self._notes:
            self.news.set()
        return told, hashes

    async def _look(self) -> list[RpcPending]:
        """A look at the pool."""
        try:
            found = await self._pool()
        except MethodUnsupported:
            if not self.subscribed:
                raise
            found = []  # what waited before we came is not seen
        self._missed = False
        return found

    async def _pool(self) -> list[RpcPending]:
        name = self._rpc.endpoint
        if self._known.supports(name, "txpool_content") is not False and await self._is_small():
            try:
                content = await self._rpc.call("txpool_content", type=_Content)
            except MethodUnsupported:
                self._known.refuse(name, "txpool_content")
            else:
                owned = (own for kind in (content or {}).values() for own in kind.values())
                return self._fresh(raw for own in owned for raw in own.values())
        if self._known.supports(name, "txpool_contentFrom") is False or not self._senders:
            raise MethodUnsupported(f"{name}: neither its whole pool nor a part of it can be read")
        return await self._parts(name)

    async def _is_small(self) -> bool:
        try:
            status = await self._rpc.call("txpool_status", type=dict[str, Any])
        except RpcError:
            return True  # the whole is bounded by what is read of an answer
        return sum(number(count) or 0 for count in (status or {}).values()) <= LARGEST_POOL

    async def _parts(self, name: str) -> list[RpcPending]:
        """Of some of the watched senders; of the others at the next looks."""
        count = min(SENDERS, len(self._senders))
        asked = [self._senders[(self._turn + n) % len(self._senders)] for n in range(count)]
        self._turn = (self._turn + count) % len(self._senders)
        answers = await self._rpc.batch([("txpool_contentFrom", [sender]) for sender in asked], type=_Own)
        if answers and all(isinstance(answer, MethodUnsupported) for answer in answers):
            self._known.refuse(name, "txpool_contentFrom")
            raise answers[0]
        parts = [answer for answer in answers if isinstance(answer, dict)]
        return self._fresh(raw for part in parts for own in part.values() for raw in own.values())

    def _fresh(self, raws: Iterable[msgspec.Raw]) -> list[RpcPending]:
        """Those that were not looked at before; one that makes no sense costs itself alone."""
        found: list[RpcPending] = []
        for raw in raws:
            mark = hash(bytes(raw))
            if mark in self._seen:
                continue
            self._seen[mark] = None
            if (tx := _read(raw)) is not None:
                found.append(tx)
        while len(self._seen) > REMEMBERED:
            del self._seen[next(iter(self._seen))]
        return found


def _read(raw: bytes | msgspec.Raw) -> RpcPending | None:
    """A transaction; None where it is none."""
    try:
        return msgspec.json.decode(raw, type=RpcPending)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
