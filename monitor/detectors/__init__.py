"""The built-in detectors, and one compiled function that lets each of them fill its evidence of a row."""

from __future__ import annotations

from numba import njit

from monitor import compiled as _compiled  # noqa: F401  (the kernels' cache folder, before the first kernel)
from monitor.detectors import guard, hw1, hw2, hw3, hw4, hw5, hw6
from monitor.detectors.base import EVIDENCE_SIZE, Detector, Evidence

__all__ = ["DETECTORS", "EVIDENCE_SIZE", "Detector", "Evidence", "evidence"]

DETECTORS: tuple[Detector, ...] = tuple(
    module.DETECTOR for module in (hw1, hw2, hw3, hw4, hw5, hw6, guard)
)

_hw1, _hw2, _hw3, _hw4, _hw5, _hw6, _guard = (
    module.evidence for module in (hw1, hw2, hw3, hw4, hw5, hw6, guard)
)


@njit(cache=True)
def evidence(f, e):  # type: ignore[no-untyped-def]
    """Fill the evidence vector ``e`` (float64, `EVIDENCE_SIZE`) of one row of features ``f``."""
    _hw1(f, e)
    _hw2(f, e)
    _hw3(f, e)
    _hw4(f, e)
    _hw5(f, e)
    _hw6(f, e)
    _guard(f, e)
