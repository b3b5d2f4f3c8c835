"""What is passed on as it is equals what the long way gives: rows, bad rows, counts."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from chains.tables import parse_source
from chains.tables.arrange import arrange
from chains.tables.canonical import Canonical
from chains.tables.read import read
from chains.tables.source import ChainInfo
from monitor.addresses.compact import WatchedAddresses

MINE, OTHER = "0x" + "1a" * 20, "0x" + "2b" * 20
CHAINS = {
    "ethereum": ChainInfo("eip155:1", "evm", "eip155:1/slip44:60"),
    "nem": ChainInfo("nem:mainnet", "nem", "nem:mainnet/slip44:43"),
}
WATCH = {"eip155:1": WatchedAddresses(frozenset({MINE})), "nem:mainnet": WatchedAddresses(frozenset({"NMINE"}))}
ODD: dict[str, list[Any]] = {
    "chain": ["nem", "dogecoin", None, ""],
    "block_number": [-1, None],
    "block_timestamp": [-5, None, 7_258_118_400],
    "transaction_hash": ["0xAB", "", None],
    "transaction_index": [-1, None],
    "transfer_index": [-2, None],
    "from_address": [MINE.upper().replace("X", "x"), "", None, "NMINE"],
    "to_address": [OTHER.upper(), "", None, MINE],
    "asset": ["native", "", None, "0x" + "3C" * 20, "eip155:1/slip44:60", "nonsense"],
    "value": ["0", "007", "+5", "-1", "1.5", "1e3", "", None, "7.000000000", "9" * 77, "9" * 79, "x"],
    "kind": ["token", "internal", "fee", "?", None],
    "status": [0, None, 2],
    "tx_from": [OTHER, MINE.upper(), "", None],
    "nonce": [-1, None],
    "fee": ["0", "12", "00", "-3", None],
    "gas_limit": [-7, None],
    "memo": ["a", "b", None],
}
PLAIN_ROW = {
    "chain": "ethereum", "block_number": 5, "block_timestamp": 1000, "transaction_hash": "0x1",
    "transaction_index": 1, "transfer_index": 1, "from_address": MINE, "to_address": OTHER, "asset": "native",
    "value": "7",
}  # fmt: skip
NUMBERS = (
    "block_number", "block_timestamp", "transaction_index", "transfer_index", "status", "nonce", "gas_limit",
)  # fmt: skip


def made(rng: random.Random) -> pl.DataFrame:
    """A plain table of a random selection of columns; some of them have something odd in a row, or in all."""
    rows = rng.choice([1, 2, 7, 40])
    plain: dict[str, list[Any]] = {
        "chain": ["ethereum"] * rows, "block_number": sorted(rng.choices(range(9), k=rows)),
        "block_timestamp": [1000] * rows, "transaction_hash": [f"0x{rng.getrandbits(64):064x}" for _ in range(rows)],
        "transaction_index": list(range(rows)), "transfer_index": list(range(rows)),
        "from_address": [rng.choice([MINE, OTHER]) for _ in range(rows)], "to_address": [MINE] * rows,
        "asset": ["native"] * rows, "value": [str(rng.randint(1, 10**24)) for _ in range(rows)],
    }  # fmt: skip
    extra: dict[str, list[Any]] = {
        "kind": ["native"] * rows, "status": [1] * rows, "tx_from": [MINE] * rows, "nonce": list(range(rows)),
        "fee": ["21"] * rows, "gas_limit": [21000] * rows, "memo": ["m"] * rows,
    }  # fmt: skip
    plain |= {name: extra[name] for name in extra if rng.random() < 0.25}
    for name in rng.sample(sorted(plain), rng.choice([0, 0, 1, 1, 2])):
        odd = rng.choice(ODD[name])
        places = range(rows) if rng.random() < 0.3 else rng.sample(range(rows), 1)
        for place in places:
            plain[name][place] = odd
    dtypes = {name: pl.Int64 if name in NUMBERS else pl.String for name in plain}
    return pl.DataFrame([pl.Series(name, column, dtype=dtypes[name]) for name, column in plain.items()])


def found(path: Path, strict: bool) -> tuple[Any, ...]:
    """All that reading says."""
    reading = read([parse_source(str(path))], chains=CHAINS, watch=WATCH, strict=strict)
    frames = [arrange(part, reading.wanted).frame for part in reading.ranges]
    rows = pl.concat(frames).to_dicts() if frames else []
    return rows, reading.rows, reading.bad_rows, reading.bad, reading.transfers, reading.chains


@pytest.mark.parametrize("strict", [False, True])
def test_the_short_way_gives_what_the_long_way_gives(
    strict: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred tables, plain ones and such with one or two odd things in them, by both ways."""
    taken, holds = 0, Canonical.holds

    def counted(self: Canonical, frame: pl.DataFrame, constant: frozenset[str]) -> bool:
        nonlocal taken
        told = holds(self, frame, constant)
        taken += told
        return told

    for seed in range(100):
        path = tmp_path / f"{seed}.parquet"
        made(random.Random(seed)).write_parquet(path)
        monkeypatch.setattr(Canonical, "holds", counted)
        short = found(path, strict)
        monkeypatch.setattr(Canonical, "holds", lambda *_: False)
        assert short == found(path, strict), seed
    assert taken > 30  # many tables go the short way


def test_numbers_that_no_signed_number_holds_go_the_long_way(tmp_path: Path) -> None:
    rows = pl.DataFrame({name: [value] * 2 for name, value in PLAIN_ROW.items()})
    rows = rows.with_columns(block_number=pl.Series([5, 2**63], dtype=pl.UInt64))
    rows.write_parquet(tmp_path / "a.parquet")
    found_rows, count, bad, *_ = found(tmp_path / "a.parquet", False)
    assert (len(found_rows), count, bad) == (1, 2, 1)
