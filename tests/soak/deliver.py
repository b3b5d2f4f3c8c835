"""The campaign of faults: does every alert arrive, once for a receiver that drops known ids, in order?

``python -m tests.soak deliver``: ten thousand messages through thirteen kinds of faults, in twenty hours of an injected
clock; ten thousand by a sender that is killed 200 times; a thousand over Redis, where it is installed. Then the same
with planted faults, each of which must be noticed. Takes some minutes.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from tests.soak.delivery import faults, kills
from tests.soak.delivery.child import FAULTS
from tests.soak.delivery.ledger import Figures

__all__ = ["NOTICED_AS", "main", "redis_server"]

NOTICED_AS = {
    "drops on 500": "lost", "records before sending": "lost", "loses the order": "out of order",
    "forgets to record": "repeated without a reason",
}  # fmt: skip


@contextlib.contextmanager
def redis_server() -> Iterator[str]:
    """The URL of a Redis server of our own; empty where there is none to be had."""
    if shutil.which("redis-server") is None:
        yield ""
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        process = subprocess.Popen([*command, "--dir", folder], stdout=subprocess.PIPE)
        assert process.stdout is not None
        try:
            if not any(b"Ready to accept connections" in line for line in process.stdout):
                raise RuntimeError(f"redis-server ended with {process.wait()}")
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            process.terminate()
            process.wait(10)
            process.stdout.close()


def shown(figures: Figures) -> dict[str, Any]:
    """For people: the problems counted, and the first of them."""
    found = asdict(figures)
    found["problems"] = {"count": len(figures.problems), "first": figures.problems[:5]}
    return found


async def run(alerts: int, killed: int, seed: int) -> tuple[dict[str, Any], bool]:
    """(all figures, whether every promise was kept and every planted fault noticed)."""
    found: dict[str, Any] = {}
    outcome = await faults.campaign(seed, alerts // len(faults.KINDS) // 40 * 40 + 40)
    found["faults"] = {
        **shown(outcome.figures), "hours": outcome.hours, "attempts by reason": outcome.reasons,
        "requests by what happened to them": outcome.faults, "before the time that was asked for": outcome.too_early,
    }  # fmt: skip
    good = not outcome.figures.problems and not outcome.too_early
    _say("faults", found["faults"])
    done = await kills.campaign(seed, alerts, killed)
    found["kills"] = {**shown(done.figures), "kills": done.kills, "lives": done.lives}
    good = good and not done.figures.problems and done.kills >= killed
    _say("kills", found["kills"])
    with redis_server() as url:
        if url:
            done = await kills.campaign(seed, alerts // 10, killed // 10, redis=url)
            found["kills, Redis"] = {**shown(done.figures), "kills": done.kills, "lives": done.lives}
            good = good and not done.figures.problems
            _say("kills, Redis", found["kills, Redis"])
    found["planted"] = {}
    for fault in FAULTS:
        done = await kills.campaign(seed, 1000, 12, fault=fault)
        found["planted"][fault] = dict(done.figures.kinds)
        good = good and NOTICED_AS[fault] in done.figures.kinds
    _say("planted", found["planted"])
    return found, good


def _say(part: str, figures: dict[str, Any]) -> None:
    print(f"{part}: {json.dumps(figures, indent=1)}", flush=True)


def main(alerts: int = 10_000, killed: int = 200, seed: int = 1) -> None:
    """Run and judge."""
    _, good = asyncio.run(run(alerts, killed, seed))
    if not good:
        sys.exit("the campaign failed: see the figures")
    print("every promise was kept, and every planted fault noticed")
