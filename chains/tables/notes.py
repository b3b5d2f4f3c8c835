"""Sentences on what the data cannot say and what was assumed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from chains.tables.layout import STATUS
from chains.tables.task import Plan

__all__ = ["notes_of"]


def notes_of(
    plans: Sequence[Plan],
    stats: pl.DataFrame,
    filled: Mapping[int, int],
    duplicates: int,
    unplaced: int,
    skipped: Sequence[str],
) -> tuple[str, ...]:
    """The notes of a reading.

    Parameters
    ----------
    plans : the files
    stats : counts by file and chain
    filled : watched rows whose time came from elsewhere, see `chains.tables.times.BlockTimes.at`
    duplicates : rows dropped
    unplaced : watched rows whose place in the block is not known
    skipped : files of folders that are no data
    """
    notes = [note for layout in _by_layout(plans).values() for note in _missing(layout)]
    notes += [f"{group[0].layout.name}: {group[0].layout.note}" for group in _by_layout(plans).values()
              if group[0].layout.note]  # fmt: skip
    notes += _order(plans)
    notes += [
        f"chain {name!r} is not configured: {count} rows are counted but not watched"
        for name, count in _sums(stats.filter(pl.col("__chain").is_null()), "rows").items()
    ]
    for column, sentence in (
        ("skipped", "contract creations with a value do not name the contract: {} were left out"),
        ("unknown_status", "{} rows have an empty status and count as succeeded"),
    ):
        count = int(stats[column].sum()) if stats.height else 0
        notes += [sentence.format(count)] if count else []
    for how, sentence in (
        (0, "times of {} watched rows are those of their blocks in other tables"),
        (1, "times of {} watched rows are interpolated between the blocks whose time is known"),
        (2, "times of {} watched rows lie beyond the blocks whose time is known and are estimated from the usual"
            " time between blocks"),
    ):
        notes += [sentence.format(filled[how])] if filled[how] else []
    if unplaced:
        notes.append(
            f"{unplaced} watched token transfers have no transaction among the data: their place in the block is taken"
            " from the log index, their sender, nonce and gas are not known"
        )
    if duplicates:
        notes.append(f"{duplicates} watched rows equal another one in every column and were dropped")
    if skipped:
        notes.append(f"{len(skipped)} files were left out as documents: {', '.join(list(skipped)[:5])}")
    return tuple(notes)


def _by_layout(plans: Sequence[Plan]) -> dict[str, list[Plan]]:
    found: dict[str, list[Plan]] = {}
    for plan in sorted(plans, key=lambda plan: plan.order):
        found.setdefault(plan.layout.name, []).append(plan)
    return found


def _missing(plans: Sequence[Plan]) -> list[str]:
    """Evidence columns that some files of one layout lack."""
    notes: list[str] = []
    lacking: dict[str, int] = {}
    for plan in plans:
        for column in plan.layout.evidence:
            if column not in plan.table.dtypes:
                lacking[column] = lacking.get(column, 0) + 1
    status = {column: count for column, count in lacking.items() if column in STATUS}
    for column, count in status.items():
        notes.append(f"{_where(plans, count)}: no {column} column: every row counts as succeeded")
    others = {column: count for column, count in lacking.items() if column not in STATUS}
    if others:
        where = _where(plans, max(others.values()))
        notes.append(f"{where}: no {', '.join(others)}: evidence that rests on them is missing")
    return notes


def _order(plans: Sequence[Plan]) -> list[str]:
    notes: list[str] = []
    for group in _by_layout(plans).values():
        if group[0].layout.gives != "transfers" or group[0].layout.joins:
            continue
        wanted = ["block_number", "transaction_index"] + (["transfer_index"] if group[0].layout.extras else [])
        for column in wanted:
            count = sum(column not in plan.table.dtypes for plan in group)
            if count:
                stand_in = "the block time" if column == "block_number" else "file order"
                notes.append(f"{_where(group, count)}: no {column} column: {stand_in} stands in for it")
    return notes


def _where(plans: Sequence[Plan], count: int) -> str:
    files = "" if len(plans) == 1 else f" ({count} of {len(plans)} files)" if count < len(plans) else ""
    return f"{plans[0].layout.name}{files}"


def _sums(stats: pl.DataFrame, column: str) -> dict[str, int]:
    found = stats.group_by("__name").agg(pl.col(column).sum()).sort("__name")
    return dict(found.iter_rows())
