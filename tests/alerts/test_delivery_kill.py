"""A process that is killed while it delivers: nothing is lost, and only what was in flight comes twice."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from standardwebhooks.webhooks import Webhook

from monitor.model import Alert

SECRET = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX"
CONCURRENCY = 4
ROWS = 60

DELIVER = f"""
import asyncio, sys
from pathlib import Path
from alerts.channels.webhook import WebhookChannel
from alerts.dispatch import Dispatcher
from monitor.sqlite_store import SqliteStore

async def main():
    store = SqliteStore(Path(sys.argv[1]))
    await store.open()
    channel = WebhookChannel({{"url": sys.argv[2], "secret": {SECRET!r}}})
    dispatcher = Dispatcher(store, {{"soc": [channel]}}, concurrency={CONCURRENCY})
    task = asyncio.create_task(dispatcher.run())
    await dispatcher.idle()
    dispatcher.stop()
    await task
    await channel.aclose()
    await store.aclose()

asyncio.run(main())
"""


class Receiver:
    """Counts what it accepted, and says when a number of requests has come."""

    def __init__(self) -> None:
        self.bodies: dict[str, list[bytes]] = defaultdict(list)
        self.came = 0
        self.reached = asyncio.Event()
        self.kill_at = 0

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.read()
        Webhook(SECRET).verify(body, dict(request.headers))
        self.came += 1
        self.bodies[request.headers["webhook-id"]].append(body)
        if self.came == self.kill_at:
            self.reached.set()
        return web.Response(status=204)


async def test_killed_while_delivering(tmp_path: Path, alert: Callable[..., Alert]) -> None:
    """Killed three times: every alert arrives, each with one body; repeats are no more than attempts in flight."""
    pytest.importorskip("monitor.sqlite_store")
    from alerts.channels.webhook import WebhookChannel
    from alerts.outbox import rows
    from monitor.sqlite_store import SqliteStore

    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/", receiver.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    path = tmp_path / "store.db"
    store = SqliteStore(path)
    await store.open()
    channel = WebhookChannel({"url": url, "secret": SECRET})
    queued: list[Any] = []
    for number in range(ROWS):
        queued += rows(alert(f"a{number:03}", incident={"id": f"i{number % 7}"}), {"soc": [channel]}, ["soc"], 1.7e9)
    await store.enqueue(queued)
    await store.aclose()

    kills = 0
    try:
        for kill_at in (5, 20, 37, 0):
            receiver.kill_at = kill_at
            receiver.reached.clear()
            process = await asyncio.create_subprocess_exec(sys.executable, "-c", DELIVER, str(path), url)
            ended = asyncio.create_task(process.wait())
            reached = asyncio.create_task(receiver.reached.wait())
            await asyncio.wait((ended, reached), return_when=asyncio.FIRST_COMPLETED)
            if kill_at:
                assert not ended.done(), "it ended before it was killed"
                process.kill()
                kills += 1
            reached.cancel()
            code = await ended
        assert code == 0
    finally:
        await runner.cleanup()

    assert sorted(receiver.bodies) == [row.alert_id for row in queued]
    for row in queued:
        assert set(receiver.bodies[row.alert_id]) == {row.body}
        assert json.loads(row.body)["data"]["id"] == row.alert_id
    repeats = receiver.came - ROWS
    assert repeats <= kills * CONCURRENCY
    store = SqliteStore(path)
    await store.open()
    assert {row.state for row in await store.outbox()} == {"done"}
    await store.aclose()
