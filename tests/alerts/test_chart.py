"""The chart: drawn where there is something to draw, the same each time, readable by an image library."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

from PIL import Image

from alerts.chart import SIZE, chart_png
from monitor.model import Alert

USUAL = (46, 125, 50)  # of the dashed line


def finding(at: str, value: int, **evidence: Any) -> dict[str, Any]:
    """A finding with what the chart is made of."""
    known = {"typical_balance": 1000.0, "usual_daily_maximum": 0.02, "learning": False}
    place = {"wallet": "hot", "chain": "c", "asset": "a"}
    return {**place, "at": at, "value": str(value), "evidence": {**known, **evidence}}


def picture(alert: Alert) -> Any:
    """The chart as an image."""
    data = chart_png(alert)
    assert data is not None
    return Image.open(io.BytesIO(data)).convert("RGB")


def test_it_shows_what_left_and_the_usual(alert: Callable[..., Alert]) -> None:
    """The colour of the severity fills more the more has left; the usual is drawn."""
    little = alert(incident={"entity": "Exchange 漢", "findings": [finding("2018-01-25T15:04:00Z", 30)]})
    steps = [finding(f"2018-01-25T15:0{n}:00Z", 200) for n in range(4)]
    much = alert(incident={"entity": "X", "findings": steps})
    red = (176, 0, 32)
    for made in (little, much):
        image = picture(made)
        assert image.size == SIZE
        colours = {colour: count for count, colour in image.getcolors(1_000_000)}
        assert colours[red] > 200 and colours[USUAL] > 100
    assert chart_png(much) == chart_png(much)
    assert len(chart_png(much) or b"") < 40_000


def test_there_is_none_where_nothing_is_known(alert: Callable[..., Alert]) -> None:
    """A change of control, a wallet that still learns, the monitor's own messages, amounts of nothing."""
    for findings in (
        [], [{"at": "2018-01-25T15:04:00Z", "evidence": {}}], [finding("2018-01-25T15:04:00Z", 5, learning=True)],
        [finding("2018-01-25T15:04:00Z", 0)], [finding("2018-01-25T15:04:00Z", 5, typical_balance=0)],
    ):  # fmt: skip
        assert chart_png(alert(incident={"findings": findings})) is None
    assert chart_png(alert(incident=None)) is None


def test_huge_amounts_are_no_harm(alert: Callable[..., Alert]) -> None:
    """A loss of many times the balance, and numbers past any float's digits, still make a picture."""
    huge = [finding("2018-01-25T15:04:00Z", 10**60), finding("2018-01-25T15:04:00Z", 10**59, usual_daily_maximum=0.0)]
    assert picture(alert(incident={"entity": "\x1b" * 500, "findings": huge})).size == SIZE


def test_labels_stay_apart_and_inside(alert: Callable[..., Alert]) -> None:
    """A theft of seconds has one time below; the picture does not depend on the order of its findings."""
    steps = [finding("2018-01-25T15:04:00Z", 30), finding("2018-01-25T15:04:02Z", 40)]
    image = picture(alert(incident={"entity": "取引所", "findings": steps}))
    below = image.crop((0, SIZE[1] - 34, 64, SIZE[1]))  # left of the axis, under it
    assert below.getcolors() == [(64 * 34, (255, 255, 255))]
    assert image == picture(alert(incident={"entity": "取引所", "findings": steps[::-1]}))
