"""PW-2, sweep of a personal wallet: nearly everything goes, or several assets within minutes."""

from __future__ import annotations

from monitor.compiled import compiled
from monitor.detectors.base import Detector, Evidence, Parameter

DETECTOR = Detector(
    id="PW-2",
    title="A personal wallet is swept",
    catches="Adds weight where less than 5 % of the recent peak is left, and for each further asset within two hours.",
    misses="A theft that takes one asset in part.",
    lookalikes="The owner moves to a new wallet: list its address as trusted.",
    evidence=(Evidence.DRAINED,),
    parameters=(
        Parameter("drained", ("drained",), 0.0, 0.0, 6.0, "added where less than 5 % is left", personal=0.9),
        Parameter("further", ("further",), 0.0, 0.0, 6.0, "added for each further asset", personal=0.35),
        Parameter("most", ("further_most",), 1.05, 0.0, 6.0, "added for further assets at most"),
    ),
)


@compiled()
def evidence(f, q, e):  # type: ignore[no-untyped-def]
    left = f.balance / f.peak if f.peak > 0.0 else 1.0
    e[Evidence.DRAINED] = (q.drained if left < 0.05 else 0.0) + min(q.further_most, q.further * f.others)
