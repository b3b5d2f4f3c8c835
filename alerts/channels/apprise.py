"""The long tail: every service that Apprise knows, by its address form (https://github.com/caronc/apprise/wiki).

Apprise is an extra: ``pip install 'heistwatch[apprise]'``.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
import re
import warnings
from collections.abc import Mapping
from typing import Any

import msgspec

from alerts.apart import Apart, Busy
from alerts.base import ChannelTraits, Receipt
from alerts.html import TemplateEscape
from alerts.message import Message, message_of
from alerts.options import Options
from alerts.plain import DRILL_NOTE, inert
from alerts.template import Templates
from alerts.text import encodable, within
from monitor.errors import ConfigError
from monitor.ids import canonical_json, stable_id
from monitor.model import Alert, Outcome, Reason
from monitor.store import OutboxRow, Store, read_note

__all__ = ["AppriseChannel"]

CHARACTERS = 32_768
KEPT_SECONDS = 2 * 86_400.0  # an alert is tried for a day
NOTES = "apprise/"
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,30})://")
_LEVELS = {"critical": "failure", "high": "failure", "medium": "warning"}
_TALKATIVE = ("apprise", "urllib3", "requests", "oauthlib", "requests_oauthlib")  # they log addresses and bodies

_OPTIONS = ("url", "urls", "timeout", "template")


class _Told(msgspec.Struct, frozen=True):
    """Which services took an alert, and when that was noted (UTC seconds)."""

    services: list[str]
    at: float


class _Service:
    """One address: what Apprise made of it, and the one thread that sends there."""

    def __init__(self, made: Any, scheme: str) -> None:
        self.made = made
        self.scheme = scheme
        self.turn = asyncio.Lock()  # the objects of Apprise are not made for several threads
        self.apart = Apart(f"apprise {scheme}")
        self.took: str = ""  # id of the alert that it took last


class AppriseChannel(ChannelTraits):
    """Sends through Apprise to one service or several.

    Options
    -------
    url, urls : Apprise addresses, ``ntfys://topic`` for example; they hold secrets
    timeout : seconds for one attempt at one service, 30 unless told
    template : ``{title, body}``: own words, as plain text

    Messages are plain text, which Apprise escapes where a service wants markup, and cuts to what the service takes. As
    nobody can know the markup of every service, an ``@``, a ``<`` and an address in text that is not the owner's are
    broken. The pauses that Apprise makes between messages (5.5 s for some) are switched off: pace is the
    configuration's ``rate``. Apprise says only that a message was not taken, not why, so every failure is tried again
    for a day.

    Of several services each is told once: those that took a message are remembered, in the store as notes
    ``apprise/...``, while others are tried again. An address that names several targets is one service here: where
    one of its targets fails, all of them get the message again.
    """

    type = "apprise"
    templated = True
    concurrency = 1

    def __init__(self, options: Mapping[str, Any]) -> None:
        given = Options(self.type, options, _OPTIONS)
        urls = list(dict.fromkeys((*given.texts("url"), *given.texts("urls"))))
        if not urls:
            given.wrong("urls is missing: a list of Apprise addresses")
        self._timeout = given.seconds("timeout", 30.0, 240.0)
        own = given.mapping("template")
        given.check()
        apprise = _library()
        self._services: dict[str, _Service] = {}
        for place, url in enumerate(urls, 1):
            found = _SCHEME.match(url)
            scheme = found[1].lower() if found else ""
            made = _open(apprise, url)
            if made is None:
                shown = f" ({scheme}://)" if scheme else ""
                given.wrong(f"address {place} of {len(urls)}{shown} is none that Apprise understands")
            else:
                self._services[stable_id("apprise", url)] = _Service(made, scheme)
        given.check()
        self._escape = TemplateEscape(markup=False, harmless=inert)
        self._templates = Templates(own, self._escape)
        self._text = apprise.NotifyFormat.TEXT
        self._store: Store | None = None

    def __repr__(self) -> str:
        return f"AppriseChannel(schemes={[service.scheme for service in self._services.values()]!r})"

    def attach(self, store: Store) -> None:
        """Remember in ``store`` which of several services took a message."""
        self._store = store

    def render(self, alert: Alert, queued_at: float) -> bytes:
        """Title, text and level."""
        message = message_of(alert, queued_at)
        own = self._escape.applied(self._templates.body, message)
        made = {
            "title": self._escape.applied(self._templates.title, message),
            "body": within(own if own is not None else _text(message), CHARACTERS),
            "level": _level(message),
        }
        return canonical_json(encodable(made))

    def preview(self, body: bytes) -> str:
        """The text."""
        made = json.loads(body)
        return f"{made['title']}\n\n{made['body']}"

    async def send(self, row: OutboxRow, now: float) -> Receipt:
        """One attempt at every service that has not taken the message yet."""
        made = json.loads(row.body)
        key = f"{NOTES}{row.alert_id}/{row.receiver}/{row.channel}"
        told = await self._told(key)
        left = {name: service for name, service in self._services.items() if name not in told}
        failures = await asyncio.gather(*(self._send(service, made, row.alert_id) for service in left.values()))
        failed = [failure for failure in failures if failure is not None]
        took = told | {name for name, failure in zip(left, failures, strict=True) if failure is None}
        await self._remember(key, took if failed else set(), told, now)
        if not failed:
            return Receipt(Outcome.ACCEPTED, Reason.OK)
        detail = "; ".join(failure.detail for failure in failed)
        return Receipt(Outcome.RETRY, failed[0].reason, detail=within(detail, 500))

    async def aclose(self) -> None:
        """Nothing stays open: Apprise connects for each message."""

    async def _send(self, service: _Service, made: Mapping[str, str], alert_id: str) -> Receipt | None:
        """Why the service did not take the message, None where it did."""

        def work() -> bool:
            told = bool(
                service.made.notify(
                    title=made["title"], body=made["body"], notify_type=made["level"], body_format=self._text
                )
            )
            if told:
                service.took = alert_id
            return told

        async with service.turn:
            if service.took == alert_id:  # by an attempt that was given up, and went on
                return None
            try:
                if await service.apart.run(work, self._timeout):
                    return None
                return Receipt(Outcome.RETRY, Reason.SERVER_ERROR, detail=f"{service.scheme}:// did not take it")
            except Busy:
                return Receipt(Outcome.RETRY, Reason.TIMEOUT, detail=f"{service.scheme}:// still hangs")
            except TimeoutError:
                detail = f"{service.scheme}:// did not answer within {self._timeout:g} s"
                return Receipt(Outcome.RETRY, Reason.TIMEOUT, detail=detail)
            except Exception as error:  # of any of a hundred plug-ins; its text may quote the address
                detail = f"{service.scheme}:// failed: {type(error).__name__}"
                return Receipt(Outcome.RETRY, Reason.INTERNAL, detail=detail)

    async def _told(self, key: str) -> set[str]:
        if self._store is None or len(self._services) < 2:
            return set()
        return {name for kept, value in await self._store.notes(key) if kept == key
                for name in read_note(value, _Told, "who took an alert").services}  # fmt: skip

    async def _remember(self, key: str, took: set[str], before: set[str], now: float) -> None:
        """Note who took it while somebody has not; forget that when all have, and what nobody asks for any more."""
        if self._store is None or took == before:
            return
        changes: list[tuple[str, bytes | None]] = []
        for kept, value in await self._store.notes(NOTES):
            if read_note(value, _Told, "who took an alert").at < now - KEPT_SECONDS:
                changes.append((kept, None))
        changes.append((key, msgspec.json.encode(_Told(sorted(took), now)) if took else None))
        await self._store.note(changes)


def _library() -> Any:
    try:
        with warnings.catch_warnings():  # its plug-ins, all of them loaded by the first address, use what is outdated
            warnings.simplefilter("ignore", DeprecationWarning)
            apprise = importlib.import_module("apprise")
            apprise.Apprise.instantiate("json://localhost")
    except ImportError:
        raise ConfigError("apprise channel: Apprise is not installed: pip install 'heistwatch[apprise]'") from None
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    return apprise


def _open(apprise: Any, url: str) -> Any:
    """An `apprise.Apprise` with this one address; None where it is none."""
    made = apprise.Apprise(asset=apprise.AppriseAsset(async_mode=False, secure_logging=True))
    if not made.add(url) or len(made) != 1:
        return None
    for service in made:
        service.request_rate_per_sec = 0  # it would sleep, in the thread
    return made


def _level(message: Message) -> str:
    if message.severity is None:
        return "success" if message.type == "monitor.recovered" else "warning"
    if message.type.endswith((".resolved", ".retracted")):
        return "success"
    return _LEVELS.get(message.severity, "info")


def _text(message: Message) -> str:
    """What matters most comes first: services cut what is too long for them."""
    keep = message.entity
    facts = [f"{fact.name}: {inert(fact.value, keep)} {fact.url}".rstrip() for fact in message.facts]
    actions = [f"{action.label}: {action.url}" for action in message.actions]
    parts = [
        DRILL_NOTE if message.drill else "",
        "\n".join(actions[:1]),
        "\n".join(facts),
        inert("\n".join(message.lines), keep),
        f"What to do: {message.runbook}" if message.runbook else "",
        "\n".join(actions[1:]),
    ]
    return "\n\n".join(part for part in parts if part)
