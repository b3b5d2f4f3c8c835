"""What the tests of alerts share: alerts and rows, a clock that tests move, a channel that follows a script."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from alerts.base import Receipt
from monitor.memory_store import MemoryStore
from monitor.model import Alert, AlertKind, Outcome, Reason, Severity
from monitor.store import OutboxRow

START = 1_700_000_000.0


def make_alert(alert_id: str = "a1", **changes: Any) -> Alert:
    """An alert about an incident at Example Exchange."""
    fields: dict[str, Any] = {
        "id": alert_id,
        "kind": AlertKind.OPENED,
        "title": "CRITICAL: Example Exchange: 100 ETH sent to suspects",
        "body": "Line one.\nLine two.",
        "severity": Severity.CRITICAL,
        "labels": {
            "severity": "critical",
            "entity": "Example Exchange",
            "wallet": "hot-1,hot-2",
            "role": "hot",
            "chain": "eip155:1,nem:mainnet",
            "detector": "drain",
            "kind": "opened",
        },
        "runbook": "Stop withdrawals.",
        "incident": {"id": "i1", "lost": [{"value": "100000000000000000000"}], "share_lost": 0.5},
    }
    return Alert(**{**fields, **changes})


def make_row(alert_id: str = "a1", incident: str = "", receiver: str = "soc", **changes: Any) -> OutboxRow:
    """An outbox row that is due at once."""
    fields: dict[str, Any] = {
        "alert_id": alert_id,
        "receiver": receiver,
        "channel": "0:fake",
        "body": f"body of {alert_id}".encode(),
        "queued_at": START,
        "incident_id": incident,
    }
    return OutboxRow(**{**fields, **changes})


class Clock:
    """Wall clock and sleep that move only when a test says so; nothing waits for real time."""

    def __init__(self) -> None:
        self.now = START
        self._waiting: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        """Until the clock was moved by ``seconds``."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (self.now + seconds, next(self._order), future))
        await future

    async def settle(self) -> None:
        """Let everything run that can run without time passing."""
        ready: Any = asyncio.get_running_loop()._ready  # type: ignore[attr-defined]  # exact, unlike a number of turns
        await asyncio.sleep(0)
        while ready:  # noqa: ASYNC110
            await asyncio.sleep(0)

    async def until(self, moment: float) -> None:
        """Move to ``moment`` (seconds since the start), stopping at everything that wakes up before."""
        end = START + moment
        await self.settle()
        while True:
            while self._waiting and self._waiting[0][2].done():
                heapq.heappop(self._waiting)
            if not self._waiting or self._waiting[0][0] > end:
                break
            at, _, future = heapq.heappop(self._waiting)
            self.now = max(self.now, at)
            future.set_result(None)
            await self.settle()
        self.now = end


Answer = Receipt | BaseException | Callable[[], Awaitable[Receipt]]
ACCEPTED = Receipt(Outcome.ACCEPTED, Reason.OK)


@dataclass
class FakeChannel:
    """Answers by the script, then with ``otherwise``; keeps what was sent and when."""

    script: list[Answer] = field(default_factory=list)
    otherwise: Answer = ACCEPTED
    sent: list[tuple[float, str, bytes]] = field(default_factory=list)
    flying: int = 0
    most_flying: int = 0
    fails: dict[str, int] = field(default_factory=dict)  # so many first attempts of an alert fail
    type: str = "fake"

    @property
    def ids(self) -> list[str]:
        """Alert ids in order of attempt."""
        return [alert_id for _, alert_id, _ in self.sent]

    def times(self, alert_id: str) -> list[float]:
        """When an alert was attempted, seconds since the start."""
        return [at - START for at, sent_id, _ in self.sent if sent_id == alert_id]

    def render(self, alert: Alert, queued_at: float) -> bytes:
        """Id and time."""
        return f"{alert.id} {queued_at}".encode()

    async def send(self, row: OutboxRow, now: float) -> Receipt:
        """The next answer of the script."""
        self.sent.append((now, row.alert_id, row.body))
        self.flying += 1
        self.most_flying = max(self.most_flying, self.flying)
        try:
            if self.fails.get(row.alert_id, 0) > 0:
                self.fails[row.alert_id] -= 1
                return Receipt(Outcome.RETRY, Reason.SERVER_ERROR)
            answer = self.script.pop(0) if self.script else self.otherwise
            if isinstance(answer, BaseException):
                raise type(answer)(*answer.args)  # a new one, without the trace of the last time
            return answer if isinstance(answer, Receipt) else await answer()
        finally:
            self.flying -= 1

    async def aclose(self) -> None:
        """Nothing is open."""


class OrderedMemoryStore(MemoryStore):
    """A store that knows which rows are ready, and counts those that it hands out at once."""

    most = 0

    async def ready(self, destination: tuple[str, str], now: float, limit: int = 100) -> Sequence[OutboxRow]:
        """As every store, counted."""
        rows = await super().ready(destination, now, limit)
        self.most = max(self.most, len(rows))
        return rows


class PlainMemoryStore(MemoryStore):
    """A store that offers `Store` alone, even should `MemoryStore` one day offer more."""

    ready = None  # no method, so no `OrderedOutbox`
    most = 0

    async def due(self, now: float, limit: int = 100) -> Sequence[OutboxRow]:
        """As every store, counted."""
        rows = await super().due(now, limit)
        self.most = max(self.most, len(rows))
        return rows


@pytest.fixture
def alert() -> Callable[..., Alert]:
    """Make an alert."""
    return make_alert


@pytest.fixture
def row() -> Callable[..., OutboxRow]:
    """Make an outbox row."""
    return make_row


@pytest.fixture
def fake() -> type[FakeChannel]:
    """The scripted channel."""
    return FakeChannel


@pytest.fixture
def clock() -> Clock:
    """A clock at `START`."""
    return Clock()


@pytest.fixture(params=[OrderedMemoryStore, PlainMemoryStore])
def store(request: pytest.FixtureRequest) -> Any:
    """A store of either kind: every rule of delivery holds on both."""
    return request.param()


@dataclass
class Sent:
    """A request that a `Service` got."""

    method: str
    path: str  # with its query, as it came
    headers: dict[str, str]
    body: bytes


class Service:
    """An HTTP service that keeps what came and answers by the script, then by path, then with ``status``."""

    def __init__(self) -> None:
        self.url = ""
        self.sent: list[Sent] = []
        self.script: list[tuple[int, dict[str, str], bytes]] = []
        self.paths: dict[str, int] = {}
        self.status = 202

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Keep it, and the next answer."""
        self.sent.append(Sent(request.method, request.raw_path, dict(request.headers), await request.read()))
        otherwise = (self.paths.get(request.path, self.status), {}, b"{}")
        status, headers, body = self.script.pop(0) if self.script else otherwise
        return web.Response(status=status, headers=headers, body=body)


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    """A service on this machine."""
    made = Service()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()
