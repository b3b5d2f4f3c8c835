"""Slack: by an incoming webhook, or as a bot that answers in the thread of the incident's first message.

What is relied on, from Slack's documentation:

- https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks (form, errors with their texts)
- https://docs.slack.dev/reference/methods/chat.postMessage and .../chat.update (fields, errors with status 200)
- https://docs.slack.dev/reference/block-kit/blocks (50 blocks, 10 fields of 2,000 characters, texts of 3,000)
- https://docs.slack.dev/messaging/formatting-message-text (what is escaped, ``verbatim``)
- https://docs.slack.dev/messaging/working-with-files (an upload in three requests)
- https://docs.slack.dev/apis/web-api/rate-limits (one message a second and channel, 429 with ``Retry-After``)
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

from yarl import URL

from alerts.backoff import retry_after
from alerts.base import ChannelTraits, Receipt
from alerts.chat import JSON, Templated, news, picture, said, texts
from alerts.http import Answer, HttpSender, receipt_of
from alerts.markup import address_of, entities, escaped_address, fitted, lines_within, slack, slack_plain
from alerts.message import Fact, Message, message_of
from alerts.options import Options
from alerts.plain import footer
from monitor.ids import canonical_json
from monitor.model import Alert, Outcome, Reason
from monitor.store import OutboxRow

__all__ = ["SlackChannel"]

TITLE, TEXT, FIELD, VALUE, BUTTON, ADDRESS = 3000, 3000, 2000, 1000, 75, 3000  # characters
FIELDS = 10  # of a section
API = "https://slack.com/api"

PICTURE_SECONDS = 5.0  # of each request for a chart: the message is there already

_OPTIONS = ("url", "token", "channel", "edit", "chart", "api", "timeout", "template")
_QUIET = {"mrkdwn": False, "parse": "none", "link_names": False, "unfurl_links": False, "unfurl_media": False}
_TOKEN = re.compile(r"[\x21-\x7e]+")
_CODE = re.compile(r"[a-z][a-z_]{1,60}")
_PLACE = re.compile(r"([\w-]+)/([\d.]+)", re.ASCII)

_FORM = {
    "invalid_blocks", "invalid_blocks_format", "invalid_attachments", "msg_blocks_too_long", "msg_too_long",
    "attachment_payload_limit_exceeded", "too_many_attachments", "invalid_payload",
}  # fmt: skip
_NO_THREAD = {"thread_not_found", "invalid_thread_ts", "message_not_found", "cannot_reply_to_message"}
_NO_THREAD |= {"restricted_action_thread_locked"}
_AGAIN = {
    "internal_error": Reason.SERVER_ERROR, "fatal_error": Reason.SERVER_ERROR, "rollup_error": Reason.SERVER_ERROR,
    "service_unavailable": Reason.SERVER_ERROR, "team_added_to_org": Reason.SERVER_ERROR,
    "request_timeout": Reason.TIMEOUT, "ratelimited": Reason.RATE_LIMITED, "rate_limited": Reason.RATE_LIMITED,
    "message_limit_exceeded": Reason.RATE_LIMITED,
}  # fmt: skip
_NEVER = {
    **dict.fromkeys(("channel_not_found", "is_archived", "channel_is_archived", "no_service", "no_active_hooks",
                     "no_team", "team_not_found", "user_not_found"), Reason.GONE),
    **dict.fromkeys(("invalid_auth", "not_authed", "account_inactive", "token_revoked", "token_expired",
                     "no_permission", "missing_scope", "not_allowed_token_type", "access_denied", "accesslimited",
                     "org_login_required", "ekm_access_denied", "two_factor_setup_required", "invalid_token",
                     "team_access_not_granted", "action_prohibited", "restricted_action", "not_in_channel"),
                    Reason.AUTH),
}  # fmt: skip


class SlackChannel(ChannelTraits):
    """Posts to one Slack channel.

    Options
    -------
    url : address of an incoming webhook; or
    token, channel : of a bot (scope ``chat:write``) and the channel's id or name. Later messages of an incident answer
        in the thread of its first; all but small updates are shown in the channel, too
    edit : with a bot, the first message also takes the form of the newest; false unless told
    chart : with a bot that also has the scope ``files:write``, the chart comes into the thread; false unless told
    api : where the bot's methods are, ``https://slack.com/api`` unless told
    timeout : seconds for a whole attempt, 10 unless told
    template : ``title`` (plain text) and ``body`` (mrkdwn)

    A form that Slack refuses goes once more as plain text. What is edited or added after a message is posted is extra:
    that it fails is noted with the delivery, and nothing is sent again for it.
    """

    type = "slack"
    templated = True
    rate = 1.0

    def __init__(self, options: Mapping[str, Any]) -> None:
        given = Options(self.type, options, _OPTIONS)
        self._url = given.address("url")
        self._token = given.text("token")
        self._channel = given.text("channel")
        self._edit = given.flag("edit")
        self._chart = given.flag("chart")
        self._api = given.address("api", API)
        if bool(self._token) == bool(self._url.host) and (self._token or not given.raw("url")):
            given.wrong("it needs either url (an incoming webhook) or token and channel (a bot)")
        if self._token and not _TOKEN.fullmatch(self._token):
            given.wrong("token has characters that no token has")
        if self._token and not self._channel:
            given.wrong("channel is missing: its id or name, for the bot")
        if not self._token and (self._edit or self._chart or self._channel):
            given.wrong("channel, edit and chart are for a bot, a webhook has its own channel")
        timeout = given.seconds("timeout", 10.0, 120.0)
        self._templates = Templated(given, slack, escaped_address)
        given.check()
        self._sender, self._extras = HttpSender(timeout), HttpSender(min(timeout, PICTURE_SECONDS))
        self.threads = bool(self._token)

    @property
    def host(self) -> str:
        """The host of the address: the only part of it that may be shown."""
        return (self._api.host if self._token else self._url.host) or ""

    def __repr__(self) -> str:
        return f"SlackChannel(host={self.host!r})"

    def render(self, alert: Alert, queued_at: float) -> bytes:
        """The message in blocks, and as plain text should Slack refuse those."""
        message = message_of(alert, queued_at)
        title = self._templates.title(message, TITLE)
        to = {"channel": self._channel} if self._token else {}
        blocks = list(_blocks(message, self._templates.body(message, TEXT)))
        attachment = {"color": message.colour, "fallback": title, "blocks": blocks}
        chart = picture(alert) if self._chart else None
        return canonical_json(
            {
                "message": {**to, **_QUIET, "text": title, "attachments": [attachment]},
                "plain": {**to, **_QUIET, "text": _plain(message)},
                "chart": base64.b64encode(chart).decode() if chart is not None else "",
            }
        )

    def preview(self, body: bytes) -> str:
        """Title and blocks as text, in Slack's markup."""
        message = json.loads(body)["message"]
        return "\n".join((message["text"], *_readable(message["attachments"][0]["blocks"])))

    async def send(self, row: OutboxRow, now: float) -> Receipt:
        """One attempt: a message, in the incident's thread where there is one."""
        frozen = json.loads(row.body)
        place = _PLACE.fullmatch(row.reply_to or "") if self._token else None
        thread = {"thread_ts": place[2], "reply_broadcast": news(row) != "updated"} if place else {}
        receipt, code = await self._post({**frozen["message"], **thread}, now)
        if code in _NO_THREAD and thread:
            thread = {}
            receipt, code = await self._post(frozen["message"], now)
        if code in _FORM:
            receipt, _ = await self._post({**frozen["plain"], **thread}, now)
            receipt = replace(receipt, detail=f"{receipt.detail}, as plain text: its form was refused ({code})")
        if receipt.outcome is not Outcome.ACCEPTED:
            return receipt
        if place and thread and self._edit:
            receipt = await self._renew(frozen["message"], place, receipt, now)
        posted = _PLACE.fullmatch(receipt.external_id or "")
        if frozen["chart"] and posted:
            problem = await self._upload(base64.b64decode(frozen["chart"]), place if thread else posted, posted[1], now)
            receipt = replace(receipt, detail=receipt.detail + problem)
        return receipt

    async def probe(self, now: float) -> Receipt:
        """Whether the bot's token holds (``auth.test``); of a webhook, whether Slack answers."""
        if not self._token:
            return await self._sender.reach(self._url)
        receipt, _, _ = await self._ask(self._sender, self._api / "auth.test", b"{}", now)
        return receipt

    async def aclose(self) -> None:
        """Close the connections; the next `send` opens new ones."""
        await self._sender.aclose()
        await self._extras.aclose()

    async def _renew(self, message: Mapping[str, Any], place: re.Match[str], posted: Receipt, now: float) -> Receipt:
        """The incident's first message takes the newest form; what is posted is posted, whatever comes of it."""
        newest = canonical_json({**message, "channel": place[1], "ts": place[2]})
        receipt, code, _ = await self._ask(self._extras, self._api / "chat.update", newest, now)
        if receipt.outcome is Outcome.ACCEPTED:
            return posted
        return replace(posted, detail=f"{posted.detail}; the first message was not edited ({code or receipt.reason})")

    async def _upload(self, chart: bytes, thread: re.Match[str] | None, channel: str, now: float) -> str:
        """The chart as a file in the thread; a note where that failed."""
        size = urlencode({"filename": "chart.png", "length": len(chart), "alt_txt": "what left, against the usual"})
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        url = self._api / "files.getUploadURLExternal"
        receipt, code, told = await self._ask(self._extras, url, size.encode(), now, form)
        if receipt.outcome is Outcome.ACCEPTED:
            place = address_of(str(told.get("upload_url")))
            answer = await self._extras.request(
                "POST", URL(place, encoded=True), body=chart, headers={"Content-Type": "image/png"}
            )
            if isinstance(answer, Receipt) or answer.status != 200:
                return "; the chart was not taken"
            done = {"files": [{"id": told.get("file_id"), "title": "What left, against the usual"}],
                    "channel_id": channel, **({"thread_ts": thread[2]} if thread else {})}  # fmt: skip
            url = self._api / "files.completeUploadExternal"
            receipt, code, _ = await self._ask(self._extras, url, canonical_json(done), now)
        return "" if receipt.outcome is Outcome.ACCEPTED else f"; the chart was not added ({code or receipt.reason})"

    async def _post(self, message: Mapping[str, Any], now: float) -> tuple[Receipt, str]:
        """Post: what came of it, and Slack's word for the error where it told one."""
        url = self._api / "chat.postMessage" if self._token else self._url
        receipt, code, _ = await self._ask(self._sender, url, canonical_json(message), now)
        return receipt, code

    async def _ask(
        self, sender: HttpSender, url: URL, body: bytes, now: float, form: Mapping[str, str] = JSON
    ) -> tuple[Receipt, str, dict[str, Any]]:
        """One request to Slack: what came of it, the word for the error, and what was said."""
        headers = {**form, "Authorization": f"Bearer {self._token}"} if self._token else form
        answer = await sender.request("POST", url, body=body, headers=headers)
        if isinstance(answer, Receipt):
            return answer, "", {}
        return *_meaning(self.host, answer, now, bot=bool(self._token)), said(answer)


def _meaning(host: str, answer: Answer, now: float, *, bot: bool) -> tuple[Receipt, str]:
    """What an answer means; the Web API tells errors with status 200."""
    told = said(answer)
    accepted = 200 <= answer.status < 300
    if accepted and (told.get("ok") is True or (not bot and told.get("ok") is not False)):
        place = f"{told['channel']}/{told['ts']}" if "channel" in told and "ts" in told else None
        return receipt_of(host, answer, now, place, page=False), ""
    word = told.get("error") if told else answer.body.decode("utf-8", "replace").strip()
    code = word if isinstance(word, str) and _CODE.fullmatch(word) else ""
    receipt = receipt_of(host, answer, now)
    detail = f"{host} answered {answer.status}" + (f" {code}" if code else "")
    if accepted:
        pause = retry_after(answer.headers.get("Retry-After"), now, answer.headers.get("Date"))
        if not code:
            detail += " with something that Slack does not answer"
        receipt = Receipt(Outcome.REJECTED, Reason.CLIENT_ERROR, pause)
        if code in _AGAIN or not code:
            receipt = replace(receipt, outcome=Outcome.RETRY, reason=_AGAIN.get(code, Reason.SERVER_ERROR))
    if receipt.outcome is Outcome.REJECTED and code:
        receipt = replace(receipt, reason=_NEVER.get(code, receipt.reason))
    return replace(receipt, detail=detail if code or accepted else receipt.detail), code


def _blocks(message: Message, own: str | None) -> Iterator[dict[str, Any]]:
    if own is not None:
        yield {"type": "section", "text": {"type": "mrkdwn", "verbatim": True, "text": own}}
    else:
        for start in range(0, len(message.facts), FIELDS):
            yield {"type": "section", "fields": [_field(fact) for fact in message.facts[start : start + FIELDS]]}
        if text := lines_within(list(texts(message)), TEXT, slack_plain):
            yield {"type": "section", "text": _plain_text(text)}
    buttons = [
        {"type": "button", "action_id": f"open-{place}", "url": url,
         "text": _plain_text(fitted(action.label, BUTTON, entities))}
        for place, action in enumerate(message.actions)
        if len(url := address_of(action.url)) <= ADDRESS and url
    ]  # fmt: skip
    if buttons:
        yield {"type": "actions", "elements": buttons}
    yield {"type": "context", "elements": [_plain_text(fitted(footer(message), FIELD, entities))]}


def _field(fact: Fact) -> dict[str, Any]:
    value, url = fitted(fact.value or "-", VALUE, slack), address_of(fact.url)
    if url and len(url) < FIELD - VALUE - 200:
        value = f"<{escaped_address(fact.url)}|{value}>"
    return {"type": "mrkdwn", "verbatim": True, "text": f"*{fitted(fact.name, 100, slack)}*\n{value}"}


def _plain_text(text: str) -> dict[str, Any]:
    return {"type": "plain_text", "emoji": False, "text": text}


def _plain(message: Message) -> str:
    facts = (f"{fact.name}: {fact.value}" for fact in message.facts)
    text = lines_within([message.title, *facts, *texts(message), footer(message)], 10 * TEXT, slack)
    urls = ((address_of(action.url), action.label) for action in message.actions)
    return "\n".join((text, *(f"<{entities(url)}|{slack(label)}>" for url, label in urls if url)))


def _readable(blocks: list[dict[str, Any]]) -> Iterator[str]:
    for block in blocks:
        for part in (block.get("text"), *block.get("fields", ()), *block.get("elements", ())):
            if part and part["type"] == "button":
                yield f"[{part['text']['text']}] {part['url']}"
            elif part:
                yield part["text"].replace("*\n", "* ")
