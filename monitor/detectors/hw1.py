"""HW-1, first-time destination: one large payment to an address that is not familiar."""

from __future__ import annotations

from monitor.compiled import compiled
from monitor.detectors.base import Detector, Evidence, Parameter
from monitor.detectors.shares import log_share

DETECTOR = Detector(
    id="HW-1",
    title="Large payment to an unfamiliar destination",
    catches="One payment that is large for the wallet, to an address that never got as much before yesterday.",
    misses="A theft in many small payments (HW-2, HW-3), and one groomed for days with a third of each amount.",
    lookalikes="A large customer's first withdrawal; a new cold address: list expected ones as trusted.",
    evidence=(Evidence.SINGLE,),
    parameters=(
        Parameter("weight", ("uses:SINGLE",), 1.0, 0.0, 10.0, "weight of its statistic among those of the channel"),
        Parameter("familiar", ("familiar",), 3.0, 0.0, 100.0, "times the largest amount before yesterday is familiar",
                  off=3.0),
    ),
    references=("Coincheck 2018, Upbit 2019: the first large payment was 19 % and 100 % of the wallet",),
)


@compiled()
def evidence(f, q, e):  # type: ignore[no-untyped-def]
    e[Evidence.SINGLE] = log_share(f.novel / f.typical)
