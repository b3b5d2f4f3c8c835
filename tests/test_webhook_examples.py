"""The receivers in docs/webhooks.md, each as a process of its own, against what the channel really sends."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import aiohttp
import pytest
from aiohttp import web
from standardwebhooks import Webhook

from alerts.channels.circuit_breaker import CircuitBreakerChannel
from alerts.channels.webhook import WebhookChannel
from alerts.signing import key_of, signature
from monitor.model import Alert, AlertKind, Outcome, Severity
from monitor.store import OutboxRow

ROOT = Path(__file__).parents[1]
OLD = "whsec_" + base64.b64encode(bytes(range(32))).decode()
NEW = "whsec_" + base64.b64encode(bytes(range(32, 64))).decode()
STRANGE = "whsec_" + base64.b64encode(bytes(range(64, 96))).decode()
REQUEST_SECRET = "a second secret, of another kind"
NOW = 1_700_000_000.25
UNPADDED = OLD.rstrip("=")
LANGUAGES = {"python": "receiver.py", "js": "receiver.mjs", "go": "receiver.go"}


def example(language: str) -> str:
    """The block with this info string in the document."""
    text = (ROOT / "docs" / "webhooks.md").read_text("utf-8")
    found = re.search(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert found, f"docs/webhooks.md has no {language} example"
    return found[1]


def command_of(language: str, source: Path) -> list[str]:
    """How the example is started; a language that is not here is a skip, for nothing of ours needs it."""
    if language == "python":
        return [sys.executable, str(source)]
    tool = shutil.which({"js": "node"}.get(language, language))
    if tool is None:
        pytest.skip(f"{language} is not installed")
    if language == "js":
        return [tool, str(source)]
    binary = source.with_suffix("")
    cache = Path(os.environ.get("GOCACHE") or ROOT / ".tools" / "go-build")
    environment = {**os.environ, "GOCACHE": str(cache), "GO111MODULE": "off", "GOTOOLCHAIN": "local"}
    for arguments in (["vet"], ["build", "-o", str(binary)]):
        subprocess.run([tool, *arguments, str(source)], check=True, env=environment, timeout=170)
    return [str(binary)]


@pytest.fixture(scope="module", params=LANGUAGES)
def command(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """How to start the receiver of one language."""
    source = tmp_path_factory.mktemp(request.param) / LANGUAGES[request.param]
    source.write_text(example(request.param), "utf-8")
    return command_of(request.param, source)


@dataclass
class Receiver:
    """A receiver that runs: its address, and what it prints."""

    url: str
    out: IO[str]


@contextmanager
def started(command: list[str], *secrets: str) -> Iterator[Receiver]:
    """The receiver on a free port, with these secrets."""
    environment = {**os.environ, "HEISTWATCH_WEBHOOK_SECRET": " ".join(secrets), "PORT": "0"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as process:
        try:
            assert process.stdout is not None
            first = process.stdout.readline()
            port = re.fullmatch(r"listening on (\d+)\n", first)
            assert port, f"the receiver said {first!r} and ended with {process.poll()}"
            yield Receiver(f"http://127.0.0.1:{port[1]}/", process.stdout)
        finally:
            process.kill()


def message(alert_id: str, title: str = "CRITICAL: Example Exchange: 100 ETH, ünïcode コイン") -> Alert:
    """An alert with text that is not ASCII, as names of tokens are."""
    return Alert(alert_id, AlertKind.OPENED, title, "Line one.\nLine two.", Severity.CRITICAL)


def channel_to(url: str, *secrets: str) -> WebhookChannel:
    """The channel of the product."""
    return WebhookChannel({"url": url, "secrets": list(secrets), "timeout": 20})


def row_of(channel: WebhookChannel, alert: Alert) -> OutboxRow:
    """The frozen message."""
    return OutboxRow(alert.id, "soc", "0:webhook", channel.render(alert, NOW), NOW)


@dataclass(frozen=True)
class Request:
    """A request that the channel made."""

    headers: dict[str, str]
    body: bytes


Record = Callable[..., Awaitable[Request]]


@pytest.fixture
async def record() -> AsyncIterator[Record]:
    """What the channel sends for an alert at a time with these secrets: `Request`."""
    made: list[Request] = []

    async def keep(request: web.Request) -> web.Response:
        headers = {name: value for name, value in request.headers.items() if name.lower().startswith("webhook-")}
        made.append(Request(headers, await request.read()))
        return web.Response(status=204)

    application = web.Application()
    application.router.add_post("/", keep)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/"

    async def sent(alert: Alert, now: float, *secrets: str) -> Request:
        channel = channel_to(url, *secrets)
        try:
            assert (await channel.send(row_of(channel, alert), now)).outcome is Outcome.ACCEPTED
        finally:
            await channel.aclose()
        return made.pop()

    yield sent
    await runner.cleanup()


async def post(receiver: Receiver, request: Request, **headers: str | None) -> int:
    """The receiver's answer to a recorded request, with headers changed (None leaves one out)."""
    changed = {**request.headers, **{f"webhook-{name}": value for name, value in headers.items()}}
    kept = {name: value for name, value in changed.items() if value is not None}
    async with (
        aiohttp.ClientSession() as session,
        session.post(receiver.url, data=request.body, headers=kept) as answer,
    ):
        return answer.status


async def test_right_and_repeated(command: list[str]) -> None:
    """The channel itself delivers: accepted and handled once, however often it is sent; the next one is handled."""
    with started(command, UNPADDED) as receiver:
        channel = channel_to(receiver.url, OLD)
        try:
            for alert_id, status in (("a1", "204"), ("a1", "200"), ("a2", "204"), ("a1", "200")):
                receipt = await channel.send(row_of(channel, message(alert_id, f"title {alert_id}")), time.time())
                assert (receipt.outcome, receipt.detail) == (Outcome.ACCEPTED, status)
        finally:
            await channel.aclose()
        handled = [receiver.out.readline() for _ in range(2)]
    assert handled == ["incident.opened title a1\n", "incident.opened title a2\n"]


async def test_what_is_refused(command: list[str], record: Record) -> None:
    """Tampered, old, early, unsigned, of another secret: none is handled, and none spoils the id of the right one."""
    now = time.time()
    right, old, early = [await record(message("a1"), at, OLD) for at in (now, now - 400, now + 400)]
    strange = await record(message("a1"), now, STRANGE)
    signature = right.headers["webhook-signature"]
    stamp = right.headers["webhook-timestamp"]
    wrong = "v1," + base64.b64encode(bytes(32)).decode()
    with started(command, OLD) as receiver:
        for tampered in (
            replace(right, body=right.body.replace(b"critical", b"low", 1)),
            replace(right, body=right.body + b" "),
            replace(right, body=b""),
            old,
            early,
            strange,
        ):
            assert await post(receiver, tampered) == 401
        for headers in (
            {"id": "a2"},
            {"id": ""},
            {"id": None},
            {"timestamp": str(int(stamp) + 1)},
            {"timestamp": f"{stamp}.0"},
            {"timestamp": f"-{stamp}"},
            {"timestamp": "9" * 5000},
            {"timestamp": ""},
            {"timestamp": None},
            {"signature": wrong},
            {"signature": signature.replace("v1,", "v2,")},
            {"signature": signature.removeprefix("v1,")},
            {"signature": signature[:-1]},
            {"signature": "v1,"},
            {"signature": "v1,é"},
            {"signature": ""},
            {"signature": None},
        ):
            assert await post(receiver, right, **headers) == 401, headers
        assert await post(receiver, replace(right, body=bytes(1_000_001))) == 413
        assert await post(receiver, right) == 204
        assert receiver.out.readline().startswith("incident.opened CRITICAL: ")
        assert await post(receiver, right) == 200
        assert await post(receiver, replace(right, body=right.body + b" ")) == 401


async def test_two_keys(command: list[str], record: Record) -> None:
    """While a secret is replaced, receivers with the old one, the new one, or both take what is signed with both."""
    now = time.time()
    both = await record(message("both"), now, NEW, OLD)
    only_old, only_new = [await record(message(f"only {n}"), now, key) for n, key in enumerate((OLD, NEW))]
    assert both.headers["webhook-signature"].count("v1,") == 2
    for secrets, expected in (
        ((OLD,), (204, 204, 401)),
        ((NEW,), (204, 401, 204)),
        ((NEW, OLD), (204, 204, 204)),
        ((STRANGE,), (401, 401, 401)),
    ):
        with started(command, *secrets) as receiver:
            assert tuple([await post(receiver, each) for each in (both, only_old, only_new)]) == expected


async def test_a_message_that_cannot_be_handled_comes_again(command: list[str], record: Record) -> None:
    """An error in the receiver's own code is no acceptance, and the id is not marked as handled."""
    sent = await record(message("a1"), time.time(), OLD)
    broken = Request(signature([Webhook(key_of(OLD))], "a1", b"not JSON", time.time()), b"not JSON")
    with started(command, OLD) as receiver:
        assert await post(receiver, broken) == 500
        assert await post(receiver, sent) == 204


@pytest.mark.parametrize("secrets", [(), ("whsec_",), ("whsec_AAAA",), (OLD, "whsec_")])
def test_no_key_is_no_receiver(command: list[str], secrets: tuple[str, ...]) -> None:
    """An empty key would verify what anybody signs: the receiver does not start."""
    environment = {**os.environ, "HEISTWATCH_WEBHOOK_SECRET": " ".join(secrets), "PORT": "0"}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30)
    assert ended.returncode != 0 and "listening" not in ended.stdout
    assert "HEISTWATCH_WEBHOOK_SECRET" in ended.stderr


@pytest.fixture
def breaker() -> dict[str, Any]:
    """The names that the circuit breaker's example defines, fresh."""
    names: dict[str, Any] = {}
    exec(compile(example("python breaker"), "docs/webhooks.md", "exec"), names)
    return names


def asked(kind: AlertKind = AlertKind.OPENED, *, armed: bool = True, alert_id: str = "a1") -> dict[str, Any]:
    """`data` of what the circuit breaker makes of a critical incident, with separators in its names."""
    options = {"url": "https://x.example", "secret": OLD, "request_secret": REQUEST_SECRET, "armed": armed}
    incident = {"id": "i7", "entity": "A|B, 5 % Ltd", "wallets": ["w,1", "w|2", "ü"]}
    body = CircuitBreakerChannel(options).render(replace(message(alert_id), kind=kind, incident=incident), NOW)
    data: dict[str, Any] = json.loads(body)["data"]
    return data


def test_a_pause_that_was_asked_for(breaker: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    """Both parts of the example take what the channel makes, once; another message of the incident is another."""
    now = datetime.fromtimestamp(NOW + 599, UTC)
    assert breaker["may_pause"](asked(), REQUEST_SECRET, now)
    assert not breaker["may_pause"](asked(), REQUEST_SECRET, now)
    assert breaker["may_pause"](asked(alert_id="a2"), REQUEST_SECRET, now)
    breaker["pause"](asked(alert_id="a3"), REQUEST_SECRET)  # over for years
    assert capsys.readouterr().out == ""


def test_the_request_that_is_shown(breaker: dict[str, Any]) -> None:
    """Its signature is right, so that whoever writes a receiver can try it."""
    data = json.loads(example("json breaker"))["data"]
    assert breaker["may_pause"](data, "documentation only, no secret", datetime(2018, 1, 25, 15, 5, tzinfo=UTC))


def test_pauses_that_are_not_made(breaker: dict[str, Any]) -> None:
    """Too late, dry, in a drill, of another secret, or with anything changed; none of them uses the nonce up."""
    now, may_pause = datetime.fromtimestamp(NOW + 1, UTC), breaker["may_pause"]
    right = asked()
    assert not may_pause(right, REQUEST_SECRET, datetime.fromtimestamp(NOW + 600, UTC))
    assert not may_pause(asked(armed=False), REQUEST_SECRET, now)
    assert not may_pause(asked(AlertKind.DRILL), REQUEST_SECRET, now)
    assert not may_pause(right, "another secret, as long", now)
    assert not may_pause({**right, "request_signature": "é"}, REQUEST_SECRET, now)
    for name, value in right["request"].items():
        changed = [*value, "more"] if name == "wallets" else f"{value}9"
        assert not may_pause({**right, "request": {**right["request"], name: changed}}, REQUEST_SECRET, now), name
    dry = asked(armed=False)
    dry["request"]["action"] = "pause_withdrawals"
    assert not may_pause(dry, REQUEST_SECRET, now)
    split = {**right["request"], "wallets": ["w", "1", "w|2", "ü"]}
    assert not may_pause({**right, "request": split}, REQUEST_SECRET, now)
    assert may_pause(right, REQUEST_SECRET, now)
