"""Whatever a thief writes, each chat shows it as text: no markup, no mention, no link; cuts never break an escape."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from html.parser import HTMLParser

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from alerts import markup
from alerts.text import clean

PIECES = st.sampled_from(
    [
        *("@everyone", "@all", "<@1>", "<!here>", "&lt;", "&#64;", "https://", "www.", "evil.example", "[x]", "(y)"),
        *("\n", " ", "    ", "1. ", "- ", "# ", "> ", "---", "===", "```", ":skull:", "~c", "#tag", "$USD", "/start"),
        *("{{", "}}", "+1"),
        *"*_~`<>&[]()#@:/\\|!-+.={}$'\"aZ9",
    ]
)
TEXTS = st.lists(PIECES | st.text(max_size=4), max_size=14).map(lambda parts: clean("".join(parts), lines=True))
LINKS = re.compile(r"://|\bwww\.\w|[^\W_]\.\w*[^\W\d]")


def slack_text(text: str) -> str:
    """What Slack shows; fails where it would see markup, a mention or a link of ours or of theirs."""
    assert not re.search(r"[<>]|&(?!amp;|lt;|gt;)", text)
    assert not re.search(r"[*~`]|(?<![^\W_])_|_(?![^\W_])", text)
    assert not re.search(r"(?<![A-Za-z0-9]):[\w+'-]+:", text)
    assert not re.search(r"^\s*&gt;", text, re.MULTILINE)
    return html.unescape(text)


def discord_text(text: str) -> str:
    """What Discord shows: a backslash makes the punctuation after it plain."""
    bare = re.sub(r"\\[^0-9A-Za-z\s]", "\x00", text)
    assert not re.search(r"[\\`*_~|<>#@/\[\]]|:(?=//)", bare)
    assert not re.search(r"^\s*(?:[-+]|\d+\.\s)", bare, re.MULTILINE)
    return re.sub(r"\\([^0-9A-Za-z\s])", r"\1", text)


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.inside: list[str] = []
        self.plain = self.shown = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert (tag, attrs, self.inside) == ("code", [], [])
        self.inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.inside.pop() == tag

    def handle_data(self, data: str) -> None:
        self.shown += data
        self.plain += "\x00" if self.inside else data


def telegram_text(text: str) -> str:
    """What Telegram shows; fails where it would find a mention, a tag, a command or a link outside of code."""
    parser = _Tags()
    parser.feed(text)
    parser.close()
    assert not parser.inside
    assert not re.search(r"[@#]\w|(?:^|\s)/\w|\$[A-Za-z]|\d{7}|(?:^|\s)\+\d", parser.plain)
    assert not LINKS.search(parser.plain)
    return parser.shown


def markdown_text(text: str) -> tuple[str, str]:
    """(all that a CommonMark reader shows, what of it is not code); fails on anything but text, code and breaks."""
    plain = shown = ""
    for block in MarkdownIt("commonmark").enable("strikethrough").enable("table").parse(text):
        assert block.type in ("paragraph_open", "paragraph_close", "inline")
        for token in block.children or ():
            assert token.type in ("text", "code_inline", "softbreak", "hardbreak", "text_special")
            shown += token.content or "\n" * token.type.endswith("break")
            plain += "\x00" if token.type == "code_inline" else token.content
    return shown, plain


@given(TEXTS)
@example("_a_ *b* ~c~ `d` > e\n> f :x:")
def test_slack(text: str) -> None:
    """Slack's escapes leave nothing to read; the rest of the text is unchanged."""
    shown = slack_text(markup.slack(text))
    back = shown.translate(str.maketrans({"\u2217": "*", "\u223c": "~", "\u02cb": "`", "\u02cd": "_", "\u2236": ":"}))
    same = str.maketrans({"\u2217": "*", "\u223c": "~", "\u02cb": "`", "\u02cd": "_", "\u2236": ":", "\u203a": ">"})
    assert back.translate(same) == text.translate(same)


@given(TEXTS)
@example("1. a\n- b\n-# c\n\\\\*d*")
def test_discord(text: str) -> None:
    """Discord's escapes leave nothing to read, and are exact."""
    assert discord_text(markup.discord(text)) == text


@given(TEXTS)
@example("a@b <b> &amp; t.me/x")
@example("www.0")
def test_telegram(text: str) -> None:
    """Telegram's HTML is balanced, and whatever it would make a link of is code; the text is exact."""
    assert telegram_text(markup.telegram(text)) == text


@given(TEXTS)
@example("{{DATE(x)}} {{{a}}} <at>x</at> </AT>")
def test_teams(text: str) -> None:
    """The Markdown of cards has nothing to read; functions, mentions and addresses are taken apart."""
    for made in (markup.teams(text), markup.teams_plain(text)):
        assert "{{" not in made
        assert "://" not in made
        assert not re.search(r"<(/?at)\b", made, re.IGNORECASE)
    for line in markup.teams(text).split("\n"):
        markdown_text(line.strip())


@given(TEXTS)
@example("`@all` \\@all &#64;all ~town #tag\n    code\n===")
def test_mattermost(text: str) -> None:
    """A Markdown reader finds text and code alone, and outside of code nothing that Mattermost links or notifies."""
    made = markup.mattermost(text)
    shown, plain = markdown_text(made)
    assert not re.search(r"[@#~$<&]|://|\bwww\.", plain)
    assert "".join(shown.split()) == "".join(text.replace("`", "'").split())


ESCAPES: list[Callable[[str], str]] = [
    str, markup.entities, markup.slack, markup.discord, markup.telegram, markup.teams, markup.mattermost
]  # fmt: skip


@pytest.mark.parametrize("escape", ESCAPES)
@settings(max_examples=40)
@given(text=TEXTS.map(lambda text: text * 20), most=st.integers(60, 400))
def test_cuts_come_before_escapes(escape: Callable[[str], str], text: str, most: int) -> None:
    """What is cut is as long as it may be, and still an escaped text with its note."""
    made = markup.fitted(text, most, escape)
    assert markup.units(made) <= most
    if made != escape(text):
        left = int(re.search(r"\((\d+) more characters left out", made)[1])  # type: ignore[index]
        assert made == escape(f"{text[:-left]}… ({left} more characters left out)")
        longer = escape(f"{text[: -left + 1 or None]}… ({left - 1} more characters left out)")
        assert markup.units(longer) > most or markup.units(escape(text)) <= most or escape is markup.mattermost


@pytest.mark.parametrize("escape", ESCAPES)
@settings(max_examples=40)
@given(lines=st.lists(TEXTS, max_size=12), most=st.integers(120, 300))
def test_lines_are_counted(escape: Callable[[str], str], lines: list[str], most: int) -> None:
    """Lines together are as long as they may be; those that are left out are counted."""
    made = markup.lines_within(lines, most, escape)
    assert markup.units(made) <= most
    whole = "\n".join(map(escape, lines))
    assert made == whole or "left out" in made


def test_addresses() -> None:
    """An address that is put into markup cannot end it; what is none is dropped."""
    assert markup.address_of("https://x.example/a)b|c>d\"e'f*g h") == "https://x.example/a%29b%7Cc%3Ed%22e%27f%2Ag%20h"
    assert markup.address_of("https://x.example/?t=a%2Fb&u=1#c") == "https://x.example/?t=a%2Fb&u=1#c"
    for bad in ("", "javascript:alert(1)", "https://", "//x.example", "http://[x", "tg://user?id=1"):
        assert markup.address_of(bad) == ""
