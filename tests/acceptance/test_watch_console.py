"""`heistwatch watch` without receivers, and the signals and rivals that it meets."""

from __future__ import annotations

import re
import signal
import socket
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def unreachable(watch: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """(monitor, port) where nothing listens on the port; it gives up by itself while other tests run."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = tmp_path_factory.mktemp("unreachable") / "heistwatch.yaml"
    config.write_text(
        f"""version: 1
chains: [{{name: dev, kind: evm, chain_id: "eip155:31337", endpoints: ["http://127.0.0.1:{port}/secret-key"]}}]
wallets: [{{id: hot, entity: X, role: hot, addresses: ["dev:0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266"]}}]
"""
    )
    return watch(config), port


def test_console(
    unreachable: Any, make_node: Any, watch: Any, write_config: Any, heistwatch: Any, tmp_path: Path
) -> None:
    """Without receivers the incident is printed with commands that work as they stand; Ctrl-C ends with 130."""
    node, thief = make_node(), f"0x{0xBAD2:040x}"
    config = write_config(tmp_path, node, {"Console Exchange": node.accounts[0]})
    monitor = watch(config)
    monitor.ready()
    rival = watch(config)
    node.mine()
    receipt = node.send(node.accounts[0], thief, 9000)
    monitor.out.wait("Acknowledge: ")
    text = monitor.out.text
    assert "[CRITICAL] Console Exchange: 9,000 ETH sent to suspects" in text
    assert f"in block {receipt['block']} of eip155:31337" in text and f"suspect: {thief}" in text
    said = re.findall(r"heistwatch (incidents (confirm|false-alarm) ([0-9a-f]{20}) -c \S+)", text)
    assert [word for _, word, _ in said] == ["confirm", "false-alarm"]
    *_, trust, link = text.rstrip().splitlines()
    assert trust.strip().startswith("to trust the destination")
    assert re.fullmatch(r"  Acknowledge: http://127\.0\.0\.1:\d+/act/[\w-]+\.[\w-]+", link)
    code, out, _ = heistwatch(*said[0][0].split())
    assert code == 0 and said[0][2] in out
    node.mine()
    monitor.scanned(node.height)
    assert monitor.http("GET", f"/incidents/{said[0][2]}")[1]["status"] == "confirmed"
    trusted = re.search(r"(trusted: \[.*\])", text)
    assert trusted is not None
    config.write_text(config.read_text().replace("role: hot,", f"role: hot, {trusted.group(1)},"))
    code, out, err = heistwatch("check", config)
    assert code == 0, err
    _refused(rival)
    monitor.process.send_signal(signal.SIGHUP)  # what was just added to the file holds from now on
    monitor.reloaded()
    good = config.read_text()
    config.write_text(good.replace("role: hot", "role: hott"))
    monitor.process.send_signal(signal.SIGHUP)
    assert monitor.err.wait("not reloaded: .*hot")
    for wrong in ("heartbeat: [{url: nowhere}]", "receivers: [{name: soc, channels: [{type: console, colour: 1}]}]"):
        config.write_text(f"{good}{wrong}\n")  # is read, but nothing can be made of it
        monitor.process.send_signal(signal.SIGHUP)
        assert monitor.err.wait("not reloaded: .*" + ("url is no" if "url" in wrong else "unknown option 'colour'"))
    taken = f'"127.0.0.1:{node.port}"'
    config.write_text(re.sub(r'"127\.0\.0\.1:0"', taken, good))  # shows only when it is begun: the old one is again
    monitor.process.send_signal(signal.SIGHUP)
    again = r"not reloaded: http\.listen: .* cannot be had.*\n(?:.*\n)*.*watching; http://127\.0\.0\.1:(\d+)/"
    monitor.port = int(monitor.err.wait(again).group(1))
    config.write_text(good)
    node.send(node.accounts[0], thief, 500)
    monitor.scanned(node.height)
    assert "9,500 ETH" not in monitor.out.text  # trusted now
    assert monitor.end(signal.SIGINT) == 130
    assert monitor.err.lines[-1] == "heistwatch: interrupted" and "Traceback" not in monitor.err.text


def _refused(rival: Any) -> None:
    """A second monitor on one store ends with 3 and one line that says why."""
    assert rival.wait() == 3
    [line] = [text for text in rival.err.lines if text.startswith("heistwatch: ")]
    assert "another monitor" in line and "heistwatch.db" in line
    assert "Traceback" not in rival.err.text


def test_unreachable_endpoint(unreachable: Any) -> None:
    """An endpoint that does not answer at all ends the start: code 3, and one line that names it."""
    monitor, port = unreachable
    assert monitor.wait() == 3
    said = [line for line in monitor.err.lines if line.startswith("heistwatch: ")]
    assert said == [f"heistwatch: dev: 127.0.0.1:{port}: connection refused"]
    assert len(monitor.err.lines) <= 4 and "trying again" in monitor.err.text
    assert "secret-key" not in monitor.err.text
