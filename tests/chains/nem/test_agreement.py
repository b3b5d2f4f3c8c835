"""Several nodes: what height they agree on, and who is believed where they differ."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from chains.base import BlockConnected, BlockDisconnected, ChainEvent
from chains.exchange import Kind
from chains.follow import Follower
from chains.nem import nodes
from chains.nem.agreement import FRESH_SECONDS, MOST_STALL, STALL_SECONDS, Heights, Told, is_settled, outvoted
from chains.nem.watcher import NemChain
from chains.recorded.nem import Move, construct
from chains.recorded.nem_blocks import Recording
from monitor.errors import ChainInconsistent
from monitor.model import BlockRef

VICTIM = "NC3BI3DNMR2PGEOOMP2NKXQGSAKMS7GYRKVA5CSZ"
THIEF = "NC4C6PSUW5CLTDT5SXAGJDQJGZNESKFK5MCN77OG"
Start = Callable[..., Awaitable[Any]]
Open = Callable[..., Awaitable[NemChain]]


def heights(now: float = 0.0, **told: int) -> Heights:
    """What nodes told at one moment."""
    found = Heights()
    for name, height in told.items():
        found.see(name, Told(height, f"{height}", now))
    return found


# The rule


@pytest.mark.parametrize(
    ("told", "height", "behind", "ahead"),
    [
        ({"a": 100}, 100, "", ""),
        ({"a": 100, "b": 101}, 101, "", ""),
        ({"a": 100, "b": 101, "c": 102}, 101, "", ""),
        ({"a": 100, "b": 101, "c": 10**9}, 101, "", "c"),
        ({"a": 100, "b": 101, "c": 7}, 100, "c", ""),
        ({"a": 100, "b": 100, "c": 7, "d": 10**9}, 100, "c", "d"),
        ({"a": 100, "b": 90}, 100, "b", ""),
        ({"a": 100, "b": 96, "c": 104}, 100, "", ""),
    ],
)
def test_the_height_is_what_most_have(told: dict[str, int], height: int, behind: str, ahead: str) -> None:
    """Neither a node that invents blocks nor one that lacks them decides."""
    found = heights(**told).agree(list(told), 0.0)
    assert found is not None
    assert (found.height, set(found.behind), set(found.ahead)) == (height, set(behind), set(ahead))
    assert found.aside == set(behind + ahead)


def test_a_node_that_stands_still_has_no_voice_and_most_only_after_long() -> None:
    """One of three after ten block times, two of three after thirty: an inventor of blocks never stands still."""
    found = heights(a=100, b=100, c=100)

    def told(now: float, **rising: int) -> Any:
        for name, height in {"a": 100, "b": 100, "c": 100, **rising}.items():
            found.see(name, Told(height, "", now))
        return found.agree("abc", now)

    assert told(STALL_SECONDS - 1, a=101, b=101).behind == set()
    late = told(STALL_SECONDS + 1, a=105, b=103)
    assert (late.height, late.behind) == (105, {"c"})
    found = heights(a=100, b=100, c=100)
    alone = told(STALL_SECONDS + 1, c=10**6)
    assert (alone.height, alone.ahead) == (100, {"c"})
    alone = told(MOST_STALL + 1, c=10**6 + 1)
    assert (alone.height, alone.behind) == (10**6 + 1, {"a", "b"})


def test_a_block_that_is_missing_for_long_shows_a_node_that_lags() -> None:
    """Three block times after the others had it."""
    found = heights(a=100, b=100, c=99)
    assert found.agree("abc", 10.0).behind == set()  # type: ignore[union-attr]
    for name, height in {"a": 100, "b": 100, "c": 99}.items():
        found.see(name, Told(height, "", 181.0))
    assert found.agree("abc", 181.0).behind == {"c"}  # type: ignore[union-attr]


def test_what_was_told_long_ago_does_not_count() -> None:
    """Nor does what nobody told."""
    found = heights(a=100, b=200)
    found.see("a", Told(101, "", FRESH_SECONDS + 1))
    assert found.agree("ab", FRESH_SECONDS + 1).height == 101  # type: ignore[union-attr]
    assert found.agree("c", 0.0) is None and Heights().agree("a", 0.0) is None


def test_votes() -> None:
    """Only more votes than one's own win."""
    assert outvoted("x", ["y", "y"]) == "y"
    assert outvoted("x", ["y"]) is None and outvoted("x", []) is None and outvoted("x", ["x", "y", "y"]) is None
    assert outvoted("x", ["x", "y", "y", "y"]) == "y"
    assert is_settled("x", ["x"], 1) and is_settled("x", ["y", "y"], 0) and is_settled("x", [], 0)
    assert not is_settled("x", [], 1) and not is_settled("x", ["y"], 1) and not is_settled("x", ["y"], 0)


# Over HTTP


async def follow(chain: NemChain, count: int, tip: BlockRef | None = None, start: int | None = 1) -> list[ChainEvent]:
    """The first events."""
    events: list[ChainEvent] = []

    async def none_stored(_: int) -> BlockRef | None:
        return None

    follower = Follower(chain, tip=tip, ancestor=none_stored, start=start, sleep=_no_pause)
    async with asyncio.timeout(30), contextlib.aclosing(follower.events()) as stream:
        async for event in stream:
            events.append(event)
            if len(events) == count:
                break
    return events


async def _no_pause(_: float) -> None:
    await asyncio.sleep(0)


async def test_a_node_far_ahead_of_two_is_set_aside(moves: Any, nis: Start, opened: Open) -> None:
    """The head is what the other two have; the boaster is shown as lagging behind the truth and asked last."""
    recording = construct(moves(5))
    servers = [await nis(recording) for _ in range(3)]
    servers[0].boast = 10**6
    chain = await opened(*servers)
    head = await chain.head()
    assert head.number == 6
    assert [state.lagging for state in chain.endpoints()] == [True, False, False]
    block = await chain.block(6)
    assert block.source != servers[0].url.removeprefix("http://") and block.ref == head
    servers[0].boast = None
    await chain.head()
    assert not any(state.lagging for state in chain.endpoints())


async def test_of_two_the_one_that_does_not_give_its_head_is_set_aside(moves: Any, nis: Start, opened: Open) -> None:
    """Two nodes far apart: a real head is followed, one without its block is not."""
    recording = construct(moves(20))
    short, long = await nis(recording, shown=6), await nis(recording)
    chain = await opened(short, long)
    assert (await chain.head()).number == 21  # the first one is only slow
    assert [state.lagging for state in chain.endpoints()] == [True, False]
    other = await opened(await nis(recording), short)
    short.boast = 10**6
    assert (await other.head()).number == 21
    assert [state.lagging for state in other.endpoints()] == [False, True]


async def test_a_node_that_lags_far_behind_is_asked_last(moves: Any, nis: Start, opened: Open) -> None:
    """Blocks come from those that have them, although the slow one is first in the list."""
    recording = construct(moves(20))
    slow, *good = [await nis(recording, shown=shown) for shown in (6, None, None)]
    chain = await opened(slow, *good)
    assert (await chain.head()).number == 21
    assert (await chain.block(21)).source in {server.url.removeprefix("http://") for server in good}
    assert slow.calls["/block/at/public"] == 0


async def test_a_lying_node_disconnects_nothing(moves: Any, nis: Start, opened: Open) -> None:
    """Two honest nodes outvote the first one, which serves another branch from its third block on."""
    recording = construct(moves(8))
    branch = construct([Move(m.at + 1, VICTIM, THIEF, 7) for m in moves(8)[2:]], parent=recording.blocks[2], salt="lie")
    lies = Recording(recording.network, (*recording.blocks[:3], *branch.blocks), recording.signers)
    liar, *honest = await nis(lies), await nis(recording), await nis(recording)
    chain = await opened(liar, *honest, watch={VICTIM})
    events = await follow(chain, 9)
    assert all(isinstance(event, BlockConnected) for event in events)
    values = [t.value for e in events if isinstance(e, BlockConnected) for t in e.block.transfers if t.to_address]
    assert values == [move.value for move in moves(8)]
    assert next(state for state in chain.endpoints()).failures["inconsistent"] >= 1


@pytest.mark.parametrize("place", [0, 1])
async def test_other_transactions_under_the_real_signature_are_outvoted(
    place: int, moves: Any, nis: Start, opened: Open
) -> None:
    """A node cannot hide or change a transaction by keeping the block's signature."""
    recording = construct(moves(4))
    liar, *honest = [await nis(recording) for _ in range(3)]
    at = liar._at

    def lie(height: int) -> Any:
        block = at(height)
        hidden = [[], [{**tx, "amount": 1} for tx in block["transactions"]]][place]
        return {**block, "transactions": hidden} if height == 3 else block

    liar._at = lie  # type: ignore[method-assign]
    chain = await opened(liar, *honest, watch={VICTIM})
    blocks = [await chain.block(number) for number in range(1, 6)]
    values = [t.value for block in blocks for t in block.transfers if t.to_address]
    assert values == [move.value for move in moves(4)]
    assert next(state for state in chain.endpoints()).failures["inconsistent"] >= 1


async def test_a_slow_vote_that_changes_nothing_is_not_waited_for(
    moves: Any, nis: Start, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of three say the same: the one that failed before is not needed."""
    monkeypatch.setattr(nodes, "PATIENCE", 3600.0)
    recording = construct(moves(3))
    *_, slow = servers = [await nis(recording) for _ in range(3)]
    chain = await opened(*servers)
    never, name_of_slow = asyncio.Event(), slow.url.removeprefix("http://")
    chain.nodes.pool.find(name_of_slow).count(Kind.TIMEOUT)

    async def vote(name: str, number: int) -> Any:
        if name == name_of_slow:
            await never.wait()
        return await usual(name, number)

    usual, chain.nodes._vote = chain.nodes._vote, vote  # type: ignore[method-assign]
    async with asyncio.timeout(30):
        assert [(await chain.block(number)).ref.number for number in range(1, 5)] == [1, 2, 3, 4]


async def test_a_lie_about_the_parent_is_outvoted(moves: Any, nis: Start, opened: Open) -> None:
    """The right block on a parent that two others do not know comes from them instead."""
    recording = construct(moves(4))
    liar, *honest = [await nis(recording) for _ in range(3)]
    fake = construct([Move(moves(4)[2].at + 1, VICTIM, THIEF, 9)], parent=recording.blocks[2], salt="lie").blocks[0]
    at = liar._at
    liar._at = lambda height: fake if height == 4 else at(height)  # type: ignore[method-assign]
    chain = await opened(liar, *honest)
    block = await chain.block(5)
    assert block.source in {server.url.removeprefix("http://") for server in honest}
    assert block.parent_hash == (await chain.block(4)).ref.hash


async def test_three_nodes_that_all_differ_are_read_again(moves: Any, nis: Start, opened: Open) -> None:
    """Where there is no majority the preferred one counts; ChainInconsistent once all of them are outvoted."""
    recording = construct(moves(3))
    branches = [construct(moves(3), salt=salt) for salt in ("a", "b")]
    servers = [await nis(one) for one in (recording, *branches)]
    chain = await opened(*servers)
    assert (await chain.block(2)).ref.number == 2
    with pytest.raises(ChainInconsistent, match="do not agree"):
        chain.nodes._agreed.clear()
        chain.nodes._votes = _two_strangers  # type: ignore[method-assign]
        await chain.block(2)


async def _two_strangers(_: Any, __: int) -> list[str]:
    return ["ff", "ff"]


async def test_a_real_rewrite_is_followed_when_most_nodes_have_it(moves: Any, nis: Start, opened: Open) -> None:
    """The follower disconnects once, and connects the branch that two of three have."""
    recording = construct(moves(6))
    branch = construct([Move(m.at + 1, VICTIM, THIEF, 7) for m in moves(8)[4:]], parent=recording.blocks[4], salt="new")
    servers = [await nis(recording) for _ in range(3)]
    chain = await opened(*servers)
    refs = {n: (await chain.block(n)).ref for n in range(1, 8)}
    for server in servers[1:]:
        server.reorg(2, branch.blocks)
    events: list[ChainEvent] = []

    async def stored(number: int) -> BlockRef | None:
        return refs.get(number)

    follower = Follower(chain, tip=refs[7], ancestor=stored, sleep=_no_pause)
    async with asyncio.timeout(30), contextlib.aclosing(follower.events()) as stream:
        async for event in stream:
            events.append(event)
            if len(events) == 6:
                break
    assert [e.ref for e in events if isinstance(e, BlockDisconnected)] == [refs[7], refs[6]]
    assert [e.block.ref.number for e in events if isinstance(e, BlockConnected)] == [6, 7, 8, 9]


async def test_a_node_that_hangs_is_not_asked_again_meanwhile(
    moves: Any, nis: Start, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is it waited for longer than the others need and a moment more."""
    monkeypatch.setattr(nodes, "PATIENCE", 0.01)
    recording = construct(moves(3))
    servers = [await nis(recording) for _ in range(3)]
    chain = await opened(*servers)
    hanging = servers[0]
    hanging.hold = release = asyncio.Event()
    for _ in range(3):
        assert (await chain.head()).number == 4
    assert hanging.calls["/chain/last-block"] == 1
    release.set()
