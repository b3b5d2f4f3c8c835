"""Tables of ethereum-etl: golden rows, how tables complete each other, and real exports against the csv module."""

from __future__ import annotations

import csv
import gzip
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from monitor.errors import ConfigError

ALICE, BOB, CAROL = ("0x" + c * 40 for c in "abc")
TOKEN = "0x" + "d" * 40
ETHER = "eip155:1/slip44:60"
POLONIEX = "0x32be343b94f860124dc4fee278fdcbd38c102d88"


def transaction(**changes: Any) -> dict[str, Any]:
    """One row of ethereum-etl transactions."""
    row: dict[str, Any] = {
        "hash": "0x01", "nonce": 3, "block_hash": "0xb", "block_number": 100, "transaction_index": 2,
        "from_address": ALICE, "to_address": BOB, "value": 10, "gas": 21000, "gas_price": 50, "input": "0x",
        "block_timestamp": 1_600_000_000,
    }  # fmt: skip
    return row | changes


def transfer(**changes: Any) -> dict[str, Any]:
    """One row of ethereum-etl token_transfers, without a time, as the CSV export has it."""
    row: dict[str, Any] = {
        "token_address": TOKEN, "from_address": ALICE, "to_address": BOB, "value": 7, "transaction_hash": "0x01",
        "log_index": 4, "block_number": 100,
    }  # fmt: skip
    return row | changes


def block(number: int, timestamp: int) -> dict[str, Any]:
    """One row of ethereum-etl blocks."""
    return {"number": number, "hash": f"0x{number}", "timestamp": timestamp, "miner": BOB, "gas_limit": 1}


def test_a_transaction_becomes_a_native_transfer(tmp_path: Path, read_alice: Any, write: Any) -> None:
    """Sender, nonce, gas and price come along; a missing status is told; no receipt, no fee row."""
    for name in ("a.csv", "a.ndjson", "a.parquet"):
        reading = read_alice(write(tmp_path / name, [transaction()]))
        row = reading.frame.row(0, named=True)
        assert (row["kind"], row["asset"], row["value"], row["from_address"], row["to_address"]) == (
            "native", ETHER, "10", ALICE, BOB,
        )  # fmt: skip
        assert (row["tx_from"], row["nonce"], row["gas_limit"], row["fee_rate"]) == (ALICE, 3, 21000, 50.0)
        assert row["fee"] is None
        assert (row["block_number"], row["transaction_index"], row["block_timestamp"]) == (100, 2, 1_600_000_000)
        assert reading.frame.height == 1
        assert "ethereum-etl transactions: no receipt_status column: every row counts as succeeded" in reading.notes


def test_receipts_give_status_fees_and_created_contracts(tmp_path: Path, read_alice: Any, write: Any) -> None:
    """Failed rows move only their fee, fees are exact and follow the value, creations go to the new contract."""
    receipt = {
        "receipt_status": 1, "receipt_gas_used": 21000, "receipt_effective_gas_price": 10**15,
        "receipt_contract_address": "",
    }  # fmt: skip
    rows = [
        transaction(**receipt),
        transaction(**receipt | {"receipt_status": 0}, hash="0x02", transaction_index=3),
        transaction(**receipt | {"receipt_contract_address": CAROL}, hash="0x03", transaction_index=4, to_address=""),
        transaction(**receipt | {"receipt_status": ""}, hash="0x04", transaction_index=5, to_address=""),
        transaction(**receipt, hash="0x05", transaction_index=6, from_address=BOB, to_address=ALICE),
    ]
    reading = read_alice(write(tmp_path / "a.csv", rows))
    found = reading.frame.select("transaction_hash", "kind", "to_address", "value").rows()
    fee = str(21000 * 10**15)
    assert found == [
        ("0x01", "native", BOB, "10"), ("0x01", "fee", "", fee), ("0x02", "fee", "", fee),
        ("0x03", "native", CAROL, "10"), ("0x03", "fee", "", fee), ("0x04", "fee", "", fee),
        ("0x05", "native", ALICE, "10"),
    ]  # fmt: skip
    assert (reading.rows, reading.transfers, reading.bad_rows) == (5, 3, 0)
    assert "contract creations with a value do not name the contract: 1 were left out" in reading.notes
    assert "1 rows have an empty status and count as succeeded" in reading.notes


def test_native_and_token_transfers_interleave(tmp_path: Path, read_alice: Any, write: Any) -> None:
    """Token rows find their transaction by hash: place, sender, nonce and gas; native comes first within one."""
    transactions = [
        transaction(hash="0x02", transaction_index=1, value=2),
        transaction(hash="0x01", transaction_index=0, value=1, from_address=CAROL, nonce=9),
        transaction(hash="0x03", transaction_index=2, value=3),
    ]
    transfers = [
        transfer(transaction_hash="0x02", log_index=5, value=22),
        transfer(transaction_hash="0x01", log_index=0, value=11),
        transfer(transaction_hash="0x03", log_index=9, value=33),
    ]
    reading = read_alice(
        write(tmp_path / "1.csv", transactions), write(tmp_path / "2.csv", transfers), watched=(ALICE, CAROL)
    )
    assert reading.frame["value"].to_list() == ["1", "11", "2", "22", "3", "33"]
    assert reading.frame["transaction_index"].to_list() == [0, 0, 1, 1, 2, 2]
    assert reading.frame["transfer_index"].to_list() == [-1, 0, -1, 5, -1, 9]
    token = reading.frame.row(1, named=True)
    assert (token["kind"], token["asset"], token["tx_from"], token["nonce"], token["gas_limit"]) == (
        "token", f"eip155:1/erc20:{TOKEN}", CAROL, 9, 21000,
    )  # fmt: skip
    assert reading.frame["block_timestamp"].to_list() == [1_600_000_000] * 6
    assert (reading.rows, reading.transfers) == (6, 6)


def test_times_from_blocks_else_interpolated_else_estimated(tmp_path: Path, read_alice: Any, write: Any) -> None:
    """A time is its block's, or lies between the known blocks, or is counted on with the usual block time."""
    blocks = write(tmp_path / "blocks.csv", [block(110, 1_600_000_200), block(100, 1_600_000_000)])
    rows = [transfer(block_number=n, transaction_hash=f"0x{n}") for n in (98, 100, 105, 110, 115)]
    transfers = write(tmp_path / "transfers.csv", rows)
    reading = read_alice(transfers, blocks)
    assert reading.frame["block_timestamp"].to_list() == [
        1_600_000_000 - 24, 1_600_000_000, 1_600_000_100, 1_600_000_200, 1_600_000_200 + 60,
    ]  # fmt: skip
    assert (reading.rows, reading.transfers) == (7, 5)
    assert (reading.first, reading.last) == (1_600_000_000 - 24, 1_600_000_260)
    for sentence in (
        "times of 2 watched rows are those of their blocks in other tables",
        "times of 1 watched rows are interpolated between the blocks whose time is known",
        "times of 2 watched rows lie beyond the blocks whose time is known and are estimated from the usual time"
        " between blocks",
        "5 watched token transfers have no transaction among the data: their place in the block is taken from the log"
        " index, their sender, nonce and gas are not known",
    ):
        assert sentence in reading.notes
    part = read_alice(transfers, blocks, start=1_600_000_000, end=1_600_000_200)
    assert part.frame["block_number"].to_list() == [100, 105]
    assert (part.rows, part.transfers, part.first, part.last) == (7, 2, 1_600_000_000, 1_600_000_100)
    with pytest.raises(ConfigError, match=r"transfers.csv: the rows carry no times.*add the blocks table"):
        read_alice(transfers)


def test_the_native_table_may_lack_times_too(tmp_path: Path, read_alice: Any, native_row: Any, write: Any) -> None:
    """A native table with block numbers alone takes its times from a blocks table among the data."""
    rows = write(tmp_path / "a.csv", [native_row(block_timestamp=None, block_number=100)])
    blocks = write(tmp_path / "b.ndjson", [block(100, 1_600_000_000)])
    assert read_alice(rows, blocks).frame["block_timestamp"].to_list() == [1_600_000_000]


def test_token_rows_without_their_transaction_keep_their_place_by_log(
    tmp_path: Path, read_alice: Any, write: Any
) -> None:
    """A token row whose transaction is not among the data stays beside its neighbours by log index."""
    transactions = [
        transaction(hash="0x01", transaction_index=1, value=1),
        transaction(hash="0x09", transaction_index=9),
    ]
    transfers = [
        transfer(transaction_hash="0xff", log_index=3, value=33),
        transfer(transaction_hash="0x01", log_index=2),
        transfer(transaction_hash="0x09", log_index=8, value=88),
        transfer(transaction_hash="0xee", log_index=1, value=5),
    ]
    frame = read_alice(write(tmp_path / "1.csv", transactions), write(tmp_path / "2.csv", transfers)).frame
    assert frame["value"].to_list() == ["1", "5", "7", "33", "10", "88"]
    assert frame["transaction_index"].to_list() == [1, 1, 1, 1, 9, 9]


def test_warehouse_names_and_types(tmp_path: Path, read_alice: Any, write: Any) -> None:
    """The public warehouse's exports: times as text with UTC, or typed; values as text, integers or decimals."""
    moment = "2020-09-13 12:26:40 UTC"
    rows = write(tmp_path / "1.csv", [transaction(block_timestamp=moment, receipt_status=1, receipt_gas_used=1)])
    tokens = write(tmp_path / "2.csv", [transfer(block_timestamp=moment)])
    reading = read_alice(rows, tokens)
    assert reading.frame["block_timestamp"].to_list() == [1_600_000_000] * 3
    assert reading.frame["kind"].to_list() == ["native", "fee", "token"]
    table = pl.DataFrame([transaction()]).with_columns(
        value=pl.Series(["123456789012345678901"]).str.to_decimal(scale=9).cast(pl.Decimal(38, 9)),
        block_timestamp=pl.from_epoch("block_timestamp").dt.replace_time_zone("UTC"),
    )
    table.write_parquet(tmp_path / "3.parquet")
    frame = read_alice(tmp_path / "3.parquet").frame
    assert frame.select("value", "block_timestamp").rows() == [("123456789012345678901", 1_600_000_000)]


def _count(path: Path, watched: frozenset[str]) -> dict[str, Any]:
    """What a reading must find, by the csv module alone."""
    with gzip.open(path, "rt") as file:
        rows = list(csv.DictReader(file))
    moving = [r for r in rows if int(r["value"]) > 0 and r["to_address"]]
    touching = [r for r in rows if r["to_address"] and watched & {r["from_address"], r["to_address"]}]
    touching.sort(key=lambda r: (int(r["block_number"]), int(r["transaction_index"])))
    times = [int(r["block_timestamp"]) for r in rows]
    return {
        "rows": len(rows), "transfers": len(moving), "first": min(times), "last": max(times),
        "hashes": [r["hash"] for r in touching], "sum": sum(int(r["value"]) for r in touching),
        "sorted": [int(r["block_number"]) for r in rows] == sorted(int(r["block_number"]) for r in rows),
    }  # fmt: skip


def test_real_transactions_agree_with_the_csv_module(real_data: Path, read_alice: Any) -> None:
    """11,280 real transactions, not in block order: counts, times, order and exact sums agree, of one and of all."""
    path = real_data / "ethereum/raphtory/transactions_03300000_03300999.csv.gz"
    with gzip.open(path, "rt") as file:
        everyone = frozenset(row["from_address"] for row in csv.DictReader(file))
    for watched, least in ((frozenset({POLONIEX}), 60), (everyone, 10_000)):
        expected = _count(path, watched)
        assert not expected["sorted"] and expected["rows"] == 11_280
        reading = read_alice(path, watched=watched)
        assert {name: getattr(reading, name) for name in ("rows", "transfers", "first", "last")} == {
            name: expected[name] for name in ("rows", "transfers", "first", "last")
        }
        assert reading.frame["transaction_hash"].to_list() == expected["hashes"] and len(expected["hashes"]) > least
        assert sum(map(int, reading.frame["value"])) == expected["sum"]
        assert reading.bad_rows == 0


def test_a_real_table_with_decimal_values_is_refused(real_data: Path, read_alice: Any) -> None:
    """Token transfers without hash and in decimal units fit no layout; renamed by force, each row is bad."""
    path = real_data / "ethereum/raphtory/token_transfers_14669683_14669686.csv.gz"
    with pytest.raises(ConfigError, match=r"unknown layout; the nearest is .* also needs .*transaction_hash"):
        read_alice(path)
    forced = {"asset": "contract_address", "transaction_hash": "transaction_index", "block_timestamp": "time_stamp"}
    reading = read_alice(path, rename=forced, strict=True)
    assert 0 < reading.bad_rows <= reading.rows
    assert "expected a whole number of base units (a decimal or rounded number is not exact)" in reading.bad[0].reason


@pytest.fixture
def golden(real_data: Path, tmp_path: Path) -> Path:
    """The tables that ethereum-etl itself made of real blocks."""
    with tarfile.open(real_data / "ethereum/ethereum-etl/tests-resources.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / "tests/resources"


def test_golden_stream_tables(golden: Path, read_alice: Any) -> None:
    """Blocks 17173049 and 17173050: all movements of one busy address, in order, with exact values and fees."""
    folder = golden / "test_stream/blocks_17173049_17173050"
    tables = {
        name: [json.loads(line) for line in (folder / f"expected_{name}.json").read_text().splitlines()]
        for name in ("transactions", "token_transfers", "blocks")
    }
    sender = "0xae2fc483527b8ef99eb5d9b44875f005ba1fae13"
    pool = "0x7054b0f980a7eb5b3a6b3446f3c947d80162775c"
    reading = read_alice(*[folder / f"expected_{name}.json" for name in tables], watched=(sender, pool))
    places = {t["hash"]: t["transaction_index"] for t in tables["transactions"]}
    expected: list[tuple[int, int, int, int, str, str]] = []
    for t in tables["transactions"]:
        place = (t["block_number"], t["transaction_index"], -1)
        if t["value"] and t["receipt_status"] == 1 and {sender, pool} & {t["from_address"], t["to_address"]}:
            expected.append((*place, 0, "native", str(t["value"])))
        if t["from_address"] in (sender, pool):
            expected.append((*place, 1, "fee", str(t["receipt_gas_used"] * t["receipt_effective_gas_price"])))
    for t in tables["token_transfers"]:
        if t["value"] and {sender, pool} & {t["from_address"], t["to_address"]}:
            place = (t["block_number"], places[t["transaction_hash"]], t["log_index"])
            expected.append((*place, 0, "token", str(t["value"])))
    found = reading.frame.select("block_number", "transaction_index", "transfer_index", "kind", "value").rows()
    assert found == [(*e[:3], *e[4:]) for e in sorted(expected)]
    assert {kind for *_, kind, _ in found} == {"native", "fee", "token"}
    assert reading.rows == sum(map(len, tables.values())) and reading.bad_rows == 0
    moved = [t for t in tables["transactions"] if t["value"] and t["receipt_status"] == 1 and t["to_address"]]
    assert reading.transfers == len(moved) + sum(t["value"] > 0 for t in tables["token_transfers"])


def test_golden_csv_exports_complete_each_other(golden: Path, read_alice: Any) -> None:
    """The CSV export of token transfers has neither time nor place: both come from the other exports."""
    folder = golden / "test_export_blocks_job/block_with_logs"
    tokens = golden / "test_export_token_transfers_job/block_with_transfers/expected_token_transfers.csv"
    rows = list(csv.DictReader(io.StringIO(tokens.read_text())))
    watched = tuple({row["from_address"] for row in rows})
    reading = read_alice(tokens, folder / "expected_blocks.csv", folder / "expected_transactions.csv", watched=watched)
    found = reading.frame.filter(kind="token")
    assert found["transaction_hash"].to_list() == [row["transaction_hash"] for row in rows]
    assert found["block_timestamp"].to_list() == [1446561880] * len(rows)
    known = {r["hash"]: r for r in csv.DictReader(io.StringIO((folder / "expected_transactions.csv").read_text()))}
    place = [int(known[row["transaction_hash"]]["transaction_index"]) for row in rows]
    assert found["transaction_index"].to_list() == place and len(set(place)) == len(rows) > 1
    assert found["tx_from"].to_list() == [known[row["transaction_hash"]]["from_address"] for row in rows]
    assert found["nonce"].to_list() == [int(known[row["transaction_hash"]]["nonce"]) for row in rows]
