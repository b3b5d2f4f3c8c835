"""Columns of JSON files: whichever record they are first in, and however odd some records are."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chains.tables import Reading, Source, read
from monitor.backtesting.workers.make import workers
from monitor.networks import by_name

ALICE, BOB = ("0x" + c * 40 for c in "ab")
MANY = 1500  # more records than a file's columns are taken from at first
FORMS: dict[str, Callable[[list[Any]], str]] = {
    "ndjson": lambda rows: "".join(f"{json.dumps(row)}\n" for row in rows),
    "array": json.dumps,
    "pretty": lambda rows: json.dumps(rows, indent=2),
}


@pytest.fixture
def rows(native_row: Callable[..., dict[str, Any]]) -> list[dict[str, Any]]:
    return [native_row(block_number=n + 1, transaction_hash=f"0x{n:064x}") for n in range(MANY)]


def save(path: Path, form: str, rows: list[Any]) -> Path:
    path.write_text(FORMS[form](rows))
    return path


@pytest.mark.parametrize("form", FORMS)
def test_a_status_that_few_rows_have(form: str, rows: list[Any], read_alice: Any, tmp_path: Path) -> None:
    """What failed did not move, wherever the first row with a status stands; the order of rows decides nothing."""
    rows.append({**rows[0], "block_number": MANY + 1, "value": "1000", "status": 0})
    rows.append({**rows[0], "block_number": MANY + 2, "value": "7", "nonce": 3})  # another one later
    late: Reading = read_alice(save(tmp_path / "late.json", form, rows))
    early: Reading = read_alice(save(tmp_path / "early.json", form, rows[::-1]))
    assert (late.rows, late.transfers) == (early.rows, early.transfers) == (MANY + 2, MANY + 1)
    assert late.frame.equals(early.frame) and late.frame["nonce"].to_list()[-1] == 3
    assert not any("no status column" in note for note in late.notes)


def test_columns_seen_late_by_other_processes(rows: list[Any], infos: Any, tmp_path: Path) -> None:
    """They start the reading anew wherever it takes place."""
    rows.append({**rows[0], "block_number": MANY + 1, "status": 0})
    paths = [save(tmp_path / f"{n}.json", "ndjson", rows) for n in range(2)]
    chain = by_name("ethereum")
    assert chain is not None
    with workers("processes", 2) as some:
        reading = read(
            [Source(str(path)) for path in paths], chains=infos, watch={chain.chain: frozenset([ALICE])}, parts=2,
            each=some.run,
        )  # fmt: skip
    assert (reading.rows, reading.transfers) == (2 * MANY + 2, 2 * MANY)


def test_the_names_of_columns_inside_of_records_are_none(rows: list[Any], read_alice: Any, tmp_path: Path) -> None:
    """Nor are they where they are texts."""
    rows[MANY - 1] = {**rows[MANY - 1], "note": {"status": 0}, "said": 'it has a "status": none'}
    reading: Reading = read_alice(save(tmp_path / "a.json", "ndjson", rows))
    assert reading.transfers == MANY and any("no status column" in note for note in reading.notes)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("odd", "reason"), [
    ({"value": {"a": 1}}, "value was"),
    ({"from_address": {"a": 1}}, ""),
    ({"status": {"x": 1}}, "status was"),
])  # fmt: skip
def test_one_odd_record_is_one_bad_row(
    form: str, odd: dict[str, Any], reason: str, rows: list[Any], read_alice: Any, tmp_path: Path
) -> None:
    """What a column holds is what most records have in it."""
    few: list[Any] = [{**row, "status": 1} for row in rows[:60]]
    few[30] |= odd
    few[31] |= {"status": 0}
    reading: Reading = read_alice(save(tmp_path / "a.json", form, few))
    assert (reading.rows, reading.transfers) == (60, 59 if not reason else 58)
    assert [bad.reason[: len(reason)] for bad in reading.bad] == [reason] * bool(reason)


@pytest.mark.parametrize("first", ["garbage", "null", "7"])
def test_a_first_line_that_is_none(first: str, rows: list[Any], read_alice: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    path.write_text(f"{first}\n{FORMS['ndjson'](rows[:20])}")
    reading: Reading = read_alice(path)
    assert (reading.rows, reading.bad_rows, reading.bad[0].row) == (21, 1, 1)


def test_halves_of_characters(native_row: Any, read_alice: Any, tmp_path: Path) -> None:
    """Symbols cut in the middle of an emoji, in lines that are read one by one and in an answer of an API."""
    row = native_row(symbol="\ud83d", decimals=6)
    (tmp_path / "a.ndjson").write_text("{\n" + FORMS["ndjson"]([row] * 3))
    assert read_alice(tmp_path / "a.ndjson").bad_rows in (1, 4)
    api = {
        "blockNumber": "5", "timeStamp": "1500000000", "hash": "0x" + "1" * 64, "from": ALICE, "to": BOB, "value": "5",
        "contractAddress": "0x" + "c" * 40, "tokenSymbol": "\ud83d", "tokenDecimal": "6", "transactionIndex": "0",
        "gas": "1", "gasPrice": "1", "gasUsed": "1", "nonce": "1", "tokenName": "x", "blockHash": "0x" + "2" * 64,
    }  # fmt: skip
    (tmp_path / "b.json").write_text(json.dumps({"status": "1", "message": "OK", "result": [api]}))
    assert read_alice(tmp_path / "b.json").transfers == 1


def test_unknown_owners_of_inputs(three_chains: Any, tmp_path: Path) -> None:
    """Lists with nulls keep their length, a list of one empty text is one entry."""
    row = {
        "chain": "bitcoin", "block_number": 10, "block_timestamp": 1_500_000_000, "transaction_hash": "ab" * 32,
        "to_address": "1B", "asset": "native", "value": "5",
    }  # fmt: skip
    rows = [
        {**row, "from_address": [None, "1A"], "input_values": ["3", "4"], "transfer_index": 0},
        {**row, "from_address": [""], "input_values": ["4"], "transaction_hash": "cd" * 32, "transfer_index": 0},
    ]
    (tmp_path / "a.ndjson").write_text(FORMS["ndjson"](rows))
    chain = by_name("bitcoin")
    assert chain is not None
    watch = {chain.chain: frozenset(["1B"])}
    reading = read([Source(str(tmp_path / "a.ndjson"))], chains=three_chains, watch=watch)
    assert (reading.rows, reading.bad_rows) == (2, 0)
    assert sorted(reading.frame["inputs"].to_list()) == [[""], ["", "1A"]]
