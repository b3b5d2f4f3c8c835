"""One file through its layout: bad rows set aside, rows counted, those that touch the watch set kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from chains.tables.bad import KEPT, BadRows, any_bad, first_reason
from chains.tables.chain import ChainColumn
from chains.tables.layout import BALANCES, FRAME, Build, Layout
from chains.tables.lines import reading
from chains.tables.raw import Raw
from chains.tables.source import ChainInfo
from chains.tables.table import Table
from chains.tables.text import ROW

__all__ = ["FACTS", "Found", "Plan", "Scan", "Wanted"]

_END_OF_TIME = 7_258_118_400  # year 2200, see chains.tables.raw
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


@dataclass
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
    """

    chains: Mapping[str, ChainInfo]
    watch: Mapping[str, frozenset[str]]
    start: int = 0
    end: int = _END_OF_TIME
    strict: bool = False
    knots: bool = False
    hashes: pl.DataFrame | None = None


@dataclass
class Found:
    """What was found in all files; lists of frames that `chains.tables.assemble` puts together."""

    bad: BadRows = field(default_factory=BadRows)
    rows: int = 0
    stats: list[pl.DataFrame] = field(default_factory=list)  # name, chain, rows, transfers, first, last, ...
    by_block: list[pl.DataFrame] = field(default_factory=list)  # of tables without times
    touched: list[pl.DataFrame] = field(default_factory=list)
    knots: list[pl.DataFrame] = field(default_factory=list)
    facts: list[pl.DataFrame] = field(default_factory=list)
    balances: list[pl.DataFrame] = field(default_factory=list)


class Scan:
    """Reads files into a `Found`, one after another."""

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        self.found = Found()

    def read(self, plan: Plan, tick: Callable[[int], None] | None = None) -> None:
        """Read one file; ``tick`` is told the bytes on disk read so far. ConfigError where it is corrupt."""
        table = plan.table
        if table.form == "parquet":
            with reading(table.path):
                self._parquet(plan)
            return
        wanted = frozenset(table.dtypes) if plan.layout.extras else plan.layout.known
        for chunk in table.chunks(wanted, tick):
            self.found.bad.add(table.path, chunk.bad)
            self.found.rows += len(chunk.bad) + chunk.frame.height
            with reading(table.path):
                self._text(plan, chunk.frame)

    def _text(self, plan: Plan, frame: pl.DataFrame) -> None:
        raw, chain, build = self._build(plan, frame.drop(ROW).schema, frame)
        marked = frame.lazy().with_columns(__bad=any_bad(raw.checks), __chain=chain.chain, __name=chain.name).collect()
        broken = marked.filter("__bad")
        if broken.height:
            reasons = broken.head(KEPT).select(ROW, first_reason(raw.checks).alias("reason"))
            self.found.bad.add(plan.table.path, reasons.iter_rows(), broken.height)
            marked = marked.filter(~pl.col("__bad"))
        self._take(plan, marked.lazy(), build)

    def _parquet(self, plan: Plan) -> None:
        raw, chain, build = self._build(plan, plan.table.dtypes, None)
        rows = plan.table.scan().with_columns(__chain=chain.chain, __name=chain.name)
        total = int(plan.table.scan().select(pl.len()).collect(engine="streaming").item())
        self.found.rows += total
        bad = any_bad(raw.checks)
        whole = self.wanted.strict or plan.layout.gives == "times"  # a wrong block time would move other rows
        doubtful = rows if whole else rows.filter(self._touches(build))
        broken = doubtful.filter(bad).select(ROW, reason=first_reason(raw.checks)).collect(engine="streaming")
        if broken.height:
            self.found.bad.add(plan.table.path, broken.sort(ROW).head(KEPT).iter_rows(), broken.height)
            rows = rows.filter(~bad) if whole else rows.filter(~(self._touches(build) & bad))
        self._take(plan, rows, build)

    def _build(
        self, plan: Plan, dtypes: Mapping[str, pl.DataType], frame: pl.DataFrame | None
    ) -> tuple[Raw, ChainColumn, Build]:
        raw = Raw(dtypes, frame)
        chain = ChainColumn(raw, self.wanted.chains, plan.default)
        return raw, chain, plan.layout.build(raw, chain)

    def _take(self, plan: Plan, rows: pl.LazyFrame, build: Build) -> None:
        """Keep what is wanted of the good rows."""
        self._count(plan, rows, build)
        known = rows.filter(pl.col("__chain").is_not_null())
        if build.time is not None and self.wanted.knots:
            knots = known.select("__chain", build.columns["block_number"].alias("block_number"), time=build.time)
            self.found.knots.append(_collect(knots.unique()))
        if plan.layout.gives == "times":
            return
        touched = known.filter(self._touches(build))
        if plan.layout.gives == "balances":
            columns = [pl.col("__chain").alias("chain")] + _cast(build.columns, BALANCES)
            self.found.balances.append(_collect(touched.select(columns)))
            return
        if build.time is not None:
            touched = touched.filter(self._in_range(build.time))
        self.found.touched.append(_collect(touched.select(self._canonical(plan, build))))
        if self.wanted.hashes is not None and not plan.layout.joins:
            facts = known.select(
                pl.col("__chain").alias("chain"),
                *_cast(build.columns, {name: FRAME[name] for name in (*FACTS, "transaction_hash")}),
            )
            hashes = self.wanted.hashes.lazy()
            self.found.facts.append(_collect(facts.join(hashes, on=["chain", "transaction_hash"], how="semi")))

    def _canonical(self, plan: Plan, build: Build) -> list[pl.Expr]:
        columns = dict(build.columns)
        columns["block_timestamp"] = pl.lit(None) if build.time is None else build.time
        columns["amount"] = columns["value"].cast(pl.Float64, strict=False)
        extra = sorted(set(plan.table.dtypes) - plan.layout.known) if plan.layout.extras else []
        texts = [pl.col(name).cast(pl.String, strict=False).fill_null("") for name in extra if self._plain(plan, name)]
        return [
            pl.col("__chain").alias("chain"),
            *_cast(columns, FRAME),
            build.moves.alias("__moves"),
            self._watched([build.sender], build.senders).alias("__sent"),
            pl.lit(build.fee_rows).alias("__fee_row"),
            pl.lit(plan.layout.joins).alias("__joins"),
            pl.lit(plan.order, dtype=pl.Int64).alias("__file"),
            pl.col(ROW),
            (pl.concat_str(texts, separator="\x1f") if texts else pl.lit("")).alias("__extra"),
        ]

    @staticmethod
    def _plain(plan: Plan, name: str) -> bool:
        return not plan.table.dtypes[name].is_nested() and plan.table.dtypes[name] != pl.Binary

    def _touches(self, build: Build) -> pl.Expr:
        """Whether a row touches the watch set of its own chain."""
        return self._watched([build.sender, build.receiver], build.senders)

    def _watched(self, addresses: Sequence[pl.Expr | None], lists: pl.Expr | None) -> pl.Expr:
        touches = pl.lit(False)
        for chain, watch in sorted(self.wanted.watch.items()):
            watched = pl.lit(pl.Series([sorted(watch)], dtype=pl.List(pl.String)))
            hit = pl.lit(False)
            for address in addresses:
                if address is not None:
                    hit = hit | address.is_in(watched.first()).fill_null(False)
            if lists is not None:
                inside = pl.element().is_in(pl.Series(sorted(watch), dtype=pl.String).implode())
                hit = hit | lists.list.eval(inside).list.any().fill_null(False)
            touches = touches | ((pl.col("__chain") == chain) & hit)
        return touches.fill_null(False)

    def _in_range(self, time: pl.Expr) -> pl.Expr:
        return (time >= max(self.wanted.start, 0)) & (time < min(self.wanted.end, _END_OF_TIME))

    def _count(self, plan: Plan, rows: pl.LazyFrame, build: Build) -> None:
        counts = [
            pl.len().cast(pl.Int64).alias("rows"),
            (build.skipped if build.skipped is not None else pl.lit(False)).sum().cast(pl.Int64).alias("skipped"),
            (build.unknown_status if build.unknown_status is not None else pl.lit(False))
            .sum().cast(pl.Int64).alias("unknown_status"),
        ]
        if build.time is None and plan.layout.gives == "transfers":
            keys = ["__name", "__chain", build.columns["block_number"].alias("block_number")]
            moved = build.moves.sum().cast(pl.Int64).alias("transfers")
            found = _collect(rows.group_by(keys).agg(*counts, moved))
            self.found.by_block.append(found)
            return
        time = pl.lit(None, dtype=pl.Int64) if build.time is None else build.time
        inside = self._in_range(time)
        found = _collect(
            rows.group_by("__name", "__chain").agg(
                *counts,
                (build.moves & inside).sum().cast(pl.Int64).alias("transfers"),
                time.filter(inside).min().cast(pl.Int64).alias("first"),
                time.filter(inside).max().cast(pl.Int64).alias("last"),
            )
        )
        self.found.stats.append(found)


def _cast(columns: Mapping[str, pl.Expr], schema: Mapping[str, pl.DataType]) -> list[pl.Expr]:
    """Every column of the schema but ``chain``, null where it is not made."""
    return [
        columns.get(name, pl.lit(None)).cast(dtype).alias(name) for name, dtype in schema.items() if name != "chain"
    ]


def _collect(frame: pl.LazyFrame) -> pl.DataFrame:
    return frame.collect(engine="streaming")
