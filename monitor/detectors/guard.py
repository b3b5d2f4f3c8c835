"""GUARD, the adaptive guard rail: a plain limit that needs no history and answers only to its own false alarms."""

from __future__ import annotations

from numba import njit

from monitor.detectors.base import Detector, Evidence

TO_ONE = 0.30
TO_ALL = 0.60

DETECTOR = Detector(
    id="GUARD",
    title="Guard rail: a large part of the balance left within an hour",
    catches="30 % of the balance to one unfamiliar address, or 60 % to unfamiliar addresses, within an hour.",
    misses="Slower or smaller thefts; it works without history, so it is all there is while a wallet is learning.",
    lookalikes="A wallet migration; a whale's withdrawal from a small wallet. An unconfirmed firing raises it by 15 %.",
    evidence=(Evidence.GUARD, Evidence.GONE),
    parameters={
        "to one": "30 % of max(typical, present) balance",
        "to all": "60 %",
        "adaptation": "x 1.15 of the exceeded level after an unconfirmed firing, 3.3 at most, back by 0.5 % a day",
    },
)


@njit(cache=True)
def evidence(f, e):  # type: ignore[no-untyped-def]
    there = max(f.typical, f.balance + f.u1h)
    e[Evidence.GUARD] = max(f.d1 / TO_ONE, f.u1h / TO_ALL) / there
    e[Evidence.GONE] = f.u1h / (f.balance + f.u1h) if f.u1h > 0.0 else 0.0
