"""HW-2, per-destination accumulation: several payments that add up at one unfamiliar address."""

from __future__ import annotations

from monitor.compiled import compiled
from monitor.detectors.base import Detector, Evidence, Parameter
from monitor.detectors.shares import log_share

LOG_RARE = -2.0  # what is paid again counts from 1 % of the typical balance on

DETECTOR = Detector(
    id="HW-2",
    title="Payments adding up at one unfamiliar destination",
    catches="A theft cut into pieces for one address or a few: sums to one address over an hour and a day, and what an "
    "address gets beyond its largest payment over an hour, a day and ten days.",
    misses="A new address for each piece (HW-3).",
    lookalikes="A large customer who withdraws in several steps; a migration that was not announced.",
    evidence=(
        Evidence.DEST_1H, Evidence.DEST_24H, Evidence.AGAIN_1H, Evidence.AGAIN_24H, Evidence.AGAIN_10D,
        Evidence.SLOW_LEVEL,
    ),
    parameters=(
        Parameter(
            "weight", ("uses:DEST_1H", "uses:DEST_24H", "uses:AGAIN_1H", "uses:AGAIN_24H", "uses:AGAIN_10D"),
            1.0, 0.0, 10.0, "weight of its statistics among those of their channels",
        ),
    ),
    rules=(
        "sums to one address decay over 1 h, 24 h and 240 h; the whole amount counts below an age of 7 days (24 h) and "
        "14 days (240 h), else its novel part",
        "repeated payments count from 1 % of the typical balance on",
    ),
    references=("Coincheck 2018: five payments of 100,000,000 XEM to one address within eight minutes",),
)


@compiled()
def evidence(f, q, e):  # type: ignore[no-untyped-def]
    e[Evidence.DEST_1H] = log_share(f.d1 / f.typical)
    e[Evidence.DEST_24H] = log_share(f.d24 / f.typical)
    e[Evidence.AGAIN_1H] = max(LOG_RARE, log_share(f.again1 / f.typical))
    e[Evidence.AGAIN_24H] = max(LOG_RARE, log_share(f.again24 / f.typical))
    slow = log_share(f.again240 / f.typical)
    e[Evidence.AGAIN_10D] = max(LOG_RARE, slow)
    e[Evidence.SLOW_LEVEL] = 0.5 * min(1.0, slow + 1.0)
