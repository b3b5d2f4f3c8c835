"""E-mail through a real mail server: postfix with STARTTLS, implicit TLS and AUTH, delivering into mail folders."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, replace
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

import pytest

from alerts.base import Receipt
from alerts.channels.smtp import SmtpChannel
from alerts.outbox import rows
from monitor.model import Alert, Outcome, Reason

PASSWORD = "CANARY-mail-8c1d"
BOXES = ("soc", "oncall")
TOOLS = ("postfix", "postmap", "saslpasswd2", "openssl")

MASTER = """
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
local unix - n n - - local
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


def absent(reason: str) -> None:
    """Skip, or fail where CI=true: a real component may be missing only on a developer's machine."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def ports(count: int) -> list[int]:
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    found = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return found


@dataclass
class Postfix:
    """A running server; `mails` waits for what is delivered."""

    folder: Path
    starttls: int
    implicit: int

    @property
    def ca(self) -> str:
        return str(self.folder / "cert.pem")

    def options(self, **changes: Any) -> dict[str, Any]:
        given = {
            "host": "localhost", "port": self.starttls, "ca": self.ca, "username": "alarm", "password": PASSWORD,
            "from": "heistwatch <alarm@sender.invalid>", "to": ["soc@test.invalid"], "timeout": 10,
        }  # fmt: skip
        return {**given, **changes}

    async def mails(self, box: str, alert_id: str, count: int = 1) -> list[EmailMessage]:
        """The mails about an alert in a folder, once there are so many; the queue is emptied within a moment."""
        folder = self.folder / "mail" / box / "new"
        async with asyncio.timeout(20):
            while True:
                found = []
                for path in folder.iterdir() if folder.is_dir() else ():
                    parsed: Any = message_from_bytes(path.read_bytes(), policy=default)
                    if parsed["X-Heistwatch-Alert"] == alert_id:
                        found.append(parsed)
                if len(found) >= count:
                    return found
                await asyncio.sleep(0.05)


def configure(folder: Path, starttls: int, implicit: int) -> Path:
    """Everything in ``folder``: nothing of the system's own mail is touched, and nothing leaves this machine."""
    config, sasl = folder / "config", folder / "config/sasl"  # where Debian's postfix looks for it
    for path in (config, sasl, folder / "data", folder / "mail"):
        path.mkdir()
    nobody, owner = pwd.getpwnam("nobody").pw_uid, pwd.getpwnam("postfix").pw_uid
    os.chown(folder / "data", owner, -1)
    os.chown(folder / "mail", nobody, -1)
    request = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    run(*request.split(), "-addext", "subjectAltName=DNS:localhost", "-keyout", folder / "key.pem",
        "-out", folder / "cert.pem")  # fmt: skip
    (sasl / "smtpd.conf").write_text(
        f"pwcheck_method: auxprop\nauxprop_plugin: sasldb\nsasldb_path: {sasl}/users\nmech_list: PLAIN LOGIN\n"
    )
    run("saslpasswd2", "-c", "-p", "-f", sasl / "users", "-u", "mx.invalid", "alarm", stdin=PASSWORD.encode())
    os.chown(sasl / "users", owner, -1)
    (config / "boxes").write_text("".join(f"{box}@test.invalid {box}/\n" for box in BOXES))
    (config / "main.cf").write_text(f"""compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file = {folder}/log
maillog_file_prefixes = {folder}
myhostname = mx.invalid
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
virtual_mailbox_domains = test.invalid
virtual_mailbox_base = {folder}/mail
virtual_mailbox_maps = texthash:{config}/boxes
virtual_uid_maps = static:{nobody}
virtual_gid_maps = static:{nobody}
default_transport = error:nothing leaves this machine
smtpd_tls_cert_file = {folder}/cert.pem
smtpd_tls_key_file = {folder}/key.pem
smtpd_tls_security_level = encrypt
smtpd_tls_auth_only = yes
smtpd_sasl_auth_enable = yes
smtpd_sasl_path = smtpd
smtpd_sasl_local_domain = mx.invalid
smtpd_recipient_restrictions = permit_sasl_authenticated reject
smtpd_sender_restrictions = reject_unlisted_recipient
message_size_limit = 30000
""")
    services = f"127.0.0.1:{starttls} inet n - n - - smtpd\n127.0.0.1:{implicit} inet n - n - - smtpd\n"
    (config / "master.cf").write_text(services + "  -o smtpd_tls_wrappermode=yes" + MASTER)
    return config


def run(*command: str | Path, stdin: bytes = b"") -> None:
    done = subprocess.run([str(part) for part in command], input=stdin, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()


@pytest.fixture(scope="session")
def postfix() -> Iterator[Postfix]:
    """A server of its own for all tests here; it must be started by root."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing or os.geteuid() != 0:
        absent(f"postfix cannot be started: {', '.join(missing) or 'not root'}")
    folder = Path(tempfile.mkdtemp(prefix="heistwatch-postfix-"))
    folder.chmod(0o755)  # its daemons are other users
    starttls, implicit = ports(2)
    try:
        config = configure(folder, starttls, implicit)
        (folder / "queue").mkdir()
        run("postfix", "-c", config, "check")
        process = subprocess.Popen(["postfix", "-c", str(config), "start-fg"], stderr=subprocess.DEVNULL)
        try:
            wait_for(starttls, process)
            yield Postfix(folder, starttls, implicit)
        finally:
            subprocess.run(["postfix", "-c", str(config), "stop"], capture_output=True)
            process.wait(20)
    finally:
        shutil.rmtree(folder)


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while True:
        assert process.poll() is None, "postfix ended"
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
            return
        except OSError:
            assert time.monotonic() < deadline, "postfix does not listen"
            time.sleep(0.05)


Send = Callable[[dict[str, Any], Alert], Any]


@pytest.fixture
async def send() -> AsyncIterator[Send]:
    """Render an alert as a channel of these options does, and make one attempt."""
    channels = []

    async def attempt(options: dict[str, Any], alert: Alert) -> Receipt:
        channel = SmtpChannel(options)
        channels.append(channel)
        (row,) = rows(alert, {"soc": [channel]}, ["soc"], time.time())
        return await channel.send(row, time.time())

    yield attempt
    for channel in channels:
        await channel.aclose()


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
async def test_delivered_whole(postfix: Postfix, send: Send, alert: Callable[..., Alert], tls: str) -> None:
    """Handed in over TLS with a password, and in the folder with both its forms, letter by letter."""
    told = alert(f"whole-{tls}", title="CRITICAL: Börse: 100 ETH 逃\r\nBcc: thief@test.invalid", runbook=".\n.\nFrom x")
    port = postfix.starttls if tls == "starttls" else postfix.implicit
    receipt = await send(postfix.options(tls=tls, port=port), told)
    assert (receipt.outcome, receipt.reason) == (Outcome.ACCEPTED, Reason.OK)
    assert receipt.external_id == f"<whole-{tls}.alert@sender.invalid>"
    (mail,) = await postfix.mails("soc", told.id)
    assert mail["Subject"] == "[CRITICAL] Börse: 100 ETH 逃 Bcc: thief@test[.]invalid"
    assert mail["Bcc"] is None and mail["To"] == "soc@test.invalid"
    assert mail["Message-ID"] == receipt.external_id
    assert mail["Auto-Submitted"] == "auto-generated" and mail["X-Priority"].startswith("1")
    assert not mail.defects
    plain, html = mail.get_body(("plain",)), mail.get_body(("html",))
    assert plain is not None and html is not None
    assert "Börse: 100 ETH 逃" in plain.get_content() and "What to do: . . From x" in plain.get_content()
    assert "Börse: 100 ETH 逃" in html.get_content()


async def test_messages_of_an_incident_are_a_thread(postfix: Postfix, send: Send, alert: Callable[..., Alert]) -> None:
    """All of them refer to the same, and one that is sent twice has one id."""
    first = alert("thread-1")
    for told in (first, replace(first, id="thread-2"), replace(first, id="thread-2")):
        assert (await send(postfix.options(), told)).outcome is Outcome.ACCEPTED
    mails = [*await postfix.mails("soc", "thread-1"), *await postfix.mails("soc", "thread-2", 2)]
    assert len(mails) == 3 and len({mail["Message-ID"] for mail in mails}) == 2
    assert {mail["References"] for mail in mails} == {"<i1.incident@sender.invalid>"}


async def test_wrong_password(postfix: Postfix, send: Send, alert: Callable[..., Alert]) -> None:
    """A dead letter at once, and the password is nowhere in what is said of it."""
    receipt = await send(postfix.options(password=PASSWORD + "x"), alert("wrong-password"))
    assert (receipt.outcome, receipt.reason) == (Outcome.REJECTED, Reason.AUTH)
    assert PASSWORD not in repr(receipt) and "535" in receipt.detail


async def test_no_password(postfix: Postfix, send: Send, alert: Callable[..., Alert]) -> None:
    """A server that wants one refuses recipients."""
    receipt = await send(postfix.options(username=None, password=None), alert("no-password"))
    assert (receipt.outcome, receipt.reason) == (Outcome.REJECTED, Reason.CLIENT_ERROR)
    assert receipt.detail == "localhost answered 554 5.7.1"


async def test_unknown_recipient(postfix: Postfix, send: Send, alert: Callable[..., Alert]) -> None:
    """Alone it is a dead letter; beside others they get the message, and it is said who did not."""
    receipt = await send(postfix.options(to=["nobody@test.invalid"]), alert("unknown-1"))
    assert (receipt.outcome, receipt.reason) == (Outcome.REJECTED, Reason.CLIENT_ERROR)
    assert "550 5.1.1" in receipt.detail
    to = ["soc@test.invalid", "nobody@test.invalid", "oncall@test.invalid"]
    receipt = await send(postfix.options(to=to), alert("unknown-2"))
    assert receipt.outcome is Outcome.ACCEPTED
    assert receipt.detail == "250 2.0.0; 2 of 3 recipients: number 2 refused with 550 5.1.1"
    assert await postfix.mails("soc", "unknown-2") and await postfix.mails("oncall", "unknown-2")


async def test_certificate_of_a_stranger(postfix: Postfix, send: Send, alert: Callable[..., Alert]) -> None:
    """Without its authority, or under another name, the server gets neither password nor message."""
    receipt = await send(postfix.options(ca=None), alert("stranger"))
    assert (receipt.outcome, receipt.reason) == (Outcome.RETRY, Reason.TLS)
    assert "certificate" in receipt.detail
    receipt = await send(postfix.options(host="127.0.0.1"), alert("stranger"))
    assert (receipt.outcome, receipt.reason) == (Outcome.RETRY, Reason.TLS)


async def test_no_tls_where_it_is_demanded(postfix: Postfix, send: Send, alert: Callable[..., Alert]) -> None:
    """530: the server takes nothing unencrypted."""
    options = postfix.options(tls="none", ca=None, username=None, password=None)
    receipt = await send(options, alert("plain"))
    assert (receipt.outcome, receipt.reason) == (Outcome.REJECTED, Reason.AUTH)
    assert "530 5.7.0" in receipt.detail


async def test_too_big(postfix: Postfix, send: Send, alert: Callable[..., Alert]) -> None:
    """The server says its limit, and refuses before anything is sent."""
    receipt = await send(postfix.options(template={"body": "x" * 15_000}), alert("too-big"))
    assert (receipt.outcome, receipt.reason) == (Outcome.REJECTED, Reason.CLIENT_ERROR)
    assert "552 5.3.4" in receipt.detail
