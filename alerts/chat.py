"""What the chat channels share: the text below a title, what a service said, and a body with a picture."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from alerts.chart import chart_png
from alerts.http import Answer
from alerts.markup import Escape, address_of, lines_within, units
from alerts.message import Message
from alerts.options import Options
from alerts.plain import DRILL_NOTE
from alerts.template import Templates
from monitor.errors import ConfigError
from monitor.model import Alert
from monitor.store import OutboxRow

__all__ = ["JSON", "Templated", "multipart", "news", "picture", "said", "texts"]

JSON = {"Content-Type": "application/json; charset=utf-8"}


class Templated:
    """The owner's words where there are some and they fit, else the channel's own.

    Parameters
    ----------
    given : the channel's options, of which it takes ``template``; problems are noted there
    escape : of the channel's markup
    address : writes an address so that the markup takes it for one; in a template only buttons' and explorers' are
    """

    def __init__(self, given: Options, escape: Escape, address: Escape = address_of) -> None:
        self._escape, self._address = escape, address
        self._ours: frozenset[str] = frozenset()  # addresses of the message at hand
        own = given.mapping("template")
        self.has_title = "title" in own
        try:
            self._templates = Templates(own, self._harmless)
        except ConfigError as error:
            for problem in error.problems:
                given.wrong(problem.message)

    def title(self, message: Message, most: int) -> str:
        """The title of at most ``most`` units; an own one that is longer gives way to the message's."""
        made = self._filled(self._templates.title, message) or ""
        return made if 0 < units(made) <= most else lines_within([message.title], most, self._escape)

    def body(self, message: Message, most: int) -> str | None:
        """The own body, None where there is none. One that is too long is left out: cut, its markup could break."""
        made = self._filled(self._templates.body, message)
        if made is None or 0 < units(made.strip()) <= most:
            return made
        note = f"(the body's own template gave {len(made)} characters, {most} fit; it is left out)"
        facts = (f"{fact.name}: {fact.value}" for fact in message.facts)
        return lines_within((note, *facts, *texts(message)), most, self._escape)

    def _filled(self, fill: Callable[[Message], str | None], message: Message) -> str | None:
        self._ours = frozenset((*(action.url for action in message.actions), *(fact.url for fact in message.facts)))
        try:
            return fill(message)
        finally:
            self._ours = frozenset()

    def _harmless(self, text: str) -> str:
        return self._address(text) if text and text in self._ours else self._escape(text)


def texts(message: Message) -> Iterator[str]:
    """What is said below the title and beside the facts, line by line."""
    if message.drill:
        yield DRILL_NOTE
    yield from message.lines
    if message.runbook:
        yield f"What to do: {message.runbook}"


def picture(alert: Alert) -> bytes | None:
    """The chart, None where there is nothing to draw, or where it cannot be drawn: that must not cost the message."""
    try:
        return chart_png(alert)
    except Exception:
        return None


def news(row: OutboxRow) -> str:
    """What the message says of its incident: ``opened``, ``updated``, ...; of a drill, what it plays."""
    return row.kind.partition(".")[2]


def said(answer: Answer) -> dict[str, Any]:
    """The JSON object of an answer; empty where it is none."""
    try:
        value = json.loads(answer.body)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def multipart(fields: Mapping[str, str], name: str, picture: bytes) -> tuple[bytes, dict[str, str]]:
    """A ``multipart/form-data`` body (RFC 7578) and its header: equal parts give equal bytes, unlike a random boundary.

    Parameters
    ----------
    fields : text by name
    name : of the part that carries ``picture``, a PNG
    """
    digest = hashlib.sha256(picture)
    for key, value in sorted(fields.items()):
        digest.update(f"{key}\0{value}\0".encode())
    boundary = f"heistwatch-{digest.hexdigest()[:32]}"
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'.encode()
        for key, value in fields.items()
    ]
    parts.append(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="chart.png"\r\n'
        "Content-Type: image/png\r\n\r\n".encode()
        + picture
        + f"\r\n--{boundary}--\r\n".encode()
    )
    return b"".join(parts), {"Content-Type": f"multipart/form-data; boundary={boundary}"}
