"""Signed webhooks: HTTP POST as Standard Webhooks says, one attempt a call.

The form is that of https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md; the
body is described under "Webhooks" in the documentation.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from alerts.base import Receipt
from alerts.http import USER_AGENT, HttpChannel, HttpSender, receipt_of
from alerts.options import Options
from alerts.signing import signature, signers
from alerts.wire import wire
from monitor.ids import canonical_json
from monitor.model import Alert
from monitor.store import OutboxRow

__all__ = ["WebhookChannel"]

_OPTIONS = ("url", "secret", "secrets", "timeout", "headers")
_OURS = {"content-type", "content-length", "content-encoding", "transfer-encoding", "connection", "host", "user-agent"}
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_VALUE = re.compile(r"[\x20-\x7e]*")


class WebhookChannel(HttpChannel):
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
    machine = True
    concurrency = 16  # a burst of ten thousand is to be through in ten seconds

    def __init__(self, options: Mapping[str, Any]) -> None:
        given = Options(self.type, options, _OPTIONS)
        self._url = given.address("url", required=True)
        self._signers = signers(given)
        self._headers = _headers(given)
        if self._url.user is not None and any(name.lower() == "authorization" for name in self._headers):
            given.wrong("the address carries a user name and headers an Authorization: keep one of them")
        timeout = given.seconds("timeout", 10.0, 120.0)
        given.check()
        self._sender = HttpSender(timeout)

    def render(self, alert: Alert, queued_at: float) -> bytes:
        """The JSON body: equal alerts queued at the same time give equal bytes."""
        return canonical_json(wire(alert, queued_at))

    def preview(self, body: bytes) -> str:
        """The body, indented."""
        return json.dumps(json.loads(body), indent=2, ensure_ascii=False)

    async def send(self, row: OutboxRow, now: float) -> Receipt:
        """One attempt, signed at wall clock ``now`` (UTC seconds)."""
        headers = {**self._headers, **signature(self._signers, row.alert_id, row.body, now)}
        answer = await self._sender.request("POST", self._url, body=row.body, headers=headers)
        return answer if isinstance(answer, Receipt) else receipt_of(self.host, answer, now)


def _headers(given: Options) -> dict[str, str]:
    headers = {"Content-Type": "application/json", "User-Agent": USER_AGENT}
    for name, value in given.mapping("headers").items():
        lower = name.lower()
        if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
            given.wrong("headers holds a name or value with characters that HTTP does not allow")
        elif lower in _OURS or lower.startswith("webhook-"):
            given.wrong(f"headers cannot set {lower}: the channel does")
        else:
            headers[name] = value
    return headers
