"""E-mail through a mail server: SMTP (RFC 5321), STARTTLS (RFC 3207) or implicit TLS (RFC 8314), AUTH (RFC 4954)."""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import re
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import replace
from email.utils import getaddresses
from pathlib import Path
from typing import Any

from alerts import mail
from alerts.base import ChannelTraits, Receipt
from alerts.chart import chart_png
from alerts.html import TemplateEscape, page, text_of
from alerts.message import message_of
from alerts.options import Options
from alerts.plain import headline, plain_text, trimmed, unlinked
from alerts.reached import Reached
from alerts.smtp_client import Mailer, Replies, Server, reason_of, receipt_of
from alerts.template import Templates
from alerts.text import clean
from monitor.model import Alert, Outcome, Reason
from monitor.store import OutboxRow, Store

__all__ = ["SmtpChannel"]

GREYLIST_SECONDS = 360.0
"""While a message is younger, recipients that the server defers are tried again though others have it: greylisting
servers take a message after five minutes. Later messages of the same incident wait that long at most."""

CHARACTERS = 20_000
"""Of a message's lines; large mails are cut by readers' programs, which say less of it."""

_PORTS = {"starttls": 587, "implicit": 465, "none": 25}
_OPTIONS = ("host", "port", "tls", "insecure", "ca", "username", "password", "from", "to", "subject_prefix", "chart",
            "template", "timeout")  # fmt: skip
_LOCAL_PART = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}")
_DOMAIN = re.compile(r"(?!.*\.\.)[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")


_log = logging.getLogger(__name__)


class SmtpChannel(ChannelTraits):
    """Sends alerts as e-mail, in HTML and plain text; the messages of one incident make one thread.

    Options
    -------
    host, port : the mail server; the port is that of ``tls`` (587, 465 or 25) unless told
    tls : ``starttls`` (the default), ``implicit``, or ``none``, which is refused but to this machine
    insecure : true lets ``none`` speak to other machines, everything readable on the way
    ca : a file of certificate authorities (PEM) that are trusted in place of the system's
    username, password : for AUTH, both or neither
    from : the sender, ``alarm@example.com`` or ``Name <alarm@example.com>``
    to : recipients, a list of such addresses; whoever must get it for sure deserves a channel alone
    subject_prefix : before every subject, ``[heistwatch]`` for example
    chart : false leaves the picture out
    template : ``title`` (text) and ``body`` (HTML) in place of our own; beside such a body there is no chart
    timeout : seconds for a whole attempt, 30 unless told

    What an answer means: 4yz replies, time-outs and every failure of name look-up, connection or TLS are tried again;
    so is a server without STARTTLS, since nothing is sent unencrypted. 5yz replies are dead letters at once (530, 534,
    535, 538 as ``auth``). A message that some recipients took is never sent to them again; those that the server defers
    are tried for six minutes, and how many did not get it is in the delivery's detail.
    """

    type = "email"
    templated = True
    concurrency = 2  # connections at a time; large providers allow three

    def __init__(self, options: Mapping[str, Any]) -> None:
        given = Options(self.type, options, _OPTIONS)
        self._server = _server(given)
        self._envelope = mail.Envelope(_sender(given), _recipients(given))
        self._prefix = given.text("subject_prefix")
        self._chart = given.flag("chart", True)
        own = given.mapping("template")
        given.check()
        self._escape = TemplateEscape()
        self._templates = Templates(own, self._escape)
        self._plain = TemplateEscape(markup=False)
        self._titles = Templates({"title": own["title"]}, self._plain) if "title" in own else None
        self._reached = Reached()
        self._mailer = Mailer(self._server)

    def __repr__(self) -> str:
        return f"SmtpChannel(host={self._server.host!r})"

    def attach(self, store: Store) -> None:
        """Where it is remembered who has a message already."""
        self._reached.attach(store)

    def render(self, alert: Alert, queued_at: float) -> bytes:
        """The mail, as it is sent."""
        message = trimmed(message_of(alert, queued_at), CHARACTERS)
        png = chart_png(alert) if self._chart else None
        picture = (f"chart.{mail.message_id(message.id, self._envelope.domain)[1:-1]}", png) if png else None
        body = self._escape.applied(self._templates.body, message)
        if self._titles is None:
            subject = unlinked(headline(message), message.entity)
        else:
            subject = self._plain.applied(self._titles.title, message) or ""
            message = replace(message, title=subject)
        return mail.mail(
            message,
            self._envelope,
            subject=f"{self._prefix} {subject}".strip(),
            text=plain_text(message, None if body is None else text_of(body)),
            markup=page(message, body=body, picture=picture[0] if picture and body is None else ""),
            queued_at=queued_at,
            picture=picture if body is None else None,
        )

    def preview(self, body: bytes) -> str:
        """A rendered mail as readable text."""
        return mail.preview(body)

    async def send(self, row: OutboxRow, now: float) -> Receipt:
        """One attempt, over a connection of its own."""
        have = await self._reached.of(row)
        waiting = [address for _, address in self._envelope.to if address not in have]
        replies = await self._mailer.deliver(row.body, self._envelope.sender[1], waiting)
        return replies if isinstance(replies, Receipt) else await self._settle(row, now, replies)

    async def probe(self, now: float) -> Receipt:
        """Whether the server takes our connection, encryption and password."""
        return await self._mailer.greet()

    async def aclose(self) -> None:
        """Wait for the last farewells; they take two seconds at most."""
        await self._mailer.aclose()

    async def _settle(self, row: OutboxRow, now: float, replies: Replies) -> Receipt:
        everybody = [address for _, address in self._envelope.to]
        have = await self._reached.of(row) & frozenset(everybody)
        missing = _missing(everybody, replies)
        total, taken = len(everybody), len(have) + len(replies.taken)
        if taken == 0:
            first = next(iter((replies.deferred or replies.refused).values()))
            return receipt_of(
                self._server.host, first, f"took none of {total} recipients: {missing}" if total > 1 else ""
            )
        if replies.deferred and now < row.queued_at + GREYLIST_SECONDS:
            if replies.taken:
                await self._reached.add(row, replies.taken)
            reason = reason_of(next(iter(replies.deferred.values())))
            detail = f"{self._server.host} has it for {taken} of {total} recipients so far: {missing}"
            return Receipt(Outcome.RETRY, reason, detail=detail)
        await self._reached.forget(row)
        detail = replies.final.text if replies.taken else "no other recipient took it"
        if taken < total:
            detail += f"; {taken} of {total} recipients: {missing}"
            _log.warning("%s has message %s for %d of %d recipients: %s", self._server.host, row.alert_id, taken, total,
                         missing)  # fmt: skip
        external_id = mail.message_id(row.alert_id, self._envelope.domain)
        return Receipt(Outcome.ACCEPTED, Reason.OK, external_id=external_id, detail=detail)


def _missing(everybody: Sequence[str], replies: Replies) -> str:
    """Who has it not, by place in the configuration: addresses belong to people."""
    parts = []
    for verb, group in (("deferred", replies.deferred), ("refused", replies.refused)):
        parts += [f"number {everybody.index(address) + 1} {verb} with {reply.text}" for address, reply in group.items()]
    return ", ".join(parts)


# -- options ----------------------------------------------------------------------------------------------------------


def _server(given: Options) -> Server:
    host, tls = given.text("host", required=True).strip("[]"), given.choice("tls", tuple(_PORTS), "starttls")
    return Server(
        host=host,
        port=_port(given, _PORTS[tls]),
        tls=tls,
        context=_context(given, tls, host),
        login=_login(given),
        timeout=given.seconds("timeout", 30.0, 280.0),
    )


def _port(given: Options, default: int) -> int:
    port = given.raw("port")
    if port is None:
        return default
    if isinstance(port, int) and not isinstance(port, bool) and 0 < port < 65536:
        return port
    given.wrong("port must be a number from 1 to 65535")
    return default


def _context(given: Options, tls: str, host: str) -> ssl.SSLContext | None:
    insecure, ca = given.flag("insecure"), given.text("ca")
    if tls == "none":
        if not insecure and host and not _loopback(host):
            given.wrong("tls: none sends everything readable; use starttls or implicit, or say insecure: true as well")
        if ca:
            given.wrong("ca without tls has no use")
        return None
    if ca and not Path(ca).is_file():
        given.wrong("ca is no file that can be read")
        return None
    try:
        return ssl.create_default_context(cafile=ca or None)
    except (OSError, ValueError):
        given.wrong("ca holds no certificates in PEM form")
        return None


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _login(given: Options) -> tuple[str, str] | None:
    username, password = given.text("username"), given.text("password")
    if bool(username) != bool(password):
        given.wrong("username and password belong together: give both or neither")
    return (username, password) if username and password else None


def _sender(given: Options) -> tuple[str, str]:
    text = given.text("from", required=True)
    return (_person(given, "from", text) if text else None) or ("", "heistwatch@localhost")


def _recipients(given: Options) -> tuple[tuple[str, str], ...]:
    texts = given.texts("to")
    if not texts and given.raw("to") in (None, []):
        given.wrong("to is missing: who gets the mail?")
    people = [person for text in texts if (person := _person(given, "to", text))]
    return tuple({address: (name, address) for name, address in people}.values())


def _person(given: Options, name: str, text: str) -> tuple[str, str] | None:
    """Display name and address; a domain in other letters is written as the look-up needs it (IDNA)."""
    found = getaddresses([clean(text)])
    display, address = found[0] if len(found) == 1 else ("", "")
    local, at, domain = address.rpartition("@")
    with contextlib.suppress(UnicodeError):
        domain = domain.encode("idna").decode() if not domain.isascii() else domain
    if not local.isascii() and at:
        given.wrong(f"{name} holds an address with other than ASCII letters before the @ (SMTPUTF8, not supported)")
    elif not at or not _LOCAL_PART.fullmatch(local) or not _DOMAIN.fullmatch(domain):
        given.wrong(f"{name} holds something that is no address such as soc@example.com")
    else:
        return display, f"{local}@{domain}"
    return None
