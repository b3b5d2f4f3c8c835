"""The history of a few wallets through a fresh engine, to learn what it would have said of payments that never were."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from monitor.assets import AssetNames
from monitor.backtesting.history import Batch
from monitor.backtesting.page.given import Told
from monitor.backtesting.page.probe import Probe, Seen
from monitor.backtesting.page.windows import Window
from monitor.engine import Engine
from monitor.labels.load import load_book
from monitor.replay import Replay
from monitor.watchlist import Watchlist

__all__ = ["look_again"]

_UTXO = "bip122:"


def look_again(told: Told, windows: Sequence[Window]) -> list[Seen]:
    """Fold the flows of the windows' wallets again, and look where the windows say.

    What the statistics know of a wallet comes from its own flows alone, so all others are left out, and so are exact
    rules and detectors of the user's own: they learn nothing that a threshold of the statistics depends on.

    Returns
    -------
    what was seen of each window, in their order
    """
    probe = Probe(windows, [wallet.id for wallet in told.config.wallets if wallet.role.is_exact])
    if not windows:
        return probe.seen
    config = told.config
    watchlist = Watchlist(config.wallets)  # derived addresses that came into use are watched by now
    listed = set(config.assets) | {chain.network.asset for chain in config.chains}
    engine = Engine(watchlist, listed, None, load_book(config), config.detectors, probe)
    only = frozenset(window.track[0] for window in windows)
    work = Replay(engine, AssetNames(config.assets), told.told, None, told.controls, only, words=(False,))
    for batch in told.history.batches():
        work.feed(_coins_of(watchlist, batch, only) if batch.chain.startswith(_UTXO) else batch)
    work.finish()
    probe.finish()
    return probe.seen


def _coins_of(watchlist: Watchlist, batch: Batch, only: frozenset[str]) -> Batch:
    """Whole transactions that touch one of these wallets: those are read one by one, so that fewer take less time."""
    places = {name: 0 if name in only else -1 for name in watchlist.wallets}
    frame = batch.frame.with_row_index("row")
    found = []
    for side in (frame.select("row", pl.col("inputs").alias("address")).explode("address"),
                 frame.select("row", pl.col("to_address").alias("address"))):  # fmt: skip
        known = side.drop_nulls("address")
        found.append(known["row"].filter(pl.Series(watchlist.owners(batch.chain, known["address"], places) >= 0)))
    rows = pl.concat(found).unique().to_frame()
    key = ["block_number", "transaction_hash"]
    whole = frame.join(rows, on="row", how="semi").select(key).unique()
    return Batch(batch.chain, batch.frame.join(whole, on=key, how="semi", maintain_order="left", nulls_equal=True))
