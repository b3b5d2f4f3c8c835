"""Axes: where a value stands, and which values are written beside it. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from monitor.backtesting.page.words import compact, date

__all__ = ["Scale", "amounts", "linear", "times"]

STEPS = (
    1, 5, 15, 30, 60, 300, 900, 1800, 3600, 3 * 3600, 6 * 3600, 12 * 3600, 86400, 2 * 86400, 5 * 86400, 10 * 86400,
    30 * 86400, 90 * 86400, 365 * 86400,
)  # fmt: skip
DECADES = 30.0  # amounts that span more than this ratio are drawn on a logarithmic axis
MOST_DECADES = 7
LEAST = 1e-100  # below one base unit of any asset


@dataclass(frozen=True, slots=True)
class Scale:
    """A range of values on a range of pixels. ``log``: low is above 0, and what is below it stands at the edge."""

    low: float
    high: float
    start: float
    stop: float
    log: bool = False
    ticks: tuple[tuple[float, str], ...] = ()

    def __call__(self, value: float) -> float:
        """Where a value stands, never outside."""
        value = min(self.high, max(self.low, value))
        if self.log:
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.stop - self.start), 1)


def linear(low: float, high: float, start: float, stop: float, most: int = 5) -> Scale:
    """An axis with round numbers."""
    if not high > low:
        high = low + (abs(low) or 1.0)
    rough = (high - low) / most
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(n * unit for n in (1.0, 2.0, 2.5, 5.0, 10.0) if n * unit >= rough * 0.999)
    top = math.ceil(high / step - 1e-9) * step
    first, last = math.ceil(low / step - 1e-9), math.floor(top / step + 1e-9)
    ticks = tuple((n * step, compact(n * step)) for n in range(first, last + 1))
    return Scale(low, top, start, stop, ticks=ticks)


def amounts(values: Sequence[float], start: float, stop: float) -> Scale:
    """An axis for amounts: from 0, or logarithmic where they span decades."""
    sizes = sorted(v for v in values if v > LEAST)
    if not sizes:
        return linear(0.0, 1.0, start, stop)
    high = sizes[-1]
    low = max(sizes[0], high * 10.0**-MOST_DECADES)
    if high / low < DECADES:
        return linear(0.0, high, start, stop)
    bottom, top = math.floor(math.log10(low) + 1e-9), math.ceil(math.log10(high) - 1e-9)
    every = max(1, math.ceil((top - bottom) / 5))
    ticks = tuple((10.0**n, compact(10.0**n)) for n in range(bottom, top + 1) if (top - n) % every == 0)
    return Scale(10.0**bottom, 10.0**top, start, stop, log=True, ticks=ticks)


def times(low: float, high: float, start: float, stop: float, most: int = 5) -> Scale:
    """An axis of time in UTC; a tick says the day where it begins, or is the first."""
    high = max(high, low + 1)
    step = next((s for s in STEPS if (high - low) / s <= most), STEPS[-1])
    ticks, seen = [], None
    first = math.ceil(low / step)
    for n in range(first, math.floor(high / step) + 1):
        at = datetime.fromtimestamp(n * step, UTC)
        label, within = date(n * step), f"{at:%H:%M:%S}" if step < 60 else f"{at:%H:%M}"
        midnight = n * step % 86400 == 0
        is_next_day = n == first and (n + 1) * step % 86400 == 0 and (n + 1) * step <= high
        if (seen is not None or is_next_day) and not midnight:
            label = within
        elif not midnight:
            label = f"{label} {within}"
        seen = label
        ticks.append((float(n * step), label))
    return Scale(low, high, start, stop, ticks=tuple(ticks))
