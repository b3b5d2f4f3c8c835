"""Outcomes of many wallets as rows of the scorecard, schema ``heistwatch/scorecard/1``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tests.scorecard.personal import PERSONAL
from tests.scorecard.plan import ALL_WORLDS, CLEAN, Part
from tests.scorecard.score import Outcome
from tests.scorecard.seeds import SAMPLE
from tests.scorecard.world import BREAK, DAY

__all__ = ["SCHEMA", "rows"]

SCHEMA = "heistwatch/scorecard/1"
UNCOUNTED = 30  # days in which a wallet's history has only begun
WEEK = 7
MONTH = 30.0
EMPTY: dict[str, Any] = {  # every row has every key
    "n": 0, "budget": None, "realised": None, "per_days": None, "error": None, "p95": None, "worst_wallet": None,
    "pages_a_year": None, "recall": None, "named": None, "joined": None, "share_lost_at_open": None, "minutes": None,
    "paged": None, "share_lost_at_page": None, "minutes_to_page": None,
}  # fmt: skip


def rows(parts: Sequence[Part], outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """The rows of these parts, those of the sample after each whole one.

    A clean row has ``realised``: incidents a wallet in ``per_days`` days, their mean; ``error`` its standard error,
    ``p95`` and ``worst_wallet`` over wallets. A theft's row has shares of the n thefts (joined, paged), of those
    that joined nothing (recall, named), and medians over those that were detected or paged (share lost, minutes).
    """
    found = []
    for part in parts:
        for budget in part.budgets:
            mine = [o for o in outcomes if (o.world, o.kind, o.budget) == (part.world, part.kind, budget)]
            mine = sorted((o for o in mine if o.seed in part.seeds), key=lambda o: o.seed)
            whole = set(part.seeds) - set(SAMPLE)
            if whole:
                found += _rows(part, budget, mine, "")
            if part.sampled:
                found += _rows(part, budget, [o for o in mine if o.seed in SAMPLE], ", sample")
    return found


def _rows(part: Part, budget: float, mine: Sequence[Outcome], of: str) -> list[dict[str, Any]]:
    if not mine:
        return []
    if part.kind != CLEAN:
        return [_theft(part, budget, mine, part.kind + of)]
    made = [_clean(part, budget, mine, CLEAN + of, UNCOUNTED, part.days, MONTH)]
    if ALL_WORLDS[part.world].later != 1.0:
        change = BREAK // DAY
        for start, end in ((change, change + 30), (change + 30, part.days)):
            made.append(_clean(part, budget, mine, f"{CLEAN}, days {start} to {end}{of}", start, end, MONTH))
    if part.world in ("base", PERSONAL.name):
        made.append(_clean(part, budget, mine, f"{CLEAN}, first 7 days{of}", 0, WEEK, WEEK))
    return made


def _clean(
    part: Part, budget: float, mine: Sequence[Outcome], kind: str, start: int, end: int, per: float
) -> dict[str, Any]:
    counts = np.array([sum(start <= day < end for day in o.opened) for o in mine]) * per / (end - start)
    pages = sum(start <= day < end for o in mine for day in o.paged)
    return {
        **EMPTY,
        "world": part.world,
        "kind": kind,
        "n": len(mine),
        "budget": budget,
        "realised": _short(counts.mean()),
        "per_days": per,
        "error": _short(counts.std(ddof=1) / len(mine) ** 0.5) if len(mine) > 1 else None,
        "p95": _short(np.quantile(counts, 0.95)),
        "worst_wallet": _short(counts.max()),
        "pages_a_year": _short(pages / len(mine) * 365 / (end - start)),
    }


def _theft(part: Part, budget: float, mine: Sequence[Outcome], kind: str) -> dict[str, Any]:
    apart = [o for o in mine if not o.joined] or mine
    return {
        **EMPTY,
        "world": part.world,
        "kind": kind,
        "n": len(mine),
        "budget": budget,
        "recall": _short(np.mean([o.detected for o in apart])),
        "named": _short(np.mean([o.named for o in apart])),
        "joined": _short(np.mean([o.joined for o in mine])),
        "share_lost_at_open": _median([o.share for o in mine]),
        "minutes": _median([o.minutes for o in mine]),
        "paged": _short(np.mean([o.alarmed for o in mine])),
        "share_lost_at_page": _median([o.paged_share for o in mine]),
        "minutes_to_page": _median([o.paged_minutes for o in mine]),
    }


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return _short(np.median(known)) if known else None


def _short(value: Any) -> float:
    """Six significant digits: more of them would be noise of the processor."""
    return float(f"{float(value):.6g}")
