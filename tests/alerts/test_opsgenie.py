"""Opsgenie: requests as its documentation describes them, on a service that keeps them to be checked."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from alerts.channels.opsgenie import REGIONS, OpsgenieChannel
from monitor.errors import ConfigError
from monitor.model import Alert, AlertKind, Outcome, Reason, Severity
from monitor.store import OutboxRow

KEY = "eb243592-CANARY-4ba2-a551"
QUEUED = 1_700_000_000.25

Row = Callable[..., OutboxRow]


def check(sent: Any) -> dict[str, Any]:
    """The form of a request: https://docs.opsgenie.com/docs/alert-api and its continuation."""
    assert sent.headers["Authorization"] == f"GenieKey {KEY}"
    assert sent.headers["Content-Type"] == "application/json"
    body: dict[str, Any] = json.loads(sent.body)
    if sent.path == "/v2/alerts":
        assert sent.method == "POST"
        assert 0 < len(body["message"]) <= 130
        assert "\n" not in body["message"]
        assert 0 < len(body["alias"]) <= 512
        assert len(body["description"]) <= 15_000
        assert len(body["entity"]) <= 512
        assert len(body["source"]) <= 100
        assert body["priority"] in ("P1", "P2", "P3", "P4", "P5")
        assert len(body["tags"]) <= 20 and all(0 < len(tag) <= 50 for tag in body["tags"])
        assert all(isinstance(value, str) for value in body["details"].values())
        assert sum(len(name) + len(value) for name, value in body["details"].items()) <= 8000
        return body
    alias, _, action = sent.path.removeprefix("/v2/alerts/").partition("/")
    assert alias and "?" not in alias
    if action == "priority?identifierType=alias":
        assert sent.method == "PUT"
        assert set(body) == {"priority"}
    else:
        assert action in ("close?identifierType=alias", "notes?identifierType=alias")
        assert sent.method == "POST"
        assert 0 < len(body["note"]) <= 25_000
        assert set(body) == {"note", "source"}
    return body


@pytest.fixture
def channel(service: Any) -> OpsgenieChannel:
    return OpsgenieChannel({"api_key": KEY, "url": service.url, "tags": ["theft"]})


async def send(channel: OpsgenieChannel, alert: Alert, row: Row) -> Any:
    receipt = await channel.send(row(alert.id, body=channel.render(alert, QUEUED)), time.time())
    await channel.aclose()
    return receipt


@pytest.mark.parametrize(
    ("kind", "requests"),
    [
        ("opened", ["POST /v2/alerts"]),
        ("updated", ["POST /v2/alerts/i1/notes"]),
        ("escalated", ["POST /v2/alerts", "PUT /v2/alerts/i1/priority", "POST /v2/alerts/i1/notes"]),
        ("reminder", ["POST /v2/alerts", "PUT /v2/alerts/i1/priority", "POST /v2/alerts/i1/notes"]),
        ("summary", ["POST /v2/alerts"]),
        ("resolved", ["POST /v2/alerts/i1/close"]),
        ("retracted", ["POST /v2/alerts/i1/close"]),
    ],
)
async def test_requests_of_each_kind(
    service: Any, channel: OpsgenieChannel, alert: Any, row: Row, kind: str, requests: list[str]
) -> None:
    """Created, noted or closed under the incident's id."""
    receipt = await send(channel, alert(kind=AlertKind(kind)), row)
    assert receipt.outcome is Outcome.ACCEPTED
    for sent in service.sent:
        check(sent)
    assert [f"{sent.method} {sent.path.partition('?')[0]}" for sent in service.sent] == requests


async def test_creation(service: Any, channel: OpsgenieChannel, alert: Any, row: Row) -> None:
    """What people need is in the alert, and Opsgenie's id of the request is the receipt's."""
    service.script = [(202, {}, b'{"result": "Request will be processed", "requestId": "43a29c5c-3dbf"}')]
    receipt = await send(channel, alert(links={"acknowledge": "https://watch.example/ack"}), row)
    assert (receipt.outcome, receipt.external_id) == (Outcome.ACCEPTED, "43a29c5c-3dbf")
    body = check(service.sent[0])
    assert body["message"] == "CRITICAL: Example Exchange: 100 ETH sent to suspects"
    assert (body["alias"], body["priority"], body["entity"]) == ("i1", "P1", "Example Exchange")
    assert body["tags"] == ["heistwatch", "critical", "theft"]
    assert "Line one.\nLine two." in body["description"]
    assert "Stop withdrawals." in body["description"]
    assert body["details"]["Acknowledge"] == "https://watch.example/ack"


@pytest.mark.parametrize(
    ("severity", "priority"), [("critical", "P1"), ("high", "P2"), ("medium", "P3"), ("low", "P4"), ("info", "P5")]
)
def test_priorities(channel: OpsgenieChannel, alert: Any, severity: str, priority: str) -> None:
    """Each severity has its priority."""
    body = json.loads(channel.render(alert(severity=Severity.parse(severity)), QUEUED))
    assert body["requests"][0]["body"]["priority"] == priority


async def test_drill_and_odd_alias(service: Any, channel: OpsgenieChannel, alert: Any, row: Row) -> None:
    """A drill has its own alias and tag; an alias with a slash stays one part of the path."""
    await send(channel, alert(kind=AlertKind.DRILL, labels={"kind": "opened"}), row)
    await send(channel, alert(kind=AlertKind.RESOLVED, incident={"id": "a/b?c d"}), row)
    drill = check(service.sent[0])
    assert drill["alias"] == "drill-i1"
    assert drill["message"].startswith("DRILL")
    assert "DRILL" in drill["tags"]
    check(service.sent[1])
    assert service.sent[1].path == "/v2/alerts/a%2Fb%3Fc%20d/close?identifierType=alias"


async def test_huge_and_hostile_text(service: Any, channel: OpsgenieChannel, alert: Any, row: Row) -> None:
    """Every field stays within its limit."""
    huge = "\u202eA" * 20_000
    found = [{"destination": huge, "chain": huge, "tx": huge} for _ in range(50)]
    incident = {"id": "i" * 5000, "entity": huge, "findings": found, "explanation": [huge] * 50}
    for kind in (AlertKind.OPENED, AlertKind.ESCALATED, AlertKind.RESOLVED):
        await send(channel, alert(kind=kind, title=huge, body=huge, labels={"entity": huge}, incident=incident), row)
    for sent in service.sent:
        assert "\u202e" not in json.dumps(check(sent), ensure_ascii=False)


async def test_a_refusal_ends_the_attempt(service: Any, channel: OpsgenieChannel, alert: Any, row: Row) -> None:
    """Of several requests none follows one that was refused; Opsgenie's own header for haste counts."""
    service.script = [(202, {}, b"{}"), (429, {"X-RateLimit-Period-In-Sec": "30"}, b"")]
    receipt = await send(channel, alert(kind=AlertKind.ESCALATED), row)
    assert (receipt.outcome, receipt.reason, receipt.retry_after) == (Outcome.RETRY, Reason.RATE_LIMITED, 30.0)
    assert len(service.sent) == 2


@pytest.mark.parametrize(
    ("status", "outcome", "reason"),
    [
        (401, Outcome.REJECTED, Reason.AUTH),
        (403, Outcome.REJECTED, Reason.AUTH),
        (422, Outcome.REJECTED, Reason.CLIENT_ERROR),
        (429, Outcome.RETRY, Reason.RATE_LIMITED),
        (503, Outcome.RETRY, Reason.SERVER_ERROR),
    ],
)
async def test_refusals(
    service: Any, channel: OpsgenieChannel, alert: Any, row: Row, status: int, outcome: Outcome, reason: Reason
) -> None:
    """What each answer means; the service's text is not shown."""
    service.script = [(status, {}, KEY.encode())]
    receipt = await send(channel, alert(), row)
    assert (receipt.outcome, receipt.reason) == (outcome, reason)
    assert KEY not in repr(receipt)


def test_options(alert: Any) -> None:
    """The region names the address; no value is shown; own words replace message and description."""
    for region, address in REGIONS.items():
        assert address.split("/")[2] in repr(OpsgenieChannel({"api_key": KEY, "region": region}))
    with pytest.raises(ConfigError) as caught:
        OpsgenieChannel({"api_key": f"{KEY}\n{KEY}", "region": KEY, "url": KEY})
    assert len(caught.value.problems) == 3
    assert KEY not in str(caught.value)
    own = OpsgenieChannel({"api_key": KEY, "template": {"title": "{{ badge }}!", "body": "{{ entity }}"}})
    body = json.loads(own.render(alert(), QUEUED))["requests"][0]["body"]
    assert (body["message"], body["description"]) == ("CRITICAL!", "Example Exchange")
    played = alert(kind=AlertKind.DRILL, labels={"entity": "Example Exchange", "kind": "resolved"})
    [end] = json.loads(own.render(played, QUEUED))["requests"]  # own words that do not say what it is
    assert end["path"] == "/drill-i1/close?identifierType=alias" and end["body"]["note"] == "DRILL\n\nExample Exchange"
