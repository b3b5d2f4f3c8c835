"""Calibration: what history teaches, into the store, so that a live monitor starts warm.

The fold over history is the backtest's; here is what becomes of its state. `monitor.app` reads the tables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from monitor.engine import Engine
from monitor.errors import ConfigError, Problem
from monitor.features.dtypes import FUSION, MAXIMA_DAYS, STATISTICS
from monitor.findings import SAYS
from monitor.ids import iso
from monitor.marks import Mark, MarkState, mark_key, owner_of, read_mark, spool_prefix, write_mark
from monitor.model import BlockRef
from monitor.store import Commit, CoverageRange, Store

__all__ = ["SOURCE", "Learned", "Past", "Usual", "calibrate", "calibration_data", "learned"]

SOURCE = "history tables"  # of coverage that no endpoint gave


@dataclass(frozen=True, slots=True)
class Past:
    """The history of one chain: first and last block, and their times in UTC seconds."""

    chain: str
    first: int
    last: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Usual:
    """One threshold in words: the level that the maximum of 30 % of active days exceeds.

    ``share`` is of the typical balance, 0.08 for 8 %.
    """

    statistic: str
    says: str
    share: float


@dataclass(frozen=True, slots=True)
class Learned:
    """What is known of one wallet on one chain.

    ``days`` of history, ``maxima`` daily maxima kept of ``active`` days with a payment to somebody unfamiliar.
    ``on_from`` is when its statistics may alarm, UTC seconds.
    """

    wallet: str
    chain: str
    days: float
    active: int
    maxima: int
    on_from: int
    usual: tuple[Usual, ...]


def learned(engine: Engine) -> list[Learned]:
    """What the engine's state says of each wallet and chain, by name."""
    found = []
    for key, value in engine.dump():
        kind, *parts = key.decode().split("\x1f")
        if kind != "w" or len(value) != FUSION.itemsize:
            continue
        record = np.frombuffer(value, FUSION)[0]
        usual = tuple(
            Usual(name, SAYS.get(name, name), float(10.0 ** float(level)))
            for name, level in zip(STATISTICS, record["u"], strict=True)
        )
        days = (int(record["clock"]) - int(record["born"])) / 86400
        active = int(record["days"])
        found.append(
            Learned(parts[0], parts[1], days, active, min(active, MAXIMA_DAYS), int(record["warm_from"]), usual)
        )
    return sorted(found, key=lambda item: (item.wallet, item.chain))


async def calibrate(store: Store, engine: Engine, past: Sequence[Past], *, replace: bool = False) -> None:
    """Store the state that history left, in one commit.

    Parameters
    ----------
    store : open; no monitor runs on it
    engine : after the fold over history
    past : the chains of that history
    replace : take the place of what the store knows of the same wallets on these chains

    Raises
    ------
    ConfigError : the store knows these wallets or chains already, and ``replace`` is not set; nothing was changed
    StoreError : it cannot be read or written
    """
    chains = {item.chain: item for item in past}
    wallets = set(engine.watchlist.wallets)
    fresh = dict(engine.dump())
    mine = {owner for key in fresh if (owner := owner_of(key, wallets, chains)) is not None}
    stored = [item async for item in store.state()]
    old = [key for key, _ in stored if owner_of(key, wallets, chains) in mine]
    tips = {chain: await store.checkpoint(chain) for chain in chains}
    if not replace:
        _refuse_known(tips, old, stored, wallets, chains)
    delta: dict[bytes, bytes | None] = dict.fromkeys(old)
    delta.update(fresh)
    for chain, item in chains.items():
        delta.update((key, None) for key, _ in stored if key.startswith(spool_prefix(chain)))
        delta[mark_key(chain)] = write_mark(_mark(item, tips[chain], mine, fresh))
    notes = [note for item in past for note in engine.watchlist.derived.taken(BlockRef(item.chain, item.last, ""))]
    await _store(store, delta, chains, tips, notes)


def _refuse_known(
    tips: Mapping[str, BlockRef | None],
    old: Sequence[bytes],
    stored: Sequence[tuple[bytes, bytes]],
    wallets: set[str],
    chains: Mapping[str, Past],
) -> None:
    """ConfigError where calibrated state would take the place of other state."""
    hint = "--replace puts the state from history in its place"
    problems = [
        Problem(f"the store has followed {chain} up to block {tip.number}: {hint}")
        for chain, tip in sorted(tips.items())
        if tip is not None
    ]
    marked = {found[0] for key, value in stored if (found := read_mark(key, value)) is not None}
    known = sorted({owner for key in old if (owner := owner_of(key, wallets, chains)) is not None})
    for wallet, chain in known:
        if tips[chain] is None:
            what = "was calibrated before" if chain in marked else "is known to the store"
            problems.append(Problem(f"wallet {wallet} {what} on {chain}: {hint}"))
    if problems:
        raise ConfigError(problems)


def _mark(past: Past, tip: BlockRef | None, mine: set[tuple[str, str]], fresh: Mapping[bytes, bytes]) -> Mark:
    """How the chain begins: with whose balances to ask again."""
    stale = []
    for key in sorted(fresh):
        kind, *parts = key.decode("utf-8", "replace").split("\x1f")
        if kind == "a" and parts[1] == past.chain and (parts[0], parts[1]) in mine:
            stale.append((parts[0], parts[2]))
    return Mark(MarkState.CALIBRATED, past.last, past.end, since=past.start, stale=tuple(stale))


async def _store(
    store: Store,
    delta: Mapping[bytes, bytes | None],
    chains: Mapping[str, Past],
    tips: Mapping[str, BlockRef | None],
    notes: Sequence[tuple[str, bytes]],
) -> None:
    """One commit for all state. Blocks stored before cannot be undone any more: their undo is of another state."""
    for chain, tip in tips.items():
        if tip is not None:
            await store.commit(Commit(chain, None, final=tip.number))
    first, *_ = chains
    await store.commit(Commit(first, None, state=tuple(sorted(delta.items())), notes=tuple(notes)))
    for chain, item in chains.items():
        tip = tips[chain]
        if tip is None or item.last > tip.number:
            begin = item.first if tip is None else max(item.first, tip.number + 1)
            scanned = CoverageRange(chain, begin, item.last, SOURCE)
            await store.commit(Commit(chain, None, coverage=(scanned,)))


def calibration_data(
    report: Mapping[str, Any], found: Sequence[Learned], past: Sequence[Past], now: float, wallets: Sequence[str]
) -> dict[str, Any]:
    """What was learned, as plain data for people and scripts.

    Parameters
    ----------
    report : of the same history, see `monitor.report`
    now : wall clock, UTC seconds
    wallets : ids of all watched wallets
    """
    seen = {item["id"]: item for item in report["wallets"]}
    return {
        "schema": "heistwatch/calibration/1",
        "data": report["data"],
        "chains": [
            {
                "chain": item.chain,
                "first_block": item.first,
                "last_block": item.last,
                "first": iso(item.start),
                "last": iso(item.end),
                "gap_seconds": max(0, int(now) - item.end),
            }
            for item in past
        ],
        "incidents": len(report["incidents"]),
        "wallets": [
            {
                "id": item.wallet,
                "chain": item.chain,
                "days": round(item.days, 3),
                "flows_out": seen.get(item.wallet, {}).get("flows_out", 0),
                "active_days": item.active,
                "daily_maxima": item.maxima,
                "statistics_on": item.on_from <= now,
                "statistics_from": iso(item.on_from),
                "usual": [{"statistic": u.statistic, "says": u.says, "share": round(u.share, 6)} for u in item.usual],
                "incidents": seen.get(item.wallet, {}).get("incidents", 0),
            }
            for item in found
        ],
        "without_history": sorted(set(wallets) - {item.wallet for item in found}),
    }
