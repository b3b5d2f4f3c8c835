"""Tables of traces: what moved inside of transactions, what failed around it, and what other tables already tell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

ALICE, BOB, CAROL = ("0x" + c * 40 for c in "abc")
MINER = "0x" + "9" * 40
NOW = 1_600_000_000
FORMS = ("a.csv", "a.ndjson", "a.json", "a.parquet")


def trace(path: str = "", **changes: Any) -> dict[str, Any]:
    """One row of ethereum-etl traces."""
    row: dict[str, Any] = {
        "block_number": 100, "transaction_hash": "0x01", "transaction_index": 2, "from_address": ALICE,
        "to_address": BOB, "value": 10, "trace_type": "call", "call_type": "call", "reward_type": "",
        "trace_address": path, "error": "", "status": 1, "block_timestamp": NOW,
    }  # fmt: skip
    return row | changes


def moved(reading: Any) -> list[tuple[str, ...]]:
    """What a reading found, in short."""
    return reading.frame.select("kind", "from_address", "to_address", "value").rows()


@pytest.mark.parametrize("name", FORMS)
def test_calls_that_move(tmp_path: Path, read_alice: Any, write: Any, name: str) -> None:
    """Calls, creations and what a contract leaves behind move; code of others, static calls and failures do not."""
    rows = [
        trace(),
        trace("0", from_address=BOB, to_address=ALICE, value=3),
        trace("1", call_type="delegatecall", from_address=BOB, to_address=ALICE),
        trace("2", call_type="callcode", from_address=BOB, to_address=ALICE),
        trace("3", call_type="staticcall", from_address=BOB, to_address=ALICE, value=0),
        trace("4", trace_type="create", call_type="", to_address=CAROL, value=4),
        trace("5", trace_type="suicide", call_type="", from_address=CAROL, to_address=ALICE, value=5),
        trace("6", trace_type="suicide", call_type="", from_address=ALICE, to_address=ALICE, value=6),
        trace("7", status=0, value=7),
        trace("8", error="Reverted", value=8),
    ]
    reading = read_alice(write(tmp_path / name, rows))
    assert moved(reading) == [
        ("native", ALICE, BOB, "10"), ("internal", BOB, ALICE, "3"), ("internal", ALICE, CAROL, "4"),
        ("internal", CAROL, ALICE, "5"),
    ]  # fmt: skip
    assert (reading.rows, reading.transfers, reading.bad_rows) == (10, 4, 0)
    assert reading.blind_spots == {"eip155:1": ("token transfers",)}


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("status", [None, 1])
def test_nothing_below_a_failed_call_happened(
    tmp_path: Path, read_alice: Any, write: Any, name: str, status: int | None
) -> None:
    """Calls inside of one that failed moved nothing, however deep, whether their rows say so or not; others did."""
    rows = [
        trace(value=1, status=status),
        trace("0", value=2, error="Out of gas", status=status),
        trace("0,0", value=3, status=status),
        trace("0,0,11", value=4, status=status),
        trace("01", value=5, status=status),
        trace("1", value=6, status=status),
        trace("", value=7, transaction_hash="0x02", transaction_index=3, error="Reverted", status=status),
        trace("0", value=8, transaction_hash="0x02", transaction_index=3, status=status),
        trace("0", value=9, transaction_hash="0x03", transaction_index=4, status=status),
    ]
    if status is None:
        for row in rows:
            del row["status"]
    reading = read_alice(write(tmp_path / name, rows))
    assert [value for *_, value in moved(reading)] == ["1", "5", "6", "9"]
    assert reading.transfers == 4


def test_a_transaction_cut_by_a_chunk_is_whole(
    tmp_path: Path, read_alice: Any, write: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chunks of a text file end where they will: calls still know the failure that lies in the chunk before."""
    monkeypatch.setattr("chains.tables.lines.CHUNK_BYTES", 700)
    rows = [trace("", error="Reverted")] + [trace(str(n)) for n in range(20)]
    rows += [trace("", transaction_hash="0x02", transaction_index=3, value=5)]
    for row in rows:
        del row["status"]
    reading = read_alice(write(tmp_path / "a.csv", rows))
    assert [value for *_, value in moved(reading)] == ["5"]
    assert reading.rows == 22


def test_rewards_come_from_nobody(tmp_path: Path, read_alice: Any, write: Any) -> None:
    """What the chain itself gives reaches its miner after all transactions, and is no transfer between accounts."""
    none = {"transaction_hash": "", "transaction_index": "", "from_address": "", "call_type": ""}
    rows = [
        trace(to_address=MINER),
        trace(**none | {"trace_type": "reward", "reward_type": "block", "to_address": MINER, "value": 5}),
        trace(**none | {"trace_type": "reward", "reward_type": "uncle", "to_address": MINER, "value": 5}),
        trace(**none | {"trace_type": "genesis", "to_address": MINER, "value": 6}),
    ]
    reading = read_alice(write(tmp_path / "a.csv", rows), watched=(MINER,))
    assert moved(reading) == [
        ("native", ALICE, MINER, "10"), ("internal", "", MINER, "5"), ("internal", "", MINER, "5"),
        ("internal", "", MINER, "6"),
    ]  # fmt: skip
    assert reading.frame["transaction_hash"].to_list()[1:] == [
        f"reward-{MINER}-100-block", f"reward-{MINER}-100-uncle", f"genesis-{MINER}-100",
    ]  # fmt: skip


def test_a_value_counts_once(tmp_path: Path, read_alice: Any, write: Any) -> None:
    """Beside transactions the outermost calls say nothing new; inner calls get their transaction's facts."""
    traces = write(tmp_path / "1.csv", [trace(), trace("0", from_address=BOB, to_address=ALICE, value=3)])
    alone = read_alice(traces)
    assert (alone.transfers, [value for *_, value in moved(alone)]) == (2, ["10", "3"])
    assert alone.frame["tx_from"].to_list()[0] == ALICE
    transactions = write(tmp_path / "2.csv", [{
        "hash": "0x01", "nonce": 3, "block_number": 100, "transaction_index": 2, "from_address": ALICE,
        "to_address": BOB, "value": 10, "gas": 21000, "gas_price": 50, "block_timestamp": NOW, "receipt_status": 1,
        "receipt_gas_used": 2,
    }])  # fmt: skip
    both = read_alice(traces, transactions)
    assert (both.transfers, [value for *_, value in moved(both)]) == (2, ["10", "100", "3"])
    assert both.frame.select("tx_from", "nonce", "transaction_index").rows()[2] == (ALICE, 3, 2)
    assert both.blind_spots == {"eip155:1": ("token transfers",)}


def test_equal_calls_of_one_transaction_are_two(tmp_path: Path, read_alice: Any, write: Any) -> None:
    """The same amount paid twice is two transfers; the same row twice is one."""
    rows = [trace(value=0), trace("0"), trace("1"), trace("1")]
    reading = read_alice(write(tmp_path / "a.csv", rows))
    assert [value for *_, value in moved(reading)] == ["10", "10"]
    assert "1 watched rows equal another one in every column and were dropped" in reading.notes


def test_the_warehouse_keeps_actions_as_records(tmp_path: Path, read_alice: Any, write: Any) -> None:
    """Amounts as text beside rounded ones, the parts of an action as a record, all kinds of trace."""

    def row(path: list[int], kind: str, **action: Any) -> dict[str, Any]:
        parts = dict.fromkeys([
            "from_address", "to_address", "call_type", "value", "value_lossless", "author", "reward_type",
            "refund_address", "refund_balance", "refund_balance_lossless", "self_destructed_address",
        ])  # fmt: skip
        return {
            "block_number": 100, "block_timestamp": "2020-09-13 12:26:40 UTC", "transaction_hash": "0x01",
            "transaction_index": 2, "trace_type": kind, "trace_address": path, "action": parts | action,
            "result": {"address": CAROL if kind == "create" else None, "gas_used": 1}, "error": None,
        }  # fmt: skip

    value = 123_456_789_012_345_678_901
    rows = [
        row([], "call", from_address=ALICE, to_address=BOB, value=1.2e20, value_lossless=str(value), call_type="call"),
        row([0], "create", from_address=ALICE, value_lossless="4"),
        row([0, 1], "suicide", self_destructed_address=BOB, refund_address=ALICE, refund_balance_lossless="5"),
        row([1], "call", from_address=ALICE, to_address=BOB, value_lossless="6", call_type="call") | {"error": "x"},
        row([1, 0], "call", from_address=ALICE, to_address=BOB, value_lossless="7", call_type="call"),
        row([], "reward", author=ALICE, value_lossless="8") | {"transaction_hash": None, "transaction_index": None},
    ]
    for name in ("a.ndjson", "a.json", "a.parquet"):
        reading = read_alice(write(tmp_path / name, rows))
        assert moved(reading) == [
            ("native", ALICE, BOB, str(value)), ("internal", ALICE, CAROL, "4"), ("internal", BOB, ALICE, "5"),
            ("internal", "", ALICE, "8"),
        ], name  # fmt: skip
        assert (reading.rows, reading.bad_rows, reading.transfers) == (6, 0, 4)


def test_warehouse_tokens_and_blocks(tmp_path: Path, read_alice: Any, write: Any) -> None:
    """Quantities as text, standards by name, orphaned events, and blocks under their longer names."""
    token = "0x" + "d" * 40
    common = {
        "block_number": 100, "transaction_hash": "0x01", "transaction_index": 2, "from_address": ALICE,
        "to_address": BOB, "address": token, "event_type": "ERC-20", "token_id": None, "batch_index": None,
        "removed": False,
    }  # fmt: skip
    rows = [
        common | {"event_index": 4, "quantity": str(2**255)},
        common | {"event_index": 5, "quantity": "1", "event_type": "ERC-721", "token_id": "77"},
        common | {"event_index": 6, "quantity": "2", "event_type": "ERC-1155", "token_id": "5", "batch_index": 0},
        common | {"event_index": 6, "quantity": "2", "event_type": "ERC-1155", "token_id": "6", "batch_index": 1},
        common | {"event_index": 7, "quantity": "3", "removed": True},
    ]
    block = {"block_hash": "0xb", "block_number": 100, "block_timestamp": "2020-09-13T12:26:40Z", "miner": BOB}
    blocks = write(tmp_path / "b.csv", [block])
    for name in ("a.ndjson", "a.parquet"):
        frame = read_alice(write(tmp_path / name, rows), blocks).frame
        assert frame.select("asset", "value").rows() == [
            (f"eip155:1/erc20:{token}", str(2**255)), (f"eip155:1/erc721:{token}", "1"),
            (f"eip155:1/erc1155:{token}/5", "2"), (f"eip155:1/erc1155:{token}/6", "2"),
        ]  # fmt: skip
        assert frame["block_timestamp"].unique().to_list() == [NOW]


def test_warehouse_transactions(tmp_path: Path, read_alice: Any) -> None:
    """The lossless amount is read, not the rounded one beside it, also where amounts are records of both."""
    value = 2**200 + 1
    row = {
        "transaction_hash": "0x01", "block_number": 100, "block_timestamp": "2020-09-13 12:26:40.000000 UTC",
        "transaction_index": 2, "nonce": 1, "from_address": ALICE, "to_address": BOB, "gas": 21000, "gas_price": 5,
    }  # fmt: skip
    pl.DataFrame([row | {"value": float(value), "value_lossless": str(value)}]).write_parquet(tmp_path / "a.parquet")
    records = [row | {"value": {"string_value": str(value), "bignumeric_value": None}}]
    pl.DataFrame(records).write_parquet(tmp_path / "b.parquet")
    pl.DataFrame(records).write_ndjson(tmp_path / "b.ndjson")
    for name in ("a.parquet", "b.parquet", "b.ndjson"):
        assert read_alice(tmp_path / name).frame.select("value", "nonce").rows() == [(str(value), 1)]


def test_workers_do_not_part_a_transaction(tmp_path: Path, read_alice: Any) -> None:
    """A call inside of one that failed, whose row lies in another file, however many parts there should be."""
    calls = [
        trace(status=1), trace("0", status=1, error="Reverted"), trace("0,0", from_address=BOB, to_address=ALICE),
    ]  # fmt: skip
    paths = [tmp_path / f"{number}.parquet" for number in range(len(calls))]
    for call, path in zip(calls, paths, strict=True):
        pl.DataFrame([call]).drop("status").write_parquet(path)
    for parts in (1, 8):
        reading = read_alice(*paths, parts=parts)
        assert (moved(reading), reading.transfers) == ([("native", ALICE, BOB, "10")], 1)
