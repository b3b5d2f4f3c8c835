"""Webhooks against a real server on this machine: what goes out, what each answer means, what is never shown."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import logging
import shutil
import socket
import ssl
import struct
import subprocess
import sys
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from alerts.base import Receipt
from alerts.channels.webhook import WebhookChannel
from monitor.errors import ConfigError
from monitor.model import Alert, AlertKind, Outcome, Reason
from monitor.registry import CHANNELS, load
from monitor.store import OutboxRow

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
OTHER = "whsec_" + base64.b64encode(bytes(range(32, 64))).decode()
CANARY = "CANARY-7f3a"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Server:
    """A receiver that keeps what came and answers as told."""

    def __init__(self) -> None:
        self.url = ""
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.answer: Handler = self._ok

    async def _ok(self, request: web.Request) -> web.StreamResponse:
        return web.Response(status=204)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        assert request.method == "POST"
        self.requests.append((dict(request.headers), await request.read()))
        return await self.answer(request)

    def says(self, status: int, **headers: str) -> None:
        async def answer(request: web.Request) -> web.StreamResponse:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            return web.Response(status=status, headers=named)

        self.answer = answer


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.handle)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook/{CANARY}"
    yield made
    await runner.cleanup()


@pytest.fixture
async def channel(server: Server) -> AsyncIterator[WebhookChannel]:
    made = WebhookChannel({"type": "webhook", "url": server.url, "secret": SECRET, "timeout": 5})
    yield made
    await made.aclose()


def queued(channel: WebhookChannel, alert: Alert, row: Callable[..., OutboxRow]) -> OutboxRow:
    return row(alert.id, body=channel.render(alert, 1_700_000_000.25))


@pytest.fixture
def send(alert: Callable[..., Alert], row: Callable[..., OutboxRow]) -> Callable[[WebhookChannel], Awaitable[Receipt]]:
    """One attempt with an ordinary alert, now."""

    async def attempt(channel: WebhookChannel) -> Receipt:
        receipt = await channel.send(queued(channel, alert(), row), time.time())
        assert CANARY not in repr(receipt)
        return receipt

    return attempt


Send = Callable[[WebhookChannel], Awaitable[Receipt]]


async def attempt_raw(send: Send, answer: bytes, *, then: str = "close", timeout: float = 5) -> Receipt:
    """An attempt at a server that answers with these bytes, then closes, resets or falls silent."""
    served = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await writer.drain()
            if then == "reset":
                linger = struct.pack("ii", 1, 0)
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            elif then == "silent":
                await reader.read()  # until the other side gives up
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        served.set()

    made = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{made.sockets[0].getsockname()[1]}/{CANARY}"
    channel = WebhookChannel({"url": url, "secret": SECRET, "timeout": timeout})
    try:
        return await send(channel)
    finally:
        await channel.aclose()
        await served.wait()
        made.close()
        await made.wait_closed()


# -- the message --------------------------------------------------------------------------------------------------


def test_body(alert: Callable[..., Alert]) -> None:
    """The body holds exactly what the documentation says, as canonical JSON: the same bytes for the same alert."""
    channel = load(CHANNELS, "webhook", "channel type")({"url": "https://x.example", "secret": SECRET})
    body = channel.render(alert(), 1_700_000_000.25)
    assert json.loads(body) == {
        "type": "incident.opened",
        "timestamp": "2023-11-14T22:13:20.250Z",
        "data": {
            "id": "a1",
            "kind": "opened",
            "severity": "critical",
            "title": "CRITICAL: Example Exchange: 100 ETH sent to suspects",
            "body": "Line one.\nLine two.",
            "labels": dict(alert().labels),
            "runbook": "Stop withdrawals.",
            "incident": {"id": "i1", "lost": [{"value": "100000000000000000000"}], "share_lost": 0.5},
        },
    }
    assert body == channel.render(alert(labels=dict(reversed(alert().labels.items()))), 1_700_000_000.25)
    assert body.startswith(b'{"data":{"body":"Line one.\\nLine two.","id":"a1"')


@pytest.mark.parametrize("kind", [AlertKind.BLIND, AlertKind.RECOVERED])
def test_body_of_the_monitor(alert: Callable[..., Alert], kind: AlertKind) -> None:
    """An alert of the monitor itself has no severity, and null as its incident."""
    channel = WebhookChannel({"url": "https://x.example", "secret": SECRET})
    body = json.loads(channel.render(alert(kind=kind, incident=None), 1.0))
    assert body["type"] == f"monitor.{kind}"
    assert "severity" not in body["data"]
    assert body["data"]["incident"] is None


def test_hostile_text_in_a_body(alert: Callable[..., Alert]) -> None:
    """Token names cannot break the JSON, turn the text around or lose the alert."""
    channel = WebhookChannel({"url": "https://x.example", "secret": SECRET})
    incident = {"id": "i", "share_lost": float("nan"), "s": "\udfff"}
    hostile = alert(title='a\u202eb\x00"c', body="\ud800x\ny", incident=incident)
    data = json.loads(channel.render(hostile, 1.0))["data"]
    assert (data["title"], data["body"]) == ('ab"c', "x\ny")
    assert data["incident"] == {"id": "i", "share_lost": None, "s": "\\udfff"}


async def test_signed_request(server: Server, alert: Callable[..., Alert], row: Callable[..., OutboxRow]) -> None:
    """The receiver's library accepts what is sent; a changed body, id, time or secret fails."""
    channel = WebhookChannel({"url": server.url, "secret": SECRET, "headers": {"X-Team": "soc"}})
    waiting = queued(channel, alert(title="commas, ünïcode コイン"), row)
    now = time.time()
    assert await channel.send(waiting, now) == Receipt(Outcome.ACCEPTED, Reason.OK, detail="204")
    await channel.aclose()
    ((headers, body),) = server.requests
    assert body == waiting.body
    assert headers["webhook-id"] == "a1"
    assert headers["webhook-timestamp"] == str(int(now))
    assert headers["Content-Type"] == "application/json"
    assert headers["User-Agent"].startswith("heistwatch/")
    assert headers["X-Team"] == "soc"
    receiver = Webhook(SECRET)
    assert receiver.verify(body, headers)["data"]["title"] == "commas, ünïcode コイン"
    for wrong, changed in (
        (body.replace(b"critical", b"low", 1), headers),
        (body, {**headers, "webhook-id": "a2"}),
        (body, {**headers, "webhook-timestamp": str(int(now) + 1)}),
    ):
        with pytest.raises(WebhookVerificationError):
            receiver.verify(wrong, changed)
    with pytest.raises(WebhookVerificationError):
        Webhook(OTHER).verify(body, headers)


async def test_attempts_are_signed_anew(server: Server, channel: WebhookChannel, alert: Any, row: Any) -> None:
    """A later attempt has its own time and signature, the same id and bytes."""
    waiting = queued(channel, alert(), row)
    now = time.time()
    await channel.send(waiting, now - 60)
    await channel.send(replace(waiting, attempts=1), now)
    (first, one), (second, two) = server.requests
    assert one == two
    assert first["webhook-id"] == second["webhook-id"]
    assert int(second["webhook-timestamp"]) - int(first["webhook-timestamp"]) == 60
    assert first["webhook-signature"] != second["webhook-signature"]
    Webhook(SECRET).verify(two, second)


async def test_rotation(server: Server, send: Send) -> None:
    """While a secret rotates, receivers that hold the old or the new one both accept."""
    channel = WebhookChannel({"url": server.url, "secret": OTHER, "secrets": [SECRET, OTHER]})
    await send(channel)
    await channel.aclose()
    ((headers, body),) = server.requests
    signatures = headers["webhook-signature"].split(" ")
    assert len(signatures) == 2
    assert all(signature.startswith("v1,") for signature in signatures)
    for secret in (SECRET, OTHER):
        Webhook(secret).verify(body, headers)
    alone = {**headers, "webhook-signature": signatures[0]}
    Webhook(OTHER).verify(body, alone)
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(body, alone)


# -- answers ------------------------------------------------------------------------------------------------------


def expected(status: int) -> tuple[Outcome, Reason]:
    """The rule of the documentation, written apart from the code."""
    if status < 300:
        return Outcome.ACCEPTED, Reason.OK
    if status >= 500:
        return Outcome.RETRY, Reason.SERVER_ERROR
    return {
        401: (Outcome.REJECTED, Reason.AUTH),
        403: (Outcome.REJECTED, Reason.AUTH),
        408: (Outcome.RETRY, Reason.TIMEOUT),
        410: (Outcome.REJECTED, Reason.GONE),
        425: (Outcome.RETRY, Reason.CLIENT_ERROR),
        429: (Outcome.RETRY, Reason.RATE_LIMITED),
    }.get(status, (Outcome.REJECTED, Reason.CLIENT_ERROR))


async def test_every_status(server: Server, channel: WebhookChannel, send: Send) -> None:
    """Every status from 200 to 599 means what the documentation says."""
    for status in range(200, 600):
        server.says(status)
        receipt = await send(channel)
        assert (status, receipt.outcome, receipt.reason) == (status, *expected(status))
        assert str(status) in receipt.detail
        assert receipt.retry_after is None


async def test_redirects_are_not_followed(server: Server, channel: WebhookChannel, send: Send) -> None:
    """The signed body never goes to where an answer points; the detail says what to do, and no address."""
    server.says(307, Location=f"{server.url}/elsewhere")
    receipt = await send(channel)
    assert (receipt.outcome, receipt.reason) == (Outcome.REJECTED, Reason.CLIENT_ERROR)
    assert receipt.detail.startswith("127.0.0.1 answered 307, a redirect: they are not followed")
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [429, 503, 500])
async def test_retry_after(server: Server, channel: WebhookChannel, send: Send, status: int) -> None:
    """Both forms of Retry-After are read; a refusal for good has none."""
    server.says(status, Retry_After="17")
    assert (await send(channel)).retry_after == 17
    server.says(status, Retry_After=formatdate(time.time() + 60, usegmt=True))
    pause = (await send(channel)).retry_after
    assert pause is not None
    assert 58 <= pause <= 61
    server.says(404, Retry_After="17")
    assert (await send(channel)).retry_after is None


async def test_slow_answer(server: Server, send: Send) -> None:
    """A receiver that does not answer in time is a time-out, and its request was cut off."""
    gone = asyncio.Event()

    async def slow(request: web.Request) -> web.StreamResponse:
        try:
            await asyncio.Event().wait()
        finally:
            gone.set()
        raise AssertionError

    server.answer = slow
    channel = WebhookChannel({"url": server.url, "secret": SECRET, "timeout": 0.2})
    receipt = await send(channel)
    assert (receipt.outcome, receipt.reason) == (Outcome.RETRY, Reason.TIMEOUT)
    assert receipt.detail == "127.0.0.1 did not answer within 0.2 s"
    async with asyncio.timeout(10):
        await gone.wait()
    await channel.aclose()


@pytest.mark.parametrize(
    ("answer", "then", "reason"),
    [
        (b"", "close", Reason.CONNECTION),
        (b"", "reset", Reason.CONNECTION),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\npart", "close", Reason.CONNECTION),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\npart", "reset", Reason.CONNECTION),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", "close", Reason.CONNECTION),
        (b"HTTP/1.1 200 OK\r\nContent-Le", "close", Reason.CONNECTION),
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "close", Reason.CONNECTION),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\npart", "silent", Reason.TIMEOUT),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n", "close", Reason.CONNECTION),
    ],
)
async def test_answers_that_break_off(send: Send, answer: bytes, then: str, reason: Reason) -> None:
    """An answer that is not whole is no acceptance: tried again."""
    receipt = await attempt_raw(send, answer, then=then, timeout=0.5 if then == "silent" else 5)
    assert (receipt.outcome, receipt.reason) == (Outcome.RETRY, reason)


async def test_endless_answer_is_read_to_a_bound(send: Send) -> None:
    """An acceptance that never stops talking is an acceptance; what follows 64 kB is not read."""
    receipt = await attempt_raw(
        send, b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n" + b"x" * 70_000, then="silent"
    )
    assert (receipt.outcome, receipt.reason) == (Outcome.ACCEPTED, Reason.OK)


async def test_compressed_nonsense_is_accepted(send: Send) -> None:
    """Answers are not unpacked, so that no bomb and no broken compression matters."""
    receipt = await attempt_raw(
        send, b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnope"
    )
    assert receipt.outcome is Outcome.ACCEPTED


async def test_refused(send: Send) -> None:
    """Nobody listens: tried again; the detail names the host alone."""
    with socket.socket() as held:  # bound, not listening: refuses, and nobody else can take the port
        held.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{held.getsockname()[1]}/{CANARY}"
        channel = WebhookChannel({"url": url, "secret": SECRET})
        receipt = await send(channel)
        await channel.aclose()
    assert (receipt.outcome, receipt.reason) == (Outcome.RETRY, Reason.CONNECTION)
    assert receipt.detail == "127.0.0.1 could not be reached: Connection refused"


async def test_unknown_host(send: Send, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name without an address is tried again: name servers fail too."""

    async def fails(*args: Any, **options: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    channel = WebhookChannel({"url": f"https://nowhere.example/{CANARY}", "secret": SECRET})
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", fails)
    receipt = await send(channel)
    await channel.aclose()
    assert (receipt.outcome, receipt.reason) == (Outcome.RETRY, Reason.CONNECTION)
    assert receipt.detail == "nowhere.example has no address: the name look-up failed"


@pytest.fixture
def self_signed(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that nobody vouches for, and its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    command = f"{openssl} req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    command += f" -addext subjectAltName=IP:127.0.0.1 -keyout {key} -out {certificate}"
    subprocess.run(command.split(), check=True, capture_output=True)
    return certificate, key


async def test_tls_failures(send: Send, server: Server, self_signed: tuple[Path, Path]) -> None:
    """A certificate that nobody vouches for, and a port without TLS, are TLS failures: nothing is sent to them."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*self_signed)
    got: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.append(await reader.read(10))
        writer.close()

    made = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    url = f"https://127.0.0.1:{made.sockets[0].getsockname()[1]}/{CANARY}"
    channel = WebhookChannel({"url": url, "secret": SECRET})
    receipt = await send(channel)
    await channel.aclose()
    made.close()
    await made.wait_closed()
    assert (receipt.outcome, receipt.reason) == (Outcome.RETRY, Reason.TLS)
    assert receipt.detail == "127.0.0.1 showed a certificate that does not hold: self-signed certificate"
    assert got == []

    plain = WebhookChannel({"url": server.url.replace("http:", "https:"), "secret": SECRET})
    receipt = await send(plain)
    await plain.aclose()
    assert (receipt.outcome, receipt.reason) == (Outcome.RETRY, Reason.TLS)
    assert server.requests == []


async def test_cancellation_passes_and_close_is_safe(server: Server, alert: Any, row: Any) -> None:
    """Cancelling an attempt is no answer; closing twice, or before any attempt, is fine; sending again opens anew."""
    channel = WebhookChannel({"url": server.url, "secret": SECRET})
    await channel.aclose()
    came = asyncio.Event()

    async def hang(request: web.Request) -> web.StreamResponse:
        came.set()
        await asyncio.Event().wait()
        raise AssertionError

    server.answer = hang
    task = asyncio.create_task(channel.send(queued(channel, alert(), row), time.time()))
    await came.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await channel.aclose()
    await channel.aclose()
    server.says(200)
    assert (await channel.send(queued(channel, alert(), row), time.time())).outcome is Outcome.ACCEPTED
    await channel.aclose()


# -- options ------------------------------------------------------------------------------------------------------


def problems(**options: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        WebhookChannel(options)
    text = "".join(traceback.format_exception(caught.value, chain=True)) + repr(caught.value)
    assert CANARY not in text
    return [str(problem).removeprefix("webhook channel: ") for problem in caught.value.problems]


def test_every_problem_at_once() -> None:
    """All that is wrong with the options is said together, and none of their values."""
    found = problems(
        url=f"ftp://{CANARY}",
        secret=f"{CANARY}!",
        timout=3,
        timeout=0,
        headers={"webhook-id": CANARY, "X-A": f"{CANARY}\r\nX-B: 1", "User-Agent": "x"},
    )
    assert found[0] == "unknown option 'timout': did you mean 'timeout'?"
    assert found[1].startswith("url is no address such as https://example.com/path")
    assert found[2].startswith("the secret is not base64 (with or without whsec_ before it); make one with: python3 -c")
    assert found[3] == "headers cannot set webhook-id: the channel does"
    assert found[4] == "headers holds a name or value with characters that HTTP does not allow"
    assert found[5] == "headers cannot set user-agent: the channel does"
    assert found[6] == "timeout must be a number of seconds over 0, at most 120"
    assert len(found) == 7


@pytest.mark.parametrize(
    "url", [None, "", 7, "example.com", "https://", "http://:80", f"http://[{CANARY}", f"https://x y/{CANARY}", "http://x:0"]
)
def test_url_is_checked(url: Any) -> None:
    """What is no address is found at the start, not at the first theft."""
    assert len(problems(url=url, secret=SECRET)) == 1


def test_secret_is_needed() -> None:
    """An unsigned webhook could be forged: without a secret there is none, and the message shows how to make one."""
    (problem,) = problems(url="https://x.example")
    command = problem.split("make one with: ")[1].replace("python3", sys.executable, 1)
    made = subprocess.run(command, shell=True, check=True, capture_output=True, text=True).stdout.strip()
    assert made.startswith("whsec_")
    WebhookChannel({"url": "https://x.example", "secret": made})


@pytest.mark.parametrize("secret", ["whsec_", f"{CANARY}_x", "a", "=", "whsec_AAA A", "not base64!", 12, "ä"])
def test_secret_must_be_base64(secret: Any) -> None:
    """Libraries of receivers skip stray characters each in their own way: only what all read alike is taken."""
    assert problems(url="https://x.example", secret=secret)


def test_which_of_several_secrets_is_wrong() -> None:
    """With several secrets the message counts, it does not quote."""
    (problem,) = problems(url="https://x.example", secret=SECRET, secrets=[f"{CANARY}!"])
    assert problem.startswith("the secret 2 of 2 is not base64")


async def test_secret_with_and_without_prefix_and_padding(server: Server, send: Send) -> None:
    """The four ways to write one secret give one key, and one signature."""
    plain = SECRET.removeprefix("whsec_")
    texts = [SECRET, plain, plain.rstrip("="), f" {SECRET}\n"]
    channel = WebhookChannel({"url": server.url, "secrets": texts})
    await send(channel)
    await channel.aclose()
    ((headers, body),) = server.requests
    assert headers["webhook-signature"].count("v1,") == 1
    Webhook(plain).verify(body, headers)


def test_two_kinds_of_authorisation() -> None:
    """A user name in the address and an Authorization header contradict each other."""
    (problem,) = problems(
        url=f"https://u:{CANARY}@x.example", secret=SECRET, headers={"Authorization": f"Bearer {CANARY}"}
    )
    assert problem == "the address carries a user name and headers an Authorization: keep one of them"


class Hidden:
    """As a configuration hands secrets over."""

    def __init__(self, value: str) -> None:
        self._value = value

    def get_secret_value(self) -> str:
        return self._value


async def test_no_secret_is_ever_shown(
    server: Server, send: Send, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A canary in address, secret and headers is in no representation, receipt or log line, whatever happens."""
    caplog.set_level(logging.DEBUG)
    secret = base64.b64encode(CANARY.encode()).decode()
    address = server.url.replace("http://", f"http://user:{CANARY}@") + f"?token={CANARY}"
    options = {"url": Hidden(address), "secret": Hidden(secret), "headers": {"X-Token": Hidden(CANARY)}, "timeout": 0.3}
    channel = WebhookChannel(options)
    shown = [repr(channel), str(channel)]

    async def hang(request: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    for status in (200, 302, 401, 404, 410, 429, 500):
        server.says(status)
        shown.append(repr(await send(channel)))
    assert server.requests[0][0]["X-Token"] == CANARY
    server.answer = hang
    shown.append(repr(await send(channel)))
    await channel.aclose()
    for answer in (b"", b"nonsense\r\n\r\n"):
        shown += [repr(await attempt_raw(send, answer))]
    ours = [record.getMessage() for record in caplog.records if not record.name.startswith("aiohttp.access")]
    for text in [*shown, *ours]:
        assert CANARY not in text
        assert secret not in text
    assert "WebhookChannel(host='127.0.0.1')" in shown
