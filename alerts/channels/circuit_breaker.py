"""The circuit breaker: asks the owner's own system to pause withdrawals. Off until it is armed.

The request is a signed webhook (https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md)
with a second signature inside, by another secret; `alerts.breaker` has its fields and how a receiver checks it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

from alerts.base import ChannelTraits, Receipt
from alerts.breaker import Rule, request
from alerts.cooldown import Cooldown, Decision, Turn
from alerts.http import HttpSender, receipt_of
from alerts.options import Options
from alerts.signing import key_of, signature, signers
from alerts.text import bounded, clean, encodable
from monitor.ids import canonical_json, from_iso, iso, stable_id
from monitor.model import Alert, AlertKind, Outcome, Reason
from monitor.networks import by_name
from monitor.registry import did_you_mean
from monitor.store import OutboxRow, Store

__all__ = ["CircuitBreakerChannel"]

COOLDOWN = 3600.0
VALID = 600.0
SECRET_CHARACTERS = 16
TITLE_CHARACTERS = 400
_LABELS = ("entity", "wallet", "chain", "detector")
_WHEN = (*_LABELS, "share_lost", "unconfirmed")
_OPTIONS = (
    "url", "secret", "secrets", "request_secret", "armed", "dry_run_url", "when", "cooldown", "valid", "timeout",
)  # fmt: skip

_log = logging.getLogger("heistwatch.breaker")


class CircuitBreakerChannel(ChannelTraits):
    """Posts a request to pause withdrawals when an incident is critical.

    Options
    -------
    url : where requests go
    secret, secrets : Standard Webhooks secrets, as of the webhook channel: they sign the message
    request_secret : another secret, of 16 characters or more: it signs the request itself
    armed : false unless told: a dry run, in which decisions are logged and nothing is sent to ``url``
    dry_run_url : where requests of dry runs and drills go; nowhere unless told
    when : further conditions: ``entity``, ``wallet``, ``chain``, ``detector`` (a text or a list of them each),
        ``share_lost`` (at least so much of the balance, 0 to 1), ``unconfirmed: true`` (also for what is not mined yet)
    cooldown : seconds for which no second request goes out for the same entity, 3600 unless told
    valid : seconds for which a request holds, 600 unless told
    timeout : seconds for a whole attempt, 10 unless told

    Only news of an open, critical incident asks for a pause. A drill is always a dry run. A request that could not be
    delivered while it held is given up, and never sent later: nobody expects a pause from an alarm of yesterday. The
    cool-down counts from the acceptance, survives restarts (notes ``breaker/...``), and is not for drills; a request
    that was refused for good starts none. ``Idempotency-Key`` and ``webhook-id`` are ``breaker-`` and the alert's id,
    the same on every attempt. Each decision is a line of the logger ``heistwatch.breaker`` and a note
    ``breaker/log/...``.
    """

    type = "circuit_breaker"
    machine = True

    def __init__(self, options: Mapping[str, Any]) -> None:
        given = Options(self.type, options, _OPTIONS)
        self._armed = given.flag("armed")
        self._url = given.address("url", required=self._armed)
        self._dry_run_url = given.address("dry_run_url")
        self._signers = signers(given)
        self._secret = _second_secret(given)
        self._rule = _rule(given)
        self._cooldown = given.seconds("cooldown", COOLDOWN, 30 * 86_400.0)
        self._valid = given.seconds("valid", VALID, 3600.0)
        self._timeout = given.seconds("timeout", 10.0, 120.0)
        given.check()
        self._sender = HttpSender(self._timeout)
        self._live = Cooldown(stable_id("breaker", "live", str(self._url)))
        self._dry = Cooldown(stable_id("breaker", "dry", str(self._url), str(self._dry_run_url)))

    def __repr__(self) -> str:
        return f"CircuitBreakerChannel(host={self._url.host or ''!r}, armed={self._armed})"

    def attach(self, store: Store) -> None:
        """Keep cool-downs and decisions in ``store``."""
        self._live.attach(store)
        self._dry.attach(store)

    def render(self, alert: Alert, queued_at: float) -> bytes:
        """The request as it is posted, or why there is none."""
        about = {
            "id": alert.id,
            "kind": str(alert.kind),
            "severity": None if alert.severity is None else str(alert.severity),
            "title": bounded(clean(alert.title), TITLE_CHARACTERS),
            "entity": clean(alert.labels.get("entity", "")),
        }
        data: dict[str, Any] = {"alert": about, "drill": alert.kind is AlertKind.DRILL}
        why = self._rule.against(alert)
        if why:
            made = {"type": "breaker.none", "timestamp": iso(queued_at), "data": {**data, "why": why}}
            return canonical_json(encodable(made))
        dry = not self._armed or alert.kind is AlertKind.DRILL
        data |= request(alert, queued_at, self._valid, dry, self._secret)
        kind = f"breaker.{data['request']['action']}"
        return canonical_json(encodable({"type": kind, "timestamp": iso(queued_at), "data": data}))

    def preview(self, body: bytes) -> str:
        """The request, indented, without its signature; or why there is none."""
        data = json.loads(body)["data"]
        if "why" in data:
            return f"no request: {data['why']}"
        return json.dumps(data["request"], indent=2, ensure_ascii=False)

    async def send(self, row: OutboxRow, now: float) -> Receipt:
        """One attempt at wall clock ``now`` (UTC seconds)."""
        data = json.loads(row.body)["data"]
        if "why" in data:
            return await self._decide(data, now, "not-asked", data["why"])
        if now >= from_iso(data["request"]["expires_at"]):
            why = f"the request held until {data['request']['expires_at']}"
            return await self._decide(data, now, "expired", why, Outcome.REJECTED, Reason.EXPIRED)
        if not data["dry_run"] and not self._armed:
            return await self._decide(data, now, "disarmed", "the breaker was disarmed after the request was made")
        if data["drill"]:
            return await self._post(row, data, now)
        return await self._take_turn(row, data, now)

    async def probe(self, now: float) -> Receipt:
        """Whether the server answers, where one is named; it is asked for nothing."""
        url = self._url if self._armed else self._dry_run_url
        if not url.host:
            return Receipt(Outcome.ACCEPTED, Reason.OK, detail="a dry run that sends nothing")
        return await self._sender.reach(url)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._sender.aclose()

    async def _take_turn(self, row: OutboxRow, data: Mapping[str, Any], now: float) -> Receipt:
        """Post, unless a request of the same entity is under way or was accepted within the cool-down."""
        cooldown = self._dry if data["dry_run"] else self._live
        entity, name = data["request"]["entity"], f"{row.alert_id} {row.receiver} {row.channel}"
        until = from_iso(data["request"]["expires_at"]) + self._timeout  # an attempt may begin just before the end
        turn = await cooldown.claim(entity, name, now, until)
        if turn is Turn.COOLING:
            return await self._decide(data, now, "cooling", "a request for this entity was accepted a short time ago")
        if turn is Turn.TAKEN:
            why = "another request for this entity is under way"
            return await self._decide(data, now, "waiting", why, Outcome.RETRY, Reason.INTERNAL)
        receipt = await self._post(row, data, now)
        if receipt.outcome is Outcome.ACCEPTED:
            await cooldown.accepted(entity, name, now, now + self._cooldown)
        elif receipt.outcome is Outcome.REJECTED:
            await cooldown.free(entity, name)
        return receipt

    async def _post(self, row: OutboxRow, data: Mapping[str, Any], now: float) -> Receipt:
        dry = data["dry_run"]
        url = self._dry_run_url if dry else self._url
        if not url.host:
            return await self._decide(data, now, "dry-run", "a pause would be asked for; nothing was sent")
        message = f"breaker-{row.alert_id}"  # a receiver that got the alert itself must not take this for a repetition
        headers = {
            "Content-Type": "application/json",
            "Idempotency-Key": message,
            **signature(self._signers, message, row.body, now),
        }
        answer = await self._sender.request("POST", url, body=row.body, headers=headers)
        receipt = answer if isinstance(answer, Receipt) else receipt_of(url.host, answer, now)
        word = {Outcome.ACCEPTED: "sent", Outcome.RETRY: "failed", Outcome.REJECTED: "refused"}[receipt.outcome]
        why = f"{url.host} answered {receipt.detail}" if receipt.outcome is Outcome.ACCEPTED else receipt.detail
        await self._note(data, now, f"dry-run-{word}" if dry else word, why)
        return receipt

    async def _decide(
        self,
        data: Mapping[str, Any],
        now: float,
        what: str,
        why: str,
        outcome: Outcome = Outcome.ACCEPTED,
        reason: Reason = Reason.OK,
    ) -> Receipt:
        """A decision that sends nothing."""
        await self._note(data, now, what, why)
        return Receipt(outcome, reason, detail=f"{what}: {why}")

    async def _note(self, data: Mapping[str, Any], now: float, what: str, why: str) -> None:
        asked = data.get("request") or {}
        alert, entity = data["alert"]["id"], asked.get("entity") or data["alert"]["entity"]
        incident = asked.get("incident", "")
        _log.log(
            logging.WARNING if what in ("sent", "failed", "refused", "expired") else logging.INFO,
            "%s: %s (entity %r, incident %s, alert %s%s)",
            what, why, entity, incident or "-", alert, ", drill" if data["drill"] else "",
        )  # fmt: skip
        await self._live.log(Decision(now, alert, entity, incident, what, why))


def _second_secret(given: Options) -> str:
    text = given.text("request_secret", required=True)
    if text and len(text) < SECRET_CHARACTERS:
        given.wrong(f"request_secret has fewer than {SECRET_CHARACTERS} characters")
    first, more = given.raw("secret"), given.raw("secrets")
    others = [first, *(more if isinstance(more, list) else [more])]
    others = [other.strip() for other in others if isinstance(other, str)]
    if text and any(text == other or (key_of(text) and key_of(text) == key_of(other)) for other in others):
        given.wrong("request_secret is one of the secrets that sign the message: it must be another")
    return text


def _rule(given: Options) -> Rule:
    when = given.raw("when")
    if when is None:
        return Rule({})
    if not isinstance(when, Mapping):
        given.wrong("when must be a mapping, {entity: NAME, share_lost: 0.5} for example")
        return Rule({})
    for key in when:
        if key == "severity":
            given.wrong("when: severity cannot be chosen: only critical incidents ask for a pause")
        elif key not in _WHEN:
            given.wrong(f"when: unknown key {key!r}: {did_you_mean(str(key), _WHEN)}")
    share, unconfirmed = when.get("share_lost", 0.0), when.get("unconfirmed", False)
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
        given.wrong("when: share_lost must be a number from 0 to 1")
        share = 0.0
    if not isinstance(unconfirmed, bool):
        given.wrong("when: unconfirmed must be true or false")
        unconfirmed = False
    labels = {name: _values(given, name, when[name]) for name in _LABELS if when.get(name) is not None}
    return Rule(labels, float(share), unconfirmed)


def _values(given: Options, name: str, value: Any) -> frozenset[str]:
    values = value if isinstance(value, list) else [value]
    if not values or not all(isinstance(item, str) and item.strip() for item in values):
        given.wrong(f"when: {name} must be a text or a list of texts")
        return frozenset()
    found = {item.strip() for item in values}
    if name != "chain":
        return frozenset(found)
    chains = set()
    for item in found:
        network = by_name(item)
        if network is None and ":" not in item:
            given.wrong("when: chain must be the name of a built-in network or CAIP-2, eip155:1 for example")
        chains.add(network.chain if network is not None else item)
    return frozenset(chains)
