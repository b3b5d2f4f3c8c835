"""bitcoin-etl's transactions: a row an output with all inputs, as live gives it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from chains.tables import ChainInfo, Source, read
from monitor.model import TxFlag

BITCOIN = "bip122:000000000019d6689c085ae165831e93"
# the first addresses of Bitcoin's chain: block 0, block 1, the first payment; and one of BIP 173's examples
ALICE, BOB = "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", "12c6DSiU4Rq3P4ZxziKxzrL5LmMBrzjrJX"
CAROL = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"


def entry(addresses: list[str], value: Any, **more: Any) -> dict[str, Any]:
    """An input or output."""
    return {"index": 0, "addresses": addresses, "value": value, "type": "pubkeyhash", **more}


def transaction(**changes: Any) -> dict[str, Any]:
    """One row, as bitcoin-etl streams it."""
    row: dict[str, Any] = {
        "type": "transaction", "hash": "AA", "size": 300, "virtual_size": 200, "version": 2, "lock_time": 7,
        "block_number": 6, "block_hash": "00", "block_timestamp": 1_600_000_000, "is_coinbase": False, "index": 1,
        "inputs": [
            entry([ALICE], 5_000_000_000, sequence=0xFFFFFFFD, spent_transaction_hash="ff", spent_output_index=0),
            entry([CAROL], 7, sequence=0xFFFFFFFF, spent_transaction_hash="fe", spent_output_index=0),
        ],
        "outputs": [entry([BOB], 4_000_000_000), entry([ALICE], 999_990_007), entry(["nonstandard1"], 0)],
        "input_count": 2, "output_count": 3, "fee": 10_000,
    }  # fmt: skip
    return row | changes


COINBASE = transaction(
    hash="cc", index=0, is_coinbase=True, inputs=[], outputs=[entry([ALICE], 625_000_000)], fee=0, lock_time=0
)


@pytest.fixture
def read_bitcoin() -> Any:
    """Read paths on Bitcoin with one watched address."""
    chains = {"bitcoin": ChainInfo(BITCOIN, "bitcoin", f"{BITCOIN}/slip44:0", 600)}

    def run(*paths: Path, watched: str = ALICE) -> Any:
        return read([Source(str(path)) for path in paths], chains=chains, watch={BITCOIN: frozenset({watched})})

    return run


def save(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Write rows as the file name says."""
    if path.suffix == ".parquet":
        pl.DataFrame(rows, infer_schema_length=None).write_parquet(path)
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows, indent=1))
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_transaction_is_a_row_an_output(tmp_path: Path, read_bitcoin: Any) -> None:
    """Inputs lie on every output; fee, rate and marks of the maker's software come along; all forms agree."""
    frames = []
    for name in ("a.ndjson", "a.json", "a.parquet"):
        reading = read_bitcoin(save(tmp_path / name, [COINBASE, transaction()]))
        assert (reading.rows, reading.transfers, reading.bad_rows) == (2, 3, 0)
        frames.append(reading.frame)
    for frame in frames[1:]:
        assert_frame_equal(frame, frames[0])
    rows = frames[0].rows(named=True)
    assert [(r["transaction_hash"], r["transfer_index"], r["to_address"], r["value"]) for r in rows] == [
        ("cc", 0, ALICE, "625000000"), ("aa", 0, BOB, "4000000000"), ("aa", 1, ALICE, "999990007"),
    ]  # fmt: skip
    assert (rows[0]["inputs"], rows[0]["fee"], rows[0]["flags"]) == ([], None, TxFlag.COINBASE)
    assert (rows[1]["inputs"], rows[1]["input_values"]) == ([ALICE, CAROL], ["5000000000", "7"])
    assert (rows[1]["fee"], rows[1]["fee_rate"], rows[1]["n_outputs"], rows[1]["version"]) == ("10000", 50.0, 3, 2)
    round_ones = TxFlag.ROUND_FEE | TxFlag.ROUND_AMOUNT
    assert (rows[1]["flags"], rows[1]["script_type"]) == (TxFlag.REPLACEABLE | TxFlag.LOCKED | round_ones, "mixed")


def test_who_only_receives_sees_its_own_output(tmp_path: Path, read_bitcoin: Any) -> None:
    """Of a stranger's transaction the outputs to a watched address are kept, with what they were among."""
    for name in ("a.ndjson", "a.parquet"):
        frame = read_bitcoin(save(tmp_path / name, [transaction()]), watched=BOB).frame
        assert frame.select("transfer_index", "to_address", "n_outputs").rows() == [(0, BOB, 3)]


def test_it_tells_what_the_native_table_tells(tmp_path: Path, read_bitcoin: Any) -> None:
    """The frame written as a native table and read again is the same."""
    frame = read_bitcoin(save(tmp_path / "a.ndjson", [COINBASE, transaction()])).frame
    table = frame.with_columns(from_address=pl.col("inputs")).drop("inputs", "amount", "gas_limit", "nonce", "tx_from")
    table.write_parquet(tmp_path / "native.parquet")
    again = read_bitcoin(tmp_path / "native.parquet").frame.with_columns(pl.col("script_type").fill_null(""))
    assert_frame_equal(again, frame)


def test_the_warehouse_has_decimals_and_times(tmp_path: Path, read_bitcoin: Any) -> None:
    """NUMERIC amounts, timestamps, no place in the block: file order stands in, outputs stay together."""
    rows = [
        {k: v for k, v in transaction(hash=hash).items() if k not in ("index", "type")} for hash in ("bb", "aa")
    ]  # fmt: skip
    number = pl.Decimal(38, 9)
    record = pl.Struct({
        "index": pl.Int64, "addresses": pl.List(pl.String), "value": number, "type": pl.String, "sequence": pl.Int64,
    })  # fmt: skip
    frame = pl.DataFrame(
        rows, schema_overrides={"inputs": pl.List(record), "outputs": pl.List(record), "fee": number},
        infer_schema_length=None, strict=False,
    ).with_columns(pl.from_epoch("block_timestamp").dt.replace_time_zone("UTC"))  # fmt: skip
    frame.write_parquet(tmp_path / "a.parquet")
    reading = read_bitcoin(tmp_path / "a.parquet")
    assert reading.bad_rows == 0
    assert reading.frame.select("transaction_hash", "value", "fee").rows() == [
        (hash, value, "10000") for hash in ("bb", "aa") for value in ("4000000000", "999990007")
    ]  # fmt: skip
    assert any("no transaction_index column: file order stands in" in note for note in reading.notes)


def test_outputs_of_nobody_and_of_several(tmp_path: Path, read_bitcoin: Any) -> None:
    """Scripts without an address and those of several owners are nobody's; unknown inputs are worth nothing."""
    row = transaction(
        inputs=[entry([], None), entry([ALICE], 9)],
        outputs=[entry([], 1), entry([BOB, ALICE], 2), entry([ALICE], 3)], fee=None,
    )  # fmt: skip
    for name in ("a.ndjson", "a.json", "a.parquet"):
        frame = read_bitcoin(save(tmp_path / name, [row])).frame
        assert frame.select("to_address", "value").rows() == [("", "1"), ("", "2"), (ALICE, "3")]
        assert frame.select("inputs", "input_values").rows()[0] == (["", ALICE], ["0", "9"])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"outputs": [entry([BOB], 1.5)]}, "outputs hold an amount that is no whole number of base units"),
        ({"inputs": [entry([BOB], -5)]}, "inputs hold an amount that is no whole number of base units"),
        ({"outputs": []}, "there are no outputs"),
        ({"hash": ""}, "hash is empty"),
        ({"block_number": -1}, "block_number was '-1', expected a whole number of 0 or more"),
    ],
)
def test_broken_rows(tmp_path: Path, read_bitcoin: Any, changes: dict[str, Any], reason: str) -> None:
    """A transaction that cannot be read is one bad row; the others are read."""
    reading = read_bitcoin(save(tmp_path / "a.ndjson", [COINBASE, transaction(**changes)]))
    assert [(bad.row, bad.reason) for bad in reading.bad] == [(2, reason)]
    assert (reading.rows, reading.transfers) == (2, 1)
