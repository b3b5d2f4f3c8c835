"""What every message says: facts against the usual, links to known explorers only, nothing that cannot be seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.explorer import address_url, transaction_url
from alerts.message import COLOURS, message_of, when
from alerts.text import clean
from monitor.model import Alert, AlertKind, Severity

START = 1_700_000_000.0
TX = "0x" + "ab" * 32
THIEF = "0x" + "cd" * 20


def finding(**changes: Any) -> dict[str, Any]:
    """A finding as published."""
    evidence = {"share_of_typical": 0.42, "usual_daily_maximum": 0.015, "typical_balance": 1e20, "learning": False}
    made = {"wallet": "hot", "chain": "eip155:1", "asset": "eip155:1/slip44:60", "destination": THIEF, "tx": TX,
            "value": str(10**19), "at": "2018-01-25T15:04:00Z", "evidence": evidence}  # fmt: skip
    return {**made, **changes}


def incident(**changes: Any) -> dict[str, Any]:
    """An incident as published."""
    made = {
        "id": "i1", "entity": "Example Exchange", "wallets": ["hot"], "status": "open", "severity": "critical",
        "revision": 3, "opened_at": "2018-01-25T15:04:00Z", "share_lost": 0.19, "lost_usd": 1234.5,
        "lost": [{"display": "100 ETH", "value": "1"}], "findings": [finding()], "explanation": ["Much left."],
    }  # fmt: skip
    return {**made, **changes}


def facts(alert: Alert) -> dict[str, str]:
    """The table, the last of each name."""
    return {fact.name: fact.value for fact in message_of(alert, START).facts}


def test_what_left_against_what_is_usual(alert: Callable[..., Alert]) -> None:
    """The loss, its worth, its share, and how much that is against a usual day."""
    said = facts(alert(incident=incident()))
    assert said["left"] == "100 ETH" and said["worth"] == "about $1,234" and said["share of the balance"] == "19.0 %"
    assert said["against the usual"] == "42 % of the typical balance; a usual day's most is 1.5 %, 28 times as much"
    learning = incident(findings=[finding(evidence={**finding()["evidence"], "learning": True})])
    assert "against the usual" not in facts(alert(incident=learning))
    assert "would leave" in facts(alert(incident=incident(unconfirmed=True)))


def test_links_lead_to_known_explorers_only(alert: Callable[..., Alert]) -> None:
    """Destinations and transactions, of built-in networks; a hostile address or hash is text."""
    found = {fact.name: fact.url for fact in message_of(alert(incident=incident()), START).facts}
    assert found["destination"] == f"https://etherscan.io/address/{THIEF}"
    assert found["transaction"] == f"https://etherscan.io/tx/{TX}"
    for bad in ("javascript:alert(1)", "../../x", "a b", THIEF + "?q", "", "x" * 500, "0x" + "g" * 40 + "/"):
        assert address_url("eip155:1", bad) == transaction_url("eip155:1", bad) == ""
    assert address_url("eip155:31337", THIEF) == transaction_url("made:up", TX) == ""
    mona = transaction_url("bip122:000000000019d6689c085ae165831e93", "ab" * 32)
    assert mona.startswith("https://") and mona.endswith("ab" * 32)
    dogecoin = "bip122:1a91e3dace36e2be3bf030a65679fe82"
    assert transaction_url(dogecoin, "ab" * 32) == f"https://blockchair.com/dogecoin/transaction/{'ab' * 32}"
    assert address_url(dogecoin, "D" + "a" * 33) == f"https://blockchair.com/dogecoin/address/D{'a' * 33}"
    assert address_url("nem:testnet", "T" * 40) == ""  # the explorer knows the main network alone


def test_many_places_are_counted(alert: Callable[..., Alert]) -> None:
    """Five destinations and transactions are shown, the others counted."""
    many = [finding(destination=f"0x{n:040x}", tx=f"0x{n:064x}") for n in range(1, 9)]
    said = [fact.value for fact in message_of(alert(incident=incident(findings=many)), START).facts]
    assert said.count("and 3 more") == 2


def test_the_way_to_acknowledge_is_always_there(alert: Callable[..., Alert]) -> None:
    """A link where there is one, else the command; nothing after a retraction."""
    assert facts(alert(incident=incident()))["to acknowledge"] == "heistwatch incidents ack i1"
    links = {"confirm": "https://x/c", "acknowledge": "https://x/a"}
    linked = message_of(alert(incident=incident(), links=links), START)
    assert [action.label for action in linked.actions] == ["Acknowledge", "It is a theft"]
    assert "to acknowledge" not in {fact.name for fact in linked.facts}
    gone = alert(incident=incident(status="retracted"), kind=AlertKind.RETRACTED)
    assert "to acknowledge" not in facts(gone)


@pytest.mark.parametrize("kind", [AlertKind.RESOLVED, AlertKind.RETRACTED])
def test_what_is_over_asks_for_nothing(alert: Callable[..., Alert], kind: AlertKind) -> None:
    """Nobody is asked to acknowledge or to end it again; looking, and saying what it was, is still possible."""
    links = {name: f"https://x/{name}" for name in ("incident", "acknowledge", "confirm", "false_alarm", "resolve")}
    message = message_of(alert(incident=incident(), kind=kind, links=links), START)
    assert [action.label for action in message.actions] == ["Open", "It is a theft", "False alarm"]
    assert "to acknowledge" not in facts(alert(incident=incident(), kind=kind))


def test_a_drill_is_always_called_one(alert: Callable[..., Alert]) -> None:
    """Whatever its title begins with."""
    told = alert(kind=AlertKind.DRILL, title="NOT ACKNOWLEDGED for 5 min: A", labels={"kind": "reminder"})
    assert message_of(told, START).title == "DRILL: NOT ACKNOWLEDGED for 5 min: A"


@pytest.mark.parametrize("colour", COLOURS.values())
def test_white_can_be_read_on_every_colour(colour: str) -> None:
    """Contrast of at least 4.5, as https://www.w3.org/TR/WCAG22/#contrast-minimum defines it."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    assert 1.05 / (0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05) >= 4.5


@pytest.mark.parametrize(
    ("kind", "labels", "badge", "title", "colour"),
    [
        (AlertKind.OPENED, {}, "CRITICAL", "CRITICAL: A", COLOURS["critical"]),
        (AlertKind.RESOLVED, {}, "CRITICAL", "RESOLVED: CRITICAL: A", "#2e7d32"),
        (AlertKind.RETRACTED, {}, "CRITICAL", "CRITICAL: A", "#6b7280"),
        (AlertKind.REMINDER, {}, "CRITICAL", "STILL OPEN: CRITICAL: A", COLOURS["critical"]),
        (AlertKind.DRILL, {"kind": "opened"}, "DRILL CRITICAL", "DRILL: CRITICAL: A", COLOURS["critical"]),
        (AlertKind.DRILL, {"kind": "resolved"}, "DRILL CRITICAL", "DRILL: RESOLVED: CRITICAL: A", "#2e7d32"),
        (AlertKind.BLIND, {}, "BLIND", "CRITICAL: A", "#7b1fa2"),
        (AlertKind.RECOVERED, {}, "RECOVERED", "CRITICAL: A", "#2e7d32"),
    ],
)
def test_kinds_are_told_apart(
    alert: Callable[..., Alert], kind: AlertKind, labels: dict[str, str], badge: str, title: str, colour: str
) -> None:
    """By badge, title and colour."""
    message = message_of(alert(kind=kind, title="CRITICAL: A", labels=labels), START)
    assert (message.badge, message.title, message.colour) == (badge, title, colour)
    assert message.drill == (kind is AlertKind.DRILL)


def test_people_see_their_own_time_beside_utc(alert: Callable[..., Alert]) -> None:
    """Where their zone is known; a wrong zone costs nothing."""
    assert facts(alert(incident=incident(), zone="Asia/Tokyo"))["opened"].endswith("UTC (2018-01-26 00:04 JST)")
    assert when("2018-07-01T12:00:00Z", "Europe/Berlin") == "2018-07-01 12:00:00 UTC (2018-07-01 14:00 CEST)"
    assert [when("2018-07-01T12:00:00Z", zone) for zone in ("No/Where", "../etc")] == ["2018-07-01 12:00:00 UTC"] * 2
    assert when("not a time") == "not a time" and when(None) == ""


@settings(deadline=None)
@given(hostile=st.text(max_size=80), long=st.integers(1, 50_000))
def test_nothing_hostile_is_seen_and_nothing_is_endless(hostile: str, long: int) -> None:
    """Whatever names say, a message has no character that cannot be seen, and a bounded length."""
    text = hostile + "\u202e\x1b[2J\u200b" + "A" * long
    base = Alert("a", AlertKind.OPENED, text, "\n".join([text] * 60), Severity.HIGH, {"entity": text}, text)
    spoiled = incident(entity=text, lost=[{"display": text}] * 9, findings=[finding(destination=text, tx=text)],
                       explanation=[], wallets=[text])  # fmt: skip
    message = message_of(replace(base, incident=spoiled), START)
    parts = [message.title, message.entity, message.runbook, *message.lines, *(fact.value for fact in message.facts)]
    assert all(part == clean(part) for part in parts)
    assert sum(map(len, parts)) < 150_000 and len(message.lines) <= 41
    assert all(not fact.url for fact in message.facts if fact.name in ("destination", "transaction"))


@pytest.mark.parametrize(
    ("kind", "body", "lines"),
    [
        (AlertKind.REMINDER, "Nobody looked for 1 h.\nwhy\nmore", ("Nobody looked for 1 h.", "why")),
        (AlertKind.REMINDER, "SILENCED x\nNobody said.\nwhy", ("SILENCED x", "Nobody said.", "why")),
        (AlertKind.UPDATED, "SILENCED x\nSILENCED y\nwhy\nmore", ("SILENCED x", "SILENCED y", "why")),
        (AlertKind.REMINDER, "why\nmore", ("why",)),
        (AlertKind.UPDATED, "else\nSILENCED x", ("why",)),
    ],
)
def test_what_comes_before_the_explanation(
    alert: Callable[..., Alert], kind: AlertKind, body: str, lines: tuple[str, ...]
) -> None:
    """Why it is said again, and which silences keep critical alerts back; the explanation itself comes once."""
    told = alert(kind=kind, body=body, incident={"id": "i1", "explanation": ["why"]})
    assert message_of(told, START).lines == lines
