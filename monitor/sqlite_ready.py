"""Which outbox rows of one destination are ready, in the SQLite store; the rule is `monitor.store.OrderedOutbox`.

Rows are walked in the order of an index that holds all that is asked, and no further than to the last one wanted: what
a reading costs grows with the rows that wait for a later attempt, not with those that are ready.
"""

from __future__ import annotations

import sqlite3
from typing import Any

from monitor.model import Severity
from monitor.sqlite_rows import OUTBOX_COLUMNS, outbox_of
from monitor.store import OutboxRow

__all__ = ["next_ready", "ready"]

Connection = sqlite3.Connection

_MINE = "state = 'due' AND receiver = :receiver AND channel = :channel"
_URGENT = int(Severity.CRITICAL)  # written into the statement: SQLite uses a partial index where it reads the same


def ready(connection: Connection, destination: tuple[str, str], now: float, limit: int) -> list[OutboxRow]:
    """Rows to attempt at wall clock ``now``: urgent incidents first, then by age."""
    asked = {"receiver": destination[0], "channel": destination[1], "now": now, "limit": limit}
    places, incidents = _urgent(connection, asked)
    if len(places) < limit:
        _others(connection, asked, places, incidents)
    marks = ", ".join("?" * len(places))
    query = f"SELECT seq, {OUTBOX_COLUMNS} FROM outbox WHERE seq IN ({marks})"
    found = {seq: outbox_of(row) for seq, *row in connection.execute(query, places)}
    return [found[seq] for seq in places]


def _others(connection: Connection, asked: dict[str, Any], places: list[int], incidents: set[str]) -> None:
    """Add to ``places`` what is ready beside the urgent ``incidents``, oldest first."""
    query = f"SELECT seq, incident_id, next_at FROM outbox WHERE {_MINE} ORDER BY queued_at, seq"
    now, limit = asked["now"], asked["limit"]
    left_out, taken = set(incidents), set(places)
    for seq, incident, next_at in connection.execute(query, asked):
        if incident in left_out or seq in taken:
            continue
        if next_at > now:
            if incident:
                left_out.add(incident)
            continue
        places.append(seq)
        if len(places) == limit:
            return


def _urgent(connection: Connection, asked: dict[str, Any]) -> tuple[list[int], set[str]]:
    """The places of rows of urgent incidents, oldest first, and these incidents.

    What goes before a critical row in its incident is as urgent as that row.
    """
    query = (
        f"SELECT queued_at, seq, incident_id FROM outbox WHERE {_MINE} AND severity >= {_URGENT} AND next_at <= :now"
        " ORDER BY queued_at, seq"
    )
    found: list[tuple[float, int]] = []
    seen, incidents = set[str](), set[str]()
    for queued_at, seq, incident in connection.execute(query, asked):
        if not incident:
            found.append((queued_at, seq))
        elif incident not in seen:
            seen.add(incident)
            run = _run(connection, asked, incident, seq)
            if run:
                incidents.add(incident)
                found += run
        if len(found) >= asked["limit"]:
            break
    return [seq for _, seq in sorted(found)[: asked["limit"]]], incidents


def _run(connection: Connection, asked: dict[str, Any], incident: str, critical: int) -> list[tuple[float, int]]:
    """The ready rows of an incident, from its first; none where one before the ``critical`` one waits."""
    query = (
        f"SELECT queued_at, seq, next_at FROM outbox WHERE {_MINE} AND incident_id = :incident"
        " ORDER BY queued_at, seq"
    )
    run: list[tuple[float, int]] = []
    reached = False
    for queued_at, seq, next_at in connection.execute(query, {**asked, "incident": incident}):
        if next_at > asked["now"]:
            return run if reached else []
        reached = reached or seq == critical
        if len(run) < asked["limit"]:
            run.append((queued_at, seq))
        elif reached:
            break
    return run


def next_ready(connection: Connection, destination: tuple[str, str], after: float) -> float | None:
    """The earliest ``next_at`` later than ``after`` of a row still due at ``destination``."""
    asked = {"receiver": destination[0], "channel": destination[1], "after": after}
    query = f"SELECT min(next_at) FROM outbox WHERE {_MINE} AND next_at > 0 AND next_at > :after"
    earliest: float | None = connection.execute(query, asked).fetchone()[0]
    return earliest
