"""The bytes of a mail: read back by Python's own parser, whatever a thief wrote into a token's name."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from email import message_from_bytes
from email.policy import default
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.channels.smtp import SmtpChannel
from alerts.plain import unlinked
from alerts.text import clean
from monitor.model import Alert, AlertKind, Severity

START = 1_700_000_000.0
OPTIONS = {
    "host": "localhost",
    "from": "Wächter <alarm@sender.invalid>",
    "to": ['"Ä, B" <a@test.invalid>', "b@test.invalid"],
}
HEADERS = {
    "Date", "From", "To", "Subject", "Message-ID", "In-Reply-To", "References", "X-Priority", "Importance",
    "Auto-Submitted", "X-Auto-Response-Suppress", "X-Heistwatch-Type", "X-Heistwatch-Alert", "X-Heistwatch-Severity",
    "X-Heistwatch-Incident", "MIME-Version", "Content-Type",
}  # fmt: skip
HOSTILE = st.lists(
    st.one_of(
        st.text(max_size=40),
        st.sampled_from(
            [
                "\r\nBcc: thief@evil.example\r\n", "\n\n.\r\n", "\r\n.\r\nMAIL FROM:<x@y>", "=?utf-8?q?=0ABcc:_x?=",
                "<script>alert(1)</script>", "<img src=https://evil.example/x.png>", "https://evil.example/claim",
                "www.evil.example", "javascript:x", "\" onmouseover=\"x", "--=_alternative", "\u202egnp.exe",
                "&lt;b&gt;",
                "evil.example", "@room", "\ud800", "\U0001f4a5" * 9, "逃" * 40, "a" * 300, "  ", "1.2.3.4", "\x00",
                "x@evil.example",
            ]
        ),
    ),
    max_size=6,
).map("".join)  # fmt: skip


class Reader(HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


def hostile_alert(text: str, alert: Callable[..., Alert]) -> Alert:
    """``text`` wherever a thief can write."""
    finding = {
        "wallet": "hot-1", "chain": "eip155:1", "asset": text, "destination": f"x{text}", "tx": f"x{text}",
        "at": "2018-01-25T15:04:00Z", "value": "500",
        "evidence": {"typical_balance": 1000, "usual_daily_maximum": 0.05, "share_of_typical": 0.5},
    }  # fmt: skip
    incident = {
        "id": "i1", "entity": "Example Exchange", "wallets": ["hot-1"], "status": "open", "revision": 1,
        "opened_at": "2018-01-25T15:04:00Z", "lost": [{"value": "1", "display": f"1 {text}"}], "findings": [finding],
        "explanation": [f"Example Exchange lost 1 {text}", text],
    }  # fmt: skip
    return alert(title=f"CRITICAL: Example Exchange: 1 {text} sent", body=text, incident=incident)


def parsed(body: bytes) -> Any:
    return message_from_bytes(body, policy=default)


@settings(max_examples=40, deadline=None)
@given(text=HOSTILE)
def test_hostile_text_is_only_text(text: str) -> None:
    """No header, part, tag, attribute or link comes of it; the title is read back as it was cleaned."""
    channel = CHANNEL
    body = channel.render(hostile_alert(text, make), START)
    assert body == channel.render(hostile_alert(text, make), START)
    assert max(map(len, body.split(b"\r\n"))) <= 998
    assert not re.search(rb"(?<!\r)\n|\r(?!\n)|[^\x00-\x7f]|\x00", body)
    mail = parsed(body)
    assert set(mail.keys()) <= HEADERS and len(mail.keys()) == len(set(mail.keys()))
    assert not mail.defects and [part.get_content_type() for part in mail.walk()] == [
        "multipart/alternative", "text/plain", "multipart/related", "text/html", "image/png",
    ]  # fmt: skip
    title = unlinked(clean(f"Example Exchange: 1 {text} sent"))
    told = str(mail["Subject"]).removeprefix("[CRITICAL] ")
    assert told[:250] == " ".join(title.split())[:250]
    plain, html = (mail.get_body((kind,)).get_content() for kind in ("plain", "html"))
    page = Reader(html)
    assert set(page.tags) == set(HARMLESS.tags)  # a line break in the text makes a paragraph more, of the same tags
    assert [page.tags.count(tag) for tag in ("html", "style", "img", "table")] == [1, 1, 1, 3]
    assert not [value for name, value in page.attributes if name == "href" or name.startswith("on")]
    assert [value for name, value in page.attributes if name == "src"] == [f"cid:{content_id(mail)}"]
    for form in (plain, page.text, str(mail["Subject"])):
        assert not re.search(r"://|www\.|evil\.example|\d\.\d+\.\d+\.\d+|@room", form)


def content_id(mail: Any) -> str:
    (picture,) = [part for part in mail.walk() if part.get_content_type() == "image/png"]
    return str(picture["Content-ID"]).strip("<>")


def make(**changes: Any) -> Alert:
    fields: dict[str, Any] = {
        "id": "a1", "kind": AlertKind.OPENED, "severity": Severity.CRITICAL, "labels": {"entity": "Example Exchange"},
        "runbook": "Stop withdrawals.",
    }  # fmt: skip
    return Alert(**{**fields, **changes})


CHANNEL = SmtpChannel(OPTIONS)
HARMLESS = Reader(parsed(CHANNEL.render(hostile_alert("TOKEN", make), START)).get_body(("html",)).get_content())


def test_headers() -> None:
    """What programs read: ids that are stable, a thread, a date, and that nobody is to answer."""
    mail = parsed(CHANNEL.render(make(title="CRITICAL: x", body="b", incident={"id": "i 1/x"}), START))
    assert mail["Message-ID"] == "<a1.alert@sender.invalid>"
    assert re.fullmatch(r"<[0-9a-f]{32}\.incident@sender\.invalid>", mail["References"])
    assert mail["In-Reply-To"] == mail["References"]
    assert mail["Date"].datetime.timestamp() == START
    assert mail["From"].addresses[0].display_name == "Wächter"
    assert [str(address.addr_spec) for address in mail["To"].addresses] == ["a@test.invalid", "b@test.invalid"]
    assert (mail["X-Priority"], mail["Importance"]) == ("1 (Highest)", "high")
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["Content-Type"].content_type == "multipart/alternative"


@pytest.mark.parametrize("severity", [None, Severity.LOW, Severity.MEDIUM])
def test_only_what_is_urgent_looks_urgent(severity: Severity | None) -> None:
    """Medium and the monitor's own messages have no priority at all; those without an incident have no thread."""
    mail = parsed(CHANNEL.render(make(kind=AlertKind.BLIND, title="t", body="b", severity=severity), START))
    assert mail["X-Priority"] is None and mail["References"] is None and mail["X-Heistwatch-Severity"] is None


def test_drills_are_called_drills() -> None:
    """In the subject, and above everything else in both forms; and they are never urgent."""
    told = replace(make(title="CRITICAL: Example Exchange: 1 ETH", body="b"), kind=AlertKind.DRILL)
    for channel in (CHANNEL, SmtpChannel({**OPTIONS, "template": {"title": "{{ entity }}", "body": "{{ title }}"}})):
        mail = parsed(channel.render(told, START))
        assert "DRILL" in mail["Subject"] and mail["X-Priority"] is None
        plain, html = (mail.get_body((kind,)).get_content() for kind in ("plain", "html"))
        assert plain.startswith("DRILL: this theft is played. No coins have moved.")
        assert "DRILL: this theft is played. No coins have moved." in Reader(html).text


def test_subjects_of_any_length() -> None:
    """Short plain ones as they are, all others in encoded words of at most 75 characters, on lines of at most 76."""
    for title in ("CRITICAL: short", "CRITICAL: " + "long " * 60, "CRITICAL: ü", "CRITICAL: " + "\U0001f4a5" * 200):
        raw = CHANNEL.render(make(title=title, body="b"), START).partition(b"\r\nMessage-ID")[0]
        lines = raw[raw.index(b"Subject: ") :].split(b"\r\n")
        assert all(len(line) <= 76 for line in lines)
        for word in b" ".join(lines).split()[1:]:
            assert not word.startswith(b"=?") or word.decode("ascii").endswith("?=")


def test_preview() -> None:
    """Readable on a terminal."""
    body = CHANNEL.render(hostile_alert("TOKEN", make), START)
    shown = CHANNEL.preview(body)
    assert shown.startswith("From: Wächter <alarm@sender.invalid>\nTo: ")
    assert "Subject: [CRITICAL] Example Exchange: 1 TOKEN sent" in shown
    assert "(also as HTML, with a chart)" in shown and "What to do: Stop withdrawals." in shown
