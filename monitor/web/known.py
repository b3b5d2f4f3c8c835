"""What can be judged: incidents, those that others took over, and drills; and what is shown of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from monitor.drill_note import drill_key, read_drill
from monitor.ids import iso
from monitor.model import Incident
from monitor.published import alert_of, incident_data
from monitor.store import OperatorEvent
from monitor.timeline import Entry, ids_of, stored_timeline
from monitor.web.hooks import Hooks

__all__ = ["Found", "Known"]

DRILLS = "drill-"  # their ids begin so


@dataclass(frozen=True, slots=True)
class Found:
    """An incident, or a drill (``incident`` is None); ``data`` as `monitor.published` gives it, less for a drill."""

    id: str
    data: Mapping[str, Any]
    incident: Incident | None = None

    @property
    def is_drill(self) -> bool:
        """Whether nothing of it is real."""
        return self.incident is None


class Known:
    """Looks up and says, over a running monitor."""

    def __init__(self, parts: Any, hooks: Hooks) -> None:
        self._parts = parts
        self._hooks = hooks

    async def find(self, incident_id: str) -> Found | None:
        """What has this id, or took it over; None where nothing does."""
        correlator = self._parts.pipeline.correlator
        record = correlator.get(incident_id)
        if record is not None:
            incident = correlator.incident(record.id)
            return Found(record.id, incident_data(incident, self._parts.names), incident)
        key = drill_key(incident_id)
        for name, value in await self._parts.store.notes(key) if incident_id.startswith(DRILLS) else ():
            if name == key:
                return Found(incident_id, _drill(value))
        return None

    async def say(self, event: OperatorEvent) -> None:
        """Record what a person said: it takes effect at the next block; escalation looks at once, every second."""
        await self._parts.store.say(event)

    async def said(self, found: Found) -> Sequence[OperatorEvent]:
        """What was said of an incident, in force or not, oldest first."""
        ids = self._ids(found)
        return [event for event in await self._parts.store.said(pending=False) if event.incident_id in ids]

    async def timeline(self, found: Found) -> list[Entry]:
        """What was said of it and who was told, oldest first."""
        return await stored_timeline(self._parts.store, self._ids(found), found.data["history"])

    def _ids(self, found: Found) -> Sequence[str]:
        return ids_of(self._parts.pipeline.correlator, found.id)

    async def silences(self, found: Found, now: float) -> Sequence[Mapping[str, Any]]:
        """Silences that touch an incident."""
        if self._hooks.silences is None or found.incident is None:
            return ()
        wallets = self._parts.pipeline.engine.watchlist.wallets
        roles = {wallet.id: wallet.role for wallet in wallets.values()}
        return await self._hooks.silences.touching(alert_of(found.incident, "updated", self._parts.names, roles), now)


def _drill(value: bytes) -> dict[str, Any]:
    """A drill in the form of an incident, as far as there is something to say."""
    drill = read_drill(value)
    return {
        "id": drill.id,
        "entity": "DRILL",
        "severity": "drill",
        "status": "drill",
        "opened_at": iso(drill.asked),
        "wallets": [drill.wallet],
        "lost": [],
        "suspects": [],
        "explanation": [f"This is a drill of {drill.case}: nothing was stolen, and there is nothing to stop."],
        "history": [],
    }
