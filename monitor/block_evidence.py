"""The evidence of a block on its way into incidents, with what went to the same addresses before, and came back."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

from monitor.assets import AssetNames
from monitor.engine import Engine, Folded, Hit
from monitor.findings import finding_of, is_news, movement_of, with_blind_spots
from monitor.gap import noted
from monitor.incidents import GAP, Correlator, movement_key
from monitor.mempool import Foreseen
from monitor.model import Direction, Finding, Movement, Severity
from monitor.open_commit import OpenCommit
from monitor.policies.base import left_by, movement_for
from monitor.returns import returns_of
from monitor.store import Store
from monitor.unconfirmed import Unconfirmed

__all__ = ["BlockEvidence"]


class BlockEvidence:
    """Joins what blocks show to incidents.

    Parameters
    ----------
    store : knows the flows of earlier blocks
    """

    def __init__(self, engine: Engine, correlator: Correlator, store: Store, names: AssetNames) -> None:
        self._engine = engine
        self._correlator = correlator
        self._store = store
        self._names = names

    async def add(
        self,
        folded: Folded,
        work: OpenCommit,
        note: Mapping[str, Any] | None = None,
        unconfirmed: tuple[Unconfirmed, Foreseen] | None = None,
    ) -> list[str]:
        """Findings and movements of a block into incidents; ids of those that changed.

        Parameters
        ----------
        work : blocks of this chain that are not stored yet
        note : goes into the evidence of every finding
        unconfirmed : where the block is one that may come, of transactions that wait
        """
        by_entity: dict[str, list[Hit]] = {}
        for hit in (*folded.hits, *folded.signals):
            entity = self._engine.watchlist.wallets[hit.flow.wallet].entity
            by_entity.setdefault(entity, []).append(hit)
        exact: dict[str, list[Finding]] = {}
        for finding in folded.findings:
            if finding.severity is Severity.INFO:  # strangers can cause these at will: they neither open nor join
                continue
            exact.setdefault(self._engine.watchlist.wallets[finding.wallet].entity, []).append(finding)
        back = self._returns(folded)
        changed: list[str] = []
        for entity in dict.fromkeys([*by_entity, *exact, *back]):
            hits = by_entity.get(entity, [])
            news = (finding_of(hit, self._names) for hit in hits if is_news(hit))
            findings = [with_blind_spots(finding, folded.blind_spots) for finding in news]
            findings += exact.get(entity, [])
            findings = [noted(finding, note or {}) for finding in findings]
            movements = [movement_of(hit) for hit in hits]
            earlier: list[Movement] = []
            for finding in findings:
                earlier += await self._earlier(work, finding)
            left = {movement_key(m): float(hit.record["balance"]) for m, hit in zip(movements, hits, strict=True)}
            for finding in exact.get(entity, []):
                paid = movement_for(finding)
                if paid is not None and movement_key(paid) not in left:
                    movements.append(paid)
                    left.update({movement_key(paid): value for value in left_by(finding)})
            if unconfirmed is not None:
                book, foreseen = unconfirmed
                changed += book.add(entity, findings, [*earlier, *movements], left, foreseen)
                continue
            changed += self._correlator.add(entity, findings, [*earlier, *movements], left, back.get(entity, ()))
        return changed

    def _returns(self, folded: Folded) -> dict[str, list[Movement]]:
        """What came from suspects, those of this block included, by entity."""
        news = (hit for hit in (*folded.hits, *folded.signals) if is_news(hit))
        fresh = {(hit.flow.transfer.block.chain, hit.flow.counterparty) for hit in news}
        fresh |= {(f.chain, f.destination) for f in folded.findings if f.severity is not Severity.INFO}
        named: dict[str, Set[tuple[str, str]]] = {}
        found: dict[str, list[Movement]] = {}
        for flow in folded.flows:
            if flow.direction is not Direction.IN:
                continue
            entity = self._engine.watchlist.wallets[flow.wallet].entity
            if entity not in named:
                known = self._correlator.suspects(entity)
                named[entity] = known | fresh if fresh else known
            for back in returns_of(flow, named[entity]):
                found.setdefault(entity, []).append(back)
        return found

    async def _earlier(self, work: OpenCommit, finding: Finding) -> list[Movement]:
        """What went to a new suspect within the day before, in stored blocks and in those folded since."""
        wallet, chain, address, at = finding.wallet, finding.chain, finding.destination, finding.at
        if not address:  # it names no suspect, and fees go to nobody either
            return []
        kept = list(await self._store.flows(wallet, chain, address, at - GAP))
        gone = {ref.number for ref in work.disconnected}
        kept = [flow for flow in kept if flow.block_number not in gone]
        for record in work.connected:
            kept += [flow for flow in record.flows if flow.wallet == wallet and flow.counterparty == address]
        return [
            Movement(
                flow.wallet, flow.chain, flow.asset, flow.counterparty, flow.value, flow.timestamp, flow.tx,
                flow.transfer_index, flow.block_number,
            )
            for flow in kept
            if flow.direction == Direction.OUT and at - GAP <= flow.timestamp
        ]  # fmt: skip
