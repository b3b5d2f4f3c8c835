"""What was there, around an incident. Pure."""

from __future__ import annotations

from markupsafe import Markup

from monitor.assets import AssetNames
from monitor.backtesting.page.probe import Seen
from monitor.backtesting.page.scales import linear, times
from monitor.backtesting.page.svg import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, area, axes, chart, mark, steps
from monitor.backtesting.page.words import amount, clock, coins

__all__ = ["balance"]


def balance(key: str, seen: Seen, names: AssetNames) -> Markup:
    """The balance as the engine had it, told or inferred."""
    window, asset = seen.window, seen.window.track[2]
    unit, symbol = coins(names, asset)
    near = [sample for sample in seen.samples if window.zoom_begin <= sample.at <= window.zoom_end]
    x = times(window.zoom_begin, window.zoom_end, LEFT, WIDTH - RIGHT)
    y = linear(0.0, max((sample.balance / unit for sample in near), default=1.0), HEIGHT - BOTTOM, TOP)
    points = [(x(sample.at), y(sample.balance / unit)) for sample in near]
    stairs = [point for n, (at, value) in enumerate(points) for point in ([(at, points[n - 1][1])] if n else []) +
              [(at, value)]]  # fmt: skip
    told = bool(near) and near[-1].known
    title = "Balance" if told else "Balance, inferred from flows"
    said = "No flow of this asset." if not near else (
        f"{amount(names, asset, near[0].balance)} at {clock(near[0].at)} UTC, "
        f"{amount(names, asset, near[-1].balance)} at {clock(near[-1].at)} UTC."
    )  # fmt: skip
    return chart(
        key, title, said, axes(x, y, symbol), area(stairs, y(0.0), "held-area"), steps(points, "held", said),
        mark(x(window.opened), "opened", "opened"),
    )  # fmt: skip
