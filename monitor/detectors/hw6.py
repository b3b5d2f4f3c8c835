"""HW-6, several assets at once: other coins of the same wallet leave within two hours."""

from __future__ import annotations

from monitor.compiled import compiled
from monitor.detectors.base import Detector, Evidence, Parameter

DETECTOR = Detector(
    id="HW-6",
    title="Several assets leave at once",
    catches="Adds weight for each other asset of the wallet with evidence of its own within two hours.",
    misses="A theft of one asset. Other chains and wallets of the entity count when incidents are joined, not here.",
    lookalikes="A scheduled sweep of all assets: list its destination as trusted.",
    evidence=(Evidence.OTHERS,),
    parameters=(
        Parameter("weight", ("others",), 0.6, 0.0, 6.0, "added for each other asset", personal=0.0),
        Parameter("most", ("others_most",), 1.2, 0.0, 6.0, "added at most"),
    ),
    rules=("it counts where 3 % of the balance moved",),
    references=("Zaif 2018: three coins within six minutes", "Poloniex 2023: hundreds of tokens within minutes"),
)


@compiled()
def evidence(f, q, e):  # type: ignore[no-untyped-def]
    e[Evidence.OTHERS] = min(q.others_most, q.others * f.others) if f.share > 0.03 else 0.0
