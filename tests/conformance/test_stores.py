"""What every store must do, on each of them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from monitor.errors import StoreError
from monitor.model import BlockRef, Delivery, Outcome, Reason
from monitor.store import BlockRecord, Commit, CoverageRange, FlowRecord, OperatorEvent, OutboxRow

ETH, NEM = "eip155:1", "nem:mainnet"
BIG = 2**256 - 1
DAY = 86400


def ref(number: int, chain: str = ETH, fork: str = "a") -> BlockRef:
    return BlockRef(chain, number, f"{fork}{number}")


def flow(number: int, index: int = 0, **changes: Any) -> FlowRecord:
    asset = "eip155:1/slip44:60"
    made = FlowRecord(ETH, number, f"tx{number}-{index}", index, "hot", 1, asset, "0xabc", 5, number * 12)
    return replace(made, **changes)


def block(number: int, fork: str = "a", parent: str = "a", **changes: Any) -> BlockRecord:
    made = BlockRecord(ref(number, fork=fork), f"{parent}{number - 1}", number * 12)
    return replace(made, **changes)


def connect(*blocks: BlockRecord, **changes: Any) -> Commit:
    return replace(Commit(ETH, blocks[-1].ref, connected=blocks), **changes)


def row(alert_id: str, **changes: Any) -> OutboxRow:
    return replace(OutboxRow(alert_id, "soc", "0:webhook", b'{"a":1}', queued_at=100.5), **changes)


def event(name: str, **changes: Any) -> OperatorEvent:
    return replace(OperatorEvent(name, "confirm", "i1", "ann", "seen", 7.25), **changes)


def attempt(alert_id: str, number: int = 1, **changes: Any) -> Delivery:
    made = Delivery(alert_id, "soc", "0:webhook", number, Outcome.RETRY, Reason.TIMEOUT, 101.5)
    return replace(made, **changes)


async def dump(store: Any, prefix: bytes = b"") -> list[tuple[bytes, bytes]]:
    return [item async for item in store.state(prefix)]


async def test_an_empty_store_has_seen_nothing(store: Any) -> None:
    """Nothing stored reads as None and empty, never as zero."""
    assert await store.checkpoint(ETH) is None
    assert await store.block(ETH, 0) is None
    assert await dump(store) == []
    assert await store.next_due() is None
    assert await store.incident("x") is None
    for found in (
        await store.flows("hot", ETH), await store.incidents(), await store.said(pending=False),
        await store.due(1e12), await store.outbox(), await store.deliveries(), await store.coverage(),
    ):  # fmt: skip
        assert list(found) == []


async def test_all_parts_of_a_commit_are_read_back(backend: Any, store: Any) -> None:
    """Every part of one commit is there, also after the store is opened anew."""
    undo = ((b"k\x00\xff", b"old"), (b"new", None), (b"", b""))
    flows = (flow(5, 1), flow(5, 0, value=BIG, initiator="0xééé漢🎭"))
    await store.say(event("e1"))
    await store.commit(
        Commit(
            ETH, ref(5), connected=(block(5, undo=undo, flows=flows),), state=((b"k\x00\xff", b"v"), (b"empty", b"")),
            incidents=(("i1", '{"title":"🎭"}'.encode()),), outbox=(row("a1", severity=4),),
            coverage=(CoverageRange(ETH, 5, 5, "node", ("traces",), 2),), effective=(("e1", ref(5)),),
        )
    )  # fmt: skip
    store = await backend.again(store)
    assert await store.checkpoint(ETH) == ref(5)
    assert await store.checkpoint(NEM) is None
    assert await store.block(ETH, 5) == block(5, undo=undo)
    assert await dump(store) == [(b"empty", b""), (b"k\x00\xff", b"v")]
    assert list(await store.flows("hot", ETH)) == [flows[1], flows[0]]
    assert list(await store.incidents()) == ['{"title":"🎭"}'.encode()] == [await store.incident("i1")]
    assert list(await store.outbox()) == [row("a1", severity=4)]
    assert list(await store.coverage()) == [CoverageRange(ETH, 5, 5, "node", ("traces",), 2)]
    assert list(await store.said(pending=False)) == [event("e1", effective=ref(5))]
    assert list(await store.said(pending=True)) == []


async def test_chains_do_not_mix(store: Any) -> None:
    """Two chains have their own checkpoint, blocks, coverage and flows at equal heights."""
    await store.commit(connect(block(5, flows=(flow(5),)), coverage=(CoverageRange(ETH, 5, 5, "n"),)))
    nem = BlockRecord(ref(5, NEM), "x", 9, ((b"k", None),), (flow(5, chain=NEM, value=9),))
    await store.commit(Commit(NEM, nem.ref, connected=(nem,), coverage=(CoverageRange(NEM, 5, 5, "n"),)))
    await store.commit(Commit(NEM, None, disconnected=(nem.ref,)))
    assert await store.checkpoint(ETH) == ref(5)
    assert await store.checkpoint(NEM) is None
    assert await store.block(NEM, 5) is None
    assert [found.value for found in await store.flows("hot", ETH)] == [5]
    assert list(await store.flows("hot", NEM)) == []
    assert list(await store.coverage()) == list(await store.coverage(ETH)) == [CoverageRange(ETH, 5, 5, "n")]
    assert list(await store.coverage(NEM)) == []


async def test_names_with_separators_do_not_collide(store: Any) -> None:
    """Wallet, receiver and channel names are free text: joined names must not meet."""
    flows = (flow(1, 0, wallet="a:b"), flow(1, 1, wallet="a"), flow(1, 2, wallet="ä\x1f🎭"))
    await store.commit(connect(block(1, flows=flows)))
    for made in flows:
        assert list(await store.flows(made.wallet, ETH)) == [made]
    rows = [row("x:y", receiver="z"), row("x", receiver="y:z"), row("x\x1fy", receiver="z")]
    await store.enqueue(rows)
    assert list(await store.outbox()) == rows
    assert list(await store.outbox(alert_id="x")) == rows[1:2]


async def test_a_reorg_in_one_commit(store: Any) -> None:
    """Disconnected blocks go with flows, undo and coverage; the new branch takes their place."""
    old = [block(n, flows=(flow(n), flow(n, 1)), undo=((b"k", b"%d" % n),)) for n in (1, 2, 3)]
    await store.commit(connect(*old, coverage=(CoverageRange(ETH, 1, 3, "n"),)))
    new = block(2, "b", flows=(flow(2, 7),))
    await store.commit(
        Commit(ETH, new.ref, (ref(3), ref(2)), (new,), ((b"k", b"v"),), coverage=(CoverageRange(ETH, 2, 2, "m"),))
    )
    assert await store.checkpoint(ETH) == new.ref
    assert await store.block(ETH, 3) is None
    assert await store.block(ETH, 2) == replace(new, flows=())
    assert await store.block(ETH, 1) == replace(old[0], flows=())
    assert list(await store.flows("hot", ETH)) == [flow(1), flow(1, 1), flow(2, 7)]
    assert list(await store.coverage(ETH)) == [CoverageRange(ETH, 1, 1, "n"), CoverageRange(ETH, 2, 2, "m")]


async def test_disconnect_leaves_flows_of_the_same_second(store: Any) -> None:
    """Blocks may share a timestamp; only the disconnected block's flows go."""
    blocks = [block(n, flows=(flow(n, timestamp=50), flow(n, 1, timestamp=40))) for n in (1, 2)]
    await store.commit(connect(*blocks))
    await store.commit(Commit(ETH, ref(1), disconnected=(ref(2),)))
    assert list(await store.flows("hot", ETH)) == list(blocks[0].flows)


CONTRADICTIONS = {
    "the tip is another": Commit(ETH, ref(1), disconnected=(ref(2, fork="b"),)),
    "not tip first": Commit(ETH, ref(0), disconnected=(ref(1), ref(2))),
    "a block below is connected": connect(block(2, "b")),
    "it is connected already": connect(block(2)),
    "not a child of the tip": connect(block(3, "b", "b")),
    "its own blocks are unlinked": connect(block(3), block(4, "a", "x")),
    "its own blocks go down": connect(block(5), block(4)),
    "the tip named is not the last": replace(connect(block(3)), tip=ref(4)),
    "the parent named is not the parent": Commit(ETH, ref(1, fork="b"), disconnected=(ref(2),)),
    "back without disconnecting": Commit(ETH, ref(1)),
    "of two chains": Commit(ETH, None, connected=(BlockRecord(ref(3, NEM), "a2", 1),)),
    "flows of another block": connect(block(3, flows=(flow(4),))),
    "coverage of another chain": connect(block(3), coverage=(CoverageRange(NEM, 3, 3, "n"),)),
    "an empty range": connect(block(3), coverage=(CoverageRange(ETH, 3, 2, "n"),)),
    "an unknown event took effect": connect(block(3), effective=(("nobody", ref(3)),)),
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
async def test_a_contradiction_changes_nothing(store: Any, name: str) -> None:
    """A commit that does not continue what is stored raises, and none of it is stored."""
    await store.commit(connect(block(1), block(2), coverage=(CoverageRange(ETH, 1, 2, "n"),)))
    bad = replace(CONTRADICTIONS[name], state=((b"bad", b"1"),), incidents=(("bad", b"{}"),), outbox=(row("bad"),))
    with pytest.raises(StoreError):
        await store.commit(bad)
    assert await store.checkpoint(ETH) == ref(2)
    assert [await store.block(ETH, n) for n in (1, 2, 3, 4, 5)] == [block(1), block(2), None, None, None]
    assert await dump(store) == []
    assert [*await store.incidents(), *await store.outbox(), *await store.flows("hot", ETH)] == []
    assert list(await store.coverage()) == [CoverageRange(ETH, 1, 2, "n")]


async def test_a_commit_without_blocks(store: Any) -> None:
    """State alone leaves the checkpoint; a tip alone sets it, also further on (nothing of interest between)."""
    await store.commit(Commit(ETH, None, state=((b"a", b"1"),)))
    assert await store.checkpoint(ETH) is None
    await store.commit(Commit(ETH, ref(7)))
    assert await store.checkpoint(ETH) == ref(7)
    await store.commit(Commit(ETH, ref(7), state=((b"a", None), (b"b", b"2"))))
    await store.commit(Commit(ETH, ref(9)))
    assert await store.checkpoint(ETH) == ref(9)
    assert await dump(store) == [(b"b", b"2")]
    await store.commit(connect(block(10), block(15, parent="z")))
    assert await store.checkpoint(ETH) == ref(15)


async def test_state_is_in_key_order_by_prefix(store: Any) -> None:
    """Keys are bytes, in byte order; a prefix is no pattern; the last value of a key in a delta holds."""
    keys = [b"", b"\x00", b"a", b"a*", b"aa", b"ab", b"b", b"\xff", b"\xff\xff"]
    delta = tuple((key, b"v" + key) for key in reversed(keys))
    await store.commit(Commit(ETH, None, state=((b"a", None), (b"b", b"x"), *delta, (b"gone", b"1"), (b"gone", None))))
    assert await dump(store) == [(key, b"v" + key) for key in keys]
    assert [key for key, _ in await dump(store, b"a")] == [b"a", b"a*", b"aa", b"ab"]
    assert [key for key, _ in await dump(store, b"a*")] == [b"a*"]
    assert [key for key, _ in await dump(store, b"\xff")] == [b"\xff", b"\xff\xff"]
    assert await dump(store, b"zz") == []


async def test_state_is_of_one_moment(store: Any) -> None:
    """What is committed while the state is read does not show in it."""
    await store.commit(Commit(ETH, None, state=tuple((b"%05d" % n, b"old") for n in range(3000))))
    reading = store.state()
    seen = [await anext(reading)]
    await store.commit(Commit(ETH, None, state=tuple((b"%05d" % n, b"new") for n in range(0, 6000, 2))))
    seen += [item async for item in reading]
    assert seen == [(b"%05d" % n, b"old") for n in range(3000)]
    abandoned = store.state()
    assert await anext(abandoned) == (b"00000", b"new")
    await abandoned.aclose()


async def test_undo_goes_when_the_block_is_final(store: Any) -> None:
    """Undo above ``final`` stays, below it goes; block rows stay for a thousand heights more."""
    made = [block(n, undo=((b"k", b"%d" % n),)) for n in range(1, 1200)]
    await store.commit(connect(*made, final=1150))
    assert (await store.block(ETH, 1151)).undo == ((b"k", b"1151"),)
    assert await store.block(ETH, 1150) == block(1150)
    assert await store.block(ETH, 151) == block(151)
    assert await store.block(ETH, 150) is None
    await store.commit(connect(block(1200), final=1199))
    assert (await store.block(ETH, 1199)).undo == ()
    assert await store.block(ETH, 199) is None


async def test_incidents_are_in_order_of_insertion(backend: Any, store: Any) -> None:
    """A changed incident keeps its place."""
    await store.commit(Commit(ETH, None, incidents=(("z", b"z1"), ("a", b"a1"))))
    await store.commit(Commit(NEM, None, incidents=(("m", b"m1"), ("z", b"z2"), ("z", b"z3"))))
    store = await backend.again(store)
    await store.commit(Commit(ETH, None, incidents=(("b", b"b1"),)))
    assert list(await store.incidents()) == [b"z3", b"a1", b"m1", b"b1"]
    assert await store.incident("z") == b"z3"


async def test_flow_filters(store: Any) -> None:
    """``since`` is inclusive, ``until`` exclusive, order is that of the chain even where its clock goes back."""
    made = [
        flow(1, 0, timestamp=100, counterparty="x"), flow(1, 1, timestamp=100, counterparty="y"),
        flow(2, 0, timestamp=90, counterparty="x"), flow(3, 0, timestamp=110, counterparty="x", wallet="cold"),
        flow(3, 1, timestamp=110, counterparty="X"), flow(10, 0, timestamp=120, counterparty="x"),
    ]  # fmt: skip
    blocks = [
        block(n, flows=tuple(f for f in reversed(made) if f.block_number == n), parent="p" if n == 10 else "a")
        for n in (1, 2, 3, 10)
    ]
    await store.commit(connect(*blocks))

    async def picked(**filters: Any) -> list[int]:
        return [made.index(found) for found in await store.flows("hot", ETH, **filters)]

    assert await picked() == [0, 1, 2, 4, 5]
    assert await picked(since=100) == [0, 1, 4, 5]
    assert await picked(since=101) == [4, 5]
    assert await picked(until=110) == [0, 1, 2]
    assert await picked(until=111, since=90) == [0, 1, 2, 4]
    assert await picked(counterparty="x") == [0, 2, 5]
    assert await picked(counterparty="x", since=95, until=120) == [0]
    assert list(await store.flows("cold", ETH)) == [made[3]]


async def test_flows_may_be_equal_but_for_their_place(store: Any) -> None:
    """Two flows of one transaction that are equal in every column are two flows."""
    await store.commit(connect(block(1, flows=(flow(1), flow(1)))))
    assert list(await store.flows("hot", ETH)) == [flow(1), flow(1)]


async def test_old_flows_are_pruned_on_request_only(store: Any) -> None:
    """`prune` removes flows older than 400 days to the second; blocks and newer flows stay."""
    now = 500 * DAY + 0.5
    times = [100 * DAY, 100 * DAY + 1, 450 * DAY]
    await store.commit(connect(*(block(n, flows=(flow(n, timestamp=at),)) for n, at in enumerate(times, 1)), final=3))
    assert len(await store.flows("hot", ETH)) == 3
    assert await store.prune(now) == 1
    assert [found.timestamp for found in await store.flows("hot", ETH)] == times[1:]
    assert await store.prune(now) == 0
    assert await store.block(ETH, 1) == block(1)
    await store.commit(Commit(ETH, ref(2), disconnected=(ref(3),)))
    assert [found.timestamp for found in await store.flows("hot", ETH)] == times[1:2]


async def test_coverage_is_merged(store: Any) -> None:
    """Ranges join where they touch and agree in source and blind spots, over any number of commits."""

    def part(
        first: int, last: int, source: str = "n", spots: tuple[str, ...] = (), undecoded: int = 0
    ) -> CoverageRange:
        return CoverageRange(ETH, first, last, source, spots, undecoded)

    for number in range(1, 51):
        await store.commit(connect(block(number), coverage=(part(number, number, undecoded=number % 2),)))
    assert list(await store.coverage()) == [part(1, 50, undecoded=25)]
    more = (part(60, 70), part(51, 51, "other"), part(52, 52, "n", ("traces",)))
    await store.commit(Commit(ETH, None, coverage=more))
    assert list(await store.coverage(ETH)) == [
        part(1, 50, undecoded=25), part(51, 51, "other"), part(52, 52, "n", ("traces",)), part(60, 70)
    ]  # fmt: skip
    await store.commit(Commit(ETH, None, coverage=(part(53, 59), part(51, 52, undecoded=3))))
    assert list(await store.coverage(ETH)) == [
        part(1, 70, undecoded=28), part(51, 51, "other"), part(52, 52, "n", ("traces",))
    ]  # fmt: skip
    await store.commit(Commit(ETH, None, coverage=(part(10, 20, undecoded=1),)))
    assert (await store.coverage(ETH))[0] == part(1, 70, undecoded=28)


async def test_coverage_is_trimmed_by_a_disconnect(store: Any) -> None:
    """Only the disconnected blocks leave the ranges."""
    def part(first: int, last: int, undecoded: int = 0) -> CoverageRange:
        return CoverageRange(ETH, first, last, "n", (), undecoded)

    await store.commit(connect(block(1), block(2), block(3), coverage=(part(1, 3, 1),)))
    await store.commit(Commit(ETH, None, coverage=(part(4, 9),)))
    await store.commit(Commit(ETH, ref(1), disconnected=(ref(3), ref(2))))
    assert list(await store.coverage(ETH)) == [part(1, 1, 1), part(4, 9)]
    await store.commit(Commit(ETH, None, disconnected=(ref(1),)))
    assert list(await store.coverage(ETH)) == [part(4, 9)]


async def test_queued_rows_are_never_replaced(backend: Any, store: Any) -> None:
    """A row that is there stays as it is, also in one call, after delivery, and from a commit."""
    await store.enqueue([row("a"), row("a", body=b"other"), row("a", channel="1:chat")])
    await store.record(attempt("a"), state="done")
    await store.enqueue([row("a", body=b"again")])
    await store.commit(Commit(ETH, None, outbox=(row("a", body=b"again"), row("b"), row("b", body=b"again"))))
    store = await backend.again(store)
    await store.enqueue([])
    assert list(await store.outbox()) == [row("a", attempts=1, state="done"), row("a", channel="1:chat"), row("b")]
    assert [found.channel for found in await store.due(1e9)] == ["1:chat", "0:webhook"]


async def test_due_rows_are_oldest_first(store: Any) -> None:
    """Order is (queued_at, insertion); rows wait for ``next_at``; done and dead rows are never due."""
    await store.enqueue([row("late", queued_at=300.0), row("b"), row("waits", next_at=500.25, queued_at=1.0)])
    await store.commit(Commit(ETH, None, outbox=(row("a"), row("gone", state="dead"), row("sent", state="done"))))
    await store.enqueue([row("c", queued_at=-1.0)])

    async def ids(now: float, limit: int = 100) -> list[str]:
        return [found.alert_id for found in await store.due(now, limit)]

    assert await ids(500.0) == ["c", "b", "a", "late"]
    assert await ids(500.25) == ["c", "waits", "b", "a", "late"]
    assert await ids(500.25, 2) == ["c", "waits"]
    assert await ids(-1.0) == []
    assert [found.alert_id for found in await store.outbox()] == ["late", "b", "waits", "a", "gone", "sent", "c"]
    assert [found.alert_id for found in await store.outbox(state="dead")] == ["gone"]
    assert list(await store.outbox(state="dead", alert_id="sent")) == []


async def test_next_due_is_the_earliest_wait(store: Any) -> None:
    """`next_due` looks at due rows only, and follows what is recorded."""
    await store.enqueue([row("a", next_at=50.5), row("b", next_at=20.25), row("c", next_at=1.0, state="done")])
    assert await store.next_due() == 20.25
    await store.record(attempt("b"), state="due", next_at=80.75)
    assert await store.next_due() == 50.5
    await store.record(attempt("a"), state="dead")
    assert await store.next_due() == 80.75
    await store.record(attempt("b", 2), state="done")
    assert await store.next_due() is None


async def test_recorded_attempts(backend: Any, store: Any) -> None:
    """An attempt moves its row and is kept; an external id stays when a later attempt has none."""
    await store.enqueue([row("a"), row("b")])
    attempts = [
        attempt("a", external_id="thread-1", detail="429 🎭"), attempt("b", reason=Reason.TLS),
        attempt("a", 2, outcome=Outcome.ACCEPTED, reason=Reason.OK, at=102.125),
    ]  # fmt: skip
    await store.record(attempts[0], state="due", next_at=160.5)
    await store.record(attempts[1], state="dead")
    store = await backend.again(store)
    await store.record(attempts[2], state="done")
    assert list(await store.deliveries()) == attempts
    assert list(await store.deliveries("a")) == [attempts[0], attempts[2]]
    assert list(await store.deliveries("none")) == []
    found = await store.outbox()
    assert list(found) == [
        row("a", attempts=2, state="done", external_id="thread-1"), row("b", attempts=1, state="dead")
    ]  # fmt: skip
    assert isinstance((await store.deliveries())[0].outcome, Outcome)
    assert isinstance((await store.deliveries())[0].reason, Reason)


async def test_a_row_can_be_tried_again(store: Any) -> None:
    """A dead letter that is put back is due again."""
    await store.enqueue([row("a")])
    await store.record(attempt("a"), state="dead")
    assert list(await store.due(1e9)) == []
    await store.record(attempt("a", 2, outcome=Outcome.RETRY), state="due", next_at=5.0)
    assert list(await store.due(1e9)) == [row("a", attempts=2, next_at=5.0)]


async def test_record_refuses_what_it_does_not_know(store: Any) -> None:
    """An attempt without its row, or a state that is none, raises and records nothing."""
    await store.enqueue([row("a")])
    with pytest.raises(StoreError, match="not in the outbox"):
        await store.record(attempt("other"), state="done")
    with pytest.raises(StoreError, match="expected one of due, done, dead"):
        await store.record(attempt("a"), state="sent")
    assert list(await store.deliveries()) == []
    assert list(await store.outbox()) == [row("a")]


async def test_text_that_is_not_unicode_does_not_stop_the_monitor(store: Any) -> None:
    """Lone surrogates from a remote answer or a terminal are escaped, not refused."""
    await store.enqueue([row("a")])
    await store.record(attempt("a", detail="\ud800!\x00", external_id="\udfff"), state="done")
    await store.say(event("e", comment="a\udc80", by="\ud800"))
    [found] = await store.deliveries("a")
    assert (found.detail, found.external_id) == ("\\ud800!\x00", "\\udfff")
    assert [(e.comment, e.by) for e in await store.said(pending=True)] == [("a\\udc80", "\\ud800")]


async def test_what_people_said(backend: Any, store: Any) -> None:
    """Order is that of saying; an id is said once; an event takes effect at a block and may lose it in a reorg."""
    await store.say(event("z", at=9.0))
    await store.say(event("a", comment="漢"))
    await store.say(event("z", comment="again"))
    store = await backend.again(store)
    assert list(await store.said(pending=True)) == [event("z", at=9.0), event("a", comment="漢")]
    await store.commit(connect(block(1), effective=(("z", ref(1)),)))
    assert [found.id for found in await store.said(pending=True)] == ["a"]
    assert list(await store.said(pending=False)) == [event("z", at=9.0, effective=ref(1)), event("a", comment="漢")]
    await store.commit(Commit(ETH, None, disconnected=(ref(1),), effective=(("z", None),)))
    assert [found.id for found in await store.said(pending=True)] == ["z", "a"]


async def test_big_integers_and_long_values(store: Any) -> None:
    """Amounts of 256 bits and values of a megabyte come back as they went in."""
    blob = bytes(range(256)) * 4096
    flows = tuple(flow(1, n, value=value) for n, value in enumerate((0, 2**53 + 1, 2**64, BIG)))
    await store.commit(connect(block(1, flows=flows, undo=((b"k", blob),)), state=((b"k", blob),)))
    assert [found.value for found in await store.flows("hot", ETH)] == [0, 2**53 + 1, 2**64, BIG]
    assert (await store.block(ETH, 1)).undo == ((b"k", blob),)
    assert await dump(store) == [(b"k", blob)]


async def test_concurrent_writers_lose_nothing(store: Any) -> None:
    """Commits, queued rows, verdicts and attempts at the same time are all there in the end."""
    await store.enqueue([row(f"r{n}") for n in range(20)])

    async def blocks() -> None:
        for number in range(1, 21):
            await store.commit(connect(block(number), outbox=(row(f"b{number}"),)))

    others = [store.enqueue([row(f"q{n}")]) for n in range(20)]
    others += [store.record(attempt(f"r{n}"), state="done") for n in range(20)]
    others += [store.say(event(f"e{n}")) for n in range(20)]
    await asyncio.gather(blocks(), *others)
    assert await store.checkpoint(ETH) == ref(20)
    assert len(await store.outbox()) == 60
    assert len(await store.deliveries()) == len(await store.outbox(state="done")) == 20
    assert len(await store.said(pending=True)) == 20


async def test_notes(backend: Any, store: Any) -> None:
    """Notes are kept by key, listed by prefix in key order, and change with rows, or with a block, or not at all."""
    assert await store.note([("b/2", b"two"), ("b/1", b"one"), ("a", b"\x00\xff"), ("b%", b"other")], [row("a")])
    await store.commit(connect(block(1), notes=(("c", b"old"), ("c", b"new"), ("b/2", None)), outbox=(row("b"),)))
    store = await backend.again(store)
    assert list(await store.notes()) == [("a", b"\x00\xff"), ("b%", b"other"), ("b/1", b"one"), ("c", b"new")]
    assert list(await store.notes("b/")) == [("b/1", b"one")] and list(await store.notes("x")) == []
    assert [found.alert_id for found in await store.outbox()] == ["a", "b"]


async def test_notes_change_only_from_what_is_expected(store: Any) -> None:
    """Where a key holds something else, or anything where nothing is expected, nothing is done."""
    assert await store.note([("used", b"1")], [row("a")], expect=[("used", None)])
    assert not await store.note([("used", b"2"), ("more", b"")], [row("b")], expect=[("used", None)])
    assert not await store.note([("used", None)], expect=[("used", b"other")])
    assert await store.note([("used", b"2")], expect=[("used", b"1"), ("more", None)])
    assert list(await store.notes()) == [("used", b"2")]
    assert [found.alert_id for found in await store.outbox()] == ["a"]


async def test_only_one_of_many_wins_a_note(store: Any) -> None:
    """Of writers that expect the same at the same time, one succeeds."""
    asked = (store.note([("key", b"%d" % n)], expect=[("key", None)]) for n in range(10))
    assert sum(await asyncio.gather(*asked)) == 1


async def test_dead_letters_are_revived(store: Any) -> None:
    """They are due at once, with a new day before them; what is delivered or still due stays as it is."""
    await store.enqueue([row("dead", queued_at=1.0), row("done"), row("due", queued_at=5.0)])
    await store.record(attempt("dead", 7), state="dead")
    await store.record(attempt("done"), state="done")
    keys = [(name, "soc", "0:webhook") for name in ("dead", "done", "due", "none", "dead")]
    assert await store.revive([(name, row("x").receiver, row("x").channel) for name, *_ in keys], 90.0) == 1
    found = {item.alert_id: item for item in await store.due(1e9)}
    assert list(found) == ["due", "dead"]
    assert found["dead"] == row("dead", queued_at=90.0)
    await store.record(attempt("dead", 1), state="done")
    assert list(await store.due(1e9)) == [row("due", queued_at=5.0)]
    assert len(await store.deliveries("dead")) == 2


async def test_the_outbox_of_an_incident(store: Any) -> None:
    """Rows of one incident, in order of insertion, further by state."""
    await store.enqueue([row("a", incident_id="i"), row("b", incident_id="k"), row("c", incident_id="i"), row("d")])
    await store.record(attempt("a"), state="done")
    assert [found.alert_id for found in await store.outbox(incident_id="i")] == ["a", "c"]
    assert [found.alert_id for found in await store.outbox(incident_id="i", state="due")] == ["c"]
    assert list(await store.outbox(incident_id="none")) == []
    assert [found.alert_id for found in await store.outbox(incident_id="")] == ["d"]


async def test_closing_twice_is_fine(backend: Any, store: Any) -> None:
    """A second `aclose` does nothing; a closed store says that it is closed."""
    await store.aclose()
    await store.aclose()
    if backend.kind != "memory":
        with pytest.raises(StoreError, match="closed"):
            await store.commit(connect(block(1)))
        with pytest.raises(StoreError, match="closed"):
            await store.open()


async def test_a_block_goes_and_comes_in_one_commit(backend: Any) -> None:
    """Blocks that are taken out and put in again at once keep their place, with the new undo and the new flows."""
    store = await backend.fresh()
    span = CoverageRange(ETH, 1, 3, "node")
    await store.commit(connect(block(1, flows=(flow(1),)), block(2, flows=(flow(2),)), block(3), coverage=(span,)))
    await store.commit(connect(block(4, parent="a", flows=(flow(4),)), coverage=(CoverageRange(ETH, 4, 4, "node"),)))
    three = block(3, undo=((b"k", b"v"),), flows=(flow(3, 1),))
    again = (three, block(4, undo=((b"q", None),), flows=(flow(4), flow(4, 1))))
    await store.commit(
        Commit(
            ETH, ref(4), disconnected=(ref(4), ref(3)), connected=again, state=((b"x", b"new"),),
            coverage=(CoverageRange(ETH, 3, 4, "node"), CoverageRange(ETH, -5, 0, "node")), final=1,
        )
    )  # fmt: skip
    store = await backend.again(store)
    assert await store.checkpoint(ETH) == ref(4) and await dump(store) == [(b"x", b"new")]
    stored = [await store.block(ETH, number) for number in (3, 4)]
    assert [(item.ref, item.undo) for item in stored] == [(item.ref, item.undo) for item in again]
    kept = [(f.block_number, f.transfer_index) for f in await store.flows("hot", ETH)]
    assert kept == [(1, 0), (2, 0), (3, 1), (4, 0), (4, 1)]
    assert await store.coverage(ETH) == [CoverageRange(ETH, -5, 4, "node")]
