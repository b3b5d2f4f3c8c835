"""Incidents as other systems see them: in reports, webhooks, the HTTP interface and `--json`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from monitor.assets import AssetNames
from monitor.explain import body, explain, runbook, title
from monitor.ids import chain_of_asset, iso, stable_id
from monitor.model import Alert, AlertKind, Finding, Incident, Role

__all__ = ["alert_of", "finding_data", "incident_data", "lost_data"]


def finding_data(finding: Finding) -> dict[str, Any]:
    """One finding."""
    return {
        "id": finding.id,
        "detector": finding.detector,
        "wallet": finding.wallet,
        "chain": finding.chain,
        "severity": str(finding.severity),
        "at": iso(finding.at),
        "tx": finding.tx,
        "block": finding.block_number,
        "asset": finding.asset,
        "destination": finding.destination,
        "value": str(finding.value),
        "summary": finding.summary,
        "evidence": dict(finding.evidence),
    }


def lost_data(incident: Incident, names: AssetNames) -> list[dict[str, Any]]:
    """What went to suspects, by asset; ``usd``, where any had a price, is what it was worth then (None: no price)."""
    if incident.lost_usd is None:
        return _amounts(incident.lost, names)
    worth = dict(incident.worth)
    return [{**entry, "usd": worth.get(entry["asset"])} for entry in _amounts(incident.lost, names)]


def _amounts(amounts: Sequence[tuple[str, int]], names: AssetNames) -> list[dict[str, Any]]:
    return [
        {"chain": chain_of_asset(asset), "asset": asset, "value": str(value), "display": names.display(asset, value)}
        for asset, value in amounts
    ]


def incident_data(incident: Incident, names: AssetNames) -> dict[str, Any]:
    """The whole incident: the fields of webhooks and of reports together."""
    return {
        "id": incident.id,
        "entity": incident.entity,
        "wallets": list(incident.wallets),
        "status": str(incident.status),
        "severity": str(incident.severity),
        "revision": incident.revision,
        "opened_at": iso(incident.opened_at),
        "opened_block": incident.opened_block,
        "opened_chain": incident.opened_chain,
        "opened_tx": incident.opened_tx,
        "updated_at": iso(incident.updated_at),
        "paged_at": iso(incident.paged_at),
        "paged_tx": incident.paged_tx,
        "return_period_days": incident.return_period_days,
        "budget_exceeded": incident.budget_exceeded,
        "unconfirmed": incident.unconfirmed,
        "findings": [finding_data(finding) for finding in incident.findings],
        "suspects": [address for _, address in incident.suspects],
        "lost": lost_data(incident, names),
        "returned": _amounts(incident.returned, names),
        "lost_usd": incident.lost_usd,
        "share_lost_at_open": incident.share_lost_at_open,
        "share_lost": incident.share_lost,
        "explanation": list(explain(incident, names)),
        "history": [dict(entry) for entry in incident.history],
    }


def alert_of(
    incident: Incident, kind: str, names: AssetNames, roles: dict[str, Role], config: str = ""
) -> Alert:
    """The message about one revision of an incident; ``config`` is the path that its commands name."""
    wallets = incident.wallets
    labels = {
        "severity": str(incident.severity),
        "entity": incident.entity,
        "wallet": ",".join(wallets),
        "role": ",".join(sorted({str(roles[name]) for name in wallets if name in roles})),
        "chain": ",".join(sorted({finding.chain for finding in incident.findings})),
        "detector": ",".join(sorted({finding.detector for finding in incident.findings})),
        "kind": kind,
        "incident": incident.id,
    }
    return Alert(
        id=stable_id("alert", incident.id, incident.revision, kind),
        kind=AlertKind(kind),
        title=title(incident, names),
        body=body(incident, names, config),
        severity=incident.severity,
        labels=labels,
        runbook=runbook(incident.severity, over=kind in (AlertKind.RESOLVED, AlertKind.RETRACTED)),
        incident=incident_data(incident, names),
    )
