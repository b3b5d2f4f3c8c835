"""Tables of cryo: bytes and hex text, its three forms of amounts, and that they tell what other layouts tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

ALICE, BOB, CAROL = ("0x" + c * 40 for c in "abc")
TOKEN = "0x" + "d" * 40
ONE, TWO = "0x" + "1" * 64, "0x" + "2" * 64
NOW = 1_600_000_000
BYTES = ("transaction_hash", "from_address", "to_address", "erc20", "action_from", "action_to", "result_address")


def save(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Write rows as cryo does: bytes in Parquet, hex text elsewhere."""
    frame = pl.DataFrame(list(rows), infer_schema_length=None)
    if path.suffix == ".parquet":
        there = [pl.col(name).cast(pl.String) for name in BYTES if name in frame.columns]
        columns = [column.str.strip_prefix("0x").str.decode("hex") for column in there]
        frame.with_columns(columns).write_parquet(path)
    elif path.suffix == ".csv":
        frame.write_csv(path)
    elif path.suffix == ".ndjson":
        frame.write_ndjson(path)
    else:
        frame.write_json(path)
    return path


def amount(value: int) -> dict[str, Any]:
    """An amount in cryo's default forms."""
    return {"value_string": str(value), "value_f64": float(value)}


TRANSACTIONS = [
    {
        "block_number": 100, "transaction_index": n, "transaction_hash": hash, "nonce": 5 + n, "from_address": ALICE,
        "to_address": to, **amount(2**200 + n), "gas_limit": 21_000, "gas_used": 20_000, "gas_price": 7,
        "success": success, "chain_id": 1,
    }
    for n, (hash, to, success) in enumerate([(ONE, BOB, True), (TWO, CAROL, False)])
]  # fmt: skip
ERC20 = [
    {
        "block_number": 100, "transaction_index": 0, "log_index": 4, "transaction_hash": ONE, "erc20": TOKEN,
        "from_address": ALICE, "to_address": CAROL, **amount(2**255), "chain_id": 1,
    }
]  # fmt: skip
BLOCKS = [{"block_hash": ONE, "author": CAROL, "block_number": 100, "gas_used": 1, "timestamp": NOW, "chain_id": 1}]
FORMS = ("parquet", "csv", "ndjson", "json")


@pytest.mark.parametrize("form", FORMS)
def test_cryo_tells_what_ethereum_etl_and_the_native_table_tell(
    tmp_path: Path, read_alice: Any, write: Any, form: str
) -> None:
    """The same transfers in three layouts give equal frames; failed transactions pay, amounts are exact."""
    cryo = read_alice(
        save(tmp_path / f"t.{form}", TRANSACTIONS), save(tmp_path / f"e.{form}", ERC20),
        save(tmp_path / f"b.{form}", BLOCKS),
    )  # fmt: skip
    etl = read_alice(
        write(tmp_path / "t.etl.csv", [
            {
                "hash": row["transaction_hash"], "value": row["value_string"], "gas": row["gas_limit"],
                "receipt_status": int(row["success"]), "receipt_gas_used": row["gas_used"], "block_timestamp": NOW,
                **{name: row[name] for name in (
                    "nonce", "block_number", "transaction_index", "from_address", "to_address", "gas_price",
                )},
            }
            for row in TRANSACTIONS
        ]),
        write(tmp_path / "e.etl.csv", [
            {
                "token_address": row["erc20"], "value": row["value_string"], "block_timestamp": NOW,
                **{name: row[name] for name in (
                    "from_address", "to_address", "transaction_hash", "log_index", "block_number",
                )},
            }
            for row in ERC20
        ]),
    )  # fmt: skip
    assert_frame_equal(cryo.frame, etl.frame)
    assert (cryo.transfers, etl.transfers, cryo.bad_rows) == (2, 2, 0)
    assert cryo.frame["value"].to_list() == [str(2**200), str(7 * 20_000), str(2**255), str(7 * 20_000)]
    unlike = ["amount", "inputs", "input_values", "script_type", "version", "flags", "n_outputs"]  # of other chains
    rows = cryo.frame.drop(unlike).with_columns(pl.col("transfer_index") + 1)
    native = tmp_path / f"native.{form}"
    {"parquet": rows.write_parquet, "csv": rows.write_csv, "ndjson": rows.write_ndjson, "json": rows.write_json}[form](
        native
    )
    again = read_alice(native).frame.with_columns(pl.col("to_address").fill_null(""))  # fees go to nobody
    assert_frame_equal(again, cryo.frame.with_columns(pl.col("transfer_index") + 1))


@pytest.mark.parametrize("column", ["value_binary", "value_u64", "value", "value_f64"])
def test_each_form_of_amounts(tmp_path: Path, read_alice: Any, column: str) -> None:
    """Exact forms are exact; a float is read where it is one that holds its number."""
    value = 2**50
    given = value.to_bytes(32, "big") if column == "value_binary" else float(value) if "f64" in column else value
    rows = [{name: v for name, v in row.items() if "value" not in name} | {column: given} for row in TRANSACTIONS[:1]]
    blocks = save(tmp_path / "b.parquet", BLOCKS)
    reading = read_alice(save(tmp_path / "a.parquet", rows), blocks)
    assert reading.frame["value"].to_list()[0] == str(value)
    if column == "value_binary":
        rows = [row | {column: "0x" + given.hex()} for row in rows]
        assert_frame_equal(read_alice(save(tmp_path / "a.csv", rows), blocks).frame, reading.frame)


def test_a_rounded_amount_is_a_bad_row(tmp_path: Path, read_alice: Any) -> None:
    """With nothing but a float beyond 2^53 the amount is not known."""
    rows = [{name: v for name, v in row.items() if name != "value_string"} for row in TRANSACTIONS]
    reading = read_alice(save(tmp_path / "a.parquet", rows), save(tmp_path / "b.parquet", BLOCKS))
    assert reading.bad_rows == 2 and "is not exact" in reading.bad[0].reason


def test_rows_of_another_chain_are_not_watched(tmp_path: Path, read_alice: Any) -> None:
    """The chain is that of ``chain_id``."""
    rows = [row | {"chain_id": 137} for row in TRANSACTIONS]
    reading = read_alice(save(tmp_path / "a.parquet", rows), save(tmp_path / "b.parquet", BLOCKS))
    assert reading.frame.is_empty()
    assert "chain '137' is not configured: 2 rows are counted but not watched" in reading.notes


def _native(**changes: Any) -> dict[str, Any]:
    row = {
        "block_number": 100, "transaction_index": 0, "transfer_index": 0, "transaction_hash": ONE,
        "from_address": ALICE, "to_address": BOB, **amount(10), "chain_id": 1,
    }  # fmt: skip
    return row | changes


def _trace(**changes: Any) -> dict[str, Any]:
    row = {
        "action_from": ALICE, "action_to": BOB, "action_value": "10", "action_call_type": "call", "action_type": "call",
        "action_reward_type": None, "result_address": None, "trace_address": "", "transaction_position": 0,
        "transaction_hash": ONE, "block_number": 100, "error": None, "chain_id": 1,
    }  # fmt: skip
    return row | changes


@pytest.mark.parametrize("form", FORMS)
def test_native_transfers_and_traces(tmp_path: Path, read_alice: Any, form: str) -> None:
    """The first of a transaction is its own value; beside traces, which know kinds, they repeat and count as none."""
    none = {"transaction_hash": None, "transaction_index": None}
    native = save(tmp_path / f"n.{form}", [
        _native(),
        _native(transfer_index=1, from_address=BOB, to_address=ALICE, **amount(3)),
        _native(transfer_index=2, transaction_index=1, transaction_hash=TWO, **amount(4)),
        _native(transfer_index=3, from_address="0x" + "0" * 40, to_address=ALICE, **amount(5), **none),
    ])  # fmt: skip
    traces = save(tmp_path / f"t.{form}", [
        _trace(),
        _trace(trace_address="0", action_from=BOB, action_to=ALICE, action_value="3"),
        _trace(trace_address="1", action_call_type="delegate_call", action_value="9"),
        _trace(trace_address="2", error="Reverted"),
        _trace(trace_address="2_0"),
        _trace(transaction_hash=TWO, transaction_position=1, action_value="4"),
        _trace(action_type="reward", action_from=ALICE, action_to=None, action_call_type=None, action_value="5",
               action_reward_type="block", transaction_hash=None, transaction_position=None),
    ])  # fmt: skip
    blocks = save(tmp_path / f"b.{form}", BLOCKS)
    expected = [
        ("native", ALICE, BOB, "10"), ("internal", BOB, ALICE, "3"), ("native", ALICE, BOB, "4"),
        ("internal", "", ALICE, "5"),
    ]  # fmt: skip
    shown = ("kind", "from_address", "to_address", "value")
    for files in ((native,), (traces,), (native, traces)):
        reading = read_alice(*files, blocks)
        assert reading.frame.select(shown).rows() == expected, files
        assert (reading.transfers, reading.bad_rows) == (4, 0), files
    beside = read_alice(native, blocks, save(tmp_path / f"tx.{form}", TRANSACTIONS[:1]))
    assert [(kind, value) for kind, _, _, value in beside.frame.select(shown).rows()] == [
        ("native", str(2**200)), ("fee", str(7 * 20_000)), ("internal", "3"), ("internal", "5"),
    ]  # fmt: skip


def test_hashes_as_bytes_are_no_text(tmp_path: Path, read_alice: Any) -> None:
    """What cryo writes unless it is told to write hex: a call that failed takes what is inside of it along."""
    hashes = ["0x" + digits * 32 for digits in ("a0", "a1")]
    rows = [_trace(), _trace(trace_address="1", error="Reverted"), _trace(trace_address="1_0"),
            _trace(transaction_position=1, action_value="4")]  # fmt: skip
    named = [{**row, "transaction_hash": hashes[row["transaction_position"]]} for row in rows]
    blocks = save(tmp_path / "b.parquet", BLOCKS)
    found = [read_alice(save(tmp_path / f"t.{form}", named), blocks).frame for form in ("parquet", "csv")]
    assert found[0].equals(found[1]) and found[0]["transaction_hash"].to_list() == hashes
    assert found[0]["value"].to_list() == ["10", "4"]
