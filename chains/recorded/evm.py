"""A loopback node that serves recorded or constructed blocks over the real Ethereum JSON-RPC."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import msgspec
from aiohttp import WSMsgType, web

from chains.recorded.evm_blocks import Draft, Json, Move, RecordedBlock, bloom, construct, header_hash
from chains.recorded.evm_methods import Balances, Faults, Methods, Recording, RpcFault, subscription_id
from chains.recorded.pace import Pace

__all__ = ["Draft", "Faults", "Move", "RecordedBlock", "RecordedEvmServer", "bloom", "construct", "header_hash"]

_BODY_ONLY = ("transactions", "uncles", "size", "totalDifficulty", "withdrawals")  # of a block, not of its header


@dataclass(eq=False, slots=True)
class _Reader:
    """One open socket and its subscriptions to new heads."""

    socket: web.WebSocketResponse
    heads: set[str] = field(default_factory=set)


class RecordedEvmServer:
    """Serves a chain on 127.0.0.1 and a free port: HTTP (single calls and batches) and WebSocket on the same port.

    ::

        async with RecordedEvmServer(1, blocks, pace=Pace(60.0)) as server:
            ...  # point an endpoint at server.url, or server.ws_url

    Methods: ``eth_chainId``, ``net_version``, ``web3_clientVersion``, ``eth_blockNumber``, ``eth_getBlockByNumber``,
    ``eth_getBlockByHash``, ``eth_getBlockReceipts``, ``eth_getTransactionReceipt``, ``eth_getTransactionByHash``,
    ``eth_getLogs``, ``eth_getBalance``, ``eth_call`` (``balanceOf`` alone), and on a socket ``eth_subscribe`` to
    ``newHeads``; all others are -32601. Blocks that are not visible yet are null. What a recording without receipts
    cannot tell is -32601 too, never an empty answer.

    Parameters
    ----------
    chain_id : the number N of ``eip155:N``
    blocks : in chain order: `RecordedBlock`s, blocks as JSON with full transactions, or `Draft`s
    pace : when blocks become visible, from entering the server on; None shows all at once
    shown : blocks visible from the start; None is 1 with a pace
    balances : what ``eth_getBalance`` and ``balanceOf`` answer; unknown holders have 0
    client : what ``web3_clientVersion`` answers
    """

    def __init__(
        self,
        chain_id: int,
        blocks: Sequence[RecordedBlock | Draft | Mapping[str, Any]],
        *,
        pace: Pace | None = None,
        shown: int | None = None,
        balances: Balances | None = None,
        client: str = "heistwatch-recorded/1",
    ) -> None:
        if shown is None:
            shown = len(blocks) if pace is None else 1
        self.faults = Faults()
        self._recording = Recording(chain_id, _known(blocks), pace or Pace(manual=True), shown)
        self._methods = Methods(self._recording, self.faults, balances or {}, client)
        self._readers: set[_Reader] = set()
        self._ids = itertools.count(1)
        self._told = self._recording.pace.visible  # blocks whose heads were pushed
        self._teller: asyncio.Task[None] | None = None
        self._runner: web.AppRunner | None = None
        self._never = asyncio.Event()

    @property
    def pace(self) -> Pace:
        """When blocks become visible."""
        return self._recording.pace

    @property
    def blocks(self) -> list[RecordedBlock]:
        """The visible blocks, oldest first."""
        return self._recording.visible

    @property
    def asked(self) -> Counter[str]:
        """How often each method was called."""
        return self._methods.asked

    @property
    def port(self) -> int:
        """The port on 127.0.0.1; RuntimeError while the server is not running."""
        if self._runner is None:
            raise RuntimeError("the server is not running: use it in `async with`")
        return int(self._runner.addresses[0][1])

    @property
    def url(self) -> str:
        """The HTTP endpoint."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws_url(self) -> str:
        """The WebSocket endpoint."""
        return f"ws://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        application = web.Application(client_max_size=8 * 2**20)
        application.router.add_route("*", "/{path:.*}", self._serve)
        runner = web.AppRunner(application, access_log=None, handler_cancellation=True, shutdown_timeout=0.5)
        try:
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
        except BaseException:
            await runner.cleanup()
            raise
        self._runner = runner
        self._recording.begin()
        self._told = self._recording.pace.visible
        self._teller = asyncio.create_task(self._tell_always(), name="recorded heads")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End the server and every connection; calling it twice is fine."""
        self._never.set()
        await self._stop_telling()
        await self.drop_sockets()
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def reorg(self, depth: int, blocks: Sequence[RecordedBlock | Draft | Mapping[str, Any]]) -> None:
        """Replace the last ``depth`` visible blocks (0: none) by ``blocks``, visible at once, and push their heads.

        Fewer new blocks than ``depth`` are a rollback, of which subscribers hear nothing. Blocks that were not visible
        yet go with their parents. ValueError unless at least one block stays.
        """
        running = self._teller is not None
        await self._stop_telling()
        self._told = self._recording.reorg(depth, _known(blocks))
        await self._tell()
        if running:
            self._teller = asyncio.create_task(self._tell_always(), name="recorded heads")

    async def drop_sockets(self) -> None:
        """Close every open socket now."""
        readers, self._readers = self._readers, set()
        for reader in readers:
            await reader.socket.close()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        if request.method == "GET" and request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._serve_socket(request)
        if request.method != "POST":
            return web.Response(status=405, headers={"Allow": "POST"})
        body = await request.read()
        if self.faults.stall:
            await self._never.wait()
        if self.faults.http_status is not None:
            return web.Response(status=self.faults.http_status)
        return web.Response(body=self._answer(body, None, set()) or b"", content_type="application/json")

    async def _serve_socket(self, request: web.Request) -> web.StreamResponse:
        if self.faults.drop_ws:
            return web.Response(status=503)
        socket = web.WebSocketResponse(compress=False, timeout=0.5)
        await socket.prepare(request)
        reader = _Reader(socket)
        self._readers.add(reader)
        try:
            async for message in socket:
                if self.faults.drop_ws or message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                    break
                fresh: set[str] = set()
                data = message.data.encode() if isinstance(message.data, str) else message.data
                answer = None if self.faults.stall else self._answer(data, reader, fresh)
                if answer is not None:
                    await socket.send_str(answer.decode())
                reader.heads |= fresh  # only now: a notification must not come before the answer that names it
        except ConnectionError:
            pass
        finally:
            self._readers.discard(reader)
            await socket.close()
        return socket

    def _answer(self, body: bytes, reader: _Reader | None, fresh: set[str]) -> bytes | None:
        """The reply to one message, which may be a batch; None where it asks for none."""
        try:
            asked = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return msgspec.json.encode(_error(None, -32700, "parse error"))
        if asked == []:
            return msgspec.json.encode(_error(None, -32600, "empty batch"))
        if not isinstance(asked, list):
            reply = self._reply(asked, reader, fresh)
            return None if reply is None else msgspec.json.encode(reply)
        replies = [reply for one in asked if (reply := self._reply(one, reader, fresh)) is not None]
        return msgspec.json.encode(replies) if replies else None

    def _reply(self, asked: Any, reader: _Reader | None, fresh: set[str]) -> Json | None:
        if not isinstance(asked, dict) or "method" not in asked:
            return _error(None, -32600, "invalid request")
        ident, method, params = asked.get("id"), asked["method"], asked.get("params", [])
        try:
            if reader is not None and method in ("eth_subscribe", "eth_unsubscribe"):
                result = self._subscription(method, params, reader, fresh)
            else:
                result = self._methods.call(method, params)
        except RpcFault as fault:
            return _error(ident, fault.code, fault.message)
        return {"jsonrpc": "2.0", "id": ident, "result": result} if "id" in asked else None

    def _subscription(self, method: str, params: Any, reader: _Reader, fresh: set[str]) -> str | bool:
        self.asked[method] += 1
        if not isinstance(params, list) or not params or not isinstance(params[0], str):
            raise RpcFault(-32602, f"invalid params of {method}")
        if method in self.faults.unsupported:
            raise RpcFault(-32601, f"the method {method} does not exist/is not available")
        if method == "eth_unsubscribe":
            known = params[0] in reader.heads
            reader.heads.discard(params[0])
            return known
        if params[0] != "newHeads":
            raise RpcFault(-32601, f'no "{params[0]}" subscription in eth namespace')
        ident = subscription_id(next(self._ids))
        fresh.add(ident)
        return ident

    async def _tell_always(self) -> None:
        while True:
            await self.pace.wait(self._told + 1)
            await self._tell()

    async def _tell(self) -> None:
        """Push the heads that became visible since the last time."""
        blocks, self._told = self.blocks[self._told :], self.pace.visible
        for block in blocks:
            header = {key: value for key, value in block.block.items() if key not in _BODY_ONLY}
            for reader in list(self._readers):
                await self._push(reader, header)

    async def _push(self, reader: _Reader, header: Json) -> None:
        try:
            if self.faults.drop_ws:
                await reader.socket.close()
                return
            for ident in () if self.faults.stall else sorted(reader.heads):
                note = {
                    "jsonrpc": "2.0",
                    "method": "eth_subscription",
                    "params": {"subscription": ident, "result": header},
                }
                await reader.socket.send_str(msgspec.json.encode(note).decode())
        except ConnectionError:
            self._readers.discard(reader)

    async def _stop_telling(self) -> None:
        teller, self._teller = self._teller, None
        if teller is not None:
            teller.cancel()
            await asyncio.gather(teller, return_exceptions=True)


def _known(blocks: Sequence[RecordedBlock | Draft | Mapping[str, Any]]) -> list[RecordedBlock | Draft]:
    known = [RecordedBlock(dict(block)) if isinstance(block, Mapping) else block for block in blocks]
    for block in known:
        if isinstance(block, RecordedBlock) and not all(isinstance(tx, dict) for tx in block.block["transactions"]):
            raise ValueError(f"block {block.number} was recorded without its transactions in full")
    return known


def _error(ident: Any, code: int, message: str) -> Json:
    return {"jsonrpc": "2.0", "id": ident, "error": {"code": code, "message": message}}
