"""Which simulated wallets are for what. Whoever tunes the engine looks at `TUNING` alone."""

from __future__ import annotations

__all__ = ["SAMPLE", "SCORING", "TUNING"]

TUNING = range(1000, 1200)  # for choosing constants
SCORING = range(2000, 2200)  # for the published table, never for choosing
SAMPLE = range(2000, 2008)  # of SCORING: rows of their own, computed again by the tests
