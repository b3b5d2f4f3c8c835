"""The EVM watcher on a real Ethereum node."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from chains.base import ChainSpec
from chains.evm.watcher import EvmChain
from chains.rpc import redact
from monitor.errors import ChainError, ChainUnavailable
from monitor.model import BlockRef, TransferKind

CHAIN = "eip155:31337"
ETHER = f"{CHAIN}/slip44:60"
TRANSFER = "ddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"
SUPPLY = 10**24


def word(value: int | str) -> str:
    return f"{int(value, 16) if isinstance(value, str) else value:064x}"


@pytest.fixture
async def watcher() -> Any:
    """Make watchers that end with the test."""
    chains = []

    def make(*urls: str, watch: Any = (), chain: str = CHAIN, **more: Any) -> EvmChain:
        spec = ChainSpec("local", "evm", chain, urls, timeout_seconds=5.0, **more)
        chains.append(EvmChain(spec, frozenset(watch)))
        return chains[-1]

    yield make
    for chain in chains:
        await chain.aclose()


@pytest.fixture
async def coin(anvil: Any, token: dict[str, Any]) -> str:
    """The address of a deployed token whose whole supply the first account holds."""
    sender = anvil.accounts[0]
    receipt = await anvil.send(**{"from": sender, "data": token["bytecode"] + word(SUPPLY)})
    address: str = receipt["contractAddress"]
    return address


def call(token: dict[str, Any], method: str, *arguments: int | str) -> str:
    return f"0x{token['methods'][method]}{''.join(map(word, arguments))}"


async def test_native_transfer(anvil: Any, watcher: Any) -> None:
    """Ether that moves is a native transfer, and the sender's fee is what the node says."""
    alice, bob, *_ = anvil.accounts
    receipt = await anvil.send(**{"from": alice, "to": bob, "value": hex(3 * 10**18)})
    chain = watcher(anvil.url, watch=[alice])
    head = await chain.head()
    block = await chain.block(head.number)
    assert block.ref == head == BlockRef(CHAIN, int(receipt["blockNumber"], 16), receipt["blockHash"])
    assert block.parent_hash == (await chain.block(head.number - 1)).ref.hash
    native, fee = block.transfers
    assert (native.kind, native.asset, native.value) == (TransferKind.NATIVE, ETHER, 3 * 10**18)
    assert (native.from_addresses, native.to_address) == ((alice,), bob)
    paid = int(receipt["gasUsed"], 16) * int(receipt["effectiveGasPrice"], 16)
    assert (fee.kind, fee.value, fee.tx.fee, fee.to_address) == (TransferKind.FEE, paid, paid, "")
    assert (native.tx.hash, native.tx.nonce, native.tx.version) == (receipt["transactionHash"], 0, 2)
    assert (block.transfers_seen, block.undecoded, block.source) == (1, (), redact(anvil.url))


async def test_token_transfer(anvil: Any, coin: str, token: dict[str, Any], watcher: Any) -> None:
    """An ERC-20 transfer is told by its event, exactly; only those who are watched see it."""
    alice, bob, carol, _ = anvil.accounts
    await anvil.send(**{"from": alice, "to": coin, "data": call(token, "transfer(address,uint256)", bob, 12345)})
    chain = watcher(anvil.url, watch=[bob])
    block = await chain.block((await chain.head()).number)
    (transfer,) = block.transfers
    assert (transfer.kind, transfer.asset) == (TransferKind.TOKEN, f"{CHAIN}/erc20:{coin}")
    assert (transfer.from_addresses, transfer.to_address, transfer.value) == ((alice,), bob, 12345)
    assert (transfer.tx.initiator, transfer.tx.target) == (alice, coin)
    unseen = await watcher(anvil.url, watch=[carol]).block(block.ref.number)
    assert (unseen.transfers, unseen.transfers_seen) == ((), 1)


async def test_deployment_with_value(anvil: Any, token: dict[str, Any], watcher: Any) -> None:
    """Ether sent with a deployment goes to the new contract."""
    alice = anvil.accounts[0]
    receipt = await anvil.send(**{"from": alice, "value": "0x7", "data": token["bytecode"] + word(1)})
    chain = watcher(anvil.url, watch=[receipt["contractAddress"]])
    (transfer,) = (await chain.block((await chain.head()).number)).transfers
    assert (transfer.from_addresses, transfer.value, transfer.tx.target) == ((alice,), 7, None)


async def test_failed_transaction(anvil: Any, coin: str, token: dict[str, Any], watcher: Any) -> None:
    """A transaction that fails moves nothing, and its fee is paid."""
    bob, carol = anvil.accounts[1:3]
    data = call(token, "transfer(address,uint256)", carol, 1)  # bob has none
    receipt = await anvil.send(**{"from": bob, "to": coin, "data": data, "gasPrice": hex(10**10)})
    assert receipt["status"] == "0x0"
    chain = watcher(anvil.url, watch=[bob, carol])
    head = await chain.head()
    block = await chain.block(head.number)
    (fee,) = block.transfers
    assert (fee.kind, fee.value) == (TransferKind.FEE, int(receipt["gasUsed"], 16) * 10**10)
    assert block.transfers_seen == 0
    native = ((bob, ETHER), (carol, f"{CHAIN}/erc20:{coin}"))
    assert list((await chain.balances(native, head)).values()) == [10**22 - fee.value, 0]


async def test_forged_and_malformed_events(anvil: Any, coin: str, token: dict[str, Any], watcher: Any) -> None:
    """Events of a hostile contract: nothing of value zero, odd shapes are counted, an ERC-721 is one token."""
    alice, bob = anvil.accounts[:2]

    async def emit(*topics: str, data: str = "") -> Any:
        body = word(0x40) + word(0x60 + 32 * len(topics)) + word(len(topics)) + "".join(topics)
        body += word(len(data) // 2) + data.ljust(-(-len(data) // 64) * 64, "0")
        selector = token["methods"]["emitRaw(bytes32[],bytes)"]
        receipt = await anvil.send(**{"from": alice, "to": coin, "data": "0x" + selector + body})
        assert receipt["status"] == "0x1", receipt
        return await chain.block(int(receipt["blockNumber"], 16))

    chain = watcher(anvil.url, watch=[bob])
    zero = await emit(TRANSFER, word(bob), word(alice), data=word(0))
    assert ([t.value for t in zero.transfers], zero.transfers_seen, zero.undecoded) == ([0], 0, ())
    nft = await emit(TRANSFER, word(bob), word(alice), word(99))
    assert [(t.asset, t.value) for t in nft.transfers] == [(f"{CHAIN}/erc721:{coin}", 1)]
    for topics, data in (((TRANSFER,), word(bob) * 2), ((TRANSFER, word(bob), word(alice)), "00" * 5)):
        odd = await emit(*topics, data=data)
        assert odd.transfers == () and len(odd.undecoded) == 1


async def test_internal_transfers_without_traces_are_a_blind_spot(
    anvil: Any, coin: str, token: dict[str, Any], watcher: Any
) -> None:
    """Ether that a contract pays out is in the traces; without them it is not seen, and every block says so."""
    alice, bob = anvil.accounts[:2]
    await anvil.send(**{"from": alice, "to": coin, "value": hex(500)})
    await anvil.send(**{"from": alice, "to": coin, "data": call(token, "payOut(address,uint256)", bob, 500)})
    chain = watcher(anvil.url, watch=[bob], options={"traces": "off"})
    head = await chain.head()
    block = await chain.block(head.number)
    assert block.transfers == () and block.blind_spots == ("internal transfers",)
    seen = await watcher(anvil.url, watch=[bob]).block(head.number)
    assert [(t.kind, t.from_addresses, t.value) for t in seen.transfers] == [("internal", (coin,), 500)]
    assert seen.blind_spots == ()
    assert (await chain.balances([(bob, ETHER)], head))[bob, ETHER] == 10**22 + 500


async def test_many_in_one_block(anvil: Any, coin: str, token: dict[str, Any], watcher: Any) -> None:
    """Transfers of one block keep the block's order, places do not repeat, and the balances agree with them."""
    alice, bob, *_ = anvil.accounts
    asset = f"{CHAIN}/erc20:{coin}"
    await anvil.rpc("evm_setAutomine", False)
    for value in range(1, 21):
        data = call(token, "transfer(address,uint256)", bob, value)
        what = {"to": coin, "data": data} if value % 2 else {"to": bob, "value": hex(value)}
        await anvil.rpc("eth_sendTransaction", {"gas": "0x20000", "from": alice, **what})
    await anvil.rpc("evm_mine")
    chain = watcher(anvil.url, watch=[bob])
    head = await chain.head()
    block = await chain.block(head.number)
    assert [t.value for t in block.transfers] == list(range(1, 21))
    assert [t.tx.index for t in block.transfers] == list(range(20))
    assert [t.index for t in block.transfers] == sorted({t.index for t in block.transfers})
    before = BlockRef(CHAIN, head.number - 1, block.parent_hash)
    wanted = [(bob, ETHER), (bob, asset)]
    then, now = await chain.balances(wanted, before), await chain.balances(wanted, head)
    grown = [now[item] - then[item] for item in wanted]
    assert grown == [sum(range(2, 21, 2)), sum(range(1, 21, 2))]


async def test_balances_at_block_hash(anvil: Any, coin: str, token: dict[str, Any], watcher: Any) -> None:
    """Balances are those after the named block, whatever came later; unknown blocks and contracts give None."""
    alice, bob = anvil.accounts[:2]
    asset, nothing = f"{CHAIN}/erc20:{coin}", f"{CHAIN}/erc20:{bob}"
    chain = watcher(anvil.url)
    before = await chain.head()
    await anvil.send(**{"from": alice, "to": coin, "data": call(token, "transfer(address,uint256)", bob, 5)})
    after = await chain.head()
    wanted = [(alice, asset), (bob, asset), (bob, ETHER), (bob, nothing)]
    assert list((await chain.balances(wanted, before)).values()) == [SUPPLY, 0, 10**22, None]
    assert list((await chain.balances(wanted, after)).values()) == [SUPPLY - 5, 5, 10**22, None]
    unknown = BlockRef(CHAIN, after.number, "0x" + "ee" * 32)
    assert list((await chain.balances([(bob, ETHER)], unknown)).values()) == [None]


async def test_reorganised_block(anvil: Any, watcher: Any) -> None:
    """After a reorganisation the same number is another block, and the old hash has no balances."""
    alice, bob = anvil.accounts[:2]
    chain = watcher(anvil.url, watch=[bob])
    await anvil.send(**{"from": alice, "to": bob, "value": "0x9"})
    old = await chain.block((await chain.head()).number)
    await anvil.rpc("anvil_reorg", 1, [])
    new = await chain.block(old.ref.number)
    assert [t.value for t in old.transfers] == [9]
    assert (new.transfers, new.parent_hash) == ((), old.parent_hash)
    assert new.ref.hash != old.ref.hash


async def test_block_that_is_not_there(anvil: Any, watcher: Any) -> None:
    """A block beyond the head is ChainUnavailable."""
    chain = watcher(anvil.url)
    with pytest.raises(ChainUnavailable, match="has no block 7 yet"):
        await chain.block(7)


async def test_wrong_chain_id(start_anvil: Callable[..., Awaitable[Any]], anvil: Any, watcher: Any) -> None:
    """An endpoint of another chain is refused when opening, over HTTP and over a socket; others go on without it."""
    other = await start_anvil("--chain-id", "5")
    for url in (other.url, other.ws):
        with pytest.raises(ChainError) as caught:
            await watcher(url).open()
        assert str(caught.value) == f"endpoint {redact(url)} serves eip155:5, configuration says {CHAIN}"
        chain = watcher(url, anvil.url)
        await chain.open()
        assert (await chain.head()).number == 0
        assert [state.circuit for state in chain.endpoints()] == ["quarantined", "closed"]


async def test_killed_endpoint(anvil: Any, watcher: Any) -> None:
    """A node that died is ChainUnavailable, named in one line."""
    chain = watcher(anvil.url)
    await chain.open()
    await anvil.kill()
    with pytest.raises(ChainUnavailable, match=rf"eth_getBlockByNumber: 127\.0\.0\.1:{anvil.port}: connection refused"):
        await chain.head()


async def test_rotation_to_the_second_endpoint(
    start_anvil: Callable[..., Awaitable[Any]], anvil: Any, watcher: Any
) -> None:
    """When the first node dies the second one answers."""
    second = await start_anvil()
    await second.rpc("anvil_mine", "0x3")
    chain = watcher(anvil.url, second.url)
    await chain.open()
    assert ((await chain.head()).number, (await chain.block(0)).source) == (0, redact(anvil.url))
    await anvil.kill()
    assert ((await chain.head()).number, (await chain.block(0)).source) == (3, redact(second.url))


@pytest.mark.parametrize("alone", [True, False])
async def test_wake_by_subscription(alone: bool, anvil: Any, watcher: Any) -> None:
    """A new block wakes at once, long before the poll interval, with and without an HTTP endpoint beside the socket."""
    chain = watcher(*([] if alone else [anvil.url]), anvil.ws, watch=[anvil.accounts[1]], poll_seconds=3600.0)
    await chain.open()
    async with asyncio.timeout(20):
        waiting = asyncio.create_task(chain.wake())
        await anvil.send(**{"from": anvil.accounts[0], "to": anvil.accounts[1], "value": "0x1"})
        await waiting
        assert [t.value for t in (await chain.block(1)).transfers] == [1]


async def test_dead_subscription_means_polling(anvil: Any, watcher: Any) -> None:
    """When the socket dies, `wake` still returns at the poll interval."""
    chain = watcher(anvil.ws, poll_seconds=0.05)
    await chain.open()
    await anvil.kill()
    async with asyncio.timeout(20):
        for _ in range(5):
            await chain.wake()
    with pytest.raises(ChainUnavailable):
        await chain.head()
