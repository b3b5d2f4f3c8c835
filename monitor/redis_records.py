"""Records of attempts that wait for the Redis store: all that came until a transaction begins share it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from monitor import redis_commit as plan
from monitor import redis_rows as wire
from monitor.errors import StoreError
from monitor.model import Delivery
from monitor.redis_link import Pipe, RedisLink
from monitor.store_rules import row_key

__all__ = ["Records"]


@dataclass(slots=True, eq=False)
class _Record:
    delivery: Delivery
    state: str
    next_at: float
    is_done: bool = False
    error: StoreError | None = None


class Records:
    """What waits; whoever comes first writes for all."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self._waiting: list[_Record] = []
        self._turn = asyncio.Lock()

    async def write(self, delivery: Delivery, state: str, next_at: float) -> None:
        """Record an attempt; StoreError where its row is not in the outbox."""
        record = _Record(delivery, state, next_at)
        self._waiting.append(record)
        async with self._turn:
            if not record.is_done and record.error is None:
                batch, self._waiting = self._waiting, []
                await self._write(batch)
        if record.error is not None:
            raise record.error

    async def _write(self, batch: Sequence[_Record]) -> None:
        try:
            await self._link.transact(lambda pipe: self._ask(pipe, batch), lambda *given: self._queue(batch, *given))
        except BaseException as error:
            for record in batch:
                record.error = error if isinstance(error, StoreError) else StoreError("the attempt was not recorded")
            raise
        for record in batch:
            record.is_done = True

    def _ask(self, pipe: Pipe, batch: Sequence[_Record]) -> None:
        for record in batch:
            pipe.hget(self._link.keys.outbox, wire.outbox_field(row_key(record.delivery)))
            pipe.llen(self._link.keys.deliveries(record.delivery.alert_id))

    def _queue(
        self, batch: Sequence[_Record], pipe: Pipe, answers: list[Any], revision: int
    ) -> list[plan.Placed]:
        keys, changed = self._link.keys, []
        for number, (record, value) in enumerate(zip(batch, answers[::2], strict=True)):
            delivery = record.delivery
            if value is None:
                record.error = StoreError(f"alert {delivery.alert_id!r} to {delivery.receiver!r} is not in the outbox")
                continue
            place = wire.place(revision, number)
            changed.append(plan.write_delivery(pipe, keys, delivery, value, record.state, record.next_at, place))
        return changed
