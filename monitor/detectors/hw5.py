"""HW-5, probe then drain: a tiny first payment to an address, then a larger one."""

from __future__ import annotations

from monitor.compiled import compiled
from monitor.detectors.base import Detector, Evidence, Parameter

DETECTOR = Detector(
    id="HW-5",
    title="A tiny test payment came first",
    catches="Adds weight where an address first got below 0.01 % of the typical balance, then more within six hours.",
    misses="Says nothing alone: a third of honest large withdrawals is tested first as well.",
    lookalikes="A careful customer; the owner of a personal wallet, where it therefore takes weight away.",
    evidence=(Evidence.PROBE,),
    parameters=(Parameter("weight", ("probe",), 0.3, -1.0, 6.0, "added after a probe", personal=-0.3),),
    rules=("a probe is a first payment below 1e-4 of the typical balance, at most 6 h before",),
    references=("Coincheck 2018: 10 XEM two minutes before the first 100,000,000",),
)


@compiled()
def evidence(f, q, e):  # type: ignore[no-untyped-def]
    e[Evidence.PROBE] = q.probe if f.probe >= 0.0 else 0.0
