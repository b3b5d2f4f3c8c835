"""Told balances over history: each holds after its block, and is taken in right before the wallet's own next flow.

No other wallet's flow decides when: a wallet's result is its own, whoever else is in the table, and however the table
is cut into batches. One after which its wallet has no flow is taken in after the last one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from monitor.engine import Engine
from monitor.replay_rows import Accounts
from monitor.replayed import told_balances
from monitor.rows import TELL, FlowRows

__all__ = ["Due", "PendingBalances", "with_told"]


@dataclass(slots=True)
class Due:
    """A told balance on its way into the rows.

    Attributes
    ----------
    number : the block after which it holds
    value : base units, over all addresses of the wallet
    before : the wallet's first flow after that block, by its place in the batch
    slot : the asset's record, -1 until it is admitted (and where it cannot be)
    row : the wallet's first row after it, by its place among the rows of the batch
    """

    wallet: str
    asset: str
    number: int
    value: int
    before: int = -1
    slot: int = -1
    admitted: bool = False
    row: int = -1

    def admit(self, engine: Engine, chain: str) -> None:
        """Find or make the asset's record; once."""
        if not self.admitted:
            self.admitted = True
            self.slot = engine.intake.admit(self.wallet, chain, self.asset, out=False, own=True, genuine=True)


class PendingBalances:
    """Told balances of one chain that are not taken in yet.

    Parameters
    ----------
    told : chain, address, asset, block_number, value; None without any
    only : wallets whose balances count, None for all
    """

    def __init__(
        self, engine: Engine, chain: str, told: pl.DataFrame | None, only: frozenset[str] | None = None
    ) -> None:
        self._engine, self._chain = engine, chain
        found = sorted(told_balances(engine, chain, told).items(), key=lambda item: (item[0][2], item[0]))
        self._left: dict[str, list[Due]] = {}
        for (wallet, asset, number), value in found:
            if only is None or wallet in only:
                self._left.setdefault(wallet, []).append(Due(wallet, asset, number, value))
        self._last: dict[str, int] = {}  # time of each such wallet's last row

    def due(self, flows: Accounts, numbers: NDArray[np.int64], wallet_ids: Sequence[str]) -> list[Due]:
        """Those whose wallet has a flow after their block in this batch, in the order in which they are admitted.

        Parameters
        ----------
        numbers : block of each flow, shape (n,)
        """
        found: list[Due] = []
        places = {name: place for place, name in enumerate(wallet_ids)} if self._left else {}
        for wallet, left in self._left.items():
            own = np.flatnonzero(flows.wallet == places[wallet])
            for entry in left:
                later = int(np.searchsorted(numbers[own], entry.number, side="right"))
                if later < len(own):
                    entry.before = int(own[later])
                    found.append(entry)
        return sorted(found, key=lambda e: (e.before, e.number, e.wallet, e.asset))

    def placed(self, rows: FlowRows, numbers: NDArray[np.int64]) -> list[Due]:
        """Those whose wallet has a row after their block in this batch: they are taken in there, and pending no more.

        Parameters
        ----------
        numbers : block of each row, shape (n,)
        """
        found: list[Due] = []
        for wallet, left in list(self._left.items()):
            own = np.flatnonzero(rows.wallets == self._engine.intake.place(wallet, self._chain))
            if not len(own):
                continue
            self._last[wallet] = int(rows.times[own[-1]])
            for entry in list(left):
                later = int(np.searchsorted(numbers[own], entry.number, side="right"))
                if later < len(own):
                    entry.row = int(own[later])
                    left.remove(entry)
                    found.append(entry)
        return sorted(found, key=lambda e: (e.number, e.wallet, e.asset))

    def rest(self) -> FlowRows:
        """After the last batch: rows of those whose wallet had a row before their block, but none after it."""
        entries = [entry for left in self._left.values() for entry in left if entry.wallet in self._last]
        entries.sort(key=lambda e: (e.number, e.wallet, e.asset))
        for entry in entries:
            entry.admit(self._engine, self._chain)
        entries = [entry for entry in entries if entry.slot >= 0]
        self._left = {}
        n = len(entries)
        return FlowRows(
            np.array([entry.slot for entry in entries], np.int32),
            np.array([self._engine.intake.place(entry.wallet, self._chain) for entry in entries], np.int32),
            np.array([self._last[entry.wallet] for entry in entries], np.int64),
            np.full(n, TELL, np.int8),
            np.array([float(entry.value) for entry in entries], np.float64),
            np.zeros(n, np.uint64),
            np.zeros(n, np.uint8),
            np.zeros(n, np.uint64),
        )


def with_told(
    rows: FlowRows, origin: NDArray[np.int64], placed: Sequence[Due]
) -> tuple[FlowRows, NDArray[np.int64]]:
    """Rows with told balances put where they hold.

    Parameters
    ----------
    origin : row of the frame that each row comes from, -1 for balances; shape (n,)
    """
    entries = [entry for entry in placed if entry.slot >= 0]
    if not entries:
        return rows, origin
    at = [entry.row for entry in entries]
    n = len(at)
    return (
        FlowRows(
            np.insert(rows.slots, at, [entry.slot for entry in entries]),
            np.insert(rows.wallets, at, rows.wallets[at]),
            np.insert(rows.times, at, rows.times[at]),
            np.insert(rows.ops, at, np.full(n, TELL, np.int8)),
            np.insert(rows.amounts, at, [float(entry.value) for entry in entries]),
            np.insert(rows.keys, at, np.zeros(n, np.uint64)),
            np.insert(rows.flags, at, np.zeros(n, np.uint8)),
            np.insert(rows.marks, at, np.zeros(n, np.uint64)),
        ),
        np.insert(origin, at, -1),
    )
