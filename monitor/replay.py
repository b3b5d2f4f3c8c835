"""History through the engine: batches of transfers in, evidence out, by the same intake rules and the same fold.

Account chains go through column by column; UTXO chains transaction by transaction, since inputs must stay together.
Both end as the same rows that a live block would give (`tests/monitor/test_replay.py` holds them to it). How history
is cut into batches changes nothing, and wallets may be replayed apart: what is found of one depends on no other.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

import numpy as np
import polars as pl

from monitor.assets import AssetNames
from monitor.backtesting.history import Batch
from monitor.engine import Engine
from monitor.findings import with_blind_spots
from monitor.grouping import suspect
from monitor.incidents import Correlator, movement_key
from monitor.model import Finding, Movement
from monitor.replay_accounts import AccountReplay
from monitor.replay_gather import AccountGather, Fold, UtxoGather, lone_wallets
from monitor.replay_policies import Changes, control_events
from monitor.replay_utxo import UtxoReplay
from monitor.replayed import Evidence, Replayed, WalletCount
from monitor.signals import reaches
from monitor.watchlist import Watchlist

_Of = TypeVar("_Of", Finding, Movement)

__all__ = ["Replay", "Replayed", "WalletCount", "by_entity", "correlate", "placed", "replay"]


class Replay:
    """Batches of history through one engine; chains one after another, sorted by name.

    Parameters
    ----------
    engine : its state goes on from batch to batch
    names : what assets are called
    balances : told balances: chain, address, asset, block_number (the balance holds after it), value (text)
    blind_spots : what the table cannot show, by chain
    controls : changes of control in chain order, see `monitor.replay_policies.control_events`
    only : wallets that are replayed, None for all
    fold : of one or several settings at once; the engine's own where it is not given
    words : for each setting, whether its findings say what people read, or only what counts
    """

    def __init__(
        self,
        engine: Engine,
        names: AssetNames,
        balances: pl.DataFrame | None = None,
        blind_spots: Mapping[str, Sequence[str]] | None = None,
        controls: pl.DataFrame | None = None,
        only: frozenset[str] | None = None,
        fold: Fold | None = None,
        words: Sequence[bool] = (True,),
    ) -> None:
        self.result = Replayed(Correlator(reaches(engine.watchlist)))
        self._engine, self._names, self._balances, self._only = engine, names, balances, only
        self._blind_spots = blind_spots or {}
        self._changes: dict[str, Changes] = control_events(controls)
        self._fold, self._words, self._lone = fold, words, lone_wallets(engine.watchlist)
        self._found: list[list[Evidence]] = [[] for _ in words]
        self._chain = ""
        self._part: AccountReplay | UtxoReplay | None = None

    def feed(self, batch: Batch) -> None:
        """Fold a batch of whole blocks (its positions in the block rise, see `placed`)."""
        if batch.chain != self._chain:
            self._end_chain(batch.chain)
        if self._part is None:
            self._begin_chain(batch.chain)
        assert self._part is not None
        self._part.feed(batch)

    def finish(self) -> list[Evidence]:
        """All evidence, by chain; `correlate` joins it into incidents."""
        self._end_chain(None)
        return self._found[0]

    def finish_all(self) -> list[list[Evidence]]:
        """The same of each setting."""
        self._end_chain(None)
        return self._found

    def _begin_chain(self, chain: str) -> None:
        told = self._balances.filter(pl.col("chain") == chain) if self._balances is not None else None
        engine, names = self._engine, [self._names if words else None for words in self._words]
        changes, given = self._changes.pop(chain, None), (self._only, self._fold)
        self._chain = chain
        if chain.startswith("bip122:"):
            coins = [UtxoGather(chain, each, self._lone) for each in names]
            self._part = UtxoReplay(engine, chain, self._names, told, self.result, changes, *given, coins)
        else:
            gathers = [AccountGather(each, self._lone) for each in names]
            self._part = AccountReplay(engine, chain, self._names, told, self.result, changes, *given, gathers)

    def _end_chain(self, following: str | None) -> None:
        """The chain is through; chains before the following one that have nothing but changes of control come next."""
        if self._part is not None:
            blind = self._blind_spots.get(self._chain, ())
            for found, evidence in zip(self._found, self._part.finish(), strict=True):
                evidence.findings = [with_blind_spots(finding, blind) for finding in evidence.findings]
                found.append(evidence)
            self._part = None
        for chain in sorted(self._changes):
            if following is None or chain < following:
                self._begin_chain(chain)
                self._end_chain("")


def placed(frame: pl.DataFrame) -> pl.DataFrame:
    """Positions in the block: those of the table in blocks where they rise in chain order, else counted."""
    numbers, index = (frame[name].fill_null(0).to_numpy() for name in ("block_number", "transfer_index"))
    falls = (numbers[1:] == numbers[:-1]) & (index[1:] <= index[:-1])
    if not falls.any():
        return frame
    blocks = pl.Series(np.unique(numbers[1:][falls])).implode()
    counted = pl.int_range(pl.len(), dtype=pl.Int64).over("block_number")
    return frame.with_columns(
        transfer_index=pl.when(pl.col("block_number").is_in(blocks)).then(counted).otherwise("transfer_index")
    )


def replay(
    engine: Engine,
    frame: pl.DataFrame,
    names: AssetNames,
    balances: pl.DataFrame | None = None,
    blind_spots: Mapping[str, Sequence[str]] | None = None,
    controls: pl.DataFrame | None = None,
) -> Replayed:
    """Fold a table of transfers and join what it shows into incidents.

    Parameters
    ----------
    frame : transfers that touch the watch list, in chain order (columns as `chains.tables` gives them)
    balances, blind_spots, controls : see `Replay`
    """
    work = Replay(engine, names, balances, blind_spots, controls)
    for chain in sorted(frame["chain"].unique().to_list()):
        work.feed(Batch(chain, placed(frame.filter(pl.col("chain") == chain))))
    correlate(engine, work.result.correlator, work.finish())
    return work.result


def correlate(
    engine: Engine, correlator: Correlator, found: Sequence[Evidence], entities: Collection[str] | None = None
) -> None:
    """All evidence into incidents, entity by entity."""
    for name, mine in by_entity(engine.watchlist, found):
        if entities is None or name in entities:
            correlator.add(name, mine.findings, mine.movements, mine.balances, mine.returns)


def by_entity(watchlist: Watchlist, found: Sequence[Evidence]) -> Iterator[tuple[str, Evidence]]:
    """The evidence of each entity with findings, by its name: those, and what was paid to whom they are about."""
    entity = {wallet.id: wallet.entity for wallet in watchlist.wallets.values()}
    findings = _by_entity(entity, (f for evidence in found for f in evidence.findings))
    movements = _by_entity(entity, (m for evidence in found for m in evidence.movements))
    returns = _by_entity(entity, (m for evidence in found for m in evidence.returns))
    balances = {key: left for evidence in found for key, left in evidence.balances.items()}
    for name in sorted(findings):
        suspects = {suspect(finding) for finding in findings[name]}
        paid = [movement for movement in movements.get(name, []) if suspect(movement) in suspects]
        left = {key: balances[key] for key in map(movement_key, paid) if key in balances}
        yield name, Evidence(findings[name], paid, left, returns.get(name, []))


def _by_entity(entity: Mapping[str, str], items: Iterable[_Of]) -> dict[str, list[_Of]]:
    found: dict[str, list[_Of]] = {}
    for item in items:
        found.setdefault(entity[item.wallet], []).append(item)
    return found
