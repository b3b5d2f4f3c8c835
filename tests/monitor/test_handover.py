"""The hand-over note, and the timeline that it shares with pages: what is left out would be forgotten at a shift."""

from __future__ import annotations

from typing import Any

import pytest

from monitor.assets import AssetNames
from monitor.handover import Stored, handover, handover_text
from monitor.incidents import Correlator
from monitor.model import Delivery, Finding, Outcome, Reason, Severity
from monitor.store import OutboxRow
from monitor.timeline import delivered, timeline
from monitor.verdicts import verdict

NOW = 1_700_100_000.0
AT = 1_700_000_000


def correlator(*severities: Severity) -> tuple[Correlator, list[str]]:
    """An open incident a severity, each of an owner of its own."""
    found = Correlator()
    names = []
    for n, severity in enumerate(severities):
        finding = Finding(
            id=f"f{n}", detector="GUARD", wallet="hot", chain="eip155:1", severity=severity, score=0.0, summary="s",
            tx=f"0x{n}", at=AT + n, block_number=7, asset="eip155:1/slip44:60", destination="0xbad",
        )  # fmt: skip
        [name] = found.add(f"owner-{n}", [finding], [])
        found.change(name)
        names.append(name)
    return found, names


def note_of(found: Correlator, **more: Any) -> dict[str, Any]:
    return handover(Stored(incidents=found.all(), **more), AssetNames(), NOW - 3600, NOW)


def test_what_nobody_looks_at_comes_first_then_the_worst() -> None:
    """Order of what is open; an incident that was opened again after an acknowledgement has nobody."""
    found, names = correlator(Severity.LOW, Severity.CRITICAL, Severity.HIGH, Severity.CRITICAL)
    found.verdict(names[1], "acknowledge", "ann", "", "2023-11-14T22:20:00Z")
    for what in ("acknowledge", "reopen"):
        found.verdict(names[3], what, "bob", "", "2023-11-14T22:20:00Z")
    entries = note_of(found)["open"]
    assert [entry["id"] for entry in entries] == [names[3], names[2], names[0], names[1]]
    assert [entry["acknowledged"] and entry["acknowledged"]["by"] for entry in entries] == [None, None, None, "ann"]


def test_an_acknowledgement_of_less_is_none() -> None:
    """Who looked before it grew may not know: it stands among what nobody looks at, with its escalation."""
    found, names = correlator(Severity.CRITICAL, Severity.CRITICAL)
    for name in names:
        found.verdict(name, "acknowledge", "ann", "", "2023-11-14T22:20:00Z")
    said = 1_700_000_400.0
    steps = {names[0]: {"policy": "pager", "steps": [0], "next_at": None}}
    note = note_of(found, waiting={names[0]: said + 60}, escalations=steps)
    assert [(entry["id"], entry["outgrown"]) for entry in note["open"]] == [(names[0], True), (names[1], False)]
    text = handover_text(note)
    assert text.count("acknowledged by ann at 2023-11-14T22:20:00Z, before it grew: NOBODY acknowledged that") == 1
    assert text.count("escalation pager: steps taken: 0") == 1
    unheard = note_of(found, waiting=dict.fromkeys(names, said - 60), escalations=steps)  # the monitor is off
    assert not any(entry["outgrown"] or entry["escalation"] for entry in unheard["open"])


def test_last_words_are_the_last_that_say_something() -> None:
    """A verdict without a comment does not hide the note before it; what is not in force yet counts."""
    found, [name] = correlator(Severity.HIGH)
    found.verdict(name, "note", "ann", "the treasury does not answer", "2023-11-14T22:20:00Z")
    found.verdict(name, "acknowledge", "bob", "", "2023-11-14T22:21:00Z")
    [entry] = note_of(found)["open"]
    assert (entry["last_words"]["by"], entry["last_said"]["by"]) == ("ann", "bob")
    said = [verdict("confirm", name, by="cy", comment="theft", at=NOW - 60)]
    [entry] = note_of(found, said=said)["open"]
    assert (entry["acknowledged"]["what"], entry["last_words"]["comment"]) == ("confirm", "theft")


def test_closed_since() -> None:
    """What was closed within the time is said with who and why, earlier ones are not."""
    found, names = correlator(Severity.HIGH, Severity.HIGH)
    found.verdict(names[0], "false-alarm", "ann", "our own", "2023-11-16T02:00:00Z")  # 1,700,100,000 is 02:00:00
    found.verdict(names[1], "resolve", "bob", "", "2023-11-15T12:00:00Z")
    note = note_of(found)
    assert [entry["id"] for entry in note["closed"]] == [names[0]] and note["open"] == []
    assert "false_alarm by ann at 2023-11-16T02:00:00Z: our own" in handover_text(note)


def test_escalation_is_shown_until_somebody_looks() -> None:
    """Which steps were taken, and when the next comes."""
    found, [name] = correlator(Severity.HIGH)
    standing = {name: {"policy": "night", "steps": [1], "next_at": "2023-11-16T03:00:00Z"}}
    note = note_of(found, escalations=standing)
    assert "escalation night: steps taken: 1; next at 2023-11-16T03:00:00Z" in handover_text(note)
    found.verdict(name, "acknowledge", "ann", "", "2023-11-16T01:00:00Z")
    assert note_of(found, escalations=standing)["open"][0]["escalation"] is None


@pytest.mark.parametrize(
    ("state", "queued", "tried", "expected"),
    [
        ("due", NOW - 10, 0, 0),  # it has just been queued
        ("due", NOW - 600, 0, 1),
        ("dead", NOW - 600, NOW - 10, 1),
        ("dead", NOW - 90_000, NOW - 7200, 0),  # the shift before knew
        ("dead", NOW - 90_000, NOW - 10, 1),
    ],
)
def test_undelivered(state: str, queued: float, tried: float, expected: int) -> None:
    """Dead letters of the time, and what waits for long."""
    row = OutboxRow("a1", "soc", "0:slack", b"", queued, "incident.opened", state=state, attempts=int(tried > 0))
    attempts = [Delivery("a1", "soc", "0:slack", 1, Outcome.REJECTED, Reason.AUTH, tried)] if tried else []
    found, _ = correlator()
    note = note_of(found, rows=[row], attempts=attempts)
    assert len(note["undelivered"]) == expected


def test_nothing_is_said_too() -> None:
    """An empty part says none: a part that is missing would say nothing."""
    text = handover_text(note_of(correlator()[0]))
    for part in ("OPEN", "CLOSED SINCE", "SILENCED", "NOT DELIVERED", "CANNOT BE SEEN OR TOLD", "CHAINS, as stored"):
        assert f"{part}: none" in text


def test_timeline_is_in_order() -> None:
    """By time, whatever kind; what has no time first; each message once a channel, with its last attempt."""
    history = [
        {"what": "merged", "by": "heistwatch", "comment": "i0"},
        {"what": "acknowledge", "by": "ann", "comment": "", "at": "2023-11-14T22:13:25Z"},
    ]
    rows = [
        OutboxRow("a1", "soc", "0:slack", b"", AT + 1.0, "incident.opened", state="done", attempts=1),
        OutboxRow("a1", "soc", "1:smtp", b"", AT + 1.0, "incident.opened", attempts=2, next_at=AT + 60.0),
    ]
    attempts = [
        Delivery("a1", "soc", "1:smtp", 1, Outcome.RETRY, Reason.TIMEOUT, AT + 2.0),
        Delivery("a1", "soc", "0:slack", 1, Outcome.ACCEPTED, Reason.OK, AT + 3.0),
        Delivery("a1", "soc", "1:smtp", 2, Outcome.RETRY, Reason.TLS, AT + 9.0, detail="mail.example.com"),
    ]
    assert [entry.text for entry in timeline(history, rows, attempts)] == [
        "merged by heistwatch: i0",
        "told soc by slack (incident.opened) after 2.0 s, 1 attempt",
        "acknowledge by ann",
        "not told yet soc by smtp (incident.opened): 2 attempts, last tls: mail.example.com; "
        "next at 2023-11-14T22:14:20Z",
    ]  # fmt: skip


def test_a_message_without_attempts() -> None:
    """It waits since it was queued."""
    entry = delivered(OutboxRow("a1", "soc", "0:slack", b"", AT + 1.0, "incident.opened"), ())
    assert (entry.at, entry.what) == (AT + 1.0, "told")
    assert entry.text == "to be told: soc by slack (incident.opened), queued"
