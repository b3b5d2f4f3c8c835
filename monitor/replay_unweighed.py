"""History for policies that need no exact balances: most rows only teach them who is dealt with, a few are judged.

Rows whose counterparty looks like another one are judged as a live block would be. All others go in as they are, in
order, without a flow for each: such wallets have millions of rows.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from monitor.backtesting.history import Batch
from monitor.engine import Engine
from monitor.lookalike import keys_of
from monitor.model import ControlKind, Direction
from monitor.policies.base import Dealing, place_of
from monitor.policies.counterparties import DAY
from monitor.replay_policies import Changes, PolicyBlock
from monitor.replay_rows import Accounts, flow_from
from monitor.trust import Trust
from monitor.watchlist import LURES

__all__ = ["Dealings", "add_unweighed"]

Dealings = tuple[Sequence[int], Sequence[Dealing]]
"""Rows that only teach, in chain order: the block number of each, and what it was."""


def add_unweighed(
    engine: Engine,
    batch: Batch,
    flows: Accounts,
    real: NDArray[np.bool_],
    wallet_ids: Sequence[str],
    trust: Mapping[int, Trust],
    changes: Changes,
    blocks: dict[int, PolicyBlock],
) -> Dealings:
    """Add what is judged to ``blocks``; returns the rest. Of weighed wallets, flows that are not real alone are added.

    Parameters
    ----------
    real : which flows are real to their owner, shape (n,)
    trust : payments that are expected, by their place among the real ones
    changes : of control; what wallets that gave an approval pay in tokens is judged, too
    """
    chain, frame = batch.chain, batch.frame
    unweighed = engine.policies.judged - engine.policies.wallets
    light = np.array([name in unweighed for name in wallet_ids], np.bool_)
    lured = np.array([name in engine.policies.suspicious for name in wallet_ids], np.bool_)
    approving = _approving(engine, chain, changes)
    teaching = np.array([name in engine.policies.dealing or name in approving for name in wallet_ids], np.bool_)
    mine = (light & teaching) | lured  # of the rest nothing is judged, and nobody remembers what they do
    if not mine.any():
        return (), ()
    wallet, row, out = _with_lures(engine, chain, frame, flows, wallet_ids)
    known = np.concatenate([real, np.zeros(len(row) - len(real), np.bool_)])
    skipped = np.concatenate([flows.fee | flows.touch, np.zeros(len(row) - len(real), np.bool_)])
    wanted = np.flatnonzero(mine[wallet] & ~skipped)
    wanted = wanted[np.argsort(row[wanted], kind="stable")]
    wallet, row, out, known = wallet[wanted], row[wanted], out[wanted], known[wanted]
    part = frame[row].select(
        "block_number", "block_timestamp", "asset", "kind", "value", wallet=pl.Series(wallet, dtype=pl.Int32),
        paid=pl.Series(out), other=pl.when(pl.Series(out)).then("to_address").otherwise("from_address").fill_null(""),
    )  # fmt: skip
    judged = _judged(engine, chain, part, known, wallet_ids, approving)
    places = np.cumsum(real) - 1
    ours = light[wallet]  # of other wallets every real flow is in its block already, but no lure
    shown = np.flatnonzero(judged & (ours | ~known))
    for at, r in zip(shown.tolist(), batch.rows(row[shown]), strict=True):
        direction = Direction.OUT if out[at] else Direction.IN
        flow = flow_from(r, chain, wallet_ids[int(wallet[at])], direction)
        number = int(r["block_number"])
        block = blocks.setdefault(number, PolicyBlock(number, int(r["block_timestamp"])))
        (block.flows if known[at] else block.shown).append(flow)
        answer = trust.get(int(places[wanted[at]])) if known[at] else None
        if answer:
            block.trust[place_of(flow)] = answer
    return _dealings(engine, part.filter(known & ~judged & ours), wallet_ids)


def _with_lures(
    engine: Engine, chain: str, frame: pl.DataFrame, flows: Accounts, wallet_ids: Sequence[str]
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.bool_]]:
    """Wallet, row and direction of all flows, and after them of transfers of nothing, which are no flows."""
    index = {name: place for place, name in enumerate(wallet_ids)}
    empty = ((frame["amount"] == 0) & frame["kind"].is_in([str(kind) for kind in LURES])).fill_null(False).to_numpy()
    empty[flows.row[flows.touch]] = False
    rows = np.flatnonzero(empty)
    none = frame[rows]
    sender, receiver = (engine.watchlist.owners(chain, none[name], index) for name in ("from_address", "to_address"))
    apart = sender != receiver
    given, got = np.flatnonzero((sender >= 0) & apart), np.flatnonzero((receiver >= 0) & apart)
    wallet = np.concatenate([flows.wallet, sender[given], receiver[got]]).astype(np.int32)
    row = np.concatenate([flows.row, rows[given], rows[got]])
    out = np.concatenate([flows.out, np.ones(len(given), np.bool_), np.zeros(len(got), np.bool_)])
    return wallet, row, out


def _judged(
    engine: Engine,
    chain: str,
    part: pl.DataFrame,
    known: NDArray[np.bool_],
    wallet_ids: Sequence[str],
    approving: Container[str],
) -> NDArray[np.bool_]:
    """Rows whose counterparty looks like another of the wallet, with all of the wallet's real rows in their blocks."""
    places = part["wallet"].unique().to_list()
    before = [(place, other) for place in places for other in engine.policies.dealt_with(wallet_ids[place], chain)]
    kept = pl.DataFrame(before, schema={"wallet": pl.Int32, "other": pl.String}, orient="row")
    rows = part.select("wallet", "other", "block_number", "kind", known=pl.Series(known))
    met = pl.concat([rows.select("wallet", "other", "known"), kept.with_columns(known=True)])
    alike = _alike(met.with_columns(key=keys_of(met["other"])).filter(pl.col("key").is_not_null()))
    mine = [place for place in places if wallet_ids[place] in approving]
    strange = pl.col("alike").fill_null(False) | (
        pl.col("wallet").is_in(mine) & pl.col("known") & (pl.col("kind") == "token")
    )
    rows = rows.join(alike, on=["wallet", "other"], how="left", maintain_order="left").with_columns(strange=strange)
    if not rows["strange"].any():
        return np.zeros(len(rows), np.bool_)
    beside = pl.col("strange").any().over("wallet", "block_number") & pl.col("known")
    found = rows.select(pl.col("strange") | beside).to_series()
    judged: NDArray[np.bool_] = found.to_numpy()
    return judged


def _alike(met: pl.DataFrame) -> pl.DataFrame:
    """Wallets and addresses that look like another one that the wallet deals with; ``alike`` is true.

    Parameters
    ----------
    met : wallet, other, key, and whether the wallet deals with it (known), in any order, also more than once
    """
    place = ["wallet", "key"]
    ends = met.group_by(place).agg(pl.col("other").min().alias("one"), pl.col("other").max().alias("two"))
    crowded = met.join(ends.filter(pl.col("one") != pl.col("two")), on=place, how="semi")  # few
    others = crowded.group_by(*place, "other").agg(pl.col("known").any())
    known = pl.col("known").cast(pl.Int64)
    return others.filter(known.sum().over(place) > known).select("wallet", "other", alike=True)


def _approving(engine: Engine, chain: str, changes: Changes) -> set[str]:
    """Wallets that let somebody spend."""
    events = (event for _, events in changes.values() for event in events if event.kind is ControlKind.APPROVAL)
    owners = (engine.watchlist.wallet_at(chain, event.account) for event in events)
    return {owner.id for owner in owners if owner is not None}


def _dealings(engine: Engine, part: pl.DataFrame, wallet_ids: Sequence[str]) -> Dealings:
    same = ("wallet", "other", pl.col("block_timestamp") // DAY)  # the first payment of a day counts, the rest do not
    rows = part.filter(~pl.col("paid") | (pl.int_range(pl.len()).over("paid", *same) == 0))
    listed = [asset for asset in rows["asset"].unique().to_list() if engine.intake.is_listed(asset)]
    genuine = rows.select((pl.col("kind") != "token") | pl.col("asset").is_in(listed)).to_series()
    names = rows["wallet"].replace_strict(dict(enumerate(wallet_ids)), return_dtype=pl.String)
    columns = (names, rows["other"], rows["block_timestamp"], rows["asset"])
    values = map(int, rows["value"].to_list())
    found = zip(*(c.to_list() for c in columns), values, rows["paid"].to_list(), genuine.to_list(), strict=True)
    return rows["block_number"].to_list(), list(found)
