"""E-mail against servers on this machine: TLS and passwords, what each reply means, who gets what how often."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from email import message_from_bytes
from email.policy import default
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from alerts.base import Receipt
from alerts.channels.smtp import GREYLIST_SECONDS, SmtpChannel
from alerts.outbox import rows
from monitor.errors import ConfigError
from monitor.memory_store import MemoryStore
from monitor.model import Alert, Outcome, Reason
from monitor.registry import CHANNELS, load
from monitor.store import OutboxRow

START = 1_700_000_000.0
PASSWORD = "CANARY-smtp-5e2b"
THREE = ["a@test.invalid", "b@test.invalid", "c@test.invalid"]

# -- servers ----------------------------------------------------------------------------------------------------------


class Script:
    """A mail server that says what it is told: a reply a verb, ``None`` to say nothing, ``""`` to hang up.

    RCPT may be told a reply an address. ``mails`` are (recipients, body) that were accepted.
    """

    def __init__(self) -> None:
        self.replies: dict[str, str | None] = {}
        self.recipients: dict[str, str] = {}
        self.mails: list[tuple[list[str], bytes]] = []
        self.verbs: list[str] = []
        self.connections = 0
        self.reached = asyncio.Event()  # a verb came that is not answered
        self.dropped = asyncio.Event()  # the other side hung up

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(ConnectionError):
            await self._talk(reader, writer)
        self.dropped.set()
        writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taken: list[str] = []
        if not await self._say(reader, writer, "GREETING", "220 mx.invalid ESMTP"):
            return
        while line := (await reader.readline()).decode().strip():
            verb = line.split(" ")[0].upper()
            self.verbs.append(verb)
            usual = "250 2.0.0 ok"
            if verb == "RCPT":
                address = line.partition("<")[2].partition(">")[0]
                usual = self.recipients.get(address, usual)
                taken += [address] if usual.startswith("250") else []
            elif verb == "DATA":
                usual = "354 go on"
            elif verb == "QUIT":
                usual = "221 bye"
            if not await self._say(reader, writer, verb, usual):
                return
            if verb == "DATA" and "DATA" not in self.replies:
                body = await reader.readuntil(b"\r\n.\r\n")
                if not await self._say(reader, writer, "BODY", usual="250 2.0.0 queued"):
                    return
                if self.replies.get("BODY", "250").startswith("250"):  # type: ignore[union-attr]
                    self.mails.append((taken, body))

    async def _say(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, verb: str, usual: str) -> bool:
        reply = self.replies.get(verb, usual)
        if reply is None:
            self.reached.set()
            await reader.read()  # until the other side hangs up
            return False
        if reply:
            writer.write(reply.encode() + b"\r\n")
            await writer.drain()
        return bool(reply)


class Inbox:
    """aiosmtpd's handler: keeps what comes."""

    def __init__(self) -> None:
        self.mails: list[Envelope] = []
        self.encrypted: list[bool] = []

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        self.mails.append(envelope)
        self.encrypted.append(server.transport.get_extra_info("sslcontext") is not None)
        return "250 2.0.0 kept"


def authenticate(server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
    ok = isinstance(data, LoginPassword) and (data.login, data.password) == (b"alarm", PASSWORD.encode())
    return AuthResult(success=ok, handled=ok)  # with `handled` a refusal would not be answered at all


Listen = Callable[..., Any]


@pytest.fixture
async def listen() -> AsyncIterator[Listen]:
    """Start a protocol or a talk on a free port; gives the port."""
    servers: list[asyncio.Server] = []

    async def start(what: Any, context: ssl.SSLContext | None = None) -> int:
        loop = asyncio.get_running_loop()
        if asyncio.iscoroutinefunction(what):
            made = await asyncio.start_server(what, "127.0.0.1", 0, ssl=context)
        else:
            made = await loop.create_server(what, "127.0.0.1", 0, ssl=context)
        servers.append(made)
        port: int = made.sockets[0].getsockname()[1]
        return port

    yield start
    for server in servers:
        server.close()


@pytest.fixture
async def script(listen: Listen) -> AsyncIterator[tuple[Script, dict[str, Any]]]:
    """A scripted server, and the options to reach it."""
    made = Script()
    port = await listen(made.serve)
    yield made, options(host="127.0.0.1", port=port, tls="none")


def options(**changes: Any) -> dict[str, Any]:
    given = {"host": "localhost", "from": "Alarm <alarm@sender.invalid>", "to": ["soc@test.invalid"], "timeout": 10}
    return {**given, **changes}


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, Path]]:
    """Makes certificates that vouch for themselves: ``good``, ``expired``, ``elsewhere``; (certificate, key)."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("certificates")

    def make(kind: str) -> tuple[Path, Path]:
        certificate, key, request, names = (folder / f"{kind}.{end}" for end in ("pem", "key", "csr", "names"))
        if not certificate.exists():
            names.write_text(f"subjectAltName=DNS:{'elsewhere.invalid' if kind == 'elsewhere' else 'localhost'}\n")
            days = "-1" if kind == "expired" else "2"
            for command in (
                f"req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=x -keyout {key} -out {request}",
                f"x509 -req -in {request} -signkey {key} -days {days} -extfile {names} -out {certificate}",
            ):
                subprocess.run([openssl, *command.split()], check=True, capture_output=True)
        return certificate, key

    return make


def context_of(pair: tuple[Path, Path]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pair)
    return context


Send = Callable[..., Any]


@pytest.fixture
async def send(alert: Callable[..., Alert]) -> AsyncIterator[Send]:
    """One attempt over a channel of these options, or over a channel given."""
    channels: dict[int, SmtpChannel] = {}

    async def attempt(given: dict[str, Any] | SmtpChannel, now: float = START, **changes: Any) -> Receipt:
        channel = given if isinstance(given, SmtpChannel) else SmtpChannel(given)
        channels[id(channel)] = channel
        return await channel.send(row_of(channel, alert(**changes)), now)

    yield attempt
    for channel in channels.values():
        await channel.aclose()


def row_of(channel: SmtpChannel, told: Alert) -> OutboxRow:
    return rows(told, {"soc": [channel]}, ["soc"], START)[0]


# -- TLS and passwords ------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")  # it does not see implicit TLS
@pytest.mark.parametrize("tls", ["starttls", "implicit"])
async def test_encrypted_and_logged_in(
    listen: Listen, send: Send, authority: Callable[[str], tuple[Path, Path]], tls: str
) -> None:
    """Both ways of TLS; the mail arrives as it was frozen."""
    inbox, pair = Inbox(), authority("good")
    context = context_of(pair)

    def smtp() -> SMTP:
        return SMTP(
            inbox, hostname="mx.invalid", authenticator=authenticate, auth_required=True,
            auth_require_tls=tls == "starttls", require_starttls=tls == "starttls",
            tls_context=context if tls == "starttls" else None,
        )  # fmt: skip

    port = await listen(smtp, context if tls == "implicit" else None)
    channel = SmtpChannel(options(port=port, tls=tls, ca=str(pair[0]), username="alarm", password=PASSWORD))
    receipt = await send(channel)
    assert (receipt.outcome, receipt.external_id) == (Outcome.ACCEPTED, "<a1.alert@sender.invalid>")
    assert inbox.encrypted == [True]
    assert inbox.mails[0].rcpt_tos == ["soc@test.invalid"]
    assert b"Subject: [CRITICAL] Example Exchange" in inbox.mails[0].original_content  # type: ignore[operator]

    wrong = options(port=port, tls=tls, ca=str(pair[0]), username="alarm", password=PASSWORD + "!")
    receipt = await send(wrong)
    assert (receipt.outcome, receipt.reason, receipt.detail) == (
        Outcome.REJECTED, Reason.AUTH, "localhost answered 535 5.7.8",
    )  # fmt: skip


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
@pytest.mark.parametrize(
    ("kind", "trusted", "said"),
    [
        ("good", "elsewhere", "self-signed certificate"),
        ("expired", "expired", "certificate has expired"),
        ("elsewhere", "elsewhere", "Hostname mismatch"),
    ],
)
async def test_certificates(
    listen: Listen,
    send: Send,
    authority: Callable[[str], tuple[Path, Path]],
    tls: str,
    kind: str,
    trusted: str,
    said: str,
) -> None:
    """A stranger's, an expired one, and one for another name: nothing is sent, and it is tried again."""
    inbox, context = Inbox(), context_of(authority(kind))
    port = await listen(
        lambda: SMTP(inbox, tls_context=context if tls == "starttls" else None),
        context if tls == "implicit" else None,
    )
    receipt = await send(options(port=port, tls=tls, ca=str(authority(trusted)[0])))
    assert (receipt.outcome, receipt.reason) == (Outcome.RETRY, Reason.TLS)
    assert said in receipt.detail
    assert not inbox.mails


async def test_tls_is_never_left_out(script: tuple[Script, dict[str, Any]], send: Send) -> None:
    """A server without STARTTLS, one that refuses it, and one that speaks no TLS at all get nothing."""
    server, given = script
    receipt = await send({**given, "tls": "starttls"})
    assert (receipt.outcome, receipt.reason) == (Outcome.RETRY, Reason.TLS)
    assert receipt.detail == "127.0.0.1 does not offer STARTTLS, and nothing is sent unencrypted"
    server.replies |= {"EHLO": "250-mx.invalid\r\n250 STARTTLS", "STARTTLS": "454 4.7.0 not now"}
    receipt = await send({**given, "tls": "starttls"})
    assert (receipt.outcome, receipt.reason) == (Outcome.RETRY, Reason.TLS)
    receipt = await send({**given, "tls": "implicit"})
    assert (receipt.outcome, receipt.reason) == (Outcome.RETRY, Reason.TLS)
    assert "MAIL" not in server.verbs


async def test_no_way_to_log_in(script: tuple[Script, dict[str, Any]], send: Send) -> None:
    """A server that knows no AUTH gets no password, and the message is a dead letter."""
    server, given = script
    receipt = await send({**given, "username": "alarm", "password": PASSWORD})
    assert (receipt.outcome, receipt.reason) == (Outcome.REJECTED, Reason.AUTH)
    assert "AUTH" not in server.verbs


# -- what replies mean ------------------------------------------------------------------------------------------------

REPLIES = [
    ("GREETING", "421 4.3.2 not now", Outcome.RETRY, Reason.SERVER_ERROR),
    ("GREETING", "554 5.3.2 no service", Outcome.REJECTED, Reason.CLIENT_ERROR),
    ("GREETING", "HTTP/1.1 400 Bad Request", Outcome.RETRY, Reason.CONNECTION),
    ("GREETING", "", Outcome.RETRY, Reason.CONNECTION),
    ("MAIL", "451 4.3.0 try again", Outcome.RETRY, Reason.SERVER_ERROR),
    ("MAIL", "452 4.3.1 out of storage", Outcome.RETRY, Reason.SERVER_ERROR),
    ("MAIL", "421 4.7.0 too many messages from you", Outcome.RETRY, Reason.RATE_LIMITED),
    ("MAIL", "530 5.7.0 authentication required", Outcome.REJECTED, Reason.AUTH),
    ("MAIL", "553 5.1.8 sender not allowed", Outcome.REJECTED, Reason.CLIENT_ERROR),
    ("RCPT", "450 4.2.1 receiving mail at a rate that prevents more", Outcome.RETRY, Reason.RATE_LIMITED),
    ("RCPT", "450 4.2.0 greylisted", Outcome.RETRY, Reason.SERVER_ERROR),
    ("RCPT", "421 closing", Outcome.RETRY, Reason.SERVER_ERROR),
    ("RCPT", "550 5.1.1 no such user", Outcome.REJECTED, Reason.CLIENT_ERROR),
    ("RCPT", "", Outcome.RETRY, Reason.CONNECTION),
    ("DATA", "451 4.3.0 no", Outcome.RETRY, Reason.SERVER_ERROR),
    ("BODY", "452 4.3.1 no room", Outcome.RETRY, Reason.SERVER_ERROR),
    ("BODY", "552 5.3.4 too big", Outcome.REJECTED, Reason.CLIENT_ERROR),
    ("BODY", "554 5.7.1 looks like spam", Outcome.REJECTED, Reason.CLIENT_ERROR),
    ("BODY", "", Outcome.RETRY, Reason.CONNECTION),
]


@pytest.mark.parametrize(("verb", "reply", "outcome", "reason"), REPLIES)
async def test_replies(
    script: tuple[Script, dict[str, Any]], send: Send, verb: str, reply: str, outcome: Outcome, reason: Reason
) -> None:
    """4yz is tried again, 5yz never; of the server's words only the codes are shown."""
    server, given = script
    server.replies[verb] = f"{reply} {PASSWORD}" if reply else reply
    receipt = await send(given)
    assert (receipt.outcome, receipt.reason) == (outcome, reason)
    assert receipt.detail.startswith("127.0.0.1 ") and PASSWORD not in receipt.detail
    assert not server.mails


@pytest.mark.parametrize("verb", ["GREETING", "EHLO", "MAIL", "RCPT", "DATA", "BODY"])
async def test_a_server_that_hangs(script: tuple[Script, dict[str, Any]], send: Send, verb: str) -> None:
    """The whole attempt has one time limit, wherever the server stops; the connection is dropped."""
    server, given = script
    server.replies[verb] = None
    receipt = await send({**given, "timeout": 0.2})
    assert (receipt.outcome, receipt.reason) == (Outcome.RETRY, Reason.TIMEOUT)
    assert receipt.detail == "127.0.0.1 did not answer within 0.2 s"
    await asyncio.wait_for(server.dropped.wait(), 10)


async def test_a_server_that_hangs_under_tls(
    listen: Listen, send: Send, authority: Callable[[str], tuple[Path, Path]]
) -> None:
    """Dropped at once, too: no farewell of TLS is waited for."""
    server, pair = Script(), authority("good")
    server.replies["MAIL"] = None
    port = await listen(server.serve, context_of(pair))
    receipt = await send(options(port=port, tls="implicit", ca=str(pair[0]), timeout=0.5))
    assert (receipt.outcome, receipt.reason) == (Outcome.RETRY, Reason.TIMEOUT)
    await asyncio.wait_for(server.dropped.wait(), 10)


async def test_acceptance_does_not_wait_for_the_farewell(
    script: tuple[Script, dict[str, Any]], send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes after the acceptance changes nothing of it."""
    monkeypatch.setattr("alerts.smtp_client.PARTING_SECONDS", 0.1)
    server, given = script
    server.replies["QUIT"] = None
    receipt = await asyncio.wait_for(send({**given, "timeout": 60}), 10)
    assert receipt.outcome is Outcome.ACCEPTED and len(server.mails) == 1


async def test_nobody_there(send: Send) -> None:
    """Refused, and a name that nobody has."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    receipt = await send(options(host="127.0.0.1", port=port, tls="none"))
    assert (receipt.outcome, receipt.reason) == (Outcome.RETRY, Reason.CONNECTION)
    assert receipt.detail == "127.0.0.1 could not be reached: Connection refused"
    receipt = await send(options(host="nowhere.invalid"))
    assert (receipt.outcome, receipt.reason) == (Outcome.RETRY, Reason.CONNECTION)
    assert receipt.detail == "nowhere.invalid has no address: the name look-up failed"


@pytest.mark.parametrize("verb", ["GREETING", "EHLO", "MAIL", "RCPT", "DATA", "BODY"])
async def test_cancelled(script: tuple[Script, dict[str, Any]], send: Send, verb: str) -> None:
    """Cancellation passes through wherever it strikes, and takes the connection with it."""
    server, given = script
    server.replies[verb] = None
    task = asyncio.ensure_future(send(given))
    await asyncio.wait_for(server.reached.wait(), 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(server.dropped.wait(), 10)


# -- several recipients -----------------------------------------------------------------------------------------------


async def test_refused_beside_others(
    script: tuple[Script, dict[str, Any]], send: Send, caplog: pytest.LogCaptureFixture
) -> None:
    """Those who can have it get it; how many did not is in the detail, by place, since addresses belong to people."""
    server, given = script
    server.recipients["b@test.invalid"] = "550 5.1.1 gone"
    receipt = await send({**given, "to": THREE})
    assert (receipt.outcome, receipt.reason) == (Outcome.ACCEPTED, Reason.OK)
    assert receipt.detail == "250 2.0.0; 2 of 3 recipients: number 2 refused with 550 5.1.1"
    assert [taken for taken, _ in server.mails] == [["a@test.invalid", "c@test.invalid"]]
    assert any(record.levelno == logging.WARNING and "2 of 3" in record.message for record in caplog.records)


async def test_all_deferred(script: tuple[Script, dict[str, Any]], send: Send) -> None:
    """Tried again; one that is refused for good beside a deferred one does not end that."""
    server, given = script
    server.recipients = dict.fromkeys(THREE, "450 4.2.0 greylisted") | {"a@test.invalid": "550 no"}
    receipt = await send({**given, "to": THREE})
    assert (receipt.outcome, receipt.reason) == (Outcome.RETRY, Reason.SERVER_ERROR)
    assert not server.mails and "DATA" not in server.verbs


async def test_deferred_beside_others(script: tuple[Script, dict[str, Any]], send: Send) -> None:
    """The next attempt goes only to those who have it not, even after a restart."""
    server, given = script
    store = MemoryStore()
    server.recipients["b@test.invalid"] = "450 4.2.0 greylisted"
    for _ in range(2):  # each a new channel, as after a restart
        channel = SmtpChannel({**given, "to": THREE})
        channel.attach(store)
        receipt = await send(channel)
        assert (receipt.outcome, receipt.reason) == (Outcome.RETRY, Reason.SERVER_ERROR)
        assert "2 of 3 recipients so far: number 2 deferred with 450 4.2.0" in receipt.detail
    server.recipients.clear()
    channel = SmtpChannel({**given, "to": THREE})
    channel.attach(store)
    receipt = await send(channel)
    assert (receipt.outcome, receipt.detail) == (Outcome.ACCEPTED, "250 2.0.0")
    assert [taken for taken, _ in server.mails] == [["a@test.invalid", "c@test.invalid"], ["b@test.invalid"]]
    assert not await store.notes()


async def test_deferred_for_long(script: tuple[Script, dict[str, Any]], send: Send) -> None:
    """After six minutes the message counts as accepted by those who took it: later ones must not wait for the rest."""
    server, given = script
    server.recipients["b@test.invalid"] = "450 4.2.0 greylisted"
    channel = SmtpChannel({**given, "to": THREE})
    assert (await send(channel, START + GREYLIST_SECONDS - 1)).outcome is Outcome.RETRY
    receipt = await send(channel, START + GREYLIST_SECONDS)
    assert receipt.outcome is Outcome.ACCEPTED
    assert receipt.detail == "no other recipient took it; 2 of 3 recipients: number 2 deferred with 450 4.2.0"
    assert len(server.mails) == 1


# -- options and secrets ----------------------------------------------------------------------------------------------


def test_registered() -> None:
    """Found by its name."""
    assert load(CHANNELS, "email", "channel type") is SmtpChannel


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"host": None}, "host is missing"),
        ({"to": None}, "to is missing"),
        ({"to": []}, "to is missing"),
        ({"from": None}, "from is missing"),
        ({"from": "no address"}, "from holds something that is no address"),
        ({"to": ["a@b", "x@y@z"]}, "to holds something that is no address"),
        ({"to": ["a@b.invalid, c@d.invalid"]}, "to holds something that is no address"),
        ({"to": ["a@b.invalid\r\nBcc: x@y.invalid"]}, "to holds something that is no address"),
        ({"to": ["jörg@test.invalid"]}, "SMTPUTF8"),
        ({"port": "25"}, "port must be a number"),
        ({"tls": "ssl"}, "tls must be one of starttls, implicit, none"),
        ({"tls": "none", "host": "mail.example.com"}, "insecure: true"),
        ({"username": "alarm"}, "username and password belong together"),
        ({"ca": "/nowhere/ca.pem"}, "ca is no file"),
        ({"ca": __file__}, "ca holds no certificates"),
        ({"template": {"body": "{{ nonsense }}"}}, "template: body"),
        ({"pasword": PASSWORD}, "unknown option 'pasword'"),
    ],
)
def test_wrong_options(changes: dict[str, Any], said: str) -> None:
    """Told what is wrong, never what the value was."""
    with pytest.raises(ConfigError) as caught:
        SmtpChannel(options(**changes))
    assert said in str(caught.value) and PASSWORD not in str(caught.value)


def test_all_problems_at_once() -> None:
    """One start tells them all."""
    with pytest.raises(ConfigError) as caught:
        SmtpChannel({"tls": "none", "host": "mail.example.com", "password": PASSWORD, "port": 0})
    assert len(caught.value.problems) == 5
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "[::1]", "localhost"])
def test_unencrypted_to_this_machine(host: str) -> None:
    """What does not leave the machine needs no TLS; what does needs a word."""
    SmtpChannel(options(host=host, tls="none"))
    SmtpChannel(options(host="mail.example.com", tls="none", insecure=True))


def test_password_is_shown_nowhere(alert: Callable[..., Alert]) -> None:
    """Not by the channel, its parts, or what it renders."""
    channel = SmtpChannel(options(username="alarm", password=PASSWORD))
    body = channel.render(alert(), START)
    assert PASSWORD not in repr(channel) + repr(vars(channel)) + channel.preview(body)
    assert PASSWORD.encode() not in body


def test_own_words(alert: Callable[..., Alert]) -> None:
    """A template's text is HTML, what is put into it is text; the plain form follows, and the subject is its title."""
    own = {
        "title": "{{ severity }}: {{ entity }}, {{ title }}",
        "body": "<b>{{ title }}</b>\n<a href='{{ actions[0].url }}'>act</a>",
    }
    told = alert(
        title="<script>x</script> https://evil.example", links={"acknowledge": "https://hw.example/ack?a=1&b=2"}
    )
    body = SmtpChannel(options(template=own, subject_prefix="[hw]")).render(told, START)
    parsed: Any = message_from_bytes(body, policy=default)
    assert parsed["Subject"] == "[hw] critical: Example Exchange, <script>x</script> https[:]//evil[.]example"
    html, plain = (parsed.get_body((kind,)).get_content().replace("\r\n", "\n") for kind in ("html", "plain"))
    assert "<b>&lt;script&gt;x&lt;/script&gt; https[:]//evil[.]example</b>" in html
    assert "<a href='https://hw.example/ack?a=1&amp;b=2'>act</a>" in html
    assert "<script>x</script> https[:]//evil[.]example\nact (https://hw.example/ack?a=1&b=2)" in plain
