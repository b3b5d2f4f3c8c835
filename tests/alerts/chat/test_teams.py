"""Microsoft Teams: a card of the documented form and size, what workflows and connectors answer, hostile text."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from markdown_it import MarkdownIt

from alerts.base import Receipt
from alerts.channels.teams import TeamsChannel
from monitor.errors import ConfigError
from monitor.model import Alert, AlertKind, Outcome, Reason

CANARY = "CANARY-7f3a"
NOW = 1_700_000_000.0
OURS = re.compile(r"https://(etherscan\.io/(tx|address)/0x[0-9a-f]+|watch\.example/\S*)")
STYLES = ("default", "emphasis", "good", "attention", "warning", "accent")


def check(request: Any) -> None:
    """https://learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors/how-to/connectors-using"""
    assert request.method == "POST"
    assert len(json.dumps(request.form, ensure_ascii=False, separators=(",", ":")).encode()) <= 28 * 1024
    assert set(request.form) == {"type", "attachments"}
    assert request.form["type"] == "message"
    (attachment,) = request.form["attachments"]
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    assert attachment["contentUrl"] is None
    card = attachment["content"]
    assert (card["type"], card["version"]) == ("AdaptiveCard", "1.5")
    assert len(card.get("actions", ())) <= 6
    for action in card.get("actions", ()):
        assert set(action) == {"type", "title", "url"}
        assert action["type"] == "Action.OpenUrl"
        assert OURS.fullmatch(action["url"])
    assert "entities" not in card["msteams"]  # which alone could mention anybody
    for element in card["body"]:
        check_element(element)


def check_element(element: dict[str, Any]) -> None:
    """https://adaptivecards.io/explorer"""
    kind = element["type"]
    if kind == "Container":
        assert element["style"] in STYLES
        assert element["items"]
        for item in element["items"]:
            check_element(item)
    elif kind == "RichTextBlock":
        for run in element["inlines"]:
            assert run["type"] == "TextRun"
            assert "selectAction" not in run
            check_plain(run["text"])
    elif kind == "FactSet":
        for fact in element["facts"]:
            assert set(fact) == {"title", "value"}
            check_markdown(fact["title"])
            check_markdown(fact["value"])
    elif kind == "Image":
        assert base64.b64decode(element["url"].removeprefix("data:image/png;base64,"))[:4] == b"\x89PNG"
    else:
        assert kind == "TextBlock"
        assert element["wrap"] is True


def check_plain(text: str) -> None:
    assert text
    assert not re.search(r"\{\{|://|<at", text)


def check_markdown(text: str) -> None:
    """Text, and links to explorers."""
    for block in MarkdownIt("commonmark").enable("strikethrough").parse(text):
        assert block.type in ("paragraph_open", "paragraph_close", "inline")
        for token in block.children or ():
            assert token.type in ("text", "text_special", "link_open", "link_close")
            if token.type == "link_open":
                assert OURS.fullmatch(str(token.attrs["href"]))
            check_plain(token.content or "-")


@pytest.fixture
async def channel(service: Any) -> AsyncIterator[TeamsChannel]:
    service.otherwise, service.check = (202, b"", {"x-ms-workflow-run-id": "0858"}), check
    made = TeamsChannel({"url": f"{service.url}/workflows/1/triggers/manual/paths/invoke?sig={CANARY}"})
    yield made
    await made.aclose()


Send = Callable[..., Any]


def card_of(form: Any) -> Any:
    return form["attachments"][0]["content"]


async def test_a_theft_with_its_chart(channel: TeamsChannel, service: Any, send: Send) -> None:
    """Colour, facts with links, chart and buttons in one card."""
    assert await send(channel) == Receipt(Outcome.ACCEPTED, Reason.OK, external_id="0858", detail="202")
    assert service.requests[0].query == {"sig": CANARY}
    card = card_of(service.forms[0])
    assert card["body"][0]["style"] == "attention"
    facts = {fact["title"]: fact["value"] for fact in card["body"][1]["facts"]}
    assert facts["destination"].startswith("[0xabab")
    assert facts["against the usual"].startswith("60 % of the typical balance")
    assert "Image" in [element["type"] for element in card["body"]]
    assert card["actions"][0] == {
        "type": "Action.OpenUrl", "title": "Acknowledge", "url": "https://watch.example/act/ack?token=a_b-c%2Ad&x=1"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "style"),
    [(AlertKind.RESOLVED, "good"), (AlertKind.RETRACTED, "emphasis"), (AlertKind.BLIND, "emphasis")],
)
def test_styles(theft: Callable[..., Alert], kind: AlertKind, style: str) -> None:
    """What is over is green, what never was is grey."""
    channel = TeamsChannel({"url": "https://x.example"})
    assert card_of(json.loads(channel.render(theft(kind), NOW)))["body"][0]["style"] == style


def test_a_drill_is_called_one(theft: Callable[..., Alert]) -> None:
    """In the title and above the text."""
    channel = TeamsChannel({"url": "https://x.example"})
    preview = channel.preview(channel.render(theft(AlertKind.DRILL), NOW))
    assert preview.startswith("DRILL: CRITICAL")
    assert "No coins have moved" in preview


def test_a_card_that_is_too_big_loses_the_chart_first(theft: Callable[..., Alert]) -> None:
    """Then words; what is left out is counted."""
    channel = TeamsChannel({"url": "https://x.example"})
    long = theft(incident={**(theft().incident or {}), "explanation": ["\u20bf" * 1900] * 30})
    body = channel.render(long, NOW)
    assert len(body) <= 27_000
    assert "Image" not in body.decode()
    assert "more lines left out" in body.decode()
    assert "Acknowledge" in body.decode()


ERRORS = [
    (400, {"error": {"code": CANARY}}, {}, Outcome.REJECTED, Reason.CLIENT_ERROR, None),
    (401, b"", {}, Outcome.REJECTED, Reason.AUTH, None),
    (404, b"", {}, Outcome.REJECTED, Reason.CLIENT_ERROR, None),
    (410, b"", {}, Outcome.REJECTED, Reason.GONE, None),
    (413, b"", {}, Outcome.REJECTED, Reason.CLIENT_ERROR, None),
    (429, b"", {"Retry-After": "10"}, Outcome.RETRY, Reason.RATE_LIMITED, 10.0),
    (307, b"", {"Location": "/x"}, Outcome.REJECTED, Reason.CLIENT_ERROR, None),
    (502, b"", {}, Outcome.RETRY, Reason.SERVER_ERROR, None),
    (200, b"1", {}, Outcome.ACCEPTED, Reason.OK, None),
    (200, b"Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error 429 with "
          b"ContextId tcid=0", {"Retry-After": "5"}, Outcome.RETRY, Reason.RATE_LIMITED, 5.0),
    (200, b"Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error 413", {},
     Outcome.REJECTED, Reason.CLIENT_ERROR, None),
    (200, b"Webhook message delivery failed with error: HTTP error 200", {}, Outcome.RETRY, Reason.SERVER_ERROR, None),
    (200, b"Webhook message delivery failed", {}, Outcome.RETRY, Reason.SERVER_ERROR, None),
]  # fmt: skip


@pytest.mark.parametrize(("status", "body", "headers", "outcome", "reason", "pause"), ERRORS)
async def test_answers(
    channel: TeamsChannel, service: Any, send: Send, status: int, body: Any, headers: dict[str, str],
    outcome: Outcome, reason: Reason, pause: float | None,
) -> None:  # fmt: skip
    """By status; connectors of the old kind say 200 and then that it failed."""
    service.otherwise = (status, body, headers)
    receipt = await send(channel)
    assert (receipt.outcome, receipt.reason, receipt.retry_after) == (outcome, reason, pause)


async def test_hostile_text(
    channel: TeamsChannel, service: Any, send: Send, theft: Callable[..., Alert], hostile: str
) -> None:
    """Whatever a name holds, the card holds, stays below its size, and nothing in it is markup."""
    assert (await send(channel, theft(text=hostile))).outcome is Outcome.ACCEPTED
    assert (await send(channel, theft(text=hostile, incident=None))).outcome is Outcome.ACCEPTED
    assert not re.search(r"[\u202a-\u202e\u200b\ufeff\x00-\x1f\x1b]", json.dumps(service.forms, ensure_ascii=False))


async def test_own_words(service: Any, send: Send, theft: Callable[..., Alert]) -> None:
    """A template's text is Markdown, what is put into it is not."""
    service.check = check
    template = {"title": "**{{ entity }}**", "body": "_{{ lines[0] }}_"}
    own = TeamsChannel({"url": service.url, "template": template})
    await send(own, theft(text="*x* {{y}} [z](https://evil.example)"))
    card = card_of(service.forms[0])
    assert card["body"][0]["items"][0]["text"] == "**Example Exchange**"
    assert card["body"][1]["text"] == "_\\*x\\* { {y}} \\[z\\](https: //evil.example)_"
    await own.aclose()


def test_options() -> None:
    """An address is needed, and is not shown."""
    with pytest.raises(ConfigError) as caught:
        TeamsChannel({"url": f"ftp://{CANARY}", "card": 1})
    assert CANARY not in str(caught.value)
    assert len(caught.value.problems) == 2
