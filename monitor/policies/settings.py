"""What wallets set for the detectors of policies, exactly as they wrote it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from monitor.detectors.base import Detector

__all__ = ["Given", "Settings"]

Given = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""By wallet id, detector id and parameter: ``{"vault": {"CW-1": {"times": 2}, "CW-4": {"enabled": False}}}``."""


class Settings:
    """Numbers and switches of one policy's detectors, by wallet; defaults where a wallet says nothing.

    Numbers are fractions of the digits that were written: 0.0001 is one ten-thousandth and not the float next to it.

    Parameters
    ----------
    detectors : of the policy
    given : checked by `monitor.parameters.faults`
    """

    def __init__(self, detectors: Sequence[Detector], given: Given | None = None) -> None:
        self._given = given or {}
        self._defaults = {(d.id, p.name): p.default for d in detectors for p in d.parameters}

    def enabled(self, wallet: str, detector: str) -> bool:
        """Whether a detector may speak of a wallet."""
        return bool(self._of(wallet, detector).get("enabled", True))

    def number(self, wallet: str, detector: str, name: str) -> Fraction:
        """The number of a parameter; KeyError where the detector has none of this name."""
        default = self._defaults[detector, name]
        return Fraction(str(self._of(wallet, detector).get(name, default)))

    def _of(self, wallet: str, detector: str) -> Mapping[str, Any]:
        return self._given.get(wallet, {}).get(detector, {})
