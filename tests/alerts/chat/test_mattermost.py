"""Mattermost: posts of the documented form, threads of a bot, its own errors, hostile text."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from markdown_it import MarkdownIt

from alerts.base import Receipt
from alerts.channels.mattermost import MattermostChannel
from monitor.errors import ConfigError
from monitor.model import Alert, AlertKind, Outcome, Reason

CANARY = "CANARY-7f3a"
NOW = 1_700_000_000.0
POST = "8xfmqw4bzirgzetg8y5kbdk7ha"
CHANNEL = "4yhbswk3ubd3ijwuzhxbhhkp1w"
FIRST = "9b7tzrkoxjyk3p1mqs5ndfcc4r"
OURS = re.compile(r"https://(etherscan\.io/(tx|address)/0x[0-9a-f]+|watch\.example/\S*)")


def check_text(text: str) -> None:
    """Markdown of text, code and our own links; outside of code nothing that Mattermost notifies or links."""
    plain = ""
    for block in MarkdownIt("commonmark").enable("strikethrough").enable("table").parse(text):
        assert block.type in ("paragraph_open", "paragraph_close", "inline")
        for token in block.children or ():
            assert token.type in (
                "text", "text_special", "code_inline", "softbreak", "hardbreak", "link_open", "link_close"
            )  # fmt: skip
            if token.type == "link_open":
                assert OURS.fullmatch(str(token.attrs["href"]))
            plain += "\x00" if token.type == "code_inline" else token.content or "\n"
    assert not re.search(r"[@#~$]|://|\bwww\.", plain)


def check(request: Any) -> None:
    """https://developers.mattermost.com/integrate/webhooks/incoming/ and CreatePost of https://api.mattermost.com"""
    form = request.form
    assert request.method == "POST"
    if request.path == "/chat/api/v4/posts":
        assert request.headers["Authorization"] == f"Bearer {CANARY}"
        assert set(form) <= {"channel_id", "message", "root_id", "props"}
        assert form["channel_id"] == CHANNEL
        text, attachments = form["message"], form["props"]["attachments"]
    else:
        assert request.path == f"/hooks/{CANARY}"
        assert set(form) == {"text", "attachments"}
        text, attachments = form["text"], form["attachments"]
    assert 1 <= len(text) <= 16_383
    check_text(text)
    (attachment,) = attachments
    assert set(attachment) == {"fallback", "color", "text", "fields", "footer"}
    assert re.fullmatch(r"#[0-9a-f]{6}", attachment["color"])
    check_text(attachment["text"])
    for field in attachment["fields"]:
        assert set(field) == {"title", "value", "short"}
        check_text(field["title"])
        check_text(field["value"])
    assert len(json.dumps(attachment)) < 100_000


@pytest.fixture
async def bot(service: Any) -> AsyncIterator[MattermostChannel]:
    service.otherwise, service.check = (201, {"id": POST, "channel_id": CHANNEL}, {}), check
    made = MattermostChannel({"url": f"{service.url}/chat", "token": CANARY, "channel_id": CHANNEL})
    yield made
    await made.aclose()


@pytest.fixture
async def hook(service: Any) -> AsyncIterator[MattermostChannel]:
    service.otherwise, service.check = (200, b"ok", {}), check
    made = MattermostChannel({"url": f"{service.url}/hooks/{CANARY}"})
    yield made
    await made.aclose()


Send = Callable[..., Any]


async def test_a_webhook_posts(hook: MattermostChannel, service: Any, send: Send) -> None:
    """Title, colour, facts with links, the acknowledge link; no id comes back."""
    assert await send(hook) == Receipt(Outcome.ACCEPTED, Reason.OK, detail="200")
    assert not hook.threads
    (form,) = service.forms
    (attachment,) = form["attachments"]
    assert form["text"] == "CRITICAL: Example Exchange: 100 ETH drain: 100 ETH left."
    assert attachment["color"] == "#b00020"
    assert "[Acknowledge](https://watch.example/act/ack?token=a_b-c%2Ad&x=1)" in attachment["text"]
    fields = {field["title"]: field["value"] for field in attachment["fields"]}
    assert fields["destination"].startswith("[0xabab")
    assert fields["against the usual"].startswith("60 % of the typical balance")


@pytest.mark.parametrize(
    ("kind", "root"), [("updated", FIRST), ("resolved", FIRST), ("retracted", FIRST), ("escalated", None)]
)
async def test_a_bot_threads(
    bot: MattermostChannel, service: Any, send: Send, theft: Callable[..., Alert], kind: str, root: str | None
) -> None:
    """What belongs to the first message answers it; growth is a post of its own."""
    receipt = await send(bot, theft(AlertKind(kind)), FIRST)
    assert (receipt.outcome, receipt.external_id) == (Outcome.ACCEPTED, POST)
    assert service.forms[0].get("root_id") == root


async def test_a_bot_uploads_the_chart(service: Any, send: Send) -> None:
    """First the picture, then the post with its id; one that is refused costs the picture alone."""
    file = {"file_infos": [{"id": "x1sbsfeh8ffrtpkfc5w1h5yyjy"}], "client_ids": []}
    service.script, service.otherwise = [(201, file, {})], (201, {"id": POST}, {})
    bot = MattermostChannel({"url": f"{service.url}/chat", "token": CANARY, "channel_id": CHANNEL, "chart": True})
    assert (await send(bot)).outcome is Outcome.ACCEPTED
    upload, post = service.requests
    assert (upload.path, upload.parts["channel_id"]) == ("/chat/api/v4/files", CHANNEL)
    assert upload.headers["Authorization"] == f"Bearer {CANARY}"
    assert upload.parts["files"][2].startswith(b"\x89PNG")
    assert post.form["file_ids"] == ["x1sbsfeh8ffrtpkfc5w1h5yyjy"]
    service.script = [(413, {"id": "api.file.upload_file.too_large.app_error"}, {})]
    assert (await send(bot)).outcome is Outcome.ACCEPTED
    assert "file_ids" not in service.forms[-1]
    await bot.aclose()


async def test_a_lost_thread_does_not_lose_the_message(
    bot: MattermostChannel, service: Any, send: Send, theft: Callable[..., Alert]
) -> None:
    """Somebody deleted the first message: the next one is posted without it, in the same attempt."""
    service.script = [(400, {"id": "api.post.create_post.root_id.app_error", "status_code": 400}, {})]
    assert (await send(bot, theft(AlertKind.RETRACTED), FIRST)).outcome is Outcome.ACCEPTED
    assert ["root_id" in form for form in service.forms] == [True, False]


ERRORS = [
    (400, {"id": "api.context.invalid_body_param.app_error", "message": CANARY}, Outcome.REJECTED, Reason.CLIENT_ERROR),
    (401, {"id": "api.context.session_expired.app_error"}, Outcome.REJECTED, Reason.AUTH),
    (403, {"id": "api.context.permissions.app_error"}, Outcome.REJECTED, Reason.AUTH),
    (404, {"id": "web.incoming_webhook.invalid.app_error"}, Outcome.REJECTED, Reason.GONE),
    (404, b"", Outcome.REJECTED, Reason.CLIENT_ERROR),
    (429, b"limit exceeded", Outcome.RETRY, Reason.RATE_LIMITED),
    (500, {"id": "app.post.save.app_error"}, Outcome.RETRY, Reason.SERVER_ERROR),
    (301, b"", Outcome.REJECTED, Reason.CLIENT_ERROR),
]


@pytest.mark.parametrize(("status", "body", "outcome", "reason"), ERRORS)
async def test_errors(
    bot: MattermostChannel, service: Any, send: Send, status: int, body: Any, outcome: Outcome, reason: Reason
) -> None:
    """The error's id is shown, its words are not."""
    service.otherwise = (status, body, {"Retry-After": "4"})
    receipt = await send(bot)
    assert (receipt.outcome, receipt.reason) == (outcome, reason)
    assert receipt.retry_after == (4.0 if outcome is Outcome.RETRY else None)
    if isinstance(body, dict):
        assert receipt.detail == f"127.0.0.1 answered {status} {body['id']}"


async def test_a_page_that_is_not_mattermost(bot: MattermostChannel, service: Any, send: Send) -> None:
    """A proxy's login page with status 200 is no acceptance."""
    service.otherwise = (200, b"<html>please log in</html>", {})
    receipt = await send(bot)
    assert (receipt.outcome, receipt.reason) == (Outcome.RETRY, Reason.SERVER_ERROR)


async def test_hostile_text(
    bot: MattermostChannel, service: Any, send: Send, theft: Callable[..., Alert], hostile: str
) -> None:
    """Whatever a name holds, nobody is mentioned and nothing is linked."""
    assert (await send(bot, theft(text=hostile))).outcome is Outcome.ACCEPTED
    assert (await send(bot, theft(text=hostile, incident=None))).outcome is Outcome.ACCEPTED
    assert not re.search(r"[\u202a-\u202e\u200b\ufeff\x00-\x1f\x1b]", json.dumps(service.forms, ensure_ascii=False))


async def test_drill_and_own_words(service: Any, send: Send, theft: Callable[..., Alert]) -> None:
    """A drill is called one; a template's text is Markdown, what is put into it is not."""
    template = {"title": "#### {{ entity }}", "body": "**{{ lines[0] }}**"}
    own = MattermostChannel({"url": service.url, "template": template})
    await send(own, theft(AlertKind.DRILL, text="@all *x*"))
    (form,) = service.forms
    assert form["text"] == "DRILL: #### Example Exchange"
    assert form["attachments"][0]["text"].endswith("\n\n**`@all` \\*x\\***")
    await own.aclose()
    plain = MattermostChannel({"url": "https://x.example"})
    assert "No coins have moved" in plain.preview(plain.render(theft(AlertKind.DRILL), NOW))


def test_options() -> None:
    """A bot needs token and channel."""
    with pytest.raises(ConfigError) as caught:
        MattermostChannel({"url": f"ftp://{CANARY}", "token": f"{CANARY} x"})
    assert CANARY not in str(caught.value)
    assert len(caught.value.problems) == 3
    with pytest.raises(ConfigError, match="not its name"):
        MattermostChannel({"url": "https://x.example", "token": "t", "channel_id": "town square"})
