"""Messages in a room of a Matrix homeserver.

The requests are those of the Matrix specification, https://spec.matrix.org/v1.11/client-server-api/ :

- "Sending events to a room", PUT .../send/m.room.message/{txnId}; "m.room.message msgtypes", with the tags that
  ``org.matrix.custom.html`` may have; "User and room mentions" (``m.mentions``)
- "Threading" (``m.thread``) and "Event replacements" (``m.replace``)
- "Room aliases", GET .../directory/room/{roomAlias}; "Content repository", POST /_matrix/media/v3/upload
- "Standard error response" and "Rate limiting"
"""

from __future__ import annotations

import asyncio
import base64
import json
import math
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from yarl import URL

from alerts.base import ChannelTraits, Receipt
from alerts.chart import SIZE, chart_png
from alerts.chat import said
from alerts.html import TemplateEscape, fragment, text_of
from alerts.http import Answer, HttpSender, receipt_of
from alerts.message import Message, message_of
from alerts.options import Options
from alerts.plain import plain_text, trimmed
from alerts.template import Templates
from alerts.text import encodable
from monitor.ids import canonical_json, stable_id
from monitor.model import Alert, Outcome, Reason
from monitor.store import OutboxRow

__all__ = ["MatrixChannel"]

EVENT_BYTES = 28_000
"""What a content may have: an event has 65,536 bytes, an edited one says everything twice, and servers add fields."""

CHARACTERS = (4000, 1000, 200)
"""Of a message's lines and values; the first that gives an event small enough is taken."""

LOOK_SECONDS = 600.0
"""So long it is believed that the room is there and not encrypted."""

_OPTIONS = ("homeserver", "token", "room", "chart", "edit", "template", "timeout")
_ROOM = re.compile(r"[!#][^\s]{1,254}")
_AUTH = frozenset(("M_FORBIDDEN", "M_UNKNOWN_TOKEN", "M_MISSING_TOKEN", "M_USER_DEACTIVATED", "M_USER_LOCKED"))
_KNOWN = re.compile(r"[A-Z][A-Z_]{2,60}")  # an error code; anything else that a server writes is not shown


class MatrixChannel(ChannelTraits):
    """Posts alerts to a Matrix room, as HTML and plain text.

    Updates go into the thread of the incident's first message; whatever must be seen (that it escalated, is still open,
    resolved or retracted) is a reply to it in the room, since programs fold threads away.

    Options
    -------
    homeserver : its address, ``https://matrix.example.com``
    token : access token of the account that posts; it must be a member of the room
    room : ``!id:server`` or ``#alias:server``
    chart : true posts the chart as a picture after the message that opens an incident or escalates it
    edit : true changes the first message where an incident is only updated, in place of a message in the thread
    template : ``title`` and ``body`` (HTML) in place of our own
    timeout : seconds for each request, 10 unless told

    Transaction ids are made of the alert's id: a message that is sent twice is posted once. Encrypted rooms are not
    supported: homeservers pass unencrypted messages into them, so the channel looks and refuses (a dead letter).
    """

    type = "matrix"
    templated = True
    threads = True

    def __init__(self, options: Mapping[str, Any]) -> None:
        given = Options(self.type, options, _OPTIONS)
        self._homeserver = given.address("homeserver", required=True)
        if self._homeserver.user or self._homeserver.query_string or self._homeserver.fragment:
            given.wrong("homeserver carries more than a host and a path: give the token as token")
        self._token = _token(given)
        self._room = given.text("room", required=True)
        if self._room and not _ROOM.fullmatch(self._room):
            given.wrong("room must be a room's id or alias, such as !abc:example.com or #alarms:example.com")
        self._chart, self._edit = given.flag("chart"), given.flag("edit")
        timeout = given.seconds("timeout", 10.0, 120.0)
        own = given.mapping("template")
        given.check()
        self._escape = TemplateEscape()
        self._templates = Templates(own, self._escape)
        self._own_title = "title" in own
        self._http = HttpSender(timeout)
        self._room_id = ""  # once it is known that the room is there and not encrypted
        self._looked_at = -math.inf
        self._looking = asyncio.Lock()

    @property
    def host(self) -> str:
        """The homeserver's host."""
        return self._homeserver.host or ""

    def __repr__(self) -> str:
        return f"MatrixChannel(host={self.host!r})"

    def render(self, alert: Alert, queued_at: float) -> bytes:
        """The content of the event, and the chart beside it, as JSON."""
        message = message_of(alert, queued_at)
        content = self._fitting(message)
        kind = message.type.partition(".")[2]
        place = ("edit" if self._edit else "thread") if kind == "updated" else "reply"
        frozen: dict[str, Any] = {"content": content, "place": place}
        if self._chart and kind in ("opened", "escalated") and (png := chart_png(alert)):
            frozen["chart"] = base64.b64encode(png).decode()
        return canonical_json(encodable(frozen))

    def preview(self, body: bytes) -> str:
        """A rendered message as readable text."""
        frozen = json.loads(body)
        also = "with a chart" if "chart" in frozen else "no chart"
        return f"(also as HTML, {also})\n\n{frozen['content']['body'].rstrip()}"

    async def send(self, row: OutboxRow, now: float) -> Receipt:
        """One attempt: the message, then its chart. A chart that does not arrive is no reason to repeat the message."""
        if refusal := await self._look(now):
            return refusal
        frozen = json.loads(row.body)
        content = _related(frozen["content"], row.reply_to, frozen["place"])
        receipt = await self._post(row, content, "", now)
        if receipt.outcome is Outcome.ACCEPTED and "chart" in frozen:
            png = base64.b64decode(frozen["chart"])
            if trouble := await self._post_chart(row, png, row.reply_to or receipt.external_id or "", now):
                return Receipt(receipt.outcome, receipt.reason, None, receipt.external_id, f"without chart: {trouble}")
        return receipt

    async def probe(self, now: float) -> Receipt:
        """Whether the token holds, the room is there, and is not encrypted."""
        host = self._homeserver.host
        return await self._look(now) or Receipt(Outcome.ACCEPTED, Reason.OK, detail=f"{host} shows the room")

    async def aclose(self) -> None:
        """Close the connections; the next `send` opens new ones."""
        await self._http.aclose()

    # -- the message -------------------------------------------------------------------------------------------------

    def _fitting(self, message: Message) -> dict[str, Any]:
        """Letters of four bytes, or nothing but what must be escaped, leave room for fewer of them."""
        for characters in CHARACTERS:
            content = self._content(trimmed(message, characters), own=True)
            if len(canonical_json(content)) <= EVENT_BYTES:
                return content
        return self._content(trimmed(message, CHARACTERS[-1]), own=False)  # the owner's template is what is long

    def _content(self, message: Message, *, own: bool) -> dict[str, Any]:
        title = self._escape.applied(self._templates.title, message) if own and self._own_title else None
        body = self._escape.applied(self._templates.body, message) if own else None
        return {
            "msgtype": "m.text",
            "body": plain_text(message, None if body is None else text_of(body)).rstrip("\n"),
            "format": "org.matrix.custom.html",
            "formatted_body": fragment(message, title=title, body=body),
            "m.mentions": {},  # nobody, whatever the text says
        }

    # -- requests ----------------------------------------------------------------------------------------------------

    async def _look(self, now: float) -> Receipt | None:
        """Find the room and see that it is not encrypted, now and then; a receipt where there is trouble."""
        async with self._looking:
            if self._room_id and 0 <= now - self._looked_at < LOOK_SECONDS:
                return None
            room = self._room
            if room.startswith("#"):
                answer = await self._request("GET", f"/_matrix/client/v3/directory/room/{_quoted(room)}")
                if isinstance(answer, Receipt) or not 200 <= answer.status < 300:
                    return self._receipt(answer, now, "there is no room of that alias")
                room = _text(answer, "room_id")
                if not room:
                    return self._odd()
            path = f"/_matrix/client/v3/rooms/{_quoted(room)}/state/m.room.encryption"
            answer = await self._request("GET", path)
            if isinstance(answer, Receipt):
                return answer
            if 200 <= answer.status < 300 and not answer.body.lstrip().startswith(b"{"):
                return self._odd()
            if 200 <= answer.status < 300:
                detail = "the room is encrypted, which is not supported: use a room without encryption"
                return Receipt(Outcome.REJECTED, Reason.CLIENT_ERROR, detail=f"{self.host}: {detail}")
            if (
                answer.status != 404 or _text(answer, "errcode") != "M_NOT_FOUND"
            ):  # so it says that there is no such state
                return self._receipt(answer, now, "the room was not found")
            self._room_id, self._looked_at = room, now
            return None

    async def _post(self, row: OutboxRow, content: Mapping[str, Any], part: str, now: float) -> Receipt:
        transaction = stable_id("matrix", row.alert_id, row.receiver, row.channel, part)
        path = f"/_matrix/client/v3/rooms/{_quoted(self._room_id)}/send/m.room.message/{transaction}"
        answer = await self._request("PUT", path, canonical_json(content))
        if isinstance(answer, Answer) and 200 <= answer.status < 300 and not _text(answer, "event_id"):
            return self._odd()
        return self._receipt(answer, now)

    async def _post_chart(self, row: OutboxRow, png: bytes, root: str, now: float) -> str:
        """Nothing where it went well, else what went wrong."""
        answer = await self._request("POST", "/_matrix/media/v3/upload?filename=chart.png", png, "image/png")
        where = _text(answer, "content_uri") if isinstance(answer, Answer) and 200 <= answer.status < 300 else ""
        if not where.startswith("mxc://"):
            return self._receipt(answer, now).detail
        info = {"mimetype": "image/png", "size": len(png), "w": SIZE[0], "h": SIZE[1]}
        content = {"msgtype": "m.image", "body": "chart.png", "url": where, "info": info, "m.mentions": {}}
        receipt = await self._post(row, _related(content, root, "thread"), "chart", now)
        return "" if receipt.outcome is Outcome.ACCEPTED else receipt.detail

    async def _request(
        self, method: str, path: str, body: bytes | None = None, kind: str = "application/json"
    ) -> Answer | Receipt:
        url = URL(str(self._homeserver).rstrip("/") + path, encoded=True)
        headers = {"Authorization": f"Bearer {self._token}"}
        if body is not None:
            headers["Content-Type"] = kind
        return await self._http.request(method, url, body=body, headers=headers)

    def _receipt(self, answer: Answer | Receipt, now: float, missing: str = "") -> Receipt:
        """By status, and by the error code of the specification where there is one."""
        if isinstance(answer, Receipt):
            return answer
        code = _text(answer, "errcode")
        if code in ("M_UNKNOWN_TOKEN", "M_MISSING_TOKEN") or answer.status in (403, 404):
            self._looked_at = -math.inf  # look again before the next message: the account may have left the room
        pause = _pause(answer) if code == "M_LIMIT_EXCEEDED" else None
        receipt = receipt_of(self.host, answer, now, external_id=_text(answer, "event_id") or None, pause=pause)
        if receipt.outcome is Outcome.ACCEPTED:
            return receipt
        reason = Reason.AUTH if code in _AUTH and receipt.outcome is Outcome.REJECTED else receipt.reason
        said = f"{receipt.detail} ({code})" if _KNOWN.fullmatch(code) else receipt.detail
        hint = {"M_NOT_FOUND": missing, "M_FORBIDDEN": "the account must be a member of the room and may post"}.get(
            code
        )
        detail = f"{said}: {hint}" if hint else said
        return Receipt(receipt.outcome, reason, receipt.retry_after, detail=detail)

    def _odd(self) -> Receipt:
        detail = f"{self.host} answered something that is not Matrix: is the address that of the homeserver?"
        return Receipt(Outcome.RETRY, Reason.SERVER_ERROR, detail=detail)


def _related(content: Mapping[str, Any], first: str | None, place: str) -> dict[str, Any]:
    """``content`` as a reply to the incident's ``first`` message, in its thread, or instead of it."""
    if not first:
        return dict(content)
    if place == "edit":
        starred = {"body": f"* {content['body']}", "formatted_body": f"* {content['formatted_body']}"}
        replaced = {"rel_type": "m.replace", "event_id": first}
        return {**content, **starred, "m.new_content": dict(content), "m.relates_to": replaced}
    relation: dict[str, Any] = {"m.in_reply_to": {"event_id": first}}
    if place == "thread":
        # Programs that know no threads show the reply.
        relation |= {"rel_type": "m.thread", "event_id": first, "is_falling_back": True}
    return {**content, "m.relates_to": relation}


def _token(given: Options) -> str:
    token = given.text("token", required=True)
    if token and not (token.isascii() and token.isprintable() and " " not in token):
        given.wrong("token is no access token")
    return token


def _quoted(text: str) -> str:
    return quote(text, safe="")


def _text(answer: Answer | Receipt, name: str) -> str:
    """A text in a JSON answer; empty where it is not there."""
    if isinstance(answer, Receipt):
        return ""
    value = said(answer).get(name)
    return value if isinstance(value, str) else ""


def _pause(answer: Answer) -> float | None:
    """Seconds that the body asks to wait; of old homeservers, new ones say it in the header, too."""
    value = said(answer).get("retry_after_ms")
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 1e10:
        return None
    return value / 1000
