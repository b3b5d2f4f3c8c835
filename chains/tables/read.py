"""History tables for a backtest: `read`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl

from chains.tables.arrange import Arranged, Range, arrange, ranges
from chains.tables.bad import KEPT, BadRow
from chains.tables.blind import blind_spots_of, valued_by
from chains.tables.count import COUNTS
from chains.tables.disorder import FILE
from chains.tables.json_rows import LateColumns
from chains.tables.late import LateHashes
from chains.tables.layout import BALANCES, CONTROLS, FRAME, HASH
from chains.tables.notes import notes_of
from chains.tables.pieces import Piece
from chains.tables.plans import plans_of, tasks_of
from chains.tables.sift import sift
from chains.tables.source import ChainInfo, Source, expand
from chains.tables.task import Plan, Sifted, Task, Wanted
from chains.tables.text import ROW
from chains.tables.times import BlockTimes
from monitor.addresses.compact import WatchedAddresses
from monitor.errors import ConfigError, Problem
from monitor.networks import by_chain

__all__ = ["Each", "Reading", "read"]

Each = Callable[[Callable[..., Sifted], Sequence[Task]], Sequence[Sifted]]
"""Does a work on every task; the results in the order of the tasks."""


@dataclass
class Reading:
    """History, read: counted, and ready to be gone through in chain order.

    Attributes
    ----------
    rows : data rows in the input, bad ones included
    bad_rows : rows that cannot be read
    bad : the first hundred of them, in the order of the files
    transfers : movements in the time range, watched or not (fees apart)
    first, last : UTC seconds over all readable rows in the range, None where there is none
    chains : CAIP-2 to ``rows``, ``transfers``, ``first``, ``last``
    balances : ``chain, address, asset, block_number, value`` of watched addresses, None without such a table
    blind_spots : what the data cannot show, by CAIP-2
    controls : changes of control of watched addresses in chain order (`chains.tables.layout.CONTROLS`), None without
        such a table
    assets : CAIP-19 to what rows call it: symbol and decimals
    ranges : what `chains.tables.arrange.arrange` makes the rows of, in order
    wanted : what was asked
    """

    rows: int
    bad_rows: int
    bad: tuple[BadRow, ...]
    transfers: int
    first: int | None
    last: int | None
    chains: dict[str, dict[str, Any]]
    balances: pl.DataFrame | None
    blind_spots: dict[str, tuple[str, ...]]
    controls: pl.DataFrame | None
    assets: dict[str, tuple[str, int]]
    ranges: list[Range]
    wanted: Wanted
    _notes: Callable[[Counter[int], int, int], tuple[str, ...]]
    _arranged: dict[int, Arranged] = field(default_factory=dict)

    def frames(self, hashes: bool = True) -> Iterator[tuple[str, pl.DataFrame]]:
        """Rows that touch the watch set as (CAIP-2, whole blocks in chain order), again and again.

        Columns and types are `chains.tables.layout.FRAME`, but for ``transaction_hash`` where nobody asks for
        ``hashes``; chains come sorted by name.
        """
        for number, part in enumerate(self.ranges):
            found = arrange(part, self.wanted)
            self.count(number, found)
            frame = self.wanted.late.whole(found.frame) if hashes else found.frame
            yield part.chain, frame.select(name for name in FRAME if hashes or name != HASH)

    def count(self, number: int, found: Arranged) -> None:
        """Take note of what was found when a range was arranged, here or elsewhere."""
        self._arranged.setdefault(number, replace(found, frame=pl.DataFrame()))

    @cached_property
    def frame(self) -> pl.DataFrame:
        """All rows in one frame, for histories that fit into memory."""
        return pl.concat([pl.DataFrame(schema=dict(FRAME)), *(frame for _, frame in self.frames())])

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences on what the data cannot say or what was assumed; complete once all was gone through."""
        if len(self._arranged) < len(self.ranges):
            for _ in self.frames(hashes=False):
                pass
        filled: Counter[int] = Counter()
        for found in self._arranged.values():
            filled.update(found.filled)
        duplicates = sum(found.duplicates for found in self._arranged.values())
        return self._notes(filled, duplicates, sum(found.unplaced for found in self._arranged.values()))


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
    each: Each | None = None,
    folder: str | None = None,
    room: int = 1 << 62,
    parts: int = 1,
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
    each : does the tasks; None: one after another, here
    folder : where rows go that are too many for memory; None keeps them all
    room : bytes of rows that may stay in memory
    parts : into how many tasks the files should be cut at least, where there are as many

    Raises
    ------
    ConfigError : a file is missing, empty, corrupt, of no known layout, or its chain or times cannot be known
    StoreError : rows cannot be put aside
    """
    files, skipped = expand(sources)
    seen: dict[str, list[Mapping[str, Any]]] = {}
    while True:
        plans = plans_of(files, chains, rename or {}, seen)
        wanted = _wanted(plans, chains, watch, start, end, strict, folder, room)
        try:
            found = _sift_all(plans, wanted, each or _Here(plans, progress, folder, room), parts)
        except LateColumns as late:  # what the file is, and what it shows, is not what its beginning says
            seen.setdefault(late.path, []).extend(late.records)
        else:
            return _reading(plans, skipped, found, wanted)


def _wanted(
    plans: Sequence[Plan], chains: Mapping[str, ChainInfo], watch: Mapping[str, frozenset[str] | WatchedAddresses],
    start: int | None, end: int | None, strict: bool, folder: str | None, room: int,
) -> Wanted:  # fmt: skip
    """What is asked of every file, by all of them."""
    wanted = Wanted(chains, {chain: _watched(addresses) for chain, addresses in watch.items()}, strict=strict)
    return replace(
        wanted,
        start=wanted.start if start is None else max(start, wanted.start),
        end=wanted.end if end is None else min(end, wanted.end),
        knots=any(not plan.timed for plan in plans),
        valued=valued_by(plans, chains),
        folder=folder,
        room=room,
        late=LateHashes.of_tables({plan.order: plan.table for plan in plans}),
    )


def _reading(plans: Sequence[Plan], skipped: Sequence[str], found: Sifted, wanted: Wanted) -> Reading:
    """What all files show together."""
    chains = wanted.chains
    times = _times_of(found, plans, chains)
    counted = [*found.stats, *[_counted(part, times, wanted) for part in found.by_block]]
    stats = pl.concat([pl.DataFrame(schema=COUNTS), *counted], how="diagonal")  # all files may be empty answers
    per_chain = _per_chain(stats)
    firsts = [entry["first"] for entry in per_chain.values() if entry["first"] is not None]
    lasts = [entry["last"] for entry in per_chain.values() if entry["last"] is not None]
    order = {plan.table.path: plan.order for plan in plans}
    return Reading(
        rows=found.rows,
        bad_rows=found.bad.count,
        bad=tuple(sorted(found.bad.kept, key=lambda bad: (order[bad.path], bad.row))[:KEPT]),
        transfers=sum(entry["transfers"] for entry in per_chain.values()),
        first=min(firsts, default=None),
        last=max(lasts, default=None),
        chains=per_chain,
        balances=_balances(found),
        blind_spots=_blind(blind_spots_of(plans, per_chain), found),
        controls=_controls(found),
        assets=_named(found),
        ranges=ranges(found.touched, found.facts, times),
        wanted=wanted,
        _notes=lambda filled, duplicates, unplaced: (
            *notes_of(plans, stats, filled, duplicates, unplaced, skipped),
            *_disordered(plans, found.disorder),
            *(sentence.format(count) for sentence, count in sorted(found.notes.items())),
        ),
    )


def _named(found: Sifted) -> dict[str, tuple[str, int]]:
    """What most rows call an asset; of equally many the first by name."""
    chosen: dict[str, tuple[str, int]] = {}
    for (asset, symbol, decimals), _ in sorted(found.names.items(), key=lambda item: (-item[1], item[0])):
        chosen.setdefault(asset, (symbol, decimals))
    return dict(sorted(chosen.items()))


def _disordered(plans: Sequence[Plan], first: Mapping[int, int]) -> list[str]:
    if not first:
        return []
    paths = {plan.order: plan.table.path for plan in plans}
    file = min(first)
    files = "1 file is" if len(first) == 1 else f"{len(first)} files are"
    return [f"{files} not in chain order and were sorted (first at {paths[file]}:{first[file]})"]


def _blind(spots: Mapping[str, tuple[str, ...]], found: Sifted) -> dict[str, tuple[str, ...]]:
    """Blind spots of tables and documents together."""
    chains = sorted({*spots, *(chain for chain, _ in found.blind)})
    return {
        chain: tuple(dict.fromkeys((*spots.get(chain, ()), *sorted(spot for its, spot in found.blind if its == chain))))
        for chain in chains
    }


def _watched(addresses: frozenset[str] | WatchedAddresses) -> WatchedAddresses:
    return addresses if isinstance(addresses, WatchedAddresses) else WatchedAddresses(addresses)


class _Here:
    """Does tasks one after another, in this process; rows beyond ``room`` bytes are put aside."""

    def __init__(
        self, plans: Sequence[Plan], progress: Callable[[int, int], None] | None, folder: str | None, room: int
    ) -> None:
        self._progress, self._folder, self._room = progress, folder, room
        self._total, self._done, self._held = sum(plan.table.size for plan in plans), 0, 0

    def __call__(self, work: Callable[..., Sifted], tasks: Sequence[Task]) -> list[Sifted]:
        found = []
        for task in tasks:
            found.append(work(task, self._tick))
            self._done += task.size
            self._keep(found[-1])
        return found

    def _tick(self, read: int) -> None:
        if self._progress is not None:
            self._progress(self._done + read, self._total)

    def _keep(self, found: Sifted) -> None:
        for name in ("touched", "facts"):
            pieces = getattr(found, name)
            self._held += sum(piece.size for piece in pieces)
            if self._folder is not None and self._held > self._room:
                setattr(found, name, [piece.put_aside(self._folder) for piece in pieces])


def _sift_all(plans: Sequence[Plan], wanted: Wanted, each: Each, parts: int) -> Sifted:
    """All files. Tables that look up transactions come first, so that one pass over the transactions is enough."""
    found = Sifted()
    joining = [plan for plan in plans if plan.layout.joins]
    for some in (joining, [plan for plan in plans if not plan.layout.joins]):
        if joining and some is not joining:
            wanted = replace(wanted, hashes=_hashes(found.touched))
        for one in each(sift, tasks_of(some, wanted, parts)) if some else ():
            found.join(one)
    return found


def _hashes(pieces: Sequence[Piece]) -> pl.DataFrame:
    """Transactions of pieces, each once: chain, transaction_hash."""
    schema = {"chain": pl.String, HASH: pl.String}
    found = (piece.read().select(pl.lit(piece.chain).alias("chain"), HASH).unique() for piece in pieces)
    return pl.concat([pl.DataFrame(schema=schema), *found]).unique(maintain_order=True)


def _times_of(found: Sifted, plans: Sequence[Plan], chains: Mapping[str, ChainInfo]) -> dict[str, BlockTimes]:
    """Block times of the chains that have rows without a time; ConfigError where not one is known."""
    made: dict[str, BlockTimes] = {}
    untimed = {chain for part in found.by_block for chain in part["__chain"].unique() if chain is not None}
    for chain in sorted(untimed):
        knots = [part.filter(pl.col("chain") == chain).drop("chain") for part in found.knots]
        if not any(part.height for part in knots):
            paths = [plan.table.path for plan in plans if not plan.timed]
            message = (
                "the rows carry no times and no other table has times of this chain's blocks:"
                " add the blocks table (number, hash, timestamp) of the same range to --data"
            )
            raise ConfigError([Problem(message, path) for path in paths])
        info = next(info for info in chains.values() if info.chain == chain)
        network = by_chain(chain)
        seconds = info.block_seconds or (network.block_seconds if network else 0.0)
        made[chain] = BlockTimes(knots, seconds)
    return made


def _counted(by_block: pl.DataFrame, times: Mapping[str, BlockTimes], wanted: Wanted) -> pl.DataFrame:
    """Counts by block of a table without times as counts by chain within the time range."""
    parts: list[pl.DataFrame] = []
    for (_, chain), part in by_block.group_by("__name", "__chain", maintain_order=True):
        numbers = part["block_number"].fill_null(0).to_numpy()
        moment = np.zeros(part.height, np.int64) if chain is None else times[str(chain)].at(numbers)[0]
        inside = (pl.col("time") >= wanted.start) & (pl.col("time") < wanted.end) & pl.col("block_number").is_not_null()
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


def _controls(found: Sifted) -> pl.DataFrame | None:
    """All changes of control in chain order, then in that of the files; None where no file had any."""
    if not found.controls:
        return None
    own: dict[str, pl.DataType] = {FILE: pl.Int64(), ROW: pl.Int64()}
    rows = pl.concat([pl.DataFrame(schema=dict(CONTROLS) | own), *found.controls]).sort(FILE, ROW).drop(FILE, ROW)
    return rows.unique(maintain_order=True).sort(
        "chain", "block_number", "transaction_index", maintain_order=True, nulls_last=True
    )


def _balances(found: Sifted) -> pl.DataFrame | None:
    """All balances in order of chain, address, asset and block; None where no file had any."""
    if not found.balances:
        return None
    rows = pl.concat([pl.DataFrame(schema=dict(BALANCES)), *found.balances]).unique()
    return rows.sort("chain", "address", "asset", "block_number", "value")
