"""HW-6, several assets at once: other coins of the same wallet leave within two hours."""

from __future__ import annotations

from numba import njit

from monitor.detectors.base import Detector, Evidence

DETECTOR = Detector(
    id="HW-6",
    title="Several assets leave at once",
    catches="Adds weight for each other asset of the wallet with evidence of its own within two hours.",
    misses="A theft of one asset. Other chains and wallets of the entity count in the incident, not here.",
    lookalikes="A scheduled sweep of all assets: list its destination as trusted.",
    evidence=(Evidence.OTHERS,),
    parameters={"weight": "+0.6 for each other asset, at most +1.2, where 3 % of the balance moved"},
    references=("Zaif 2018: three coins within six minutes", "Poloniex 2023: hundreds of tokens within minutes"),
)


@njit(cache=True)
def evidence(f, e):  # type: ignore[no-untyped-def]
    e[Evidence.OTHERS] = min(1.2, 0.6 * f.others) if f.share > 0.03 else 0.0
