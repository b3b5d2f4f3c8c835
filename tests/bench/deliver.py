"""From the commit to the receiver: how long an alert takes when idle, in a burst, beside a sick channel.

Through the SQLite store, the dispatcher and the signed webhook channel, to a receiver in a process of its own.
Targets: p99 under 100 ms when idle; 1,000 a second in a burst of 10,000, in bounded memory; a dead or slow channel
costs the others nothing (a ratio near 1).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np

from alerts.channels.webhook import WebhookChannel
from alerts.dispatch import Dispatcher
from alerts.outbox import rows
from monitor.model import Alert, AlertKind, BlockRef, Severity
from monitor.sqlite_store import SqliteStore
from monitor.store import BlockRecord, Commit, OutboxRow

IDLE, ROUNDS = 200, 3
BURST = 10_000
INCIDENTS = 500
SECRET = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX"
CHAIN = "eip155:1"
SICK_BACKLOG = 2000


class Receiver:
    """A sink and what came to it."""

    def __init__(self, mode: str) -> None:
        command = [sys.executable, "-m", "tests.bench.sink", mode]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.url = f"http://127.0.0.1:{int(self._process.stdout.readline())}/"

    def end(self) -> dict[str, float]:
        """When each alert first came, monotonic seconds."""
        out, _ = self._process.communicate("")
        came: dict[str, float] = {}
        for alert_id, at in json.loads(out.splitlines()[-1]):
            came.setdefault(alert_id, at)
        return came


@contextlib.contextmanager
def receivers(**modes: str) -> Iterator[dict[str, Receiver]]:
    """Sinks by name; all have ended afterwards."""
    with ExitStack() as stack:
        made = {name: Receiver(mode) for name, mode in modes.items()}
        for one in made.values():
            stack.callback(one._process.wait)
            stack.callback(one._process.kill)
        yield made


def alert(number: int, severity: Severity = Severity.HIGH) -> Alert:
    """An alert about a theft, of usual size."""
    incident = {
        "id": f"incident-{number % INCIDENTS}", "entity": "Bench Exchange", "wallets": ["hot-1"],
        "severity": str(severity), "revision": 1 + number // INCIDENTS,
        "suspects": [f"0x{n:040x}" for n in range(8)],
        "lost": [{"chain": CHAIN, "asset": f"{CHAIN}/slip44:60", "value": "5" * 22, "display": "55,555 ETH"}],
        "explanation": [f"line {n}: what was seen, and how rare that is for this wallet" for n in range(6)],
    }  # fmt: skip
    return Alert(
        f"alert-{number:06d}", AlertKind.UPDATED, "HIGH: Bench Exchange: 55,555 ETH sent to suspects",
        "\n".join(incident["explanation"]), severity, {"severity": str(severity), "entity": "Bench Exchange"},
        "Stop withdrawals.", incident,
    )  # fmt: skip


def commit(number: int, outbox: Sequence[OutboxRow]) -> Commit:
    """The commit of a block with its messages."""
    ref = BlockRef(CHAIN, number, f"0x{number:064x}")
    record = BlockRecord(ref, f"0x{number - 1:064x}", 1_700_000_000 + number)
    return Commit(CHAIN, ref, connected=(record,), outbox=tuple(outbox))


@asynccontextmanager
async def delivering(folder: Path, urls: dict[str, str]) -> AsyncIterator[tuple[SqliteStore, Any, Any]]:
    """(store, channels, dispatcher that runs)."""
    store = SqliteStore(folder / f"{time.monotonic_ns()}.db")
    await store.open()
    channels = {name: [WebhookChannel({"url": url, "secret": SECRET})] for name, url in urls.items()}
    dispatcher = Dispatcher(store, channels, grace=0.0)
    task = asyncio.create_task(dispatcher.run())
    try:
        yield store, channels, dispatcher
    finally:
        dispatcher.stop()
        await task
        for channel in channels.values():
            await channel[0].aclose()
        await store.aclose()


async def idle(folder: Path, sick: str | None = None) -> np.ndarray:
    """Milliseconds from the begin of a commit with one alert to its arrival, one alert at a time.

    Parameters
    ----------
    sick : ``dead`` or ``slow``: a second channel is so, has a long queue, and gets every alert too
    """
    with receivers(well="ok", **({"sick": sick} if sick else {})) as sinks:
        urls = {name: sink.url for name, sink in sinks.items()}
        async with delivering(folder, urls) as (store, channels, dispatcher):
            if sick:
                late = [row for n in range(SICK_BACKLOG) for row in rows(alert(n + 10**5), channels, ["sick"], 1.7e9)]
                await store.enqueue([*late])
                dispatcher.wake()
                await asyncio.sleep(0.5)
            began = {}
            for number in range(IDLE):
                made = rows(alert(number), channels, sinks, time.time())
                began[made[0].alert_id] = time.monotonic()
                await store.commit(commit(number + 1, made))
                dispatcher.wake()
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.3)
        came = sinks["well"].end()
    return np.array([came[alert_id] - at for alert_id, at in began.items()]) * 1000


def resident() -> float:
    """MB of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


async def _watch(most: list[float]) -> None:
    while True:
        most[0] = max(most[0], resident())
        await asyncio.sleep(0.05)


async def burst(folder: Path) -> tuple[float, float]:
    """(alerts a second, MB by which the memory grew at most) of one burst; none may be missing."""
    with receivers(well="ok") as sinks:
        async with delivering(folder, {"well": sinks["well"].url}) as (store, channels, dispatcher):
            await store.commit(commit(1, rows(alert(10**6), channels, ["well"], time.time())))
            dispatcher.wake()
            await dispatcher.idle()
            for start in range(0, BURST, 500):  # as blocks would bring them, but all before the first is sent
                block = [row for n in range(start, start + 500) for row in rows(alert(n), channels, ["well"], 1.7e9)]
                await store.commit(commit(2 + start, block))
            del block
            before, most = resident(), [0.0]
            watching = asyncio.create_task(_watch(most))
            began = time.monotonic()
            dispatcher.wake()
            await dispatcher.idle()
            watching.cancel()
            grown = most[0] - before
            states = {row.state for row in await store.outbox()}
        came = sinks["well"].end()
    if len(came) != BURST + 1 or states != {"done"}:
        sys.exit(f"{len(came)} of {BURST + 1} alerts came; rows are {states}")
    return BURST / (max(came.values()) - began), grown


def _ms(times: np.ndarray) -> str:
    return f"{np.percentile(times, 50):.1f} / {np.percentile(times, 99):.1f}"


async def main() -> None:
    """Measure in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="heistwatch-bench-") as name:
        folder = Path(name)
        await idle(folder)  # warm
        rounds = [[await idle(folder, sick) for sick in (None, "dead", "slow")] for _ in range(ROUNDS)]
        alone, dead, slow = (np.concatenate(found) for found in zip(*rounds, strict=True))
        rate, grown = await burst(folder)
    print(
        json.dumps(
            {
                "commit to POST, idle, p50 / p99 ms (target p99 100)": _ms(alone),
                f"burst of {BURST:,} to one webhook, alerts a second (target 1,000)": f"{rate:,.0f}",
                "memory that the burst adds at its peak, MB": round(grown, 1),
                "commit to POST beside a dead channel, p50 / p99 ms": _ms(dead),
                "commit to POST beside a slow channel, p50 / p99 ms": _ms(slow),
                "p50 beside a dead channel / alone": round(float(np.median(dead) / np.median(alone)), 2),
                "p50 beside a slow channel / alone": round(float(np.median(slow) / np.median(alone)), 2),
            }
        )
    )


if __name__ == "__main__":
    asyncio.run(main())
