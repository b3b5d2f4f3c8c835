"""SVG as text: elements whose attributes and texts are escaped, and the frame that all charts share. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from markupsafe import Markup, escape

from monitor.backtesting.page.scales import Scale
from monitor.backtesting.page.words import visible

__all__ = [
    "BOTTOM",
    "HEAD",
    "HEIGHT",
    "LEFT",
    "LETTER",
    "RIGHT",
    "TOP",
    "WIDTH",
    "Point",
    "area",
    "axes",
    "chart",
    "el",
    "legend",
    "line",
    "mark",
    "steps",
]

WIDTH, HEIGHT = 400, 242  # drawn for a phone's width; a wider column shows it larger
LEFT, RIGHT, TOP, BOTTOM = 52, 10, 40, 26
HEAD = 28  # where the line under the title stands: the unit, what colours mean
LETTER = 6.2  # width of a letter of a tick, at most as wide as on a phone
Point = tuple[float, float]


def el(name: str, *children: object, **attributes: object) -> Markup:
    """One element. ``class_`` is class, ``a_b`` is a-b; None leaves an attribute out.

    >>> el("text", "<b>", class_="x", x=1.50)
    Markup('<text class="x" x="1.5">&lt;b&gt;</text>')
    """
    named = (
        (key.rstrip("_").replace("_", "-") if key != "viewBox" else key, value)
        for key, value in attributes.items()
        if value is not None
    )
    parts = "".join(f' {key}="{escape(_plain(value))}"' for key, value in named)
    inner = Markup("").join(child if isinstance(child, Markup) else escape(visible(child)) for child in children)
    return Markup(f"<{name}{parts}>{inner}</{name}>") if inner else Markup(f"<{name}{parts}/>")


def _plain(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.1f}".rstrip("0").rstrip(".")
    return visible(value, 20_000)


def chart(
    key: str, title: str, describes: str, *parts: Markup, height: int = HEIGHT, width: int = WIDTH, kind: str = ""
) -> Markup:
    """A chart: its title is drawn and read aloud, ``describes`` is read aloud; ``key`` is unique on the page."""
    return el(
        "svg",
        el("title", title, id=f"{key}-t"),
        el("desc", describes, id=f"{key}-d"),
        el("text", title, class_="name", x=0, y=13),
        *parts,
        role="img",
        aria_labelledby=f"{key}-t",
        aria_describedby=f"{key}-d",
        viewBox=f"0 0 {width} {height}",
        class_=f"chart {kind}".strip(),
    )


def axes(x: Scale, y: Scale, unit: str, height: int = HEIGHT, width: int = WIDTH) -> Markup:
    """Grid lines, ticks, and what the axes are in."""
    floor = height - BOTTOM
    parts = []
    for value, label in y.ticks:
        at = y(value)
        parts.append(el("line", class_="grid", x1=LEFT, x2=width - RIGHT, y1=at, y2=at))
        parts.append(el("text", label, class_="tick", x=LEFT - 5, y=at + 3.5, text_anchor="end"))
    taken = 0.0
    for value, label in x.ticks:
        at, wide = x(value), LETTER * len(label)
        parts.append(el("line", class_="grid", x1=at, x2=at, y1=floor, y2=floor + 4))
        anchor = "end" if at > width - RIGHT - wide / 2 else "start" if at < LEFT + 14 else "middle"
        begin = at - {"end": wide, "start": 0.0, "middle": wide / 2}[anchor]
        if begin > taken:
            parts.append(el("text", label, class_="tick", x=at, y=floor + 16, text_anchor=anchor))
            taken = begin + wide + 4
    parts.append(el("line", class_="axis", x1=LEFT, x2=width - RIGHT, y1=floor, y2=floor))
    parts.append(el("text", f"{unit}{', log' if y.log else ''}", class_="unit", x=0, y=HEAD))
    return Markup("").join(parts)


def line(points: Sequence[Point], kind: str, title: str = "") -> Markup:
    """A line through points; nothing where there are none."""
    return _path(points, kind, title)


def steps(points: Sequence[Point], kind: str, title: str = "") -> Markup:
    """A line that keeps each value until the next."""
    stairs: list[Point] = []
    for x, y in points:
        if stairs:
            stairs.append((x, stairs[-1][1]))
        stairs.append((x, y))
    return _path(stairs, kind, title)


def area(points: Sequence[Point], floor: float, kind: str, title: str = "") -> Markup:
    """What is below a line."""
    if not points:
        return Markup("")
    return _path([(points[0][0], floor), *points, (points[-1][0], floor)], kind, title, closed=True)


def _path(points: Sequence[Point], kind: str, title: str, *, closed: bool = False) -> Markup:
    if not points:
        return Markup("")
    d = "M" + "L".join(f"{_plain(float(x))} {_plain(float(y))}" for x, y in points) + ("Z" if closed else "")
    return el("path", *([el("title", title)] if title else []), class_=kind, d=d)


def legend(entries: Iterable[tuple[str, str]], y: float, width: int = WIDTH) -> Markup:
    """What colours mean: (class, words), from the right of one line."""
    parts, right = [], float(width - RIGHT)
    for kind, words in reversed(list(entries)):
        right -= LETTER * len(words)
        parts.append(el("text", words, class_="tick", x=right, y=y))
        parts.append(el("rect", class_=f"key {kind}", x=right - 13, y=y - 7, width=9, height=7, rx=1.5))
        right -= 20
    return Markup("").join(parts)


def mark(x: float, words: str, kind: str, row: int = 0, height: int = HEIGHT, width: int = WIDTH) -> Markup:
    """A moment: a line from top to bottom with a word beside it, on the side where there is room."""
    left = x > (LEFT + width) / 2
    return el(
        "g",
        el("line", class_="mark", x1=x, x2=x, y1=TOP, y2=height - BOTTOM),
        el("text", words, class_="note", x=x + (-4 if left else 4), y=TOP + 9 + 12 * row,
           text_anchor="end" if left else "start"),
        class_=kind,
    )  # fmt: skip
