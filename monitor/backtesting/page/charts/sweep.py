"""False alarms against what is lost when the alarm opens, one point a setting. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from monitor.backtesting.page.given import Setting
from monitor.backtesting.page.scales import Scale, amounts, linear
from monitor.backtesting.page.svg import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Point, axes, chart, el, steps
from monitor.backtesting.page.words import compact, percent

__all__ = ["front", "sweep"]

NAMED = 12  # settings in the chart's words
MOST = 28  # letters beside a point
SIDES = ((7, -5, "start"), (-7, -5, "end"), (7, 12, "start"), (-7, 12, "end"))  # where a point's words may stand
LETTER, LINE = 5.4, 11.0


def front(settings: Sequence[Setting]) -> list[Setting]:
    """The settings of which none is better in one of these and as good in the others, by false alarms: those, the share
    lost, and how many labelled incidents are caught."""
    found: list[Setting] = []
    for setting in sorted(settings, key=lambda s: (s.false_alarms, _share(s), -(s.caught or 0))):
        if not any(_share(b) <= _share(setting) and (b.caught or 0) >= (setting.caught or 0) for b in found):
            found.append(setting)
    return found


def _share(setting: Setting) -> float:
    return setting.share_lost_at_open if setting.share_lost_at_open is not None else 1.0


def sweep(key: str, settings: Sequence[Setting]) -> Markup:
    """The chart; settings that lost nothing to any incident have no point."""
    shown = [setting for setting in settings if setting.share_lost_at_open is not None]
    if not shown:
        return Markup("")
    x = amounts([setting.false_alarms for setting in shown], LEFT, WIDTH - RIGHT)
    top = linear(0.0, 100.0 * max(_share(setting) for setting in shown) or 1.0, HEIGHT - BOTTOM, TOP)
    y = Scale(top.low, top.high, top.start, top.stop, ticks=tuple((at, f"{name} %") for at, name in top.ticks))
    best = front(shown)
    points = [(x(setting.false_alarms), y(100 * _share(setting))) for setting in best]
    line = [point for n, point in enumerate(points) if all(point[1] > before[1] for before in points[:n])]
    dots = [_dot(setting, x, y, best) for setting in shown]
    said = f"{len(shown)} settings; none is better than " + ", ".join(_words(s) for s in best[:NAMED])
    if shown[0].caught is None:
        said += ", of what each finds: what it misses counts with labelled incidents alone"
    under = "false alarms of a wallet in 30 days" + (", log" if x.log else "")
    return chart(
        key, "Lost when the alarm opens, by false alarms", f"{said}.", axes(x, y, "mean share lost at open", HEIGHT),
        steps(line, "front"), *dots, *_labels(best, points),
        el("text", under, class_="unit", x=WIDTH - RIGHT, y=HEIGHT + 8, text_anchor="end"), height=HEIGHT + 12,
    )  # fmt: skip


def _words(setting: Setting) -> str:
    return ", ".join(f"{name}={value}" for name, value in setting.values.items())


def _brief(setting: Setting) -> str:
    """A setting for the chart, where there is little room: keys without what they begin with, else values alone."""
    names = [name.rpartition(".")[2] for name in setting.values]
    named = ", ".join(f"{name}={value}" for name, value in zip(names, setting.values.values(), strict=True))
    values = ", ".join(setting.values.values())
    return named if len(set(names)) == len(names) and len(named) <= MOST else values[:MOST]


def _dot(setting: Setting, x: Scale, y: Scale, best: Sequence[Setting]) -> Markup:
    said = f"{_words(setting)}: {compact(setting.false_alarms)} false alarms, "
    said += f"{percent(setting.share_lost_at_open)} lost at open"
    kind = "point" if setting in best else "point worse"
    at, up = x(setting.false_alarms), y(100 * _share(setting))
    return el("circle", el("title", said), class_=kind, cx=at, cy=up, r=4.0)


def _labels(best: Sequence[Setting], points: Sequence[Point]) -> list[Markup]:
    """Words beside the best points, as far as there is room."""
    taken = [(x - 4, y - 4, x + 4, y + 4) for x, y in points]
    found = []
    for setting, (x, y) in zip(best, points, strict=True):
        words = _brief(setting)
        for right, down, anchor in SIDES:
            left = x + right - (LETTER * len(words) if anchor == "end" else 0)
            box = (left, y + down - LINE + 2, left + LETTER * len(words), y + down + 2)
            free = all(box[2] < t[0] or box[0] > t[2] or box[3] < t[1] or box[1] > t[3] for t in taken)
            if free and box[0] >= LEFT and box[2] <= WIDTH:
                taken.append(box)
                found.append(el("text", words, class_="tick", x=x + right, y=y + down, text_anchor=anchor))
                break
    return found
