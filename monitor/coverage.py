"""Coverage: which blocks were scanned, through what, with which blind spots, and where gaps are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from monitor.ids import iso
from monitor.marks import Mark, MarkState
from monitor.store import CoverageRange

__all__ = ["coverage_data"]

_STATISTICS = {
    MarkState.CALIBRATED: "calibrated with history tables",
    MarkState.BACKFILLING: "learning from history: the guard rail alone watches",
    MarkState.BACKFILLED: "learned from history",
    MarkState.REFUSED: "learning as it goes: the guard rail alone watches a wallet's first 7 days",
    MarkState.LIVE: "learned from live blocks",
}


def coverage_data(
    ranges: Sequence[CoverageRange],
    marks: Mapping[str, Mark] | None = None,
    seconds_left: Mapping[str, float | None] | None = None,
    waiting: Sequence[tuple[str, str, str]] = (),
) -> dict[str, Any]:
    """Ranges and gaps by chain, lowest first, and how a chain learns where that began with history.

    Parameters
    ----------
    marks : by chain
    seconds_left : of a running backfill, by chain
    waiting : (chain, wallet, rule) of rules that say nothing until a balance is told
    """
    found: dict[str, Any] = {}
    for chain, group in groupby(sorted(ranges, key=lambda r: (r.chain, r.first)), key=lambda r: r.chain):
        scanned = list(group)
        gaps = []
        reached, blocks = scanned[0].first - 1, 0
        for r in scanned:  # ranges may overlap: the same blocks, through another source
            if r.first > reached + 1:
                gaps.append({"first": reached + 1, "last": r.first - 1})
            blocks += max(0, r.last - max(reached, r.first - 1))
            reached = max(reached, r.last)
        found[chain] = {
            "ranges": [
                {
                    "first": r.first,
                    "last": r.last,
                    "source": r.source,
                    "blind_spots": list(r.blind_spots),
                    "undecoded": r.undecoded,
                }
                for r in scanned
            ],
            "gaps": gaps,
            "blocks": blocks,
        }
    for chain, mark in sorted((marks or {}).items()):
        entry = found.setdefault(chain, {"ranges": [], "gaps": [], "blocks": 0})
        left = (seconds_left or {}).get(chain)
        if mark.state is MarkState.GAP:
            entry["filling"] = _filling(mark, left)
        began = mark.before if mark.state is MarkState.GAP else mark
        if began is not None:
            entry["learning"] = _learning(began, left)
    for chain, wallet, rule in waiting:
        entry = found.setdefault(chain, {"ranges": [], "gaps": [], "blocks": 0})
        entry.setdefault("waiting_for_balance", []).append({"wallet": wallet, "rule": rule})
    return found


def _filling(mark: Mark, seconds_left: float | None) -> dict[str, Any]:
    """A gap that is being filled; ``last`` is None until the first block above it was read."""
    return {
        "first": mark.low,
        "last": mark.block - 1 if mark.block >= 0 else None,
        "says": "missed blocks are being fetched: what newer ones show is provisional",
        "blocks_done": mark.done,
        "blocks_total": mark.total,
        "seconds_left": None if seconds_left is None else round(seconds_left),
        "note": mark.note,
    }


def _learning(mark: Mark, seconds_left: float | None) -> dict[str, Any]:
    return {
        "state": str(mark.state),
        "says": _STATISTICS[mark.state],
        "history_from": iso(mark.since),
        "blocks_done": mark.done,
        "blocks_total": mark.total,
        "seconds_left": None if seconds_left is None else round(seconds_left),
        "note": mark.note,
        "would_have_raised": mark.would_have,
        "balances_to_ask": len(mark.stale),
    }
