"""Dead-man's switches: somebody else raises the alarm when the pings stop.

While everything is watched as it should be, a heartbeat says so; when the monitor does not see, hangs or is gone, it
stops. Two kinds:

- ``ping``: a GET to a URL, any 2xx is fine. That is how Healthchecks takes pings
  (https://healthchecks.io/docs/http_api/), and Dead Man's Snitch, Uptime Kuma and others likewise.
- ``alertmanager``: an alert that always fires, ``HeistwatchHeartbeat``, posted to a Prometheus Alertmanager
  (``POST /api/v2/alerts``, https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml) with an end three
  intervals ahead, so that it resolves when the pings stop. Route it to a receiver that expects it, or inhibit by it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable

from yarl import URL

from alerts.base import Receipt
from alerts.http import HttpSender, receipt_of
from monitor.errors import ConfigError
from monitor.ids import iso
from monitor.model import Outcome
from monitor.registry import did_you_mean

__all__ = ["ALERT_NAME", "TYPES", "Heartbeat"]

log = logging.getLogger(__name__)

ALERT_NAME = "HeistwatchHeartbeat"
TYPES = ("ping", "alertmanager")
ENDS_AFTER = 3  # intervals: two pings may be lost
AGAIN_SECONDS = 1.0  # between two looks whether all is well again
LONGEST_ATTEMPT = 10.0  # seconds; less where the interval is shorter


class Heartbeat:
    """One dead-man's switch.

    Parameters
    ----------
    type : ``ping`` or ``alertmanager``
    url : where to, http or https; of an Alertmanager its root. It is a secret: only its host is ever shown
    every : seconds between two pings
    healthy : whether everything is watched as it should be, asked before each ping
    clock : wall clock, UTC seconds
    sleep : waits so many seconds

    Attributes
    ----------
    host : to whom it pings, all that may be shown of the URL
    sent, failed : pings that arrived, and that did not, since the start

    Raises
    ------
    ConfigError : the type is unknown, or the URL cannot be used
    """

    def __init__(
        self,
        type: str,
        url: str,
        every: float,
        healthy: Callable[[], bool],
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        if type not in TYPES:
            raise ConfigError(f"heartbeat: unknown type {type!r}: {did_you_mean(type, TYPES)}")
        self.type, self.every = type, every
        self._url = _address(type, url)
        self.host = self._url.host or ""
        self._healthy, self._clock, self._sleep = healthy, clock, sleep
        self._sender = HttpSender(min(every, LONGEST_ATTEMPT))
        self._well: bool | None = None  # how the last ping went
        self.sent = self.failed = 0

    def __repr__(self) -> str:
        return f"Heartbeat({self.type} to {self.host} every {self.every:g} s)"

    async def run(self) -> None:
        """Ping until cancelled, where healthy; a failure is logged once and counted, and stops nothing."""
        while True:
            if self._healthy():
                await self.beat()
                await self._sleep(self.every)
            else:
                await self._sleep(min(AGAIN_SECONDS, self.every))

    async def beat(self) -> bool:
        """One ping; whether it arrived."""
        now = self._clock()
        if self.type == "ping":
            answer = await self._sender.request("GET", self._url)
        else:
            headers = {"Content-Type": "application/json"}
            answer = await self._sender.request("POST", self._url, body=self._alert(now), headers=headers)
        receipt = answer if isinstance(answer, Receipt) else receipt_of(self.host, answer, now)
        well = receipt.outcome is Outcome.ACCEPTED
        if well:
            self.sent += 1
            if self._well is False:
                log.info("heartbeat: %s takes pings again", self.host)
        else:
            self.failed += 1
            if self._well is not False:
                log.warning("heartbeat: %s; its next pings are tried all the same", receipt.detail)
        self._well = well
        return well

    async def aclose(self) -> None:
        """Close the connections; calling it twice is fine."""
        await self._sender.aclose()

    def _alert(self, now: float) -> bytes:
        return json.dumps(
            [
                {
                    "labels": {"alertname": ALERT_NAME, "severity": "none", "job": "heistwatch"},
                    "annotations": {
                        "summary": "heistwatch watches",
                        "description": "This alert always fires while heistwatch scans all of its chains. When it "
                        "resolves, thefts are not seen.",
                    },
                    "endsAt": iso(round(now + ENDS_AFTER * self.every)),
                }
            ]
        ).encode()


def _address(type: str, text: str) -> URL:
    """The URL to ask; ConfigError, which does not quote it."""
    try:
        url = URL(text.strip())
        usable = url.scheme in ("http", "https") and bool(url.host)
    except ValueError:
        usable = False
    if not usable:
        raise ConfigError("heartbeat: url is no http or https address with a host")
    return url / "api/v2/alerts" if type == "alertmanager" else url
