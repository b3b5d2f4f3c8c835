"""Replay of UTXO chains, transaction by transaction, since inputs must stay together."""

from __future__ import annotations

from itertools import groupby
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from monitor.assets import AssetNames
from monitor.engine import Engine, Hit
from monitor.model import Block, BlockRef, Direction, Flow, TransferKind
from monitor.replay_policies import Changes, PolicyBlock, judge
from monitor.replayed import (
    Evidence,
    Replayed,
    WalletCount,
    add_early,
    by_suspect,
    evidence_of,
    told_balances,
    transfer_of,
)
from monitor.returns import returns_of
from monitor.rows import FlowRows

__all__ = ["replay_utxo"]


def replay_utxo(
    engine: Engine,
    chain: str,
    frame: pl.DataFrame,
    names: AssetNames,
    told: pl.DataFrame | None,
    result: Replayed,
    changes: Changes | None = None,
) -> Evidence:
    """Fold the rows of one UTXO chain (in chain order, inputs on each output); ``told`` holds after its blocks.

    ``changes`` are those of control.
    """
    parts: list[FlowRows] = []
    flows: list[Flow | None] = []
    exact: list[PolicyBlock] = []
    pending = sorted(told_balances(engine, chain, told).items(), key=lambda item: (item[0][2], item[0]))
    for number, group in groupby(frame.iter_rows(named=True), key=lambda r: r["block_number"]):
        records = list(group)
        block = Block(
            BlockRef(chain, int(number), ""),
            "",
            int(records[0]["block_timestamp"]),
            tuple(transfer_of(r, chain) for r in records),
        )
        seen = engine.watchlist.flows(block)
        now: dict[tuple[str, str, str], int] = {}
        touched = {flow.wallet for flow in seen}  # a balance is told right before the wallet's own next flow
        for entry in [entry for entry in pending if entry[0][2] < number and entry[0][0] in touched]:
            pending.remove(entry)
            now[entry[0][0], chain, entry[0][1]] = entry[1]
        taken, proven = engine.intake.take(seen, (), now, block.timestamp)
        for slot in proven:
            engine.state.prove(slot)
        result.ignored += len(taken.shown)
        moved = [flow for flow in seen if flow.transfer.kind is not TransferKind.FEE]
        result.flows += len(moved)
        for seen_flow in moved:
            count = result.wallets.setdefault(seen_flow.wallet, WalletCount())
            count.see(1, int(seen_flow.direction is Direction.OUT), block.timestamp, block.timestamp)
        if engine.policies.judged:
            mine = [flow for flow in taken.real if flow.wallet in engine.policies.judged]
            if mine or now:
                exact.append(PolicyBlock(int(number), block.timestamp, mine, now, taken.trust))
        parts.append(taken.rows)
        flows.extend(taken.flows)
    rows = FlowRows(*(np.concatenate(columns) for columns in zip(*map(_columns, parts), strict=True)))
    hit_records, _ = engine.state.fold(rows)
    hits = []
    for r in hit_records:
        paid = flows[int(r["row"])]
        assert paid is not None  # only payments hit
        hits.append(Hit(paid, r))
    evidence = evidence_of(hits, names)
    judge(engine, chain, exact, names, evidence, changes)
    suspects = by_suspect(evidence.findings)
    named = {(chain, address) for _, address in suspects}
    for flow in filter(None, flows):
        if flow.direction is Direction.OUT:
            add_early(evidence, suspects, flow)
        elif named:
            evidence.returns += returns_of(flow, named)
    return evidence


def _columns(rows: FlowRows) -> tuple[NDArray[Any], ...]:
    return (rows.slots, rows.wallets, rows.times, rows.ops, rows.amounts, rows.keys, rows.flags, rows.marks)
