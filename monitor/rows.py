"""Rows of flows as the compiled fold takes them: parallel columns, in chain order within each chain.

``flags`` has single bits (`TRUSTED`, ...) in its lower half and what labels say of the destination (`UNLABELLED`,
`BAD`, `SERVICE`, `EXCHANGE`) in its upper. ``marks`` is what the transaction looks like, packed by `pack_marks`: 0
where the source says nothing, or where another account signed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "BAD",
    "EXCHANGE",
    "FOREIGN",
    "IN",
    "KIND_SHIFT",
    "NATIVE",
    "OUT",
    "SERVICE",
    "SPEND",
    "TELL",
    "TOUCH",
    "TRUSTED",
    "UNLABELLED",
    "FlowRows",
    "RowBuilder",
    "log_bin",
    "pack_marks",
]

# What a row does: coins arrive, are paid, are spent (fees), the balance is told, an address is called without coins.
IN, OUT, SPEND, TELL, TOUCH = 0, 1, 2, 3, 4

TRUSTED = 1  # flag: the destination is expected for this amount
NATIVE = 2  # flag: the chain's own coin
FOREIGN = 4  # flag: another account's transaction moved the coins
KIND_SHIFT = 4
UNLABELLED, BAD, SERVICE, EXCHANGE = 0, 1, 2, 3

_TOP = 15


def log_bin(value: float | None) -> int:
    """1 to 15 by doublings of two (1, 4, 16, ...), 0 where nothing is known.

    >>> log_bin(None), log_bin(1), log_bin(21_000), log_bin(10**12)
    (0, 1, 8, 15)
    """
    if value is None or value <= 0:
        return 0
    return min(_TOP, 1 + max(0, math.frexp(value)[1] - 1) // 2)


def pack_marks(
    fee_rate: float | None,
    gas_limit: int | None,
    n_outputs: int | None,
    version: int | None,
    flags: int | None,
    nonce: int | None,
) -> int:
    """A transaction's look in 64 bits; None is "the source did not say".

    Bits 0-7: log2 of the fee rate in quarters, plus 1 (whole numbers of the chain's smallest unit are enough: rates
    below 2**-8 are as good as none); 8-11 gas limit and 12-15 outputs by `log_bin`; 16-19 version + 1; 20-23 flags + 1;
    24: there is a nonce, 32-63: its lower 32 bits.
    """
    packed = 0
    if fee_rate is not None and fee_rate > 0:
        mantissa, exponent = math.frexp(fee_rate)
        quarter = 0 if mantissa < 0.5946 else 1 if mantissa < 0.7071 else 2 if mantissa < 0.8409 else 3
        packed |= min(255, max(1, 4 * (exponent + 8) + quarter + 1))
    packed |= log_bin(gas_limit) << 8 | log_bin(n_outputs) << 12
    if version is not None:
        packed |= min(_TOP, max(0, version) + 1) << 16
    if flags is not None:
        packed |= min(_TOP, (flags & 0xF) + 1) << 20
    if nonce is not None:
        packed |= 1 << 24 | (nonce & 0xFFFFFFFF) << 32
    return packed


@dataclass(frozen=True, slots=True)
class FlowRows:
    """``n`` flows: asset and fusion records, times (UTC s), what happens, amounts (base units), the other address,
    flags, marks."""

    slots: NDArray[np.int32]
    wallets: NDArray[np.int32]
    times: NDArray[np.int64]
    ops: NDArray[np.int8]
    amounts: NDArray[np.float64]
    keys: NDArray[np.uint64]
    flags: NDArray[np.uint8]
    marks: NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.slots)

    def __getitem__(self, part: slice) -> FlowRows:
        return FlowRows(*(getattr(self, field.name)[part] for field in fields(self)))


_KINDS = (np.int32, np.int32, np.int64, np.int8, np.float64, np.uint64, np.uint8, np.uint64)


class RowBuilder:
    """Collects rows one by one (a live block)."""

    def __init__(self) -> None:
        self._rows: list[tuple[int, int, int, int, float, int, int, int]] = []

    def __len__(self) -> int:
        return len(self._rows)

    def add(
        self, slot: int, wallet: int, time: int, op: int, amount: float, key: int = 0, flags: int = 0, marks: int = 0
    ) -> int:
        """Append a row and return its place."""
        self._rows.append((slot, wallet, time, op, amount, key, flags, marks))
        return len(self._rows) - 1

    def build(self) -> FlowRows:
        """The columns."""
        columns = list(zip(*self._rows, strict=True)) or [()] * len(_KINDS)
        return FlowRows(*(np.array(column, kind) for column, kind in zip(columns, _KINDS, strict=True)))
