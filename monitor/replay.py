"""History through the engine: tables of transfers in, incidents out, by the same intake rules and the same fold.

Account chains go through column by column; UTXO chains transaction by transaction, since inputs must stay together.
Both end as the same rows that a live block would give (`tests/monitor/test_replay.py` holds them to it).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from monitor.assets import AssetNames
from monitor.engine import Engine
from monitor.findings import with_blind_spots
from monitor.incidents import Correlator
from monitor.replay_accounts import replay_accounts
from monitor.replay_policies import control_events, judge
from monitor.replay_utxo import replay_utxo
from monitor.replayed import (
    Evidence,
    Replayed,
    WalletCount,
)
from monitor.signals import reaches

__all__ = ["Replayed", "WalletCount", "replay"]


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
    balances : told balances: chain, address, asset, block_number (the balance holds after it), value (text)
    blind_spots : what the table cannot show, by chain
    controls : changes of control in chain order, see `monitor.replay_policies.control_events`
    """
    result = Replayed(Correlator(reaches(engine.watchlist)))
    found: list[Evidence] = []
    changes = control_events(controls)
    for chain in sorted({*frame["chain"].unique().to_list(), *changes}):
        part = _placed(frame.filter(pl.col("chain") == chain))
        told = balances.filter(pl.col("chain") == chain) if balances is not None else None
        if part.is_empty():
            found.append(Evidence())
            judge(engine, chain, (), names, found[-1], changes[chain])
        elif chain.startswith("bip122:"):
            found.append(replay_utxo(engine, chain, part, names, told, result, changes.get(chain)))
        else:
            found.append(replay_accounts(engine, chain, part, names, told, result, changes.get(chain)))
        blind = (blind_spots or {}).get(chain, ())
        found[-1].findings = [with_blind_spots(finding, blind) for finding in found[-1].findings]
    _correlate(engine, result.correlator, found)
    return result


def _placed(frame: pl.DataFrame) -> pl.DataFrame:
    """Positions in the block: those of the table where they rise in chain order, else counted."""
    same, index = frame["block_number"].diff() == 0, frame["transfer_index"].fill_null(0)
    if not (same & (index.diff() <= 0)).any():
        return frame
    return frame.with_columns(transfer_index=pl.int_range(pl.len(), dtype=pl.Int64).over("block_number"))


def _correlate(engine: Engine, correlator: Correlator, found: Sequence[Evidence]) -> None:
    """All evidence into incidents."""
    entity = {wallet.id: wallet.entity for wallet in engine.watchlist.wallets.values()}
    for name in sorted(set(entity.values())):
        correlator.add(
            name,
            [f for evidence in found for f in evidence.findings if entity[f.wallet] == name],
            [m for evidence in found for m in evidence.movements if entity[m.wallet] == name],
            {key: left for evidence in found for key, left in evidence.balances.items()},
            [m for evidence in found for m in evidence.returns if entity[m.wallet] == name],
        )
