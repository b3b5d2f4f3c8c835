"""A node of a 2-second chain whose time is compressed, and which misbehaves: blocks made as they are needed.

Everything follows from the seed. Faults come by chance, at a few in a hundred requests: errors, refusals, cut answers,
empty receipts, heads that lag. Now and then the last blocks are replaced by others.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import time
from collections import deque
from typing import Any

from aiohttp import web

from chains.recorded.evm_blocks import Draft, Move, RecordedBlock, construct

CHAIN_ID = 1337
BLOCK_SECONDS = 2
START = 1_700_000_000
HOT = f"0x{0xA11CE:040x}"
TOKEN = f"0x{0xC01:040x}"
KEPT = 400  # blocks that can still be asked for
AHEAD = 64  # blocks between what was asked for and the head
REORG_EVERY = 500
ETHER = 10**18
FAULTS = {"error": 0.01, "busy": 0.01, "cut": 0.004, "torn": 0.004, "empty": 0.002, "stale": 0.01}


class Chain:
    """Blocks up to a head that moves with the clock, and no further than a reader can follow."""

    def __init__(self, seed: int, rate: float, blocks: int) -> None:
        self._random = random.Random(seed)
        self._rate, self._blocks, self._began = rate, blocks, time.monotonic()
        self._known: deque[RecordedBlock] = deque(maxlen=KEPT)
        self._known.extend(construct(CHAIN_ID, [Draft(START)]))
        self._turned = 0
        self._asked = 0
        self.reorgs = 0

    @property
    def head(self) -> RecordedBlock:
        """The newest block."""
        due = int((time.monotonic() - self._began) * self._rate)
        goal = min(self._blocks, due, self._asked + AHEAD)
        while self._known[-1].number < goal:
            number = self._known[-1].number
            if number and number % REORG_EVERY == 0 and number > self._turned:
                self._turn(number)
            self._append()
        return self._known[-1]

    def _turn(self, number: int) -> None:
        """Another branch takes the place of the last blocks."""
        self._turned = number
        self.reorgs += 1
        depth = self._random.randint(1, 3)
        for _ in range(depth):
            self._known.pop()
        for n in range(depth):
            self._append(extra=b"other%d" % n)

    def _append(self, extra: bytes = b"") -> None:
        parent = self._known[-1]
        draft = Draft(parent.timestamp + BLOCK_SECONDS, tuple(self._moves()), extra)
        self._known.append(construct(CHAIN_ID, [draft], parents=[parent])[0])

    def _moves(self) -> list[Move]:
        """A few payments of customers and strangers; the wallet pays and is paid about equally."""
        draw = self._random
        moves = []
        for _ in range(draw.randint(3, 9)):
            people = [f"0x{draw.getrandbits(160):040x}" for _ in range(2)]
            moves.append(Move(*people, draw.randrange(10**18), TOKEN if draw.random() < 0.5 else None))
        if draw.random() < 0.2:
            customer = f"0x{draw.randrange(1, 20_000):040x}"
            token = TOKEN if draw.random() < 0.4 else None
            moves.append(Move(HOT, customer, draw.randrange(ETHER // 10, ETHER), token))
            moves.append(Move(customer, HOT, draw.randrange(ETHER // 10, ETHER), token))
        return moves

    def at(self, asked: Any) -> RecordedBlock | None:
        """A block by number, tag or hash, where it is still (or already) known."""
        head = self.head
        if isinstance(asked, dict):
            asked = asked.get("blockHash", "")
        if asked in ("latest", "pending"):
            return head
        if asked in ("safe", "finalized"):
            asked = hex(max(0, head.number - 64))
        if len(asked) == 66:
            return next((block for block in self._known if block.hash == asked), None)
        self._asked = max(self._asked, min(int(asked, 16), head.number))
        place = int(asked, 16) - self._known[0].number
        return self._known[place] if 0 <= place < len(self._known) else None


class Node:
    """JSON-RPC over a chain, with faults."""

    def __init__(self, chain: Chain, seed: int) -> None:
        self.chain, self._random = chain, random.Random(seed + 1)
        self.counts = dict.fromkeys(FAULTS, 0) | {"requests": 0}

    def _fault(self) -> str:
        draw = self._random.random()
        for name, share in FAULTS.items():
            if draw < share:
                self.counts[name] += 1
                return name
            draw -= share
        return ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """One request, a list or a single call."""
        asked = await request.json()
        self.counts["requests"] += 1
        fault = self._fault()
        if fault == "error":
            return web.Response(status=502, text="<html>bad gateway</html>")
        if fault == "busy":
            return web.Response(status=429, headers={"Retry-After": "0"})
        if fault == "cut":
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        calls = asked if isinstance(asked, list) else [asked]
        replies = [self._reply(call, fault) for call in calls]
        body = json.dumps(replies if isinstance(asked, list) else replies[0], separators=(",", ":"))
        return web.Response(text=body[: len(body) // 2] if fault == "torn" else body, content_type="application/json")

    def _reply(self, call: dict[str, Any], fault: str) -> dict[str, Any]:
        reply = {"jsonrpc": "2.0", "id": call["id"]}
        try:
            return {**reply, "result": self._result(call["method"], call["params"], fault)}
        except LookupError:
            return {**reply, "error": {"code": -32601, "message": "the method does not exist"}}

    def _result(self, method: str, params: list[Any], fault: str) -> Any:
        if method == "eth_chainId":
            return hex(CHAIN_ID)
        if method == "eth_blockNumber":
            return hex(self.chain.head.number)
        if method in ("eth_getBlockByNumber", "eth_getBlockByHash"):
            asked = params[0]
            if asked == "latest" and fault == "stale":
                asked = hex(max(0, self.chain.head.number - 5))
            found = self.chain.at(asked)
            if found is None:
                return None
            if params[1]:
                return found.block
            return {**found.block, "transactions": [tx["hash"] for tx in found.block["transactions"]]}
        if method == "eth_getBlockReceipts":
            found = self.chain.at(params[0])
            return None if found is None else [] if fault == "empty" else list(found.receipts or ())
        if method == "eth_getBalance":
            return hex(10_000 * ETHER)
        if method == "eth_getCode":
            return "0x"
        if method == "eth_call":
            return f"0x{10_000 * ETHER:064x}"
        raise LookupError(method)

    async def figures(self, request: web.Request) -> web.Response:
        """What happened so far."""
        return web.json_response({**self.counts, "head": self.chain.head.number, "reorgs": self.chain.reorgs})


async def main() -> None:
    """Serve until killed; the port goes to standard output."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=float, required=True, help="blocks a second")
    parser.add_argument("--blocks", type=int, required=True)
    options = parser.parse_args()
    node = Node(Chain(options.seed, options.rate, options.blocks), options.seed)
    app = web.Application()
    app.router.add_post("/", node.answer)
    app.router.add_get("/figures", node.figures)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert site._server is not None
    print(site._server.sockets[0].getsockname()[1], flush=True)  # type: ignore[attr-defined]
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
