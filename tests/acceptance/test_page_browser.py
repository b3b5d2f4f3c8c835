"""A real browser opens the report as a file: charts are drawn, only its own script runs, nothing is asked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from monitor.backtesting.outcome import Outcome
from monitor.backtesting.page import render_page, write_page
from tests.made_outcome import ETH, ordinary, outcome, table, theft

PHONE, DESK = {"width": 360, "height": 740}, {"width": 1280, "height": 900}
CHARTS = """[...document.querySelectorAll('svg.chart')].map((svg) => {
  const box = svg.getBoundingClientRect();
  const paths = [...svg.querySelectorAll('path, circle, rect')].map((shape) => {
    const part = shape.getBBox();
    return [part.x, part.y, part.x + part.width, part.y + part.height];
  });
  const lengths = [...svg.querySelectorAll('path')].map((path) => path.getTotalLength());
  return {name: svg.querySelector('title').textContent, width: box.width, height: box.height, paths, lengths,
          view: svg.viewBox.baseVal.height};
})"""
CONTRAST = """(() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, n) => sum + v * [0.2126, 0.7152, 0.0722][n], 0);
  const behind = (node) => {
    for (; node; node = node.parentElement) {
      const colour = parse(getComputedStyle(node).backgroundColor);
      if (colour.length < 4 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const words = [...document.querySelectorAll('p, li, dt, dd, th, td, a, summary, h1, h2, h3, .badge, svg.chart text')];
  return words.filter((e) => e.checkVisibility() && e.textContent.trim() && !e.closest('.none')).map((e) => {
    const style = getComputedStyle(e);
    const ink = light(parse(e instanceof SVGElement ? style.fill : style.color)), paper = light(behind(e));
    return (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
  });
})()"""
EVIL = "<img src=x onerror=document.title='robbed'><script>document.title='robbed'</script>\u202e"


@pytest.fixture(scope="module")
def robbed() -> Outcome:
    return outcome(table([*ordinary(), *theft()]))


@pytest.fixture(scope="module")
def report(robbed: Outcome, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_page(path, robbed)
    return path


@pytest.mark.parametrize("viewport", [PHONE, DESK])
def test_charts_are_drawn_at_any_width(report: Path, browse: Any, viewport: dict[str, int]) -> None:
    """Every chart has shapes inside its frame; nothing is wider than the window, nothing is asked for or complained."""
    page = browse(viewport=viewport, color_scheme="light")
    page.goto(report.as_uri())
    charts = page.ask(CHARTS)
    names = [chart["name"] for chart in charts]
    assert names[0] == "Where it went" and "Outflow of 24 hours against the usual" in names and len(charts) == 5
    for chart in charts:
        assert 250 < chart["width"] <= viewport["width"] and 40 < chart["height"] < 800
        assert chart["paths"] and max(chart["lengths"]) > 100
        for left, top, right, bottom in chart["paths"]:
            assert -1 <= left <= right <= 401 and -1 <= top <= bottom <= chart["view"] + 1
    assert page.ask("document.documentElement.scrollWidth") == viewport["width"]
    small = page.ask("[...document.querySelectorAll('svg.chart text')].map(t => t.getBoundingClientRect().height)")
    assert small and min(small) > 8  # readable
    assert page.wrong == []


def test_light_and_dark(report: Path, browse: Any) -> None:
    """As the system says, and as the button says; words stand out from what is behind them in both."""
    pictures = {}
    for scheme in ("light", "dark"):
        page = browse(viewport=DESK, color_scheme=scheme)
        page.goto(report.as_uri())
        pictures[scheme] = page.picture()
        assert min(page.ask(CONTRAST)) >= 4.5
        page.click("#theme")
        other = page.ask("getComputedStyle(document.body).backgroundColor")
        assert min(page.ask(CONTRAST)) >= 4.5
        page.click("#theme")
        assert page.ask("getComputedStyle(document.body).backgroundColor") != other
        page.print()
        assert page.ask("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert page.wrong == []
    assert pictures["light"] != pictures["dark"]


def test_what_is_hostile_does_nothing(robbed: Outcome, browse: Any, tmp_path: Path) -> None:
    """Texts that others write are shown as they are: no script of theirs runs, no picture is asked for."""
    [incident] = robbed.incidents
    findings = tuple(replace(finding, summary=EVIL, tx=EVIL) for finding in incident.findings)
    moves = tuple(replace(move, counterparty=EVIL) for move in incident.movements)
    evil = replace(incident, entity=EVIL, findings=findings, movements=moves, suspects=((ETH, EVIL),))
    path = tmp_path / "evil.html"
    path.write_text(render_page(replace(robbed, incidents=(evil,))), encoding="utf-8")
    page = browse(viewport=PHONE)
    page.goto(path.as_uri())
    assert page.ask("document.title").startswith("heistwatch backtest: 1 incident")
    assert EVIL[:-1] in page.ask("document.querySelector('#incident-table').textContent")
    assert page.ask("document.images.length + document.scripts.length") == 1
    assert page.ask("document.documentElement.scrollWidth") == PHONE["width"]
    assert page.wrong == []


def test_a_script_that_is_not_its_own_is_refused(report: Path, browse: Any, tmp_path: Path) -> None:
    """The policy in the page holds, should anything ever slip through."""
    path = tmp_path / "slipped.html"
    slipped = "<script>document.title = 'robbed'</script><img src='https://example.invalid/x.png'></main>"
    path.write_text(report.read_text("utf-8").replace("</main>", slipped), encoding="utf-8")
    page = browse(viewport=DESK)
    page.goto(path.as_uri())
    assert page.ask("document.title").startswith("heistwatch backtest")
    told = [line for line in page.wrong if not line.startswith("asked:")]  # the driver tells what is stopped, too
    assert len(told) == 2 and all("Content Security Policy" in line for line in told)
    assert page.ask("[...document.images].every((image) => !image.naturalWidth)")


def test_hundreds_of_incidents(robbed: Outcome, browse: Any, tmp_path: Path) -> None:
    """The table sorts and is searched; a link opens its incident; the page is there at once."""
    [one] = robbed.incidents
    incidents = tuple(replace(one, id=f"n{n}", entity=f"Exchange-{n}", opened_at=one.opened_at - n) for n in range(300))
    said = [robbed.report["incidents"][0]] * len(incidents)
    path = tmp_path / "many.html"
    many = replace(robbed, incidents=incidents, report=robbed.report | {"incidents": said})
    write_page(path, replace(many, history=None))  # type: ignore[arg-type]
    page = browse(viewport=DESK)
    page.goto(path.as_uri())
    rows = "[...document.querySelectorAll('#incident-table tbody tr')]"
    shown = f"{rows}.filter((row) => !row.hidden).map((row) => row.cells[1].innerText)"
    assert len(page.ask(shown)) == 40
    page.click("#more")
    assert len(page.ask(shown)) == 300
    page.click("#incident-table thead th:nth-child(3) button")
    assert page.ask(shown)[0].startswith("Exchange-0")
    page.press("Enter")  # the same by keyboard: the other way round
    assert page.ask(shown)[0].startswith("Exchange-299")
    page.fill("#find", "exchange-17")
    assert len(page.ask(shown)) == 11 and page.ask("document.querySelector('#found').textContent") == "11 of 300"
    page.fill("#find", "exchange-170")
    page.click("#incident-table tbody tr:not([hidden]) a")
    page.ask("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    opened = page.ask("document.querySelector(location.hash).open")
    assert opened and "Exchange-170" in page.ask("document.querySelector(location.hash).innerText")
    assert page.wrong == []
