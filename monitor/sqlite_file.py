"""The SQLite file of a store: how it is laid out, made, recognised, opened and locked."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import msgspec

from monitor.errors import StoreError

__all__ = ["APPLICATION_ID", "SCHEMA_VERSION", "connect", "inode", "lock", "mapped", "transaction"]

APPLICATION_ID = 0x48545753  # "HTWS", in the file's header
SCHEMA_VERSION = 2
CHECKED_BYTES = 2**30  # files up to this size are checked page by page when opened (about a second)
BUSY_SECONDS = 10.0

_SCHEMA = """
CREATE TABLE checkpoint (chain TEXT PRIMARY KEY, number INTEGER NOT NULL, hash TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE block (
    chain TEXT NOT NULL, number INTEGER NOT NULL, hash TEXT NOT NULL, parent_hash TEXT NOT NULL,
    timestamp INTEGER NOT NULL, PRIMARY KEY (chain, number)) STRICT, WITHOUT ROWID;
CREATE TABLE undo (
    chain TEXT NOT NULL, number INTEGER NOT NULL, delta BLOB NOT NULL, PRIMARY KEY (chain, number)) STRICT;
CREATE TABLE state (key BLOB PRIMARY KEY NOT NULL, value BLOB NOT NULL) STRICT;
CREATE TABLE flow (
    chain TEXT NOT NULL, block_number INTEGER NOT NULL, position INTEGER NOT NULL, tx TEXT NOT NULL,
    transfer_index INTEGER NOT NULL, wallet TEXT NOT NULL, direction INTEGER NOT NULL, asset TEXT NOT NULL,
    counterparty TEXT NOT NULL, value TEXT NOT NULL, timestamp INTEGER NOT NULL, initiator TEXT,
    PRIMARY KEY (chain, block_number, position)) STRICT, WITHOUT ROWID;
CREATE INDEX flow_of_wallet ON flow (chain, wallet, timestamp);
CREATE INDEX flow_age ON flow (timestamp);
CREATE TABLE incident (seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, data BLOB NOT NULL) STRICT;
CREATE TABLE outbox (
    seq INTEGER PRIMARY KEY, alert_id TEXT NOT NULL, receiver TEXT NOT NULL, channel TEXT NOT NULL,
    body BLOB NOT NULL, queued_at REAL NOT NULL, kind TEXT NOT NULL, incident_id TEXT NOT NULL,
    severity INTEGER NOT NULL, attempts INTEGER NOT NULL, next_at REAL NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('due', 'done', 'dead')), external_id TEXT,
    UNIQUE (alert_id, receiver, channel)) STRICT;
CREATE INDEX outbox_order ON outbox (queued_at, seq) WHERE state = 'due';
CREATE INDEX outbox_next ON outbox (next_at) WHERE state = 'due';
CREATE TABLE delivery (
    seq INTEGER PRIMARY KEY, alert_id TEXT NOT NULL, receiver TEXT NOT NULL, channel TEXT NOT NULL,
    attempt INTEGER NOT NULL, outcome TEXT NOT NULL, reason TEXT NOT NULL, at REAL NOT NULL, external_id TEXT,
    detail TEXT NOT NULL) STRICT;
CREATE INDEX delivery_of_alert ON delivery (alert_id);
CREATE TABLE event (
    seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, incident_id TEXT NOT NULL,
    author TEXT NOT NULL, comment TEXT NOT NULL, at REAL NOT NULL, chain TEXT, number INTEGER, hash TEXT) STRICT;
CREATE INDEX event_pending ON event (seq) WHERE chain IS NULL;
CREATE TABLE coverage (
    chain TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, source TEXT NOT NULL,
    blind_spots TEXT NOT NULL, undecoded INTEGER NOT NULL) STRICT;
CREATE INDEX coverage_end ON coverage (chain, last);
"""
_STEPS = {  # from the version before
    2: """
CREATE TABLE note (key TEXT PRIMARY KEY NOT NULL, value BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX outbox_of_incident ON outbox (incident_id, seq) WHERE incident_id != '';
CREATE INDEX outbox_of_destination ON outbox
    (receiver, channel, queued_at, seq, next_at, incident_id) WHERE state = 'due';
CREATE INDEX outbox_in_order ON outbox (receiver, channel, incident_id, queued_at, seq, next_at) WHERE state = 'due';
CREATE INDEX outbox_urgent ON outbox
    (receiver, channel, queued_at, seq, next_at, incident_id) WHERE state = 'due' AND severity >= 4;
CREATE INDEX outbox_later ON outbox (receiver, channel, next_at) WHERE state = 'due' AND next_at > 0;
"""
}

_HINTS = {
    sqlite3.SQLITE_BUSY: "another process holds it; end that process or try again",
    sqlite3.SQLITE_LOCKED: "another process holds it; end that process or try again",
    sqlite3.SQLITE_READONLY: "make the file and its folder writable",
    sqlite3.SQLITE_IOERR: "check the disk",
    sqlite3.SQLITE_CORRUPT: "it is damaged; move it away and put a backup in its place",
    sqlite3.SQLITE_FULL: "free some disk space",
    sqlite3.SQLITE_CANTOPEN: "check that its folder exists and is writable",
    sqlite3.SQLITE_NOTADB: "it is damaged or no SQLite file; move it away, or correct the store's url",
}


@contextlib.contextmanager
def mapped(path: Path) -> Iterator[None]:
    """Errors of SQLite, of the file system and of the row formats as StoreError that names the file."""
    try:
        yield
    except sqlite3.Error as error:
        hint = _HINTS.get((getattr(error, "sqlite_errorcode", None) or 0) & 0xFF)
        raise StoreError(f"store {path}: {error}" + (f"; {hint}" if hint else "")) from error
    except OSError as error:
        raise StoreError(f"store {path}: {error.strerror or error}") from error
    except (OverflowError, UnicodeError, msgspec.MsgspecError) as error:
        raise StoreError(f"store {path}: a value cannot be stored or read back: {error}") from error


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """A write transaction: whole, or rolled back when anything is raised."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException:
        connection.rollback()
        raise


def connect(path: Path, *, again: bool = False) -> sqlite3.Connection:
    """A connection to the store's file, which is made where it is missing, and looked over.

    ``again`` is for one more connection to a file that is in use: it is neither made nor looked over.

    Raises
    ------
    StoreError
        Where the folder is missing, the file is not a store, is damaged or is of a newer version.
    """
    with mapped(path):
        if not again and not path.exists():
            _create(path)
        connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
        try:
            if not again:
                _check(connection, path)
            for pragma in ("synchronous = FULL", "cell_size_check = ON", "journal_size_limit = 67108864"):
                connection.execute(f"PRAGMA {pragma}")
        except BaseException:
            connection.close()
            raise
        return connection


def inode(path: Path) -> tuple[int, int] | None:
    """Which file stands at ``path`` (device, inode); None where there is none."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _create(path: Path) -> None:
    """Make the file aside and link it in: a kill leaves a whole store or none."""
    if not path.parent.is_dir():
        raise StoreError(f"store {path}: the folder {path.parent} does not exist; make it, or correct the store's url")
    log = path.with_name(path.name + "-wal")
    if log.exists():
        raise StoreError(f"store {path}: the file is gone but {log.name} is there; put the file back from a backup")
    aside = path.with_name(f".{path.name}.{os.getpid()}.new")
    aside.unlink(missing_ok=True)
    try:
        with contextlib.closing(sqlite3.connect(aside, isolation_level=None)) as connection:
            for pragma in ("page_size = 8192", "journal_mode = WAL", "synchronous = FULL"):
                connection.execute(f"PRAGMA {pragma}")
            connection.executescript(
                f"BEGIN; PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION};"
                f"{_SCHEMA} {' '.join(_STEPS.values())} COMMIT;"
            )
        with contextlib.suppress(FileExistsError):  # another process was faster: its file is as good
            os.link(aside, path)
    finally:
        aside.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _check(connection: sqlite3.Connection, path: Path) -> None:
    if path.stat().st_size == 0:
        raise StoreError(f"store {path}: the file is empty; put a backup in its place, or remove it to start anew")
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if application != APPLICATION_ID:
        raise StoreError(f"store {path}: the file belongs to another program; correct the store's url")
    if version > SCHEMA_VERSION:
        raise StoreError(
            f"store {path}: it is of version {version}, this program reads up to {SCHEMA_VERSION}; "
            "use the newer program, or another store"
        )
    if version < 1:
        raise StoreError(f"store {path}: its version {version} is unknown; put a backup in its place")
    if path.stat().st_size <= CHECKED_BYTES:
        problem = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if problem != "ok":
            text = " ".join(str(problem).split())
            raise StoreError(f"store {path}: it is damaged ({text}); move it away and put a backup in its place")
    if version < SCHEMA_VERSION:
        _renew(connection)


def _renew(connection: sqlite3.Connection) -> None:
    """Bring a file of an earlier version up to this one; another process may be doing the same."""
    with transaction(connection):
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        for step in range(version + 1, SCHEMA_VERSION + 1):
            for statement in filter(str.strip, _STEPS[step].split(";")):
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def lock(path: Path) -> int:
    """Hold ``<path>.lock`` for this process: a file descriptor; closing it, or the process's end, lets go.

    StoreError where another holds it.
    """
    name = path.with_name(path.name + ".lock")
    with mapped(name):
        handle = os.open(name, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(handle, 20).decode("ascii", "replace").strip()
            os.close(handle)
            raise StoreError(
                f"store {path}: another monitor (process {owner or 'unknown'}) is running on it; end that one first"
            ) from None
        os.ftruncate(handle, 0)
        os.pwrite(handle, str(os.getpid()).encode(), 0)
        return handle
