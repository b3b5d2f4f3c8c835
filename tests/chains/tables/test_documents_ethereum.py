"""Ethereum JSON-RPC documents as history: every form gives what the live watcher would give for the same block."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest

from chains.evm.calls import ParityTrace, from_parity
from chains.evm.decode import decode_block
from chains.evm.wire import RpcBlock, RpcReceipt
from chains.recorded.evm_blocks import Draft, Move, RecordedBlock, construct
from chains.tables import Reading
from monitor.errors import ConfigError
from monitor.model import Block

ALICE, BOB, CAROL, POT = ("0x" + c * 40 for c in "abce")
TOKEN = "0x" + "d" * 40
CHAIN = "eip155:1"
WATCH = frozenset({ALICE, CAROL})
Rows = Callable[..., list[tuple[Any, ...]]]
Read = Callable[..., Reading]


@pytest.fixture(scope="module")
def blocks() -> list[RecordedBlock]:
    """Three blocks: coins, a token, a call of a contract that passes coins on."""
    return construct(1, [
        Draft(1_600_000_000, (Move(ALICE, BOB, 5), Move(BOB, ALICE, 2**200, TOKEN), Move(BOB, POT, 7))),
        Draft(1_600_000_012, ()),
        Draft(1_600_000_024, (Move(ALICE, CAROL, 10**18), Move(CAROL, BOB, 3, TOKEN))),
    ], number=100)  # fmt: skip


@pytest.fixture
def look(tmp_path: Path, read_alice: Read) -> Callable[..., Reading]:
    """Write documents, each to a file, and read them."""

    def run(*files: str | bytes, **options: Any) -> Reading:
        paths = []
        for n, content in enumerate(files):
            path = tmp_path / f"{len(list(tmp_path.iterdir())):03}-{n}"
            path.write_bytes(content.encode() if isinstance(content, str) else content)
            paths.append(path)
        return read_alice(*paths, watched=sorted(WATCH), **options)

    return run


def envelope(result: Any) -> str:
    return json.dumps({"jsonrpc": "2.0", "id": 1, "result": result})


def traces_of(block: RecordedBlock) -> list[dict[str, Any]]:
    """Flat traces: each transaction's own call, and what a call of the pot passes on to Carol."""
    found = []
    for n, tx in enumerate(block.block["transactions"]):
        place = {"blockHash": block.hash, "transactionHash": tx["hash"], "transactionPosition": n, "type": "call"}
        outer = {"callType": "call", "from": tx["from"], "to": tx["to"], "value": tx["value"], "input": tx["input"]}
        found.append({**place, "action": outer, "traceAddress": [], "result": {"output": "0x"}})
        if tx["to"] == POT:
            inner = {"callType": "call", "from": POT, "to": CAROL, "value": tx["value"], "input": "0x"}
            found.append({**place, "action": inner, "traceAddress": [0], "result": {"output": "0x"}})
    return found


def frames_of(block: RecordedBlock, *, named: bool = True) -> list[dict[str, Any]]:
    """The same as frames of ``callTracer``."""
    found = []
    for tx in block.block["transactions"]:
        frame = {"type": "CALL", "from": tx["from"], "to": tx["to"], "value": tx["value"], "input": tx["input"]}
        inner = {"type": "CALL", "from": POT, "to": CAROL, "value": tx["value"], "input": "0x"}
        frame["calls"] = [inner] if tx["to"] == POT else []
        found.append({"txHash": tx["hash"], "result": frame} if named else {"result": frame})
    return found


def live(block: RecordedBlock, *, receipts: bool = True, traces: bool = False) -> Block:
    """What the watcher makes of a block."""
    told = msgspec.convert(list(block.receipts or ()), list[RpcReceipt]) if receipts else None
    flat = msgspec.convert(traces_of(block), list[ParityTrace])
    traced = from_parity(flat, block.hash) if traces else None
    raw = msgspec.json.decode(json.dumps(block.block), type=RpcBlock)
    return decode_block(raw, told, WATCH, CHAIN, traced=traced)


def snake(found: Any) -> Any:
    """JSON as Python programs write it: names in snake case, numbers as numbers."""
    if isinstance(found, dict):
        names = {"".join(f"_{c.lower()}" if c.isupper() else c for c in key): value for key, value in found.items()}
        numbers = ("number", "timestamp", "value", "gas", "nonce", "gas_price", "gas_used", "log_index", "status",
                   "block_number", "transaction_index", "effective_gas_price")  # fmt: skip
        return {key: int(v, 16) if key in numbers and isinstance(v, str) else snake(v) for key, v in names.items()}
    return [snake(value) for value in found] if isinstance(found, list) else found


def forms(blocks: Sequence[RecordedBlock]) -> dict[str, list[str | bytes]]:
    """The same blocks and receipts in many forms, each a list of files."""
    bodies = [block.block for block in blocks]
    receipts = [list(block.receipts or ()) for block in blocks]
    every = [receipt for some in receipts for receipt in some]
    logs = [log for receipt in every for log in receipt["logs"]]
    bare = [{**receipt, "logs": []} for receipt in every]
    return {
        "beside": [json.dumps([{"block": b, "receipts": r} for b, r in zip(bodies, receipts, strict=True)])],
        "within": ["\n".join(json.dumps({**b, "receipts": r}) for b, r in zip(bodies, receipts, strict=True))],
        "answers": [envelope(part) for pair in zip(bodies, receipts, strict=True) for part in pair],
        "lines": ["\n".join(map(envelope, [*bodies, *receipts]))],
        "mixed": ["".join(envelope(p) + "\r\n" for pair in zip(bodies, receipts, strict=True) for p in pair)],
        "batch": [json.dumps([json.loads(envelope(part)) for part in (*bodies, *every)], indent=2)],
        "singles": [json.dumps(bodies), json.dumps(every)],
        "packed": [gzip.compress(json.dumps(bodies).encode()), gzip.compress(json.dumps(every).encode())],
        "snake": [json.dumps(snake([{"block": b, "receipts": r} for b, r in zip(bodies, receipts, strict=True)]))],
        "logs": ["\n".join(map(envelope, bodies)), json.dumps(bare), envelope(logs)],
    }


@pytest.mark.parametrize("form", [
    "beside", "within", "answers", "lines", "mixed", "batch", "singles", "packed", "snake", "logs",
])  # fmt: skip
def test_every_form_is_what_the_watcher_gives(
    form: str, blocks: list[RecordedBlock], look: Read, as_decoded: Rows, as_read: Rows
) -> None:
    if form == "logs":  # receipts without logs and logs apart contradict the bloom filter only when taken alone
        files = forms(blocks)["logs"]
        del files[1]
        reading = look(*files)
        moved = [row for row in as_read(reading.frame) if row[5] != "fee"]
        expected = [row for row in as_decoded(*map(live, blocks)) if row[5] != "fee"]
        assert [row[:11] for row in moved] == [row[:11] for row in expected]
        assert reading.blind_spots == {CHAIN: ("internal transfers", "transaction status")}
        return
    reading = look(*forms(blocks)[form])
    assert as_read(reading.frame) == as_decoded(*map(live, blocks))
    assert (reading.rows, reading.bad_rows, reading.transfers) == (5, 0, 5)
    assert reading.blind_spots == {CHAIN: ("internal transfers",)}
    assert (reading.first, reading.last) == (1_600_000_000, 1_600_000_024)


@pytest.mark.parametrize("tracer", ["flat", "frames", "nameless frames", "beside"])
def test_traces_show_what_moved_inside(
    tracer: str, blocks: list[RecordedBlock], look: Read, as_decoded: Rows, as_read: Rows
) -> None:
    files = forms(blocks)["answers"]
    if tracer == "beside":
        whole = [{"block": b.block, "receipts": b.receipts, "traces": traces_of(b)} for b in blocks]
        files = [json.dumps(whole)]
    elif tracer == "flat":
        files += [envelope(traces_of(block)) for block in blocks]
    elif tracer == "frames":
        files += ["\n".join(envelope(frames_of(block)) for block in blocks)]
    else:
        files += [json.dumps(frames_of(block, named=False)) for block in blocks]
    reading = look(*files)
    assert as_read(reading.frame) == as_decoded(*(live(block, traces=True) for block in blocks))
    assert "internal" in reading.frame["kind"].to_list()
    assert (reading.bad_rows, reading.blind_spots) == (0, {})


def test_the_order_of_files_does_not_matter(blocks: list[RecordedBlock], look: Read) -> None:
    files = [*forms(blocks)["answers"], *(envelope(traces_of(block)) for block in blocks)]
    assert look(*files).frame.equals(look(*reversed(files)).frame)


def test_without_receipts_success_is_assumed_and_said(
    blocks: list[RecordedBlock], look: Read, as_decoded: Rows, as_read: Rows
) -> None:
    reading = look(json.dumps([block.block for block in blocks]))
    assert as_read(reading.frame) == as_decoded(*(live(block, receipts=False) for block in blocks))
    assert reading.blind_spots == {CHAIN: ("internal transfers", "token transfers", "transaction status")}
    assert any("3 rows have an empty status" in note for note in reading.notes)


def test_failed_transactions_pay_their_fee_alone(blocks: list[RecordedBlock], look: Read) -> None:
    first = blocks[0]
    receipts = [{**r, "status": "0x0", "logs": [], "logsBloom": "0x0"} if n == 0 else r
                for n, r in enumerate(first.receipts or ())]  # fmt: skip
    frame = look(json.dumps({"block": first.block, "receipts": receipts})).frame
    mine = frame.filter(pl.col("transaction_hash") == first.block["transactions"][0]["hash"])
    assert mine["kind"].to_list() == ["fee"]


def test_blocks_in_several_files_count_once(blocks: list[RecordedBlock], look: Read) -> None:
    once = look(*forms(blocks)["beside"])
    twice = look(*forms(blocks)["beside"], *forms(blocks[:1])["beside"])
    assert twice.frame.equals(once.frame)
    assert (twice.rows, twice.transfers) == (once.rows + 3, once.transfers)
    assert any("1 blocks or transactions lie in the data more than once" in note for note in twice.notes)


def test_changes_of_control_are_those_of_the_watcher(look: Read) -> None:
    made = construct(1, [Draft(1_600_000_000, (Move(ALICE, BOB, 5, TOKEN),))])[0]
    approval = "0x8c5be1e5ebec7d5bd14f71427d1e84f3dd0314c0f7b2291e5b200ac8c7c3b925"
    log = (made.receipts or ())[0]["logs"][0]
    topics = [approval, "0x" + ALICE[2:].rjust(64, "0"), "0x" + BOB[2:].rjust(64, "0")]
    receipts = ({**(made.receipts or ())[0], "logs": [{**log, "topics": topics}]},)
    called = {**made.block["transactions"][0], "input": "0x095ea7b3" + topics[2][2:] + "0" * 64}
    made = RecordedBlock({**made.block, "transactions": [called]}, receipts)
    expected = live(made).controls
    reading = look(json.dumps({"block": made.block, "receipts": receipts}))
    assert reading.controls is not None
    assert [(c["kind"], c["account"], c["subject"], json.loads(c["detail"]), c["block_timestamp"])
            for c in reading.controls.iter_rows(named=True)] == [
        (str(c.kind), c.account, c.subject, dict(c.detail), 1_600_000_000) for c in expected
    ]  # fmt: skip
    assert len(expected) == 1


# -- what is broken ---------------------------------------------------------------------------------------------------


def test_a_broken_transaction_costs_itself_alone(blocks: list[RecordedBlock], look: Read) -> None:
    whole = look(json.dumps(blocks[0].block))
    body = json.loads(json.dumps(blocks[0].block))
    del body["transactions"][1]["from"]
    reading = look(json.dumps(body))
    assert reading.frame.equals(whole.frame.filter(pl.col("transaction_index") != 1))
    assert (reading.rows, reading.bad_rows) == (3, 1)
    assert "block 100: transaction 1: " in reading.bad[0].reason
    assert reading.bad[0].row == 1


@pytest.mark.parametrize(("lines", "row", "reason"), [
    (["", '{"number": "0x1", "par'], 3, "not valid JSON"),
    (['{"jsonrpc": "2.0", "id": 1, "error": {"code": -32000, "message": "no"}}'], 3, "answered with an error"),
    (['{"hash": "0x1", "parentHash": "0x0", "number": "0x1", "transactions": [{}]}'], 3, "timestamp"),
    (["[1, 2"], 3, "not valid JSON"),
])  # fmt: skip
def test_broken_lines_cost_themselves_alone(
    lines: list[str], row: int, reason: str, blocks: list[RecordedBlock], look: Read
) -> None:
    good = [json.dumps(block.block) for block in blocks]
    expected = look("\n".join(good))
    reading = look("\n".join([*good[:2], *lines, good[2]]))
    assert reading.frame.equals(expected.frame)
    assert reading.bad_rows == 1
    assert (reading.bad[0].row, reason in reading.bad[0].reason) == (row, True), reading.bad


def test_a_cut_file_gives_what_is_before_the_cut(blocks: list[RecordedBlock], look: Read) -> None:
    text = json.dumps([block.block for block in blocks])
    for content in (text[:-200], gzip.compress(text.encode())[:-30]):
        reading = look(content)
        assert reading.bad_rows == 1
        assert reading.frame["block_number"].unique().to_list() == [100]
    alone = look(json.dumps(blocks[0].block)[:1500])
    assert (alone.rows, alone.bad_rows, alone.bad[0].reason) == (1, 1, "the file ends inside of a document")


def test_parts_of_other_blocks_are_told(blocks: list[RecordedBlock], look: Read) -> None:
    reading = look(json.dumps(blocks[0].block), json.dumps(blocks[2].receipts))
    assert reading.bad_rows == 1
    assert f"its block ({blocks[2].hash}) is not among the data" in reading.bad[0].reason
    beside = look(json.dumps({"block": blocks[0].block, "receipts": blocks[2].receipts}))
    assert (beside.bad_rows, beside.transfers) == (1, 2)
    assert "read without its receipts and logs" in beside.bad[0].reason
    traces = look(json.dumps({"block": blocks[0].block, "traces": traces_of(blocks[2])}))
    assert "read without its traces: trace of another block" in traces.bad[0].reason
    nameless = look(json.dumps(blocks[0].block), json.dumps(frames_of(blocks[2], named=False)))
    assert "is not among the data" in nameless.bad[0].reason


def test_a_block_without_a_time(blocks: list[RecordedBlock], look: Read) -> None:
    first = blocks[0]
    traced = {"block_number": 100, "traces": snake(traces_of(first)), "receipts": snake(list(first.receipts or ()))}
    alone = look(json.dumps(traced))
    assert (alone.rows, alone.bad_rows, alone.frame.height) == (3, 1, 0)
    assert "block 100 has no time" in alone.bad[0].reason
    header = {**first.block, "transactions": [tx["hash"] for tx in first.block["transactions"]]}
    headed = look(json.dumps(traced), json.dumps(header))
    assert headed.bad_rows == 0
    assert headed.frame["block_timestamp"].unique().to_list() == [1_600_000_000]
    table = look(json.dumps(traced), "number,hash,timestamp\n100,0x1,1600000099\n")
    assert table.frame["block_timestamp"].unique().to_list() == [1_600_000_099]


def test_other_json_stays_unknown(look: Read) -> None:
    with pytest.raises(ConfigError, match="unknown layout"):
        look(json.dumps([{"a": {"b": [1, {"c": 2}]}}]))


def test_hostile_numbers_cost_their_block(blocks: list[RecordedBlock], look: Read) -> None:
    body = json.loads(json.dumps(blocks[0].block))
    huge = {**body, "number": hex(2**80)}
    late = {**body, "timestamp": hex(2**60), "hash": "0x" + "9" * 64}
    reading = look(json.dumps([huge, late]))
    assert (reading.bad_rows, reading.frame.height) == (2, 0)
    body["transactions"][0] |= {"value": hex(2**300), "nonce": hex(2**70), "gas": hex(2**90)}
    reading = look(json.dumps(body))
    assert reading.bad_rows == 1


def test_the_branch_that_goes_on_counts(blocks: list[RecordedBlock], look: Read) -> None:
    """A block that was reorganised out lies beside the one that took its place: it moved nothing, and is told."""
    other = construct(1, [Draft(1_600_000_013, (Move(ALICE, CAROL, 9),))], parents=blocks[:1])[0]
    bodies = [block.block for block in blocks]
    expected = look(*forms(blocks)["beside"])
    for files in ([*bodies, other.block], [other.block, *bodies]):
        reading = look(json.dumps(files), *(json.dumps(list(b.receipts or ())) for b in (*blocks, other)))
        assert reading.frame.equals(expected.frame)
        assert (reading.rows, reading.transfers, reading.bad_rows) == (expected.rows + 1, expected.transfers, 0)
        assert any("1 blocks of branches" in note for note in reading.notes)


def test_blocks_of_another_chain_are_told(blocks: list[RecordedBlock], look: Read) -> None:
    bodies = json.loads(json.dumps([block.block for block in blocks]))
    for body, chain in zip(bodies, ("0x1", "0x1", "0x89"), strict=True):
        for tx in body["transactions"]:
            tx["chainId"] = chain
    bodies[0]["transactions"][1]["chainId"] = None  # signed for no chain
    reading = look(json.dumps(bodies))
    assert (reading.bad_rows, reading.frame["block_number"].unique().to_list()) == (1, [100])
    assert reading.bad[0].reason == "a block of eip155:137, not of eip155:1"


@pytest.mark.parametrize(("where", "name"), [
    ("block", "number"), ("block", "timestamp"), ("tx", "value"), ("tx", "nonce"), ("tx", "gasPrice"),
    ("receipt", "gasUsed"), ("receipt", "effectiveGasPrice"), ("receipt", "l1Fee"), ("withdrawal", "amount"),
])  # fmt: skip
@pytest.mark.parametrize("value", ["0x" + "9" * 5000, "", "0x", "-0x5"])
def test_numbers_that_are_none(where: str, name: str, value: str, blocks: list[RecordedBlock], look: Read) -> None:
    """They cost what they are part of at most, and never the reading."""
    body = json.loads(json.dumps(blocks[0].block))
    receipts = json.loads(json.dumps(list(blocks[0].receipts or ())))
    body["withdrawals"] = [{"index": "0x1", "validatorIndex": "0x1", "address": ALICE, "amount": "0x5"}]
    place = {"block": body, "tx": body["transactions"][0], "receipt": receipts[0], "withdrawal": body["withdrawals"][0]}
    place[where][name] = value
    reading = look(json.dumps([body, blocks[2].block]), json.dumps(receipts + list(blocks[2].receipts or ())))
    assert 102 in reading.frame["block_number"]
    assert reading.bad_rows == (1 if where == "block" or name == "value" else 0), reading.bad


def test_the_bare_answer_nothing(blocks: list[RecordedBlock], look: Read) -> None:
    """What is left of an empty answer without its envelope holds nothing, and costs nothing."""
    assert look(json.dumps(blocks[0].block), "null\n").frame.equals(look(json.dumps(blocks[0].block)).frame)
