"""Recorded mainnet data through decoder and engine: nothing fails, nothing is lost, counts agree with plain ones."""

from __future__ import annotations

import csv
import gzip
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from chains.evm.decode import decode_recorded
from monitor.app import backtest
from monitor.engine import Engine
from monitor.model import Direction, Role, TransferKind, Wallet
from monitor.watchlist import Watchlist

CHAIN = "eip155:1"


def _data(*parts: str) -> Path:
    root = Path(os.environ.get("HEISTWATCH_DATA", Path(__file__).parents[3] / "shared" / "data"))
    path = root.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"real data are not here: {'/'.join(parts)} below HEISTWATCH_DATA")
    return path


def _plain(block: dict[str, Any]) -> tuple[Counter[str], Counter[str], int]:
    """Value that leaves and reaches each address by transactions, and their number; to itself counts nowhere."""
    left: Counter[str] = Counter()
    reached: Counter[str] = Counter()
    moved = 0
    for tx in block["transactions"]:
        value = int(tx["value"], 16)
        if value and tx["to"] and tx["from"].lower() != tx["to"].lower():
            left[tx["from"].lower()] += value
            reached[tx["to"].lower()] += value
            moved += 1
    return left, reached, moved


def test_recorded_blocks_go_through_decoder_and_engine() -> None:
    """Every recorded block: each sender a wallet, what the engine folds is what a plain count of the JSON says."""
    paths = sorted(_data("ethereum", "pevm").glob("*/block.json.gz"), key=lambda path: int(path.parent.name))
    assert len(paths) > 50
    for path in paths:
        raw = gzip.decompress(path.read_bytes())
        document = json.loads(raw)
        left, reached, moved = _plain(document)
        senders = sorted(left)
        wallets = [Wallet(name, name, Role.HOT, ((CHAIN, name),)) for name in senders]
        watchlist = Watchlist(wallets)
        block = decode_recorded(raw, watchlist.watch(CHAIN), CHAIN)
        assert block.undecoded == ()
        engine = Engine(watchlist)
        folded = engine.connect(block)
        out = [f for f in folded.flows if f.direction is Direction.OUT and f.transfer.kind is TransferKind.NATIVE]
        paid: Counter[str] = Counter()
        for flow in out:
            if flow.counterparty:
                paid[flow.wallet] += flow.value
        created = [flow for flow in out if flow.transfer.tx.target is None]
        assert len(out) - len(created) == moved, path.parent.name
        if not created:
            assert paid == left
        got: Counter[str] = Counter()
        for flow in folded.flows:
            if flow.direction is Direction.IN and flow.transfer.kind is TransferKind.NATIVE:
                got[flow.wallet] += flow.value
        assert got == Counter({name: value for name, value in reached.items() if name in left})
        engine.disconnect(folded.undo)
        assert engine.dump() == []


def test_a_table_of_real_transactions_backtests(tmp_path: Path) -> None:
    """All 11,280 transactions of the ethereum-etl export, out of block order: counts and sums agree with csv's."""
    path = _data("ethereum", "raphtory", "transactions_03300000_03300999.csv.gz")
    with gzip.open(path, "rt", newline="") as file:
        rows = list(csv.DictReader(file))
    sent = Counter(row["from_address"] for row in rows if int(row["value"]) > 0)
    watched = [address for address, _ in sent.most_common(12)]
    config = {
        "version": 1,
        "wallets": [
            {"id": f"w{i}", "entity": f"e{i}", "role": "hot", "addresses": [f"ethereum:{address}"]}
            for i, address in enumerate(watched)
        ],
    }
    found = backtest(config, str(path))
    assert found["data"]["rows"] == len(rows)
    assert found["data"]["bad_rows"] == 0
    assert found["data"]["transfers"] == sum(int(row["value"]) > 0 for row in rows)
    assert {w["id"]: w["flows_out"] for w in found["wallets"]} == {
        f"w{i}": sum(
            1
            for row in rows
            if row["from_address"] == address
            and row["to_address"] not in ("", address)
            and int(row["value"]) > 0
        )
        for i, address in enumerate(watched)
    }
