"""How much had gone when the alarm opened, against what went in all. Pure."""

from __future__ import annotations

from markupsafe import Markup

from monitor.assets import AssetNames
from monitor.backtesting.page.scales import linear, times
from monitor.backtesting.page.svg import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, area, axes, chart, el, mark, steps
from monitor.backtesting.page.windows import Window
from monitor.backtesting.page.words import coins, percent
from monitor.grouping import order
from monitor.model import Incident

__all__ = ["at_open", "loss", "shares_at_open"]


def at_open(incident: Incident, asset: str) -> tuple[int, int]:
    """(what had gone of an asset when the incident was opened, what went in all), base units, exact."""
    opening = next((f for f in incident.findings if f.tx == incident.opened_tx and f.at == incident.opened_at), None)
    mine = [m for m in incident.movements if m.asset == asset]
    before = 0
    for m in mine:
        if opening is not None and m.chain == opening.chain:
            early = (m.block_number, m.index) <= (opening.block_number, opening.index)
        else:
            early = m.at <= incident.opened_at
        before += m.value if early else 0
    return before, sum(m.value for m in mine)


def loss(key: str, incident: Incident, window: Window, names: AssetNames) -> Markup:
    """What went to suspects, adding up, of one asset from all wallets of the incident."""
    asset = window.track[2]
    unit, symbol = coins(names, asset)
    gone, sums = 0, [(window.zoom_begin, 0.0)]
    for move in sorted((m for m in incident.movements if m.asset == asset), key=order):
        gone += move.value
        sums.append((move.at, gone / unit))
    sums.append((max(window.zoom_end, sums[-1][0]), gone / unit))
    x = times(window.zoom_begin, window.zoom_end, LEFT, WIDTH - RIGHT)
    y = linear(0.0, max(1.0 / unit, gone / unit), HEIGHT - BOTTOM, TOP)
    before, total = at_open(incident, asset)
    share = percent(before / total if total else None)
    stairs: list[tuple[float, float]] = []
    for at, value in sums:
        stairs += [(x(at), stairs[-1][1])] if stairs else []
        stairs.append((x(at), y(value)))
    level, floor = y(before / unit), y(0.0)
    said = f"When the alarm opened, {names.display(asset, before)} of {names.display(asset, total)} had gone ({share})."
    opened = x(incident.opened_at)
    parts = [axes(x, y, symbol), area(stairs, floor, "gone-area")]
    parts.append(el("line", class_="level", x1=LEFT, x2=WIDTH - RIGHT, y1=level, y2=level))
    parts.append(steps([(x(at), y(value)) for at, value in sums], "gone", said))
    parts.append(mark(opened, f"opened: {share} gone", "opened"))
    if incident.paged_at is not None and incident.paged_at != incident.opened_at:
        parts.append(mark(x(incident.paged_at), "paged", "paged", row=1))
    return chart(key, "Lost when the alarm opened", said, *parts)

def shares_at_open(incident: Incident, names: AssetNames) -> list[tuple[str, str, str]]:
    """(asset, gone when the alarm opened, gone in all) in exact words, by asset."""
    found = []
    for asset, total in incident.lost:
        before, _ = at_open(incident, asset)
        found.append((names.info(asset).symbol, names.display(asset, before), names.display(asset, total)))
    return found
