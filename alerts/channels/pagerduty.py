"""PagerDuty through its Events API v2.

https://developer.pagerduty.com/docs/send-alert-event (fields and their limits, answers) and
https://github.com/PagerDuty/api-schema/blob/main/reference/events-v2/openapiv3.json.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from yarl import URL

from alerts.base import Receipt
from alerts.html import TemplateEscape
from alerts.http import HttpChannel, HttpSender, receipt_of
from alerts.message import Message, message_of
from alerts.options import Options
from alerts.phase import is_over, problem_key
from alerts.plain import inert
from alerts.template import Templates
from alerts.text import encodable, within
from monitor.ids import canonical_json
from monitor.model import Alert
from monitor.store import OutboxRow

__all__ = ["PagerDutyChannel"]

REGIONS = {"us": "https://events.pagerduty.com/v2/enqueue", "eu": "https://events.eu.pagerduty.com/v2/enqueue"}
SUMMARY_CHARACTERS = 1024
SOURCE_CHARACTERS = 200
DETAILS_BYTES = 200_000  # an event has 512 kB in all
_LEVELS = {"critical": "critical", "high": "error", "medium": "warning", "low": "info", "info": "info"}

_OPTIONS = ("routing_key", "region", "url", "timeout", "template")


class PagerDutyChannel(HttpChannel):
    """Triggers an alert for each incident and resolves it when the incident is over.

    Options
    -------
    routing_key : integration key of an "Events API v2" integration, of a service or of a rule set
    region : ``us`` (the default) or ``eu``
    url : another address than the region's
    timeout : seconds for a whole attempt, 10 unless told
    template : ``{title, body}``: own words for the summary and the text in the details

    All messages of an incident carry its id as ``dedup_key``, so that PagerDuty shows one alert: what comes after the
    first (growth, reminders) is added to it, and pages nobody anew while it is open or acknowledged there. Trouble of
    the monitor itself (``monitor.blind``) is an alert of its own, resolved by ``monitor.recovered``. A drill has a key
    of its own, ``DRILL`` in its summary, and is resolved when it ends.

    202 is an acceptance, 429 and 5xx are tried again; 400 (a wrong key, say) is a dead letter.
    """

    type = "pagerduty"
    templated = True
    machine = True
    rate: float | None = 2.0  # https://support.pagerduty.com/main/docs/service-limits: 120 events a minute and key

    def __init__(self, options: Mapping[str, Any]) -> None:
        given = Options(self.type, options, _OPTIONS)
        self._key = given.text("routing_key", required=True)
        region = given.choice("region", tuple(REGIONS), "us")
        self._url: URL = given.address("url", REGIONS[region])
        timeout = given.seconds("timeout", 10.0, 120.0)
        own = given.mapping("template")
        given.check()
        self._escape = TemplateEscape(markup=False, harmless=inert)
        self._templates = Templates(own, self._escape)
        self._sender = HttpSender(timeout)

    def render(self, alert: Alert, queued_at: float) -> bytes:
        """The event without its key, which is a secret and joins it when it is sent."""
        event: dict[str, Any] = {
            "event_action": "resolve" if is_over(alert) else "trigger",
            "dedup_key": problem_key(alert),
        }
        message = message_of(alert, queued_at)
        event["payload"] = self._payload(message)
        if message.actions:
            event["links"] = [{"href": action.url, "text": action.label} for action in message.actions]
        event["client"] = "heistwatch"
        if alert.links.get("incident"):
            event["client_url"] = alert.links["incident"]
        return canonical_json(encodable(event))

    def preview(self, body: bytes) -> str:
        """The event, indented, without its key."""
        return json.dumps(json.loads(body), indent=2, ensure_ascii=False)

    async def send(self, row: OutboxRow, now: float) -> Receipt:
        """One attempt."""
        event = {**json.loads(row.body), "routing_key": self._key}
        headers = {"Content-Type": "application/json"}
        answer = await self._sender.request("POST", self._url, body=canonical_json(event), headers=headers)
        if isinstance(answer, Receipt):
            return answer
        return receipt_of(self._url.host or "", answer, now, event["dedup_key"], page=False)

    def _payload(self, message: Message) -> dict[str, Any]:
        own = self._escape.applied(self._templates.body, message)
        title = self._escape.applied(self._templates.title, message) or ""
        details: dict[str, Any] = _table(message)
        details["explanation"] = own if own is not None else inert("\n".join(message.lines), message.entity)
        if message.runbook:
            details["runbook"] = message.runbook
        details.update({"type": message.type, "revision": message.revision, "drill": message.drill})
        payload: dict[str, Any] = {
            "summary": within(title, SUMMARY_CHARACTERS),
            "source": within(message.entity, SOURCE_CHARACTERS) or "heistwatch",
            "severity": _LEVELS.get(message.severity or "", "error"),
            "timestamp": message.at,
            "component": message.incident_id or "heistwatch",
            "group": "drill" if message.drill else message.type.partition(".")[0],
            "class": message.type,
            "custom_details": details,
        }
        if len(canonical_json(encodable(details))) > DETAILS_BYTES:
            payload["custom_details"] = {"explanation": within(details["explanation"], DETAILS_BYTES // 8)}
        return payload


def _table(message: Message) -> dict[str, Any]:
    """The facts by name; a name that comes several times has a list."""
    table: dict[str, Any] = {}
    for fact in message.facts:
        text = inert(fact.value, message.entity)
        value = f"{text} {fact.url}" if fact.url else text
        if fact.name in table:
            before = table[fact.name]
            table[fact.name] = [*before, value] if isinstance(before, list) else [before, value]
        else:
            table[fact.name] = value
    return table
