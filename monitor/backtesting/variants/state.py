"""The state of many settings, and the fold over it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monitor.backtesting.variants import CannotShare
from monitor.backtesting.variants.loop import fold_variants
from monitor.backtesting.variants.parts import NEED_MARKS, NEED_PENDING, OVERFLOW, PENDING, Parts, empty_scratch
from monitor.features import table
from monitor.features.dtypes import ASSET, FUSION, HIT, PARAMETERS, TABLE
from monitor.fold import DONE, NEED_HITS, NEED_POOL
from monitor.model import Role
from monitor.parameters import parameters
from monitor.priors import PEER
from monitor.rows import OUT, FlowRows, RowBuilder
from monitor.state import EngineState, asset_key

__all__ = ["Given", "VariantState", "warm_up"]

Given = Callable[[str, str], NDArray[np.void]]
"""One record of `PARAMETERS` for a wallet on a chain."""

_OWN = ("budget", "warm_up", "floor")  # what each setting judges by alone: the rest decides what it measures


class _Shard:
    """What the wallets of one thread have for themselves: pools, marks, pending entries, scratch, hits."""

    def __init__(self, settings: int) -> None:
        self.own: dict[str, Any] = {
            "pool": table.new_pool(1 << 12),
            "used": np.zeros(1, np.int64),
            "mark_pool": table.new_pool(1 << 10),
            "mark_used": np.zeros(1, np.int64),
            "since": np.full((64, settings), -1, np.int64),
            "marks": np.zeros(1, np.int64),
            "pending": np.zeros(64 + settings, PENDING),
            "unlearned": np.zeros((64 + settings, settings), np.bool_),
            "waiting": np.zeros(1, np.int64),
            **empty_scratch(settings),
        }
        self._settings = settings

    def fold(self, shared: dict[str, Any], identities: NDArray[np.uint64], columns: Sequence[NDArray[Any]]) -> Any:
        """Fold rows of this shard's wallets; returns (hits, the setting of each)."""
        size = max(256, len(columns[0]) // 32) + self._settings
        hits, who, counts = np.zeros(size, HIT), np.zeros(size, np.int64), np.zeros(1, np.int64)
        begin = 0
        while True:
            parts = Parts(**shared, **self.own)
            slots, wallets, times, ops, amounts, keys, flags, marks = columns
            begin, why = fold_variants(
                begin, slots, wallets, times, ops, amounts, keys, flags, marks, identities, parts, PEER, hits, who,
                counts,
            )  # fmt: skip
            if why == DONE:
                return hits[: counts[0]], who[: counts[0]]
            if why == OVERFLOW:
                raise CannotShare
            if why == NEED_HITS:
                hits, who = _longer(hits), _longer(who)
            elif why == NEED_POOL:
                self._double("pool")
            elif why == NEED_MARKS:
                self._double("mark_pool", "since")
            elif why == NEED_PENDING:
                self._double("pending", "unlearned")

    def _double(self, *names: str) -> None:
        for name in names:
            self.own[name] = _longer(self.own[name])


def _longer(array: NDArray[Any], size: int | None = None) -> NDArray[Any]:
    """The same with room for twice as much along its first axis, or for ``size``."""
    new = np.zeros((size or 2 * len(array), *array.shape[1:]), array.dtype)
    new[: len(array)] = array
    return new


class VariantState:
    """Records of all wallets under S settings that differ in statistics alone.

    Parameters
    ----------
    names : whose records say what an asset's and a wallet's place is; it is never folded itself
    given : the parameters of each setting, shape (S,)
    threads : so many wallets are folded at a time
    """

    def __init__(self, names: EngineState, given: Sequence[Given], threads: int = 2) -> None:
        self._names, self._given = names, given
        self._shards = [_Shard(len(given)) for _ in range(threads)]
        n = len(given)
        self._wallets = self._assets = 0  # places that are set up
        self._classes: dict[bytes, NDArray[np.int16]] = {}
        self._identities = np.zeros(16, np.uint64)
        self._shared: dict[str, Any] = {
            "settings": np.zeros((16, n), PARAMETERS),
            "fusions": np.zeros((16, n), FUSION),
            "classes": np.zeros((16, n), np.int16),
            "mark_tables": np.zeros(16, TABLE),
            "assets": np.zeros((16, n), ASSET),
            "lanes": np.zeros((16, n), np.int16),
            "tables": np.zeros(16 * n, TABLE),
            "first": np.full(16, -1, np.int64),
        }

    def fold(self, rows: FlowRows) -> list[NDArray[np.void]]:
        """Fold rows; returns the hits of each setting, in the order of rows, as `EngineState.fold` would alone.

        Raises
        ------
        CannotShare : nothing of this state can be used any more
        """
        self._follow_names()
        columns = (rows.slots, rows.wallets, rows.times, rows.ops, rows.amounts, rows.keys, rows.flags, rows.marks)
        order = rows.by_wallet()  # a wallet's result is its own: one after another is faster
        shard_of = rows.wallets[order] % len(self._shards)
        places = [order[shard_of == number] for number in range(len(self._shards))]

        def work(shard: _Shard, mine: NDArray[np.int64]) -> Any:
            hits, who = shard.fold(self._shared, self._identities, [column[mine] for column in columns])
            hits["row"] = mine[hits["row"]]
            return hits, who

        with ThreadPoolExecutor(len(self._shards)) as pool:
            found = list(pool.map(work, self._shards, places))
        hits = np.concatenate([hits for hits, _ in found])
        who = np.concatenate([who for _, who in found])
        by_row = np.argsort(hits["row"], kind="stable")
        hits, who = hits[by_row], who[by_row]
        return [hits[who == number] for number in range(len(self._given))]

    def _follow_names(self) -> None:
        """Set up the records that were named since."""
        wallets, assets = self._names.wallet_places(), self._names.asset_places()
        self._reserve(len(wallets), ("settings", "fusions", "classes", "mark_tables"))
        self._reserve(len(assets), ("assets", "lanes", "first"))
        if len(assets) > len(self._identities):
            self._identities = _longer(self._identities, len(self._shared["assets"]))
        if len(self._shared["tables"]) < len(self._shared["assets"]) * len(self._given):
            self._shared["tables"] = _longer(
                self._shared["tables"], len(self._shared["assets"]) * len(self._given)
            )
        for place in range(self._wallets, len(wallets)):
            wallet, chain = wallets[place]
            records = np.concatenate([given(wallet, chain) for given in self._given])
            self._shared["settings"][place] = records
            key = records.tobytes()  # most wallets have the parameters of many others
            if key not in self._classes:
                self._classes[key] = _classes(records)
            self._shared["classes"][place] = self._classes[key]
        for place in range(self._assets, len(assets)):
            self._identities[place] = asset_key(assets[place][2])
            self._shared["first"][place] = -1
        self._wallets, self._assets = len(wallets), len(assets)

    def _reserve(self, wanted: int, names: Sequence[str]) -> None:
        for name in names:
            if wanted > len(self._shared[name]):
                self._shared[name] = _longer(self._shared[name], max(wanted, 2 * len(self._shared[name])))


def warm_up() -> None:
    """Compile (or load) the loop."""
    state, builder = EngineState(), RowBuilder()
    place = state.wallet("w", "c", parameters(Role.HOT, 1.0))
    builder.add(state.add_asset("w", "c", "a"), place, 0, OUT, 1.0)
    VariantState(state, [lambda wallet, chain: parameters(Role.HOT, 1.0)], threads=1).fold(builder.build())


def _classes(records: NDArray[np.void]) -> NDArray[np.int16]:
    """The first of those settings that measure alike, for each."""
    names = [name for name in PARAMETERS.names or () if name not in _OWN]
    seen: dict[bytes, int] = {}
    keys = [b"".join(record[name].tobytes() for name in names) for record in records]  # without what pads a record
    return np.array([seen.setdefault(key, number) for number, key in enumerate(keys)], np.int16)
