"""Evidence on its way into the records of incidents and out of them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from monitor.grouping import Group, suspect
from monitor.incident_record import Limbo, Record
from monitor.model import Finding, Movement, Status

__all__ = ["News", "fill", "joined", "kept", "retract", "taken", "void"]

E = TypeVar("E", Finding, Movement)


@dataclass(slots=True)
class News:
    """Evidence on its way into incidents. ``owner``: incidents that findings belonged to before a reorg."""

    findings: dict[str, Finding]
    movements: dict[str, Movement]
    balances: dict[str, float]
    owner: dict[str, str]
    returned: dict[str, Movement]


def joined(first: Finding, second: Finding) -> Finding:
    """One finding of two flows of a transaction: as grave as the worse, raised by the first."""
    worse = max(first, second, key=lambda f: (f.severity, f.score))
    return replace(worse, index=min(first.index, second.index))


def kept(record: Record) -> tuple[dict[str, Finding], *tuple[dict[str, Movement], ...]]:
    return record.findings, record.movements, record.loose, record.returned


def void(record: Record, txs: set[tuple[str, str]]) -> None:
    """What these transactions showed did not happen."""
    for name, f in list(record.findings.items()):
        if (f.chain, f.tx) in txs:
            record.retracted[name] = record.findings.pop(name)
    for kept in (record.movements, record.loose, record.returned):
        for key, m in list(kept.items()):
            if (m.chain, m.tx) in txs:
                del kept[key]
                record.balances.pop(key, None)


def taken(
    news: dict[str, E], txs: set[tuple[str, str]], suspects: set[tuple[str, str, str]]
) -> list[tuple[str, E]]:
    """Take out what these transactions show of these suspects."""
    names = [name for name, e in news.items() if (e.chain, e.tx) in txs and suspect(e) in suspects]
    return [(name, news.pop(name)) for name in names]


def fill(record: Record, found: Group, balances: Mapping[str, float], limbo: Mapping[tuple[str, str], Limbo]) -> None:
    record.findings = {f.id: f for f in found.findings}
    record.movements = found.movements
    record.loose = found.loose
    record.returned = found.returned
    record.balances = {key: balances[key] for key in (*found.movements, *found.loose) if key in balances}
    if limbo:
        evidence: list[Finding | Movement] = [*found.findings, *found.movements.values(), *found.loose.values()]
        evidence += found.returned.values()
        txs = {(e.chain, e.tx) for e in evidence}
        record.limbo = [item for place, item in sorted(limbo.items()) if place in txs]


def retract(record: Record) -> None:
    record.status = Status.RETRACTED
    record.movements, record.loose, record.balances, record.returned, record.limbo = {}, {}, {}, {}, []
    record.told_lost = {}
