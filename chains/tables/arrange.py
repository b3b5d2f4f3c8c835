"""Pieces into chain order, a range of blocks at a time: looked-up transactions, times, duplicates, fees, order.

`arrange` is a plain function of one range; ranges are independent of one another, since nothing that it does looks
beyond a block.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import ceil

import numpy as np
import polars as pl

from chains.tables.disorder import FILE
from chains.tables.late import LATE
from chains.tables.layout import FRAME, HASH
from chains.tables.pieces import AXIS, Piece, between
from chains.tables.task import FACTS, Wanted
from chains.tables.text import ROW
from chains.tables.times import BlockTimes, with_times

__all__ = ["RANGE_ROWS", "Arranged", "Range", "arrange", "ranges"]

RANGE_ROWS = 400_000  # about as many in a range; the rows of one block always stay together
_OWN = {"__moves": pl.Boolean(), "__sent": pl.Boolean(), "__fee_row": pl.Boolean(), "__joins": pl.Boolean()}
_SAME = [name for name in FRAME if name not in ("chain", "inputs", "input_values", "amount")]


@dataclass(frozen=True)
class Range:
    """The blocks [low, high) of a chain, and the pieces that may have rows of them."""

    chain: str
    low: int
    high: int
    pieces: tuple[Piece, ...]
    facts: tuple[Piece, ...] = ()
    times: BlockTimes | None = None


@dataclass
class Arranged:
    """Rows of a range in chain order, columns of `FRAME`; or `LATE` in the place of their hashes.

    Attributes
    ----------
    filled : rows whose time was filled, by how (see `chains.tables.times.BlockTimes.at`)
    duplicates : rows dropped because another was equal in every column
    unplaced : rows that have no known place in their block
    """

    frame: pl.DataFrame
    filled: Counter[int] = field(default_factory=Counter)
    duplicates: int = 0
    unplaced: int = 0


def ranges(
    touched: Sequence[Piece], facts: Sequence[Piece], times: Mapping[str, BlockTimes], rows: int = RANGE_ROWS
) -> list[Range]:
    """Ranges of about ``rows`` rows, by chain and block; together they hold every piece.

    Parameters
    ----------
    touched, facts : pieces in the order of the files
    times : block times of chains whose rows have none
    """
    found = []
    for chain in sorted({piece.chain for piece in touched}):
        mine = [piece for piece in touched if piece.chain == chain]
        known = [piece for piece in facts if piece.chain == chain]
        for low, high in _cuts(mine, rows):
            clock = times[chain].cut(low, high) if chain in times else None
            found.append(Range(chain, low, high, _overlapping(mine, low, high), _overlapping(known, low, high), clock))
    return found


def _overlapping(pieces: Sequence[Piece], low: int, high: int) -> tuple[Piece, ...]:
    return tuple(piece for piece in pieces if piece.low < high and piece.high >= low)


def _cuts(pieces: Sequence[Piece], rows: int) -> Iterator[tuple[int, int]]:
    """Where to cut, as though the rows of a piece lay evenly between its ends."""
    low = np.array([piece.low for piece in pieces], np.int64)
    high = np.array([piece.high for piece in pieces], np.int64) + 1
    count = np.array([piece.rows for piece in pieces], np.float64)
    begin, end = int(low.min()), int(high.max())
    before, last, below_last = 0.0, begin, 0.0  # rows before the range; where it may be cut, and rows before that
    ends = np.unique(np.concatenate([low, high])).tolist()
    sums = [float((count * np.clip((end - low) / (high - low), 0.0, 1.0)).sum()) for end in ends]
    for cut, below in _finer(ends, sums, rows):
        if below - before > rows and last > begin:
            yield begin, last
            begin, before = last, below_last
        last, below_last = cut, below
    yield begin, end


def _finer(ends: Sequence[int], sums: Sequence[float], rows: int) -> Iterator[tuple[int, float]]:
    """Ends of pieces and rows before them; between two where many pieces overlap, as in files in no order, more."""
    yield ends[0], sums[0]
    for (one, under), (other, over) in pairwise(zip(ends, sums, strict=True)):
        parts = max(1, min(ceil((over - under) / rows), other - one))
        for number in range(1, parts + 1):
            yield one + (other - one) * number // parts, under + (over - under) * number / parts


def arrange(part: Range, wanted: Wanted) -> Arranged:
    """Rows of a range in chain order.

    Raises
    ------
    StoreError : rows that were put aside cannot be read
    """
    rows = between(part.pieces, part.low, part.high)
    if rows is None:
        return Arranged(pl.DataFrame(schema=dict(FRAME)))
    result = Arranged(rows)
    if LATE in rows.columns and rows[LATE].null_count():
        rows = wanted.late.whole(rows)
    rows = rows.with_columns(
        chain=pl.lit(part.chain), **{name: pl.lit(False) for name in _OWN if name not in rows.columns}
    ).with_columns(pl.col(name).fill_null(False) for name in _OWN)
    there = {*rows.columns, *([HASH] if LATE in rows.columns else [])}
    missing = {name: pl.lit(None, dtype=dtype) for name, dtype in FRAME.items() if name not in there}
    rows = rows.with_columns(**missing)
    joins = bool(rows["__joins"].any())
    if joins:
        rows, result.unplaced = _look_up(rows, between(part.facts, part.low, part.high))
    if rows["block_timestamp"].null_count():
        rows, filled = with_times(rows, lambda _: _known(part), "block_timestamp")
        result.filled.update(filled)
        rows = rows.filter(wanted.within(pl.col("block_timestamp")))
    if joins or not _is_settled(rows):
        rows = _in_order(rows, joins)
        tied = _tied(rows)
        if tied.any():
            rows, result.duplicates = _distinct(wanted.late.whole(rows), tied)
    rows = _with_fees(_with_outputs(rows))
    if rows["block_number"].null_count():
        rows = rows.with_columns(pl.coalesce("block_number", AXIS).alias("block_number"))
    rows = rows.with_columns(pl.col("transfer_index").fill_null(0))
    result.frame = rows.select(name for name in (*FRAME, LATE) if name in rows.columns)
    return result


def _known(part: Range) -> BlockTimes:
    assert part.times is not None, "the plan gives block times to every chain that has rows without a time"
    return part.times


def _look_up(rows: pl.DataFrame, facts: pl.DataFrame | None) -> tuple[pl.DataFrame, int]:
    """Give rows of tables that join their transaction's index, sender, nonce, gas and fee."""
    if facts is not None:
        columns = [name for name in FACTS if name in facts.columns]
        known = facts.sort(FILE, ROW).unique(HASH, keep="first", maintain_order=True).select(
            HASH, *[pl.col(name).alias(f"{name}_known") for name in columns], __joins=pl.lit(True)
        )
        rows = rows.join(known, on=[HASH, "__joins"], how="left", maintain_order="left")
        rows = rows.with_columns(pl.coalesce(name, f"{name}_known").alias(name) for name in columns)
        rows = rows.drop(f"{name}_known" for name in columns)
    return rows, rows.filter(pl.col("__joins") & pl.col("transaction_index").is_null()).height


def _is_settled(rows: pl.DataFrame) -> bool:
    """Whether rows are in chain order already, no two at one place and none without: those of most files are."""
    places = (AXIS, "transaction_index", "transfer_index")
    return rows["inputs"].null_count() == rows.height and _rises(rows, places, strictly=True)


def _in_order(rows: pl.DataFrame, joins: bool) -> pl.DataFrame:
    """Chain order. Rows whose place in the block is not known follow their neighbours by log index, else come last."""
    index = pl.col("transaction_index")
    if not joins:
        rows = rows.with_columns(__index=index.fill_null(0))
        keys = [AXIS, "__index", "transfer_index", FILE, ROW]
        if rows["inputs"].null_count() < rows.height:  # outputs share inputs: a transaction must lie together
            rows = rows.sort(FILE, ROW).with_row_index("__first")
            rows = rows.with_columns(pl.col("__first").min().over(AXIS, HASH))
            keys.insert(2, "__first")
        rows = rows if _rises(rows, keys) else rows.sort(keys, nulls_last=True)
        return rows.with_columns(transaction_index=pl.col("__index"))
    by_log = rows.sort(AXIS, "transfer_index", FILE, ROW)
    joined = pl.when(pl.col("__joins")).then(index)
    near = pl.coalesce(index, joined.forward_fill().over(AXIS), joined.backward_fill().over(AXIS))
    by_log = by_log.with_columns(__near=near)
    # else rows of one transaction could lie apart, equal ones too
    together = pl.coalesce(index, pl.col("__near").first().over(AXIS, HASH))
    placed = pl.when(pl.col("__joins")).then(together).otherwise(index.fill_null(0))
    rows = by_log.with_columns(__index=placed).sort(AXIS, "__index", "transfer_index", FILE, ROW, nulls_last=True)
    return rows.with_columns(transaction_index=pl.col("__index").forward_fill().over(AXIS).fill_null(0))


def _rises(rows: pl.DataFrame, keys: Sequence[str], strictly: bool = False) -> bool:
    """Whether rows are in the order of these columns already, none of them null, and no two alike if ``strictly``."""
    if any(rows[key].null_count() for key in keys):
        return False
    ordered = np.full(max(0, rows.height - 1), not strictly)
    for key in reversed(keys):
        column = rows[key].to_numpy()
        before, after = column[:-1], column[1:]
        ordered = (after > before) | ((after == before) & ordered)
    return bool(ordered.all())


def _tied(rows: pl.DataFrame) -> pl.Series:
    """Which rows stand at the same place as the one before them."""
    keys = (AXIS, "__index", "transfer_index")
    tied = pl.all_horizontal(pl.col(key).eq_missing(pl.col(key).shift(1)) for key in keys)
    return rows.select(tied=tied & (pl.int_range(pl.len()) > 0))["tied"]


def _distinct(rows: pl.DataFrame, mask: pl.Series) -> tuple[pl.DataFrame, int]:
    """Rows without those that equal an earlier one in every column: they can only stand at the same place.

    Parameters
    ----------
    mask : see `_tied`
    """
    shared = rows.select(mask | mask.shift(-1, fill_value=False)).to_series()
    place = pl.int_range(rows.height, dtype=pl.Int64, eager=True)
    same = [name for name in (*_SAME, "__moves", "__extra") if name in rows.columns]
    lists = [pl.col(name).list.join("|").alias(f"__{name}") for name in ("inputs", "input_values")]
    some = rows.filter(shared).with_columns(*lists, __place=place.filter(shared))
    once = some.unique([*same, "__inputs", "__input_values"], keep="first", maintain_order=True)
    dropped = some.height - once.height
    if not dropped:
        return rows, 0
    kept = pl.concat([place.filter(~shared), once["__place"]]).sort()
    return rows[kept], dropped


def _with_outputs(rows: pl.DataFrame) -> pl.DataFrame:
    """Count the outputs of UTXO transactions whose rows are all here, which are those that a watched wallet sent."""
    if rows["inputs"].null_count() == rows.height:
        return rows
    whole = pl.col("inputs").is_not_null() & pl.col("__sent")
    counted = pl.when(whole).then(pl.len().over(HASH))
    return rows.with_columns(pl.coalesce("n_outputs", counted).alias("n_outputs"))


def _with_fees(rows: pl.DataFrame) -> pl.DataFrame:
    """What moved, and the fees of transactions (failed ones pay, too): after the value, before anything else."""
    if not rows["__fee_row"].any():
        return rows if rows["__moves"].all() else rows.filter("__moves")
    rows = rows.with_columns(__place=2 * pl.int_range(pl.len(), dtype=pl.Int64))
    fees = rows.filter(pl.col("__fee_row") & pl.col("__sent") & pl.col("fee").is_not_null() & (pl.col("fee") != "0"))
    fees = fees.with_columns(
        kind=pl.lit("fee"), to_address=pl.lit(""), value=pl.col("fee"), amount=pl.col("fee").cast(pl.Float64),
        __place=pl.col("__place") + 1,
    )
    return pl.concat([rows.filter("__moves"), fees], how="vertical").sort("__place")
