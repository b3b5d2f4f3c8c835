"""Killed at any moment, the monitor or its node: no block is left out, no alert lost, none told twice differently."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest


class Bench:
    """A node that keeps its chain over restarts, a receiver, and a monitor that is started when a test needs it."""

    def __init__(
        self, node: Any, soc: Any, config: Path, wallets: dict[str, str], watch: Callable[..., Any], heistwatch: Any
    ) -> None:
        self.node, self.soc, self.config = node, soc, config
        self._heistwatch, self._watch = heistwatch, watch
        self._monitor: Any = None
        self._free, self._thieves = list(wallets.items()), 0

    @property
    def monitor(self) -> Any:
        """The monitor, started and ready, all blocks so far scanned."""
        if self._monitor is None or self._monitor.process.poll() is not None:
            self._monitor = self._watch(self.config)
        monitor = self._monitor
        if not monitor.port:
            monitor.ready().scanned(self.node.height)
        return monitor

    def victim(self) -> tuple[str, str, str]:
        """(entity, its wallet's address, an address that was never paid)."""
        self._thieves += 1
        return *self._free.pop(0), f"0x{0xBAD1000 + self._thieves:040x}"

    def whole(self) -> None:
        """Every block from the first one scanned to the head is covered."""
        self.monitor.scanned(self.node.height)
        coverage = self.monitor.coverage()
        assert coverage["gaps"] == []
        assert coverage["ranges"][0]["first"] == 1 and coverage["ranges"][-1]["last"] == self.node.height

    def until_done(self, alert: str) -> None:
        """Wait until the outbox, as the command line shows it, says that a message was delivered."""
        end = time.monotonic() + 20
        while (state := self._state(alert)) != "done":
            assert state == "due" and time.monotonic() < end

    def _state(self, alert: str) -> str:
        code, out, err = self._heistwatch("deliveries", "list", "-c", self.config, "--json")
        assert (code, err) == (0, "")
        [state] = [row["state"] for row in json.loads(out) if row["alert"] == alert]
        return str(state)


@pytest.fixture(scope="module")
def bench(
    make_node: Any,
    make_receiver: Any,
    watch: Any,
    write_config: Any,
    heistwatch: Any,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Bench]:
    """The bench, its monitor running since block 1."""
    folder = tmp_path_factory.mktemp("bench")
    node, soc = make_node(state=folder / "chain.json"), make_receiver()
    node.mine()
    wallets = {f"kept-{n}": address for n, address in enumerate(node.accounts[:16])}
    bench = Bench(node, soc, write_config(folder, node, wallets, soc), wallets, watch, heistwatch)
    assert bench.monitor.process.poll() is None
    yield bench
    if bench._monitor.process.poll() is None:
        bench._monitor.kill()


def test_node_restarts_with_blocks_behind(bench: Bench) -> None:
    """Blocks that came while the endpoint was away are scanned when it is back: none is left out."""
    entity, address, thief = bench.victim()
    assert bench.monitor.port
    port = bench.node.port
    bench.node.stop()
    bench.node.start()  # elsewhere: the monitor cannot see it
    bench.node.mine(2)
    receipt = bench.node.send(address, thief, 9000)
    bench.node.mine(2)
    bench.node.stop()
    bench.node.start(port)
    post = bench.soc.wait(entity)
    assert post.type == "incident.opened" and post.incident["opened_block"] == receipt["block"]
    bench.whole()


def test_killed_before_the_theft(bench: Bench) -> None:
    """A theft while the monitor was dead alarms at the next start, in its own block."""
    entity, address, thief = bench.victim()
    bench.monitor.kill()
    receipt = bench.node.send(address, thief, 9000)
    bench.node.mine(3)
    assert bench.monitor.port
    post = bench.soc.wait(entity)
    assert post.incident["opened_block"] == receipt["block"] and post.incident["suspects"] == [thief]
    bench.whole()


def test_killed_while_the_receiver_is_down(bench: Bench) -> None:
    """An alert that nobody took before the kill is sent by the next process: same id, same bytes."""
    entity, address, thief = bench.victim()
    assert bench.monitor.port
    bench.soc.answer = lambda post: 503
    bench.node.send(address, thief, 9000)
    first = bench.soc.wait(entity)
    bench.monitor.kill()
    tried = len(bench.soc.of(entity))
    bench.soc.answer = lambda post: 200
    assert bench.monitor.port
    taken = bench.soc.wait(entity, count=tried + 1)
    assert taken.id == first.id and taken.body == first.body
    assert taken.headers["webhook-timestamp"] >= first.headers["webhook-timestamp"]
    bench.until_done(taken.id)
    assert len(bench.soc.of(entity)) == tried + 1


def test_killed_between_acceptance_and_record(bench: Bench) -> None:
    """Where the kill fell after the receiver took it and before that was written down, it is repeated unchanged."""
    entity, address, thief = bench.victim()
    monitor = bench.monitor
    killed = threading.Event()

    def accept_and_kill(_: Any) -> int:
        if not killed.is_set():
            monitor.process.kill()
            killed.set()
        return 200

    bench.soc.answer = accept_and_kill
    bench.node.send(address, thief, 9000)
    first = bench.soc.wait(entity)
    assert killed.wait(5) and monitor.wait() == -signal.SIGKILL
    assert bench.monitor.port
    second = bench.soc.wait(entity, count=2)
    assert second.id == first.id and second.body == first.body
    bench.until_done(second.id)
    assert len(bench.soc.of(entity)) == 2


def test_reorg_while_dead(bench: Bench) -> None:
    """A theft that was told and then dropped while nobody looked is retracted at the next start."""
    entity, address, thief = bench.victim()
    assert bench.monitor.port
    bench.node.send(address, thief, 9000)
    opened = bench.soc.wait(entity)
    bench.monitor.scanned(bench.node.height)
    bench.monitor.kill()
    bench.node.rpc("anvil_reorg", 1, [])
    bench.node.mine(2)
    assert bench.monitor.port
    retracted = bench.soc.wait(entity, "incident.retracted")
    assert retracted.incident["id"] == opened.incident["id"]
    bench.whole()


@pytest.mark.parametrize("milliseconds", [0, 4, 12])
def test_killed_at_any_moment(bench: Bench, milliseconds: int) -> None:
    """Killed so long after a theft: it is told, by one process or the other, under one id and in the same bytes."""
    entity, address, thief = bench.victim()
    monitor = bench.monitor
    bench.soc.answer = lambda post: 200
    receipt = bench.node.send(address, thief, 9000)
    time.sleep(milliseconds / 1000)
    monitor.kill()
    assert bench.monitor.port
    post = bench.soc.wait(entity)
    assert post.incident["opened_block"] == receipt["block"]
    bench.until_done(post.id)
    assert {(other.id, other.body) for other in bench.soc.of(entity)} == {(post.id, post.body)}
    bench.whole()


def test_stopped_by_sigterm(bench: Bench) -> None:
    """SIGTERM is a clean end, code 0 within seconds, also with a receiver that does not answer."""
    entity, address, thief = bench.victim()
    monitor = bench.monitor
    release = threading.Event()
    bench.soc.answer = lambda post: 200 if release.wait(30) else 500
    bench.node.send(address, thief, 9000)
    bench.soc.wait(entity)
    began = time.monotonic()
    assert monitor.end(signal.SIGTERM) == 0
    assert time.monotonic() - began < 10
    release.set()
    assert "Traceback" not in monitor.err.text
    assert bench.soc.wrong == []

