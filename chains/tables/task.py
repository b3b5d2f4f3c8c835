"""What readers of files are asked, and what they find: plain data that goes from process to process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

from chains.tables.bad import BadRows
from chains.tables.late import LateHashes
from chains.tables.layout import Layout
from chains.tables.pieces import Piece
from chains.tables.source import ChainInfo
from chains.tables.table import Table
from monitor.addresses.compact import WatchedAddresses

__all__ = ["END_OF_TIME", "FACTS", "Plan", "Sifted", "Task", "Wanted"]

END_OF_TIME = 7_258_118_400  # year 2200, see chains.tables.raw
FACTS = ("transaction_index", "tx_from", "nonce", "gas_limit", "fee", "fee_rate")  # what a token row looks up


@dataclass(frozen=True)
class Plan:
    """One file, its layout and the chain of rows that name none; ``order`` is its place among the files."""

    table: Table
    layout: Layout
    default: ChainInfo | None
    order: int

    @property
    def timed(self) -> bool:
        """Whether rows carry their time."""
        return self.layout.gives == "balances" or self.layout.time in self.table.dtypes


@dataclass(frozen=True)
class Wanted:
    """What a reading asks of every file.

    Attributes
    ----------
    chains : configured chains by name
    watch : CAIP-2 to canonical addresses
    start, end : UTC seconds, start inclusive, end exclusive
    strict : check every row of Parquet files, too
    knots : whether block times must be kept for tables without times
    hashes : (chain, transaction_hash) whose transaction is looked up; None while nobody asks
    valued : CAIP-2 of chains whose transactions are among the data, so that traces need not tell their value
    folder : where rows go that are too many for memory; None keeps them all
    room : bytes of rows that a task may hold
    late : where hashes lie that are not read with the rows
    """

    chains: Mapping[str, ChainInfo]
    watch: Mapping[str, WatchedAddresses]
    start: int = 0
    end: int = END_OF_TIME
    strict: bool = False
    knots: bool = False
    hashes: pl.DataFrame | None = None
    valued: frozenset[str] = frozenset()
    folder: str | None = None
    room: int = 1 << 62
    late: LateHashes = field(default_factory=lambda: LateHashes({}))

    def within(self, time: pl.Expr) -> pl.Expr:
        """Whether a time lies in the range."""
        return (time >= max(self.start, 0)) & (time < min(self.end, END_OF_TIME))


@dataclass(frozen=True)
class Task:
    """Files of one layout, chain and schema, in order."""

    plans: tuple[Plan, ...]
    wanted: Wanted

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(plan.table.size for plan in self.plans)


@dataclass
class Sifted:
    """What was found in the files of one task, or of several together.

    Attributes
    ----------
    rows : data rows, bad ones too
    stats : counts by the chain's name in the file, see `chains.tables.count`
    by_block : the same by block, of tables without times
    touched : rows that touch the watch set
    facts : transactions that were asked for
    knots : block times
    """

    bad: BadRows = field(default_factory=BadRows)
    rows: int = 0
    stats: list[pl.DataFrame] = field(default_factory=list)
    by_block: list[pl.DataFrame] = field(default_factory=list)
    knots: list[pl.DataFrame] = field(default_factory=list)
    balances: list[pl.DataFrame] = field(default_factory=list)
    controls: list[pl.DataFrame] = field(default_factory=list)
    touched: list[Piece] = field(default_factory=list)
    facts: list[Piece] = field(default_factory=list)
    blind: set[tuple[str, str]] = field(default_factory=set)  # (CAIP-2, what documents of it cannot show)
    notes: Counter[str] = field(default_factory=Counter)  # sentences of documents, and how often each holds
    disorder: dict[int, int] = field(default_factory=dict)  # file to its first row that is not in chain order
    names: Counter[tuple[str, str, int]] = field(default_factory=Counter)  # (asset, symbol, decimals) to rows

    def join(self, other: Sifted) -> None:
        """Take what another task found; in the order of the files."""
        self.bad.join(other.bad)
        self.rows += other.rows
        self.blind |= other.blind
        self.notes.update(other.notes)
        self.names.update(other.names)
        self.disorder |= other.disorder
        for name in ("stats", "by_block", "knots", "balances", "controls", "touched", "facts"):
            getattr(self, name).extend(getattr(other, name))
