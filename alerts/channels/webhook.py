"""Signed webhooks: HTTP POST as Standard Webhooks says, one attempt a call."""

from __future__ import annotations

import asyncio
import base64
import binascii
import math
import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import aiohttp
from standardwebhooks.webhooks import Webhook
from yarl import URL

from alerts.backoff import retry_after
from alerts.base import Receipt
from alerts.options import Options
from alerts.text import clean, encodable
from monitor.ids import canonical_json, iso
from monitor.model import Alert, Outcome, Reason
from monitor.store import OutboxRow

__all__ = ["WebhookChannel"]

ANSWER_BYTES = 64 * 1024  # of an answer that are read; there is nothing in it for us
MAKE_SECRET = "python3 -c \"import base64,os; print('whsec_'+base64.b64encode(os.urandom(32)).decode())\""

_OPTIONS = ("url", "secret", "secrets", "timeout", "headers")
_OURS = {"content-type", "content-length", "content-encoding", "transfer-encoding", "connection", "host", "user-agent"}
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_VALUE = re.compile(r"[\x20-\x7e]*")


class WebhookChannel:
    """Posts alerts as JSON, signed; see "Webhooks" in the documentation for the body.

    Options
    -------
    url : where to, ``https://`` (``http://`` too, for a receiver on this machine or a private network)
    secret : the Standard Webhooks secret that the receiver checks signatures with: base64, with or without ``whsec_``
    secrets : several of them while one replaces another; each adds a signature, `secret` is the first
    timeout : seconds for a whole attempt, 10 unless told
    headers : further headers, ``{Authorization: "Bearer ..."}`` for example

    What an answer means: any 2xx is an acceptance. 408, 425, 429, 5xx, a time-out and every failure of name look-up,
    connection or TLS are tried again, ``Retry-After`` honoured. 410, other 4xx (401 and 403 as ``auth``) and redirects,
    which are not followed, are dead letters at once. An answer that breaks off is no answer.
    """

    type = "webhook"

    def __init__(self, options: Mapping[str, Any]) -> None:
        given = Options(self.type, options, _OPTIONS)
        self._url = _url(given)
        self._signers = _signers(given)
        self._headers = _headers(given)
        if self._url.user is not None and any(name.lower() == "authorization" for name in self._headers):
            given.wrong("the address carries a user name and headers an Authorization: keep one of them")
        self._timeout = given.seconds("timeout", 10.0, 120.0)
        given.check()
        self._session: aiohttp.ClientSession | None = None

    @property
    def host(self) -> str:
        """The host of the address: the only part of it that may be shown."""
        return self._url.host or ""

    def __repr__(self) -> str:
        return f"WebhookChannel(host={self.host!r})"

    def render(self, alert: Alert, queued_at: float) -> bytes:
        """The JSON body: equal alerts queued at the same time give equal bytes."""
        data: dict[str, Any] = {
            "id": alert.id,
            "kind": str(alert.kind),
            "title": clean(alert.title),
            "body": clean(alert.body, lines=True),
            "labels": alert.labels,
            "runbook": alert.runbook,
            "incident": alert.incident,
        }
        if alert.severity is not None and not alert.type.startswith("monitor."):
            data["severity"] = str(alert.severity)
        return canonical_json(encodable({"type": alert.type, "timestamp": iso(queued_at), "data": data}))

    async def send(self, row: OutboxRow, now: float) -> Receipt:
        """One attempt, signed at wall clock ``now`` (UTC seconds)."""
        try:
            async with asyncio.timeout(self._timeout):
                return await self._post(row, now)
        except TimeoutError:
            return self._failed(Reason.TIMEOUT, f"did not answer within {self._timeout:g} s")
        except aiohttp.ClientConnectorCertificateError as error:
            why = getattr(error.certificate_error, "verify_message", "") or "not valid"
            return self._failed(Reason.TLS, f"showed a certificate that does not hold: {why}")
        except aiohttp.ClientSSLError:
            return self._failed(Reason.TLS, "could not agree on an encrypted connection")
        except aiohttp.ClientConnectorDNSError:
            return self._failed(Reason.CONNECTION, "has no address: the name look-up failed")
        except aiohttp.ClientConnectorError as error:
            why = os.strerror(error.os_error.errno) if error.os_error.errno else "no address answers"
            return self._failed(Reason.CONNECTION, f"could not be reached: {why}")
        except aiohttp.ClientResponseError:
            return self._failed(Reason.CONNECTION, "answered something that is not HTTP")
        except (aiohttp.ClientError, OSError):
            return self._failed(Reason.CONNECTION, "broke the connection off before its answer was whole")

    async def aclose(self) -> None:
        """Close the connections; the next `send` opens new ones."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _failed(self, reason: Reason, what: str) -> Receipt:
        return Receipt(Outcome.RETRY, reason, detail=f"{self.host} {what}")

    async def _post(self, row: OutboxRow, now: float) -> Receipt:
        if self._session is None or self._session.closed:
            self._session = aiohttp.ClientSession(
                auto_decompress=False,  # nothing in an answer is worth unpacking
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None),  # the whole attempt has one
            )
        headers = {**self._headers, **self._signature(row, now)}
        async with self._session.post(self._url, data=row.body, headers=headers, allow_redirects=False) as answer:
            left = ANSWER_BYTES
            while left > 0 and (piece := await answer.content.read(left)):
                left -= len(piece)
            if left <= 0:
                answer.close()  # whatever else it has to say
            return _receipt(self.host, answer.status, answer.headers, now)

    def _signature(self, row: OutboxRow, now: float) -> dict[str, str]:
        seconds = math.floor(now)
        moment = datetime.fromtimestamp(seconds, UTC)
        text = row.body.decode()
        return {
            "webhook-id": row.alert_id,
            "webhook-timestamp": str(seconds),
            "webhook-signature": " ".join(signer.sign(row.alert_id, moment, text) for signer in self._signers),
        }


def _receipt(host: str, status: int, headers: Mapping[str, str], now: float) -> Receipt:
    if 200 <= status < 300:
        return Receipt(Outcome.ACCEPTED, Reason.OK, detail=str(status))
    detail = f"{host} answered {status}"
    if 300 <= status < 400:
        detail += ", a redirect: they are not followed, configure the final address"
        return Receipt(Outcome.REJECTED, Reason.CLIENT_ERROR, detail=detail)
    if status in (408, 425, 429) or status >= 500:
        pause = retry_after(headers.get("Retry-After"), now, headers.get("Date"))
        reason = {408: Reason.TIMEOUT, 425: Reason.CLIENT_ERROR, 429: Reason.RATE_LIMITED}.get(status)
        return Receipt(Outcome.RETRY, reason or Reason.SERVER_ERROR, pause, detail=detail)
    reasons = {401: Reason.AUTH, 403: Reason.AUTH, 410: Reason.GONE}
    return Receipt(Outcome.REJECTED, reasons.get(status, Reason.CLIENT_ERROR), detail=detail)


def _url(given: Options) -> URL:
    text = given.text("url", required=True)
    if not text:
        return URL()
    try:
        url = URL(text)
        usable = url.scheme in ("http", "https") and bool(url.host) and url.port != 0
    except ValueError:  # its text quotes the address
        usable = False
    if not usable or re.search(r"\s", text):
        given.wrong("url is no address such as https://example.com/path (its value is not shown, it may be a secret)")
        return URL()
    return url


def _signers(given: Options) -> list[Webhook]:
    secret = given.text("secret")
    texts = [*([secret] if secret else []), *given.texts("secrets")]
    if not texts:
        given.wrong(f"it needs a secret to sign with; make one with: {MAKE_SECRET}")
    keys: dict[bytes, None] = {}
    for place, text in enumerate(texts, 1):
        key = _key(text)
        if key:
            keys[key] = None
        else:
            which = f"secret {place} of {len(texts)}" if len(texts) > 1 else "secret"
            given.wrong(f"the {which} is not base64 (with or without whsec_ before it); make one with: {MAKE_SECRET}")
    return [Webhook(key) for key in keys]


def _key(text: str) -> bytes:
    """The key in a secret, empty where it is none. Strict: receivers' libraries skip stray characters, each its own."""
    encoded = text.removeprefix("whsec_").rstrip("=")
    try:
        return base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError):
        return b""


def _headers(given: Options) -> dict[str, str]:
    headers = {"Content-Type": "application/json", "User-Agent": f"heistwatch/{_version()}"}
    for name, value in given.mapping("headers").items():
        lower = name.lower()
        if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
            given.wrong("headers holds a name or value with characters that HTTP does not allow")
        elif lower in _OURS or lower.startswith("webhook-"):
            given.wrong(f"headers cannot set {lower}: the channel does")
        else:
            headers[name] = value
    return headers


def _version() -> str:
    try:
        return version("heistwatch")
    except PackageNotFoundError:
        return "0"
