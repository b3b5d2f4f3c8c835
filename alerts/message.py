"""An alert as people read it, whatever the channel: what happened, the facts, the links, what to do.

Everything here is cleaned of what cannot be seen and cut to a length, and nothing is escaped: each channel has its own
markup, and its own idea of what an address in a text does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from alerts.explorer import address_url, transaction_url
from alerts.phase import is_over
from alerts.text import bounded, clean, shown
from monitor.ids import from_iso, iso
from monitor.model import Alert, AlertKind

__all__ = ["COLOURS", "Action", "Fact", "Message", "message_of", "when"]

TITLE_CHARACTERS = 300
VALUE_CHARACTERS = 500
LINE_CHARACTERS = 2000
TEXT_CHARACTERS = 100_000
LINES = 40
SHOWN = 5  # destinations, transactions, assets; the others are counted

COLOURS = {
    "critical": "#b00020",
    "high": "#c2410c",
    "medium": "#a16207",
    "low": "#2f6fde",
    "info": "#6b7280",
}
"""By severity; white text on them, and they on white, have a contrast of 4.5 and more (WCAG 2.2, 1.4.3)."""
_OVER = "#2e7d32"  # resolved, recovered
_GONE = "#6b7280"  # retracted
_MONITOR = "#7b1fa2"  # the monitor speaks of itself

_ACTIONS = {
    "acknowledge": "Acknowledge",
    "incident": "Open",
    "confirm": "It is a theft",
    "false_alarm": "False alarm",
    "resolve": "It is over",
}
_BEFORE = {"resolved": "RESOLVED", "reminder": "STILL OPEN", "summary": "SUMMARY"}
"""What a title says of why it comes, where it does not say so itself."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One line of the table; ``url`` is empty where there is nothing to look at."""

    name: str
    value: str
    url: str = ""


@dataclass(frozen=True, slots=True)
class Action:
    """A button."""

    label: str
    url: str


@dataclass(frozen=True, slots=True)
class Message:
    """What a channel writes in its own form. ``colour`` is ``#rrggbb``; ``severity`` None where there is none."""

    id: str
    type: str
    at: str  # when queued, ISO 8601
    badge: str
    severity: str | None
    colour: str
    title: str
    entity: str
    facts: tuple[Fact, ...]
    lines: tuple[str, ...]
    runbook: str
    actions: tuple[Action, ...]
    incident_id: str
    revision: int
    drill: bool
    covers: tuple[str, ...] = ()


def message_of(alert: Alert, queued_at: float) -> Message:
    """The message of an alert.

    Parameters
    ----------
    queued_at : wall clock, UTC seconds
    """
    incident = alert.incident or {}
    drill = alert.kind is AlertKind.DRILL
    severity = None if alert.severity is None or alert.type.startswith("monitor.") else str(alert.severity)
    badge = (severity or str(alert.kind)).upper()
    return Message(
        id=alert.id,
        type=alert.type,
        at=iso(queued_at) or "",
        badge=f"DRILL {badge}" if drill and badge != "DRILL" else badge,
        severity=severity,
        colour=_colour(alert, severity),
        title=_title(alert),
        entity=_short(alert.labels.get("entity") or incident.get("entity", "")),
        facts=tuple(_facts(alert, incident)),
        lines=tuple(_lines(alert, incident)),
        runbook=shown(alert.runbook, LINE_CHARACTERS),
        actions=tuple(_actions(alert)),
        incident_id=_short(incident.get("id", "")),
        revision=int(incident.get("revision") or 0),
        drill=drill,
        covers=alert.covers,
    )


def when(moment: str | None, zone: str = "") -> str:
    """A time for people: UTC, and beside it their own zone where it is known.

    >>> when("2018-01-25T15:04:00Z", "Asia/Tokyo")
    '2018-01-25 15:04:00 UTC (2018-01-26 00:04 JST)'
    """
    if not moment:
        return ""
    try:
        local = from_iso(moment)
    except (ValueError, OverflowError):
        return clean(moment)
    shown = f"{(iso(local) or '').replace('T', ' ').removesuffix('Z')} UTC"
    if not zone:
        return shown
    try:
        there = datetime.fromtimestamp(local, ZoneInfo(zone))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return shown
    return f"{shown} ({there:%Y-%m-%d %H:%M %Z})"


def _short(value: Any) -> str:
    return shown(str(value), VALUE_CHARACTERS)


def _colour(alert: Alert, severity: str | None) -> str:
    kind = alert.type.partition(".")[2]
    if kind in ("resolved", "recovered"):
        return _OVER
    if kind == "retracted":
        return _GONE
    return COLOURS.get(severity or "", _MONITOR)


def _title(alert: Alert) -> str:
    drill, before = alert.kind is AlertKind.DRILL, _BEFORE.get(alert.type.partition(".")[2], "")
    title = shown(alert.title.removeprefix("DRILL: ") if drill else alert.title, TITLE_CHARACTERS)
    if before and not title.upper().startswith((before, "NOT ACKNOWLEDGED")):
        title = f"{before}: {title}"
    return f"DRILL: {title}" if drill else title


def _actions(alert: Alert) -> Iterator[Action]:
    """What may still be done: of what is over, nothing needs to be acknowledged or ended."""
    over = is_over(alert)
    for name, label in _ACTIONS.items():
        if alert.links.get(name) and not (over and name in ("acknowledge", "resolve")):
            yield Action(label, alert.links[name])


def _facts(alert: Alert, incident: Mapping[str, Any]) -> Iterator[Fact]:
    if not incident:
        for name in ("entity", "chain", "channel", "receiver"):
            if alert.labels.get(name):
                yield Fact(name, _short(alert.labels[name]))
        return
    yield Fact("entity", _short(incident.get("entity", "")))
    yield Fact("wallets", _short(", ".join(map(str, incident.get("wallets", ())))))
    yield from _amounts(incident)
    yield from _usual(incident.get("findings", ()))
    yield from _places(incident.get("findings", ()))
    status, news = str(incident.get("status", "")), alert.type.partition(".")[2]
    opened = when(incident.get("opened_at"), alert.zone)
    yield Fact("opened", opened)
    yield Fact("status", _short(f"{', '.join(dict.fromkeys((status, news)))}, revision {incident.get('revision', 0)}"))
    if not alert.links.get("acknowledge") and not is_over(alert):
        yield Fact("to acknowledge", f"heistwatch incidents ack {_short(incident.get('id', ''))}")


def _amounts(incident: Mapping[str, Any]) -> Iterator[Fact]:
    verb = "would leave" if incident.get("unconfirmed") else "left"
    if lost := _displays(incident.get("lost", ())):
        yield Fact(verb, lost)
    if incident.get("lost_usd") is not None:
        yield Fact("worth", f"about ${float(incident['lost_usd']):,.0f}")
    if incident.get("share_lost") is not None and incident.get("lost"):
        yield Fact("share of the balance", f"{float(incident['share_lost']) * 100:.1f} %")
    if returned := _displays(incident.get("returned", ())):
        yield Fact("returned", returned)


def _displays(amounts: Sequence[Mapping[str, Any]]) -> str:
    shown = [str(entry.get("display") or entry.get("value", "")) for entry in amounts[:SHOWN]]
    more = f" and {len(amounts) - SHOWN} more assets" if len(amounts) > SHOWN else ""
    return _short(", ".join(shown)) + more


def _usual(findings: Sequence[Mapping[str, Any]]) -> Iterator[Fact]:
    """What left against what is usual, by the finding in which it stands out most."""
    told = []
    for finding in findings:
        evidence = finding.get("evidence") or {}
        share, usual = evidence.get("share_of_typical"), evidence.get("usual_daily_maximum")
        if share is not None and usual is not None and not evidence.get("learning"):
            told.append((float(share), float(usual)))
    if told:
        share, usual = max(told)
        times = f", {share / usual:,.0f} times as much" if usual > 0 and share / usual >= 2 else ""
        yield Fact("against the usual", f"{_percent(share)} of the typical balance; a usual day's most is "
                                        f"{_percent(usual)}{times}")  # fmt: skip


def _percent(share: float) -> str:
    return f"{share * 100:.0f} %" if share >= 0.1 else f"{share * 100:.1f} %"


def _places(findings: Sequence[Mapping[str, Any]]) -> Iterator[Fact]:
    """Destinations, then transactions, each once, with links."""
    wheres = {(str(f.get("chain", "")), str(f.get("destination", ""))): None for f in findings if f.get("destination")}
    for chain, address in list(wheres)[:SHOWN]:
        yield Fact("destination", f"{_short(address)} on {_short(chain)}", address_url(chain, address))
    if len(wheres) > SHOWN:
        yield Fact("destination", f"and {len(wheres) - SHOWN} more")
    txs = {(str(f.get("chain", "")), str(f.get("tx", ""))): None for f in findings if f.get("tx")}
    for chain, tx in list(txs)[:SHOWN]:
        yield Fact("transaction", _short(tx), transaction_url(chain, tx))
    if len(txs) > SHOWN:
        yield Fact("transaction", f"and {len(txs) - SHOWN} more")


def _lines(alert: Alert, incident: Mapping[str, Any]) -> Iterator[str]:
    explained = [str(line) for line in incident.get("explanation", ())]
    own = alert.kind in (AlertKind.SUMMARY, AlertKind.DRILL) or not explained  # their bodies say more than the incident
    before = [line for line in _before(alert) if line not in explained]
    text = shown(alert.body if own else "\n".join([*before, *explained]), TEXT_CHARACTERS, lines=True)
    lines = text.strip("\n").split("\n")
    for line in lines[:LINES]:
        yield bounded(line, LINE_CHARACTERS)
    if len(lines) > LINES:
        yield f"… ({len(lines) - LINES} more lines left out)"


def _before(alert: Alert) -> Iterator[str]:
    """What a body says before it explains the incident: what is silenced, and why the incident is said again."""
    for line in alert.body.split("\n"):
        if line.startswith("SILENCED "):
            yield line
            continue
        if alert.kind is AlertKind.REMINDER:
            yield line
        return
