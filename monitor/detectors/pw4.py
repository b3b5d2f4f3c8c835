"""PW-4, drainer split: one asset leaves to two addresses at once in a fixed proportion."""

from __future__ import annotations

from monitor.compiled import compiled
from monitor.detectors.base import Detector, Evidence, Parameter

SPLITS = (0.80, 0.75, 0.70)  # shares of the larger part
WITHIN = 0.01

DETECTOR = Detector(
    id="PW-4",
    title="Split between a thief and his supplier",
    catches="Adds weight where two payments of one asset at one moment are 80/20, 75/25 or 70/30, within 1 %.",
    misses="Other proportions; splits after the theft.",
    lookalikes="Shared bills.",
    evidence=(Evidence.SPLIT,),
    parameters=(Parameter("weight", ("split",), 0.0, -6.0, 6.0, "added for such a split", personal=1.5),),
    references=("drainers sold as a service: usually a fifth for the supplier",),
)


@compiled()
def evidence(f, q, e):  # type: ignore[no-untyped-def]
    e[Evidence.SPLIT] = 0.0
    for share in SPLITS:
        if abs(f.split - share) <= WITHIN:
            e[Evidence.SPLIT] = q.split
