"""Replay of account chains, column by column: flows, admission and rows as a live block would give them."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from monitor.assets import AssetNames
from monitor.engine import Engine, Hit
from monitor.grouping import GAP
from monitor.intake import destination_key
from monitor.model import Direction
from monitor.policies.base import place_of
from monitor.replay_policies import Changes, PolicyBlock, judge
from monitor.replay_rows import Accounts, account_rows, flow_from, flow_of, numbers_of, with_told
from monitor.replay_unweighed import add_unweighed
from monitor.replayed import Evidence, Replayed, WalletCount, add_early, by_suspect, evidence_of, told_balances
from monitor.returns import returns_of
from monitor.rows import IN, OUT, FlowRows
from monitor.trust import Trust

__all__ = ["replay_accounts"]


def replay_accounts(
    engine: Engine,
    chain: str,
    frame: pl.DataFrame,
    names: AssetNames,
    told: pl.DataFrame | None,
    result: Replayed,
    changes: Changes | None = None,
) -> Evidence:
    """Fold the rows of one account chain (in chain order); ``told`` holds after its blocks. Counts go to ``result``.

    ``changes`` are those of control.
    """
    wallet_ids = sorted(engine.watchlist.wallets)
    asset_names = frame["asset"].unique(maintain_order=True).to_list()
    flows = _account_flows(engine, chain, frame, wallet_ids, asset_names, result)
    slots = _admit(engine, chain, frame, flows, wallet_ids, asset_names)
    kept = (slots >= 0) | flows.touch
    result.ignored += int((~kept).sum())
    trust: dict[int, Trust] = {}
    rows = account_rows(engine, chain, frame, flows, slots, kept, wallet_ids, trust)
    origin = flows.row[kept]
    exact = _policy_blocks(engine, chain, frame, flows, np.flatnonzero(kept), wallet_ids, trust, told)
    dealings = add_unweighed(engine, chain, frame, flows, kept, wallet_ids, trust, changes or {}, exact)
    rows, origin = with_told(engine, chain, frame, rows, origin, told)
    records, _ = engine.state.fold(rows)
    hits = [
        Hit(flow_of(frame, int(origin[int(r["row"])]), chain, _wallet_name(engine, rows, int(r["row"]))), r)
        for r in records
    ]
    evidence = evidence_of(hits, names)
    judge(engine, chain, exact.values(), names, evidence, changes, dealings)
    _add_movements(evidence, engine, chain, frame, rows, origin)
    _add_returns(evidence, engine, chain, frame, rows, origin)
    return evidence


def _account_flows(
    engine: Engine,
    chain: str,
    frame: pl.DataFrame,
    wallet_ids: Sequence[str],
    asset_names: Sequence[str],
    result: Replayed,
) -> Accounts:
    index = {name: place for place, name in enumerate(wallet_ids)}
    sender, receiver, starter = (
        engine.watchlist.owners(chain, frame[name], index) for name in ("from_address", "to_address", "tx_from")
    )
    unknown = frame["tx_from"].is_null().to_numpy()
    moves = frame["amount"].to_numpy() > 0
    fee = (frame["kind"] == "fee").to_numpy()
    internal = (sender == receiver) & (sender >= 0)
    somewhere = (frame["to_address"].fill_null("") != "").to_numpy()
    touches = (sender >= 0) & ~internal & ~moves & ~fee & (starter == sender) & somewhere
    out = np.flatnonzero((sender >= 0) & ~internal & (moves | touches))
    into = np.flatnonzero((receiver >= 0) & ~internal & moves)
    asset = numbers_of(frame["asset"], {name: place for place, name in enumerate(asset_names)}, pl.Int32)
    row = np.concatenate([out, into])
    is_out = np.concatenate([np.ones(len(out), np.bool_), np.zeros(len(into), np.bool_)])
    order = np.lexsort((~is_out, row))
    row, is_out = row[order], is_out[order]
    wallet = np.where(is_out, sender[row], receiver[row]).astype(np.int32)
    own = unknown[row] | (starter[row] == wallet)
    counted = moves[row]
    internals = np.flatnonzero(internal & moves)
    _count(result, frame, wallet_ids, row[counted], (is_out & ~fee[row])[counted], wallet[counted], internals, sender)
    return Accounts(row, is_out, wallet, asset[row].astype(np.int32), own, fee[row], ~counted)


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
    flows: Accounts,
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
    group[flows.touch] = -1
    _, firsts = np.unique(group, return_index=True)
    firsts = firsts[group[firsts] >= 0]
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
    real = ~flows.touch & (place >= begin_by) & ((kind != 2) | (place > proven_by))
    slots[real] = slot_by[real]
    return slots


def _policy_blocks(
    engine: Engine,
    chain: str,
    frame: pl.DataFrame,
    flows: Accounts,
    kept: NDArray[np.int64],
    wallet_ids: Sequence[str],
    trust: Mapping[int, Trust],
    told: pl.DataFrame | None,
) -> dict[int, PolicyBlock]:
    """What policies see, block by block: flows of their wallets alone, and balances where the next row follows."""
    if not engine.policies.wallets or not len(kept):
        return {}
    numbers = frame["block_number"].to_numpy()[flows.row[kept]]
    times = frame["block_timestamp"].to_numpy()[flows.row[kept]]
    blocks: dict[int, PolicyBlock] = {}
    for (wallet, asset, number), value in sorted(told_balances(engine, chain, told).items(), key=lambda i: i[0][2]):
        if wallet not in engine.policies.wallets:
            continue
        own = np.flatnonzero(flows.wallet[kept] == wallet_ids.index(wallet))
        later = own[np.searchsorted(numbers[own], number, side="right") :]
        if len(later):
            at = int(later[0])
            block = blocks.setdefault(int(numbers[at]), PolicyBlock(int(numbers[at]), int(times[at])))
            block.told[wallet, chain, asset] = value
    told_of = {name for block in blocks.values() for name, _, _ in block.told}
    silent = _silent(engine, chain, frame, flows, kept, wallet_ids, trust, told_of)
    wanted = np.array([name in engine.policies.wallets for name in wallet_ids], np.bool_)[flows.wallet[kept]]
    wanted &= ~flows.touch[kept]
    for at in np.flatnonzero(wanted & silent)[np.unique(numbers[wanted & silent], return_index=True)[1]].tolist():
        blocks.setdefault(int(numbers[at]), PolicyBlock(int(numbers[at]), int(times[at]))).has_hidden = True
    mine = np.flatnonzero(wanted & ~silent)
    for at, r in zip(mine.tolist(), frame[flows.row[kept[mine]]].iter_rows(named=True), strict=True):
        place = int(kept[at])
        direction = Direction.OUT if flows.out[place] else Direction.IN
        flow = flow_from(r, chain, wallet_ids[int(flows.wallet[place])], direction)
        block = blocks.setdefault(int(numbers[at]), PolicyBlock(int(numbers[at]), int(times[at])))
        block.flows.append(flow)
        if at in trust:
            block.trust[place_of(flow)] = trust[at]
    return blocks


def _silent(
    engine: Engine,
    chain: str,
    frame: pl.DataFrame,
    flows: Accounts,
    kept: NDArray[np.int64],
    wallet_ids: Sequence[str],
    trust: Mapping[int, Trust],
    told_of: Container[str],
) -> NDArray[np.bool_]:
    """Flows (by place in ``kept``) that no policy needs to see, since they decide nothing and change no record.

    These are expected payments, fees and arriving tokens of wallets that only deposit fleets judge, where no balance
    must be carried on. The first flow of a wallet stays: it says since when the wallet is known.
    """
    quiet = np.array(
        [name not in told_of and engine.policies.is_quiet(name, chain) for name in wallet_ids], np.bool_
    )[flows.wallet[kept]]
    expected = np.zeros(len(kept), np.bool_)
    expected[list(trust)] = True
    token = (frame["kind"] == "token").to_numpy()[flows.row[kept]]
    silent: NDArray[np.bool_] = quiet & (expected | flows.fee[kept] | (~flows.out[kept] & token))
    silent[np.unique(flows.wallet[kept], return_index=True)[1]] = False
    return silent


def _wallet_name(engine: Engine, rows: FlowRows, at: int) -> str:
    return engine.state.wallet_name(int(rows.wallets[at]))


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
        add_early(evidence, suspects, flow_of(frame, int(origin[at]), chain, wallet))


def _add_returns(
    evidence: Evidence,
    engine: Engine,
    chain: str,
    frame: pl.DataFrame,
    rows: FlowRows,
    origin: NDArray[np.int64],
) -> None:
    """What suspects sent to a wallet after the first finding."""
    named = sorted({f.destination for f in evidence.findings if f.destination})
    if not named:
        return
    first = min((f.block_number for f in evidence.findings), default=0)
    sent = frame["from_address"].is_in(pl.Series(named, dtype=pl.String).implode()).fill_null(False).to_numpy()
    sent &= (frame["block_number"] >= first).to_numpy()
    arrived = np.flatnonzero(rows.ops == IN)
    suspects = {(chain, address) for address in named}
    for at in arrived[sent[origin[arrived]]].tolist():
        flow = flow_from(frame.row(int(origin[at]), named=True), chain, _wallet_name(engine, rows, at), Direction.IN)
        evidence.returns += returns_of(flow, suspects)
