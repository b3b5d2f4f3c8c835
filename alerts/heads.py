"""The outbox by destination and in order, for stores that only know `Store.due`."""

from __future__ import annotations

import math
from collections.abc import Sequence

from monitor.store import OutboxRow, Store, ready_rows

__all__ = ["Heads"]

FIRST_READ = 500  # rows; grows only where rows of other destinations, or rows that wait, lie before


class Heads:
    """`monitor.store.OrderedOutbox` over any store.

    Reads from the oldest undelivered row on until it has enough, so that a backlog anywhere before costs time and
    memory in proportion to it, and critical rows come first among what was read alone; a store that answers by
    destination itself does neither.

    Parameters
    ----------
    enough : a page may be shorter than asked, but not than this where there are so many: more than are in flight
    """

    def __init__(self, store: Store, enough: int) -> None:
        self._store = store
        self._enough = enough

    async def ready(self, destination: tuple[str, str], now: float, limit: int = 100) -> Sequence[OutboxRow]:
        """Rows to attempt at ``now``."""
        size = max(FIRST_READ, limit)
        while True:
            rows = await self._store.due(math.inf, size)
            found = ready_rows([row for row in rows if (row.receiver, row.channel) == destination], now)
            if len(found) >= min(limit, self._enough) or len(rows) < size:
                return found[:limit]
            size *= 4

    async def next_ready(self, destination: tuple[str, str], after: float) -> float | None:
        """The earliest ``next_at`` later than ``after`` of a row still due there."""
        if await self._store.next_due() is None:
            return None
        mine = [row for row in await self._store.outbox(state="due") if (row.receiver, row.channel) == destination]
        return min((row.next_at for row in mine if row.next_at > after), default=None)

    async def destinations(self) -> Sequence[tuple[str, str]]:
        """Every destination that rows are still due for."""
        return sorted({(row.receiver, row.channel) for row in await self._store.outbox(state="due")})
