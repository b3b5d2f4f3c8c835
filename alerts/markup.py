"""Text that stays text: what each chat makes of a text, and how to write one that is neither markup, mention nor link.

Names of tokens are written by thieves. Where a chat knows an escape, it is used; where it has none (Slack's ``*``), the
character gives way to one that looks alike; where a chat makes links and mentions of plain words (Telegram,
Mattermost), such words are written as code, which neither reads. Control and invisible characters are gone before
(`alerts.text.clean`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from urllib.parse import quote, urlsplit

from alerts.text import bounded

__all__ = [
    "Escape",
    "address_of",
    "discord",
    "entities",
    "escaped_address",
    "fitted",
    "lines_within",
    "mattermost",
    "slack",
    "slack_plain",
    "teams",
    "teams_plain",
    "telegram",
    "units",
]

Escape = Callable[[str], str]
"""Makes a text harmless in one chat's markup; it never makes it shorter."""

_REST_NOTE = 48  # room for the note of how many lines are left out, escaped
_WORTH_CUTTING = 45  # what is left of a line must be more than the note that it was cut

_WORDS = re.compile(r"(\s+)")

_SLACK_LIKE = str.maketrans({"*": "\u2217", "~": "\u223c", "`": "\u02cb"})  # Slack has no escape for them
_SLACK_ITALIC = re.compile(r"(?<![^\W_])_|_(?![^\W_])")  # inside of a word it is none
_SLACK_EMOJI = re.compile(r"(?<![A-Za-z0-9]):(?=[\w+'-]+:)")
_SLACK_QUOTE = re.compile(r"^(\s*)&gt;", re.MULTILINE)

_DISCORD = re.compile(r"[\\`*_~|<>#@/\[\]]|:(?=//)|(?<![A-Za-z0-9]):(?=[\w~+-]+:)")
_DISCORD_START = re.compile(r"^(\s*)([-+]|\d+(?=\.(?:\s|$)))", re.MULTILINE)

_TEAMS = re.compile(r"[\\`*_~<>\[\]]")
_TEAMS_START = re.compile(r"^(\s*)([-+#]|\d+(?=[.)](?:\s|$)))", re.MULTILINE)

_TELEGRAM_READS = re.compile(r"[@#]|^\W*/|//|\$[A-Za-z]|[^\W_][.\u3002\uff0e\uff61]\w*[^\W\d]|\b[wW]{3}\.|\d{7}|^\+\d")

_MATTERMOST = re.compile(r"[\\*_{}\[\]()#!>|]")
_MATTERMOST_READS = re.compile(
    r"[@#~`$<&]|://|\bwww\.|(?<![^\W_]):[\w+-]+:|^mailto:|^[:;=8][-']?[^\w\s]", re.IGNORECASE
)
_MATTERMOST_START = re.compile(r"^([-+=]|\d+(?=[.)](?:\s|$)))", re.MULTILINE)


def entities(text: str) -> str:
    """``&``, ``<`` and ``>`` as HTML writes them.

    >>> entities("<!channel> & co")
    '&lt;!channel&gt; &amp; co'
    """
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def slack(text: str) -> str:
    """For Slack's mrkdwn: https://docs.slack.dev/messaging/formatting-message-text

    Addresses are not looked for where the text object says ``verbatim``; they are taken apart for old clients.

    >>> slack("<!here> *free* USD_T _x_")
    '&lt;!here&gt; \u2217free\u2217 USD_T \u02cdx\u02cd'
    """
    safe = slack_plain(text).translate(_SLACK_LIKE)
    safe = _SLACK_EMOJI.sub("\u2236", _SLACK_ITALIC.sub("\u02cd", safe))
    return _SLACK_QUOTE.sub("\\1\u203a", safe)


def slack_plain(text: str) -> str:
    """For Slack's texts of type ``plain_text``, and for what all its texts have in common.

    >>> slack_plain("<!here> https://evil.example")
    '&lt;!here&gt; https∶//evil.example'
    """
    return entities(text).replace("://", "\u2236//")


def discord(text: str) -> str:
    r"""For Discord's Markdown, where a backslash makes any punctuation plain.

    https://docs.discord.com/developers/reference#message-formatting has the forms of mentions, times and emoji.

    >>> discord("@everyone https://evil.example <@1>")
    '\\@everyone https\\:\\/\\/evil.example \\<\\@1\\>'
    """
    return _DISCORD_START.sub(_start, _DISCORD.sub(r"\\\g<0>", text))


def teams(text: str) -> str:
    r"""For the Markdown of Adaptive Cards: https://learn.microsoft.com/adaptive-cards/authoring-cards/text-features

    Dates are functions in double braces there, and phones make links of bare addresses: both are taken apart.

    >>> teams("[x](https://evil.example) {{DATE(2017-02-14T06:00:00Z)}}")
    '\\[x\\](https: //evil.example) { {DATE(2017-02-14T06:00:00Z)}}'
    """
    return _TEAMS_START.sub(_start, _TEAMS.sub(r"\\\g<0>", teams_plain(text)))


def teams_plain(text: str) -> str:
    """For a run of text in an Adaptive Card, which knows no Markdown."""
    text = re.sub(r"\{(?=\{)", "{ ", text)
    return re.sub(r"<(?=/?at\b)", "< ", re.sub(r":(?=//)", ": ", text), flags=re.IGNORECASE)


def telegram(text: str) -> str:
    """For Telegram's HTML: https://core.telegram.org/bots/api#html-style

    Telegram makes links of addresses, @names, #tags, $TAGS, /commands and numbers in any text but code.

    >>> telegram("pay @evil <b> at evil.example")
    'pay <code>@evil</code> &lt;b&gt; at <code>evil.example</code>'
    """
    words = _WORDS.split(text)
    return "".join(
        f"<code>{entities(word)}</code>" if _TELEGRAM_READS.search(word) else entities(word) for word in words
    )


def mattermost(text: str) -> str:
    r"""For Mattermost's Markdown: https://docs.mattermost.com/end-user-guide/collaborate/format-messages.html

    Its server looks for mentions after it has taken backslashes away, and passes over code alone.

    >>> mattermost("@all *free* https://evil.example")
    '`@all` \\*free\\* `https://evil.example`'
    """
    lines = (" ".join(_mattermost_word(word) for word in line.split()) for line in text.split("\n"))
    return _MATTERMOST_START.sub(_start, "\n".join(lines))


def _mattermost_word(word: str) -> str:
    if _MATTERMOST_READS.search(word):
        return "`" + word.replace("`", "'") + "`"
    return _MATTERMOST.sub(r"\\\g<0>", word)


def _start(match: re.Match[str]) -> str:
    """What makes a list of a line, made plain: ``-`` gets a backslash, ``1.`` one before its full stop."""
    *space, mark = match.groups()
    return "".join(space) + (f"{mark}\\" if mark.isdigit() else f"\\{mark}")


def address_of(url: str) -> str:
    """``url`` for an attribute, a Markdown link or a Slack link alike; empty where it is no HTTP address.

    >>> address_of("https://example.com/a b?c=(d)|<e>")
    'https://example.com/a%20b?c=%28d%29%7C%3Ce%3E'
    >>> address_of("javascript:alert(1)")
    ''
    """
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        return ""
    return quote(url, safe="%/:?#@!$&+,;=~[]-._") if usable else ""


def escaped_address(url: str) -> str:
    """`address_of`, for Slack's links and HTML's attributes.

    >>> escaped_address("https://example.com/?a=1&b=2")
    'https://example.com/?a=1&amp;b=2'
    """
    return entities(address_of(url))


def units(text: str) -> int:
    """Length in UTF-16 code units, as Telegram counts; elsewhere on the safe side.

    >>> units("a\U0001f600")
    3
    """
    return len(text) + sum(character > "\uffff" for character in text)


def fitted(text: str, most: int, escape: Escape = str) -> str:
    """``escape(text)`` of at most ``most`` units: cut before it is escaped, so that no escape is cut in two, and noted.

    >>> fitted("&" * 100, 60, entities)
    '&amp;&amp;&amp;&amp;&amp;… (95 more characters left out)'
    """
    if len(text) <= most:
        whole = escape(text)
        if units(whole) <= most:
            return whole
    low, high = 0, min(len(text), most)
    while low < high:
        middle = (low + high + 1) // 2
        if units(escape(bounded(text, middle))) <= most:
            low = middle
        else:
            high = middle - 1
    return escape(bounded(text, low))


def lines_within(lines: Sequence[str], most: int, escape: Escape = str) -> str:
    """The lines, escaped, of at most ``most`` units together: one is cut where it pays, the rest is counted.

    >>> lines_within(["first", "second", "third"], 40)
    'first\\nsecond\\nthird'
    >>> lines_within(["first", "second " * 20, "third", "fourth"], 100)
    'first\\nsecond second … (126 more characters left out)\\n… (2 more lines left out)'
    """
    whole = [escape(line) for line in lines]
    if sum(map(units, whole)) + len(whole) - 1 <= most:
        return "\n".join(whole)
    taken: list[str] = []
    rest, left = len(lines), most - _REST_NOTE
    for line, written in zip(lines, whole, strict=True):
        if units(written) > left:
            if left > _WORTH_CUTTING:
                taken.append(fitted(line, left, escape))
                rest -= 1
            break
        taken.append(written)
        rest, left = rest - 1, left - units(written) - 1
    if rest:
        taken.append(escape(f"… ({rest} more lines left out)"))
    return "\n".join(taken)
