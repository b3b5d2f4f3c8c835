"""PW-3, third-party spend: another account's transaction moves the coins."""

from __future__ import annotations

from monitor.compiled import compiled
from monitor.detectors.base import Detector, Evidence, Parameter

DETECTOR = Detector(
    id="PW-3",
    title="Somebody else's transaction moved the coins",
    catches="Adds weight where another account signed: the sign of a theft through an approval or a permit. Exact, and "
    "whatever the weight: a spend with a leave that PW-5 warned of is critical, and of a treasury more than 5 % of a "
    "token's known balance, by a stranger through an unknown contract, is high.",
    misses="Thefts with the owner's own key (PW-1, PW-2).",
    lookalikes="Swaps through relayers, streams, smart accounts.",
    evidence=(Evidence.FOREIGN,),
    parameters=(Parameter("weight", ("foreign",), 0.0, -6.0, 6.0, "added where another account signed", personal=0.9),),
)


@compiled()
def evidence(f, q, e):  # type: ignore[no-untyped-def]
    e[Evidence.FOREIGN] = q.foreign if f.foreign != 0 else 0.0
