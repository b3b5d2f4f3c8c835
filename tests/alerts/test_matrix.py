"""Matrix against a scripted homeserver, for what a real one does not say on demand; options, and what is rendered."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web

from alerts.base import Receipt
from alerts.channels.matrix import EVENT_BYTES, MatrixChannel
from alerts.outbox import rows
from monitor.errors import ConfigError
from monitor.model import Alert, Outcome, Reason
from monitor.registry import CHANNELS, load

START = 1_700_000_000.0
TOKEN = "CANARY-matrix-77d0"
TEMPLATE = {"body": "x" * 15_000}

Send = Callable[..., Awaitable[Receipt]]


@pytest.fixture
async def send() -> AsyncIterator[Send]:
    """Render an alert as this channel does, and make one attempt."""
    channels: dict[int, MatrixChannel] = {}

    async def attempt(channel: MatrixChannel, told: Alert, reply_to: str | None = None, now: float = START) -> Receipt:
        channels[id(channel)] = channel
        (row,) = rows(told, {"soc": [channel]}, ["soc"], START)
        return await channel.send(replace(row, reply_to=reply_to), now)

    yield attempt
    for channel in channels.values():
        await channel.aclose()


def charted(told: Alert) -> Alert:
    """With evidence that a chart can be drawn of."""
    finding = {
        "wallet": "hot-1", "chain": "eip155:1", "asset": "eth", "at": "2018-01-25T15:04:00Z", "value": "500",
        "evidence": {"typical_balance": 1000, "usual_daily_maximum": 0.05, "share_of_typical": 0.5},
    }  # fmt: skip
    return replace(told, incident={**(told.incident or {}), "entity": "Example Exchange", "findings": [finding]})


class Stub:
    """Answers sending by the script, everything else as a homeserver does; checks the form of every request."""

    def __init__(self) -> None:
        self.url = ""
        self.answers: list[web.Response] = []
        self.sent: list[tuple[str, dict[str, Any]]] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        assert request.headers["Authorization"] == f"Bearer {TOKEN}"
        path = request.rel_url.raw_path
        assert "access_token" not in request.rel_url.query  # it would stand in logs
        if path.endswith("/state/m.room.encryption"):
            assert request.method == "GET"
            return web.json_response({"errcode": "M_NOT_FOUND", "error": "no"}, status=404)
        assert request.method == "PUT" and request.content_type == "application/json"
        assert path.startswith("/_matrix/client/v3/rooms/%21r%3Ax/send/m.room.message/")
        self.sent.append((path.rpartition("/")[2], await request.json()))
        return self.answers.pop(0) if self.answers else web.json_response({"event_id": "$1"})


@pytest.fixture
async def stub() -> AsyncIterator[Stub]:
    made = Stub()
    runner = web.ServerRunner(web.Server(made.handle))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


ANSWERS = [
    (
        429,
        {"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": 2500},
        Outcome.RETRY,
        Reason.RATE_LIMITED,
    ),
    (500, {"errcode": "M_UNKNOWN", "error": TOKEN}, Outcome.RETRY, Reason.SERVER_ERROR),
    (502, {}, Outcome.RETRY, Reason.SERVER_ERROR),
    (401, {"errcode": "M_UNKNOWN_TOKEN", "soft_logout": True}, Outcome.REJECTED, Reason.AUTH),
    (403, {"errcode": "M_FORBIDDEN", "error": TOKEN}, Outcome.REJECTED, Reason.AUTH),
    (413, {"errcode": "M_TOO_LARGE"}, Outcome.REJECTED, Reason.CLIENT_ERROR),
    (400, {"errcode": TOKEN}, Outcome.REJECTED, Reason.CLIENT_ERROR),
    (400, [1], Outcome.REJECTED, Reason.CLIENT_ERROR),
    (301, {}, Outcome.REJECTED, Reason.CLIENT_ERROR),
    (200, {"event_id": 5}, Outcome.RETRY, Reason.SERVER_ERROR),
    (200, {}, Outcome.RETRY, Reason.SERVER_ERROR),
]


@pytest.mark.parametrize(("status", "body", "outcome", "reason"), ANSWERS)
async def test_answers(
    stub: Stub,
    send: Send,
    alert: Callable[..., Alert],
    status: int,
    body: Any,
    outcome: Outcome,
    reason: Reason,
) -> None:
    """By status and error code; the server's own words are not shown."""
    channel = MatrixChannel({"homeserver": stub.url, "token": TOKEN, "room": "!r:x"})
    stub.answers = [web.json_response(body, status=status)]
    receipt = await send(channel, alert())
    assert (receipt.outcome, receipt.reason) == (outcome, reason)
    assert TOKEN not in repr(receipt) and receipt.detail.startswith("127.0.0.1 ")
    assert receipt.retry_after == (2.5 if status == 429 else None)
    assert (await send(channel, alert())).outcome is Outcome.ACCEPTED
    assert len({transaction for transaction, _ in stub.sent}) == 1


async def test_transactions(stub: Stub, send: Send, alert: Callable[..., Alert]) -> None:
    """One a message, whatever else differs; the bytes of a row are the same at every attempt."""
    channel = MatrixChannel({"homeserver": stub.url, "token": TOKEN, "room": "!r:x"})
    for told, reply in ((alert("a"), None), (alert("a"), "$0"), (alert("b"), None)):
        await send(channel, told, reply)
    assert [number for number, (name, _) in enumerate(stub.sent) if name == stub.sent[0][0]] == [0, 1]
    assert channel.render(alert("a"), START) == channel.render(alert("a"), START)


async def test_nobody_there(send: Send, alert: Callable[..., Alert]) -> None:
    """No connection is tried again."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
    receipt = await send(MatrixChannel({"homeserver": url, "token": TOKEN, "room": "!r:x"}), alert())
    assert (receipt.outcome, receipt.reason) == (Outcome.RETRY, Reason.CONNECTION)


async def test_cancelled_while_looking(alert: Callable[..., Alert]) -> None:
    """A cancelled look at the room leaves nothing locked behind."""
    waiting, release = asyncio.Event(), asyncio.Event()

    async def handle(request: web.Request) -> web.StreamResponse:
        if not release.is_set():
            waiting.set()
            await release.wait()
        if request.method == "GET":
            return web.json_response({"errcode": "M_NOT_FOUND"}, status=404)
        return web.json_response({"event_id": "$1"})

    runner = web.ServerRunner(web.Server(handle))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    channel = MatrixChannel(
        {"homeserver": f"http://127.0.0.1:{runner.addresses[0][1]}", "token": TOKEN, "room": "!r:x"}
    )
    (row,) = rows(alert(), {"soc": [channel]}, ["soc"], START)
    task = asyncio.create_task(channel.send(row, START))
    await asyncio.wait_for(waiting.wait(), 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    release.set()
    assert (await channel.send(row, START)).outcome is Outcome.ACCEPTED
    await channel.aclose()
    await channel.aclose()
    await runner.cleanup()


# -- options ----------------------------------------------------------------------------------------------------------


def test_registered() -> None:
    """Found by its name."""
    assert load(CHANNELS, "matrix", "channel type") is MatrixChannel


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"homeserver": "example.com"}, "homeserver is no address"),
        ({"homeserver": f"https://x:{TOKEN}@m.example"}, "homeserver carries more than a host"),
        ({"token": "a b"}, "token is no access token"),
        ({"token": None}, "token is missing"),
        ({"room": "alarms"}, "room must be a room's id or alias"),
        ({"edit": "yes"}, "edit must be true or false"),
        ({"tokens": TOKEN}, "unknown option 'tokens'"),
    ],
)
def test_wrong_options(changes: dict[str, Any], said: str) -> None:
    """Told what is wrong, never what the value was."""
    with pytest.raises(ConfigError) as caught:
        MatrixChannel({"homeserver": "https://m.example", "token": TOKEN, "room": "!r:x", **changes})
    assert said in str(caught.value) and TOKEN not in str(caught.value)


def test_nothing_secret_is_rendered(alert: Callable[..., Alert]) -> None:
    """Neither in the row nor in the preview, which is readable."""
    channel = MatrixChannel({"homeserver": "https://m.example", "token": TOKEN, "room": "!r:x", "chart": True})
    body = channel.render(charted(alert()), START)
    assert TOKEN.encode() not in body and TOKEN not in repr(channel)
    assert channel.preview(body).startswith("(also as HTML, with a chart)\n\n[CRITICAL] Example Exchange")


def test_events_are_small(alert: Callable[..., Alert]) -> None:
    """Whatever the letters, wherever they stand: four bytes each, or nothing but what must be escaped."""
    channel = MatrixChannel({"homeserver": "https://m.example", "token": TOKEN, "room": "!r:x"})
    long = MatrixChannel({"homeserver": "https://m.example", "token": TOKEN, "room": "!r:x", "template": TEMPLATE})
    for letter in ("\"'<>&", "\U0001f4a5", "a.aa", "@room "):
        places = [{"destination": f"{letter * 300}{number}", "chain": letter * 300} for number in range(9)]
        incident = {
            "id": letter * 300,
            "entity": letter * 300,
            "explanation": [letter * 1000] * 60,
            "lost": [{"display": letter * 300}] * 9,
            "findings": places,
        }
        told = alert(title=letter * 300, incident=incident, runbook=letter * 900)
        for made in (channel, long):
            content = json.loads(made.render(told, START))["content"]
            assert len(json.dumps(content, ensure_ascii=False).encode()) <= EVENT_BYTES
            assert "left out" in content["body"]
