"""The loopback node of recorded and constructed EVM blocks: over plain HTTP and WebSocket, and with the real reader."""

from __future__ import annotations

import asyncio
import gzip
import itertools
import json
import random
import tarfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from chains.base import BlockConnected, ChainEvent, ChainSpec
from chains.evm.watcher import EvmChain
from chains.follow import Follower
from chains.recorded.evm import Draft, Move, RecordedEvmServer, bloom, construct, header_hash
from chains.recorded.evm_blocks import TRANSFER, keccak
from chains.recorded.evm_methods import Balances
from chains.recorded.pace import Pace
from monitor.errors import ChainError, ChainInconsistent, ChainUnavailable
from monitor.model import BlockRef, TransferKind

HOT, THIEF, ALICE, BOB = ("0x" + digit * 40 for digit in "1234")
TOKEN = "0x" + "ab" * 20
PATIENCE = 10.0  # seconds before a test that waits has failed

DRAFTS = [
    Draft(1_700_000_000),
    Draft(1_700_000_012, (Move(ALICE, HOT, 5 * 10**18), Move(ALICE, BOB, 7, TOKEN))),
    Draft(1_700_000_024, (Move(HOT, THIEF, 4 * 10**18), Move(HOT, THIEF, 2**200, TOKEN), Move(ALICE, BOB, 1))),
    Draft(1_700_000_036, (Move(BOB, HOT, 9, TOKEN),)),
]

Call = Callable[..., Awaitable[Any]]


class Failed(Exception):
    """A JSON-RPC error object."""


@pytest_asyncio.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """A plain HTTP client."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(PATIENCE)) as session:
        yield session


@pytest.fixture
def ask(session: aiohttp.ClientSession) -> Call:
    """One JSON-RPC call to a server; `Failed` for an error object."""

    async def ask(server: RecordedEvmServer, method: str, *params: Any) -> Any:
        body = {"jsonrpc": "2.0", "id": 7, "method": method, "params": list(params)}
        async with session.post(server.url, json=body) as response:
            answer = await response.json()
        assert answer["id"] == 7
        if "error" in answer:
            raise Failed(answer["error"]["code"], answer["error"]["message"])
        return answer["result"]

    return ask


# --- constructed blocks ---------------------------------------------------------------------------------------------


def test_constructed_blocks_link_and_hash() -> None:
    """Each block names its parent and its hash is that of its header, so a change below changes everything above."""
    blocks = construct(1, DRAFTS)
    assert [b.number for b in blocks] == [0, 1, 2, 3]
    for parent, block in itertools.pairwise(blocks):
        assert block.block["parentHash"] == parent.hash
        assert header_hash(block.block) == block.hash
    other = construct(1, [Draft(1_700_000_001), *DRAFTS[1:]])
    assert not {b.hash for b in blocks} & {b.hash for b in other}
    assert construct(1, DRAFTS) == blocks
    assert construct(1, [Draft(5, extra=b"a")])[0].hash != construct(1, [Draft(5, extra=b"b")])[0].hash


def test_constructed_transactions_have_nonces_and_keep_their_hash() -> None:
    """Nonces count a sender's transactions over blocks; a transaction in another block keeps its hash."""
    blocks = construct(1, DRAFTS)
    nonces = [(tx["from"], int(tx["nonce"], 16)) for b in blocks for tx in b.block["transactions"]]
    assert nonces == [(ALICE, 0), (ALICE, 1), (HOT, 0), (HOT, 1), (ALICE, 2), (BOB, 0)]
    more = construct(1, [Draft(1_700_000_050, (Move(HOT, BOB, 1),))], parents=blocks)
    assert more[0].number == 4
    assert more[0].block["transactions"][0]["nonce"] == "0x2"
    late = construct(1, [Draft(1_800_000_000, DRAFTS[2].moves)], parents=blocks[:2])
    assert late[0].hash != blocks[2].hash
    assert [t["hash"] for t in late[0].block["transactions"]] == [t["hash"] for t in blocks[2].block["transactions"]]
    hashes = {tx["hash"] for b in blocks for tx in b.block["transactions"]}
    assert len(hashes) == 6
    assert not hashes & {tx["hash"] for b in construct(5, DRAFTS) for tx in b.block["transactions"]}


def test_constructed_receipts_agree_with_their_block() -> None:
    """Receipts, logs, places, gas and the logs bloom are those of the block."""
    block = construct(1, DRAFTS)[2]
    assert block.receipts is not None
    transactions = block.block["transactions"]
    assert [r["transactionHash"] for r in block.receipts] == [tx["hash"] for tx in transactions]
    assert [r["transactionIndex"] for r in block.receipts] == ["0x0", "0x1", "0x2"]
    assert {r["blockHash"] for r in block.receipts} == {tx["blockHash"] for tx in transactions} == {block.hash}
    assert [int(r["cumulativeGasUsed"], 16) for r in block.receipts] == [21_000, 73_000, 94_000]
    assert int(block.block["gasUsed"], 16) == 94_000
    (log,) = block.logs or []
    assert (log["address"], log["topics"][0], int(log["data"], 16)) == (TOKEN, TRANSFER, 2**200)
    assert [t[-40:] for t in log["topics"][1:]] == [HOT[2:], THIEF[2:]]
    assert (log["logIndex"], log["transactionHash"], log["blockHash"]) == ("0x0", transactions[1]["hash"], block.hash)
    assert (transactions[1]["to"], transactions[1]["value"]) == (TOKEN, "0x0")
    expected = bloom([bytes.fromhex(TOKEN[2:]), *(bytes.fromhex(t[2:]) for t in log["topics"])])
    assert block.block["logsBloom"] == block.receipts[1]["logsBloom"] == "0x" + expected.hex()
    assert int(block.receipts[0]["logsBloom"], 16) == 0


def test_log_index_counts_within_the_block() -> None:
    """``logIndex`` goes on over the transactions of a block and starts again in the next."""
    moves = (Move(ALICE, BOB, 1, TOKEN), Move(ALICE, BOB, 1), Move(BOB, ALICE, 1, TOKEN))
    blocks = construct(1, [Draft(1, moves), Draft(2, moves)])
    assert [[log["logIndex"] for log in b.logs or []] for b in blocks] == [["0x0", "0x1"]] * 2


def test_bloom_sets_three_bits_of_the_hash() -> None:
    """Bits come from the low 11 bits of the first three byte pairs of the hash, counted from the end of the filter."""
    item = bytes.fromhex("0f572e5295c57f15886f9b263e2f6d2d6c7b5ec6")
    bits = int.from_bytes(bloom([item]), "big")
    digest = keccak(item)
    places = {(digest[i] * 256 + digest[i + 1]) % 2048 for i in (0, 2, 4)}
    assert {place for place in range(2048) if bits >> place & 1} == places
    assert places == {1323, 431, 1319}


def test_bloom_is_that_of_real_receipts(data_root: Path) -> None:
    """The filter of every recorded mainnet receipt with logs is the filter of its logs."""
    checked = 0
    with tarfile.open(data_root / "ethereum/ethereum-etl/tests-resources.tar.gz") as archive:
        for name in archive.getnames():
            if "receipts_with_logs/web3_response" in name and (member := archive.extractfile(name)):
                receipt = json.load(member)["result"]
                logged = [item for log in receipt["logs"] for item in (log["address"], *log["topics"])]
                checked += bool(logged)
                assert bloom(bytes.fromhex(item[2:]) for item in logged).hex() == receipt["logsBloom"][2:]
    assert checked >= 2


@pytest.mark.parametrize("bad", [("0xABC", BOB, 1), (ALICE, BOB.upper(), 1), (ALICE, BOB, -1), (ALICE, BOB, 2**256)])
def test_a_move_that_makes_no_sense_is_refused(bad: tuple[str, str, int]) -> None:
    """Addresses are lower-case hex and values fit in 256 bits."""
    with pytest.raises(ValueError, match=r"was .*, expected"):
        Move(*bad)


def recorded_block(folder: Path) -> dict[str, Any]:
    block: dict[str, Any] = json.loads(gzip.decompress((folder / "block.json.gz").read_bytes()))
    answer: dict[str, Any] = block.get("result", block)
    return answer


def test_header_hash_is_that_of_the_real_chain(data_root: Path) -> None:
    """The hash of every recorded mainnet block, from 2015 to 2024, recomputes from its header."""
    folders = sorted((data_root / "ethereum/pevm").iterdir(), key=lambda folder: int(folder.name))
    wrong = [f.name for f in folders if header_hash(block := recorded_block(f)) != block["hash"]]
    assert len(folders) > 50
    assert wrong == []


# --- served over HTTP -----------------------------------------------------------------------------------------------


async def test_blocks_by_number_tag_and_hash(ask: Call) -> None:
    """A block is the same by number, tag and hash; without details its transactions are hashes; unknown is null."""
    blocks = construct(1, DRAFTS)
    async with RecordedEvmServer(1, blocks) as server:
        assert await ask(server, "eth_blockNumber") == "0x3"
        full = blocks[2].block
        assert await ask(server, "eth_getBlockByNumber", "0x2", True) == full
        assert await ask(server, "eth_getBlockByHash", blocks[2].hash, True) == full
        light = await ask(server, "eth_getBlockByNumber", "0x2", False)
        assert light == full | {"transactions": [tx["hash"] for tx in full["transactions"]]}
        for tag, number in {"latest": 3, "pending": 3, "earliest": 0, "safe": 0, "finalized": 0}.items():
            assert (await ask(server, "eth_getBlockByNumber", tag, False))["hash"] == blocks[number].hash
        assert await ask(server, "eth_getBlockByNumber", "0x4", True) is None
        assert await ask(server, "eth_getBlockByHash", "0x" + "00" * 32, True) is None


async def test_finality_tags_are_depths(ask: Call) -> None:
    """``safe`` is 32 and ``finalized`` 64 blocks below the newest."""
    async with RecordedEvmServer(1, [Draft(n) for n in range(100)]) as server:
        found = [await ask(server, "eth_getBlockByNumber", tag, False) for tag in ("latest", "safe", "finalized")]
        assert [int(block["number"], 16) for block in found] == [99, 67, 35]


async def test_receipts_and_transactions(ask: Call) -> None:
    """Receipts come by number, tag, hash and object; transactions and receipts by their hash; unknown ones are null."""
    blocks = construct(1, DRAFTS)
    async with RecordedEvmServer(1, blocks) as server:
        receipts = list(blocks[2].receipts or ())
        for place in ("0x2", blocks[2].hash, {"blockHash": blocks[2].hash}, {"blockNumber": "0x2"}):
            assert await ask(server, "eth_getBlockReceipts", place) == receipts
        assert await ask(server, "eth_getBlockReceipts", "earliest") == []
        assert await ask(server, "eth_getBlockReceipts", "0x9") is None
        for tx, receipt in zip(blocks[2].block["transactions"], receipts, strict=True):
            assert await ask(server, "eth_getTransactionByHash", tx["hash"]) == tx
            assert await ask(server, "eth_getTransactionReceipt", tx["hash"]) == receipt
        assert await ask(server, "eth_getTransactionByHash", blocks[0].hash) is None
        assert await ask(server, "eth_getTransactionReceipt", blocks[0].hash) is None


async def test_logs_by_range_address_and_topics(ask: Call) -> None:
    """Filters: a block's hash or a range of heights, any of several addresses, and topics by place with null as any."""
    blocks = construct(1, DRAFTS)
    every = [log for block in blocks for log in block.logs or []]
    hot = "0x" + HOT[2:].rjust(64, "0")
    thief = "0x" + THIEF[2:].rjust(64, "0")
    wide = {"fromBlock": "0x0", "toBlock": "latest"}
    async with RecordedEvmServer(1, blocks) as server:
        assert len(every) == 3
        assert await ask(server, "eth_getLogs", wide) == every
        assert await ask(server, "eth_getLogs", {}) == every[2:]
        assert await ask(server, "eth_getLogs", {"blockHash": blocks[2].hash}) == every[1:2]
        assert await ask(server, "eth_getLogs", {"fromBlock": "0x1", "toBlock": "0x2"}) == every[:2]
        assert await ask(server, "eth_getLogs", wide | {"address": [ALICE, TOKEN.upper().replace("X", "x")]}) == every
        assert await ask(server, "eth_getLogs", wide | {"address": ALICE}) == []
        assert await ask(server, "eth_getLogs", wide | {"topics": [TRANSFER]}) == every
        assert await ask(server, "eth_getLogs", wide | {"topics": [None, hot]}) == every[1:2]
        assert await ask(server, "eth_getLogs", wide | {"topics": [[TRANSFER], None, [hot, thief]]}) == every[1:]
        assert await ask(server, "eth_getLogs", wide | {"topics": [None, None, None, None]}) == []


async def test_balances_come_from_the_table(ask: Call) -> None:
    """Native and token balances as given, from the block on from which they hold; unknown holders have nothing."""
    held: Balances = {(HOT, None): 5 * 10**20, (HOT, TOKEN): {1: 2**200, 3: 8}}
    query = {"to": TOKEN, "data": "0x70a08231" + HOT[2:].rjust(64, "0")}
    async with RecordedEvmServer(1, DRAFTS, balances=held) as server:
        assert int(await ask(server, "eth_getBalance", HOT, "latest"), 16) == 5 * 10**20
        assert await ask(server, "eth_getBalance", BOB, "0x0") == "0x0"
        places = ["0x0", "0x1", {"blockHash": server.blocks[2].hash}, "latest"]
        assert [int(await ask(server, "eth_call", query, place), 16) for place in places] == [0, 2**200, 2**200, 8]
        with pytest.raises(Failed, match="header not found"):
            await ask(server, "eth_getBalance", HOT, "0x9")
        with pytest.raises(Failed, match="execution reverted"):
            await ask(server, "eth_call", {"to": TOKEN, "data": "0x18160ddd"}, "latest")


@pytest.mark.parametrize(
    ("method", "params", "code"),
    [
        ("eth_mining", [], -32601),
        ("eth_subscribe", ["newHeads"], -32601),  # over HTTP
        ("eth_getBlockByNumber", ["two", True], -32602),
        ("eth_getBlockByNumber", [], -32602),
        ("eth_getBlockByNumber", [2, True], -32602),
        ("eth_getLogs", [{"blockHash": "0x" + "00" * 32, "fromBlock": "0x1"}], -32602),
        ("eth_getLogs", [{"blockHash": "0x" + "00" * 32}], -32000),
        ("eth_getLogs", [{"fromBlock": "0x3", "toBlock": "0x1"}], -32602),
    ],
)
async def test_errors_carry_the_codes_of_json_rpc(ask: Call, method: str, params: list[Any], code: int) -> None:
    """What is not offered is -32601, what makes no sense -32602, never a null result."""
    async with RecordedEvmServer(1, DRAFTS) as server:
        with pytest.raises(Failed) as failed:
            await ask(server, method, *params)
        assert failed.value.args[0] == code


async def test_batches_and_malformed_bodies(session: aiohttp.ClientSession) -> None:
    """A batch is answered as a list, notifications not at all; a body that is no request gets its error code."""
    async with RecordedEvmServer(137, DRAFTS) as server:

        async def post(body: bytes) -> Any:
            async with session.post(server.url, data=body) as response:
                assert response.status == 200
                return json.loads(await response.read() or b"null")

        def call(method: str, **more: Any) -> dict[str, Any]:
            return {"jsonrpc": "2.0", "method": method, **more}

        batch = [call("eth_chainId", id="a"), call("eth_blockNumber"), call("nothing", id=2), call("net_version", id=3)]
        answers = await post(json.dumps(batch).encode())
        assert [(a["id"], a.get("result"), a.get("error", {}).get("code")) for a in answers] == [
            ("a", "0x89", None), (2, None, -32601), (3, "137", None)]  # fmt: skip
        assert await post(json.dumps(call("eth_chainId")).encode()) is None
        assert (await post(b"{")).get("error")["code"] == -32700
        assert (await post(b"[]")).get("error")["code"] == -32600
        assert (await post(b"[1]"))[0]["error"]["code"] == -32600
        assert server.asked["eth_chainId"] == 2
        async with session.get(server.url) as response:
            assert response.status == 405


async def test_what_is_not_visible_is_null(ask: Call) -> None:
    """Blocks, transactions, receipts and logs beyond the pace cannot be seen by any question."""
    blocks, pace = construct(1, DRAFTS), Pace(manual=True)
    later = blocks[2].block["transactions"][0]["hash"]
    async with RecordedEvmServer(1, blocks, pace=pace, shown=2) as server:
        assert await ask(server, "eth_blockNumber") == "0x1"
        for method, place in {
            "eth_getBlockByNumber": "0x2", "eth_getBlockByHash": blocks[2].hash, "eth_getBlockReceipts": "0x2",
            "eth_getTransactionReceipt": later, "eth_getTransactionByHash": later,
        }.items():  # fmt: skip
            assert await ask(server, method, place) is None
        assert len(await ask(server, "eth_getLogs", {"fromBlock": "0x0", "toBlock": "0x9"})) == 1
        await pace.release()
        assert (await ask(server, "eth_getBlockByNumber", "latest", False))["hash"] == blocks[2].hash
        assert (await ask(server, "eth_getTransactionReceipt", later))["blockHash"] == blocks[2].hash


async def test_as_the_reader_asks_each_head_is_one_more(ask: Call) -> None:
    """With the default pace every question for the head shows the next block; other questions do not."""
    async with RecordedEvmServer(1, DRAFTS, pace=Pace()) as server:
        heads = []
        for _ in range(6):
            heads.append(await ask(server, "eth_blockNumber"))
            await ask(server, "eth_getBlockByNumber", "0x0", True)
            await ask(server, "eth_getBalance", HOT, "latest")
        assert heads == ["0x0", "0x1", "0x2", "0x3", "0x3", "0x3"]


async def test_recorded_mainnet_blocks_are_served_as_they_are(data_root: Path, ask: Call) -> None:
    """Real blocks keep every byte of meaning; receipts and logs that were not recorded are refused, never empty."""
    blocks = [recorded_block(data_root / "ethereum/pevm" / number) for number in ("46147", "12244000")]
    async with RecordedEvmServer(1, blocks) as server:
        assert await ask(server, "eth_getBlockByNumber", hex(12244000), True) == blocks[1]
        assert await ask(server, "eth_getBlockByNumber", hex(46148), True) is None
        transaction = blocks[1]["transactions"][5]
        assert await ask(server, "eth_getTransactionByHash", transaction["hash"]) == transaction
        for method, param in {
            "eth_getBlockReceipts": blocks[1]["hash"], "eth_getTransactionReceipt": transaction["hash"],
            "eth_getLogs": {"blockHash": blocks[1]["hash"]},
        }.items():  # fmt: skip
            with pytest.raises(Failed) as failed:
                await ask(server, method, param)
            assert failed.value.args[0] == -32601
        assert await ask(server, "eth_getLogs", {"blockHash": blocks[0]["hash"]}) == []  # its bloom says so


def test_a_block_without_full_transactions_is_refused() -> None:
    """A recording of hashes alone is an error at once, not at the first question."""
    block = construct(1, DRAFTS)[1].block
    light = block | {"transactions": [tx["hash"] for tx in block["transactions"]]}
    with pytest.raises(ValueError, match="block 1 was recorded without"):
        RecordedEvmServer(1, [light])


# --- reorgs and sockets ---------------------------------------------------------------------------------------------


async def test_a_reorg_replaces_blocks_and_what_is_in_them(ask: Call) -> None:
    """After a reorg the old blocks and their transactions are gone; one that was mined again is where it is now."""
    blocks = construct(1, DRAFTS)
    stolen, other = (blocks[2].block["transactions"][i]["hash"] for i in (0, 2))
    async with RecordedEvmServer(1, blocks) as server:
        await server.reorg(2, [Draft(1_700_000_030, DRAFTS[2].moves[:1]), Draft(1_700_000_040), Draft(1_700_000_050)])
        assert [b.number for b in server.blocks] == [0, 1, 2, 3, 4]
        assert [b.block["parentHash"] for b in server.blocks[1:]] == [b.hash for b in server.blocks[:-1]]
        assert server.blocks[2].hash != blocks[2].hash
        assert await ask(server, "eth_blockNumber") == "0x4"
        assert await ask(server, "eth_getBlockByHash", blocks[2].hash, True) is None
        assert await ask(server, "eth_getBlockReceipts", blocks[3].hash) is None
        assert await ask(server, "eth_getTransactionReceipt", other) is None
        assert (await ask(server, "eth_getTransactionReceipt", stolen))["blockHash"] == server.blocks[2].hash
        await server.reorg(3, [])
        assert await ask(server, "eth_blockNumber") == "0x1"
        for depth in (-1, 2, 9):
            with pytest.raises(ValueError, match="depth was"):
                await server.reorg(depth, [])


async def test_a_reorg_forgets_what_was_not_visible(ask: Call) -> None:
    """Blocks still to come were built on the old branch and do not come any more."""
    async with RecordedEvmServer(1, DRAFTS, pace=Pace(manual=True), shown=2) as server:
        await server.reorg(1, [Draft(5)])
        await server.pace.release(9)
        assert [b.number for b in server.blocks] == [0, 1]
        await server.reorg(0, [Draft(6)])
        assert [b.timestamp for b in server.blocks] == [1_700_000_000, 5, 6]


async def receive(socket: aiohttp.ClientWebSocketResponse) -> Any:
    async with asyncio.timeout(PATIENCE):
        return await socket.receive_json()


async def test_new_heads_are_pushed(session: aiohttp.ClientSession) -> None:
    """A subscriber gets each header once and in order, reorged ones too, and none after it unsubscribed."""
    pace = Pace(manual=True)
    async with RecordedEvmServer(1, DRAFTS, pace=pace) as server, session.ws_connect(server.ws_url) as socket:
        await socket.send_json({"jsonrpc": "2.0", "id": 1, "method": "eth_subscribe", "params": ["newHeads"]})
        ident = (await receive(socket))["result"]
        await pace.release(2)
        notes = [await receive(socket), await receive(socket)]
        await server.reorg(2, [Draft(1), Draft(2)])
        notes += [await receive(socket), await receive(socket)]
        assert {(n["method"], n["params"]["subscription"]) for n in notes} == {("eth_subscription", ident)}
        heads = [n["params"]["result"] for n in notes]
        assert [int(h["number"], 16) for h in heads] == [1, 2, 1, 2]
        assert [h["hash"] for h in heads[2:]] == [b.hash for b in server.blocks[1:]]
        assert "transactions" not in heads[0] and header_hash(heads[0]) == heads[0]["hash"]
        await socket.send_json([
            {"jsonrpc": "2.0", "id": 2, "method": "eth_unsubscribe", "params": [ident]},
            {"jsonrpc": "2.0", "id": 3, "method": "eth_unsubscribe", "params": [ident]},
            {"jsonrpc": "2.0", "id": 4, "method": "eth_subscribe", "params": ["syncing"]},
        ])  # fmt: skip
        replies = await receive(socket)
        assert [replies[0]["result"], replies[1]["result"], replies[2]["error"]["code"]] == [True, False, -32601]
        await server.reorg(0, [Draft(3)])
        await socket.send_json({"jsonrpc": "2.0", "id": 5, "method": "eth_blockNumber"})
        assert await receive(socket) == {"jsonrpc": "2.0", "id": 5, "result": "0x3"}


async def test_by_time_heads_are_pushed_when_they_are_due(session: aiohttp.ClientSession) -> None:
    """A replay by time starts when the server does, and pushes each head at its moment without any question."""
    now, moved = 50.0, asyncio.Condition()

    async def sleep(seconds: float) -> None:
        until = now + seconds
        async with moved:
            await moved.wait_for(lambda: now >= until)

    server = RecordedEvmServer(1, DRAFTS, pace=Pace(6.0, clock=lambda: now, sleep=sleep))
    now = 1000.0
    async with server, session.ws_connect(server.ws_url) as socket:
        await socket.send_json({"jsonrpc": "2.0", "id": 1, "method": "eth_subscribe", "params": ["newHeads"]})
        await receive(socket)
        for number, moment in enumerate((1002.0, 1004.0, 1006.0), start=1):
            assert len(server.blocks) == number
            async with moved:
                now = moment
                moved.notify_all()
            head = (await receive(socket))["params"]["result"]
            assert head["hash"] == server.blocks[number].hash


async def test_the_server_ends_cleanly(session: aiohttp.ClientSession) -> None:
    """Closing ends sockets, stalled requests and tasks, twice is fine, and the port is free again."""
    before = asyncio.all_tasks()
    server = RecordedEvmServer(1, DRAFTS)
    with pytest.raises(RuntimeError, match="not running"):
        _ = server.url
    async with server:
        url = server.url
        socket = await session.ws_connect(server.ws_url)
        server.faults.stall = True
        stalled = asyncio.create_task(session.post(url, json={"jsonrpc": "2.0", "id": 1, "method": "eth_chainId"}))
        await asyncio.sleep(0.05)
    await server.aclose()
    await asyncio.gather(stalled, return_exceptions=True)
    if not stalled.cancelled() and stalled.exception() is None:
        stalled.result().close()
    assert (await socket.receive()).type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)
    await socket.close()
    with pytest.raises(aiohttp.ClientConnectorError):
        await session.get(url)
    await asyncio.sleep(0)
    assert {t.get_name() for t in asyncio.all_tasks() - before} <= set()


# --- faults ---------------------------------------------------------------------------------------------------------


def reader(*endpoints: str, timeout: float = PATIENCE, poll: float = 0.05, **options: Any) -> EvmChain:
    """The real reader of EVM chains, on the given endpoints."""
    spec = ChainSpec(
        name="loopback", kind="evm", chain="eip155:1", endpoints=endpoints, replay=True, poll_seconds=poll,
        timeout_seconds=timeout, finality_depth=8,
    )  # fmt: skip
    return EvmChain(spec, frozenset({HOT}), rng=random.Random(1), **options)


async def test_faults_stall_and_status(ask: Call, session: aiohttp.ClientSession) -> None:
    """A stalled server never answers, a failing one answers its status; both end when switched off."""
    async with RecordedEvmServer(1, DRAFTS) as server:
        server.faults.stall = True
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await ask(server, "eth_chainId")
        server.faults.stall = False
        server.faults.http_status = 503
        async with session.post(server.url, json={}) as response:
            assert response.status == 503
        server.faults.http_status = None
        server.faults.unsupported.add("eth_getLogs")
        with pytest.raises(Failed) as failed:
            await ask(server, "eth_getLogs", {})
        assert failed.value.args[0] == -32601
        assert await ask(server, "eth_chainId") == "0x1"


async def test_faults_sockets_are_dropped(session: aiohttp.ClientSession) -> None:
    """Dropped sockets close at their next message, and new ones are refused."""
    async with RecordedEvmServer(1, DRAFTS) as server:
        socket = await session.ws_connect(server.ws_url)
        server.faults.drop_ws = True
        await socket.send_json({"jsonrpc": "2.0", "id": 1, "method": "eth_chainId"})
        assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE
        await socket.close()
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await session.ws_connect(server.ws_url)


async def test_the_reader_sees_through_the_faults(pauses: Any) -> None:
    """Another chain, missing logs, a dead server and a stalled one are each the error that they should be."""
    async with RecordedEvmServer(1, DRAFTS) as server:
        chain = reader(server.url, timeout=0.2, sleep=pauses)
        try:
            server.faults.wrong_chain = True
            with pytest.raises(ChainError, match="serves eip155:2, configuration says eip155:1"):
                await chain.open()
            server.faults.wrong_chain = False
            await chain.open()
            server.faults.empty_logs = True
            with pytest.raises(ChainInconsistent, match="its bloom filter names logs"):
                await chain.block(2)
            server.faults.empty_logs = False
            assert (await chain.block(2)).transfers_seen >= 3
            server.faults.http_status = 502
            with pytest.raises(ChainUnavailable, match="HTTP 502"):
                await chain.head()
            server.faults.http_status = None
            server.faults.stall = True
            with pytest.raises(ChainUnavailable, match="no answer within"):
                await chain.head()
        finally:
            await chain.aclose()


# --- the real reader and the follower -------------------------------------------------------------------------------


@pytest.mark.parametrize("without", [set(), {"eth_getBlockReceipts"}])
async def test_the_reader_understands_constructed_blocks(without: set[str]) -> None:
    """Native and token moves of a watched address come out as they were put in, with receipts or with logs alone."""
    async with RecordedEvmServer(1, DRAFTS, balances={(HOT, None): 12, (HOT, TOKEN): 34}) as server:
        server.faults.unsupported = without
        chain = reader(server.url)
        try:
            await chain.open()
            block = await chain.block(2)
            assert block.ref == BlockRef("eip155:1", 2, server.blocks[2].hash)
            assert block.parent_hash == server.blocks[1].hash and block.timestamp == 1_700_000_024
            moved = [t for t in block.transfers if t.kind is not TransferKind.FEE]
            assert [(t.kind, t.from_addresses, t.to_address, t.value, t.tx.nonce) for t in moved] == [
                (TransferKind.NATIVE, (HOT,), THIEF, 4 * 10**18, 0), (TransferKind.TOKEN, (HOT,), THIEF, 2**200, 1),
            ]  # fmt: skip
            fees = [t.value for t in block.transfers if t.kind is TransferKind.FEE]
            assert fees == [gas * 11 * 10**9 for gas in (21_000, 52_000)]
            assert block.undecoded == ()
            assets = [(HOT, "eip155:1/slip44:60"), (HOT, f"eip155:1/erc20:{TOKEN}")]
            assert list((await chain.balances(assets, block.ref)).values()) == [12, 34]
        finally:
            await chain.aclose()


async def upto(events: Any, hash_: str) -> list[ChainEvent]:
    """Events up to the one that connects block ``hash_``."""
    found: list[ChainEvent] = []
    async with asyncio.timeout(PATIENCE):
        async for event in events:
            found.append(event)
            if isinstance(event, BlockConnected) and event.block.ref.hash == hash_:
                break
    return found


def told(events: list[ChainEvent]) -> list[tuple[int, list[str]]]:
    """(height, receivers of value) of connected blocks, and (minus the height, []) of disconnected ones."""
    return [
        (e.block.ref.number, [t.to_address for t in e.block.transfers if t.kind is not TransferKind.FEE])
        if isinstance(e, BlockConnected)
        else (-e.ref.number, [])
        for e in events
    ]


async def unknown(number: int) -> BlockRef | None:
    """A store that holds nothing."""
    return None


@pytest.mark.parametrize("scheme", ["http", "ws", "both"])
async def test_following_a_constructed_chain_with_a_reorg(scheme: str) -> None:
    """Server, reader and follower together: catch up, the head, a reorg that moves the theft, a rollback, the store."""
    pace = Pace(manual=True)
    async with RecordedEvmServer(1, DRAFTS, pace=pace, shown=3) as server:
        endpoints = {"http": (server.url,), "ws": (server.ws_url,), "both": (server.url, server.ws_url)}[scheme]
        chain = reader(*endpoints)
        try:
            await chain.open()
            follow = Follower(chain, tip=None, ancestor=unknown, start=0)
            async with aclosing(follow.events()) as events:
                first = server.blocks
                assert told(await upto(events, first[2].hash)) == [(0, []), (1, [HOT]), (2, [THIEF, THIEF])]
                await pace.release()
                assert told(await upto(events, server.blocks[3].hash)) == [(3, [HOT])]
                later = Draft(1_700_000_030, DRAFTS[2].moves[2:])
                await server.reorg(2, [later, Draft(1_700_000_040, DRAFTS[2].moves[:1]), Draft(1_700_000_050)])
                assert told(await upto(events, server.blocks[4].hash)) == [
                    (-3, []), (-2, []), (2, []), (3, [THIEF]), (4, [])]  # fmt: skip
                await server.reorg(1, [Draft(1_700_000_051)])  # the same height
                assert told(await upto(events, server.blocks[4].hash)) == [(-4, []), (4, [])]
                await server.reorg(2, [Draft(1_700_000_060)])  # a lower head
                assert told(await upto(events, server.blocks[3].hash)) == [(-4, []), (-3, []), (3, [])]
            assert follow.tip == BlockRef("eip155:1", 3, server.blocks[3].hash)
            assert follow.last_error is None and follow.lag == 0
            # While nobody follows: a reorg below the tip, found at the restart from what is stored.
            stored = {b.number: BlockRef("eip155:1", b.number, b.hash) for b in server.blocks}

            async def ancestor(number: int) -> BlockRef | None:
                return stored.get(number)

            await server.reorg(2, [Draft(1_700_000_070), Draft(1_700_000_071), Draft(1_700_000_072)])
            again = Follower(chain, tip=stored[3], ancestor=ancestor)
            async with aclosing(again.events()) as events:
                found = told(await upto(events, server.blocks[4].hash))
            assert found == [(-3, []), (-2, []), (2, []), (3, []), (4, [])]
        finally:
            await chain.aclose()


async def test_a_pushed_head_is_followed_at_once() -> None:
    """With a subscription a new block arrives long before the next poll would see it."""
    pace = Pace(manual=True)
    async with RecordedEvmServer(1, DRAFTS, pace=pace) as server:
        chain = reader(server.url, server.ws_url, poll=1000.0)
        try:
            await chain.open()
            follow = Follower(chain, tip=None, ancestor=unknown)
            async with aclosing(follow.events()) as events:
                found = await upto(events, server.blocks[0].hash)
                for _ in range(3):
                    await pace.release()
                    found += await upto(events, server.blocks[-1].hash)
            assert [number for number, _ in told(found)] == [0, 1, 2, 3]
        finally:
            await chain.aclose()


async def test_following_through_faults() -> None:
    """An outage, missing logs and a dropped socket in the middle of a chain cost time, never a block."""
    pace = Pace(manual=True)
    drafts = [*DRAFTS, *(Draft(1_700_000_100 + n, (Move(HOT, BOB, 1 + n, TOKEN),)) for n in range(20))]
    async with RecordedEvmServer(1, drafts, pace=pace, shown=1) as server:
        chain = reader(server.url, server.ws_url, timeout=0.5)
        try:
            await chain.open()
            follow = Follower(chain, tip=None, ancestor=unknown, start=0)

            async def trouble() -> None:
                for step in range(23):
                    server.faults.http_status = 503 if step % 7 == 3 else None
                    server.faults.empty_logs = step % 7 == 5
                    server.faults.drop_ws = step % 7 == 6
                    await pace.release()
                    await asyncio.sleep(0.02)
                server.faults.http_status, server.faults.empty_logs, server.faults.drop_ws = None, False, False

            async with asyncio.TaskGroup() as group, aclosing(follow.events()) as events:
                group.create_task(trouble())
                last = construct(1, drafts)[-1].hash
                found = told(await upto(events, last))
            assert [number for number, _ in found] == list(range(24))
            assert sum(receivers.count(BOB) for _, receivers in found) == 20
        finally:
            await chain.aclose()
