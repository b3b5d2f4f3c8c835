"""Rows whose channel left the configuration: they go on to another of the same type, or to people anew, or end.

Channels are known by their place and type (``0:slack``), and places change when somebody edits the configuration. What
was written for one type can be sent by another channel of that type alone.
"""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from dataclasses import replace

from monitor.store import OrderedOutbox, OutboxRow, Store

__all__ = ["TakeOver", "orphans", "rehouse"]

READ = 1000  # rows at a time

Destination = tuple[str, str]
TakeOver = Callable[[Sequence[OutboxRow]], Awaitable[None]]
"""Is given rows that no channel can send any more, before they become dead letters."""

_log = logging.getLogger(__name__)


async def orphans(outbox: OrderedOutbox, channels: Collection[Destination]) -> AsyncIterator[list[OutboxRow]]:
    """Rows still due for channels that are no more, in parts; the caller records what becomes of each part."""
    for destination in await outbox.destinations():
        while destination not in channels and (rows := list(await outbox.ready(destination, math.inf, READ))):
            yield rows


async def rehouse(store: Store, rows: Sequence[OutboxRow], channels: Collection[Destination]) -> list[OutboxRow]:
    """Queue ``rows`` again, under the same ids, for the receiver's channel of the same type; those that have none.

    A channel that has the message, whatever became of it there, does not get it again.
    """
    moved, left = [], []
    for row in rows:
        key = await _home(store, row, channels)
        if key is None:
            left.append(row)
        else:
            moved.append(replace(row, channel=key, attempts=0, next_at=0.0, external_id=None))
    if moved:
        _log.warning("messages to channels that are no more, now to others of the same type: %d", len(moved))
        await store.enqueue(moved)
    return left


async def _home(store: Store, row: OutboxRow, channels: Collection[Destination]) -> str | None:
    kind = row.channel.partition(":")[2]
    like = [key for name, key in channels if name == row.receiver and key.partition(":")[2] == kind]
    if not like:
        return None
    taken = {other.channel for other in await store.outbox(alert_id=row.alert_id) if other.receiver == row.receiver}
    return next((key for key in like if key not in taken), None)
