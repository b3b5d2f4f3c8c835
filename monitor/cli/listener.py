"""A webhook receiver for people who set one up: it prints what comes, and says whether it holds."""

from __future__ import annotations

import asyncio
import hmac
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import click
from aiohttp import web
from pydantic import ValidationError

from alerts.breaker import signed_text
from alerts.payload import TYPES
from alerts.text import bounded, clean, encodable
from alerts.verify import Inbox, Proof, Seen
from monitor.cli.common import count
from monitor.cli.show import bold, severity
from monitor.errors import ConfigError
from monitor.ids import iso
from monitor.web.asked import LOGGER

__all__ = ["BODY_BYTES", "Listener"]

BODY_BYTES = 1_000_000
"""A larger body is refused."""

UNCHECKED = "not checked, for no request secret is given"
SHOWN = 400  # characters of a title, or of what is wrong


class Listener:
    """Takes webhooks in at any path.

    A message that verifies gets the status ``answer``, one that does not 401, one that is too large 413, and anything
    but POST 405.

    Parameters
    ----------
    keys : secrets as bytes; one that holds is enough
    answer : status for messages that verify
    retry_after : seconds of pause to ask for in those answers
    most : `ended` is set after so many messages, whatever they show
    as_json : print JSON lines instead of text
    request_secrets : second secrets of circuit breakers; one that holds is enough
    clock : wall clock, UTC seconds
    """

    def __init__(
        self,
        keys: Sequence[bytes],
        *,
        answer: int = 204,
        retry_after: int | None = None,
        most: int | None = None,
        as_json: bool = False,
        request_secrets: Sequence[str] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.ended = asyncio.Event()
        self.most = most
        self._keys = len(keys)
        self._inbox = Inbox(keys)
        self._answer = answer
        self._headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
        self._as_json = as_json
        self._request_secrets = request_secrets
        self._clock = clock
        self._counts: Counter[str] = Counter()

    @property
    def refused(self) -> int:
        """How many messages did not verify."""
        return sum(number for what, number in self._counts.items() if what not in (Proof.VERIFIED, "repeated"))

    @asynccontextmanager
    async def serving(self, host: str, port: int) -> AsyncIterator[str]:
        """Listen; gives the address. ConfigError where that is not possible."""
        application = web.Application(client_max_size=BODY_BYTES)
        application.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(application, access_log=None, logger=LOGGER, shutdown_timeout=1.0)
        await runner.setup()
        try:
            try:
                await web.TCPSite(runner, host, port).start()
            except OSError as error:
                raise ConfigError(f"{host}:{port} cannot be listened on: {error.strerror or 'no such host'}") from None
            bound = runner.addresses[0][1]
            yield f"http://{f'[{host}]' if ':' in host else host}:{bound}/"
        finally:
            await runner.cleanup()

    def begin(self, url: str, made: str | None) -> None:
        """Say where, and with which secret where one was ``made``."""
        if self._as_json:
            self._line({"event": "listening", "url": url, **({"secret": made} if made else {})})
            return
        click.echo(f"listening on {url} (any path); Ctrl-C ends it")
        if made is None:
            click.echo(f"verifying with {count(self._keys, 'secret')}")
            return
        click.echo("no secret was given, so this one is new. To have alerts sent here, put into the configuration:\n")
        channel = f'{{type: webhook, url: "{url}", secret: "{made}"}}'
        click.echo(f"receivers:\n  - name: listen\n    channels:\n      - {channel}\nroute: {{receiver: listen}}\n")

    def end(self) -> None:
        """Say how many came, and how they were."""
        total = self._counts.total()
        if self._as_json:
            self._line({"event": "ended", "messages": total, "counts": dict(sorted(self._counts.items()))})
            return
        parts = [f"{number:,} {what}" for what, number in self._counts.most_common()]
        click.echo(f"{count(total, 'message')}{': ' if parts else ''}{', '.join(parts)}")

    async def _handle(self, request: web.Request) -> web.Response:
        now = self._clock()
        if request.method != "POST":
            return web.Response(status=405, headers={"Allow": "POST"}, text="send webhooks with POST\n")
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            self._count(now, f"over {BODY_BYTES:,} bytes", 413)
            return web.Response(status=413, headers={"Connection": "close"})
        seen = self._inbox.take(request.headers, body, now)
        status = self._answer if seen.verified else 401
        self._show(seen, body, now, status)
        return web.Response(status=status, headers=self._headers if seen.verified else None)

    def _show(self, seen: Seen, body: bytes, now: float, status: int) -> None:
        message, fault = read(body)
        asked = self._asked(message, fault)
        self._tally("repeated" if seen.repeated else str(seen.proof))
        if self._as_json:
            self._line({**_record(seen, message, fault, now, status), **({"request": asked} if asked else {})})
        else:
            for line in self._lines(seen, message, fault, now, status):
                self._say(line)
            if asked:
                self._say(f"    {_request_line(message['data']['request'], asked)}")
        self._check_end()

    def _lines(self, seen: Seen, message: Mapping[str, Any], fault: str, now: float, status: int) -> list[str]:
        data, about = _about(message)
        word = about["severity"] or about["type"].partition(".")[2] or "?"
        title = about["title"].removeprefix(f"{word.upper()}: ")
        head = f"{iso(round(now, 3))}  {severity(_line(word))} {_line(about['type']) or '-'}  {bold(_line(title))}"
        incident = data.get("incident")
        parts = [f"id {_line(seen.id) or '-'}"]
        if isinstance(incident, Mapping):
            parts.append(f"incident {_line(incident.get('id'))}, revision {_line(incident.get('revision'))}")
        parts += [f"queued {_line(message.get('timestamp'))}", f"answered {status}"]
        lines = [head, f"    {self._verdict(seen)}; {'; '.join(parts)}"]
        if fault and seen.verified:
            lines.append(f"    its form is not that of this version: {fault}")
        return lines

    def _verdict(self, seen: Seen) -> str:
        if seen.proof is Proof.VERIFIED:
            key = f" with secret {(seen.key or 0) + 1} of {self._keys}" if self._keys > 1 else ""
            again = f", REPEATED id{', OTHER BYTES than before' if seen.changed else ', same bytes'}"
            return f"verified{key}{again if seen.repeated else ''}"
        late = f" by {abs(seen.age or 0.0):,.0f} s" if seen.proof in (Proof.OLD, Proof.EARLY) else ""
        return bold(f"{str(seen.proof).upper()}{late}: not to be believed")

    def _asked(self, message: Mapping[str, Any], fault: str) -> str:
        """Whether a circuit breaker's request holds by its own signature; empty where the message is none."""
        if fault or not str(message["type"]).startswith("breaker."):
            return ""
        if not self._request_secrets:
            return UNCHECKED
        data = message["data"]
        text, given = signed_text(data["request"]).encode("utf-8", "surrogatepass"), data["request_signature"]
        made = [hmac.digest(secret.encode(), text, "sha256").hex() for secret in self._request_secrets]
        return "verified" if any(hmac.compare_digest(one, given) for one in made) else "wrong signature"

    def _count(self, now: float, what: str, status: int) -> None:
        """Something that is no message."""
        self._tally(what)
        if self._as_json:
            self._line({"event": "refused", "at": iso(round(now, 3)), "why": what, "answered": status})
        else:
            self._say(f"{iso(round(now, 3))}  REFUSED: {what}; answered {status}")
        self._check_end()

    def _tally(self, what: str) -> None:
        self._counts[what] += 1

    def _check_end(self) -> None:
        if self.most is not None and self._counts.total() >= self.most:
            self.ended.set()

    def _line(self, value: Mapping[str, Any]) -> None:
        self._say(json.dumps(value))

    def _say(self, text: str) -> None:
        try:
            click.echo(text)
        except BrokenPipeError:  # `| head` has seen enough
            self.ended.set()


def read(body: bytes) -> tuple[Mapping[str, Any], str]:
    """A body as a mapping (empty where it is none), and what is wrong with its form (empty where nothing is)."""
    try:
        message = json.loads(body)
    except (ValueError, RecursionError):
        return {}, "no JSON"
    if not isinstance(message, dict):
        return {}, "no JSON object"
    form = TYPES.get(str(message.get("type")))
    if form is None:
        return message, "an unknown type"
    try:
        form.model_validate(message)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        return message, _line(f"{'.'.join(map(str, first['loc']))}: {first['msg']}")
    return message, ""


def _about(message: Mapping[str, Any]) -> tuple[Mapping[str, Any], dict[str, str]]:
    """``data``, and what of it is shown: whoever sent it may have written anything."""
    data = message.get("data")
    data = data if isinstance(data, Mapping) else {}
    if isinstance(data.get("alert"), Mapping):  # of a circuit breaker
        data = data["alert"]
    found = {"type": message.get("type"), "severity": data.get("severity"), "title": data.get("title")}
    return data, {name: value if isinstance(value, str) else "" for name, value in found.items()}


def _request_line(request: Mapping[str, Any], asked: str) -> str:
    """What a circuit breaker asks for."""
    shown = asked if asked in ("verified", UNCHECKED) else bold(f"{asked.upper()}: not to be believed")
    return f"request {request['action']} of {_line(request['entity'])}, holds until {request['expires_at']}: {shown}"


def _record(seen: Seen, message: Mapping[str, Any], fault: str, now: float, status: int) -> dict[str, Any]:
    return {
        "event": "message",
        "at": iso(round(now, 3)),
        "id": seen.id,
        "result": str(seen.proof),
        "verified": seen.verified,
        "repeated": seen.repeated,
        "changed": seen.changed,
        "secret": None if seen.key is None else seen.key + 1,
        "age_seconds": None if seen.age is None else round(seen.age, 3),
        "form": fault or None,
        "answered": status,
        "message": encodable(message),  # no NaN, which is no JSON
    }


def _line(value: object) -> str:
    """Anything as one line that can be shown."""
    return bounded(clean(str(value)), SHOWN) if value is not None else "-"
