"""Alerts on a terminal or in a log: a badge, the title, the message."""

from __future__ import annotations

import asyncio
import io
import json
import sys
import threading
from collections.abc import Mapping
from typing import Any, TextIO

from rich.console import Console
from rich.text import Text

from alerts.base import ChannelTraits, Receipt
from alerts.message import message_of
from alerts.options import Options
from alerts.text import bounded, encodable, shown
from monitor.ids import canonical_json
from monitor.model import Alert, Outcome, Reason
from monitor.store import OutboxRow

__all__ = ["ConsoleChannel"]

TITLE_CHARACTERS = 400
BODY_CHARACTERS = 8000
BLOCKED_SECONDS = 10.0  # a terminal that is stopped, or a pipe that nobody reads

_STYLES = {
    "critical": "bold white on red",
    "high": "bold red",
    "medium": "bold yellow",
    "low": "cyan",
    "info": "dim",
}
_OTHER_STYLE = "bold magenta"  # the monitor speaks of itself
_IN_BODY = {"entity", "wallets", "opened", "status", "to acknowledge"}  # facts that the body, or its commands, say


class ConsoleChannel(ChannelTraits):
    """Prints alerts: in colour on a terminal, as plain lines elsewhere.

    There are no options. ``stream`` is where to; standard output, as it is at each message, unless told.
    """

    type = "console"

    def __init__(self, options: Mapping[str, Any], *, stream: TextIO | None = None) -> None:
        Options(self.type, options, ()).check()
        self._stream = stream
        self._turn = asyncio.Lock()  # messages do not mix
        self._writer: threading.Thread | None = None

    def render(self, alert: Alert, queued_at: float) -> bytes:
        """The text, and what it takes to style it, as JSON."""
        message = message_of(alert, queued_at)
        words = message.badge.split()  # a title most often begins with them
        title = message.title
        for word in words:
            title = title.removeprefix(f"{word}: ")
        return canonical_json(
            encodable(
                {
                    "at": message.at,
                    "type": message.type,
                    "severity": message.severity,
                    "badge": message.badge,
                    "title": bounded(title, TITLE_CHARACTERS),
                    "facts": [
                        [fact.name, fact.value, fact.url]
                        for fact in message.facts
                        if alert.incident and fact.name not in _IN_BODY
                    ],
                    "body": shown(alert.body.strip("\n"), BODY_CHARACTERS, lines=True),
                    "runbook": bounded(message.runbook, TITLE_CHARACTERS),
                    "links": [[action.label, action.url] for action in message.actions[:1]],  # the body has commands
                }
            )
        )

    def preview(self, body: bytes) -> str:
        """As it is printed elsewhere than on a terminal."""
        return _text(json.loads(body), terminal=False)

    async def send(self, row: OutboxRow, now: float) -> Receipt:
        """Print; a stream that is closed or blocked is a failure to try again, never an exception."""
        async with self._turn:
            if self._writer is not None and self._writer.is_alive():
                return Receipt(Outcome.RETRY, Reason.TIMEOUT, detail="the stream is still blocked")
            try:
                stream = sys.stdout if self._stream is None else self._stream
                text = _encodable_for(stream, _text(json.loads(row.body), stream.isatty()))
                async with asyncio.timeout(BLOCKED_SECONDS):
                    await self._write(stream, text)
            except TimeoutError:
                return Receipt(Outcome.RETRY, Reason.TIMEOUT, detail="the stream is blocked")
            except (OSError, ValueError) as error:  # a broken pipe, a closed file
                return Receipt(Outcome.RETRY, Reason.INTERNAL, detail=f"the stream failed: {type(error).__name__}")
            return Receipt(Outcome.ACCEPTED, Reason.OK)

    async def probe(self, now: float) -> Receipt:
        """There is always a standard output."""
        return Receipt(Outcome.ACCEPTED, Reason.OK, detail="prints here")

    async def aclose(self) -> None:
        """Nothing to close: the stream is its owner's."""

    async def _write(self, stream: TextIO, text: str) -> None:
        """Write in a thread: a terminal that somebody stopped with Ctrl-S must not stop the monitor."""
        loop = asyncio.get_running_loop()
        written: asyncio.Future[None] = loop.create_future()

        def settle(error: Exception | None) -> None:
            if written.done():
                return
            if error is None:
                written.set_result(None)
            else:
                written.set_exception(error)

        def work() -> None:
            failure: Exception | None = None
            try:
                stream.write(text)
                stream.flush()
            except Exception as error:
                failure = error
            try:
                loop.call_soon_threadsafe(settle, failure)
            except RuntimeError:  # the loop has ended meanwhile
                pass

        self._writer = threading.Thread(target=work, name="console alerts", daemon=True)
        self._writer.start()
        try:
            await written
        finally:
            if written.done() and not written.cancelled():
                self._writer.join()  # it has nothing more to do


def _text(message: Mapping[str, Any], terminal: bool) -> str:
    """Built from `Text` only: nothing of a message is ever read as rich's markup."""
    buffer = io.StringIO()
    console = Console(file=buffer, force_terminal=terminal, soft_wrap=True, emoji=False, highlight=False)
    style = _STYLES.get(message["severity"], _OTHER_STYLE)
    badge = (f" {message['badge']} ", style) if terminal else f"[{message['badge']}]"
    console.print(Text.assemble(badge, " ", (message["title"], "bold")))
    console.print(Text.assemble((f"  {message['type']} queued {message['at']}", "dim")))
    if message["runbook"]:
        console.print(Text(f"  what to do: {message['runbook']}"))
    for name, value, url in message.get("facts", ()):
        console.print(Text(f"  {name}: {value} {url}".rstrip()))
    if message.get("facts"):
        console.print()
    for line in message["body"].split("\n"):
        console.print(Text(f"  {line}" if line else ""))
    for label, url in message.get("links", ()):
        console.print(Text(f"  {label}: {url}"))
    return buffer.getvalue()


def _encodable_for(stream: TextIO, text: str) -> str:
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)
