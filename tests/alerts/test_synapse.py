"""Matrix against a real homeserver, Synapse: posts, threads, edits, pictures, limits, and what people are told of."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import Request, urlopen

import pytest

from alerts.base import Receipt
from alerts.channels.matrix import LOOK_SECONDS, MatrixChannel
from alerts.outbox import rows
from monitor.model import Alert, AlertKind, Outcome, Reason

SYNAPSE = Path(__file__).parents[2] / ".tools/synapse/bin"
START = 1_700_000_000.0
TOKEN = "CANARY-matrix-77d0"
ALLOWED = {"p", "strong", "em", "ul", "li", "a", "br", "span"}  # a part of what the specification permits


def absent(reason: str) -> None:
    """Skip, or fail where CI=true: a real component may be missing only on a developer's machine."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@dataclass
class Homeserver:
    """A running Synapse with two accounts, the bot and a person who watches."""

    url: str
    token: str  # of the bot
    watcher: str  # of the person
    slow: str  # of an account that may send little

    def call(self, method: str, path: str, body: Any = None, token: str = "") -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {token or self.token}", "Content-Type": "application/json"}
        with urlopen(
            Request(f"{self.url}/_matrix/client/v3{path}", data, headers, method=method), timeout=20
        ) as answer:
            return json.load(answer)

    def room(self, **changes: Any) -> str:
        """A new room of the bot's."""
        made: str = self.call("POST", "/createRoom", {"preset": "public_chat", **changes})["room_id"]
        return made

    def media(self, server: str, name: str) -> bytes:
        """An uploaded file, as the person gets it."""
        path = f"{self.url}/_matrix/client/v1/media/download/{server}/{name}"
        with urlopen(Request(path, headers={"Authorization": f"Bearer {self.watcher}"}), timeout=20) as answer:
            data: bytes = answer.read()
        return data

    def messages(self, room: str) -> list[dict[str, Any]]:
        """What the room shows, oldest first; each event as people get it, edits applied."""
        found = self.call("GET", f"/rooms/{quote(room)}/messages?dir=f&limit=100")["chunk"]
        return [event for event in found if event["type"] == "m.room.message"]


@pytest.fixture(scope="session")
def homeserver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Homeserver]:
    """Synapse on this machine alone, with a database in memory and nobody to federate with."""
    if not (SYNAPSE / "synapse_homeserver").exists():
        absent("matrix-synapse is not in .tools/synapse")
    folder = tmp_path_factory.mktemp("synapse")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    config = folder / "homeserver.yaml"
    plenty = {"per_second": 1000, "burst_count": 1000}
    config.write_text(
        json.dumps(
            {
                "server_name": "localhost",
                "pid_file": str(folder / "pid"),
                "listeners": [
                    {
                        "port": port,
                        "bind_addresses": ["127.0.0.1"],
                        "type": "http",
                        "resources": [{"names": ["client", "media"]}],
                    }
                ],
                "database": {"name": "sqlite3", "args": {"database": ":memory:"}},
                "media_store_path": str(folder / "media"),
                "signing_key_path": str(folder / "key"),
                "log_config": None,
                "report_stats": False,
                "trusted_key_servers": [],
                "suppress_key_server_warning": True,
                "federation_domain_whitelist": [],
                "enable_registration": False,
                "registration_shared_secret": "registration",
                "macaroon_secret_key": "macaroon",
                "form_secret": "form",
                "bcrypt_rounds": 4,
                "rc_message": {"per_second": 0.2, "burst_count": 2},
                "rc_login": {"address": plenty, "account": plenty, "failed_attempts": plenty},
                "rc_joins": {"local": plenty, "remote": plenty},
                "url_preview_enabled": False,
            }
        )
    )
    command = [SYNAPSE / "python", "-m", "synapse.app.homeserver", "--config-path", config]
    seed = base64.b64encode(bytes(range(32))).decode().rstrip("=")
    (folder / "key").write_text(f"ed25519 a_test {seed}\n")  # nobody but these tests believes it
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=output)
        try:
            yield _populated(f"http://127.0.0.1:{port}", port, config, process)
        finally:
            process.terminate()
            process.wait(20)


def _populated(url: str, port: int, config: Path, process: subprocess.Popen[bytes]) -> Homeserver:
    deadline = time.monotonic() + 60
    while True:
        assert process.poll() is None, (config.parent / "output").read_text()[-2000:]
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
            break
        except OSError:
            assert time.monotonic() < deadline, "synapse does not listen"
            time.sleep(0.05)
    made = Homeserver(url, "", "", "")
    for name, admin in (("bot", True), ("person", False), ("slow", False)):
        _register(url, name, admin)
    login = {"type": "m.login.password", "password": "password"}
    for field, name in (("token", "bot"), ("watcher", "person"), ("slow", "slow")):
        identifier = {"type": "m.id.user", "user": name}
        setattr(made, field, made.call("POST", "/login", {**login, "identifier": identifier}, "none")["access_token"])
    for name in ("bot", "person"):  # no limit for these two; the third keeps that of the configuration
        path = f"{url}/_synapse/admin/v1/users/{quote(f'@{name}:localhost')}/override_ratelimit"
        headers = {"Authorization": f"Bearer {made.token}", "Content-Type": "application/json"}
        body = b'{"messages_per_second": 0, "burst_count": 0}'
        urlopen(Request(path, body, headers, method="POST"), timeout=20).close()
    return made


def _register(url: str, name: str, admin: bool) -> None:
    """As `register_new_matrix_user` does, with the shared secret."""
    path = f"{url}/_synapse/admin/v1/register"
    with urlopen(path, timeout=20) as answer:
        nonce = json.load(answer)["nonce"]
    said = "\0".join((nonce, name, "password", "admin" if admin else "notadmin"))
    mac = hmac.new(b"registration", said.encode(), hashlib.sha1).hexdigest()
    body = {"nonce": nonce, "username": name, "password": "password", "admin": admin, "mac": mac}
    urlopen(Request(path, json.dumps(body).encode(), {"Content-Type": "application/json"}), timeout=20).close()


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


def channel_of(server: Homeserver, room: str, **changes: Any) -> MatrixChannel:
    return MatrixChannel({"homeserver": server.url, "token": server.token, "room": room, **changes})


def charted(told: Alert) -> Alert:
    """With evidence that a chart can be drawn of."""
    finding = {
        "wallet": "hot-1", "chain": "eip155:1", "asset": "eth", "at": "2018-01-25T15:04:00Z", "value": "500",
        "evidence": {"typical_balance": 1000, "usual_daily_maximum": 0.05, "share_of_typical": 0.5},
    }  # fmt: skip
    return replace(told, incident={**(told.incident or {}), "entity": "Example Exchange", "findings": [finding]})


class Tags(HTMLParser):
    """Collects tags, links and attributes."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.links: list[str] = []
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.links += [value or "" for name, value in attrs if name == "href"]

    def handle_data(self, data: str) -> None:
        self.text += data


async def test_posted_and_threaded(homeserver: Homeserver, send: Send, alert: Callable[..., Alert]) -> None:
    """Both forms; what is sent twice is there once; an update is in the thread, what must be seen is a reply."""
    room = homeserver.room()
    channel = channel_of(homeserver, room)
    told = alert("posted-1", links={"acknowledge": "https://hw.example/ack?a=1&b=2"})
    first = await send(channel, told)
    assert (first.outcome, first.reason) == (Outcome.ACCEPTED, Reason.OK)
    assert first.external_id and first.external_id.startswith("$")
    again = await send(channel, told)
    assert again.external_id == first.external_id
    second = await send(channel, replace(told, id="posted-2", kind=AlertKind.UPDATED), first.external_id)
    third = await send(channel, replace(told, id="posted-3", kind=AlertKind.ESCALATED), first.external_id)
    one, two, three = homeserver.messages(room)
    assert [event["event_id"] for event in (one, two, three)] == [
        first.external_id, second.external_id, third.external_id,
    ]  # fmt: skip
    content = one["content"]
    assert content["msgtype"] == "m.text" and content["format"] == "org.matrix.custom.html"
    assert content["m.mentions"] == {}
    assert content["body"].startswith("[CRITICAL] Example Exchange: 100 ETH sent to suspects\n")
    assert "Acknowledge: https://hw.example/ack?a=1&b=2" in content["body"]
    seen = Tags(content["formatted_body"])
    assert seen.tags <= ALLOWED and seen.attributes <= {"href", "data-mx-bg-color", "data-mx-color"}
    assert seen.links == ["https://hw.example/ack?a=1&b=2"]
    relation = two["content"]["m.relates_to"]
    assert (relation["rel_type"], relation["event_id"]) == ("m.thread", first.external_id)
    assert three["content"]["m.relates_to"] == {"m.in_reply_to": {"event_id": first.external_id}}
    thread = homeserver.call("GET", f"/rooms/{quote(room)}/event/{quote(first.external_id)}")
    assert thread["unsigned"]["m.relations"]["m.thread"]["count"] == 1


async def test_alias_and_edit(homeserver: Homeserver, send: Send, alert: Callable[..., Alert]) -> None:
    """A room by its alias; with `edit` an update replaces the first message, an escalation does not."""
    room = homeserver.room(room_alias_name="alarms")
    channel = channel_of(homeserver, "#alarms:localhost", edit=True)
    first = await send(channel, alert("edit-1"))
    told = alert("edit-2", kind=AlertKind.UPDATED, title="CRITICAL: Example Exchange: 300 ETH sent to suspects")
    assert (await send(channel, told, first.external_id)).outcome is Outcome.ACCEPTED
    told = replace(told, id="edit-3", kind=AlertKind.ESCALATED)
    assert (await send(channel, told, first.external_id)).outcome is Outcome.ACCEPTED
    events = homeserver.messages(room)
    relations = [event["content"]["m.relates_to"] for event in events[1:]]
    assert relations[0]["rel_type"] == "m.replace" and "m.in_reply_to" in relations[1]
    shown = homeserver.call("GET", f"/rooms/{quote(room)}/event/{quote(first.external_id or '')}")
    replacement = shown["unsigned"]["m.relations"]["m.replace"]
    assert replacement["content"]["m.new_content"]["body"].startswith("[CRITICAL] Example Exchange: 300 ETH")


async def test_chart(homeserver: Homeserver, send: Send, alert: Callable[..., Alert]) -> None:
    """Uploaded, and in the message's thread; a second sending adds nothing."""
    room = homeserver.room()
    channel = channel_of(homeserver, room, chart=True)
    told = charted(alert("chart-1"))
    first = await send(channel, told)
    await send(channel, told)
    message, picture = homeserver.messages(room)
    assert message["event_id"] == first.external_id
    assert picture["content"]["msgtype"] == "m.image"
    assert picture["content"]["m.relates_to"]["event_id"] == first.external_id
    server, _, media = picture["content"]["url"].removeprefix("mxc://").partition("/")
    png = homeserver.media(server, media)
    assert png.startswith(b"\x89PNG") and len(png) == picture["content"]["info"]["size"]


async def test_hostile_text_notifies_nobody(homeserver: Homeserver, send: Send, alert: Callable[..., Alert]) -> None:
    """Mentions, links and markup in a token's name are text: the person's client is told of no highlight."""
    room = homeserver.room()
    homeserver.call("POST", f"/join/{quote(room)}", {}, homeserver.watcher)
    since = homeserver.call("GET", "/sync?timeout=0", token=homeserver.watcher)["next_batch"]
    name = (
        "<b>x</b> @room @person:localhost person #alarms:localhost https://matrix.to/#/@person:localhost "
        "[x](https://evil.example) <a href='https://evil.example'>y</a> <img src=x> \u202eevil"
    )
    told = alert("hostile", title=f"CRITICAL: {name}", body=name, incident={"id": "i1", "explanation": [name]})
    assert (await send(channel_of(homeserver, room), told)).outcome is Outcome.ACCEPTED
    (event,) = homeserver.messages(room)
    seen = Tags(event["content"]["formatted_body"])
    assert seen.tags <= ALLOWED and not seen.links
    for form in (seen.text, event["content"]["body"]):
        for live in ("@room", "@person:", "#alarms:", "https://", "evil.example", "matrix.to", "\u202e"):
            assert live not in form
        assert "<b>x</b>" in form
    joined = homeserver.call("GET", f"/sync?timeout=0&since={since}", token=homeserver.watcher)["rooms"]["join"][room]
    assert joined["unread_notifications"].get("highlight_count", 0) == 0
    assert joined["unread_notifications"]["notification_count"] == 1


async def test_encrypted_rooms_are_refused(homeserver: Homeserver, send: Send, alert: Callable[..., Alert]) -> None:
    """Also one that is encrypted later on: looked at anew from time to time."""
    encryption = {"algorithm": "m.megolm.v1.aes-sha2"}
    room = homeserver.room(initial_state=[{"type": "m.room.encryption", "state_key": "", "content": encryption}])
    receipt = await send(channel_of(homeserver, room), alert("encrypted-1"))
    assert (receipt.outcome, receipt.reason) == (Outcome.REJECTED, Reason.CLIENT_ERROR)
    assert receipt.detail == "127.0.0.1: the room is encrypted, which is not supported: use a room without encryption"
    room = homeserver.room()
    channel = channel_of(homeserver, room)
    assert (await send(channel, alert("encrypted-2"))).outcome is Outcome.ACCEPTED
    homeserver.call("PUT", f"/rooms/{quote(room)}/state/m.room.encryption", encryption)
    receipt = await send(channel, alert("encrypted-3"), now=START + LOOK_SECONDS)
    assert (receipt.outcome, receipt.reason) == (Outcome.REJECTED, Reason.CLIENT_ERROR)


async def test_refusals(homeserver: Homeserver, send: Send, alert: Callable[..., Alert]) -> None:
    """A wrong token, a room that is not there or not joined, an alias that nobody has: dead letters, told apart."""
    room = homeserver.room()
    receipt = await send(channel_of(homeserver, room, token=TOKEN), alert())
    assert (receipt.outcome, receipt.reason) == (Outcome.REJECTED, Reason.AUTH)
    assert "M_UNKNOWN_TOKEN" in receipt.detail and TOKEN not in repr(receipt)
    for place, token in (("!nowhere:localhost", homeserver.token), (room, homeserver.slow)):
        receipt = await send(channel_of(homeserver, place, token=token), alert())
        assert (receipt.outcome, receipt.reason) == (Outcome.REJECTED, Reason.AUTH)
        assert "M_FORBIDDEN" in receipt.detail and "member" in receipt.detail
    receipt = await send(channel_of(homeserver, "#nobody:localhost"), alert())
    assert (receipt.outcome, receipt.reason) == (Outcome.REJECTED, Reason.CLIENT_ERROR)
    assert receipt.detail == "127.0.0.1 answered 404 (M_NOT_FOUND): there is no room of that alias"


async def test_limits(homeserver: Homeserver, send: Send, alert: Callable[..., Alert]) -> None:
    """Too many messages: the homeserver says how long to wait."""
    room = homeserver.room()
    homeserver.call("POST", f"/join/{quote(room)}", {}, homeserver.slow)
    channel = channel_of(homeserver, room, token=homeserver.slow)
    receipts = [await send(channel, alert(f"limit-{number}")) for number in range(4)]
    limited = [receipt for receipt in receipts if receipt.outcome is Outcome.RETRY]
    assert receipts[0].outcome is Outcome.ACCEPTED and limited
    assert all(receipt.reason is Reason.RATE_LIMITED and receipt.retry_after for receipt in limited)


async def test_large_messages(homeserver: Homeserver, send: Send, alert: Callable[..., Alert]) -> None:
    """An event has a limit: what does not fit is cut, and says so; an edit says everything twice and still fits."""
    room = homeserver.room()
    channel = channel_of(homeserver, room, edit=True)
    first = None
    for number, letter in enumerate(("<", "逃", "\U0001f4a5", "a.aa")):
        lines = [letter * (2000 // len(letter))] * 60
        told = alert(f"large-{number}", kind=AlertKind.UPDATED, incident={"id": "i1", "explanation": lines})
        receipt = await send(channel, told, first)
        assert receipt.outcome is Outcome.ACCEPTED, receipt
        first = receipt.external_id
    for event in homeserver.messages(room):
        assert "left out" in event["content"]["body"]
