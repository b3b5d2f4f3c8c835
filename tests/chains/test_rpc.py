"""Requests to endpoints: rotation, retry, back-off, JSON-RPC, and no secret in any error."""

from __future__ import annotations

import asyncio
import email.utils
import random
import ssl
import time
import traceback
from typing import Any
from urllib.parse import urlunsplit

import aiohttp
import msgspec
import pytest
from aiohttp import web

from chains.exchange import backoff, clean, reason
from chains.rpc import HttpPool, JsonRpc, MethodUnsupported, Refused, RpcError, Single, redact
from monitor.errors import ChainError, ChainUnavailable, ConfigError

SECRET = "k3ySECRETk3y"


@pytest.fixture
async def pool_of(pauses: Any) -> Any:
    """Make pools that never really sleep; all closed at the end."""
    pools = []

    def make(*urls: str, **settings: Any) -> HttpPool:
        pool = HttpPool(urls, sleep=pauses, rng=random.Random(1), **{"timeout": 5.0, **settings})
        pools.append(pool)
        return pool

    yield make
    for pool in pools:
        await pool.aclose()


@pytest.mark.parametrize(
    ("url", "name"),
    [
        (f"https://user:{SECRET}@node.example:8545/v3/{SECRET}?apikey={SECRET}#{SECRET}", "node.example:8545"),
        ("https://node.example/rpc", "node.example"),
        ("wss://NODE.example/ws", "node.example"),
        ("http://[::1]:8545", "[::1]:8545"),
        (f"{SECRET}", "(not a URL)"),
        (f"http://node.example:{SECRET}/", "(not a URL)"),
        ("", "(not a URL)"),
    ],
)
def test_redact(url: str, name: str) -> None:
    """Only host and port of an endpoint are ever shown."""
    assert redact(url) == name


def test_clean() -> None:
    """Text of an endpoint becomes one short printable line without keys, also where they are percent-encoded."""
    url = urlunsplit(("https", "u:pass%2Fword@node.example", "/v3/abcdef123456", "key=qwertyuiop", ""))
    text = "bad\x1b[31m \u202eproject abcdef123456\r\nqwertyuiop pass/word pass%2Fword" + "x" * 500
    line = clean(text, url)
    assert line.startswith("bad [31m project *** *** *** ***x")
    assert len(line) == 160


def test_repr_has_no_secret() -> None:
    """The representation of a pool shows no key."""
    assert repr(HttpPool([f"https://node.example/{SECRET}"])) == "HttpPool(node.example)"


@pytest.mark.parametrize("endpoints", [[], [f"ftp://node.example/{SECRET}"], [f"http:///{SECRET}"], [SECRET]])
def test_bad_endpoints(endpoints: list[str]) -> None:
    """Anything but http:// and https:// URLs is a configuration error, which does not show the URL."""
    with pytest.raises(ConfigError) as caught:
        HttpPool(endpoints)
    assert SECRET not in str(caught.value)


async def test_get_joins_paths_and_queries(canned: Any, pool_of: Any) -> None:
    """A path is appended to the endpoint's own path; its query and the parameters both arrive."""

    async def echo(request: web.Request) -> web.Response:
        return web.json_response({"path": request.path, "query": dict(request.query)})

    canned.handler = echo
    answer = await pool_of(f"{canned.url}/base/?key={SECRET}").get("/chain/height", {"n": 7, "q": "a b"})
    assert answer == {"path": "/base/chain/height", "query": {"key": SECRET, "n": "7", "q": "a b"}}


async def test_post_sends_json(canned: Any, pool_of: Any) -> None:
    """The body is sent as JSON, and big integers come back exactly."""
    canned.script = [b'{"n": 123456789012345678901234567890}']
    assert await pool_of(canned.url).post("/x", {"height": 5}) == {"n": 123456789012345678901234567890}
    assert canned.asked == [{"height": 5}]


async def test_rotation_and_stickiness(canned: Any, free_port: int, pool_of: Any, pauses: Any) -> None:
    """A dead endpoint is left at once, without a pause, and the one that answered is asked first from then on."""
    canned.script = [b"1", b"2"]
    pool = pool_of(f"http://127.0.0.1:{free_port}", canned.url)
    assert [await pool.get("/a"), await pool.get("/b")] == [1, 2]
    assert pool.endpoint == redact(canned.url)
    assert pauses.seconds == []


async def test_rotate(serve: Any, pool_of: Any) -> None:
    """`rotate` prefers the next endpoint, round and round."""
    first, second = await serve(), await serve()
    first.script, second.script = [b'"first"'] * 2, [b'"second"']
    pool = pool_of(first.url, second.url)
    answers = []
    for _ in range(3):
        answers.append(await pool.get("/"))
        pool.rotate()
    assert answers == ["first", "second", "first"]


async def test_server_errors_are_retried_with_backoff(canned: Any, pool_of: Any, pauses: Any) -> None:
    """500s are retried after pauses within a doubling bound; a later answer counts."""
    canned.script = [web.Response(status=500), web.Response(status=502), web.Response(status=503), b"4"]
    assert await pool_of(canned.url).get("/") == 4
    assert len(pauses.seconds) == 3
    assert all(0 <= pause <= bound for pause, bound in zip(pauses.seconds, (0.25, 0.5, 1.0), strict=True))


async def test_server_errors_give_up(canned: Any, pool_of: Any) -> None:
    """After the last try the error names endpoint and status, and nothing secret."""
    canned.script = [web.Response(status=500, text=SECRET) for _ in range(9)]
    with pytest.raises(ChainUnavailable) as caught:
        await pool_of(f"{canned.url}/{SECRET}", attempts=3).get("/height")
    assert str(caught.value) == f"/height: {redact(canned.url)}: HTTP 500"
    assert len(canned.asked) == 3


async def test_retry_after(canned: Any, pool_of: Any, pauses: Any) -> None:
    """A 429 with Retry-After in seconds, and a 503 with a date, are waited for as asked."""
    date = email.utils.formatdate(time.time() + 30, usegmt=True)
    canned.script = [
        web.Response(status=429, headers={"Retry-After": "7"}),
        web.Response(status=503, headers={"Retry-After": date}),
        b"1",
    ]
    assert await pool_of(canned.url).get("/") == 1
    assert pauses.seconds[0] == pytest.approx(7.0, abs=0.5)
    assert 20 < pauses.seconds[1] <= 30


async def test_retry_after_goes_elsewhere(serve: Any, pool_of: Any, pauses: Any) -> None:
    """A busy endpoint is not waited for while another one answers."""
    busy, other = await serve(), await serve()
    busy.script, other.script = [web.Response(status=429, headers={"Retry-After": "9"})], [b"2"]
    assert await pool_of(busy.url, other.url).get("/") == 2
    assert pauses.seconds == []


async def test_long_retry_after_is_left_to_the_caller(canned: Any, pool_of: Any, pauses: Any) -> None:
    """An hour of Retry-After is not slept through: the error carries it."""
    canned.script = [web.Response(status=429, headers={"Retry-After": "3600"})]
    with pytest.raises(ChainUnavailable) as caught:
        await pool_of(canned.url).get("/")
    assert caught.value.retry_after == 3600.0
    assert pauses.seconds == []


@pytest.mark.parametrize("header", ["soon", "-5", "", "\u0663"])
async def test_odd_retry_after_is_ignored(header: str, canned: Any, pool_of: Any, pauses: Any) -> None:
    """A Retry-After that makes no sense means the usual back-off."""
    canned.script = [web.Response(status=429, headers={"Retry-After": header}), b"1"]
    assert await pool_of(canned.url).get("/") == 1
    assert 0 <= pauses.seconds[0] <= 0.25


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404])
async def test_refusals_are_final(status: int, canned: Any, pool_of: Any, pauses: Any) -> None:
    """A status that no retry cures is asked once an endpoint, and the error carries it."""
    body = {"message": f"HASH_NOT_FOUND {SECRET}"}
    canned.script = [web.json_response(body, status=status, headers={"Location": "http://elsewhere.example"})]
    with pytest.raises(Refused) as caught:
        await pool_of(f"{canned.url}/{SECRET}").get("/tx")
    assert (caught.value.status, caught.value.detail) == (status, "HASH_NOT_FOUND ***")
    assert str(caught.value) == f"/tx: {redact(canned.url)}: HTTP {status} (HASH_NOT_FOUND ***)"
    assert len(canned.asked) == 1 and pauses.seconds == []


async def test_refusal_rotates(serve: Any, pool_of: Any) -> None:
    """An endpoint whose key expired does not stop the other."""
    expired, good = await serve(), await serve()
    expired.script, good.script = [web.Response(status=401)], [b"5"]
    assert await pool_of(expired.url, good.url).get("/") == 5


async def test_bodies_that_cannot_be_used(canned: Any, pool_of: Any) -> None:
    """Truncated JSON, no JSON and nothing at all are asked again."""
    canned.script = [b'{"a": [1, 2', b"<html>maintenance</html>", b"", b'{"a": [1, 2]}']
    assert await pool_of(canned.url).get("/") == {"a": [1, 2]}


async def test_truncated_json_gives_up(canned: Any, pool_of: Any) -> None:
    """JSON that stays truncated is ChainUnavailable and says so."""
    canned.script = [b'{"a": [1, 2'] * 4
    with pytest.raises(ChainUnavailable, match="answer is not JSON"):
        await pool_of(canned.url).get("/")


async def test_body_shorter_than_announced(canned: Any, pool_of: Any) -> None:
    """A body that stops before its announced length is cut off, not an answer."""

    async def cut(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b'{"a": 1}')
        assert request.transport is not None
        request.transport.close()
        return response

    canned.handler = cut
    with pytest.raises(ChainUnavailable, match="answer cut off"):
        await pool_of(canned.url, attempts=2).get("/")


async def test_connection_cut(canned: Any, pool_of: Any) -> None:
    """A connection that the server cuts is tried again."""
    canned.script = [ConnectionError, b"3"]
    assert await pool_of(canned.url).post("/", {}) == 3


async def test_timeout(canned: Any, pool_of: Any) -> None:
    """An endpoint that accepts and stays silent ends in time with one clear line."""

    async def silent(request: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    canned.handler = silent
    with pytest.raises(ChainUnavailable, match=r"no answer within 0\.05 s"):
        await pool_of(canned.url, timeout=0.05, attempts=2).get("/")


async def test_refused_connection(free_port: int, pool_of: Any) -> None:
    """Nothing listening is one clear line."""
    with pytest.raises(ChainUnavailable) as caught:
        await pool_of(f"http://127.0.0.1:{free_port}/{SECRET}").get("/height")
    assert str(caught.value) == f"/height: 127.0.0.1:{free_port}: connection refused"
    assert SECRET not in "".join(traceback.format_exception(caught.value))


async def test_tls_failure(canned: Any, pool_of: Any) -> None:
    """https:// to a server without TLS is one clear line."""
    with pytest.raises(ChainUnavailable, match="TLS failed"):
        await pool_of(canned.url.replace("http://", "https://"), attempts=1).get("/")


def test_every_client_error_is_mapped() -> None:
    """Each exception class of aiohttp's client becomes one line without its own message, which may hold the URL."""
    key = aiohttp.client_reqrep.ConnectionKey("h", 1, True, True, None, None, None)
    info = aiohttp.RequestInfo("http://h", "GET", None, "http://h")  # type: ignore[arg-type]
    refused = ConnectionRefusedError(111, SECRET)
    errors: dict[str, Exception] = {
        "no answer within 3 s": TimeoutError(SECRET),
        "host name not found": aiohttp.ClientConnectorDNSError(key, OSError(SECRET)),
        "connection refused": aiohttp.ClientConnectorError(key, refused),
        "TLS failed (certificate or protocol)": aiohttp.ClientConnectorCertificateError(key, ssl.SSLError(SECRET)),
        "answer cut off": aiohttp.ClientPayloadError(SECRET),
        "connection lost": aiohttp.ServerDisconnectedError(SECRET),
        "HTTP 403": aiohttp.WSServerHandshakeError(info, (), status=403, message=SECRET),
        "request failed (InvalidURL)": aiohttp.InvalidURL(SECRET),
    }
    assert {line: reason(error, 3.0) for line, error in errors.items()} == {line: line for line in errors}
    assert reason(aiohttp.ServerTimeoutError(), 3.0) == "no answer within 3 s"
    assert reason(ConnectionResetError(104, "reset"), 3.0) == "connection lost"


def test_backoff_is_full_jitter_with_a_cap() -> None:
    """Pauses fill the whole range from zero to the doubling bound, and never pass 8 s."""
    rng = random.Random(3)
    early, late = [backoff(rng, 1) for _ in range(500)], [backoff(rng, 1000) for _ in range(500)]
    assert min(early) < 0.05 and 0.45 < max(early) <= 0.5
    assert 7.5 < max(late) <= 8.0


async def test_on_connect_checks_each_endpoint_once(serve: Any, pool_of: Any) -> None:
    """The check runs before an endpoint's first use, with that endpoint alone, and not again."""
    first, second = await serve(), await serve()
    first.script, second.script = [b"0", b"1", b"2"], [b"0", b"3"]
    checked = []

    async def check(single: Single) -> None:
        assert await single.get("/id") == 0
        checked.append(single.endpoint)

    pool = pool_of(first.url, second.url, on_connect=check)
    await pool.get("/")
    await pool.get("/")
    pool.rotate()
    await pool.get("/")
    assert checked == [redact(first.url), redact(second.url)]


async def test_on_connect_refuses(canned: Any, pool_of: Any) -> None:
    """What the check finds wrong reaches the caller, and the endpoint is never used."""

    async def check(single: Single) -> None:
        raise ChainError("wrong chain")

    pool = pool_of(canned.url, on_connect=check)
    for _ in range(2):
        with pytest.raises(ChainError, match="wrong chain"):
            await pool.get("/")
    assert canned.asked == []


async def test_aclose_twice(canned: Any, pool_of: Any) -> None:
    """Closing is idempotent, and the pool opens again when it is used."""
    canned.script = [b"1", b"2"]
    pool = pool_of(canned.url)
    await pool.aclose()
    assert await pool.get("/") == 1
    await pool.aclose()
    await pool.aclose()
    assert await pool.get("/") == 2


async def test_call_decodes_typed(canned: Any, pool_of: Any) -> None:
    """The result is decoded as the type that was asked for; null is None."""

    class Point(msgspec.Struct):
        x: int

    canned.methods = {"a": {"x": 1, "y": 2}, "b": None, "c": [{"x": 3}]}
    rpc = JsonRpc(pool_of(canned.url))
    assert await rpc.call("a", type=Point) == Point(1)
    assert await rpc.call("b", type=Point) is None
    assert await rpc.call("c", type=list[Point]) == [Point(3)]
    assert await rpc.call("a") == {"x": 1, "y": 2}
    with pytest.raises(ChainUnavailable, match="unexpected answer"):
        await rpc.call("a", type=int)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (-32601, "whatever"),
        (-32602, "invalid argument 0"),
        (-32004, ""),
        (-32000, "Method eth_getBlockReceipts is not supported"),
        (-32000, "the method eth_x does not exist/is not available"),
        (-32000, "unsupported method: eth_x"),
    ],
)
async def test_unsupported_methods(code: int, message: str, canned: Any, pool_of: Any, fault: Any) -> None:
    """All the ways in which endpoints say "no such method" are one exception, without a retry."""
    canned.methods = {"eth_x": fault(code, message)}
    with pytest.raises(MethodUnsupported, match=redact(canned.url)):
        await JsonRpc(pool_of(canned.url)).call("eth_x")
    assert len(canned.asked) == 1


async def test_error_objects(canned: Any, pool_of: Any, fault: Any) -> None:
    """An error object gives its code and cleaned message, without a retry and without the key it may echo."""
    canned.methods = {"eth_x": fault(-32000, f"project\x1b[2J {SECRET} is\n over quota")}
    with pytest.raises(ChainUnavailable) as caught:
        await JsonRpc(pool_of(f"{canned.url}/v3/{SECRET}")).call("eth_x")
    assert "eth_x: project [2J *** is over quota (code -32000)" in str(caught.value)
    assert len(canned.asked) == 1


async def test_error_object_with_error_status(canned: Any, pool_of: Any) -> None:
    """An error object counts whatever the HTTP status around it; without one the status does."""
    body = {"id": None, "error": {"code": -32601, "message": "no"}}
    canned.script = [web.json_response(body, status=404), web.Response(status=404)]
    rpc = JsonRpc(pool_of(canned.url))
    with pytest.raises(MethodUnsupported):
        await rpc.call("eth_x")
    with pytest.raises(Refused, match="HTTP 404"):
        await rpc.call("eth_x")


async def test_error_object_rotates(serve: Any, pool_of: Any, fault: Any) -> None:
    """An endpoint that lags ("header not found") does not stop the one that knows."""
    lagging, good = await serve(), await serve()
    lagging.methods, good.methods = {"m": fault(-32000, "header not found")}, {"m": 1}
    assert await JsonRpc(pool_of(lagging.url, good.url)).call("m") == 1


async def test_revert_is_an_answer(serve: Any, pool_of: Any, fault: Any) -> None:
    """A reverted call is the chain's answer: no other endpoint is asked."""
    first, second = await serve(), await serve()
    first.methods = {"eth_call": fault(3, "execution reverted")}
    with pytest.raises(RpcError, match="execution reverted"):
        await JsonRpc(pool_of(first.url, second.url)).call("eth_call")
    assert second.asked == []


async def test_rate_limit_in_an_error_object(canned: Any, pool_of: Any, pauses: Any, fault: Any) -> None:
    """A rate limit told in an error object is waited out like a 429."""
    answers = iter([fault(-32005, "daily request limit reached"), fault(429, "slow down"), 9])
    canned.methods = {"m": lambda: next(answers)}
    assert await JsonRpc(pool_of(canned.url)).call("m") == 9
    assert len(pauses.seconds) == 2


async def test_answer_to_another_request(canned: Any, pool_of: Any) -> None:
    """An answer with another id is not taken for ours."""
    canned.script = [b'{"jsonrpc":"2.0","id":77,"result":1}', b'{"jsonrpc":"2.0","id":1}']
    canned.methods = {"m": 2}
    assert await JsonRpc(pool_of(canned.url)).call("m") == 2


async def test_batch(canned: Any, pool_of: Any, fault: Any) -> None:
    """Replies are matched by id in whatever order; an error inside stands in its place."""
    canned.methods = {"a": lambda n: n * 2, "bad": fault(-32000, "boom"), "none": None}

    async def backwards(request: web.Request) -> web.Response:
        return web.json_response([canned.reply(one) for one in reversed(await request.json())])

    canned.handler = backwards
    first, second, third, last = await JsonRpc(pool_of(canned.url)).batch(
        [("a", [1]), ("bad", []), ("none", []), ("a", [4])], type=int
    )
    assert (first, third, last) == (2, None, 8)
    assert isinstance(second, RpcError) and "boom" in str(second)


async def test_batch_of_nothing(free_port: int, pool_of: Any) -> None:
    """An empty batch asks nobody."""
    assert await JsonRpc(pool_of(f"http://127.0.0.1:{free_port}")).batch([]) == []


async def test_large_batch_in_parts(canned: Any, pool_of: Any) -> None:
    """A large batch goes out in parts, and the order is kept."""
    canned.methods = {"a": lambda n: n}
    assert await JsonRpc(pool_of(canned.url)).batch([("a", [n]) for n in range(250)]) == list(range(250))
    assert [len(part) for part in canned.asked] == [100, 100, 50]


async def test_missing_batch_reply(canned: Any, pool_of: Any) -> None:
    """A batch with a reply missing is divided, and is ChainUnavailable when single calls fail too."""
    canned.methods = {"a": 1}

    async def short(request: web.Request) -> web.Response:
        body = await request.json()
        return web.json_response([canned.reply(one) for one in body[1:]] if isinstance(body, list) else None)

    canned.handler = short
    with pytest.raises(ChainUnavailable, match="unexpected answer"):
        await JsonRpc(pool_of(canned.url)).batch([("a", [])] * 3)
    assert [len(body) for body in canned.asked if isinstance(body, list)] == [3]
    assert len(canned.asked) == 5


async def test_batch_refused_as_a_whole(canned: Any, pool_of: Any, fault: Any) -> None:
    """An endpoint that takes no batches is asked one by one."""
    canned.methods = {"a": lambda n: n, "bad": fault(3, "execution reverted")}

    async def no_batches(request: web.Request) -> web.Response:
        body = await request.json()
        if isinstance(body, list):
            return web.json_response({"id": None, "error": {"code": -32600, "message": "batch too large"}})
        return web.json_response(canned.reply(body))

    canned.handler = no_batches
    first, second, third = await JsonRpc(pool_of(canned.url)).batch([("a", [1]), ("bad", []), ("a", [3])])
    assert (first, third) == (1, 3)
    assert isinstance(second, RpcError)
