"""The monitor's HTTP interface: health, metrics, coverage, incidents; verdicts and silences with a token, links."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from monitor.config import HttpConfig
from monitor.errors import ConfigError
from monitor.verdicts import KINDS
from monitor.web.act import Act
from monitor.web.asked import LOGGER
from monitor.web.guard import Guard
from monitor.web.hooks import Hooks
from monitor.web.incidents import Incidents
from monitor.web.known import Known
from monitor.web.silences import SilenceRoutes
from monitor.web.status import Status

__all__ = ["Hooks", "Site", "serve"]


class Site:
    """A running interface; ``address`` is ``host:port``."""

    def __init__(self, runner: web.AppRunner, address: str) -> None:
        self._runner = runner
        self.address = address

    async def aclose(self) -> None:
        """Stop listening."""
        await self._runner.cleanup()


async def serve(parts: Any, config: HttpConfig, hooks: Hooks | None = None) -> Site:
    """Listen as the configuration says; ConfigError where the address cannot be had.

    Parameters
    ----------
    parts : a running monitor, see `monitor.running.Parts`
    hooks : what alerts know: links and silences; without them those are refused
    """
    application = web.Application(client_max_size=64 * 1024)
    application.add_routes(_routes(parts, config, hooks or Hooks()))
    runner = web.AppRunner(application, access_log=None, logger=LOGGER)
    await runner.setup()
    try:
        site = web.TCPSite(runner, config.host, config.port)
        await site.start()
    except OSError as error:
        await runner.cleanup()
        raise ConfigError(f"http.listen: {config.listen} cannot be had: {error.strerror or error}") from None
    port = runner.addresses[0][1] if runner.addresses else config.port
    return Site(runner, f"[{config.host}]:{port}" if ":" in config.host else f"{config.host}:{port}")


def _routes(parts: Any, config: HttpConfig, hooks: Hooks) -> list[web.RouteDef]:
    guard = Guard(config.token.get_secret_value() if config.token else None)
    known = Known(parts, hooks)
    status, incidents = Status(parts), Incidents(parts, known, guard)
    # Links may be open to strangers while verdicts are not, through a proxy that is one peer: they are counted apart.
    act, silences = Act(parts, known, hooks, Guard(None)), SilenceRoutes(hooks, guard)
    return [
        web.get("/healthz", status.health),
        web.get("/readyz", status.ready),
        web.get("/metrics", status.metrics),
        web.get("/coverage", status.coverage),
        web.get("/incidents", incidents.all),
        web.get("/incidents/{id}", incidents.one),
        *(web.post(f"/incidents/{{id}}/{word}", incidents.say(word)) for word in KINDS),
        web.get("/act/{token}", act.look),
        web.post("/act/{token}", act.act),
        web.get("/silences", silences.all),
        web.post("/silences", silences.add),
        web.delete("/silences/{id}", silences.expire),
    ]
