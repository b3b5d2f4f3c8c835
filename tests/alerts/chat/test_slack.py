"""Slack: the form of blocks and methods as documented, its own errors, threads, and nothing hostile in any text."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import parse_qsl

import pytest

from alerts.base import Receipt
from alerts.channels.slack import SlackChannel
from monitor.errors import ConfigError
from monitor.model import Alert, AlertKind, Outcome, Reason

CANARY = "CANARY-7f3a"
TOKEN = f"xoxb-{CANARY}"
NOW = 1_700_000_000.0
POSTED = (200, {"ok": True, "channel": "C024BE91L", "ts": "1503435956.000247"}, {})
FIRST = "C024BE91L/1503435956.000100"


def check_text(text: dict[str, Any], most: int) -> None:
    """A text object: https://docs.slack.dev/reference/block-kit/composition-objects/text-object"""
    assert text["type"] in ("plain_text", "mrkdwn")
    assert 1 <= len(text["text"]) <= most
    assert set(text) == {"type", "text", "emoji" if text["type"] == "plain_text" else "verbatim"}
    assert text.get("emoji") is not True
    assert text.get("verbatim") is not False
    check_safe(text["text"])


def check_safe(text: str) -> None:
    """No mention, and no link but those to explorers and to our own pages."""
    for inside in re.findall(r"<([^>]*)>", text):
        assert re.match(r"https://(etherscan\.io/(tx|address)/0x[0-9a-f]+|watch\.example/[^|]+)\|[^|<>]*$", inside)
    assert not re.search(r"<[!@#]", text)


def check_message(form: dict[str, Any]) -> None:
    """Blocks inside of a coloured attachment: https://docs.slack.dev/reference/block-kit/blocks"""
    assert 1 <= len(form["text"]) <= 40_000
    check_safe(form["text"])
    assert (form["mrkdwn"], form["parse"], form["link_names"]) == (False, "none", False)
    assert (form["unfurl_links"], form["unfurl_media"]) == (False, False)
    for attachment in form.get("attachments", ()):
        assert re.fullmatch(r"#[0-9a-f]{6}", attachment["color"])
        assert 1 <= len(attachment["blocks"]) <= 50
        for block in attachment["blocks"]:
            if block["type"] == "section":
                assert 1 <= len(block.get("fields", [1])) <= 10
                for text in block.get("fields", ()):
                    check_text(text, 2000)
                if "text" in block:
                    check_text(block["text"], 3000)
            elif block["type"] == "actions":
                assert 1 <= len(block["elements"]) <= 25
                for button in block["elements"]:
                    assert set(button) == {"type", "action_id", "url", "text"}
                    assert button["url"].startswith("https://watch.example/")
                    check_text(button["text"], 75)
            else:
                assert block["type"] == "context"
                check_text(block["elements"][0], 2000)


def check_bot(request: Any) -> None:
    """A method of the Web API: https://docs.slack.dev/reference/methods/chat.postMessage"""
    assert request.method == "POST"
    assert request.headers["Content-Type"] == "application/json; charset=utf-8"
    assert request.headers["Authorization"] == f"Bearer {TOKEN}"
    form = request.form
    if request.path == "/api/chat.update":
        assert form["channel"] == "C024BE91L"
        assert re.fullmatch(r"\d+\.\d+", form["ts"])
        assert "thread_ts" not in form
    else:
        assert request.path == "/api/chat.postMessage"
        assert form["channel"] == "#alarms"
        assert ("thread_ts" in form) == ("reply_broadcast" in form)
    check_message(form)


@pytest.fixture
async def bot(service: Any) -> AsyncIterator[SlackChannel]:
    service.otherwise, service.check = POSTED, check_bot
    made = SlackChannel({"token": TOKEN, "channel": "#alarms", "api": f"{service.url}/api", "edit": False})
    yield made
    await made.aclose()


@pytest.fixture
async def hook(service: Any) -> AsyncIterator[SlackChannel]:
    service.otherwise, service.check = (200, b"ok", {}), lambda request: check_message(request.form)
    made = SlackChannel({"url": f"{service.url}/services/T0/B0/{CANARY}"})
    yield made
    await made.aclose()


Send = Callable[..., Any]


async def test_a_bot_posts(bot: SlackChannel, service: Any, send: Send) -> None:
    """The whole theft in blocks, and the message's place as its id."""
    receipt = await send(bot)
    assert receipt == Receipt(Outcome.ACCEPTED, Reason.OK, external_id="C024BE91L/1503435956.000247", detail="200")
    (form,) = service.forms
    (attachment,) = form["attachments"]
    assert attachment["color"] == "#b00020"
    fields = [field["text"] for block in attachment["blocks"] for field in block.get("fields", ())]
    assert fields[0] == "*entity*\nExample Exchange"
    assert any(text.startswith("*destination*\n<https://etherscan.io/address/0xabab") for text in fields)
    assert any(text.startswith("*against the usual*\n60 % of the typical balance") for text in fields)
    urls = {button["text"]["text"]: button["url"] for block in attachment["blocks"]
            for button in block.get("elements", ()) if block["type"] == "actions"}  # fmt: skip
    assert urls["Acknowledge"] == "https://watch.example/act/ack?token=a_b-c%2Ad&x=1"
    assert "What to do: Stop withdrawals." in json.dumps(attachment)
    preview = bot.preview(bot.render(alert := _played(), NOW))
    assert preview.startswith("DRILL: ")
    assert "No coins have moved" in preview
    assert alert.type == "drill.opened"


def _played() -> Alert:
    return Alert("d1", AlertKind.DRILL, "CRITICAL: Example Exchange: 100 ETH", "The drill's own words.")


@pytest.mark.parametrize(("kind", "shown"), [("updated", False), ("escalated", True), ("retracted", True)])
async def test_later_messages_answer_in_the_thread(
    bot: SlackChannel, service: Any, send: Send, theft: Callable[..., Alert], kind: str, shown: bool
) -> None:
    """What must be heard is shown in the channel, too."""
    await send(bot, theft(AlertKind(kind)), FIRST)
    (form,) = service.forms
    assert (form["thread_ts"], form["reply_broadcast"]) == ("1503435956.000100", shown)


async def test_the_first_message_is_edited_where_asked(service: Any, send: Send, theft: Callable[..., Alert]) -> None:
    """It takes the newest form after the answer is posted; that it cannot is a note, for the answer is posted."""
    service.otherwise, service.check = POSTED, check_bot
    bot = SlackChannel({"token": TOKEN, "channel": "#alarms", "api": f"{service.url}/api", "edit": True})
    assert (await send(bot, theft(AlertKind.UPDATED), FIRST)).outcome is Outcome.ACCEPTED
    assert [request.path for request in service.requests] == ["/api/chat.postMessage", "/api/chat.update"]
    assert service.forms[1]["ts"] == "1503435956.000100"
    assert service.forms[1]["attachments"] == service.forms[0]["attachments"]
    service.script = [POSTED, (200, {"ok": False, "error": "cant_update_message"}, {})]
    receipt = await send(bot, theft(AlertKind.UPDATED), FIRST)
    assert receipt.outcome is Outcome.ACCEPTED
    assert receipt.external_id == "C024BE91L/1503435956.000247"
    assert receipt.detail == "200; the first message was not edited (cant_update_message)"
    await bot.aclose()


async def test_a_chart_comes_into_the_thread(service: Any, send: Send, theft: Callable[..., Alert]) -> None:
    """In three requests after the message, which is posted whatever comes of them."""
    upload = {"ok": True, "upload_url": f"{service.url}/upload/v1/ABC", "file_id": "F1"}
    service.script = [POSTED, (200, upload, {}), (200, b"OK - 9", {}), (200, {"ok": True, "files": []}, {})]
    service.otherwise = POSTED
    bot = SlackChannel({"token": TOKEN, "channel": "#alarms", "api": f"{service.url}/api", "chart": True})
    assert (await send(bot)).detail == "200"
    asked, sent, done = service.requests[1:]
    assert (asked.path, sent.path, done.path) == (
        "/api/files.getUploadURLExternal", "/upload/v1/ABC", "/api/files.completeUploadExternal"
    )  # fmt: skip
    assert dict(parse_qsl(asked.raw.decode()))["length"] == str(len(sent.raw))
    assert sent.raw.startswith(b"\x89PNG")
    assert "Authorization" not in sent.headers
    assert done.form["files"][0]["id"] == "F1"
    assert (done.form["channel_id"], done.form["thread_ts"]) == ("C024BE91L", "1503435956.000247")
    service.script = [POSTED, (200, {"ok": False, "error": "missing_scope"}, {})]
    receipt = await send(bot, theft(AlertKind.UPDATED), FIRST)
    assert receipt.outcome is Outcome.ACCEPTED
    assert receipt.detail == "200; the chart was not added (missing_scope)"
    service.script = [POSTED, (200, upload, {}), (500, b"", {})]
    assert (await send(bot)).detail == "200; the chart was not taken"
    await bot.aclose()


async def test_a_lost_thread_does_not_lose_the_message(
    bot: SlackChannel, service: Any, send: Send, theft: Callable[..., Alert]
) -> None:
    """Somebody deleted the first message: the next one is posted without it, in the same attempt."""
    service.script = [(200, {"ok": False, "error": "thread_not_found"}, {})]
    assert (await send(bot, theft(AlertKind.RETRACTED), FIRST)).outcome is Outcome.ACCEPTED
    assert ["thread_ts" in form for form in service.forms] == [True, False]


async def test_a_refused_form_goes_as_plain_text(bot: SlackChannel, service: Any, send: Send) -> None:
    """The decoration must not cost the alarm."""
    service.script = [(200, {"ok": False, "error": "invalid_blocks"}, {})]
    receipt = await send(bot)
    assert receipt.outcome is Outcome.ACCEPTED
    assert receipt.detail == "200, as plain text: its form was refused (invalid_blocks)"
    assert "attachments" not in service.forms[1]
    assert "60 % of the typical balance" in service.forms[1]["text"]


API_ERRORS = [
    ("ratelimited", Outcome.RETRY, Reason.RATE_LIMITED),
    ("internal_error", Outcome.RETRY, Reason.SERVER_ERROR),
    ("request_timeout", Outcome.RETRY, Reason.TIMEOUT),
    ("invalid_auth", Outcome.REJECTED, Reason.AUTH),
    ("token_revoked", Outcome.REJECTED, Reason.AUTH),
    ("not_in_channel", Outcome.REJECTED, Reason.AUTH),
    ("channel_not_found", Outcome.REJECTED, Reason.GONE),
    ("is_archived", Outcome.REJECTED, Reason.GONE),
    ("no_text", Outcome.REJECTED, Reason.CLIENT_ERROR),
]


@pytest.mark.parametrize(("error", "outcome", "reason"), API_ERRORS)
async def test_errors_with_status_200(
    bot: SlackChannel, service: Any, send: Send, error: str, outcome: Outcome, reason: Reason
) -> None:
    """The Web API says in the body what went wrong."""
    service.otherwise = (200, {"ok": False, "error": error}, {"Retry-After": "7"})
    receipt = await send(bot)
    assert (receipt.outcome, receipt.reason) == (outcome, reason)
    assert receipt.detail == f"127.0.0.1 answered 200 {error}"
    if outcome is Outcome.RETRY:
        assert receipt.retry_after == 7.0


HOOK_ERRORS = [
    (400, b"invalid_payload", Outcome.REJECTED, Reason.CLIENT_ERROR),
    (403, b"action_prohibited", Outcome.REJECTED, Reason.AUTH),
    (403, b"invalid_token", Outcome.REJECTED, Reason.AUTH),
    (404, b"no_service", Outcome.REJECTED, Reason.GONE),
    (404, b"channel_not_found", Outcome.REJECTED, Reason.GONE),
    (410, b"channel_is_archived", Outcome.REJECTED, Reason.GONE),
    (302, b"", Outcome.REJECTED, Reason.CLIENT_ERROR),
    (429, b"rate_limited", Outcome.RETRY, Reason.RATE_LIMITED),
    (500, b"rollup_error", Outcome.RETRY, Reason.SERVER_ERROR),
    (503, f"<html>{CANARY}</html>".encode(), Outcome.RETRY, Reason.SERVER_ERROR),
]


@pytest.mark.parametrize(("status", "body", "outcome", "reason"), HOOK_ERRORS)
async def test_errors_of_webhooks(
    hook: SlackChannel, service: Any, send: Send, status: int, body: bytes, outcome: Outcome, reason: Reason
) -> None:
    """Webhooks tell by status and by a word; the word is shown, anything else that came is not."""
    service.otherwise = (status, body, {"Retry-After": "30", "Location": service.url} if status != 500 else {})
    receipt = await send(hook)
    assert (receipt.outcome, receipt.reason) == (outcome, reason)
    assert receipt.retry_after == (30.0 if status in (429, 503) else None)
    assert receipt.detail.startswith(f"127.0.0.1 answered {status}")
    assert (body.decode() in receipt.detail) == (CANARY.encode() not in body)


async def test_a_webhook_accepts(hook: SlackChannel, service: Any, send: Send, theft: Callable[..., Alert]) -> None:
    """It tells no id, and has no threads."""
    assert await send(hook, theft(AlertKind.UPDATED), FIRST) == Receipt(Outcome.ACCEPTED, Reason.OK, detail="200")
    assert not hook.threads
    assert "channel" not in service.forms[0]
    assert "thread_ts" not in service.forms[0]


async def test_a_page_that_is_not_slack(bot: SlackChannel, service: Any, send: Send) -> None:
    """A proxy's login page with status 200 is no acceptance."""
    service.otherwise = (200, b"<html>please log in</html>", {})
    receipt = await send(bot)
    assert (receipt.outcome, receipt.reason) == (Outcome.RETRY, Reason.SERVER_ERROR)
    assert receipt.detail == "127.0.0.1 answered 200 with something that Slack does not answer"


async def test_hostile_text(
    bot: SlackChannel, service: Any, send: Send, theft: Callable[..., Alert], hostile: str
) -> None:
    """Whatever a name holds, the form holds, no mention or link comes of it, and attempts are the same bytes."""
    alert = theft(text=hostile)
    assert (await send(bot, alert)).outcome is Outcome.ACCEPTED
    assert bot.render(alert, NOW) == bot.render(alert, NOW)
    text = json.dumps(service.forms[0], ensure_ascii=False)
    assert not re.search(r"[\u202a-\u202e\u200b\ufeff\x00-\x1f\x1b]", text)


async def test_own_words(service: Any, send: Send, theft: Callable[..., Alert]) -> None:
    """A template's text is markup, what is put into it is not; one that is too long gives way to the channel's form."""
    service.check = lambda request: check_message(request.form)
    template = {"title": "{{ badge }} {{ entity }}", "body": "*{{ lines[0] }}* <https://watch.example/run|runbook>"}
    hook = SlackChannel({"url": service.url, "template": template})
    assert (await send(hook, theft(text="<!channel> *x*"))).outcome is Outcome.ACCEPTED
    form = service.forms[0]
    assert form["text"] == "CRITICAL Example Exchange"
    body = "*&lt;!channel&gt; \u2217x\u2217* <https://watch.example/run|runbook>"
    assert form["attachments"][0]["blocks"][0]["text"]["text"] == body
    link = SlackChannel({"url": service.url, "template": {"body": "<{{ actions[0].url }}|ack> {{ lines[0] }}"}})
    await send(link, theft(text="https://watch.example/act/_x_"))
    body = service.forms[1]["attachments"][0]["blocks"][0]["text"]["text"]
    assert body.startswith(
        "<https://watch.example/act/ack?token=a_b-c%2Ad&amp;x=1|ack> https\u2236//watch.example/act/\u02cdx"
    )
    long = SlackChannel({"url": service.url, "template": {"body": "<https://watch.example/x|" + "x" * 5000 + ">"}})
    await send(long)
    text = service.forms[2]["attachments"][0]["blocks"][0]["text"]["text"]
    assert "5026 characters, 3000 fit; it is left out" in text and "\nleft: 100 ETH" in text
    for channel in (hook, link, long):
        await channel.aclose()


def problems(**options: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        SlackChannel(options)
    assert CANARY not in str(caught.value)
    return [str(problem).removeprefix("slack channel: ") for problem in caught.value.problems]


def test_options() -> None:
    """What contradicts itself is said at the start."""
    either = "it needs either url (an incoming webhook) or token and channel (a bot)"
    assert problems() == [either]
    assert problems(url="https://x.example", token=TOKEN, channel="c") == [either]
    assert problems(token=TOKEN) == ["channel is missing: its id or name, for the bot"]
    assert problems(token=f"{CANARY} x", channel="c") == ["token has characters that no token has"]
    assert problems(url="https://x.example", edit=True) == [
        "channel, edit and chart are for a bot, a webhook has its own channel"
    ]
    assert len(problems(url=f"ftp://{CANARY}")) == 1
    both = problems(url=f"ftp://{CANARY}", template={"title": "{{ titel }}", "header": "x"})
    assert len(both) == 3
