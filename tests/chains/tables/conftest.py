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
