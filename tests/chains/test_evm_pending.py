"""The mempool of an EVM chain: what waits on a real node, by subscription and by polling; what strangers may claim."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st

from chains.base import ChainSpec, PendingGone, PendingSeen
from chains.endpoints.own import is_own
from chains.evm import pending as module
from chains.evm.pending import EvmMempool
from chains.evm.pending_feed import FETCHED, KEPT, Feed
from chains.evm.pending_tx import RpcPending, fee_rate, is_of_interest, pending_of
from chains.rpc import HttpPool, JsonRpc
from chains.websocket import Note
from monitor.errors import ChainUnavailable
from tests.contracts.chain import deploy
from tests.contracts.driver import Driver

CHAIN = "eip155:31337"
PATIENCE = 20.0
OWN, OTHER = "0x" + "11" * 20, "0x" + "22" * 20


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    """What became of transactions is asked in every round, and nobody waits for long."""
    monkeypatch.setattr(module, "CHECK_SECONDS", 0.0)
    monkeypatch.setattr(module, "PATIENCE", 0.1)


class Listener:
    """A mempool, and all that it told so far."""

    def __init__(self, mempool: EvmMempool, known: Mapping[str, tuple[str, int]]) -> None:
        self.mempool, self.events, self._news = mempool, list[Any](), asyncio.Condition()
        self.task = asyncio.create_task(self._run(known))

    async def _run(self, known: Mapping[str, tuple[str, int]]) -> None:
        async for events in self.mempool.pending(known):
            async with self._news:
                self.events += events
                self._news.notify_all()

    def of(self, hash: str) -> list[Any]:
        """What was told of one transaction."""
        return [e for e in self.events if (e.pending.tx.hash if isinstance(e, PendingSeen) else e.hash) == hash]

    async def wait(self, hash: str, kind: type[Any]) -> Any:
        """The first event of that kind about a transaction."""
        async with asyncio.timeout(PATIENCE), self._news:
            while not (found := [e for e in self.of(hash) if isinstance(e, kind)]):
                await self._news.wait()
        return found[0]

    async def close(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await self.mempool.aclose()


Listen = Callable[..., Listener]


@pytest_asyncio.fixture
async def listen() -> AsyncIterator[Listen]:
    """Start listeners; each ends with the test."""
    listeners: list[Listener] = []

    def start(url: str, watch: Sequence[str], known: Mapping[str, tuple[str, int]] | None = None) -> Listener:
        spec = ChainSpec("local", "evm", CHAIN, (url,), poll_seconds=0.05, accounts=tuple(watch))
        listeners.append(Listener(EvmMempool(spec, frozenset(watch)), known or {}))
        return listeners[-1]

    yield start
    for one in listeners:
        await one.close()


@pytest_asyncio.fixture
async def quiet(start_anvil: Callable[..., Awaitable[Any]]) -> Any:
    """A real node that mines when it is told to."""
    return await start_anvil("--no-mining")


async def send(node: Any, sender: str, to: str, value: int = 0, **more: Any) -> str:
    """A transaction that waits; its hash."""
    fees = {"maxFeePerGas": hex(3 * 10**9), "maxPriorityFeePerGas": hex(10**9), "gas": "0x30000"}
    call = {"from": sender, "to": to, "value": hex(value), **fees, **more}
    hash_: str = await node.rpc("eth_sendTransaction", call)
    return hash_


@pytest.mark.parametrize("scheme", ["url", "ws"])
async def test_a_transaction_from_its_first_sight_to_its_end(quiet: Any, listen: Listen, scheme: str) -> None:
    """Seen before the start and after it, replaced, mined; what touches nobody is not told."""
    own, other, third, _ = quiet.accounts
    before = await send(quiet, own, other, 5)
    listener = listen(getattr(quiet, scheme), [own])
    first = (await listener.wait(before, PendingSeen)).pending
    (transfer,) = first.transfers
    assert (transfer.from_addresses, transfer.to_address, transfer.value) == ((own,), other, 5)
    assert transfer.asset == f"{CHAIN}/slip44:60" and first.tx.pending
    assert (first.tx.initiator, first.tx.nonce) == (own, 0)
    assert first.tx.fee_rate is not None and first.tx.fee_rate < 3e9 and first.gap == 0
    strange = await send(quiet, other, third, 7)
    if scheme == "url":  # nodes tell by themselves of what could be mined next alone
        skipped = await send(quiet, own, third, 9, nonce="0x3")
        assert (await listener.wait(skipped, PendingSeen)).pending.gap == 2
    raised = {"maxFeePerGas": hex(9 * 10**9), "maxPriorityFeePerGas": hex(5 * 10**9)}
    cancel = await send(quiet, own, own, 0, nonce="0x0", **raised)
    said = (await listener.wait(cancel, PendingSeen)).pending
    assert said.transfers == () and said.controls == () and said.tx.nonce == 0
    await quiet.rpc("evm_mine")
    gone = await listener.wait(cancel, PendingGone)
    assert (gone.why, gone.block) == ("mined", 1)
    assert (await listener.wait(before, PendingGone)).why == "replaced"
    lost = await send(quiet, own, other, 2, nonce="0x1")
    assert (await listener.wait(lost, PendingSeen)).pending.gap == 0
    await quiet.rpc("anvil_dropTransaction", lost)
    assert (await listener.wait(lost, PendingGone)).why == "dropped"
    assert listener.of(strange) == [] and listener.mempool.dropped == 0


async def test_what_is_mined_at_once_is_not_told(anvil: Any, listen: Listen) -> None:
    """A note that is slower than its block is no early warning."""
    own, other, *_ = anvil.accounts
    listener = listen(anvil.ws, [own])
    await anvil.rpc("evm_setAutomine", False)
    marker = await send(anvil, own, other, 1)
    await listener.wait(marker, PendingSeen)
    await anvil.rpc("evm_setAutomine", True)
    await anvil.rpc("evm_mine")
    receipt = await anvil.send(**{"from": own, "to": other, "value": "0x2"})
    await anvil.rpc("evm_setAutomine", False)
    last = await send(anvil, own, other, 3)
    await listener.wait(last, PendingSeen)
    assert not [e for e in listener.of(receipt["transactionHash"]) if isinstance(e, PendingSeen)]


async def test_strangers_are_believed_as_far_as_a_node_does(quiet: Any, listen: Listen) -> None:
    """A transferFrom without an allowance is anybody's; with one it is a theft. A permission is told, too."""
    driver = await asyncio.to_thread(Driver, quiet.url)
    await quiet.rpc("evm_setAutomine", True)
    own, thief, _, boss = quiet.accounts
    contract = await asyncio.to_thread(deploy, driver, boss, "ERC20PresetMinterPauser", "Coin", "COIN")
    token = contract.address
    mint = "0x40c10f19" + own[2:].rjust(64, "0") + f"{1000:064x}"
    assert (await quiet.send(**{"from": boss, "to": token, "data": mint}))["status"] == "0x1"
    await quiet.rpc("evm_setAutomine", False)
    listener = listen(quiet.ws, [own])
    take = "0x23b872dd" + own[2:].rjust(64, "0") + thief[2:].rjust(64, "0") + f"{900:064x}"
    claimed = await send(quiet, thief, token, data=take)
    approve = "0x095ea7b3" + thief[2:].rjust(64, "0") + f"{900:064x}"
    allowed = await send(quiet, own, token, data=approve)
    asset = f"{CHAIN}/erc20:{token.lower()}"
    (control,) = (await listener.wait(allowed, PendingSeen)).pending.controls
    assert (control.account, control.subject, control.detail["asset"]) == (own, thief, asset)
    assert control.detail["spender_code"] == "none" and control.tx.pending
    assert listener.of(claimed) == []
    await quiet.rpc("anvil_dropTransaction", claimed)
    await quiet.rpc("evm_mine")
    stolen = await send(quiet, thief, token, data=take)
    (transfer,) = (await listener.wait(stolen, PendingSeen)).pending.transfers
    assert (transfer.asset, transfer.to_address, transfer.value) == (asset, thief, 900)
    assert transfer.tx.initiator == thief


async def test_after_a_restart_what_is_known_runs_its_course(quiet: Any, listen: Listen) -> None:
    """What still waits is told again, what is not there any more is told to be gone."""
    own, other, *_ = quiet.accounts
    waits, lost = await send(quiet, own, other, 5), "0x" + "77" * 32
    listener = listen(quiet.ws, [own], {waits: (own, 0), lost: (own, 1)})
    assert (await listener.wait(waits, PendingSeen)).pending.tx.hash == waits
    assert (await listener.wait(lost, PendingGone)).why == "dropped"


# -- endpoints that offer less ----------------------------------------------------------------------------------------


def raw(hash: str, sender: str = OWN, to: str = OTHER, value: str = "0x5", nonce: str = "0x0") -> dict[str, Any]:
    return {"hash": hash, "from": sender, "to": to, "value": value, "nonce": nonce, "gas": "0x5208", "input": "0x",
            "gasPrice": "0x1", "type": "0x0", "blockNumber": None}  # fmt: skip


def methods(**more: Any) -> dict[str, Any]:
    """What a node answers that offers no pool; ``more`` adds to it."""
    return {
        "eth_chainId": "0x7a69",
        "eth_getTransactionCount": "0x0",
        "eth_getTransactionByHash": raw,
        "eth_getBlockByNumber": {"number": "0x1", "hash": "0x1", "baseFeePerGas": "0x1"},
        **more,
    }


async def test_a_large_pool_is_read_by_sender(canned: Any, listen: Listen) -> None:
    """The part of each watched account, not the whole."""
    part = {"pending": {"0": raw("0xaa")}, "queued": {"7": raw("0xbb", nonce="0x7")}}
    canned.methods = methods(txpool_status={"pending": "0xffff"}, txpool_contentFrom=lambda sender: part)
    listener = listen(canned.url, [OWN])
    assert (await listener.wait("0xaa", PendingSeen)).pending.transfers[0].value == 5
    assert (await listener.wait("0xbb", PendingSeen)).pending.gap == 6
    assert "txpool_content" not in {body["method"] for body in _calls(canned)}


async def test_an_endpoint_that_offers_nothing_is_left(canned: Any, listen: Listen) -> None:
    """It ends without a word to the rest of the monitor."""
    canned.methods = methods()
    listener = listen(canned.url, [OWN])
    async with asyncio.timeout(PATIENCE):
        await listener.task
    assert listener.events == []


async def test_an_endpoint_of_another_chain_is_left(canned: Any, listen: Listen) -> None:
    """Its pool is of no interest."""
    canned.methods = methods(eth_chainId="0x1", txpool_content={"pending": {OWN: {"0": raw("0xaa")}}})
    listener = listen(canned.url, [OWN])
    async with asyncio.timeout(PATIENCE):
        await listener.task
    assert listener.events == []


async def test_an_endpoint_that_comes_back_goes_on(canned: Any, listen: Listen) -> None:
    """Nothing that was seen before is lost with a failed look."""
    canned.methods = methods(txpool_content={"pending": {OWN: {"0": raw("0xaa")}}})
    canned.script = [ConnectionError, None, None, None, *[ConnectionError] * 4]
    listener = listen(canned.url, [OWN])
    assert (await listener.wait("0xaa", PendingSeen)).pending.transfers[0].value == 5
    assert canned.script == []


async def test_one_that_makes_no_sense_hides_no_other(
    canned: Any, listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a transaction in the pool, and one on whose call the endpoint chokes each time."""

    choked, tired = list[RpcPending](), asyncio.Event()

    async def choke(self: EvmMempool, doubtful: Sequence[RpcPending]) -> set[str]:
        choked.extend(doubtful)
        if len(choked) == module.TRIES:
            tired.set()
        if doubtful:
            raise ChainUnavailable("no answer in time")
        return set()

    monkeypatch.setattr(EvmMempool, "_possible", choke)
    monkeypatch.setattr(module, "backoff", lambda rng, failures: 0.0)
    theft = "0x23b872dd" + f"{int(OWN, 16):064x}{5:064x}{9:064x}"
    bad = {**raw("0xcc", OTHER, nonce="0x9"), "input": theft}
    pool: dict[str, dict[str, Any]] = {OTHER: {"0": bad}, OWN: {"0": {"hash": 5}, "1": raw("0xaa")}}
    canned.methods = methods(txpool_content={"pending": pool})
    listener = listen(canned.url, [OWN])
    assert (await listener.wait("0xaa", PendingSeen)).pending.transfers[0].value == 5
    async with asyncio.timeout(PATIENCE):
        await tired.wait()
    for hash_, nonce in (("0xdd", "0x1"), ("0xee", "0x2")):  # the next rounds
        pool[OWN][nonce] = raw(hash_, nonce=nonce)
        await listener.wait(hash_, PendingSeen)
    assert listener.of("0xcc") == [] and listener.mempool.dropped == 1


def _calls(canned: Any) -> list[dict[str, Any]]:
    return [one for body in canned.asked for one in (body if isinstance(body, list) else [body])]


async def test_a_flood_is_bounded_and_counted(canned: Any) -> None:
    """Notes beyond the bound, and hashes beyond what is asked for in a round, are counted and left."""
    canned.methods = methods()
    pool = HttpPool([canned.url])
    feed = Feed(JsonRpc(pool), (), "local")
    feed.subscribed.add("x")
    for n in range(KEPT + 50):
        feed.told("x", Note(result=msgspec.Raw(json.dumps(f"0x{n:x}").encode())))
    assert feed.dropped == 50
    feed._missed = False
    assert len(await feed.take()) == FETCHED and feed.dropped > 50 and feed.news.is_set()
    assert len(_calls(canned)) == FETCHED
    await pool.aclose()


# -- decoding ---------------------------------------------------------------------------------------------------------


def tx(**more: Any) -> RpcPending:
    return msgspec.json.decode(json.dumps({**raw("0xAB"), **more}), type=RpcPending)


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(st.binary(max_size=400), st.sampled_from(["0x5", "", "nonsense", None]), st.booleans())
def test_nonsense_says_nothing(data: bytes, value: Any, named: bool) -> None:
    """Whatever stands in a transaction, it is read without an error."""
    word = bytes(12) + bytes.fromhex(OWN[2:])
    for head in ("23b872dd", "095ea7b3", "d505accf", "6a761202", "8d80ff0a", ""):
        said = tx(input="0x" + head + ((word if named else b"") + data).hex(), value=value, nonce=value)
        assert is_of_interest(said, {OWN})
        pending_of(said, CHAIN, {OWN})
    assert pending_of(tx(input="nonsense"), CHAIN, {OWN}).controls == ()


def test_who_is_of_interest() -> None:
    """Sender, called account, and accounts in aligned words of the calldata; nobody else."""
    word = "0" * 24 + OWN[2:]
    for made, wanted in (
        (tx(), True), (tx(**{"from": OTHER, "to": OWN.upper().replace("X", "x")}), True),
        (tx(**{"from": OTHER}), False), (tx(**{"from": OTHER, "input": "0x12345678" + word}), True),
        (tx(**{"from": OTHER, "input": "0x12345678" + "0" * 64 + word}), True),
        (tx(**{"from": OTHER, "input": "0x1234" + word}), False), (tx(**{"from": OTHER, "to": None}), False),
    ):  # fmt: skip
        assert is_of_interest(made, {OWN}) is wanted
    assert pending_of(tx(**{"from": OTHER, "to": OWN}), CHAIN, {OWN}).transfers == ()  # arrivals say nothing


def test_the_fee_that_would_be_paid() -> None:
    """Not the maximum: the base fee and the tip, where that is less."""
    new = {"maxFeePerGas": "0x64", "maxPriorityFeePerGas": "0xa"}
    assert fee_rate(tx(**new), 50) == 60.0 and fee_rate(tx(**new), 99) == 100.0
    assert fee_rate(tx(**new), None) is None and fee_rate(tx(gasPrice="0x7"), None) == 7.0


@pytest.mark.parametrize(
    ("url", "own"),
    [("http://127.0.0.1:1", True), ("ws://[::1]:1", True), ("http://192.168.3.4", True), ("http://geth:8545", True),
     ("wss://node.internal", True), ("https://8.8.8.8", False), ("https://rpc.example.org/KEY", False),
     ("http://[nonsense", False)],
)  # fmt: skip
def test_own_nodes(url: str, own: bool) -> None:
    """By address and name alone; a provider's is nobody's own."""
    assert is_own(url) is own
