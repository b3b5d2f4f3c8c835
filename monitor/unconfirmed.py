"""Evidence of transactions that wait to be mined: into incidents, and out of them again. Pure.

It lies among the other evidence, marked ``pending``, and each of its transactions is in the record's limbo until a
block settles it. When the transaction is mined, what the block shows takes its place under the same ids; when that
can no longer happen, it is void like what a reorg took away. So it leaves no trace in what is confirmed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from msgspec import structs

from monitor.evidence import void
from monitor.incident_record import Limbo, Record, is_pending, movement_key
from monitor.incidents import CLOSED, Correlator
from monitor.mempool import Foreseen
from monitor.model import Finding, Movement

__all__ = ["Unconfirmed"]

MARK = " (not yet confirmed)"


class Unconfirmed:
    """What waits, among the incidents of a correlator."""

    def __init__(self, correlator: Correlator) -> None:
        self._correlator = correlator

    def items(self, chain: str) -> dict[str, Limbo]:
        """Transactions of a chain that evidence rests on and that wait, by hash."""
        return {item.tx: item for record in self._records() for item in record.limbo if _waits(item, chain)}

    def add(
        self,
        entity: str,
        findings: Iterable[Finding],
        movements: Iterable[Movement],
        balances: Mapping[str, float],
        foreseen: Foreseen,
    ) -> list[str]:
        """Take in what transactions that wait would show; the ids of incidents that changed.

        What stands already, was judged by people, or is in doubt after a reorg, stays as it is; so does a finding that
        was foreseen before, unless it got worse.
        """
        own = [record for record in self._records() if record.entity == entity]
        settled = {tx for record in own for tx in _judged(record, foreseen.chain)}
        news = []
        for finding in findings:
            known = next((r.findings[finding.id] for r in own if finding.id in r.findings), None)
            worse = known is None or (is_pending(known) and finding.severity > known.severity)
            if worse and finding.tx not in settled:
                note = foreseen.notes.get(finding.tx, {"pending": True})
                news.append(_unconfirmed(finding, note))
        held = {key for record in own for key in (*record.movements, *record.loose)}
        moved = [m for m in movements if movement_key(m) not in held and m.tx not in settled]
        if not news and not moved:
            return []
        waits = {(item.chain, item.tx): item for item in foreseen.waits.values() if item.tx not in settled}
        left = {key: balances[key] for key in map(movement_key, moved) if key in balances}
        return self._correlator.add(entity, news, moved, left, waits=waits)

    def settle(self, chain: str, why: Mapping[str, str]) -> list[str]:
        """These transactions, by hash, did not happen as foreseen, and why; the ids of incidents that changed."""
        changed: dict[str, str] = {}
        for record in self._records():
            dead = {(item.chain, item.tx) for item in record.limbo if _waits(item, chain) and item.tx in why}
            if dead:
                record.limbo = [item for item in record.limbo if (item.chain, item.tx) not in dead]
                void(record, dead, {place: why[place[1]] for place in dead})
                changed[record.id] = record.entity
        found: list[str] = []
        for entity in dict.fromkeys(changed.values()):
            found += self._correlator.arrange(entity)
        return list(dict.fromkeys([*found, *changed]))

    def put_back(self, waits: Mapping[str, Limbo]) -> list[str]:
        """These transactions, by hash, whose blocks a reorg took away, wait again; ids of incidents that changed."""
        changed = []
        for record in self._records():
            again = {item.tx for item in record.limbo if _is_again(item, waits)}
            if not again:
                continue
            record.limbo = [waits[item.tx] if _is_again(item, waits) else item for item in record.limbo]
            for name, f in record.findings.items():
                if f.tx in again and f.chain == waits[f.tx].chain:
                    record.findings[name] = _unconfirmed(f, {"pending": True})
            changed.append(record.id)
        return changed

    def until(self, chain: str, tips: Mapping[str, int], why: str = "") -> list[str]:
        """Wait for these transactions up to a height each, and say why where it passes; ids of what is to be stored."""
        changed = []
        for record in self._records():
            limbo = [
                _later(item, tips[item.tx], why) if _waits(item, chain) and item.tx in tips else item
                for item in record.limbo
            ]
            if limbo != record.limbo:
                record.limbo = limbo
                changed.append(record.id)
        return changed

    def race(self, chain: str, pairs: Mapping[str, str]) -> list[str]:
        """Transactions, and those that compete with them for their nonce: at most one of both will be mined.

        Amounts count once, with the one that came last.
        """
        changed = []
        for record in self._records():
            waiting = {item.tx for item in record.limbo if _waits(item, chain)} & pairs.keys()
            for name, f in record.findings.items():
                if f.tx in waiting and f.evidence.get("replaced_by") != pairs[f.tx]:
                    record.findings[name] = replace(f, evidence={**f.evidence, "replaced_by": pairs[f.tx]})
                    changed.append(record.id)
            for moves in (record.movements, record.loose):
                for key in [key for key, m in moves.items() if m.chain == chain and m.tx in waiting]:
                    del moves[key]
                    record.balances.pop(key, None)
        return list(dict.fromkeys(changed))

    def _records(self) -> Iterator[Record]:
        yield from self._correlator.records.values()
        yield from self._correlator.waiting.values()


def _unconfirmed(finding: Finding, note: Mapping[str, Any]) -> Finding:
    """The same of a transaction that waits."""
    return replace(finding, summary=f"{finding.summary}{MARK}", evidence={**finding.evidence, **note})


def _is_again(item: Limbo, waits: Mapping[str, Limbo]) -> bool:
    return not item.pending and item.tx in waits and waits[item.tx].chain == item.chain


def _waits(item: Limbo, chain: str) -> bool:
    return item.pending and item.chain == chain


def _judged(record: Record, chain: str) -> set[str]:
    """Transactions that this record has the last word on: judged by people, or mined, be it in doubt now."""
    evidence: list[Finding | Movement] = [*record.findings.values(), *record.movements.values()]
    evidence += (*record.loose.values(), *record.returned.values())
    found = {e.tx for e in evidence if e.chain == chain}
    return found if record.status in CLOSED else found - {i.tx for i in record.limbo if _waits(i, chain)}


def _later(item: Limbo, tip: int, why: str) -> Limbo:
    """The same transaction, waited for up to another height."""
    return structs.replace(item, tip=tip, why=why)
