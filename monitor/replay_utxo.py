"""Replay of UTXO chains, transaction by transaction, since inputs must stay together; in batches."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from monitor.assets import AssetNames
from monitor.backtesting.history import Batch
from monitor.engine import Engine
from monitor.features.dtypes import HIT
from monitor.grouping import GAP
from monitor.intake import Taken
from monitor.model import Block, BlockRef, Direction, Flow, TransferKind
from monitor.replay_gather import Fold, UtxoGather, fold_of, lone_wallets
from monitor.replay_policies import Changes, PendingChanges, PolicyBlock, judge
from monitor.replayed import (
    Evidence,
    Replayed,
    WalletCount,
    told_balances,
    transfer_of,
)
from monitor.rows import FlowRows

_LATE = 2 * 3600  # seconds by which the times of blocks may go back

__all__ = ["UtxoReplay"]


class UtxoReplay:
    """Folds the rows of one UTXO chain, batch by batch; see `monitor.replay_accounts.AccountReplay`.

    Parameters
    ----------
    only : wallets that are replayed, None for all; flows of the others are left out
    fold : of one or several settings; the engine's own where it is not given
    gathers : the evidence of each setting
    """

    def __init__(
        self,
        engine: Engine,
        chain: str,
        names: AssetNames,
        told: pl.DataFrame | None,
        result: Replayed,
        changes: Changes | None = None,
        only: frozenset[str] | None = None,
        fold: Fold | None = None,
        gathers: Sequence[UtxoGather] = (),
    ) -> None:
        self._fold = fold or fold_of(engine)
        self._gathers = gathers or (UtxoGather(chain, names, lone_wallets(engine.watchlist)),)
        self._engine, self._chain, self._names, self._result, self._only = engine, chain, names, result, only
        balances = sorted(told_balances(engine, chain, told).items(), key=lambda item: (item[0][2], item[0]))
        self._balances = [entry for entry in balances if only is None or entry[0][0] in only]
        self._changes = PendingChanges(engine, chain, changes or {}, only)
        self._recent: list[Flow] = []  # payments since a day before the last block
        self._clock = 0

    def feed(self, batch: Batch) -> None:
        """Fold a batch of whole blocks, in chain order; inputs on each output."""
        if batch.frame.is_empty():
            return
        frame = batch.whole()
        engine = self._engine
        parts: list[FlowRows] = []
        flows: list[Flow | None] = []
        exact: list[PolicyBlock] = []
        for number, group in groupby(frame.iter_rows(named=True), key=lambda r: r["block_number"]):
            records = list(group)
            block = self._block(int(number), records)
            every = engine.watchlist.flows(block)
            taken, now = self._take(block, every)
            self._clock = max(self._clock, block.timestamp)
            if engine.policies.judged:
                mine = [flow for flow in taken.real if flow.wallet in engine.policies.judged]
                hidden = self._only is not None and any(self._moves_clock(flow) for flow in every)
                if mine or now or hidden:
                    exact.append(
                        PolicyBlock(int(number), block.timestamp, mine, now, taken.trust, has_hidden=hidden)
                    )
            parts.append(taken.rows)
            flows.extend(taken.flows)
        rows = FlowRows(*(np.concatenate(columns) for columns in zip(*map(_columns, parts), strict=True)))
        found = self._fold(rows)
        changes = self._changes.until(int(frame["block_number"][-1]))
        judged = judge(engine, self._chain, exact, self._names, changes)
        self._recent += [flow for flow in flows if flow is not None and flow.direction is Direction.OUT]
        for gather, exceeded in zip(self._gathers, found, strict=True):
            gather.take(flows, exceeded, judged, self._recent)
        self._recent = [flow for flow in self._recent if flow.timestamp >= self._clock - GAP - _LATE]

    def finish(self) -> list[Evidence]:
        """The evidence of each setting, with what is left: changes of control after the last block."""
        judged = judge(self._engine, self._chain, (), self._names, self._changes.until(None))
        for gather in self._gathers:
            gather.take((), np.zeros(0, HIT), judged, self._recent)
        return [gather.evidence for gather in self._gathers]

    def _block(self, number: int, records: list[dict[str, Any]]) -> Block:
        transfers = tuple(transfer_of(r, self._chain) for r in records)
        return Block(BlockRef(self._chain, number, ""), "", int(records[0]["block_timestamp"]), transfers)

    def _moves_clock(self, flow: Flow) -> bool:
        """Whether a flow of another share's wallet moves the clock that policies of a chain have in common."""
        return flow.wallet in self._engine.policies.wallets and flow.direction is not Direction.INTERNAL

    def _take(self, block: Block, every: Sequence[Flow]) -> tuple[Taken, dict[tuple[str, str, str], int]]:
        """Rows of a block, and the balances that are told before it."""
        engine, result, only = self._engine, self._result, self._only
        seen = [flow for flow in every if only is None or flow.wallet in only]
        now: dict[tuple[str, str, str], int] = {}
        touched = {flow.wallet for flow in seen}  # a balance is told right before the wallet's own next flow
        if self._balances:
            due = [e for e in self._balances if e[0][2] < block.ref.number and e[0][0] in touched]
            for entry in due:
                self._balances.remove(entry)
                now[entry[0][0], self._chain, entry[0][1]] = entry[1]
        taken, proven = engine.intake.take(seen, (), now, block.timestamp)
        for slot in proven:
            engine.state.prove(slot)
        result.ignored += len(taken.shown)
        moved = [flow for flow in seen if flow.transfer.kind is not TransferKind.FEE]
        result.flows += len(moved)
        for seen_flow in moved:
            count = result.wallets.setdefault(seen_flow.wallet, WalletCount())
            count.see(1, int(seen_flow.direction is Direction.OUT), block.timestamp, block.timestamp)
        return taken, now


def _columns(rows: FlowRows) -> tuple[NDArray[Any], ...]:
    return (rows.slots, rows.wallets, rows.times, rows.ops, rows.amounts, rows.keys, rows.flags, rows.marks)
