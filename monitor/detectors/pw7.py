"""PW-7, dormant awakening: the first outflow after months, to an unfamiliar address."""

from __future__ import annotations

from monitor.compiled import compiled
from monitor.detectors.base import Detector, Evidence, Parameter

DETECTOR = Detector(
    id="PW-7",
    title="A dormant wallet awakes",
    catches="Adds weight where the wallet paid nobody for 90 days, and once more after 180 days where a fifth moves.",
    misses="Wallets in use.",
    lookalikes="A holder who sells once a year.",
    evidence=(Evidence.DORMANT,),
    parameters=(
        Parameter("weight", ("dormant",), 0.0, -6.0, 6.0, "added after 90 days, twice after 180", personal=0.5),
    ),
)


@compiled()
def evidence(f, q, e):  # type: ignore[no-untyped-def]
    e[Evidence.DORMANT] = 0.0
    if f.idle > 90.0 * 86400.0:
        e[Evidence.DORMANT] = q.dormant * (2.0 if f.idle > 180.0 * 86400.0 and f.share > 0.2 else 1.0)
