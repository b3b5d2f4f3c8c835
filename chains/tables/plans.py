"""Which layout and chain each file has, and files grouped into tasks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from chains.tables.layout import Layout, detect
from chains.tables.lines import packing
from chains.tables.source import ChainInfo, Source, default_chain
from chains.tables.table import gather, open_tables
from chains.tables.task import Plan, Task, Wanted
from monitor.errors import ConfigError, Problem
from monitor.registry import did_you_mean

__all__ = ["plans_of", "tasks_of"]

TASK_BYTES = 512 << 20  # of files in one task, at most, where a file is not larger and rows of several belong together
PLAIN_BYTES = 4 << 30  # the same where they do not: between two tasks processors wait
TASK_FILES = 256


def plans_of(
    files: Sequence[tuple[str, Source]], chains: Mapping[str, ChainInfo], rename: Mapping[str, str],
    seen: Mapping[str, Sequence[Mapping[str, Any]]],
) -> list[Plan]:  # fmt: skip
    """Look at every file; all problems are reported together.

    Parameters
    ----------
    seen : path to records that have columns which the beginning of the file does not show
    """
    plans: list[Plan] = []
    problems: list[Problem] = []
    columns: set[str] = set()
    for order, (path, source) in enumerate(files):
        try:
            tables = open_tables(path, rename, seen.get(path, ()))
            columns |= {name for table in tables if table.document is None for name in table.names}
            found = [table.layout or detect(path, list(table.dtypes)) for table in tables]
        except ConfigError as error:
            problems += error.problems
            continue
        if not tables:
            continue
        default = default_chain(path, source, found[0].kind, chains)
        if isinstance(default, str) and ("chain" not in tables[0].dtypes or source.chain is not None):
            problems.append(Problem(default, path))
            continue
        chain = None if isinstance(default, str) else default
        plans += [Plan(table, layout, chain, order) for table, layout in zip(tables, found, strict=True)]
    if columns:  # else nothing could be opened, and --map is not at fault
        problems += [
            Problem(f"--map {new}={old}: no file has a column {old!r}: {did_you_mean(old, columns)}")
            for new, old in rename.items()
            if old not in columns
        ]
    if problems:
        raise ConfigError(problems)
    plans = [replace(plan, layout=_in_company(plan, plans)) for plan in plans]
    gathered = gather([(plan.table, plan.default) for plan in plans])
    return [replace(plan, table=table) for plan, table in zip(plans, gathered, strict=True)]


def _in_company(plan: Plan, plans: Sequence[Plan]) -> Layout:
    """The layout of a file beside the others: one may only repeat what another tells better."""
    better = (
        other.layout.instead is None and "internal" in other.layout.shows and other.layout.kind == plan.layout.kind
        and other.default == plan.default
        for other in plans
    )  # fmt: skip
    return plan.layout.instead if plan.layout.instead is not None and any(better) else plan.layout


def tasks_of(plans: Sequence[Plan], wanted: Wanted, parts: int) -> list[Task]:
    """Files as tasks, in order; Parquet files that look alike are read together, so that readers never wait.

    Parameters
    ----------
    parts : how many tasks there should be at least, where there are as many files
    """
    most = min(PLAIN_BYTES, max(1, sum(plan.table.size for plan in plans) // max(1, parts)))
    return [Task(tuple(group), wanted) for group in _groups(plans, most)]


def _groups(plans: Sequence[Plan], most: int) -> Iterator[list[Plan]]:
    group: list[Plan] = []
    size = 0
    for plan in plans:
        # the rows of a transaction may lie in several files, and a task must not depend on how many workers there are
        limit = most if plan.layout.prepare is None else TASK_BYTES
        full = size + plan.table.size > limit or len(group) >= TASK_FILES
        if group and (full or not _alike(group[0], plan)):
            yield group
            group, size = [], 0
        group.append(plan)
        size += plan.table.size
    if group:
        yield group


def _alike(one: Plan, other: Plan) -> bool:
    """Whether two files can be read as one."""
    a, b = one.table, other.table
    return (
        one.layout is other.layout
        and one.default == other.default
        and a.form == b.form == "parquet"
        and (a.dtypes, a.names, a.units) == (b.dtypes, b.names, b.units)
        and not packing(a.path)
        and not packing(b.path)
    )
