"""PW-9, gas top-up then outflow: a stranger pays the fees, then tokens leave."""

from __future__ import annotations

from monitor.compiled import compiled
from monitor.detectors.base import Detector, Evidence, Parameter

DETECTOR = Detector(
    id="PW-9",
    title="A stranger paid for the fees just before",
    catches="Adds weight where native coins came from an address never paid before, within 30 minutes of the outflow.",
    misses="Wallets that hold coins for fees anyway.",
    lookalikes="A first deposit that is spent at once.",
    evidence=(Evidence.TOPUP,),
    parameters=(Parameter("weight", ("topup",), 0.0, -6.0, 6.0, "added after such a top-up", personal=0.5),),
)


@compiled()
def evidence(f, q, e):  # type: ignore[no-untyped-def]
    e[Evidence.TOPUP] = q.topup if f.topup >= 0.0 else 0.0
