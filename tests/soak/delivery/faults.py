"""Every fault of a receiver and of the way to it, against the real dispatcher, channel and store; time is injected.

The wall clock of the dispatcher moves only while nothing is on its way, so that hours of failure pass in seconds; the
connections are real. `campaign` gives the figures; what it needs of the faults is in `KINDS`.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
import socket
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alerts.channels.webhook import WebhookChannel
from alerts.dispatch import Dispatcher
from alerts.http import HttpSender
from monitor.model import Reason
from monitor.sqlite_store import SqliteStore
from monitor.store import OutboxRow
from tests.soak.delivery import certificates
from tests.soak.delivery.ledger import Figures, Key, Queued, Seen, judge
from tests.soak.delivery.peer import Fault, Peer, http_date

__all__ = ["KINDS", "Outcome", "campaign"]

START = 1_700_000_000.0
HOUR = 3600.0
STRIDE = 20.0  # seconds of the injected clock
SLOW, TIMEOUT = 0.6, 20.0  # real seconds of an attempt: where answers are slow, and elsewhere
SECRET = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX"
INCIDENTS = 20
NOWHERE = "nowhere.test"
KINDS = (
    "calm", "refused", "reset in the body", "reset after acceptance", "reset in the answer", "slow answer",
    "429 with seconds", "429 with a date", "429 without", "5xx for hours", "certificates", "names", "all at once",
)  # fmt: skip


class VirtualClock:
    """Wall clock and sleep that move when told; real time passes beside them."""

    def __init__(self) -> None:
        self.now = START
        self._waiting: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        """Until the clock was moved so far."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (self.now + seconds, next(self._order), future))
        await future

    async def step(self, end: float) -> bool:
        """Move past the next waking, at most to ``end``; False where that is reached.

        In strides, as by a machine that has much else to do: who wakes up within one does so at its end.
        """
        while self._waiting and self._waiting[0][2].done():
            heapq.heappop(self._waiting)
        if not self._waiting or self._waiting[0][0] > end:
            self.now = end
            return False
        self.now = min(end, max(self.now, self._waiting[0][0]) + STRIDE)
        while self._waiting and self._waiting[0][0] <= self.now:
            _, _, future = heapq.heappop(self._waiting)
            if not future.done():
                future.set_result(None)
        for _ in range(10):
            await asyncio.sleep(0)
        return True


@dataclass(slots=True)
class Outcome:
    """What a campaign came to."""

    figures: Figures
    faults: dict[str, dict[str, int]]  # by kind: how often each was met
    reasons: dict[str, int]  # of recorded attempts
    hours: float
    too_early: list[str] = field(default_factory=list)  # requests before the time that was asked for


class Campaign:
    """One destination a kind of fault."""

    def __init__(self, seed: int, alerts: int, kinds: tuple[str, ...]) -> None:
        self.seed, self.alerts = seed, alerts
        self.clock = VirtualClock()
        self.seen: list[Seen] = []
        self.too_early: list[str] = []
        self.peers = {kind: Peer(kind, self._script(kind), seed, self.seen.append) for kind in kinds}
        self.queued: list[Queued] = []
        self.named = False  # whether names have addresses

    def _script(self, kind: str) -> Callable[[str, int, random.Random], Fault]:
        cuts = {"reset in the body": "body", "reset after acceptance": "after", "reset in the answer": "answer"}
        if kind in cuts:
            return lambda alert_id, attempt, rng: Fault(cut=cuts[kind] if rng.random() < 0.4 else "")
        if kind == "slow answer":
            return lambda alert_id, attempt, rng: Fault(cut="slow" if rng.random() < 0.15 else "")
        if kind.startswith("429"):
            return lambda alert_id, attempt, rng: self._limited(kind, alert_id, rng)
        if kind == "5xx for hours":
            return lambda alert_id, attempt, rng: self._down(rng)
        if kind == "all at once":
            return lambda alert_id, attempt, rng: self._anything(rng)
        return lambda alert_id, attempt, rng: Fault()

    def _limited(self, kind: str, alert_id: str, rng: random.Random) -> Fault:
        peer, now = self.peers[kind], self.clock.now
        if peer.asked_at < now < peer.asked_until:
            self.too_early.append(f"{kind}: {alert_id} at {now}, asked until {peer.asked_until}")
        if rng.random() >= 0.15:
            return Fault()
        if kind == "429 without":
            return Fault(429)
        pause = rng.randrange(1, 90)
        peer.asked_at, peer.asked_until = now, max(peer.asked_until, float(int(now) + pause))
        return Fault(429, retry_after=str(pause) if kind.endswith("seconds") else http_date(int(now) + pause))

    def _down(self, rng: random.Random) -> Fault:
        return Fault(rng.choice([500, 502, 503, 504])) if self.clock.now < START + 3 * HOUR else Fault()

    def _anything(self, rng: random.Random) -> Fault:
        return rng.choice(
            [Fault(), Fault(), Fault(), Fault(500), Fault(408), Fault(425), Fault(429), Fault(cut="body"),
             Fault(cut="after"), Fault(cut="answer"), Fault(503, retry_after="7"), Fault(cut="slow")]
        )  # fmt: skip

    # -- what goes on ---------------------------------------------------------------------------------------------

    def rows(self, chunk: int, size: int) -> list[OutboxRow]:
        """The messages of one minute, to every destination."""
        found = []
        for number in range(chunk * size, (chunk + 1) * size):
            for kind in self.peers:
                incident = f"i{(number * 7) % INCIDENTS}"
                body = f'{{"type":"incident.updated","number":{number}}}'.encode()
                row = OutboxRow(
                    f"a{number:05d}", kind, "0:webhook", body, self.clock.now, "incident.updated", incident,
                    severity=number % 5,
                )  # fmt: skip
                found.append(row)
                self.queued.append(Queued((kind, row.alert_id), incident, body))
        return found

    async def weather(self, tls: dict[str, Any]) -> None:
        """What changes by the hour of the campaign: ports that close, certificates that are renewed, names."""
        hour = (self.clock.now - START) / HOUR
        if (peer := self.peers.get("refused")) is not None:
            await peer.close()
            if hour >= 1.5 or int(hour * 60) % 20 >= 15:
                await peer.start()
        if (peer := self.peers.get("certificates")) is not None:
            await peer.close()
            await peer.start(tls[("expired", "other name", "plain")[int(hour * 2)] if hour < 1.5 else "good"])
        self.named = hour >= 1.5


async def campaign(seed: int, alerts: int, kinds: tuple[str, ...] = KINDS, chunks: int = 40) -> Outcome:
    """Send ``alerts`` messages to each destination over some hours, through all of it, to the end."""
    made = Campaign(seed, alerts, kinds)
    with tempfile.TemporaryDirectory(prefix="heistwatch-faults-") as name, _resolver(lambda: made.named):
        folder = Path(name)
        trusting = certificates.authority(folder)
        tls = {
            "expired": certificates.server(folder, expired=True), "good": certificates.server(folder),
            "other name": certificates.server(folder, name="other.test"), "plain": None,
        }  # fmt: skip
        for kind, peer in made.peers.items():
            await peer.start()
            if kind == "refused":
                await peer.close()
        store = SqliteStore(folder / "store.db")
        await store.open()
        channels = {kind: [_channel(kind, peer, trusting)] for kind, peer in made.peers.items()}
        clock = made.clock
        dispatcher = Dispatcher(store, channels, clock=clock, sleep=clock.sleep, rng=random.Random(seed))
        task = asyncio.create_task(dispatcher.run())
        for chunk in range(chunks):
            await made.weather(tls)
            await store.enqueue(made.rows(chunk, alerts // chunks))
            dispatcher.wake()
            await _pass(made.clock, dispatcher, START + (chunk + 1) * 6 * HOUR / chunks)
        await made.weather(tls)
        await _pass(clock, dispatcher, START + 20 * HOUR)
        dispatcher.stop()
        await task
        states = {(row.receiver, row.alert_id): row.state for row in await store.outbox()}
        reasons, timeouts = Counter[str](), Counter[Key]()
        for delivery in await store.deliveries():
            reasons[str(delivery.reason)] += 1
            timeouts[delivery.receiver, delivery.alert_id] += delivery.reason is Reason.TIMEOUT
        await store.aclose()
        for group in channels.values():
            await group[0].aclose()
        for peer in made.peers.values():
            await peer.aclose()
    return Outcome(
        judge(made.queued, made.seen, states, timeouts), {kind: dict(peer.faults) for kind, peer in made.peers.items()},
        dict(reasons), (clock.now - START) / HOUR, made.too_early,
    )  # fmt: skip


async def _pass(clock: VirtualClock, dispatcher: Dispatcher, end: float) -> None:
    """Let time pass until ``end``; it stands while anything is on its way."""
    while True:
        await dispatcher.idle()
        for _ in range(10):  # who is idle goes to sleep a moment later
            await asyncio.sleep(0)
        await dispatcher.idle()
        if not await clock.step(end):
            return


def _channel(kind: str, peer: Peer, trusting: Any) -> WebhookChannel:
    scheme = "https" if kind == "certificates" else "http"
    host = {"certificates": certificates.NAME, "names": NOWHERE}.get(kind, "127.0.0.1")
    url = f"{scheme}://{host}:{peer.port}/"
    timeout = SLOW if kind in ("slow answer", "all at once") else TIMEOUT
    channel = WebhookChannel({"url": url, "secret": SECRET, "timeout": timeout})
    if kind == "certificates":
        channel._sender = HttpSender(TIMEOUT, trusting)
    return channel


@contextmanager
def _resolver(named: Callable[[], bool]) -> Iterator[None]:
    """Two names have the loopback address, one of them only when ``named``."""
    loop = asyncio.get_running_loop()
    original = loop.getaddrinfo

    async def getaddrinfo(host: Any, port: Any, **options: Any) -> Any:
        if host not in (certificates.NAME, NOWHERE):
            return await original(host, port, **options)
        if host == NOWHERE and not named():
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return await original("127.0.0.1", port, **options)

    loop.getaddrinfo = getaddrinfo  # type: ignore[method-assign]
    try:
        yield
    finally:
        del loop.getaddrinfo
