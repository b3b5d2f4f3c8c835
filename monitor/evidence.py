"""Evidence on its way into the records of incidents and out of them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field, replace
from typing import TypeVar

from monitor.grouping import Group, suspect
from monitor.incident_record import Limbo, Record
from monitor.model import Finding, Movement, Status
from monitor.returns import Answers

__all__ = ["News", "fill", "gathered", "joined", "kept", "moved", "retract", "taken", "void", "wait"]

E = TypeVar("E", Finding, Movement)


@dataclass(slots=True)
class News:
    """Evidence on its way into incidents. ``owner``: incidents that findings belonged to before a reorg.

    ``waits``: transactions of it that are not mined yet, by (chain, transaction).
    """

    findings: dict[str, Finding]
    movements: dict[str, Movement]
    balances: dict[str, float]
    owner: dict[str, str]
    returned: dict[str, Movement]
    waits: Mapping[tuple[str, str], Limbo] = field(default_factory=dict)


def joined(first: Finding, second: Finding) -> Finding:
    """One finding of two flows of a transaction: as grave as the worse, raised by the first."""
    worse = max(first, second, key=lambda f: (f.severity, f.score))
    return replace(worse, index=min(first.index, second.index))


def gathered(sources: Iterable[Record], news: News) -> News:
    """All evidence of these records, and the news beside it."""
    found = News({}, {}, {}, {}, {})
    for record in sources:
        found.findings.update(record.findings)
        found.movements.update(record.movements)
        found.movements.update(record.loose)
        found.balances.update(record.balances)
        found.returned.update(record.returned)
    found.findings.update(news.findings)
    found.movements.update(news.movements)
    found.balances.update(news.balances)
    found.returned.update(news.returned)
    return found


def kept(record: Record) -> tuple[dict[str, Finding], *tuple[dict[str, Movement], ...]]:
    """What of a record is evidence."""
    return record.findings, record.movements, record.loose, record.returned


def void(record: Record, txs: set[tuple[str, str]], why: Mapping[tuple[str, str], str] | None = None) -> None:
    """What these transactions showed did not happen; ``why`` is said of those that were never mined."""
    for name, f in list(record.findings.items()):
        if (f.chain, f.tx) in txs:
            gone = (why or {}).get((f.chain, f.tx))
            record.retracted[name] = f if gone is None else replace(f, evidence={**f.evidence, "gone": gone})
            del record.findings[name]
    for movements in (record.movements, record.loose, record.returned):
        for key, m in list(movements.items()):
            if (m.chain, m.tx) in txs:
                del movements[key]
                record.balances.pop(key, None)


def moved(record: Record, chain: str, txs: Set[str], number: int) -> None:
    """These transactions are in another block now."""
    for name, f in record.findings.items():
        if f.chain == chain and f.tx in txs:
            record.findings[name] = replace(f, block_number=number)
    for movements in (record.movements, record.loose, record.returned):
        for key, m in movements.items():
            if m.chain == chain and m.tx in txs:
                movements[key] = replace(m, block_number=number)


def taken(
    news: dict[str, E], txs: set[tuple[str, str]], suspects: set[tuple[str, str, str]]
) -> list[tuple[str, E]]:
    """Take out what these transactions show of these suspects."""
    names = [name for name, e in news.items() if (e.chain, e.tx) in txs and suspect(e) in suspects]
    return [(name, news.pop(name)) for name in names]


def fill(record: Record, found: Group, balances: Mapping[str, float], limbo: Mapping[tuple[str, str], Limbo]) -> None:
    """Make a record that of a group; ``limbo`` by (chain, transaction)."""
    record.opening = found.opening
    record.findings = {f.id: f for f in found.findings}
    record.movements = found.movements
    record.loose = found.loose
    record.returned = found.returned
    record.balances = {key: balances[key] for key in (*found.movements, *found.loose) if key in balances}
    _doubt(record, limbo)


def wait(record: Record, signals: Mapping[str, Finding], all_: News, limbo: Mapping[tuple[str, str], Limbo]) -> None:
    """Make a record that of signals which do not count so far, with all that would count with them."""
    suspects = {suspect(f) for f in signals.values()}
    record.findings, record.retracted = dict(signals), {}
    record.movements = {key: m for key, m in all_.movements.items() if suspect(m) in suspects}
    record.balances = {key: all_.balances[key] for key in record.movements if key in all_.balances}
    answers = Answers(signals.values())
    record.returned = {key: m for key, m in all_.returned.items() if answers.to(m) is not None} if signals else {}
    _doubt(record, limbo)


def _doubt(record: Record, limbo: Mapping[tuple[str, str], Limbo]) -> None:
    if limbo:
        evidence: list[Finding | Movement] = [*record.findings.values(), *record.movements.values()]
        evidence += (*record.loose.values(), *record.returned.values())
        txs = {(e.chain, e.tx) for e in evidence}
        record.limbo = [item for place, item in sorted(limbo.items()) if place in txs]


def retract(record: Record) -> None:
    """Nothing is left of an incident; signals that do not count any more are none of its own."""
    record.retracted.update(record.findings)
    record.findings = {}
    record.status = Status.RETRACTED
    record.movements, record.loose, record.balances, record.returned, record.limbo = {}, {}, {}, {}, []
    record.told_lost = {}
