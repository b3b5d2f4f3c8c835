"""Every registered channel: frozen bytes, no hostile text, no secret anywhere, and no exception whatever answers.

A new channel needs an entry in `CHANNEL_OPTIONS`, its smallest options with `CANARY` wherever a secret goes.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import importlib.util
import json
import logging
import socket
import struct
import unicodedata
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alerts.base import Channel, Probed, Receipt
from alerts.make import make_channel
from monitor.model import Alert, AlertKind, Outcome, Severity
from monitor.registry import CHANNELS
from monitor.store import OutboxRow

CANARY = "CANARY7f3a5512345678901234567890"  # also a PagerDuty key, which has 32 characters
SIGNING = base64.b64encode(CANARY.encode()).decode()
QUEUED = 1_700_000_000.25

Options = Callable[[str, Path], dict[str, Any]]

CHANNEL_OPTIONS: dict[str, Options] = {
    "alertmanager": lambda place, _: {"url": f"http://{place}/{CANARY}", "token": CANARY, "timeout": 0.5},
    "apprise": lambda place, _: {"url": f"json://user:{CANARY}@{place}/{CANARY}?cto=0.5&rto=0.5", "timeout": 5},
    "circuit_breaker": lambda place, _: {
        "url": f"http://{place}/{CANARY}", "secret": SIGNING, "request_secret": f"second {CANARY}", "armed": True,
        "timeout": 0.5,
    },
    "console": lambda _, __: {},
    "discord": lambda place, _: {"url": f"http://{place}/api/webhooks/1/{CANARY}", "timeout": 0.5},
    "email": lambda place, _: {
        "host": place.split(":")[0], "port": int(place.split(":")[1]), "tls": "none", "username": "user",
        "password": CANARY, "from": "alarm@x.example", "to": ["desk@x.example"], "timeout": 1,
    },
    "exec": lambda _, __: {
        "command": ["/bin/sh", "-c", 'echo "$TOKEN" >&2; exit 1', CANARY], "env": {"TOKEN": CANARY}
    },
    "file": lambda _, folder: {"path": str(folder / "alerts.ndjson")},
    "matrix": lambda place, _: {
        "homeserver": f"http://{place}", "token": CANARY, "room": "!room:x.example", "timeout": 0.5
    },
    "mattermost": lambda place, _: {"url": f"http://{place}/hooks/{CANARY}", "timeout": 0.5},
    "opsgenie": lambda place, _: {"url": f"http://{place}", "api_key": CANARY, "timeout": 0.5},
    "pagerduty": lambda place, _: {"url": f"http://{place}/v2/enqueue", "routing_key": CANARY, "timeout": 0.5},
    "slack": lambda place, _: {"url": f"http://{place}/services/{CANARY}", "timeout": 0.5},
    "teams": lambda place, _: {"url": f"http://{place}/{CANARY}", "timeout": 0.5},
    "telegram": lambda place, _: {"api": f"http://{place}", "token": f"1:{CANARY}", "chat": "-100", "timeout": 0.5},
    "webhook": lambda place, _: {"url": f"http://{place}/{CANARY}", "secret": SIGNING, "timeout": 0.5},
}  # fmt: skip

LOCAL = {"console", "exec", "file"}  # they have no other side
DATA = {"labels", "incident", "runbook", "links", "covers"}  # parts of the JSON for programs, not for people

every_channel = pytest.mark.parametrize("name", sorted(CHANNELS))


def make(name: str, folder: Path, place: str = f"127.0.0.1:{9}") -> Channel:
    """A channel of that type whose other side is at ``place`` (host and port)."""
    assert name in CHANNEL_OPTIONS, f"channel {name} has no entry in CHANNEL_OPTIONS of this file"
    if name == "apprise" and importlib.util.find_spec("apprise") is None:
        pytest.skip("Apprise is not installed")
    return make_channel({"type": name, **CHANNEL_OPTIONS[name](place, folder)})


def told(**changes: Any) -> Alert:
    """An alert about an incident with everything in it."""
    finding = {
        "id": "f1", "detector": "drain", "wallet": "hot-1", "chain": "eip155:1", "severity": "critical",
        "at": "2023-11-14T22:13:20Z", "tx": "0x" + "ab" * 32, "block": 1, "asset": "eip155:1/slip44:60",
        "destination": "0x" + "cd" * 20, "value": "100", "summary": "Much left.",
        "evidence": {"share_of_typical": 0.9, "usual_daily_maximum": 0.01},
    }  # fmt: skip
    incident = {
        "id": "i1", "entity": "Example Exchange", "wallets": ["hot-1"], "status": "open", "severity": "critical",
        "revision": 1, "opened_at": "2023-11-14T22:13:20Z", "findings": [finding], "suspects": ["0x" + "cd" * 20],
        "lost": [{"chain": "eip155:1", "asset": "eip155:1/slip44:60", "value": "100", "display": "100 ETH"}],
        "share_lost": 0.9, "explanation": ["Much left.", "More than usual."],
    }  # fmt: skip
    fields: dict[str, Any] = {
        "id": "a1",
        "kind": AlertKind.OPENED,
        "title": "CRITICAL: Example Exchange: 100 ETH sent to suspects",
        "body": "Line one.\nLine two.",
        "severity": Severity.CRITICAL,
        "labels": {"severity": "critical", "entity": "Example Exchange", "wallet": "hot-1", "kind": "opened"},
        "runbook": "Stop withdrawals.",
        "incident": incident,
        "links": {"acknowledge": "https://watch.example/act/abc", "incident": "https://watch.example/incidents/i1"},
    }
    return Alert(**{**fields, **changes})


# -- the message --------------------------------------------------------------------------------------------------

HOSTILE = st.one_of(
    st.text(max_size=60),
    st.sampled_from([
        "US\u202eDT", "\x1b[2J\x07", "a\u200bb\u2066c", "<!channel> @everyone", "[x](https://evil.example)", "\ud800",
        "<script>", "{{ 7 * 7 }}", "x" * 20_000, "\u0000", "line\r\n.\r\nDATA", "\u2028\u2029\x85", "*_~`|>#",
        "\U000e0041",
    ]),
)  # fmt: skip


@st.composite
def hostile_alerts(draw: Callable[[Any], Any]) -> Alert:
    """Alerts in which everything that a chain or a stranger writes is hostile."""
    base = told().incident
    assert base is not None
    finding = dict(base["findings"][0])
    for field in ("tx", "destination", "summary", "asset", "wallet", "chain"):
        finding[field] = draw(HOSTILE)
    incident = {
        **base,
        "findings": [finding] * draw(st.integers(0, 7)),
        "suspects": [draw(HOSTILE)],
        "wallets": [draw(HOSTILE)],
        "lost": [{"chain": draw(HOSTILE), "asset": draw(HOSTILE), "value": "1", "display": draw(HOSTILE)}],
        "share_lost": draw(st.one_of(st.none(), st.floats(0, 1))),
        "lost_usd": draw(st.one_of(st.none(), st.floats(0, 1e12))),
        "explanation": [draw(HOSTILE), draw(HOSTILE)],
    }
    kind = draw(st.sampled_from(list(AlertKind)))
    return told(
        kind=kind,
        title=draw(HOSTILE) or "t",
        body=draw(HOSTILE),
        severity=draw(st.sampled_from([None, *Severity])),
        labels={"entity": draw(HOSTILE), "wallet": draw(HOSTILE), "kind": "opened"},
        incident=None if kind in (AlertKind.BLIND, AlertKind.RECOVERED) else incident,
    )


def texts(body: bytes) -> Iterator[str]:
    """What people may see of a rendered message: all texts of its JSON but data, or all of it."""
    try:
        value = json.loads(body)
    except ValueError:
        yield body.decode("utf-8", "strict")
        return
    yield from _inside(value)


def _inside(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if key not in DATA:
                yield from _inside(item)
    elif isinstance(value, list):
        for item in value:
            yield from _inside(item)


def invisible(text: str) -> list[str]:
    """Control, bidirectional and other format characters, line breaks apart."""
    kinds = ("Cc", "Cf", "Cs", "Co")
    return [f"U+{ord(c):04X}" for c in text if c not in "\n\r\t" and unicodedata.category(c) in kinds]


@every_channel
def test_render_is_deterministic(name: str, tmp_path: Path) -> None:
    """Equal alerts give equal bytes, in one channel and in another of the same options; no secret is among them."""
    for kind in AlertKind:
        bodies = {make(name, tmp_path).render(told(kind=kind), QUEUED) for _ in range(2)}
        (body,) = bodies
        assert isinstance(body, bytes)
        assert CANARY.encode() not in body
        assert SIGNING.encode() not in body


@every_channel
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(alert=hostile_alerts())
def test_hostile_text(name: str, tmp_path: Path, alert: Alert) -> None:
    """Whatever a chain says, a message is made, and nothing in it that people see is invisible or turns text round."""
    body = make(name, tmp_path).render(alert, QUEUED)
    for text in texts(body):
        assert invisible(text) == [], text[:200]


@every_channel
def test_a_drill_is_called_one(name: str, tmp_path: Path) -> None:
    """Nobody can take it for real."""
    drill = told(kind=AlertKind.DRILL, title="CRITICAL: Example Exchange: 100 ETH sent to suspects")
    assert "drill" in make(name, tmp_path).render(drill, QUEUED).decode().lower()


# -- the other side -----------------------------------------------------------------------------------------------

STATUSES = {"500": 500, "404": 404, "410": 410, "429": 429, "401": 401}
FAULTS = [*STATUSES, "echo", "refused", "garbage", "reset", "silent", "half"]


@contextlib.asynccontextmanager
async def other_side(fault: str) -> AsyncIterator[str]:
    """Host and port of a server that fails in one way."""
    if fault == "refused":
        with socket.socket() as held:  # bound, not listening
            held.bind(("127.0.0.1", 0))
            yield f"127.0.0.1:{held.getsockname()[1]}"
        return
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            asked = await _request(reader)
            await _answer(fault, asked, writer, ended)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        ended.set()
        server.close()
        await server.wait_closed()


async def _request(reader: asyncio.StreamReader) -> bytes:
    """A request with its body; empty where the other side waits for our greeting, as mail does."""
    try:
        async with asyncio.timeout(0.2):
            head = await reader.readuntil(b"\r\n\r\n")
    except TimeoutError:
        return b""
    length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return head + (await reader.readexactly(int(length[0].split(b":")[1])) if length else b"")


async def _answer(fault: str, asked: bytes, writer: asyncio.StreamWriter, ended: asyncio.Event) -> None:
    if fault == "silent":
        await ended.wait()
        return
    if fault == "reset":
        linger = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        return
    if fault == "garbage":
        writer.write(b"\x00\xff nonsense\r\n\r\n")
    elif fault == "half":
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf")
    else:
        status = STATUSES.get(fault, 400)
        text = asked if fault == "echo" else b"[not what you expect"
        head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(text)}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode() + text)
    await writer.drain()


async def attempt(channel: Channel, alert: Alert) -> Receipt:
    """One attempt, and two closings."""
    body = channel.render(alert, QUEUED)
    row = OutboxRow(alert.id, "soc", f"0:{channel.type}", body, QUEUED, alert.type, "i1", 4)
    try:
        receipt = await channel.send(row, QUEUED + 1)
    finally:
        await channel.aclose()
        await channel.aclose()
    return receipt


@pytest.mark.parametrize(
    ("name", "fault"),
    [(name, fault) for name in sorted(CHANNELS) for fault in (FAULTS[:1] if name in LOCAL else FAULTS)],
)
async def test_no_failure_is_raised_and_no_secret_shown(
    name: str, fault: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A failure is a receipt, never an acceptance; secrets are in no receipt, log or representation."""
    caplog.set_level(logging.DEBUG)
    async with other_side(fault) as place:
        channel = make(name, tmp_path, place)
        shown = [repr(channel), str(channel)]
        receipt = await attempt(channel, told())
    assert isinstance(receipt, Receipt)
    if name not in LOCAL:
        assert receipt.outcome is not Outcome.ACCEPTED
    if name not in LOCAL and fault in ("500", "429", "refused", "reset", "silent", "half", "garbage"):
        assert receipt.outcome is Outcome.RETRY
    shown += [repr(receipt), caplog.text]
    for text in shown:
        assert CANARY not in text
        assert SIGNING not in text


@every_channel
async def test_closing_an_unused_channel(name: str, tmp_path: Path) -> None:
    """Before the first attempt, and twice."""
    channel = make(name, tmp_path)
    await channel.aclose()
    await channel.aclose()


@pytest.mark.parametrize("fault", ["500", "echo", "refused", "reset", "silent"])
@pytest.mark.parametrize("name", sorted(set(CHANNELS) - {"apprise"}))  # can be tried by a message alone
async def test_a_channel_can_be_tried_without_a_message(
    name: str, fault: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Who is not there is said so; nothing is raised, nothing posted, and no secret shown."""
    caplog.set_level(logging.DEBUG)
    async with other_side(fault) as place:
        channel = make(name, tmp_path, place)
        assert isinstance(channel, Probed)
        receipt = await channel.probe(QUEUED)
        await channel.aclose()
    if name not in LOCAL and fault in ("refused", "reset", "silent"):
        assert receipt.outcome is Outcome.RETRY
    if name in LOCAL:
        assert receipt.outcome is Outcome.ACCEPTED
    assert receipt.detail and CANARY not in repr(receipt) + caplog.text
