"""Answers that no service gives: a log-in page of a proxy in between, JSON that is made to break its reader."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from alerts.make import make_channel
from monitor.model import Alert, Outcome, Reason
from monitor.store import OutboxRow

NOW = 1_700_000_000.0
PAGE = b"\n<!DOCTYPE html><html><body>Please log in</body></html>"
DEEP = b"[" * 60_000
CHANNELS: list[dict[str, Any]] = [
    {"type": "slack", "url": "/services/x"},
    {"type": "slack", "api": "", "token": "t", "channel": "C1"},
    {"type": "discord", "url": "/api/webhooks/1/x"},
    {"type": "telegram", "api": "", "token": "1:a", "chat": 1},
    {"type": "teams", "url": "/x"},
    {"type": "mattermost", "url": "/hooks/x"},
    {"type": "mattermost", "url": "", "token": "t", "channel_id": "c"},
    {"type": "matrix", "homeserver": "", "token": "t", "room": "!a:b"},
    {"type": "pagerduty", "url": "", "routing_key": "r"},
    {"type": "opsgenie", "url": "", "api_key": "k"},
    {"type": "alertmanager", "url": ""},
]


@pytest.mark.parametrize("given", CHANNELS, ids=lambda given: f"{given['type']}-{'token' in given}")
async def test_answers_that_no_service_gives(
    given: dict[str, Any], service: Any, alert: Callable[..., Alert], row: Callable[..., OutboxRow]
) -> None:
    """A web page is no acceptance, it is tried again; an answer that cannot be read raises nothing."""
    places = ("url", "api", "homeserver")
    address: dict[str, Any] = {name: service.url + given[name] for name in places if name in given}
    channel = make_channel({**given, **address})
    try:
        waiting = row(body=channel.render(alert(), NOW), kind="incident.opened", incident_id="i1")
        service.script = [(200, {"Content-Type": "text/html"}, PAGE)]
        receipt = await channel.send(waiting, NOW)
        assert (receipt.outcome, receipt.reason) == (Outcome.RETRY, Reason.SERVER_ERROR)
        for status in (200, 400, 429):
            service.script = [(status, {}, DEEP)] * 3
            await channel.send(waiting, NOW)
    finally:
        await channel.aclose()
