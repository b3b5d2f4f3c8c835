"""The chart of an incident: what left, added up over time, against the most of a usual day. A small PNG."""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from alerts.message import COLOURS
from alerts.text import bounded, clean
from monitor.ids import from_iso, iso
from monitor.model import Alert, AlertKind

__all__ = ["chart_png"]

SIZE = (640, 320)  # pixels
_LEFT, _TOP, _RIGHT, _BOTTOM = 64, 44, 20, 44  # margins
_INK, _PALE, _PAPER, _USUAL = "#1f2933", "#d5dbe1", "#ffffff", "#2e7d32"
_TITLE_CHARACTERS = 60
_UNNAMED = "Left, of the typical balance"

Steps = list[tuple[int, float]]


def chart_png(alert: Alert) -> bytes | None:
    """The chart, or None where nothing left that a usual day is known of.

    The same alert gives the same bytes on one machine; they are frozen with the message.
    """
    kind = (alert.kind is AlertKind.DRILL, str(alert.severity))
    for incident, of, drawn in _lately:
        if incident is alert.incident and of == kind:
            return drawn
    drawn = _drawn(alert)
    _lately.append((alert.incident, kind, drawn))
    return drawn


_lately: deque[tuple[Any, tuple[bool, str], bytes | None]] = deque(maxlen=4)
"""The last charts: an alert is rendered for one channel after the other, and drawing takes 15 ms."""


def _drawn(alert: Alert) -> bytes | None:
    found = _series((alert.incident or {}).get("findings", ()))
    if found is None:
        return None
    steps, usual = found
    image = Image.new("RGB", SIZE, _PAPER)
    draw = ImageDraw.Draw(image)
    drill = alert.kind is AlertKind.DRILL
    entity = _drawable(str((alert.incident or {}).get("entity", "")))
    title = f"{bounded(entity, _TITLE_CHARACTERS)}: left, of the typical balance" if entity else _UNNAMED
    draw.text((_LEFT, 14), f"DRILL  {title}" if drill else title, fill=_INK, font=_font(15))
    _draw(draw, steps, usual, COLOURS.get(str(alert.severity), COLOURS["high"]))
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True)
    return out.getvalue()


def _series(findings: Sequence[Mapping[str, Any]]) -> tuple[Steps, float] | None:
    """Of the wallet and asset that lost the largest share: (UTC seconds, share so far), and the usual day's most."""
    series: dict[tuple[str, ...], Steps] = {}
    usual: dict[tuple[str, ...], float] = {}
    for finding in sorted(findings, key=lambda finding: str(finding.get("at", ""))):
        evidence = finding.get("evidence") or {}
        typical, most = evidence.get("typical_balance"), evidence.get("usual_daily_maximum")
        if not typical or most is None or evidence.get("learning"):
            continue
        place = tuple(str(finding.get(name, "")) for name in ("wallet", "chain", "asset"))
        steps = series.setdefault(place, [])
        before = steps[-1][1] if steps else 0.0
        steps.append((from_iso(str(finding["at"])), before + int(finding.get("value") or 0) / float(typical)))
        usual[place] = max(usual.get(place, 0.0), float(most))
    if not series:
        return None
    place = max(series, key=lambda name: (series[name][-1][1], name))
    return (series[place], usual[place]) if series[place][-1][1] > 0 else None


def _draw(draw: ImageDraw.ImageDraw, steps: Steps, usual: float, colour: str) -> None:
    width, height = SIZE[0] - _LEFT - _RIGHT, SIZE[1] - _TOP - _BOTTOM
    first, last = steps[0][0], steps[-1][0]
    lasted = max(last - first, 60)
    start, span = first - lasted * 0.15, lasted * 1.2
    most = max(steps[-1][1], usual) * 1.15

    def x(at: float) -> float:
        return _LEFT + width * (at - start) / span

    def y(share: float) -> float:
        return _TOP + height * (1 - share / most)

    for part in range(5):
        share = most * part / 4
        draw.line((_LEFT, y(share), _LEFT + width, y(share)), fill=_PALE)
        draw.text((_LEFT - 8, y(share)), _percent(share), fill=_INK, font=_font(12), anchor="rm")
    line = [(float(_LEFT), y(0.0))]
    for at, share in steps:
        line += [(x(at), line[-1][1]), (x(at), y(share))]
    line.append((_LEFT + width, line[-1][1]))
    draw.polygon([*line, (_LEFT + width, y(0.0))], fill=_tint(colour))
    draw.line(line, fill=colour, width=3)
    for dash in range(_LEFT, _LEFT + width, 12):
        draw.line((dash, y(usual), min(dash + 7, _LEFT + width), y(usual)), fill=_USUAL, width=2)
    text = f"most of a usual day: {_percent(usual)}"
    above = y(usual) - 5 if usual < most * 0.85 else y(usual) + 19
    draw.text((_LEFT + width - 2, above), text, fill=_USUAL, font=_font(12), anchor="rs")
    _times(draw, ((first, x(first)), (last, x(last))))


def _times(draw: ImageDraw.ImageDraw, ends: tuple[tuple[int, float], tuple[int, float]]) -> None:
    """When it began, and, where there is room for it, when it was seen last."""
    taken = 0.0
    for (at, edge), anchor in zip(ends, ("la", "ra"), strict=True):
        label = (iso(at) or "").replace("T", " ").removesuffix("Z") + " UTC"
        box = draw.textbbox((edge, SIZE[1] - _BOTTOM + 10), label, font=_font(12), anchor=anchor)
        if box[0] > taken:
            draw.text((edge, SIZE[1] - _BOTTOM + 10), label, fill=_INK, font=_font(12), anchor=anchor)
            taken = box[2] + 10


def _percent(share: float) -> str:
    return f"{share * 100:.0f} %" if share >= 0.1 or share == 0 else f"{share * 100:.1f} %"


def _tint(colour: str) -> str:
    """A pale form of a colour."""
    parts = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return "#" + "".join(f"{round(part * 0.25 + 255 * 0.75):02x}" for part in parts)


def _font(size: int) -> Any:
    return ImageFont.load_default(size)


def _drawable(text: str) -> str:
    """``text`` where the built-in font can draw all of it, else nothing: the message beside the chart has the name."""
    seen = clean(text)
    return seen if all(character <= "\xff" for character in seen) else ""
