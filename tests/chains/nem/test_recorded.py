"""The NEM watcher against a loopback NIS1 node: linear following, reorgs, failures, both forms of its API."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest

from chains.base import BlockConnected, BlockDisconnected, ChainEvent, ChainSpec
from chains.follow import Follower
from chains.nem.nodes import with_port as _with_port
from chains.nem.watcher import NemChain
from chains.recorded.nem import Move, RecordedNemServer, construct, made_up_key, make_block
from chains.recorded.nem_blocks import Recording, block_hash
from chains.recorded.pace import Pace
from monitor.addresses.nem import of_public_key
from monitor.errors import ChainError, ChainInconsistent, ChainUnavailable, ConfigError
from monitor.model import BlockRef, TransferKind
from monitor.networks import by_name

VICTIM = "NC3BI3DNMR2PGEOOMP2NKXQGSAKMS7GYRKVA5CSZ"
THIEF = "NC4C6PSUW5CLTDT5SXAGJDQJGZNESKFK5MCN77OG"
KEY = "11" * 32
OWNER = of_public_key(KEY, 0x68)
XEM = "nem:mainnet/slip44:43"
GOLD = "nem:mainnet/mosaic:acme%3Agold"
T0 = 1_516_892_520  # 2018-01-25T15:02:00Z
MOVES = [
    Move(T0, VICTIM, THIEF, 10_000_000),
    Move(T0 + 120, VICTIM, THIEF, 100_000_000_000_000),
    Move(T0 + 120, VICTIM, THIEF, 100_000_000_000_000),
    Move(T0 + 300, VICTIM, THIEF, 20_000_000_000_000),
]


def spec(*urls: str, **fields: Any) -> ChainSpec:
    options: dict[str, Any] = {"chain": "nem:mainnet", "poll_seconds": 0.001, "timeout_seconds": 5.0, **fields}
    return ChainSpec("nem", "nem", endpoints=urls, **options)


@contextlib.asynccontextmanager
async def opened(chain: NemChain) -> AsyncIterator[NemChain]:
    try:
        await chain.open()
        yield chain
    finally:
        await chain.aclose()


async def none_stored(_: int) -> BlockRef | None:
    return None


async def follow(chain: NemChain, until: Callable[[list[ChainEvent]], bool]) -> list[ChainEvent]:
    """Events from the first head on, until there are enough."""
    events: list[ChainEvent] = []
    follower = Follower(chain, tip=None, ancestor=none_stored)
    async with asyncio.timeout(30), contextlib.aclosing(follower.events()) as stream:
        async for event in stream:
            events.append(event)
            if until(events):
                break
    return events


def connected(events: list[ChainEvent]) -> list[int]:
    return [e.block.ref.number for e in events if isinstance(e, BlockConnected)]


def values(events: list[ChainEvent]) -> list[int]:
    """XEM moved, fees apart, in order."""
    blocks = [e.block for e in events if isinstance(e, BlockConnected)]
    return [t.value for b in blocks for t in b.transfers if t.kind is TransferKind.NATIVE]


def replay(recording: Recording, server: RecordedNemServer, **fields: Any) -> ChainSpec:
    return spec(server.url, replay=True, options={"signers": dict(recording.signers)}, **fields)


@pytest.mark.parametrize("local_api", [False, True])
async def test_follows_a_theft(local_api: bool) -> None:
    """Every block comes once, linked, at the times and under the addresses of the facts, in both API forms."""
    recording = construct(MOVES)
    async with RecordedNemServer(recording, local_api=local_api) as server:
        async with opened(NemChain(replay(recording, server), {VICTIM})) as chain:
            events = await follow(chain, lambda seen: len(seen) == 4)
        assert (server.calls["/local/chain/blocks-after"] > 1) is local_api
        assert server.calls["/block/at/public"] > (6 if not local_api else 0)
    assert connected(events) == [1, 2, 3, 4]
    blocks = [e.block for e in events if isinstance(e, BlockConnected)]
    assert [b.timestamp for b in blocks[1:]] == [T0, T0 + 120, T0 + 300]
    assert [b.parent_hash for b in blocks] == ["0" * 64, *(b.ref.hash for b in blocks[:-1])]
    assert values(events) == [m.value for m in MOVES]
    assert {t.from_addresses for b in blocks for t in b.transfers} == {(VICTIM,)}
    assert blocks[2].transfers_seen == 2 and len({t.tx.hash for t in blocks[2].transfers}) == 2
    assert blocks[0].source == server.url.removeprefix("http://")


async def test_identities_do_not_depend_on_the_api() -> None:
    """An endpoint with the local API and one without describe the same blocks, so either can stand in for the other."""
    rental = {
        "type": 8193, "version": 0x68 << 24 | 1, "timeStamp": 0, "deadline": 9, "fee": 1, "rentalFee": 5,
        "rentalFeeSink": THIEF, "newPart": "x", "parent": None, "signer": KEY, "signature": "aa" * 64,
    }
    recording = construct(MOVES)
    last = make_block(recording.blocks[-1], T0 + 400, [rental])
    recording = Recording(recording.network, (*recording.blocks, last))
    async with contextlib.AsyncExitStack() as stack:
        found = []
        for local_api in (False, True):
            server = RecordedNemServer(recording, local_api=local_api, pace=Pace(manual=True))
            await stack.enter_async_context(server)
            await server._pace.release(9)
            chain = await stack.enter_async_context(opened(NemChain(spec(server.url), {OWNER, THIEF})))
            found.append([await chain.block(n) for n in range(1, 6)])
    for public, local in zip(*found, strict=True):
        assert (public.ref, public.parent_hash) == (local.ref, local.parent_hash)
        assert public.transfers == local.transfers
    assert [t.value for t in found[0][4].transfers] == [5, 1]


@pytest.mark.parametrize("local_api", [False, True])
async def test_reorg(local_api: bool) -> None:
    """A rewritten branch disconnects the old blocks from the top and connects the new ones."""
    recording = construct(MOVES)
    moves = [Move(T0 + at, VICTIM, THIEF, value) for at, value in ((121, 7), (310, 8), (400, 9))]
    other = construct(moves, parent=recording.blocks[1], salt="other")
    pace = Pace(manual=True)
    async with RecordedNemServer(recording, pace=pace, local_api=local_api) as server:
        await pace.release(3)
        async with opened(NemChain(replay(recording, server), {VICTIM})) as chain:
            old = [(await chain.block(n)).ref for n in range(1, 5)]
            tip = old[-1]
            follower = Follower(chain, tip=tip, ancestor=lambda n: _stored(old, n))
            server.reorg(2, other.blocks)
            events: list[ChainEvent] = []
            async with asyncio.timeout(30), contextlib.aclosing(follower.events()) as stream:
                async for event in stream:
                    events.append(event)
                    if len(events) == 5:
                        break
    assert [e.ref for e in events if isinstance(e, BlockDisconnected)] == [old[3], old[2]]
    assert [type(e) for e in events] == [BlockDisconnected] * 2 + [BlockConnected] * 3
    assert connected(events) == [3, 4, 5] and values(events) == [7, 8, 9]
    first = events[2]
    assert isinstance(first, BlockConnected) and first.block.parent_hash == old[1].hash


async def _stored(refs: list[BlockRef], number: int) -> BlockRef | None:
    return refs[number - 1] if 1 <= number <= len(refs) else None


async def test_reorg_between_the_two_readings_never_links() -> None:
    """A block read before a reorg and its parent read after it do not fit the old tip."""
    recording = construct(MOVES)
    other = construct([Move(T0 + 121, VICTIM, THIEF, 7), Move(T0 + 310, VICTIM, THIEF, 8)], parent=recording.blocks[1])
    pace = Pace(manual=True)
    async with RecordedNemServer(recording, pace=pace) as server:
        await pace.release(3)
        async with opened(NemChain(spec(server.url), set())) as chain:
            tip = (await chain.block(3)).ref
            read, at = [], server._at

            def spy(height: int) -> dict[str, Any]:
                answer = at(height)
                read.append(height)
                if len(read) == 1:
                    server.reorg(2, other.blocks)
                return answer

            server._at = spy  # type: ignore[method-assign]
            torn = await chain.block(4)
            assert read == [4, 3]
            assert torn.parent_hash != tip.hash


async def test_node_down_and_up() -> None:
    """While the node is down nothing is lost: following goes on where it was."""
    recording = construct(MOVES)
    pace = Pace(manual=True)
    async with RecordedNemServer(recording, pace=pace) as server:
        await pace.release(1)
        async with opened(NemChain(replay(recording, server), {VICTIM}, sleep=_no_pause)) as chain:
            follower = Follower(chain, tip=None, ancestor=none_stored, start=1)
            events: list[ChainEvent] = []
            async with asyncio.timeout(30), contextlib.aclosing(follower.events()) as stream:
                async for event in stream:
                    events.append(event)
                    if len(events) == 2:
                        await server.stop()
                        with pytest.raises(ChainUnavailable, match=r"127\.0\.0\.1"):
                            await chain.head()
                        await server.start()
                        await pace.release(2)
                    if len(events) == 4:
                        break
    assert connected(events) == [1, 2, 3, 4] and values(events) == [m.value for m in MOVES]


@pytest.mark.parametrize(
    ("served", "wanted", "number"), [("nem-testnet", "nem:mainnet", -104), ("nem", "nem:testnet", 104)]
)
async def test_wrong_network(served: str, wanted: str, number: int) -> None:
    """A node of the other network is refused at opening, naming both networks."""
    network = by_name(served)
    assert network is not None
    recording = construct([Move(T0, KEY, of_public_key(KEY, network.params["network_byte"]), 1)], network=network)
    async with RecordedNemServer(recording) as server:
        chain = NemChain(spec(server.url, chain=wanted), set())
        with pytest.raises(ChainError, match=rf"serves {network.chain} \(networkId {number}\).* {wanted}"):
            async with opened(chain):
                pass
        async with opened(NemChain(spec(server.url, chain=network.chain), set())) as right:
            assert (await right.head()).chain == network.chain


async def test_missing_block_is_unavailable() -> None:
    """A block that the node does not have yet is ChainUnavailable, with either API."""
    for local_api in (False, True):
        pace = Pace(manual=True)
        async with RecordedNemServer(construct(MOVES), pace=pace, local_api=local_api) as server:
            await pace.release(1)
            async with opened(NemChain(spec(server.url), set())) as chain:
                for number in (3, 4, 99):
                    with pytest.raises(ChainUnavailable):
                        await chain.block(number)


async def test_second_endpoint_takes_over() -> None:
    """Where the first endpoint fails the next one answers, and the block's source names it."""
    recording = construct(MOVES)
    async with contextlib.AsyncExitStack() as stack:
        servers = []
        for local_api in (True, False):
            pace = Pace(manual=True)
            servers.append(RecordedNemServer(recording, pace=pace, local_api=local_api))
            await stack.enter_async_context(servers[-1])
            await pace.release(3)
        first, second = servers
        chain = NemChain(spec(first.url, second.url), {THIEF}, sleep=_no_pause)
        await stack.enter_async_context(opened(chain))
        before = await chain.block(3)
        assert first.calls["/local/chain/blocks-after"] == 2 and first.calls["/block/at/public"] == 0
        await first.stop()
        after = await chain.block(3)
        assert [b.source for b in (before, after)] == [s.url.removeprefix("http://") for s in servers]
        assert (before.ref, before.parent_hash, before.transfers) == (after.ref, after.parent_hash, after.transfers)


async def test_contradicting_local_answer_is_read_again() -> None:
    """A local answer whose header does not name the block below it is not accepted."""
    recording = construct(MOVES)
    pace = Pace(manual=True)
    async with RecordedNemServer(recording, pace=pace, local_api=True) as server:
        await pace.release(3)
        server._blocks[3] = {**server._blocks[3], "prevBlockHash": {"data": "ab" * 32}}
        async with opened(NemChain(spec(server.url), set(), sleep=_no_pause)) as chain:
            assert (await chain.block(3)).ref.number == 3
            with pytest.raises(ChainInconsistent, match="does not name block 3"):
                await chain.block(4)


async def test_senseless_answers_are_read_again() -> None:
    """Another block than the one asked for, or no block at all, is never taken; the follower tries again."""
    recording = construct(MOVES)
    pace = Pace(manual=True)
    async with RecordedNemServer(recording, pace=pace) as server:
        await pace.release(3)
        async with opened(NemChain(spec(server.url), set(), sleep=_no_pause)) as chain:
            server._at = lambda height: recording.blocks[1]  # type: ignore[method-assign]
            with pytest.raises(ChainInconsistent, match="asked for block 4, got 2"):
                await chain.block(4)
            server._at = lambda height: {"height": 4}  # type: ignore[method-assign]
            with pytest.raises(ChainInconsistent, match="not a NIS1 block"):
                await chain.block(4)
            server._blocks[3] = {"height": 4, "timeStamp": 0}
            with pytest.raises(ChainInconsistent, match=r"nem: 127\.0\.0\.1:\d+: not a NIS1 block"):
                await chain.head()


async def _no_pause(_: float) -> None:
    await asyncio.sleep(0)


async def test_multisig_over_the_wire() -> None:
    """A multisig's transfer belongs to the account, whoever signed, in both API forms."""
    inner = {
        "type": 257, "version": 0x68 << 24 | 1, "timeStamp": 5, "deadline": 9, "fee": 100, "signer": KEY,
        "recipient": THIEF, "amount": 77, "message": {},
    }
    outer = {
        "type": 4100, "version": 0x68 << 24 | 1, "timeStamp": 5, "deadline": 9, "fee": 20, "signer": "22" * 32,
        "signature": "ab" * 64, "otherTrans": inner, "signatures": [{"fee": 3}],
    }
    base = construct(MOVES[:1])
    blocks = [*base.blocks, make_block(base.blocks[-1], T0 + 60, [outer])]
    for local_api in (False, True):
        pace = Pace(manual=True)
        recording = Recording(base.network, tuple(blocks))
        async with RecordedNemServer(recording, pace=pace, local_api=local_api, balances={OWNER: 1000}) as server:
            await pace.release(2)
            async with opened(NemChain(spec(server.url), {OWNER})) as chain:
                block = await chain.block(3)
                native, fee = block.transfers
                assert (native.from_addresses, native.value, fee.value) == ((OWNER,), 77, 123)
                assert await chain.balances([(OWNER, XEM)], block.ref) == {(OWNER, XEM): 800}


async def test_balances() -> None:
    """XEM and mosaics at the head; None for an older block, another branch, and assets of other chains."""
    gold = {"mosaicId": {"namespaceId": "acme", "name": "gold"}, "quantity": 5}
    token = {
        "type": 257, "version": 0x68 << 24 | 2, "timeStamp": 5, "deadline": 9, "fee": 0, "signer": KEY,
        "recipient": THIEF, "amount": 2_000_000, "message": {}, "mosaics": [gold], "signature": "ab" * 64,
    }
    recording = construct([*MOVES])
    blocks = (*recording.blocks, make_block(recording.blocks[-1], T0 + 400, [token]))
    recording = Recording(recording.network, blocks, recording.signers)
    pace = Pace(manual=True)
    held = 523_000_010_000_000
    async with RecordedNemServer(recording, pace=pace, balances={VICTIM: held}) as server:
        await pace.release(3)
        async with opened(NemChain(replay(recording, server), {VICTIM})) as chain:
            fourth = (await chain.block(4)).ref
            left = held - sum(m.value + m.fee for m in MOVES)
            assert await chain.balances([(VICTIM, XEM)], fourth) == {(VICTIM, XEM): left}
            await pace.release(1)
            assert await chain.balances([(VICTIM, XEM)], fourth) == {(VICTIM, XEM): None}
            fifth = (await chain.block(5)).ref
            wanted = [(THIEF, XEM), (THIEF, GOLD), (VICTIM, GOLD), (THIEF, "eip155:1/slip44:60"),
                      (THIEF, GOLD.replace("mainnet", "testnet"))]
            stolen = sum(m.value for m in MOVES)
            assert list((await chain.balances(wanted, fifth)).values()) == [stolen, 10, 0, None, None]
            elsewhere = BlockRef(fifth.chain, fifth.number, "00" * 32)
            assert await chain.balances([(VICTIM, XEM)], elsewhere) == {(VICTIM, XEM): None}


async def test_balances_after_a_reorg() -> None:
    """The server forgets what the dropped blocks moved."""
    recording = construct(MOVES)
    pace = Pace(manual=True)
    async with RecordedNemServer(recording, pace=pace, balances={VICTIM: 10**15}) as server:
        await pace.release(3)
        async with opened(NemChain(replay(recording, server), {VICTIM})) as chain:
            top = (await chain.block(4)).ref
            assert (await chain.balances([(THIEF, XEM)], top))[THIEF, XEM] == sum(m.value for m in MOVES)
            server.reorg(3, construct([Move(T0 + 1, VICTIM, THIEF, 5)], parent=recording.blocks[0]).blocks)
            top = (await chain.block(2)).ref
            assert (await chain.balances([(THIEF, XEM)], top))[THIEF, XEM] == 5


def test_signers_need_replay() -> None:
    """Showing other addresses than the real ones is refused outside replays, and bad entries are all reported."""
    with pytest.raises(ConfigError, match="replay: true"):
        NemChain(spec("http://127.0.0.1:1", options={"signers": {KEY: VICTIM}}), set())
    bad = {"12": VICTIM, KEY: "NOBODY", "33" * 32: VICTIM}
    with pytest.raises(ConfigError) as caught:
        NemChain(spec("http://127.0.0.1:1", replay=True, options={"signers": bad}), set())
    assert len(caught.value.problems) == 2
    with pytest.raises(ConfigError, match="must map"):
        NemChain(spec("http://127.0.0.1:1", replay=True, options={"signers": [KEY]}), set())


def test_chain_must_be_nem() -> None:
    """Another family's chain is a configuration error."""
    with pytest.raises(ConfigError, match="expected nem:mainnet"):
        NemChain(spec("http://127.0.0.1:1", chain="eip155:1"), set())


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://node.example", "http://node.example:7890"),
        ("https://node.example/", "https://node.example:7891/"),
        ("https://node.example:443", "https://node.example:443"),
        ("http://user:pw@[::1]/x?k=v", "http://user:pw@[::1]:7890/x?k=v"),
        ("ftp://node.example", "ftp://node.example"),
        ("http://node:port", "http://node:port"),
    ],
)
def test_default_port(url: str, expected: str) -> None:
    """An endpoint without a port means NIS1's."""
    assert _with_port(url) == expected


# The builder


def test_construct_groups_by_slot() -> None:
    """Moves of one minute share a block at the time of the last; quiet minutes are left out, or filled as asked."""
    moves = [Move(T0 + 50, KEY, THIEF, 2), Move(T0 + 10, KEY, THIEF, 1), Move(T0 + 600, KEY, THIEF, 3)]
    blocks = construct(moves).blocks
    assert [b["height"] for b in blocks] == [1, 2, 3]
    assert [tx["amount"] for tx in blocks[1]["transactions"]] == [1, 2]
    assert blocks[1]["timeStamp"] + 1427587585 == T0 + 50
    assert len(construct(moves, quiet=99).blocks) == 1 + 11
    some = construct(moves, quiet=2).blocks
    times = [b["timeStamp"] + 1427587585 for b in some[1:]]
    assert times == [T0 + 50, T0 + 180, T0 + 360, T0 + 600] and some[-1]["transactions"][0]["amount"] == 3
    assert all(b["prevBlockHash"]["data"] == block_hash(a) for a, b in itertools.pairwise(some))


def test_construct_is_deterministic_and_signs_for_addresses() -> None:
    """The same facts give the same blocks; addresses get a made-up key that is told, given keys are kept."""
    one, two, salted = construct(MOVES), construct(MOVES), construct(MOVES, salt="x")
    assert one == two and one.blocks[-1] != salted.blocks[-1]
    assert one.signers == {made_up_key(VICTIM): VICTIM}
    kept = construct([Move(T0, KEY, THIEF, 1)])
    assert kept.signers == {} and kept.blocks[1]["transactions"][0]["signer"] == KEY
    with pytest.raises(ValueError, match="no moves"):
        construct([])
    with pytest.raises(ValueError, match="not after the parent"):
        construct(MOVES, parent=one.blocks[-1])


async def test_reorg_refuses_what_does_not_link() -> None:
    """A branch must link, and cannot go below the first block."""
    recording = construct(MOVES)
    pace = Pace(manual=True)
    server = RecordedNemServer(recording, pace=pace)
    await pace.release(3)
    with pytest.raises(ValueError, match="does not link"):
        server.reorg(1, [recording.blocks[1]])
    with pytest.raises(ValueError, match="expected 0 to 3"):
        server.reorg(4, [])


async def test_recording_at_real_heights() -> None:
    """A recording that does not begin at block 1 shows two blocks, so that the first head has a parent to read."""
    recording = construct(MOVES, height=1_410_000)
    async with RecordedNemServer(recording) as server, opened(NemChain(replay(recording, server), {VICTIM})) as chain:
        events = await follow(chain, lambda seen: len(seen) == 3)
    assert connected(events) == [1_410_001, 1_410_002, 1_410_003] and len(values(events)) == 4


async def test_endpoints_of_a_public_node() -> None:
    """Heartbeat, status and errors have NIS1's shapes."""
    async with RecordedNemServer(construct(MOVES)) as server, aiohttp.ClientSession(server.url) as session:
        async with session.get("/heartbeat") as answer:
            assert (await answer.json())["message"] == "ok"
        async with session.get("/status") as answer:
            assert (await answer.json())["code"] == 6
        async with session.post("/local/chain/blocks-after", json={"height": 1}) as answer:
            assert answer.status == 401
        async with session.post("/block/at/public", json={"height": 9}) as answer:
            assert answer.status == 404 and (await answer.json())["message"] == "block not found in the db"
        async with session.get("/account/get", params={"address": "NOBODY"}) as answer:
            assert answer.status == 400
