"""A node of the Bitcoin family on 127.0.0.1 that serves constructed blocks, for replay, drills and tests."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Self

import msgspec
from aiohttp import web

from chains.recorded.bitcoin_blocks import Draft, Move, RecordedBlock, Recording
from chains.recorded.bitcoin_methods import NO_METHOD, Faults, Methods, RpcFault, hash_of
from chains.recorded.pace import Pace

__all__ = ["Draft", "Faults", "Move", "RecordedBitcoinServer", "RecordedBlock", "Recording"]

PARSE_ERROR, INVALID_REQUEST = -32700, -32600


class RecordedBitcoinServer:
    """Serve a recording over the JSON-RPC of Bitcoin Core; an async context manager.

    Single calls and batches, with the statuses of Core: 200, 404 for an unknown method, 500 for any other error.
    Blocks become visible at a `Pace`; a reader's question for the head is what moves a pace without time on. The hash
    of the block that names the network is told, whatever the recording holds.

    Parameters
    ----------
    recording : the blocks
    pace : when blocks become visible; as fast as the reader asks unless said otherwise
    shown : visible from the start
    prevouts : ``getblock`` 3 tells what inputs spend
    txindex : ``getrawtransaction`` finds what is in blocks, and what came before them

    Attributes
    ----------
    faults : what goes wrong, for tests of readers
    """

    def __init__(
        self,
        recording: Recording,
        *,
        pace: Pace | None = None,
        shown: int = 1,
        prevouts: bool = True,
        txindex: bool = True,
    ) -> None:
        if not recording.blocks:
            raise ValueError("the recording has no blocks")
        self.faults = Faults()
        self.pace = pace or Pace()
        self._recording, self._shown = recording, shown
        self.pace.begin(self._times(), shown=shown)
        self._methods = Methods(recording, self.pace, self.faults, prevouts, txindex)
        self._runner: web.AppRunner | None = None
        self._port = 0
        self._never = asyncio.Event()

    @property
    def url(self) -> str:
        """The endpoint; RuntimeError before the first start."""
        if not self._port:
            raise RuntimeError("the server has not been started")
        return f"http://127.0.0.1:{self._port}"

    @property
    def blocks(self) -> list[RecordedBlock]:
        """The blocks that readers see now."""
        return self._recording.blocks[: self.pace.visible]

    @property
    def asked(self) -> Counter[str]:
        """How often each method was called."""
        return self._methods.asked

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen: on a free port the first time, on the same one after a `stop`."""
        app = web.Application(client_max_size=8 * 2**20)
        app.router.add_post("/", self._serve)
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.5)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", self._port).start()
        except BaseException:
            await runner.cleanup()
            raise
        self._runner, self._port = runner, runner.addresses[0][1]

    async def stop(self) -> None:
        """Close every connection and stop listening; the node is down. Calling it twice is fine."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    def reorg(self, depth: int, drafts: Iterable[Draft], *, shown: int | None = None) -> None:
        """Replace the newest ``depth`` visible blocks, and all that were to come, by blocks made of ``drafts``.

        Parameters
        ----------
        depth : 0 or more, less than the number of visible blocks
        drafts : spend coins that are there without the replaced blocks
        shown : how many of them are visible at once; None is all
        """
        kept = self.pace.visible - depth
        if depth < 0 or kept < 1:
            raise ValueError(f"depth was {depth}, expected 0 to {self.pace.visible - 1}")
        self._recording.replace(kept, drafts)
        self._methods.index()
        fresh = len(self._recording.blocks) - kept
        self.pace.begin(self._times(), shown=kept + (fresh if shown is None else min(shown, fresh)))

    def wait(self, *transactions: bytes) -> list[str]:
        """Serialised transactions wait to be mined from now on; their hashes."""
        found = {hash_of(data): data for data in transactions}
        self._methods.waiting |= found
        return list(found)

    def drop(self, *hashes: str) -> None:
        """Transactions do not wait any more."""
        for hash in hashes:
            self._methods.waiting.pop(hash, None)

    def _times(self) -> list[int]:
        return [block.time for block in self._recording.blocks]

    async def _serve(self, request: web.Request) -> web.Response:
        body = await request.read()
        if self.faults.stall:
            await self._never.wait()
        if self.faults.http_status is not None:
            return web.Response(status=self.faults.http_status)
        try:
            asked = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return _response(_reply(None, PARSE_ERROR, "Parse error"), 500)
        if isinstance(asked, list):
            return _response([self._reply(one)[0] for one in asked], 200)
        return _response(*self._reply(asked))

    def _reply(self, asked: Any) -> tuple[dict[str, Any], int]:
        """The answer to one call, and the status that it has alone."""
        if not isinstance(asked, dict) or not isinstance(asked.get("params", []), list | dict):
            return _reply(None, INVALID_REQUEST, "Invalid Request object"), 500
        try:
            result = self._methods.call(asked.get("method"), asked.get("params", []))
        except RpcFault as fault:
            status = 404 if fault.code == NO_METHOD else 500
            return _reply(asked.get("id"), fault.code, fault.message), status
        return {"result": result, "error": None, "id": asked.get("id")}, 200


def _reply(ident: Any, code: int, message: str) -> dict[str, Any]:
    return {"result": None, "error": {"code": code, "message": message}, "id": ident}


def _response(body: Any, status: int) -> web.Response:
    return web.Response(body=msgspec.json.encode(body), status=status, content_type="application/json")
