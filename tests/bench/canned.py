"""Blocks of the size of Ethereum's as a node answers them, from memory, and what a bare client makes of them."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

import aiohttp
import msgspec
from aiohttp import web

from chains.recorded.evm_blocks import Draft, Move, construct

CHAIN_ID = 1
FIRST = 20_000_000
OTHER = "0x" + "c4" * 32  # a topic that is no transfer
Answers = dict[str, dict[int, bytes]]  # method, then number of the block


def made(
    blocks: int, transactions: int, other_logs: int, seed: int = 1, receivers: Sequence[str] = (), every: int = 100
) -> Answers:
    """Answers for that many blocks: half of the transactions move a token, ``other_logs`` logs are of other kinds.

    Parameters
    ----------
    receivers : one transaction in ``every`` pays one of them
    """
    drafts = []
    for number in range(blocks):
        moves = []
        for i in range(transactions):
            people = [f"0x{(seed * 7_919 + number * 104_729 + i * 31 + side) ** 5 % 2**160:040x}" for side in (1, 2)]
            if receivers and i % every == 0:
                people[1] = receivers[(number * transactions + i) // every % len(receivers)]
            token = f"0x{0xC0FFEE + i % 50:040x}" if i % 2 else None
            moves.append(Move(people[0], people[1], 10**15 + i, token))
        drafts.append(Draft(1_700_000_000 + 12 * number, tuple(moves)))
    found: Answers = {"eth_getBlockByNumber": {}, "eth_getBlockReceipts": {}}
    for block in construct(CHAIN_ID, drafts, number=FIRST):
        assert block.receipts is not None
        receipts = _with_logs([dict(receipt) for receipt in block.receipts], other_logs)
        found["eth_getBlockByNumber"][block.number] = json.dumps(block.block, separators=(",", ":")).encode()
        found["eth_getBlockReceipts"][block.number] = json.dumps(receipts, separators=(",", ":")).encode()
    return found


def _with_logs(receipts: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """The receipts with so many more logs, spread over them, numbered through the block."""
    place = 0
    for index, receipt in enumerate(receipts):
        logs = [dict(log) for log in receipt["logs"]]
        share = count // len(receipts) + (index < count % len(receipts))
        base = {key: receipt[key] for key in ("transactionIndex", "transactionHash", "blockHash", "blockNumber")}
        for n in range(share):
            topics = [OTHER, f"0x{index * 97 + n:064x}"]
            logs.append({**base, "address": f"0x{0xBEEF + index:040x}", "topics": topics, "data": "0x" + "0a" * 128})
        for log in logs:
            log |= {"logIndex": hex(place), "removed": False}
            place += 1
        receipt["logs"] = logs
    return receipts


def _serve(answers: Answers, ready: Connection) -> None:
    numbers = {block_hash(data): number for number, data in answers["eth_getBlockByNumber"].items()}

    def one(call: Mapping[str, Any]) -> bytes:
        method, params = call["method"], call["params"]
        if method == "eth_chainId":
            result = b'"0x1"'
        elif method in answers:
            asked = params[0]["blockHash"] if isinstance(params[0], dict) else params[0]
            number = numbers.get(asked) or (max(answers[method]) if asked == "latest" else int(asked, 16))
            result = answers[method][number]
        else:
            return b'{"jsonrpc":"2.0","id":%d,"error":{"code":-32601,"message":"method not found"}}' % call["id"]
        return b'{"jsonrpc":"2.0","id":%d,"result":%b}' % (call["id"], result)

    async def answer(request: web.Request) -> web.Response:
        asked = msgspec.json.decode(await request.read())
        body = b"[%b]" % b",".join(map(one, asked)) if isinstance(asked, list) else one(asked)
        return web.Response(body=body, content_type="application/json")

    async def run() -> None:
        app = web.Application()
        app.router.add_post("/", answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        assert site._server is not None
        ready.send(site._server.sockets[0].getsockname()[1])  # type: ignore[attr-defined]
        await asyncio.to_thread(ready.recv)
        await runner.cleanup()

    asyncio.run(run())


@contextmanager
def serving(answers: Answers) -> Iterator[str]:
    """A node of its own process that gives these answers; its URL."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(answers, there))
    process.start()
    try:
        yield f"http://127.0.0.1:{here.recv()}"
    finally:
        here.send(None)
        process.join()


class _Hashed(msgspec.Struct):
    hash: str


def block_hash(data: bytes) -> str:
    """The hash of a block as its answer states it."""
    return msgspec.json.decode(data, type=_Hashed).hash


class BareLog(msgspec.Struct, rename="camel"):
    """All that a transfer needs."""

    address: str
    topics: list[str]
    data: str
    log_index: str


class BareReceipt(msgspec.Struct, rename="camel"):
    """A receipt with its logs."""

    transaction_hash: str
    block_hash: str
    gas_used: str
    status: str
    logs: list[BareLog]


class BareTx(msgspec.Struct, rename="camel"):
    """A transaction."""

    hash: str
    sender: str = msgspec.field(name="from")
    to: str | None
    value: str
    nonce: str


class BareBlock(msgspec.Struct, rename="camel"):
    """A block with its transactions."""

    hash: str
    number: str
    parent_hash: str
    timestamp: str
    transactions: list[BareTx]


class _Block(msgspec.Struct):
    result: BareBlock


class _Receipts(msgspec.Struct):
    result: list[BareReceipt]


_BLOCK, _RECEIPTS = msgspec.json.Decoder(_Block), msgspec.json.Decoder(_Receipts)


async def bare(session: aiohttp.ClientSession, url: str, number: int) -> tuple[BareBlock, list[BareReceipt]]:
    """A block and its receipts: two requests, typed decoding, nothing else."""
    block = _BLOCK.decode(await _ask(session, url, "eth_getBlockByNumber", hex(number), True)).result
    return block, _RECEIPTS.decode(await _ask(session, url, "eth_getBlockReceipts", block.hash)).result


async def _ask(session: aiohttp.ClientSession, url: str, method: str, *params: Any) -> bytes:
    body = msgspec.json.encode({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
    async with session.post(url, data=body, headers={"Content-Type": "application/json"}) as response:
        return await response.read()
