"""False alarms of a wallet against its budget, as a bar in a row of a table. Pure."""

from __future__ import annotations

from markupsafe import Markup

from monitor.backtesting.page.svg import el
from monitor.backtesting.page.words import compact

__all__ = ["bar"]

WIDE, HIGH = 120, 14


def bar(rate: float, budget: float | None, most: float) -> Markup:
    """A bar as long as ``rate`` and a mark at ``budget``, both of 30 days, on an axis that ends at ``most``.

    ``budget`` is None where exact rules alone judge: nothing is too many then.
    """
    scale = (WIDE - 4) / most if most > 0 else 0.0
    words = f"{compact(rate)} in 30 days, {'no budget' if budget is None else f'budget {compact(budget)}'}"
    at = min(WIDE - 2.0, budget * scale) if budget is not None else 0.0
    kind = "over" if budget is not None and rate > budget else "within"
    return el(
        "svg",
        el("title", words),
        el("rect", class_="track", x=0, y=3, width=WIDE, height=8, rx=2),
        el("rect", class_=kind, x=0, y=3, width=min(float(WIDE), rate * scale), height=8, rx=2),
        *([el("line", class_="budget", x1=at, x2=at, y1=0, y2=HIGH)] if budget is not None else []),
        role="img",
        aria_label=words,
        viewBox=f"0 0 {WIDE} {HIGH}",
        class_="bar",
    )  # fmt: skip
