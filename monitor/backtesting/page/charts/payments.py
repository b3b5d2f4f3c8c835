"""Payments around an incident, one by one, against the smallest that would have raised an alarm. Pure."""

from __future__ import annotations

from markupsafe import Markup

from monitor.assets import AssetNames
from monitor.backtesting.page.charts.outflow import learning, levels
from monitor.backtesting.page.probe import Payment, Seen
from monitor.backtesting.page.scales import amounts, times
from monitor.backtesting.page.svg import (
    BOTTOM,
    HEAD,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    axes,
    chart,
    el,
    legend,
    mark,
    steps,
)  # fmt: skip
from monitor.backtesting.page.words import amount, clock, coins

__all__ = ["payments"]

ABOVE = 1.1  # how far the axis goes beyond the largest: its dot is seen whole


def payments(key: str, seen: Seen, names: AssetNames) -> Markup:
    """The chart of the hours around an incident."""
    window, asset = seen.window, seen.window.track[2]
    unit, symbol = coins(names, asset)
    near = [sample for sample in seen.samples if window.zoom_begin <= sample.at <= window.zoom_end]
    alarm = [[(at, value / unit) for at, value in piece] for piece in levels(near, seen, day=False)]
    shown = [p.value / unit for p in seen.payments] + [value for piece in alarm for _, value in piece]
    x = times(window.zoom_begin, window.zoom_end, LEFT, WIDTH - RIGHT)
    y = amounts([*shown, ABOVE * max(shown, default=0.0)], HEIGHT - BOTTOM, TOP)
    dots = [
        el("circle", el("title", _said(p, names, asset)), class_=f"dot {_kind(p)}", cx=x(p.at), cy=y(p.value / unit),
           r=3.4 if p.suspect else 2.4)
        for p in sorted(seen.payments, key=lambda p: p.suspect)
    ]  # fmt: skip
    told = [steps([(x(at), y(value)) for at, value in piece], "alarm", "smallest alarming payment") for piece in alarm]
    entries = (("suspect", "to suspects"), ("other", "other"), ("alarm", "alarm above"))
    parts = [learning(near, x, window.zoom_begin), *told, *dots, mark(x(window.opened), "opened", "opened")]
    more = f" {seen.left_out} smaller ones are not drawn." if seen.left_out else ""
    said = f"{sum(p.suspect for p in seen.payments)} payments to suspects and " \
        f"{sum(not p.suspect for p in seen.payments)} others.{more}"  # fmt: skip
    return chart(key, "Payments, and the smallest that alarms", said, axes(x, y, symbol), *parts,
                 legend(entries, HEAD))  # fmt: skip


def _kind(payment: Payment) -> str:
    return "suspect" if payment.suspect else "expected" if payment.expected else "other"


def _said(payment: Payment, names: AssetNames, asset: str) -> str:
    where = {"suspect": "to a suspect", "expected": "to a trusted counterparty", "other": "to somebody else"}
    return f"{amount(names, asset, payment.value)} {where[_kind(payment)]}, {clock(payment.at)} UTC"
