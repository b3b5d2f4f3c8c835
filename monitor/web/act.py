"""Links in messages: ``GET /act/TOKEN`` shows what would be said, ``POST`` says it, once.

Chats and scanners of mail fetch what they see, so a GET changes nothing. The token in the path is the capability: it is
all that a request needs, so there is no session that another site could ride on.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import msgspec
from aiohttp import web

from monitor.ids import iso
from monitor.model import Severity
from monitor.store import read_note
from monitor.verdicts import linked_id, verdict
from monitor.web.guard import WINDOW, Guard
from monitor.web.hooks import Claim, Hooks
from monitor.web.incident_page import brief, heading
from monitor.web.incidents import incident_page
from monitor.web.known import Found, Known
from monitor.web.page import bounded, page, text

__all__ = ["Act"]

LINK = "link/"  # notes: links that were used, by their nonce
MOST_NAME, MOST_COMMENT = 80, 500  # characters
SAID: Mapping[str, tuple[str, str, str]] = {
    "acknowledge": ("ack", "Acknowledge", "You say that somebody looks at it: nobody else is called."),
    "confirm": ("confirm", "Confirm the theft", "You say that it is a theft: nothing of it is ever learned."),
    "false_alarm": (
        "false-alarm", "Mark as false alarm",
        "You say that it is none: its destinations become ordinary, up to the amounts seen.",
    ),
    "resolve": ("resolve", "Resolve", "You say that it is over: what comes later opens another incident."),
}  # fmt: skip
"""By action of a link: the word of the verdict, the button, what it means."""


class Used(msgspec.Struct, frozen=True):
    """A link that acted: ``by`` whom, when (UTC seconds), and until when the link would have been valid."""

    by: str
    at: float
    expires: int


class Act:
    """Handlers over a running monitor."""

    def __init__(self, parts: Any, known: Known, hooks: Hooks, guard: Guard) -> None:
        self._store = parts.store
        self._known = known
        self._read = hooks.read
        self._guard = guard

    async def look(self, request: web.Request) -> web.Response:
        """The page of a link; it acts on nothing."""
        claim = self._claim(request)
        if isinstance(claim, web.Response):
            return claim
        found = await self._known.find(claim.incident_id)
        if found is None:
            return _unknown()
        if claim.action == "incident":
            return await incident_page(self._known, found)
        used = await self._used(claim)
        if used is not None:
            return _already(claim, found, used)
        return _form(claim, found, await self._before(claim, found))

    async def act(self, request: web.Request) -> web.Response:
        """Say what the link is for."""
        claim = self._claim(request)
        if isinstance(claim, web.Response):
            return claim
        found = await self._known.find(claim.incident_id)
        if found is None:
            return _unknown()
        if claim.action not in SAID:
            return page("nothing to do", "<h1>This link shows, it does not act.</h1>", 405, {"Allow": "GET, HEAD"})
        used = await self._used(claim)
        if used is not None:
            return _already(claim, found, used)
        try:
            form = await request.post()
        except (ValueError, LookupError):  # LookupError: a charset that nobody knows
            return page("not understood", "<h1>This form was not understood.</h1>", 400)
        if _grew(claim, found, _field(form, "seen")):
            return _form(claim, found, "It has grown since you opened this page: look again.", 409)
        by = bounded(_field(form, "by"), MOST_NAME) or f"{claim.receiver} (by link)"
        return await self._say(claim, found, by, bounded(_field(form, "comment"), MOST_COMMENT))

    async def _say(self, claim: Claim, found: Found, by: str, comment: str) -> web.Response:
        """First the verdict, whose id follows from the link, then the note that the link was used.

        A kill between the two costs nothing: the link is used again, and the store keeps the first of the verdicts.
        """
        word, now = SAID[claim.action][0], time.time()
        await self._known.say(verdict(word, found.id, by=by, comment=comment, at=now, nonce=claim.nonce))
        name = linked_id(claim.nonce)
        kept = next((event for event in await self._known.said(found) if event.id == name), None)
        used = Used(kept.by, kept.at, claim.expires) if kept is not None else Used(by, now, claim.expires)
        key = LINK + claim.nonce
        if not await self._store.note([(key, msgspec.json.encode(used))], expect=[(key, None)]):
            return _already(claim, found, await self._used(claim) or used)  # two pressed at once
        await self._forget(now)
        return _done(claim, found, used)

    def _claim(self, request: web.Request) -> Claim | web.Response:
        claim = self._read(request.match_info["token"], time.time()) if self._read is not None else "forged"
        if not isinstance(claim, str):
            return claim
        if claim == "expired":
            return page("link expired", "<h1>This link has expired.</h1><p>A later message has a newer one.</p>", 410)
        if self._guard.is_over(request):
            return page("too many", "<h1>Too many wrong links.</h1>", 429, {"Retry-After": f"{WINDOW:.0f}"})
        self._guard.count(request)
        return page("wrong link", "<h1>This link is not valid.</h1><p>Open it as it stands in the message.</p>", 403)

    async def _used(self, claim: Claim) -> Used | None:
        key = LINK + claim.nonce
        value = next((value for name, value in await self._store.notes(key) if name == key), None)
        return read_note(value, Used, "a used link") if value is not None else None

    async def _before(self, claim: Claim, found: Found) -> str:
        """Who said the same before, through another link or elsewhere."""
        word = SAID[claim.action][0]
        kind = {"ack": "acknowledge"}.get(word, word)
        last = next((event for event in reversed(await self._known.said(found)) if event.kind == kind), None)
        return f"{_past(claim)} before by {last.by} at {iso(last.at)}." if last is not None else ""

    async def _forget(self, now: float) -> None:
        """Links that are over need no note: they are refused for that."""
        gone = []
        for name, value in await self._store.notes(LINK):
            if read_note(value, Used, "a used link").expires < now:
                gone.append((name, None))
        if gone:
            await self._store.note(gone)


def _field(form: Mapping[str, Any], name: str) -> str:
    value = form.get(name, "")
    return value.strip() if isinstance(value, str) else ""


def _grew(claim: Claim, found: Found, seen: str) -> bool:
    """Whether an incident is worse than the page that is answered showed it: nobody judged that."""
    if claim.action == "confirm" or found.incident is None or not seen:
        return False
    try:
        return found.incident.severity > Severity.parse(seen)
    except ValueError:
        return False


def _past(claim: Claim) -> str:
    """What was done, as a word."""
    return {"acknowledge": "Acknowledged", "confirm": "Confirmed", "resolve": "Resolved"}.get(
        claim.action, "Marked as false alarm"
    )


def _form(claim: Claim, found: Found, before: str, status: int = 200) -> web.Response:
    _, button, meaning = SAID[claim.action]
    said = f"<p><strong>{text(before)}</strong></p>" if before else ""
    form = (
        f'<form method="post"><input type="hidden" name="seen" value="{text(found.data["severity"])}">'
        f'<label>Your name <input name="by" maxlength="{MOST_NAME}" autocomplete="name" enterkeyhint="next"></label>'
        f'<label>Comment <textarea name="comment" rows="2" maxlength="{MOST_COMMENT}"></textarea></label>'
        f"<button>{text(button)}</button></form>"
        f'<p class="soft">{text(meaning)} This link was sent to {text(claim.receiver, 80)}; it is valid once, until '
        f"{text(iso(claim.expires))}.</p>"
    )
    return page(heading(found), f"{brief(found)}{said}{form}", status)


def _done(claim: Claim, found: Found, used: Used) -> web.Response:
    said = f"<h1>{_past(claim)} by {text(used.by)}</h1><p>at {text(iso(used.at))}. Escalation has stopped; "
    said += "it is in force at the next block.</p>"
    return page(f"{_past(claim)}: {heading(found)}", said + brief(found))


def _already(claim: Claim, found: Found, used: Used) -> web.Response:
    said = f"<h1>This link was already used</h1><p>{_past(claim)} by {text(used.by)} at {text(iso(used.at))}.</p>"
    return page(f"already used: {heading(found)}", said + brief(found), 410)


def _unknown() -> web.Response:
    return page("no such incident", "<h1>There is no such incident.</h1>", 404)
