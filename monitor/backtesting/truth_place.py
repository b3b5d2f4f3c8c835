"""Where the data has labelled incidents: their transactions, or the payments of their wallets in their time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from monitor.backtesting.history import Batch
from monitor.backtesting.truth import LASTS, Truth, TruthIncident, named
from monitor.config import Config
from monitor.watchlist import Watchlist

__all__ = ["First", "Placed", "place"]


@dataclass(frozen=True, slots=True)
class First:
    """A labelled incident's first transaction in the data, and the time of its last."""

    at: int
    chain: str
    block: int
    tx: str
    last: int


@dataclass(frozen=True, slots=True)
class Placed:
    """Labelled incidents and where the data has them: ``firsts`` by their ids, ``watched`` their ids."""

    truth: Truth
    firsts: Mapping[str, First]
    watched: frozenset[str]


def place(truth: Truth, config: Config, batches: Iterable[Batch]) -> Placed:
    """Find labelled incidents in the data: their transactions, else the payments of their wallets in their time.

    Raises
    ------
    ConfigError : an incident is on a chain of unknown name
    """
    truth = named(truth, {chain.name: chain.chain for chain in config.chains})
    watchlist = Watchlist(config.wallets)
    owners = {each.id: _wallets(each, config) for each in truth.incidents}
    watched = frozenset(name for name, wallets in owners.items() if wallets)
    listed_at: dict[str, First] = {}
    timed_at: dict[str, First] = {}
    wanted = [each for each in truth.incidents if each.id in watched]
    hashes = frozenset(tx for each in wanted for tx in each.transactions)
    for batch in batches if wanted else ():
        listed = _with_hash(batch.whole(), hashes) if hashes else batch.frame.clear()
        times = batch.frame["block_timestamp"]
        span = (times.min(), times.max())
        for each in wanted:
            if each.chains and batch.chain not in each.chains:
                continue
            if len(listed) and len(rows := listed.filter(listed["hash"].is_in(sorted(each.transactions)))):
                listed_at[each.id] = _earlier(listed_at.get(each.id), _first(Batch(batch.chain, rows)))
            if _meet(each, span) and len((paid := _during(each, owners[each.id], watchlist, batch)).frame):
                timed_at[each.id] = _earlier(timed_at.get(each.id), _first(paid))
    # Data may lack hashes, or these transactions: the labelled time, where it is told, finds the payments all the same.
    return Placed(truth, {**timed_at, **listed_at}, watched)


def _wallets(labelled: TruthIncident, config: Config) -> frozenset[str]:
    """Ids of the watched wallets that it is about."""
    ids = {wallet.id for wallet in config.wallets if not labelled.entity or wallet.entity == labelled.entity}
    return frozenset(ids.intersection(labelled.wallets) if labelled.wallets else ids)


def _earlier(known: First | None, new: First) -> First:
    if known is None:
        return new
    last = max(known.last, new.last)
    first = min(known, new, key=lambda item: (item.at, item.chain, item.block))
    return First(first.at, first.chain, first.block, first.tx, last)


def _with_hash(frame: pl.DataFrame, hashes: frozenset[str]) -> pl.DataFrame:
    """Rows of these transactions, with ``hash`` as labels have it."""
    keyed = frame.with_columns(hash=pl.col("transaction_hash").str.to_lowercase().str.strip_prefix("0x"))
    return keyed.filter(pl.col("hash").is_in(pl.Series(sorted(hashes)).implode()))


def _meet(labelled: TruthIncident, span: tuple[Any, Any]) -> bool:
    """Whether it has a time, and that a moment in common with a batch's."""
    if labelled.start is None or span[0] is None:
        return False
    return bool(labelled.start <= span[1] and span[0] <= _end(labelled))


def _end(labelled: TruthIncident) -> int:
    assert labelled.start is not None
    return labelled.end if labelled.end is not None else labelled.start + LASTS


def _during(labelled: TruthIncident, wallets: frozenset[str], watchlist: Watchlist, batch: Batch) -> Batch:
    """What these wallets paid in the labelled time."""
    near = batch.part(pl.col("block_timestamp").is_between(labelled.start, _end(labelled)))
    return near.part(_paid_by(wallets, watchlist, batch.chain, near.frame)) if len(near.frame) else near


def _first(found: Batch) -> First:
    """The first row of some, and the time of their last."""
    (row,), last = found.rows(np.zeros(1, np.int64)), found.frame["block_timestamp"].max()
    assert isinstance(last, int)
    tx = row["transaction_hash"] or ""
    return First(int(row["block_timestamp"]), found.chain, int(row["block_number"]), tx, last)


def _paid_by(wallets: frozenset[str], watchlist: Watchlist, chain: str, frame: pl.DataFrame) -> pl.Series:
    """Which rows spend coins of these wallets, fees apart."""
    places = {name: number for number, name in enumerate(sorted(watchlist.wallets))}
    mine = [number for name, number in places.items() if name in wallets]
    pays = frame["kind"] != "fee"
    if not chain.startswith("bip122:"):
        return pays & pl.Series(watchlist.owners(chain, frame["from_address"], places)).is_in(mine)
    inputs = frame.select(pl.int_range(pl.len()).alias("row"), "inputs").explode("inputs").drop_nulls("inputs")
    owners = pl.Series(watchlist.owners(chain, inputs["inputs"], places))
    rows = inputs["row"].filter(owners.is_in(mine)).unique()
    return pays & pl.Series(range(len(frame)), dtype=pl.Int64).is_in(rows.to_list())
