"""A case: what the alerts' side knows of one incident: what was said last, to whom, and who looks at it."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import quote

import msgspec

from alerts.escalate import starts_anew
from alerts.matchers import entity_of, incident_of, severity_of
from alerts.text import encodable
from monitor.model import Alert, AlertKind, Severity
from monitor.store import OperatorEvent, read_note

__all__ = ["CORRECTIONS", "DRILLS", "KEPT_SECONDS", "PREFIX", "Case", "case_key", "hear", "is_correction", "opened",
           "read_case", "renewed", "write_case"]  # fmt: skip

PREFIX = "case/"
DRILLS = f"{PREFIX}drill-"
"""Cases that other processes may write, too."""

KEPT_SECONDS = 30 * 86400.0
"""So long a closed case is kept: a correction of it still finds who was told."""

CORRECTIONS = ("resolved", "retracted")
"""What is over, or was never: it goes to whoever got the alarm, and to nobody else."""

_SET_BACK = 86400.0  # a clock that was wrong by more was right at no time
_HEARD = 50  # verdicts remembered by id, so that none counts twice


class Case(msgspec.Struct):
    """One incident, as it was told. Times are wall clock, UTC seconds; ``said`` is when each receiver heard last."""

    incident: str
    entity: str
    latest: Alert
    opened: float
    told: list[str] = []  # receivers, in order; a correction goes to all of them
    said: dict[str, float] = {}
    acknowledged_at: float | None = None
    acknowledged_by: str = ""
    acknowledged_severity: int = 0
    policy: str = ""  # of escalation
    steps: list[int] = []  # those that were taken
    since: float | None = None  # from when the steps count; None: nobody was told so far
    closed: float | None = None
    into: str = ""  # the incident that took it over
    heard: list[str] = []  # ids of verdicts
    queued: float = 0.0  # when its last message was queued

    @property
    def is_open(self) -> bool:
        """Whether there is anything to say of it."""
        return self.closed is None

    @property
    def is_drill(self) -> bool:
        """Whether it is not real."""
        return self.latest.kind is AlertKind.DRILL

    @property
    def is_waiting(self) -> bool:
        """Whether nobody looks at it yet."""
        return self.closed is None and self.acknowledged_at is None

    def stamp(self, now: float) -> float:
        """The time to queue its next message at: ``now``, or that of the last where the clock was set back since.

        Messages go in the order of their times, and those of one incident must not overtake each other.
        """
        if not now <= self.queued <= now + _SET_BACK:
            self.queued = now
        return self.queued

    @property
    def severity(self) -> Severity:
        """As it was told last."""
        return severity_of(self.latest) or Severity.INFO


def is_correction(alert: Alert) -> bool:
    """Whether it says that an incident is over or was never; of a drill, that it plays that."""
    return alert.type.partition(".")[2] in CORRECTIONS


def opened(alert: Alert, now: float) -> Case:
    """The case that begins with ``alert``."""
    return Case(incident_of(alert), entity_of(alert), _storable(alert), now)


def renewed(case: Case, alert: Alert, now: float) -> None:
    """Take the next message of a case in: it closes it, opens it again, or outgrows what was acknowledged."""
    case.latest, case.entity = _storable(alert), entity_of(alert)
    if is_correction(alert):
        case.closed = case.closed if case.closed is not None else now
        return
    acknowledged = case.acknowledged_severity if case.acknowledged_at is not None else None
    if case.closed is not None or starts_anew(acknowledged, case.severity):
        case.closed = None
        _begin_anew(case, now if case.told else None)


def _storable(alert: Alert) -> Alert:
    """As it will be read back: what is said after a restart must be what is said without one."""
    return replace(
        alert,
        title=encodable(alert.title),
        body=encodable(alert.body),
        labels=encodable(alert.labels),
        runbook=encodable(alert.runbook),
        incident=encodable(alert.incident),
    )


def _begin_anew(case: Case, since: float | None) -> None:
    case.acknowledged_at, case.acknowledged_by, case.acknowledged_severity = None, "", 0
    case.steps, case.since = [], since


def hear(case: Case, event: OperatorEvent) -> bool:
    """Take in what a person said of it; False where that is known already, or changes nothing here.

    Escalation and repeats stop at an acknowledgement, as at a confirmation: somebody looks at it.
    """
    if event.id in case.heard or event.kind not in _VERDICTS:
        return False
    case.heard = [*case.heard[1 - _HEARD :], event.id]
    if event.kind in ("acknowledge", "confirm"):
        case.acknowledged_at, case.acknowledged_by = event.at, event.by
        case.acknowledged_severity = int(case.severity)
    elif event.kind == "reopen":
        if not is_correction(case.latest):  # else a message of the open incident follows, where it can be opened at all
            case.closed = None
            _begin_anew(case, event.at if case.told else None)
    else:
        case.closed = event.at
    return True


_VERDICTS = ("acknowledge", "confirm", "false-alarm", "resolve", "reopen")


# -- storage ----------------------------------------------------------------------------------------------------------


def case_key(incident_id: str) -> str:
    """Where a case is noted."""
    return f"{PREFIX}{quote(incident_id, safe='')}"


def write_case(case: Case) -> bytes:
    """The stored form."""
    return msgspec.json.encode(case)


def read_case(value: bytes) -> Case:
    """A stored case; StoreError where it cannot be read."""
    return read_note(value, Case, "a stored case")
