"""Incidents over HTTP: as data, as a page, and what people say of them with the bearer token."""

from __future__ import annotations

import time
from typing import Any

from aiohttp import web

from monitor.published import incident_data
from monitor.verdicts import verdict
from monitor.web.asked import json_object
from monitor.web.guard import Guard
from monitor.web.incident_page import heading, whole
from monitor.web.known import Found, Known
from monitor.web.page import page, text

__all__ = ["Incidents", "incident_page"]


class Incidents:
    """Handlers over a running monitor. Reading needs no token: what must not be seen is not to be listened on."""

    def __init__(self, parts: Any, known: Known, guard: Guard) -> None:
        self._parts = parts
        self._known = known
        self._guard = guard

    async def all(self, _: web.Request) -> web.Response:
        """Every incident, oldest first."""
        found = self._parts.pipeline.correlator.all()
        return web.json_response([incident_data(incident, self._parts.names) for incident in found])

    async def one(self, request: web.Request) -> web.Response:
        """One incident: JSON, or a page for a browser."""
        name = request.match_info["id"]
        found = await self._known.find(name)
        wants_page = _prefers_html(request.headers.get("Accept", ""))
        if found is None:
            if wants_page:
                return page("no such incident", f"<h1>No incident {text(name)}</h1>", 404)
            return web.json_response({"error": f"no incident {name!r}"}, status=404)
        if wants_page:
            return await incident_page(self._known, found)
        return web.json_response(found.data)

    def say(self, word: str) -> Any:
        """A handler of one verdict."""

        async def handler(request: web.Request) -> web.Response:
            refused = self._guard.refused(request)
            if refused is not None:
                return refused
            name = request.match_info["id"]
            found = await self._known.find(name)
            if found is None:
                return web.json_response({"error": f"no incident {name!r}"}, status=404)
            try:
                by, comment = await _who_and_why(request)
            except ValueError as error:
                return web.json_response({"error": str(error)}, status=400)
            await self._known.say(verdict(word, found.id, by=by, comment=comment, at=time.time()))
            return web.json_response({"said": word, "incident": found.id, "effective": "at the next block"}, status=202)

        return handler


async def incident_page(known: Known, found: Found) -> web.Response:
    """Everything about an incident, for people."""
    body = whole(found, await known.timeline(found), await known.silences(found, time.time()))
    return page(heading(found), body)


def _prefers_html(accept: str) -> bool:
    """Whether ``text/html`` is asked for at least as much as JSON; without a word JSON is.

    >>> _prefers_html("text/html,application/xhtml+xml,*/*;q=0.8"), _prefers_html("*/*"), _prefers_html("")
    (True, False, False)
    >>> _prefers_html("application/json, text/html;q=0.5")
    False
    """
    weight = {"text/html": 0.0, "application/json": 0.0}
    for part in accept.split(","):
        kind, *parameters = (piece.strip().lower() for piece in part.split(";"))
        if kind in weight:
            given = next((p[2:] for p in parameters if p.startswith("q=")), "1")
            try:
                weight[kind] = float(given)
            except ValueError:
                weight[kind] = 0.0
    return weight["text/html"] > 0 and weight["text/html"] >= weight["application/json"]


async def _who_and_why(request: web.Request) -> tuple[str, str]:
    """``by`` and ``comment`` from the query, or from a JSON object as body; ValueError says what was expected."""
    given = await json_object(request)
    if given is None or not all(isinstance(given.get(key, ""), str) for key in ("by", "comment")):
        raise ValueError('the body was no JSON object such as {"by": "alice", "comment": "our own payment"}')
    named = {**request.query, **given}
    return named.get("by") or "http", named.get("comment", "")
