"""History as flows of wallets, batch by batch: for tables that people look at, exact to the base unit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

import numpy as np
import polars as pl

from monitor.backtesting.history import Batch
from monitor.model import Block, BlockRef, Flow
from monitor.replayed import transfer_of
from monitor.watchlist import Watchlist

__all__ = ["FLOWS", "flows_of", "sum_exactly"]

FLOWS: Mapping[str, type[pl.DataType]] = {
    "wallet": pl.String, "chain": pl.String, "at": pl.Int64, "block": pl.Int64, "tx": pl.String, "index": pl.Int64,
    "kind": pl.String, "asset": pl.String, "direction": pl.String, "counterparty": pl.String, "value": pl.String,
}  # fmt: skip
"""One row a flow: ``at`` in UTC seconds, ``direction`` in, out or internal, ``value`` base units as text."""

_DIGITS = 9  # of one limb: sums of up to nine thousand million limbs fit 64 bits


def flows_of(
    watchlist: Watchlist, batch: Batch, wallets: Sequence[str] | None = None, hashes: bool = True
) -> pl.DataFrame:
    """Flows of a batch in chain order, columns of `FLOWS`; those of ``wallets`` alone where they are given.

    A transfer between two wallets is a flow of each; transfers of nothing are none. Tokens that are forged in a
    wallet's name are in the data, and so they are here. Without ``hashes``, ``tx`` may be null.
    """
    found = _utxo(watchlist, batch) if batch.chain.startswith("bip122:") else _account(watchlist, batch, hashes)
    return found if wallets is None else found.filter(pl.col("wallet").is_in(list(wallets)))


def _account(watchlist: Watchlist, batch: Batch, hashes: bool) -> pl.DataFrame:
    moving = batch.part(pl.col("amount") > 0)
    frame = moving.whole() if hashes else moving.frame.with_columns(transaction_hash=pl.lit(None, dtype=pl.String))
    names = sorted(watchlist.wallets)
    places = {name: place for place, name in enumerate(names)}
    sender, receiver = (watchlist.owners(batch.chain, frame[side], places) for side in ("from_address", "to_address"))
    inside = (sender == receiver) & (sender >= 0)
    parts = []
    for direction, owner, rows, other in (
        ("internal", sender, np.flatnonzero(inside), "to_address"),
        ("out", sender, np.flatnonzero((sender >= 0) & ~inside), "to_address"),
        ("in", receiver, np.flatnonzero((receiver >= 0) & ~inside), "from_address"),
    ):
        wallet = pl.Series(owner[rows]).replace_strict(dict(enumerate(names)), return_dtype=pl.String)
        parts.append(
            frame[rows].select(
                wallet=wallet, chain=pl.lit(batch.chain), at=pl.col("block_timestamp").cast(pl.Int64),
                block=pl.col("block_number").cast(pl.Int64), tx=pl.col("transaction_hash"),
                index=pl.col("transfer_index").cast(pl.Int64), kind=pl.col("kind").cast(pl.String),
                asset=pl.col("asset").cast(pl.String), direction=pl.lit(direction),
                counterparty=pl.col(other).cast(pl.String).fill_null(""), value=pl.col("value").cast(pl.String),
                row=pl.Series(rows),
            )
        )  # fmt: skip
    found = pl.concat(parts).sort("row", maintain_order=True)
    return found.select(pl.col(name).cast(kind) for name, kind in FLOWS.items())


def _utxo(watchlist: Watchlist, batch: Batch) -> pl.DataFrame:
    """Inputs of a transaction must stay together: block by block, as a live block would be read."""
    rows = [
        (flow.wallet, batch.chain, flow.timestamp, flow.transfer.block.number, flow.transfer.tx.hash,
         flow.transfer.index, str(flow.transfer.kind), flow.transfer.asset, flow.direction.name.lower(),
         flow.counterparty, str(flow.value))
        for flow in _utxo_flows(watchlist, batch)
        if flow.value
    ]  # fmt: skip
    return pl.DataFrame(rows, schema=dict(FLOWS), orient="row")


def _utxo_flows(watchlist: Watchlist, batch: Batch) -> Iterator[Flow]:
    for number, group in groupby(batch.whole().iter_rows(named=True), key=lambda r: r["block_number"]):
        records = list(group)
        transfers = tuple(transfer_of(r, batch.chain) for r in records)
        block = Block(BlockRef(batch.chain, int(number), ""), "", int(records[0]["block_timestamp"]), transfers)
        yield from watchlist.flows(block)


def sum_exactly(frame: pl.DataFrame, by: Sequence[str], columns: Sequence[str]) -> pl.DataFrame:
    """Sums of base units (text, null for none) in groups: exact, whatever their size, without a Python int a row.

    Parameters
    ----------
    by : columns of the groups
    columns : of amounts; the sums take their place, as text, "0" where there is nothing
    """
    longest = max((int(frame[name].str.len_bytes().max() or 1) for name in columns), default=1)  # type: ignore[arg-type]
    limbs = -(-longest // _DIGITS)
    parts = [
        pl.col(name).str.zfill(limbs * _DIGITS).str.slice(place * _DIGITS, _DIGITS).cast(pl.Int64).sum()
        .alias(f"{name} {place}")
        for name in columns
        for place in range(limbs)
    ]  # fmt: skip
    sums = frame.group_by(*by, maintain_order=True).agg(parts)
    return sums.select(
        *by,
        *(
            pl.Series(name, [
                str(sum(limb * 10 ** (_DIGITS * (limbs - 1 - place)) for place, limb in enumerate(row)))
                for row in sums.select(f"{name} {place}" for place in range(limbs)).iter_rows()
            ], dtype=pl.String)
            for name in columns
        ),
    )  # fmt: skip
