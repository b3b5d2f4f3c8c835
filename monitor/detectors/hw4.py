"""HW-4, drain to empty: little is left of what the wallet usually holds."""

from __future__ import annotations

from monitor.compiled import compiled
from monitor.detectors.base import Detector, Evidence, Parameter

DETECTOR = Detector(
    id="HW-4",
    title="The wallet is being emptied",
    catches="Adds weight where a tenth of the balance moved and under 25 % (or 10 %) of its recent peak is left.",
    misses="Says nothing alone; a theft that leaves a quarter behind.",
    lookalikes="A hot wallet that runs dry before its refill.",
    evidence=(Evidence.DRAIN,),
    parameters=(
        Parameter("much", ("drain_much",), 0.5, 0.0, 6.0, "added where less than 25 % is left", personal=0.0),
        Parameter("most", ("drain_most",), 1.0, 0.0, 6.0, "added where less than 10 % is left", personal=0.0),
    ),
    rules=("the recent peak is the maximum of the balance, decaying with 48 h",),
)


@compiled()
def evidence(f, q, e):  # type: ignore[no-untyped-def]
    left = f.balance / f.peak if f.peak > 0.0 else 1.0
    e[Evidence.DRAIN] = 0.0
    if f.share > 0.10:
        e[Evidence.DRAIN] = q.drain_most if left < 0.10 else (q.drain_much if left < 0.25 else 0.0)
