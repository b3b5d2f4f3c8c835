"""The pipeline: a block in, one atomic commit out: state, undo, flows, incidents, alerts, coverage, verdicts.

It knows neither chains nor channels: balances come through a function, alerts become outbox rows and notes at a desk
(`monitor.telling`). It is longer than most modules, since everything here changes the one commit that is open: what it
can do without that is elsewhere (`block_evidence`, `foresight`, `rewrite`, `swap`, `effects`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from monitor.assets import AssetNames
from monitor.block_evidence import BlockEvidence
from monitor.derived import PREFIX as DERIVED
from monitor.effects import effect_of
from monitor.engine import Engine, Folded
from monitor.errors import ReorgTooDeep
from monitor.foresight import Foresight
from monitor.gap import PROVISIONAL, known_balances, provisional
from monitor.ids import iso
from monitor.incidents import Change, Correlator, Record
from monitor.keepsakes import Keepsakes, prefix_of
from monitor.marks import Mark, MarkState, begun, left_out, mark_key, of_pipeline, read_mark, write_mark
from monitor.model import Alert, Block, BlockRef
from monitor.open_commit import KEPT, OpenCommit, flow_record
from monitor.own.failures import Failures
from monitor.published import alert_of
from monitor.refold import Refold, is_known
from monitor.rewrite import OldBranch, blind_to_rewrite, replaced
from monitor.signals import reaches
from monitor.spool import Head, Said, Seen, live_key, pack_seen
from monitor.store import BlockRecord, Commit, CoverageRange, Delta, OperatorEvent, OutboxRow, Store
from monitor.swap import Swap, state_delta
from monitor.telling import Desk, Router, desk_of

__all__ = ["Pipeline"]

CORRECTIONS = ("retracted", "resolved")  # go to everyone who got the alarm, wherever the route leads now
QUIET = ("acknowledge", "confirm", "note")  # verdicts of which nobody is told
_SEPARATOR = b"\x1f"  # of the parts of a state key: kind, wallet, chain, ...
Told = Mapping[tuple[str, str, str], int]


class Pipeline:
    """Folds blocks and commits what they change.

    Parameters
    ----------
    route : turns alerts into outbox rows: a desk, or a function that forgets
    clock : wall clock, UTC seconds
    finality : blocks below head after which undo may go, by chain
    """

    def __init__(
        self,
        engine: Engine,
        correlator: Correlator,
        store: Store,
        names: AssetNames,
        route: Router | Desk,
        clock: Callable[[], float],
        finality: Mapping[str, int],
    ) -> None:
        self.engine = engine
        engine.names = names
        self.correlator = correlator
        correlator.reach = reaches(engine.watchlist)
        self.tips: dict[str, BlockRef | None] = {}
        self.marks: dict[str, Mark] = {}  # how a chain's state began, where not with the first live block
        self.backfills: dict[str, int] = {}  # chains that learn from history at their first block: seconds of it
        self.config_path = ""  # named by the commands in messages
        self.appraise: Callable[[Record], None] | None = None  # notes what losses were worth
        self.failures = Failures()  # of detectors of the user's own
        self.changes: list[Change] = []  # since the last flush, for whoever shows them
        self._store = store
        self._names = names
        self._evidence = BlockEvidence(engine, correlator, store, names)
        self.foresight = Foresight(engine, correlator, self._evidence, store)
        self._old_branch = OldBranch(engine.watchlist, store)
        self.desk = desk_of(route)
        self._clock = clock
        self._finality = finality
        self.final_heights: dict[str, int] = {}  # what nodes call final, by chain, where they are asked
        self.keepsakes: dict[str, Keepsakes] = {}  # of chains' readers
        self._roles = {wallet.id: wallet.role for wallet in engine.watchlist.wallets.values()}
        self._old_tip: dict[str, int] = {}  # height of the branch that is being undone, until it is passed
        self._final: dict[str, int] = {}  # blocks at or below are stored without their undo
        self._open: dict[str, OpenCommit] = {}
        self._heard: dict[str, list[Said]] = {}  # what verdicts did on a chain since its last block
        self._again: dict[str, OperatorEvent] = {}  # verdicts whose block was disconnected

    async def start(self) -> None:
        """Take the stored state over."""
        self._load([item async for item in self._store.state()])
        self.engine.watchlist.derived.restore(await self._store.notes(DERIVED))
        for chain in self.engine.watchlist.chains:
            self.keepsakes[chain] = Keepsakes(chain, await self._store.notes(prefix_of(chain)))
        self.correlator.load(await self._store.incidents())

    def _load(self, records: Sequence[tuple[bytes, bytes | None]]) -> None:
        """Take records over: those of the engine, and the marks."""
        self.engine.load([item for item in records if not of_pipeline(item[0])])
        self._old_branch.load(records)
        for key, value in records:
            if value is None and key.startswith(mark_key("")):
                self.marks.pop(key.removeprefix(mark_key("")).decode(), None)
            elif value is not None and (found := read_mark(key, value)) is not None:
                self.marks[found[0]] = found[1]

    # -- blocks ---------------------------------------------------------------------------------------------------

    async def connect(self, block: Block, told: Told | None = None) -> Folded:
        """Fold a block that extends the chain; `flush` stores it.

        Parameters
        ----------
        told : balances before this block by (wallet, chain, asset)
        """
        chain = block.ref.chain
        await self._flush_others(chain)
        await self.desk.refresh()
        work = self._work(chain)
        said = await self._verdicts(work, block.ref)
        block, again, known, forgotten = self._old_branch.without(block, self.finality(chain))
        work.state.update(known)
        said.update(forgotten)
        said.update(self._marked(work, block, told))
        folded = self.engine.connect(block, told)
        work.state.update(folded.state)
        work.connected.append(
            BlockRecord(
                block.ref,
                block.parent_hash,
                block.timestamp,
                (KEPT, *sorted({**dict(folded.undo), **said}.items())),
                (*(flow_record(flow) for flow in folded.flows), *again),
            )
        )
        work.tip = self.tips[chain] = block.ref
        number = block.ref.number
        work.coverage.append(
            CoverageRange(chain, number, number, block.source, block.blind_spots, len(block.undecoded))
        )
        changed = self.correlator.mined_again(chain, {flow.tx for flow in again}, number) if again else []
        mark = self.marks.get(chain)
        if mark is not None and mark.state is MarkState.GAP:
            changed += await self._evidence.add(provisional(mark, folded), work, PROVISIONAL)
        else:
            self.correlator.passed(chain, block.timestamp)
            changed += await self._evidence.add(folded, work)
        changed += [name for name in self.foresight.mined(block) if name not in changed]
        for name in (*self.foresight.put_back(chain, number - 1), *self.correlator.settle(chain, number - 1)):
            changed += [name] if name not in changed else []
        if number > self._old_tip.get(chain, -1):
            self._old_tip.pop(chain, None)
        self._tell(work, changed)
        return folded

    def _marked(self, work: OpenCommit, block: Block, told: Told | None) -> dict[bytes, bytes | None]:
        """What a block does to its chain's mark, and whether it is spooled; how to undo that."""
        chain = block.ref.chain
        changed: dict[bytes, bytes | None] = {}
        mark, said = self.marks.get(chain), self._heard.pop(chain, [])
        if mark is not None:
            after = mark.after(block, told or {})
        elif chain in self.backfills:
            after = begun(block, self.backfills[chain])
        else:
            return {}
        if after != mark:
            self.marks[chain] = after
            work.state[mark_key(chain)] = write_mark(after)
            changed[mark_key(chain)] = write_mark(mark) if mark is not None else None
        touches = block.transfers or block.controls or block.readings or block.balances
        if after.is_filling and (touches or told or said):
            heard = dict(told or {})
            if after.state is MarkState.GAP:  # those that were known are in the state from which it is folded
                heard = {name: value for name, value in heard.items() if not is_known(self.engine, *name)}
            known = tuple(sorted((wallet, asset, value) for (wallet, _, asset), value in heard.items()))
            key = live_key(chain, block.ref.number)
            work.state[key] = pack_seen(Seen(block, known, tuple(said)))
            changed[key] = None
        return changed

    async def disconnect(self, ref: BlockRef) -> None:
        """Undo the tip of a chain. What cannot be undone any more stays in the state, see `monitor.rewrite`."""
        chain = ref.chain
        await self._flush_others(chain)
        if chain in self._open and self._open[chain].connected:
            await self.flush(chain)
        stored = await self._store.block(chain, ref.number)
        if stored is None or stored.ref != ref:
            raise ReorgTooDeep(f"block {ref.number} of {chain} was rewritten, and is no longer kept")
        work = self._work(chain)
        if ref.number <= self._final_of(chain) or KEPT not in stored.undo:
            await self._keep_state(work, stored)
        else:
            undo = tuple(item for item in stored.undo if item != KEPT)
            self._load(undo)
            work.state.update(undo)
        work.disconnected.append(ref)
        self.foresight.pool(chain).reopen(ref.number)
        parent = BlockRef(chain, ref.number - 1, stored.parent_hash)
        known = await self._store.block(chain, ref.number - 1)
        work.tip = self.tips[chain] = parent if known is not None else self._below(work)
        doubtful = (item.tip for item in self.correlator.doubtful(chain))  # of before a restart, too
        old_tip = self._old_tip[chain] = max(ref.number, self._old_tip.get(chain, 0), *doubtful)
        for name in self.correlator.disconnect(chain, ref.number, old_tip):
            work.incidents[name] = None
        for event in await self._store.said(pending=False):
            if event.effective == ref:
                self._again[event.id] = event
                work.effective[event.id] = None

    def _below(self, work: OpenCommit) -> BlockRef | None:
        """The stored block below one whose parent was left out."""
        mark = self.marks.get(work.chain)
        if mark is None or not mark.is_filling or mark.block >= 0 or mark.below is None:
            return None
        work.base = BlockRef(work.chain, mark.below.number, mark.below.hash)
        return work.base

    async def _keep_state(self, work: OpenCommit, stored: BlockRecord) -> None:
        """A block that cannot be undone is no more: its transactions are remembered, balances are to be asked again."""
        chain, number = work.chain, stored.ref.number
        if not self._old_branch.is_under_way(chain):
            mark = self.marks.get(chain) or Mark(MarkState.LIVE, number, stored.timestamp, started=True)
            self._put_mark(work, replaced(mark, number, known_balances(self.engine, chain)))
            self._route(work, blind_to_rewrite(chain, number, stored.ref.hash), self._clock())
        work.state.update(await self._old_branch.take_away(chain, number, stored.timestamp))
        self._final[chain] = min(self._final_of(chain), number - 1)

    def _put_mark(self, work: OpenCommit, mark: Mark | None) -> None:
        if mark is None:
            self.marks.pop(work.chain, None)
        else:
            self.marks[work.chain] = mark
        work.state[mark_key(work.chain)] = write_mark(mark) if mark is not None else None

    async def foresee(self, chain: str, events: Sequence[Any], told: Told | None = None, *, fold: bool = True) -> None:
        """Take in what waits to be mined, and what it would show; between two blocks.

        Parameters
        ----------
        events : what came and what went, see `chains.base.Mempool`
        told : balances at the tip that the engine lacks
        fold : whether the tip is near enough to the head to say what comes next
        """
        await self._flush_others(chain)
        await self.desk.refresh()
        tip, work = self.tips.get(chain), self._work(chain)
        changed = self.foresight.hear(chain, events, tip)
        if tip is not None and fold:
            changed += await self.foresight.look(tip, work, told or {}, self._clock(), self.marks.get(chain))
        self._tell(work, changed)
        await self.flush(chain, force=bool(changed))

    async def settle(self, chain: str) -> None:
        """No further block came for a while after a reorg: what the new branch lacks did not happen."""
        tip = self.tips.get(chain)
        if tip is None or not self.correlator.doubtful(chain):
            return
        await self._flush_others(chain)
        work = self._work(chain)
        again = self.foresight.put_back(chain, tip.number)
        self._tell(work, [*again, *self.correlator.settle(chain, tip.number)])
        await self.flush(chain, force=True)

    async def flush(self, chain: str, *, force: bool = False) -> bool:
        """Store what was folded since the last time, in one commit. True where alerts were queued."""
        work = self._open.pop(chain, None)
        if work is None or not (len(work) or force):
            return False
        tip = work.tip if len(work) else self.tips.get(chain)
        final = self._final_at(chain, tip) if tip else None
        if final is not None:
            self._final[chain] = max(final, self._final.get(chain, final))
        derived = self.engine.watchlist.derived.taken(tip) if tip else ()  # coins and history show use, too
        await self._store.commit(
            Commit(
                chain=chain,
                tip=tip,
                disconnected=tuple(work.disconnected),
                connected=tuple(work.connected),
                state=tuple(sorted(work.state.items())),
                incidents=tuple((name, self.correlator.dump(name)) for name in work.incidents),
                outbox=tuple(work.outbox),
                notes=(*work.notes, *derived, *self._kept(chain), *self.desk.taken()),
                coverage=tuple(work.coverage),
                effective=tuple(work.effective.items()),
                final=final,
                base=work.base,
            )
        )
        return bool(work.outbox)

    def _kept(self, chain: str) -> tuple[tuple[str, bytes | None], ...]:
        return self.keepsakes[chain].taken() if chain in self.keepsakes else ()

    # -- history --------------------------------------------------------------------------------------------------

    async def keep(self, chain: str, records: Delta, mark: Mark | None) -> None:
        """Store records of the spool and the chain's mark (None: it has none any more); between two blocks."""
        work = self._work(chain)
        work.state.update(records)
        self._put_mark(work, mark)
        await self.flush(chain, force=True)

    async def leave_out(self, chain: str) -> None:
        """The blocks from the tip to the next one connected are not read now; between two blocks."""
        tip = self.tips.get(chain)
        if tip is None:
            raise ReorgTooDeep(f"{chain}: nothing is stored above which blocks could be left out")
        await self.keep(chain, (), left_out(self.marks.get(chain), tip, known_balances(self.engine, chain)))

    async def alert(self, chain: str, alert: Alert) -> None:
        """Queue a message that belongs to no incident."""
        self._route(self._work(chain), alert, self._clock())
        await self.flush(chain, force=True)

    async def attend(self) -> bool:
        """What the desk has to do by now, between two blocks of any chain; True where alerts were queued."""
        for chain in list(self._open):
            await self.flush(chain, force=True)
        return await self.desk.tick(self._clock())

    async def swap(
        self, chain: str, refold: Refold, mark: Mark | None, gone: Sequence[bytes], heads: Sequence[Head]
    ) -> None:
        """Put the state of a fold with blocks that were fetched in the place of a chain's, in one commit.

        Between two blocks. Blocks that are not final keep being undoable, into the new state. What the fold shows in
        live blocks joins incidents, and what it shows above a gap's lower end; what it showed in history does not.

        Parameters
        ----------
        refold : up to the tip
        mark : the chain's from now on, None: it has none any more
        gone : keys of the spool that go
        heads : what was fetched
        """
        await self._flush_others(chain)
        await self.flush(chain)
        old, tip = self.marks.get(chain), self.tips.get(chain)
        delta = state_delta(self.engine, refold.engine, chain)
        self.engine.load(delta)
        work = self._work(chain)
        work.state.update({**dict(delta), **dict.fromkeys(gone)})
        self._put_mark(work, mark)
        swap = Swap(self._store, self._evidence, self.correlator, work, refold, heads)
        if old is not None and old.state is MarkState.GAP and tip is not None:
            changed = await swap.fill(old, tip, self._final_at(chain, tip))
        else:
            changed = await swap.learn(tip, max(self._final_of(chain), mark.block - 1 if mark is not None else -1))
        self._tell(work, changed)
        await self.flush(chain, force=True)

    def _hear(self, chain: str, said: Said) -> None:
        """Remember what a verdict does, for a later fold of the same blocks."""
        mark = self.marks.get(chain)
        if mark is not None and mark.is_filling:
            self._heard.setdefault(chain, []).append(said)

    async def _flush_others(self, chain: str) -> None:
        """Incidents belong to all chains: what another chain did to them is stored before this one changes them."""
        for other in [name for name, work in self._open.items() if work.incidents or work.effective or work.notes]:
            if other != chain:
                await self.flush(other)

    def _final_of(self, chain: str) -> int:
        """Height at or below which nothing can be undone."""
        tip = self.tips.get(chain)
        return self._final.setdefault(chain, self._final_at(chain, tip) if tip else -1)

    def _final_at(self, chain: str, tip: BlockRef) -> int:
        """The same as a tip has it. What is folded above a gap, and some blocks below it, stay undoable."""
        mark = self.marks.get(chain)
        held = mark.anchor.number if mark is not None and mark.anchor is not None else tip.number
        deep = min(tip.number, held) - self.finality(chain)
        return min(deep, self.final_heights.get(chain, deep))

    def finality(self, chain: str) -> int:
        """Blocks below the head after which undo may go."""
        return self._finality.get(chain, 64)

    def is_doubtful(self, chain: str) -> bool:
        """Whether a disconnected transaction that people were told of may still come back."""
        return bool(self.correlator.doubtful(chain))

    def _work(self, chain: str) -> OpenCommit:
        if chain not in self._open:
            self._open[chain] = OpenCommit(chain)
        return self._open[chain]

    # -- people ---------------------------------------------------------------------------------------------------

    async def _verdicts(self, work: OpenCommit, ref: BlockRef) -> dict[bytes, bytes | None]:
        """What people said since the last block takes effect now; how to undo that on this chain.

        A verdict whose block was disconnected takes effect again, once what it is about is no longer in doubt.
        """
        undo: dict[bytes, bytes | None] = {}
        fresh = {event.id: event for event in await self._store.said(pending=True)}
        for event in (self._again | fresh).values():
            if work.effective.get(event.id) is not None:
                continue
            record = self.correlator.get(event.incident_id)
            entry = {"what": event.kind, "by": event.by, "comment": event.comment, "at": str(iso(event.at))}
            again = record is not None and entry in record.history
            if again and record is not None and any(item.chain == ref.chain for item in record.limbo):
                continue
            if record is not None:
                changed = [record.id] if again else self.correlator.verdict(record.id, **entry)
                confirmed = any(earlier["what"] == "confirm" for earlier in record.history)
                incident, only = self.correlator.incident(record.id), ref.chain if again else None
                effect = effect_of(self.engine, event.kind, incident, confirmed=confirmed, only=only)
                for chain, said in effect.said:
                    self._hear(chain, said)
                work.state.update(effect.state)
                for key, value in effect.undo:
                    if key.split(_SEPARATOR)[2] == ref.chain.encode():
                        undo.setdefault(key, value)
                self._tell(work, changed, quiet=again or event.kind in QUIET)
            self.desk.heard(event)
            work.effective[event.id] = ref
            self._again.pop(event.id, None)
        return undo

    # -- messages -------------------------------------------------------------------------------------------------

    def _tell(self, work: OpenCommit, changed: Sequence[str], *, quiet: bool = False) -> None:
        """Raise revisions, and queue what people should hear of."""
        now = self._clock()
        for name in dict.fromkeys(changed):
            work.incidents[name] = None
            if name not in self.correlator.records:  # merged into another
                continue
            if self.appraise is not None:
                self.appraise(self.correlator.records[name])
            change = self.correlator.change(name)
            self.changes.append(change)
            if change.kind is None or quiet:
                continue
            alert = alert_of(change.incident, change.kind, self._names, self._roles, self.config_path)
            record = self.correlator.records[name]
            also = tuple(record.receivers) if change.kind in CORRECTIONS else ()
            rows = self._route(work, alert, now, also)
            record.receivers = list(dict.fromkeys([*record.receivers, *(row.receiver for row in rows)]))
        for name in changed:
            if name in self.correlator.merged:
                self.desk.merged(name, self.correlator.merged[name])

    def _route(
        self, work: OpenCommit, alert: Alert, now: float, also: Sequence[str] = ()
    ) -> Sequence[OutboxRow]:
        """Rows of a message, which are queued with ``work``."""
        told = self.desk.route(alert, now, also)
        work.outbox += told.rows
        work.notes += told.notes
        return told.rows
