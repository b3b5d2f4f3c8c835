"""The file channel: whole lines, on the disk, whatever rotates, fills up or kills."""

from __future__ import annotations

import errno
import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from alerts.channels.file import FileChannel
from monitor.errors import ConfigError
from monitor.model import Alert, Outcome, Reason
from monitor.store import OutboxRow

ROOT = Path(__file__).parents[2]
Row = Callable[..., OutboxRow]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "alerts.ndjson"


async def put(channel: FileChannel, alert: Alert, row: Row) -> Any:
    return await channel.send(row(alert.id, body=channel.render(alert, 1.5)), 2.0)


def lines(path: Path) -> list[dict[str, Any]]:
    content = path.read_bytes()
    assert content.endswith(b"\n")
    return [json.loads(line) for line in content.splitlines()]


async def test_lines(path: Path, alert: Any, row: Row) -> None:
    """One line an alert, with the fields of a webhook, in a file for its owner alone."""
    channel = FileChannel({"path": str(path)})
    for alert_id in ("a1", "a2"):
        assert (await put(channel, alert(alert_id, title="two\nlines\u2028and コ"), row)).outcome is Outcome.ACCEPTED
    await channel.aclose()
    await channel.aclose()
    found = lines(path)
    assert [line["data"]["id"] for line in found] == ["a1", "a2"]
    assert found[0]["type"] == "incident.opened"
    assert found[0]["data"]["title"] == "two lines and コ"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_bytes().isascii()


async def test_an_older_file_is_kept_as_it_is(path: Path, alert: Any, row: Row) -> None:
    """Appended to, with its own mode."""
    path.write_bytes(b'{"old": 1}\n')
    path.chmod(0o640)
    channel = FileChannel({"path": str(path)})
    await put(channel, alert(), row)
    await channel.aclose()
    assert lines(path)[0] == {"old": 1}
    assert len(lines(path)) == 2
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


async def test_rotation(path: Path, alert: Any, row: Row) -> None:
    """A file that was moved or removed is followed by a new one; one that was emptied is gone on with."""
    channel = FileChannel({"path": str(path)})
    await put(channel, alert("a1"), row)
    path.rename(path.with_suffix(".1"))
    await put(channel, alert("a2"), row)
    path.unlink()
    await put(channel, alert("a3"), row)
    assert [line["data"]["id"] for line in lines(path)] == ["a3"]
    os.truncate(path, 0)
    await put(channel, alert("a4"), row)
    await channel.aclose()
    assert [line["data"]["id"] for line in lines(path)] == ["a4"]
    assert [line["data"]["id"] for line in lines(path.with_suffix(".1"))] == ["a1"]


async def test_a_torn_line_is_ended(path: Path, alert: Any, row: Row) -> None:
    """What a kill left of a line does not join the next one."""
    path.write_bytes(b'{"whole": 1}\n{"to')
    channel = FileChannel({"path": str(path)})
    await put(channel, alert(), row)
    await channel.aclose()
    first, torn, whole, rest = path.read_bytes().split(b"\n")
    assert (first, torn, rest) == (b'{"whole": 1}', b'{"to', b"")
    assert json.loads(whole)["data"]["id"] == "a1"


async def test_a_full_disk(path: Path, alert: Any, row: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a line is taken back, the failure is tried again, and then the line is there once."""
    channel = FileChannel({"path": str(path)})
    await put(channel, alert("a1"), row)
    write, failures = os.write, [errno.ENOSPC]

    def fills_up(file: int, data: Any) -> int:
        if failures and len(data) < 100:
            raise OSError(failures.pop(), "full")
        return write(file, data[: len(data) // 2]) if failures else write(file, data)

    monkeypatch.setattr(os, "write", fills_up)
    receipt = await put(channel, alert("a2"), row)
    assert (receipt.outcome, receipt.reason) == (Outcome.RETRY, Reason.INTERNAL)
    assert receipt.detail == "the file could not be written: No space left on device"
    assert [line["data"]["id"] for line in lines(path)] == ["a1"]
    assert (await put(channel, alert("a2"), row)).outcome is Outcome.ACCEPTED
    await channel.aclose()
    assert [line["data"]["id"] for line in lines(path)] == ["a1", "a2"]


async def test_a_device(alert: Any, row: Row) -> None:
    """What is no regular file is refused before anything is written to it."""
    channel = FileChannel({"path": "/dev/full"})
    receipt = await put(channel, alert(), row)
    assert (receipt.outcome, receipt.reason) == (Outcome.RETRY, Reason.INTERNAL)
    await channel.aclose()


async def test_a_missing_folder_and_a_pipe(tmp_path: Path, alert: Any, row: Row) -> None:
    """Both are tried again, and neither hangs."""
    missing = FileChannel({"path": str(tmp_path / "no" / "alerts")})
    receipt = await put(missing, alert(), row)
    assert receipt.detail == "the file could not be written: No such file or directory"
    os.mkfifo(tmp_path / "pipe")
    piped = FileChannel({"path": str(tmp_path / "pipe")})
    assert (await put(piped, alert(), row)).outcome is Outcome.RETRY


async def test_a_failed_sync(path: Path, alert: Any, row: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that may not be on the disk is taken back and written again: once in the file in the end."""
    channel = FileChannel({"path": str(path)})
    await put(channel, alert("a1"), row)
    with monkeypatch.context() as patched:

        def fails(file: int) -> None:
            raise OSError(errno.EIO, "broken")

        patched.setattr(os, "fsync", fails)
        assert (await put(channel, alert("a2"), row)).outcome is Outcome.RETRY
    assert (await put(channel, alert("a2"), row)).outcome is Outcome.ACCEPTED
    await channel.aclose()
    assert [line["data"]["id"] for line in lines(path)] == ["a1", "a2"]


KILLED = """
import asyncio, sys
from alerts.channels.file import FileChannel
from monitor.model import Alert, AlertKind
from monitor.store import OutboxRow

async def main():
    channel = FileChannel({"path": sys.argv[1]})
    for number in range(100000):
        alert = Alert(f"a{number}", AlertKind.OPENED, "x" * 5000, "y" * 5000)
        body = channel.render(alert, 1.0)
        await channel.send(OutboxRow(alert.id, "soc", "0:file", body, 1.0), 1.0)
        print(number, flush=True)

asyncio.run(main())
"""


def _killed(path: Path) -> list[int]:
    """Numbers of the alerts that a process had accepted when it was killed."""
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    accepted = [int(process.stdout.readline()) for _ in range(20)]
    process.send_signal(signal.SIGKILL)
    accepted += [int(line) for line in process.stdout.read().split()]
    process.stdout.close()
    process.wait()
    return accepted


async def test_a_kill(path: Path, alert: Any, row: Row) -> None:
    """What was accepted before a kill is there, whole; the line after it is whole, too."""
    accepted = _killed(path)
    channel = FileChannel({"path": str(path)})
    await put(channel, alert("last"), row)
    await channel.aclose()
    ids = []
    for line in path.read_bytes().splitlines():
        try:
            ids.append(json.loads(line)["data"]["id"])
        except ValueError:
            ids.append("torn")
    assert ids[: len(accepted)] == [f"a{number}" for number in accepted]
    assert ids[-1] == "last"
    assert len(ids) <= len(accepted) + 2


def test_options() -> None:
    """A path is needed; what is shown is the file's name alone."""
    for wrong in ({}, {"path": ""}, {"path": "a\0b"}, {"path": 7}, {"path": "x", "mode": "0644"}):
        with pytest.raises(ConfigError):
            FileChannel(wrong)
    assert repr(FileChannel({"path": "/var/log/x/alerts.ndjson"})) == "FileChannel(name='alerts.ndjson')"
