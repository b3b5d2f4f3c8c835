"""What the tests of the chat channels share: a service that keeps what came, a whole theft, and what thieves write."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from alerts.base import Channel, Receipt
from monitor.model import Alert, AlertKind, Severity
from monitor.store import OutboxRow

CANARY = "CANARY-7f3a"
THIEF = "0x" + "ab" * 20
TX = "0x" + "cd" * 32
NOW = 1_700_000_000.0
LINKS = {
    "acknowledge": "https://watch.example/act/ack?token=a_b-c*d&x=1",
    "incident": "https://watch.example/incidents/i1",
}

HOSTILE = [
    "@everyone @here @channel @all <!channel> <!here> <@U123> <@&5> <#C1> <!subteam^S1>",
    "[click](https://evil.example) https://evil.example/x?y=1 www.evil.example evil.example <https://evil.example|x>",
    "*b* _i_ ~s~ `c` ```block``` **b** __u__ ~~s~~ ||spoiler|| > quote",
    "a\n> quote\n>>> all\n# big\n- item\n1. one\n---\n===\n-# small\n    code",
    "<b>bold</b> <a href='https://evil.example'>x</a> <script>x</script> <at>Somebody</at> &lt;b&gt; &#64;all &amp;",
    "{{DATE(2017-02-14T06:00:00Z)}} {{ 7*7 }} <t:1:R> <:emoji:1> <a:x:2> :skull: </cmd:1> <id:home>",
    "tg://user?id=1 mailto:a@evil.example /start #tag $USD +15551234567 4111111111111111 discord.gg/x t.me/x",
    "\u202eDTSU\u202c U\u200bSDT \x1b[2J \x00 \ud800 \ufeff",
    "`a` @all` @all `` ` @here \\` \\@all \\\\*x*",
    "N" * 100_000,
    "&" * 100_000,
    "@all " * 20_000,
    "\U0001f600" * 5_000,
]


def theft(kind: AlertKind = AlertKind.OPENED, text: str = "drain: 100 ETH left.", **changes: Any) -> Alert:
    """An alert about a theft; ``text`` is what a thief may write: names of tokens, and what is told of them."""
    finding = {
        "wallet": "hot-1", "chain": "eip155:1", "asset": text, "destination": THIEF, "tx": TX, "value": "6" + "0" * 19,
        "at": "2023-11-14T22:13:20Z", "detector": "drain", "summary": text,
        "evidence": {"share_of_typical": 0.6, "usual_daily_maximum": 0.02, "typical_balance": 1e20},
    }  # fmt: skip
    incident = {
        "id": "i1", "entity": "Example Exchange", "wallets": ["hot-1"], "status": "open", "severity": "critical",
        "revision": 3, "opened_at": "2023-11-14T22:13:20Z", "findings": [finding], "suspects": [THIEF],
        "lost": [{"chain": "eip155:1", "asset": "native", "value": "1" + "0" * 20, "display": f"100 ETH {text}"}],
        "share_lost": 0.6, "explanation": [text, "A second line."],
    }  # fmt: skip
    fields: dict[str, Any] = {
        "id": "a1",
        "kind": kind,
        "title": f"CRITICAL: Example Exchange: 100 ETH {text}",
        "body": f"{text}\nA second line.",
        "severity": Severity.CRITICAL,
        "labels": {"severity": "critical", "entity": "Example Exchange", "kind": "opened"},
        "runbook": "Stop withdrawals.",
        "incident": incident,
        "links": LINKS,
    }
    return Alert(**{**fields, **changes})


Answer = tuple[int, Any, dict[str, str]]


@dataclass
class Request:
    """What came: ``form`` is the JSON body, ``parts`` those of a multipart one."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    form: Any = None
    raw: bytes = b""
    text: str = ""  # as a check found it
    parts: dict[str, Any] = field(default_factory=dict)


@dataclass
class Service:
    """A stub that answers by its script, then with ``otherwise``; ``check`` sees every request first."""

    url: str = ""
    requests: list[Request] = field(default_factory=list)
    script: list[Answer] = field(default_factory=list)
    otherwise: Answer = (200, {}, {})
    check: Callable[[Request], None] = lambda request: None
    errors: list[BaseException] = field(default_factory=list)

    @property
    def forms(self) -> list[Any]:
        """The JSON bodies."""
        return [request.form for request in self.requests]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Keep, check, answer."""
        came = Request(request.method, request.path, dict(request.query), dict(request.headers))
        if request.content_type == "multipart/form-data":
            came.parts = {key: await _part(value) for key, value in (await request.post()).items()}
        else:
            came.raw = await request.read()
            came.form = json.loads(came.raw) if request.content_type == "application/json" else None
        self.requests.append(came)
        try:
            self.check(came)
        except AssertionError as error:
            self.errors.append(error)
        status, body, headers = self.script.pop(0) if self.script else self.otherwise
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return web.Response(status=status, body=raw, headers=headers)


async def _part(value: Any) -> Any:
    return (value.filename, value.content_type, value.file.read()) if isinstance(value, web.FileField) else value


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    """A stub on this machine; a request of the wrong form fails the test."""
    made = Service()
    app = web.Application(client_max_size=2**22)
    app.router.add_route("*", "/{path:.*}", made.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()
    for error in made.errors:
        raise error


@pytest.fixture(name="theft")
def theft_fixture() -> Callable[..., Alert]:
    """Make an alert about a theft."""
    return theft


@pytest.fixture(params=range(len(HOSTILE)))
def hostile(request: pytest.FixtureRequest) -> str:
    """What a thief may write."""
    return HOSTILE[request.param]


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a running emulator of Telegram (npm telegram-test-api)."""
    node, package = shutil.which("node"), Path(__file__).parents[3] / ".tools/node_modules/telegram-test-api"
    if node is None or not package.is_dir():
        if os.environ.get("CI") == "true":
            pytest.fail("the Telegram emulator is not available: make test installs it")
        pytest.skip("the Telegram emulator is not available: make test installs it")
    script = tmp_path_factory.mktemp("telegram") / "serve.js"
    script.write_text(
        f"const Server = require({json.dumps(str(package))});\n"
        "const server = new Server({port: Number(process.argv[2]), host: '127.0.0.1'});\n"
        "server.start().then(() => console.log('ready'), error => { console.log(error.code); process.exit(1); });\n"
    )
    for _ in range(5):  # a free port may be taken before the emulator is there
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        process = subprocess.Popen([node, str(script), str(port)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        if process.stdout.readline().strip() == "ready":
            break
        process.wait()
        process.stdout.close()
    else:
        pytest.fail("the Telegram emulator does not start")
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


@pytest.fixture
def send(row: Callable[..., OutboxRow], theft: Callable[..., Alert]) -> Callable[..., Any]:
    """One attempt with an alert; whatever comes of it shows no secret."""

    async def attempt(channel: Channel, alert: Alert | None = None, reply_to: str | None = None) -> Receipt:
        alert = alert or theft()
        waiting = row(alert.id, "i1", body=channel.render(alert, NOW), kind=alert.type, reply_to=reply_to)
        receipt = await channel.send(waiting, NOW)
        assert CANARY not in repr((receipt, channel))
        return receipt

    return attempt
