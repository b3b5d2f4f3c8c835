"""Several endpoints must give the same block, and what each endpoint offers."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from chains.base import ChainSpec
from chains.evm.capabilities import HOLDS, Capabilities
from chains.evm.quorum import WAITS, digest_of
from chains.evm.watcher import EvmChain
from chains.evm.wire import RpcLog
from chains.recorded.evm import Draft, Move, RecordedBlock, RecordedEvmServer, construct
from chains.rpc import MethodUnsupported, redact
from monitor.errors import ChainInconsistent, ChainUnavailable, ConfigError

ALICE, BOB, COIN = ("0x" + c * 40 for c in "abc")
DRAFTS = [Draft(100 + 12 * n, (Move(ALICE, BOB, n, COIN), Move(BOB, ALICE, 7))) for n in range(4)]


@pytest.fixture
async def nodes() -> AsyncIterator[Callable[..., Any]]:
    """Start loopback nodes of chain 1; each ends with the test."""
    async with AsyncExitStack() as stack:

        async def start(blocks: Any = DRAFTS, **settings: Any) -> RecordedEvmServer:
            return await stack.enter_async_context(RecordedEvmServer(1, blocks, **settings))

        yield start


@pytest.fixture
async def chain_of(ticks: Any) -> AsyncIterator[Callable[..., EvmChain]]:
    """Make watchers of ALICE whose time is `ticks`; all closed at the end."""
    chains = []

    def make(*servers: RecordedEvmServer, quorum: int = 2) -> EvmChain:
        urls = tuple(server.url for server in servers)
        spec = ChainSpec("loopback", "evm", "eip155:1", urls, quorum=quorum)
        chains.append(EvmChain(spec, {ALICE}, sleep=ticks.sleep, clock=ticks.clock))
        return chains[-1]

    yield make
    for chain in chains:
        await chain.aclose()


async def test_agreement(nodes: Any, chain_of: Any) -> None:
    """Two endpoints that say the same are enough; a third is not asked."""
    first, second, third = await nodes(), await nodes(), await nodes()
    block = await chain_of(first, second, third).block(2)
    assert block.ref.hash == first.blocks[2].hash and block.source == redact(first.url)
    assert len(block.transfers) == 3
    assert second.asked["eth_getLogs"] == 1 and not third.asked["eth_getLogs"]


async def test_without_quorum_nobody_is_asked(nodes: Any, chain_of: Any) -> None:
    """One endpoint's word is enough where nothing else is said."""
    first, second = await nodes(), await nodes()
    await chain_of(first, second, quorum=1).block(2)
    assert not second.asked["eth_getBlockByNumber"] and not second.asked["eth_getLogs"]


async def test_two_forks(nodes: Any, chain_of: Any) -> None:
    """Endpoints on different branches are named, and nothing is handed on."""
    first = await nodes()
    second = await nodes([*DRAFTS[:2], *(replace(draft, extra=b"b") for draft in DRAFTS[2:])])
    chain = chain_of(first, second)
    assert (await chain.block(1)).ref.number == 1
    names = {redact(first.url), redact(second.url)}
    with pytest.raises(ChainInconsistent, match=r"disagree on block 2 \(0x[0-9a-f]{64}\): one says 0x") as caught:
        await chain.block(2)
    assert all(name in str(caught.value) for name in names)
    assert all(state.failures["inconsistent"] > 0 for state in chain.endpoints())


def without_a_log(blocks: list[RecordedBlock], number: int) -> list[RecordedBlock]:
    """The same blocks, of which one has lost its last log in the receipts, though not in its header."""
    made = list(blocks)
    receipts = list(made[number].receipts or ())
    at = max(place for place, receipt in enumerate(receipts) if receipt["logs"])
    receipts[at] = receipts[at] | {"logs": receipts[at]["logs"][:-1]}
    made[number] = RecordedBlock(made[number].block, tuple(receipts))
    return made


async def test_a_log_left_out(nodes: Any, chain_of: Any, caplog: Any) -> None:
    """The same hash with other logs is a disagreement; with three endpoints the two that agree are believed."""
    drafts = [replace(draft, moves=(*draft.moves, Move(BOB, ALICE, 9, COIN))) for draft in DRAFTS]
    blocks = construct(1, drafts)
    liar = await nodes(without_a_log(blocks, 2))
    honest, third = await nodes(blocks), await nodes(blocks)
    with pytest.raises(ChainInconsistent, match="their logs are not the same"):
        await chain_of(liar, honest).block(2)
    with caplog.at_level(logging.WARNING):
        chain = chain_of(honest, liar, third)
        block = await chain.block(2)
    assert (block.source, len(block.transfers)) == (redact(honest.url), 4)
    assert any(f"{redact(liar.url)} stands against" in record.getMessage() for record in caplog.records)
    assert chain.endpoints()[1].failures == {"inconsistent": 1}
    assert (await chain_of(liar, honest, third).block(2)).source != redact(liar.url)


async def test_too_few(nodes: Any, chain_of: Any, ticks: Any, free_port: int) -> None:
    """With too few endpoints in reach, or with the block, no block is handed on, and it is said why."""
    first, lagging = await nodes(), await nodes(shown=2)
    dead = SimpleNamespace(url=f"http://127.0.0.1:{free_port}")  # nothing listens
    with pytest.raises(ChainUnavailable, match=r"1 of the 2 endpoints that must agree: .*does not have it yet"):
        await chain_of(first, lagging).block(3)
    assert ticks.paused[: len(WAITS)] == list(WAITS)
    lagging.pace.ask()
    with pytest.raises(ChainUnavailable, match=r"1 of the 2 endpoints that must agree: .*connection refused"):
        await chain_of(first, dead).block(3)


async def test_an_endpoint_that_is_a_moment_late(nodes: Any, chain_of: Any, ticks: Any) -> None:
    """A block that the second endpoint gets while it is waited for counts."""
    first, late = await nodes(), await nodes(shown=3)
    sleep = ticks.sleep

    async def meanwhile(seconds: float) -> None:
        await late.pace.release()
        await sleep(seconds)

    ticks.sleep = meanwhile
    assert (await chain_of(first, late).block(3)).ref.number == 3
    assert ticks.paused == [WAITS[0]]


async def test_logs_by_receipts(nodes: Any, chain_of: Any) -> None:
    """An endpoint without logs by the block's hash is compared by its receipts."""
    first, second = await nodes(), await nodes()
    second.faults.unsupported.add("eth_getLogs")
    assert (await chain_of(first, second).block(2)).ref.number == 2
    assert second.asked["eth_getBlockReceipts"] == 1


def test_one_provider_is_one_voice() -> None:
    """Two keys at one host do not make a quorum of two."""
    spec = ChainSpec("c", "evm", "eip155:1", ("https://h/KEY1", "wss://h/KEY2", "https://h/KEY3"), quorum=2)
    with pytest.raises(ConfigError, match="quorum is 2, but its endpoints are at 1 different hosts"):
        EvmChain(spec, set())


def test_digest_does_not_depend_on_transport() -> None:
    """Order and case of an answer are its own; everything else of a log counts."""
    made = construct(1, [Draft(1, (Move(ALICE, BOB, 1, COIN), Move(BOB, ALICE, 2, COIN)))])[0]
    logs = [msgspec.convert(log, RpcLog) for log in made.logs or ()]
    same = [msgspec.structs.replace(log, address="0x" + log.address[2:].upper()) for log in reversed(logs)]
    assert digest_of(logs) == digest_of(same)
    first, second = logs
    for change in ({"data": "0x"}, {"topics": []}, {"address": BOB}, {"log_index": "0x9"}, {"transaction_hash": None}):
        assert digest_of([msgspec.structs.replace(first, **change), second]) != digest_of(logs)
    assert digest_of([first]) != digest_of(logs) != digest_of([first, first, second])


# --- what endpoints offer ---------------------------------------------------------------------------------------------


def test_capabilities_are_forgotten(ticks: Any) -> None:
    """What is known holds for some hours, and not beyond another version of the client."""
    known = Capabilities(ticks.clock)
    known.client("node", "geth/1")
    known.refuse("node", "trace_block")
    known.offer("node", "eth_getProof")
    known.client("node", "geth/1")
    assert known.of("node") == {"trace_block": False, "eth_getProof": True}
    known.client("node", "erigon/3")
    assert known.supports("node", "trace_block") is None
    known.refuse("node", "trace_block")
    ticks.now += HOLDS + 1
    assert known.of("node") == {}


async def test_probe(nodes: Any, chain_of: Any) -> None:
    """Endpoints are asked for what they offer; what is known is not asked again."""
    full, part = await nodes(), await nodes()
    part.faults.unsupported.add("eth_getBlockReceipts")
    chain = chain_of(full, part)
    for _ in range(2):
        await chain.probe()
    first, second = (state.offers for state in chain.endpoints())
    assert first["eth_getBlockReceipts"] and first["blockHash"] and first["batch"] and first["finalized"]
    assert not first["trace_block"] and not second["eth_getBlockReceipts"]
    assert full.asked["eth_getBlockReceipts"] == full.asked["trace_block"] == 1


async def test_probe_of_a_real_node(anvil: Any) -> None:
    """A real node traces and proves, and is not called anything that it is not."""
    chain = EvmChain(ChainSpec("dev", "evm", "eip155:31337", (anvil.url,)), set())
    try:
        await chain.probe()
        offers = chain.endpoints()[0].offers
        assert {name for name, has in offers.items() if has} >= {
            "eth_getBlockReceipts", "debug_traceBlockByHash", "trace_block", "eth_getProof", "blockHash", "batch",
            "txpool_content",
        }  # fmt: skip
    finally:
        await chain.aclose()


async def test_ask_goes_to_whoever_offers(nodes: Any, chain_of: Any) -> None:
    """A method that the preferred endpoint refuses is asked of another, and from then on of that one at once."""
    part, full = await nodes(), await nodes()
    part.faults.unsupported.add("eth_getBlockReceipts")
    chain = chain_of(part, full)
    for _ in range(2):
        receipts = await chain.nodes.ask("eth_getBlockReceipts", "eth_getBlockReceipts", "0x2")
        assert len(receipts) == 2
    assert (part.asked["eth_getBlockReceipts"], full.asked["eth_getBlockReceipts"]) == (1, 2)
    full.faults.unsupported.add("eth_getBlockReceipts")
    for _ in range(2):
        with pytest.raises(MethodUnsupported, match="no endpoint offers it"):
            await chain.nodes.ask("eth_getBlockReceipts", "eth_getBlockReceipts", "0x2")
    assert (part.asked["eth_getBlockReceipts"], full.asked["eth_getBlockReceipts"]) == (1, 3)
