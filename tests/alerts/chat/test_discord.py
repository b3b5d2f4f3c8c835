"""Discord: embeds and uploads of the documented form, edits and forum posts, its own errors, hostile text."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from alerts.base import Receipt
from alerts.channels.discord import DiscordChannel
from monitor.errors import ConfigError
from monitor.model import Alert, AlertKind, Outcome, Reason

CANARY = "CANARY-7f3a"
NOW = 1_700_000_000.0
POSTED = (200, {"id": "1105", "channel_id": "77", "type": 0}, {})
FIRST = "77/1001"
PATH = f"/api/webhooks/5/{CANARY}"
OURS = re.compile(r"https://(etherscan\.io/(tx|address)/0x[0-9a-f]+|watch\.example/\S*)")


def check(request: Any) -> None:
    """https://docs.discord.com/developers/resources/webhook#execute-webhook and message#embed-object-embed-limits"""
    form = request.form
    if request.parts:
        assert set(request.parts) == {"payload_json", "files[0]"}
        name, kind, picture = request.parts["files[0]"]
        assert (name, kind, picture[:8]) == ("chart.png", "image/png", b"\x89PNG\r\n\x1a\n")
        form = json.loads(request.parts["payload_json"])
        assert [item["id"] for item in form["attachments"]] == [0]
        assert form["embeds"][0]["image"] == {"url": "attachment://chart.png"}
    if request.method == "PATCH":
        assert re.fullmatch(rf"{PATH}/messages/\d+", request.path)
        assert "wait" not in request.query
    else:
        assert (request.method, request.path, request.query["wait"]) == ("POST", PATH, "true")
    assert form["allowed_mentions"] == {"parse": []}
    assert 1 <= len(form["content"]) <= 2000
    check_safe(form["content"])
    assert len(form.get("thread_name", "x")) <= 100
    for embed in form.get("embeds", ()):
        texts = [embed["description"], embed["footer"]["text"]]
        assert 1 <= len(embed["description"]) <= 4096
        assert len(embed["footer"]["text"]) <= 2048
        assert 0 <= embed["color"] <= 0xFFFFFF
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", embed["timestamp"])
        assert len(embed["fields"]) <= 25
        for field in embed["fields"]:
            assert 1 <= len(field["name"]) <= 256
            assert 1 <= len(field["value"]) <= 1024
            check_safe(field["value"])
            texts += [field["name"], field["value"]]
        check_safe(embed["description"])
        assert sum(map(len, texts)) <= 6000


def check_safe(text: str) -> None:
    """No mention, no time, no emoji, and no link but those to explorers and to our own pages."""
    text = re.sub(r"\\[^0-9A-Za-z\s]", "\x00", text)
    for url in re.findall(r"\]\(([^)]*)\)|<(https:[^>]*)>", text):
        assert OURS.fullmatch("".join(url))
    bare = re.sub(r"\[[^\[\]]*\]\([^)]*\)|<https:[^>]*>", "", text)
    assert not re.search(r"[<>@#`*_~|\[\]]|://", bare)


@pytest.fixture
async def channel(service: Any) -> AsyncIterator[DiscordChannel]:
    service.otherwise, service.check = POSTED, check
    made = DiscordChannel({"url": service.url + PATH})
    yield made
    await made.aclose()


Send = Callable[..., Any]


def form_of(request: Any) -> Any:
    return json.loads(request.parts["payload_json"]) if request.parts else request.form


async def test_a_theft_with_its_chart(channel: DiscordChannel, service: Any, send: Send) -> None:
    """An embed in the severity's colour, the chart inside, and the message's place as its id."""
    assert await send(channel) == Receipt(Outcome.ACCEPTED, Reason.OK, external_id="77/1105", detail="200")
    form = form_of(service.requests[0])
    (embed,) = form["embeds"]
    assert embed["color"] == 0xB00020
    fields = {field["name"]: field["value"] for field in embed["fields"]}
    assert fields["entity"] == "Example Exchange"
    assert fields["against the usual"].startswith("60 % of the typical balance")
    assert fields["destination"].startswith("[0xabab")
    assert "[Acknowledge](https://watch.example/act/ack?token=a_b-c%2Ad&x=1)" in embed["description"]
    assert form["content"] == "CRITICAL: Example Exchange: 100 ETH drain: 100 ETH left."


async def test_all_texts_together_are_bounded(
    channel: DiscordChannel, service: Any, send: Send, theft: Callable[..., Alert]
) -> None:
    """Six thousand characters an embed: facts go before words, and what is left out is counted."""
    finding = (theft().incident or {})["findings"][0]
    places = [{**finding, "destination": f"0x{place:040x}", "tx": f"0x{place:064x}"} for place in range(9)]
    lost = [{"display": "*" * 200}] * 5
    many = {"wallets": ["*" * 40] * 20, "lost": lost, "explanation": ["*" * 1900] * 30, "findings": places}
    await send(channel, theft(incident={**(theft().incident or {}), **many}))
    (embed,) = form_of(service.requests[0])["embeds"]
    assert embed["fields"][-1]["value"].endswith("facts left out")
    assert "more lines left out" in embed["description"]
    assert "[Acknowledge](" in embed["description"]


async def test_the_same_bytes_at_every_attempt(channel: DiscordChannel, service: Any, send: Send) -> None:
    """A repeated upload has the same boundary."""
    await send(channel)
    await send(channel)
    first, second = service.requests
    assert first.headers["Content-Type"] == second.headers["Content-Type"]
    assert first.parts == second.parts


async def test_a_drill_is_called_one(channel: DiscordChannel, service: Any, send: Send) -> None:
    """In the title and above the text."""
    await send(channel, Alert("d1", AlertKind.DRILL, "CRITICAL: Example Exchange: 100 ETH", "The drill's own words."))
    (form,) = service.forms
    assert form["content"].startswith("DRILL: ")
    assert form["embeds"][0]["description"].startswith("DRILL: this theft is played.")


async def test_small_updates_edit_the_first_message(
    channel: DiscordChannel, service: Any, send: Send, theft: Callable[..., Alert]
) -> None:
    """What must be heard is posted anew; an edit of a message that was deleted is, too."""
    await send(channel, theft(AlertKind.UPDATED), FIRST)
    await send(channel, theft(AlertKind.ESCALATED), FIRST)
    assert [(request.method, request.path) for request in service.requests] == [
        ("PATCH", f"{PATH}/messages/1001"), ("POST", PATH)
    ]  # fmt: skip
    service.script = [(404, {"message": "Unknown Message", "code": 10008}, {})]
    receipt = await send(channel, theft(AlertKind.UPDATED), FIRST)
    assert (receipt.outcome, receipt.external_id) == (Outcome.ACCEPTED, "77/1105")
    assert [request.method for request in service.requests[2:]] == ["PATCH", "POST"]


async def test_a_forum_has_a_post_an_incident(service: Any, send: Send, theft: Callable[..., Alert]) -> None:
    """The first message opens a post, later ones answer in it, and one that is gone is opened anew."""
    service.otherwise, service.check = POSTED, check
    forum = DiscordChannel({"url": service.url + PATH, "forum": True})
    await send(forum)
    await send(forum, theft(AlertKind.UPDATED), FIRST)
    service.script = [(404, {"message": "Unknown Channel", "code": 10003}, {})]
    assert (await send(forum, theft(AlertKind.RETRACTED), FIRST)).outcome is Outcome.ACCEPTED
    threads = [(form_of(r).get("thread_name", "")[:9], r.query.get("thread_id")) for r in service.requests]
    assert threads == [("CRITICAL:", None), ("", "77"), ("", "77"), ("CRITICAL:", None)]
    await forum.aclose()
    fixed = DiscordChannel({"url": service.url + PATH, "thread": "99"})
    await send(fixed, theft(AlertKind.UPDATED), FIRST)
    assert (service.requests[-1].method, service.requests[-1].query) == ("PATCH", {"thread_id": "99"})
    await fixed.aclose()


async def test_a_refused_form_goes_as_plain_text(channel: DiscordChannel, service: Any, send: Send) -> None:
    """The decoration must not cost the alarm."""
    service.script = [(400, {"message": "Invalid Form Body", "code": 50035, "errors": {}}, {})]
    receipt = await send(channel)
    assert receipt.outcome is Outcome.ACCEPTED
    assert receipt.detail == "200, as plain text: its form was refused (50035)"
    assert "embeds" not in service.forms[1]
    assert "<https://watch.example/act/ack?token=a_b-c%2Ad&x=1>" in service.forms[1]["content"]


ERRORS = [
    (429, {"message": "You are being rate limited.", "retry_after": 1.25, "global": False}, {"Retry-After": "2"},
     Outcome.RETRY, Reason.RATE_LIMITED, 1.25),
    (429, b"error code: 1015", {"Retry-After": "12"}, Outcome.RETRY, Reason.RATE_LIMITED, 12.0),
    (429, b"", {"X-RateLimit-Reset-After": "0.5"}, Outcome.RETRY, Reason.RATE_LIMITED, 0.5),
    (429, {"retry_after": "soon"}, {}, Outcome.RETRY, Reason.RATE_LIMITED, None),
    (429, {"retry_after": float("inf")}, {}, Outcome.RETRY, Reason.RATE_LIMITED, None),
    (404, {"message": "Unknown Webhook", "code": 10015}, {}, Outcome.REJECTED, Reason.GONE, None),
    (401, {"message": "Invalid Webhook Token", "code": 50027}, {}, Outcome.REJECTED, Reason.AUTH, None),
    (400, {"message": CANARY, "code": 50006}, {}, Outcome.REJECTED, Reason.CLIENT_ERROR, None),
    (403, {"code": "x"}, {}, Outcome.REJECTED, Reason.AUTH, None),
    (301, b"", {"Location": "/elsewhere"}, Outcome.REJECTED, Reason.CLIENT_ERROR, None),
    (502, b"<html>", {"X-RateLimit-Reset-After": "9"}, Outcome.RETRY, Reason.SERVER_ERROR, None),
    (500, b"[" * 5000, {}, Outcome.RETRY, Reason.SERVER_ERROR, None),
]  # fmt: skip


@pytest.mark.parametrize(("status", "body", "headers", "outcome", "reason", "pause"), ERRORS)
async def test_errors(
    channel: DiscordChannel, service: Any, send: Send, status: int, body: Any, headers: dict[str, str],
    outcome: Outcome, reason: Reason, pause: float | None,
) -> None:  # fmt: skip
    """Status, code and pauses of the body and the headers."""
    service.otherwise = (status, body, headers)
    receipt = await send(channel)
    assert (receipt.outcome, receipt.reason, receipt.retry_after) == (outcome, reason, pause)
    assert receipt.detail.startswith(f"127.0.0.1 answered {status}")


async def test_hostile_text(
    channel: DiscordChannel, service: Any, send: Send, theft: Callable[..., Alert], hostile: str
) -> None:
    """Whatever a name holds, the form holds, also as plain text, and no mention or link comes of it."""
    service.script = [POSTED, (400, {"code": 50035}, {})]
    alert = theft(text=hostile)
    await send(channel, alert)
    await send(channel, alert)
    assert len(service.requests) == 3
    text = json.dumps([form_of(request) for request in service.requests], ensure_ascii=False)
    assert not re.search(r"[\u202a-\u202e\u200b\ufeff\x00-\x1f\x1b]", text)


async def test_own_words(service: Any, send: Send, theft: Callable[..., Alert]) -> None:
    """A template's text is markup, what is put into it is not."""
    service.otherwise = POSTED
    template = {"title": "**{{ entity }}**", "body": "__{{ lines[0] }}__"}
    own = DiscordChannel({"url": service.url + PATH, "template": template})
    await send(own, theft(text="@here __x__"))
    form = form_of(service.requests[0])
    assert form["content"] == "**Example Exchange**"
    assert form["embeds"][0]["description"].startswith("__\\@here \\_\\_x\\_\\___\n\n[Acknowledge](")
    await own.aclose()


def test_options() -> None:
    """What contradicts itself is said at the start."""
    with pytest.raises(ConfigError) as caught:
        DiscordChannel({"url": f"ftp://{CANARY}", "thread": CANARY, "forum": True})
    assert CANARY not in str(caught.value)
    assert len(caught.value.problems) == 3
