"""Shared fixtures of the table readers: two chains, a small native table, and a short way to read."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from chains.tables import ChainInfo, Reading, Source, read
from monitor.model import Block

ALICE, BOB, CAROL = ("0x" + c * 40 for c in "abc")
TOKEN = "0x" + "d" * 40
ETHEREUM = "eip155:1"


@pytest.fixture(scope="session")
def infos() -> dict[str, ChainInfo]:
    """Ethereum alone: the only configured chain."""
    return {"ethereum": ChainInfo(ETHEREUM, "evm", "eip155:1/slip44:60", 12)}


@pytest.fixture(scope="session")
def three_chains(infos: dict[str, ChainInfo]) -> dict[str, ChainInfo]:
    """One chain of each family."""
    bitcoin = "bip122:000000000019d6689c085ae165831e93"
    return {
        **infos,
        "bitcoin": ChainInfo(bitcoin, "bitcoin", f"{bitcoin}/slip44:0", 600),
        "nem": ChainInfo("nem:mainnet", "nem", "nem:mainnet/slip44:43", 60),
    }


@pytest.fixture(scope="session")
def read_alice(infos: dict[str, ChainInfo]) -> Callable[..., Reading]:
    """Read paths on Ethereum with one watched address."""

    def run(*paths: Path | str, watched: Sequence[str] = (ALICE,), **options: Any) -> Reading:
        options.setdefault("chains", infos)
        options.setdefault("watch", {ETHEREUM: frozenset(watched)})
        return read([Source(str(path)) for path in paths], **options)

    return run


@pytest.fixture(scope="session")
def native_row() -> Callable[..., dict[str, Any]]:
    """One row of the native table; keyword arguments change columns, None removes one."""

    def make(**changes: Any) -> dict[str, Any]:
        row: dict[str, Any] = {
            "chain": "ethereum", "block_number": 10, "block_timestamp": 1_500_000_000, "transaction_hash": "0x01",
            "transaction_index": 0, "transfer_index": 0, "from_address": ALICE, "to_address": BOB, "asset": "native",
            "value": "5",
        }
        row.update(changes)
        return {name: value for name, value in row.items() if value is not None}

    return make


@pytest.fixture(scope="session")
def write() -> Callable[[Path, Sequence[dict[str, Any]]], Path]:
    """Write rows as the file name says: csv, ndjson, json or parquet."""

    def run(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
        names = list(dict.fromkeys(name for row in rows for name in row))
        if path.suffix == ".parquet":
            pl.DataFrame(list(rows), infer_schema_length=None).write_parquet(path)
        elif path.suffix == ".json":
            path.write_text(json.dumps(list(rows)))
        elif path.suffix == ".ndjson":
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        else:
            lines = [",".join("" if row.get(n) is None else str(row[n]) for n in names) for row in rows]
            path.write_text("\n".join([",".join(names), *lines]) + "\n")
        return path

    return run


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real chain data."""
    root = Path(__file__).parents[3]
    path = Path(os.environ.get("HEISTWATCH_DATA") or root / "../shared/data")
    if not path.is_dir():
        pytest.skip("no real data: set HEISTWATCH_DATA")
    return path


@pytest.fixture(scope="session")
def as_decoded() -> Callable[..., list[tuple[Any, ...]]]:
    """What a live block's transfers are as rows of a frame, in chain order; zero amounts too."""

    def rows(*blocks: Block) -> list[tuple[Any, ...]]:
        return [
            (
                block.ref.number, block.timestamp, t.tx.hash, t.tx.index, t.index, str(t.kind), t.asset,
                t.from_addresses, tuple(map(str, t.input_values)), t.to_address, str(t.value), t.tx.initiator,
                t.tx.nonce, None if t.tx.fee is None else str(t.tx.fee), t.tx.fee_rate, t.tx.gas_limit,
                t.tx.n_outputs, t.tx.version, t.tx.flags, t.tx.script_type,
            )
            for block in sorted(blocks, key=lambda block: block.ref.number)
            for t in sorted(block.transfers, key=lambda t: (t.tx.index, t.index))
        ]  # fmt: skip

    return rows


@pytest.fixture(scope="session")
def as_read() -> Callable[[pl.DataFrame], list[tuple[Any, ...]]]:
    """The rows of a frame in the form of `as_decoded`."""

    def rows(frame: pl.DataFrame) -> list[tuple[Any, ...]]:
        return [
            (
                r["block_number"], r["block_timestamp"], r["transaction_hash"], r["transaction_index"],
                r["transfer_index"], r["kind"], r["asset"],
                tuple(r["inputs"]) if r["inputs"] is not None else (r["from_address"] or "",),
                tuple(r["input_values"]) if r["input_values"] is not None else (r["value"],), r["to_address"] or "",
                r["value"], r["tx_from"], r["nonce"], r["fee"], r["fee_rate"], r["gas_limit"], r["n_outputs"],
                r["version"], r["flags"], r["script_type"] or "",
            )
            for r in frame.iter_rows(named=True)
        ]  # fmt: skip

    return rows
