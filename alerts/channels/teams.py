"""Microsoft Teams: an Adaptive Card to the webhook of a workflow.

What is relied on, from Microsoft's documentation:

- https://support.microsoft.com/office/create-incoming-webhooks-with-workflows-for-microsoft-teams (the webhook)
- https://learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors/how-to/add-incoming-webhook (the envelope,
  28 KB, four requests a second; connectors that answer 200 with an error in words)
- https://learn.microsoft.com/microsoftteams/platform/task-modules-and-cards/cards/cards-reference (cards up to 1.5)
- https://adaptivecards.io/explorer (`RichTextBlock`, `FactSet`, `Container` styles, `Action.OpenUrl`)
- https://learn.microsoft.com/adaptive-cards/authoring-cards/text-features (Markdown in `TextBlock` and facts, none in
  `RichTextBlock`)
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from typing import Any

from alerts.base import Receipt
from alerts.chat import JSON, Templated, picture, texts
from alerts.http import Answer, HttpChannel, HttpSender, receipt_of
from alerts.markup import address_of, fitted, lines_within, teams, teams_plain
from alerts.message import Fact, Message, message_of
from alerts.options import Options
from alerts.plain import footer
from monitor.ids import canonical_json
from monitor.model import Alert, Outcome, Reason
from monitor.store import OutboxRow

__all__ = ["TeamsChannel"]

MOST_BYTES = 27_000  # of 28 KB: what the workflow adds is not known
ACTIONS = 6  # that Teams shows

_OPTIONS = ("url", "timeout", "template")
_STYLES = {"critical": "attention", "high": "attention", "medium": "warning", "low": "accent"}
_OVER = {"resolved": "good", "recovered": "good", "retracted": "emphasis"}
_ROOMS = ((6000, 500), (3000, 300), (1500, 120), (600, 60))  # characters for the text, and for a fact
_FAILED = re.compile(rb"delivery failed|returned HTTP error", re.IGNORECASE)
_BEHIND = re.compile(rb"HTTP error (\d{3})", re.IGNORECASE)


class TeamsChannel(HttpChannel):
    """Posts to one Teams channel or chat.

    Options
    -------
    url : address of the webhook ("When a Teams webhook request is received"); those of old connectors work, too
    timeout : seconds for a whole attempt, 10 unless told
    template : ``title`` and ``body`` (Markdown of Adaptive Cards)

    A webhook of Teams tells no id, so that every message stands alone. A workflow answers 202 before it posts: what
    fails after that is in its run history. The chart is in the card where all of it stays below 28 KB.
    """

    type = "teams"
    templated = True
    rate = 4.0

    def __init__(self, options: Mapping[str, Any]) -> None:
        given = Options(self.type, options, _OPTIONS)
        self._url = given.address("url", required=True)
        timeout = given.seconds("timeout", 10.0, 120.0)
        self._templates = Templated(given, teams)
        given.check()
        self._sender = HttpSender(timeout)

    def render(self, alert: Alert, queued_at: float) -> bytes:
        """The card in its envelope, as rich as fits."""
        message, chart = message_of(alert, queued_at), picture(alert)
        body = b""
        for image in (chart, None) if chart is not None else (None,):
            for most, each in _ROOMS:
                body = canonical_json(_envelope(self._card(message, image, most, each)))
                if len(body) <= MOST_BYTES:
                    return body
                if image is not None:
                    break  # rather without the chart than without words
        return body

    def preview(self, body: bytes) -> str:
        """The card as text, in its Markdown."""
        card = json.loads(body)["attachments"][0]["content"]
        return "\n".join((*_readable(card["body"]), *(f"[{a['title']}] {a['url']}" for a in card.get("actions", ()))))

    async def send(self, row: OutboxRow, now: float) -> Receipt:
        """One attempt."""
        answer = await self._sender.request("POST", self._url, body=row.body, headers=JSON)
        return answer if isinstance(answer, Receipt) else _meaning(self.host, answer, now)

    def _card(self, message: Message, chart: bytes | None, most: int, each: int) -> dict[str, Any]:
        own = self._templates.body(message, most)
        body = [self._head(message, each)]
        if own is not None:
            body.append({"type": "TextBlock", "text": own, "wrap": True})
        else:
            if facts := [_fact(fact, each) for fact in message.facts]:
                body.append({"type": "FactSet", "facts": facts})
            lines = lines_within(list(texts(message)), most, teams_plain).split("\n")
            body += [_run(line) for line in lines if line.strip()]
        if chart is not None:
            url = f"data:image/png;base64,{base64.b64encode(chart).decode()}"
            body.append({"type": "Image", "url": url, "altText": "what left, against the usual", "size": "stretch"})
        body.append(_run(fitted(footer(message), 300, teams_plain), size="small", isSubtle=True))
        urls = ((action.label, address_of(action.url)) for action in message.actions)
        actions = [{"type": "Action.OpenUrl", "title": label, "url": url} for label, url in urls if url]
        return {
            "type": "AdaptiveCard",
            "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
            "version": "1.5",
            "fallbackText": fitted(message.title, 300, teams_plain),
            "msteams": {"width": "Full"},
            "body": body,
            **({"actions": actions[:ACTIONS]} if actions else {}),
        }

    def _head(self, message: Message, each: int) -> dict[str, Any]:
        style = _OVER.get(message.type.partition(".")[2]) or _STYLES.get(message.severity or "", "emphasis")
        text: dict[str, Any] = _run(fitted(message.title, max(each, 200), teams_plain), size="large", weight="bolder")
        if self._templates.has_title:
            title = self._templates.title(message, max(each, 200))
            text = {"type": "TextBlock", "text": title, "size": "large", "weight": "bolder", "wrap": True}
        return {"type": "Container", "style": style, "bleed": True, "items": [text]}


def _envelope(card: Mapping[str, Any]) -> dict[str, Any]:
    content = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}
    return {"type": "message", "attachments": [content]}


def _run(text: str, **style: Any) -> dict[str, Any]:
    """A line without any markup, by the one element that knows none."""
    return {"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": text or "-", **style}]}


def _fact(fact: Fact, each: int) -> dict[str, str]:
    value, url = fitted(fact.value or "-", each, teams), address_of(fact.url)
    return {"title": fitted(fact.name, 60, teams), "value": f"[{value}]({url})" if url and len(url) <= 400 else value}


def _meaning(host: str, answer: Answer, now: float) -> Receipt:
    """What an answer means; connectors tell with status 200 that Teams itself refused."""
    if not (200 <= answer.status < 300 and _FAILED.search(answer.body)):
        return receipt_of(host, answer, now, answer.headers.get("x-ms-workflow-run-id"), page=False)
    behind = _BEHIND.search(answer.body)
    status = int(behind[1]) if behind else 500
    inner = receipt_of(host, Answer(status, answer.headers), now)
    if inner.outcome is Outcome.ACCEPTED:  # it said "failed": whatever the number is, nobody has the message
        inner = Receipt(Outcome.RETRY, Reason.SERVER_ERROR)
    return Receipt(inner.outcome, inner.reason, inner.retry_after,
                   detail=f"{host} answered {answer.status}, but Teams answered {status} behind it")  # fmt: skip


def _readable(elements: list[dict[str, Any]]) -> list[str]:
    lines: list[str] = []
    for element in elements:
        lines += _readable(element.get("items", []))
        lines += [run["text"] for run in element.get("inlines", ())]
        lines += [f"{fact['title']}: {fact['value']}" for fact in element.get("facts", ())]
        lines += [element["text"]] if "text" in element else []
        lines += ["[chart]"] if element["type"] == "Image" else []
    return lines
