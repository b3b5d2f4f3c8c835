"""HW-8, destination kind: what labels say of the address that gets the coins."""

from __future__ import annotations

from monitor.compiled import compiled
from monitor.detectors.base import Detector, Evidence, Parameter
from monitor.rows import BAD, EXCHANGE, UNLABELLED

DETECTOR = Detector(
    id="HW-8",
    title="What is known of the destination",
    catches="Adds weight where the destination is labelled as a mixer, a bridge, a swap contract, or as known bad.",
    misses="Addresses without a label, which nearly all fresh theft addresses are.",
    lookalikes="Customers who withdraw to such services: their daily maxima raise the threshold. Holders use bridges "
    "and swap contracts every day: in personal wallets these take weight away.",
    evidence=(Evidence.KIND,),
    parameters=(
        Parameter("bad", ("bad",), 2.0, 0.0, 6.0, "added for mixers and known bad addresses"),
        Parameter("service", ("service",), 2.0, -6.0, 6.0, "added for bridges and swap contracts", personal=-0.7),
        Parameter("exchange", ("exchange",), -1.0, -6.0, 6.0, "added for addresses of other exchanges", personal=-0.7),
    ),
    rules=("a label counts from the time since when it was known; it counts where 3 % of the balance moved",),
)


@compiled()
def evidence(f, q, e):  # type: ignore[no-untyped-def]
    e[Evidence.KIND] = 0.0
    if f.kind != UNLABELLED and f.share > 0.03:
        e[Evidence.KIND] = q.exchange if f.kind == EXCHANGE else (q.bad if f.kind == BAD else q.service)
