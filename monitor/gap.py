"""A gap between the stored tip and the live blocks: what is provisional, and the state from which it is folded. Pure.

While it is being filled, live blocks are folded on the state of before the gap. All of them can be undone, so that
state is never lost: it is what their undo leaves. When the gap is full, its blocks and the live ones are folded from
there in chain order, and take the place of what was provisional, as after a reorganisation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from monitor.engine import Engine, Folded
from monitor.ids import stable_id
from monitor.marks import Mark, MarkState, of_pipeline, owner_of
from monitor.model import Alert, AlertKind, BlockRef, Finding, Severity
from monitor.open_commit import KEPT, anew, flow_record
from monitor.refold import Refolded
from monitor.spool import Head
from monitor.store import BlockRecord, Delta

__all__ = [
    "LATE",
    "PROVISIONAL",
    "ask_again",
    "blind",
    "known_balances",
    "missed",
    "noted",
    "provisional",
    "rows",
    "runs",
    "state_at",
]

PROVISIONAL: Mapping[str, Any] = {"provisional": True}
LATE: Mapping[str, Any] = {"late": True}


def known_balances(engine: Engine, chain: str) -> tuple[tuple[str, str], ...]:
    """(wallet, asset) of a chain whose balance was told: all of them are old after a gap."""
    found = set()
    for key, _ in engine.dump():
        kind, *parts = key.decode().split("\x1f")
        if kind != "a" or parts[1] != chain:
            continue
        slot = engine.state.asset(parts[0], chain, parts[2])
        if slot >= 0 and engine.state.balance(slot)[1]:
            found.add((parts[0], parts[2]))
    return tuple(sorted(found))


def runs(mark: Mark, tip: BlockRef) -> list[tuple[int, int]]:
    """(first, last) of the runs of blocks that were folded out of turn, highest first."""
    live = [(mark.block, tip.number)] if mark.block >= 0 else []
    return [*live, *reversed(mark.runs)]


def state_at(engine: Engine, chain: str, undone: Iterable[Delta]) -> list[tuple[bytes, bytes]]:
    """The records of a chain before some of its last blocks, whose undo is given highest first."""
    wallets = {*engine.watchlist.wallets, ""}  # a chain's clock is of no wallet
    found = {key: value for key, value in engine.dump() if owner_of(key, wallets, [chain]) is not None}
    for delta in undone:
        for key, value in delta:
            if (key, value) == KEPT or of_pipeline(key):
                continue
            if value is None:
                found.pop(key, None)
            else:
                found[key] = value
    return sorted(found.items())


def rows(
    heads: Sequence[Head], folded: Mapping[BlockRef, Refolded], live: Sequence[BlockRecord], final: int
) -> list[tuple[BlockRecord, Refolded | None]]:
    """The blocks above an anchor as they are stored anew, lowest first, with what was folded of them.

    Of the fetched ones those that touch something, and those above the height ``final``, which may still be undone.

    Parameters
    ----------
    heads : of the fetched blocks
    folded : what fetched and live blocks show
    live : stored live blocks, highest first; at least one
    """
    first = live[-1].ref
    found: dict[int, tuple[BlockRecord, Refolded | None]] = {}
    for head in heads:
        number = head.last - len(head.headers) + 1
        parent = head.parent_hash if number == head.first else ""
        for name, at in head.headers:
            if parent and number > final:
                found[number] = BlockRecord(BlockRef(first.chain, number, name), parent, at, (KEPT,)), None
            number, parent = number + 1, name
    for ref, item in folded.items():
        if ref.number < first.number:
            block = item.seen.block
            flows = tuple(flow_record(flow) for flow in item.folded.flows)
            undo = (KEPT, *item.undo) if ref.number > final else ()
            found[ref.number] = BlockRecord(ref, block.parent_hash, block.timestamp, undo, flows), item
    again = [(anew(old, folded.get(old.ref)), folded.get(old.ref)) for old in reversed(live)]
    return [*(found[number] for number in sorted(found)), *again]


def provisional(mark: Mark, folded: Folded) -> Folded:
    """What a live block shows above a gap, which says so itself."""
    gap = f"blocks {mark.low} to {mark.block - 1}, which are not read yet: this is provisional"
    return replace(folded, blind_spots=(*folded.blind_spots, gap))


def noted(finding: Finding, note: Mapping[str, Any]) -> Finding:
    """A finding with more in its evidence."""
    return replace(finding, evidence={**finding.evidence, **note}) if note else finding


def missed(mark: Mark) -> Mark | None:
    """The mark after a gap that will not be filled: balances of before it stay to be asked."""
    before = mark.before
    if before is None:
        if not mark.stale:
            return None
        before = Mark(MarkState.LIVE, mark.block, mark.time, started=True)
    return ask_again(before, mark.stale)


def ask_again(mark: Mark, stale: Sequence[tuple[str, str]]) -> Mark:
    """The mark with more balances to ask."""
    return msgspec.structs.replace(mark, stale=tuple(sorted({*mark.stale, *stale})))


def blind(chain: str, what: str, why: str) -> Alert:
    """The alert that something of a chain was not seen; ``what`` is its title, and tells one such from the next."""
    return Alert(
        stable_id("blind", chain, what),
        AlertKind.BLIND,
        what,
        why,
        Severity.HIGH,
        {"chain": chain, "severity": str(Severity.HIGH), "kind": str(AlertKind.BLIND)},
    )
