"""What tables cannot show of a chain: transaction status, internal transfers, token transfers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from chains.tables import Source, read

ALICE, BOB = ("0x" + c * 40 for c in "ab")
ETHEREUM = "eip155:1"
TRANSACTION = {
    "hash": "0x01", "nonce": 3, "block_hash": "0xb", "block_number": 100, "transaction_index": 2, "from_address": ALICE,
    "to_address": BOB, "value": 10, "gas": 21000, "gas_price": 50, "input": "0x", "block_timestamp": 1_600_000_000,
}  # fmt: skip
TRANSFER = {
    "token_address": "0x" + "d" * 40, "from_address": ALICE, "to_address": BOB, "value": 7, "transaction_hash": "0x01",
    "log_index": 4, "block_number": 100, "block_timestamp": 1_600_000_000,
}  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([TRANSACTION], ("internal transfers", "token transfers", "transaction status")),
        ([TRANSACTION | {"receipt_status": 1}], ("internal transfers", "token transfers")),
        ([TRANSACTION | {"receipt_status": 1}, TRANSFER], ("internal transfers",)),
        ([TRANSACTION, TRANSFER], ("internal transfers", "transaction status")),
    ],
)
def test_an_export_of_transactions(
    rows: list[Any], expected: tuple[str, ...], tmp_path: Path, read_alice: Any, write: Any
) -> None:
    """It has no traces; tokens are in a second table; the status is a column that some lack."""
    paths = [write(tmp_path / f"{n}.csv", [row]) for n, row in enumerate(rows)]
    assert read_alice(*paths).blind_spots == {ETHEREUM: expected}


def test_the_native_table(tmp_path: Path, read_alice: Any, write: Any, native_row: Any) -> None:
    """It may hold every kind of transfer: only its status may be missing, of one of two files too."""
    told, silent = (write(tmp_path / f"{name}.csv", [native_row(status=name)]) for name in ("1", None))
    assert read_alice(told).blind_spots == {}
    assert read_alice(silent).blind_spots == read_alice(told, silent).blind_spots == {ETHEREUM: ("transaction status",)}


def test_other_families(tmp_path: Path, write: Any, native_row: Any, three_chains: Any) -> None:
    """Look-alike: a chain whose failed transactions never get into a block lacks nothing without a status."""
    row = native_row(chain="nem", from_address="NALICE3LKZXQTEVTGWHZPJ2EM7RGHWXWWTRZMLZ6", to_address="NBOB")
    path = write(tmp_path / "nem.csv", [row, native_row(status=1)])
    reading = read([Source(str(path))], chains=three_chains, watch={ETHEREUM: frozenset([ALICE])})
    assert set(reading.chains) >= {ETHEREUM} and reading.blind_spots == {}
    alone = write(tmp_path / "other.csv", [row])
    assert read([Source(str(alone))], chains=three_chains, watch={}).blind_spots == {}
