"""Replay of account chains, column by column: flows, admission and rows as a live block would give them, in batches."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from functools import partial

import numpy as np
import polars as pl
from numpy.typing import NDArray

from monitor.assets import AssetNames
from monitor.backtesting.history import Batch
from monitor.engine import Engine
from monitor.model import Direction
from monitor.policies.base import place_of
from monitor.replay_gather import AccountBatch, AccountGather, Fold, fold_of, gather_batch, lone_wallets
from monitor.replay_policies import Changes, PendingChanges, PolicyBlock, judge
from monitor.replay_recent import RecentPayments
from monitor.replay_rows import Accounts, WalletTable, account_rows, column_of, flow_from, is_nowhere
from monitor.replay_split import split
from monitor.replay_told import Due, PendingBalances, with_told
from monitor.replay_unweighed import add_unweighed
from monitor.replayed import Evidence, Replayed
from monitor.texts.numbers import Numbers
from monitor.trust import Trust

__all__ = ["AccountReplay"]


class AccountReplay:
    """Folds the rows of one account chain, batch by batch; how they are cut into batches changes nothing.

    Parameters
    ----------
    engine : its state goes on from batch to batch
    chain : CAIP-2
    names : what assets are called
    told : told balances of the chain, each holds after its block
    result : takes the counts
    changes : of control, in order of their blocks
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
        gathers: Sequence[AccountGather] = (),
    ) -> None:
        self._fold = fold or fold_of(engine)
        self._gathers = gathers or (AccountGather(names, lone_wallets(engine.watchlist)),)
        self._engine, self._chain, self._names, self._result = engine, chain, names, result
        self._wallets = WalletTable(engine, chain)
        self._only = np.array([only is None or name in only for name in self._wallets.ids], np.bool_)
        self._settled: dict[tuple[int, str], int] = {}  # proven records, by the wallet's place and the asset
        self._told = PendingBalances(engine, chain, told, only)
        self._changes = PendingChanges(engine, chain, changes or {}, only)
        self._paid = RecentPayments(chain)

    def feed(self, batch: Batch) -> None:
        """Fold a batch of whole blocks, in chain order."""
        frame = batch.frame
        if frame.is_empty():
            return
        engine, chain, wallet_ids = self._engine, self._chain, self._wallets.ids
        asset_names = frame["asset"].unique(maintain_order=True).to_list()
        nowhere = is_nowhere(frame["to_address"])
        flows = _account_flows(engine, chain, frame, self._wallets, asset_names, self._only, nowhere)
        numbers = frame["block_number"].to_numpy()[flows.row]
        told = self._told.due(flows, numbers, wallet_ids)
        slots = _admit(engine, chain, frame, flows, wallet_ids, asset_names, told, self._settled)
        kept = (slots >= 0) | flows.touch
        self._result.ignored += int((~kept).sum())
        trust: dict[int, Trust] = {}
        real = flows if kept.all() else flows[kept]
        mine = slots if real is flows else slots[kept]
        rows = account_rows(engine, chain, frame, real, mine, self._wallets, nowhere, trust)
        origin = real.row
        placed = self._told.placed(rows, numbers[kept])
        exact = _policy_blocks(engine, batch, flows, np.flatnonzero(kept), wallet_ids, trust, placed)
        last = int(frame["block_number"][-1])
        changes = self._changes.until(last)
        dealings = add_unweighed(engine, batch, flows, kept, wallet_ids, trust, self._changes.all, exact)
        rows, origin = with_told(rows, origin, placed)
        found = self._fold(rows)
        judged = judge(engine, chain, exact.values(), self._names, changes, dealings)
        gather_batch(AccountBatch(engine, batch, rows, origin), self._gathers, found, judged, self._paid)
        self._paid.forget(int(frame["block_timestamp"].max()))  # type: ignore[arg-type]

    def finish(self) -> list[Evidence]:
        """The evidence of each setting, with what is left: balances and changes of control that came last."""
        engine = self._engine
        rest = self._told.rest()
        if len(rest):
            self._fold(rest)
        self._wallets.count(self._result)
        judged = judge(engine, self._chain, (), self._names, self._changes.until(None))
        for gather in self._gathers:
            gather.end(engine, judged, self._paid)
        return [gather.evidence for gather in self._gathers]


def _account_flows(
    engine: Engine,
    chain: str,
    frame: pl.DataFrame,
    wallets: WalletTable,
    asset_names: Sequence[str],
    only: NDArray[np.bool_],
    nowhere: NDArray[np.bool_],
) -> Accounts:
    """Flows of a batch; they are counted by wallet. ``nowhere``: which rows have no receiver."""
    n, owners = len(frame), partial(engine.watchlist.owners, chain, places=wallets.numbers)
    sender, receiver = owners(frame["from_address"]), owners(frame["to_address"])
    unknown = frame["tx_from"].is_null().to_numpy()
    starter = np.full(n, -1, np.int32) if unknown.all() else owners(frame["tx_from"])
    asset = Numbers(asset_names).of(frame["asset"]) if len(asset_names) > 1 else np.zeros(n, np.int32)
    flows = Accounts.empty(2 * n)
    found = split(
        sender, receiver, starter, unknown, column_of(frame, "amount", np.float64),
        column_of(frame, "block_timestamp", np.int64), (frame["kind"] == "fee").to_numpy(), nowhere, asset, only,
        flows.row, flows.out, flows.wallet, flows.other, flows.asset, flows.own, flows.fee, flows.touch,
        wallets.counts, wallets.ends,
    )  # fmt: skip
    return flows[:found]


def _admit(
    engine: Engine,
    chain: str,
    frame: pl.DataFrame,
    flows: Accounts,
    wallet_ids: Sequence[str],
    asset_names: Sequence[str],
    told: Sequence[Due],
    settled: dict[tuple[int, str], int],
) -> NDArray[np.int32]:
    """The asset record of each flow, -1 where the flow is not real to its owner; ``told`` balances get theirs.

    Only the first flow of each kind (arrival, payment of its own, payment by others) of a wallet and asset can change
    what is admitted: those are put through `Intake.admit` in order, the rest follow from them. Nothing changes once an
    asset is proven: such records are remembered in ``settled``, and need not be asked for again.
    """
    many, n = len(asset_names), len(flows.row)
    if not n:
        return np.empty(0, np.int32)
    pair, pairs = _ranked(flows.wallet.astype(np.int64) * many + flows.asset, len(wallet_ids) * many)
    held = [(code // many, asset_names[code % many]) for code in pairs.tolist()]
    slot_of = np.array([settled.get(key, -1) for key in held], np.int32)
    known = slot_of >= 0
    if known.all():
        for due in told:
            due.admit(engine, chain)
        return np.where(flows.touch, np.int32(-1), slot_of[pair])
    genuine, kind = _kinds(engine, frame, flows, asset_names)
    begins, proven = np.where(known, 0, n), np.where(known, -1, n)  # flows from, and after which it is so
    waiting = list(reversed(told))
    for at in _firsts(np.where(flows.touch | known[pair], 3 * len(pairs), 3 * pair + kind), 3 * len(pairs)).tolist():
        while waiting and waiting[-1].before <= at:
            waiting.pop().admit(engine, chain)
        place = pair[at]
        holder, asset = held[place]
        slot = engine.intake.admit(
            wallet_ids[holder], chain, asset,
            out=bool(flows.out[at]), own=bool(flows.own[at]), genuine=bool(genuine[at]),
        )  # fmt: skip
        if slot < 0:
            continue
        slot_of[place] = slot
        begins[place] = min(at, begins[place])
        if engine.state.is_proven(slot):
            settled[holder, asset] = slot
            proven[place] = -1 if proven[place] == n else proven[place]
        elif kind[at] == 1:
            settled[holder, asset] = slot
            proven[place] = at
            engine.state.prove(slot)
    for due in reversed(waiting):
        due.admit(engine, chain)
    at = np.arange(n)
    real = ~flows.touch & (at >= begins[pair]) & ((kind != 2) | (at > proven[pair]))
    return np.where(real, slot_of[pair], np.int32(-1))


def _kinds(
    engine: Engine, frame: pl.DataFrame, flows: Accounts, asset_names: Sequence[str]
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Whether the asset of each flow cannot be forged, and its kind: arrives, is paid as wallets do, by others."""
    token = (frame["kind"] == "token").to_numpy()[flows.row]
    listed = np.array([engine.intake.is_listed(name) for name in asset_names], np.bool_)
    genuine = ~token | listed[flows.asset]
    return genuine, np.where(~flows.out, 0, np.where(flows.own | genuine, 1, 2))


def _firsts(groups: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """The first place of each group, in order; what is in group ``count`` or above is in none."""
    n = len(groups)
    found = np.full(count + 1, n)
    found[groups[::-1]] = np.arange(n)[::-1]  # of several at one place the last counts
    return np.sort(found[:-1][found[:-1] < n])


def _ranked(numbers: NDArray[np.int64], below: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The place of each number among the different ones, and these in order; all are at least 0 and ``below``."""
    if below > 4 * len(numbers) + 4096:
        found, places = np.unique(numbers, return_inverse=True)
        return places, found
    there = np.zeros(below, np.bool_)
    there[numbers] = True
    return (np.cumsum(there) - 1)[numbers], np.flatnonzero(there)


def _policy_blocks(
    engine: Engine,
    batch: Batch,
    flows: Accounts,
    kept: NDArray[np.int64],
    wallet_ids: Sequence[str],
    trust: Mapping[int, Trust],
    told: Sequence[Due],
) -> dict[int, PolicyBlock]:
    """What policies see, block by block: flows of their wallets alone, and balances where the next row follows."""
    if not engine.policies.wallets or not len(kept):
        return {}
    chain, frame = batch.chain, batch.frame
    numbers = frame["block_number"].to_numpy()[flows.row[kept]]
    times = frame["block_timestamp"].to_numpy()[flows.row[kept]]
    blocks: dict[int, PolicyBlock] = {}
    for due in told:
        if due.wallet in engine.policies.wallets:
            at = due.row
            block = blocks.setdefault(int(numbers[at]), PolicyBlock(int(numbers[at]), int(times[at])))
            block.told[due.wallet, chain, due.asset] = due.value
    told_of = {name for block in blocks.values() for name, _, _ in block.told}
    silent = _silent(engine, chain, frame, flows, kept, wallet_ids, trust, told_of)
    wanted = np.array([name in engine.policies.wallets for name in wallet_ids], np.bool_)[flows.wallet[kept]]
    wanted &= ~flows.touch[kept]
    for at in np.flatnonzero(wanted & silent)[np.unique(numbers[wanted & silent], return_index=True)[1]].tolist():
        blocks.setdefault(int(numbers[at]), PolicyBlock(int(numbers[at]), int(times[at]))).has_hidden = True
    mine = np.flatnonzero(wanted & ~silent)
    for at, r in zip(mine.tolist(), batch.rows(flows.row[kept[mine]]), strict=True):
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
