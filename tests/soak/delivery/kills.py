"""A sender killed again and again, at any await and in the middle of anything: what does its receiver see?"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monitor.redis_store import RedisStore
from monitor.sqlite_store import SqliteStore
from tests.soak.delivery.child import PER_BLOCK, Order, rows_of
from tests.soak.delivery.ledger import Figures, Queued, Seen, judge
from tests.soak.delivery.peer import Fault, Peer

__all__ = ["Killed", "campaign"]

ROOT = Path(__file__).resolve().parents[3]
TURNS = 450  # of the event loop, at most, that a life has which ends itself
SECONDS = 0.1  # at most, that another life has


@dataclass(slots=True)
class Killed:
    """What a campaign came to."""

    figures: Figures
    kills: int
    lives: int


class Nursery:
    """Starts lives and ends them."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def _line(self) -> int:
        assert self._process.stdout is not None
        return int(await self._process.stdout.readline())

    async def live(self, order: Order, kill_after: float | None) -> int:
        """One life, to its end; its exit code, ``-SIGKILL`` where it was killed."""
        assert self._process.stdin is not None
        self._process.stdin.write(order.line().encode())
        child = await self._line()
        ended = asyncio.create_task(self._line())
        done, _ = await asyncio.wait([ended], timeout=kill_after)
        if not done:
            with contextlib.suppress(ProcessLookupError):  # it ended just now, and its parent has not seen it yet
                os.kill(child, signal.SIGKILL)
        return await ended


@contextlib.asynccontextmanager
async def nursery() -> AsyncIterator[Nursery]:
    """A process that forks lives; it has ended afterwards."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.soak.delivery.child", cwd=ROOT,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    try:
        yield Nursery(process)
    finally:
        process.stdin.close()
        await process.wait()


def _sometimes_down(alert_id: str, attempt: int, rng: random.Random) -> Fault:
    return Fault(500 if rng.random() < 0.1 else 204)


async def campaign(seed: int, alerts: int, kills: int, *, redis: str = "", fault: str = "") -> Killed:
    """Deliver ``alerts`` messages by a sender that is killed ``kills`` times, then left to finish.

    Parameters
    ----------
    redis : URL of a Redis server; empty: the store is SQLite
    fault : what is planted, of `tests.soak.delivery.child.FAULTS`
    """
    rng, seen = random.Random(seed), list[Seen]()
    peer = Peer("soc", _sometimes_down, seed, seen.append)
    await peer.start()
    done = lives = 0
    with tempfile.TemporaryDirectory(prefix="heistwatch-kills-") as folder:
        name = f"{redis}#{Path(folder).name}:" if redis else str(Path(folder) / "store.db")
        async with nursery() as made:
            for life in range(kills * 20):
                peer.life, lives = life, life + 1
                turns = rng.randrange(1, TURNS) if done < kills and rng.random() < 0.6 else 0
                after = rng.random() * SECONDS if done < kills and not turns else None
                order = Order(name, f"http://127.0.0.1:{peer.port}/", alerts // PER_BLOCK, life, turns, fault)
                code = await made.live(order, after)
                if code == 0:
                    break
                if code != -signal.SIGKILL:
                    raise RuntimeError(f"life {life} ended with {code}")
                done += 1
                await peer.drained()
        store: Any = RedisStore(redis, prefix=name.partition("#")[2]) if redis else SqliteStore(Path(name))
        await store.open()
        states = {(row.receiver, row.alert_id): row.state for row in await store.outbox()}
        await store.aclose()
    await peer.aclose()
    queued = [
        Queued((row.receiver, row.alert_id), row.incident_id, row.body)
        for block in range(alerts // PER_BLOCK)
        for row in rows_of(block)
    ]
    return Killed(judge(queued, seen, states), done, lives)
