"""FUSION, what is set for a wallet as a whole: no detector of its own, but shown and set like one."""

from __future__ import annotations

from monitor.detectors.base import Detector, Parameter

DETECTOR = Detector(
    id="FUSION",
    title="How evidence becomes an alarm",
    catches="Fuses the evidence of all detectors into three scores (fast, day, slow) and holds them to the budget.",
    misses="What no detector sees.",
    lookalikes="See each detector.",
    evidence=(),
    parameters=(
        Parameter("floor", ("floor",), 0.005, 0.0, 1.0, "share of the balance below which all is well", off=0.005),
        Parameter("warm_up_days", ("warm_up",), 7.0, 0.0, 365.0, "days on the guard rail alone", 86400.0, 604800.0),
    ),
    references=("Gibbs and Candes, Adaptive conformal inference under distribution shift, 2021",),
)
