"""The backtest report as one HTML page that needs nothing else: no network, no fonts, no library.

Equal outcomes give equal bytes; how fast it went is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from monitor.backtesting.page.document import document
from monitor.backtesting.page.given import Fate, Labelled, Setting, Told
from monitor.backtesting.page.refold import look_again
from monitor.backtesting.page.view import drawn, view
from monitor.backtesting.page.windows import tracks_of, windows_of

__all__ = ["Fate", "Labelled", "Setting", "render_page", "write_page"]


def write_page(path: Path, outcome: Told, *, truth: Labelled | None = None, sweep: Sequence[Setting] = ()) -> None:
    """Write the page; see `render_page`. OSError where the file cannot be written."""
    path.write_text(render_page(outcome, truth=truth, sweep=sweep), encoding="utf-8", newline="\n")


def render_page(outcome: Told, *, truth: Labelled | None = None, sweep: Sequence[Setting] = ()) -> str:
    """The page of an outcome.

    The history of the worst incidents' wallets is folded once more, to learn what would have raised an alarm when; an
    outcome that keeps no history gets a page without these charts, which says so.

    Parameters
    ----------
    outcome : see `monitor.backtesting.outcome.Outcome`
    truth : verdicts on labelled incidents
    sweep : results by setting
    """
    places = drawn(outcome.incidents) if outcome.history is not None else []
    windows = {n: windows_of(outcome.incidents[n], tracks_of(outcome.incidents[n])[0]) for n in places}
    wanted = [window for of_one in windows.values() for window in of_one]
    seen = iter(look_again(outcome, wanted))
    by_place = {n: [next(seen) for _ in of_one] for n, of_one in windows.items()}
    return document(view(outcome, by_place, truth, sweep))
