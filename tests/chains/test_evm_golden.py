"""Recorded answers of nodes against the tables that ethereum-etl, an independent exporter, made of the same answers."""

from __future__ import annotations

import csv
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chains.evm.calls import ParityTrace, TxFrame, from_frames, from_parity
from chains.evm.decode import decode_block
from chains.evm.tokens import MOVES, TRANSFER, moves_of
from chains.evm.wire import RpcBlock, RpcLog, RpcReceipt
from monitor.model import Block, TransferKind

CHAIN, ETHER = "eip155:1", "eip155:1/slip44:60"
Row = dict[str, Any]


class Everyone:
    """A watch set of all addresses."""

    def __contains__(self, address: object) -> bool:
        return True


@pytest.fixture(scope="module")
def golden(data_root: Path) -> dict[str, str]:
    """The text of each file, by its path below the resources."""
    path = data_root / "ethereum/ethereum-etl/tests-resources.tar.gz"
    if not path.is_file():
        pytest.skip("the recorded answers of ethereum-etl are not here")
    with tarfile.open(path) as archive:
        found = {}
        for member in archive.getmembers():
            if member.name.endswith((".json", ".csv")) and (stream := archive.extractfile(member)) is not None:
                found[member.name.split("resources/", 1)[-1]] = stream.read().decode()
        return found


def answer(golden: dict[str, str], name: str) -> Any:
    found = json.loads(golden[name])
    return found["result"] if isinstance(found, dict) and "result" in found else found


def table(golden: dict[str, str], name: str) -> list[Row]:
    """The rows of a CSV or NDJSON table."""
    text = golden[name]
    if name.endswith(".csv"):
        return list(csv.DictReader(io.StringIO(text)))
    return [json.loads(line) for line in text.splitlines() if line.strip()]


def typed(value: Any, kind: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(value), type=kind)


def read(raw: Any, receipts: Any, logs: Any = None) -> Block:
    return decode_block(
        typed(raw, RpcBlock), None if receipts is None else typed(receipts, list[RpcReceipt]), Everyone(), CHAIN,
        logs=None if logs is None else typed(logs, list[RpcLog]),
    )  # fmt: skip


def paid(block: Block) -> list[tuple[str, int, str, str, int]]:
    """Native transfers as (hash, position, from, to, wei)."""
    native = [t for t in block.transfers if t.kind is TransferKind.NATIVE and t.value]
    return [(t.tx.hash, t.tx.index, t.from_addresses[0], t.to_address, t.value) for t in native]


def tokens(block: Block) -> list[tuple[str, str, str, str, int]]:
    found = [t for t in block.transfers if t.kind is TransferKind.TOKEN and t.value]
    return [(t.tx.hash, t.asset, t.from_addresses[0], t.to_address, t.value) for t in found]


@pytest.mark.parametrize(
    ("folder", "count"),
    [
        ("test_export_blocks_job/blocks_with_transactions", 4),
        ("test_export_blocks_job/block_with_logs", 4),
        ("test_export_blocks_job/block_without_transactions", 0),
        ("test_stream/blocks_1755634_1755635", 2),
    ],
)
def test_transactions(folder: str, count: int, golden: dict[str, str]):
    """Every transaction with value is a native transfer: hash, position, parties and wei."""
    raws = [answer(golden, name) for name in sorted(golden) if name.startswith(folder) and "_true.json" in name]
    name = next(name for name in golden if name.startswith(folder) and "expected_transactions" in name)
    rows = table(golden, name)
    blocks = {block.ref.number: block for block in (read(raw, None) for raw in raws)}
    assert len(rows) == count == sum(len(raw["transactions"]) for raw in raws)
    expected = [
        (r["hash"], int(r["transaction_index"]), r["from_address"], r["to_address"], int(r["value"]))
        for r in rows
        if int(r["value"])
    ]
    assert [move for number in sorted(blocks) for move in paid(blocks[number])] == expected
    for row in table(golden, name.replace("expected_transactions", "expected_blocks")):
        block = blocks[int(row["number"])]
        assert (block.ref.hash, block.parent_hash, block.timestamp) == (
            row["hash"], row["parent_hash"], int(row["timestamp"]),
        )  # fmt: skip


def raw_log(row: Row) -> Row:
    """A row of a table of logs, as a node wrote it."""
    topics = row["topics"] if isinstance(row["topics"], list) else [t for t in row["topics"].split(",") if t]
    return {
        "address": row["address"], "topics": topics, "data": row["data"], "logIndex": hex(int(row["log_index"])),
        "transactionHash": row["transaction_hash"], "blockHash": row["block_hash"],
    }  # fmt: skip


def asset_of(row: Row, topics: int) -> tuple[str, int]:
    """What a row of token transfers moved; the exporter gives a collectible's number as the value."""
    if topics == 4:
        return f"{CHAIN}/erc721:{row['token_address']}", 1
    return f"{CHAIN}/erc20:{row['token_address']}", int(row["value"])


def test_logs_of_single_files(golden: dict[str, str]):
    """A filter's answer, and a table of logs: each Transfer is a move, and nothing else is."""
    folder = "test_export_token_transfers_job/block_with_transfers/"
    filtered = answer(golden, folder + "web3_response.eth_getFilterLogs_0x0.json")
    rows = table(golden, folder + "expected_token_transfers.csv")
    extracted = [raw_log(row) for row in table(golden, "test_extract_token_transfers_job/logs/logs.csv")]
    more = table(golden, "test_extract_token_transfers_job/logs/expected_token_transfers.csv")
    for logs, expected, every in ((filtered, rows, 2), (extracted, more, 3)):
        assert len(logs) == every
        found = [
            (log.transaction_hash, int(log.log_index or "", 16), move.asset, move.sender, move.receiver, move.value)
            for log in typed(logs, list[RpcLog]) if log.topics and log.topics[0] in MOVES
            for move in moves_of(log, CHAIN)
        ]  # fmt: skip
        assert found == [
            (r["transaction_hash"], int(r["log_index"]), asset, r["from_address"], r["to_address"], value)
            for r in expected for asset, value in [asset_of(r, 3)]
        ]  # fmt: skip


def as_node(block: Row, transactions: list[Row]) -> Row:
    """A block of the exporter's tables as a node wrote it, as far as transfers need it."""
    made = [
        {
            "hash": t["hash"], "from": t["from_address"], "to": t["to_address"], "value": hex(t["value"]),
            "nonce": hex(t["nonce"]), "gas": hex(t["gas"]), "gasPrice": hex(t["gas_price"]), "input": t["input"],
            "type": hex(t["transaction_type"]),
        }
        for t in sorted(transactions, key=lambda t: t["transaction_index"])
    ]  # fmt: skip
    given = [
        {"index": hex(w["index"]), "address": w["address"], "amount": hex(int(w["amount"]))}
        for w in block["withdrawals"]
    ]
    return {
        "hash": block["hash"], "parentHash": block["parent_hash"], "number": hex(block["number"]),
        "timestamp": hex(block["timestamp"]), "transactions": made, "withdrawals": given,
        "logsBloom": block["logs_bloom"],
    }  # fmt: skip


def as_receipt(row: Row, logs: list[Row]) -> Row:
    return {
        "transactionHash": row["hash"], "blockHash": row["block_hash"], "status": hex(row["receipt_status"]),
        "gasUsed": hex(row["receipt_gas_used"]), "effectiveGasPrice": hex(row["receipt_effective_gas_price"]),
        "contractAddress": row["receipt_contract_address"],
        "logs": [log for log in logs if log["transactionHash"] == row["hash"]],
    }  # fmt: skip


def modern(golden: dict[str, str]) -> Iterator[tuple[Row, Row, list[Row], list[Row]]]:
    """Each of two blocks of May 2023: its row, as a node wrote it, its transactions' rows and its logs."""
    folder = "test_stream/blocks_17173049_17173050/"
    transactions = table(golden, folder + "expected_transactions.json")
    logs = table(golden, folder + "expected_logs.json")
    for block in table(golden, folder + "expected_blocks.json"):
        own = [row for row in transactions if row["block_number"] == block["number"]]
        yield block, as_node(block, own), own, [raw_log(log) for log in logs if log["block_number"] == block["number"]]


def test_two_modern_blocks(golden: dict[str, str]):
    """Hundreds of transfers, collectibles, failures, fees and withdrawals; by receipts and by logs alike."""
    rows = table(golden, "test_stream/blocks_17173049_17173050/expected_token_transfers.json")
    moved = failed = withdrawn = 0
    for block, raw, own, logs in modern(golden):
        receipts = [as_receipt(row, logs) for row in own]
        found = read(raw, receipts)
        assert found.transfers == read(raw, receipts, logs).transfers and found.undecoded == ()
        topics = {(log["transactionHash"], int(log["logIndex"], 16)): len(log["topics"]) for log in logs}
        own_rows = [row for row in rows if row["block_number"] == block["number"]]
        expected = [
            (r["transaction_hash"], asset, value, r["from_address"], r["to_address"])
            for r in own_rows
            for asset, value in [asset_of(r, topics[r["transaction_hash"], r["log_index"]])]
        ]
        standard = {  # what is not a Transfer is no row of the exporter's: multi-token items, wrapped ether
            (log["transactionHash"], int(log["logIndex"], 16)) for log in logs if log["topics"][:1] == [TRANSFER]
        }
        assert standard == {(r["transaction_hash"], r["log_index"]) for r in own_rows}
        ours = [(hash, asset, value, sender, to) for hash, asset, sender, to, value in tokens(found)]
        extra = [move for move in ours if "/erc1155:" in move[1] or is_wrap(move)]
        assert sorted(move for move in ours if move not in extra) == sorted(
            move for move in expected if move[2] and not is_wrap(move)
        )
        good = [row for row in own if row["receipt_status"] == 1]
        assert paid(found) == [
            (r["hash"], r["transaction_index"], r["from_address"], r["to_address"] or created(r), r["value"])
            for r in good
            if r["value"]
        ]
        fees = {t.tx.hash: t.value for t in found.transfers if t.kind is TransferKind.FEE}
        assert fees == {r["hash"]: r["receipt_gas_used"] * r["receipt_effective_gas_price"] for r in own}
        credits = [(t.to_address, t.value) for t in found.transfers if t.tx.hash.startswith("withdrawal-")]
        assert credits == [(w["address"], int(w["amount"]) * 10**9) for w in block["withdrawals"]]
        moved, failed, withdrawn = moved + len(ours), failed + len(own) - len(good), withdrawn + len(credits)
    assert moved > 300 and failed > 0 and withdrawn == 32


def created(row: Row) -> str:
    return str(row["receipt_contract_address"])


def is_wrap(move: tuple[Any, ...]) -> bool:
    weth = "0xc02aaa39b223fe8d0a0e5c4f27ead9083c756cc2"
    return move[1] == f"{CHAIN}/erc20:{weth}" and weth in move[3:]


@pytest.mark.parametrize("number", ["508110", "2112234"])
def test_streamed_traces(number: str, golden: dict[str, str]):
    """The exporter's traces, with its mark of what failed, and ours."""
    folder = f"test_stream/blocks_{number}_{number}/"
    raw = answer(golden, next(name for name in golden if name.startswith(folder) and "trace_block" in name))
    found = from_parity(typed(raw, list[ParityTrace]))
    rows = [row for row in table(golden, folder + "expected_traces.json") if row["value"] and row["status"] == 1]
    calls = [row for row in rows if row["trace_type"] in ("call", "create", "suicide") and row["trace_address"]]
    moving = [row for row in calls if row["call_type"] in ("call", None)]
    assert [(c.position, c.sender, c.receiver, c.value) for c in found.calls if c.moves] == [
        (r["transaction_index"], r["from_address"], r["to_address"], r["value"]) for r in moving
    ]
    assert [(r.receiver, r.value) for r in found.rewards] == [
        (r["to_address"], r["value"]) for r in rows if r["trace_type"] == "reward"
    ]
    assert rows


def test_every_recorded_trace_is_of_its_block(golden: dict[str, str]):
    """Flat traces and frames of the same block say the same; what an old node left out of its frames is known to be."""
    pairs = 0
    for name in sorted(golden):
        if not name.startswith("test_extract_geth_traces_job/") or "calltracer" not in name:
            continue
        folder = name.split("/")[1]
        if folder == "block_without_transactions":  # two blocks, and no calls in either
            continue
        flat = next(n for n in golden if n.startswith(f"test_export_traces_job/{folder}/") and "trace_block" in n)
        frames = from_frames(typed(answer(golden, name), list[TxFrame]))
        traced = from_parity(typed(answer(golden, flat), list[ParityTrace]))
        told = [c for c in traced.calls if c.moves and (frames.whole or c.kind != "suicide")]
        assert [c for c in frames.calls if c.moves] == told
        assert frames.whole is (folder != "block_with_suicide") and traced.whole
        assert {c.position for c in frames.calls} == {c.position for c in traced.calls}
        pairs += 1
    assert pairs == 4
