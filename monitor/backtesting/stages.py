"""The stages of a backtest after reading, as plain functions of plain data: they run in any process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from monitor.assets import AssetNames
from monitor.backtesting.collecting import put_off
from monitor.backtesting.history import Batch
from monitor.config import Config
from monitor.errors import StoreError
from monitor.model import Wallet
from monitor.replay import Replay, placed
from monitor.replayed import Evidence, WalletCount

__all__ = ["Lane", "OrderTask", "Ordered", "Share", "order", "replay_share", "shares"]


@dataclass(frozen=True)
class OrderTask:
    """A range of blocks to put in order; ``path`` is where its rows go, empty: they come back in memory."""

    part: Any  # chains.tables.arrange.Range
    wanted: Any  # chains.tables.task.Wanted
    path: str = ""


@dataclass(frozen=True)
class Ordered:
    """Rows of a range in chain order, their positions in the block rising.

    Attributes
    ----------
    counts : what `chains.tables.arrange.Arranged` says beside the rows
    late : `chains.tables.late.LateHashes`
    """

    chain: str
    counts: Any
    late: Any
    frame: pl.DataFrame | None = None
    path: str = ""

    def batch(self) -> Batch:
        """The rows."""
        if self.frame is not None:
            return Batch(self.chain, self.frame, self.late.whole)
        try:
            return Batch(self.chain, pl.read_ipc(self.path), self.late.whole)
        except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
            raise StoreError(f"{self.path}: rows that were put aside cannot be read: {error}") from None


def order(task: OrderTask) -> Ordered:
    """Put a range in chain order."""
    from dataclasses import replace

    from chains.tables.arrange import arrange

    found = arrange(task.part, task.wanted)
    frame, counts = placed(found.frame), replace(found, frame=pl.DataFrame())
    if not task.path:
        return Ordered(task.part.chain, counts, task.wanted.late, frame)
    try:
        frame.write_ipc(Path(task.path))
    except (OSError, pl.exceptions.PolarsError) as error:  # those of Polars have no strerror
        raise StoreError(f"{task.path}: rows cannot be put aside: {error}; name another folder by --work") from None
    return Ordered(task.part.chain, counts, task.wanted.late, None, task.path)


@dataclass(frozen=True)
class Share:
    """Some wallets, and all of history for them."""

    config: Config
    batches: tuple[Ordered, ...]
    told: pl.DataFrame | None
    controls: pl.DataFrame | None
    blind_spots: Mapping[str, Sequence[str]]
    assets: Mapping[str, tuple[str, int]]
    only: frozenset[str]


@dataclass
class Lane:
    """What a replay of some wallets found."""

    evidence: list[Evidence] = field(default_factory=list)
    flows: int = 0
    ignored: int = 0
    wallets: dict[str, WalletCount] = field(default_factory=dict)
    waiting: list[tuple[str, str, str]] = field(default_factory=list)


def shares(wallets: Sequence[Wallet], count: int) -> list[frozenset[str]]:
    """Wallets in at most ``count`` shares, those of an entity together, dealt out evenly, whatever their order.

    What is found of an entity depends on no other one: incidents are an entity's, and so is all that returns to it.
    """
    members: dict[str, list[str]] = {}
    for wallet in wallets:
        members.setdefault(wallet.entity, []).append(wallet.id)
    dealt: list[list[str]] = [[] for _ in range(count)]
    for entity in sorted(members, key=lambda name: (-len(members[name]), name)):
        min(dealt, key=len).extend(members[entity])
    return [frozenset(share) for share in dealt if share]


@put_off()
def replay_share(task: Share) -> Lane:
    """Replay some wallets through an engine of their own."""
    from monitor.app import make_engine, warm_up

    warm_up()
    engine = make_engine(task.config)
    names = AssetNames(task.config.assets)
    for asset, (symbol, decimals) in task.assets.items():
        names.tell(asset, symbol, decimals)
    work = Replay(engine, names, task.told, task.blind_spots, task.controls, task.only)
    for ordered in task.batches:
        work.feed(ordered.batch())
    found, result = work.finish(), work.result
    waiting = [entry for entry in engine.policies.waiting() if entry[1] in task.only]
    return Lane(found, result.flows, result.ignored, result.wallets, waiting)
