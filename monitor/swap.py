"""Putting the state of another fold in the place of a chain's: what changes; `monitor.pipeline` commits it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import replace

from monitor.engine import Engine
from monitor.marks import owner_of
from monitor.model import BlockRef
from monitor.store import BlockRecord, CoverageRange, Delta, Store

__all__ = ["state_delta", "still_covered", "undoable"]


def state_delta(engine: Engine, fresh: Engine, chain: str) -> Delta:
    """What turns the records of ``chain`` in ``engine`` into those of ``fresh``, deletions included."""
    wallets = set(engine.watchlist.wallets)
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


async def undoable(store: Store, tip: BlockRef | None, above: int) -> AsyncIterator[BlockRecord]:
    """Stored blocks from the tip down that can still be undone, those at or below height ``above`` left out."""
    number = tip.number if tip is not None else -1
    while number > above and (record := await store.block(tip.chain if tip else "", number)) is not None:
        if not record.undo:
            return
        yield record
        number -= 1
