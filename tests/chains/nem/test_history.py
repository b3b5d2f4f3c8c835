"""Past blocks of NEM: the same as live ones."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from chains.base import ChainSpec
from chains.nem import accounts
from chains.nem.decode import EPOCH
from chains.nem.history import NemHistory
from chains.nem.watcher import NemChain
from chains.recorded.nem import Move, RecordedNemServer, construct, make_block
from chains.recorded.nem_accounts import Refusal
from chains.recorded.nem_blocks import Recording
from chains.recorded.pace import Pace
from monitor.addresses.nem import of_public_key
from monitor.errors import ChainInconsistent, ChainUnavailable, HistoryRefused
from monitor.model import ControlKind

VICTIM = "NC3BI3DNMR2PGEOOMP2NKXQGSAKMS7GYRKVA5CSZ"
THIEF = "NC4C6PSUW5CLTDT5SXAGJDQJGZNESKFK5MCN77OG"
T0 = 1_516_892_520
MOVES = [Move(T0 + 60 * n, VICTIM if n % 3 else THIEF, THIEF if n % 3 else VICTIM, 10**6 * (n + 1)) for n in range(12)]


@pytest.mark.parametrize("local_api", [True, False])
async def test_a_past_block_equals_a_live_one(local_api: bool) -> None:
    """Every field of every block, with the parents that a live reading states; and the ends of the run."""
    recording = construct(MOVES, height=1000, quiet=2)
    pace = Pace(manual=True)
    async with RecordedNemServer(recording, pace=pace, local_api=local_api) as server:
        await pace.release(pace.total)
        spec = ChainSpec("nem", "nem", "nem:mainnet", (server.url,), replay=True, poll_seconds=0.001,
                         options={"signers": dict(recording.signers)})  # fmt: skip
        watch = frozenset([VICTIM])
        chain, history = NemChain(spec, watch), NemHistory(spec, watch, 10_000.0)
        try:
            await chain.open()
            head = await chain.head()
            start = server.blocks[1]["height"]
            live = [await chain.block(number) for number in range(start, head.number + 1)]
            found = await history.history(start, head.number + 1)
            assert list(found.blocks) == [block for block in live if block.transfers or block.controls]
            assert len(found.blocks) == len(MOVES)
            assert (found.first, found.parent_hash, found.last) == (live[0].ref, live[0].parent_hash, head)
            assert (found.start, found.end) == (live[0].timestamp, live[-1].timestamp)
            assert await history.time_of(head.number) == live[-1].timestamp
            with pytest.raises(HistoryRefused):
                await history.history(1, 2)
        finally:
            await chain.aclose()
            await history.aclose()


# Account views

Start = Callable[..., Awaitable[Any]]
PERSON = of_public_key("33" * 32, 0x68)


def long_recording(count: int = 900) -> Recording:
    """Many blocks of strangers, and a few that touch the victim: payments, a multisig's, what changes control."""
    stranger = "44" * 32
    moves = [Move(T0 + 60 * n, stranger, THIEF, 10 + n) for n in range(count)]
    moves += [Move(T0 + 60 * n, VICTIM, THIEF, 1_000 + n) for n in range(5, count, 97)]
    moves += [Move(T0 + 60 * n, stranger, VICTIM, 2_000 + n) for n in range(7, count, 131)]
    made = construct(moves, height=5_000)
    blocks = list(made.blocks)
    extra = {
        50: {
            "type": 4097, "version": 0x68 << 24 | 2, "timeStamp": 5, "deadline": 9, "fee": 500_000,
            "signer": "33" * 32, "signature": "a1" * 64, "minCosignatories": {"relativeChange": 1},
            "modifications": [{"modificationType": 1, "cosignatoryAccount": stranger}],
        },
        60: {
            "type": 4100, "version": 0x68 << 24 | 1, "timeStamp": 5, "deadline": 9, "fee": 20, "signer": stranger,
            "signature": "a2" * 64, "signatures": [],
            "otherTrans": {
                "type": 257, "version": 0x68 << 24 | 1, "timeStamp": 5, "deadline": 9, "fee": 100,
                "signer": "33" * 32, "recipient": THIEF, "amount": 77, "message": {},
            },
        },
        70: {
            "type": 2049, "version": 0x68 << 24 | 1, "timeStamp": 5, "deadline": 9, "fee": 1, "signer": stranger,
            "signature": "a3" * 64, "mode": 1, "remoteAccount": "33" * 32,
        },
    }  # fmt: skip
    for place in range(1, len(blocks)):
        old = blocks[place]
        transactions = [*old["transactions"], *([extra[place]] if place in extra else [])]
        blocks[place] = make_block(blocks[place - 1], old["timeStamp"] + EPOCH, transactions)
    return Recording(made.network, tuple(blocks), made.signers)


def history_of(server: Any, *accounts: str, watch: Any = None, local: bool = False) -> NemHistory:
    spec = ChainSpec("nem", "nem", "nem:mainnet", (server.url,), replay=True, accounts=accounts,
                     options={"signers": dict(server._signers)})  # fmt: skip
    return NemHistory(spec, frozenset(accounts) if watch is None else watch, 1e6)


async def both(server: Any, *accounts: str, stretches: list[tuple[int, int]]) -> tuple[list[Any], list[Any], int, int]:
    """What views and blocks give, and how many requests each took."""
    views, blocks, taken = history_of(server, *accounts), history_of(server, *accounts), []
    found: list[list[Any]] = []
    try:
        for ask in (views.brief, blocks.history):
            before = server.calls.total()
            found.append([await ask(*stretch) for stretch in stretches])
            taken.append(server.calls.total() - before)
    finally:
        await views.aclose()
        await blocks.aclose()
    return found[0], found[1], taken[0], taken[1]


async def test_account_views_give_what_blocks_give(nis: Start) -> None:
    """The same blocks, ends and links of every stretch, with a small part of the requests."""
    server = await nis(long_recording())
    stretches = [(start, start + 100) for start in range(5_401, 5_000, -100)]
    brief, whole, few, many = await both(server, VICTIM, PERSON, stretches=stretches)
    assert [replace(stretch, headers=()) for stretch in whole] == brief
    assert sum(len(stretch.blocks) for stretch in brief) == 13
    assert {c.kind for s in brief for b in s.blocks for c in b.controls} == {
        ControlKind.SIGNATORY_CHANGE, ControlKind.IMPORTANCE_TRANSFER}  # fmt: skip
    assert all(upper.parent_hash == lower.last.hash for upper, lower in itertools.pairwise(brief))
    assert few < 60 and many > 500


async def test_what_may_still_be_rewritten_is_read_as_blocks(nis: Start) -> None:
    """Within 360 blocks below the head, where views and blocks may be of different branches; headers come then."""
    server = await nis(long_recording())
    history = history_of(server, VICTIM)
    try:
        assert len((await history.brief(5_541, 5_551)).headers) == 10
        assert server.calls["/account/transfers/all"] == 0
        mixed = await history.brief(5_400, 5_551)
        whole = await history.history(5_400, 5_551)
        assert mixed == replace(whole, headers=()) and len(mixed.blocks) == 3
        assert server.calls["/account/transfers/all"] > 0
    finally:
        await history.aclose()


async def test_busy_accounts_are_read_as_blocks(nis: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where their pages would cost more than the blocks; so are watch lists with more than named accounts."""
    monkeypatch.setattr(accounts, "FIRST_PAGES", 0)
    monkeypatch.setattr(accounts, "PAGE", 5)
    server = await nis(long_recording())
    busy = history_of(server, THIEF)
    partly = history_of(server, VICTIM, watch={VICTIM, PERSON})
    try:
        whole = await busy.history(5_100, 5_110)
        assert replace(await busy.brief(5_100, 5_110), source=whole.source) == whole
        pages = server.calls["/account/transfers/all"]
        assert 0 < pages < 15
        await busy.brief(5_090, 5_100)
        await partly.brief(5_090, 5_100)
        assert server.calls["/account/transfers/all"] == pages
    finally:
        await busy.aclose()
        await partly.aclose()


async def test_a_view_that_leaves_something_out_is_not_used(nis: Start) -> None:
    """A block that shows a payment which its account's view lacks: from then on blocks are read."""
    server = await nis(long_recording())
    usual = server._transfers_all
    hidden = {5_000 + 6 + 97, 5_000 + 6 + 97 * 2}
    server._transfers_all = lambda query: {
        "data": [entry for entry in usual(query)["data"] if entry["meta"]["height"] not in hidden]
    }
    await server.stop()
    await server.start()
    history, whole = history_of(server, VICTIM), history_of(server, VICTIM)
    try:
        for stretch in ((5_201, 5_301), (5_200, 5_201), (5_101, 5_200)):
            assert (await history.brief(*stretch)).blocks == (await whole.history(*stretch)).blocks
    finally:
        await history.aclose()
        await whole.aclose()


async def test_a_view_that_names_what_no_block_has_is_a_contradiction(nis: Start) -> None:
    """Either is of another branch: it is read again later, from a fresh view."""
    server = await nis(long_recording())
    usual = server._transfers_all

    def wrong(query: Any) -> Any:
        found = usual(query)
        for entry in found["data"]:
            entry["meta"]["height"] += entry["meta"]["height"] == 5_103
        return found

    server._transfers_all = wrong
    await server.stop()
    await server.start()
    history = history_of(server, VICTIM)
    try:
        with pytest.raises(ChainInconsistent, match="block 5104 lacks transactions"):
            await history.brief(5_100, 5_110)
    finally:
        await history.aclose()


@pytest.mark.parametrize(
    "answer", [{}, {"data": 1}, {"data": [{}]}, {"data": [{"meta": {"id": "x", "height": 1}, "transaction": {}}]}, []]
)
async def test_senseless_views(nis: Start, answer: Any) -> None:
    """ChainInconsistent, and no page without end: ids must fall."""
    server = await nis(long_recording(400))
    server._transfers_all = lambda _: answer
    await server.stop()
    await server.start()
    history = history_of(server, VICTIM)
    try:
        with pytest.raises(ChainInconsistent):
            await history.brief(5_010, 5_020)
        row = {"meta": {"id": 5, "height": 9_000}, "transaction": {"signature": "aa"}}
        server._transfers_all = lambda _: {"data": [row]}
        await server.stop()
        await server.start()
        with pytest.raises(ChainInconsistent, match="not in order"):
            await history.brief(5_010, 5_020)
    finally:
        await history.aclose()


async def test_another_endpoint_begins_a_view_anew(nis: Start) -> None:
    """Ids are the endpoint's own."""
    recording = long_recording()
    first, second = await nis(recording), await nis(recording)
    spec = ChainSpec("nem", "nem", "nem:mainnet", (first.url, second.url), replay=True, accounts=(VICTIM,),
                     options={"signers": dict(recording.signers)})  # fmt: skip
    history, whole = NemHistory(spec, {VICTIM}, 1e6), history_of(second, VICTIM)
    try:
        await history.brief(5_301, 5_401)
        await first.stop()
        with pytest.raises(ChainUnavailable):
            await history.brief(5_001, 5_301)
        assert (await history.brief(5_001, 5_301)).blocks == (await whole.history(5_001, 5_301)).blocks
    finally:
        await history.aclose()
        await whole.aclose()


async def test_a_lie_about_a_past_block_is_outvoted(nis: Start) -> None:
    """A payment that the first endpoint hides under the block's real signature is read from another one."""
    recording = long_recording()
    liar, *honest = servers = [await nis(recording) for _ in range(3)]
    at = liar._at
    liar._at = lambda height: {**at(height), "transactions": []} if height == 5_103 else at(height)
    spec = ChainSpec("nem", "nem", "nem:mainnet", tuple(server.url for server in servers), replay=True,
                     options={"signers": dict(recording.signers)})  # fmt: skip
    history, whole = NemHistory(spec, {VICTIM}, 1e6), history_of(honest[0], VICTIM)
    try:
        with pytest.raises(ChainInconsistent, match="do not agree on block 5103"):
            await history.history(5_100, 5_110)
        found = await history.history(5_100, 5_110)
        assert found.blocks == (await whole.history(5_100, 5_110)).blocks
        assert 5_103 in {block.ref.number for block in found.blocks}
    finally:
        await history.aclose()
        await whole.aclose()


async def test_without_lists_of_accounts_blocks_are_read(nis: Start) -> None:
    """An endpoint may refuse them, as one that keeps no index does."""
    server = await nis(long_recording())

    def refuse(_: Any) -> Any:
        raise Refusal(404, "Not Found", "not here")

    server._transfers_all = refuse
    await server.stop()
    await server.start()
    history = history_of(server, VICTIM)
    try:
        found = await history.brief(5_100, 5_110)
        assert found.blocks == (await history.history(5_100, 5_110)).blocks != ()
    finally:
        await history.aclose()
