"""The built-in detectors, and one compiled function that lets each of them fill its evidence of a row."""

from __future__ import annotations

from monitor.compiled import compiled
from monitor.detectors import (
    fusion_rule,
    guard,
    hw1,
    hw2,
    hw3,
    hw4,
    hw5,
    hw6,
    hw7,
    hw8,
    pw1,
    pw2,
    pw3,
    pw4,
    pw7,
    pw9,
    sweep,
)  # fmt: skip
from monitor.detectors.base import EVIDENCE_SIZE, Detector, Evidence, Parameter

__all__ = ["DETECTORS", "EVIDENCE_SIZE", "Detector", "Evidence", "Parameter", "evidence"]

_MODULES = (hw1, hw2, hw3, hw4, hw5, hw6, hw7, hw8, sweep, pw1, pw2, pw3, pw4, pw7, pw9, guard)

DETECTORS: tuple[Detector, ...] = (*(module.DETECTOR for module in _MODULES), fusion_rule.DETECTOR)

_hw1, _hw2, _hw3, _hw4, _hw5, _hw6, _hw7, _hw8, _sweep, _pw1, _pw2, _pw3, _pw4, _pw7, _pw9, _guard = (
    module.evidence for module in _MODULES
)


@compiled()
def evidence(f, q, e):  # type: ignore[no-untyped-def]
    """Fill the evidence vector ``e`` (float64, `EVIDENCE_SIZE`) of one row of features ``f``; ``q``: `PARAMETERS`."""
    _hw1(f, q, e)
    _hw2(f, q, e)
    _hw3(f, q, e)
    _hw4(f, q, e)
    _hw5(f, q, e)
    _hw6(f, q, e)
    _hw7(f, q, e)
    _hw8(f, q, e)
    _sweep(f, q, e)
    _pw1(f, q, e)
    _pw2(f, q, e)
    _pw3(f, q, e)
    _pw4(f, q, e)
    _pw7(f, q, e)
    _pw9(f, q, e)
    _guard(f, q, e)
