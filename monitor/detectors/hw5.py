"""HW-5, probe then drain: a tiny first payment to an address, then a larger one."""

from __future__ import annotations

from numba import njit

from monitor.detectors.base import Detector, Evidence

DETECTOR = Detector(
    id="HW-5",
    title="A tiny test payment came first",
    catches="Adds weight where an address first got below 0.01 % of the typical balance, then more within six hours.",
    misses="Says nothing alone: a third of honest large withdrawals is tested first as well.",
    lookalikes="A careful customer.",
    evidence=(Evidence.PROBE,),
    parameters={"probe": "first payment below 1e-4 of the typical balance, at most 6 h before", "weight": "+0.3"},
    references=("Coincheck 2018: 10 XEM two minutes before the first 100,000,000",),
)


@njit(cache=True)
def evidence(f, e):  # type: ignore[no-untyped-def]
    e[Evidence.PROBE] = 0.3 if f.probe >= 0.0 else 0.0
