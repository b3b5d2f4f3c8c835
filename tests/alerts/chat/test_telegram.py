"""Telegram: against the emulator, and a stub that checks the documented form; errors, groups that move, HTML."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable
from html.parser import HTMLParser
from typing import Any

import aiohttp
import pytest

from alerts.base import Receipt
from alerts.channels.telegram import TelegramChannel
from monitor.errors import ConfigError
from monitor.model import Alert, AlertKind, Outcome, Reason, Severity

CANARY = "CANARY-7f3a"
TOKEN = f"123:{CANARY}"
NOW = 1_700_000_000.0
POSTED = (200, {"ok": True, "result": {"message_id": 42, "date": 1, "chat": {"id": -100}}}, {})
OURS = re.compile(r"https://(etherscan\.io/(tx|address)/0x[0-9a-f]+|watch\.example/\S*)")
READ = re.compile(r"[@#]\w|(?:^|\s)/\w|\$[A-Za-z]|\d{7}|://|[^\W_]\.\w*[^\W\d]")  # what Telegram makes a link of


class Page(HTMLParser):
    """Telegram's HTML, strictly: only tags that it knows, closed in order, code without anything inside."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.shown, self.read, self.entities = "", "", 0
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in ("b", "code", "pre", "a")
        assert not {"code", "pre"} & set(self.open)
        assert not (tag in ("code", "pre") and self.open)
        assert [name for name, _ in attrs] == (["href"] if tag == "a" else [])
        assert tag != "a" or OURS.fullmatch(attrs[0][1] or "")
        self.open.append(tag)
        self.entities += 1

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.shown += data
        self.read += "\x00" if {"code", "pre", "a"} & set(self.open) else data


def check(request: Any) -> None:
    """https://core.telegram.org/bots/api#sendmessage and #sendphoto"""
    assert request.method == "POST"
    if request.path == f"/bot{TOKEN}/sendPhoto":
        name, kind, picture = request.parts["photo"]
        assert (name, kind, picture[:8]) == ("chart.png", "image/png", b"\x89PNG\r\n\x1a\n")
        assert set(request.parts) <= {
            "photo",
            "chat_id",
            "disable_notification",
            "reply_parameters",
            "message_thread_id",
        }
        assert request.parts["disable_notification"] == "true"
        assert json.loads(request.parts["reply_parameters"])["allow_sending_without_reply"] is True
        return
    assert request.path == f"/bot{TOKEN}/sendMessage"
    form = dict(request.form)
    request.text = form.pop("text")
    assert form.pop("link_preview_options") == {"is_disabled": True}
    assert set(form) <= {
        "chat_id", "parse_mode", "disable_notification", "reply_markup", "reply_parameters", "message_thread_id"
    }  # fmt: skip
    assert form["parse_mode"] == "HTML"
    assert isinstance(form["disable_notification"], bool)
    for line in form.get("reply_markup", {"inline_keyboard": []})["inline_keyboard"]:
        assert all(set(button) == {"text", "url"} and OURS.fullmatch(button["url"]) for button in line)
    if "reply_parameters" in form:
        assert form["reply_parameters"]["allow_sending_without_reply"] is True
        assert isinstance(form["reply_parameters"]["message_id"], int)
    page = Page(request.text)
    assert 1 <= len(page.shown.encode("utf-16-le")) // 2 <= 4096
    assert page.entities <= 100
    assert not READ.search(page.read)


@pytest.fixture
async def channel(service: Any) -> AsyncIterator[TelegramChannel]:
    service.otherwise, service.check = POSTED, check
    made = TelegramChannel({"token": TOKEN, "chat": -100, "api": service.url, "chart": False})
    yield made
    await made.aclose()


Send = Callable[..., Any]


async def test_the_emulator_takes_it(emulator: str, send: Send, theft: Callable[..., Alert]) -> None:
    """An alarm and its update arrive at a real HTTP server of Telegram's form, the second as an answer to the first.

    The emulator knows no pictures: that a chart is refused costs the picture alone.
    """
    channel = TelegramChannel({"token": TOKEN, "chat": "77", "api": emulator})
    assert json.loads(channel.render(theft(), NOW))["chart"]
    first = await send(channel, theft(text="<b>@all</b>"))
    assert first.outcome is Outcome.ACCEPTED
    assert first.external_id is not None
    second = await send(channel, theft(AlertKind.RETRACTED, links={}), first.external_id)
    assert second.outcome is Outcome.ACCEPTED
    await channel.aclose()
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{emulator}/getUpdatesHistory", json={"token": TOKEN}) as answer,
    ):
        history = (await answer.json())["result"]
    messages = [entry["message"] for entry in history]
    assert [str(entry["messageId"]) for entry in history] == [first.external_id, second.external_id]
    assert [message["chat_id"] for message in messages] == ["77", "77"]
    assert "&lt;b&gt;@all&lt;/b&gt;" in messages[0]["text"]
    buttons = messages[0]["reply_markup"]["inline_keyboard"]
    assert buttons[0] == [{"text": "Acknowledge", "url": "https://watch.example/act/ack?token=a_b-c%2Ad&x=1"}]
    assert messages[1]["reply_parameters"]["message_id"] == int(first.external_id)


async def test_the_chart_follows(service: Any, send: Send, theft: Callable[..., Alert]) -> None:
    """After the first message and after growth, without a sound, not after each update; its failure costs nothing."""
    service.script, service.otherwise, service.check = [POSTED, (500, b"", {})], POSTED, check
    channel = TelegramChannel({"token": TOKEN, "chat": -100, "thread": "9", "api": service.url})
    for kind in (AlertKind.OPENED, AlertKind.UPDATED, AlertKind.ESCALATED):
        receipt = await send(channel, theft(kind), None if kind is AlertKind.OPENED else "42")
        assert receipt == Receipt(Outcome.ACCEPTED, Reason.OK, external_id="42", detail="200")
        await channel.aclose()  # which waits for the chart
    paths = [request.path.rpartition("/")[2] for request in service.requests]
    assert paths == ["sendMessage", "sendPhoto", "sendMessage", "sendMessage", "sendPhoto"]
    assert json.loads(service.requests[1].parts["reply_parameters"])["message_id"] == 42
    assert service.requests[1].parts["message_thread_id"] == "9"
    assert "against the usual: 60 % of the typical balance" in service.requests[0].text


async def test_a_message_that_failed_has_no_chart(service: Any, send: Send) -> None:
    """It follows what it belongs to."""
    service.otherwise, service.check = (500, b"", {}), check
    channel = TelegramChannel({"token": TOKEN, "chat": -100, "api": service.url})
    await send(channel)
    await channel.aclose()
    assert len(service.requests) == 1


async def test_only_low_alerts_are_silent(
    channel: TelegramChannel, service: Any, send: Send, theft: Callable[..., Alert]
) -> None:
    """A message of high severity, and one of the monitor itself, makes a sound."""
    for severity in (Severity.LOW, Severity.HIGH):
        await send(channel, theft(severity=severity, incident=None))
    await send(channel, theft(AlertKind.BLIND, severity=None, incident=None))
    assert [form["disable_notification"] for form in service.forms] == [True, False, False]


async def test_an_answer_in_a_topic(service: Any, send: Send, theft: Callable[..., Alert]) -> None:
    """Topic and answered message are numbers; a deleted one costs the answer alone."""
    service.otherwise, service.check = POSTED, check
    channel = TelegramChannel({"token": TOKEN, "chat": "@alarms", "thread": 9, "api": service.url})
    await send(channel, theft(AlertKind.UPDATED, incident=None), "41")
    (form,) = service.forms
    assert (form["chat_id"], form["message_thread_id"]) == ("@alarms", 9)
    assert form["reply_parameters"] == {"message_id": 41, "allow_sending_without_reply": True}
    await channel.aclose()


async def test_a_group_that_moved_is_followed(channel: TelegramChannel, service: Any, send: Send) -> None:
    """A group that becomes a supergroup gets a new id: the message follows at once, and so do later ones."""
    moved = {"ok": False, "error_code": 400, "description": "Bad Request: group chat was upgraded to a supergroup chat",
             "parameters": {"migrate_to_chat_id": -100200}}  # fmt: skip
    service.script = [(400, moved, {})]
    receipt = await send(channel)
    assert receipt.outcome is Outcome.ACCEPTED
    assert receipt.detail == "200; the group has a new id, -100200: put it into the configuration"
    await send(channel)
    assert [form["chat_id"] for form in service.forms] == ["-100", "-100200", "-100200"]


@pytest.mark.parametrize(
    "description",
    [
        f"Bad Request: inline keyboard button URL 'https://{CANARY}' is invalid: Wrong HTTP URL",
        "Bad Request: BUTTON_URL_INVALID",
        "Bad Request: can't parse entities: Unexpected end tag at byte offset 7",
    ],
)
async def test_a_refused_form_goes_as_plain_text(
    channel: TelegramChannel, service: Any, send: Send, theft: Callable[..., Alert], description: str
) -> None:
    """A button to an address without a domain, or a template's wrong HTML, must not cost the alarm."""
    service.script = [(400, {"ok": False, "error_code": 400, "description": description}, {})]
    receipt = await send(channel, theft(text="many words " * 120))
    assert receipt.outcome is Outcome.ACCEPTED
    assert receipt.detail == "200, as plain text: its form was refused"
    assert "reply_markup" not in service.requests[1].form


ERRORS = [
    (429, {"ok": False, "error_code": 429, "description": "Too Many Requests: retry after 17",
           "parameters": {"retry_after": 17}}, Outcome.RETRY, Reason.RATE_LIMITED, 17.0),
    (429, b"", Outcome.RETRY, Reason.RATE_LIMITED, None),
    (401, {"ok": False, "error_code": 401, "description": "Unauthorized"}, Outcome.REJECTED, Reason.AUTH, None),
    (404, {"ok": False, "error_code": 404, "description": "Not Found"}, Outcome.REJECTED, Reason.AUTH, None),
    (400, {"ok": False, "description": "Bad Request: chat not found"}, Outcome.REJECTED, Reason.GONE, None),
    (403, {"ok": False, "description": "Forbidden: bot was blocked by the user"}, Outcome.REJECTED, Reason.GONE, None),
    (403, {"ok": False, "description": "Forbidden: bot can't send"}, Outcome.REJECTED, Reason.AUTH, None),
    (400, {"ok": False, "description": f"Bad Request: https://{CANARY}"}, Outcome.REJECTED, Reason.CLIENT_ERROR, None),
    (400, {"ok": False, "parameters": {"migrate_to_chat_id": -5}}, Outcome.REJECTED, Reason.CLIENT_ERROR, None),
    (302, b"", Outcome.REJECTED, Reason.CLIENT_ERROR, None),
    (502, b"<html>", Outcome.RETRY, Reason.SERVER_ERROR, None),
    (200, b"<html>please log in</html>", Outcome.RETRY, Reason.SERVER_ERROR, None),
    (200, {"ok": False}, Outcome.RETRY, Reason.SERVER_ERROR, None),
]  # fmt: skip


@pytest.mark.parametrize(("status", "body", "outcome", "reason", "pause"), ERRORS)
async def test_errors(
    channel: TelegramChannel, service: Any, send: Send, status: int, body: Any,
    outcome: Outcome, reason: Reason, pause: float | None,
) -> None:  # fmt: skip
    """Telegram tells what is wrong in words, and how long to wait."""
    service.otherwise = (status, body, {})
    receipt = await send(channel)
    assert (receipt.outcome, receipt.reason, receipt.retry_after) == (outcome, reason, pause)
    assert receipt.detail.startswith(f"127.0.0.1 answered {status}")


async def test_hostile_text(
    channel: TelegramChannel, service: Any, send: Send, theft: Callable[..., Alert], hostile: str
) -> None:
    """Whatever a name holds, the form holds, also as plain text; nothing outside of code becomes a link."""
    alert = theft(text=hostile)
    service.script = [POSTED, (400, {"ok": False, "description": "can't parse entities"}, {})]
    await send(channel, alert)
    await send(channel, alert)
    await send(channel, theft(text=hostile, incident=None))
    text = json.dumps(service.forms, ensure_ascii=False)
    assert not re.search(r"[\u202a-\u202e\u200b\ufeff\x00-\x1f\x1b]", text)


async def test_many_words_that_telegram_would_read(
    channel: TelegramChannel, service: Any, send: Send, theft: Callable[..., Alert]
) -> None:
    """Beyond a hundred entities Telegram takes the rest as plain words: then all of it is one."""
    await send(channel, theft(incident=None, body="@a .b @c x.de /f " * 100))
    assert service.requests[0].path.endswith("/sendMessage")


async def test_drill_and_own_words(service: Any, send: Send, theft: Callable[..., Alert]) -> None:
    """A drill is called one; a template's text is HTML, what is put into it is not."""
    service.otherwise = POSTED
    own = TelegramChannel({"token": TOKEN, "chat": 1, "api": service.url,
                           "template": {"title": "<u>{{ entity }}</u>", "body": "<i>{{ lines[0] }}</i>"}})  # fmt: skip
    drill = theft(AlertKind.DRILL, text="<b>x</b>", incident=None)
    await send(own, drill)
    assert service.forms[0]["text"] == "DRILL: <u>Example Exchange</u>\n\n<i>&lt;b&gt;x&lt;/b&gt;</i>"
    await own.aclose()
    plain = TelegramChannel({"token": TOKEN, "chat": 1})
    assert plain.preview(plain.render(drill, NOW)).startswith("🔴 <b>DRILL: CRITICAL: Example Exchange")
    assert "No coins have moved" in plain.preview(plain.render(drill, NOW))


def test_options() -> None:
    """What is missing or is no chat is said at the start."""
    with pytest.raises(ConfigError) as caught:
        TelegramChannel({"token": f"{CANARY}/x", "chat": "my chat", "thread": "x", "silent": 3})
    assert CANARY not in str(caught.value)
    assert len(caught.value.problems) == 4
    with pytest.raises(ConfigError) as caught:
        TelegramChannel({})
    assert len(caught.value.problems) == 2
