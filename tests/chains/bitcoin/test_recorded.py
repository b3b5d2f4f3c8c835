"""The loopback node of the Bitcoin family: what it serves is a chain to the last bit, and a watcher follows it."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from decimal import Decimal
from random import Random
from typing import Any

import aiohttp
import msgspec
import pytest

from chains.base import BlockConnected, BlockDisconnected, ChainEvent, ChainSpec
from chains.bitcoin.base import outpoint_text
from chains.bitcoin.block import parse_block, parse_tx
from chains.bitcoin.build import build_block, build_coinbase, build_tx
from chains.bitcoin.history import BitcoinHistory
from chains.bitcoin.script import script_of
from chains.bitcoin.watcher import BitcoinChain
from chains.follow import Follower
from chains.recorded.bitcoin import Draft, Move, RecordedBitcoinServer, Recording
from chains.recorded.pace import Pace
from monitor.errors import ChainError, ChainInconsistent, ChainUnavailable
from monitor.made_addresses import made_address
from monitor.model import Block, BlockRef
from monitor.networks import Network, by_name

T0 = 1_536_914_007
COIN = 100_000_000
NAMES = ("bitcoin", "bitcoin-cash", "litecoin", "dogecoin", "monacoin", "litecoin-regtest", "bitcoin-regtest")


def network_of(name: str) -> Network:
    network = by_name(name)
    assert network is not None
    return network


def people(network: Network) -> tuple[str, str, str]:
    """Victim, thief and a customer."""
    victim, thief, customer = (made_address(network, who) for who in ("victim", "thief", "customer"))
    return victim, thief, customer


def theft(network: Network) -> list[Draft]:
    """A quiet block, ordinary traffic, the theft of everything."""
    victim, thief, customer = people(network)
    return [
        Draft(T0),
        Draft(T0 + 600, (Move(((victim, 4 * COIN),), ((customer, COIN), (victim, 3 * COIN)), "pay"),)),
        Draft(T0 + 1200, (Move(((customer, 2 * COIN),), ((victim, 2 * COIN),), "deposit"),)),
        Draft(T0 + 1800, (Move(((victim, 11 * COIN),), ((thief, 11 * COIN),), "theft"),)),
    ]


def recorded(name: str = "bitcoin", **options: Any) -> Recording:
    network = network_of(name)
    return Recording(network, theft(network), opening={people(network)[0]: 10 * COIN}, **options)


def spec(recording: Recording, *urls: str, **fields: Any) -> ChainSpec:
    options: dict[str, Any] = {"poll_seconds": 0.001, "timeout_seconds": 5.0, "replay": True, **fields}
    network = recording.network
    return ChainSpec(network.name, "bitcoin", network.chain, urls, network=network, **options)


@contextlib.asynccontextmanager
async def opened(chain: BitcoinChain) -> AsyncIterator[BitcoinChain]:
    try:
        await chain.open()
        yield chain
    finally:
        await chain.aclose()


async def follow(
    chain: BitcoinChain, until: Callable[[list[ChainEvent]], bool], tip: BlockRef | None = None,
    held: Sequence[BlockRef] = (), start: int | None = None,
) -> list[ChainEvent]:  # fmt: skip
    """Events until there are enough."""
    by_number = {ref.number: ref for ref in held}

    async def ancestor(number: int) -> BlockRef | None:
        return by_number.get(number)

    events: list[ChainEvent] = []
    follower = Follower(chain, tip=tip, ancestor=ancestor, start=start)
    async with asyncio.timeout(30), contextlib.aclosing(follower.events()) as stream:
        async for event in stream:
            events.append(event)
            if until(events):
                break
    return events


def blocks_in(events: Sequence[ChainEvent]) -> list[Block]:
    return [event.block for event in events if isinstance(event, BlockConnected)]


class Client:
    """Calls by hand, as they go over the wire."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session, self._url = session, url
        self._decode = msgspec.json.Decoder(strict=True, float_hook=Decimal).decode

    async def post(self, body: Any) -> tuple[int, Any]:
        data = body if isinstance(body, bytes) else msgspec.json.encode(body)
        async with self._session.post(self._url, data=data) as answer:
            return answer.status, self._decode(await answer.read())

    async def call(self, method: str, *params: Any) -> Any:
        status, reply = await self.post({"id": 7, "method": method, "params": params})
        assert (status, reply["error"], reply["id"]) == (200, None, 7), reply
        return reply["result"]

    async def error(self, method: str, *params: Any) -> tuple[int, int]:
        """Status and code."""
        status, reply = await self.post({"id": 8, "method": method, "params": params})
        assert reply["result"] is None and reply["error"]["message"]
        return status, reply["error"]["code"]


@contextlib.asynccontextmanager
async def client(server: RecordedBitcoinServer) -> AsyncIterator[Client]:
    async with aiohttp.ClientSession() as session:
        yield Client(session, server.url)


def everything() -> Pace:
    return Pace(manual=True)


# -- construction ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_blocks_are_whole(name: str) -> None:
    """Merkle root, links and heights hold everywhere; so does the work where a network is content with that much."""
    recording = recorded(name)
    network = recording.network
    is_easy = network.params.get("easiest") == 255
    parent = recording.identity
    for height, block in enumerate(recording.blocks, recording.base):
        raw = parse_block(block.data, network, check_work=is_easy)
        assert (raw.header.parent, raw.header.hash, block.number) == (parent, block.hash, height)
        parent = block.hash
    assert recording.base == network.params.get("at", 0) + 1
    assert recording.identity.startswith(network.chain.partition(":")[2]) and len(recording.identity) == 64


def test_payments_are_what_history_knows() -> None:
    """No change and no fee appear: the theft has one output, and its inputs add up to it."""
    recording = recorded()
    victim, thief, _ = people(recording.network)
    stolen = recording.blocks[3].raw.txs[1]
    assert stolen.hash == recording.names["theft"]
    assert stolen.output_values == [11 * COIN]
    assert stolen.output_scripts == [script_of(thief, recording.network)]
    spent = [recording.blocks[3].prevouts[point] for point in stolen.outpoints]
    assert sum(coin.value for coin in spent) == 11 * COIN
    assert {coin.script for coin in spent} == {script_of(victim, recording.network)}
    paid = recording.blocks[1].raw.txs[1]
    assert sum(paid.output_values) == 4 * COIN and paid.output_values[0] == COIN


def test_random_traffic_never_spends_a_coin_twice_or_from_nowhere() -> None:
    """Every input spends a coin that is there, of its own address; sums of coins are balances at every block."""
    network = network_of("bitcoin")
    rng = Random(5)
    everybody = [made_address(network, str(n)) for n in range(6)]
    opening = {who: rng.randrange(0, 50) for who in everybody[:4]}
    drafts = []
    for n in range(60):
        moves = []
        for _ in range(rng.randrange(4)):
            payers = rng.sample(everybody, rng.randrange(1, 4))
            inputs = tuple((who, rng.randrange(1, 30)) for who in payers)
            left = sum(value for _, value in inputs)
            outputs = []
            while left:
                value = min(left, rng.randrange(1, 25))
                outputs.append((rng.choice(everybody), value))
                left -= value
            moves.append(Move(inputs, tuple(outputs)))
        drafts.append(Draft(T0 + n, tuple(moves)))
    recording = Recording(network, drafts, opening=opening)
    recording.replace(40, drafts[30:50])  # coins that are there already cannot be cut: change comes back
    before = recording.unspent(0)
    balances: dict[bytes, int] = defaultdict(int)
    for coin in before.values():
        balances[coin.script] += coin.value
    assert all(balances[script_of(who, network) or b""] >= value for who, value in opening.items())
    spent: set[bytes] = set()
    for count, (block, draft) in enumerate(zip(recording.blocks, [*drafts[:40], *drafts[30:50]], strict=True), 1):
        for move, tx in zip(draft.txs, block.raw.txs[1:], strict=True):
            assert isinstance(move, Move) and not spent.intersection(tx.outpoints)
            spent |= set(tx.outpoints)
            assert sum(block.prevouts[point].value for point in tx.outpoints) == sum(tx.output_values)
            for who, value in move.inputs:
                balances[script_of(who, network) or b""] -= value
            for who, value in move.outputs:
                balances[script_of(who, network) or b""] += value
        held: dict[bytes, int] = defaultdict(int)
        for coin in recording.unspent(count).values():
            assert coin.outpoint not in spent
            held[coin.script] += coin.value
        assert held == {script: value for script, value in balances.items() if value} | {
            script: 0 for script, value in balances.items() if not value and script in held
        }


def test_what_cannot_be_recorded_is_refused() -> None:
    """Heights at or below the block that names the network, strangers' addresses, and depths that are not there."""
    network = network_of("bitcoin-cash")
    with pytest.raises(ValueError, match="expected one above 478559"):
        Recording(network, [Draft(T0)], height=478559)
    with pytest.raises(ValueError, match="bech32"):
        Recording(network, [Draft(T0, (Move((("bc1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqy9l3q5", 1),), ()),))])
    with pytest.raises(ValueError, match="no blocks"):
        RecordedBitcoinServer(Recording(network, []))
    with pytest.raises(ValueError, match="expected 0 to 3"):
        RecordedBitcoinServer(recorded(), shown=4).reorg(4, [])
    with pytest.raises(RuntimeError, match="not been started"):
        _ = RecordedBitcoinServer(recorded()).url


# -- over the wire ---------------------------------------------------------------------------------------------------


async def test_the_forms_of_a_block_agree() -> None:
    """Serialised, with hashes, with transactions, with prevouts: the same block; amounts are exact."""
    recording = recorded("monacoin")
    network = recording.network
    async with RecordedBitcoinServer(recording, pace=everything(), shown=4) as server, client(server) as node:
        hash = await node.call("getbestblockhash")
        assert hash == await node.call("getblockhash", recording.base + 3) == recording.blocks[-1].hash
        raw = parse_block(bytes.fromhex(await node.call("getblock", hash, 0)), network, check_work=False)
        named = await node.call("getblock", hash)
        whole, told = await node.call("getblock", hash, 2), await node.call("getblock", hash, 3)
        assert named["tx"] == [tx["txid"] for tx in whole["tx"]] == [tx.hash for tx in raw.txs]
        assert (named["previousblockhash"], named["time"]) == (raw.header.parent, T0 + 1800)
        assert (named["confirmations"], named["nTx"], named["height"]) == (1, 2, recording.base + 3)
        header = await node.call("getblockheader", raw.header.parent)
        assert header["nextblockhash"] == hash and header["confirmations"] == 2
        assert bytes.fromhex(await node.call("getblockheader", hash, False)) == recording.blocks[-1].data[:80]
        assert all("prevout" not in item for tx in whole["tx"] for item in tx["vin"])
        tx = told["tx"][1]
        assert tx["fee"] == Decimal("0.00000000") and tx["vout"][0]["value"] == Decimal("11.00000000")
        assert tx["vout"][0]["scriptPubKey"]["address"] == people(network)[1]
        assert sum(item["prevout"]["value"] for item in tx["vin"]) == 11
        assert {item["prevout"]["scriptPubKey"]["address"] for item in tx["vin"]} == {people(network)[0]}
        text = await node.call("getrawtransaction", tx["txid"])
        assert text == tx["hex"] and parse_tx(bytes.fromhex(text)).hash == tx["txid"]
        verbose = await node.call("getrawtransaction", tx["txid"], True)
        assert (verbose["blockhash"], verbose["confirmations"]) == (hash, 1)
        for item in tx["vin"]:
            spent = parse_tx(bytes.fromhex(await node.call("getrawtransaction", item["txid"])))
            assert Decimal(spent.output_values[item["vout"]]) / COIN == item["prevout"]["value"]
        assert (await node.call("getnetworkinfo"))["version"] == 260000


async def test_errors_are_those_of_core() -> None:
    """Codes and statuses as bitcoind has them, alone and in batches; and nothing before its time."""
    recording = recorded()
    async with RecordedBitcoinServer(recording, pace=everything(), txindex=False) as server, client(server) as node:
        assert await node.error("getblockhash", recording.base + 1) == (500, -8)
        assert await node.error("getblockhash", "1") == (500, -3)
        assert await node.error("getblock", recording.blocks[1].hash) == (500, -5)
        assert await node.error("getblock", "xyz") == (500, -8)
        assert await node.error("getblock") == (500, -1)
        assert await node.error("getrawtransaction", recording.names["theft"]) == (500, -5)
        assert await node.error("scantxoutset", "start", ["pkh(no)"]) == (500, -5)
        assert await node.error("gettxout", "xyz", 0) == (500, -8)
        assert await node.error("submitblock", "00") == (404, -32601)
        assert (await node.post(b"{"))[1]["error"]["code"] == -32700
        assert (await node.post(b"7"))[1]["error"]["code"] == -32600
        asked = [{"id": n, "method": method, "params": []} for n, method in enumerate(("getblockcount", "stop"))]
        status, replies = await node.post(asked)
        assert status == 200 and [reply["id"] for reply in replies] == [0, 1]
        assert replies[0]["result"] == recording.base and replies[1]["error"]["code"] == -32601
        server.faults.warming = True
        assert await node.error("getblockcount") == (500, -28)
        assert server.asked["getblockcount"] == 2


async def test_coins_are_those_of_the_visible_chain() -> None:
    """The set of coins and single ones follow the chain, and what waits to be mined."""
    recording = recorded()
    victim, thief, _ = people(recording.network)
    pace = everything()
    async with RecordedBitcoinServer(recording, pace=pace) as server, client(server) as node:

        async def held(who: str) -> Decimal:
            found = await node.call("scantxoutset", "start", [f"addr({who})"])
            assert found["success"] and found["bestblock"] == server.blocks[-1].hash
            assert found["total_amount"] == sum(coin["amount"] for coin in found["unspents"])
            return Decimal(found["total_amount"])

        sums = []
        for _ in range(4):
            sums.append((await held(victim), await held(thief)))
            await pace.release()
        assert sums == [(10, 0), (9, 0), (11, 0), (0, 11)]
        (coin,) = (await node.call("scantxoutset", "start", [{"desc": f"addr({thief})"}]))["unspents"]
        out = await node.call("gettxout", coin["txid"], coin["vout"])
        assert (out["value"], out["confirmations"], out["coinbase"]) == (11, 1, False)
        point = bytes.fromhex(coin["txid"])[::-1] + coin["vout"].to_bytes(4, "little")
        spend = build_tx([(point, b"\x01\x01", 0xFFFFFFFD, ())], [(COIN, bytes.fromhex(coin["scriptPubKey"]))])
        (waiting,) = server.wait(spend)
        assert await node.call("getrawmempool") == [waiting] == list(await node.call("getrawmempool", True))
        assert await node.call("getrawtransaction", waiting) == spend.hex()
        assert await node.call("gettxout", coin["txid"], coin["vout"]) is None
        assert (await node.call("gettxout", coin["txid"], coin["vout"], False))["value"] == 11
        server.reorg(0, [Draft(T0 + 2400, (spend,), reward=((victim, 5),))])
        assert await node.call("getrawmempool") == [] and await node.call("gettxout", coin["txid"], 0, False) is None
        assert (await held(thief), await held(victim)) == (1, Decimal("0.00000005"))
        server.drop(waiting)
        assert await node.call("scantxoutset", "status") is None


# -- followed --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("prevouts", [True, False])
async def test_a_watcher_follows_a_theft(name: str, prevouts: bool) -> None:
    """Every block once, linked, with the payments of the facts: also from a node that tells no prevouts."""
    recording = recorded(name)
    victim, thief, customer = people(recording.network)
    async with RecordedBitcoinServer(recording, prevouts=prevouts) as server:
        watched = spec(recording, server.url, replay=recording.network.params.get("easiest") != 255)
        async with opened(BitcoinChain(watched, {victim})) as chain:
            events = await follow(chain, lambda seen: len(seen) == 4, start=recording.base)
    blocks = blocks_in(events)
    assert [block.ref.hash for block in blocks] == [block.hash for block in recording.blocks]
    assert [block.timestamp for block in blocks] == [T0, T0 + 600, T0 + 1200, T0 + 1800]
    paid = [t for block in blocks for t in block.transfers if t.to_address != victim]
    assert [(t.to_address, t.value, set(t.from_addresses)) for t in paid] == [
        (customer, COIN, {victim}), (thief, 11 * COIN, {victim}),
    ]  # fmt: skip
    assert all(sum(t.input_values) == value for t, value in zip(paid, (4 * COIN, 11 * COIN), strict=True))
    assert [t.tx.fee for t in paid] == [0, 0]
    assert paid[-1].tx.spends == tuple(outpoint_text(point) for point in recording.blocks[3].raw.txs[1].outpoints)


async def test_history_is_what_was_followed() -> None:
    """Another way to the same blocks: stretches of the past."""
    recording = recorded()
    victim, *_ = people(recording.network)
    async with RecordedBitcoinServer(recording, pace=everything(), shown=4) as server:
        async with opened(BitcoinChain(spec(recording, server.url), {victim})) as chain:
            live = [await chain.block(n) for n in range(1, 5)]
        history = BitcoinHistory(spec(recording, server.url), {victim}, rate=1e6)
        try:
            past = await history.history(1, 5)
            assert await history.time_of(2) == T0 + 600
        finally:
            await history.aclose()
    assert past.blocks == tuple(block for block in live if block.transfers)
    assert len(past.blocks) == 3


async def test_balances_at_every_block() -> None:
    """What the watcher says of balances is what the movements leave."""
    recording = recorded()
    victim, *_ = people(recording.network)
    pace = everything()
    asset = recording.network.asset
    async with (
        RecordedBitcoinServer(recording, pace=pace) as server,
        opened(BitcoinChain(spec(recording, server.url), {victim})) as chain,
    ):
        found = []
        for _ in range(4):
            head = await chain.head()
            found.append((await chain.balances([(victim, asset)], head))[victim, asset])
            await pace.release()
    assert found == [10 * COIN, 9 * COIN, 11 * COIN, 0]


async def test_a_reorganisation() -> None:
    """The branch without the theft takes its place; a coin that was spent in vain can be spent again."""
    recording = recorded()
    victim, thief, customer = people(recording.network)
    async with (
        RecordedBitcoinServer(recording, pace=everything(), shown=4) as server,
        opened(BitcoinChain(spec(recording, server.url), {victim})) as chain,
    ):
        old = [(await chain.block(n)).ref for n in range(1, 5)]
        branch = [Draft(T0 + 1900), Draft(T0 + 2500, (Move(((victim, COIN),), ((customer, COIN),)),))]
        server.reorg(1, branch)
        events = await follow(chain, lambda seen: len(seen) == 3, tip=old[-1], held=old)
        server.reorg(2, [Draft(T0 + 1800, theft(recording.network)[3].txs)], shown=0)
        assert (await chain.head()).number == 3
        await server.pace.release()
        again = await chain.block(4)
    assert [event.ref for event in events if isinstance(event, BlockDisconnected)] == [old[3]]
    new = blocks_in(events)
    assert [block.ref.number for block in new] == [4, 5] and new[0].parent_hash == old[2].hash
    values = {t.to_address: t.value for t in new[1].transfers}
    assert values[customer] == COIN and thief not in values
    change = [t.value for t in new[1].transfers if t.to_address == victim]
    assert sum(new[1].transfers[0].input_values) == COIN + sum(change)
    assert again.ref.hash not in {ref.hash for ref in old}  # the same theft in another block
    assert [t.value for t in again.transfers if t.to_address == thief] == [11 * COIN]


@pytest.mark.parametrize("name", ["bitcoin", "bitcoin-cash", "monacoin"])
async def test_the_identity_of_the_network_holds_at_any_height(name: str) -> None:
    """The block that names the network is told however far above it the recording begins; another one is refused."""
    recording = recorded(name, height=541_368)
    async with RecordedBitcoinServer(recording, pace=everything()) as server:
        async with opened(BitcoinChain(spec(recording, server.url), set())) as chain:
            assert (await chain.head()).number == 541_368
        server.faults.wrong_chain = True
        chain = BitcoinChain(spec(recording, server.url), set())
        with pytest.raises(ChainError, match="serves another chain"):
            async with opened(chain):
                pass


async def quick(_: float) -> None:
    await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("fault", "value", "error", "words"),
    [
        ("corrupt", True, ChainInconsistent, "block 2"),
        ("warming", True, ChainUnavailable, "Loading block index"),
        ("http_status", 503, ChainUnavailable, "503"),
        ("stall", True, ChainUnavailable, "no answer within 0.2 s"),
        ("unsupported", {"getblockchaininfo"}, ChainUnavailable, "Method not found"),
    ],
)
async def test_faults(fault: str, value: Any, error: type[ChainError], words: str) -> None:
    """A damaged block, a node that loads, one that answers nothing or a status: the errors that readers expect."""
    recording = recorded()
    victim, *_ = people(recording.network)
    async with (
        RecordedBitcoinServer(recording, pace=everything(), shown=4) as server,
        opened(BitcoinChain(spec(recording, server.url, timeout_seconds=0.2), {victim}, sleep=quick)) as chain,
    ):
        assert (await chain.block(2)).transfers
        setattr(server.faults, fault, value)
        with pytest.raises(error, match=words):
            await (chain.block(2) if fault == "corrupt" else chain.head())


async def test_a_node_that_was_down_comes_back_on_its_port() -> None:
    """Stopped, it refuses connections; started again, it is at the same address with the same chain."""
    recording = recorded()
    async with RecordedBitcoinServer(recording, pace=everything(), shown=4) as server:
        url = server.url
        async with client(server) as node:
            before = await node.call("getbestblockhash")
        await server.stop()
        await server.stop()
        async with client(server) as node:
            with pytest.raises(aiohttp.ClientConnectionError):
                await node.call("getbestblockhash")
        await server.start()
        async with client(server) as node:
            assert (server.url, await node.call("getbestblockhash")) == (url, before)


async def test_prevouts_that_nobody_tells_are_a_blind_spot_of_history_alone() -> None:
    """Without undo data and index, a live watcher knows the coins that it read; history says what it cannot see."""
    recording = recorded()
    victim, thief, _ = people(recording.network)
    asset = recording.network.asset
    async with RecordedBitcoinServer(recording, pace=everything(), prevouts=False, txindex=False) as server:
        server.faults.mute = True
        async with opened(BitcoinChain(spec(recording, server.url), {victim})) as chain:
            await chain.balances([(victim, asset)], await chain.head())
            await server.pace.release(3)
            live = [await chain.block(n) for n in range(1, 5)]
        assert [t.value for t in live[3].transfers if t.to_address == thief] == [11 * COIN]
        assert live[3].blind_spots == () and {block.ref.number for block in live if block.blind_spots} <= {3}
        history = BitcoinHistory(spec(recording, server.url), {victim}, rate=1e6)
        try:
            past = await history.history(1, 5)
        finally:
            await history.aclose()
    assert any("inputs" in spot for spot in past.blind_spots)


def test_a_block_by_hand_is_the_one_that_is_recorded() -> None:
    """The construction agrees with one made from its parts."""
    recording = recorded("litecoin-regtest")
    block = recording.blocks[3]
    coinbase = build_coinbase(block.number, [(0, b"\x6a")], (), bytes(4))
    data = build_block(recording.blocks[2].hash, T0 + 1800, [coinbase, block.raw.txs[1].raw], kind="scrypt")
    assert data == block.data
