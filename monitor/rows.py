"""Rows of flows as the compiled fold takes them: parallel columns, in chain order within each chain.

``flags`` has single bits (`TRUSTED`, ...) in its lower half and what labels say of the destination (`UNLABELLED`,
`BAD`, `SERVICE`, `EXCHANGE`) in its upper. ``marks`` is what the transaction looks like, packed by `pack_marks`: 0
where the source says nothing, or where another account signed. A `TOUCH` has no slot (-1), and which asset it is of in
``marks``.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monitor.labels.kind import LabelKind

__all__ = [
    "BAD",
    "EXCHANGE",
    "FOREIGN",
    "IN",
    "KIND_SHIFT",
    "NATIVE",
    "OUT",
    "SCRIPTS",
    "SERVICE",
    "SPEND",
    "TELL",
    "TOUCH",
    "TRUSTED",
    "UNLABELLED",
    "FlowRows",
    "RowBuilder",
    "count_bin",
    "count_range",
    "label_flag",
    "log_bin",
    "log_range",
    "pack_coin_marks",
    "pack_columns",
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
_QUARTERS = (0.5946, 0.7071, 0.8409)  # powers of two by quarters, from a half on
SCRIPTS = ("p2pkh", "p2sh", "p2wpkh", "p2wsh", "p2tr", "p2pk", "multisig", "mixed")  # 1 to 8; 9 is any other form
NONCE_TOLD, SCRIPT_TOLD = 1 << 24, 1 << 25
_OF_LABEL = {
    LabelKind.SANCTIONED: BAD, LabelKind.THEFT: BAD, LabelKind.SCAM: BAD, LabelKind.MIXER: BAD,
    LabelKind.BRIDGE: SERVICE, LabelKind.DEX: SERVICE, LabelKind.DEFI: SERVICE,
    LabelKind.EXCHANGE: EXCHANGE, LabelKind.CUSTODIAN: EXCHANGE,
}  # fmt: skip


def log_bin(value: float | None) -> int:
    """1 to 15 by doublings of two (1, 4, 16, ...), 0 where nothing is known.

    >>> log_bin(None), log_bin(1), log_bin(21_000), log_bin(10**12)
    (0, 1, 8, 15)
    """
    if value is None or value <= 0:
        return 0
    return min(_TOP, 1 + max(0, math.frexp(value)[1] - 1) // 2)


def log_range(place: int) -> tuple[int, int | None]:
    """The whole numbers from the first to the last of a bin of `log_bin`; None: no last.

    >>> log_range(1), log_range(8), log_range(15)
    ((1, 3), (16384, 65535), (268435456, None))
    """
    return 4 ** (place - 1), None if place == _TOP else 4**place - 1


def count_bin(count: int | None) -> int:
    """1, 2 and 3 as they are, then 4 to 15 by doublings; 0 where nothing is known.

    >>> [count_bin(n) for n in (None, 0, 1, 3, 4, 7, 8, 11_000)]
    [0, 0, 1, 3, 4, 4, 5, 15]
    """
    if not count or count < 0:
        return 0
    return count if count < 4 else min(_TOP, count.bit_length() + 1)


def count_range(place: int) -> tuple[int, int | None]:
    """The first and last number of a bin of `count_bin`; None: no last.

    >>> count_range(2), count_range(8), count_range(15)
    ((2, 2), (64, 127), (8192, None))
    """
    if place < 4:
        return place, place
    return 1 << (place - 2), None if place == _TOP else (1 << (place - 1)) - 1


def pack_coin_marks(
    fee_rate: float | None,
    n_inputs: int | None,
    n_outputs: int | None,
    version: int | None,
    flags: int | None,
    script_type: str,
) -> int:
    """`pack_marks` of a transaction that spends coins.

    Bits 8-11 are its inputs and 12-15 its outputs by `count_bin`; it has no nonce. Bit 25: the form of what it spends
    is known, and is the place in `SCRIPTS` (from 1 on) in bits 32-35.
    """
    packed = pack_marks(fee_rate, None, None, version, flags, None)
    packed |= count_bin(n_inputs) << 8 | count_bin(n_outputs) << 12
    if script_type:
        form = SCRIPTS.index(script_type) if script_type in SCRIPTS else len(SCRIPTS)
        packed |= SCRIPT_TOLD | (form + 1) << 32
    return packed


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
    24: there is a nonce, 32-63: its lower 32 bits. What spends coins has other fields: see `pack_coin_marks`.
    """
    packed = 0
    if fee_rate is not None and fee_rate > 0:
        mantissa, exponent = math.frexp(fee_rate)
        quarter = bisect_right(_QUARTERS, mantissa)
        packed |= min(255, max(1, 4 * (exponent + 8) + quarter + 1))
    packed |= log_bin(gas_limit) << 8 | log_bin(n_outputs) << 12
    if version is not None:
        packed |= min(_TOP, max(0, version) + 1) << 16
    if flags is not None:
        packed |= min(_TOP, (flags & 0xF) + 1) << 20
    if nonce is not None:
        packed |= NONCE_TOLD | (nonce & 0xFFFFFFFF) << 32
    return packed


def pack_columns(
    fee_rate: NDArray[np.float64], gas_limit: NDArray[np.float64], n_outputs: NDArray[np.float64],
    nonce: NDArray[np.float64],
) -> NDArray[np.uint64]:  # fmt: skip
    """`pack_marks` of many transactions; NaN is "the source did not say"."""
    known = np.nan_to_num(fee_rate, nan=0.0) > 0
    mantissa, exponent = np.frexp(np.where(known, fee_rate, 1.0))
    quarter = np.searchsorted(_QUARTERS, mantissa, side="right")
    fee = np.clip(4 * (exponent.astype(np.int64) + 8) + quarter + 1, 1, 255)
    packed = np.where(known, fee, 0).astype(np.uint64)
    packed |= _log_bins(gas_limit) << np.uint64(8) | _log_bins(n_outputs) << np.uint64(12)
    counted = ~np.isnan(nonce)
    low = np.where(counted, nonce, 0.0).astype(np.int64).astype(np.uint64) & np.uint64(0xFFFFFFFF)
    return packed | np.where(counted, np.uint64(NONCE_TOLD) | low << np.uint64(32), np.uint64(0))


def _log_bins(values: NDArray[np.float64]) -> NDArray[np.uint64]:
    known = np.nan_to_num(values, nan=0.0) > 0
    _, exponent = np.frexp(np.where(known, values, 1.0))
    bins = np.minimum(_TOP, 1 + np.maximum(0, exponent.astype(np.int64) - 1) // 2)
    return np.where(known, bins, 0).astype(np.uint64)


def label_flag(kind: int) -> int:
    """What the label kind of a destination (`monitor.labels.LabelKind`, 0 none) is in ``flags``.

    >>> from monitor.labels import LabelKind
    >>> label_flag(LabelKind.MIXER) >> KIND_SHIFT == BAD, label_flag(0)
    (True, 0)
    """
    return _OF_LABEL.get(LabelKind(kind), UNLABELLED) << KIND_SHIFT if kind else 0


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

    @classmethod
    def empty(cls, count: int) -> FlowRows:
        """Rows of zeros, to be filled."""
        columns: list[Any] = [np.zeros(count, kind) for kind in _KINDS]
        return cls(*columns)

    def by_wallet(self) -> NDArray[np.int64]:
        """An order of the rows, wallet after wallet, those of each in chain order: shape (n,)."""
        small = self.wallets.astype(np.uint16) if self.wallets.max(initial=0) < 1 << 16 else self.wallets
        return np.argsort(small, kind="stable")  # much faster for 16 bits

    def __getitem__(self, part: slice | NDArray[np.int64]) -> FlowRows:
        return FlowRows(*(column[part] for column in self._columns()))

    def _columns(self) -> list[NDArray[Any]]:
        return [getattr(self, field.name) for field in fields(self)]

    def taken(self, order: NDArray[np.int64], room: FlowRows) -> FlowRows:
        """Rows at these places in this order, in the memory of ``room``, which has as many at least."""
        pairs = zip(self._columns(), room._columns(), strict=True)  # clipped, since else NumPy makes a copy before
        return FlowRows(*(np.take(column, order, out=place[: len(order)], mode="clip") for column, place in pairs))


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
