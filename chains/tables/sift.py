"""Files through their layout: bad rows set aside, rows counted, those that touch the watch set kept.

`sift` is a plain function of one task: a few files of one layout. It runs in this process or in any other one, and
what it gives does not depend on which files stand in one task, or in which order tasks end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate
from typing import Any

import polars as pl

from chains.tables.bad import KEPT, any_bad, first_reason
from chains.tables.batches import SPAN, Overflow, apart, ends, file_of, large, placed
from chains.tables.canonical import Canonical
from chains.tables.chain import ChainColumn
from chains.tables.count import count, count_fast, name_of_all
from chains.tables.disorder import FILE, Disorder
from chains.tables.late import PLACE, are_filled
from chains.tables.layout import BALANCES, CONTROLS, FRAME, HASH, PART, Build
from chains.tables.lines import reading
from chains.tables.pieces import AXIS, Heap
from chains.tables.raw import Raw
from chains.tables.steady import steady
from chains.tables.table import scan_tables
from chains.tables.task import FACTS, Plan, Sifted, Task, Wanted
from chains.tables.text import ROW
from chains.tables.together import together
from chains.tables.touching import touching, touching_hex
from monitor.addresses.compact import WatchedAddresses
from monitor.texts.digits import floats

__all__ = ["sift"]

_SOME_HASH = "0x"  # what stands for hashes that are read later while rows are checked


def sift(task: Task, tick: Callable[[int], None] | None = None) -> Sifted:
    """Read the files of a task.

    Parameters
    ----------
    tick : told the bytes on disk read so far

    Raises
    ------
    ConfigError : a file is corrupt
    StoreError : rows cannot be put aside
    """
    work = _Sifting(task.wanted, task.plans[0])
    if task.plans[0].table.form == "parquet":
        work.parquet(task.plans, tick)
    else:
        done = 0
        for plan in task.plans:
            work.text(plan, None if tick is None else partial(_onwards, tick, done))
            done += plan.table.size
    if tick is not None:
        tick(task.size)
    return work.done()


def _onwards(tick: Callable[[int], None], before: int, read: int) -> None:
    tick(before + read)


@dataclass(frozen=True)
class _Made:
    """The expressions of one file, or of one chunk of it.

    Attributes
    ----------
    broken : whether a row fails a check
    columns : those of what is kept of good rows that touch the watch set, but for their chain
    canonical : which rows need neither
    """

    raw: Raw
    chain: ChainColumn
    build: Build
    plan: Plan
    broken: pl.Expr
    columns: tuple[pl.Expr, ...]
    canonical: Canonical


class _Sifting:
    """One task at work."""

    def __init__(self, wanted: Wanted, plan: Plan) -> None:
        self.wanted = wanted
        self.found = Sifted()
        self._heaps = {name: Heap(wanted.folder, wanted.room) for name in ("touched", "facts")}
        self._disorder = Disorder()
        self._extra = sorted(set(plan.table.dtypes) - plan.layout.known) if plan.layout.extras else []

    def done(self) -> Sifted:
        self.found.touched, self.found.facts = (self._heaps[name].pieces() for name in ("touched", "facts"))
        self.found.disorder = self._disorder.first
        return self.found

    # -- text -----------------------------------------------------------------------------------------------------

    def text(self, plan: Plan, tick: Callable[[int], None] | None) -> None:
        """One CSV, JSON or document file, chunk by chunk; every row is checked."""
        table, found = plan.table, self.found
        wanted = frozenset(table.dtypes) if plan.layout.extras else plan.layout.known
        with reading(table.path):
            chunks = table.chunks(wanted, tick, self.wanted.watch)
            for chunk in together(chunks, plan.layout.together) if plan.layout.prepare else chunks:
                found.bad.add(table.path, chunk.bad)
                found.rows += chunk.counted
                found.notes.update(chunk.notes)
                found.blind.update((plan.default.chain, spot) for spot in chunk.blind if plan.default is not None)
                frame = chunk.frame
                if plan.layout.prepare is not None:
                    frame = plan.layout.prepare(frame.lazy(), frame.columns).collect()
                made = self._made(plan, frame.drop(ROW).schema, frame)
                frame = frame.with_columns(**made.raw.made) if made.raw.made else frame
                frame, constant = steady(frame)
                frame = self._checked(frame, made, [plan])
                self._count(made, frame.lazy())
                self._others(made, frame.lazy())
                kept = frame.filter(self._touches(made))
                self._keep(made, apart(kept, frame.height).with_columns(file_of(plan)), constant)

    # -- Parquet --------------------------------------------------------------------------------------------------

    def parquet(self, plans: Sequence[Plan], tick: Callable[[int], None] | None) -> None:
        """Parquet files of one schema as one; unless strict, rows that touch the watch set alone are checked."""
        size = sum(plan.table.size for plan in plans)

        def seen(row: int) -> None:
            if tick is not None:
                tick(size * row // sum(lengths))

        plan, paths = plans[0], [plan.table.path for plan in plans]
        with reading(paths[0] if len(paths) == 1 else ", ".join(paths[:3])):
            made = self._made(plan, plan.table.dtypes, None)
            counted = pl.collect_all(plan.table.scan().select(pl.len()) for plan in plans)
            lengths = [int(each.item()) for each in counted]
            self.found.rows += sum(lengths)
            begins = list(accumulate(lengths, initial=0))
            rows = scan_tables([plan.table for plan in plans])
            if plan.layout.prepare is not None:
                rows = plan.layout.prepare(rows, list(plan.table.dtypes))
            rows = rows.with_columns(**made.raw.made) if made.raw.made else rows
            strict = self.wanted.strict or plan.layout.gives == "times"  # a wrong time would move other rows
            name = name_of_all(made.chain, rows) if sum(lengths) else None
            asked = self._touches_as_they_are(made, name)
            touches = self._touches(made) if asked is None else asked
            broken = made.broken
            looked_at = broken if strict else touches
            bad = 0
            if strict:
                for frame in large(rows.filter(looked_at).collect_batches()):
                    found = placed(frame, plans, begins)
                    bad += found.height - self._checked(found, made, plans).height
            kept = rows.filter(~broken) if bad else rows
            waits = not strict and name is not None and self._may_be_late(made, plans, name) and are_filled(rows)
            total = sum(lengths) if plan.layout.prepare is None and not bad else 0  # else row numbers are not places
            parts = self._touching(kept, touches, waits, total, seen) if plan.layout.gives != "times" else ()
            for frame, late in parts:
                found, constant = steady(placed(frame, plans, begins))
                if late:
                    found, constant = found.with_columns(pl.lit(_SOME_HASH).alias(HASH)), {**constant, HASH: _SOME_HASH}
                plain = _is_canonical(made, found, constant)
                good = found if strict or plain else self._checked(found, made, plans)
                bad += found.height - good.height
                self._keep(made, good, constant, plain, late)
            if bad:
                rows = rows.filter(~broken if strict else ~(touches & broken))
            if bad or not count_fast(self.found.stats, made.chain, name, made.build, rows, sum(lengths), self.wanted):
                self._count(made, rows)
            self._others(made, rows)

    def _may_be_late(self, made: _Made, plans: Sequence[Plan], name: str) -> bool:
        """Whether hashes need not be read with the rows of these files, which name this chain alone."""
        chain, files = made.chain.of_name(name), self.wanted.late.files
        plain = chain is not None and made.chain.is_evm(chain) and HASH in made.build.same
        return plain and all(plan.order in files for plan in plans)

    def _touching(
        self, rows: pl.LazyFrame, touches: pl.Expr, late: bool, total: int, seen: Callable[[int], None]
    ) -> Iterator[tuple[pl.DataFrame, bool]]:
        """Rows that touch the watch set, and whether their hashes are read later.

        Where files are not in chain order, a range of blocks has rows here and there in them, and to read hashes there
        would take long: from the first batch out of order on, they are read with the rows.

        Parameters
        ----------
        total : how many rows there are, where they may be read a span at a time; 0 where not
        """
        overflow, last, span = Overflow(self.wanted.room, total), 0, 0
        while True:
            part = rows.slice(last, span or None) if last else rows
            for frame in large((part.drop(HASH) if late else part).filter(touches).collect_batches(), seen):
                yield frame, late
                overflow.look(frame)
                if (late and not self._disorder.is_none) or (overflow.is_expected and not span):
                    late &= self._disorder.is_none
                    last, span = ends(frame)[1], SPAN if overflow.is_expected else 0
                    break
            else:
                last += span
                if not span or last >= total:
                    return

    # -- both -----------------------------------------------------------------------------------------------------

    def _made(self, plan: Plan, dtypes: Mapping[str, pl.DataType], frame: pl.DataFrame | None) -> _Made:
        raw = Raw(dtypes, frame, plan.table.units)
        chain = ChainColumn(raw, self.wanted.chains, plan.default)
        build = plan.layout.build(raw, chain)
        if build.roots is not None and self.wanted.valued:
            elsewhere = pl.any_horizontal([chain.is_one(name) for name in sorted(self.wanted.valued)])
            build = replace(build, moves=build.moves & ~(build.roots & elsewhere))
        broken, columns = any_bad(raw.checks), tuple(self._columns(chain, build, plan))
        return _Made(raw, chain, build, plan, broken, columns, Canonical(build.same, broken, columns, dtypes))

    def _checked(self, frame: pl.DataFrame, made: _Made, plans: Sequence[Plan]) -> pl.DataFrame:
        """The good rows; the others are counted and the first of them kept."""
        mask = frame.select(made.broken.alias("bad"))["bad"]
        if mask.len() != frame.height or not mask.any():  # no check looks at a column, or none fails
            return frame
        broken = frame.filter(mask)
        reasons = broken.with_columns(reason=first_reason(made.raw.checks))
        if FILE not in reasons.columns:
            reasons = reasons.with_columns(file_of(plans[0]))
        path = {plan.order: plan.table.path for plan in plans}
        for (order,), part in reasons.group_by(FILE, maintain_order=True):
            self.found.bad.add(path[int(order)], part.head(KEPT).select(ROW, "reason").iter_rows(), part.height)
        return frame.filter(~mask)

    def _touches_as_they_are(self, made: _Made, name: str | None) -> pl.Expr | None:
        """The same as `_touches`, where that is known of the columns of the file, all of whose rows name one chain."""
        chain, build = made.chain.of_name(name) if name is not None else None, made.build
        names = [side for side in ("from_address", "to_address") if made.raw.dtypes.get(side) == pl.String]
        if chain is None or not made.chain.is_evm(chain) or len(names) < 2 or not set(names) <= set(build.same):
            return None
        return touching_hex(names, self.wanted.watch.get(chain, WatchedAddresses()))

    def _touches(self, made: _Made) -> pl.Expr:
        build = made.build
        if build.receivers is not None:
            return touching(made.chain, self.wanted.watch, [], [build.senders, build.receivers])
        return touching(made.chain, self.wanted.watch, [build.sender, build.receiver], [build.senders])

    def _count(self, made: _Made, rows: pl.LazyFrame) -> None:
        untimed = made.build.time is None and made.plan.layout.gives == "transfers"
        (self.found.by_block if untimed else self.found.stats).append(
            count(made.chain, made.build, rows, self.wanted, untimed)
        )

    def _others(self, made: _Made, rows: pl.LazyFrame) -> None:
        """Block times, and transactions that other tables look up."""
        build, layout, chain = made.build, made.plan.layout, made.chain.chain.alias("chain")
        known = rows if made.chain.constant else rows.filter(made.chain.known)
        if build.time is not None and self.wanted.knots and "block_number" in build.columns:
            knots = known.select(chain, build.columns["block_number"].alias("block_number"), time=build.time)
            self.found.knots.append(knots.filter(pl.col("block_number").is_not_null()).unique().collect(
                engine="streaming"
            ))
        if self.wanted.hashes is None or layout.joins or layout.gives != "transfers" or layout.kind != "evm":
            return
        columns = _made_columns(build.columns, {name: FRAME[name] for name in ("block_number", *FACTS, HASH)})
        place = [pl.lit(made.plan.order, dtype=pl.Int64).alias(FILE), pl.col(ROW)]
        asked = known.select(chain, *columns, *place).join(self.wanted.hashes.lazy(), on=["chain", HASH], how="semi")
        self._heap("facts", asked.with_columns(pl.col("block_number").alias(AXIS)).collect(engine="streaming"))

    def _keep(
        self,
        made: _Made,
        frame: pl.DataFrame,
        constant: Mapping[str, Any],
        plain: bool = False,
        late: bool = False,
    ) -> None:
        """Good rows that touch the watch set, as columns of their table.

        Parameters
        ----------
        constant : what stands in columns of the file that are known to be the same in all rows
        plain : whether the rows are known to be canonical
        late : whether their hashes are read later
        """
        build, layout = made.build, made.plan.layout
        if frame.is_empty() or layout.gives == "times":
            return
        if layout.splits:
            frame = self._split(made, frame)
        chain = made.chain.chain.alias("chain")
        if layout.gives == "balances":
            self.found.balances.append(frame.select(chain, *_cast(build.columns, BALANCES)))
            return
        if build.time is not None:
            inside = self.wanted.within(build.time)
            frame = frame if frame.select(inside.sum()).item() == frame.height else frame.filter(inside)
        if layout.gives == "controls":
            self.found.controls.append(frame.select(chain, *_cast(build.columns, CONTROLS), FILE, ROW))
            return
        self._name(made, frame)
        if frame.is_empty():
            return
        named = made.chain.of_all(constant)
        if plain:
            rows = made.canonical.rows(frame, constant)
        else:
            rows = frame.select(*([] if named else [chain]), *made.columns)
        if "value" in rows.columns:
            rows = rows.with_columns(floats(rows["value"]).alias("amount"))
        rows = rows.drop(HASH).with_columns(PLACE) if late else rows
        self._heap("touched", rows, named)

    def _name(self, made: _Made, frame: pl.DataFrame) -> None:
        """What rows call their assets."""
        if made.raw.has("symbol") and made.raw.has("decimals") and "asset" in made.build.columns:
            decimals = made.raw.text("decimals").cast(pl.Int64, strict=False)
            said = frame.select(asset=made.build.columns["asset"], symbol=made.raw.text("symbol"), decimals=decimals)
            said = said.filter(pl.col("decimals").is_between(0, 77)).drop_nulls()
            for *name, rows in said.group_by("asset", "symbol", "decimals").len().iter_rows():
                self.found.names[name[0], name[1], name[2]] += rows

    def _split(self, made: _Made, frame: pl.DataFrame) -> pl.DataFrame:
        """Rows that are several transfers made into one row each, and those kept that touch the watch set."""
        names, build = made.plan.layout.splits, made.build
        lists = {name: made.raw.list_text(name) for name in names}
        number = pl.int_ranges(0, lists[names[0]].list.len(), dtype=pl.Int64)
        parts = frame.with_columns(**lists, **build.whole, **{PART: number}).explode(*names, PART)
        return parts.filter(touching(made.chain, self.wanted.watch, [build.receiver], [build.senders]))

    def _heap(self, name: str, rows: pl.DataFrame, chain: str | None = None) -> None:
        """Put rows aside by their chain, which is a column where it is not given."""
        if chain is None:
            for (each,), part in rows.group_by("chain", maintain_order=True):
                self._heap(name, part.drop("chain"), str(each))
            return
        if name == "touched":
            self._disorder.look(chain, rows)
        self._heaps[name].add(chain, rows)

    def _columns(self, chain: ChainColumn, build: Build, plan: Plan) -> Iterator[pl.Expr]:
        layout, dtypes, columns = plan.layout, plan.table.dtypes, dict(build.columns)
        if layout.gives != "transfers":
            return
        if build.time is not None:
            columns["block_timestamp"] = build.time
        yield from _made_columns(columns, FRAME)
        number = columns.get("block_number", pl.lit(None)).cast(pl.Int64)
        yield pl.coalesce(number, pl.lit(None) if build.time is None else build.time).fill_null(0).cast(
            pl.Int64
        ).alias(AXIS)
        yield build.moves.alias("__moves")
        if build.fee_rows or build.senders is not None:
            yield touching(chain, self.wanted.watch, [build.sender], [build.senders]).alias("__sent")
        if build.fee_rows:
            yield pl.lit(True).alias("__fee_row")
        if layout.joins:
            yield pl.lit(True).alias("__joins")
        yield from (pl.col(FILE), pl.col(ROW))
        plain = [name for name in self._extra if not dtypes[name].is_nested() and dtypes[name] != pl.Binary]
        texts = [pl.col(name).cast(pl.String, strict=False).fill_null("") for name in plain]
        if build.marks is not None:
            texts.append(build.marks.fill_null(""))
        if texts:
            yield pl.concat_str(texts, separator="\x1f").alias("__extra")


def _is_canonical(made: _Made, frame: pl.DataFrame, constant: Mapping[str, Any]) -> bool:
    """Whether all rows are good and canonical as they are, as far as can be seen."""
    chain = made.chain.of_all(constant)
    return chain is not None and made.chain.is_evm(chain) and made.canonical.holds(frame, constant)


def _made_columns(columns: Mapping[str, pl.Expr], schema: Mapping[str, pl.DataType]) -> list[pl.Expr]:
    """Columns of the schema that the layout makes; the others are null and are added when rows are arranged."""
    made = {name: columns[name] for name in schema if name in columns and not _is_nothing(columns[name])}
    return [expression.cast(schema[name]).alias(name) for name, expression in made.items()]


def _is_nothing(expression: pl.Expr) -> bool:
    """Whether it is null in every row: the file has no such column."""
    return not expression.meta.root_names() and pl.select(expression).item() is None


def _cast(columns: Mapping[str, pl.Expr], schema: Mapping[str, pl.DataType]) -> list[pl.Expr]:
    """Every column of the schema but ``chain``, null where it is not made."""
    made = {name: columns.get(name, pl.lit(None)).cast(dtype) for name, dtype in schema.items() if name != "chain"}
    return [expression.alias(name) for name, expression in made.items()]
