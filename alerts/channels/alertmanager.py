"""Prometheus Alertmanager through its API v2, for those who have their routes there.

https://prometheus.io/docs/alerting/latest/alerts_api/ and
https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping
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
from alerts.text import clean, encodable, within
from monitor.ids import canonical_json, iso
from monitor.model import Alert, Severity
from monitor.store import OutboxRow

__all__ = ["AlertmanagerChannel"]

RESOLVE_AFTER = 86_400.0
LABEL_CHARACTERS = 500
ANNOTATION_CHARACTERS = 15_000
_MONITOR_SEVERITY = str(Severity.HIGH)
_SEVERITIES = tuple(str(severity) for severity in Severity)
_TOKEN = re.compile(r"[\x21-\x7e]+")

_OPTIONS = ("url", "username", "password", "token", "resolve_after", "timeout", "template")


class AlertmanagerChannel(HttpChannel):
    """Posts each incident as an alert that fires until the incident is over.

    Options
    -------
    url : of Alertmanager, with its path prefix where it has one; ``/api/v2/alerts`` is added where it is not there
    username, password : for basic authentication
    token : for ``Authorization: Bearer``
    resolve_after : seconds after the last message at which Alertmanager takes the alert as resolved, 86400 unless told
    timeout : seconds for a whole attempt, 10 unless told
    template : ``{title, body}``: own words for the annotations ``summary`` and ``description``

    Labels: ``alertname`` (``HeistwatchIncident``, or ``HeistwatchMonitor`` where the monitor speaks of itself),
    ``entity``, ``severity``, ``wallet``, ``incident`` and ``drill``. Everything else is an annotation.

    Alertmanager tells alerts apart by their labels alone. So ``wallet`` stays what it was in the incident's first
    message (the annotation ``wallets`` follows), and with each message the same alert of every other severity is
    resolved: one that escalates does not fire twice. Alertmanager keeps alerts in memory and expects them to be sent
    again and again; messages here are sent once, so their ``endsAt`` lies ``resolve_after`` ahead, and an Alertmanager
    that was restarted without its peers shows an incident again with its next message only.
    """

    type = "alertmanager"
    templated = True
    machine = True
    threads = True  # the first message's wallets come back as `OutboxRow.reply_to`

    def __init__(self, options: Mapping[str, Any]) -> None:
        given = Options(self.type, options, _OPTIONS)
        base = given.address("url", required=True)
        self._authorization = _authorization(given, base)
        self._resolve_after = given.seconds("resolve_after", RESOLVE_AFTER, 30 * 86_400.0)
        timeout = given.seconds("timeout", 10.0, 120.0)
        own = given.mapping("template")
        given.check()
        path = base.path.rstrip("/")
        self._url = base.with_path(path if path.endswith("/api/v2/alerts") else f"{path}/api/v2/alerts")
        self._escape = TemplateEscape(markup=False, harmless=inert)
        self._templates = Templates(own, self._escape)
        self._sender = HttpSender(timeout)

    def render(self, alert: Alert, queued_at: float) -> bytes:
        """The list of alerts to post: this one, and the same of the other severities as resolved."""
        return canonical_json(encodable(list(self._alerts(alert, queued_at))))

    def preview(self, body: bytes) -> str:
        """The alert, indented, without those that only resolve other severities."""
        return json.dumps(json.loads(body)[0], indent=2, ensure_ascii=False)

    async def send(self, row: OutboxRow, now: float) -> Receipt:
        """One attempt."""
        alerts = json.loads(row.body)
        wallet = row.reply_to or alerts[0]["labels"].get("wallet", "")
        if wallet:
            for alert in alerts:
                alert["labels"]["wallet"] = wallet
        headers = {"Content-Type": "application/json", **self._authorization}
        answer = await self._sender.request("POST", self._url, body=canonical_json(alerts), headers=headers)
        if isinstance(answer, Receipt):
            return answer
        return receipt_of(self._url.host or "", answer, now, wallet or None, page=False)

    async def probe(self, now: float) -> Receipt:
        """Whether it is ready and lets us in (``GET /api/v2/status``)."""
        answer = await self._sender.request("GET", self._url.parent / "status", headers=self._authorization)
        return answer if isinstance(answer, Receipt) else receipt_of(self._url.host or "", answer, now, page=False)

    def _alerts(self, alert: Alert, queued_at: float) -> Iterator[dict[str, Any]]:
        message = message_of(alert, queued_at)
        over = is_over(alert)
        labels = _labels(alert, message)
        made: dict[str, Any] = {
            "labels": labels,
            "annotations": self._annotations(alert, message),
            "startsAt": iso(queued_at - 1.0),  # a beginning that is not before the end is refused
            "endsAt": iso(queued_at if over else queued_at + self._resolve_after),
        }
        if alert.links.get("incident"):
            made["generatorURL"] = alert.links["incident"]
        yield made
        if message.severity is None:
            return
        for severity in _SEVERITIES:
            if severity != labels["severity"]:
                ended = {"startsAt": made["startsAt"], "endsAt": iso(queued_at)}
                yield {"labels": {**labels, "severity": severity}, **ended}

    def _annotations(self, alert: Alert, message: Message) -> dict[str, str]:
        own = self._escape.applied(self._templates.body, message)
        facts: dict[str, str] = {}
        for fact in message.facts:
            name = re.sub(r"[^a-z0-9]+", "_", fact.name.lower()).strip("_")
            text = inert(fact.value, message.entity)
            value = f"{text} {fact.url}" if fact.url else text
            facts[name] = f"{facts[name]}\n{value}" if name in facts else value
        annotations = {
            **facts,
            **{re.sub(r"\W+", "_", action.label.lower()): action.url for action in message.actions},
            "summary": self._escape.applied(self._templates.title, message) or "",
            "description": own if own is not None else inert("\n".join(message.lines), message.entity),
            "runbook": message.runbook,
            "type": message.type,
            "revision": str(message.revision),
        }
        return {name: within(value, ANNOTATION_CHARACTERS) for name, value in annotations.items() if value}


def _labels(alert: Alert, message: Message) -> dict[str, str]:
    """What the alert is known by. Alertmanager drops labels without a value."""
    labels = {
        "alertname": "HeistwatchMonitor" if message.type.startswith("monitor.") else "HeistwatchIncident",
        "entity": message.entity,
        "severity": message.severity or _MONITOR_SEVERITY,
        "wallet": clean(alert.labels.get("wallet", "")),
        "incident": problem_key(alert),
        "drill": str(message.drill).lower(),
    }
    return {name: within(value, LABEL_CHARACTERS) for name, value in labels.items() if value}


def _authorization(given: Options, base: URL) -> dict[str, str]:
    username, password, token = given.text("username"), given.text("password"), given.text("token")
    if sum((bool(username or password), bool(token), base.user is not None)) > 1:
        given.wrong("username and password, token, and a user name in the address: keep one of them")
    if token:
        if not _TOKEN.fullmatch(token):
            given.wrong("token holds characters that HTTP does not allow")
            return {}
        return {"Authorization": f"Bearer {token}"}
    if bool(username) != bool(password):
        given.wrong("username and password belong together")
    if username and password:
        return {"Authorization": f"Basic {base64.b64encode(f'{username}:{password}'.encode()).decode()}"}
    return {}
