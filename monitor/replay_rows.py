"""Rows of account chains from columns: what each flow does, whether it is expected, how its transaction looks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from monitor.engine import Engine
from monitor.intake import destination_keys
from monitor.model import Direction, Flow
from monitor.replay_split import to_rows
from monitor.replayed import Replayed, WalletCount, transfer_of
from monitor.rows import FOREIGN, IN, NATIVE, OUT, TRUSTED, FlowRows, label_flag, pack_columns
from monitor.state import asset_key
from monitor.texts.numbers import Numbers
from monitor.trust import Trust

__all__ = ["Accounts", "WalletTable", "account_rows", "column_of", "flow_from", "flow_of", "is_nowhere"]

_LOOKS = ("fee_rate", "gas_limit", "n_outputs", "nonce")  # columns that tell transactions apart


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

    @classmethod
    def empty(cls, count: int) -> Accounts:
        """Columns to be filled."""
        flags = (np.empty(count, np.bool_) for _ in range(4))
        wallet, other, asset = (np.empty(count, np.int32) for _ in range(3))
        return cls(np.empty(count, np.int64), next(flags), wallet, other, asset, *flags)

    def __getitem__(self, part: slice | NDArray[np.bool_]) -> Accounts:
        return Accounts(*(getattr(self, field.name)[part] for field in fields(self)))


class WalletTable:
    """What rows of history ask of wallets, by their place among all ids in order.

    Attributes
    ----------
    ids : of all wallets, sorted
    exact : judged by policies alone
    personal : held by one person
    entity : number of the owner
    numbers : the place of each wallet by its id
    counts, ends : of all flows so far, see `monitor.replay_split.split`
    """

    def __init__(self, engine: Engine, chain: str) -> None:
        self.ids = sorted(engine.watchlist.wallets)
        self.exact = np.array([engine.intake.is_exact(name) for name in self.ids], np.bool_)
        self.personal = np.array([engine.intake.is_personal(name) for name in self.ids], np.bool_)
        owners = [engine.watchlist.wallets[name].entity for name in self.ids]
        numbers = {name: number for number, name in enumerate(owners)}
        self.entity = np.array([numbers[name] for name in owners], np.int64)
        self.numbers = {name: place for place, name in enumerate(self.ids)}
        self.counts, self.ends = np.zeros((len(self.ids), 2), np.int64), np.zeros((len(self.ids), 2), np.int64)
        self.ends[:, 0] = np.iinfo(np.int64).max
        self._places = np.full(len(self.ids), -1, np.int32)
        self._engine, self._chain = engine, chain

    def places(self, wallets: NDArray[np.int32]) -> NDArray[np.int32]:
        """The fusion record of each wallet, made for these where they have none: by place, -1 for others."""
        for wallet in np.flatnonzero((np.bincount(wallets, minlength=len(self.ids)) > 0) & (self._places < 0)).tolist():
            self._places[wallet] = self._engine.intake.place(self.ids[wallet], self._chain)
        return self._places

    def count(self, result: Replayed) -> None:
        """Add what was counted to the result."""
        result.flows += int(self.counts[:, 0].sum())
        for place in np.flatnonzero(self.counts[:, 0]).tolist():
            seen = result.wallets.setdefault(self.ids[place], WalletCount())
            seen.see(*self.counts[place].tolist(), *self.ends[place].tolist())


def account_rows(
    engine: Engine,
    chain: str,
    frame: pl.DataFrame,
    flows: Accounts,
    slots: NDArray[np.int32],
    wallets: WalletTable,
    nowhere: NDArray[np.bool_],
    trust: dict[int, Trust],
) -> FlowRows:
    """Rows of flows that are kept; ``trust`` takes in which of them (by position) are expected.

    Parameters
    ----------
    nowhere : which rows of the frame have no receiver
    """
    row, wallet, touch, n = flows.row, flows.wallet, flows.touch, len(flows.row)
    receivers, amounts = frame["to_address"], column_of(frame, "amount", np.float64)
    rows = FlowRows.empty(n)
    rows.slots[:] = slots
    times = column_of(frame, "block_timestamp", np.int64)
    to_rows(
        row, flows.out, wallet, flows.fee, touch, nowhere, times, amounts, wallets.places(wallet),
        rows.wallets, rows.times, rows.ops, rows.amounts,
    )  # fmt: skip
    ops, keys, flags = rows.ops, rows.keys, rows.flags
    touched = np.flatnonzero(touch)
    keys[touched] = destination_keys(receivers.gather(row[touched]))
    pays = np.flatnonzero(ops == OUT)
    destinations = receivers.gather(row[pays])
    keys[pays] = destination_keys(destinations)
    others = flows.other[pays]
    is_sister = (others >= 0) & (wallets.entity[others] == wallets.entity[wallet[pays]])
    is_listed = np.zeros(len(pays), np.bool_)
    if listed := sorted(engine.trust.listed(chain)):
        is_listed = destinations.is_in(pl.Series(listed, dtype=pl.String).implode()).to_numpy()
    sisters = pays[is_sister & ~is_listed]
    trust.update(dict.fromkeys(sisters.tolist(), Trust.EXPECTED))
    flags[sisters] = TRUSTED
    for at in pays[is_listed].tolist():
        flow = flow_of(frame, int(row[at]), chain, wallets.ids[int(wallet[at])])
        answer = engine.trust.answer(flow, int(rows.times[at]))
        if answer:
            trust[at] = answer
            flags[at] = TRUSTED
    if wallets.exact.any():
        flags[pays[wallets.exact[wallet[pays]]]] = TRUSTED
    if not flows.own.all():
        flags[pays[(flags[pays] == 0) & ~flows.own[pays]]] |= FOREIGN
    _label(engine, chain, pays, destinations, rows.times, flags)
    _mark_native(frame, row, ops, wallet, wallets, keys, flags)
    if any(frame[name].null_count() < len(frame) for name in _LOOKS):
        marked = pays[flags[pays] & (TRUSTED | FOREIGN) == 0]
        _mark(frame, row[marked], marked, rows.marks)
    called = frame["asset"].gather(row[touched])
    assets = called.unique().to_list()
    rows.marks[touched] = np.array([asset_key(name) for name in assets], np.uint64)[Numbers(assets).of(called)]
    return rows


def column_of(frame: pl.DataFrame, name: str, kind: type[np.generic]) -> NDArray[Any]:
    """A column of numbers as compiled code takes it, shape (n,): one that is lent by Polars is not to be changed, and
    so no other is; each compiled function then has one form."""
    found = frame[name].to_numpy().astype(kind, copy=False)
    found.flags.writeable = False
    return found


def is_nowhere(receivers: pl.Series) -> NDArray[np.bool_]:
    """Which rows have no receiver: shape (n,)."""
    found: NDArray[np.bool_] = (receivers == "").fill_null(True).to_numpy()
    return found


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
    if not kinds.any():
        return
    of_kind = np.array([label_flag(kind) for kind in range(int(kinds.max(initial=0)) + 1)], np.uint8)
    open_ = (flags[pays] & TRUSTED) == 0
    flags[pays[open_]] |= of_kind[kinds[open_]]


def _mark_native(
    frame: pl.DataFrame,
    row: NDArray[np.int64],
    ops: NDArray[np.int8],
    wallet: NDArray[np.int32],
    wallets: WalletTable,
    keys: NDArray[np.uint64],
    flags: NDArray[np.uint8],
) -> None:
    """Who sent the chain's own coin to a personal wallet."""
    if not wallets.personal.any():
        return
    arrivals = np.flatnonzero(ops == IN)
    native = (frame["kind"] != "token").to_numpy()[row[arrivals]]
    mine = arrivals[native & wallets.personal[wallet[arrivals]]]
    keys[mine] = destination_keys(frame["from_address"].gather(row[mine]))
    flags[mine] = NATIVE


def _mark(frame: pl.DataFrame, row: NDArray[np.int64], at: NDArray[np.int64], marks: NDArray[np.uint64]) -> None:
    """What the transactions of these rows look like, at their places."""
    seen = (frame[name].gather(row).cast(pl.Float64).fill_null(np.nan).to_numpy() for name in _LOOKS)
    marks[at] = pack_columns(*seen)


def flow_of(frame: pl.DataFrame, row: int, chain: str, wallet: str) -> Flow:
    """The payment of one row, as a live reading would give it but for its hash, which may not have been read."""
    return flow_from({"transaction_hash": None, **frame.row(row, named=True)}, chain, wallet, Direction.OUT)


def flow_from(r: Mapping[str, Any], chain: str, wallet: str, direction: Direction) -> Flow:
    transfer = transfer_of(r, chain)
    other = transfer.to_address if direction is Direction.OUT else transfer.from_addresses[0]
    return Flow(transfer, wallet, direction, other, transfer.value, int(r["block_timestamp"]))
