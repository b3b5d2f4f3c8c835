"""Rows of flows as the compiled fold takes them: parallel columns, in chain order within each chain."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["FlowRows", "RowBuilder"]


@dataclass(frozen=True, slots=True)
class FlowRows:
    """``n`` flows: asset and fusion records, times (UTC s), what happens, amounts (base units), destinations, flags."""

    slots: NDArray[np.int32]
    wallets: NDArray[np.int32]
    times: NDArray[np.int64]
    ops: NDArray[np.int8]
    amounts: NDArray[np.float64]
    keys: NDArray[np.uint64]
    flags: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.slots)

    def __getitem__(self, part: slice) -> FlowRows:
        return FlowRows(
            self.slots[part],
            self.wallets[part],
            self.times[part],
            self.ops[part],
            self.amounts[part],
            self.keys[part],
            self.flags[part],
        )


class RowBuilder:
    """Collects rows one by one (a live block)."""

    def __init__(self) -> None:
        self._rows: list[tuple[int, int, int, int, float, int, int]] = []

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, slot: int, wallet: int, time: int, op: int, amount: float, key: int = 0, flags: int = 0) -> int:
        """Append a row and return its place."""
        self._rows.append((slot, wallet, time, op, amount, key, flags))
        return len(self._rows) - 1

    def build(self) -> FlowRows:
        """The columns."""
        columns = list(zip(*self._rows, strict=True)) or [()] * 7
        kinds = (np.int32, np.int32, np.int64, np.int8, np.float64, np.uint64, np.uint8)
        return FlowRows(*(np.array(column, kind) for column, kind in zip(columns, kinds, strict=True)))
