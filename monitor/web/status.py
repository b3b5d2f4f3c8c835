"""How the monitor is: health, readiness, metrics, coverage."""

from __future__ import annotations

import time
from typing import Any

from aiohttp import web

from monitor.health import troubles
from monitor.metrics import metrics

__all__ = ["Status"]


class Status:
    """Handlers over a running monitor."""

    def __init__(self, parts: Any) -> None:
        self._parts = parts

    async def health(self, _: web.Request) -> web.Response:
        """The process answers."""
        return web.json_response({"status": "ok", "uptime_seconds": round(time.time() - self._parts.started_at, 1)})

    async def ready(self, _: web.Request) -> web.Response:
        """Every chain is followed, by the rules of `monitor.health`; 503 where one is not."""
        found = troubles(self._parts.beside.vitals.read())
        blind = {trouble.chain for trouble in found if trouble.key.startswith("chain/")}
        chains = {item.name: self._chain(item, item.chain in blind) for item in self._parts.watch.followed.values()}
        hangs = any(trouble.key == "consumer" for trouble in found)
        ready = not hangs and all(entry["ready"] for entry in chains.values())
        told = {"ready": ready, "chains": chains, "channels": self._parts.ailing.states()}
        return web.json_response(told, status=200 if ready else 503)

    def _chain(self, item: Any, blind: bool) -> dict[str, Any]:
        follower = item.follower
        return {
            "ready": not blind and follower.head is not None and follower.tip is not None,
            "block": follower.tip.number if follower.tip else None,
            "lag": follower.lag,
            "trouble": follower.last_error,
            "filling": str(progress) if (progress := _filling(item)) is not None else None,
        }

    async def metrics(self, _: web.Request) -> web.Response:
        """Prometheus text."""
        return web.Response(text=metrics(self._parts), headers={"Content-Type": "text/plain; version=0.0.4"})

    async def coverage(self, _: web.Request) -> web.Response:
        """Which blocks were scanned, and how."""
        from monitor.coverage import coverage_data

        left = {
            item.chain: progress.seconds_left
            for item in self._parts.watch.followed.values()
            if item.backfill is not None and (progress := item.backfill.progress) is not None
        }
        ranges = await self._parts.store.coverage()
        pipeline = self._parts.pipeline
        return web.json_response(coverage_data(ranges, pipeline.marks, left, pipeline.engine.policies.waiting()))


def _filling(item: Any) -> Any:
    """How far missed blocks are fetched, None where none are missing: history before the first start is no gap."""
    progress = item.backfill.progress if item.backfill is not None else None
    return progress if progress is not None and progress.what == "gap" else None
