"""`heistwatch watch` without receivers, and the signals and rivals that it meets."""

from __future__ import annotations

import re
import signal
from typing import Any

import pytest


def test_console(
    make_node: Any, watch: Any, write_config: Any, heistwatch: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Without receivers the incident is printed with commands that work as they stand; Ctrl-C ends with 130."""
    folder, node = tmp_path_factory.mktemp("console"), make_node()
    entity, address, thief = "Console Exchange", node.accounts[0], f"0x{0xBAD2:040x}"
    config = write_config(folder, node, {entity: address})
    monitor = watch(config)
    rival = watch(config)
    first, second = (monitor, rival) if rival.process.poll() is None else (rival, monitor)
    first = _the_one_that_runs(monitor, rival)
    second = rival if first is monitor else monitor
    assert second.wait() == 3
    [line] = [text for text in second.err.lines if text.startswith("heistwatch: ")]
    assert "another monitor" in line and "heistwatch.db" in line
    assert "Traceback" not in second.err.text
    first.ready()
    node.mine()
    receipt = node.send(address, thief, 9000)
    first.out.wait(r"trusted:.*\n(.*\n)*.*runbook:")
    text = first.out.text
    assert "[CRITICAL] Console Exchange: 9,000 ETH sent to suspects" in text
    assert f"in block {receipt['block']} of eip155:31337" in text and f"suspect: {thief}" in text
    said = re.findall(r"heistwatch (incidents (confirm|false-alarm) ([0-9a-f]{20}))", text)
    assert [word for _, word, _ in said] == ["confirm", "false-alarm"]
    code, out, _ = heistwatch(*said[0][0].split(), "-c", config)
    assert code == 0 and said[0][2] in out
    node.mine()
    first.scanned(node.height)
    assert first.http("GET", f"/incidents/{said[0][2]}")[1]["status"] == "confirmed"
    trusted = re.search(r"(trusted: \[.*\])", text)
    assert trusted is not None
    config.write_text(config.read_text().replace("role: hot,", f"role: hot, {trusted.group(1)},"))
    code, out, err = heistwatch("check", config)
    assert code == 0, err
    assert first.end(signal.SIGINT) == 130
    assert first.err.lines[-1] == "heistwatch: interrupted" and "Traceback" not in first.err.text


def _the_one_that_runs(*monitors: Any) -> Any:
    """Of two that were started on one store, the one that took it."""
    while True:
        for monitor in monitors:
            if any("watching; " in line for line in monitor.err.lines):
                return monitor
        assert any(monitor.process.poll() is None for monitor in monitors)


def test_unreachable_endpoint(watch: Any, tmp_path_factory: pytest.TempPathFactory, free_port: int) -> None:
    """An endpoint that does not answer at all ends the start: code 3, and one line that names it."""
    folder = tmp_path_factory.mktemp("unreachable")
    config = folder / "heistwatch.yaml"
    config.write_text(
        f"""version: 1
chains: [{{name: dev, kind: evm, chain_id: "eip155:31337", endpoints: ["http://127.0.0.1:{free_port}/secret-key"]}}]
wallets: [{{id: hot, entity: X, role: hot, addresses: ["dev:0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266"]}}]
"""
    )
    monitor = watch(config)
    assert monitor.wait(40) == 3
    said = [line for line in monitor.err.lines if line.startswith("heistwatch: ")]
    assert said == [f"heistwatch: dev: 127.0.0.1:{free_port}: connection refused"]
    assert len(monitor.err.lines) == 2 and "trying again" in monitor.err.lines[0]
    assert "secret-key" not in monitor.err.text
