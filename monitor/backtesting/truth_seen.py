"""What of an incident decides whether it matches a labelled one, and how soon it came."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from monitor.backtesting.truth import hash_key
from monitor.ids import from_iso
from monitor.model import Finding, Incident, Movement, Severity

__all__ = ["Seen", "reported", "seen_in"]


@dataclass(frozen=True, slots=True)
class Seen:
    """What of an incident decides whether it matches; times in UTC seconds, hashes as `truth.hash_key` has them."""

    id: str
    entity: str
    wallets: frozenset[str]
    chains: frozenset[str]
    severity: str
    transactions: frozenset[str]
    start: int
    end: int
    opened_at: int
    opened_chain: str
    opened_block: int
    paged_at: int | None
    paged_chain: str
    paged_block: int | None
    share_at_open: float | None
    share_at_page: float | None


def seen_in(incident: Incident) -> Seen:
    """What matching looks at."""
    findings, movements = incident.findings, incident.movements
    times = [*(f.at for f in findings), *(m.at for m in movements)]
    paged = next((f for f in findings if f.severity >= Severity.HIGH), None)
    return Seen(
        id=incident.id,
        entity=incident.entity,
        wallets=frozenset(incident.wallets),
        chains=frozenset(f.chain for f in findings),
        severity=str(incident.severity),
        transactions=frozenset(hash_key(tx) for tx in (*(f.tx for f in findings), *(m.tx for m in movements)) if tx),
        start=min((f.at for f in findings), default=incident.opened_at),
        end=max(times, default=incident.opened_at),
        opened_at=incident.opened_at,
        opened_chain=incident.opened_chain,
        opened_block=incident.opened_block,
        paged_at=incident.paged_at,
        paged_chain=paged.chain if paged else "",
        paged_block=paged.block_number if paged else None,
        share_at_open=incident.share_lost_at_open,
        share_at_page=_share_at(incident, paged) if paged else None,
    )


def _share_at(incident: Incident, moment: Finding) -> float | None:
    """Mean over assets of what had gone to suspects by a finding, over what went in all."""
    lost = dict(incident.lost)
    gone = dict.fromkeys(lost, 0)
    for m in incident.movements:
        if m.asset in gone and _by(m, moment):
            gone[m.asset] += m.value
    return sum(gone[asset] / total for asset, total in lost.items()) / len(lost) if lost else None


def _by(movement: Movement, finding: Finding) -> bool:
    if movement.chain == finding.chain:
        return (movement.block_number, movement.index) <= (finding.block_number, finding.index)
    return movement.at <= finding.at


def reported(incident: Mapping[str, Any]) -> Seen:
    """The same of an incident of a report, which does not list payments that raised nothing."""
    findings = incident["findings"]
    times = [from_iso(f["at"]) for f in findings] or [from_iso(incident["opened_at"])]
    paged = next((f for f in findings if Severity.parse(f["severity"]) >= Severity.HIGH), None)
    return Seen(
        id=incident["id"],
        entity=incident["entity"],
        wallets=frozenset(incident["wallets"]),
        chains=frozenset(f["chain"] for f in findings),
        severity=incident["severity"],
        transactions=frozenset(hash_key(f["tx"]) for f in findings if f["tx"]),
        start=min(times),
        end=max(times),
        opened_at=from_iso(incident["opened_at"]),
        opened_chain=incident["opened_chain"],
        opened_block=incident["opened_block"],
        paged_at=from_iso(incident["paged_at"]) if incident["paged_at"] else None,
        paged_chain=paged["chain"] if paged else "",
        paged_block=paged["block"] if paged else None,
        share_at_open=incident["share_lost_at_open"],
        share_at_page=None,
    )
