"""The fold of many settings at once: what they share is folded once (see `monitor.backtesting.variants.parts`)."""

from __future__ import annotations

__all__ = ["CannotShare"]


class CannotShare(Exception):
    """These settings cannot be folded together: a table reached its limit, where what it forgets differs by setting."""
