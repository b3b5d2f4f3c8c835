"""All layouts together: they can be sent to other processes, each finds its own files, and nothing breaks them."""

from __future__ import annotations

import csv
import io
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chains.tables.layout import layouts, spelled

ALICE, BOB = ("0x" + c * 40 for c in "ab")
HEX = "0x" + "1" * 64
ROWS: dict[str, dict[str, str]] = {
    "the native table": {
        "chain": "ethereum", "block_number": "10", "block_timestamp": "1600000000", "transaction_hash": HEX,
        "transaction_index": "0", "transfer_index": "0", "from_address": ALICE, "to_address": BOB, "asset": "native",
        "value": "5", "status": "1", "fee": "3", "kind": "native",
    },
    "the native table without hashes": {
        "block_number": "10", "transaction_index": "1", "block_timestamp": "1600000000", "from_address": ALICE,
        "to_address": BOB, "asset": "native", "value": "5",
    },
    "ethereum-etl transactions": {
        "hash": HEX, "nonce": "3", "block_number": "10", "transaction_index": "2", "from_address": ALICE,
        "to_address": BOB, "value": "10", "gas": "21000", "gas_price": "5", "block_timestamp": "1600000000",
        "receipt_status": "1", "receipt_gas_used": "21000",
    },
    "ethereum-etl token_transfers": {
        "token_address": BOB, "from_address": ALICE, "to_address": BOB, "value": "7", "transaction_hash": HEX,
        "log_index": "4", "block_number": "10", "block_timestamp": "2020-09-13 12:26:40 UTC",
    },
    "ethereum-etl traces": {
        "block_number": "10", "transaction_hash": HEX, "transaction_index": "2", "from_address": ALICE,
        "to_address": BOB, "value": "10", "trace_type": "call", "call_type": "call", "trace_address": "0,1",
        "error": "", "block_timestamp": "1600000000",
    },
    "cryo native_transfers": {
        "block_number": "10", "transaction_index": "0", "transfer_index": "0", "transaction_hash": HEX,
        "from_address": ALICE, "to_address": BOB, "value_string": "5", "chain_id": "1", "timestamp": "1600000000",
    },
    "a block explorer's transactions": {
        "Txhash": HEX, "Blockno": "10", "UnixTimestamp": "1600000000", "From": ALICE, "To": BOB,
        "ContractAddress": "", "Value_IN(ETH)": "0", "Value_OUT(ETH)": "1.5", "TxnFee(ETH)": "0.1", "Status": "",
        "ErrCode": "",
    },
    "a block explorer's txlist": {
        "blockNumber": "10", "timeStamp": "1600000000", "hash": HEX, "nonce": "1", "transactionIndex": "1",
        "from": ALICE, "to": BOB, "value": "5", "gas": "1", "gasPrice": "1", "gasUsed": "1", "isError": "0",
        "txreceipt_status": "1", "contractAddress": "",
    },
    "the balances table": {"chain": "ethereum", "address": ALICE, "asset": "native", "block_number": "1", "value": "5"},
}  # fmt: skip


def test_layouts_go_to_other_processes() -> None:
    """A plan is sent to workers: a layout is the same there, and two have no name in common."""
    everyone = layouts()
    for layout in everyone:
        again = pickle.loads(pickle.dumps(layout))
        assert (again.name, again.required, again.build) == (layout.name, layout.required, layout.build)
    assert len({layout.name for layout in everyone}) == len(everyone)


@pytest.mark.parametrize("name", ROWS)
def test_each_file_finds_its_layout(name: str) -> None:
    """By columns alone, whatever stands in which order, and whatever else there is."""
    columns = list(ROWS[name])
    for order in (columns, columns[::-1], [*columns, "something else"]):
        layout, _ = spelled(order)
        assert layout is not None and layout.name == name


def _csv(rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


VALUES = st.one_of(
    st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=20),
    st.sampled_from([
        "", "-1", "1e400", "NaN", "inf", "9" * 400, "0x", "0x" + "f" * 65, "\\x", "1.5", "2020-13-40", "null", "|",
        "\x00", "-9223372036854775809", "18446744073709551616", ",", '"', "[]", "{}", "0,0,0", "٣", "1600000000000",
    ]),
)  # fmt: skip


@settings(deadline=None, max_examples=3, suppress_health_check=list(HealthCheck))
@given(data=st.data())
@pytest.mark.parametrize("name", ROWS)
def test_damaged_rows_are_counted(tmp_path: Path, read_alice: Any, name: str, data: st.DataObject) -> None:
    """Whatever stands in a field: the row is good or bad, the good ones beside it are read, nothing fails."""
    row = ROWS[name]
    columns = list(row)
    damaged = [
        row | data.draw(st.dictionaries(st.sampled_from(columns), VALUES, min_size=1, max_size=3)) for _ in range(20)
    ]
    rows = [row, *damaged]
    for form in ("csv", data.draw(st.sampled_from(["ndjson", "json"]))):
        path = tmp_path / f"a.{form}"
        text = _csv(rows) if form == "csv" else json.dumps(rows)
        path.write_text("".join(json.dumps(r) + "\n" for r in rows) if form == "ndjson" else text)
        reading = read_alice(path)
        assert reading.rows == len(rows)
        assert 0 <= reading.bad_rows <= len(damaged)
        assert len(reading.bad) == reading.bad_rows
        assert all(bad.reason and 1 <= bad.row <= len(rows) + 1 for bad in reading.bad)
        for value in reading.frame["value"]:
            assert value.isdigit() and int(value) < 2**256
        if name != "the balances table":
            assert reading.frame.height >= 1
