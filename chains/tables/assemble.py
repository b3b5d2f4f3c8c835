"""What was found in all files, put together: looked-up transactions, times, duplicates, fees, chain order."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from chains.tables.layout import BALANCES, CONTROLS, FRAME
from chains.tables.scan import FACTS, Found
from chains.tables.text import ROW
from chains.tables.times import BlockTimes, with_times

__all__ = ["all_touched", "balances", "controls", "finish", "look_up"]

_ORDER = ["chain", "block_number", "__index", "transfer_index", "__file", ROW, "__fee"]


def all_touched(found: Found) -> pl.DataFrame:
    """The rows that touch the watch set of all files read so far; columns of `FRAME` and the reader's own."""
    own = {
        "__moves": pl.Boolean(), "__sent": pl.Boolean(), "__fee_row": pl.Boolean(), "__joins": pl.Boolean(),
        "__file": pl.Int64(), ROW: pl.Int64(), "__extra": pl.String(),
    }
    return pl.concat([pl.DataFrame(schema=dict(FRAME) | own), *found.touched])


def look_up(rows: pl.DataFrame, found: Found) -> tuple[pl.DataFrame, int]:
    """Give rows of tables that join their transaction's index, sender, nonce, gas and fee.

    Returns
    -------
    (rows, unknown) : the rows in their order; how many of those that join have no known place in their block
    """
    if rows.filter("__joins").is_empty():
        return rows, 0
    keys = ["chain", "transaction_hash"]
    if found.facts:
        facts = pl.concat(found.facts).unique(keys, keep="first", maintain_order=True)
        facts = facts.rename({name: f"{name}_known" for name in FACTS}).with_columns(__joins=pl.lit(True))
        rows = rows.join(facts, on=[*keys, "__joins"], how="left", maintain_order="left")
        rows = rows.with_columns(pl.coalesce(name, f"{name}_known").alias(name) for name in FACTS)
        rows = rows.drop(f"{name}_known" for name in FACTS)
    return rows, rows.filter(pl.col("__joins") & pl.col("transaction_index").is_null()).height


def finish(
    rows: pl.DataFrame, times_of: Callable[[str], BlockTimes], start: int, end: int
) -> tuple[pl.DataFrame, dict[int, int], int]:
    """The frame of a reading.

    Parameters
    ----------
    rows : from `look_up`
    times_of : block times of a chain (CAIP-2)
    start, end : UTC seconds, start inclusive, end exclusive

    Returns
    -------
    (frame, filled, duplicates) : columns of `FRAME` in chain order; rows whose time was filled, by how (see
    `BlockTimes.at`); rows dropped because another was equal in every column
    """
    rows, filled = with_times(rows, times_of, "block_timestamp")
    rows = rows.filter((pl.col("block_timestamp") >= start) & (pl.col("block_timestamp") < end))
    before = rows.height
    rows = rows.with_columns(
        pl.col("inputs").list.join("|").alias("__inputs"), pl.col("input_values").list.join("|").alias("__values")
    )
    same = [name for name in FRAME if name not in ("inputs", "input_values", "amount")]
    rows = rows.unique([*same, "__inputs", "__values", "__moves", "__extra"], keep="first", maintain_order=True)
    duplicates = before - rows.height
    rows = _with_outputs(rows)
    moves = rows.filter("__moves").with_columns(__fee=pl.lit(0))
    fees = _fees(rows)
    rows = pl.concat([moves, fees], how="vertical").with_columns(
        pl.col("block_number").fill_null(0), pl.col("transfer_index").fill_null(0)
    )
    return _in_order(rows).select(list(FRAME)), filled, duplicates


def _with_outputs(rows: pl.DataFrame) -> pl.DataFrame:
    """Count the outputs of UTXO transactions whose rows are all here, which are those that a watched wallet sent."""
    if rows["inputs"].null_count() == rows.height:
        return rows
    whole = pl.col("inputs").is_not_null() & pl.col("__sent")
    counted = pl.when(whole).then(pl.len().over("chain", "transaction_hash"))
    return rows.with_columns(pl.coalesce("n_outputs", counted).alias("n_outputs"))


def _fees(rows: pl.DataFrame) -> pl.DataFrame:
    """Fee movements of transactions (failed ones pay, too), after the value and before anything else that moved."""
    fees = rows.filter(pl.col("__fee_row") & pl.col("__sent") & pl.col("fee").is_not_null() & (pl.col("fee") != "0"))
    return fees.with_columns(
        kind=pl.lit("fee"), to_address=pl.lit(""), value=pl.col("fee"),
        amount=pl.col("fee").cast(pl.Float64), __fee=pl.lit(1),
    )


def _in_order(rows: pl.DataFrame) -> pl.DataFrame:
    """Chain order. Rows whose place in the block is not known follow their neighbours by log index, else come last."""
    by_log = rows.sort("chain", "block_number", "transfer_index", "__file", ROW)
    index, block = pl.col("transaction_index"), ("chain", "block_number")
    joined = pl.when(pl.col("__joins")).then(index)
    near = pl.coalesce(index, joined.forward_fill().over(block), joined.backward_fill().over(block))
    placed = pl.when(pl.col("__joins")).then(near).otherwise(index.fill_null(0))
    rows = by_log.with_columns(__index=placed).sort(_ORDER, nulls_last=True)
    return rows.with_columns(transaction_index=pl.col("__index").forward_fill().over(block).fill_null(0))


def controls(found: Found) -> pl.DataFrame | None:
    """All changes of control in chain order, then in that of the files; None where no file had any."""
    if not found.controls:
        return None
    rows = pl.concat([pl.DataFrame(schema=dict(CONTROLS)), *found.controls]).unique(maintain_order=True)
    return rows.sort("chain", "block_number", "transaction_index", maintain_order=True, nulls_last=True)


def balances(found: Found) -> pl.DataFrame | None:
    """All balances in order of chain, address, asset and block; None where no file had any."""
    if not found.balances:
        return None
    return pl.concat([pl.DataFrame(schema=dict(BALANCES)), *found.balances]).unique(maintain_order=True).sort(
        "chain", "address", "asset", "block_number", maintain_order=True
    )
