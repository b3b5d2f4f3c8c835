"""What left in 24 hours, against what usually does, and what would have raised an alarm. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from monitor.assets import AssetNames
from monitor.backtesting.page.probe import Sample, Seen
from monitor.backtesting.page.scales import Scale, amounts, times
from monitor.backtesting.page.svg import (
    BOTTOM,
    HEAD,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    area,
    axes,
    chart,
    el,
    legend,
    line,
    mark,
    steps,
)  # fmt: skip
from monitor.backtesting.page.windows import HOUR
from monitor.backtesting.page.words import amount, clock, coins, compact

__all__ = ["learning", "levels", "outflow", "usual"]

USUAL = (10, 50, 90)  # percentiles


def usual(seen: Seen) -> tuple[float, float, float] | None:
    """10th, 50th and 90th percentile of what left in 24 hours, at each hour of the month before; None: no full day."""
    begin = max(seen.window.begin, (seen.since or seen.window.opened) + 24 * HOUR)
    days = [seen.day_before(at) for at in range(begin, seen.window.opened - HOUR, HOUR)]
    if len(days) < 24:
        return None
    low, middle, high = np.percentile(days, USUAL).tolist()
    return low, middle, high


def levels(samples: Sequence[Sample], seen: Seen, *, day: bool) -> list[list[tuple[int, float]]]:
    """Where the alarm stands at each sample, base units, in pieces between which no payment would raise one.

    ``day``: as an outflow of 24 hours (what left already, and the smallest payment that would raise an alarm).
    """
    pieces: list[list[tuple[int, float]]] = [[]]
    for sample in samples:
        if sample.smallest is None:
            if pieces[-1]:
                pieces.append([])
            continue
        before = seen.day_before(sample.at - HOUR) if day else 0.0
        pieces[-1].append((sample.at, before + sample.smallest.value))
    return [piece for piece in pieces if piece]


def learning(samples: Sequence[Sample], x: Scale, begin: float) -> Markup:
    """A shade over the time in which the wallet was learning."""
    waits = [sample.at for sample in samples if sample.learning > 0]
    if not waits:
        return Markup("")
    ready = next((sample.at for sample in samples if sample.at > waits[-1]), waits[-1])
    left, right = x(max(begin, waits[0])), x(ready)
    wide = right - left
    words = [el("text", "learning", class_="note soft", x=left + 4, y=HEIGHT - BOTTOM - 6)] if wide > 52 else []
    shade = el(
        "rect", el("title", "learning: nothing but the guard rail may fire yet"), class_="learning", x=left, y=TOP,
        width=wide, height=HEIGHT - BOTTOM - TOP,
    )  # fmt: skip
    return Markup("").join([shade, *words])


def outflow(key: str, seen: Seen, names: AssetNames) -> Markup:
    """The chart of the month before an incident, and of the incident."""
    window, asset = seen.window, seen.window.track[2]
    unit, symbol = coins(names, asset)
    begin = max(window.begin, seen.since or window.begin)
    hours = [*range(begin, window.end, HOUR), window.end]
    sums = [(at, seen.day_before(at) / unit) for at in hours]
    alarm = [[(at, value / unit) for at, value in piece] for piece in levels(seen.samples, seen, day=True)]
    common = usual(seen)
    shown = [value for _, value in sums] + [value for piece in alarm for _, value in piece]
    x = times(begin, window.end, LEFT, WIDTH - RIGHT)
    y = amounts([*shown, *(value / unit for value in common or ())], HEIGHT - BOTTOM, TOP)
    floor = y(0.0)
    parts = [axes(x, y, symbol), learning(seen.samples, x, begin)]
    if common is not None:
        low, _, high = (y(value / unit) for value in common)
        middle = y(common[1] / unit)
        said = f"usual: {amount(names, asset, common[1])} (80 % of the time {compact(common[0] / unit)} to " \
            f"{compact(common[2] / unit)})"  # fmt: skip
        end = x(window.opened)
        parts.append(
            el("rect", el("title", said), class_="usual", x=x(begin), y=high, width=end - x(begin),
               height=max(1.0, low - high))
        )  # fmt: skip
        parts.append(el("line", class_="median", x1=x(begin), x2=end, y1=middle, y2=middle))
    points = [(x(at), y(value)) for at, value in sums]
    parts += [area(points, floor, "sum-area"), line(points, "sum", "left in the 24 hours before")]
    parts += [steps([(x(at), y(value)) for at, value in piece], "alarm", "alarm level") for piece in alarm]
    parts.append(mark(x(window.opened), "opened", "opened"))
    parts.append(legend((("sum", "left in 24 h"), ("usual", "usual"), ("alarm", "alarm")), HEAD))
    return chart(key, "Outflow of 24 hours against the usual", _words(seen, names, common), *parts)


def _words(seen: Seen, names: AssetNames, common: tuple[float, float, float] | None) -> str:
    """The chart in words."""
    window, asset = seen.window, seen.window.track[2]
    peak = max(
        (seen.day_before(at) for at in range(window.opened, window.end + HOUR, HOUR)), default=0.0
    )
    before = [sample for sample in seen.samples if sample.at <= window.opened]
    said = f"At most {amount(names, asset, peak)} left in 24 hours from {clock(window.opened)} UTC on"
    said += f", usually {amount(names, asset, common[1])}." if common else "; too little history to say what is usual."
    if before and before[-1].smallest is not None:
        least = amount(names, asset, before[-1].smallest.value)
        said += f" A payment of {least} to a new address would have raised an alarm right before."
    elif before:
        said += " Right before, no single payment would have raised an alarm of the statistics."
    return said
