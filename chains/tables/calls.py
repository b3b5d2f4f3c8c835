"""Calls inside of transactions as rows: which of them moved coins. What `chains.evm.calls` says of a node's traces.

A call moves value where it is a ``call``, a ``create`` or a ``suicide`` (all that is left goes to the heir) and neither
it nor one around it failed. ``delegatecall`` shows the value of the call around it, ``callcode`` keeps it where it is,
``staticcall`` has none. The outermost call is the transaction itself. Rewards and what the genesis block gave come from
nobody.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import polars as pl

from chains.evm.calls import DEEPEST
from chains.tables.bad import Check
from chains.tables.chain import ChainColumn
from chains.tables.layout import INTERNAL_BASE, Build
from chains.tables.raw import Raw

__all__ = ["AFTER_ALL", "Call", "build_calls", "without_failed"]

_GIVEN = ("reward", "genesis")  # from nobody
_KINDS = ("call", "create", "create2", "suicide", "selfdestruct", "daofork", *_GIVEN)
_STILL = ("delegatecall", "callcode", "staticcall")
AFTER_ALL = 2**31 - 1  # the place of what the chain itself gave: after all transactions of the block
_INSIDE = " inside of a call that failed"
_ROW = "__row"


@dataclass(frozen=True)
class Call:
    """Expressions over the raw columns of a table of calls.

    Attributes
    ----------
    kind : ``call``, ``create``, ``suicide``, ``reward``, ``genesis``, ``daofork``
    call_type : of a call: ``call``, ``delegatecall``, ...
    path : place in the tree of calls, numbers between commas; empty is the transaction itself
    sender, receiver : canonical
    value : whole base units as text, checked
    positive : whether that is above zero
    failed : whether the row says that it failed
    reward : what a reward is for, for the name of one
    """

    kind: pl.Expr
    call_type: pl.Expr
    path: pl.Expr
    sender: pl.Expr
    receiver: pl.Expr
    value: pl.Expr
    positive: pl.Expr
    failed: pl.Expr
    reward: pl.Expr


def build_calls(raw: Raw, chain: ChainColumn, call: Call, hash: str, index: str) -> Build:
    """Rows of calls.

    Parameters
    ----------
    hash, index : the columns with the hash and the place of the transaction; both may be empty in what no
        transaction gave
    """
    number = raw.whole("block_number", needed=True)
    kind = call.kind.str.to_lowercase().str.strip_suffix(_INSIDE)
    known = pl.format("the kind of trace was '{}', expected one of {}", kind.fill_null(""), pl.lit(", ".join(_KINDS)))
    raw.checks.append(Check(~kind.fill_null("").is_in(_KINDS), known))
    given, forked = kind.is_in(_GIVEN), kind == "daofork"
    place = raw.whole(index)
    lost = ~given & ~forked & raw.text(hash).is_null() & place.is_null()
    raw.checks.append(Check(lost, pl.lit(f"{hash} is empty")))
    call_type = call.call_type.str.to_lowercase().str.replace_all("_", "", literal=True)
    outer = call.path.fill_null("") == ""
    roots = outer & kind.is_in(["call", "create", "create2"])
    sender = pl.when(given).then(pl.lit("")).otherwise(call.sender)
    itself = kind.is_in(["suicide", "selfdestruct"]) & (call.sender == call.receiver).fill_null(False)
    still = call_type.is_in(_STILL).fill_null(False) | itself | call.failed | call.kind.str.ends_with(_INSIDE)
    moved = call.positive & ~still
    named = pl.concat_str(kind, call.receiver.fill_null(""), number.cast(pl.String), separator="-")
    rewarded = pl.concat_str(named, call.reward.fill_null("block"), separator="-")
    named = pl.when(kind == "reward").then(rewarded).otherwise(named)
    stand_in = pl.concat_str(number.cast(pl.String), place.cast(pl.String), separator="-")
    columns = {
        "block_number": number,
        "transaction_hash": pl.coalesce(
            pl.when(given | forked).then(named), chain.hash(raw.text(hash)), stand_in
        ),
        "transaction_index": pl.when(given | forked).then(AFTER_ALL).otherwise(place),
        "transfer_index": pl.when(roots).then(-1).otherwise(INTERNAL_BASE),
        "kind": pl.when(roots).then(pl.lit("native")).otherwise(pl.lit("internal")),
        "asset": chain.native,
        "from_address": sender,
        "to_address": call.receiver,
        "value": call.value,
        "tx_from": pl.when(roots).then(call.sender),
    }
    time = raw.time("block_timestamp") if raw.has("block_timestamp") else None
    there = call.receiver.is_not_null() & (call.sender.is_not_null() | given)
    return Build(
        columns, time, (moved & there).fill_null(False), sender, call.receiver, roots=roots.fill_null(False),
        marks=pl.concat_str(kind, call.path.fill_null(""), separator=" "),
        skipped=(moved & ~there).fill_null(False),
    )


def without_failed(
    rows: pl.LazyFrame, columns: Collection[str], keys: Sequence[str], path: pl.Expr, failed: pl.Expr, kind: str
) -> pl.LazyFrame:
    """Mark calls inside of one that failed, which their own rows do not say, in the column of their kind.

    Parameters
    ----------
    rows : with ``__row``; the calls of a transaction together
    columns : those that they have
    keys : columns that name a transaction
    path : see `Call`
    failed : whether a row says that it failed
    kind : the column with the kind of call
    """
    dtypes = rows.collect_schema()
    named = (
        pl.col(name).bin.encode("hex") if dtypes[name] == pl.Binary else pl.col(name).cast(pl.String)
        for name in keys if name in columns
    )  # fmt: skip
    key = pl.concat_str([name.fill_null("") for name in named], separator=" ")
    tree = rows.select(pl.col(_ROW), key.alias("key"), path.fill_null("").alias("path"), failed.alias("failed"))
    broken = tree.filter("failed").select("key", "path").unique().collect(engine="streaming")
    if broken.is_empty():
        return rows
    inside = (
        tree.filter(pl.col("path") != "")
        .join(broken.lazy().select("key").unique(), on="key", how="semi")
        .with_columns(steps=pl.col("path").str.split(","))
        .with_columns(depth=pl.int_ranges(0, pl.col("steps").list.len().clip(0, DEEPEST)))
        .explode("depth")
        .with_columns(path=pl.col("steps").list.head(pl.col("depth")).list.join(","))
        .join(broken.lazy(), on=["key", "path"], how="semi")
        .select(pl.col(_ROW).unique())
        .collect(engine="streaming")[_ROW]
    )
    if inside.is_empty():
        return rows
    marked = pl.concat_str(pl.col(kind).cast(pl.String), pl.lit(_INSIDE))
    return rows.with_columns(pl.when(pl.col(_ROW).is_in(inside.implode())).then(marked).otherwise(pl.col(kind)))
