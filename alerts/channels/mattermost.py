"""Mattermost: by an incoming webhook, or as a bot that answers in the thread of the incident's first message.

What is relied on, from Mattermost's documentation:

- https://developers.mattermost.com/integrate/webhooks/incoming/ (the webhook's fields)
- https://developers.mattermost.com/integrate/reference/message-attachments/ (colour, fields; where mentions count)
- https://api.mattermost.com/#tag/posts/operation/CreatePost (posts of a bot, ``root_id``, errors as JSON)
- https://api.mattermost.com/#tag/files/operation/UploadFile (a chart, then its id in the post)
- https://docs.mattermost.com/end-user-guide/collaborate/format-messages.html (Markdown; code has neither links nor
  mentions)
- https://docs.mattermost.com/administration-guide/configure/rate-limiting-configuration-settings.html (ten requests a
  second)
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from alerts.base import Receipt
from alerts.chat import JSON, Templated, multipart, news, picture, said, texts
from alerts.http import Answer, HttpChannel, HttpSender, receipt_of
from alerts.markup import address_of, fitted, lines_within, mattermost
from alerts.message import Fact, Message, message_of
from alerts.options import Options
from alerts.plain import footer
from monitor.ids import canonical_json
from monitor.model import Alert, Outcome, Reason
from monitor.store import OutboxRow

__all__ = ["MattermostChannel"]

TITLE, TEXT, VALUE = 3000, 7000, 1000  # characters; a post holds 16,383 of them

PICTURE_SECONDS = 3.0  # a chart must not hold the message up for longer

_OPTIONS = ("url", "token", "channel_id", "chart", "timeout", "template")
_TOKEN = re.compile(r"[\x21-\x7e]+")
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_CODE = re.compile(r"[a-z][a-z0-9_.]{2,100}")
_THREADED = ("updated", "resolved", "retracted")
_ROOT = re.compile(r"root_id|root\.|thread|parent", re.IGNORECASE)


class MattermostChannel(HttpChannel):
    """Posts to one Mattermost channel.

    Options
    -------
    url : address of an incoming webhook; or, with a token, of the server
    token, channel_id : of a bot, and the id of the channel (26 letters and digits). What follows an incident's first
        message answers in its thread; growth and reminders are posts of their own, since nobody follows a bot's thread
    chart : a bot uploads the chart first (permission ``upload_file``); false unless told
    timeout : seconds for a whole attempt, 10 unless told
    template : ``title`` and ``body`` (Mattermost's Markdown)
    """

    type = "mattermost"
    templated = True
    rate = 10.0

    def __init__(self, options: Mapping[str, Any]) -> None:
        given = Options(self.type, options, _OPTIONS)
        self._url = given.address("url", required=True)
        self._token = given.text("token")
        self._channel = given.text("channel_id")
        self._chart = given.flag("chart")
        if self._chart and not self._token:
            given.wrong("chart is for a bot: a webhook takes no files")
        if self._token and not _TOKEN.fullmatch(self._token):
            given.wrong("token has characters that no token has")
        if bool(self._token) != bool(self._channel):
            given.wrong("token and channel_id belong together: a bot needs both, a webhook none")
        if self._channel and not _ID.fullmatch(self._channel):
            given.wrong("channel_id must be the id of a channel (26 letters and digits), not its name")
        timeout = given.seconds("timeout", 10.0, 120.0)
        self._templates = Templated(given, mattermost)
        given.check()
        self._sender, self._extras = HttpSender(timeout), HttpSender(min(timeout, PICTURE_SECONDS))
        self._bearer = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        self.threads = bool(self._token)

    def render(self, alert: Alert, queued_at: float) -> bytes:
        """The post, with the details as an attachment."""
        message = message_of(alert, queued_at)
        title = self._templates.title(message, TITLE)
        attachments = [_attachment(message, self._templates.body(message, TEXT))]
        if not self._token:
            return canonical_json({"text": title, "attachments": attachments})
        chart = picture(alert) if self._chart else None
        return canonical_json(
            {
                "post": {"channel_id": self._channel, "message": title, "props": {"attachments": attachments}},
                "chart": base64.b64encode(chart).decode() if chart is not None else "",
            }
        )

    def preview(self, body: bytes) -> str:
        """The post as text, in Mattermost's Markdown."""
        frozen = json.loads(body)
        post = frozen.get("post", frozen)
        (attachment,) = post.get("attachments") or post["props"]["attachments"]
        fields = (f"{field['title']}: {field['value']}" for field in attachment["fields"])
        title = post.get("text") or post["message"]
        return "\n".join((title, *fields, attachment["text"], attachment["footer"]))

    async def send(self, row: OutboxRow, now: float) -> Receipt:
        """One attempt: a post, in the incident's thread where it belongs there."""
        if not self._token:
            receipt, _ = await self._post(row.body, now)
            return receipt
        frozen = json.loads(row.body)
        post = frozen["post"]
        if frozen["chart"] and (file := await self._upload(base64.b64decode(frozen["chart"]))):
            post["file_ids"] = [file]
        if row.reply_to and _ID.fullmatch(row.reply_to) and news(row) in _THREADED:
            receipt, code = await self._post(canonical_json({**post, "root_id": row.reply_to}), now)
            if receipt.outcome is not Outcome.REJECTED or not _ROOT.search(code):
                return receipt  # else the first message was deleted: this one must be seen all the same
        receipt, _ = await self._post(canonical_json(post), now)
        return receipt

    async def probe(self, now: float) -> Receipt:
        """Whether the bot's token holds; of a webhook, whether the server answers."""
        if not self._token:
            return await super().probe(now)
        answer = await self._sender.request("GET", self._url.joinpath("api", "v4", "users", "me"), headers=self._bearer)
        return answer if isinstance(answer, Receipt) else _meaning(self.host, answer, now, bot=True)[0]

    async def aclose(self) -> None:
        """Close the connections; the next `send` opens new ones."""
        await super().aclose()
        await self._extras.aclose()

    async def _upload(self, chart: bytes) -> str:
        """The id of the uploaded chart; empty where that failed: the message goes without."""
        body, headers = multipart({"channel_id": self._channel}, "files", chart)
        url = self._url.joinpath("api", "v4", "files")
        answer = await self._extras.request("POST", url, body=body, headers={**headers, **self._bearer})
        infos = said(answer).get("file_infos") if isinstance(answer, Answer) and answer.status == 201 else None
        file = infos[0].get("id") if isinstance(infos, list) and infos and isinstance(infos[0], dict) else None
        return file if isinstance(file, str) and _ID.fullmatch(file) else ""

    async def _post(self, body: bytes, now: float) -> tuple[Receipt, str]:
        url = self._url.joinpath("api", "v4", "posts") if self._token else self._url
        answer = await self._sender.request("POST", url, body=body, headers={**JSON, **self._bearer})
        return (answer, "") if isinstance(answer, Receipt) else _meaning(self.host, answer, now, bot=bool(self._token))


def _meaning(host: str, answer: Answer, now: float, *, bot: bool) -> tuple[Receipt, str]:
    """What an answer means, and Mattermost's word for the error where it told one."""
    told = said(answer)
    post, word = told.get("id"), told.get("id")
    receipt = receipt_of(host, answer, now, page=False)
    if receipt.outcome is Outcome.ACCEPTED:
        if not bot:
            return receipt, ""
        if isinstance(post, str) and _ID.fullmatch(post):
            return replace(receipt, external_id=post), ""
        detail = f"{host} answered {answer.status} with something that Mattermost does not answer"
        return Receipt(Outcome.RETRY, Reason.SERVER_ERROR, detail=detail), ""
    code = word if isinstance(word, str) and _CODE.fullmatch(word) else ""
    if not code:
        return receipt, ""
    reason = Reason.GONE if answer.status == 404 else receipt.reason  # the webhook or the channel is no more
    return replace(receipt, reason=reason if receipt.outcome is Outcome.REJECTED else receipt.reason,
                   detail=f"{receipt.detail} {code}"), code  # fmt: skip


def _attachment(message: Message, own: str | None) -> dict[str, Any]:
    links = " | ".join(f"[{mattermost(action.label)}]({url})" for action in message.actions
                       if (url := address_of(action.url)))  # fmt: skip
    text = lines_within(list(texts(message)), TEXT, mattermost) if own is None else own
    return {
        "fallback": fitted(message.title, TITLE, mattermost),
        "color": message.colour,
        "text": "\n\n".join(part for part in (links, text) if part),
        "fields": [_field(fact) for fact in message.facts] if own is None else [],
        "footer": fitted(footer(message), 300),
    }


def _field(fact: Fact) -> dict[str, Any]:
    value, url = fitted(fact.value or "-", VALUE, mattermost), address_of(fact.url)
    shown = f"[{value}]({url})" if url and "`" not in value else value
    return {"title": fitted(fact.name, 100, mattermost), "value": shown, "short": len(fact.value) <= 40}
