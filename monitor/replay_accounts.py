"""Replay of account chains, column by column: flows, admission and rows as a live block would give them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from monitor.assets import AssetNames
from monitor.engine import Engine, Hit
from monitor.fold import IN, OUT, SPEND, TELL, TRUSTED
from monitor.grouping import GAP
from monitor.intake import destination_key
from monitor.model import Direction, Flow
from monitor.policies.base import place_of
from monitor.replay_policies import PolicyBlock, judge
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
from monitor.rows import FlowRows
from monitor.trust import Trust

__all__ = ["replay_accounts"]


@dataclass(slots=True)
class _Accounts:
    """Columns of an account chain's rows, once a flow (a transfer between two watched wallets is two)."""

    row: NDArray[np.int64]  # row of the frame
    out: NDArray[np.bool_]
    wallet: NDArray[np.int32]
    asset: NDArray[np.int32]
    own: NDArray[np.bool_]
    fee: NDArray[np.bool_]


def replay_accounts(
    engine: Engine,
    chain: str,
    frame: pl.DataFrame,
    names: AssetNames,
    told: pl.DataFrame | None,
    result: Replayed,
) -> Evidence:
    """Fold the rows of one account chain (in chain order); ``told`` holds after its blocks. Counts go to ``result``."""
    wallet_ids = sorted(engine.watchlist.wallets)
    asset_names = frame["asset"].unique(maintain_order=True).to_list()
    flows = _account_flows(engine, chain, frame, wallet_ids, asset_names, result)
    slots = _admit(engine, chain, frame, flows, wallet_ids, asset_names)
    kept = slots >= 0
    result.ignored += int((~kept).sum())
    trust: dict[int, Trust] = {}
    rows = _account_rows(engine, chain, frame, flows, slots, kept, wallet_ids, trust)
    origin = flows.row[kept]
    exact = _policy_blocks(engine, chain, frame, flows, np.flatnonzero(kept), wallet_ids, trust, told)
    rows, origin = _with_told(engine, chain, frame, rows, origin, told)
    records, _ = engine.state.fold(rows)
    hits = [
        Hit(_flow_of(frame, int(origin[int(r["row"])]), chain, _wallet_name(engine, rows, int(r["row"]))), r)
        for r in records
    ]
    evidence = evidence_of(hits, names)
    judge(engine, chain, exact, names, evidence)
    _add_movements(evidence, engine, chain, frame, rows, origin)
    return evidence


def _numbers(column: pl.Series, numbers: Mapping[str, int], kind: pl.datatypes.DataTypeClass) -> NDArray[Any]:
    """The number of each text of a column, -1 (0 where unsigned) where it has none."""
    table = pl.DataFrame(
        {"text": list(numbers), "number": list(numbers.values())}, schema={"text": pl.String, "number": kind}
    )
    texts = pl.DataFrame({"text": column.cast(pl.String)})
    joined = texts.join(table, on="text", how="left", maintain_order="left")["number"]
    return joined.fill_null(0 if kind == pl.UInt64 else -1).to_numpy()


def _account_flows(
    engine: Engine,
    chain: str,
    frame: pl.DataFrame,
    wallet_ids: Sequence[str],
    asset_names: Sequence[str],
    result: Replayed,
) -> _Accounts:
    index = {name: place for place, name in enumerate(wallet_ids)}
    sender, receiver, starter = (
        engine.watchlist.owners(chain, frame[name], index) for name in ("from_address", "to_address", "tx_from")
    )
    unknown = frame["tx_from"].is_null().to_numpy()
    moves = frame["amount"].to_numpy() > 0
    fee = (frame["kind"] == "fee").to_numpy()
    internal = (sender == receiver) & (sender >= 0)
    out = np.flatnonzero((sender >= 0) & ~internal & moves)
    into = np.flatnonzero((receiver >= 0) & ~internal & moves)
    asset = _numbers(frame["asset"], {name: place for place, name in enumerate(asset_names)}, pl.Int32)
    row = np.concatenate([out, into])
    is_out = np.concatenate([np.ones(len(out), np.bool_), np.zeros(len(into), np.bool_)])
    order = np.lexsort((~is_out, row))
    row, is_out = row[order], is_out[order]
    wallet = np.where(is_out, sender[row], receiver[row]).astype(np.int32)
    own = unknown[row] | (starter[row] == wallet)
    _count(result, frame, wallet_ids, row, is_out & ~fee[row], wallet, np.flatnonzero(internal & moves), sender)
    return _Accounts(row, is_out, wallet, asset[row].astype(np.int32), own, fee[row])


def _count(
    result: Replayed,
    frame: pl.DataFrame,
    wallet_ids: Sequence[str],
    row: NDArray[np.int64],
    paid: NDArray[np.bool_],
    wallet: NDArray[np.int32],
    internal: NDArray[np.int64],
    sender: NDArray[np.int32],
) -> None:
    """Count flows by wallet."""
    if not len(frame):
        return
    times = frame["block_timestamp"].to_numpy()
    fee = (frame["kind"] == "fee").to_numpy()
    is_flow = ~fee[row]
    result.flows += int(is_flow.sum()) + len(internal)
    touched = np.concatenate([wallet[is_flow], sender[internal]])
    when = np.concatenate([times[row][is_flow], times[internal]])
    outs = np.concatenate([paid[is_flow], np.zeros(len(internal), np.bool_)])
    for place in np.unique(touched):
        mine = touched == place
        seen = result.wallets.setdefault(wallet_ids[int(place)], WalletCount())
        seen.see(int(mine.sum()), int(outs[mine].sum()), int(when[mine].min()), int(when[mine].max()))


def _admit(
    engine: Engine,
    chain: str,
    frame: pl.DataFrame,
    flows: _Accounts,
    wallet_ids: Sequence[str],
    asset_names: Sequence[str],
) -> NDArray[np.int32]:
    """The asset record of each flow, -1 where the flow is not real to its owner.

    Only the first flow of each kind (arrival, payment of its own, payment by others) of a wallet and asset can change
    what is admitted: those are put through `Intake.admit` in order, the rest follow from them.
    """
    n = len(flows.row)
    slots = np.full(n, -1, np.int32)
    if not n:
        return slots
    token = (frame["kind"] == "token").to_numpy()[flows.row]
    listed = np.array([engine.intake.is_listed(name) for name in asset_names], np.bool_)
    genuine = ~token | listed[flows.asset]
    kind = np.where(~flows.out, 0, np.where(flows.own | genuine, 1, 2))
    group = (flows.wallet.astype(np.int64) * (len(asset_names) + 1) + flows.asset) * 3 + kind
    _, firsts = np.unique(group, return_index=True)
    begins: dict[int, int] = {}  # wallet and asset -> first flow with a record
    proven: dict[int, int] = {}  # -> first flow after which the asset is proven
    slot_of: dict[int, int] = {}
    for at in np.sort(firsts):
        pair = int(group[at]) // 3
        wallet, asset = wallet_ids[int(flows.wallet[at])], asset_names[int(flows.asset[at])]
        slot = engine.intake.admit(
            wallet, chain, asset, out=bool(flows.out[at]), own=bool(flows.own[at]), genuine=bool(genuine[at])
        )
        if slot < 0:
            continue
        slot_of[pair] = slot
        begins.setdefault(pair, int(at))
        if engine.state.is_proven(slot):
            proven.setdefault(pair, -1)
        elif kind[at] == 1:
            proven[pair] = int(at)
            engine.state.prove(slot)
    pairs = group // 3
    unique_pairs, inverse = np.unique(pairs, return_inverse=True)
    slot_by = np.array([slot_of.get(int(p), -1) for p in unique_pairs], np.int32)[inverse]
    begin_by = np.array([begins.get(int(p), n) for p in unique_pairs], np.int64)[inverse]
    proven_by = np.array([proven.get(int(p), n) for p in unique_pairs], np.int64)[inverse]
    place = np.arange(n)
    real = (place >= begin_by) & ((kind != 2) | (place > proven_by))
    slots[real] = slot_by[real]
    return slots


def _account_rows(
    engine: Engine,
    chain: str,
    frame: pl.DataFrame,
    flows: _Accounts,
    slots: NDArray[np.int32],
    kept: NDArray[np.bool_],
    wallet_ids: Sequence[str],
    trust: dict[int, Trust],
) -> FlowRows:
    """Rows of the flows that are kept; ``trust`` takes in which of them (by position) are expected."""
    row, out, wallet = flows.row[kept], flows.out[kept], flows.wallet[kept]
    places = np.full(len(wallet_ids), -1, np.int32)
    for place in np.unique(wallet):
        name = wallet_ids[int(place)]
        places[place] = engine.state.wallet(name, chain, engine.watchlist.budget(name, chain))
    times = frame["block_timestamp"].to_numpy().astype(np.int64)[row]
    spend = out & (flows.fee[kept] | (frame["to_address"].fill_null("") == "").to_numpy()[row])
    ops = np.where(spend, SPEND, np.where(out, OUT, IN)).astype(np.int8)
    keys = np.zeros(len(row), np.uint64)
    pays = np.flatnonzero(ops == OUT)
    destinations = frame["to_address"].gather(row[pays])
    unique = destinations.unique()
    keys[pays] = _numbers(destinations, {text: destination_key(text) for text in unique.to_list()}, pl.UInt64)
    flags = np.zeros(len(row), np.uint8)
    for at in _listed_payments(engine, chain, pays, destinations):
        flow = _flow_of(frame, int(row[at]), chain, wallet_ids[int(wallet[at])])
        answer = engine.trust.answer(flow, int(times[at]))
        if answer:
            trust[at] = answer
            flags[at] = TRUSTED
    by_policy = np.array([engine.intake.is_exact(name) for name in wallet_ids], np.bool_)
    flags[(ops == OUT) & by_policy[wallet]] = TRUSTED
    amounts = frame["amount"].to_numpy()[row]
    return FlowRows(slots[kept], places[wallet], times, ops, amounts, keys, flags)


def _policy_blocks(
    engine: Engine,
    chain: str,
    frame: pl.DataFrame,
    flows: _Accounts,
    kept: NDArray[np.int64],
    wallet_ids: Sequence[str],
    trust: Mapping[int, Trust],
    told: pl.DataFrame | None,
) -> list[PolicyBlock]:
    """What policies see, block by block: flows of their wallets alone, and balances where the next row follows."""
    if not engine.policies.wallets or not len(kept):
        return []
    numbers = frame["block_number"].to_numpy()[flows.row[kept]]
    times = frame["block_timestamp"].to_numpy()[flows.row[kept]]
    blocks: dict[int, PolicyBlock] = {}
    for (wallet, asset, number), value in sorted(told_balances(engine, chain, told).items(), key=lambda i: i[0][2]):
        at = int(np.searchsorted(numbers, number, side="right"))
        if at < len(numbers) and wallet in engine.policies.wallets:
            block = blocks.setdefault(int(numbers[at]), PolicyBlock(int(numbers[at]), int(times[at])))
            block.told[wallet, chain, asset] = value
    wanted = np.array([name in engine.policies.wallets for name in wallet_ids], np.bool_)
    mine = np.flatnonzero(wanted[flows.wallet[kept]])
    for at, r in zip(mine.tolist(), frame[flows.row[kept[mine]]].iter_rows(named=True), strict=True):
        place = int(kept[at])
        direction = Direction.OUT if flows.out[place] else Direction.IN
        flow = _flow_from(r, chain, wallet_ids[int(flows.wallet[place])], direction)
        block = blocks.setdefault(int(numbers[at]), PolicyBlock(int(numbers[at]), int(times[at])))
        block.flows.append(flow)
        if at in trust:
            block.trust[place_of(flow)] = trust[at]
    return [blocks[number] for number in sorted(blocks)]


def _listed_payments(engine: Engine, chain: str, pays: NDArray[np.int64], destinations: pl.Series) -> list[int]:
    """Payments whose destination has a trusted entry, or is watched itself."""
    listed = pl.Series(sorted(engine.trust.listed(chain)), dtype=pl.String)
    look = destinations.is_in(listed.implode()).to_numpy()
    for members in engine.watchlist.watched(chain).lists:
        look = look | members.contains(destinations)
    return [int(at) for at in pays[look]]


def _with_told(
    engine: Engine,
    chain: str,
    frame: pl.DataFrame,
    rows: FlowRows,
    origin: NDArray[np.int64],
    told: pl.DataFrame | None,
) -> tuple[FlowRows, NDArray[np.int64]]:
    """Rows with told balances put where they hold: after their block, before the next flow."""
    inserts = told_balances(engine, chain, told)
    if not inserts:
        return rows, origin
    numbers = frame["block_number"].to_numpy()[origin] if len(origin) else np.zeros(0, np.int64)
    at, slots, wallets, values = [], [], [], []
    for (wallet, asset, number), value in sorted(inserts.items(), key=lambda item: (item[0][2], item[0])):
        slot = engine.intake.admit(wallet, chain, asset, out=False, own=True, genuine=True)
        if slot < 0:
            continue
        at.append(int(np.searchsorted(numbers, number, side="right")))
        slots.append(slot)
        wallets.append(engine.state.wallet(wallet, chain, engine.watchlist.budget(wallet, chain)))
        values.append(float(value))
    if len(rows):
        times = np.array([rows.times[min(place, len(rows) - 1)] for place in at], np.int64)
    else:
        return rows, origin
    return (
        FlowRows(
            np.insert(rows.slots, at, slots),
            np.insert(rows.wallets, at, wallets),
            np.insert(rows.times, at, times),
            np.insert(rows.ops, at, np.full(len(at), TELL, np.int8)),
            np.insert(rows.amounts, at, values),
            np.insert(rows.keys, at, np.zeros(len(at), np.uint64)),
            np.insert(rows.flags, at, np.zeros(len(at), np.uint8)),
        ),
        np.insert(origin, at, -1),
    )


def _wallet_name(engine: Engine, rows: FlowRows, at: int) -> str:
    return engine.state.wallet_name(int(rows.wallets[at]))


def _flow_of(frame: pl.DataFrame, row: int, chain: str, wallet: str) -> Flow:
    """The payment of one row, as a live reading would give it."""
    return _flow_from(frame.row(row, named=True), chain, wallet, Direction.OUT)


def _flow_from(r: Mapping[str, Any], chain: str, wallet: str, direction: Direction) -> Flow:
    transfer = transfer_of(r, chain)
    other = transfer.to_address if direction is Direction.OUT else transfer.from_addresses[0]
    return Flow(transfer, wallet, direction, other, transfer.value, int(r["block_timestamp"]))


def _add_movements(
    evidence: Evidence,
    engine: Engine,
    chain: str,
    frame: pl.DataFrame,
    rows: FlowRows,
    origin: NDArray[np.int64],
) -> None:
    """What went to suspects within the day before a finding."""
    suspects = by_suspect(evidence.findings)
    if not suspects:
        return
    keys = np.array(sorted({destination_key(address) for _, address in suspects}), np.uint64)
    paid = (rows.ops == OUT) & np.isin(rows.keys, keys)
    paid &= rows.times >= min(f.at for f in evidence.findings) - GAP
    for at in np.flatnonzero(paid):
        wallet = _wallet_name(engine, rows, int(at))
        add_early(evidence, suspects, _flow_of(frame, int(origin[at]), chain, wallet))
