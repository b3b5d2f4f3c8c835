"""Endpoints that lie, lag, limit and die, under the real follower: each block once, in order, and true."""

from __future__ import annotations

import asyncio
import gzip
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, aclosing
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from chains.base import BlockConnected, BlockDisconnected, ChainSpec
from chains.evm.header import NO_HEADER
from chains.evm.watcher import EvmChain
from chains.follow import Follower
from chains.recorded.evm import Draft, Move, RecordedEvmServer
from chains.rpc import redact
from monitor.errors import ChainError
from monitor.model import Block, BlockRef

ALICE, BOB, COIN = ("0x" + c * 40 for c in "abc")
LENGTH = 12
PATIENCE = 10.0  # seconds: nothing that answers is ever late
TIMEOUT = 0.4  # seconds: what a stall costs


def drafts(count: int = LENGTH, start: int = 0, extra: bytes = b"") -> list[Draft]:
    """Blocks of a chain with one every 12 s, each with a token transfer of ALICE."""
    return [Draft(100 + 12 * n, (Move(ALICE, BOB, n, COIN),), extra) for n in range(start, start + count)]


Answer = list[dict[str, Any]]


class Crooked:
    """A node that passes calls on to an honest one.

    ``lie`` changes the reply to one call (its method, params and result, or error); ``reply`` answers a request in the
    place of what would be sent; ``push`` is what a socket gets of a notification of a new head.
    """

    def __init__(self, honest: RecordedEvmServer) -> None:
        self.honest = honest
        self.lie: Callable[[str, list[Any], Any], Any] = lambda method, params, result: result
        self.reply: Callable[[web.Request, bytes], Awaitable[web.StreamResponse | None]] | None = None
        self.asked: list[str] = []
        self.port = 0
        self.sockets: list[web.WebSocketResponse] = []
        self._runner: web.AppRunner | None = None
        self._client: aiohttp.ClientSession | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    async def start(self, port: int = 0) -> None:
        """Listen, on the same port as before where it is given."""
        application = web.Application(client_max_size=2**24)
        application.router.add_route("*", "/{tail:.*}", self._serve)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port).start()
        self.port = self._runner.addresses[0][1]
        self._client = self._client or aiohttp.ClientSession()

    async def stop(self) -> None:
        """Close every connection and listen no more."""
        for socket in self.sockets:
            await socket.close()
        if self._runner is not None:
            await self._runner.cleanup()

    async def aclose(self) -> None:
        await self.stop()
        if self._client is not None:
            await self._client.close()

    async def push(self, place: int, **more: Any) -> None:
        """Notify every subscriber of the head of that number."""
        head = {key: self.honest.blocks[place].block[key] for key in ("number", "hash", "parentHash")}
        params = {"subscription": "0x1", "result": head | more}
        note = {"jsonrpc": "2.0", "method": "eth_subscription", "params": params}
        for socket in self.sockets:
            if not socket.closed:
                await socket.send_json(note)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._serve_socket(request)
        body = await request.read()
        if self.reply is not None and (answer := await self.reply(request, body)) is not None:
            return answer
        return web.Response(body=await self._answer(body), content_type="application/json")

    async def _serve_socket(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(timeout=0.2)
        await socket.prepare(request)
        self.sockets.append(socket)
        async for message in socket:
            if (answer := await self._answer(message.data.encode())) != b"":
                await socket.send_str(answer.decode())
        return socket

    async def _answer(self, body: bytes) -> bytes:
        asked = json.loads(body)
        if isinstance(asked, dict) and asked["method"] == "eth_subscribe":
            return json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": "0x1"}).encode()
        assert self._client is not None
        async with self._client.post(self.honest.url, data=body) as response:
            told = await response.json()
        calls = asked if isinstance(asked, list) else [asked]
        self.asked += [call["method"] for call in calls]
        for call, reply in zip(calls, told if isinstance(told, list) else [told], strict=True):
            if "result" in reply:
                reply["result"] = self.lie(call["method"], call["params"], reply["result"])
        return json.dumps(told).encode()


@pytest.fixture
async def truth() -> AsyncIterator[RecordedEvmServer]:
    """The honest node, all of whose blocks can be seen."""
    async with RecordedEvmServer(1, drafts()) as server:
        yield server


@pytest.fixture
async def crooked(truth: RecordedEvmServer) -> AsyncIterator[Crooked]:
    """A node in front of the honest one."""
    node = Crooked(truth)
    await node.start()
    yield node
    await node.aclose()


@pytest.fixture
async def follow(ticks: Any) -> AsyncIterator[Callable[..., Any]]:
    """Follow endpoints until a head, with time of its own, and give what was handed over."""
    async with AsyncExitStack() as stack:

        async def run(
            *urls: str,
            head: str,
            quorum: int = 1,
            during: Callable[[list[Any]], Awaitable[None]] | None = None,
            poll: float | None = None,
            ahead: int = 1,
            timeout: float = PATIENCE,
        ) -> Followed:
            spec = ChainSpec(
                "loopback", "evm", "eip155:1", urls, timeout_seconds=timeout, finality_depth=2, quorum=quorum,
                poll_seconds=poll,
            )  # fmt: skip
            chain = EvmChain(spec, {ALICE}, sleep=ticks.sleep, clock=ticks.clock, rng=random.Random(1))
            stack.push_async_callback(chain.aclose)
            await chain.open()
            follower = Follower(
                chain, tip=None, ancestor=nothing, start=0, prefetch=ahead, sleep=ticks.sleep, clock=ticks.clock,
                rng=random.Random(1),
            )  # fmt: skip
            found = Followed(chain, [])
            async with asyncio.timeout(20), aclosing(follower.events()) as events:
                async for event in events:
                    found.events.append(event)
                    if during is not None:
                        await during(found.events)
                    if isinstance(event, BlockConnected) and event.block.ref.hash == head:
                        break
            return found

        yield run


async def nothing(number: int) -> BlockRef | None:
    """Nothing is stored."""
    return None


class Followed:
    """What a follower handed over: `blocks` is what is left of it."""

    def __init__(self, chain: EvmChain, events: list[Any]) -> None:
        self.chain, self.events = chain, events

    @property
    def blocks(self) -> list[Block]:
        """The blocks that stayed; fails where an event does not fit the one before."""
        stack: list[Block] = []
        for event in self.events:
            if isinstance(event, BlockDisconnected):
                assert stack.pop().ref == event.ref
            else:
                assert not stack or event.block.parent_hash == stack[-1].ref.hash
                stack.append(event.block)
        return stack

    @property
    def sources(self) -> set[str]:
        """Who told the blocks."""
        return {block.source for block in self.blocks}

    def state(self, url: str) -> Any:
        """What an endpoint is worth now."""
        return next(state for state in self.chain.endpoints() if state.name == redact(url))


def hashes(server: RecordedEvmServer) -> list[str]:
    """The chain as it is."""
    return [block.hash for block in server.blocks]


def check(found: Followed, truth: RecordedEvmServer) -> None:
    """Every block of the chain once, in order, whole, and with nothing said to be unseen that was seen."""
    assert [event.block.ref.hash for event in found.events if isinstance(event, BlockConnected)] == hashes(truth)
    assert len(found.blocks) == len(found.events) == len(truth.blocks)
    for block in found.blocks:
        assert [(t.kind, t.value) for t in block.transfers if t.kind == "token"] == [("token", block.ref.number)]
        assert NO_HEADER not in block.blind_spots


# --- faults of the transport ------------------------------------------------------------------------------------------


async def stall(request: web.Request, body: bytes) -> web.StreamResponse:
    """The socket stays open, and nothing comes."""
    await asyncio.Event().wait()
    raise AssertionError


async def half_a_body(request: web.Request, body: bytes) -> web.StreamResponse:
    """The connection is reset in the middle of the body."""
    response = web.StreamResponse(headers={"Content-Length": "5000"})
    await response.prepare(request)
    await response.write(b'{"jsonrpc": "2.0", "id"')
    assert request.transport is not None
    request.transport.abort()
    return response


async def slow_loris(request: web.Request, body: bytes) -> web.StreamResponse:
    """A byte now and then."""
    response = web.StreamResponse(headers={"Content-Length": "5000"})
    await response.prepare(request)
    while True:
        await response.write(b" ")
        await asyncio.sleep(0.02)


def answering(status: int, body: bytes = b"", **headers: str) -> Callable[..., Awaitable[web.StreamResponse]]:
    """Always the same answer."""

    async def reply(request: web.Request, _: bytes) -> web.StreamResponse:
        told = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(status=status, body=body, headers=told)

    return reply


TRANSPORT = {
    "stall": (stall, "timeout"),
    "half a body": (half_a_body, "cut_off"),
    "slow loris": (slow_loris, "timeout"),
    "500": (answering(500), "server"),
    "503 with a body": (answering(503, b'{"jsonrpc":"2.0","id":1,"result":null}'), "server"),
    "401": (answering(401), "refused"),
    "429": (answering(429), "limited"),
    "429 for a while": (answering(429, Retry_After="30"), "limited"),
    "429 until a date": (answering(429, Retry_After="Fri, 31 Dec 2100 23:59:59 GMT"), "limited"),
    "html": (answering(200, b"<html>maintenance</html>"), "unreadable"),
    "nothing": (answering(200), "unreadable"),
    "another answer": (answering(200, b'{"jsonrpc":"2.0","id":"x","result":{}}'), "unreadable"),
    "redirect": (answering(302, Location="/elsewhere"), "refused"),
}


def patience(name: str) -> float:
    """How long an answer is waited for: short only where none comes."""
    return TIMEOUT if TRANSPORT[name][1] == "timeout" else PATIENCE


@pytest.mark.parametrize("name", TRANSPORT)
async def test_one_of_two_fails(name: str, truth: Any, crooked: Crooked, follow: Any) -> None:
    """From the fourth block on the first of two endpoints fails in one way: the other goes on without a gap."""

    async def break_it(events: list[Any]) -> None:
        if len(events) == 4:
            crooked.reply = TRANSPORT[name][0]

    urls, timeout = (crooked.url, truth.url), patience(name)
    found = await follow(*urls, head=truth.blocks[-1].hash, during=break_it, timeout=timeout)
    check(found, truth)
    assert [block.source for block in found.blocks[:4]] == [redact(crooked.url)] * 4
    assert found.blocks[-1].source == redact(truth.url)
    assert set(found.state(crooked.url).failures) == {TRANSPORT[name][1]}
    assert not found.state(truth.url).failures and found.state(truth.url).in_use


@pytest.mark.parametrize("name", [name for name in TRANSPORT if "until" not in name])
async def test_the_only_one_fails_for_a_while(name: str, truth: Any, crooked: Crooked, follow: Any) -> None:
    """An only endpoint that fails a few times in a row costs time, and no block."""
    left = [6]

    async def some(request: web.Request, body: bytes) -> web.StreamResponse | None:
        if b"eth_chainId" in body or left[0] == 0:
            return None
        left[0] -= 1
        answer: web.StreamResponse = await TRANSPORT[name][0](request, body)
        return answer

    async def break_it(events: list[Any]) -> None:
        if len(events) == 4:
            crooked.reply = some

    found = await follow(crooked.url, head=truth.blocks[-1].hash, during=break_it, timeout=patience(name))
    check(found, truth)
    assert left == [0] and found.state(crooked.url).failures[TRANSPORT[name][1]] >= 3


async def test_gzip_bomb(truth: Any, crooked: Crooked, follow: Any, monkeypatch: Any) -> None:
    """A body that unpacks beyond all bounds is dropped, not kept in memory."""
    monkeypatch.setattr("chains.endpoints.http.LARGEST", 10**6)
    packed = gzip.compress(b" " * 10**7)

    async def bomb(request: web.Request, body: bytes) -> web.StreamResponse | None:
        return web.Response(body=packed, headers={"Content-Encoding": "gzip"}) if b"BlockByNumber" in body else None

    crooked.reply = bomb
    found = await follow(crooked.url, truth.url, head=truth.blocks[-1].hash)
    check(found, truth)
    assert found.sources == {redact(truth.url)}
    assert found.state(crooked.url).failures == {"too_large": 1}


async def test_truncated_batches(truth: Any, crooked: Crooked, follow: Any) -> None:
    """Batches that lose their last reply never read as "nothing happened"."""
    truth.faults.unsupported.add("eth_getBlockReceipts")

    async def cut(request: web.Request, body: bytes) -> web.StreamResponse | None:
        if body[:1] != b"[":
            return None
        return web.json_response(json.loads(await crooked._answer(body))[:-1])

    crooked.reply = cut
    check(await follow(crooked.url, truth.url, head=truth.blocks[-1].hash), truth)
    check(await follow(crooked.url, head=truth.blocks[-1].hash), truth)


# --- lies -------------------------------------------------------------------------------------------------------------


def empty_logs(method: str, params: list[Any], result: Any) -> Any:
    """As a node whose index lags."""
    if method == "eth_getBlockReceipts" and result:
        return [receipt | {"logs": []} for receipt in result]
    return [] if method == "eth_getLogs" else result


def removed_logs(method: str, params: list[Any], result: Any) -> Any:
    """As a node that is in the middle of a reorganisation."""
    if method == "eth_getBlockReceipts" and result:
        return [receipt | {"logs": [log | {"removed": True} for log in receipt["logs"]]} for receipt in result]
    return result


def half_the_receipts(method: str, params: list[Any], result: Any) -> Any:
    """Fewer receipts than transactions."""
    return [] if method == "eth_getBlockReceipts" else result


def false_header(method: str, params: list[Any], result: Any) -> Any:
    """The state root is not the one that the hash was made of."""
    if method == "eth_getBlockByNumber" and result and params[1]:
        return result | {"stateRoot": "0x" + "12" * 32}
    return result


def bare_header(method: str, params: list[Any], result: Any) -> Any:
    """The fields that the hash is made of are left out."""
    if method == "eth_getBlockByNumber" and result and params[1]:
        return {key: value for key, value in result.items() if not key.endswith("Root")}
    return result


def another_block(method: str, params: list[Any], result: Any) -> Any:
    """The block below the one that was asked for."""
    if method == "eth_getBlockByNumber" and result and params[1] and result["number"] != "0x0":
        return result | {"number": hex(int(result["number"], 16) - 1)}
    return result


def no_blocks(method: str, params: list[Any], result: Any) -> Any:
    """A head, and no block of all those below it."""
    return None if method == "eth_getBlockByNumber" and params[1] else result


def far_head(method: str, params: list[Any], result: Any) -> Any:
    """A head far above all blocks that there are."""
    if method == "eth_getBlockByNumber" and params[0] == "latest":
        return result | {"number": hex(10**9), "hash": "0x" + "77" * 32}
    return hex(10**9) if method == "eth_blockNumber" else result


LIES = (empty_logs, removed_logs, half_the_receipts, false_header, bare_header, another_block, no_blocks, far_head)


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie.__name__)
async def test_one_of_two_lies(lie: Any, truth: Any, crooked: Crooked, follow: Any) -> None:
    """What one endpoint says against itself is never taken; the other tells every block."""

    async def begin(events: list[Any]) -> None:
        if len(events) == 1:
            crooked.lie = lie

    found = await follow(crooked.url, truth.url, head=truth.blocks[-1].hash, during=begin)
    check(found, truth)
    assert {block.source for block in found.blocks[1:]} == {redact(truth.url)} or lie is far_head
    if lie not in (no_blocks, far_head):
        assert found.state(crooked.url).failures["inconsistent"] >= 1


async def test_lying_from_the_start(truth: Any, crooked: Crooked, follow: Any) -> None:
    """A header that never recomputes, where the other endpoint's do, is not believed from the first block on."""
    crooked.lie = false_header
    found = await follow(crooked.url, truth.url, head=truth.blocks[-1].hash)
    check(found, truth)
    assert found.sources == {redact(truth.url)}


async def test_hashes_of_another_kind(truth: Any, crooked: Crooked, follow: Any) -> None:
    """Where all headers fail to recompute, the chain goes on, and each block says what could not be checked."""
    crooked.lie = false_header
    other = Crooked(truth)
    other.lie = false_header
    await other.start()
    try:
        found = await follow(crooked.url, other.url, head=truth.blocks[-1].hash)
    finally:
        await other.aclose()
    assert [block.ref.hash for block in found.blocks] == hashes(truth)
    assert all(NO_HEADER in block.blind_spots for block in found.blocks)


async def test_wrong_chain(truth: Any, follow: Any, caplog: Any) -> None:
    """An endpoint of another chain, whatever it would say, tells no block."""
    async with RecordedEvmServer(5, drafts(extra=b"five")) as other:
        found = await follow(other.url, truth.url, head=truth.blocks[-1].hash)
        check(found, truth)
        assert found.sources == {redact(truth.url)} and not other.asked["eth_getBlockByNumber"]
        assert found.state(other.url).circuit == "quarantined"
        with pytest.raises(ChainError, match="serves eip155:5, configuration says eip155:1"):
            await follow(other.url, other.ws_url, head="")
    assert any(record.levelname == "ERROR" for record in caplog.records)


async def test_another_chain_after_a_reconnect(truth: Any, crooked: Crooked, follow: Any) -> None:
    """What listens on the port after a restart is another chain: it is found out before a block of it is taken."""

    async def swap(events: list[Any]) -> None:
        if len(events) == 4:
            port = crooked.port
            await crooked.stop()
            crooked.lie = lambda method, params, result: "0x5" if method == "eth_chainId" else result
            await crooked.start(port)

    found = await follow(crooked.url, truth.url, head=truth.blocks[-1].hash, during=swap)
    check(found, truth)
    assert {block.source for block in found.blocks[4:]} == {redact(truth.url)}
    assert found.state(crooked.url).circuit == "quarantined"


@pytest.mark.parametrize("seed", range(3))
async def test_everything_at_once(seed: int, truth: Any, crooked: Crooked, follow: Any) -> None:
    """Two endpoints that each do something wrong in every third answer, read in parallel: the chain, nothing else."""
    rng, other = random.Random(seed), Crooked(truth)
    faults = [fault for fault, _ in TRANSPORT.values() if fault is not TRANSPORT["429 until a date"][0]]

    async def reply(request: web.Request, body: bytes) -> web.StreamResponse | None:
        answer: web.StreamResponse | None = await rng.choice(faults)(request, body) if rng.random() < 0.2 else None
        return answer

    def lie(method: str, params: list[Any], result: Any) -> Any:
        return rng.choice(LIES)(method, params, result) if rng.random() < 0.2 else result

    await other.start()
    try:
        for node in (crooked, other):
            node.reply, node.lie = reply, lie
        urls, head = (crooked.url, other.url), truth.blocks[-1].hash
        found = await follow(*urls, head=head, ahead=8, timeout=TIMEOUT)
    finally:
        await other.aclose()
    assert [block.ref.hash for block in found.blocks] == hashes(truth)
    assert sum(sum(state.failures.values()) for state in found.chain.endpoints()) > 3


# --- heads ------------------------------------------------------------------------------------------------------------


async def test_stale_head(ticks: Any, follow: Any) -> None:
    """An endpoint that stands still while the other goes on is found to lag, and the other is followed."""
    async with RecordedEvmServer(1, drafts(), shown=4) as stale, RecordedEvmServer(1, drafts()) as other:
        found = await follow(stale.url, other.url, head=other.blocks[-1].hash)
        check(found, other)
        assert [block.source for block in found.blocks[:4]] == [redact(stale.url)] * 4
        assert [block.source for block in found.blocks[4:]] == [redact(other.url)] * (LENGTH - 4)
        assert found.state(stale.url).lagging and found.state(stale.url).head == 3
        assert sum(ticks.paused) < 60  # seconds: five block times


async def test_head_goes_backwards(truth: Any, crooked: Crooked, follow: Any) -> None:
    """A head that falls back now and then, as behind a balancer of several nodes, undoes nothing."""
    calls = [0]

    def wobble(method: str, params: list[Any], result: Any) -> Any:
        if method == "eth_getBlockByNumber" and params[0] == "latest":
            calls[0] += 1
            number = [3, 1, 5, 5, 2, 7, 0, 9, 8, 11][min(calls[0] - 1, 9)]
            return truth.blocks[number].block
        return result

    crooked.lie = wobble
    check(await follow(crooked.url, head=truth.blocks[-1].hash), truth)


async def test_reorg_and_back(truth: Any, crooked: Crooked, follow: Any) -> None:
    """A branch that comes and is left again is undone block by block; what stays is the chain."""

    async def fork(events: list[Any]) -> None:
        if len(events) == LENGTH:
            await truth.reorg(2, drafts(4, LENGTH - 2, b"b"))
        if len(events) == LENGTH + 6:
            await truth.reorg(4, drafts(6, LENGTH - 2, b"c"))
            done.append(truth.blocks[-1].hash)

    done: list[str] = []
    first = hashes(truth)

    class Last(str):
        """Equal to the last head, which is not known before."""

        __slots__ = ()

        def __eq__(self, other: object) -> bool:
            return bool(done) and other == done[0]

        __hash__ = str.__hash__

    found = await follow(crooked.url, truth.url, head=Last(), during=fork)
    assert [block.ref.hash for block in found.blocks] == hashes(truth) != first
    gone = [event.ref.hash for event in found.events if isinstance(event, BlockDisconnected)]
    assert len(gone) == len(set(gone)) == 6 and not set(gone) & set(hashes(truth))


async def test_two_forks_with_a_quorum(truth: Any, ticks: Any, follow: Any) -> None:
    """While two endpoints stand on two branches nothing is handed on; when they agree it goes on."""
    async with RecordedEvmServer(1, drafts(6) + drafts(LENGTH - 6, 6, b"b")) as other:
        told: list[int] = []

        refused, pause = asyncio.Event(), ticks.sleep

        async def count(events: list[Any]) -> None:
            told.append(len(events))

        async def sleep(seconds: float) -> None:
            if len(told) == 6 and len(ticks.paused) > 40:
                refused.set()
            await pause(seconds)

        ticks.sleep = sleep
        task = asyncio.create_task(
            follow(other.url, truth.url, head=truth.blocks[-1].hash, quorum=2, during=count)
        )
        async with asyncio.timeout(20):
            await refused.wait()
        assert told == [1, 2, 3, 4, 5, 6]
        await other.reorg(LENGTH - 6, drafts(LENGTH - 6, 6))
        check(await task, truth)


async def test_reorg_deeper_than_finality(truth: Any, crooked: Crooked, follow: Any) -> None:
    """A rewrite far below what is final is undone as far as it is known, loudly, and the new branch is followed."""
    done: list[str] = []

    async def rewrite(events: list[Any]) -> None:
        if len(events) == LENGTH and not done:
            await truth.reorg(10, drafts(12, 2, b"deep"))
            done.append(truth.blocks[-1].hash)

    class Last(str):
        """Equal to the last head, which is not known before."""

        __slots__ = ()

        def __eq__(self, other: object) -> bool:
            return bool(done) and other == done[0]

        __hash__ = str.__hash__

    found = await follow(crooked.url, truth.url, head=Last(), during=rewrite)
    gone = [event.ref.number for event in found.events if isinstance(event, BlockDisconnected)]
    assert gone == list(range(LENGTH - 1, LENGTH - 1 - len(gone), -1)) and len(gone) >= 3
    again = [event.block.ref for event in found.events[LENGTH + len(gone) :]]
    assert [ref.number for ref in again] == list(range(gone[-1], len(truth.blocks)))
    assert [ref.hash for ref in again] == hashes(truth)[gone[-1] :]


# --- sockets ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("calls_over", ["http", "ws"])
async def test_notifications_are_hints(calls_over: str, follow: Any) -> None:
    """Reordered, repeated, withdrawn, senseless and missing notifications change nothing of what is handed over."""
    async with RecordedEvmServer(1, drafts(), shown=1) as honest:
        crooked = Crooked(honest)
        await crooked.start()

        async def noise(events: list[Any]) -> None:
            await honest.pace.release()
            last = len(honest.blocks) - 1
            for number in (last, max(0, last - 2), last, last, 0):
                await crooked.push(number)
            await crooked.push(last, removed=True, number="0xzz")
            await crooked.push(last, hash=None, number=None)
            for socket in crooked.sockets:
                if not socket.closed:
                    await socket.send_str("not JSON")
                    await socket.send_json([])
                    await socket.send_json({"jsonrpc": "2.0", "method": "eth_subscription", "params": {"result": 7}})
            if len(events) == 5:
                for socket in crooked.sockets:
                    await socket.close()

        urls = (honest.url, crooked.ws_url) if calls_over == "http" else (crooked.ws_url,)
        try:
            last = RecordedEvmServer(1, drafts()).blocks[-1].hash
            check(await follow(*urls, head=last, during=noise, poll=0.05), honest)
        finally:
            await crooked.aclose()


async def test_socket_that_stalls(truth: Any, follow: Any) -> None:
    """A socket that stays open and says nothing any more is left for the HTTP endpoint beside it."""
    async with RecordedEvmServer(1, drafts()) as silent:

        async def hush(events: list[Any]) -> None:
            if len(events) == 3:
                silent.faults.stall = True

        urls, head = (silent.ws_url, truth.url), truth.blocks[-1].hash
        found = await follow(*urls, head=head, during=hush, poll=0.05, timeout=TIMEOUT)
        check(found, truth)


async def test_socket_carries_on_without_http(truth: Any, crooked: Crooked, follow: Any) -> None:
    """Where every HTTP endpoint has died, calls go over the socket that was a hint before."""

    async def kill(events: list[Any]) -> None:
        if len(events) == 5:
            crooked.reply = answering(502)

    found = await follow(crooked.url, truth.ws_url, head=truth.blocks[-1].hash, during=kill, poll=0.05)
    check(found, truth)
    assert found.blocks[-1].source == redact(truth.ws_url) and found.state(truth.ws_url).transport == "ws"


def test_every_fault_has_a_twin(request: Any) -> None:
    """The faults above are real: each changes what it is given."""
    block = {"number": "0x5", "stateRoot": "0x0", "transactions": []}
    receipts = [{"logs": [{"removed": False}]}]
    answers: Sequence[tuple[str, list[Any], Any]] = [
        ("eth_getBlockByNumber", ["0x5", True], block), ("eth_getBlockByNumber", ["latest", False], block),
        ("eth_getBlockReceipts", ["0x5"], receipts),
    ]  # fmt: skip
    for lie in LIES:
        assert any(lie(*answer) != answer[2] for answer in answers), lie.__name__
