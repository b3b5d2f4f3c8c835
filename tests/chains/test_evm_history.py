"""Past blocks of an EVM chain: the same as live ones, in ranges that adapt, and endpoints that refuse."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from chains.base import ChainSpec
from chains.evm.abi import topic
from chains.evm.history import EvmHistory, _filters
from chains.evm.watcher import EvmChain
from monitor.errors import ChainInconsistent, ChainUnavailable, HistoryRefused
from monitor.model import Block
from tests.contracts.artifacts import artifact

CHAIN = "eip155:31337"
FRESH = "0x" + "ab" * 20


def word(value: int | str) -> str:
    return f"{int(value, 16) if isinstance(value, str) else value:064x}"


def call(token: dict[str, Any], method: str, *arguments: int | str) -> str:
    return f"0x{token['methods'][method]}{''.join(map(word, arguments))}"


@pytest.fixture
async def made() -> Any:
    """Make chains and histories that end with the test."""
    things = []

    def make(kind: Any, url: str, watch: Any, *rate: float, **more: Any) -> Any:
        spec = ChainSpec("local", "evm", CHAIN, (url,), timeout_seconds=5.0)
        things.append(kind(spec, watch, *rate, **more))
        return things[-1]

    yield make
    for thing in things:
        await thing.aclose()


async def scene(anvil: Any, token: dict[str, Any]) -> str:
    """Blocks of all sorts, some in between that are nobody's; the watched address."""
    alice, bob, carol, _ = anvil.accounts
    receipt = await anvil.send(**{"from": carol, "data": token["bytecode"] + word(10**24)})
    coin = receipt["contractAddress"]
    pay = {"from": carol, "to": coin}
    await anvil.send(**{"from": carol, "to": bob, "value": hex(10**18)})  # nobody's
    await anvil.send(**{"from": carol, "to": alice, "value": hex(2 * 10**18)})
    await anvil.send(**pay, data=call(token, "transfer(address,uint256)", alice, 5000))
    await anvil.send(**pay, data=call(token, "transfer(address,uint256)", bob, 7))  # nobody's
    await anvil.rpc("anvil_mine", "0x5")
    await anvil.send(**{"from": alice, "to": coin, "data": call(token, "transfer(address,uint256)", FRESH, 3000)})
    topics = [topic("Approval(address,address,uint256)")[2:], word(alice), word(bob)]
    body = [word(64), word(64 + 32 * 4), word(3), *topics, word(32), word(900)]
    emit = f"0x{token['methods']['emitRaw(bytes32[],bytes)']}{''.join(body)}"
    await anvil.send(**{"from": alice, "to": coin, "data": emit})
    await anvil.rpc("evm_setAutomine", False)
    for n, (sender, to) in enumerate(((carol, bob), (alice, FRESH), (bob, alice), (carol, coin))):
        data = {"data": call(token, "transfer(address,uint256)", bob, 1)} if to == coin else {"value": hex(n + 1)}
        await anvil.rpc("eth_sendTransaction", {"from": sender, "to": to, "gas": "0x20000", **data})
    await anvil.rpc("evm_mine")
    await anvil.rpc("evm_setAutomine", True)
    return alice


async def live_blocks(chain: EvmChain, start: int, end: int) -> list[Block]:
    blocks = [await chain.block(n) for n in range(start, end)]
    return [block for block in blocks if block.transfers or block.controls or block.readings]


@pytest.mark.parametrize("rate", [1000.0, 3.0])
async def test_a_past_block_equals_a_live_one(rate: float, anvil: Any, token: dict[str, Any], made: Any) -> None:
    """Every field of every block that touches the watch set, however large the batches; and the ends of the run."""
    watched = await scene(anvil, token)
    height = int(await anvil.rpc("eth_blockNumber"), 16)
    chain = made(EvmChain, anvil.url, frozenset([watched]))
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    history = made(EvmHistory, anvil.url, frozenset([watched]), rate, sleep=sleep)
    found = await history.history(1, height + 1)
    expected = await live_blocks(chain, 1, height + 1)
    assert list(found.blocks) == expected and 5 <= len(expected) < height - 5
    assert [len(block.controls) for block in expected if block.controls] == [1]
    assert found.last == await chain.head()
    first = await chain.block(1)
    assert (found.first, found.parent_hash, found.start) == (first.ref, first.parent_hash, first.timestamp)
    assert found.end == (await chain.block(height)).timestamp == await history.time_of(height)
    assert bool(waited) is (rate < 100) or sum(waited) < 0.2


async def test_without_receipts_by_block(anvil: Any, token: dict[str, Any], made: Any, serve: Any) -> None:
    """An endpoint that knows no eth_getBlockReceipts gives the same blocks through logs and single receipts."""
    watched = await scene(anvil, token)
    height = int(await anvil.rpc("eth_blockNumber"), 16)
    proxy, asked = await forwarded(serve, anvil, lambda body: body["method"] == "eth_getBlockReceipts")
    history = made(EvmHistory, proxy.url, frozenset([watched]), 1000.0)
    found = await history.history(1, height + 1)
    chain = made(EvmChain, anvil.url, frozenset([watched]))
    expected = await live_blocks(chain, 1, height + 1)
    assert [replace(block, source="") for block in found.blocks] == [replace(block, source="") for block in expected]
    assert "eth_getTransactionReceipt" in asked


async def forwarded(serve: Any, anvil: Any, refuses: Callable[[dict[str, Any]], bool], code: int = -32601) -> Any:
    """A server in front of a node that refuses some calls; (server, methods that were asked)."""
    proxy = await serve()
    asked: list[str] = []

    async def handler(request: Any) -> Any:
        from aiohttp import web

        body = await request.json()
        answers = []
        for one in body if isinstance(body, list) else [body]:
            asked.append(one["method"])
            if refuses(one):
                error = {"code": code, "message": "query returned more than 10 results"}
                answers.append({"jsonrpc": "2.0", "id": one["id"], "error": error})
            else:
                result = await anvil.rpc(one["method"], *one["params"])
                answers.append({"jsonrpc": "2.0", "id": one["id"], "result": result})
        return web.json_response(answers if isinstance(body, list) else answers[0])

    proxy.handler = handler
    return proxy, asked


async def test_ranges_of_logs_adapt(anvil: Any, token: dict[str, Any], made: Any, serve: Any) -> None:
    """An endpoint that gives logs of four blocks at most is asked for less, and nothing is lost."""
    watched = await scene(anvil, token)
    height = int(await anvil.rpc("eth_blockNumber"), 16)
    spans: list[int] = []

    def refuses(body: dict[str, Any]) -> bool:
        if body["method"] != "eth_getLogs" or "fromBlock" not in body["params"][0]:
            return False
        spans.append(int(body["params"][0]["toBlock"], 16) - int(body["params"][0]["fromBlock"], 16) + 1)
        return spans[-1] > 4

    proxy, _ = await forwarded(serve, anvil, refuses, code=-32005)
    history = made(EvmHistory, proxy.url, frozenset([watched]), 1000.0)
    found = await history.history(1, height + 1)
    chain = made(EvmChain, anvil.url, frozenset([watched]))
    assert [b.ref for b in found.blocks] == [b.ref for b in await live_blocks(chain, 1, height + 1)]
    assert spans[0] == height and min(spans) <= 4 and len(spans) < 40


async def test_logs_refused(anvil: Any, made: Any, serve: Any) -> None:
    """An endpoint that gives no logs at all gives no history, and says why."""
    await anvil.rpc("anvil_mine", "0x3")
    proxy, _ = await forwarded(serve, anvil, lambda body: body["method"] == "eth_getLogs")
    with pytest.raises(HistoryRefused, match="no endpoint gives logs"):
        await made(EvmHistory, proxy.url, frozenset([FRESH]), 1000.0).history(1, 4)


async def test_old_blocks_refused(anvil: Any, made: Any, serve: Any) -> None:
    """Blocks that no endpoint has any more are no history; the newer ones are."""
    await anvil.rpc("anvil_mine", "0x6")

    def refuses(body: dict[str, Any]) -> bool:
        return body["method"] == "eth_getBlockByNumber" and int(body["params"][0], 16) < 4

    proxy, _ = await forwarded(serve, anvil, refuses, code=4444)
    history = made(EvmHistory, proxy.url, frozenset([FRESH]), 1000.0)
    with pytest.raises(HistoryRefused, match="no endpoint gives block 3"):
        await history.history(3, 6)
    assert (await history.history(4, 7)).first.number == 4


async def test_an_endpoint_that_is_down(anvil: Any, made: Any) -> None:
    """No answer is no refusal: it is asked again later."""
    await anvil.kill()
    with pytest.raises(ChainUnavailable):
        await made(EvmHistory, anvil.url, frozenset([FRESH]), 1000.0).history(0, 1)


async def test_blocks_of_two_branches(anvil: Any, made: Any, serve: Any) -> None:
    """Blocks that are not each other's children are never a run of blocks."""
    await anvil.rpc("anvil_mine", "0x3")
    proxy = await serve()

    async def handler(request: Any) -> Any:
        from aiohttp import web

        body = await request.json()
        answers = []
        for one in body if isinstance(body, list) else [body]:
            result = await anvil.rpc(one["method"], *one["params"])
            if one["method"] == "eth_getBlockByNumber" and one["params"][0] == "0x2":
                result["hash"] = "0x" + "77" * 32
            answers.append({"jsonrpc": "2.0", "id": one["id"], "result": result})
        return web.json_response(answers if isinstance(body, list) else answers[0])

    proxy.handler = handler
    with pytest.raises(ChainInconsistent, match="block 3 is no child"):
        await made(EvmHistory, proxy.url, frozenset([FRESH]), 1000.0).history(1, 4)


async def test_the_rate_holds(anvil: Any, made: Any) -> None:
    """Calls are let through at the rate that was asked for, each call of a batch counted."""
    await anvil.rpc("anvil_mine", hex(30))
    now = 0.0

    async def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    history = made(EvmHistory, anvil.url, frozenset([FRESH]), 10.0, sleep=sleep, clock=lambda: now)
    await history.history(1, 31)
    await history.history(1, 31)
    assert now == pytest.approx((2 * 30 + 2 * 6 - 1) / 10, abs=0.21)


def test_filters_hold_all_addresses() -> None:
    """Both directions, in parts; too many addresses mean that every block is looked at."""
    few = _filters(frozenset([FRESH]))
    padded = "0x" + "0" * 24 + "ab" * 20
    assert few == [*({"topics": [None] * n + [[padded]]} for n in (1, 2, 3)), {"address": ["0x" + padded[26:]]}]
    many = _filters({f"0x{n:040x}": None for n in range(1200)})
    assert many is not None and len(many) == 12 and sum(len(one.get("address", ())) for one in many) == 1200
    assert _filters(frozenset(f"0x{n:040x}" for n in range(5001))) is None


async def test_a_watch_set_too_large_for_filters(
    anvil: Any, token: dict[str, Any], made: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then every block is completed, and the same blocks come out."""
    watched = await scene(anvil, token)
    height = int(await anvil.rpc("eth_blockNumber"), 16)
    few = await made(EvmHistory, anvil.url, frozenset([watched]), 1000.0).history(1, height + 1)
    monkeypatch.setattr("chains.evm.history.MOST_ADDRESSES", 0)
    assert (await made(EvmHistory, anvil.url, frozenset([watched]), 1000.0).history(1, height + 1)) == few


async def test_payments_from_inside_of_calls(anvil: Any, made: Any, serve: Any) -> None:
    """A contract pays a watched account, in blocks that name it nowhere else: found where ``trace_filter`` is offered.

    Where it is not, the stretch says what it cannot show.
    """
    boss, friend = anvil.accounts[0], "0x" + "f1" * 20
    contract = artifact("Treasury")
    receipt = await anvil.send(**{"from": boss, "data": contract.creation(), "gas": hex(5_000_000)})
    treasury = receipt["contractAddress"]
    await anvil.send(**{"from": boss, "to": treasury, "value": hex(10**18)})
    for function in ("pay", "payThroughPurse", "tryToPay"):
        await anvil.send(**{"from": boss, "to": treasury, "data": contract.call(function, friend, 10**17)})
    height = int(await anvil.rpc("eth_blockNumber"), 16)
    history = made(EvmHistory, anvil.url, frozenset([friend]), 1000.0)
    found = await history.history(1, height + 1)
    chain = made(EvmChain, anvil.url, frozenset([friend]))
    assert list(found.blocks) == await live_blocks(chain, 1, height + 1) and len(found.blocks) == 2
    assert sum(t.value for block in found.blocks for t in block.transfers) == 2 * 10**17
    assert "internal transfers" not in found.blind_spots

    proxy, asked = await forwarded(serve, anvil, lambda body: body["method"] == "trace_filter")
    history = made(EvmHistory, proxy.url, frozenset([friend]), 1000.0)
    for _ in range(2):
        less = await history.history(1, height + 1)
        assert less.blocks == () and "internal transfers" in less.blind_spots
    assert asked.count("trace_filter") == 1


async def test_ranges_of_calls_adapt(anvil: Any, made: Any, serve: Any) -> None:
    """An endpoint that looks through two blocks at a time is asked for no more."""
    for _ in range(9):
        await anvil.send(**{"from": anvil.accounts[0], "to": FRESH, "value": "0x1"})
    spans: list[int] = []

    def refuses(body: dict[str, Any]) -> bool:
        if body["method"] != "trace_filter":
            return False
        spans.append(int(body["params"][0]["toBlock"], 16) - int(body["params"][0]["fromBlock"], 16) + 1)
        return spans[-1] > 2

    proxy, _ = await forwarded(serve, anvil, refuses, code=-32000)
    history = made(EvmHistory, proxy.url, frozenset([FRESH]), 1000.0)
    found = await history.history(1, 10)
    assert len(found.blocks) == 9 and found.blind_spots == ()
    assert max(spans) == 9 and spans[-1] <= 2


async def test_withdrawals_of_the_past(made: Any, canned: Any) -> None:
    """A block that names a watched account in a validator's withdrawal alone."""
    given = [{"index": "0x7", "address": FRESH, "amount": "0x3"}]
    blocks = [
        {
            "hash": f"0x{n:064x}", "parentHash": f"0x{n - 1:064x}", "number": hex(n), "timestamp": hex(n),
            "transactions": [], "withdrawals": given if n == 2 else [],
        }
        for n in range(5)
    ]  # fmt: skip
    canned.methods = {
        "eth_chainId": hex(31337), "eth_getLogs": [],
        "eth_getBlockByNumber": lambda number, _: blocks[4 if number == "latest" else int(number, 16)],
    }  # fmt: skip
    found = await made(EvmHistory, canned.url, frozenset([FRESH]), 1000.0).history(1, 5)
    assert [(block.ref.number, block.transfers[0].value) for block in found.blocks] == [(2, 3 * 10**9)]


async def test_who_controls_an_account_and_what_it_lost(anvil: Any) -> None:
    """Without traces: the same readings and reconciled transfers as live, and a reading at the lower end in any case.

    What went in blocks that name the account nowhere is not looked for: the stretch says so.
    """
    boss, friend = anvil.accounts[0], "0x" + "f1" * 20
    contract = artifact("Treasury")
    receipt = await anvil.send(**{"from": boss, "data": contract.creation(), "gas": hex(5_000_000)})
    treasury = receipt["contractAddress"].lower()
    low = int(receipt["blockNumber"], 16)
    await anvil.send(**{"from": boss, "to": treasury, "value": hex(10**18)})
    await anvil.rpc("anvil_mine", "0x3")
    await anvil.send(**{"from": boss, "to": treasury, "data": contract.call("pay", friend, 10**17)})
    height = int(await anvil.rpc("eth_blockNumber"), 16)
    spec = ChainSpec("local", "evm", CHAIN, (anvil.url,), accounts=(treasury,), options={"traces": "off"})
    chain, history = EvmChain(spec, {treasury}), EvmHistory(spec, {treasury}, 1000.0)
    try:
        expected = await live_blocks(chain, low, height + 1)
        upper = await history.history(low + 2, height + 1)
        lower = await history.history(low, low + 2)
    finally:
        await chain.aclose()
        await history.aclose()
    assert [block.ref.number for block in upper.blocks] == [low + 2, height]
    assert [len(block.readings) for block in upper.blocks] == [1, 0]
    assert lower.blocks[0].readings == expected[0].readings != ()
    assert [b.transfers for b in (*lower.blocks, upper.blocks[-1])] == [b.transfers for b in expected]
    (lost,) = upper.blocks[-1].transfers
    assert (str(lost.kind), lost.from_addresses, lost.value) == ("reconciled", (treasury,), 10**17)
    assert upper.blind_spots == ("internal transfers",)
