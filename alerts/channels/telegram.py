"""Telegram: a bot that answers the incident's first message.

What is relied on, from https://core.telegram.org/bots/api: "Making requests" (answers with ``ok``, ``description``,
``parameters``), sendMessage (4,096 characters), sendPhoto, ReplyParameters, LinkPreviewOptions,
InlineKeyboardButton, ResponseParameters (``retry_after``, ``migrate_to_chat_id``), "HTML style"; and from
https://core.telegram.org/bots/faq#my-bot-is-hitting-limits-how-do-i-avoid-this: one message a second in a chat, twenty
a minute in a group. https://core.telegram.org/api/entities: of a message's entities the first hundred count.
"""

from __future__ import annotations

import asyncio
import base64
import html
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from yarl import URL

from alerts.base import ChannelTraits, Receipt
from alerts.chat import JSON, Templated, multipart, picture, said, texts
from alerts.http import Answer, HttpSender, receipt_of
from alerts.markup import address_of, entities, escaped_address, fitted, lines_within, telegram, units
from alerts.message import Fact, Message, message_of
from alerts.options import Options
from alerts.plain import footer
from monitor.ids import canonical_json
from monitor.model import Alert, Outcome, Reason
from monitor.store import OutboxRow

__all__ = ["TelegramChannel"]

TEXT = 4096  # units after the markup is taken away
FACTS, TITLE = 2600, 700  # of it, with their markup
ENTITIES = 90  # of a hundred
PICTURE_SECONDS = 5.0  # for a chart: the message is there already
API = "https://api.telegram.org"

_OPTIONS = ("token", "chat", "thread", "api", "silent", "chart", "timeout", "template")
_TOKEN = re.compile(r"[0-9A-Za-z_:-]+")
_CHAT = re.compile(r"-?\d{1,20}|@\w{1,64}", re.ASCII)
_CHARTED = (".opened", ".escalated")
_LIGHTS = {"critical": "🔴", "high": "🟠", "medium": "🟡", "low": "🔵", "info": "⚪"}
_OVER = {"resolved": "🟢", "recovered": "🟢", "retracted": "⚪"}
_MONITOR = "🟣"
"""Colour by severity, as circles: Telegram has no other."""
_TAG = re.compile(r"<[^>]*>")
_OWN_TAG = re.compile(r"<(?!/?code>)")
_FORM = re.compile(r"parse entities|button|url_invalid|wrong http url|reply.markup|too long|entities", re.IGNORECASE)
_GONE = re.compile(r"chat not found|bot was (?:kicked|blocked)|chat was deleted|user is deactivated|not a member", re.I)
_UNSAFE = re.compile(r"['\"].*['\"]|\S*://\S*")


class TelegramChannel(ChannelTraits):
    """Posts to one Telegram chat.

    Options
    -------
    token : of the bot
    chat : id of the chat (a number), or ``@name`` of a public channel or group
    thread : id of a topic of a forum group
    silent : severities that come without a sound, ``[low, medium]`` unless told
    chart : after the first message of an incident, and after growth, the chart follows without a sound; true unless
        told
    api : ``https://api.telegram.org`` unless told
    timeout : seconds for a whole attempt, 10 unless told
    template : ``title`` and ``body`` (Telegram's HTML)

    The chart is a message of its own, since a picture's text holds but 1,024 characters; that it fails costs nothing
    else. A group that became a supergroup is followed. A form that Telegram refuses goes once more as plain text.
    """

    type = "telegram"
    templated = True
    threads = True
    rate = 1.0
    concurrency = 1  # all goes to one chat

    def __init__(self, options: Mapping[str, Any]) -> None:
        given = Options(self.type, options, _OPTIONS)
        self._token = given.text("token", required=True)
        self._chat = _whole(given, "chat")
        self._thread = _whole(given, "thread")
        self._api = given.address("api", API)
        self._silent = given.texts("silent") if given.raw("silent") is not None else ["low", "medium"]
        self._chart = given.flag("chart", True)
        if self._token and not _TOKEN.fullmatch(self._token):
            given.wrong("token has characters that no token has")
        if not self._chat:
            given.wrong("chat is missing: the id of the chat, or @name")
        elif not _CHAT.fullmatch(self._chat):
            given.wrong("chat must be the id of a chat, a number, or @name")
        if self._thread and not self._thread.isdecimal():
            given.wrong("thread must be the id of a topic, a number")
        timeout = given.seconds("timeout", 10.0, 120.0)
        self._templates = Templated(given, telegram, escaped_address)
        given.check()
        self._sender, self._extras = HttpSender(timeout), HttpSender(min(timeout, PICTURE_SECONDS))
        self._following: set[asyncio.Task[None]] = set()
        self._moved = ""  # the group's id after it became a supergroup

    @property
    def host(self) -> str:
        """The host of the address: the only part of it that may be shown."""
        return self._api.host or ""

    def __repr__(self) -> str:
        return f"TelegramChannel(host={self.host!r})"

    def render(self, alert: Alert, queued_at: float) -> bytes:
        """The message in HTML with its button, and as plain text should Telegram refuse that."""
        message = message_of(alert, queued_at)
        chart = picture(alert) if self._chart and message.type.endswith(_CHARTED) else None
        text, plain = self._text(message), _plain(message)
        if text.count("</") > ENTITIES:  # the rest would be read as plain words, and links made of them
            text = plain
        common: dict[str, Any] = {"chat_id": self._chat, "disable_notification": message.severity in self._silent}
        if self._thread:
            common["message_thread_id"] = int(self._thread)
        form = {**common, "parse_mode": "HTML", "link_preview_options": {"is_disabled": True}}
        urls = ((action.label, address_of(action.url)) for action in message.actions)
        rows = [[{"text": label, "url": url}] for label, url in urls if url]
        keyboard = {"reply_markup": {"inline_keyboard": rows}} if rows else {}
        return canonical_json(
            {
                "message": {**form, **keyboard, "text": text},
                "plain": {**form, "text": plain},
                "chart": base64.b64encode(chart).decode() if chart is not None else "",
            }
        )

    def preview(self, body: bytes) -> str:
        """The message in HTML, then its buttons."""
        frozen = json.loads(body)
        rows = frozen["message"].get("reply_markup", {}).get("inline_keyboard", [])
        chart = ["[chart]"] if frozen["chart"] else []
        buttons = (f"[{button['text']}] {button['url']}" for row in rows for button in row)
        return "\n".join((frozen["message"]["text"], *buttons, *chart))

    async def send(self, row: OutboxRow, now: float) -> Receipt:
        """One attempt: a message, as an answer to the incident's first where there is one."""
        frozen = json.loads(row.body)
        reply: dict[str, Any] = {}
        if row.reply_to and row.reply_to.isdecimal():
            reply = {"reply_parameters": {"message_id": int(row.reply_to), "allow_sending_without_reply": True}}
        receipt, told = await self._call({**frozen["message"], **reply}, now)
        description = str(told.get("description", ""))
        if receipt.outcome is Outcome.REJECTED and receipt.reason is Reason.CLIENT_ERROR and _FORM.search(description):
            receipt, _ = await self._call({**frozen["plain"], **reply}, now)
            receipt = replace(receipt, detail=f"{receipt.detail}, as plain text: its form was refused")
        if frozen["chart"] and receipt.outcome is Outcome.ACCEPTED and receipt.external_id:
            # Beside the delivery: a message that is accepted is recorded at once, and no chart delays the next one.
            task = asyncio.create_task(self._follow(frozen, int(receipt.external_id)), name="chart for Telegram")
            self._following.add(task)
            task.add_done_callback(self._following.discard)
        return receipt

    async def probe(self, now: float) -> Receipt:
        """Whether the token holds (``getMe``)."""
        answer = await self._sender.request("GET", self._method("getMe"))
        return answer if isinstance(answer, Receipt) else _meaning(self.host, answer, said(answer), now)

    async def aclose(self) -> None:
        """Let charts under way end, which takes seconds at most, and close the connections; `send` opens new ones."""
        await asyncio.gather(*self._following, return_exceptions=True)
        await self._sender.aclose()
        await self._extras.aclose()

    async def _follow(self, frozen: Mapping[str, Any], message: int) -> None:
        """The chart, as an answer to its message, once: the message says everything that it shows."""
        reply = {"message_id": message, "allow_sending_without_reply": True}
        fields = {"chat_id": self._moved or self._chat, "disable_notification": True, "reply_parameters": reply}
        if self._thread:
            fields["message_thread_id"] = int(self._thread)
        parts = {name: _form(value) for name, value in fields.items()}
        body, headers = multipart(parts, "photo", base64.b64decode(frozen["chart"]))
        await self._extras.request("POST", self._method("sendPhoto"), body=body, headers=headers)

    def _text(self, message: Message) -> str:
        title = self._templates.title(message, TITLE)
        head = title if _OWN_TAG.search(title) else _bold(title)
        head = head if self._templates.has_title else f"{_light(message)} {head}"
        own = self._templates.body(message, TEXT - TITLE - 10)
        if own is not None:
            return f"{head}\n\n{own}"
        facts = _facts(message)
        foot = telegram(fitted(footer(message), 300))
        room = TEXT - _visible(head) - _visible(facts) - _visible(foot) - 6
        lines = lines_within(list(texts(message)), room, telegram)
        return "\n\n".join(part for part in (head, facts, lines, foot) if part)

    async def _call(self, fields: Mapping[str, Any], now: float) -> tuple[Receipt, dict[str, Any]]:
        """One message: what came of it, and what Telegram said. A group that moved is followed at once."""
        receipt, told = await self._request(fields, now)
        parameters = told.get("parameters")
        moved = parameters.get("migrate_to_chat_id") if isinstance(parameters, dict) else None
        if isinstance(moved, int) and receipt.outcome is Outcome.REJECTED and self._moved != str(moved):
            self._moved = str(moved)
            receipt, told = await self._request(fields, now)
            note = f"the group has a new id, {moved}: put it into the configuration"
            receipt = replace(receipt, detail=f"{receipt.detail}; {note}")
        return receipt, told

    async def _request(self, fields: Mapping[str, Any], now: float) -> tuple[Receipt, dict[str, Any]]:
        body = canonical_json({**fields, "chat_id": self._moved or self._chat})
        answer = await self._sender.request("POST", self._method("sendMessage"), body=body, headers=JSON)
        if isinstance(answer, Receipt):
            return answer, {}
        told = said(answer)
        return _meaning(self.host, answer, told, now), told

    def _method(self, name: str) -> URL:
        return self._api / f"bot{self._token}" / name


def _meaning(host: str, answer: Answer, told: Mapping[str, Any], now: float) -> Receipt:
    result, parameters = told.get("result"), told.get("parameters")
    number = result.get("message_id") if isinstance(result, dict) else None
    pause = parameters.get("retry_after") if isinstance(parameters, dict) else None
    seconds = float(pause) if isinstance(pause, int | float) and pause >= 0 else None
    receipt = receipt_of(host, answer, now, str(number) if isinstance(number, int) else None, seconds)
    if receipt.outcome is Outcome.ACCEPTED:
        if told.get("ok") is True:
            return receipt
        detail = f"{host} answered {answer.status} with something that Telegram does not answer"
        return Receipt(Outcome.RETRY, Reason.SERVER_ERROR, seconds, detail=detail)
    description = str(told.get("description", ""))
    if receipt.outcome is Outcome.REJECTED and _GONE.search(description):
        receipt = replace(receipt, reason=Reason.GONE)
    elif answer.status == 404 and told.get("ok") is False:  # no such bot: the token is in the address
        receipt = replace(receipt, reason=Reason.AUTH)
    words = fitted(_UNSAFE.sub("…", description).replace("\n", " "), 160)  # it may quote a button's address
    return replace(receipt, detail=f"{receipt.detail} {words}") if words else receipt


def _light(message: Message) -> str:
    return _OVER.get(message.type.partition(".")[2]) or _LIGHTS.get(message.severity or "", _MONITOR)


def _whole(given: Options, name: str) -> str:
    """A number or a text: chats have numbers for names."""
    value = given.raw(name)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return given.text(name)


def _form(value: Any) -> str:
    """A value as a form field: text as it is, anything else as JSON."""
    return value if isinstance(value, str) else canonical_json(value).decode()


def _bold(text: str) -> str:
    """In bold, but for the code in it: the two do not nest."""
    parts = re.split(r"(<code>[^<]*</code>)", text)
    return "".join(part if part.startswith("<code>") or not part.strip() else f"<b>{part}</b>" for part in parts)


def _facts(message: Message) -> str:
    lines: list[str] = []
    used = 0
    for place, fact in enumerate(message.facts):
        line = _fact(fact)
        used += _visible(line) + 1
        if used > FACTS:
            lines.append(f"… ({len(message.facts) - place} facts left out)")
            break
        lines.append(line)
    return "\n".join(lines)


def _fact(fact: Fact) -> str:
    url, name = address_of(fact.url), entities(fact.name)
    if url:
        return f'{name}: <a href="{escaped_address(fact.url)}">{fitted(fact.value or "-", 600, entities)}</a>'
    return f"{name}: {fitted(fact.value or '-', 900, telegram)}"


def _plain(message: Message) -> str:
    """All of it as one piece of code, in which Telegram finds nothing to link or to parse."""
    facts = (f"{fact.name}: {fact.value}" for fact in message.facts)
    title = f"{_light(message)} {message.title}"
    text = lines_within([title, *facts, *texts(message), footer(message)], TEXT - 1000, entities)
    urls = [(action.label, url) for action in message.actions if 0 < len(url := address_of(action.url)) <= 180]
    links = (f'\n<a href="{entities(url)}">{label}: {entities(url)}</a>' for label, url in urls)
    return f"<pre>{text}</pre>{''.join(links)}"


def _visible(text: str) -> int:
    """Units that count against the limits: those after the markup is taken away."""
    return units(html.unescape(_TAG.sub("", text)))
