"""The watcher on a real node: blocks, coins, balances carried to the block that was asked about, reorganisations."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from typing import Any

import pytest
import pytest_asyncio

from chains.base import BlockConnected, BlockDisconnected, ChainSpec
from chains.bitcoin.balances import Balances, net
from chains.bitcoin.base import Coin, Unspent
from chains.bitcoin.history import BitcoinHistory
from chains.bitcoin.watched import WatchedScripts
from chains.bitcoin.watcher import BitcoinChain
from chains.follow import Follower
from monitor.errors import ChainUnavailable, ConfigError
from monitor.model import Block, BlockRef, TxFlag
from monitor.networks import by_name

NETWORK = by_name("litecoin-regtest")
assert NETWORK is not None
COIN = 100_000_000


@pytest.fixture(scope="module")
def node(litecoind: Callable[..., Any]) -> Any:
    """A node with coins to spend."""
    node = litecoind(txindex=True)
    node.mine(130)
    return node


def spec(node: Any, **more: Any) -> ChainSpec:
    """How to reach a node."""
    return ChainSpec("ltc", "bitcoin", NETWORK.chain, (node.url,), **more)


@pytest_asyncio.fixture
async def watcher(node: Any) -> AsyncIterator[Callable[..., BitcoinChain]]:
    """Make watchers of addresses; each is closed."""
    made: list[BitcoinChain] = []

    def make(*addresses: str) -> BitcoinChain:
        made.append(BitcoinChain(spec(node), dict.fromkeys(addresses)))
        return made[-1]

    yield make
    for chain in made:
        await chain.aclose()


@pytest.mark.parametrize("form", ["legacy", "p2sh-segwit", "bech32"])
async def test_payment_in_and_out(node: Any, watcher: Any, form: str) -> None:
    """What arrives and what leaves is what the node says, to the last unit, for each form of address."""
    address = node.rpc("getnewaddress", "", form)
    chain = watcher(address)
    await chain.open()
    hash = node.pay({address: Decimal("1.23456789")})
    node.mine(1)
    block = await chain.block(node.height)
    arrived = next(t for t in block.transfers if t.to_address == address)
    assert (arrived.value, arrived.tx.hash) == (123_456_789, hash) and arrived.from_addresses
    told = node.rpc("gettransaction", hash)
    assert arrived.tx.fee == int(-told["fee"] * COIN)
    assert arrived.tx.fee_rate == pytest.approx(arrived.tx.fee / node.rpc("getrawtransaction", hash, True)["vsize"])
    coin = next(n for n in node.rpc("listunspent", 1, 999, [address]))
    raw = node.rpc(
        "createrawtransaction", [{"txid": coin["txid"], "vout": coin["vout"]}], [{node.miner: "1.23"}]
    )
    spent = node.rpc("sendrawtransaction", node.rpc("signrawtransactionwithwallet", raw)["hex"], 0)
    node.mine(1)
    block = await chain.block(node.height)
    (left,) = block.transfers
    assert (left.tx.hash, left.from_addresses, left.input_values) == (spent, (address,), (123_456_789,))
    assert (left.to_address, left.value, left.tx.fee) == (node.miner, 123_000_000, 456_789)
    assert left.tx.spends == (f"{coin['txid']}:{coin['vout']}",)
    kinds = {"legacy": "p2pkh", "p2sh-segwit": "p2sh", "bech32": "p2wpkh"}
    assert left.tx.script_type == kinds[form] and block.blind_spots == ()


async def test_new_coins(node: Any, watcher: Any) -> None:
    """A miner's reward has no sender, and says what it is."""
    address = node.rpc("getnewaddress", "", "bech32")
    chain = watcher(address)
    node.mine(1, address)
    block = await chain.block(node.height)
    reward = next(t for t in block.transfers if t.to_address == address)
    assert reward.from_addresses == () and TxFlag(reward.tx.flags) & TxFlag.COINBASE and reward.tx.fee is None


async def test_balances_at_the_block_that_is_asked_about(node: Any, watcher: Any) -> None:
    """Coins are those of the node's tip; what moved since a lower block is taken back."""
    address = node.rpc("getnewaddress", "", "bech32")
    chain = watcher(address)
    await chain.open()
    refs = []
    for part in ("1", "2", "4"):
        node.pay({address: Decimal(part)})
        node.mine(1)
        refs.append((await chain.head(), part))
    found = [await chain.balances([(address, NETWORK.asset)], ref) for ref, _ in refs]
    assert [answer[address, NETWORK.asset] for answer in found] == [COIN, 3 * COIN, 7 * COIN]
    other = BlockRef(NETWORK.chain, refs[1][0].number, "00" * 32)
    assert (await chain.balances([(address, NETWORK.asset)], other))[address, NETWORK.asset] is None
    assert (await chain.balances([(address, "x/other")], refs[2][0]))[address, "x/other"] is None


async def test_following_a_reorganisation(node: Any, watcher: Any) -> None:
    """A node that gives up two blocks for three: those are disconnected, these connected, each on its parent."""
    address = node.rpc("getnewaddress", "", "bech32")
    node.mine(1)
    chain = watcher(address)
    await chain.open()

    async def nothing(_: int) -> None:
        return None

    follower = Follower(chain, tip=await chain.head(), ancestor=nothing)
    events = follower.events()
    node.pay({address: Decimal(1)})
    gone = node.mine(2)
    seen = [await anext(events), await anext(events)]
    assert [event.block.ref.hash for event in seen] == gone and len(seen[0].block.transfers) >= 1
    node.rpc("invalidateblock", gone[0])
    new = node.mine(3, node.rpc("getnewaddress"))
    back = [await anext(events) for _ in range(5)]
    assert [e.ref.hash for e in back if isinstance(e, BlockDisconnected)] == gone[::-1]
    assert [e.block.ref.hash for e in back if isinstance(e, BlockConnected)] == new
    again = next(e for e in back if isinstance(e, BlockConnected))
    assert any(t.to_address == address for t in again.block.transfers)
    await events.aclose()


async def test_history_is_what_the_watcher_reads(node: Any, watcher: Any) -> None:
    """Past blocks equal those of the watcher, with the hashes and times of all of them."""
    address = node.rpc("getnewaddress", "", "bech32")
    for part in ("1", "2"):
        node.pay({address: Decimal(part)})
        node.mine(2)
    chain, history = watcher(address), BitcoinHistory(spec(node), {address: None}, 1000.0)
    first, end = node.height - 5, node.height + 1
    stretch = await history.history(first, end)
    blocks = [await chain.block(number) for number in range(first, end)]
    assert stretch.blocks == tuple(block for block in blocks if block.transfers) and len(stretch.blocks) == 2
    assert stretch.headers == tuple((block.ref.hash, block.timestamp) for block in blocks)
    assert (stretch.first, stretch.parent_hash, stretch.last) == (blocks[0].ref, blocks[0].parent_hash, blocks[-1].ref)
    assert await history.time_of(first) == blocks[0].timestamp
    with pytest.raises(ChainUnavailable):
        await history.history(node.height, node.height + 3)
    await history.aclose()


def test_other_families() -> None:
    """A chain of another family is an error of the configuration."""
    with pytest.raises(ConfigError, match="Bitcoin family"):
        BitcoinChain(ChainSpec("x", "bitcoin", "eip155:1", ("http://node",)), {})


# -- balances, where coins come late: a source that is made up --------------------------------------------------------

SCRIPT = b"\x00\x14" + b"\x05" * 20


def ref(number: int, branch: str = "a") -> BlockRef:
    """A block of a made-up chain."""
    return BlockRef(NETWORK.chain, number, branch * 63 + str(number % 10))


class Late:
    """Tells coins when it is let."""

    def __init__(self, at: BlockRef, value: int) -> None:
        self.found: Unspent | None = Unspent(at, (Coin(b"\x01" * 36, value, SCRIPT, 1),))
        self.go = asyncio.Event()

    async def unspent(self, scripts: Any) -> Unspent | None:
        """After `go`."""
        assert set(scripts) == {SCRIPT}
        await self.go.wait()
        return self.found


def block(number: int, branch: str = "a") -> Block:
    """A block without transfers."""
    return Block(ref(number, branch), ref(number - 1, branch).hash, 0)


async def test_a_late_answer_comes_with_the_next_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """A question is not waited for long; the answer comes along with the next block, once."""
    monkeypatch.setattr("chains.bitcoin.balances.PATIENCE", 0.0)
    source, learnt = Late(ref(10), 500), []

    async def read(number: int) -> Block:
        return block(number)

    watched = WatchedScripts({(address := _address()): None}, NETWORK)
    balances = Balances("ltc", source, watched, read, learnt.extend, lambda: 0.0)  # type: ignore[arg-type]
    assert await balances.of([address], ref(10)) == {address: None} and not balances.owes
    source.go.set()
    for _ in range(10):  # the task reads, learns and ends within a few turns of the loop
        await asyncio.sleep(0)
    assert await balances.before(block(12), "coin") == ((address, "coin", 500),)
    assert await balances.before(block(13), "coin") == ()
    assert await balances.before(block(12), "coin") == ((address, "coin", 500),)  # read again
    assert [coin.value for coin in learnt] == [500]
    assert await balances.of([address], ref(9)) == {address: 500}
    assert await balances.of([address], ref(9, "b")) == {address: None}  # another branch: not theirs
    await balances.aclose()


def _address() -> str:
    from chains.bitcoin.script import address_of

    return address_of(SCRIPT, NETWORK)


def test_net_counts_inputs_once() -> None:
    """A transaction of two outputs has its inputs on both."""
    from chains.bitcoin.base import Prevout
    from chains.bitcoin.block import parse_tx
    from chains.bitcoin.build import build_tx
    from chains.bitcoin.transfers import Spent, transfers_of

    point = b"\x07" * 32 + bytes(4)
    tx = parse_tx(build_tx([(point, b"\x51", 0, ())], [(30, SCRIPT), (60, b"\x51")]))
    moved = transfers_of(tx, ref(1), 0, 0, Spent({point: Prevout(100, SCRIPT)}), {_address()}, NETWORK)
    assert net(Block(ref(1), "", 0, moved))[_address()] == 30 - 100
