"""Verdicts and sweeps, as the page takes them."""

from __future__ import annotations

from monitor.backtesting.page.given import Fate, Labelled, Setting
from monitor.backtesting.page.words import compact, length, percent
from monitor.backtesting.sweep import Sweep, SweepRow
from monitor.backtesting.sweep_table import apart, in_words
from monitor.backtesting.truth import TruthIncident
from monitor.backtesting.truth_score import CAUGHT, MISSED, Scored

__all__ = ["labelled", "settings"]


def labelled(scored: Scored) -> Labelled:
    """A verdict on labelled incidents."""
    fates = tuple(
        Fate(
            each.labelled.id, _whose(each.labelled), each.fate, tuple(seen.id for seen in each.incidents),
            each.delay()[0], each.delay(paged=True)[0], each.share(), each.labelled.lost, each.labelled.note,
        )
        for each in scored.fates
    )  # fmt: skip
    wrong = frozenset(seen.id for seen in scored.unmatched)
    figures = (*_figures(scored), ("false alarms a wallet and 30 days", _rate(scored)))
    return Labelled(fates, wrong, figures, apart(scored))


def settings(sweep: Sweep) -> tuple[Setting, ...]:
    """The rows of a sweep."""
    return tuple(_setting(row) for row in sweep.rows)


def _whose(labelled: TruthIncident) -> str:
    return ": ".join(part for part in (labelled.entity, ", ".join(labelled.wallets)) if part)


def _setting(row: SweepRow) -> Setting:
    return Setting(
        {key: in_words(value) for key, value in row.values.items()}, row.count, row.false_alarms or 0.0, row.share_lost,
        _figures(row.scored) if row.scored is not None else (),
        row.scored.count(CAUGHT) if row.scored is not None else None,
    )  # fmt: skip


def _figures(scored: Scored) -> tuple[tuple[str, str], ...]:
    caught, matched = scored.count(CAUGHT), len(scored.matched)
    delay = scored.median_delay()
    return (
        ("recall", f"{caught} of {caught + scored.count(MISSED)} ({percent(scored.recall)})"),
        ("precision", f"{matched} of {matched + len(scored.unmatched)} ({percent(scored.precision)})"),
        ("median delay", length(delay) if delay is not None else "-"),
    )


def _rate(scored: Scored) -> str:
    return "-" if scored.false_alarms is None else compact(scored.false_alarms)
