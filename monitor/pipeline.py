"""The pipeline: a block in, one atomic commit out: state, undo, flows, incidents, alerts, coverage, verdicts.

It knows neither chains nor channels: balances come through a function, alerts leave as outbox rows through another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from monitor.assets import AssetNames
from monitor.engine import Engine, Folded, Hit
from monitor.errors import ReorgTooDeep
from monitor.findings import finding_of, movement_of
from monitor.ids import iso
from monitor.incidents import GAP, Change, Correlator
from monitor.model import Alert, Block, BlockRef, Direction, Flow, Movement, TransferKind
from monitor.published import alert_of
from monitor.store import BlockRecord, Commit, CoverageRange, Delta, FlowRecord, OperatorEvent, OutboxRow, Store

__all__ = ["Pipeline", "flow_record"]

Told = Mapping[tuple[str, str, str], int]


def flow_record(flow: Flow) -> FlowRecord:
    """A flow as it is kept."""
    transfer = flow.transfer
    return FlowRecord(
        chain=transfer.block.chain,
        block_number=transfer.block.number,
        tx=transfer.tx.hash,
        transfer_index=transfer.index,
        wallet=flow.wallet,
        direction=int(flow.direction),
        asset=transfer.asset,
        counterparty=flow.counterparty if transfer.kind is not TransferKind.FEE else "",
        value=flow.value,
        timestamp=flow.timestamp,
        initiator=transfer.tx.initiator,
    )


class _Open:
    """A commit under construction, for one chain."""

    def __init__(self, chain: str) -> None:
        self.chain = chain
        self.tip: BlockRef | None = None
        self.disconnected: list[BlockRef] = []
        self.connected: list[BlockRecord] = []
        self.state: dict[bytes, bytes | None] = {}
        self.incidents: dict[str, None] = {}
        self.outbox: list[OutboxRow] = []
        self.coverage: list[CoverageRange] = []
        self.effective: list[tuple[str, BlockRef | None]] = []

    def __len__(self) -> int:
        return len(self.connected) + len(self.disconnected)


class Pipeline:
    """Folds blocks and commits what they change.

    Parameters
    ----------
    route : turns an alert into outbox rows, given the wall clock
    clock : wall clock, UTC seconds
    finality : blocks below head after which undo may go, by chain
    """

    def __init__(
        self,
        engine: Engine,
        correlator: Correlator,
        store: Store,
        names: AssetNames,
        route: Callable[[Alert, float], Sequence[OutboxRow]],
        clock: Callable[[], float],
        finality: Mapping[str, int],
    ) -> None:
        self.engine = engine
        self.correlator = correlator
        self.tips: dict[str, BlockRef | None] = {}
        self.changes: list[Change] = []  # since the last flush, for whoever shows them
        self._store = store
        self._names = names
        self._route = route
        self._clock = clock
        self._finality = finality
        self._roles = {wallet.id: wallet.role for wallet in engine.watchlist.wallets.values()}
        self._old_tip: dict[str, int] = {}
        self._final: dict[str, int] = {}  # blocks at or below are stored without their undo
        self._open: dict[str, _Open] = {}
        self._in_force: list[tuple[OperatorEvent, BlockRef | None]] = []
        self._again: list[OperatorEvent] = []

    async def start(self) -> None:
        """Take the stored state over."""
        self.engine.load([item async for item in self._store.state()])
        self.correlator.load(await self._store.incidents())

    # -- blocks ---------------------------------------------------------------------------------------------------

    async def connect(self, block: Block, told: Told | None = None) -> Folded:
        """Fold a block that extends the chain; `flush` stores it.

        Parameters
        ----------
        told : balances before this block by (wallet, chain, asset)
        """
        chain = block.ref.chain
        work = self._work(chain)
        await self._verdicts(work, block.ref)
        folded = self.engine.connect(block, told)
        work.state.update(folded.state)
        work.connected.append(
            BlockRecord(
                block.ref,
                block.parent_hash,
                block.timestamp,
                folded.undo,
                tuple(flow_record(flow) for flow in folded.flows),
            )
        )
        work.tip = self.tips[chain] = block.ref
        number = block.ref.number
        work.coverage.append(
            CoverageRange(chain, number, number, block.source, block.blind_spots, len(block.undecoded))
        )
        changed = await self._evidence(folded)
        changed += [name for name in self.correlator.settle(chain, number - 1) if name not in changed]
        if number > self._old_tip.get(chain, -1):
            self._old_tip.pop(chain, None)
        self._tell(work, changed)
        return folded

    async def disconnect(self, ref: BlockRef) -> None:
        """Undo the tip of a chain."""
        chain = ref.chain
        if chain in self._open and self._open[chain].connected:
            await self.flush(chain)
        stored = await self._store.block(chain, ref.number)
        if stored is None or stored.ref != ref or ref.number <= self._final_of(chain):
            raise ReorgTooDeep(f"block {ref.number} of {chain} was rewritten, and is no longer kept to be undone")
        work = self._work(chain)
        self.engine.disconnect(stored.undo)
        work.state.update(stored.undo)
        work.disconnected.append(ref)
        parent = BlockRef(chain, ref.number - 1, stored.parent_hash)
        known = await self._store.block(chain, ref.number - 1)
        work.tip = self.tips[chain] = parent if known is not None else None
        self._old_tip[chain] = max(ref.number, self._old_tip.get(chain, ref.number))
        for name in self.correlator.disconnect(chain, ref.number, self._old_tip[chain]):
            work.incidents[name] = None
        again = [item for item in self._in_force if item[1] and item[1].chain == chain and item[1].number >= ref.number]
        self._again.extend(event for event, _ in again)
        self._in_force = [item for item in self._in_force if item not in again]

    async def settle(self, chain: str) -> None:
        """No further block came for a while after a reorg: what the new branch lacks did not happen."""
        tip = self.tips.get(chain)
        if tip is None or not self.correlator.doubtful(chain):
            return
        work = self._work(chain)
        self._tell(work, self.correlator.settle(chain, tip.number))
        await self.flush(chain, force=True)

    async def flush(self, chain: str, *, force: bool = False) -> bool:
        """Store what was folded since the last time, in one commit. True where alerts were queued."""
        work = self._open.pop(chain, None)
        if work is None or not (len(work) or force):
            return False
        tip = work.tip if len(work) else self.tips.get(chain)
        final = tip.number - self._finality.get(chain, 64) if tip else None
        if final is not None:
            self._final[chain] = max(final, self._final.get(chain, final))
        await self._store.commit(
            Commit(
                chain=chain,
                tip=tip,
                disconnected=tuple(work.disconnected),
                connected=tuple(work.connected),
                state=tuple(sorted(work.state.items())),
                incidents=tuple((name, self.correlator.dump(name)) for name in work.incidents),
                outbox=tuple(work.outbox),
                coverage=tuple(work.coverage),
                effective=tuple(work.effective),
                final=final,
            )
        )
        return bool(work.outbox)

    def _final_of(self, chain: str) -> int:
        """Height at or below which nothing can be undone."""
        tip = self.tips.get(chain)
        return self._final.setdefault(chain, tip.number - self._finality.get(chain, 64) if tip else -1)

    def is_doubtful(self, chain: str) -> bool:
        """Whether a disconnected transaction that people were told of may still come back."""
        return bool(self.correlator.doubtful(chain))

    def _work(self, chain: str) -> _Open:
        if chain not in self._open:
            self._open[chain] = _Open(chain)
        return self._open[chain]

    # -- evidence -------------------------------------------------------------------------------------------------

    async def _evidence(self, folded: Folded) -> list[str]:
        """Findings and movements of a block into incidents; ids of those that changed."""
        by_entity: dict[str, list[Hit]] = {}
        for hit in folded.hits:
            entity = self.engine.watchlist.wallets[hit.flow.wallet].entity
            by_entity.setdefault(entity, []).append(hit)
        changed: list[str] = []
        for entity, hits in by_entity.items():
            findings = [finding_of(hit, self._names) for hit in hits if hit.fired]
            movements = [movement_of(hit) for hit in hits]
            earlier: list[Movement] = []
            for finding in findings:
                earlier += await self._earlier(finding.wallet, finding.chain, finding.destination, finding.at, folded)
            movements = _unique([*earlier, *movements])
            changed += self.correlator.add(entity, findings, movements, _balances(hits, movements))
        return changed

    async def _earlier(self, wallet: str, chain: str, address: str, at: int, folded: Folded) -> list[Movement]:
        """What went to a new suspect within the day before, and earlier in this block or run of blocks."""
        kept = list(await self._store.flows(wallet, chain, address, at - GAP))
        gone = {ref.number for ref in self._work(chain).disconnected}
        kept = [flow for flow in kept if flow.block_number not in gone]
        for record in self._work(chain).connected:
            kept += [flow for flow in record.flows if flow.wallet == wallet and flow.counterparty == address]
        kept += [
            flow_record(flow) for flow in folded.flows if flow.wallet == wallet and flow.counterparty == address
        ]
        return [
            Movement(
                flow.wallet, flow.chain, flow.asset, flow.counterparty, flow.value, flow.timestamp, flow.tx,
                flow.transfer_index, flow.block_number,
            )
            for flow in kept
            if flow.direction == Direction.OUT and at - GAP <= flow.timestamp
        ]  # fmt: skip

    # -- people ---------------------------------------------------------------------------------------------------

    async def _verdicts(self, work: _Open, ref: BlockRef) -> None:
        """What people said since the last block takes effect now."""
        fresh = await self._store.said(pending=True)
        taken = {event_id for event_id, _ in work.effective}
        for event in [*self._again, *(event for event in fresh if event.id not in taken)]:
            renewed = event in self._again
            record = self.correlator.records.get(event.incident_id)
            if record is not None and not renewed:
                self.correlator.verdict(event.incident_id, event.kind, event.by, event.comment, str(iso(event.at)))
            if record is not None:
                for key, value in self._take_effect(event):
                    work.state[key] = value
                self._tell(work, [event.incident_id], quiet=event.kind in ("acknowledge", "confirm", "reopen"))
            work.effective.append((event.id, ref))
            self._in_force.append((event, ref))
        self._again = []
        self._in_force = self._in_force[-1000:]

    def _take_effect(self, event: OperatorEvent) -> Delta:
        incident = self.correlator.incident(event.incident_id)
        pairs = sorted({(finding.wallet, finding.chain) for finding in incident.findings})
        if event.kind == "confirm":
            return self.engine.confirm_theft(pairs)
        if event.kind not in ("false-alarm", "resolve"):
            return ()
        changes: list[tuple[bytes, bytes | None]] = []
        for wallet, chain, address in sorted({(f.wallet, f.chain, f.destination) for f in incident.findings}):
            learned: dict[str, int] = {}
            if event.kind == "false-alarm":
                for m in incident.movements:
                    if (m.wallet, m.chain, m.counterparty) == (wallet, chain, address):
                        learned[m.asset] = max(learned.get(m.asset, 0), m.value)
            changes.extend(self.engine.clear_suspect(wallet, chain, address, learned))
        return tuple(changes)

    # -- messages -------------------------------------------------------------------------------------------------

    def _tell(self, work: _Open, changed: Sequence[str], *, quiet: bool = False) -> None:
        """Raise revisions, and queue what people should hear of."""
        now = self._clock()
        for name in dict.fromkeys(changed):
            work.incidents[name] = None
            change = self.correlator.change(name)
            self.changes.append(change)
            if change.kind is None or quiet:
                continue
            alert = alert_of(change.incident, change.kind, self._names, self._roles)
            work.outbox.extend(self._route(alert, now))


def _unique(movements: Sequence[Movement]) -> list[Movement]:
    found: dict[Any, Movement] = {}
    for m in movements:
        found[m.chain, m.tx, m.wallet, m.asset, m.counterparty, m.index] = m
    return sorted(found.values(), key=lambda m: (m.at, m.block_number, m.index))


def _balances(hits: Sequence[Hit], movements: Sequence[Movement]) -> dict[str, float]:
    """Balance before the first movement to a suspect, by wallet, chain and asset, from what each hit left."""
    found: dict[str, float] = {}
    for hit in hits:
        transfer = hit.flow.transfer
        place = f"{hit.flow.wallet}|{transfer.block.chain}|{transfer.asset}"
        if place in found:
            continue
        before = float(hit.record["balance"])
        for m in movements:
            same = (m.wallet, m.chain, m.asset) == (hit.flow.wallet, transfer.block.chain, transfer.asset)
            if same and (m.block_number, m.index) <= (transfer.block.number, transfer.index):
                before += m.value
        found[place] = before
    return found
