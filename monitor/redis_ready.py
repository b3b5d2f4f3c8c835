"""Which outbox rows of one destination are ready, in the Redis store; the rule is `monitor.store.OrderedOutbox`.

What orders rows that are due is kept in memory, without their bodies, and follows what this process writes. What
another process wrote shows in the store's revision: then all that is due is looked through again.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from itertools import takewhile

from monitor import redis_rows as wire
from monitor.model import Severity
from monitor.redis_link import RedisLink
from monitor.redis_rows import MARKER
from monitor.store import OutboxRow
from monitor.store_rules import row_key

__all__ = ["Ready"]

_TRIES = 50  # while other processes write at the same time
_READ = 500  # rows read at a time when the memory is filled

Destination = tuple[str, str]
Placed = tuple[OutboxRow, bytes]
"""A row as it is stored, and its place in the order of insertion."""


@dataclass(slots=True)
class _Entry:
    """What is remembered of a row that is due."""

    name: bytes  # its field in the outbox
    order: tuple[float, bytes]
    queue: str
    severity: int
    next_at: float


@dataclass(slots=True)
class _Line:
    """One destination: rows by incident, oldest first; a row of no incident stands alone."""

    queues: dict[str, list[_Entry]] = field(default_factory=dict)
    later: dict[bytes, float] = field(default_factory=dict)  # times of rows that are not to be tried at once

    def put(self, entry: _Entry) -> None:
        queue = self.queues.setdefault(entry.queue, [])
        queue.append(entry)
        if len(queue) > 1 and queue[-2].order > entry.order:
            queue.sort(key=lambda one: one.order)
        if entry.next_at > 0:
            self.later[entry.name] = entry.next_at

    def drop(self, entry: _Entry) -> None:
        queue = self.queues[entry.queue]
        queue.remove(entry)
        if not queue:
            del self.queues[entry.queue]
        self.later.pop(entry.name, None)

    def ready(self, now: float, limit: int) -> list[bytes]:
        """Fields of the rows to attempt, urgent incidents first, then by age."""
        heads = [
            (not _is_urgent(queue, now), queue[0].order, 0, queue)
            for queue in self.queues.values()
            if queue[0].next_at <= now
        ]
        heapq.heapify(heads)
        found: list[bytes] = []
        while heads and len(found) < limit:
            calm, _, place, queue = heapq.heappop(heads)
            found.append(queue[place].name)
            if place + 1 < len(queue) and queue[place + 1].next_at <= now:
                heapq.heappush(heads, (calm, queue[place + 1].order, place + 1, queue))
        return found


def _is_urgent(queue: Sequence[_Entry], now: float) -> bool:
    return any(one.severity >= Severity.CRITICAL for one in takewhile(lambda one: one.next_at <= now, queue))


class Ready:
    """The memory of one store; `written` keeps it up to date."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self._entries: dict[bytes, tuple[Destination, _Entry]] = {}
        self._lines: dict[Destination, _Line] = {}
        self._revision = -1  # of the store, when it was as it is remembered; below 0: nothing is

    def written(self, revision: int, rows: Collection[Placed]) -> None:
        """This process wrote ``rows`` in the transaction that made the store's ``revision``."""
        if self._revision != revision - 1:
            return  # another process wrote as well, or nobody asked so far
        for row, at in rows:
            self._put(row, at)
        self._revision = revision

    async def rows(self, destination: Destination, now: float, limit: int) -> list[OutboxRow]:
        """See `monitor.store.OrderedOutbox.ready`."""
        async with self._link.writing:  # else what this process is about to write looks like another's
            for _ in range(_TRIES):
                names = self._lines[destination].ready(now, limit) if destination in self._lines else []
                revision, values = await self._stored([*names, MARKER])
                if revision == self._revision:
                    return [_placed(self._link, value)[0] for value in values[:-1]]
                await self._load()
        raise self._link.busy()

    async def next_at(self, destination: Destination, after: float) -> float | None:
        """See `monitor.store.OrderedOutbox.next_ready`."""
        async with self._link.writing:
            await self._follow()
            line = self._lines.get(destination)
            return min((at for at in line.later.values() if at > after), default=None) if line else None

    async def destinations(self) -> list[Destination]:
        """See `monitor.store.OrderedOutbox.destinations`."""
        async with self._link.writing:
            await self._follow()
            return sorted(destination for destination, line in self._lines.items() if line.queues)

    async def _follow(self) -> None:
        """Take over what other processes wrote."""
        for _ in range(_TRIES):
            if (await self._link.read_at(lambda pipe: None))[0] == self._revision:
                return
            await self._load()
        raise self._link.busy()

    async def _stored(self, names: list[bytes]) -> tuple[int, list[bytes | None]]:
        revision, [values] = await self._link.read_at(lambda pipe: pipe.hmget(self._link.keys.outbox, names))
        return revision, values

    async def _load(self) -> None:
        keys = self._link.keys
        revision, [members] = await self._link.read_at(lambda pipe: pipe.zrange(keys.due, 0, -1, withscores=True))
        due = {wire.due_order(member): float(at) for member, at in members if not member.startswith(MARKER)}
        there = {name: ((queued_at, place), at) for (queued_at, place, name), at in due.items()}
        same = {name for name, (order, at) in there.items() if self._is_known(name, order, at)}
        for name in [name for name in self._entries if name not in same]:
            self._forget(name)
        missing = [name for name in there if name not in same]
        for part in (missing[start : start + _READ] for start in range(0, len(missing), _READ)):
            for value in (await self._stored(part))[1]:
                self._put(*_placed(self._link, value))
        self._revision = revision

    def _is_known(self, name: bytes, order: tuple[float, bytes], at: float) -> bool:
        known = self._entries.get(name)
        return known is not None and known[1].order == order and known[1].next_at == at

    def _put(self, row: OutboxRow, at: bytes) -> None:
        name = wire.outbox_field(row_key(row))
        self._forget(name)
        if row.state != "due":
            return
        destination = (row.receiver, row.channel)
        queue = row.incident_id or f"\x1f{row.alert_id}"
        entry = _Entry(name, (row.queued_at, at), queue, int(row.severity), row.next_at)
        self._entries[name] = destination, entry
        self._lines.setdefault(destination, _Line()).put(entry)

    def _forget(self, name: bytes) -> None:
        known = self._entries.pop(name, None)
        if known is not None:
            self._lines[known[0]].drop(known[1])


def _placed(link: RedisLink, value: bytes | None) -> Placed:
    if value is None:
        raise link.lost()
    at, packed = wire.split_place(value)
    return wire.unpack_outbox(packed), at
