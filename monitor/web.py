"""The monitor's HTTP interface: health, metrics, coverage, incidents; verdicts with a token."""

from __future__ import annotations

import hmac
import json
import time
from typing import Any

from aiohttp import web

from monitor.config import HttpConfig
from monitor.errors import ConfigError
from monitor.metrics import metrics
from monitor.published import incident_data
from monitor.verdicts import KINDS, verdict

__all__ = ["Site", "serve"]

STALE_SECONDS = 300.0  # without a new head for so long, or STALE_BLOCKS usual block times, a chain is not ready
STALE_BLOCKS = 12  # on a chain with random block times (Bitcoin's) one pause in 160,000 is longer


class Site:
    """A running interface; ``address`` is ``host:port``."""

    def __init__(self, runner: web.AppRunner, address: str) -> None:
        self._runner = runner
        self.address = address

    async def aclose(self) -> None:
        """Stop listening."""
        await self._runner.cleanup()


async def serve(parts: Any, config: HttpConfig) -> Site:
    """Listen as the configuration says; ConfigError where the address cannot be had."""
    application = web.Application(client_max_size=64 * 1024)
    routes = _Routes(parts, config.token.get_secret_value() if config.token else None)
    application.add_routes(
        [
            web.get("/healthz", routes.health),
            web.get("/readyz", routes.ready),
            web.get("/metrics", routes.metrics),
            web.get("/coverage", routes.coverage),
            web.get("/incidents", routes.incidents),
            web.get("/incidents/{id}", routes.incident),
            *(web.post(f"/incidents/{{id}}/{word}", routes.say(word)) for word in KINDS),
        ]
    )
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, config.host, config.port)
        await site.start()
    except OSError as error:
        await runner.cleanup()
        raise ConfigError(f"http.listen: {config.listen} cannot be had: {error.strerror or error}") from None
    port = runner.addresses[0][1] if runner.addresses else config.port
    return Site(runner, f"[{config.host}]:{port}" if ":" in config.host else f"{config.host}:{port}")


class _Routes:
    def __init__(self, parts: Any, token: str | None) -> None:
        self._parts = parts
        self._token = token

    async def health(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "ok", "uptime_seconds": round(time.time() - self._parts.started_at, 1)})

    async def ready(self, _: web.Request) -> web.Response:
        chains = {item.name: self._chain(item) for item in self._parts.watch.followed.values()}
        ready = all(entry["ready"] for entry in chains.values())
        return web.json_response({"ready": ready, "chains": chains}, status=200 if ready else 503)

    def _chain(self, item: Any) -> dict[str, Any]:
        follower = item.follower
        # After a restart the head may be the very block that is stored: nothing new, and nothing wrong either.
        seen = follower.head_seen_at or self._parts.started_monotonic
        fresh = time.monotonic() - seen < max(STALE_SECONDS, STALE_BLOCKS * item.block_seconds)
        return {
            "ready": fresh and follower.head is not None and follower.tip is not None,
            "block": follower.tip.number if follower.tip else None,
            "lag": follower.lag,
            "trouble": follower.last_error,
            "filling": str(progress) if (progress := _filling(item)) is not None else None,
        }

    async def metrics(self, _: web.Request) -> web.Response:
        return web.Response(text=metrics(self._parts), headers={"Content-Type": "text/plain; version=0.0.4"})

    async def coverage(self, _: web.Request) -> web.Response:
        from monitor.coverage import coverage_data

        left = {
            item.chain: progress.seconds_left
            for item in self._parts.watch.followed.values()
            if item.backfill is not None and (progress := item.backfill.progress) is not None
        }
        ranges = await self._parts.store.coverage()
        pipeline = self._parts.pipeline
        return web.json_response(coverage_data(ranges, pipeline.marks, left, pipeline.engine.policies.waiting()))

    async def incidents(self, _: web.Request) -> web.Response:
        found = self._parts.pipeline.correlator.all()
        return web.json_response([incident_data(incident, self._parts.names) for incident in found])

    async def incident(self, request: web.Request) -> web.Response:
        records = self._parts.pipeline.correlator.records
        name = request.match_info["id"]
        if name not in records:
            return web.json_response({"error": f"no incident {name!r}"}, status=404)
        return web.json_response(incident_data(self._parts.pipeline.correlator.incident(name), self._parts.names))

    def say(self, word: str) -> Any:
        async def handler(request: web.Request) -> web.Response:
            given = request.headers.get("Authorization", "")
            if self._token is None:
                return web.json_response({"error": "set http.token in the configuration to allow this"}, status=403)
            if not hmac.compare_digest(given.encode(errors="surrogateescape"), f"Bearer {self._token}".encode()):
                return web.json_response({"error": "wrong or missing bearer token"}, status=401)
            name = request.match_info["id"]
            if name not in self._parts.pipeline.correlator.records:
                return web.json_response({"error": f"no incident {name!r}"}, status=404)
            try:
                by, comment = await _who_and_why(request)
            except ValueError as error:
                return web.json_response({"error": str(error)}, status=400)
            await self._parts.store.say(verdict(word, name, by=by, comment=comment, at=time.time()))
            return web.json_response({"said": word, "incident": name, "effective": "at the next block"}, status=202)

        return handler


def _filling(item: Any) -> Any:
    """How far missed blocks are fetched, None where none are missing: history before the first start is no gap."""
    progress = item.backfill.progress if item.backfill is not None else None
    return progress if progress is not None and progress.what == "gap" else None


async def _who_and_why(request: web.Request) -> tuple[str, str]:
    """``by`` and ``comment`` from the query, or from a JSON object as body; ValueError says what was expected."""
    try:
        text = await request.text()
        given = json.loads(text) if text.strip() else {}
    except ValueError:
        given = None
    if not isinstance(given, dict) or not all(isinstance(given.get(key, ""), str) for key in ("by", "comment")):
        raise ValueError('the body was no JSON object such as {"by": "alice", "comment": "our own payment"}')
    named = {**request.query, **given}
    return named.get("by") or "http", named.get("comment", "")
