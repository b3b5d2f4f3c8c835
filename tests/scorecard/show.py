"""The scorecard for people: a table on the terminal, and docs/scorecard.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tests.scorecard.plan import ALL_WORLDS

__all__ = ["markdown", "terminal"]

Row = Mapping[str, Any]
_CLEAN = ("world", "kind", "n", "budget", "realised", "error", "p95", "worst_wallet", "pages_a_year")
_THEFT = (
    "world", "kind", "n", "budget", "recall", "named", "joined", "share_lost_at_open", "minutes", "paged",
    "share_lost_at_page", "minutes_to_page",
)  # fmt: skip
_CASE = ("case", "severity", "minutes", "share_lost_at_open", "realised", "paged")
_HEADS = {
    "worst_wallet": "worst wallet", "pages_a_year": "pages a year", "share_lost_at_open": "gone at opening",
    "share_lost_at_page": "gone at page", "minutes_to_page": "minutes to page", "realised": "false alarms",
}  # fmt: skip
_INTRO = """# Scorecard

Written by `{command}`.

Simulated wallets through `backtest`, and the built-in thefts of history. Nobody tuned on these wallets: constants are
chosen on others (`tests/scorecard/seeds.py`). Rows marked *sample* are the first eight wallets of theirs; they are
computed again, and compared, by `tests/acceptance/test_scorecard_sample.py`.
"""
_CLEAN_TEXT = """## False alarms

Incidents of wallets from which nothing was stolen, a wallet in 30 days (in 7 days, where the row says first 7 days):
mean, its standard error, the 95 % point and the worst wallet. Hot wallets have 180 days, personal ones 360; the first
30 are not counted, except in rows that name their days. "Pages" are incidents that became high or critical, a wallet
and year.
"""
_THEFT_TEXT = """## Thefts

`recall`: an incident opened between the theft's first payment and an hour after its last. `named`: one of those has a
payment of the theft among its findings; for a theft that takes days the rest is chance. `joined`: none opened, but
the theft added findings to an incident that was open before; recall and named are shares of the others. "Gone" is the
median share of the stolen value that had left by then, and minutes count from the first payment; both over thefts
that were detected, or paged.
"""
_CASE_TEXT = """## Thefts of history

Each once, over generated traffic (`heistwatch case show ID`). "False alarms" are incidents before the theft.
"""


def _cell(key: str, value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return _three(value)
    return str(value)


def _three(value: float) -> str:
    """Three significant digits, without an exponent."""
    rounded = float(f"{value:.3g}")
    return str(int(rounded)) if rounded == int(rounded) and abs(rounded) >= 100 else f"{rounded:g}"


def _groups(rows: Sequence[Row]) -> list[tuple[str, Sequence[str], list[Row]]]:
    clean = [r for r in rows if "case" not in r and r["recall"] is None]
    theft = [r for r in rows if "case" not in r and r["recall"] is not None]
    case = [r for r in rows if "case" in r]
    groups = [(_CLEAN_TEXT, _CLEAN, clean), (_THEFT_TEXT, _THEFT, theft), (_CASE_TEXT, _CASE, case)]
    return [group for group in groups if group[2]]


def _lines(keys: Sequence[str], rows: Sequence[Row]) -> list[list[str]]:
    return [[_HEADS.get(k, k) for k in keys], *([_cell(k, row.get(k)) for k in keys] for row in rows)]


def terminal(rows: Sequence[Row]) -> str:
    """Aligned columns, a block each for false alarms, thefts and cases."""
    blocks = []
    for _, keys, mine in _groups(rows):
        lines = _lines(keys, mine)
        widths = [max(len(line[i]) for line in lines) for i in range(len(keys))]
        blocks.append("\n".join("  ".join(c.ljust(w) for c, w in zip(x, widths, strict=True)).rstrip() for x in lines))
    return "\n\n".join(blocks)


def markdown(rows: Sequence[Row], command: str) -> str:
    """The page that is committed."""
    text = [_INTRO.format(command=command), "| world | wallets |", "|---|---|"]
    text += [f"| {world.name} | {world.says} |" for world in ALL_WORLDS.values()]
    for intro, keys, mine in _groups(rows):
        head, *lines = _lines(keys, mine)
        text += ["", intro, f"| {' | '.join(head)} |", f"|{'---|' * len(keys)}"]
        text += [f"| {' | '.join(line)} |" for line in lines]
    return "\n".join(text) + "\n"
