"""What a detector is: a compiled, stateless function of one row of features, and what people should know of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

__all__ = ["EVIDENCE_SIZE", "Detector", "Evidence", "Parameter"]


class Evidence(IntEnum):
    """Places in the evidence vector of one outflow (float64).

    The first are the statistics of `monitor.features.dtypes.STATISTICS`, in log10 of a share of the typical balance.
    The rest are context terms in log10 units, the guard rail's level (1 or more: it fires), and what is gone.
    """

    SINGLE = 0
    DEST_1H = 1
    DEST_24H = 2
    TOTAL_10M = 3
    TOTAL_1H = 4
    TOTAL_6H = 5
    TOTAL_24H = 6
    FRESH_1H = 7
    AGAIN_1H = 8
    AGAIN_24H = 9
    AGAIN_10D = 10
    SHARE = 11  # share of what was there, fast channel
    DAY_LEVEL = 12
    SLOW_LEVEL = 13
    DRAIN = 14
    PROBE = 15
    OTHERS = 16
    ODD = 17
    KIND = 18
    SWEPT = 19
    FRESH = 20
    DRAINED = 21
    FOREIGN = 22
    SPLIT = 23
    DORMANT = 24
    TOPUP = 25
    GUARD = 26
    GONE = 27  # share of the balance gone in the last hour, 0 to 1


EVIDENCE_SIZE = len(Evidence)


@dataclass(frozen=True, slots=True)
class Parameter:
    """A number that a wallet may set for a detector.

    ``fields`` are those of `monitor.features.dtypes.PARAMETERS` that it fills (``uses:NAME`` is the weight of a
    statistic), ``scale`` the factor from the number to the field, ``off`` what ``enabled: false`` puts there.
    ``personal`` is the default of personal wallets where it differs; ``whole``: whole numbers alone. Policies have no
    ``fields``: they read their numbers themselves (`monitor.policies.settings`).
    """

    name: str
    fields: tuple[str, ...]
    default: float
    low: float
    high: float
    says: str
    scale: float = 1.0
    off: float = 0.0
    personal: float | None = None
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Detector:
    """A detector as `heistwatch detectors` shows it. ``evidence`` names the places that it fills.

    ``rules`` are fixed parts of its definition in words.
    """

    id: str
    title: str
    catches: str
    misses: str
    lookalikes: str
    evidence: tuple[Evidence, ...]
    parameters: tuple[Parameter, ...] = ()
    rules: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
