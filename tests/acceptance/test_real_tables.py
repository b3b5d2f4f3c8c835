"""Real tables through `backtest` unconverted: rows, transfers and sums are those of the csv module, exact."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import tarfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from chains.tables import ChainInfo, Source, read
from chains.tables.mapping import parse_mapping
from monitor.app import run_backtest
from monitor.config import config_from_mapping

CHAIN = "eip155:1"
ETHER = f"{CHAIN}/slip44:60"
CHAINS = {"ethereum": ChainInfo(CHAIN, "evm", ETHER, 12)}
SIX, EIGHTEEN = 10**6, 10**18
TOKENS = {  # decimals, as each contract says
    "0xdac17f958d2ee523a2206206994597c13d831ec7": 6,  # Tether
    "0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48": 6,  # USD Coin
    "0xa47c8bf37f92abed4a126bda807a7b7498661acd": 18,  # wrapped UST
}


def _data(*parts: str) -> Path:
    root = Path(os.environ.get("HEISTWATCH_DATA", Path(__file__).parents[3] / "shared" / "data"))
    path = root.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"real data are not here: {'/'.join(parts)} below HEISTWATCH_DATA")
    return path


def _rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a file, by the standard library alone; JSON numbers as they stand there."""
    content = path.read_bytes()
    text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
    if path.suffix == ".json":
        return [json.loads(line, parse_float=Decimal) for line in text.splitlines()]
    return list(csv.DictReader(io.StringIO(text)))


def _reading(paths: Sequence[Path], watched: Sequence[str], **options: Any) -> Any:
    watch = {CHAIN: frozenset(address.lower() for address in watched)}
    options.setdefault("chains", CHAINS)
    return read([Source(str(path)) for path in paths], watch=watch, **options)


def _backtest(paths: Sequence[Path], watched: Sequence[str], assets: Any = (), rename: Any = None) -> dict[str, Any]:
    config = config_from_mapping({
        "version": 1,
        "assets": list(assets),
        "wallets": [
            {"id": f"w{n}", "entity": f"e{n}", "role": "hot", "addresses": [f"ethereum:{address}"]}
            for n, address in enumerate(watched)
        ],
    }, Path(), "test")  # fmt: skip
    return run_backtest(config, [str(path) for path in paths], rename=rename)


def _most_frequent(rows: Sequence[Mapping[str, Any]], column: str, count: int = 5) -> list[str]:
    return [address for address, _ in Counter(row[column] for row in rows).most_common(count)]


@pytest.mark.parametrize("name", ["transactions_03300000_03300999.csv.gz", "transactions_10500400_10500401.csv.gz"])
def test_transactions(name: str) -> None:
    """Exports of ethereum-etl: every value of every sender, exact."""
    path = _data("ethereum", "raphtory", name)
    rows = _rows(path)
    moving = [row for row in rows if int(row["value"]) and row["to_address"]]
    reading = _reading([path], [row["from_address"] for row in rows])
    assert (reading.rows, reading.bad_rows, reading.transfers) == (len(rows), 0, len(moving))
    assert sum(map(int, reading.frame["value"])) == sum(int(row["value"]) for row in moving)
    report = _backtest([path], watched := _most_frequent(moving, "from_address"))
    assert report["data"]["rows"] == len(rows) and report["data"]["bad_rows"] == 0
    assert {wallet["id"]: wallet["flows_out"] for wallet in report["wallets"]} == {
        f"w{n}": sum(row["from_address"] == address != row["to_address"] for row in moving)
        for n, address in enumerate(watched)
    }


def test_token_transfers_without_hashes() -> None:
    """Decimal amounts and no transaction hash: names and units alone make it readable, each token by its decimals."""
    path = _data("ethereum", "raphtory", "token_transfers_14669683_14669686.csv.gz")
    rows = _rows(path)
    names = ["asset=contract_address", "block_timestamp=time_stamp"]
    values = [Decimal(row["value"]) * 10 ** TOKENS[row["contract_address"]] for row in rows]
    assert all(value == int(value) > 0 for value in values)
    watched = [row["from_address"] for row in rows] + [row["to_address"] for row in rows]
    decimals = {f"{CHAIN}/erc20:{token}": count for token, count in TOKENS.items()}
    chains = {"ethereum": ChainInfo(CHAIN, "evm", ETHER, 12, decimals)}
    reading = _reading([path], watched, rename=parse_mapping([*names, "value=value:token"]), chains=chains)
    assert (reading.rows, reading.bad_rows, reading.transfers) == (len(rows), 0, len(rows))
    assert reading.frame.height == len(rows)
    assert sum(map(int, reading.frame["value"])) == sum(map(int, values))
    hashes = Counter(f"{row['block_number']}-{row['transaction_index']}" for row in rows)
    assert Counter(reading.frame["transaction_hash"]) == hashes
    assert any("no transaction_hash column" in note for note in reading.notes)

    rename = parse_mapping([*names, "value=value:6"])  # what does not fit six digits is bad, never cut
    fits = [row for row in rows if Decimal(row["value"]) * SIX == int(Decimal(row["value"]) * SIX)]
    report = _backtest([path], watched := _most_frequent(rows, "to_address"), rename=rename)
    data = report["data"]
    assert (data["rows"], data["bad_rows"], data["transfers"]) == (len(rows), len(rows) - len(fits), len(fits))
    assert len(fits) == len(rows) - 1 and "37756.5442328" in str(data["bad"])
    flows = {wallet["id"]: wallet["flows"] for wallet in report["wallets"]}
    for n, address in enumerate(watched):
        assert flows[f"w{n}"] >= sum(row["to_address"] == address for row in fits) > 0


def test_the_thief_of_ronin() -> None:
    """The Lazarus tables: bytes as Postgres writes them, ether as decimals, neither hash nor block."""
    path = _data("ethereum", "eth-data-lazarus", "LazarusTabularTxs1322519.csv")
    rows = _rows(path)
    amounts = [Decimal(row["total_eth"]) * EIGHTEEN for row in rows]
    assert all(amount == int(amount) >= 0 for amount in amounts)
    unique = {(row["block_time"], row["from"], row["to"], row["total_eth"]): int(amount)
              for row, amount in zip(rows, amounts, strict=True)}  # fmt: skip
    names = ["from_address=from", "to_address=to", "block_timestamp=block_time", "value=total_eth:eth"]
    watched = {row[side].replace("\\x", "0x") for row in rows for side in ("from", "to")}
    reading = _reading([path], sorted(watched), rename=parse_mapping(names))
    assert (reading.rows, reading.bad_rows) == (len(rows), 0)
    assert reading.transfers == sum(amount > 0 for amount in amounts)
    assert (reading.frame.height, sum(map(int, reading.frame["value"]))) == (len(unique), sum(unique.values()))
    assert set(reading.frame["asset"]) == {ETHER}
    report = _backtest([path], ["0x098b716b8aaf21512996dc57eb0615e2383e2f96"], rename=parse_mapping(names))
    assert report["data"]["rows"] == len(rows) and report["wallets"][0]["flows_out"] > 0


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ethereum-etl itself made of real blocks."""
    path = tmp_path_factory.mktemp("etl")
    with tarfile.open(_data("ethereum", "ethereum-etl", "tests-resources.tar.gz")) as archive:
        archive.extractall(path, filter="data")
    return path / "tests/resources"


def _tables(outputs: Path, what: str) -> Iterator[tuple[Path, list[dict[str, Any]]]]:
    for path in sorted(outputs.glob(f"*/*/*{what}.*")):
        if path.stem == f"expected_{what}" and (rows := _rows(path)):
            yield path, rows


def _timed(tmp_path: Path, rows: Sequence[Mapping[str, Any]]) -> list[Path]:
    """A blocks table for tables whose rows carry no time."""
    if "block_timestamp" in rows[0]:
        return []
    path = tmp_path / "blocks.csv"
    numbers = sorted({int(row["block_number"]) for row in rows})
    path.write_text("number,hash,timestamp\n" + "".join(f"{n},0x{n:x},{1_400_000_000 + n}\n" for n in numbers))
    return [path]


def test_outputs_of_ethereum_etl(outputs: Path, tmp_path: Path) -> None:
    """Every transactions, token_transfers and blocks table that is not empty, CSV and JSON."""
    count = Counter[str]()
    for what in ("transactions", "token_transfers"):
        for path, rows in _tables(outputs, what):
            good = [row for row in rows if str(row.get("receipt_status", "")) != "0"]
            moving = [row for row in good if int(row["value"]) and row["to_address"]]
            watched = [row[side] for row in rows for side in ("from_address", "to_address") if row[side]]
            extra = _timed(tmp_path, rows)
            reading = _reading([path, *extra], watched)
            times = sum(len(_rows(file)) for file in extra)
            assert (reading.rows - times, reading.bad_rows, reading.transfers) == (len(rows), 0, len(moving)), path
            found = reading.frame.filter(reading.frame["kind"] != "fee")
            assert sum(map(int, found["value"])) == sum(int(row["value"]) for row in moving), path
            count[what] += 1
    for path, rows in _tables(outputs, "blocks"):
        assert _reading([path], []).rows == len(rows)
        count["blocks"] += 1
    assert count == {"transactions": 6, "token_transfers": 4, "blocks": 7}


def test_traces_of_ethereum_etl(outputs: Path, tmp_path: Path) -> None:
    """Every traces table: what moved is what calls, creations and heirs say that did not fail; rewards from nobody."""
    seen = 0
    for path, rows in _tables(outputs, "traces"):
        moving = [
            row for row in rows
            if int(row["value"] or 0) and not row["error"] and str(row["status"]) != "0"
            and row["call_type"] not in ("delegatecall", "callcode", "staticcall")
            and row["to_address"] and row["from_address"] != row["to_address"]
        ]  # fmt: skip
        watched = [row[side] for row in rows for side in ("from_address", "to_address") if row[side]]
        extra = _timed(tmp_path, rows)
        reading = _reading([path, *extra], watched)
        assert (reading.bad_rows, reading.transfers) == (0, len(moving)), path
        assert sum(map(int, reading.frame["value"])) == sum(int(row["value"]) for row in moving), path
        roots = [row for row in moving if row["trace_type"] != "reward" and not row["trace_address"]]
        if path.parts[-3] != "test_extract_geth_traces_job":  # whose exports leave the place of calls out
            assert (reading.frame["kind"] == "native").sum() == len(roots), path
        seen += 1
    assert seen == 10
