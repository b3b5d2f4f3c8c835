"""History tables for a backtest: `read`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from chains.tables.assemble import all_touched, balances, controls, finish, look_up
from chains.tables.bad import BadRow
from chains.tables.blind import blind_spots_of
from chains.tables.layout import detect
from chains.tables.notes import notes_of
from chains.tables.scan import Found, Plan, Scan, Wanted
from chains.tables.source import ChainInfo, Source, default_chain, expand
from chains.tables.table import open_table
from chains.tables.times import BlockTimes
from monitor.addresses.compact import WatchedAddresses
from monitor.errors import ConfigError, Problem
from monitor.networks import by_chain
from monitor.registry import did_you_mean

__all__ = ["Reading", "read"]


@dataclass
class Reading:
    """History, read.

    Attributes
    ----------
    frame : rows that touch the watch set, in chain order; columns and types are `chains.tables.layout.FRAME`
    rows : data rows in the input, bad ones included
    bad_rows : rows that cannot be read
    bad : the first hundred of them
    transfers : movements in the time range, watched or not (fees apart)
    first, last : UTC seconds over all readable rows in the range, None where there is none
    chains : CAIP-2 to ``rows``, ``transfers``, ``first``, ``last``
    notes : sentences on what the data cannot say or what was assumed
    balances : ``chain, address, asset, block_number, value`` of watched addresses, None without such a table
    blind_spots : what the data cannot show, by CAIP-2
    controls : changes of control of watched addresses in chain order (`chains.tables.layout.CONTROLS`), None without
        such a table
    """

    frame: pl.DataFrame
    rows: int
    bad_rows: int
    bad: tuple[BadRow, ...]
    transfers: int
    first: int | None
    last: int | None
    chains: dict[str, dict[str, Any]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    balances: pl.DataFrame | None = None
    blind_spots: dict[str, tuple[str, ...]] = field(default_factory=dict)
    controls: pl.DataFrame | None = None


def read(
    sources: Sequence[Source],
    *,
    chains: Mapping[str, ChainInfo],
    watch: Mapping[str, frozenset[str] | WatchedAddresses],
    start: int | None = None,
    end: int | None = None,
    strict: bool = False,
    rename: Mapping[str, str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Reading:
    """Read history tables of any known layout.

    Parameters
    ----------
    sources : files, folders and globs
    chains : configured chains by name
    watch : CAIP-2 to canonical addresses
    start, end : UTC seconds, start inclusive, end exclusive
    strict : check every row of Parquet files, not those alone that touch the watch set
    rename : new column name to the file's own, where a file has it
    progress : told (bytes on disk done, bytes on disk in all)

    Raises
    ------
    ConfigError : a file is missing, empty, corrupt, of no known layout, or its chain or times cannot be known
    """
    files, skipped = expand(sources)
    plans = _plans(files, chains, rename or {})
    wanted = Wanted(chains, {chain: _watched(addresses) for chain, addresses in watch.items()}, strict=strict)
    wanted.start = wanted.start if start is None else max(start, wanted.start)
    wanted.end = wanted.end if end is None else min(end, wanted.end)
    wanted.knots = any(not plan.timed for plan in plans)
    scan = Scan(wanted)
    _scan_all(scan, plans, progress)
    found = scan.found
    times = _Times(found, plans, chains)
    rows, unplaced = look_up(all_touched(found), found)
    frame, filled, duplicates = finish(rows, times.of, wanted.start, wanted.end)
    stats = pl.concat([*found.stats, *[_counted(part, times, wanted) for part in found.by_block]], how="diagonal")
    per_chain = _per_chain(stats)
    firsts = [entry["first"] for entry in per_chain.values() if entry["first"] is not None]
    lasts = [entry["last"] for entry in per_chain.values() if entry["last"] is not None]
    return Reading(
        frame=frame,
        rows=found.rows,
        bad_rows=found.bad.count,
        bad=tuple(found.bad.kept),
        transfers=sum(entry["transfers"] for entry in per_chain.values()),
        first=min(firsts, default=None),
        last=max(lasts, default=None),
        chains=per_chain,
        notes=notes_of(plans, stats, filled, duplicates, unplaced, skipped),
        balances=balances(found),
        blind_spots=blind_spots_of(plans, per_chain),
        controls=controls(found),
    )


def _watched(addresses: frozenset[str] | WatchedAddresses) -> WatchedAddresses:
    return addresses if isinstance(addresses, WatchedAddresses) else WatchedAddresses(addresses)


def _plans(
    files: Sequence[tuple[str, Source]], chains: Mapping[str, ChainInfo], rename: Mapping[str, str]
) -> list[Plan]:
    """Look at every file; all problems are reported together."""
    plans: list[Plan] = []
    problems: list[Problem] = []
    columns: set[str] = set()
    for order, (path, source) in enumerate(files):
        try:
            table = open_table(path, rename)
            columns |= set(table.names)
            layout = detect(path, list(table.dtypes))
        except ConfigError as error:
            problems += error.problems
            continue
        default = default_chain(path, source, layout.kind, chains)
        if isinstance(default, str) and ("chain" not in table.dtypes or source.chain is not None):
            problems.append(Problem(default, path))
            continue
        plans.append(Plan(table, layout, None if isinstance(default, str) else default, order))
    if columns:  # else nothing could be opened, and --map is not at fault
        problems += [
            Problem(f"--map {new}={old}: no file has a column {old!r}: {did_you_mean(old, columns)}")
            for new, old in rename.items()
            if old not in columns
        ]
    if problems:
        raise ConfigError(problems)
    return plans


def _scan_all(scan: Scan, plans: Sequence[Plan], progress: Callable[[int, int], None] | None) -> None:
    """Read tables that look up transactions first, so that one pass over the transactions is enough."""
    total, done = sum(plan.table.size for plan in plans), 0
    ordered = sorted(plans, key=lambda plan: (not plan.layout.joins, plan.order))
    for plan in ordered:
        if not plan.layout.joins and scan.wanted.hashes is None and any(p.layout.joins for p in plans):
            rows = all_touched(scan.found)
            scan.wanted.hashes = rows.filter("__joins").select("chain", "transaction_hash").unique()

        def tick(read: int, before: int = done) -> None:
            if progress is not None:
                progress(before + read, total)

        scan.read(plan, tick)
        done += plan.table.size
        if progress is not None:
            progress(done, total)


class _Times:
    """Block times by chain, made when first asked for."""

    def __init__(self, found: Found, plans: Sequence[Plan], chains: Mapping[str, ChainInfo]) -> None:
        self._found, self._plans, self._chains = found, plans, chains
        self._made: dict[str, BlockTimes] = {}

    def of(self, chain: str) -> BlockTimes:
        """The block times of a chain; ConfigError where not one is known."""
        if chain not in self._made:
            knots = [part.filter(pl.col("chain") == chain).drop("chain") for part in self._found.knots]
            if not any(part.height for part in knots):
                paths = [plan.table.path for plan in self._plans if not plan.timed]
                message = (
                    "the rows carry no times and no other table has times of this chain's blocks:"
                    " add the blocks table (number, hash, timestamp) of the same range to --data"
                )
                raise ConfigError([Problem(message, path) for path in paths])
            info = next(info for info in self._chains.values() if info.chain == chain)
            network = by_chain(chain)
            seconds = info.block_seconds or (network.block_seconds if network else 0.0)
            self._made[chain] = BlockTimes(knots, seconds)
        return self._made[chain]


def _counted(by_block: pl.DataFrame, times: _Times, wanted: Wanted) -> pl.DataFrame:
    """Counts by block of a table without times as counts by chain within the time range."""
    parts: list[pl.DataFrame] = []
    for (_, chain), part in by_block.group_by("__name", "__chain", maintain_order=True):
        moment = np.zeros(part.height, np.int64) if chain is None else times.of(str(chain)).at(
            part["block_number"].to_numpy()
        )[0]
        inside = (pl.col("time") >= wanted.start) & (pl.col("time") < wanted.end)
        parts.append(
            part.with_columns(pl.Series("time", moment)).group_by("__name", "__chain").agg(
                pl.col("rows", "skipped", "unknown_status").sum(),
                pl.col("transfers").filter(inside).sum(),
                pl.col("time").filter(inside).min().alias("first"),
                pl.col("time").filter(inside).max().alias("last"),
            )
        )
    return pl.concat(parts) if parts else by_block.drop("block_number")


def _per_chain(stats: pl.DataFrame) -> dict[str, dict[str, Any]]:
    if stats.is_empty():
        return {}
    found = (
        stats.filter(pl.col("__chain").is_not_null())
        .group_by("__chain")
        .agg(pl.col("rows", "transfers").sum(), pl.col("first").min(), pl.col("last").max())
        .sort("__chain")
    )
    return {row.pop("__chain"): row for row in found.iter_rows(named=True)}
