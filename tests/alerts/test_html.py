"""The HTML and plain forms: what is a link and what must not become one, and what a page may load."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest

from alerts.html import TemplateEscape, escape, fragment, page, text_of
from alerts.message import Action, Fact, Message
from alerts.plain import headline, plain_text, trimmed, unlinked, web_address

EXPLORER = "https://explorer.example/tx/0xab"


def message(**changes: Any) -> Message:
    """A message with everything in it."""
    fields: dict[str, Any] = {
        "id": "a1", "type": "incident.opened", "at": "2018-01-25T15:04:00Z", "badge": "CRITICAL",
        "severity": "critical", "colour": "#b00020", "title": "CRITICAL: Gate.example: 100 ETH sent",
        "entity": "Gate.example",
        "facts": (Fact("left", "100 ETH"), Fact("transaction", "0xab", EXPLORER)), "lines": ("one", "two"),
        "runbook": "Stop withdrawals, see https://wiki.example/stop",
        "actions": (Action("Acknowledge", "https://hw.example/a?x=1&y=2"), Action("Open", "https://hw.example/i")),
        "incident_id": "i1", "revision": 3, "drill": False,
    }  # fmt: skip
    return Message(**{**fields, **changes})


class Seen(HTMLParser):
    """What a reader gets of some markup; every tag that is opened is closed, in order."""

    VOID = frozenset(("meta", "img", "br"))

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.links: dict[str, str] = {}
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self.tags: set[str] = set()
        self._open: list[str] = []
        self._link = ""
        self.feed(markup)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in self.VOID:
            self._open.append(tag)
        self._link = dict(attrs).get("href") or "" if tag == "a" else self._link

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag
        self._link = "" if tag == "a" else self._link

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] in ("style", "title"):
            return
        self.text += data
        if self._link:
            self.links[data] = self._link


def test_page() -> None:
    """Buttons first, facts with explorer links, lines, what to do; readable on a telephone and in the dark."""
    markup = page(message(), picture="chart.1")
    seen = Seen(markup)
    assert seen.links == {
        "Acknowledge": "https://hw.example/a?x=1&y=2",
        "Open": "https://hw.example/i",
        "0xab": EXPLORER,
    }
    order = ["CRITICAL", "Gate.example: 100 ETH sent", "Acknowledge", "left", "one", "What to do:", "incident i1"]
    places = [seen.text.index(part) for part in order]
    assert places == sorted(places)
    assert "background:#b00020" in markup
    assert 'name="viewport" content="width=device-width' in markup and "prefers-color-scheme:dark" in markup


def test_nothing_is_loaded() -> None:
    """No script, no frame, nothing from elsewhere: the picture travels with the mail."""
    for markup in (
        page(message(), picture="chart.1"),
        page(message(drill=True, badge="DRILL CRITICAL")),
        fragment(message()),
    ):
        seen = Seen(markup)
        assert not seen.tags & {"script", "iframe", "link", "object", "embed", "form", "base", "video", "svg"}
        assert {value for _, name, value in seen.attributes if name in ("src", "background", "srcset")} <= {
            "cid:chart.1"
        }
        assert not re.search(r"url\(|@import|expression\(", markup)


def test_fragment() -> None:
    """Only tags and attributes that the Matrix specification permits."""
    seen = Seen(fragment(message(drill=True, badge="DRILL CRITICAL")))
    assert seen.tags <= {"p", "strong", "em", "ul", "li", "a", "br", "span"}
    assert {name for _, name, _ in seen.attributes} <= {"href", "data-mx-bg-color", "data-mx-color"}
    assert seen.links["Acknowledge"] == "https://hw.example/a?x=1&y=2"
    assert seen.text.startswith("DRILL: this theft is played.")


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "data:text/html,x", "https://a b", 'https://a"b', "//a", "", "cid:x"]
)
def test_only_web_addresses_are_links(url: str) -> None:
    """Whatever stands in place of an address is left out."""
    told = message(actions=(Action("Acknowledge", url),), facts=(Fact("transaction", "0xab", url),))
    assert web_address(url) == ""
    for markup in (page(told), fragment(told)):
        assert not Seen(markup).links
    assert not url or url not in plain_text(told)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://evil.example/a.b", "https[:]//evil[.]example/a.b"),
        ("www.evil.co.uk", "www[.]evil[.]co[.]uk"),
        ("evil。com ｡com", "evil[.]com ｡com"),
        ("xn--evil.xn--p1ai", "xn--evil[.]xn--p1ai"),
        ("http://10.0.0.1:80/x", "http[:]//10[.]0[.]0[.]1:80/x"),
        ("x@evil.example", "x@evil[.]example"),
        ("@ROOM", "@ ROOM"),
        ("@bob:server #room:server !id:server", "@ bob:server # room:server ! id:server"),
        ("0.5 ETH, 12.5 %, 1,000.25", "0.5 ETH, 12.5 %, 1,000.25"),
        ("the end. Then", "the end. Then"),
        ("heistwatch incidents ack 5f -c /etc/heistwatch.yaml", "heistwatch incidents ack 5f -c /etc/heistwatch.yaml"),
    ],
)
def test_unlinked(text: str, shown: str) -> None:
    """Addresses become what nobody's program opens; amounts, sentences and our own commands stay."""
    assert unlinked(text) == shown
    assert unlinked(shown) == shown


@pytest.mark.parametrize(
    "text", ["evilGate.example", "Gate.example.evil", "Gate.example/x", "x@Gate.example", "a-Gate.example"]
)
def test_an_entity_keeps_its_name_only_alone(text: str) -> None:
    """A watched exchange may be called as its site is; addresses that merely contain that stay cut."""
    assert unlinked("Gate.example: 1 ETH, of Gate.example.", "Gate.example") == "Gate.example: 1 ETH, of Gate.example."
    assert "Gate.example" not in unlinked(text, "Gate.example")


def test_headline_says_its_severity_once() -> None:
    """The badge is before the title, in place of the same word in it."""
    assert headline(message()) == "[CRITICAL] Gate.example: 100 ETH sent"
    drill = message(badge="DRILL CRITICAL", title="DRILL: CRITICAL: Gate.example: 100 ETH sent", drill=True)
    assert headline(drill) == "[DRILL CRITICAL] Gate.example: 100 ETH sent"
    assert headline(message(badge="BLIND", title="no head for 60 s")) == "[BLIND] no head for 60 s"


def test_plain_text() -> None:
    """The same as the page, line by line."""
    assert plain_text(message()).split("\n") == [
        "[CRITICAL] Gate.example: 100 ETH sent",
        "",
        "Acknowledge: https://hw.example/a?x=1&y=2",
        "Open: https://hw.example/i",
        "",
        "left: 100 ETH",
        "transaction: 0xab",
        f"  {EXPLORER}",
        "",
        "one",
        "two",
        "",
        "What to do: Stop withdrawals, see https://wiki.example/stop",
        "",
        "heistwatch incident.opened | 2018-01-25T15:04:00Z | incident i1, revision 3 | message a1",
        "",
    ]


def test_summaries_say_for_how_many_they_stand() -> None:
    """Below everything else, and however much is cut."""
    assert "stands for 2 messages" in plain_text(message(covers=("a", "b")))
    assert "stands for 300 messages" in plain_text(trimmed(message(covers=tuple(map(str, range(300)))), 10))


def test_trimmed() -> None:
    """What is left out is counted; what fits stays."""
    assert trimmed(message(), 1000) == message()
    cut = trimmed(message(lines=("x" * 8, "y" * 8, "z")), 10)
    assert cut.lines == ("xxxxxxxx", "y… (7 more characters left out)", "… (1 more lines left out)")
    assert cut.title == "CRITICAL: … (26 more characters left out)"


def test_template_escape_lets_our_own_addresses_pass() -> None:
    """Those of the message at hand, and only while it is at hand."""
    own = TemplateEscape()
    values = ("https://hw.example/a?x=1&y=2", "https://evil.example", "Gate.example", "<b>")

    def render(told: Message) -> str:
        return " ".join(map(own, values))

    shown = "https://hw.example/a?x=1&amp;y=2 https[:]//evil[.]example Gate.example &lt;b&gt;"
    assert own.applied(render, message()) == shown
    assert own("https://hw.example/a?x=1&y=2") == escape("https://hw.example/a?x=1&y=2") != values[0]
    assert own.applied(render, replace(message(), actions=())) != shown


def test_text_of() -> None:
    """Blocks are lines, links show where they go, nothing hidden is shown."""
    markup = (
        "<h1>A &amp; B</h1><ul><li>x</li><li>y <b>z</b></li></ul><style>p{}</style><a href='javascript:x'>no</a><br>end"
    )
    assert text_of(markup) == "A & B\nx\ny z\nno\nend"
