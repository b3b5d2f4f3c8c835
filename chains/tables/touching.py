"""Which rows touch the watch set."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import polars as pl

from chains.tables.chain import ChainColumn
from monitor.addresses.compact import WatchedAddresses
from monitor.texts.numbers import Numbers

__all__ = ["touching", "touching_hex"]

_HEX = re.compile("0x[0-9a-f]*")


def touching(
    chain: ChainColumn,
    watch: Mapping[str, WatchedAddresses],
    addresses: Sequence[pl.Expr | None],
    lists: Sequence[pl.Expr | None] = (),
) -> pl.Expr:
    """Whether a row has an address that is watched on its own chain.

    Parameters
    ----------
    watch : CAIP-2 to canonical addresses
    addresses : one address a row each
    lists : lists of addresses
    """
    touches: list[pl.Expr] = []
    for name in sorted(watch):
        watched = watch[name]
        if not watched or chain.constant not in (None, name):
            continue
        hits = [_is_in(address, watched) for address in addresses if address is not None]
        hits += [_any_in(entries, watched) for entries in lists if entries is not None]
        hit = pl.any_horizontal([h.fill_null(False) for h in hits]) if hits else pl.lit(False)
        touches.append(hit if chain.constant else chain.is_one(name) & hit)
    return pl.any_horizontal(touches).fill_null(False) if touches else pl.lit(False)


def touching_hex(names: Sequence[str], watched: WatchedAddresses) -> pl.Expr | None:
    """Whether a row has a watched address in one of these columns as the file has them, in any letter case.

    None where that cannot be told without making the addresses of each row canonical.
    """
    if watched.lists or not all(map(_HEX.fullmatch, watched.single)):
        return None
    known = Numbers(sorted(watched.single), any_case=True)

    def hit(column: pl.Series) -> pl.Series:
        return pl.Series(known.has(column))

    hits = [pl.col(name).map_batches(hit, pl.Boolean, is_elementwise=True) for name in names]
    return pl.any_horizontal(hits)


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
