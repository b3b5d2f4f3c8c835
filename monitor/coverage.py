"""Coverage: which blocks were scanned, through what, with which blind spots, and where gaps are."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby, pairwise
from typing import Any

from monitor.store import CoverageRange

__all__ = ["coverage_data"]


def coverage_data(ranges: Sequence[CoverageRange]) -> dict[str, Any]:
    """Ranges and gaps by chain, lowest first."""
    found: dict[str, Any] = {}
    for chain, group in groupby(sorted(ranges, key=lambda r: (r.chain, r.first)), key=lambda r: r.chain):
        scanned = list(group)
        gaps = []
        for before, after in pairwise(scanned):
            if after.first > before.last + 1:
                gaps.append({"first": before.last + 1, "last": after.first - 1})
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
            "blocks": sum(r.last - r.first + 1 for r in scanned),
        }
    return found
