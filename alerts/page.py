"""The rows of one destination that are in memory: read from the store, not yet attempted. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from monitor.store import OutboxRow

__all__ = ["PAGE", "Page", "queue_of"]

PAGE = 100
"""Rows read from the store at a time: memory does not grow with the backlog."""


def queue_of(row: OutboxRow) -> str:
    """Rows with the same one go one after the other: those of an incident; others stand alone."""
    return row.incident_id or f"\x1f{row.alert_id}"


class Page:
    """Ready rows in their order.

    Attempts go on while the store is read. What one changed meanwhile is left out of the reading: the store may have
    answered before or after that was recorded.
    """

    def __init__(self) -> None:
        self._rows: list[OutboxRow] = []
        self._ended: set[str] = set()  # alerts whose attempts ended since the reading began
        self._failed: set[str] = set()  # queues of those that are to be repeated

    def __len__(self) -> int:
        return len(self._rows)

    def begin(self) -> None:
        """A reading of the store begins."""
        self._ended.clear()
        self._failed.clear()

    def fill(self, rows: Sequence[OutboxRow], flying: Collection[str], failed: Collection[str]) -> None:
        """Put what was read in the place of all that was there.

        Parameters
        ----------
        flying : alerts with an attempt that is not recorded yet
        failed : queues of those among them that are known to have failed
        """
        gone = self._ended.union(flying)
        waiting = self._failed.union(failed)
        self._rows = [row for row in rows if row.alert_id not in gone and queue_of(row) not in waiting]

    def take(self, busy: Collection[str]) -> OutboxRow | None:
        """The first row whose queue is not busy, which leaves the page; None where there is none."""
        for place, row in enumerate(self._rows):
            if queue_of(row) not in busy:
                return self._rows.pop(place)
        return None

    def holds(self, busy: Collection[str]) -> bool:
        """Whether `take` would find a row."""
        return any(queue_of(row) not in busy for row in self._rows)

    def drop(self, queue: str) -> None:
        """Leave out a queue: its first row has to be repeated later."""
        self._rows = [row for row in self._rows if queue_of(row) != queue]

    def ended(self, row: OutboxRow, failed: bool) -> None:
        """An attempt was recorded."""
        self._ended.add(row.alert_id)
        if failed:
            self._failed.add(queue_of(row))
