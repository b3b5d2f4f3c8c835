"""Slack: by an incoming webhook, or as a bot that answers in the thread of the incident's first message.

What is relied on, from Slack's documentation:

- https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks (form, errors with their texts)
- https://docs.slack.dev/reference/methods/chat.postMessage and .../chat.update (fields, errors with status 200)
- https://docs.slack.dev/reference/block-kit/blocks (50 blocks, 10 fields of 2,000 characters, texts of 3,000)
- https://docs.slack.dev/messaging/formatting-message-text (what is escaped, ``verbatim``)
- https://docs.slack.dev/apis/web-api/rate-limits (one message a second and channel, 429 with ``Retry-After``)
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from alerts.backoff import retry_after
from alerts.base import ChannelTraits, Receipt
from alerts.chat import JSON, Templated, news, said, texts
from alerts.http import Answer, HttpSender, receipt_of
from alerts.markup import address_of, entities, fitted, lines_within, slack
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

_OPTIONS = ("url", "token", "channel", "edit", "api", "timeout", "template")
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
    api : where the bot's methods are, ``https://slack.com/api`` unless told
    timeout : seconds for a whole attempt, 10 unless told
    template : ``title`` (plain text) and ``body`` (mrkdwn)

    A form that Slack refuses goes once more as plain text. There is no chart: Slack takes pictures as files of their
    own alone, by three requests more.
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
        self._api = given.address("api", API)
        if bool(self._token) == bool(self._url.host) and (self._token or not given.raw("url")):
            given.wrong("it needs either url (an incoming webhook) or token and channel (a bot)")
        if self._token and not _TOKEN.fullmatch(self._token):
            given.wrong("token has characters that no token has")
        if self._token and not self._channel:
            given.wrong("channel is missing: its id or name, for the bot")
        if not self._token and (self._edit or self._channel):
            given.wrong("channel and edit are for a bot, a webhook has its own channel")
        timeout = given.seconds("timeout", 10.0, 120.0)
        self._templates = Templated(given.mapping("template"), slack)
        given.check()
        self._sender = HttpSender(timeout)
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
        return canonical_json(
            {
                "message": {**to, **_QUIET, "text": title, "attachments": [attachment]},
                "plain": {**to, **_QUIET, "text": _plain(message)},
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
        if receipt.outcome is Outcome.ACCEPTED and place and thread and self._edit:
            return await self._renew(frozen["message"], place, receipt, now)
        return receipt

    async def aclose(self) -> None:
        """Close the connections; the next `send` opens new ones."""
        await self._sender.aclose()

    async def _renew(
        self, message: Mapping[str, Any], place: re.Match[str], posted: Receipt, now: float
    ) -> Receipt:
        """The incident's first message takes the newest form; what is posted is posted, whatever comes of it."""
        receipt, code = await self._post({**message, "channel": place[1], "ts": place[2]}, now, "chat.update")
        if receipt.outcome is Outcome.ACCEPTED:
            return posted
        return replace(posted, detail=f"{posted.detail}; the first message was not edited ({code or receipt.reason})")

    async def _post(
        self, message: Mapping[str, Any], now: float, method: str = "chat.postMessage"
    ) -> tuple[Receipt, str]:
        """One request: what came of it, and Slack's word for the error where it told one."""
        url, headers = self._url, JSON
        if self._token:
            url, headers = self._api / method, {**JSON, "Authorization": f"Bearer {self._token}"}
        answer = await self._sender.request("POST", url, body=canonical_json(message), headers=headers)
        if isinstance(answer, Receipt):
            return answer, ""
        return _meaning(self.host, answer, now, bot=bool(self._token))


def _meaning(host: str, answer: Answer, now: float, *, bot: bool) -> tuple[Receipt, str]:
    """What an answer means; the Web API tells errors with status 200."""
    told = said(answer)
    accepted = 200 <= answer.status < 300
    if accepted and (told.get("ok") is True or (not bot and told.get("ok") is not False)):
        place = f"{told['channel']}/{told['ts']}" if "channel" in told and "ts" in told else None
        return receipt_of(host, answer, now, place), ""
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
        if text := lines_within(list(texts(message)), TEXT, entities):
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
        value = f"<{entities(url)}|{value}>"
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
