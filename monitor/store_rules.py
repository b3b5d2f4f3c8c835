"""What every store agrees on: which commits make sense, how coverage is merged, how long rows are kept.

Pure functions; the stores call them inside their transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from monitor.errors import StoreError
from monitor.model import BlockRef, Delivery
from monitor.store import Commit, CoverageRange, OperatorEvent, OutboxRow

__all__ = [
    "BLOCKS_KEPT",
    "FLOW_SECONDS",
    "add_range",
    "check_record_state",
    "clean_delivery",
    "clean_event",
    "coverage_after",
    "coverage_floor",
    "cut_block",
    "next_checkpoint",
    "revived",
    "row_key",
]

BLOCKS_KEPT = 1000
"""Block rows this far below the final height are kept, for ancestor look-ups; their undo is not."""

FLOW_SECONDS = 400 * 86400
"""Flows older than this may be pruned."""

RowKey = tuple[str, str, str]

_STATES = ("due", "done", "dead")


def row_key(row: OutboxRow | Delivery) -> RowKey:
    """What makes an outbox row one row: (alert id, receiver, channel)."""
    return row.alert_id, row.receiver, row.channel


def revived(now: float) -> dict[str, Any]:
    """What changes of a dead row that is to be tried again: its day begins anew."""
    return {"state": "due", "queued_at": now, "attempts": 0, "next_at": 0.0}


def next_checkpoint(
    commit: Commit, current: BlockRef | None, stored: Mapping[int, tuple[str, str]]
) -> BlockRef | None:
    """The chain's checkpoint after ``commit``, checked against what is stored.

    Blocks may be left out when catching up (coverage says what was scanned), but never contradict each other: two
    monitors on one store, or a store put back from a backup under a running monitor, end here.

    Parameters
    ----------
    commit : what is about to be stored
    current : the checkpoint before it
    stored : (hash, parent hash) by height of the stored blocks; needed for the heights of ``commit.disconnected``

    Raises
    ------
    StoreError
        Where the commit does not continue what is stored, or contradicts itself.
    """
    _check_parts(commit)
    at = current
    for ref in commit.disconnected:
        row = stored.get(ref.number)
        left_out = commit.base is not None and at is not None and at != current and ref.number < at.number
        if (ref != at and not left_out) or row is None or row[0] != ref.hash:
            raise _conflict(commit.chain, f"cannot disconnect block {_show(ref)}, the stored tip is {_show(at)}")
        at = BlockRef(commit.chain, ref.number - 1, row[1])
    if commit.base is not None:
        if not commit.disconnected or commit.base.number >= commit.disconnected[-1].number:
            raise _conflict(commit.chain, f"block {_show(commit.base)} is not below what is disconnected")
        at = commit.base
    for record in commit.connected:
        ref = record.ref
        if at is not None and ref.number <= at.number:
            raise _conflict(commit.chain, f"cannot connect block {_show(ref)}, the tip is {_show(at)}")
        if at is not None and ref.number == at.number + 1 and record.parent_hash != at.hash:
            raise _conflict(commit.chain, f"block {_show(ref)} is not a child of the tip {_show(at)}")
        at = ref
    return _end(commit, at)


def _end(commit: Commit, at: BlockRef | None) -> BlockRef | None:
    tip = commit.tip
    if commit.connected or commit.disconnected:
        if tip is None:  # before the first block ever seen
            return at if commit.connected else None
        if tip != at:
            raise _conflict(commit.chain, f"the commit ends at {_show(at)} but names {_show(tip)} as its tip")
    elif tip is not None and at is not None and tip != at and tip.number <= at.number:
        raise _conflict(commit.chain, f"cannot go back to {_show(tip)} from {_show(at)} without disconnecting")
    return tip or at


def _check_parts(commit: Commit) -> None:
    chain = commit.chain
    refs = [*commit.disconnected, *(record.ref for record in commit.connected)]
    refs += [ref for ref in (commit.tip, commit.base) if ref is not None]
    if any(ref.chain != chain for ref in refs):
        raise _conflict(chain, "the commit holds blocks of another chain")
    for record in commit.connected:
        number = record.ref.number
        if any(flow.chain != chain or flow.block_number != number for flow in record.flows):
            raise _conflict(chain, f"block {number} holds flows of another block")
    if any(part.chain != chain or part.first > part.last for part in commit.coverage):
        raise _conflict(chain, "the commit holds coverage of another chain, or an empty range")


def _conflict(chain: str, problem: str) -> StoreError:
    return StoreError(f"{chain}: {problem}; restart to continue from what is stored, and run one monitor only")


def _show(ref: BlockRef | None) -> str:
    return "none" if ref is None else f"{ref.number} ({ref.hash[:18]})"


def coverage_floor(commit: Commit) -> int | None:
    """Ranges that end below this height are not touched by ``commit``; None where it touches none."""
    touched = [ref.number for ref in commit.disconnected] + [part.first - 1 for part in commit.coverage]
    return min(touched, default=None)


def coverage_after(ranges: Iterable[CoverageRange], commit: Commit) -> list[CoverageRange]:
    """The ranges of one chain after ``commit``: disconnected blocks cut out, new ranges merged in, lowest first."""
    result = list(ranges)
    for ref in commit.disconnected:
        result = cut_block(result, ref.number)
    for part in commit.coverage:
        result = add_range(result, part)
    return sorted(result, key=_range_order)


def _range_order(part: CoverageRange) -> tuple[int, int, str, tuple[str, ...]]:
    return part.first, part.last, part.source, part.blind_spots


def cut_block(ranges: Sequence[CoverageRange], number: int) -> list[CoverageRange]:
    """The ranges without one block. Undecoded counts stay with the lower part: they are an upper bound from then on."""
    result: list[CoverageRange] = []
    for part in ranges:
        if not part.first <= number <= part.last:
            result.append(part)
            continue
        below = part.first < number
        if below:
            result.append(replace(part, last=number - 1))
        if number < part.last:
            result.append(replace(part, first=number + 1, undecoded=0 if below else part.undecoded))
    return result


def add_range(ranges: Sequence[CoverageRange], new: CoverageRange) -> list[CoverageRange]:
    """The ranges with ``new`` merged into those that it touches and that agree in source and blind spots.

    Where ranges touch, undecoded counts add up; where they overlap (the same blocks read again) the larger one stays.
    """
    result: list[CoverageRange] = []
    for part in sorted(ranges, key=_range_order):
        agree = (part.source, part.blind_spots) == (new.source, new.blind_spots)
        if not agree or part.first > new.last + 1 or new.first > part.last + 1:
            result.append(part)
            continue
        apart = part.last < new.first or new.last < part.first
        undecoded = part.undecoded + new.undecoded if apart else max(part.undecoded, new.undecoded)
        new = replace(new, first=min(part.first, new.first), last=max(part.last, new.last), undecoded=undecoded)
    return [*result, new]


def check_record_state(state: str) -> None:
    """StoreError unless ``state`` is one that an outbox row may have."""
    if state not in _STATES:
        raise StoreError(f"outbox state was {state!r}, expected one of {', '.join(_STATES)}")


def clean_event(event: OperatorEvent) -> OperatorEvent:
    """The event with text that every store can hold."""
    return replace(event, by=_clean(event.by), comment=_clean(event.comment))


def clean_delivery(delivery: Delivery) -> Delivery:
    """The delivery with text that every store can hold; remote answers must not be able to stop the monitor."""
    external_id = None if delivery.external_id is None else _clean(delivery.external_id)
    return replace(delivery, detail=_clean(delivery.detail), external_id=external_id)


def _clean(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8")  # lone surrogates, as JSON may carry
