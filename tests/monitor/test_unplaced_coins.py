"""Coins in a table that does not say where in its block a transaction stands: outputs still share their inputs once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import monitor
from monitor.made_addresses import made_address
from monitor.networks import by_name

BITCOIN = by_name("bitcoin")
assert BITCOIN is not None
OWN, OTHER, FUNDER = (made_address(BITCOIN, f"unplaced {n}") for n in range(3))
BEGIN, BLOCKS, EACH = 1_700_006_400, 20, 3
PAID, CHANGE, FEE = 30_000_000, 69_990_000, 10_000


def rows() -> list[dict[str, Any]]:
    """Blocks of one payment to us and two of ours, each with an output to another one and one to us."""
    return [
        {
            "chain": "bitcoin", "block_number": 100 + block, "block_timestamp": BEGIN + 600 * block,
            "transaction_hash": f"{block * EACH + n:064x}", "transaction_index": n, "transfer_index": output,
            "from_address": [OWN if n else FUNDER], "input_values": [str(PAID + CHANGE + FEE)],
            "to_address": to, "asset": "native", "value": str(value),
        }
        for block in range(BLOCKS)
        for n in range(EACH)
        for output, (to, value) in enumerate([(OTHER, PAID), (OWN, CHANGE)])
    ]  # fmt: skip


@pytest.mark.parametrize("said", [{}, {"transaction_index": None}, {"transaction_index": None, "transfer_index": None}])
def test_a_transaction_lies_together(tmp_path: Path, said: dict[str, None]) -> None:
    """What left is what was paid, and the fee; rows of a file that lie apart belong together, too."""
    (tmp_path / "rows.ndjson").write_text("".join(json.dumps(row | said) + "\n" for row in rows()[::2] + rows()[1::2]))
    wallet = {"id": "own", "entity": "One", "role": "hot", "addresses": [f"bitcoin:{OWN}"]}
    with monitor.backtest({"version": 1, "wallets": [wallet]}, tmp_path) as outcome:
        daily = outcome.frames.daily()
    assert daily["outflow_value"].cast(int).sum() == BLOCKS * (EACH - 1) * (PAID + FEE)
    assert daily["flows_out"].sum() == BLOCKS * (EACH - 1)
