"""Shares of the typical balance as the statistics take them, compiled."""

from __future__ import annotations

from monitor.compiled import compiled
from monitor.features.maths import log10

__all__ = ["LEAST", "LOG_LEAST", "log_share"]

LEAST, LOG_LEAST = 3.1622776601683795e-3, -2.5  # 10**-2.5: below 0.3 % all is alike


@compiled()
def log_share(share):  # type: ignore[no-untyped-def]
    """log10 of a share, `LOG_LEAST` at least: days with next to nothing must not teach that nothing is usual."""
    return log10(share) if share > LEAST else LOG_LEAST
