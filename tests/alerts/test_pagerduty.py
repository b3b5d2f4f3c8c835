"""PagerDuty: events as its documentation describes them, on a service that refuses any other."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from alerts.channels.pagerduty import REGIONS, PagerDutyChannel
from monitor.errors import ConfigError
from monitor.model import Alert, AlertKind, Outcome, Reason, Severity
from monitor.store import OutboxRow

KEY = "R01234567890123456789012345678CA"
QUEUED = 1_700_000_000.25

Row = Callable[..., OutboxRow]


def check(event: dict[str, Any]) -> None:
    """The form of an event: https://developer.pagerduty.com/docs/send-alert-event."""
    assert event["event_action"] in ("trigger", "acknowledge", "resolve")
    assert isinstance(event["routing_key"], str) and len(event["routing_key"]) == 32
    assert isinstance(event["dedup_key"], str) and 0 < len(event["dedup_key"]) <= 255
    assert set(event) <= {
        "event_action", "routing_key", "dedup_key", "payload", "links", "images", "client", "client_url"
    }  # fmt: skip
    payload = event["payload"]
    assert set(payload) <= {
        "summary", "source", "severity", "timestamp", "component", "group", "class", "custom_details"
    }  # fmt: skip
    assert 0 < len(payload["summary"]) <= 1024
    assert payload["source"]
    assert payload["severity"] in ("critical", "error", "warning", "info")
    assert datetime.fromisoformat(payload["timestamp"]).tzinfo is not None
    assert isinstance(payload["custom_details"], dict)
    for link in event.get("links", ()):
        assert set(link) <= {"href", "text"} and link["href"].startswith("https://")
    assert len(json.dumps(event).encode()) <= 512 * 1024


@pytest.fixture
def channel(service: Any) -> PagerDutyChannel:
    return PagerDutyChannel({"routing_key": KEY, "url": f"{service.url}/v2/enqueue"})


async def send(channel: PagerDutyChannel, alert: Alert, row: Row) -> Any:
    receipt = await channel.send(row(alert.id, body=channel.render(alert, QUEUED)), time.time())
    await channel.aclose()
    return receipt


async def test_life_of_an_incident(service: Any, channel: PagerDutyChannel, alert: Any, row: Row) -> None:
    """Every message of an incident has its id as the key; what ends it resolves, all else triggers."""
    kinds = ["opened", "updated", "escalated", "reminder", "resolved", "retracted"]
    for kind in kinds:
        receipt = await send(channel, alert(kind, kind=AlertKind(kind)), row)
        assert (receipt.outcome, receipt.external_id) == (Outcome.ACCEPTED, "i1")
    events = [json.loads(sent.body) for sent in service.sent]
    for sent, event in zip(service.sent, events, strict=True):
        assert (sent.method, sent.path, sent.headers["Content-Type"]) == ("POST", "/v2/enqueue", "application/json")
        check(event)
        assert event["routing_key"] == KEY
    assert [event["event_action"] for event in events] == ["trigger"] * 4 + ["resolve"] * 2
    assert {event["dedup_key"] for event in events} == {"i1"}
    assert [event["payload"]["class"] for event in events] == [f"incident.{kind}" for kind in kinds]


async def test_the_payload(service: Any, channel: PagerDutyChannel, alert: Any, row: Row) -> None:
    """What people need is in the event: entity, loss, explanation, runbook, links."""
    links = {"acknowledge": "https://watch.example/ack", "incident": "https://watch.example/i1"}
    await send(channel, alert(links=links), row)
    event = json.loads(service.sent[0].body)
    check(event)
    payload = event["payload"]
    assert payload["summary"] == "CRITICAL: Example Exchange: 100 ETH sent to suspects"
    assert (payload["source"], payload["component"], payload["severity"]) == ("Example Exchange", "i1", "critical")
    assert payload["custom_details"]["explanation"] == "Line one.\nLine two."
    assert payload["custom_details"]["runbook"] == "Stop withdrawals."
    assert payload["custom_details"]["share of the balance"] == "50.0 %"
    assert event["links"][0] == {"href": "https://watch.example/ack", "text": "Acknowledge"}
    assert event["client_url"] == "https://watch.example/i1"


@pytest.mark.parametrize(
    ("severity", "level"), [("critical", "critical"), ("high", "error"), ("medium", "warning"), ("low", "info")]
)
def test_severities(channel: PagerDutyChannel, alert: Any, severity: str, level: str) -> None:
    """Each severity has its level."""
    body = channel.render(alert(severity=Severity.parse(severity)), QUEUED)
    assert json.loads(body)["payload"]["severity"] == level


async def test_drills_and_the_monitor(service: Any, channel: PagerDutyChannel, alert: Any, row: Row) -> None:
    """A drill never touches the key of an incident, and ends; trouble of the monitor is resolved by its end."""
    for alert_id, played in (("d1", "opened"), ("d2", "resolved")):
        await send(channel, alert(alert_id, kind=AlertKind.DRILL, labels={"kind": played}), row)
    labels = {"chain": "eip155:1", "severity": "high"}
    for kind in (AlertKind.BLIND, AlertKind.RECOVERED):
        await send(channel, alert(kind.value, kind=kind, incident=None, labels={**labels, "kind": kind.value}), row)
    played, ended, blind, seeing = (json.loads(sent.body) for sent in service.sent)
    for event in (played, ended, blind, seeing):
        check(event)
    assert played["dedup_key"] == ended["dedup_key"] == "drill-i1"
    assert (played["event_action"], ended["event_action"]) == ("trigger", "resolve")
    assert played["payload"]["summary"].startswith("DRILL")
    assert played["payload"]["custom_details"]["drill"] is True
    assert blind["dedup_key"] == seeing["dedup_key"] != "i1"
    assert (blind["event_action"], seeing["event_action"]) == ("trigger", "resolve")


async def test_huge_and_hostile_text(service: Any, channel: PagerDutyChannel, alert: Any, row: Row) -> None:
    """An event stays within the limits whatever a chain says, and says how much was cut."""
    huge = "\u202eA" * 20_000
    found = [{"destination": huge, "chain": huge, "tx": huge, "summary": huge} for _ in range(50)]
    incident = {"id": "i" * 5000, "entity": huge, "findings": found, "explanation": [huge] * 50}
    await send(channel, alert(title=huge, body=huge, labels={"entity": huge}, incident=incident), row)
    event = json.loads(service.sent[0].body)
    check(event)
    assert "\u202e" not in json.dumps(event, ensure_ascii=False)
    assert "left out" in event["payload"]["summary"]


@pytest.mark.parametrize(
    ("status", "headers", "outcome", "reason", "pause"),
    [
        (400, {}, Outcome.REJECTED, Reason.CLIENT_ERROR, None),
        (413, {}, Outcome.REJECTED, Reason.CLIENT_ERROR, None),
        (429, {}, Outcome.RETRY, Reason.RATE_LIMITED, None),
        (429, {"Retry-After": "7"}, Outcome.RETRY, Reason.RATE_LIMITED, 7.0),
        (500, {}, Outcome.RETRY, Reason.SERVER_ERROR, None),
        (503, {"Retry-After": "7"}, Outcome.RETRY, Reason.SERVER_ERROR, 7.0),
    ],
)
async def test_refusals(
    service: Any, channel: PagerDutyChannel, alert: Any, row: Row, status: int, headers: dict[str, str],
    outcome: Outcome, reason: Reason, pause: float | None,
) -> None:  # fmt: skip
    """What each answer means; the service's own text, which may quote the key, is not shown."""
    service.script = [(status, headers, f'{{"errors": ["routing_key {KEY} is wrong"]}}'.encode())]
    receipt = await send(channel, alert(), row)
    assert (receipt.outcome, receipt.reason, receipt.retry_after) == (outcome, reason, pause)
    assert KEY not in repr(receipt)


def test_own_words(alert: Any) -> None:
    """Templates replace the summary and the text in the details."""
    given = {"title": "{{ badge }} at {{ entity }}", "body": "{{ lines | join(' / ') }}"}
    body = PagerDutyChannel({"routing_key": KEY, "template": given}).render(alert(), QUEUED)
    payload = json.loads(body)["payload"]
    assert payload["summary"] == "CRITICAL at Example Exchange"
    assert payload["custom_details"]["explanation"] == "Line one. / Line two."


def test_options() -> None:
    """The key is needed, and no part of what is written; the region names the address."""
    for region, address in REGIONS.items():
        assert repr(PagerDutyChannel({"routing_key": KEY, "region": region})).count(address.split("/")[2]) == 1
    with pytest.raises(ConfigError) as caught:
        PagerDutyChannel({"region": KEY, "url": KEY, "nonsense": 1})
    assert len(caught.value.problems) == 4
    assert KEY not in str(caught.value)
    assert KEY.encode() not in PagerDutyChannel({"routing_key": KEY}).render(
        Alert("1", AlertKind.OPENED, "t", "b"), QUEUED
    )
