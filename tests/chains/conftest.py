"""Fixtures of the chain watchers: a real node, a canned server, real recorded data."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

ROOT = Path(__file__).parents[2]
DATA = Path(__file__).parent / "data"
NATIVE_ANVIL = ROOT / ".tools/node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil"
ACCOUNTS = (  # anvil's first unlocked accounts
    "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266",
    "0x70997970c51812dc3a010c7d01b50e0d17dc79c8",
    "0x3c44cdddb6a900fa2b585dd299e03d12fa4293bc",
    "0x90f79bf6eb2c4f870365e785982e1f101e93b906",
)


def absent(what: str) -> None:
    """Skip, or fail where CI=true: a real component may be missing only on a developer's machine."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what} is not available")
    pytest.skip(f"{what} is not available")


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of recorded real data; its absence is a skip even under CI=true."""
    root = Path(os.environ.get("HEISTWATCH_DATA") or ROOT.parent / "shared/data")
    if not root.is_dir():
        pytest.skip("recorded real data is not here: set HEISTWATCH_DATA")
    return root


@pytest.fixture
def free_port() -> int:
    """A port on 127.0.0.1 that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Anvil:
    """A running node: `url`, `ws`, and `rpc` to drive it."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self.process, self.port = process, port
        self.url, self.ws = f"http://127.0.0.1:{port}", f"ws://127.0.0.1:{port}"
        self.accounts = ACCOUNTS
        self._session = aiohttp.ClientSession()
        self._drain = asyncio.create_task(self._swallow())

    async def _swallow(self) -> None:
        assert self.process.stdout is not None
        while await self.process.stdout.read(65536):
            pass

    async def rpc(self, method: str, *params: Any) -> Any:
        """The result of one call; an error object fails the test."""
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}
        async with self._session.post(self.url, json=body) as response:
            answer = await response.json()
        assert "result" in answer, answer
        return answer["result"]

    async def send(self, **transaction: Any) -> Any:
        """Send from an unlocked account, mine, and return the receipt."""
        return await self.rpc("eth_sendTransactionSync", {"gas": "0x100000", **transaction})

    async def kill(self) -> None:
        """End the node; calling it twice is fine."""
        if self.process.returncode is None:
            self.process.kill()
            await self.process.wait()

    async def aclose(self) -> None:
        """End the node and everything around it."""
        await self.kill()
        await self._drain
        await self._session.close()


def _anvil_binary() -> str:
    named = os.environ.get("HEISTWATCH_ANVIL")
    if named:
        return named
    if NATIVE_ANVIL.is_file():
        return str(NATIVE_ANVIL)
    found = shutil.which("anvil")
    if found is None:
        absent("anvil (an Ethereum node; set HEISTWATCH_ANVIL to its binary)")
    assert found is not None
    return found


@pytest_asyncio.fixture
async def start_anvil() -> AsyncIterator[Callable[..., Awaitable[Anvil]]]:
    """Start nodes with extra arguments; each ends with the test."""
    binary, nodes = _anvil_binary(), []

    async def start(*arguments: str) -> Anvil:
        process = await asyncio.create_subprocess_exec(
            binary, "--host", "127.0.0.1", "--port", "0", "--order", "fifo", *arguments,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        assert process.stdout is not None
        async with asyncio.timeout(30):
            async for line in process.stdout:
                if line.startswith(b"Listening on"):
                    node = Anvil(process, int(line.rsplit(b":", 1)[1]))
                    nodes.append(node)
                    return node
        raise AssertionError("anvil ended before it listened")

    yield start
    for node in nodes:
        await node.aclose()


@pytest_asyncio.fixture
async def anvil(start_anvil: Callable[..., Awaitable[Anvil]]) -> Anvil:
    """One real Ethereum node, chain id 31337, a block a transaction."""
    return await start_anvil()


@pytest.fixture(scope="session")
def token() -> dict[str, Any]:
    """The compiled test token: `bytecode`, and `methods` (signature to selector); source in data/Token.sol."""
    compiled: dict[str, Any] = json.loads((DATA / "token.json").read_text())
    return compiled


class Canned:
    """A loopback server that answers as told and remembers what it was asked.

    ``script`` is consumed first, one entry a request: a `web.Response`, bytes (status 200), an exception class (the
    connection is cut) or None (answer as usual). Then ``handler`` answers where there is one, else the JSON-RPC
    ``methods``: a value, or a function of the params; an `RpcFault` becomes an error object.
    """

    def __init__(self) -> None:
        self.script: list[Any] = []
        self.methods: dict[str, Any] = {}
        self.handler: Callable[[web.Request], Awaitable[web.StreamResponse]] | None = None
        self.asked: list[Any] = []
        self.url = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """What the server does with one request."""
        text = await request.text()
        body = json.loads(text) if text else None
        self.asked.append(body if body is not None else request.path_qs)
        step = self.script.pop(0) if self.script else None
        if isinstance(step, type):
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if isinstance(step, bytes):
            return web.Response(body=step, content_type="application/json")
        if step is not None:
            response: web.StreamResponse = step
            return response
        if body is None or self.handler is not None:
            assert self.handler is not None
            return await self.handler(request)
        answer = [self.reply(one) for one in body] if isinstance(body, list) else self.reply(body)
        return web.json_response(answer)

    def reply(self, body: dict[str, Any]) -> dict[str, Any]:
        """The reply to one JSON-RPC request."""
        value = self.methods.get(body["method"], RpcFault(-32601, "the method does not exist"))
        if callable(value):
            value = value(*body["params"])
        if isinstance(value, RpcFault):
            return {"jsonrpc": "2.0", "id": body["id"], "error": {"code": value.code, "message": value.message}}
        return {"jsonrpc": "2.0", "id": body["id"], "result": value}


class RpcFault:
    """A JSON-RPC error object."""

    def __init__(self, code: int, message: str) -> None:
        self.code, self.message = code, message


@pytest.fixture
def fault() -> type[RpcFault]:
    """`RpcFault`, for canned answers."""
    return RpcFault


@pytest_asyncio.fixture
async def serve() -> AsyncIterator[Callable[[], Awaitable[Canned]]]:
    """Start canned servers on free loopback ports; each ends with the test."""
    runners = []

    async def start() -> Canned:
        canned = Canned()
        application = web.Application()
        application.router.add_route("*", "/{tail:.*}", canned.answer)
        runner = web.AppRunner(application, shutdown_timeout=0.1)
        runners.append(runner)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        canned.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        return canned

    yield start
    for runner in runners:
        await runner.cleanup()


@pytest_asyncio.fixture
async def canned(serve: Callable[[], Awaitable[Canned]]) -> Canned:
    """One canned server."""
    return await serve()


class Pauses:
    """Stands in for asyncio.sleep: remembers what was asked for and only yields to the loop."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)
        await asyncio.sleep(0)


class Ticks:
    """A clock that only pauses move, and the pauses themselves."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.paused: list[float] = []

    def clock(self) -> float:
        """Monotonic seconds."""
        return self.now

    async def sleep(self, seconds: float) -> None:
        """A pause that takes no time but on this clock."""
        self.paused.append(seconds)
        self.now += max(0.0, seconds)
        await asyncio.sleep(0)


@pytest.fixture
def ticks() -> Ticks:
    """Time as the test wants it."""
    return Ticks()


@pytest.fixture
def pauses() -> Pauses:
    """Pauses without waiting."""
    return Pauses()
