"""History for policies that need no exact balances: most rows only teach them who is dealt with, a few are judged.

Rows whose counterparty looks like another one are judged as a live block would be. All others go in as they are, in
order, without a flow for each: such wallets have millions of rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from monitor.engine import Engine
from monitor.lookalike import key_of
from monitor.model import Direction
from monitor.policies.base import Dealing, place_of
from monitor.replay_policies import PolicyBlock
from monitor.replay_rows import Accounts, flow_from
from monitor.trust import Trust

__all__ = ["Dealings", "add_unweighed"]

Dealings = list[tuple[int, Dealing]]
"""Rows that only teach, with their block numbers, in chain order."""


def add_unweighed(
    engine: Engine,
    chain: str,
    frame: pl.DataFrame,
    flows: Accounts,
    real: NDArray[np.bool_],
    wallet_ids: Sequence[str],
    trust: Mapping[int, Trust],
    blocks: dict[int, PolicyBlock],
) -> Dealings:
    """Add what is judged to ``blocks``; returns the rest.

    Parameters
    ----------
    real : which flows are real to their owner, shape (n,)
    trust : payments that are expected, by their place among the real ones
    """
    light = engine.policies.judged - engine.policies.wallets
    mine = np.array([name in light for name in wallet_ids], np.bool_)
    if not mine.any():
        return []
    wallet, row, out = _with_lures(engine, chain, frame, flows, wallet_ids)
    known = np.concatenate([real, np.zeros(len(row) - len(real), np.bool_)])
    skipped = np.concatenate([flows.fee | flows.touch, np.zeros(len(row) - len(real), np.bool_)])
    wanted = np.flatnonzero(mine[wallet] & ~skipped)
    wanted = wanted[np.argsort(row[wanted], kind="stable")]
    wallet, row, out, known = wallet[wanted], row[wanted], out[wanted], known[wanted]
    part = frame[row].select(
        "block_number", "block_timestamp", "asset", "kind", "value",
        other=pl.when(pl.Series(out)).then("to_address").otherwise("from_address").fill_null(""),
    )  # fmt: skip
    judged = _judged(engine, chain, part, wallet, known, wallet_ids)
    places = np.cumsum(real) - 1
    for at in np.flatnonzero(judged).tolist():
        r = frame.row(int(row[at]), named=True)
        direction = Direction.OUT if out[at] else Direction.IN
        flow = flow_from(r, chain, wallet_ids[int(wallet[at])], direction)
        number = int(r["block_number"])
        block = blocks.setdefault(number, PolicyBlock(number, int(r["block_timestamp"])))
        (block.flows if known[at] else block.shown).append(flow)
        answer = trust.get(int(places[wanted[at]])) if known[at] else None
        if answer:
            block.trust[place_of(flow)] = answer
    return _dealings(engine, part, wallet, out, np.flatnonzero(known & ~judged), wallet_ids)


def _with_lures(
    engine: Engine, chain: str, frame: pl.DataFrame, flows: Accounts, wallet_ids: Sequence[str]
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.bool_]]:
    """Wallet, row and direction of all flows, and after them of token transfers of nothing, which are no flows."""
    index = {name: place for place, name in enumerate(wallet_ids)}
    empty = ((frame["amount"] == 0) & (frame["kind"] == "token")).fill_null(False).to_numpy()
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
    wallet: NDArray[np.int32],
    known: NDArray[np.bool_],
    wallet_ids: Sequence[str],
) -> NDArray[np.bool_]:
    """Rows whose counterparty looks like another of the wallet, with all of the wallet's rows in their blocks."""
    judged = np.zeros(len(part), np.bool_)
    others = part["other"].to_numpy()
    numbers = part["block_number"].to_numpy()
    for place in np.unique(wallet).tolist():
        own = np.flatnonzero(wallet == place)
        addresses = set(others[own[known[own]]]) | engine.policies.dealt_with(wallet_ids[place], chain)
        seen: dict[str, set[str]] = {}
        for address in addresses:
            key = key_of(address)
            if key is not None:
                seen.setdefault(key, set()).add(address)
        strange = [
            address
            for address in set(others[own])
            if (key := key_of(address)) is not None and seen.get(key, set()) - {address}
        ]
        if strange:
            odd = own[np.isin(others[own].astype(str), np.array(strange))]
            judged[own[np.isin(numbers[own], numbers[odd]) & known[own]]] = True
            judged[odd] = True
    return judged


def _dealings(
    engine: Engine,
    part: pl.DataFrame,
    wallet: NDArray[np.int32],
    out: NDArray[np.bool_],
    rest: NDArray[np.int64],
    wallet_ids: Sequence[str],
) -> Dealings:
    listed = {asset: engine.intake.is_listed(asset) for asset in part["asset"].unique().to_list()}
    columns = part[rest]
    found = []
    for number, at, asset, kind, value, other, place, paid in zip(
        columns["block_number"].to_list(), columns["block_timestamp"].to_list(), columns["asset"].to_list(),
        columns["kind"].to_list(), columns["value"].to_list(), columns["other"].to_list(), wallet[rest].tolist(),
        out[rest].tolist(), strict=True,
    ):  # fmt: skip
        genuine = kind != "token" or listed[asset]
        found.append((int(number), Dealing(wallet_ids[place], other, int(at), asset, int(value), paid, genuine)))
    return found
