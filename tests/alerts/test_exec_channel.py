"""Commands: real processes, and what their ends mean."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from alerts.channels.exec import ExecChannel
from monitor.errors import ConfigError
from monitor.model import Alert, AlertKind, Outcome, Reason
from monitor.store import OutboxRow

CANARY = "CANARY-7f3a"
REPORT = """
import json, os, sys
told = {"arguments": sys.argv[2:], "input": sys.stdin.read(), "environment": dict(os.environ)}
open(sys.argv[1], "w").write(json.dumps(told))
"""

Row = Callable[..., OutboxRow]


def python(code: str, *arguments: str, **options: Any) -> ExecChannel:
    """A channel that runs Python."""
    return ExecChannel({"command": [sys.executable, "-c", code, *arguments], **options})


async def run(channel: ExecChannel, alert: Alert, row: Row, attempts: int = 0) -> Any:
    body = channel.render(alert, 1.5)
    assert body == channel.render(alert, 1.5)
    return await channel.send(row(alert.id, body=body, attempts=attempts), 2.0)


async def test_what_a_command_gets(tmp_path: Path, alert: Any, row: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    """The alert on its standard input, placeholders as arguments, a small environment without the monitor's secrets."""
    monkeypatch.setenv("HEISTWATCH_TOKEN", CANARY)
    monkeypatch.setenv("WEBHOOK_SECRET", CANARY)
    told = tmp_path / "told"
    places = ["{id}", "{type}", "{severity}", "{entity}", "{incident}", "{title}", "{drill}", "plain", "{}"]
    channel = python(REPORT, str(told), *places, env={"OWN": "1"})
    assert (await run(channel, alert(), row)).outcome is Outcome.ACCEPTED
    report = json.loads(told.read_text())
    title = "CRITICAL: Example Exchange: 100 ETH sent to suspects"
    expected = ["a1", "incident.opened", "critical", "Example Exchange", "i1", title, "false", "plain", "{}"]
    assert report["arguments"] == expected
    assert json.loads(report["input"])["data"]["id"] == "a1"
    environment = report["environment"]
    assert environment.pop("LC_CTYPE", "C.UTF-8") == "C.UTF-8"  # Python's own
    names = {"id", "type", "kind", "severity", "entity", "incident", "title", "drill"}
    ours = {f"HEISTWATCH_{name.upper()}" for name in names}
    assert set(environment) - {"PATH", "HOME", "LANG"} == ours | {"OWN"}
    assert environment["HEISTWATCH_SEVERITY"] == "critical"
    assert CANARY not in json.dumps(report)


@pytest.mark.parametrize(
    "title", ["--rm=-rf", "-o/etc/passwd", "@/etc/passwd", "$(id)", "; id", "\u202e--help", "\n-x"]
)
async def test_hostile_titles_stay_text(tmp_path: Path, alert: Any, row: Row, title: str) -> None:
    """A title is one argument, never an option, and no shell reads it."""
    told = tmp_path / "told"
    channel = python(REPORT, str(told), "{title}")
    assert (await run(channel, alert(title=title), row)).outcome is Outcome.ACCEPTED
    (argument,) = json.loads(told.read_text())["arguments"]
    assert argument == f"text: {title.replace(chr(0x202E), '').replace(chr(10), ' ')}"


async def test_a_huge_title_and_a_null(tmp_path: Path, alert: Any, row: Row) -> None:
    """Cut and cleaned, so that the command can be started at all."""
    told = tmp_path / "told"
    channel = python(REPORT, str(told), "{title}")
    await run(channel, alert(title="a\0b" * 500_000, body="\0" * 1000), row)
    (argument,) = json.loads(told.read_text())["arguments"]
    assert argument.startswith("abab")
    assert len(argument) < 1100


@pytest.mark.parametrize(
    ("code", "outcome", "reason"),
    [
        (0, Outcome.ACCEPTED, Reason.OK),
        (75, Outcome.RETRY, Reason.INTERNAL),
        (69, Outcome.RETRY, Reason.INTERNAL),
        (64, Outcome.REJECTED, Reason.CLIENT_ERROR),
        (77, Outcome.REJECTED, Reason.AUTH),
        (78, Outcome.REJECTED, Reason.CLIENT_ERROR),
        (1, Outcome.RETRY, Reason.INTERNAL),
    ],
)
async def test_exit_codes(alert: Any, row: Row, code: int, outcome: Outcome, reason: Reason) -> None:
    """As sysexits has them."""
    receipt = await run(ExecChannel({"command": ["/bin/sh", "-c", f"exit {code}"]}), alert(), row)
    assert (receipt.outcome, receipt.reason) == (outcome, reason)
    assert code == 0 or str(code) in receipt.detail


async def test_other_codes_are_given_up(alert: Any, row: Row) -> None:
    """A code that says nothing is tried five times, a signal too; what may pass is tried on."""
    fails = ExecChannel({"command": ["/bin/sh", "-c", "exit 1"]})
    dies = ExecChannel({"command": ["/bin/sh", "-c", "kill -9 $$"]})
    later = ExecChannel({"command": ["/bin/sh", "-c", "exit 75"]})
    assert [(await run(fails, alert(), row, before)).outcome for before in (3, 4)] == [Outcome.RETRY, Outcome.REJECTED]
    receipt = await run(dies, alert(), row, 4)
    assert (receipt.outcome, receipt.detail) == (Outcome.REJECTED, "the command was ended by signal 9")
    assert (await run(later, alert(), row, 100)).outcome is Outcome.RETRY


async def test_time_out_kills_the_group(tmp_path: Path, alert: Any, row: Row) -> None:
    """The command and its children are gone when the receipt is there."""
    pids = tmp_path / "pids"
    script = f"sleep 600 & echo $! $$ > {pids}; wait"
    channel = ExecChannel({"command": ["/bin/sh", "-c", script], "timeout": 0.5})
    receipt = await run(channel, alert(), row)
    assert (receipt.outcome, receipt.reason) == (Outcome.RETRY, Reason.TIMEOUT)
    assert receipt.detail == "the command was killed after 0.5 s"
    for pid in pids.read_text().split():
        with pytest.raises(ProcessLookupError):
            _check_alive(int(pid))


def _check_alive(pid: int) -> None:
    """ProcessLookupError where the process is gone, or only its remains are left for a parent to collect."""
    os.kill(pid, 0)
    if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] in "ZX":
        raise ProcessLookupError


async def test_a_command_that_reads_nothing(alert: Any, row: Row) -> None:
    """A megabyte that nobody reads hangs nothing."""
    channel = ExecChannel({"command": ["/bin/true"]})
    assert (await run(channel, alert(body="x" * 1_000_000), row)).outcome is Outcome.ACCEPTED


async def test_a_child_that_keeps_the_error_output(tmp_path: Path, alert: Any, row: Row) -> None:
    """A background child of an accepted command does not hold the channel up, and is left alone."""
    pid = tmp_path / "pid"
    channel = ExecChannel({"command": ["/bin/sh", "-c", f"sleep 600 & echo $! > {pid}"], "timeout": 60})
    try:
        assert (await run(channel, alert(), row)).outcome is Outcome.ACCEPTED
    finally:
        os.kill(int(pid.read_text()), 9)


async def test_endless_output(alert: Any, row: Row) -> None:
    """Output is read and thrown away: memory stays, and the last line is shown, cut and cleaned."""
    code = "import sys\nfor _ in range(3000): print('x' * 1000); print('y' * 1000, file=sys.stderr)\n"
    code += "print('la\\x1bst' + 'z' * 500, file=sys.stderr); sys.exit(64)"
    receipt = await run(python(code), alert(), row)
    assert receipt.outcome is Outcome.REJECTED
    assert receipt.detail.startswith("the command ended with code 64 (usage error): lastzzz")
    assert len(receipt.detail) < 400


async def test_cannot_be_started(tmp_path: Path, alert: Any, row: Row) -> None:
    """No program, no permission: tried again, for somebody may install it."""
    (tmp_path / "text").write_text("no program")
    for program, why in (("missing", "No such file or directory"), ("text", "Permission denied")):
        receipt = await run(ExecChannel({"command": [str(tmp_path / program)]}), alert(), row)
        assert (receipt.outcome, receipt.reason) == (Outcome.RETRY, Reason.INTERNAL)
        assert receipt.detail == f"the command cannot be started: {why}"


async def test_secrets_of_the_command_are_not_shown(alert: Any, row: Row) -> None:
    """Values of env and command are hidden in what it says, and in what the channel says of itself."""
    script = 'echo "failed: $TOKEN $1" >&2; exit 64'
    channel = ExecChannel({"command": ["/bin/sh", "-c", script, "sh", f"arg-{CANARY}"], "env": {"TOKEN": CANARY}})
    receipt = await run(channel, alert(), row)
    assert receipt.detail.endswith("failed: <hidden> <hidden>")
    assert CANARY not in repr(channel) + channel.preview(channel.render(alert(), 1.0))
    assert CANARY.encode() not in channel.render(alert(), 1.0)


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        ("rm -rf {title}", "must be a list"),
        ([], "missing"),
        ([1], "no list of texts"),
        (None, "missing"),
        (["{title}"], "the program itself"),
        (["echo", "{titel}"], "did you mean 'title'?"),
        (["echo", "--title={title}"], "argument of its own"),
        (["echo", "a\0b"], "no argument may have"),
    ],
)
def test_wrong_commands(command: Any, problem: str) -> None:
    """Each is named, without its value."""
    with pytest.raises(ConfigError, match=r".") as caught:
        ExecChannel({"command": command})
    assert problem in str(caught.value)


def test_wrong_environment() -> None:
    """Names that no environment takes, and ours."""
    for env in ({"A B": "x"}, {"A": "x\0"}, {"HEISTWATCH_ID": "x"}, {"A": 1}):
        with pytest.raises(ConfigError):
            ExecChannel({"command": ["true"], "env": env})


def test_drill_is_told(alert: Any) -> None:
    """In its own field and in the title."""
    drill = Alert("d", AlertKind.DRILL, "DRILL: t", "b", labels={"kind": "opened"}, incident={"id": "i1"})
    fields = json.loads(ExecChannel({"command": ["true"]}).render(drill, 1.0))["fields"]
    assert (fields["drill"], fields["type"], fields["incident"]) == ("true", "drill.opened", "drill-i1")
