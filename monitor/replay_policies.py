"""Policies over history: the flows of their wallets, block by block; other wallets cost nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from monitor.assets import AssetNames
from monitor.engine import Engine
from monitor.incidents import movement_key
from monitor.model import Finding, Flow, Severity
from monitor.policies.base import Place, left_by, movement_for
from monitor.replayed import Evidence
from monitor.trust import Trust

__all__ = ["PolicyBlock", "judge"]


@dataclass(slots=True)
class PolicyBlock:
    """What policies see of a block. ``time`` is UTC seconds; ``told`` balances hold before it."""

    number: int
    time: int
    flows: list[Flow] = field(default_factory=list)
    told: dict[tuple[str, str, str], int] = field(default_factory=dict)
    trust: dict[Place, Trust] = field(default_factory=dict)


def judge(
    engine: Engine,
    chain: str,
    blocks: Iterable[PolicyBlock],
    names: AssetNames,
    evidence: Evidence,
) -> None:
    """Fold blocks (in chain order) into the policies; findings, movements and balances join ``evidence``."""
    findings: list[Finding] = []
    for block in blocks:
        if not block.flows and not block.told:
            engine.policies.tick(chain, block.time)
            continue
        findings += engine.policies.fold(
            chain, block.number, block.time, block.flows, block.told, block.trust, names, keep_undo=False
        ).findings
    known = {movement_key(m) for m in evidence.movements}
    for finding in findings:
        if finding.severity is Severity.INFO:
            continue
        evidence.findings.append(finding)
        paid = movement_for(finding)
        if paid is not None and movement_key(paid) not in known:
            known.add(movement_key(paid))
            evidence.movements.append(paid)
            evidence.balances.update({movement_key(paid): value for value in left_by(finding)})
