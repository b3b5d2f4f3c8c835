"""Which message later ones about an incident belong under: the first that a destination accepted."""

from __future__ import annotations

from collections import OrderedDict

from monitor.store import Store

__all__ = ["KEPT", "Threads"]

KEPT = 1000
"""Incidents whose first message is remembered, a destination; of others it is read from the store."""


class Threads:
    """The first accepted messages at one destination, by incident."""

    def __init__(self, store: Store, destination: tuple[str, str]) -> None:
        self._store = store
        self._destination = destination
        self._first: OrderedDict[str, str] = OrderedDict()

    async def first(self, incident_id: str) -> str | None:
        """What the service calls the first message of an incident that it accepted and named; None: there is none."""
        known = self._first.get(incident_id)
        if known is not None:
            self._first.move_to_end(incident_id)
            return known
        for row in await self._store.outbox(state="done", incident_id=incident_id):
            if (row.receiver, row.channel) == self._destination and row.external_id:
                self.accepted(incident_id, row.external_id)
                return row.external_id
        return None

    def accepted(self, incident_id: str, external_id: str | None) -> None:
        """A message of an incident was accepted under this name; only the first of them counts."""
        if not external_id or incident_id in self._first:
            return
        self._first[incident_id] = external_id
        if len(self._first) > KEPT:
            self._first.popitem(last=False)
