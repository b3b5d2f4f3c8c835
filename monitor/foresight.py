"""Foresight: what transactions that wait to be mined would show, without a trace in the state.

Everything that waits on a chain is folded as the block after the tip, and undone at once. What it shows joins
incidents as unconfirmed evidence (`monitor.unconfirmed`), and blocks settle it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Protocol

from monitor.block_evidence import BlockEvidence
from monitor.engine import Engine, Folded
from monitor.gap import PROVISIONAL, provisional
from monitor.incident_record import Limbo
from monitor.incidents import Correlator
from monitor.marks import Mark, MarkState
from monitor.mempool import KEPT, Foreseen, Pool, moment, settled_by, txs_of
from monitor.model import Block, BlockRef, TransferKind
from monitor.open_commit import OpenCommit
from monitor.policies.mempool import MEMPOOL
from monitor.policies.settings import Settings
from monitor.store import Store
from monitor.unconfirmed import Unconfirmed

__all__ = ["Foresight"]

LONGEST = 1000  # blocks that the head may be above the tip: what an endpoint says of its height is not believed beyond
DROPPED = 3  # blocks after which a transaction that no node knows any more did not happen: others may know it
LOST = "it was dropped: no node knows it any more"
Told = Mapping[tuple[str, str, str], int]


class _Gone(Protocol):
    hash: str
    why: str
    block: int | None


class Foresight:
    """What waits on all chains, and what became of it."""

    def __init__(self, engine: Engine, correlator: Correlator, evidence: BlockEvidence, store: Store) -> None:
        self.unconfirmed = Unconfirmed(correlator)
        self._engine, self._evidence, self._store = engine, evidence, store
        self._correlator = correlator
        self._settings = Settings(MEMPOOL, engine.settings)
        self._pools: dict[str, Pool] = {}

    def pool(self, chain: str) -> Pool:
        """What waits on a chain."""
        if chain not in self._pools:
            self._pools[chain] = Pool(chain)
            self._pools[chain].recall(self.unconfirmed.items(chain).values())
        return self._pools[chain]

    def known(self, chain: str) -> dict[str, tuple[str, int]]:
        """Transactions that evidence rests on: sender and nonce by hash; ("", -1) where coins are spent."""
        return {hash: (item.sender, item.nonce) for hash, item in self.unconfirmed.items(chain).items()}

    def hear(self, chain: str, events: Iterable[Any], tip: BlockRef | None) -> list[str]:
        """What came and went; the ids of incidents that changed."""
        pool = self.pool(chain)
        changed: list[str] = []
        for event in events:
            pending = getattr(event, "pending", None)
            if pending is not None:
                pool.see(pending)
            else:
                pool.drop(event.hash)
                changed += self._gone(chain, event, tip)
        return changed

    def _gone(self, chain: str, event: _Gone, tip: BlockRef | None) -> list[str]:
        items = self.unconfirmed.items(chain)
        if tip is None or event.hash not in items:
            return []
        if event.why == "mined":  # its block says the rest, where it touches anything
            block = tip.number if event.block is None else event.block
            if block <= tip.number:
                return self.unconfirmed.settle(chain, {event.hash: "it was mined without the effect that was expected"})
            return self.unconfirmed.until(chain, {event.hash: block}, "it was mined without the expected effect")
        known = min(max(tip.number, event.block or 0), tip.number + LONGEST)
        return self.unconfirmed.until(chain, {event.hash: known + DROPPED}, _why(event, items[event.hash]))

    async def look(
        self, tip: BlockRef, work: OpenCommit, told: Told, now: float, mark: Mark | None = None
    ) -> list[str]:
        """Fold what waits after the tip, and undo it; the ids of incidents that changed.

        Parameters
        ----------
        told : balances at the tip that the engine lacks
        now : wall clock, UTC seconds
        mark : how the chain's state began
        """
        chain = tip.chain
        stored = await self._store.block(chain, tip.number)
        pool = self.pool(chain)
        block = pool.block(tip, moment(stored.timestamp, now)) if stored is not None else None
        foreseen = pool.foreseen(tip.number)
        shown: set[str] = set()
        changed: list[str] = []
        if block is not None:
            folded = self._wanted(self._engine.foresee(block, told), block)
            note: Mapping[str, Any] = {}
            if mark is not None and mark.state is MarkState.GAP:
                folded, note = provisional(mark, folded), PROVISIONAL
            shown = {hit.flow.transfer.tx.hash for hit in folded.hits} | {f.tx for f in folded.findings}
            foreseen = self._signs(foreseen, block, folded)
            changed += await self._evidence.add(folded, work, note, unconfirmed=(self.unconfirmed, foreseen))
        changed += self._replaced(chain, pool, shown)
        return [*changed, *self._kept(chain, pool, tip.number)]

    def _replaced(self, chain: str, pool: Pool, shown: set[str]) -> list[str]:
        """A harmless transaction in the place of another ends the alarm; one that shows something itself is a race."""
        waits = self.unconfirmed.items(chain)
        pairs = {old: new for old, new in pool.replaced().items() if old in waits}
        calm = {old: f"replaced by {new}" for old, new in pairs.items() if new not in shown}
        on = {old: new for old, new in pairs.items() if new in shown}
        return [*self.unconfirmed.race(chain, on), *self.unconfirmed.settle(chain, calm)]

    def _kept(self, chain: str, pool: Pool, tip: int) -> list[str]:
        """What still waits is waited for further on."""
        late = {
            hash: tip + KEPT
            for hash, item in self.unconfirmed.items(chain).items()
            if pool.is_sure(hash) and (item.why or item.tip - tip < KEPT // 2)
        }
        return self.unconfirmed.until(chain, late) if late else []

    def mined(self, block: Block) -> list[str]:
        """A block was connected, and its evidence taken in; the ids of incidents that it changes beside that."""
        chain, txs = block.ref.chain, txs_of(block)
        gone = self.pool(chain).mined(txs.values(), block.ref.number) if txs else {}
        waits = self.unconfirmed.items(chain)
        if not waits:
            return []
        why = {hash: f"replaced by {by}" for hash, by in gone.items() if by}
        changed = self.unconfirmed.settle(chain, why | settled_by(txs, waits.values()))
        return [*changed, *self._kept(chain, self.pool(chain), block.ref.number)]

    def put_back(self, chain: str, passed: int) -> list[str]:
        """The new branch has blocks up to ``passed``: what a reorg took away and waits again is not confirmed.

        The ids of incidents that changed; to be called before `Correlator.settle`, which gives up what is left.
        """
        pool = self.pool(chain)
        again = {item.tx for item in self._correlator.doubtful(chain) if item.tip <= passed and item.tx in pool}
        keep = {hash: (KEPT, "") if pool.is_sure(hash) else (DROPPED, LOST) for hash in again}
        return self.unconfirmed.put_back({hash: pool.limbo(hash, passed + n, why) for hash, (n, why) in keep.items()})

    def _wanted(self, folded: Folded, block: Block) -> Folded:
        """Without signals, which count together with others alone, and without what wallets do not want to hear."""
        controlled = {event.tx.hash for event in block.controls}

        def wants(wallet: str, stage: str) -> bool:
            return self._settings.enabled(wallet, "MP-1") and self._settings.enabled(wallet, stage)

        hits = tuple(hit for hit in folded.hits if wants(hit.flow.wallet, "MP-1"))
        findings = (f for f in folded.findings if wants(f.wallet, "MP-4" if f.tx in controlled else "MP-1"))
        return replace(folded, hits=hits, findings=tuple(findings), signals=())

    def _signs(self, foreseen: Foreseen, block: Block, folded: Folded) -> Foreseen:
        """The stages that evidence is of (MP-1 to MP-4), and fees far beyond the wallet's own."""
        notes = {}
        controlled = {event.tx.hash for event in block.controls}
        spikes = {}
        for hit in folded.hits:
            flow = hit.flow
            if flow.transfer.kind is TransferKind.FEE or flow.transfer.tx.fee_rate is None:
                continue
            times = self._engine.fee_against_usual(flow.wallet, block.ref.chain, flow.transfer.tx.fee_rate)
            if times is not None:
                spikes[flow.transfer.tx.hash] = round(times, 1)
        for hash, note in foreseen.notes.items():
            more: dict[str, Any] = {"fee_times_usual": spikes[hash]} if hash in spikes else {}
            stages = ["MP-1"]
            stages += ["MP-2"] if "replaces" in note else []
            stages += ["MP-3"] if "nonce_gap" in note or more else []
            stages += ["MP-4"] if hash in controlled else []
            notes[hash] = {**note, **more, "mempool": stages}
        return replace(foreseen, notes=notes)


def _why(event: _Gone, item: Limbo) -> str:
    """Why one does not wait any more."""
    if event.why != "replaced":
        return LOST
    return "its coins were spent otherwise" if item.spends else "its sender used the nonce for another transaction"
