"""Incidents: findings of one entity joined over wallets, assets and chains, whatever order they arrive in.

An incident is a function of its set of findings and movements; everything else in it is computed anew at each change.
Two findings of an entity belong together where no more than 24 hours of event time lie between them (and those between
them). Verdicts close an incident; later evidence then opens a new one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from monitor.errors import StoreError
from monitor.ids import stable_id
from monitor.model import Finding, Incident, Movement, Severity, Status

__all__ = ["Change", "Correlator", "Record"]

GAP = 86400  # seconds of event time without evidence after which an incident stops collecting
COLLECTING = (Status.OPEN, Status.ACKNOWLEDGED, Status.CONFIRMED)


class Limbo(msgspec.Struct, frozen=True):
    """A transaction whose block was disconnected at tip ``tip``: it may be mined again."""

    chain: str
    tx: str
    tip: int


class Record(msgspec.Struct):
    """An incident as it is kept: its evidence, what people said, and what is in doubt after a reorg."""

    id: str
    entity: str
    status: Status
    revision: int
    findings: dict[str, Finding]
    movements: dict[str, Movement]
    balances: dict[str, float]  # "wallet|chain|asset" -> balance before the incident, base units
    history: list[dict[str, Any]] = msgspec.field(default_factory=list)
    limbo: list[Limbo] = msgspec.field(default_factory=list)
    retracted: dict[str, Finding] = msgspec.field(default_factory=dict)
    told: int = 0  # highest severity that people were told of
    told_lost: dict[str, str] = msgspec.field(default_factory=dict)  # losses in the last message, by asset
    raised_lost: dict[str, str] = msgspec.field(default_factory=dict)  # losses when it was opened or last escalated


@dataclass(frozen=True, slots=True)
class Change:
    """An incident that changed, and why people should hear of it (None: they need not)."""

    incident: Incident
    kind: str | None  # opened | escalated | updated | resolved | retracted


@dataclass(slots=True)
class _Reach:
    """What an incident takes in: event times, and destinations by wallet and chain; and what it has by transaction."""

    first: int
    last: int
    suspects: set[tuple[str, str, str]]
    moved: set[tuple[str, str]]

    def widen(self, finding: Finding) -> None:
        """Reach as far as one more finding."""
        self.first = min(self.first, finding.at)
        self.last = max(self.last, finding.at)
        self.suspects.add((finding.wallet, finding.chain, finding.destination))


class Correlator:
    """All incidents, by id; `add`, `disconnect`, `settle` and `verdict` change them and say which changed."""

    def __init__(self) -> None:
        self.records: dict[str, Record] = {}
        self._reach: dict[str, _Reach] = {}

    # -- evidence -------------------------------------------------------------------------------------------------

    def add(
        self,
        entity: str,
        findings: Iterable[Finding],
        movements: Iterable[Movement],
        balances: Mapping[str, float] | None = None,
    ) -> list[str]:
        """Take in evidence of one entity; returns the ids of incidents that changed, in order.

        Parameters
        ----------
        movements : exact amounts; those that fit no incident are left out
        balances : "wallet|chain|asset" to the balance before the first of these movements, base units
        """
        changed: dict[str, None] = {}
        for finding in findings:
            record = self._home(entity, finding)
            again = finding.id in record.findings
            record.findings[finding.id] = finding
            record.retracted.pop(finding.id, None)
            record.limbo = [item for item in record.limbo if (item.chain, item.tx) != (finding.chain, finding.tx)]
            if record.id in self._reach and not again:
                self._reach[record.id].widen(finding)
            else:
                self._touch(record)
            changed[record.id] = None
        for movement in movements:
            for record in self._collecting(entity, movement.at):
                if (movement.wallet, movement.chain, movement.counterparty) in self._reach[record.id].suspects:
                    self._move(record, movement, balances or {})
                    changed[record.id] = None
                    break
        return [name for name in changed if name in self.records]

    def _touch(self, record: Record) -> None:
        times = [finding.at for finding in record.findings.values()]
        suspects = {(f.wallet, f.chain, f.destination) for f in record.findings.values()}
        moved = {(m.chain, m.tx) for m in record.movements.values()}
        if times and record.status in COLLECTING:
            self._reach[record.id] = _Reach(min(times), max(times), suspects, moved)
        else:
            self._reach.pop(record.id, None)

    def _collecting(self, entity: str, at: int) -> list[Record]:
        found = [
            self.records[name]
            for name, reach in self._reach.items()
            if reach.first - GAP <= at <= reach.last + GAP and self.records[name].entity == entity
        ]
        return sorted(found, key=lambda record: (self._reach[record.id].first, record.id))

    def _home(self, entity: str, finding: Finding) -> Record:
        """The incident that a finding belongs to: a new one, or all that it bridges, merged into the earliest."""
        for record in self.records.values():
            if finding.id in record.retracted or (finding.id in record.findings and record.id in self._reach):
                if record.status is Status.RETRACTED:
                    record.status = Status.OPEN
                return record
        near = self._collecting(entity, finding.at)
        if not near:
            name = stable_id("incident", entity, finding.id)
            while name in self.records:  # the same transaction raised an incident that a person closed
                name = stable_id("incident", name)
            record = Record(name, entity, Status.OPEN, 0, {}, {}, {})
            self.records[name] = record
            return record
        home = near[0]
        for other in near[1:]:
            home.findings.update(other.findings)
            home.movements.update(other.movements)
            home.balances.update(other.balances)
            home.limbo.extend(other.limbo)
            home.retracted.update(other.retracted)
            home.history.extend([*other.history, {"what": "merged", "by": "heistwatch", "comment": other.id}])
            home.told = max(home.told, other.told)
            del self.records[other.id]
            self._reach.pop(other.id, None)
        self._touch(home)
        return home

    def _move(self, record: Record, movement: Movement, balances: Mapping[str, float]) -> None:
        doubtful = [item for item in record.limbo if (item.chain, item.tx) == (movement.chain, movement.tx)]
        if doubtful:
            record.limbo = [item for item in record.limbo if item not in doubtful]
        moved = self._reach[record.id].moved
        if doubtful or (movement.chain, movement.tx) in moved:
            record.movements = {
                key: m
                for key, m in record.movements.items()
                if (m.chain, m.tx) != (movement.chain, movement.tx) or m.block_number == movement.block_number
            }
        moved.add((movement.chain, movement.tx))
        record.movements[_key(movement)] = movement
        place = f"{movement.wallet}|{movement.chain}|{movement.asset}"
        if place in balances:
            record.balances.setdefault(place, balances[place])

    # -- reorgs ---------------------------------------------------------------------------------------------------

    def disconnect(self, chain: str, number: int, old_tip: int) -> list[str]:
        """A block is no longer part of the chain: what it showed is in doubt until ``old_tip`` is passed."""
        changed = []
        for record in self.records.values():
            gone = {f.tx for f in record.findings.values() if f.chain == chain and f.block_number == number}
            gone |= {m.tx for m in record.movements.values() if m.chain == chain and m.block_number == number}
            known = {item.tx for item in record.limbo if item.chain == chain}
            for tx in sorted(gone - known):
                record.limbo.append(Limbo(chain, tx, old_tip))
            if gone:
                changed.append(record.id)
        return changed

    def doubtful(self, chain: str) -> list[Limbo]:
        """Transactions of a chain that were disconnected and neither came back nor were given up."""
        return [item for record in self.records.values() for item in record.limbo if item.chain == chain]

    def settle(self, chain: str, passed: int) -> list[str]:
        """The new branch has blocks up to ``passed``: what was below that and did not come back did not happen."""
        changed = []
        for record in self.records.values():
            dead = {item.tx for item in record.limbo if item.chain == chain and item.tip <= passed}
            if not dead:
                continue
            record.limbo = [item for item in record.limbo if not (item.chain == chain and item.tx in dead)]
            for name, f in list(record.findings.items()):
                if f.chain == chain and f.tx in dead:
                    record.retracted[name] = record.findings.pop(name)
            left = {(f.wallet, f.chain, f.destination) for f in record.findings.values()}
            record.movements = {
                key: m
                for key, m in record.movements.items()
                if not (m.chain == chain and m.tx in dead) and (m.wallet, m.chain, m.counterparty) in left
            }
            if not record.findings and record.status in COLLECTING:
                record.status = Status.RETRACTED
                record.told_lost = {}
            self._touch(record)
            changed.append(record.id)
        return changed

    # -- people ---------------------------------------------------------------------------------------------------

    def verdict(self, incident_id: str, what: str, by: str, comment: str, at: str) -> Record | None:
        """Take in what a person said of an incident; None where there is no such incident."""
        record = self.records.get(incident_id)
        if record is None:
            return None
        record.status = {
            "acknowledge": Status.ACKNOWLEDGED,
            "confirm": Status.CONFIRMED,
            "false-alarm": Status.FALSE_ALARM,
            "resolve": Status.RESOLVED,
            "reopen": Status.OPEN,
        }[what]
        record.history.append({"what": what, "by": by, "comment": comment, "at": at})
        self._touch(record)
        return record

    # -- views ----------------------------------------------------------------------------------------------------

    def change(self, incident_id: str) -> Change:
        """Raise the revision of a changed incident, and say whether people should hear of it."""
        record = self.records[incident_id]
        record.revision += 1
        incident = self.incident(incident_id)
        kind = self._kind(record, incident)
        if kind is not None:
            record.told = max(record.told, int(incident.severity))
            record.told_lost = {asset: str(value) for asset, value in incident.lost}
            if kind in ("opened", "escalated"):
                record.raised_lost = dict(record.told_lost)
        return Change(incident, kind)

    @staticmethod
    def _kind(record: Record, incident: Incident) -> str | None:
        if incident.status is Status.RETRACTED:
            return "retracted" if record.told else None
        if incident.status in (Status.RESOLVED, Status.FALSE_ALARM):
            return "resolved" if record.told else None
        if record.told == 0:
            return "opened"
        doubled = any(
            value >= 2 * int(record.raised_lost.get(asset, "0")) > 0 for asset, value in incident.lost
        )
        if int(incident.severity) > record.told or doubled:
            return "escalated"
        lost = {asset: str(value) for asset, value in incident.lost}
        return "updated" if lost != record.told_lost else None

    def incident(self, incident_id: str) -> Incident:
        """An incident with all its fields computed from its evidence."""
        return _build(self.records[incident_id])

    def all(self) -> list[Incident]:
        """Every incident, by (opened_at, id)."""
        found = [_build(record) for record in self.records.values()]
        return sorted(found, key=lambda incident: (incident.opened_at, incident.id))

    # -- storage --------------------------------------------------------------------------------------------------

    def dump(self, incident_id: str) -> bytes:
        """The stored form."""
        return msgspec.json.encode(self.records[incident_id])

    def load(self, stored: Iterable[bytes]) -> None:
        """Take stored incidents over."""
        for raw in stored:
            try:
                record = msgspec.json.decode(raw, type=Record)
            except msgspec.DecodeError as error:
                raise StoreError(f"a stored incident cannot be read ({error}): written by another version?") from None
            self.records[record.id] = record
            self._touch(record)


def _key(m: Movement) -> str:
    return "|".join((m.chain, m.tx, m.wallet, m.asset, m.counterparty, str(m.index)))


def _order(item: Finding | Movement) -> tuple[int, str, int, int]:
    return (item.at, item.chain, item.block_number, item.index)


def _first(record: Record) -> Finding:
    return min(record.findings.values(), key=lambda f: (*_order(f), f.id))


def _build(record: Record) -> Incident:
    shown = record.findings or record.retracted
    findings = sorted(shown.values(), key=lambda f: (*_order(f), f.id))
    movements = sorted(record.movements.values(), key=_order)
    opening = findings[0] if findings else None
    severity = max((f.severity for f in findings), default=Severity.INFO)
    paged = next((f for f in findings if f.severity >= Severity.HIGH), None)
    lost: dict[str, int] = {}
    for m in movements:
        lost[m.asset] = lost.get(m.asset, 0) + m.value
    periods = [f.return_period_days for f in findings if f.return_period_days is not None]
    return Incident(
        id=record.id,
        entity=record.entity,
        wallets=tuple(sorted({f.wallet for f in findings})),
        status=record.status,
        severity=severity,
        opened_at=opening.at if opening else 0,
        opened_block=opening.block_number if opening else 0,
        opened_chain=opening.chain if opening else "",
        opened_tx=opening.tx if opening else "",
        revision=record.revision,
        findings=tuple(findings),
        movements=tuple(movements),
        suspects=tuple(sorted({(f.chain, f.destination) for f in findings if f.destination})),
        lost=tuple(sorted(lost.items())),
        share_lost=_share_lost(record, movements),
        share_lost_at_open=_share_at_open(opening, movements, lost) if opening else None,
        updated_at=max((*(f.at for f in findings), *(m.at for m in movements)), default=0),
        paged_at=paged.at if paged else None,
        paged_tx=paged.tx if paged else None,
        return_period_days=max(periods) if periods else None,
        budget_exceeded=any(f.budget_exceeded for f in findings),
        history=tuple(record.history),
    )


def _share_at_open(opening: Finding, movements: Sequence[Movement], lost: Mapping[str, int]) -> float | None:
    """Mean over assets of what had gone to suspects when the incident opened, over what went in all."""
    if not lost:
        return None
    before: dict[str, int] = dict.fromkeys(lost, 0)
    for m in movements:
        if m.chain == opening.chain:
            early = (m.block_number, m.index) <= (opening.block_number, opening.index)
        else:
            early = m.at <= opening.at
        if early:
            before[m.asset] += m.value
    return sum(before[asset] / total for asset, total in lost.items()) / len(lost)


def _share_lost(record: Record, movements: Sequence[Movement]) -> float | None:
    """Mean over assets of what went to suspects over the balances before the incident, where those are known."""
    sent: dict[str, int] = {}
    held: dict[str, float] = {}
    for m in movements:
        sent[m.asset] = sent.get(m.asset, 0) + m.value
    for place, balance in record.balances.items():
        asset = place.rpartition("|")[2]
        held[asset] = held.get(asset, 0.0) + balance
    shares = [min(1.0, sent[asset] / held[asset]) for asset in sent if held.get(asset, 0.0) > 0.0]
    return sum(shares) / len(shares) if shares else None
