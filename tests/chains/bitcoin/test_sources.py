"""What endpoints are is found out by asking; those of several kinds stand in for each other."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

from chains.base import ChainSpec
from chains.bitcoin.sources import Kind, Sources, feeds_of, kind_of
from monitor.errors import ChainError, ChainUnavailable, ConfigError
from monitor.networks import by_name

NETWORK = by_name("bitcoin-regtest")
assert NETWORK is not None
GENESIS = "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206"
PATIENCE = 20.0

Serve = Callable[[Callable[[web.Request], Awaitable[web.Response]]], Awaitable[str]]


@pytest_asyncio.fixture
async def serve() -> AsyncIterator[Serve]:
    """Start servers that answer with one handler; each URL has a secret path."""
    runners = []

    async def start(handler: Callable[[web.Request], Awaitable[web.Response]]) -> str:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handler)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        runners.append(runner)
        port = runner.addresses[0][1]
        return f"http://127.0.0.1:{port}/secretpath"

    yield start
    for runner in runners:
        await runner.cleanup()


def node(answers: Mapping[str, Any], status: int = 200) -> Callable[[web.Request], Awaitable[web.Response]]:
    """A JSON-RPC node; an answer that is an exception's text is an error object."""

    async def handle(request: web.Request) -> web.Response:
        if request.method != "POST":
            return web.Response(status=405, text="JSONRPC server handles only POST requests")
        if status != 200:
            return web.Response(status=status)
        body = await request.json()

        def one(call: Mapping[str, Any]) -> dict[str, Any]:
            found = answers.get(call["method"], {"code": -32601, "message": "Method not found"})
            is_error = isinstance(found, dict) and "code" in found
            return {"id": call["id"], "result": None if is_error else found, "error": found if is_error else None}

        reply = [one(call) for call in body] if isinstance(body, list) else one(body)
        is_bad = isinstance(reply, dict) and reply["error"]
        return web.json_response(reply, status=500 if is_bad else 200)

    return handle


def rest(answers: Mapping[str, Any]) -> Callable[[web.Request], Awaitable[web.Response]]:
    """A REST service; texts are plain, the rest JSON."""

    async def handle(request: web.Request) -> web.Response:
        path = request.match_info["path"].removeprefix("secretpath").strip("/")
        if request.method != "GET" or path not in answers:
            return web.Response(status=404, text="<html>not found</html>")
        found = answers[path]
        return web.Response(text=found) if isinstance(found, str) else web.json_response(found)

    return handle


INFO = {"chain": "regtest", "blocks": 7, "bestblockhash": "ab" * 32}
NODE = {"getblockchaininfo": INFO, "getblockhash": GENESIS}
ESPLORA = {
    "blocks/tip/height": "9", "blocks/tip/hash": "cd" * 32, "block-height/0": GENESIS,
    f"block/{'cd' * 32}": {"id": "cd" * 32, "height": 9},
}


def spec(*urls: str, **options: Any) -> ChainSpec:
    """A chain with these endpoints."""
    return ChainSpec("coins", "bitcoin", NETWORK.chain, urls, timeout_seconds=PATIENCE, options=options)


@pytest.mark.parametrize(
    ("handler", "wanted"),
    [
        (node(NODE), Kind.RPC),
        (node({"getblockchaininfo": {"code": -28, "message": "Loading block index..."}}), Kind.RPC),
        (node({}), Kind.RPC),
        (node({}, status=401), Kind.RPC),
        (rest(ESPLORA), Kind.ESPLORA),
        (rest({"api/v2": {"blockbook": {"coin": "Bitcoin"}, "backend": {}}}), Kind.BLOCKBOOK),
        (rest({"api": {"blockbook": {"coin": "Bitcoin"}, "backend": {}}}), Kind.BLOCKBOOK),
        (rest({}), None),
        (rest({"blocks/tip/height": "<html>"}), None),
        (node({}, status=403), None),
    ],
)
async def test_kinds(serve: Serve, handler: Any, wanted: Kind | None) -> None:
    """A node is known by its answers, also while it loads or where it refuses us; services by theirs."""
    found = await kind_of(await serve(handler), PATIENCE)
    assert (found if isinstance(found, Kind) else None) is wanted


async def test_nobody_there(free_port: int) -> None:
    """An endpoint that is away is nothing yet; the error names it without its secrets."""
    who = ":".join(("user", "pw"))
    url = f"http://{who}@127.0.0.1:{free_port}/secretpath"
    assert not isinstance(await kind_of(url, PATIENCE), Kind)
    sources = Sources(spec(url), NETWORK)
    with pytest.raises(ChainUnavailable) as caught:
        await sources.open()
    said = str(caught.value)
    assert str(free_port) in said and "secretpath" not in said and "pw" not in said
    assert "connection refused" in said
    await sources.aclose()


async def test_turned_away(serve: Serve) -> None:
    """A node that does not let us in (``rpcallowip``) or has no time is told as what it is."""
    for status in (403, 503):
        sources = Sources(spec(await serve(node({}, status=status))), NETWORK)
        with pytest.raises(ChainUnavailable, match=rf"127\.0\.0\.1.*HTTP {status}"):
            await sources.open()
        await sources.aclose()


async def test_another_chain(serve: Serve) -> None:
    """An endpoint of another chain is an error for good where it is the only one, and left alone beside others."""
    wrong, right = await serve(node({**NODE, "getblockhash": "ff" * 32})), await serve(node(NODE))
    alone = Sources(spec(wrong), NETWORK)
    with pytest.raises(ChainError, match="another chain"):
        await alone.open()
    await alone.aclose()
    both = Sources(spec(wrong, right), NETWORK)
    await both.open()
    assert (await both.head()).number == 7
    await both.aclose()


async def test_kinds_stand_in_for_each_other(serve: Serve) -> None:
    """The first endpoint's kind is asked; while it fails, the other one answers, and later it is asked again."""
    state = {"up": True}
    good, bad = node(NODE), node({}, status=503)

    async def handle(request: web.Request) -> web.Response:
        return await (good if state["up"] else bad)(request)

    url = await serve(handle)
    now = [1000.0]

    async def nap(seconds: float) -> None:
        now[0] += seconds

    sources = Sources(spec(url, await serve(rest(ESPLORA))), NETWORK, sleep=nap, clock=lambda: now[0])
    await sources.open()
    assert set(sources.kinds.values()) == {Kind.RPC, Kind.ESPLORA} and not sources.costly
    assert (await sources.head()).number == 7
    state["up"] = False
    assert (await sources.head()).number == 9 and sources.costly
    state["up"] = True
    assert (await sources.head()).number == 9
    now[0] += 3600
    assert (await sources.head()).number == 7 and not sources.costly
    await sources.aclose()


async def test_said_by_option(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    """``options.api`` needs no question; a wrong word gets a hint; no secret is logged."""
    caplog.set_level(logging.DEBUG)
    sources = Sources(spec(await serve(node(NODE)), api="rpc"), NETWORK)
    await sources.open()
    assert (await sources.head()).hash == "ab" * 32
    assert not any("secretpath" in record.getMessage() for record in caplog.records if "access" not in record.name)
    await sources.aclose()
    with pytest.raises(ConfigError, match="did you mean 'esplora'"):
        Sources(spec("http://a/", api="explora"), NETWORK)


def test_endpoints_that_make_no_sense() -> None:
    """At least one endpoint has to answer questions; publishers are apart."""
    with pytest.raises(ConfigError, match="needs at least one http"):
        Sources(spec("tcp://127.0.0.1:1"), NETWORK)
    with pytest.raises(ConfigError, match="not an http"):
        Sources(spec("ws://node/secretpath"), NETWORK)
    assert feeds_of(spec("http://a", "tcp://b:1", "ipc:///c")) == ("tcp://b:1", "ipc:///c")


async def test_a_stranger_that_comes_back_ends_nothing(serve: Serve) -> None:
    """A service that was away at the start and turns out to be of another chain is left alone; the node goes on."""
    state = {"node": True, "service": False}
    good, away = node(NODE), node({}, status=503)
    wrong = rest({**ESPLORA, "block-height/0": "ee" * 32})

    async def first(request: web.Request) -> web.Response:
        return await (good if state["node"] else away)(request)

    async def second(request: web.Request) -> web.Response:
        return await wrong(request) if state["service"] else web.Response(status=503)

    now = [1000.0]

    async def nap(seconds: float) -> None:
        now[0] += seconds

    sources = Sources(spec(await serve(first), await serve(second)), NETWORK, sleep=nap, clock=lambda: now[0])
    await sources.open()
    state["service"] = True
    now[0] += 3600
    assert (await sources.head()).number == 7 and set(sources.kinds.values()) == {Kind.RPC, Kind.ESPLORA}
    state["node"] = False
    with pytest.raises(ChainUnavailable):
        await sources.head()
    state["node"] = True
    now[0] += 3600
    assert (await sources.head()).number == 7
    await sources.aclose()


async def test_all_away_at_the_start(serve: Serve) -> None:
    """Where nothing answered yet, endpoints are asked again within seconds."""
    state = {"up": False}
    good, away = node(NODE), node({}, status=503)

    async def handle(request: web.Request) -> web.Response:
        return await (good if state["up"] else away)(request)

    now = [1000.0]

    async def nap(seconds: float) -> None:
        now[0] += seconds

    sources = Sources(spec(await serve(handle)), NETWORK, sleep=nap, clock=lambda: now[0])
    with pytest.raises(ChainUnavailable):
        await sources.open()
    state["up"] = True
    now[0] += 3.0
    assert (await sources.head()).number == 7
    await sources.aclose()
