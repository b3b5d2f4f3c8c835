"""The EVM watcher against answers that a real node seldom gives: contradictions, gaps, refusals."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from chains.base import ChainSpec
from chains.evm.watcher import EvmChain
from chains.rpc import redact
from monitor.errors import ChainError, ChainInconsistent, ChainUnavailable, ConfigError
from monitor.model import BlockRef

HASH, OTHER = "0x" + "ab" * 32, "0x" + "cd" * 32
ALICE, BOB, COIN = ("0x" + c * 40 for c in "abc")
TX = "0x" + "11" * 32
TRANSFER = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"
BLOCK: dict[str, Any] = {
    "hash": HASH, "parentHash": "0x" + "aa" * 32, "number": "0x10", "timestamp": "0x64",
    "logsBloom": "0x" + "0" * 511 + "8",
    "transactions": [
        {"hash": TX, "from": ALICE, "to": COIN, "value": "0x5", "nonce": "0x1", "gas": "0x9", "gasPrice": "0x2"}
    ],
}  # fmt: skip
LOG = {
    "address": COIN, "topics": [TRANSFER, "0x" + ALICE[2:].rjust(64, "0"), "0x" + BOB[2:].rjust(64, "0")],
    "data": f"0x{9:064x}", "logIndex": "0x0", "transactionHash": TX, "blockHash": HASH,
}  # fmt: skip
RECEIPT = {
    "transactionHash": TX, "blockHash": HASH, "status": "0x1", "logs": [LOG],
    "gasUsed": "0x3", "effectiveGasPrice": "0x2",
}  # fmt: skip


@pytest.fixture
async def chain_of(pauses: Any) -> Any:
    """Make watchers of ALICE that never really sleep; all closed at the end."""
    chains = []

    def make(*urls: str, chain: str = "eip155:1", **more: Any) -> EvmChain:
        spec = ChainSpec("ethereum", "evm", chain, urls, timeout_seconds=5.0)
        chains.append(EvmChain(spec, {ALICE}, sleep=pauses, **more))
        return chains[-1]

    yield make
    for chain in chains:
        await chain.aclose()


@pytest.fixture
def node(canned: Any) -> Any:
    """A canned endpoint that serves one consistent block of chain 1."""
    canned.methods = {
        "eth_chainId": "0x1",
        "eth_getBlockByNumber": BLOCK,
        "eth_getBlockReceipts": [RECEIPT],
        "eth_getLogs": [LOG],
        "eth_getTransactionReceipt": RECEIPT,
    }
    return canned


def asked(node: Any) -> list[str]:
    bodies = [one for body in node.asked for one in (body if isinstance(body, list) else [body])]
    return [body["method"] for body in bodies if body["method"] != "eth_chainId"]


async def test_block(node: Any, chain_of: Any) -> None:
    """A block and its receipts are read in one request."""
    block = await chain_of(node.url).block(16)
    assert [(t.kind, t.value) for t in block.transfers] == [("native", 5), ("token", 9), ("fee", 6)]
    assert (block.ref, block.source) == (BlockRef("eip155:1", 16, HASH), redact(node.url))
    assert [[call["params"] for call in body] for body in node.asked[1:] if isinstance(body, list)] == [
        [["0x10", True], ["0x10"]]
    ]


async def test_an_endpoint_that_takes_no_batch(node: Any, chain_of: Any) -> None:
    """A block is then read by number, its receipts by its hash; a batch is tried no more."""
    reply = node.reply

    async def simple(request: web.Request) -> web.Response:
        body = await request.json()
        if isinstance(body, list):
            return web.Response(status=500, text="<html>")
        return web.json_response(reply(body))

    node.handler = simple
    chain = chain_of(node.url)
    first = await chain.block(16)
    node.asked.clear()
    assert await chain.block(16) == first and first.transfers
    assert [body["params"] for body in node.asked] == [["0x10", True], [HASH]]


async def test_another_block_between_two_answers(node: Any, chain_of: Any) -> None:
    """Receipts of another block of the same height are not taken: those of the block are asked for by its hash."""
    replies = [{**RECEIPT, "blockHash": OTHER}], [RECEIPT]
    reply = node.reply

    async def racing(request: web.Request) -> web.Response:
        body = await request.json()
        node.methods["eth_getBlockReceipts"] = replies[not isinstance(body, list)]
        return web.json_response([reply(call) for call in body] if isinstance(body, list) else reply(body))

    node.handler = racing
    assert len((await chain_of(node.url).block(16)).transfers) == 3


@pytest.mark.parametrize("turn", [lambda found: found[::-1], lambda found: [{**r, "id": str(r["id"])} for r in found]])
async def test_replies_in_another_order(turn: Any, node: Any, chain_of: Any) -> None:
    """Replies of a batch are told apart by their ids, whatever the order and the type of those."""
    reply = node.reply

    async def turned(request: web.Request) -> web.Response:
        body = await request.json()
        return web.json_response(turn([reply(call) for call in body]) if isinstance(body, list) else reply(body))

    node.handler = turned
    assert len((await chain_of(node.url).block(16)).transfers) == 3


async def test_wrong_chain_of_all_endpoints(serve: Any, chain_of: Any) -> None:
    """Every endpoint is asked for its chain id; where all serve another chain they are named, without their keys."""
    urls, said = [], []
    for number in (5, 6):
        wrong = await serve()
        wrong.methods = {"eth_chainId": hex(number)}
        urls.append(f"{wrong.url}/v3/SECRETKEY")
        said.append(f"endpoint {redact(wrong.url)} serves eip155:{number}, configuration says eip155:1")
    with pytest.raises(ChainError) as caught:
        await chain_of(*urls).open()
    assert str(caught.value) == "; ".join(said)
    assert not isinstance(caught.value, ChainUnavailable)


async def test_wrong_chain_of_one_endpoint(serve: Any, node: Any, chain_of: Any, caplog: Any) -> None:
    """An endpoint of another chain is said loudly and never asked again; the others go on."""
    wrong = await serve()
    wrong.methods = {"eth_chainId": "0x5", "eth_getBlockByNumber": {**BLOCK, "hash": OTHER}}
    chain = chain_of(f"{wrong.url}/v3/SECRETKEY", node.url)
    await chain.open()
    assert [r.getMessage() for r in caplog.records if r.levelname == "ERROR"] == [
        f"{redact(wrong.url)} is never asked again: endpoint {redact(wrong.url)} serves eip155:5, "
        "configuration says eip155:1"
    ]
    for _ in range(3):
        chain.rotate()
        assert (await chain.block(16)).source == redact(node.url)
    assert asked(wrong) == []
    assert [state.circuit for state in chain.endpoints()] == ["quarantined", "closed"]


async def test_endpoint_down_at_open_is_checked_later(serve: Any, node: Any, chain_of: Any) -> None:
    """An endpoint that is down at the start does not stop it, and is not trusted unseen when it comes back."""
    late = await serve()
    late.script = [web.Response(status=500)]
    late.methods = {"eth_chainId": "0x5", "eth_getBlockByNumber": BLOCK}
    chain = chain_of(node.url, late.url)
    await chain.open()
    node.script = [web.Response(status=500)]
    assert (await chain.block(16)).source == redact(node.url)
    assert asked(late) == [] and chain.endpoints()[1].circuit == "quarantined"


async def test_no_endpoint_at_open(free_port: int, chain_of: Any) -> None:
    """With no endpoint in reach, opening says so."""
    with pytest.raises(ChainUnavailable, match=f"127.0.0.1:{free_port}: connection refused"):
        await chain_of(f"http://127.0.0.1:{free_port}").open()


@pytest.mark.parametrize(("chain", "urls"), [("nem:mainnet", ["http://h"]), ("eip155:1", []), ("eip155:1", ["ipc:///x"])])
def test_bad_spec(chain: str, urls: list[str], chain_of: Any) -> None:
    """A chain of another family, or without an endpoint that can be spoken to, is a configuration error."""
    with pytest.raises(ConfigError):
        chain_of(*urls, chain=chain)


async def test_null_block(node: Any, chain_of: Any) -> None:
    """A block that is not there yet is ChainUnavailable, not an empty block."""
    node.methods["eth_getBlockByNumber"] = None
    with pytest.raises(ChainUnavailable, match="has no block 16 yet"):
        await chain_of(node.url).block(16)


async def test_null_block_asks_the_next_endpoint_next(serve: Any, node: Any, chain_of: Any) -> None:
    """An endpoint that lacks a block loses its turn."""
    lagging = await serve()
    lagging.methods = {"eth_chainId": "0x1", "eth_getBlockByNumber": None}
    chain = chain_of(lagging.url, node.url)
    with pytest.raises(ChainUnavailable):
        await chain.block(16)
    assert (await chain.block(16)).source == redact(node.url)


async def test_empty_logs_against_bloom(node: Any, chain_of: Any, pauses: Any) -> None:
    """No logs although the bloom filter names some: read again a few times, then said."""
    node.methods["eth_getBlockReceipts"] = [{**RECEIPT, "logs": []}]
    with pytest.raises(ChainInconsistent, match="bloom filter names logs"):
        await chain_of(node.url).block(16)
    assert asked(node).count("eth_getBlockReceipts") == 4
    assert len(pauses.seconds) == 3


async def test_inconsistency_that_passes(node: Any, chain_of: Any) -> None:
    """Receipts that are late to agree are waited for."""
    answers = iter([None, [{**RECEIPT, "blockHash": OTHER}], [RECEIPT]])
    node.methods["eth_getBlockReceipts"] = lambda _: next(answers)
    assert (await chain_of(node.url).block(16)).transfers_seen == 2


async def test_inconsistent_endpoint_is_left(serve: Any, node: Any, chain_of: Any) -> None:
    """A block that one endpoint cannot give consistently is read from the next."""
    liar = await serve()
    liar.methods = {**node.methods, "eth_getBlockReceipts": [{**RECEIPT, "logs": []}]}
    assert (await chain_of(liar.url, node.url).block(16)).source == redact(node.url)


@pytest.mark.parametrize(
    ("receipts", "why"),
    [
        ([{**RECEIPT, "blockHash": OTHER}], "receipt of another block"),
        ([{**RECEIPT, "logs": [{**LOG, "blockHash": OTHER}]}], "log of another block"),
        ([], "0 receipts for 1 transactions"),
        (None, "has gone while it was read"),
    ],
)
async def test_receipts_of_another_block(receipts: Any, why: str, node: Any, chain_of: Any) -> None:
    """Receipts that are not those of the block that was read are never used."""
    node.methods["eth_getBlockReceipts"] = receipts
    with pytest.raises(ChainInconsistent, match=why):
        await chain_of(node.url).block(16)


async def test_another_block_than_asked(node: Any, chain_of: Any) -> None:
    """An answer for another number is not taken."""
    with pytest.raises(ChainInconsistent, match="asked for block 17, got 16"):
        await chain_of(node.url).block(17)


async def test_transaction_hashes_alone(node: Any, chain_of: Any) -> None:
    """A block without its transactions in full is no usable answer."""
    node.methods["eth_getBlockByNumber"] = {**BLOCK, "transactions": [TX]}
    with pytest.raises(ChainUnavailable, match="unexpected answer"):
        await chain_of(node.url).block(16)


async def test_unreadable_time(node: Any, chain_of: Any) -> None:
    """A block whose time makes no sense cannot be read (yet): it is never passed over as undecodable."""
    node.methods["eth_getBlockByNumber"] = {**BLOCK, "timestamp": "soon"}
    with pytest.raises(ChainUnavailable, match="unreadable number or time"):
        await chain_of(node.url).block(16)


async def test_truncated_block(node: Any, chain_of: Any) -> None:
    """A block cut off in the middle is asked again."""
    node.script = [None, b'{"jsonrpc":"2.0","id":1,"result":{"hash":"0xab']
    assert (await chain_of(node.url).block(16)).ref.number == 16


async def test_busy_endpoint(node: Any, chain_of: Any, pauses: Any) -> None:
    """429 with Retry-After and 500s on the way to a block only cost time."""
    node.script = [None, web.Response(status=429, headers={"Retry-After": "3"}), web.Response(status=500)]
    assert (await chain_of(node.url).block(16)).ref.number == 16
    assert pauses.seconds[0] == pytest.approx(3.0, abs=0.5) and len(pauses.seconds) == 2


async def test_without_block_receipts(node: Any, chain_of: Any) -> None:
    """Without receipts by the block, logs and the receipts that matter give the same block; it is asked for once."""
    chain = chain_of(node.url)
    full = await chain.block(16)
    del node.methods["eth_getBlockReceipts"]
    node.asked.clear()
    assert await chain.block(16) == full == await chain.block(16)
    read = ["eth_getBlockByNumber", "eth_getLogs", "eth_getTransactionReceipt"]
    assert asked(node) == [read[0], *["eth_getBlockReceipts"] * 2, *read[1:], *read]


async def test_without_block_receipts_only_what_matters_is_asked(node: Any, chain_of: Any) -> None:
    """A transaction that does not touch the watch set costs no request."""
    del node.methods["eth_getBlockReceipts"]
    stranger = {**BLOCK["transactions"][0], "from": BOB}
    node.methods["eth_getBlockByNumber"] = {**BLOCK, "transactions": [stranger]}
    node.methods["eth_getLogs"] = [{**LOG, "topics": []}]
    block = await chain_of(node.url).block(16)
    assert (block.transfers, block.transfers_seen) == ((), 1)
    assert "eth_getTransactionReceipt" not in asked(node)


@pytest.mark.parametrize(
    ("method", "answer", "why"),
    [
        ("eth_getLogs", [], "bloom filter names logs"),
        ("eth_getLogs", None, "has gone"),
        ("eth_getLogs", [{**LOG, "blockHash": OTHER}], "log of another block"),
        ("eth_getTransactionReceipt", None, "has gone"),
        ("eth_getTransactionReceipt", {**RECEIPT, "blockHash": OTHER}, "receipt of another block"),
    ],
)
async def test_without_block_receipts_contradictions(
    method: str, answer: Any, why: str, node: Any, chain_of: Any
) -> None:
    """The second way of reading holds the same checks as the first."""
    del node.methods["eth_getBlockReceipts"]
    node.methods[method] = answer
    with pytest.raises(ChainInconsistent, match=why):
        await chain_of(node.url).block(16)


async def test_missing_batch_reply(node: Any, chain_of: Any) -> None:
    """A batch of receipts with a reply missing never reads as "nothing happened": the call is made alone."""
    del node.methods["eth_getBlockReceipts"]
    reply = node.reply

    async def short(request: web.Request) -> web.Response:
        body = await request.json()
        return web.json_response([] if isinstance(body, list) else reply(body))

    node.handler = short
    assert [(t.kind, t.value) for t in (await chain_of(node.url).block(16)).transfers] == [
        ("native", 5), ("token", 9), ("fee", 6)
    ]  # fmt: skip


async def test_empty_block_asks_for_nothing_more(node: Any, chain_of: Any) -> None:
    """A block without transactions needs no receipts of its own."""
    node.methods["eth_getBlockByNumber"] = {**BLOCK, "transactions": [], "logsBloom": "0x" + "0" * 512}
    assert (await chain_of(node.url).block(16)).transfers == ()
    assert asked(node) == ["eth_getBlockByNumber", "eth_getBlockReceipts"]


async def test_head_and_standstill(serve: Any, node: Any, chain_of: Any) -> None:
    """An endpoint whose head stands still for long is left for another; a moving one is not."""
    other, now = await serve(), [0.0]
    other.methods = {**node.methods, "eth_getBlockByNumber": {**BLOCK, "number": "0x20"}}
    chain = chain_of(node.url, other.url, clock=lambda: now[0])
    heads = []
    for now[0] in (0.0, 100.0, 119.0, 121.0, 122.0, 200.0):
        heads.append((await chain.head()).number)
    assert heads == [16, 16, 16, 16, 32, 32]


async def test_unreadable_numbers(node: Any, chain_of: Any) -> None:
    """A head or chain id that is no number is ChainUnavailable."""
    chain = chain_of(node.url)
    node.methods["eth_getBlockByNumber"] = {"hash": HASH, "number": "latest"}
    with pytest.raises(ChainUnavailable, match="unreadable number"):
        await chain.head()
    node.methods["eth_getBlockByNumber"] = None
    with pytest.raises(ChainUnavailable, match="no latest block"):
        await chain.head()


async def test_balances(node: Any, chain_of: Any, fault: Any) -> None:
    """Native and token balances come by block hash; what cannot be told is None, zero is zero."""
    token, dead = f"eip155:1/erc20:{COIN}", f"eip155:1/erc20:{BOB}"
    calls: dict[str, Any] = {COIN: f"0x{7:064x}", BOB: fault(3, "execution reverted")}
    node.methods |= {
        "eth_getBalance": lambda address, place: {ALICE: "0x5", BOB: "0x0"}[address],
        "eth_call": lambda call, place: calls[call["to"]],
    }
    native = "eip155:1/slip44:60"
    nft = "eip155:1/erc721:0x1"
    wanted = [(ALICE, native), (BOB, native), (ALICE, token), (ALICE, dead), (ALICE, nft), (ALICE, "x")]
    found = await chain_of(node.url).balances(wanted, BlockRef("eip155:1", 16, HASH))
    assert [found[item] for item in wanted] == [5, 0, 7, None, None, None]
    batch = node.asked[-1]
    assert all(one["params"][1] == {"blockHash": HASH} for one in batch)
    assert batch[2]["params"][0] == {"to": COIN, "data": "0x70a08231" + "0" * 24 + ALICE[2:]}


async def test_balances_by_number(node: Any, chain_of: Any, fault: Any) -> None:
    """Where an endpoint does not take a block hash, the number is asked for; an account without code gives None."""

    def balance(address: str, place: Any) -> Any:
        return fault(-32602, "invalid argument 1: hex string expected") if isinstance(place, dict) else "0x8"

    node.methods |= {"eth_getBalance": balance, "eth_call": "0x"}
    wanted = [(ALICE, "eip155:1/slip44:60"), (ALICE, f"eip155:1/erc20:{COIN}")]
    found = await chain_of(node.url).balances(wanted, BlockRef("eip155:1", 16, HASH))
    assert [found[item] for item in wanted] == [8, None]


async def test_wake_polls(node: Any, chain_of: Any, pauses: Any) -> None:
    """Without a subscription `wake` is the poll interval: half a block time, at most two seconds."""
    await chain_of(node.url).wake()
    await chain_of(node.url, chain="eip155:42161").wake()
    assert pauses.seconds == [2.0, 0.125]


class SocketNode:
    """A WebSocket endpoint: chain id and subscription as told; `announce` sends a new head, `cut` drops everybody."""

    def __init__(self, canned: Any) -> None:
        self.canned = canned
        self.sockets: list[web.WebSocketResponse] = []
        self.subscribed: asyncio.Queue[int] = asyncio.Queue()
        canned.handler = self.serve
        self.url = canned.url.replace("http://", "ws://")

    async def serve(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.sockets.append(socket)
        async for message in socket:
            body = message.json()
            bodies = body if isinstance(body, list) else [body]
            replies = [self.canned.reply(one) for one in bodies]
            await socket.send_json(replies[::-1] if isinstance(body, list) else replies[0])
            if bodies[0]["method"] == "eth_subscribe":
                self.subscribed.put_nowait(len(self.sockets))
        return socket

    async def announce(self) -> None:
        await self.sockets[-1].send_json({"jsonrpc": "2.0", "method": "eth_subscription", "params": {"result": {}}})

    async def cut(self) -> None:
        for socket in self.sockets:
            await socket.close()


@pytest.fixture
async def socket_node(node: Any) -> Any:
    """The same endpoint over a WebSocket."""
    node.methods["eth_subscribe"] = "0x1"
    served = SocketNode(node)
    yield served
    await served.cut()


def spec_of(*urls: str, chain: str = "eip155:1", timeout: float = 5.0) -> ChainSpec:
    return ChainSpec("ethereum", "evm", chain, urls, timeout_seconds=timeout, poll_seconds=3600.0)


async def test_wake_by_subscription_and_after_a_loss(socket_node: Any, pauses: Any) -> None:
    """A new head wakes at once; so does a lost socket, which is opened and subscribed again."""
    chain = EvmChain(spec_of(socket_node.url), {ALICE}, sleep=pauses)
    try:
        async with asyncio.timeout(20):
            waiting = asyncio.create_task(chain.wake())
            assert await socket_node.subscribed.get() == 1
            assert not waiting.done()
            await socket_node.announce()
            await waiting
            await socket_node.cut()
            await chain.wake()
            assert await socket_node.subscribed.get() == 2
            await socket_node.announce()
            await chain.wake()
    finally:
        await chain.aclose()


async def test_calls_over_the_socket_alone(socket_node: Any, pauses: Any) -> None:
    """With nothing but a ws:// endpoint, calls and batches go over it, many at a time, also after a cut."""
    socket_node.canned.methods["eth_getBalance"] = lambda address, place: hex(int(address, 16))
    chain = EvmChain(spec_of(socket_node.url), {ALICE}, sleep=pauses)
    wanted = [(f"0x{n:040x}", "eip155:1/slip44:60") for n in range(3)]
    ref = BlockRef("eip155:1", 16, HASH)
    try:
        async with asyncio.timeout(20):
            await chain.open()
            blocks = await asyncio.gather(*(chain.block(16) for _ in range(5)))
            assert {b.transfers_seen for b in blocks} == {2} and len(socket_node.sockets) == 1
            assert list((await chain.balances(wanted, ref)).values()) == [0, 1, 2]
            await socket_node.cut()
            assert (await chain.head()).number == 16
            assert len(socket_node.sockets) == 2
    finally:
        await chain.aclose()


async def test_socket_of_another_chain(socket_node: Any, pauses: Any) -> None:
    """A socket is asked for its chain id like any endpoint."""
    chain = EvmChain(spec_of(f"{socket_node.url}/SECRETKEY", chain="eip155:5"), {ALICE}, sleep=pauses)
    try:
        with pytest.raises(ChainError) as caught:
            await chain.open()
        name = redact(socket_node.url)
        assert str(caught.value) == f"endpoint {name} serves eip155:1, configuration says eip155:5"
    finally:
        await chain.aclose()


async def test_dead_socket_beside_http(node: Any, free_port: int, pauses: Any) -> None:
    """A socket that cannot be opened only means polling."""
    spec = ChainSpec("e", "evm", "eip155:1", (node.url, f"ws://127.0.0.1:{free_port}"), poll_seconds=0.05)
    chain = EvmChain(spec, {ALICE}, sleep=pauses)
    try:
        async with asyncio.timeout(20):
            await chain.open()
            await chain.wake()
            assert (await chain.block(16)).transfers_seen == 2
    finally:
        await chain.aclose()


async def test_dead_socket_alone(free_port: int, canned: Any, pauses: Any) -> None:
    """Without any other endpoint a socket that cannot be opened, or refuses, is ChainUnavailable, without its key."""
    canned.script = [web.Response(status=401) for _ in range(9)]
    refusing = canned.url.replace("http", "ws")
    for url, why in ((f"ws://127.0.0.1:{free_port}", "connection refused"), (refusing, "HTTP 401")):
        chain = EvmChain(spec_of(f"{url}/SECRETKEY"), {ALICE}, sleep=pauses)
        try:
            with pytest.raises(ChainUnavailable) as caught:
                await chain.open()
            assert str(caught.value) == f"{redact(url)}: {why}"
            with pytest.raises(ChainUnavailable) as caught:
                await chain.head()
            assert str(caught.value) == f"eth_getBlockByNumber: {redact(url)}: {why}"
        finally:
            await chain.aclose()


async def test_silent_socket(canned: Any, pauses: Any) -> None:
    """A socket that takes requests and says nothing ends in time."""

    async def silent(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            assert message.type is aiohttp.WSMsgType.TEXT
            await socket.send_str("not JSON")
        return socket

    canned.handler = silent
    chain = EvmChain(spec_of(canned.url.replace("http", "ws"), timeout=0.05), {ALICE}, sleep=pauses)
    try:
        with pytest.raises(ChainUnavailable, match=r"no answer within 0\.05 s"):
            await chain.head()
    finally:
        await chain.aclose()
