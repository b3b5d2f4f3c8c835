"""The campaign of faults (`tests.soak.deliver`) at a size for every day, and that its checker can tell."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.soak.deliver import NOTICED_AS, redis_server
from tests.soak.delivery import faults, kills
from tests.soak.delivery.child import FAULTS
from tests.soak.delivery.ledger import Queued, Seen, judge

ROOT = Path(__file__).parents[2]


def needed(program: str) -> None:
    """Skip where a program is not installed; with CI=true that is a failure."""
    if shutil.which(program) is None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"{program} is not installed")
        pytest.skip(f"{program} is not installed")


@pytest.fixture
def free_port() -> int:
    """A port on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def redis() -> Iterator[str]:
    """A Redis server."""
    needed("redis-server")
    with redis_server() as url:
        yield url


async def test_every_fault_of_a_receiver() -> None:
    """Refused, reset, slow, 429, 5xx, certificates, names: all arrive, in order, within the hours after it is over."""
    needed("openssl")
    outcome = await faults.campaign(seed=7, alerts=10, chunks=5)
    assert outcome.figures.problems == [] and outcome.too_early == []
    assert outcome.figures.alerts == 10 * len(faults.KINDS)
    assert outcome.figures.repeats_after_a_kill == 0
    met = {fault for kind in outcome.faults.values() for fault in kind}
    assert {"body", "after", "answer", "slow", "429", "204"} <= met and met & {"500", "502", "503", "504"}
    assert {"connection", "tls", "timeout", "rate_limited", "server_error", "ok"} <= set(outcome.reasons)


async def test_killed_at_any_await() -> None:
    """A dozen kills: nothing is lost, and what was repeated fell between acceptance and record."""
    killed = await kills.campaign(seed=3, alerts=900, kills=12)
    assert killed.kills == 12
    assert killed.figures.problems == []
    assert killed.figures.repeats_after_a_kill <= 12 * 4
    assert killed.figures.repeats_after_a_lost_answer == 0


async def test_killed_over_redis(redis: str) -> None:
    """The same where the outbox is in Redis."""
    killed = await kills.campaign(seed=5, alerts=300, kills=4, redis=redis)
    assert killed.kills == 4 and killed.figures.problems == []


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_planted_fault_is_noticed(fault: str) -> None:
    """A sender that breaks one promise: the checker says which. A kill must fall into the gap, so more are tried."""
    found: list[set[str]] = []
    for seed in range(1, 11):
        killed = await kills.campaign(seed=seed, alerts=500, kills=8, fault=fault)
        found.append(set(killed.figures.kinds))
        if NOTICED_AS[fault] in found[-1]:
            return
    raise AssertionError(f"{fault} was never noticed: {found}")


def test_the_checker() -> None:
    """What it accepts, and each thing that it does not."""
    a, b = (Queued(("soc", name), "i", name.encode()) for name in "ab")
    saw = {name: Seen(("soc", name), name.encode(), accepted=True) for name in "ab"}
    done = {a.key: "done", b.key: "done"}

    def kinds(*seen: Seen, states: dict[tuple[str, str], str] | None = None) -> set[str]:
        return set(judge([a, b], seen, states or done).kinds)

    failed, late = replace(saw["a"], accepted=False), replace(saw["a"], told=False)
    assert kinds(saw["a"], saw["b"]) == set()
    assert kinds(failed, saw["a"], saw["b"]) == set()
    assert kinds(late, saw["a"], saw["b"]) == set()
    assert kinds(saw["a"], replace(saw["a"], life=1), saw["b"]) == set()
    assert kinds(saw["a"], saw["a"], saw["b"]) == {"repeated without a reason"}
    timed_out = {a.key: 1}
    assert judge([a, b], [saw["a"], saw["a"], saw["b"]], done, timed_out).problems == []
    assert judge([a, b], [saw["a"], saw["a"], saw["a"], saw["b"]], done, timed_out).kinds == {
        "repeated without a reason": 1
    }
    assert kinds(saw["b"], saw["a"]) == {"out of order"}
    assert kinds(saw["a"]) == {"lost"}
    assert kinds(failed, saw["b"]) == {"lost"}
    assert kinds(saw["a"], replace(saw["b"], body=b"x")) == {"other bytes"}
    assert kinds(saw["a"], saw["b"], replace(saw["a"], key=("soc", "c"))) == {"unknown"}
    assert kinds(saw["a"], saw["b"], states={a.key: "due", b.key: "done"}) == {"not recorded as delivered"}


def test_redis_absent_at_the_start(tmp_path: Path, free_port: int) -> None:
    """A clean end with code 3 and one line, instead of a monitor that looks alive."""
    config = tmp_path / "heistwatch.yaml"
    config.write_text(
        f"""version: 1
chains: [{{name: dev, kind: evm, chain_id: "eip155:31337", endpoints: ["{'http'}://127.0.0.1:{free_port}"]}}]
wallets: [{{id: hot, entity: Example, role: hot, addresses: ["dev:0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266"]}}]
store: {{url: "redis://:hunter2@127.0.0.1:{free_port}/0"}}
"""
    )
    ran = subprocess.run(
        [sys.executable, "-m", "monitor", "watch", str(config)], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    problems = [line for line in ran.stderr.splitlines() if line.startswith("heistwatch: ")]
    assert ran.returncode == 3 and "Traceback" not in ran.stderr
    assert len(problems) == 1 and "redis://" in problems[0] and "hunter2" not in ran.stderr
