"""What `heistwatch watch` and `check --online` refuse to start on: the exit code, one clear line, no traceback."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

VICTIM = "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266"


@pytest.fixture
def refused(heistwatch: Any) -> Any:
    """Run a command that must fail with a code: its only line on standard error."""

    def run(code: int, *arguments: object) -> str:
        found, _, err = heistwatch(*arguments)
        lines = [line for line in err.splitlines() if line.startswith("heistwatch: ")]
        assert (found, len(lines)) == (code, 1), err
        assert "Traceback" not in err
        return str(lines[0].removeprefix("heistwatch: "))

    return run


@pytest.fixture
def config(tmp_path: Path, live: Any, write_config: Any) -> Path:
    """A configuration that works."""
    path: Path = write_config(tmp_path, live.node, {"Refused": VICTIM})
    return path


def test_all_is_well(heistwatch: Any, config: Path, live: Any) -> None:
    """What can be reached is said to be."""
    code, out, err = heistwatch("check", config, "--online")
    assert (code, err) == (0, "")
    assert out.count(f"chain dev: 127.0.0.1:{live.node.port}: head is block {live.node.height}") == 2
    assert "ok store: can be opened" in out


def test_wrong_chain_id(refused: Any, config: Path, live: Any) -> None:
    """An endpoint that serves another chain is a dependency that cannot be used: code 3, both chains named."""
    text = config.read_text().replace("eip155:31337", "eip155:5")
    config.write_text(text.replace(f', "ws://127.0.0.1:{live.node.port}"', ""))
    for command in (("watch", config), ("check", config, "--online")):
        line = refused(3, *command)
        assert f"127.0.0.1:{live.node.port} serves eip155:31337, configuration says eip155:5" in line


def test_one_of_two_endpoints_is_down(refused: Any, config: Path, live: Any, free_port: int) -> None:
    """`check --online` reaches every endpoint, not only the first that answers."""
    down = f"http://127.0.0.1:{free_port}"
    config.write_text(config.read_text().replace(f'"ws://127.0.0.1:{live.node.port}"', f'"{down}"'))
    line = refused(3, "check", config, "--online")
    assert f"127.0.0.1:{free_port}" in line and "connection refused" in line


def test_unreachable(refused: Any, config: Path, live: Any, free_port: int) -> None:
    """`check --online` of an endpoint that is down: code 3, and what was tried."""
    text = config.read_text().replace(f', "ws://127.0.0.1:{live.node.port}"', "")
    config.write_text(text.replace(f":{live.node.port}", f":{free_port}"))
    assert "connection refused" in refused(3, "check", config, "--online")


def test_port_in_use(refused: Any, config: Path) -> None:
    """A port that is taken is a mistake of the configuration: code 2, and which key it is."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        config.write_text(config.read_text().replace("127.0.0.1:0", f"127.0.0.1:{port}"))
        line = refused(2, "watch", config)
    assert line.startswith(f"http.listen: 127.0.0.1:{port}") and "in use" in line


@pytest.mark.parametrize("content", [b"no database, however long it is" * 200, b"SQLite format 3\0" * 400])
def test_corrupt_store(refused: Any, config: Path, content: bytes) -> None:
    """A damaged store is never read as an empty one: code 3, the file, and what to do."""
    (config.parent / "heistwatch.db").write_bytes(content)
    for command in (("watch", config), ("check", config, "--online"), ("incidents", "list", "-c", config)):
        line = refused(3, *command)
        assert str(config.parent / "heistwatch.db") in line and "move it away" in line


def test_truncated_store(refused: Any, live: Any, config: Path) -> None:
    """A real store that lost its second half is noticed before anything is scanned."""
    whole = (live.config.parent / "heistwatch.db").read_bytes()
    (config.parent / "heistwatch.db").write_bytes(whole[: len(whole) // 2])
    assert "heistwatch.db" in refused(3, "watch", config)


def test_store_in_no_folder(refused: Any, config: Path) -> None:
    """A store whose folder is not there: code 3."""
    config.write_text(config.read_text() + 'store: {url: "sqlite:///nowhere/heistwatch.db"}\n')
    line = refused(3, "watch", config)
    assert "nowhere" in line and "folder" in line


@pytest.mark.parametrize("level", ["LOUD", "", "basicConfig"])
def test_log_level(refused: Any, config: Path, level: str) -> None:
    """A log level that does not exist is an argument that is wrong."""
    config.unlink()
    assert "--log-level" in refused(2, "watch", config, "--log-level", level)
