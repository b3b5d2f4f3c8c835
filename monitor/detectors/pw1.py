"""PW-1, first payment of a personal wallet to an address."""

from __future__ import annotations

from monitor.compiled import compiled
from monitor.detectors.base import Detector, Evidence, Parameter

WEEK = 7 * 86400.0

DETECTOR = Detector(
    id="PW-1",
    title="Payment to an address that the wallet never paid",
    catches="Adds weight in a personal wallet where the destination was first paid within a day, and takes some away "
    "where it was first paid a week before or earlier.",
    misses="Says nothing alone: such payments are everyday. A thief who pays himself a little a week ahead.",
    lookalikes="Every new counterparty.",
    evidence=(Evidence.FRESH,),
    parameters=(
        Parameter("weight", ("fresh",), 0.0, -6.0, 6.0, "added for a fresh destination", personal=0.5),
        Parameter("known", ("known",), 0.0, -6.0, 6.0, "added for one known for a week", personal=-1.0),
    ),
    references=("detection of personal wallets works by likelihood ratios: each sign adds its log10 ratio",),
)


@compiled()
def evidence(f, q, e):  # type: ignore[no-untyped-def]
    e[Evidence.FRESH] = q.fresh if f.age < 86400.0 else (q.known if f.age >= WEEK else 0.0)
