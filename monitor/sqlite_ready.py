"""Which outbox rows of one destination are ready, in the SQLite store; the rule is `monitor.store.OrderedOutbox`."""

from __future__ import annotations

import sqlite3
from typing import Any

from monitor.model import Severity
from monitor.sqlite_rows import OUTBOX_COLUMNS, outbox_of
from monitor.store import OutboxRow

__all__ = ["next_ready", "ready"]

_MINE = "state = 'due' AND receiver = :receiver AND channel = :channel"
_READY = (
    f"{_MINE} AND next_at <= :now AND (incident_id = '' OR NOT EXISTS ("
    "SELECT 1 FROM outbox AS older WHERE older.state = 'due' AND older.receiver = :receiver"
    " AND older.channel = :channel AND older.incident_id = outbox.incident_id AND older.next_at > :now"
    " AND (older.queued_at, older.seq) < (outbox.queued_at, outbox.seq)))"
)
_ORDER = "ORDER BY queued_at, seq LIMIT :limit"
_URGENT = int(Severity.CRITICAL)  # written into the statements: SQLite uses a partial index where it reads the same


def ready(
    connection: sqlite3.Connection, destination: tuple[str, str], now: float, limit: int
) -> list[OutboxRow]:
    """Rows to attempt at wall clock ``now``: urgent incidents first, then by age."""
    asked = {"receiver": destination[0], "channel": destination[1], "now": now, "limit": limit}
    places, incidents = _urgent(connection, asked)
    if len(places) < limit:
        query = f"SELECT seq, incident_id FROM outbox WHERE {_READY} {_ORDER}"
        taken = set(places)
        places += [
            seq
            for seq, incident in connection.execute(query, asked)
            if seq not in taken and incident not in incidents
        ]
    places = places[:limit]
    marks = ", ".join("?" * len(places))
    query = f"SELECT seq, {OUTBOX_COLUMNS} FROM outbox WHERE seq IN ({marks})"
    found = {seq: outbox_of(row) for seq, *row in connection.execute(query, places)}
    return [found[seq] for seq in places]


def _urgent(connection: sqlite3.Connection, asked: dict[str, Any]) -> tuple[list[int], set[str]]:
    """The places of rows of urgent incidents, oldest first, and these incidents.

    What goes before a critical row in its incident is as urgent as that row. Of each incident only as many rows are
    taken as there is room for: the first, so that none is left out between two of them.
    """
    query = f"SELECT queued_at, seq, incident_id FROM outbox WHERE {_READY} AND severity >= {_URGENT} {_ORDER}"
    rows = connection.execute(query, asked).fetchall()
    found = [(queued_at, seq) for queued_at, seq, incident in rows if not incident]
    incidents = {incident for *_, incident in rows if incident}
    query = f"SELECT queued_at, seq FROM outbox WHERE {_READY} AND incident_id = :incident {_ORDER}"
    for incident in incidents:
        room = asked["limit"] // len(incidents) + 1
        found += connection.execute(query, {**asked, "incident": incident, "limit": room}).fetchall()
    return [seq for _, seq in sorted(found)[: asked["limit"]]], incidents


def next_ready(connection: sqlite3.Connection, destination: tuple[str, str], after: float) -> float | None:
    """The earliest ``next_at`` later than ``after`` of a row still due at ``destination``."""
    asked = {"receiver": destination[0], "channel": destination[1], "after": after}
    query = f"SELECT min(next_at) FROM outbox WHERE {_MINE} AND next_at > 0 AND next_at > :after"
    earliest: float | None = connection.execute(query, asked).fetchone()[0]
    return earliest
