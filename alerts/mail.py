"""A message as an e-mail: the bytes of RFC 5322, the same at every call for the same message.

Written here by hand rather than by Python's `email` package, whose boundaries are random and whose folding differs
between versions: what is frozen must not. Text from a chain never reaches a header as it is: a subject is cleaned of
line breaks and, unless it is short plain ASCII, written in base64 words (RFC 2047). No line is longer than 76 octets
but the subject's and addresses' (under 998, RFC 5321 4.5.3.1.6).
"""

from __future__ import annotations

import base64
import hashlib
import quopri
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email import message_from_bytes
from email.policy import SMTP
from email.utils import format_datetime, formataddr

from alerts.message import Message
from alerts.text import bounded, clean

__all__ = ["Envelope", "mail", "message_id", "preview", "thread_id"]

_SUBJECT_CHARACTERS = 400
_WORD_BYTES = 39  # of an encoded word: with its frame and "Subject: " a line of at most 76
_PLAIN_SUBJECT = re.compile(r"[\x20-\x7e]{0,66}")
_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,64}")
_IMPORTANCE = {"critical": ("1 (Highest)", "high"), "high": ("2 (High)", "high"), "low": ("5 (Lowest)", "low")}


@dataclass(frozen=True, slots=True)
class Envelope:
    """Who writes to whom: (display name, address) each; `domain` is that of the writer."""

    sender: tuple[str, str]
    to: tuple[tuple[str, str], ...]

    @property
    def domain(self) -> str:
        """What message ids end with."""
        return self.sender[1].rpartition("@")[2]


def message_id(alert_id: str, domain: str) -> str:
    """The ``Message-ID`` of an alert: every copy has the same, so that a repeated one counts once.

    >>> message_id("5f0c", "example.com")
    '<5f0c.alert@example.com>'
    """
    return f"<{_token(alert_id)}.alert@{domain}>"


def thread_id(incident_id: str, domain: str) -> str:
    """What all messages of an incident refer to. No message has this id: readers join those that name the same."""
    return f"<{_token(incident_id)}.incident@{domain}>"


def mail(
    message: Message,
    envelope: Envelope,
    *,
    subject: str,
    text: str,
    markup: str,
    queued_at: float,
    picture: tuple[str, bytes] | None = None,
) -> bytes:
    """The whole mail, lines ending in CR LF.

    Parameters
    ----------
    subject, text, markup : the title, and the body in both its forms
    queued_at : UTC seconds, the mail's date
    picture : Content-ID and bytes of a PNG that ``markup`` shows
    """
    mark = hashlib.sha256(message.id.encode()).hexdigest()[:24]
    html = _text_part("html", markup)
    if picture is not None:
        html = _multipart("related", f"=_related_{mark}", [html, _picture_part(*picture)])
    body = _multipart("alternative", f"=_alternative_{mark}", [_text_part("plain", text), html])
    headers = _headers(message, envelope, subject, queued_at)
    lines = [*(f"{name}: {value}" for name, value in headers), "MIME-Version: 1.0", body, ""]
    return "\r\n".join(lines).encode("ascii")


def _headers(message: Message, envelope: Envelope, subject: str, queued_at: float) -> list[tuple[str, str]]:
    headers = [
        ("Date", format_datetime(datetime.fromtimestamp(int(queued_at), UTC))),
        ("From", formataddr(envelope.sender)),
        ("To", _addresses(envelope.to)),
        ("Subject", _subject(subject)),
        ("Message-ID", message_id(message.id, envelope.domain)),
    ]
    if message.incident_id:
        thread = thread_id(message.incident_id, envelope.domain)
        headers += [("In-Reply-To", thread), ("References", thread)]
    if message.severity in _IMPORTANCE and not message.drill:
        priority, importance = _IMPORTANCE[message.severity]
        headers += [("X-Priority", priority), ("Importance", importance)]
    headers += [
        ("Auto-Submitted", "auto-generated"),  # RFC 3834: no holiday notice answers it
        ("X-Auto-Response-Suppress", "All"),  # the same, for Exchange
        ("X-Heistwatch-Type", message.type),
        ("X-Heistwatch-Alert", _token(message.id)),
    ]
    if message.severity:
        headers.append(("X-Heistwatch-Severity", message.severity))
    if message.incident_id:
        headers.append(("X-Heistwatch-Incident", _token(message.incident_id)))
    return headers


def _token(text: str) -> str:
    """``text`` where it can stand in an id, else a digest of it."""
    return text if _TOKEN.fullmatch(text) else hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:32]


def _addresses(people: Sequence[tuple[str, str]]) -> str:
    return ",\r\n ".join(formataddr(person) for person in people)


def _subject(text: str) -> str:
    """One header value. What looks like an encoded word is encoded itself: it would be read as what it hides."""
    text = bounded(" ".join(clean(text).split()), _SUBJECT_CHARACTERS)
    if _PLAIN_SUBJECT.fullmatch(text) and "=?" not in text:
        return text
    words, word = [], b""
    for character in text:
        encoded = character.encode()
        if len(word) + len(encoded) > _WORD_BYTES:
            words.append(word)
            word = b""
        word += encoded
    words.append(word)
    return "\r\n ".join(f"=?utf-8?b?{base64.b64encode(word).decode()}?=" for word in words)


def _text_part(subtype: str, text: str) -> str:
    encoded = quopri.encodestring(text.encode("utf-8", "replace")).decode("ascii")
    head = f"Content-Type: text/{subtype}; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
    return head + encoded.replace("\n", "\r\n")


def _picture_part(content_id: str, png: bytes) -> str:
    encoded = base64.encodebytes(png).decode("ascii").rstrip("\n").replace("\n", "\r\n")
    return (
        'Content-Type: image/png; name="chart.png"\r\nContent-Transfer-Encoding: base64\r\n'
        f'Content-ID: <{content_id}>\r\nContent-Disposition: inline; filename="chart.png"\r\n\r\n{encoded}'
    )


def _multipart(subtype: str, boundary: str, parts: Sequence[str]) -> str:
    """Boundaries begin with ``=_``, which neither quoted-printable nor base64 can contain (RFC 2045 6.7)."""
    inside = "".join(f"--{boundary}\r\n{part}\r\n" for part in parts)
    return f'Content-Type: multipart/{subtype}; boundary="{boundary}"\r\n\r\n{inside}--{boundary}--\r\n'


def preview(body: bytes) -> str:
    """A rendered mail as readable text: the headers that people see, and the plain form."""
    parsed = message_from_bytes(body, policy=SMTP)
    lines = [f"{name}: {parsed[name]}" for name in ("From", "To", "Subject", "Date") if parsed[name]]
    plain = parsed.get_body(("plain",))
    pictures = sum(part.get_content_type() == "image/png" for part in parsed.walk())
    also = "also as HTML" + (", with a chart" if pictures else "")
    text = plain.get_content() if plain is not None else ""
    return "\n".join([*lines, f"({also})", "", text.rstrip().replace("\r\n", "\n")])
