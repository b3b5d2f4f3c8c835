"""The outbox by destination and in order, for stores that only know `Store.due`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

from monitor.store import OutboxRow, Store

__all__ = ["Heads", "heads_of"]

FIRST_READ = 200  # rows; grows only where rows of other destinations, or rows that wait, lie before


def heads_of(rows: Iterable[OutboxRow], destination: tuple[str, str]) -> Iterator[OutboxRow]:
    """Of rows still due, oldest first, those of ``destination`` that no earlier one of their incident goes before."""
    seen = set()
    for row in rows:
        if (row.receiver, row.channel) != destination or row.incident_id in seen:
            continue
        if row.incident_id:
            seen.add(row.incident_id)
        yield row


class Heads:
    """`monitor.store.OrderedOutbox` over any store.

    Reads from the oldest undelivered row on until it has enough, so that a backlog anywhere before costs time and
    memory in proportion to it; a store that answers by destination itself does not.

    Parameters
    ----------
    enough : a page may be shorter than asked, but not than this where there are so many: more than are in flight
    """

    def __init__(self, store: Store, enough: int) -> None:
        self._store = store
        self._enough = enough

    async def heads(self, destination: tuple[str, str], now: float, limit: int = 100) -> Sequence[OutboxRow]:
        """Heads to attempt at ``now``, oldest first."""
        size = max(FIRST_READ, limit)
        while True:
            rows = await self._store.due(math.inf, size)
            found = [row for row in heads_of(rows, destination) if row.next_at <= now]
            if len(found) >= min(limit, self._enough) or len(rows) < size:
                return found[:limit]
            size *= 4

    async def next_head(self, destination: tuple[str, str], after: float) -> float | None:
        """The earliest ``next_at`` later than ``after`` of any head."""
        if await self._store.next_due() is None:
            return None
        rows = await self._store.outbox(state="due")
        ordered = sorted(rows, key=lambda row: row.queued_at)  # stable: insertion decides between equals
        times = (row.next_at for row in heads_of(ordered, destination) if row.next_at > after)
        return min(times, default=None)
