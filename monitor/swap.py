"""Putting the state of another fold in the place of a chain's: what changes; `monitor.pipeline` commits it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import replace

from monitor.block_evidence import BlockEvidence
from monitor.engine import Engine
from monitor.errors import StoreError
from monitor.gap import LATE, rows, runs
from monitor.incidents import Correlator
from monitor.marks import Mark, owner_of
from monitor.model import BlockRef
from monitor.open_commit import OpenCommit, anew
from monitor.refold import Refold, unjudged
from monitor.spool import Head
from monitor.store import BlockRecord, CoverageRange, Delta, Store

__all__ = ["Swap", "state_delta", "still_covered", "stored_runs"]


class Swap:
    """What another fold of a chain changes in its stored blocks and in incidents.

    Parameters
    ----------
    work : takes it in; it holds nothing but state so far
    refold : up to the tip
    heads : of the blocks that were fetched, lowest first
    """

    def __init__(
        self,
        store: Store,
        evidence: BlockEvidence,
        correlator: Correlator,
        work: OpenCommit,
        refold: Refold,
        heads: Sequence[Head],
    ) -> None:
        self._store, self._evidence, self._correlator = store, evidence, correlator
        self._work, self._refold, self._heads = work, refold, heads

    async def learn(self, tip: BlockRef | None, above: int) -> list[str]:
        """History came below all that was folded: live blocks above a height get their new undo.

        What the fold shows in live blocks joins incidents, where people did not judge it. Ids of those that changed.
        """
        work, folded = self._work, self._refold.by_ref()
        again = [item async for item in _undoable(self._store, tip, above)]
        work.disconnected = [old.ref for old in again]
        work.connected = [anew(old, folded.get(old.ref)) for old in reversed(again)]
        if again:
            work.tip = again[0].ref
            await self._cover(again[-1].ref.number, again[0].ref.number)
        else:
            await self._cover()
        changed: list[str] = []
        for item in (*self._refold.late, *self._refold.live):
            note = LATE if item.is_late else None
            changed += await self._evidence.add(unjudged(item.folded, self._correlator), work, note)
        return changed

    async def fill(self, old: Mark, tip: BlockRef, final: int) -> list[str]:
        """A gap is full: what was provisional goes, and what was folded in chain order comes, as after a rewrite.

        Parameters
        ----------
        old : the mark of the gap
        final : height at or below which nothing needs its undo

        Returns
        -------
        ids of incidents that changed
        """
        work, correlator, chain, anchor = self._work, self._correlator, tip.chain, old.anchor
        assert anchor is not None
        stored = await stored_runs(self._store, chain, runs(old, tip))
        work.base, work.tip = BlockRef(chain, anchor.number, anchor.hash), tip
        work.disconnected = [record.ref for record in stored]
        changed: list[str] = []
        for ref in work.disconnected:
            changed += correlator.disconnect(chain, ref.number, tip.number)
        live = [record for record in stored if record.ref.number >= old.block]
        for record, item in rows(self._heads, self._refold.by_ref(), live, final):
            work.connected.append(record)
            if item is not None:
                correlator.passed(chain, record.timestamp)
                changed += await self._evidence.add(item.folded, work, LATE if item.is_late else None)
        correlator.passed(chain, live[0].timestamp)
        changed += correlator.settle(chain, tip.number)
        await self._cover(old.block, tip.number)
        return changed

    async def _cover(self, low: int = 0, high: int = -1) -> None:
        """Blocks that are stored anew (``low`` to ``high``) are covered as before, fetched ones from now on."""
        chain, coverage = self._work.chain, self._work.coverage
        coverage += still_covered(await self._store.coverage(chain), low, high)
        coverage += [CoverageRange(chain, h.first, h.last, h.source, h.blind_spots) for h in self._heads]


def state_delta(engine: Engine, fresh: Engine, chain: str) -> Delta:
    """What turns the records of ``chain`` in ``engine`` into those of ``fresh``, deletions included."""
    wallets = {*engine.watchlist.wallets, ""}  # a chain's clock is of no wallet
    old = {key: value for key, value in engine.dump() if owner_of(key, wallets, [chain]) is not None}
    new = {key: value for key, value in fresh.dump() if owner_of(key, wallets, [chain]) is not None}
    changed: dict[bytes, bytes | None] = {key: value for key, value in new.items() if old.get(key) != value}
    changed.update((key, None) for key in old if key not in new)
    return tuple(sorted(changed.items()))


def still_covered(ranges: Iterable[CoverageRange], low: int, high: int) -> list[CoverageRange]:
    """Coverage of blocks ``low`` to ``high`` that a commit cuts out and must put back, when it stores them anew."""
    kept = []
    for part in ranges:
        if part.last < low or part.first > high:
            continue
        # What was not understood stays counted with the part below, where there is one.
        undecoded = part.undecoded if part.first >= low else 0
        kept.append(replace(part, first=max(low, part.first), last=min(high, part.last), undecoded=undecoded))
    return kept


async def _undoable(store: Store, tip: BlockRef | None, above: int) -> AsyncIterator[BlockRecord]:
    """Stored blocks from the tip down that can still be undone, those at or below height ``above`` left out."""
    number = tip.number if tip is not None else -1
    while number > above and (record := await store.block(tip.chain if tip else "", number)) is not None:
        if not record.undo:
            return
        yield record
        number -= 1


async def stored_runs(store: Store, chain: str, runs: Iterable[tuple[int, int]]) -> list[BlockRecord]:
    """The stored blocks of runs (first, last), given highest first, highest first; all of them can be undone."""
    found = []
    for first, last in runs:
        for number in range(last, first - 1, -1):
            record = await store.block(chain, number)
            if record is None or not record.undo:
                raise StoreError(f"block {number} of {chain} was folded above a gap, and cannot be undone")
            found.append(record)
    return found
