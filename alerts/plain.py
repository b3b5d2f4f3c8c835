"""A message as plain text, and what every text form needs: addresses that stay text, and lengths that are bounded."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from alerts.message import Message
from alerts.text import bounded

__all__ = ["DRILL_NOTE", "footer", "headline", "inert", "plain_text", "trimmed", "unlinked", "web_address"]

DRILL_NOTE = "DRILL: this theft is played. No coins have moved."
"""Said above everything else of a drill."""

_FILES = "yaml|yml|json|toml|db|csv|parquet"  # our own file names look like host names, and are none
_SCHEME = re.compile(r":(?=//)")
_DOT = re.compile(rf"(?<=\w)[.\u3002\uff0e\uff61](?=(?!(?:{_FILES})\b)[^\W\d_]{{2,}}|xn--)")
_NUMBERS = re.compile(r"\d+(?:\.\d+){2,}")
_SIGIL = re.compile(r"([@#!+$])(?=\w[\w.=/-]*:\w)|@(?=room)", re.IGNORECASE)
_CALLS = re.compile(r"[@<](?=\S)")
_ADDRESS = re.compile(r"https?://[^\s<>\"'`\\^{|}]+", re.IGNORECASE)


def unlinked(text: str, keep: str = "") -> str:
    """``text`` in which no reader's program finds an address to open, a person to notify or a room to join.

    Mail programs and chat clients make links of whatever looks like one, in any text. What a thief wrote must not
    become one, so addresses are written as people write them who do not want them opened.

    Parameters
    ----------
    text : cleaned text
    keep : a name that stays as it is where it stands alone: a watched exchange may be called ``example.com``

    Examples
    --------
    >>> unlinked("claim at https://evil.example/x, @room or @bob:evil.example")
    'claim at https[:]//evil[.]example/x, @ room or @ bob:evil[.]example'
    >>> unlinked("0.5 ETH left gate.example at 12.5 % of the balance", keep="gate.example")
    '0.5 ETH left gate.example at 12.5 % of the balance'
    """
    if keep:
        parts = re.split(rf"(?<![\w.@:/#-]){re.escape(keep)}(?![\w@/-]|[.:]\w)", text)
        return keep.join(_unlinked(part) for part in parts)
    return _unlinked(text)


def _unlinked(text: str) -> str:
    text = _SIGIL.sub(lambda match: f"{match[0]} ", text)
    text = _NUMBERS.sub(lambda match: match[0].replace(".", "[.]"), text)
    return _DOT.sub("[.]", _SCHEME.sub("[:]", text))


def inert(text: str, keep: str = "") -> str:
    """`unlinked`, for services that pass texts on to others: what begins a mention or a tag anywhere gets a blank, too.

    >>> inert("<!channel> @everyone https://evil.example")
    '< !channel> @ everyone https[:]//evil[.]example'
    """
    return _CALLS.sub(r"\g<0> ", unlinked(text, keep))


def web_address(url: str) -> str:
    """``url`` where it is an HTTP address that can stand between quotes in markup, else nothing."""
    return url if _ADDRESS.fullmatch(url) else ""


def trimmed(message: Message, characters: int) -> Message:
    """``message`` whose lines together, and each other text, hold at most so many characters; the rest is counted."""
    lines: list[str] = []
    left = characters
    for line in message.lines:
        if left <= 0:
            break
        lines.append(bounded(line, left))
        left -= len(line) + 1
    if missing := len(message.lines) - len(lines):
        lines.append(f"… ({missing} more lines left out)")
    return replace(
        message,
        title=bounded(message.title, characters),
        facts=tuple(replace(fact, value=bounded(fact.value, characters)) for fact in message.facts),
        lines=tuple(lines),
        runbook=bounded(message.runbook, characters),
    )


def headline(message: Message) -> str:
    """Badge and title in one line; a title that says its severity already does not say it twice.

    The badge of a drill comes first, whatever the title says.
    """
    title = message.title
    for word in ("DRILL: ", f"{message.badge}: ", f"{message.badge.removeprefix('DRILL ')}: "):
        title = title.removeprefix(word)
    return f"[{message.badge}] {title}"


def plain_text(message: Message, body: str | None = None) -> str:
    """The whole message, without markup; addresses in it are only those of explorers and of our own pages.

    Parameters
    ----------
    body : what stands in place of facts and lines
    """
    return "\n".join(_paragraphs(message, body)).rstrip("\n") + "\n"


def _paragraphs(message: Message, body: str | None) -> Iterator[str]:
    keep = message.entity
    if message.drill:
        yield DRILL_NOTE
        yield ""
    yield unlinked(headline(message), keep)
    yield ""
    for action in message.actions:
        if url := web_address(action.url):
            yield f"{action.label}: {url}"
    if message.actions:
        yield ""
    if body is not None:
        yield body
    else:
        yield from _facts(message)
        yield from (unlinked(line, keep) for line in message.lines)
    if message.runbook:
        yield ""
        yield f"What to do: {message.runbook}"
    yield ""
    yield footer(message)


def _facts(message: Message) -> Iterator[str]:
    for fact in message.facts:
        yield f"{fact.name}: {unlinked(fact.value, message.entity)}"
        if url := web_address(fact.url):
            yield f"  {url}"
    if message.facts:
        yield ""


def footer(message: Message) -> str:
    """Which message this is, for those who look it up."""
    parts = [f"heistwatch {message.type}", message.at]
    if message.incident_id:
        parts.append(f"incident {unlinked(message.incident_id)}, revision {message.revision}")
    if message.covers:
        parts.append(f"stands for {len(message.covers)} messages")
    return " | ".join([*parts, f"message {message.id}"])
