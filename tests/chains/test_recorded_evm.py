"""The loopback node of recorded and constructed EVM blocks, over plain HTTP and WebSocket, and under the real reader."""

from __future__ import annotations

import asyncio
import gzip
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from chains.base import BlockConnected, ChainEvent, ChainSpec
from chains.evm import EvmChain
from chains.follow import Follower
from chains.recorded.evm import Draft, Move, RecordedBlock, RecordedEvmServer, bloom, construct, header_hash
from chains.recorded.evm_blocks import TRANSFER, keccak
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
    for parent, block in zip(blocks, blocks[1:], strict=False):
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
    # The example of the yellow paper's test suite: this address sets bits 1323, 431 and 1319.
    assert places == {1323, 431, 1319}


@pytest.mark.parametrize("bad", [("0xABC", BOB, 1), (ALICE, BOB.upper(), 1), (ALICE, BOB, -1), (ALICE, BOB, 2**256)])
def test_a_move_that_makes_no_sense_is_refused(bad: tuple[str, str, int]) -> None:
    """Addresses are lower-case hex and values fit in 256 bits."""
    with pytest.raises(ValueError, match="was .*, expected"):
        Move(*bad)


def recorded_block(folder: Path) -> dict[str, Any]:
    block: dict[str, Any] = json.loads(gzip.decompress((folder / "block.json.gz").read_bytes()))
    return block.get("result", block)


def test_header_hash_is_that_of_the_real_chain(data_root: Path) -> None:
    """The hash of every recorded mainnet block, from 2015 to 2024, recomputes from its header."""
    folders = sorted((data_root / "ethereum/pevm").iterdir(), key=lambda folder: int(folder.name))
    wrong = [f.name for f in folders if header_hash(block := recorded_block(f)) != block["hash"]]
    assert len(folders) > 50
    assert wrong == []
