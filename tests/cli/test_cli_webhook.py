"""`heistwatch webhook listen` and `heistwatch schema`: a receiver to look at, and the descriptions of what it gets."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from standardwebhooks import Webhook

from alerts.channels.circuit_breaker import CircuitBreakerChannel
from alerts.channels.webhook import WebhookChannel
from alerts.signing import key_of, signature
from alerts.verify import Inbox, Proof, verify
from monitor.cli import webhook
from monitor.cli.listener import BODY_BYTES, Listener, read
from monitor.config import json_schema
from monitor.memory_store import MemoryStore
from monitor.model import Alert, AlertKind, Outcome, Severity
from monitor.store import OutboxRow

Run = Callable[..., Any]
OLD = "whsec_" + base64.b64encode(bytes(range(32))).decode()
NEW = "whsec_" + base64.b64encode(bytes(range(32, 64))).decode()
STRANGE = "whsec_" + base64.b64encode(bytes(range(64, 96))).decode()
REQUEST = "a second secret, of another kind"
NOW = 1_700_000_000.5


def alert_of(alert_id: str = "a1", **changes: Any) -> Alert:
    """An alert about nothing in particular."""
    made = Alert(alert_id, AlertKind.OPENED, "CRITICAL: Example: 100 ETH", "One.", Severity.CRITICAL)
    return replace(made, **changes)


async def deliver(url: str, alert: Alert, *secrets: str, now: float = NOW) -> str:
    """What the product's own channel is answered."""
    channel = WebhookChannel({"url": url, "secrets": list(secrets), "timeout": 20})
    try:
        body = channel.render(alert, NOW)
        receipt = await channel.send(OutboxRow(alert.id, "soc", "0:webhook", body, NOW), now)
        return receipt.detail.rpartition(" ")[2]
    finally:
        await channel.aclose()


async def post(url: str, body: bytes, headers: dict[str, str] | None = None, method: str = "POST") -> int:
    """The status of any request."""
    async with aiohttp.ClientSession() as session, session.request(method, url, data=body, headers=headers) as answer:
        return answer.status


def signed(body: bytes, now: float = NOW, name: str = "a1") -> dict[str, str]:
    """Headers that hold for any bytes, written apart from the product."""
    stamp = str(int(now))
    made = hmac.digest(bytes(range(32)), f"{name}.{stamp}.".encode() + body, "sha256")
    return {
        "webhook-id": name,
        "webhook-timestamp": stamp,
        "webhook-signature": f"v1,{base64.b64encode(made).decode()}",
    }


def listener(*secrets: str, **options: Any) -> Listener:
    """A receiver whose clock stands at `NOW`."""
    return Listener([key_of(secret) for secret in secrets or (OLD,)], clock=lambda: NOW, **options)


# -- verification -----------------------------------------------------------------------------------------------------


def test_each_failure_has_its_name() -> None:
    """Right, altered, of another key, too old, too early, not signed; the tolerance is five minutes, inclusive."""
    keys, body = [key_of(OLD)], b'{"a": 1}'
    headers = signed(body)
    assert verify(keys, headers, body, NOW).proof is Proof.VERIFIED
    assert verify(keys, {name.title(): value for name, value in headers.items()}, body, NOW).verified
    assert verify(keys, headers, body + b" ", NOW).proof is Proof.WRONG
    assert verify([key_of(NEW)], headers, body, NOW).proof is Proof.WRONG
    assert verify([], headers, body, NOW).proof is Proof.WRONG
    sent = int(NOW)
    for off, proof in ((300, Proof.VERIFIED), (301, Proof.OLD), (-300, Proof.VERIFIED), (-301, Proof.EARLY)):
        assert verify(keys, headers, body, sent + off).proof is proof
    for name in headers:
        assert verify(keys, {**headers, name: ""}, body, NOW).proof is Proof.UNSIGNED
        assert verify(keys, {k: v for k, v in headers.items() if k != name}, body, NOW).proof is Proof.UNSIGNED
    for stamp in ("1e9", "-5", "٥", "9" * 5000, " 1"):
        assert verify(keys, {**headers, "webhook-timestamp": stamp}, body, NOW).proof is Proof.UNSIGNED
    assert verify(keys, {**headers, "webhook-signature": "v2,abc"}, body, NOW).proof is Proof.UNSIGNED
    assert verify(keys, {**headers, "webhook-signature": "v1,é\udcff"}, body, NOW).proof is Proof.WRONG


def test_it_agrees_with_the_library() -> None:
    """What Standard Webhooks' own library signs with several keys, each of them verifies."""
    body = json.dumps({"a": "ü"}).encode()
    headers = signature([Webhook(key_of(NEW)), Webhook(key_of(OLD))], "a1", body, time.time())
    for place, secret in enumerate((OLD, STRANGE, NEW)):
        if secret != STRANGE:
            Webhook(secret).verify(body, headers)
        seen = verify([key_of(s) for s in (OLD, STRANGE, NEW)][place:], headers, body, time.time())
        assert seen.verified and seen.key == (0, 1, 0)[place]


def test_known_ids() -> None:
    """An id is known once it was verified; the oldest are forgotten, and other bytes are told."""
    inbox = Inbox([key_of(OLD)], known=2)
    forged = {**signed(b"x"), "webhook-signature": "v1,AAAA"}
    assert not inbox.take(forged, b"x", NOW).repeated
    assert not inbox.take(signed(b"x"), b"x", NOW).repeated
    again = inbox.take(signed(b"x"), b"x", NOW)
    assert again.repeated and not again.changed
    assert inbox.take(signed(b"y"), b"y", NOW).changed
    for name in ("a2", "a3"):
        assert not inbox.take(signed(b"x", name=name), b"x", NOW).repeated
    assert not inbox.take(signed(b"x"), b"x", NOW).repeated


# -- what it prints ---------------------------------------------------------------------------------------------------


async def test_what_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """Each message with its verdict, repetitions, counts at the end; plain lines, since this is no terminal."""
    shown = listener(OLD, NEW)
    async with shown.serving("127.0.0.1", 0) as url:
        shown.begin(url, None)
        incident = {"id": "i7", "revision": 3}
        assert await deliver(url, alert_of(incident=incident), NEW) == "204"
        assert await deliver(f"{url}any/path", alert_of(incident=incident), OLD) == "204"
        assert await deliver(url, alert_of(title="CRITICAL: other"), OLD) == "204"
        assert await deliver(url, alert_of("a2"), STRANGE) == "401"
        assert await deliver(url, alert_of("a2"), OLD, now=NOW - 1000) == "401"
        assert await deliver(url, alert_of("a2"), OLD, now=NOW + 1000) == "401"
        assert await post(url, b"{}") == 401
        blind = alert_of("m1", kind=AlertKind.BLIND, title="no head", severity=Severity.HIGH)
        assert await deliver(url, blind, OLD) == "204"
        shown.end()
    out = capsys.readouterr().out
    assert "\x1b" not in out and OLD not in out and NEW not in out
    lines = out.splitlines()
    assert lines[0] == f"listening on {url} (any path); Ctrl-C ends it" and lines[1] == "verifying with 2 secrets"
    assert lines[2] == "2023-11-14T22:13:20.500Z  CRITICAL incident.opened  Example: 100 ETH"
    tail = "id a1; incident i7, revision 3; queued 2023-11-14T22:13:20.500Z; answered 204"
    assert lines[3] == f"    verified with secret 2 of 2; {tail}"
    assert "form is not that of this version: data.incident" in lines[4]
    assert f"    verified with secret 1 of 2, REPEATED id, same bytes; {tail}" in lines
    assert any("REPEATED id, OTHER BYTES than before" in line for line in lines)
    assert any(line.startswith("    WRONG SIGNATURE: not to be believed; id a2; ") for line in lines)
    assert any(line.startswith("    TOO OLD by 1,000 s: not to be believed; id a2; ") for line in lines)
    assert any(line.startswith("    FROM THE FUTURE by 1,000 s: ") for line in lines)
    assert any(line.startswith("    NOT SIGNED: ") for line in lines)
    assert "2023-11-14T22:13:20.500Z  BLIND monitor.blind  no head" in lines
    assert lines[-1].startswith("8 messages: ") and shown.refused == 4
    counts = dict(reversed(part.split(" ", 1)) for part in lines[-1].removeprefix("8 messages: ").split(", "))
    assert counts == {
        "verified": "2", "repeated": "2", "wrong signature": "1", "too old": "1", "from the future": "1",
        "not signed": "1",
    }  # fmt: skip


async def test_hostile_text_stays_text(capsys: pytest.CaptureFixture[str]) -> None:
    """What a stranger posts cannot move the cursor, break lines or fill the screen."""
    shown = listener()
    async with shown.serving("127.0.0.1", 0) as url:
        title = "a\x1b[2J\nnext\u202eline" + "x" * 5000
        message = {"type": "t\x1b[1m\n", "timestamp": "\x07", "data": {"title": title, "severity": "l\x1bow"}}
        assert await post(url, json.dumps(message).encode(), {"webhook-id": "\u00a0a"}) == 401
        for body in (
            b"[1]",
            b"\xff\xfe",
            b"1",
            b"null",
            b'{"type": [], "data": 5}',
            b"[" * 100_000,
            b"",
        ):  # none is a message
            assert await post(url, body, signed(body)) == 204
    out = capsys.readouterr().out
    assert "\x1b" not in out and "\u202e" not in out and "\x07" not in out
    lines = out.splitlines()
    assert lines[0].endswith("characters left out)") and max(map(len, lines)) < 700
    assert lines.count("    its form is not that of this version: no JSON object") == 3
    assert len(lines) == 2 + 7 * 3


async def test_json_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """One object a line, with the whole message."""
    shown = listener(as_json=True)
    async with shown.serving("127.0.0.1", 0) as url:
        shown.begin(url, "whsec_made")
        await deliver(url, alert_of(), OLD)
        await deliver(url, alert_of(), STRANGE)
        assert await post(url, b'{"a": [NaN, 1e999]}', signed(b'{"a": [NaN, 1e999]}', name="a2")) == 204
        shown.end()
    first, good, bad, odd, last = map(json.loads, capsys.readouterr().out.splitlines())
    assert odd["message"] == {"a": [None, None]}
    assert first == {"event": "listening", "url": url, "secret": "whsec_made"}
    assert good.pop("message")["data"]["id"] == "a1"
    assert good == {
        "event": "message", "at": "2023-11-14T22:13:20.500Z", "id": "a1", "result": "verified", "verified": True,
        "repeated": False, "changed": False, "secret": 1, "age_seconds": 0.5, "form": None, "answered": 204,
    }  # fmt: skip
    assert (bad["result"], bad["verified"], bad["answered"]) == ("wrong signature", False, 401)
    assert last == {"event": "ended", "messages": 3, "counts": {"verified": 2, "wrong signature": 1}}


@pytest.mark.parametrize(("status", "outcome"), [(204, "204"), (500, "500"), (429, "429"), (410, "410")])
async def test_answers(status: int, outcome: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The status that was asked for, to what verifies; a pause with it."""
    shown = listener(answer=status, retry_after=7)
    async with shown.serving("127.0.0.1", 0) as url:
        assert await deliver(url, alert_of(), OLD) == outcome
        assert await deliver(url, alert_of(), NEW) == "401"
        channel = WebhookChannel({"url": url, "secret": OLD})
        receipt = await channel.send(OutboxRow("a9", "soc", "0:webhook", channel.render(alert_of("a9"), NOW), NOW), NOW)
        await channel.aclose()
    retried = status in (429, 500)
    assert (receipt.outcome is Outcome.RETRY, receipt.retry_after) == (retried, 7.0 if retried else None)
    assert f"answered {status}" in capsys.readouterr().out


async def test_large_bodies_and_other_methods(capsys: pytest.CaptureFixture[str]) -> None:
    """Over a million bytes is refused, with or without its length told before; only POST is a message."""

    async def pieces() -> Any:
        for _ in range(20):
            yield bytes(BODY_BYTES // 10)

    shown = listener()
    async with shown.serving("127.0.0.1", 0) as url:
        whole = b'"' + b"a" * (BODY_BYTES - 2) + b'"'
        assert await post(url, whole, signed(whole)) == 204
        over = whole + b" "
        assert await post(url, over, signed(over)) == 413
        assert await post(url, pieces(), {}) == 413  # type: ignore[arg-type]
        assert await post(url, b"", method="GET") == 405
        assert await post(url, b"{}", signed(b"{}"), method="PUT") == 405
        shown.end()
    out = capsys.readouterr().out
    assert out.count("REFUSED: over 1,000,000 bytes; answered 413") == 2
    assert out.endswith("3 messages: 2 over 1,000,000 bytes, 1 verified\n") and shown.refused == 2


async def test_it_ends_after_so_many(capsys: pytest.CaptureFixture[str]) -> None:
    """Repeated and wrong ones count."""
    shown = listener(most=3)
    async with shown.serving("127.0.0.1", 0) as url:
        for secret in (OLD, OLD, NEW):
            assert not shown.ended.is_set()
            await deliver(url, alert_of(), secret)
        await asyncio.wait_for(shown.ended.wait(), 10)


@pytest.mark.parametrize(
    ("secrets", "said"),
    [
        ([REQUEST], "verified"),
        (["another of them", REQUEST], "verified"),
        (["another of them"], "WRONG SIGNATURE: not to be believed"),
        ([], "not checked, for no request secret is given"),
    ],
)
async def test_requests_of_a_circuit_breaker(secrets: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What the channel posts when it is armed: both signatures are checked, each told by itself."""
    shown = listener(request_secrets=secrets)
    incident = {"id": "i7", "entity": "A|B, Ltd", "wallets": ["w,1", "w%2"], "share_lost": 0.9}
    async with shown.serving("127.0.0.1", 0) as url:
        channel = CircuitBreakerChannel({"url": url, "secret": OLD, "request_secret": REQUEST, "armed": True})
        store = MemoryStore()
        await store.open()
        channel.attach(store)
        row = OutboxRow("a1", "soc", "0:circuit_breaker", channel.render(alert_of(incident=incident), NOW), NOW)
        assert (await channel.send(row, NOW)).detail == "204"
        await channel.aclose()
        await store.aclose()
    first, second, third = capsys.readouterr().out.splitlines()
    assert first.endswith("  CRITICAL breaker.pause_withdrawals  Example: 100 ETH")
    assert second.startswith("    verified; id breaker-a1; ")
    until = "2023-11-14T22:23:20.500Z"
    assert third == f"    request pause_withdrawals of A|B, Ltd, holds until {until}: {said}"


def test_the_form_is_checked() -> None:
    """What is wrong is named by its place, without the value."""
    channel = WebhookChannel({"url": "https://x.example", "secret": OLD})
    body = json.loads(channel.render(alert_of(), NOW))
    assert read(json.dumps(body).encode()) == (body, "")
    body["data"]["severity"] = "hunter2"
    _, fault = read(json.dumps(body).encode())
    assert fault.startswith("data.severity: ") and "hunter2" not in fault
    assert read(b'{"type": "incident.closed"}')[1] == "an unknown type"


# -- the command ------------------------------------------------------------------------------------------------------


@contextmanager
def command(folder: Path, *arguments: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """`heistwatch webhook listen` as a process."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HEISTWATCH_")}
    with subprocess.Popen(
        [sys.executable, "-m", "monitor", "webhook", "listen", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={**kept, **environment},
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def first_url(process: subprocess.Popen[str]) -> str:
    """Where it listens."""
    assert process.stdout is not None
    line = process.stdout.readline()
    found = re.match(r"listening on (http://127\.0\.0\.1:\d+/) \(any path\)", line)
    assert found, (line, process.poll())
    return found[1]


async def test_a_new_secret_and_the_lines_to_paste(here: Path) -> None:
    """What is printed is configuration that the channel takes, and its messages verify; exit 0 when all did."""
    with command(here, "--once", "2") as process:
        url = first_url(process)
        lines = []
        while not (lines and lines[-1].startswith("route: ")):
            lines.append(process.stdout.readline())
        pasted = yaml.safe_load("".join(lines[lines.index("receivers:\n") :]))
        (receiver,) = pasted["receivers"]
        (options,) = receiver["channels"]
        assert options["url"] == url and pasted["route"] == {"receiver": receiver["name"]}
        for alert_id in ("a1", "a2"):
            assert await deliver(url, alert_of(alert_id), options["secret"], now=time.time()) == "204"
        out, err = await asyncio.to_thread(process.communicate, timeout=30)
    assert (process.returncode, err) == (0, "") and out.endswith("2 messages: 2 verified\n")


async def test_exit_code_of_a_wrong_signature(here: Path) -> None:
    """--once is a check: one that does not verify is a failure. The secret comes from the environment."""
    with command(here, "--once", "1", "--json", HEISTWATCH_WEBHOOK_SECRET=f"{OLD} {NEW}") as process:
        url = json.loads(process.stdout.readline())["url"]
        assert await deliver(url, alert_of(), STRANGE, now=time.time()) == "401"
        out, _ = await asyncio.to_thread(process.communicate, timeout=30)
    assert process.returncode == 1
    assert [json.loads(line)["event"] for line in out.splitlines()] == ["message", "ended"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
async def test_signals_end_it_cleanly(here: Path, number: signal.Signals, code: int) -> None:
    """With counts, without a traceback."""
    with command(here, "--secret", OLD) as process:
        url = first_url(process)
        assert await deliver(url, alert_of(), OLD, now=time.time()) == "204"
        process.send_signal(number)
        out, err = await asyncio.to_thread(process.communicate, timeout=30)
    assert (process.returncode, err) == (code, "") and out.endswith("\n1 message: 1 verified\n")


async def test_colours_on_a_terminal(here: Path) -> None:
    """The severity has its colour there, and the text is the same."""
    lead, follow = pty.openpty()
    environment = {**os.environ, "HEISTWATCH_WEBHOOK_SECRET": OLD, "TERM": "xterm"}
    arguments = [sys.executable, "-m", "monitor", "webhook", "listen", "--once", "1"]
    process = subprocess.Popen(arguments, stdout=follow, env=environment, cwd=here)  # noqa: ASYNC220
    os.close(follow)
    terminal = open(lead, encoding="utf-8", errors="replace")  # noqa: ASYNC230, PTH123, SIM115
    try:
        first = await asyncio.to_thread(terminal.readline)
        found = re.search(r"http://\S+", first)
        assert found, first
        assert await deliver(found[0], alert_of(), OLD, now=time.time()) == "204"
        assert await asyncio.to_thread(process.wait, 30) == 0
        text = ""
        while "1 message" not in text:
            text += await asyncio.to_thread(terminal.readline)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        terminal.close()
    assert "\x1b[37m\x1b[41m\x1b[1m CRITICAL \x1b[0m incident.opened" in text


def test_secrets_of_a_configuration(config: Path, heistwatch: Run, refused: Callable[..., str]) -> None:
    """-c takes those of all channels that send signed webhooks; a configuration without one is an error."""
    assert refused(2, "webhook", "listen", "-c", config) == (
        f"{config}: no receiver has a channel of type webhook or circuit_breaker with a secret"
    )
    with config.open("a") as file:
        file.write(
            "receivers:\n"
            "  - name: soc\n"
            "    channels:\n"
            "      - {type: console}\n"
            f'      - {{type: webhook, url: "https://a.example", secret: "{OLD}"}}\n'
            f'      - {{type: webhook, url: "https://b.example", secrets: ["{OLD}", "{NEW}"]}}\n'
            f'      - {{type: circuit_breaker, secret: "{STRANGE}", request_secret: "{REQUEST}"}}\n'
            "route: {receiver: soc}\n"
        )
    options = webhook._configured(str(config))
    keys, made = webhook._keys(webhook._texts(options, "secret", "secrets"))
    assert (keys, made) == ([key_of(OLD), key_of(NEW), key_of(STRANGE)], None)
    assert webhook._texts(options, "request_secret") == [REQUEST]


def test_what_is_no_secret_is_not_quoted(refused: Callable[..., str], here: Path, monkeypatch: Any) -> None:
    """One line, exit 2, without the value; so for a port that is taken."""
    said = refused(2, "webhook", "listen", "--secret", "CANARY-7f3a!")
    assert "CANARY" not in said and "base64" in said
    monkeypatch.setenv("HEISTWATCH_WEBHOOK_SECRET", f"{OLD} CANARY-7f3a!")
    said = refused(2, "webhook", "listen")
    assert "CANARY" not in said and "secret 2 of 2" in said
    monkeypatch.setenv("HEISTWATCH_WEBHOOK_SECRET", "whsec_")
    assert "base64" in refused(2, "webhook", "listen")
    monkeypatch.delenv("HEISTWATCH_WEBHOOK_SECRET")
    assert "cannot be listened on" in refused(2, "webhook", "listen", "--host", "192.0.2.1")


# -- schema -----------------------------------------------------------------------------------------------------------


def test_schemas(heistwatch: Run, refused: Callable[..., str]) -> None:
    """The configuration's unless told; those of webhooks, strict and open."""
    assert json.loads(heistwatch("schema").out) == json.loads(heistwatch("schema", "config").out) == json_schema()
    strict, lax = (json.loads(heistwatch("schema", "webhook", *more).out) for more in ((), ("--open",)))
    assert strict["$id"] == lax["$id"] == "heistwatch/webhook/1"
    assert strict["$defs"]["Incident"]["additionalProperties"] is False
    assert "additionalProperties" not in lax["$defs"]["Incident"]
    assert "incident.opened" in json.loads(heistwatch("schema", "openapi").out)["webhooks"]
    assert "--open" in refused(2, "schema", "openapi", "--open")
    assert heistwatch("schema", "webhoook").code == 2
