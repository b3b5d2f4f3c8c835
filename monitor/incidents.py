"""Incidents: findings of one entity joined over wallets, assets and chains, whatever order they arrive in.

What belongs together is a function of the set of evidence alone (`monitor.grouping`), computed anew at each change;
an incident keeps its id as long as it keeps the earliest of its evidence. Verdicts close an incident; later evidence
then opens a new one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass

import msgspec

from monitor.errors import StoreError
from monitor.evidence import News, fill, gathered, joined, kept, moved, retract, taken, void, wait
from monitor.grouping import GAP, Group, group, suspect
from monitor.ids import stable_id
from monitor.incident_record import Limbo, Record, build, movement_key
from monitor.model import Finding, Incident, Movement, Severity, Status
from monitor.returns import Answers, is_returned
from monitor.signals import KEPT, Reach, is_signal

__all__ = ["GAP", "Change", "Correlator", "Limbo", "Record", "movement_key"]

COLLECTING = (Status.OPEN, Status.ACKNOWLEDGED, Status.CONFIRMED)
CLOSED = (Status.RESOLVED, Status.FALSE_ALARM)
UNMINED = "it was not mined, and nothing was heard of it for long"
_SAID = {
    "acknowledge": Status.ACKNOWLEDGED,
    "confirm": Status.CONFIRMED,
    "false-alarm": Status.FALSE_ALARM,
    "resolve": Status.RESOLVED,
    "reopen": Status.OPEN,
}


@dataclass(frozen=True, slots=True)
class Change:
    """An incident that changed, and why people should hear of it (None: they need not)."""

    incident: Incident
    kind: str | None  # opened | escalated | updated | resolved | retracted


class Correlator:
    """All incidents, by id; `add`, `disconnect`, `settle` and `verdict` change them and say which changed.

    What they name is to be stored (`dump`); signals that wait for company are stored under a name of their own, which
    is not among `records`.

    Parameters
    ----------
    reach : of signals by entity, see `monitor.signals`; without it they open nothing, but join what is open
    """

    def __init__(self, reach: Mapping[str, Reach] | None = None) -> None:
        self.reach = dict(reach or {})  # of signals, by entity
        self.waiting: dict[str, Record] = {}  # by entity: signals that do not count so far
        self._clocks: dict[str, int] = {}  # time of the last block of each chain
        self.records: dict[str, Record] = {}
        self.merged: dict[str, str] = {}  # ids that are no more, and the incident that took them over
        self._suspects: dict[str, set[tuple[str, str]]] = {}  # (chain, address) by entity, of any time

    # -- evidence -------------------------------------------------------------------------------------------------

    def add(
        self,
        entity: str,
        findings: Iterable[Finding],
        movements: Iterable[Movement],
        balances: Mapping[str, float] | None = None,
        returns: Iterable[Movement] = (),
        waits: Mapping[tuple[str, str], Limbo] | None = None,
    ) -> list[str]:
        """Take in evidence of one entity; returns the ids of incidents that changed, those merged away first.

        Parameters
        ----------
        movements : exact amounts; those that fit no incident are left out
        balances : `movement_key` to what the payment left, base units, of all that the engine raised; a movement
            without one counts where it came within the day before a finding about its destination
        returns : arrivals from suspects; those that answer no finding are left out
        waits : transactions that this is evidence of, by (chain, transaction), but that are not mined yet
        """
        back = {movement_key(m): m for m in returns}
        news = News({}, {movement_key(m): m for m in movements}, dict(balances or {}), {}, back, waits or {})
        for finding in findings:
            earlier = news.findings.get(finding.id)
            news.findings[finding.id] = finding if earlier is None else joined(earlier, finding)
        for record in self._of(entity):
            if record.status in CLOSED:  # what people judged is no signal any more
                news.findings = {
                    name: f for name, f in news.findings.items() if not (name in record.findings and is_signal(f))
                }
        changed = dict.fromkeys(self._renew(entity, news))
        changed.update(dict.fromkeys(self._give_back(entity, news)))
        if news.findings or news.movements or news.returned:
            self._claim(entity, news)
            changed = dict.fromkeys([*self._arrange(entity, news), *changed])
        return list(changed)

    def _of(self, entity: str) -> Iterator[Record]:
        return (record for record in self.records.values() if record.entity == entity)

    def _renew(self, entity: str, news: News) -> list[str]:
        """Transactions that are mined again: what they showed before is void, what they show now counts.

        A closed incident takes back what is its own, and stays closed.
        """
        evidence: list[Finding | Movement] = [*news.findings.values(), *news.movements.values()]
        evidence += news.returned.values()
        shown = {(e.chain, e.tx) for e in evidence}.difference(news.waits)
        changed = []
        for record in [*self._of(entity), *self._waiting(entity)]:
            again = shown.intersection((item.chain, item.tx) for item in record.limbo)
            if not again:
                continue
            suspects = {suspect(f) for f in record.findings.values()}
            record.limbo = [item for item in record.limbo if (item.chain, item.tx) not in again]
            void(record, again)
            changed.append(record.id)
            if record.status in CLOSED:
                for name, f in taken(news.findings, again, suspects):
                    record.findings[name] = f
                    record.retracted.pop(name, None)
                for key, m in taken(news.movements, again, suspects):
                    record.movements[key] = m
                    if key in news.balances:
                        record.balances[key] = news.balances[key]
        return changed

    def _give_back(self, entity: str, news: News) -> list[str]:
        """Leave returns that answer nothing out; those that answer closed incidents alone are kept there."""
        changed = []
        if not news.returned:
            return []
        mine = [(f, record) for record in self._of(entity) for f in record.findings.values()]
        open_ = [f for f, record in mine if record.status in COLLECTING] + list(news.findings.values())
        open_ += [f for record in self._waiting(entity) for f in record.findings.values()]
        closed = {f.id: (f, record) for f, record in mine if record.status in CLOSED}
        of_open, of_closed = Answers(open_), Answers(f for f, _ in closed.values())
        for key, back in list(news.returned.items()):
            if of_open.to(back) is not None:
                continue
            del news.returned[key]
            answered = of_closed.to(back)
            home = closed[answered.id][1] if answered is not None else None
            if home is not None and home.returned.get(key) != back:
                home.returned[key] = back
                changed.append(home.id)
        return changed

    def _claim(self, entity: str, news: News) -> None:
        """Findings that come back go to the incident that they were retracted from, which opens again."""
        for record in self._of(entity):
            if not record.retracted or record.status in CLOSED:
                continue
            gone = {(f.chain, f.tx, f.wallet) for f in record.retracted.values()}
            for name, f in news.findings.items():
                if name in record.retracted or (f.chain, f.tx, f.wallet) in gone:
                    news.owner.setdefault(name, record.id)
                    if is_signal(f):
                        continue
                    record.retracted.pop(name, None)
                    if record.status is Status.RETRACTED:
                        record.status = Status.OPEN

    def arrange(self, entity: str) -> list[str]:
        """After a change of what records hold: all evidence into incidents again; ids of those that changed."""
        return self._arrange(entity, News({}, {}, {}, {}, {}))

    def _arrange(self, entity: str, news: News) -> list[str]:
        """All evidence that is not closed into incidents; ids of those that changed."""
        old = [record for record in self._of(entity) if record.status in COLLECTING]
        sources = [*old, *self._waiting(entity)]
        before = {record.id: kept(record) for record in old}
        owner = {name: record.id for record in old for name in record.findings} | news.owner
        limbo = {**news.waits, **{(item.chain, item.tx): item for record in sources for item in record.limbo}}
        all_ = gathered(sources, news)
        limit = self.reach[entity].limit if entity in self.reach else 0.0
        homes: dict[str, Group] = {}
        for found in group(all_.findings.values(), all_.movements, all_.balances, all_.returned, limit):
            known = (owner[f.id] for f in found.findings if f.id in owner)
            homes[next((name for name in known if name not in homes), None) or self._open(entity, found)] = found
        new_owner = {f.id: name for name, found in homes.items() for f in found.findings}
        gone = [record for record in old if record.id not in homes]
        for record in gone:
            into = next((new_owner[f] for f, name in owner.items() if name == record.id and f in new_owner), None)
            self._merge(record, into) if into is not None else retract(record)
        for name, found in homes.items():
            record = self.records[name]
            if record.status is Status.RETRACTED:
                record.status = Status.OPEN
                record.retracted = {key: f for key, f in record.retracted.items() if key not in new_owner}
            fill(record, found, all_.balances, limbo)
            self._suspect(record)
        changed = [name for name in homes if before.get(name) != kept(self.records[name])]
        alone = {name: f for name, f in all_.findings.items() if is_signal(f) and name not in new_owner}
        return [*(record.id for record in gone), *changed, *self._wait(entity, alone, all_, limbo)]

    # -- signals --------------------------------------------------------------------------------------------------

    def passed(self, chain: str, at: int) -> None:
        """A chain's blocks reached this time: signals that no chain can add to any more are forgotten."""
        self._clocks[chain] = max(at, self._clocks.get(chain, at))

    def _waiting(self, entity: str) -> list[Record]:
        return [self.waiting[entity]] if entity in self.waiting else []

    def _wait(
        self, entity: str, alone: Mapping[str, Finding], all_: News, limbo: Mapping[tuple[str, str], Limbo]
    ) -> list[str]:
        """Keep signals that do not count so far; the id of their record, if it changed."""
        if not alone and entity not in self.waiting:
            return []
        chains = self.reach[entity].chains if entity in self.reach else frozenset(("",))
        past = min((self._clocks.get(chain, 0) for chain in chains), default=0) - KEPT
        name = stable_id("signals", entity)
        record = self.waiting.setdefault(entity, Record(name, entity, Status.OPEN, 0, {}, {}, {}))
        before = kept(record)
        wait(record, {key: f for key, f in alone.items() if f.at >= past}, all_, limbo)
        self._suspect(record)
        return [name] if kept(record) != before else []

    def _open(self, entity: str, found: Group) -> str:
        name = stable_id("incident", entity, found.findings[0].id)
        while name in self.records or name in self.merged:  # the same transaction raised one before
            name = stable_id("incident", name)
        self.records[name] = Record(name, entity, Status.OPEN, 0, {}, {}, {})
        return name

    def _merge(self, record: Record, into: str) -> None:
        """The earlier incident takes over what was said and told of another."""
        home = self.records[into]
        home.history.extend([*record.history, {"what": "merged", "by": "heistwatch", "comment": record.id}])
        home.retracted.update(record.retracted)
        home.told = max(home.told, record.told)
        home.kept_open = home.kept_open or record.kept_open
        home.receivers = list(dict.fromkeys([*home.receivers, *record.receivers]))
        if record.status is Status.CONFIRMED:
            home.status = Status.CONFIRMED
        del self.records[record.id]
        self.merged[record.id] = into

    # -- reorgs ---------------------------------------------------------------------------------------------------

    def disconnect(self, chain: str, number: int, old_tip: int) -> list[str]:
        """A block is no longer part of the chain: what it showed is in doubt until ``old_tip`` is passed."""
        changed = []
        for record in (*self.records.values(), *self.waiting.values()):
            evidence: list[Finding | Movement] = [*record.findings.values(), *record.movements.values()]
            evidence += (*record.loose.values(), *record.returned.values())
            gone = {e.tx for e in evidence if e.chain == chain and e.block_number == number}
            known = {item.tx for item in record.limbo if item.chain == chain}
            record.limbo += [Limbo(chain, tx, old_tip) for tx in sorted(gone - known)]
            if gone:
                changed.append(record.id)
        return changed

    def mined_again(self, chain: str, txs: Set[str], number: int) -> list[str]:
        """Disconnected transactions are in block ``number`` with the same effect: what they showed stands."""
        changed = []
        for record in (*self.records.values(), *self.waiting.values()):
            if not any(item.chain == chain and item.tx in txs for item in record.limbo):
                continue
            record.limbo = [item for item in record.limbo if not (item.chain == chain and item.tx in txs)]
            moved(record, chain, txs, number)
            changed.append(record.id)
        return changed

    def doubtful(self, chain: str) -> list[Limbo]:
        """Transactions of a chain that were disconnected and neither came back nor were given up."""
        kept_ = (*self.records.values(), *self.waiting.values())
        return [item for record in kept_ for item in record.limbo if item.chain == chain and not item.pending]

    def settle(self, chain: str, passed: int) -> list[str]:
        """The new branch has blocks up to ``passed``: what was below that and did not come back did not happen."""
        changed: dict[str, str] = {}
        for record in (*self.records.values(), *self.waiting.values()):
            dead = {(i.chain, i.tx): i for i in record.limbo if i.chain == chain and i.tip <= passed}
            if dead:
                record.limbo = [item for item in record.limbo if (item.chain, item.tx) not in dead]
                void(record, set(dead), {place: item.why or UNMINED for place, item in dead.items() if item.pending})
                changed[record.id] = record.entity
        found: list[str] = []
        for entity in dict.fromkeys(changed.values()):
            found += self.arrange(entity)
        return list(dict.fromkeys([*found, *changed]))

    # -- people ---------------------------------------------------------------------------------------------------

    def get(self, incident_id: str) -> Record | None:
        """The record of an incident, of the one that took it over where it was merged; None where there is none."""
        while incident_id in self.merged:
            incident_id = self.merged[incident_id]
        return self.records.get(incident_id)

    def verdict(self, incident_id: str, what: str, by: str, comment: str, at: str) -> list[str]:
        """Take in what a person said of an incident; the ids that changed, none where there is no such incident."""
        record = self.get(incident_id)
        if record is None:
            return []
        closed = record.status in CLOSED
        if what not in ("acknowledge", "note"):
            seen = build(record)
            record.kept_open = what == "reopen" and is_returned(dict(seen.lost), dict(seen.returned))
        # An acknowledgement says that somebody looks: it takes back no verdict, and opens nothing that is closed.
        stands = what == "note" or (what == "acknowledge" and record.status is not Status.OPEN)
        if not stands and (record.status is not Status.RETRACTED or _SAID[what] in CLOSED):
            record.status = _SAID[what]
        record.history.append({"what": what, "by": by, "comment": comment, "at": at})
        changed = [record.id]
        if closed and record.status in COLLECTING:
            changed += self.arrange(record.entity)
        return list(dict.fromkeys(changed))

    # -- views ----------------------------------------------------------------------------------------------------

    def change(self, incident_id: str) -> Change:
        """Raise the revision of a changed incident, and say whether people should hear of it."""
        record = self.records[incident_id]
        record.revision += 1
        incident = self.incident(incident_id)
        kind = self._kind(record, incident)
        if kind is not None:
            over = kind == "resolved"
            record.told_return = over and record.status not in CLOSED
            if over:
                record.told = int(Severity.LOW) if record.told_return else 0
            else:
                record.told = max(record.told, int(incident.severity))
            record.told_lost = {asset: str(value) for asset, value in incident.lost}
            record.told_unconfirmed = incident.unconfirmed
            if kind in ("opened", "escalated"):
                record.raised_lost = dict(record.told_lost)
        return Change(incident, kind)

    @staticmethod
    def _kind(record: Record, incident: Incident) -> str | None:
        if incident.status is Status.RETRACTED:
            return "retracted" if record.told else None
        if incident.status in CLOSED:
            return "resolved" if record.told and not record.told_return else None
        if record.told == 0:
            return "opened"
        doubled = any(
            value >= 2 * int(record.raised_lost.get(asset, "0")) > 0 for asset, value in incident.lost
        )
        before = {asset.partition("/")[0] for asset in record.raised_lost}
        wider = any(asset.partition("/")[0] not in before for asset, _ in incident.lost)  # the first loss on a chain
        if int(incident.severity) > record.told or doubled or wider:
            return "escalated"
        lost = {asset: str(value) for asset, value in incident.lost}
        news = record.told_return or lost != record.told_lost or (record.told_unconfirmed and not incident.unconfirmed)
        return "updated" if news else None

    def suspects(self, entity: str) -> Set[tuple[str, str]]:
        """(chain, address) of whoever was a suspect of this entity at any time."""
        return self._suspects.get(entity, frozenset())

    def _suspect(self, record: Record) -> None:
        named = {(f.chain, f.destination) for f in record.findings.values() if f.destination}
        self._suspects.setdefault(record.entity, set()).update(named)

    def incident(self, incident_id: str) -> Incident:
        """An incident with all its fields computed from its evidence; KeyError where there is none."""
        record = self.get(incident_id)
        if record is None:
            raise KeyError(incident_id)
        return build(record)

    def all(self) -> list[Incident]:
        """Every incident, by (opened_at, id)."""
        found = [build(record) for record in self.records.values()]
        return sorted(found, key=lambda incident: (incident.opened_at, incident.id))

    # -- storage --------------------------------------------------------------------------------------------------

    def dump(self, incident_id: str) -> bytes:
        """The stored form."""
        if incident_id in self.merged:
            into = self.merged[incident_id]
            gone = Record(incident_id, "", Status.RETRACTED, 0, {}, {}, {}, merged_into=into)
            return msgspec.json.encode(gone)
        waiting = next((record for record in self.waiting.values() if record.id == incident_id), None)
        if waiting is not None:
            return msgspec.json.encode(waiting)
        return msgspec.json.encode(self.records[incident_id])

    def load(self, stored: Iterable[bytes]) -> None:
        """Take stored incidents over."""
        for raw in stored:
            try:
                record = msgspec.json.decode(raw, type=Record)
            except msgspec.DecodeError as error:
                raise StoreError(f"a stored incident cannot be read ({error}): written by another version?") from None
            if record.merged_into:
                self.merged[record.id] = record.merged_into
                continue
            if record.id == stable_id("signals", record.entity):
                self.waiting[record.entity] = record
            else:
                self.records[record.id] = record
            self._suspect(record)
