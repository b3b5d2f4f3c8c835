"""The console: readable in colour on a terminal, plain elsewhere, never an exception, never a blocked monitor."""

from __future__ import annotations

import asyncio
import io
import json
import os
import threading
from collections.abc import Callable
from typing import Any

import pytest

from alerts.channels.console import ConsoleChannel
from monitor.errors import ConfigError
from monitor.model import Alert, AlertKind, Outcome, Reason
from monitor.registry import CHANNELS, load
from monitor.store import OutboxRow

MakeRow = Callable[..., OutboxRow]
MakeAlert = Callable[..., Alert]


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


async def printed(alert: Alert, row: MakeRow, stream: Any) -> str:
    channel = ConsoleChannel({"type": "console"}, stream=stream)
    receipt = await channel.send(row(alert.id, body=channel.render(alert, 1_700_000_000.0)), 1.0)
    assert (receipt.outcome, receipt.reason) == (Outcome.ACCEPTED, Reason.OK)
    await channel.aclose()
    return str(stream.getvalue())


async def test_plain_lines(alert: MakeAlert, row: MakeRow) -> None:
    """Without a terminal: plain lines, the severity once, long lines left whole."""
    long = alert(body=f"Line one.\n\n{'x' * 300}", incident=None)
    assert await printed(long, row, io.StringIO()) == (
        "[CRITICAL] Example Exchange: 100 ETH sent to suspects\n"
        "  incident.opened queued 2023-11-14T22:13:20Z\n"
        "  what to do: Stop withdrawals.\n"
        "  Line one.\n"
        "\n"
        f"  {'x' * 300}\n"
    )


async def test_facts(alert: MakeAlert, row: MakeRow) -> None:
    """What left against the usual, and where it went, with a link to look at it."""
    finding = {
        "chain": "eip155:1", "destination": "0x" + "ab" * 20,
        "evidence": {"share_of_typical": 0.6, "usual_daily_maximum": 0.02},
    }  # fmt: skip
    incident = {"id": "i1", "entity": "E", "lost": [{"display": "100 ETH"}], "findings": [finding]}
    lines = (await printed(alert(incident=incident), row, io.StringIO())).splitlines()
    assert lines[3:6] == [
        "  left: 100 ETH",
        "  against the usual: 60 % of the typical balance; a usual day's most is 2.0 %, 30 times as much",
        f"  destination: 0x{'ab' * 20} on eip155:1 https://etherscan.io/address/0x{'ab' * 20}",
    ]


async def test_colours_on_a_terminal(alert: MakeAlert, row: MakeRow, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal the badge is coloured by severity; who asks for no colour gets none."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    text = await printed(alert(), row, Terminal())
    assert "\x1b[1;37;41m CRITICAL \x1b[0m" in text
    low = await printed(alert(severity=type(alert().severity).LOW), row, Terminal())
    assert "\x1b[36m LOW \x1b[0m" in low
    monkeypatch.setenv("NO_COLOR", "1")
    assert "41m" not in await printed(alert(), row, Terminal())


async def test_monitor_alert(row: MakeRow) -> None:
    """The monitor's own alerts carry what happened as their badge."""
    text = await printed(Alert("m", AlertKind.BLIND, "ethereum is silent", "no head"), row, io.StringIO())
    assert text.startswith("[BLIND] ethereum is silent\n  monitor.blind queued ")


async def test_hostile_text(alert: MakeAlert, row: MakeRow, monkeypatch: pytest.MonkeyPatch) -> None:
    """Markup, escape sequences and emoji codes of a token name are shown as text; long text is cut with a note."""
    monkeypatch.setenv("TERM", "xterm-256color")
    hostile = alert(title="[red]x[/red] \\[bold] :skull: \x1b[2J\u202e\\", body="[/]" + "y" * 9000)
    for stream in (io.StringIO(), Terminal()):
        text = await printed(hostile, row, stream)
        assert "[red]x[/red] \\[bold] :skull: [2J\\" in text
        assert "\x1b[2J" not in text
        assert "\u202e" not in text
        assert "  [/]yyy" in text
        assert "y… (1003 more characters left out)\n" in text


def test_rendering_is_frozen(alert: MakeAlert) -> None:
    """Equal alerts give equal bytes, and the bytes hold the text itself."""
    channel = load(CHANNELS, "console", "channel type")({})
    body = channel.render(alert(), 1.0)
    assert body == channel.render(alert(), 1.0)
    assert json.loads(body)["title"] == "Example Exchange: 100 ETH sent to suspects"


async def test_standard_output(
    alert: MakeAlert, row: MakeRow, capsys: pytest.CaptureFixture[str]
) -> None:
    """Unless told otherwise it prints to standard output as it is at that moment."""
    channel = ConsoleChannel({})
    await channel.send(row(body=channel.render(alert(), 1.0)), 1.0)
    assert capsys.readouterr().out.startswith("[CRITICAL] Example Exchange")


async def test_characters_that_the_stream_cannot_write(alert: MakeAlert, row: MakeRow) -> None:
    """A terminal without Unicode shows escapes instead of losing the alert."""
    buffer = io.BytesIO()
    stream = io.TextIOWrapper(buffer, encoding="ascii")
    channel = ConsoleChannel({}, stream=stream)
    receipt = await channel.send(row(body=channel.render(alert(title="コイン"), 1.0)), 1.0)
    assert receipt.outcome is Outcome.ACCEPTED
    assert buffer.getvalue().startswith(b"[CRITICAL] \\u30b3\\u30a4\\u30f3\n")


async def test_broken_pipe(alert: MakeAlert, row: MakeRow) -> None:
    """A reader that went away, and a closed stream, are failures to try again, not exceptions."""
    read, write = os.pipe()
    os.close(read)
    stream = os.fdopen(write, "w")
    channel = ConsoleChannel({}, stream=stream)
    waiting = row(body=channel.render(alert(), 1.0))
    receipt = await channel.send(waiting, 1.0)
    assert (receipt.outcome, receipt.reason) == (Outcome.RETRY, Reason.INTERNAL)
    assert receipt.detail == "the stream failed: BrokenPipeError"
    with pytest.raises(BrokenPipeError):
        stream.close()
    receipt = await channel.send(waiting, 1.0)
    assert (receipt.outcome, receipt.reason) == (Outcome.RETRY, Reason.INTERNAL)


async def test_blocked_stream_blocks_nothing_else(
    alert: MakeAlert, row: MakeRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stopped terminal holds up one message for a bounded time, never the monitor; afterwards it prints again."""
    monkeypatch.setattr("alerts.channels.console.BLOCKED_SECONDS", 0.05)
    go_on, passed = threading.Event(), threading.Event()

    class Stopped(io.StringIO):
        def write(self, text: str) -> int:
            go_on.wait()
            return super().write(text)

        def flush(self) -> None:
            passed.set()

    stream = Stopped()
    channel = ConsoleChannel({}, stream=stream)
    waiting = row(body=channel.render(alert(), 1.0))
    receipt = await channel.send(waiting, 1.0)
    assert (receipt.outcome, receipt.reason) == (Outcome.RETRY, Reason.TIMEOUT)
    receipt = await channel.send(waiting, 1.0)
    assert receipt.detail == "the stream is still blocked"
    go_on.set()
    assert await asyncio.to_thread(passed.wait, 10)
    assert channel._writer is not None
    await asyncio.to_thread(channel._writer.join, 10)
    assert (await channel.send(waiting, 1.0)).outcome is Outcome.ACCEPTED
    assert stream.getvalue().count("Example Exchange") == 2


async def test_messages_do_not_mix(alert: MakeAlert, row: MakeRow) -> None:
    """Messages sent at the same time come out whole, in the order they were sent."""
    stream = io.StringIO()
    channel = ConsoleChannel({}, stream=stream)
    alerts = [alert(str(n), title=f"number {n}", body="b", runbook="", incident=None) for n in range(20)]
    rows = [row(each.id, body=channel.render(each, 1.0)) for each in alerts]
    receipts = await asyncio.gather(*(channel.send(each, 1.0) for each in rows))
    assert {receipt.outcome for receipt in receipts} == {Outcome.ACCEPTED}
    lines = stream.getvalue().splitlines()
    assert lines[::3] == [f"[CRITICAL] number {n}" for n in range(20)]


def test_options() -> None:
    """It has none; a misspelt or foreign one is refused."""
    with pytest.raises(ConfigError, match="console channel: unknown option 'url'"):
        ConsoleChannel({"type": "console", "url": "https://x.example"})
