"""What a detector is: a compiled, stateless function of one row of features, and what people should know of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

__all__ = ["EVIDENCE_SIZE", "Detector", "Evidence"]


class Evidence(IntEnum):
    """Places in the evidence vector of one outflow (float64).

    0 to 7 are the statistics of `monitor.features.dtypes.STATISTICS`, in log10 of a share of the typical balance. The
    rest are context terms in log10 units, the guard rail's level (1 or more: it fires), and what is gone.
    """

    SINGLE = 0
    DEST_1H = 1
    DEST_24H = 2
    DEST_10D = 3
    TOTAL_10M = 4
    TOTAL_1H = 5
    TOTAL_6H = 6
    TOTAL_24H = 7
    SHARE = 8  # share of what was there, fast channel
    PROBE = 9
    DRAIN = 10
    OTHERS = 11
    DAY_LEVEL = 12
    SLOW_LEVEL = 13
    GUARD = 14
    GONE = 15  # share of the balance gone in the last hour, 0 to 1


EVIDENCE_SIZE = len(Evidence)


@dataclass(frozen=True, slots=True)
class Detector:
    """A detector as `heistwatch detectors` shows it. ``evidence`` names the places that it fills."""

    id: str
    title: str
    catches: str
    misses: str
    lookalikes: str
    evidence: tuple[Evidence, ...]
    parameters: Mapping[str, str] = field(default_factory=dict)
    references: tuple[str, ...] = ()
