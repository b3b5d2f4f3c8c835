"""Discord: by a webhook of a channel, with the chart as a picture in the message.

What is relied on, from Discord's documentation:

- https://docs.discord.com/developers/resources/webhook (execute with ``wait``, edit, ``thread_id``, ``thread_name``)
- https://docs.discord.com/developers/resources/message (embeds and their limits, allowed mentions)
- https://docs.discord.com/developers/reference (uploading files, message formatting)
- https://docs.discord.com/developers/topics/rate-limits (``retry_after`` in the body, ``X-RateLimit`` headers; five
  messages in two seconds a webhook)
- https://docs.discord.com/developers/topics/opcodes-and-status-codes (error codes in the body)
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from alerts.base import Receipt
from alerts.chat import JSON, Templated, multipart, news, picture, said, texts
from alerts.http import Answer, HttpChannel, HttpSender, receipt_of
from alerts.markup import address_of, discord, fitted, lines_within, units
from alerts.message import Fact, Message, message_of
from alerts.options import Options
from alerts.plain import footer
from monitor.ids import canonical_json
from monitor.model import Alert, Outcome, Reason
from monitor.store import OutboxRow

__all__ = ["DiscordChannel"]

CONTENT, NAME, VALUE, FOOTER, THREAD = 2000, 256, 1024, 2048, 100  # characters
DESCRIPTION, LINKS = 4096, 950
EMBED = 6000  # all texts of the embeds together
FIELDS = 25
FIELDS_TOGETHER = 2600  # characters: the rest is for the description

_OPTIONS = ("url", "thread", "forum", "timeout", "template")
_PLACE = re.compile(r"(\d*)/(\d+)")
_FORM = 50035  # invalid form body
_UNKNOWN = {10003: Reason.GONE, 10015: Reason.GONE, 50027: Reason.AUTH}  # channel, webhook; invalid webhook token
_LOST = {10003, 10008}  # the thread or the message that is answered was deleted


class DiscordChannel(HttpChannel):
    """Posts to one Discord channel.

    Options
    -------
    url : address of the webhook
    thread : id of a thread of its channel, for all messages
    forum : its channel is a forum: each incident is a post of its own there, and later messages are answers in it;
        false unless told
    timeout : seconds for a whole attempt, 10 unless told
    template : ``title`` and ``body`` (Discord's Markdown)

    A webhook cannot answer a message. So small updates edit the incident's first message, and everything that must be
    heard (growth, an end, a retraction) is a message of its own. A form that Discord refuses goes once more as plain
    text.
    """

    type = "discord"
    templated = True
    threads = True
    rate = 2.5

    def __init__(self, options: Mapping[str, Any]) -> None:
        given = Options(self.type, options, _OPTIONS)
        self._url = given.address("url", required=True)
        self._thread = given.text("thread")
        self._forum = given.flag("forum")
        if self._thread and not self._thread.isdecimal():
            given.wrong("thread must be the id of a thread, digits in quotes")
        if self._thread and self._forum:
            given.wrong("thread and forum contradict each other: keep one of them")
        timeout = given.seconds("timeout", 10.0, 120.0)
        self._templates = Templated(given, discord)
        given.check()
        self._sender = HttpSender(timeout)

    def render(self, alert: Alert, queued_at: float) -> bytes:
        """The message as an embed with its chart, and as plain text should Discord refuse that."""
        message = message_of(alert, queued_at)
        chart = picture(alert)
        title = self._templates.title(message, CONTENT)
        embed = _embed(message, self._templates.body(message, DESCRIPTION - LINKS - 2))
        quiet: dict[str, Any] = {"allowed_mentions": {"parse": []}}
        form: dict[str, Any] = {**quiet, "content": title, "embeds": [embed], "attachments": []}
        if chart is not None:
            embed["image"] = {"url": "attachment://chart.png"}
            form["attachments"] = [{"id": 0, "filename": "chart.png", "description": "what left, against the usual"}]
        frozen = {
            "message": form,
            "plain": {**quiet, "content": _plain(message)},
            "thread": fitted(message.title, THREAD),
            "chart": "" if chart is None else base64.b64encode(chart).decode(),
        }
        return canonical_json(frozen)

    def preview(self, body: bytes) -> str:
        """The message as text, in Discord's Markdown."""
        frozen = json.loads(body)
        embed = frozen["message"]["embeds"][0]
        fields = (f"{field['name']}: {field['value']}" for field in embed.get("fields", ()))
        chart = ("[chart]",) if frozen["chart"] else ()
        return "\n".join((frozen["message"]["content"], *fields, embed["description"], *chart, embed["footer"]["text"]))

    async def send(self, row: OutboxRow, now: float) -> Receipt:
        """One attempt: a new message, or the first message of the incident in its newest form."""
        frozen = json.loads(row.body)
        place = _PLACE.fullmatch(row.reply_to or "")
        receipt, code = await self._attempt(frozen, place, news(row), now)
        if place and receipt.outcome is Outcome.REJECTED and (code in _LOST or receipt.detail.endswith(" 404")):
            receipt, code = await self._attempt(frozen, None, news(row), now)
        if code == _FORM:
            again = {**frozen, "message": frozen["plain"], "chart": ""}
            receipt, _ = await self._attempt(again, None, news(row), now)
            receipt = replace(receipt, detail=f"{receipt.detail}, as plain text: its form was refused ({code})")
        return receipt

    async def probe(self, now: float) -> Receipt:
        """Whether the webhook is there: Discord shows it to whoever has its address."""
        answer = await self._sender.request("GET", self._url)
        return answer if isinstance(answer, Receipt) else _meaning(self.host, answer, now)[0]

    async def _attempt(
        self, frozen: Mapping[str, Any], place: re.Match[str] | None, what: str, now: float
    ) -> tuple[Receipt, int]:
        """One request: what came of it, and Discord's code for the error where it told one."""
        form, method, url = dict(frozen["message"]), "POST", self._url
        query = {"wait": "true", **({"thread_id": self._thread} if self._thread else {})}
        if self._forum and place:
            query["thread_id"] = place[1] or place[2]
        elif self._forum:
            form["thread_name"] = frozen["thread"]
        elif place and what == "updated":
            method, url = "PATCH", (url / "messages" / place[2]).with_query(url.query)
            del query["wait"]
        body, headers = canonical_json(form), JSON
        if frozen["chart"]:
            fields = {"payload_json": canonical_json(form).decode()}
            body, headers = multipart(fields, "files[0]", base64.b64decode(frozen["chart"]))
        answer = await self._sender.request(method, url.update_query(query), body=body, headers=headers)
        return (answer, 0) if isinstance(answer, Receipt) else _meaning(self.host, answer, now)


def _meaning(host: str, answer: Answer, now: float) -> tuple[Receipt, int]:
    told = said(answer)
    code = told.get("code")
    code = code if isinstance(code, int) and not isinstance(code, bool) else 0
    place = None
    if str(told.get("id", "")).isdecimal():
        channel = str(told.get("channel_id", ""))
        place = f"{channel if channel.isdecimal() else ''}/{told['id']}"
    receipt = receipt_of(host, answer, now, place, _pause(answer, told), page=False)
    if receipt.outcome is not Outcome.REJECTED or not code:
        return receipt, code
    return replace(receipt, reason=_UNKNOWN.get(code, receipt.reason), detail=f"{receipt.detail}, code {code}"), code


def _pause(answer: Answer, told: Mapping[str, Any]) -> float | None:
    """Seconds to wait: the body knows fractions, and the header of the bucket is there where the body is not JSON."""
    for value in (told.get("retry_after"), answer.headers.get("X-RateLimit-Reset-After")):
        try:
            seconds = float(value)  # type: ignore[arg-type]  # None and nonsense are what the except is for
        except (TypeError, ValueError):
            continue
        if answer.status == 429 and math.isfinite(seconds) and seconds >= 0:
            return seconds
    return None


def _embed(message: Message, own: str | None) -> dict[str, Any]:
    fields = [] if own is not None else list(_fields(message))
    links = _links(message)
    foot = fitted(footer(message), FOOTER // 4)
    used = sum(units(field["name"]) + units(field["value"]) for field in fields) + units(foot) + units(links) + 2
    room = min(DESCRIPTION - units(links) - 2, EMBED - used)
    text = lines_within(list(texts(message)), room, discord) if own is None else own
    return {
        "description": "\n\n".join(part for part in (text, links) if part) or "-",
        "color": int(message.colour[1:], 16),
        "fields": fields,
        "footer": {"text": foot},
        "timestamp": message.at,
    }


def _links(message: Message) -> str:
    """Buttons are for applications alone: as many links as fit."""
    links = ""
    for action in message.actions:
        url = address_of(action.url)
        more = f"{links} · [{discord(action.label)}]({url})" if links else f"[{discord(action.label)}]({url})"
        if url and units(more) <= LINKS:
            links = more
    return links


def _fields(message: Message) -> Iterator[dict[str, Any]]:
    used = 0
    for place, fact in enumerate(message.facts):
        name, value = fitted(fact.name, NAME, discord), _value(fact)
        used += units(name) + units(value)
        if place == FIELDS - 1 or used > FIELDS_TOGETHER:
            yield {"name": "more", "value": f"{len(message.facts) - place} facts left out", "inline": False}
            return
        yield {"name": name, "value": value, "inline": len(fact.value) <= 40}


def _value(fact: Fact) -> str:
    value, url = fitted(fact.value or "-", VALUE // 2, discord), address_of(fact.url)
    return f"[{value}]({url})" if url and units(value) + len(url) + 4 <= VALUE else value


def _plain(message: Message) -> str:
    urls = [url for action in message.actions if len(url := address_of(action.url)) <= 500 and url]
    facts = (f"{fact.name}: {fact.value}" for fact in message.facts)
    room = CONTENT - sum(len(url) + 3 for url in urls[:2])
    text = lines_within([message.title, *texts(message), *facts], room, discord)
    return "\n".join((text, *(f"<{url}>" for url in urls[:2])))
