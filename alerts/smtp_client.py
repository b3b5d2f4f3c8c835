"""One mail over one connection to a mail server: the conversation, and what the server's replies mean.

Every message has a connection of its own. Alarms are rare and storms are summarised, while a connection that is kept is
dropped by servers and firewalls when nobody looks, and its time-out would come just when an alarm does. What follows
the acceptance (QUIT) is not waited for.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import re
import socket
import ssl
from collections.abc import AsyncIterator, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import aiosmtplib

from alerts.base import Receipt
from alerts.text import clean
from monitor.model import Outcome, Reason

__all__ = ["Mailer", "Replies", "Reply", "Server", "reason_of", "receipt_of"]

_ENHANCED = re.compile(r"[245]\.\d{1,3}\.\d{1,3}\b")
_TOO_MANY = re.compile(r"\brate\b|too (?:many|fast|much)|thrott|limit", re.IGNORECASE)
_FULL_NAME = re.compile(r"[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})+")
_AUTH_CODES = frozenset((530, 534, 535, 538))
T = TypeVar("T")
PARTING_SECONDS = 2.0  # for a farewell that changes nothing


@dataclass(frozen=True, slots=True)
class Server:
    """Where mail is handed in, and how. ``tls`` is ``starttls``, ``implicit`` or ``none``; ``timeout`` in seconds."""

    host: str
    port: int
    tls: str
    context: ssl.SSLContext | None
    login: tuple[str, str] | None = field(repr=False)
    timeout: float


@dataclass(frozen=True, slots=True)
class Reply:
    """What the server said, as far as it may be shown: its own words may quote anything."""

    code: int
    text: str  # the code, and the enhanced one (RFC 3463) where there is one
    many: bool = False  # the server speaks of too many


@dataclass(slots=True)
class Replies:
    """Who took the message, whom the server asks to try again later, and whom it refuses."""

    taken: list[str] = field(default_factory=list)
    deferred: dict[str, Reply] = field(default_factory=dict)
    refused: dict[str, Reply] = field(default_factory=dict)
    final: Reply = Reply(0, "")


class Mailer:
    """Hands mails in at one server."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._parting: set[asyncio.Task[None]] = set()

    async def deliver(self, body: bytes, sender: str, recipients: Sequence[str]) -> Replies | Receipt:
        """One attempt: the replies to each recipient, or a receipt where it did not come to that."""
        return await self._guarded(self._converse(body, sender, recipients))

    async def greet(self) -> Receipt:
        """Connect, encrypt and log in as for a mail, and leave."""
        return await self._guarded(self._greet())

    async def _guarded(self, work: Coroutine[Any, Any, T]) -> T | Receipt:
        """What ``work`` gives, or what its failure means."""
        try:
            async with asyncio.timeout(self._server.timeout):
                return await work
        except TimeoutError:
            return self._again(Reason.TIMEOUT, f"did not answer within {self._server.timeout:g} s")
        except _Refused as error:
            outcome = Outcome.REJECTED if error.final else Outcome.RETRY
            return Receipt(outcome, error.reason, detail=f"{self._server.host} {error.what}")
        except aiosmtplib.SMTPResponseException as error:
            return receipt_of(self._server.host, _reply(error))
        except (aiosmtplib.SMTPException, OSError) as error:
            return self._broken(error)

    async def aclose(self) -> None:
        """Wait for the last farewells; they take two seconds at most."""
        if self._parting:
            await asyncio.gather(*self._parting, return_exceptions=True)

    async def _greet(self) -> Receipt:
        async with self._connected() as client:
            await client.noop()
        return Receipt(Outcome.ACCEPTED, Reason.OK, detail=f"{self._server.host} takes mail from us")

    async def _converse(self, body: bytes, sender: str, recipients: Sequence[str]) -> Replies:
        async with self._connected() as client:
            replies = await _envelope(client, sender, recipients, len(body))
            if replies.taken:
                replies.final = _reply(await client.data(body))
        return replies

    @contextlib.asynccontextmanager
    async def _connected(self) -> AsyncIterator[_Client]:
        """A connection that is encrypted and logged in as the configuration says; it parts in its own time."""
        client = _Client(
            hostname=self._server.host,
            port=self._server.port,
            use_tls=self._server.tls == "implicit",
            start_tls=False,  # done below, where a refusal can be told from others
            tls_context=self._server.context,
            local_hostname=_own_name(),
            timeout=self._server.timeout,
        )
        try:
            await client.connect()
            if self._server.tls == "starttls":
                await _encrypt(client)
            if self._server.login is not None:
                await _log_in(client, *self._server.login)
            yield client
        except BaseException:
            client.close()
            raise
        task = asyncio.create_task(_part(client))
        self._parting.add(task)
        task.add_done_callback(self._parting.discard)

    def _again(self, reason: Reason, what: str) -> Receipt:
        return Receipt(Outcome.RETRY, reason, detail=f"{self._server.host} {what}")

    def _broken(self, error: Exception) -> Receipt:
        cause = error.__cause__ if isinstance(error, aiosmtplib.SMTPException) else error
        if isinstance(cause, ssl.SSLCertVerificationError):
            why = clean(cause.verify_message or "not valid")
            return self._again(Reason.TLS, f"showed a certificate that does not hold: {why}")
        if isinstance(cause, ssl.SSLError):
            return self._again(Reason.TLS, "could not agree on an encrypted connection")
        if isinstance(cause, socket.gaierror):
            return self._again(Reason.CONNECTION, "has no address: the name look-up failed")
        if isinstance(error, aiosmtplib.SMTPConnectError) and isinstance(cause, OSError) and cause.errno:
            return self._again(Reason.CONNECTION, f"could not be reached: {os.strerror(cause.errno)}")
        return self._again(Reason.CONNECTION, "broke the connection off")


def receipt_of(host: str, reply: Reply, what: str = "") -> Receipt:
    """What a refusal means, by its first digit: 4yz is tried again, 5yz never.

    Parameters
    ----------
    host : shown to people
    what : in place of the code, for people
    """
    if not 400 <= reply.code < 600:
        return Receipt(Outcome.RETRY, Reason.CONNECTION, detail=f"{host} answered something that is not SMTP")
    outcome = Outcome.RETRY if reply.code < 500 else Outcome.REJECTED
    return Receipt(outcome, reason_of(reply), detail=f"{host} {what or f'answered {reply.text}'}")


def reason_of(reply: Reply) -> Reason:
    """Why, for a reply 4yz or 5yz."""
    if reply.code < 500:
        return Reason.RATE_LIMITED if reply.many else Reason.SERVER_ERROR
    return Reason.AUTH if reply.code in _AUTH_CODES else Reason.CLIENT_ERROR


class _Client(aiosmtplib.SMTP):
    """A connection that is dropped at once where it is dropped: over TLS a server that hangs would hold it for long."""

    def close(self) -> None:
        transport = self.transport
        super().close()
        if transport is not None:
            cast(asyncio.Transport, transport).abort()


class _Refused(Exception):
    """The conversation cannot go on; said in words of our own."""

    def __init__(self, reason: Reason, what: str, *, final: bool = False) -> None:
        super().__init__(what)
        self.reason, self.what, self.final = reason, what, final


async def _encrypt(client: _Client) -> None:
    await client.ehlo()
    if not client.supports_extension("starttls"):
        raise _Refused(Reason.TLS, "does not offer STARTTLS, and nothing is sent unencrypted")
    try:
        await client.starttls()
    except aiosmtplib.SMTPResponseException as error:
        raise _Refused(Reason.TLS, f"refused STARTTLS with {_reply(error).text}") from None


async def _log_in(client: _Client, username: str, password: str) -> None:
    try:
        await client.login(username, password)
    except (aiosmtplib.SMTPResponseException, aiosmtplib.SMTPServerDisconnected, aiosmtplib.SMTPTimeoutError):
        raise
    except aiosmtplib.SMTPException:
        raise _Refused(Reason.AUTH, "offers no way to log in that is known here", final=True) from None


async def _envelope(client: _Client, sender: str, recipients: Sequence[str], size: int) -> Replies:
    """MAIL and RCPT: who would take it. A server that closes the door (421) has answered for all."""
    if client.is_ehlo_or_helo_needed:
        with contextlib.suppress(aiosmtplib.SMTPHeloError):  # a server of old: `mail` says HELO to it
            await client.ehlo()
    await client.mail(sender, options=[f"SIZE={size}"] if client.supports_extension("size") else [])
    replies = Replies()
    for recipient in recipients:
        try:
            await client.rcpt(recipient)
        except aiosmtplib.SMTPRecipientRefused as error:
            if error.code == 421 or not 400 <= error.code < 600:
                raise
            (replies.deferred if error.code < 500 else replies.refused)[recipient] = _reply(error)
        else:
            replies.taken.append(recipient)
    return replies


async def _part(client: _Client) -> None:
    """Say QUIT; the message is accepted, whatever comes of it."""
    with contextlib.suppress(aiosmtplib.SMTPException, OSError):
        await client.quit(timeout=PARTING_SECONDS)
    client.close()


def _reply(answer: aiosmtplib.SMTPResponseException | aiosmtplib.SMTPResponse) -> Reply:
    enhanced = _ENHANCED.match(answer.message)
    text = f"{answer.code} {enhanced[0]}" if enhanced else str(answer.code)
    return Reply(answer.code, text, _TOO_MANY.search(answer.message) is not None)


@functools.cache
def _own_name() -> str:
    """For EHLO: this host's full name, else an address literal (RFC 5321 4.1.4); without a look-up, which may hang."""
    name = socket.gethostname()
    return name if _FULL_NAME.fullmatch(name) else "[127.0.0.1]"
