"""Dead-man's switches: pings while all is well, none when it is not, and no failure that stops anything."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from alerts.heartbeat import ALERT_NAME, Heartbeat
from monitor.errors import ConfigError
from monitor.ids import from_iso

TOKEN = "f00-secret-token"


class Server:
    """Takes pings and alerts; checks what an Alertmanager's API demands of them."""

    def __init__(self) -> None:
        self.got: list[tuple[str, str, Any]] = []
        self.status = 200
        self.port = 0

    async def take(self, request: web.Request) -> web.Response:
        body = await request.read()
        told = json.loads(body) if body else None
        self.got.append((request.method, request.path_qs, told))
        if request.path.endswith("/api/v2/alerts"):
            assert request.method == "POST" and request.content_type == "application/json"
            for alert in told:  # postableAlert: labels are required, all text
                assert set(alert) <= {"labels", "annotations", "startsAt", "endsAt", "generatorURL"}
                for texts in (alert["labels"], alert["annotations"]):
                    assert all(isinstance(value, str) and value for value in texts.values())
        return web.Response(status=self.status)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    it = Server()
    application = web.Application()
    application.router.add_route("*", "/{any:.*}", it.take)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    it.port = runner.addresses[0][1]
    yield it
    await runner.cleanup()


def beats(url: str, type: str = "ping", *, healthy: Any = lambda: True, clock: Any = lambda: 1_700_000_000.0,
          every: float = 60.0, **more: Any) -> Heartbeat:  # fmt: skip
    return Heartbeat(type, url, every, healthy, clock=clock, **more)


async def test_a_ping_is_a_get_to_the_very_url(server: Server) -> None:
    """As Healthchecks and its like take it; any 2xx is fine."""
    heart = beats(f"http://127.0.0.1:{server.port}/ping/{TOKEN}?rid=1")
    server.status = 204
    assert await heart.beat() and await heart.beat()
    assert server.got == [("GET", f"/ping/{TOKEN}?rid=1", None)] * 2 and (heart.sent, heart.failed) == (2, 0)
    await heart.aclose()
    await heart.aclose()


@pytest.mark.parametrize("root", ["", "/", "/alertmanager", "/alertmanager/"])
async def test_an_alertmanager_gets_an_alert_that_ends_when_pings_stop(server: Server, root: str) -> None:
    """Its end is three intervals ahead; its labels stay, so that each ping is the same alert."""
    now = 1_700_000_000.0
    heart = beats(f"http://127.0.0.1:{server.port}{root}", "alertmanager", clock=lambda: now)
    assert await heart.beat()
    now += 60
    assert await heart.beat()
    await heart.aclose()
    paths, alerts = {path for _, path, _ in server.got}, [told[0] for _, _, told in server.got]
    assert paths == {f"{root.rstrip('/')}/api/v2/alerts"}
    assert [from_iso(alert["endsAt"]) for alert in alerts] == [1_700_000_180, 1_700_000_240]
    assert alerts[0]["labels"] == alerts[1]["labels"] and alerts[0]["labels"]["alertname"] == ALERT_NAME


async def test_it_pings_only_while_all_is_well(server: Server, clock: Any) -> None:
    """At its interval; it stops by itself and goes on by itself."""
    well = True
    heart = beats(f"http://127.0.0.1:{server.port}/x", healthy=lambda: well, clock=clock, sleep=clock.sleep)
    beat = heart.beat
    beaten: list[float] = []

    async def told() -> bool:
        beaten.append(clock.now - 1_700_000_000.0)
        return True

    heart.beat = told  # type: ignore[method-assign]  # what one ping does is shown above
    task = asyncio.create_task(heart.run())
    await clock.until(130)
    well = False
    await clock.until(400)
    well = True
    await clock.until(470)
    assert beaten == [0, 60, 120, 401, 461]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert await beat()
    await heart.aclose()


async def test_a_failure_is_logged_once_counted_and_tells_no_secret(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """And when it works again, that is said too."""
    caplog.set_level(logging.INFO)
    heart = beats(f"http://user:{TOKEN}@127.0.0.1:{server.port}/{TOKEN}?key={TOKEN}")
    server.status = 503
    assert [await heart.beat() for _ in range(3)] == [False] * 3
    server.status = 200
    assert await heart.beat() and await heart.beat()
    assert (heart.sent, heart.failed) == (2, 3)
    assert [record.levelname for record in caplog.records if record.name == "alerts.heartbeat"] == ["WARNING", "INFO"]
    assert "127.0.0.1 answered 503" in caplog.text
    assert TOKEN not in caplog.text and TOKEN not in repr(heart)
    await heart.aclose()


async def test_nobody_listens() -> None:
    """A ping that is refused is a failed one, nothing else."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    heart = beats(f"http://127.0.0.1:{port}/{TOKEN}")
    assert not await heart.beat() and heart.failed == 1
    await heart.aclose()


@pytest.mark.parametrize(
    ("type", "url", "said"),
    [
        ("pong", "https://example.com", "unknown type 'pong': did you mean 'ping'"),
        ("ping", f"ftp://example.com/{TOKEN}", "url is no http or https address"),
        ("ping", f"https:///{TOKEN}", "url is no http or https address"),
        ("alertmanager", f"http://[{TOKEN}", "url is no http or https address"),
    ],
)
def test_what_cannot_be_used_is_refused_without_telling_the_url(type: str, url: str, said: str) -> None:
    """It may hold a key."""
    with pytest.raises(ConfigError) as refused:
        beats(url, type)
    assert said in str(refused.value) and TOKEN not in str(refused.value)
