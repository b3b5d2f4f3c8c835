"""A sender that is killed: commits blocks with messages and delivers them, until it is killed or has nothing left.

``python -m tests.soak.delivery.child`` waits for a JSON line of `Order` on its standard input, forks a process that
does it, prints its id, and when that ended its exit status: everything is imported once, so that a life costs little.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import logging
import os
import random
import signal
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from alerts.channels.webhook import WebhookChannel
from alerts.dispatch import Dispatcher
from monitor.model import BlockRef, Delivery, Outcome, Reason
from monitor.redis_store import RedisStore
from monitor.sqlite_store import SqliteStore
from monitor.store import BlockRecord, Commit, OutboxRow

__all__ = ["CHAIN", "CONCURRENCY", "FAULTS", "PER_BLOCK", "SECRET", "Order", "rows_of"]

CHAIN = "eip155:31337"
SECRET = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX"
CONCURRENCY = 4
PER_BLOCK = 5
INCIDENTS = 25
QUEUED_AT = 1_900_000_000.0  # later than any clock of today, so that no message expires
BEFORE = 60  # messages that may wait before the next block is committed
FAULTS = ("drops on 500", "records before sending", "loses the order", "forgets to record")


@dataclass(frozen=True, slots=True)
class Order:
    """One life of a sender.

    Parameters
    ----------
    store : ``redis://...`` with a prefix after ``#``, else a path of SQLite
    blocks : to be committed in all
    turns : after so many turns of the event loop it kills itself; 0: never
    fault : one of `FAULTS`, that its receiver must notice; empty: none
    """

    store: str
    url: str
    blocks: int
    seed: int
    turns: int = 0
    fault: str = ""

    def line(self) -> str:
        """As it is sent."""
        return json.dumps(asdict(self)) + "\n"


def rows_of(block: int) -> list[OutboxRow]:
    """The messages of one block, always the same."""
    found = []
    for number in range(block * PER_BLOCK, (block + 1) * PER_BLOCK):
        body = f'{{"type":"incident.updated","number":{number},"text":"{"x" * (number % 400)}"}}'.encode()
        incident = f"i{(number * 11) % INCIDENTS}"
        found.append(
            OutboxRow(
                f"a{number:05d}", "soc", "0:webhook", body, QUEUED_AT + block, "incident.updated", incident,
                severity=number % 5,
            )
        )  # fmt: skip
    return found


class MortalLoop(asyncio.SelectorEventLoop):
    """Kills its process after a number of turns: between two awaits, whichever they are."""

    left = 0

    def _run_once(self) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        super()._run_once()  # type: ignore[misc]


class Quick(random.Random):
    """Pauses of a fiftieth: the campaign runs on the real clock."""

    def uniform(self, a: float, b: float) -> float:
        return super().uniform(a, b) / 50


def _store(name: str) -> Any:
    if name.startswith("redis"):
        url, _, prefix = name.partition("#")
        return RedisStore(url, prefix=prefix)
    return SqliteStore(Path(name))


async def live(order: Order) -> None:
    """Commit and deliver until all is done."""
    store = _store(order.store)
    await store.open()
    channel = WebhookChannel({"url": order.url, "secret": SECRET, "timeout": 5})
    with _planted(order.fault, store, channel):
        made = Dispatcher(store, {"soc": [channel]}, concurrency=CONCURRENCY, rng=Quick(order.seed))
        task = asyncio.create_task(made.run())
        await _commit(store, made, order.blocks)
        while await store.next_due() is not None:
            await made.idle()
            await asyncio.sleep(0.005)
        made.stop()
        await task
    await channel.aclose()
    await store.aclose()


async def _commit(store: Any, dispatcher: Dispatcher, blocks: int) -> None:
    tip = await store.checkpoint(CHAIN)
    for number in range(0 if tip is None else tip.number + 1, blocks):
        ref = BlockRef(CHAIN, number, f"0x{number:04x}")
        record = BlockRecord(ref, f"0x{number - 1:04x}", 1_700_000_000 + number)
        await store.commit(Commit(CHAIN, ref, connected=(record,), outbox=tuple(rows_of(number))))
        dispatcher.wake()
        while len(await store.due(4e9, BEFORE)) >= BEFORE:  # noqa: ASYNC110
            await asyncio.sleep(0.002)


@contextlib.contextmanager
def _planted(fault: str, store: Any, channel: Any) -> Iterator[None]:
    """Break one promise, to see that the receiver notices."""
    from alerts import lane, page

    send, record, settle, queue_of = channel.send, store.record, lane.settle, page.queue_of
    if fault == "drops on 500":

        async def dropping(row: Any, now: float) -> Any:
            receipt = await send(row, now)
            return type(receipt)(Outcome.ACCEPTED, Reason.OK) if receipt.reason is Reason.SERVER_ERROR else receipt

        channel.send = dropping
    elif fault == "records before sending":

        async def early(row: Any, now: float) -> Any:
            done = Delivery(row.alert_id, row.receiver, row.channel, 1, Outcome.ACCEPTED, Reason.OK, now)
            await record(done, state="done")
            return await send(row, now)

        channel.send = early
    elif fault == "loses the order":
        page.queue_of = lane.queue_of = lambda row: row.alert_id
    elif fault == "forgets to record":

        async def forgetful(delivery: Any, **options: Any) -> None:
            if int(delivery.alert_id[1:]) % 7 or delivery.attempt > 1:
                await record(delivery, **options)
            else:
                await record(delivery, state="due")

        store.record = forgetful
    try:
        yield
    finally:
        lane.settle, page.queue_of, lane.queue_of = settle, queue_of, queue_of


def _live(order: Order) -> None:
    loop = MortalLoop()
    loop.left = order.turns
    asyncio.set_event_loop(loop)
    loop.run_until_complete(live(order))
    loop.close()


def _end_with_parent() -> None:
    """A life must not outlast a campaign that was broken off (Linux: prctl(2), PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def main() -> None:
    """Fork a life for each line."""
    _end_with_parent()
    logging.disable(logging.WARNING)  # every life would say that this Redis keeps nothing
    for line in sys.stdin:
        order = Order(**json.loads(line))
        child = os.fork()
        if child == 0:
            code = 1
            try:
                _end_with_parent()
                _live(order)
                code = 0
            finally:
                os._exit(code)
        print(child, flush=True)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
