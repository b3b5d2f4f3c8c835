"""Internal calls from traces of both kinds: hand-made ones, recorded ones against independent counts, a real node's."""

from __future__ import annotations

import csv
import gzip
import json
import re
import sys
import tarfile
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from chains.base import ChainSpec
from chains.evm.calls import ParityTrace, TxFrame, from_frames, from_parity
from chains.evm.traces import mode_of
from chains.evm.watcher import EvmChain
from monitor.errors import ChainInconsistent, ChainUnavailable, ConfigError
from monitor.model import Block
from tests.contracts.artifacts import artifact

A, B, C, D = ("0x" + c * 40 for c in "abcd")
TX = "0x" + "11" * 32
Move = tuple[int, str, str, int]  # position, from, to, wei


def parity(path: list[int], sender: str = A, to: str = B, value: int = 1, **more: Any) -> dict[str, Any]:
    """A flat trace of a call."""
    action = {"from": sender, "to": to, "value": hex(value), "callType": more.pop("call_type", "call"), "input": "0x"}
    return {
        "action": {**action, **more.pop("action", {})}, "type": "call", "traceAddress": path, "result": {},
        "transactionPosition": 0, "transactionHash": TX, "blockHash": "0xbb", **more,
    }  # fmt: skip


def frame(sender: str = A, to: str = B, value: int = 1, *calls: Any, type: str = "CALL", **more: Any) -> dict[str, Any]:
    """A frame of geth's tracer."""
    return {"from": sender, "to": to, "value": hex(value), "type": type, "calls": list(calls), **more}


def flat(*traces: dict[str, Any], **how: Any) -> list[Move]:
    found = from_parity(msgspec.json.decode(json.dumps(traces), type=list[ParityTrace]), **how)
    return [(c.position, c.sender, c.receiver, c.value) for c in found.calls if c.moves]


def framed(*results: dict[str, Any], **how: Any) -> list[Move]:
    found = from_frames(msgspec.json.decode(json.dumps([{"result": r} for r in results]), type=list[TxFrame]), **how)
    return [(c.position, c.sender, c.receiver, c.value) for c in found.calls if c.moves]


# -- rules ------------------------------------------------------------------------------------------------------------


def test_what_moves_and_what_does_not():
    """Calls and creations with value, and what a dead contract leaves; no call that only lends its value."""
    made = {"type": "create", "result": {"address": D}}
    dead = {"type": "suicide", "action": {"address": C, "refundAddress": D, "balance": "0x7"}}
    traces = [
        parity([], value=9), parity([0], B, C, 2), parity([1], B, C, 3, call_type="delegatecall"),
        parity([2], B, C, 4, call_type="callcode"), parity([3], B, C, 0, call_type="staticcall"),
        parity([4], B, "", 5, **made), parity([5], **dead), parity([6], B, B, 6),
    ]  # fmt: skip
    wanted = [(0, B, C, 2), (0, B, D, 5), (0, C, D, 7), (0, B, B, 6)]
    assert flat(*traces) == wanted
    root = frame(
        A, B, 9, frame(B, C, 2), frame(B, C, 3, type="DELEGATECALL"), frame(B, C, 4, type="CALLCODE"),
        frame(B, C, 0, type="STATICCALL"), frame(B, D, 5, type="CREATE2"), frame(C, D, 7, type="SELFDESTRUCT"),
        frame(B, B, 6),
    )  # fmt: skip
    assert framed(root) == wanted


def test_nothing_under_a_failure_happened():
    """However deep; what stands beside it did."""
    traces = [
        parity([]), parity([0], error="Reverted"), parity([0, 0], B, C, 5), parity([0, 0, 1], C, D, 6),
        parity([1], B, D, 7),
    ]  # fmt: skip
    assert flat(*traces) == [(0, B, D, 7)]
    assert flat(parity([], error="out of gas"), parity([0], B, C, 1)) == []
    bad = frame(A, B, 1, frame(B, C, 5, frame(C, D, 6)), error="execution reverted")
    assert framed(frame(A, B, 0, bad, frame(B, D, 7))) == [(0, B, D, 7)]
    assert framed(bad) == []


def test_a_contract_that_pays_itself_out_to_itself_moves_nothing():
    dead = {"type": "suicide", "action": {"address": C, "refundAddress": C, "balance": "0x7"}}
    assert flat(parity([]), parity([0], **dead)) == []


def test_rewards():
    reward = {"action": {"author": A, "rewardType": "block", "value": "0x5"}, "type": "reward", "traceAddress": []}
    found = from_parity(msgspec.json.decode(json.dumps([parity([]), reward]), type=list[ParityTrace]))
    assert [(r.receiver, r.value, r.kind) for r in found.rewards] == [(A, 5, "block")]


def test_traces_of_another_block():
    """They are never taken for those of this one."""
    with pytest.raises(ChainInconsistent, match="another block"):
        flat(parity([]), hash="0xcc")
    with pytest.raises(ChainInconsistent, match="another transaction"):
        flat(parity([]), transactions=["0x" + "22" * 32])
    with pytest.raises(ChainInconsistent, match="no traces of 1"):
        flat(transactions=[TX])
    with pytest.raises(ChainInconsistent, match="2 transactions, the block has 1"):
        framed(frame(), frame(), transactions=[TX])
    with pytest.raises(ChainUnavailable, match="could not be traced"):
        from_frames([TxFrame(None, TX, "timeout")], [TX])


def test_an_answer_that_was_cut():
    """Traces of the first transactions alone; those of the system, which run no code, may be without."""
    two = [TX, "0x" + "22" * 32]
    with pytest.raises(ChainInconsistent, match="no traces of 1 transactions, the block has 2"):
        flat(parity([]), transactions=two)
    with pytest.raises(ChainInconsistent, match="traces of 1 transactions, the block has 2"):
        framed(frame(), transactions=two)
    assert flat(parity([]), parity([0], B, C, 2), transactions=two, silent={1}) == [(0, B, C, 2)]
    assert framed(frame(A, B, 0, frame(B, C, 2)), transactions=two, silent={0}) == [(1, B, C, 2)]


def deep(levels: int) -> bytes:
    """A payment of 1 wei within so many calls, as JSON: Python's own encoder does not get so deep."""
    around = json.dumps(frame(B, B, 0)).replace('"calls": []', '"calls": [@]').split("@")
    return (around[0] * levels + json.dumps(frame(B, C, 1)) + around[1] * levels).encode()


BLOCK = {
    "hash": "0x" + "ab" * 32, "parentHash": "0x" + "aa" * 32, "number": "0x10", "timestamp": "0x64",
    "logsBloom": "0x" + "0" * 512,
    "transactions": [{"hash": TX, "from": A, "to": B, "value": "0x5", "nonce": "0x1"}],
}  # fmt: skip
RECEIPT = {"transactionHash": TX, "blockHash": BLOCK["hash"], "status": "0x1", "logs": []}


@pytest.fixture
def node(canned: Any) -> Any:
    """A node with block 16, which offers no traces yet."""
    canned.methods = {"eth_chainId": "0x1", "eth_getBlockByNumber": BLOCK, "eth_getBlockReceipts": [RECEIPT]}
    return canned


async def read(node: Any, *watch: str, pauses: Any = None, **options: Any) -> Block:
    """Block 16 of a node."""
    more = {} if pauses is None else {"sleep": pauses}
    chain = EvmChain(ChainSpec("x", "evm", "eip155:1", (node.url,), options=options), set(watch), **more)
    try:
        return await chain.block(16)
    finally:
        await chain.aclose()


def internal(block: Block) -> list[tuple[str, str, int]]:
    return [(t.from_addresses[0], t.to_address, t.value) for t in block.transfers if t.kind == "internal"]


@pytest.mark.parametrize("levels", [10, 600, 1023])
async def test_as_deep_as_the_machine_allows(levels: int, node: Any):
    """Whoever hides a payment within a thousand calls hides nothing."""

    async def handler(request: Any) -> Any:
        body = await request.json()
        if isinstance(body, dict) and body["method"] == "debug_traceBlockByHash":
            return web.Response(body=b'{"id":%d,"result":[{"result":%b}]}' % (body["id"], deep(levels)))
        one = isinstance(body, dict)
        replies = [node.reply(each) for each in ([body] if one else body)]
        return web.json_response(replies[0] if one else replies)

    node.handler = handler
    before = sys.getrecursionlimit()
    block = await read(node, C, state="off", reconcile="off")
    assert internal(block) == [(B, C, 1)] and "internal transfers" not in block.blind_spots
    assert sys.getrecursionlimit() == before


async def test_traces_that_never_fit_do_not_stop_a_chain(node: Any, pauses: Any):
    """A node that tells traces of another block is asked again, then left out, and the block says so."""
    node.methods["trace_block"] = [parity([], blockHash="0xcc")]
    block = await read(node, A, pauses=pauses, state="off")
    assert "internal transfers" in block.blind_spots and len(block.transfers) == 1
    asked = [body["method"] for body in node.asked if isinstance(body, dict)]
    assert asked.count("trace_block") == 4
    with pytest.raises(ChainInconsistent, match="trace of another block"):
        await read(node, A, pauses=pauses, state="off", traces="required")


async def test_a_transaction_that_no_node_can_trace(node: Any):
    """Heavy contracts are made for that: the block goes on, and says what it cannot show."""
    node.methods["debug_traceBlockByHash"] = [{"txHash": TX, "error": "execution timeout"}]
    assert "internal transfers" in (await read(node, A, state="off")).blind_spots
    with pytest.raises(ChainUnavailable, match="traces are required: transaction 0 could not be traced"):
        await read(node, A, state="off", traces="required")


async def test_a_failure_that_the_tracer_left_out(node: Any):
    """What failed moved nothing, whatever its traces say."""
    node.methods["trace_block"] = [parity([], blockHash=BLOCK["hash"]), parity([0], B, C, 2, blockHash=BLOCK["hash"])]
    assert internal(await read(node, C, state="off")) == [(B, C, 2)]
    node.methods["eth_getBlockReceipts"] = [{**RECEIPT, "status": "0x0"}]
    assert internal(await read(node, C, state="off")) == []


async def test_what_an_old_tracer_leaves_out(node: Any):
    """Its frames do not say what a dying contract paid to whom: that stays a blind spot, what they say counts."""
    inside = [frame(B, C, 2), {"type": "SELFDESTRUCT"}]
    node.methods["debug_traceBlockByHash"] = [{"result": frame(A, B, 5, *inside)}]
    block = await read(node, C, state="off", reconcile="off")
    assert internal(block) == [(B, C, 2)] and "internal transfers" in block.blind_spots


async def test_the_reward_of_an_empty_block(node: Any):
    """Only traces tell it; blocks that nobody mined are not asked for."""
    reward = {"action": {"author": A, "rewardType": "block", "value": "0x5"}, "type": "reward", "traceAddress": []}
    node.methods |= {
        "eth_getBlockByNumber": {**BLOCK, "transactions": [], "difficulty": "0x7"}, "trace_block": [reward],
    }  # fmt: skip
    assert internal(await read(node, A, state="off")) == [("", A, 5)]
    node.methods["eth_getBlockByNumber"] = {**BLOCK, "transactions": [], "difficulty": "0x0"}
    assert internal(await read(node, A, state="off")) == []


@given(st.lists(st.lists(st.integers(0, 3), max_size=5), max_size=30), st.integers(0, 2**30))
def test_both_kinds_say_the_same(paths, failures):
    """A random tree of calls, some of which failed, told in both forms."""
    known = sorted({tuple(path[:n]) for path in paths for n in range(len(path) + 1)} | {()})
    kept = []  # children numbered without holes, as nodes write them
    for path in known:
        same = [other for other in known if other and len(other) == len(path) and other[:-1] == path[:-1]]
        siblings = sorted(other[-1] for other in same)
        if not path or siblings == list(range(len(siblings))):
            kept.append(path)
    kept = [path for path in kept if all(path[:n] in kept for n in range(len(path)))]
    failed = {path: bool(failures >> n & 1) and n % 3 == 0 for n, path in enumerate(kept)}

    def tree(path: tuple[int, ...]) -> dict[str, Any]:
        inner = [tree(other) for other in kept if len(other) == len(path) + 1 and other[:-1] == path]
        return frame(A, B, len(path) + 1, *inner, **({"error": "reverted"} if failed[path] else {}))

    told = [parity(list(p), A, B, len(p) + 1, **({"error": "reverted"} if failed[p] else {})) for p in kept]
    assert flat(*told) == framed(tree(()))


# -- recorded blocks --------------------------------------------------------------------------------------------------


def camel(value: Any) -> Any:
    """Recorded with snake_case keys."""
    if isinstance(value, dict):
        return {re.sub("_([a-z])", lambda m: m[1].upper(), key): camel(item) for key, item in value.items()}
    return [camel(item) for item in value] if isinstance(value, list) else value


def plain_count(traces: list[dict[str, Any]]) -> int:
    """Calls and creations with value below the transaction itself, none under a failed one: a count of its own."""
    bad = {(t["transaction_position"], tuple(t["trace_address"])) for t in traces if t.get("error")}
    count = 0
    for t in traces:
        path, action = tuple(t["trace_address"]), t["action"]
        kind = action.get("callType") or action.get("call_type")
        if t["type"] not in ("call", "create") or not path or (t["type"] == "call" and kind != "call"):
            continue
        under = any((t["transaction_position"], path[:n]) in bad for n in range(len(path) + 1))
        count += int(action["value"], 16) > 0 and not under
    return count


def test_recorded_traces_of_mainnet(data_root: Path):
    """18 blocks, one of them twice: 1,085 calls moved ether, 122 of them from a contract to itself."""
    files = sorted(data_root.glob("ethereum/mev-inspect/*.json.gz"))
    if not files:
        pytest.skip("the recorded traces are not here")
    total = own = dead = 0
    per: Counter[int] = Counter()
    for path in files:
        with gzip.open(path) as stream:
            traces = json.load(stream)["traces"]
        found = from_parity(msgspec.json.decode(json.dumps(camel(traces)), type=list[ParityTrace]))
        moved = [c for c in found.calls if c.moves and c.kind != "suicide"]
        assert len(moved) == plain_count(traces), path.name
        number = traces[0]["block_number"]
        per[number] += 1
        total += len(moved)
        own += sum(c.sender == c.receiver for c in moved)
        dead += sum(c.moves and c.kind == "suicide" for c in found.calls)
    assert (len(files), total, own, dead) == (18, 1085, 122, 0)
    assert [number for number, times in per.items() if times > 1] == [10921991]


@pytest.fixture(scope="module")
def etl(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recorded answers of ethereum-etl's own tests, and what it made of them."""
    archive = data_root / "ethereum/ethereum-etl/tests-resources.tar.gz"
    if not archive.is_file():
        pytest.skip("the recordings are not here")
    folder = tmp_path_factory.mktemp("etl")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return folder / "tests/resources"


def expected(path: Path) -> list[Move]:
    """Value-moving internal traces of ethereum-etl's table, in its order: it marks failed ones by ``status``."""
    with path.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    found = []
    for row in rows:
        kind = row["call_type"] if row["trace_type"] == "call" else row["trace_type"]
        moves = kind in ("call", "create", "suicide")
        inner = row["trace_address"] != ""
        if moves and inner and row["status"] == "1" and int(row["value"] or 0) and row["transaction_index"] != "":
            found.append((int(row["transaction_index"]), row["from_address"], row["to_address"], int(row["value"])))
    return found


@pytest.mark.parametrize("name", [f"block_with_{what}" for what in ("suicide", "create", "error", "subtraces")])
def test_the_same_as_ethereum_etl(etl: Path, name: str):
    """Value, parties and order of every internal transfer, from flat traces and from frames."""
    folder = etl / "test_export_traces_job" / name
    answer = json.loads(next(folder.glob("*trace_block*")).read_text())
    traces = answer["result"] if isinstance(answer, dict) else answer
    assert flat(*traces) == expected(folder / "expected_traces.csv")
    rewards = from_parity(msgspec.json.decode(json.dumps(traces), type=list[ParityTrace])).rewards
    with (folder / "expected_traces.csv").open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["trace_type"] == "reward"]
    assert [(r.receiver, r.value) for r in rewards] == [(row["to_address"], int(row["value"])) for row in rows]
    folder = etl / "test_extract_geth_traces_job" / name
    answer = json.loads(next(folder.glob("*calltracer*")).read_text())
    frames = answer["result"] if isinstance(answer, dict) else answer
    assert framed(*(entry["result"] for entry in frames)) == expected(folder / "expected_traces.csv")


# -- a real node ------------------------------------------------------------------------------------------------------


async def test_both_tracers_of_a_real_node(anvil: Any):
    """Internal payments one and two levels deep, one that is reverted, one that ends the contract: balances agree."""
    boss, friend, heir = anvil.accounts[0], "0x" + "f1" * 20, "0x" + "f2" * 20
    made = artifact("Treasury")
    receipt = await anvil.send(**{"from": boss, "data": made.creation(), "gas": hex(5_000_000)})
    treasury = receipt["contractAddress"].lower()
    calls = [
        ("0x", 10**18), (made.call("pay", friend, 10**17), 0), (made.call("payThroughPurse", friend, 2 * 10**17), 0),
        (made.call("tryToPay", friend, 3 * 10**17), 0), (made.call("end", heir), 0),
    ]  # fmt: skip
    watch = {treasury, friend, heir}
    chains = {
        how: EvmChain(ChainSpec("local", "evm", "eip155:31337", (anvil.url,), options={"reconcile": "off"}), watch)
        for how in ("flat", "frames")
    }
    chains["frames"].nodes.capabilities.refuse(chains["frames"].rpc.endpoint, "trace_block")
    balance: Counter[str] = Counter()
    try:
        for data, value in calls:
            receipt = await anvil.send(**{"from": boss, "to": treasury, "data": data, "value": hex(value)})
            number = int(receipt["blockNumber"], 16)
            blocks = [await chain.block(number) for chain in chains.values()]
            assert blocks[0].transfers == blocks[1].transfers
            assert [block.blind_spots for block in blocks] == [(), ()]
            for transfer in blocks[0].transfers:
                balance[transfer.from_addresses[0]] -= transfer.value
                balance[transfer.to_address] += transfer.value
        for address in watch:
            assert balance[address] == int(await anvil.rpc("eth_getBalance", address, "latest"), 16)
        assert balance[friend] == 3 * 10**17 and balance[heir] == 7 * 10**17
    finally:
        for chain in chains.values():
            await chain.aclose()


# -- what the owner wants ---------------------------------------------------------------------------------------------


def test_modes():
    assert [mode_of(o) for o in (None, {}, {"traces": "off"}, {"traces": False}, {"traces": True})] == [
        "auto", "auto", "off", "off", "required",
    ]  # fmt: skip
    with pytest.raises(ConfigError, match=r"options\.traces is 'no way'"):
        mode_of({"traces": "no way"})


async def test_required_traces_that_nobody_offers(node: Any):
    """Then there is no block rather than half a one; where they are optional the block says what it cannot show."""
    assert "internal transfers" in (await read(node, A, traces="auto")).blind_spots
    with pytest.raises(ChainUnavailable, match="traces are required"):
        await read(node, A, traces="required")
