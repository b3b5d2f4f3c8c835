"""GUARD, the adaptive guard rail: a plain limit that needs no history and answers only to its own false alarms."""

from __future__ import annotations

from monitor.compiled import compiled
from monitor.detectors.base import Detector, Evidence, Parameter

WEEK = 7 * 86400.0

DETECTOR = Detector(
    id="GUARD",
    title="Guard rail: a large part of the balance left within an hour",
    catches="30 % of the balance to one unfamiliar address, or 60 % to all of them, within an hour.",
    misses="Slower or smaller thefts; it works without history, so it is all there is while a wallet is learning.",
    lookalikes="A wallet migration; a whale's withdrawal from a small wallet. An unconfirmed firing raises it by 15 %.",
    evidence=(Evidence.GUARD, Evidence.GONE),
    parameters=(
        Parameter("to_one", ("to_one",), 0.30, 0.01, 1e9, "share of the balance to one", off=1e9, personal=0.60),
        Parameter("to_all", ("to_all",), 0.60, 0.01, 1e9, "share of the balance to all", off=1e9, personal=0.90),
        Parameter("calm", ("calm",), 1.0, 0.0, 1.0, "factor where one asset alone moves, or to a known address",
                  off=1.0, personal=0.0),
    ),
    rules=(
        "in personal wallets it needs a second asset within two hours, or another account's signature, and an address "
        "first paid within a week: holders sell all of one asset every now and then",
        "shares are of the typical balance: what is held beyond it may have come from strangers",
        "after an unconfirmed firing x 1.15 of the exceeded level, 3.3 at most, back by 0.5 % a day",
    ),
)


@compiled()
def evidence(f, q, e):  # type: ignore[no-untyped-def]
    calm = f.age >= WEEK or (f.others < 1.0 and f.foreign == 0)
    e[Evidence.GUARD] = max(f.d1 / q.to_one, f.u1h / q.to_all) / f.typical * (q.calm if calm else 1.0)
    e[Evidence.GONE] = f.u1h / (f.balance + f.u1h) if f.u1h > 0.0 else 0.0
