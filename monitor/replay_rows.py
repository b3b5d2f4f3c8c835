"""Rows of account chains from columns: what each flow does, whether it is expected, how its transaction looks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from monitor.engine import Engine
from monitor.intake import destination_keys
from monitor.model import Direction, Flow
from monitor.replayed import transfer_of
from monitor.rows import FOREIGN, IN, NATIVE, OUT, SPEND, TOUCH, TRUSTED, FlowRows, label_flag, pack_columns
from monitor.state import asset_key
from monitor.trust import Trust

__all__ = ["Accounts", "account_rows", "flow_from", "flow_of", "numbers_of"]


@dataclass(slots=True)
class Accounts:
    """Columns of an account chain's rows, once a flow (a transfer between two watched wallets is two)."""

    row: NDArray[np.int64]  # row of the frame
    out: NDArray[np.bool_]
    wallet: NDArray[np.int32]
    other: NDArray[np.int32]  # the wallet on the other side, -1 where nobody's is watched
    asset: NDArray[np.int32]
    own: NDArray[np.bool_]
    fee: NDArray[np.bool_]
    touch: NDArray[np.bool_]  # without value, known to be signed by the wallet


def numbers_of(column: pl.Series, numbers: Mapping[str, int], kind: pl.datatypes.DataTypeClass) -> NDArray[Any]:
    """The number of each text of a column, -1 (0 where unsigned) where it has none."""
    table = pl.DataFrame(
        {"text": list(numbers), "number": list(numbers.values())}, schema={"text": pl.String, "number": kind}
    )
    texts = pl.DataFrame({"text": column.cast(pl.String)})
    joined = texts.join(table, on="text", how="left", maintain_order="left")["number"]
    return joined.fill_null(0 if kind == pl.UInt64 else -1).to_numpy()


def account_rows(
    engine: Engine,
    chain: str,
    frame: pl.DataFrame,
    flows: Accounts,
    slots: NDArray[np.int32],
    kept: NDArray[np.bool_],
    wallet_ids: Sequence[str],
    trust: dict[int, Trust],
) -> FlowRows:
    """Rows of the flows that are kept; ``trust`` takes in which of them (by position) are expected."""
    row, out, wallet, touch = flows.row[kept], flows.out[kept], flows.wallet[kept], flows.touch[kept]
    places = np.full(len(wallet_ids), -1, np.int32)
    for place in np.unique(wallet):
        places[place] = engine.intake.place(wallet_ids[int(place)], chain)
    times = frame["block_timestamp"].to_numpy().astype(np.int64)[row]
    spend = out & (flows.fee[kept] | (frame["to_address"].fill_null("") == "").to_numpy()[row])
    ops = np.where(touch, TOUCH, np.where(spend, SPEND, np.where(out, OUT, IN))).astype(np.int8)
    keys = np.zeros(len(row), np.uint64)
    flags = np.zeros(len(row), np.uint8)
    paid = np.flatnonzero((ops == OUT) | (ops == TOUCH))
    keys[paid] = destination_keys(frame["to_address"].gather(row[paid]))
    pays = np.flatnonzero(ops == OUT)
    destinations = frame["to_address"].gather(row[pays])
    listed = destinations.is_in(pl.Series(sorted(engine.trust.listed(chain)), dtype=pl.String).implode()).to_numpy()
    others = flows.other[kept][pays]
    sisters = pays[_are_sisters(engine, wallet[pays], others, wallet_ids) & ~listed]
    trust.update(dict.fromkeys(sisters.tolist(), Trust.EXPECTED))
    flags[sisters] = TRUSTED
    for at in pays[listed].tolist():
        flow = flow_of(frame, int(row[at]), chain, wallet_ids[int(wallet[at])])
        answer = engine.trust.answer(flow, int(times[at]))
        if answer:
            trust[at] = answer
            flags[at] = TRUSTED
    by_policy = np.array([engine.intake.is_exact(name) for name in wallet_ids], np.bool_)
    flags[(ops == OUT) & by_policy[wallet]] = TRUSTED
    flags[(ops == OUT) & (flags == 0) & ~flows.own[kept]] |= FOREIGN
    _label(engine, chain, pays, destinations, times, flags)
    _mark_native(engine, frame, row, np.flatnonzero(ops == IN), wallet, wallet_ids, keys, flags)
    marks = _marks(frame, row, (ops == OUT) & (flags & (TRUSTED | FOREIGN) == 0))
    called = frame["asset"].gather(row[touch])
    marks[touch] = numbers_of(called, {name: asset_key(name) for name in called.unique().to_list()}, pl.UInt64)
    return FlowRows(slots[kept], places[wallet], times, ops, frame["amount"].to_numpy()[row], keys, flags, marks)


def _label(
    engine: Engine,
    chain: str,
    pays: NDArray[np.int64],
    destinations: pl.Series,
    times: NDArray[np.int64],
    flags: NDArray[np.uint8],
) -> None:
    """What labels say of the destinations of payments that nobody expects."""
    if engine.intake.labels is None or not len(pays):
        return
    kinds = engine.intake.labels.kinds(chain, destinations, times[pays])
    of_kind = np.array([label_flag(kind) for kind in range(int(kinds.max(initial=0)) + 1)], np.uint8)
    open_ = (flags[pays] & TRUSTED) == 0
    flags[pays[open_]] |= of_kind[kinds[open_]]


def _mark_native(
    engine: Engine,
    frame: pl.DataFrame,
    row: NDArray[np.int64],
    arrivals: NDArray[np.int64],
    wallet: NDArray[np.int32],
    wallet_ids: Sequence[str],
    keys: NDArray[np.uint64],
    flags: NDArray[np.uint8],
) -> None:
    """Who sent the chain's own coin to a personal wallet."""
    personal = np.array([engine.intake.is_personal(name) for name in wallet_ids], np.bool_)
    if not personal.any():
        return
    native = (frame["kind"] != "token").to_numpy()[row[arrivals]]
    mine = arrivals[native & personal[wallet[arrivals]]]
    keys[mine] = destination_keys(frame["from_address"].gather(row[mine]))
    flags[mine] = NATIVE


def _marks(frame: pl.DataFrame, row: NDArray[np.int64], own: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """What the transactions look like, 0 where the wallet did not sign or the table has none of the columns."""
    columns = ("fee_rate", "gas_limit", "n_outputs", "nonce")
    marks = np.zeros(len(row), np.uint64)
    if all(frame[name].null_count() == len(frame) for name in columns):
        return marks
    at = row[own]
    seen = (frame[name].gather(at).cast(pl.Float64).fill_null(np.nan).to_numpy() for name in columns)
    marks[own] = pack_columns(*seen)
    return marks


def _are_sisters(
    engine: Engine, payers: NDArray[np.int32], others: NDArray[np.int32], wallet_ids: Sequence[str]
) -> NDArray[np.bool_]:
    """Which payments go to a wallet of the same entity; both are places in ``wallet_ids``, -1 is nobody."""
    entities = [engine.watchlist.wallets[name].entity for name in wallet_ids]
    numbers = {name: number for number, name in enumerate(entities)}
    of = np.array([numbers[name] for name in entities], np.int64)
    same: NDArray[np.bool_] = (others >= 0) & (of[others] == of[payers])
    return same


def flow_of(frame: pl.DataFrame, row: int, chain: str, wallet: str) -> Flow:
    """The payment of one row, as a live reading would give it."""
    return flow_from(frame.row(row, named=True), chain, wallet, Direction.OUT)


def flow_from(r: Mapping[str, Any], chain: str, wallet: str, direction: Direction) -> Flow:
    transfer = transfer_of(r, chain)
    other = transfer.to_address if direction is Direction.OUT else transfer.from_addresses[0]
    return Flow(transfer, wallet, direction, other, transfer.value, int(r["block_timestamp"]))
