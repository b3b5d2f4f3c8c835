"""The long tail: every service that Apprise knows, by its address form (https://github.com/caronc/apprise/wiki).

Apprise is an extra: ``pip install 'heistwatch[apprise]'``.
"""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from alerts.apart import Apart, Busy
from alerts.base import ChannelTraits, Receipt
from alerts.message import Message, message_of
from alerts.options import Options
from alerts.template import Templates
from alerts.text import encodable, within
from monitor.errors import ConfigError
from monitor.ids import canonical_json, stable_id
from monitor.model import Alert, Outcome, Reason
from monitor.store import OutboxRow, Store

__all__ = ["AppriseChannel"]

THREADS = 4  # of one channel; Apprise sends with blocking calls
DEFAULT_CHARACTERS = 32_768
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
_LEVELS = {"critical": "failure", "high": "failure", "medium": "warning"}

_OPTIONS = ("url", "urls", "timeout", "template")


class AppriseChannel(ChannelTraits):
    """Sends through Apprise to one service or several.

    Options
    -------
    url, urls : Apprise addresses, ``ntfys://topic`` or ``signal://...`` for example; they hold secrets
    timeout : seconds for one attempt at one service, 30 unless told
    template : ``{title, body}``: own words, as plain text

    Messages are plain text, which Apprise escapes where a service wants markup, cut to what the service takes. The
    pauses that Apprise makes between messages (5.5 s for some) are switched off: pace is the configuration's ``rate``.
    Apprise says only that a message was not taken, not why, so every failure is tried again for a day.

    Of several services each is told once: those that took a message are remembered, in the store as notes
    ``apprise/...``, while others are tried again. An address that names several targets is one service here: where
    one of its targets fails, all of them get the message again.
    """

    type = "apprise"

    def __init__(self, options: Mapping[str, Any]) -> None:
        given = Options(self.type, options, _OPTIONS)
        urls = list(dict.fromkeys((*given.texts("url"), *given.texts("urls"))))
        if not urls:
            given.wrong("urls is missing: a list of Apprise addresses")
        self._timeout = given.seconds("timeout", 30.0, 240.0)
        own = given.mapping("template")
        given.check()
        apprise = _library()
        self._services: dict[str, Any] = {}
        for place, url in enumerate(urls, 1):
            service = _service(apprise, url)
            if service is None:
                scheme = _SCHEME.match(url)
                shown = f" ({scheme[0]}://)" if scheme and url[scheme.end() :].startswith("://") else ""
                given.wrong(f"address {place} of {len(urls)}{shown} is none that Apprise understands")
            else:
                self._services[stable_id("apprise", url)] = service
        given.check()
        self._schemes = [str(service.schema()) if callable(getattr(service, "schema", None)) else _scheme(service)
                         for service in self._services.values()]  # fmt: skip
        self._templates = Templates(own, str)
        self._text = apprise.NotifyFormat.TEXT
        self._apart = Apart("apprise", THREADS)
        self._told: dict[str, set[str]] = {}
        self._store: Store | None = None

    def __repr__(self) -> str:
        return f"AppriseChannel(schemes={self._schemes!r})"

    def attach(self, store: Store) -> None:
        """Remember in ``store`` which of several services took a message."""
        self._store = store

    def render(self, alert: Alert, queued_at: float) -> bytes:
        """Title, text and level."""
        message = message_of(alert, queued_at)
        own = self._templates.body(message)
        text = own if own is not None else _text(message)
        level = _LEVELS.get(message.severity or "", "success" if message.type.endswith(("resolved", "recovered")) else "info")
        if message.severity is None and message.type == "monitor.blind":
            level = "warning"
        made = {"title": self._templates.title(message), "body": within(text, DEFAULT_CHARACTERS), "level": level}
        return canonical_json(encodable(made))

    def preview(self, body: bytes) -> str:
        """The text."""
        made = json.loads(body)
        return f"{made['title']}\n\n{made['body']}"
