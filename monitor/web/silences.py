"""Silences over HTTP, all with the bearer token: a silence hides alarms, and shows what people do not hear."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from monitor.config.shape import parse_duration
from monitor.errors import ConfigError, Problem
from monitor.ids import from_iso
from monitor.registry import did_you_mean
from monitor.web.asked import json_object
from monitor.web.guard import Guard
from monitor.web.hooks import Hooks

__all__ = ["SilenceRoutes"]

KEYS = ("match", "for", "until", "by", "comment")
EXAMPLE = '{"match": {"severity": ["low"]}, "for": "2h", "by": "alice", "comment": "moving cold wallets"}'


class SilenceRoutes:
    """Handlers; 404 where the monitor keeps no silences."""

    def __init__(self, hooks: Hooks, guard: Guard) -> None:
        self._silences = hooks.silences
        self._guard = guard

    async def all(self, request: web.Request) -> web.Response:
        """Those that hold."""
        if (refused := self._guard.refused(request)) is not None:
            return refused
        if self._silences is None:
            return _none()
        return web.json_response([dict(silence) for silence in await self._silences.all(time.time())])

    async def add(self, request: web.Request) -> web.Response:
        """A new one; 201 with it, or 400 with everything that is wrong."""
        if (refused := self._guard.refused(request)) is not None:
            return refused
        if self._silences is None:
            return _none()
        given = await json_object(request)
        if not given:
            return web.json_response({"error": f"the body was no JSON object such as {EXAMPLE}"}, status=400)
        try:
            silence = await self._add(given, time.time())
        except ConfigError as error:
            problems = [str(problem) for problem in error.problems]
            return web.json_response({"error": "; ".join(problems), "problems": problems}, status=400)
        return web.json_response(dict(silence), status=201)

    async def _add(self, given: Mapping[str, Any], now: float) -> Mapping[str, Any]:
        assert self._silences is not None
        problems = [Problem(f"unknown key {key!r}: {did_you_mean(key, KEYS)}") for key in given if key not in KEYS]
        try:
            expires = _end(given, now)
        except ValueError as error:
            problems.append(Problem(str(error)))
        if problems:
            raise ConfigError(problems)
        author, comment = (value if isinstance(value := given.get(key), str) else "" for key in ("by", "comment"))
        return await self._silences.add(given.get("match"), author=author, comment=comment, expires=expires, now=now)

    async def expire(self, request: web.Request) -> web.Response:
        """End one now."""
        if (refused := self._guard.refused(request)) is not None:
            return refused
        name = request.match_info["id"]
        if self._silences is None or not await self._silences.expire(name, time.time()):
            return web.json_response({"error": f"no silence {name!r}"}, status=404)
        return web.json_response({"expired": name})


def _end(given: Mapping[str, Any], now: float) -> float:
    """When a silence ends, from ``for`` (a length of time) or ``until`` (ISO 8601); ValueError says what is wrong."""
    if ("for" in given) == ("until" in given):
        raise ValueError("say either for, such as 2h, or until, such as 2026-01-31T08:00Z")
    if "until" in given:
        return float(from_iso(str(given["until"])))
    try:
        return now + parse_duration(given["for"])
    except ValueError as error:
        raise ValueError(f"for: {error}") from None


def _none() -> web.Response:
    return web.json_response({"error": "this monitor keeps no silences"}, status=404)
