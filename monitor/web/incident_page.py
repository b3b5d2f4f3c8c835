"""What pages show of an incident. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from monitor.timeline import Entry
from monitor.web.known import Found
from monitor.web.page import items, shown, table, text

__all__ = ["brief", "heading", "whole"]

_COLOURED = ("critical", "high", "medium", "low")


def heading(found: Found) -> str:
    """The title of an incident's page, as text."""
    data = found.data
    if found.is_drill:
        return f"DRILL {found.id}"
    return shown(f"{data['severity'].upper()}: {data['entity']}: {_lost(data)} sent to suspects")


def brief(found: Found) -> str:
    """What an answer to the alarm needs: how bad, whose, what left, where to."""
    data = found.data
    severity = str(data["severity"])
    colour = severity if severity in _COLOURED else ""
    head = f"<h1><span class='badge {colour}'>{text(severity)}</span> {text(data['entity'])}</h1>"
    if found.is_drill:
        return head + items(data["explanation"])
    rows: list[tuple[object, object]] = [
        ("left", _lost(data)),
        ("share", _share(data.get("share_lost"))),
        ("opened", data["opened_at"]),
        ("status", str(data["status"]).replace("_", " ")),
        ("wallets", ", ".join(map(str, data["wallets"]))),
        ("incident", found.id),
    ]
    return head + table([row for row in rows if row[1]]) + _section("Destinations", data["suspects"][:5])


def whole(found: Found, entries: Sequence[Entry], silences: Sequence[Mapping[str, Any]]) -> str:
    """Everything: what left, where to, why it is one, what was said, who was told, what is silenced."""
    data = found.data
    body = brief(found)
    if not found.is_drill:
        body += _section("More destinations", data["suspects"][5:])
        body += _section("Why", data["explanation"])
        lines = [f"{f['at']} {f['detector']} {f['severity']}: {f['summary']}" for f in data["findings"]]
        body += _section("Findings", lines)
    times = [(entry.when, entry.text) for entry in entries]
    if times:
        marks = ["failed" if entry.what == "failed" else "" for entry in entries]
        body += f"<h2>Timeline</h2>{table(times, marks)}"
    return body + _section("Silences that touch it", [silence_line(silence) for silence in silences])


def silence_line(silence: Mapping[str, Any]) -> str:
    """A silence in one line: what, until when, by whom, why."""
    match = silence.get("match", "")
    if isinstance(match, Mapping):
        match = " ".join(f"{name}={','.join(map(str, values))}" for name, values in sorted(match.items()))
    said = f"{match} until {silence.get('expires', '')} by {silence.get('author', '')}"
    return f"{said}: {silence['comment']}" if silence.get("comment") else said


def _section(title: str, lines: Sequence[object]) -> str:
    return f"<h2>{text(title)}</h2>{items(lines)}" if lines else ""


def _lost(data: Mapping[str, Any]) -> str:
    return ", ".join(str(item["display"]) for item in data["lost"]) or "nothing yet"


def _share(share: Any) -> str:
    return f"{share * 100:.0f} % of the balance" if isinstance(share, int | float) else ""
