"""Endpoints of one chain: circuits, rests, rates, weights, new connections, heads, and batches that adapt."""

from __future__ import annotations

import asyncio
import gzip
import random
from typing import Any

import pytest
from aiohttp import web

from chains.base import Terms
from chains.batching import GROW_AFTER, BatchSizes
from chains.endpoints.breaker import FAILURES, LONGEST_PAUSE, Breaker
from chains.endpoints.endpoint import names_of
from chains.endpoints.heads import HeadWatch
from chains.endpoints.limiter import Limiter
from chains.rpc import HttpPool, JsonRpc, Refused, Single, redact
from monitor.errors import ChainError, ChainUnavailable


@pytest.fixture
async def pool_of(ticks: Any) -> Any:
    """Make pools whose time is `ticks`; all closed at the end."""
    pools = []

    def make(*urls: str, **settings: Any) -> HttpPool:
        pool = HttpPool(
            urls, sleep=ticks.sleep, clock=ticks.clock, rng=random.Random(1), **{"timeout": 5.0, **settings}
        )
        pools.append(pool)
        return pool

    yield make
    for pool in pools:
        await pool.aclose()


async def identify(single: Single) -> None:
    """A greeting: the endpoint must say that it is chain 1."""
    if await JsonRpc(single).call("eth_chainId") != "0x1":
        raise ChainError(f"{single.endpoint} serves another chain")


def methods(server: Any) -> list[str]:
    """What a canned server was asked, without greetings."""
    names = [body["method"] for body in server.asked if isinstance(body, dict)]
    return [name for name in names if name != "eth_chainId"]


# --- circuits ---------------------------------------------------------------------------------------------------------


def test_breaker_opens_and_probes_after_growing_pauses(ticks: Any) -> None:
    """Closed until several failures in a row; then one probe at a time, after pauses that double up to a bound."""
    breaker, pauses = Breaker(ticks.clock, random.Random(1)), []
    for number in range(1, 12):
        opened = breaker.failed()
        assert opened == (number == FAILURES)
        assert breaker.state == ("closed" if number < FAILURES else "open") and breaker.suspect
        pauses.append(breaker.due - ticks.now)
        ticks.now = breaker.due
        assert breaker.state == ("closed" if number < FAILURES else "half-open")
    bounds = [min(LONGEST_PAUSE, 2.0**n) for n in range(11)]
    assert all(0.75 * bound <= pause <= bound for pause, bound in zip(pauses, bounds, strict=True))
    assert breaker.succeeded() and breaker.state == "closed" and not breaker.suspect
    assert not breaker.succeeded()


async def test_open_circuit_is_not_asked(canned: Any, pool_of: Any, ticks: Any) -> None:
    """The only endpoint of a chain, once its circuit is open, is asked again when its probe is due, not before."""
    canned.script = [web.Response(status=500) for _ in range(8)]
    canned.methods = {"m": 1}
    pool = pool_of(canned.url)
    for _ in range(2):
        with pytest.raises(ChainUnavailable):
            await JsonRpc(pool).call("m")
    asked = len(canned.asked)
    with pytest.raises(ChainUnavailable, match="left alone after HTTP 500") as caught:
        await JsonRpc(pool).call("m")
    assert len(canned.asked) == asked and caught.value.retry_after is not None
    assert pool.states()[0].circuit == "open"
    ticks.now += caught.value.retry_after
    canned.script = []
    assert await JsonRpc(pool).call("m") == 1
    assert pool.states()[0].circuit == "closed"


async def test_failed_endpoint_returns_by_a_probe_beside(serve: Any, pool_of: Any, ticks: Any) -> None:
    """A heavy endpoint that failed is not asked for blocks until a probe, beside what goes on, has succeeded."""
    heavy, other = await serve(), await serve()
    for server in (heavy, other):
        server.methods = {"eth_chainId": "0x1", "m": server.url}
    pool = pool_of(heavy.url, other.url, on_connect=identify, terms={heavy.url: Terms(weight=2.0)})
    rpc = JsonRpc(pool)
    assert await rpc.call("m") == heavy.url
    heavy.script = [web.Response(status=500) for _ in range(2)]
    assert await rpc.call("m") == other.url  # the first 500
    ticks.now += 0.5
    assert await rpc.call("m") == other.url and len(heavy.script) == 1
    ticks.now += 1.0
    assert await rpc.call("m") == other.url  # starts a probe, which gets the second 500
    await asyncio.gather(*pool._probes.values())
    assert not heavy.script and pool.states()[0].reason
    ticks.now += 2.0
    assert await rpc.call("m") == other.url  # starts the probe that succeeds
    await asyncio.gather(*pool._probes.values())
    assert not pool.states()[0].reason
    assert await rpc.call("m") == heavy.url
    assert methods(heavy) == ["m", "m", "m"]


async def test_chain_id_after_an_open_circuit(canned: Any, pool_of: Any, ticks: Any) -> None:
    """What comes back after an outage is asked for its chain before it is used."""
    canned.methods = {"eth_chainId": "0x1", "m": 1}
    pool = pool_of(canned.url, on_connect=identify)
    assert await JsonRpc(pool).call("m") == 1
    canned.script = [web.Response(status=500) for _ in range(8)]
    for _ in range(2):
        with pytest.raises(ChainUnavailable):
            await JsonRpc(pool).call("m")
    canned.script, canned.methods["eth_chainId"] = [], "0x5"
    ticks.now += LONGEST_PAUSE
    before = methods(canned)
    with pytest.raises(ChainError, match="serves another chain"):
        await JsonRpc(pool).call("m")
    assert methods(canned) == before
    assert pool.states()[0].circuit == "quarantined"


async def test_chain_id_on_every_new_connection(canned: Any, pool_of: Any) -> None:
    """A connection that was cut is greeted anew, and an answer over it is not used before; a kept one costs nothing."""
    canned.methods = {"eth_chainId": "0x1", "m": 1}
    rpc = JsonRpc(pool_of(canned.url, on_connect=identify))
    for _ in range(3):
        assert await rpc.call("m") == 1
    assert [body["method"] for body in canned.asked] == ["eth_chainId", "m", "m", "m"]
    canned.script = [ConnectionError]
    assert await rpc.call("m") == 1
    assert [body["method"] for body in canned.asked[4:]] == ["m", "m", "eth_chainId"]
    canned.script, canned.methods["eth_chainId"] = [ConnectionError], "0x5"
    with pytest.raises(ChainError, match="serves another chain"):
        await rpc.call("m")


# --- rests and rates --------------------------------------------------------------------------------------------------


async def test_retry_after_holds_for_later_requests(serve: Any, pool_of: Any, ticks: Any) -> None:
    """A heavy endpoint that asked for rest gets it, from all requests, without delaying any of them."""
    busy, other = await serve(), await serve()
    busy.script = [web.Response(status=429, headers={"Retry-After": "30"}), b"1", b"1"]
    other.script = [b"2"] * 9
    pool = pool_of(busy.url, other.url, terms={busy.url: Terms(weight=2.0)})
    answers = []
    for ticks.now in (1000.0, 1010.0, 1029.0, 1030.5):
        answers.append(await pool.get("/"))
    assert answers == [2, 2, 2, 1]
    assert ticks.paused == []


async def test_429_storm_without_retry_after(canned: Any, pool_of: Any, ticks: Any) -> None:
    """An endpoint that limits without saying for how long rests longer each time."""
    canned.script = [web.Response(status=429) for _ in range(8)] + [b"1"]
    pool = pool_of(canned.url, attempts=9)
    assert await pool.get("/") == 1
    assert [pause >= floor for pause, floor in zip(ticks.paused, [0.24, 0.49, 0.99, 1.99, 3.9, 7.9], strict=False)]
    assert sum(ticks.paused) > 0.25 + 0.5 + 1 + 2 + 4 + 8
    assert pool.states()[0].failures == {"limited": 8} and pool.states()[0].circuit == "closed"


async def test_all_at_rest(serve: Any, pool_of: Any, ticks: Any) -> None:
    """With every endpoint at rest the shortest rest is waited for; one that is too long is left to the caller."""
    first, second = await serve(), await serve()
    first.script = [web.Response(status=429, headers={"Retry-After": "50"})]
    second.script = [web.Response(status=429, headers={"Retry-After": "20"}), b"2"]
    assert await pool_of(first.url, second.url).get("/") == 2
    assert ticks.paused == [pytest.approx(20.0)]
    first.script = [web.Response(status=429, headers={"Retry-After": "900"}), b"1"]
    pool = pool_of(first.url)
    for wait in (900.0, 840.0):
        with pytest.raises(ChainUnavailable) as caught:
            await pool.get("/")
        assert caught.value.retry_after == pytest.approx(wait)
        ticks.now += 60.0
    ticks.now += 900.0
    assert await pool.get("/") == 1


async def test_limiter(ticks: Any) -> None:
    """In no window of a second more calls than the rate, at once where there is room; below 1 it is a pause."""
    limiter, sent = Limiter(4.0, sleep=ticks.sleep, clock=ticks.clock), []
    for calls in (1, 1, 2, 1, 3, 4, 9):
        await limiter.take(calls)
        sent += [ticks.now] * min(calls, 4)
    assert sent[:4] == [1000.0] * 4
    assert all(late - early >= 1.0 for early, late in zip(sent, sent[4:], strict=False))
    slow = Limiter(0.5, sleep=ticks.sleep, clock=ticks.clock)
    begun = ticks.now
    for _ in range(3):
        await slow.take()
    assert ticks.now - begun == pytest.approx(4.0)


async def test_rate_goes_over_to_others(serve: Any, pool_of: Any, ticks: Any) -> None:
    """What a heavy endpoint's rate does not allow goes to the next; alone, it is waited for."""
    heavy, other = await serve(), await serve()
    heavy.script, other.script = [b"1"] * 9, [b"2"] * 9
    pool = pool_of(heavy.url, other.url, terms={heavy.url: Terms(weight=3.0, rate=2.0)})
    assert [await pool.get("/") for _ in range(4)] == [1, 1, 2, 2]
    ticks.now += 1.0
    assert await pool.get("/") == 1
    alone = pool_of(heavy.url, terms={heavy.url: Terms(rate=2.0)})
    begun = ticks.now
    assert [await alone.get("/") for _ in range(4)] == [1] * 4
    assert ticks.now - begun == pytest.approx(1.0)


async def test_weights(serve: Any, pool_of: Any, ticks: Any) -> None:
    """The heaviest is asked first; set aside it comes back after a while, and later each time."""
    light, heavy = await serve(), await serve()
    light.script, heavy.script = [b"1"] * 20, [b"2"] * 20
    pool = pool_of(light.url, heavy.url, terms={heavy.url: Terms(weight=2.0)})
    answers = []
    assert await pool.get("/") == 2
    for _ in range(2):
        pool.rotate()
        for seconds in (0.0, 29.0, 2.0, 28.0, 2.0):
            ticks.now += seconds
            answers.append(await pool.get("/"))
    assert answers == [1, 1, 2, 2, 2, 1, 1, 1, 1, 2]


# --- bodies -----------------------------------------------------------------------------------------------------------


async def test_gzip_bomb_is_bounded(serve: Any, pool_of: Any) -> None:
    """A small body that unpacks to more than the bound is dropped on the way, not asked again, and others are."""
    bomb, other = await serve(), await serve()
    packed = gzip.compress(b" " * 20_000_000)
    bomb.script = [web.Response(body=packed, headers={"Content-Encoding": "gzip"})]
    other.script = [b"2"]
    pool = pool_of(bomb.url, other.url, largest=1_000_000)
    assert len(packed) < 50_000 and await pool.get("/") == 2
    assert pool.states()[0].failures == {"too_large": 1}
    bomb.script = [web.Response(body=packed, headers={"Content-Encoding": "gzip"})]
    with pytest.raises(Refused, match="answer of more than 1,000,000 bytes"):
        await pool_of(bomb.url, largest=1_000_000).get("/")


async def test_slow_loris(canned: Any, pool_of: Any) -> None:
    """An endpoint that sends a byte now and then ends in time all the same."""

    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000000"})
        await response.prepare(request)
        while True:
            await response.write(b" ")
            await asyncio.sleep(0.01)

    canned.handler = drip
    with pytest.raises(ChainUnavailable, match=r"no answer within 0\.1 s"):
        await pool_of(canned.url, timeout=0.1, attempts=1).get("/")


# --- batches ----------------------------------------------------------------------------------------------------------


def test_batch_sizes() -> None:
    """Halved at once, grown after several full batches in a row, never above what a rate allows."""
    sizes = BatchSizes(100)
    sizes.halve("a", 100)
    sizes.halve("a", 50)
    assert (sizes.of("a"), sizes.of("b")) == (25, 100)
    for _ in range(GROW_AFTER - 1):
        sizes.passed("a", 25)
    sizes.passed("a", 7)  # not a full one
    assert sizes.of("a") == 25
    sizes.passed("a", 25)
    assert sizes.of("a") == 31
    sizes.bound("b", 10)
    assert sizes.of("b") == 10


@pytest.mark.parametrize("how", ["413", "400", "object", "truncated"])
async def test_batch_adapts(how: str, canned: Any, pool_of: Any, fault: Any) -> None:
    """Batches that are too large are halved until they pass, and stay small; every call is answered once, in order."""
    canned.methods = {"a": lambda n: n}

    async def small_ones(request: web.Request) -> web.Response:
        body = await request.json()
        if len(body) > 30 and how == "413":
            return web.Response(status=413, text="<html>")
        if len(body) > 30 and how == "400":
            return web.Response(status=400, text="too many requests in one batch: batch limit is 30")
        if len(body) > 30 and how == "object":
            return web.json_response({"id": None, "error": {"code": -32600, "message": "batch limit 30 exceeded"}})
        return web.json_response([canned.reply(one) for one in body[:30]])

    canned.handler = small_ones
    rpc = JsonRpc(pool_of(canned.url))
    for _ in range(2):
        assert await rpc.batch([("a", [n]) for n in range(120)]) == list(range(120))
    assert [len(body) for body in canned.asked] == [100, 50] + [25] * 4 + [20] + [25] * 4 + [20]


async def test_batch_that_times_out_is_halved(canned: Any, pool_of: Any, ticks: Any) -> None:
    """A batch that is not answered in time is not sent again as it was."""
    canned.methods = {"a": lambda n: n}

    async def slow(request: web.Request) -> web.Response:
        body = await request.json()
        if len(body) > 2:
            await asyncio.Event().wait()
        return web.json_response([canned.reply(one) for one in body])

    canned.handler = slow
    assert await JsonRpc(pool_of(canned.url, timeout=0.2)).batch([("a", [n]) for n in range(4)]) == [0, 1, 2, 3]
    assert [len(body) for body in canned.asked] == [4, 2, 2]


@pytest.mark.parametrize("how", ["object", "400"])
async def test_no_batches_is_remembered(how: str, canned: Any, pool_of: Any) -> None:
    """An endpoint that takes none is asked one by one from the start the next time."""
    canned.methods = {"a": lambda n: n}

    async def no_batches(request: web.Request) -> web.Response:
        body = await request.json()
        if isinstance(body, list) and how == "400":
            return web.Response(status=400, text="one call a request")
        if isinstance(body, list):
            return web.json_response({"id": None, "error": {"code": -32600, "message": "invalid request"}})
        return web.json_response(canned.reply(body))

    canned.handler = no_batches
    rpc = JsonRpc(pool_of(canned.url))
    for _ in range(2):
        assert await rpc.batch([("a", [1]), ("a", [2])]) == [1, 2]
    assert [isinstance(body, list) for body in canned.asked] == [True] + [False] * 4


# --- heads ------------------------------------------------------------------------------------------------------------

FIRST, SECOND = "http://a.example", "http://b.example"


@pytest.fixture
def heads(pool_of: Any, ticks: Any) -> tuple[HeadWatch, HttpPool]:
    """Two endpoints of a chain with a block every 2 s."""
    pool = pool_of(FIRST, SECOND)
    return HeadWatch("chain", pool, 2.0, ticks.clock), pool


def test_lag_by_arrival(heads: Any, ticks: Any) -> None:
    """One block behind is normal for a few block times, then it is lag; catching up ends it."""
    watch, pool = heads
    watch.see("a.example", 10)
    watch.see("b.example", 11)
    ticks.now += 5.9
    watch.see("a.example", 10)
    assert pool.names == ["a.example", "b.example"]
    ticks.now += 0.2
    watch.see("a.example", 10)
    assert pool.names == ["b.example", "a.example"]
    assert [state.lagging for state in pool.states()] == [True, False]
    watch.see("a.example", 11)
    assert pool.names == ["a.example", "b.example"]
    assert [state.head for state in pool.states()] == [11, 11]


def test_far_behind_is_lag_at_once(heads: Any) -> None:
    """An endpoint that still syncs lags from the first comparison on; a few blocks are the way through the network."""
    watch, pool = heads
    watch.see("a.example", 97)
    watch.see("b.example", 100)
    watch.see("a.example", 97)
    assert not pool.states()[0].lagging
    watch.see("a.example", 96)
    assert pool.states()[0].lagging


def test_rollback_of_all_is_no_lag(heads: Any, ticks: Any) -> None:
    """Where every endpoint goes back, the height that is gone is nothing to lag behind."""
    watch, pool = heads
    for name in ("a.example", "b.example", "a.example"):
        watch.see(name, 100)
    watch.see("a.example", 80)
    watch.see("b.example", 80)
    ticks.now += 60
    for name in ("a.example", "b.example"):
        watch.see(name, 80)
        watch.see(name, 81)
    assert [state.lagging for state in pool.states()] == [False, False]


def test_names_differ() -> None:
    """Two keys at one provider are two endpoints, and neither is shown."""
    assert names_of(["https://h/KEY1", "https://h/KEY2", "wss://h:1/K"]) == ["h", "h#2", "h:1"]
    assert redact("https://h/KEY1") == "h"
