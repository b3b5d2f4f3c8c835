"""Sweeps and verdicts for people and scripts: tables of a terminal, plain lines, JSON, points of a chart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from monitor.backtesting.sweep import SEVERITIES, Sweep, SweepRow
from monitor.backtesting.sweep_grid import Value
from monitor.backtesting.truth_score import CAUGHT, MISSED, OUTSIDE, UNWATCHED, Fate, Scored
from monitor.findings import span
from monitor.ids import iso

if TYPE_CHECKING:
    from rich.table import Table

__all__ = [
    "SCHEMA",
    "apart",
    "chart_points",
    "in_words",
    "sweep_data",
    "sweep_lines",
    "sweep_table",
    "truth_data",
    "truth_lines",
    "truth_table",
]

SCHEMA = "heistwatch/sweep/1"
NONE = "-"


def truth_data(scored: Scored) -> dict[str, Any]:
    """The key ``truth`` of a report."""
    return scored.data()


def sweep_data(sweep: Sweep) -> dict[str, Any]:
    """A sweep as plain data, schema ``heistwatch/sweep/1``; equal for equal inputs."""
    return {
        "schema": SCHEMA,
        "keys": list(sweep.grid.keys),
        "notes": list(sweep.notes),
        "truth": sweep.truth or None,
        "rows": [_row_data(row) for row in sweep.rows],
        "chart": [{"label": label, "false_alarms": x, "share_lost": y} for label, x, y in chart_points(sweep)],
    }


def _row_data(row: SweepRow) -> dict[str, Any]:
    found: dict[str, Any] = {
        "values": dict(row.values),
        "incidents": row.count,
        "by_severity": dict(row.incidents),
        "wallet_months": round(row.wallet_months, 6),
        "false_alarms_per_wallet_month": _rounded(row.false_alarms),
        "share_lost_at_open": _rounded(row.share_lost),
    }
    if row.scored is not None:
        found["truth"] = row.scored.data()
    return found


def chart_points(sweep: Sweep) -> list[tuple[str, float, float]]:
    """False alarms a wallet-month against the share lost when the alarm opened, of each row that has both."""
    return [
        (label_of(row), round(row.false_alarms, 6), round(row.share_lost, 6))
        for row in sweep.rows
        if row.false_alarms is not None and row.share_lost is not None
    ]


def label_of(row: SweepRow) -> str:
    """A setting in words: ``budget=0.3 detectors.HW-5.weight=1``."""
    return " ".join(f"{key}={in_words(value)}" for key, value in row.values.items())


def in_words(value: Value) -> str:
    """A value as ``--sweep`` takes it."""
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def _percent(value: float | None) -> str:
    return NONE if value is None else f"{value * 100:.1f} %"


def _rate(value: float | None) -> str:
    return NONE if value is None else f"{value:.3g}"


def _delay(seconds: float | None) -> str:
    if seconds is None:
        return NONE
    return f"{span(-seconds)} before" if seconds < 0 else span(seconds) if seconds else "at once"


# -- sweeps -----------------------------------------------------------------------------------------------------------


def _columns(sweep: Sweep) -> list[str]:
    found = [*sweep.grid.keys, "incidents", *SEVERITIES, "false alarms / wallet-month", "share lost at open"]
    return [*found, "caught", "precision", "median delay"] if sweep.truth else found


def _cells(row: SweepRow) -> list[str]:
    found = [in_words(value) for value in row.values.values()]
    found += [str(row.count), *(str(row.incidents[name]) for name in SEVERITIES)]
    found += [_rate(row.false_alarms), _percent(row.share_lost)]
    if row.scored is not None:
        caught, missed = row.scored.count(CAUGHT), row.scored.count(MISSED)
        found += [f"{caught} of {caught + missed}", _percent(row.scored.precision), _delay(row.scored.median_delay())]
    return found


def sweep_table(sweep: Sweep) -> Table:
    """A table for the terminal."""
    return _table("What if", _columns(sweep), [_cells(row) for row in sweep.rows], len(sweep.grid.keys))


def sweep_lines(sweep: Sweep) -> list[str]:
    """The same as plain lines, columns in line."""
    return [*_aligned(_columns(sweep), [_cells(row) for row in sweep.rows]), *(f"note: {note}" for note in sweep.notes)]


# -- verdicts ---------------------------------------------------------------------------------------------------------

_FATES = ("labelled", "fate", "first seen", "alarm", "page", "lost at open", "lost at page")


def _fate_cells(fate: Fate) -> list[str]:
    opened, paged = fate.delay(), fate.delay(paged=True)
    when = iso(fate.first.at) if fate.first is not None else None
    return [
        fate.labelled.id,
        fate.fate,
        when or NONE,
        _told(*opened),
        _told(*paged),
        _percent(fate.share()),
        _percent(fate.share(paged=True)),
    ]


def _told(seconds: int | None, blocks: int | None) -> str:
    if seconds is None or blocks is None:
        return _delay(seconds)
    return f"{_delay(seconds)} ({blocks:+d} block{'' if abs(blocks) == 1 else 's'})"


def truth_table(scored: Scored) -> Table:
    """Each labelled incident and what became of it, for the terminal."""
    return _table("Labelled incidents", list(_FATES), [_fate_cells(fate) for fate in scored.fates], 2)


def truth_lines(scored: Scored) -> list[str]:
    """What the verdict comes to, in sentences; then a line for each labelled incident where there is no table."""
    data = scored.data()
    recall, precision, false = data["recall"], data["precision"], data["false_alarms"]
    lines = [
        f"labelled incidents: {data['caught']} of {data['caught'] + data['missed']} caught{_interval(recall)}"
        + (f"; apart: {left_out}" if (left_out := apart(scored)) else ""),
        f"incidents: {data['matched']} of {data['incidents']} match a labelled one{_interval(precision)}",
        f"false alarms: {false['count']} in {false['wallet_months']:.3g} wallet-months"
        + (
            f", {_rate(false['per_wallet_month'])} in each ({_rate(false['low'])} to {_rate(false['high'])})"
            if false["per_wallet_month"] is not None
            else ""
        ),
    ]
    if data["delay"]["opened_seconds"] is not None:
        page = data["delay"]["paged_seconds"]
        paged = "none paged" if page is None else f"{_delay(page)} to the page"
        lines.append(
            f"median delay: {_delay(data['delay']['opened_seconds'])} to the alarm, "
            f"{paged}; "
            f"{_percent(data['share_lost']['at_open'])} of the loss had gone at the alarm"
        )
    return lines


def truth_rows(scored: Scored) -> list[str]:
    """The table as plain lines."""
    return _aligned(list(_FATES), [_fate_cells(fate) for fate in scored.fates])


def apart(scored: Scored) -> str:
    """Labelled incidents that are neither caught nor missed, in words."""
    outside, unwatched = scored.count(OUTSIDE), scored.count(UNWATCHED)
    parts = [f"{outside} of which the data shows nothing"] if outside else []
    parts += [f"{unwatched} of wallets that are not watched"] if unwatched else []
    return ", ".join(parts)


def _interval(rate: dict[str, float | None]) -> str:
    if rate["value"] is None:
        return ""
    return f", {_percent(rate['value'])} ({_percent(rate['low'])} to {_percent(rate['high'])})"


# -- tables -----------------------------------------------------------------------------------------------------------


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], left: int) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left")
    for number, (name, *cells) in enumerate(zip(columns, *rows, strict=True)):
        least = max(map(len, (*name.split(), *cells)))  # what has figures is never cut
        table.add_column(name, justify="left" if number < left else "right", min_width=least, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))  # names of the user's own are no markup
    return table


def _aligned(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(cell) for cell in column) for column in zip(columns, *rows, strict=True)]
    return ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in (columns, *rows)]
