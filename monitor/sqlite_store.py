"""The embedded store: one SQLite file, written by one thread."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from monitor import sqlite_rows as sql
from monitor.errors import StoreError
from monitor.model import BlockRef, Delivery
from monitor.sqlite_file import connect, inode, lock, mapped, transaction
from monitor.sqlite_ready import next_ready, ready
from monitor.sqlite_records import Record, Records
from monitor.sqlite_worker import Worker
from monitor.store import BlockRecord, Commit, CoverageRange, FlowRecord, Notes, OperatorEvent, OutboxRow
from monitor.store_rules import FLOW_SECONDS, check_record_state, clean_delivery, clean_event

__all__ = ["SqliteStore"]

T = TypeVar("T")
Connection = sqlite3.Connection
_CHUNK = 1000  # state rows read at a time


class SqliteStore:
    """`monitor.store.Store` in one SQLite file: write-ahead log, every commit on the disk before it returns.

    One thread does all the work of this process; block commits go before anything else that waits. Other processes
    may open the same file beside it, to read and to `say`; only one monitor may run, see `acquire`.

    Parameters
    ----------
    path : the file; made where it is missing, its folder must exist
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._worker: Worker | None = None
        self._connection: Connection | None = None
        self._readers: set[Connection] = set()
        self._lock: int | None = None
        self._records = Records()
        self._inode: tuple[int, int] | None = None
        self._closed = False

    async def open(self) -> None:
        """Make or check the file; StoreError where it is newer, damaged, or not a store."""
        if self._closed:
            raise StoreError(f"store {self._path} is closed")
        if self._worker is not None:
            return
        worker = Worker("sqlite-store")
        try:
            self._connection = await worker.run(lambda: connect(self._path))
            self._inode = inode(self._path)
        except BaseException:
            await worker.stop()
            raise
        self._worker = worker

    async def acquire(self) -> None:
        """Be the one monitor on this file until `aclose` or the end of the process.

        StoreError where another monitor runs on it.
        """
        if self._lock is None:
            self._lock = await self._job(lambda _: lock(self._path))

    async def aclose(self) -> None:
        """Finish what is queued and close; calling it twice is fine."""
        self._closed = True
        worker, self._worker = self._worker, None
        if worker is not None:
            try:
                await worker.run(self._close)
            finally:
                await worker.stop()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _close(self) -> None:
        with mapped(self._path):
            for connection in (*self._readers, self._connection):
                if connection is not None:
                    connection.close()
        self._readers.clear()
        self._connection = None

    async def _job(self, job: Callable[[Connection], T], *, urgent: bool = False) -> T:
        worker, connection = self._worker, self._connection
        if worker is None or connection is None:
            raise StoreError(f"store {self._path} is {'closed' if self._closed else 'not open'}")

        def run() -> T:
            with mapped(self._path):
                if inode(self._path) != self._inode:  # SQLite would go on with a file that has no name any more
                    raise StoreError(f"store {self._path}: the file was moved or replaced meanwhile; put it back")
                return job(connection)

        return await worker.run(run, urgent=urgent)

    async def _write(self, job: Callable[[Connection], T], *, urgent: bool = False) -> T:
        def run(connection: Connection) -> T:
            with transaction(connection):
                return job(connection)

        return await self._job(run, urgent=urgent)

    async def _select(self, query: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return await self._job(lambda connection: connection.execute(query, parameters).fetchall())

    async def commit(self, commit: Commit) -> None:
        """Store everything of ``commit``, or nothing; on the disk when it returns."""
        await self._write(lambda connection: sql.write_commit(connection, commit), urgent=True)

    async def checkpoint(self, chain: str) -> BlockRef | None:
        """The last block that is wholly stored; None is "never seen"."""
        return await self._job(lambda connection: sql.load_checkpoint(connection, chain))

    async def block(self, chain: str, number: int) -> BlockRecord | None:
        """A stored block with its undo (empty once the block is final); None where it is not, or no more, known."""
        return await self._job(lambda connection: sql.load_block(connection, chain, number))

    async def state(self, prefix: bytes = b"") -> AsyncIterator[tuple[bytes, bytes]]:
        """The state in key order, all as it was at one moment however long the reading takes."""
        connection, cursor = await self._job(lambda _: self._open_reader(prefix))
        try:
            while True:
                chunk: list[tuple[bytes, bytes]] = await self._job(lambda _: cursor.fetchmany(_CHUNK))
                for item in chunk:
                    if not item[0].startswith(prefix):
                        return
                    yield item
                if len(chunk) < _CHUNK:
                    return
        finally:
            with contextlib.suppress(StoreError):  # closed meanwhile, and the reader with it
                await self._job(lambda _: self._close_reader(connection))

    def _open_reader(self, prefix: bytes) -> tuple[Connection, sqlite3.Cursor]:
        connection = connect(self._path, again=True)
        self._readers.add(connection)
        connection.execute("BEGIN")
        return connection, connection.execute("SELECT key, value FROM state WHERE key >= ? ORDER BY key", (prefix,))

    def _close_reader(self, connection: Connection) -> None:
        self._readers.discard(connection)
        connection.close()

    async def flows(
        self, wallet: str, chain: str, counterparty: str | None = None, since: int = 0, until: int | None = None
    ) -> Sequence[FlowRecord]:
        """Kept flows in chain order; ``since`` inclusive, ``until`` exclusive, UTC seconds."""
        where, values = "chain = ? AND wallet = ? AND timestamp >= ?", [chain, wallet, since]
        if until is not None:
            where, values = f"{where} AND timestamp < ?", [*values, until]
        if counterparty is not None:
            where, values = f"{where} AND counterparty = ?", [*values, counterparty]
        query = f"SELECT {sql.FLOW_COLUMNS} FROM flow WHERE {where} ORDER BY block_number, transfer_index, position"
        return await self._job(lambda connection: [sql.flow_of(row) for row in connection.execute(query, values)])

    async def incidents(self) -> Sequence[bytes]:
        """Every incident as JSON, oldest first."""
        return [row[0] for row in await self._select("SELECT data FROM incident ORDER BY seq")]

    async def incident(self, incident_id: str) -> bytes | None:
        """One incident as JSON."""
        found = await self._select("SELECT data FROM incident WHERE id = ?", (incident_id,))
        return found[0][0] if found else None

    async def say(self, event: OperatorEvent) -> None:
        """Record what a person said; an id that is already there stays as it is."""
        cleaned = clean_event(event)
        await self._write(lambda connection: sql.write_event(connection, cleaned))

    async def said(self, *, pending: bool) -> Sequence[OperatorEvent]:
        """What people said, in order of insertion; ``pending`` leaves out what is in force."""
        where = "WHERE chain IS NULL" if pending else ""
        query = f"SELECT {sql.EVENT_COLUMNS} FROM event {where} ORDER BY seq"
        return [sql.event_of(row) for row in await self._select(query)]

    async def enqueue(self, rows: Sequence[OutboxRow]) -> None:
        """Queue alerts that belong to no block; a row that is already there stays as it is."""
        await self._write(lambda connection: sql.write_outbox(connection, rows))

    async def due(self, now: float, limit: int = 100) -> Sequence[OutboxRow]:
        """Rows to attempt at ``now``, by (queued_at, order of insertion)."""
        query = (
            f"SELECT {sql.OUTBOX_COLUMNS} FROM outbox WHERE state = 'due' AND next_at <= ?"
            " ORDER BY queued_at, seq LIMIT ?"
        )
        return [sql.outbox_of(row) for row in await self._select(query, (now, limit))]

    async def next_due(self) -> float | None:
        """The earliest ``next_at`` of rows still due; None where nothing waits."""
        earliest: float | None = (await self._select("SELECT min(next_at) FROM outbox WHERE state = 'due'"))[0][0]
        return earliest

    async def ready(self, destination: tuple[str, str], now: float, limit: int = 100) -> Sequence[OutboxRow]:
        """Rows to attempt at ``destination``: urgent incidents first, then by age."""
        return await self._job(lambda connection: ready(connection, destination, now, limit))

    async def next_ready(self, destination: tuple[str, str], after: float) -> float | None:
        """The earliest ``next_at`` later than ``after`` of a row still due at ``destination``; None: there is none."""
        return await self._job(lambda connection: next_ready(connection, destination, after))

    async def destinations(self) -> Sequence[tuple[str, str]]:
        """Every destination that rows are still due for."""
        query = "SELECT DISTINCT receiver, channel FROM outbox WHERE state = 'due' ORDER BY receiver, channel"
        return [(receiver, channel) for receiver, channel in await self._select(query)]

    async def record(self, delivery: Delivery, *, state: str, next_at: float = 0.0) -> None:
        """Record an attempt; StoreError where its row is not in the outbox. Calls that wait share a transaction."""
        check_record_state(state)
        record = Record(clean_delivery(delivery), state, next_at)
        self._records.add(record)
        try:
            await self._job(self._records.write)
        finally:
            self._records.discard(record)
        record.check()

    async def outbox(
        self, *, state: str | None = None, alert_id: str | None = None, incident_id: str | None = None
    ) -> Sequence[OutboxRow]:
        """Outbox rows in order of insertion."""
        given = (("state", state), ("alert_id", alert_id), ("incident_id", incident_id))
        wanted = [(column, value) for column, value in given if value is not None]
        where = "WHERE " + " AND ".join(f"{column} = ?" for column, _ in wanted) if wanted else ""
        if incident_id:  # as its index says
            where += " AND incident_id != ''"
        query = f"SELECT {sql.OUTBOX_COLUMNS} FROM outbox {where} ORDER BY seq"
        return [sql.outbox_of(row) for row in await self._select(query, [value for _, value in wanted])]

    async def revive(self, keys: Sequence[tuple[str, str, str]], now: float) -> int:
        """Make dead rows due again, as if queued at ``now`` and never tried; how many were dead."""
        return await self._write(lambda connection: sql.write_revived(connection, keys, now))

    async def deliveries(self, alert_id: str | None = None) -> Sequence[Delivery]:
        """Recorded attempts, oldest first."""
        where, values = ("", ()) if alert_id is None else ("WHERE alert_id = ?", (alert_id,))
        query = f"SELECT {sql.DELIVERY_COLUMNS} FROM delivery {where} ORDER BY seq"
        return [sql.delivery_of(row) for row in await self._select(query, values)]

    async def notes(self, prefix: str = "") -> Sequence[tuple[str, bytes]]:
        """What is kept for alerts, in key order."""
        query = "SELECT key, value FROM note WHERE substr(key, 1, ?) = ? ORDER BY key"
        if prefix:
            query = query.replace("WHERE", "WHERE key >= ? AND", 1)
        found = await self._select(query, (*([prefix] if prefix else []), len(prefix), prefix))
        return [(key, value) for key, value in found]

    async def note(self, changes: Notes, outbox: Sequence[OutboxRow] = (), expect: Notes = ()) -> bool:
        """Change notes and queue alerts in one transaction, where everything is as ``expect`` says."""

        def write(connection: Connection) -> bool:
            for key, value in expect:
                found = connection.execute("SELECT value FROM note WHERE key = ?", (key,)).fetchone()
                if (found[0] if found is not None else None) != value:
                    return False
            sql.write_notes(connection, changes)
            sql.write_outbox(connection, outbox)
            return True

        return await self._write(write)

    async def coverage(self, chain: str | None = None) -> Sequence[CoverageRange]:
        """Scanned ranges by chain, lowest first."""
        return await self._job(lambda connection: sql.load_coverage(connection, chain))

    async def prune(self, now: float) -> int:
        """Forget flows older than 400 days at wall clock ``now``; how many went."""
        query = "DELETE FROM flow WHERE timestamp < ?"
        return await self._write(lambda connection: connection.execute(query, (now - FLOW_SECONDS,)).rowcount)
