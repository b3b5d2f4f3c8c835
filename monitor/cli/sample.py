"""A made-up message, or one about a stored incident, to try routes and templates with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from monitor.app import asset_names
from monitor.errors import ConfigError
from monitor.incident_record import movement_key
from monitor.incidents import Correlator
from monitor.model import Alert, AlertKind, Finding, Incident, Movement, Severity, Wallet
from monitor.published import alert_of

__all__ = ["sample_alert"]

SENT = 100 * 10**18  # base units
EVIDENCE = {
    "guard_rail": True, "learning": False, "share_of_typical": 0.8, "usual_daily_maximum": 0.02,
    "typical_balance": 1.25 * SENT,
}  # fmt: skip
_OF_MONITOR = (AlertKind.BLIND, AlertKind.RECOVERED)
_OF_INCIDENT = ("opened", "escalated", "updated", "resolved", "retracted")

Given = Mapping[str, frozenset[str]]


def sample_alert(config: Any, given: Given, incident: Incident | None = None, *, at: int) -> Alert:
    """A message with the labels ``given``; the others are those of ``incident``, or of a theft that is made up.

    Parameters
    ----------
    config : `monitor.config.Config`
    given : values by label; of severity, entity and kind one
    at : when the theft that is made up took place, UTC seconds

    Raises
    ------
    ConfigError : there is no wallet to make a theft up from
    """
    kind = AlertKind(next(iter(given.get("kind", ("opened",)))))
    labels = {label: ",".join(sorted(values)) for label, values in given.items()}
    if kind in _OF_MONITOR:
        words = "no new block for 5 minutes" if kind is AlertKind.BLIND else "blocks are read again"
        return Alert("sample", kind, f"{kind}: {words} (a sample)", f"{words}.", labels={**labels, "kind": str(kind)})
    shown = incident if incident is not None else _theft(config, given, at)
    roles = {wallet.id: wallet.role for wallet in config.wallets}
    played = str(kind) if str(kind) in _OF_INCIDENT else "opened"
    alert = alert_of(shown, played, asset_names(config), roles)
    severity = Severity.parse(labels["severity"]) if "severity" in labels else alert.severity
    own = {"kind": played if kind is AlertKind.DRILL else str(kind)}
    return replace(alert, kind=kind, severity=severity, labels={**alert.labels, **labels, **own})


def _theft(config: Any, given: Given, at: int) -> Incident:
    """A theft of one payment from a wallet that fits, as the engine would show it."""
    wallet = _wallet(config, given)
    chain = next(iter(sorted(given.get("chain", ()))), next(iter(wallet.chains), "eip155:1"))
    asset = next((item.network.asset for item in config.chains if item.chain == chain), f"{chain}/slip44:60")
    severity = Severity.parse(next(iter(given.get("severity", ("high",)))))
    thief, tx = "0x000000000000000000000000000000000000bad1", f"0x{'5a' * 32}"
    finding = Finding(
        id="sample", detector="GUARD", wallet=wallet.id, chain=chain, severity=severity, score=0.0,
        summary="a sample: most of the balance to an address first paid just now", tx=tx, at=at, block_number=1,
        asset=asset, destination=thief, value=SENT, budget_exceeded=True, evidence=EVIDENCE,
    )  # fmt: skip
    movement = Movement(wallet.id, chain, asset, thief, SENT, at, tx, 0, 1)
    correlator = Correlator()
    [name] = correlator.add(wallet.entity, [finding], [movement], {movement_key(movement): float(SENT) / 4})
    return correlator.change(name).incident


def _wallet(config: Any, given: Given) -> Wallet:
    """The first wallet that fits what was asked for, as far as that goes."""
    if not config.wallets:
        raise ConfigError("the configuration has no wallet to make a message up from")

    def fits(wallet: Wallet) -> int:
        own = {"wallet": wallet.id, "entity": wallet.entity, "role": str(wallet.role)}
        return sum(own[label] in values for label, values in given.items() if label in own)

    best: Wallet = max(config.wallets, key=fits)
    return best
