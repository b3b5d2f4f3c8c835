"""Records of attempts that wait for the SQLite store: all that came until a transaction begins share it.

A transaction costs a flush of the disk. While one goes on, others' records pile up behind it, so that a slow disk makes
transactions longer instead of deliveries slower.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from dataclasses import dataclass

from monitor.errors import StoreError
from monitor.model import Delivery
from monitor.sqlite_file import transaction
from monitor.sqlite_rows import write_delivery

__all__ = ["Record", "Records"]


@dataclass(slots=True, eq=False)
class Record:
    """One attempt to record, and what came of it."""

    delivery: Delivery
    state: str
    next_at: float
    error: BaseException | None = None

    def check(self) -> None:
        """Raise what went wrong with it."""
        if self.error is not None:
            raise self.error


class Records:
    """What waits. Callers `add` theirs and then have the store's thread `write`: what an earlier call wrote is done."""

    def __init__(self) -> None:
        self._waiting: deque[Record] = deque()

    def add(self, record: Record) -> None:
        """Wait for the next `write`."""
        self._waiting.append(record)

    def discard(self, record: Record) -> None:
        """Wait no more, where the caller gave up before a `write` took it."""
        try:
            self._waiting.remove(record)
        except ValueError:
            pass  # as it should be

    def write(self, connection: sqlite3.Connection) -> None:
        """Write all that waits, in order, in one transaction; runs on the store's thread."""
        batch: list[Record] = []
        while self._waiting:
            try:
                batch.append(self._waiting.popleft())
            except IndexError:  # its caller gave up just now
                break
        if not batch:
            return
        try:
            with transaction(connection):
                for record in batch:
                    _write_one(connection, record)
        except BaseException as error:
            for record in batch:
                record.error = record.error or StoreError(f"the attempt was not recorded: {error}")
            raise


def _write_one(connection: sqlite3.Connection, record: Record) -> None:
    try:
        write_delivery(connection, record.delivery, record.state, record.next_at)
    except StoreError as error:  # no such row: nothing was written of it, and the others are sound
        record.error = error
