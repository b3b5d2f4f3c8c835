"""Opsgenie, and Jira Service Management that takes its place, through the Alert API v2.

https://docs.opsgenie.com/docs/alert-api (create), https://docs.opsgenie.com/docs/alert-api-continued (close, notes,
priority), https://docs.opsgenie.com/docs/api-rate-limiting; Jira Service Management takes the same requests:
https://support.atlassian.com/jira-service-management-cloud/docs/create-alerts-using-api-integration/.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from yarl import URL

from alerts.base import ChannelTraits, Receipt
from alerts.chat import said
from alerts.html import TemplateEscape
from alerts.http import Answer, HttpSender, receipt_of
from alerts.message import Message, message_of
from alerts.options import Options
from alerts.phase import is_over, problem_key
from alerts.plain import inert
from alerts.template import Templates
from alerts.text import encodable, within
from monitor.ids import canonical_json
from monitor.model import Alert, Outcome
from monitor.store import OutboxRow

__all__ = ["OpsgenieChannel"]

REGIONS = {
    "us": "https://api.opsgenie.com",
    "eu": "https://api.eu.opsgenie.com",
    "jsm": "https://api.atlassian.com/jsm/ops/integration",
}
MESSAGE_CHARACTERS = 130
DESCRIPTION_CHARACTERS = 15_000
NOTE_CHARACTERS = 25_000
DETAILS_CHARACTERS = 8_000  # of names and values together
TAG_CHARACTERS = 50
TAGS = 20
ENTITY_CHARACTERS = 512
_PRIORITIES = {"critical": "P1", "high": "P2", "medium": "P3", "low": "P4", "info": "P5"}
_MONITOR_PRIORITY = "P2"
_SOURCE = "heistwatch"

_OPTIONS = ("api_key", "region", "url", "tags", "timeout", "template")


class OpsgenieChannel(ChannelTraits):
    """Creates an alert for each incident, notes what follows, and closes it when the incident is over.

    Options
    -------
    api_key : key of an API integration
    region : ``us`` (the default), ``eu``, or ``jsm`` for Jira Service Management
    url : another address than the region's, without ``/v2/alerts``
    tags : further tags of every alert
    timeout : seconds for a whole attempt, 10 unless told
    template : ``{title, body}``: own words for message and description

    The incident's id is the alert's alias. ``opened`` creates it with a priority from P1 (critical) to P5 (info),
    ``escalated`` and reminders create it again, which counts up the alert that is open, raise its priority and add a
    note, ``updated`` adds a note. ``resolved`` and ``retracted`` close it with the last words as a note. A drill has an
    alias of its own and the tag ``DRILL``.

    Opsgenie takes requests (202) before it carries them out. Any answer but that is read as `alerts.http` says.
    """

    type = "opsgenie"
    templated = True
    machine = True

    def __init__(self, options: Mapping[str, Any]) -> None:
        given = Options(self.type, options, _OPTIONS)
        self._key = given.text("api_key", required=True)
        if not self._key.isascii() or not self._key.isprintable():
            given.wrong("api_key holds characters that no key has")
        region = given.choice("region", tuple(REGIONS), "us")
        base = given.address("url", REGIONS[region])
        self._tags = [within(tag, TAG_CHARACTERS) for tag in given.texts("tags")][: TAGS - 5]
        timeout = given.seconds("timeout", 10.0, 120.0)
        own = given.mapping("template")
        given.check()
        self._base = URL(str(base).rstrip("/"))
        self._escape = TemplateEscape(markup=False, harmless=inert)
        self._templates = Templates(own, self._escape)
        self._sender = HttpSender(timeout)

    def __repr__(self) -> str:
        return f"OpsgenieChannel(host={self._base.host!r})"

    def render(self, alert: Alert, queued_at: float) -> bytes:
        """The requests of this message, in order; repeating them all does no harm but a second note."""
        message = message_of(alert, queued_at)
        requests = list(self._requests(alert, message, problem_key(alert)))
        return canonical_json(encodable({"requests": requests}))

    def preview(self, body: bytes) -> str:
        """The requests, indented."""
        return json.dumps(json.loads(body)["requests"], indent=2, ensure_ascii=False)

    async def send(self, row: OutboxRow, now: float) -> Receipt:
        """One attempt: every request, until one is not accepted."""
        receipt = None
        for request in json.loads(row.body)["requests"]:
            url = URL(f"{self._base}/v2/alerts{request['path']}", encoded=True)
            answer = await self._sender.request(
                request["method"],
                url,
                body=canonical_json(request["body"]),
                headers={"Content-Type": "application/json", "Authorization": f"GenieKey {self._key}"},
            )
            if isinstance(answer, Receipt):
                return answer
            host = self._base.host or ""
            next_receipt = receipt_of(host, answer, now, _request_id(answer), _throttle(answer), page=False)
            if next_receipt.outcome is not Outcome.ACCEPTED:
                return next_receipt
            receipt = receipt or next_receipt
        assert receipt is not None  # every message has a request
        return receipt

    async def probe(self, now: float) -> Receipt:
        """Whether the server answers: what more can be asked depends on what the key may do."""
        return await self._sender.reach(self._base)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._sender.aclose()

    def _requests(self, alert: Alert, message: Message, alias: str) -> Iterator[dict[str, Any]]:
        place = f"/{quote(alias, safe='')}"
        note = {"note": within(self._words(message), NOTE_CHARACTERS), "source": _SOURCE}
        kind = alert.type.partition(".")[2]
        if is_over(alert):
            yield {"method": "POST", "path": f"{place}/close?identifierType=alias", "body": note}
            return
        if kind != "updated":
            yield {"method": "POST", "path": "", "body": self._creation(message, alias)}
        if kind in ("escalated", "reminder"):
            priority = {"priority": _priority(message)}
            yield {"method": "PUT", "path": f"{place}/priority?identifierType=alias", "body": priority}
        if kind in ("updated", "escalated", "reminder"):
            yield {"method": "POST", "path": f"{place}/notes?identifierType=alias", "body": note}

    def _creation(self, message: Message, alias: str) -> dict[str, Any]:
        drill = ["DRILL"] if message.drill else []
        own = ["heistwatch", *drill, message.severity or "monitor", *self._tags]
        return {
            "message": within(self._escape.applied(self._templates.title, message) or "", MESSAGE_CHARACTERS),
            "alias": alias,
            "description": within(self._words(message), DESCRIPTION_CHARACTERS),
            "entity": within(message.entity, ENTITY_CHARACTERS),
            "priority": _priority(message),
            "tags": own[:TAGS],
            "details": _details(message),
            "source": _SOURCE,
        }

    def _words(self, message: Message) -> str:
        own = self._escape.applied(self._templates.body, message)
        if own is not None:
            return f"DRILL\n\n{own}" if message.drill and "DRILL" not in own else own  # a note has no title
        keep = message.entity
        facts = [f"{fact.name}: {inert(fact.value, keep)} {fact.url}".rstrip() for fact in message.facts]
        actions = [f"{action.label}: {action.url}" for action in message.actions]
        title, lines = inert(message.title, keep), inert("\n".join(message.lines), keep)
        parts = [title, lines, "\n".join(facts), "\n".join(actions), message.runbook]
        return "\n\n".join(part for part in parts if part)


def _priority(message: Message) -> str:
    return _PRIORITIES.get(message.severity or "", _MONITOR_PRIORITY)


def _details(message: Message) -> dict[str, str]:
    """Names and values, as many as fit."""
    fields = {"type": message.type, "incident": message.incident_id, "revision": str(message.revision)}
    fields |= {action.label: action.url for action in message.actions}
    for fact in message.facts:
        value = inert(fact.value, message.entity)
        fields[fact.name] = f"{fields[fact.name]}, {value}" if fact.name in fields else value
    details: dict[str, str] = {}
    left = DETAILS_CHARACTERS
    for name, value in fields.items():
        left -= len(name) + len(value)
        if left < 0:
            break
        if value:
            details[name] = value
    return details


def _request_id(answer: Answer) -> str | None:
    found = said(answer).get("requestId")
    return found[:100] if isinstance(found, str) and found.isascii() and found.isprintable() else None


def _throttle(answer: Answer) -> float | None:
    """Seconds that a refusal for haste names in its own header."""
    text = answer.headers.get("X-RateLimit-Period-In-Sec", "")
    return float(text) if answer.status == 429 and text.isascii() and text.isdigit() and len(text) < 6 else None
