"""SWEEP: many assets go to one fresh address within minutes."""

from __future__ import annotations

from monitor.compiled import compiled
from monitor.detectors.base import Detector, Evidence, Parameter

DETECTOR = Detector(
    id="SWEEP",
    title="Many assets to one fresh address within minutes",
    catches="Adds weight from the third asset on that the wallet itself sends to one address, first paid within a day, "
    "within ten minutes; transfers and calls without value count too.",
    misses="A theft of one or two assets; a new address for each asset (HW-6).",
    lookalikes="An exchange that moves all its assets to a new cold address: list it as trusted.",
    evidence=(Evidence.SWEPT,),
    parameters=(
        Parameter("weight", ("swept",), 0.5, 0.0, 6.0, "added for each asset from the third on", personal=0.0),
        Parameter("most", ("swept_most",), 1.5, 0.0, 6.0, "added at most"),
    ),
    rules=("eight assets an address are told apart",),
    references=("Upbit 2025: 24 tokens", "Poloniex 2023: 357 transactions of 317 tokens within minutes"),
)


@compiled()
def evidence(f, q, e):  # type: ignore[no-untyped-def]
    e[Evidence.SWEPT] = 0.0
    if f.swept >= 3.0 and f.age < 86400.0:
        e[Evidence.SWEPT] = min(q.swept_most, q.swept * (f.swept - 2.0))
