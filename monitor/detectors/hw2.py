"""HW-2, per-destination accumulation: several payments that add up at one unfamiliar address."""

from __future__ import annotations

from numba import njit

from monitor.detectors.base import Detector, Evidence
from monitor.features.maths import log10

TINY = 1e-9

DETECTOR = Detector(
    id="HW-2",
    title="Payments adding up at one unfamiliar destination",
    catches="A theft cut into pieces for one address: over an hour, a day or ten days, young addresses count wholly.",
    misses="A new address for each piece (HW-3).",
    lookalikes="A large customer who withdraws in several steps; a migration that was not announced.",
    evidence=(Evidence.DEST_1H, Evidence.DEST_24H, Evidence.DEST_10D),
    parameters={
        "windows": "decaying sums over 1 h, 24 h and 240 h",
        "young": "the whole amount counts below an age of 7 days (24 h) and 30 days (240 h)",
    },
    references=("Coincheck 2018: five payments of 100,000,000 XEM to one address within eight minutes",),
)


@njit(cache=True)
def evidence(f, e):  # type: ignore[no-untyped-def]
    e[Evidence.DEST_1H] = log10(f.d1 / f.typical + TINY)
    e[Evidence.DEST_24H] = log10(f.d24 / f.typical + TINY)
    e[Evidence.DEST_10D] = log10(f.d240 / f.typical + TINY)
    e[Evidence.SLOW_LEVEL] = 0.5 * min(1.0, max(-1.5, log10(f.d240 / f.typical + TINY) + 1.0))
