"""One file through its layout: bad rows set aside, rows counted, those that touch the watch set kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from chains.tables.bad import KEPT, BadRows, any_bad, first_reason
from chains.tables.chain import ChainColumn
from chains.tables.layout import BALANCES, CONTROLS, FRAME, Build, Layout
from chains.tables.lines import reading
from chains.tables.raw import Raw
from chains.tables.source import ChainInfo
from chains.tables.table import Table
from chains.tables.text import ROW
from monitor.addresses.compact import WatchedAddresses

__all__ = ["FACTS", "Found", "Plan", "Scan", "Wanted"]

_END_OF_TIME = 7_258_118_400  # year 2200, see chains.tables.raw
HASH = "transaction_hash"
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
    watch: Mapping[str, WatchedAddresses]
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
    controls: list[pl.DataFrame] = field(default_factory=list)


@dataclass(frozen=True)
class _Made:
    """The expressions of one file, or of one chunk of it."""

    raw: Raw
    chain: ChainColumn
    build: Build


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
        with reading(table.path):
            for chunk in table.chunks(wanted, tick):
                self.found.bad.add(table.path, chunk.bad)
                self.found.rows += len(chunk.bad) + chunk.frame.height
                self._text(plan, chunk.frame)

    def _text(self, plan: Plan, frame: pl.DataFrame) -> None:
        made = self._made(plan, frame.drop(ROW).schema, frame)
        frame = self._checked(plan, frame, made)
        self._take(plan, made, frame.lazy(), frame.lazy().filter(self._touches(made)))

    def _parquet(self, plan: Plan) -> None:
        made = self._made(plan, plan.table.dtypes, None)
        rows = plan.table.scan()
        self.found.rows += int(rows.select(pl.len()).collect().item())
        bad = any_bad(made.raw.checks)
        touches = self._touches(made)
        if self.wanted.strict or plan.layout.gives == "times":  # a wrong block time would move other rows
            broken = _collect(rows.filter(bad))
            self._checked(plan, broken, made)
            rows = rows.filter(~bad) if broken.height else rows
            self._take(plan, made, rows, rows.filter(touches))
            return
        found = _collect(rows.filter(touches))
        touched = self._checked(plan, found, made)
        if touched.height < found.height:
            rows = rows.filter(~(touches & bad))
        self._take(plan, made, rows, touched.lazy())

    def _made(self, plan: Plan, dtypes: Mapping[str, pl.DataType], frame: pl.DataFrame | None) -> _Made:
        raw = Raw(dtypes, frame)
        chain = ChainColumn(raw, self.wanted.chains, plan.default)
        return _Made(raw, chain, plan.layout.build(raw, chain))

    def _checked(self, plan: Plan, frame: pl.DataFrame, made: _Made) -> pl.DataFrame:
        """The good rows; the others are counted and the first of them kept."""
        mask = frame.select(any_bad(made.raw.checks).alias("bad"))["bad"]
        if mask.len() != frame.height:  # no check looks at a column
            return frame
        broken = frame.filter(mask)
        if not broken.height:
            return frame
        reasons = broken.head(KEPT).select(ROW, first_reason(made.raw.checks).alias("reason"))
        self.found.bad.add(plan.table.path, reasons.iter_rows(), broken.height)
        return frame.filter(~mask)

    def _take(self, plan: Plan, made: _Made, rows: pl.LazyFrame, touched: pl.LazyFrame) -> None:
        """Count the good rows and keep those that touch the watch set."""
        build, chain = made.build, made.chain.chain.alias("chain")
        self._count(plan, made, rows)
        known = rows if made.chain.constant else rows.filter(made.chain.known)
        if build.time is not None and self.wanted.knots:
            knots = known.select(chain, build.columns["block_number"].alias("block_number"), time=build.time)
            self.found.knots.append(_collect(knots.unique()))
        if plan.layout.gives == "times":
            return
        if plan.layout.gives == "balances":
            self.found.balances.append(_collect(touched.select(chain, *_cast(build.columns, BALANCES))))
            return
        if build.time is not None:
            touched = touched.filter(self._in_range(build.time))
        if plan.layout.gives == "controls":
            self.found.controls.append(_collect(touched.select(chain, *_cast(build.columns, CONTROLS))))
            return
        self.found.touched.append(_collect(touched.select(chain, *self._canonical(plan, made))))
        if self.wanted.hashes is not None and not plan.layout.joins and plan.layout.kind == "evm":
            facts = known.select(chain, *_cast(build.columns, {name: FRAME[name] for name in (*FACTS, HASH)}))
            found = facts.join(self.wanted.hashes.lazy(), on=["chain", HASH], how="semi")
            self.found.facts.append(_collect(found))

    def _canonical(self, plan: Plan, made: _Made) -> list[pl.Expr]:
        build = made.build
        columns = dict(build.columns)
        columns["block_timestamp"] = pl.lit(None) if build.time is None else build.time
        columns["amount"] = columns["value"].cast(pl.Float64, strict=False)
        extra = sorted(set(plan.table.dtypes) - plan.layout.known) if plan.layout.extras else []
        texts = [pl.col(name).cast(pl.String, strict=False).fill_null("") for name in extra if self._plain(plan, name)]
        return [
            *_cast(columns, FRAME),
            build.moves.alias("__moves"),
            self._watched(made, [build.sender], build.senders).alias("__sent"),
            pl.lit(build.fee_rows).alias("__fee_row"),
            pl.lit(plan.layout.joins).alias("__joins"),
            pl.lit(plan.order, dtype=pl.Int64).alias("__file"),
            pl.col(ROW),
            (pl.concat_str(texts, separator="\x1f") if texts else pl.lit("")).alias("__extra"),
        ]

    @staticmethod
    def _plain(plan: Plan, name: str) -> bool:
        return not plan.table.dtypes[name].is_nested() and plan.table.dtypes[name] != pl.Binary

    def _touches(self, made: _Made) -> pl.Expr:
        """Whether a row touches the watch set of its own chain."""
        return self._watched(made, [made.build.sender, made.build.receiver], made.build.senders)

    def _watched(self, made: _Made, addresses: Sequence[pl.Expr | None], lists: pl.Expr | None) -> pl.Expr:
        touches: list[pl.Expr] = []
        for chain in sorted(self.wanted.watch):
            watch = self.wanted.watch[chain]
            if not watch or made.chain.constant not in (None, chain):
                continue
            hits = [_is_in(address, watch) for address in addresses if address is not None]
            if lists is not None:
                hits.append(_any_in(lists, watch))
            hit = pl.any_horizontal([h.fill_null(False) for h in hits]) if hits else pl.lit(False)
            touches.append(hit if made.chain.constant else made.chain.is_one(chain) & hit)
        return pl.any_horizontal(touches).fill_null(False) if touches else pl.lit(False)

    def _in_range(self, time: pl.Expr) -> pl.Expr:
        return (time >= max(self.wanted.start, 0)) & (time < min(self.wanted.end, _END_OF_TIME))

    def _count(self, plan: Plan, made: _Made, rows: pl.LazyFrame) -> None:
        build = made.build
        named = {"__name": made.chain.name, "moved": build.moves}
        for name, flag in (("skipped", build.skipped), ("unknown_status", build.unknown_status)):
            named[name] = pl.lit(False) if flag is None else flag
        untimed = build.time is None and plan.layout.gives == "transfers"
        if untimed:
            named["block_number"] = build.columns["block_number"]
        elif build.time is not None:
            inside = self._in_range(build.time)
            named["moved"] = build.moves & inside
            named["time"] = pl.when(inside).then(build.time)
        else:
            named["time"] = pl.lit(None, dtype=pl.Int64)
        counts = [
            pl.len().cast(pl.Int64).alias("rows"),
            pl.col("moved").sum().cast(pl.Int64).alias("transfers"),
            *(pl.col(name).sum().cast(pl.Int64) for name in ("skipped", "unknown_status")),
        ]
        values = rows.select(pl.col(ROW), **named).drop(ROW)  # the row number gives literals their length
        if untimed:
            found = _collect(values.group_by("__name", "block_number").agg(*counts))
        else:
            time = pl.col("time").cast(pl.Int64)
            ends = [time.min().alias("first"), time.max().alias("last")]
            found = _collect(values.group_by("__name").agg(*counts, *ends))
        chains = [made.chain.of_name(name) for name in found["__name"]]
        found = found.with_columns(pl.Series("__chain", chains, dtype=pl.String))
        (self.found.by_block if untimed else self.found.stats).append(found)


def _cast(columns: Mapping[str, pl.Expr], schema: Mapping[str, pl.DataType]) -> list[pl.Expr]:
    """Every column of the schema but ``chain``, null where it is not made."""
    return [
        columns.get(name, pl.lit(None)).cast(dtype).alias(name) for name, dtype in schema.items() if name != "chain"
    ]


def _is_in(address: pl.Expr, watch: WatchedAddresses) -> pl.Expr:
    """Whether an address is watched; long lists are asked piece by piece, never made into texts."""
    hit = address.is_in(pl.Series(sorted(watch.single), dtype=pl.String).implode())
    if not watch.lists:
        return hit
    return address.map_batches(lambda column: pl.Series(watch.contains(column)), pl.Boolean, is_elementwise=True)


def _any_in(lists: pl.Expr, watch: WatchedAddresses) -> pl.Expr:
    """Whether any address of a list is watched."""
    if not watch.lists:
        inside = pl.element().is_in(pl.Series(sorted(watch.single), dtype=pl.String).implode())
        return lists.list.eval(inside).list.any()

    def touched(column: pl.Series) -> pl.Series:
        flat = column.explode()
        inside = pl.DataFrame({"row": pl.int_range(len(column), eager=True), "list": column}).explode("list")
        rows = inside["row"].filter(pl.Series(watch.contains(flat))).unique()
        return pl.int_range(len(column), eager=True).is_in(rows.implode())

    return lists.map_batches(touched, pl.Boolean, is_elementwise=True)


def _collect(frame: pl.LazyFrame) -> pl.DataFrame:
    return frame.collect(engine="streaming")
