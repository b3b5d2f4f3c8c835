"""Rows of flows: how a transaction's look, labels and columns are packed."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.labels import LabelKind
from monitor.rows import (
    BAD,
    EXCHANGE,
    IN,
    KIND_SHIFT,
    OUT,
    SERVICE,
    TOUCH,
    TRUSTED,
    UNLABELLED,
    FlowRows,
    RowBuilder,
    label_flag,
    log_bin,
    pack_columns,
    pack_marks,
)

RATES = st.none() | st.just(0.0) | st.floats(2.0**-1030, 1e30, allow_subnormal=True)
COUNTS = st.none() | st.integers(0, 2**53)
LOOKS = st.tuples(RATES, COUNTS, COUNTS, COUNTS)


def column(values: list[Any]) -> Any:
    return np.array([np.nan if value is None else float(value) for value in values])


@settings(max_examples=400, derandomize=True, database=None, deadline=None)
@given(st.lists(LOOKS, max_size=20))
def test_columns_are_packed_like_single_transactions(looks: list[tuple[Any, ...]]) -> None:
    """A history table gives the same marks as live transactions, field by field, missing ones too."""
    rates, limits, outputs, nonces = (column([look[n] for look in looks]) for n in range(4))
    packed = pack_columns(rates, limits, outputs, nonces)
    assert packed.dtype == np.uint64
    assert packed.tolist() == [pack_marks(rate, limit, n, None, None, nonce) for rate, limit, n, nonce in looks]


@pytest.mark.parametrize("power", [-1030, -9, -8, -7, 0, 1, 30, 35, 53, 54, 55, 90])
def test_columns_agree_at_the_borders_of_quarters(power: int) -> None:
    """At, just below and just above each quarter of a doubling both ways of packing say the same."""
    rates = [2.0**power * part for part in (1.0, 1.1892, 1.4142, 1.6818)]
    rates += [float(np.nextafter(rate, towards)) for rate in rates for towards in (0.0, np.inf)]
    nothing = np.full(len(rates), np.nan)
    single = [pack_marks(rate, None, None, None, None, None) for rate in rates]
    assert pack_columns(np.array(rates), nothing, nothing, nothing).tolist() == single


def test_nothing_said_is_nothing_packed() -> None:
    """A transaction of which the source says nothing has the mark 0, which looks for nothing."""
    assert pack_marks(None, None, None, None, None, None) == 0 == pack_marks(0.0, 0, 0, None, None, None)


def test_fields_lie_in_their_bits() -> None:
    """Each field has bits of its own; nonce 0, version 0 and no flags are told apart from "not said"."""
    assert pack_marks(1.0, None, None, None, None, None) == 4 * 9 + 1  # quarters of a doubling above 2**-9, plus 1
    assert pack_marks(2.0, None, None, None, None, None) == 4 * 10 + 1
    assert pack_marks(None, 21_000, None, None, None, None) == 8 << 8
    assert pack_marks(None, None, 2, None, None, None) == 1 << 12
    assert pack_marks(None, None, None, 0, None, None) == 1 << 16
    assert pack_marks(None, None, None, 2, None, None) == 3 << 16
    assert pack_marks(None, None, None, None, 0, None) == 1 << 20
    assert pack_marks(None, None, None, None, 5, None) == 6 << 20
    assert pack_marks(None, None, None, None, None, 0) == 1 << 24
    assert pack_marks(None, None, None, None, None, 2**32 + 7) == 1 << 24 | 7 << 32
    assert pack_marks(1e300, 2**63, 2**63, 10**6, 0xFFFF, 2**64) < 2**64


def test_fee_rates_are_told_apart_by_quarters_of_a_doubling() -> None:
    """A rate of 1.19 times another is one step more, over fifty doublings; below 2**-8 all are one."""
    steps = [pack_marks(2.0 ** (n / 4 + 0.01), None, None, None, None, None) for n in range(-28, 180)]
    assert [b - a for a, b in pairwise(steps)] == [1] * (len(steps) - 1)
    assert pack_marks(1e-9, None, None, None, None, None) == pack_marks(1e-300, None, None, None, None, None) == 1


@pytest.mark.parametrize(
    ("value", "place"),
    [
        (None, 0), (0, 0), (-1, 0), (0.5, 1), (1, 1), (3, 1), (4, 2), (15, 2), (16, 3), (63, 3), (64, 4),
        (4**13 - 1, 13), (4**13, 14), (4**14 - 1, 14), (4**14, 15), (4**15, 15), (2**200, 15),
    ],
)  # fmt: skip
def test_counts_are_binned_by_fours(value: float | None, place: int) -> None:
    """A bin ends at the next power of four; 15 takes all above."""
    assert log_bin(value) == place


def test_kinds_of_labels_become_flags() -> None:
    """Known bad, services, exchanges; other labels say nothing. Every kind has its place, and the lower bits stay."""
    expected = {
        LabelKind.SANCTIONED: BAD, LabelKind.THEFT: BAD, LabelKind.SCAM: BAD, LabelKind.MIXER: BAD,
        LabelKind.BRIDGE: SERVICE, LabelKind.DEX: SERVICE, LabelKind.DEFI: SERVICE, LabelKind.EXCHANGE: EXCHANGE,
        LabelKind.CUSTODIAN: EXCHANGE, LabelKind.SERVICE: UNLABELLED, LabelKind.OTHER: UNLABELLED,
    }  # fmt: skip
    assert set(expected) == set(LabelKind) and label_flag(0) == 0
    for kind, of in expected.items():
        assert label_flag(int(kind)) == of << KIND_SHIFT < 256
    with pytest.raises(ValueError, match="99"):
        label_flag(99)


def test_a_builder_keeps_order_and_kinds() -> None:
    """Rows come out as they went in, in the exact types of the fold; no rows are empty columns of those types."""
    builder = RowBuilder()
    assert builder.add(3, 1, 1_700_000_000, IN, 5.0) == 0
    assert builder.add(3, 1, 1_700_000_001, OUT, 1e30, 2**64 - 1, TRUSTED, 2**63) == 1
    assert builder.add(-1, 1, 1_700_000_002, TOUCH, 0.0, 9, 0, 2**64 - 1) == 2 and len(builder) == 3
    rows, empty = builder.build(), RowBuilder().build()
    assert rows.slots.tolist() == [3, 3, -1] and rows.keys.tolist() == [0, 2**64 - 1, 9]
    assert rows.marks.tolist() == [0, 2**63, 2**64 - 1] and rows.amounts.tolist() == [5.0, 1e30, 0.0]
    assert len(rows) == 3 and len(empty) == 0
    for name in FlowRows.__slots__:
        assert getattr(rows, name).dtype == getattr(empty, name).dtype
    part = rows[1:2]
    assert (len(part), part.flags.tolist(), part.times.tolist()) == (1, [TRUSTED], [1_700_000_001])
