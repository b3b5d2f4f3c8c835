"""The follower: whatever endpoints do, what it hands over is the chain, each block once and in order."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from chains.base import BlockConnected, BlockDisconnected, BlocksLeftOut, ChainEvent, ChainSpec
from chains.evm.watcher import EvmChain
from chains.follow import DEEP_READS, Follower
from monitor.errors import ChainError, ChainInconsistent, ChainUnavailable, DecodeError
from monitor.model import Block, BlockRef

CHAIN = "eip155:31337"
SPEC = ChainSpec(name="scripted", kind="evm", chain=CHAIN, endpoints=(), finality_depth=4)


def make(number: int, parent: str, salt: object) -> Block:
    """A block whose hash covers the whole header, its parent included, so that branches differ all the way up."""
    digest = hashlib.sha256(repr((number, parent, salt)).encode()).hexdigest()
    return Block(BlockRef(CHAIN, number, digest), parent, 1000 + number)


def grow(blocks: Sequence[Block], count: int, salt: object = "") -> list[Block]:
    """``blocks`` with ``count`` more on top."""
    longer = list(blocks)
    for _ in range(count):
        number, parent = (longer[-1].ref.number + 1, longer[-1].ref.hash) if longer else (0, "")
        longer.append(make(number, parent, salt))
    return longer


class Scripted:
    """A chain in memory, from block 0. ``views`` are the branches that an endpoint may still stand on, newest last.

    ``behave(call)`` is asked at each call: an exception to raise, or how many views back the answer comes from.
    """

    def __init__(self, blocks: Sequence[Block], spec: ChainSpec = SPEC) -> None:
        self.spec = spec
        self.views: list[list[Block]] = [list(blocks)]
        self.behave: Callable[[str], BaseException | int] = lambda call: 0
        self.on_wake: Callable[[], bool] = lambda: False  # False: nothing more will happen
        self.idle = asyncio.Event()
        self.calls: list[str] = []
        self.reading = 0
        self.most_reading = 0

    @property
    def blocks(self) -> list[Block]:
        return self.views[-1]

    def become(self, blocks: Sequence[Block]) -> None:
        self.views.append(list(blocks))

    def _view(self, call: str) -> list[Block]:
        self.calls.append(call)
        answer = self.behave(call)
        if isinstance(answer, BaseException):
            raise answer
        return self.views[max(0, len(self.views) - 1 - answer)]

    async def open(self) -> None: ...

    async def head(self) -> BlockRef:
        await asyncio.sleep(0)
        return self._view("head")[-1].ref

    async def block(self, number: int) -> Block:
        self.reading += 1
        self.most_reading = max(self.most_reading, self.reading)
        try:
            await asyncio.sleep(0)
            view = self._view(f"block {number}")
            if number >= len(view):
                raise ChainUnavailable(f"block {number} is not there")
            return view[number]
        finally:
            self.reading -= 1

    async def balances(self, wanted: Sequence[tuple[str, str]], at: BlockRef) -> Mapping[tuple[str, str], int | None]:
        return {}

    async def wake(self) -> None:
        await asyncio.sleep(0)
        self._view("wake")
        if not self.on_wake():
            self.idle.set()
            await asyncio.Event().wait()

    async def aclose(self) -> None: ...


class Sleeps(list[float]):
    """The pauses that a follower took, in seconds."""


class Broken(AssertionError):
    """The events are not a chain."""


@dataclass
class Consumer:
    """Applies events to a stack as the engine does, and refuses what does not fit."""

    stack: list[BlockRef] = field(default_factory=list)
    events: list[ChainEvent] = field(default_factory=list)

    def apply(self, event: ChainEvent) -> None:
        self.events.append(event)
        if isinstance(event, BlockDisconnected):
            if not self.stack or self.stack[-1] != event.ref:
                raise Broken(f"disconnected {event.ref}, the top is {self.stack[-1:]}")
            self.stack.pop()
            return
        block = event.block
        if self.stack and (self.stack[-1].hash != block.parent_hash or self.stack[-1].number + 1 != block.ref.number):
            raise Broken(f"connected {block.ref} on {self.stack[-1]}")
        self.stack.append(block.ref)

    async def ancestor(self, number: int) -> BlockRef | None:
        return next((ref for ref in self.stack if ref.number == number), None)

    def must_be(self, blocks: Sequence[Block]) -> None:
        if self.stack != [b.ref for b in blocks]:
            raise Broken(f"{[r.number for r in self.stack]} is not the chain {[b.ref.number for b in blocks]}")


def follower(
    chain: Scripted, consumer: Consumer, kind: type[Follower] = Follower, sleeps: list[float] | None = None, **kw: Any
) -> Follower:
    async def sleep(seconds: float) -> None:
        if sleeps is not None:
            sleeps.append(seconds)
        await asyncio.sleep(0)

    tip = consumer.stack[-1] if consumer.stack else None
    options: dict[str, Any] = {"sleep": sleep, "rng": random.Random(1), "ancestor": consumer.ancestor} | kw
    return kind(chain, tip=tip, **options)


async def drain(chain: Scripted, consumer: Consumer, follow: Follower) -> None:
    """Apply events until the script of the chain is over (or something fails)."""
    chain.idle.clear()

    async def consume() -> None:
        async with aclosing(follow.events()) as events:
            async for event in events:
                consumer.apply(event)

    reader, idle = asyncio.create_task(consume()), asyncio.create_task(chain.idle.wait())
    try:
        await asyncio.wait({reader, idle}, return_when=asyncio.FIRST_COMPLETED)
        if reader.done():
            await reader
    finally:
        for task in (reader, idle):
            task.cancel()
        await asyncio.gather(reader, idle, return_exceptions=True)
    assert asyncio.all_tasks() == {asyncio.current_task()}


# --- property: any script -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Script:
    """What happens at each wake, how each call goes, and how the follower is set up."""

    moves: tuple[tuple[str, int, int], ...]  # (extend | reorg | rollback, depth, blocks)
    calls: tuple[tuple[str, int], ...]  # (ok | lag | error | contradiction | move, how far back)
    start: int | None
    prefetch: int
    restarts: frozenset[int]  # after these moves the process is killed and starts from what is stored
    replaced: bool  # the very last change is another block at the same height


depths = st.integers(1, 6)
scripts = st.builds(
    Script,
    moves=st.lists(st.tuples(st.sampled_from(["extend", "reorg", "rollback"]), depths, depths), max_size=12).map(tuple),
    calls=st.lists(
        st.tuples(st.sampled_from(["ok", "ok", "lag", "error", "contradiction", "move"]), st.integers(1, 3)),
        max_size=40,
    ).map(tuple),
    start=st.sampled_from([0, 0, 3, None]),
    prefetch=st.integers(1, 5),
    restarts=st.frozensets(st.integers(0, 12), max_size=3),
    replaced=st.booleans(),
)


class Play:
    """Runs one script against one kind of follower."""

    def __init__(self, script: Script, kind: type[Follower]) -> None:
        self.script, self.kind = script, kind
        self.chain = Scripted(grow([], 4))
        self.consumer = Consumer()
        self.moves, self.calls = list(script.moves), list(script.calls)
        self.made = 0
        self.longest = 4
        self.ends = ["grown", "replaced"] if script.replaced else ["grown"]

    def move(self) -> bool:
        """The next change of the chain; after the last one it grows past everything seen, so that all must agree."""
        if not self.moves:
            self.calls.clear()
            if not self.ends:
                return False
            if self.ends.pop(0) == "grown":
                self.chain.become(grow(self.chain.blocks, self.longest + 1 - len(self.chain.blocks), "end"))
            else:
                self.chain.become(grow(self.chain.blocks[:-1], 1, "replaced"))
            return True
        what, depth, count = self.moves.pop(0)
        keep = self.chain.blocks if what == "extend" else self.chain.blocks[: max(1, len(self.chain.blocks) - depth)]
        self.made += 1
        self.chain.become(keep if what == "rollback" else grow(keep, count, self.made))
        self.longest = max(self.longest, len(self.chain.blocks))
        return self.made not in self.script.restarts

    def behave(self, call: str) -> BaseException | int:
        how, back = self.calls.pop(0) if self.calls else ("ok", 0)
        if how == "move" and self.moves:
            self.move()
        if how == "error":
            return ChainUnavailable("scripted", retry_after=None if back < 3 else 1.0)
        if how == "contradiction":
            return ChainInconsistent("scripted")
        return back if how == "lag" else 0

    async def run(self) -> None:
        self.chain.behave, self.chain.on_wake = self.behave, self.move
        for _ in range(len(self.script.restarts) + 2):
            follow = follower(
                self.chain, self.consumer, self.kind, start=self.script.start, prefetch=self.script.prefetch
            )
            async with asyncio.timeout(20):
                await drain(self.chain, self.consumer, follow)
            assert len(follow._recent) <= 2 * SPEC.finality_depth
        assert not self.ends
        final = self.chain.blocks
        first = self.consumer.stack[0].number if self.consumer.stack else len(final)
        if self.script.start is not None and first != self.script.start:
            raise Broken(f"started at {first}")
        self.consumer.must_be(final[first:])


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(script=scripts)
def test_the_events_are_the_chain(script: Script) -> None:
    """Whatever mixture of growth, reorgs, rollbacks, lag, errors and restarts: the net effect is the final chain."""
    asyncio.run(Play(script, Follower).run())


class TrustsNumbers(Follower):
    """Planted fault: a block fits where its number fits."""

    def _misfit(self, block: Block) -> bool:
        return False


class TrustsHeads(Follower):
    """Planted fault: a head that is no higher than the tip is never compared."""

    async def _compare(self, head: BlockRef) -> ChainEvent | None:
        self._rest(agreed=False)
        return None


class SkipsOnError(Follower):
    """Planted fault: a block that could not be read is given up."""

    async def _back_off(self, error: ChainError) -> None:
        await super()._back_off(error)
        if self.tip is not None and self.head is not None and self.head.number > self.tip.number + 1:
            self.tip = replace(self.tip, number=self.tip.number + 1)


class Repeats(Follower):
    """Planted fault: the tip is forgotten after an error, so that a block is handed over twice."""

    async def _back_off(self, error: ChainError) -> None:
        await super()._back_off(error)
        if self.tip is not None and self.tip.number - 1 in self._recent:
            self.tip = self._recent[self.tip.number - 1]


@pytest.mark.parametrize("kind", [TrustsNumbers, TrustsHeads, SkipsOnError, Repeats])
def test_the_property_catches_planted_faults(kind: type[Follower]) -> None:
    """The property above fails for followers with a known fault: its checker can see."""

    @settings(max_examples=200, deadline=None, database=None, derandomize=True, phases=[Phase.generate])
    @given(script=scripts)
    def attempt(script: Script) -> None:
        asyncio.run(Play(script, kind).run())

    with pytest.raises(Broken):
        attempt()


# --- single rules ---------------------------------------------------------------------------------------------------


def numbers(events: Sequence[ChainEvent]) -> list[int]:
    """Connected blocks as their height, disconnected ones as minus their height."""
    return [e.block.ref.number if isinstance(e, BlockConnected) else -e.ref.number for e in events]


def at_each_wake(chain: Scripted, *states: Sequence[Block]) -> None:
    """At each wake the chain becomes the next of ``states``."""
    left = list(states)

    def wake() -> bool:
        if not left:
            return False
        chain.become(left.pop(0))
        return True

    chain.on_wake = wake


async def test_the_first_start_connects_the_head() -> None:
    """Without tip and start the first block is the current head, whatever its parent; nothing before it."""
    chain, consumer = Scripted(grow([], 9)), Consumer()
    follow = follower(chain, consumer)
    await drain(chain, consumer, follow)
    assert numbers(consumer.events) == [8]
    assert (follow.tip, follow.head, follow.lag) == (chain.blocks[8].ref, chain.blocks[8].ref, 0)


async def test_the_first_start_can_begin_earlier_or_later() -> None:
    """``start`` is the first block connected; one that does not exist yet is waited for."""
    early, late = Consumer(), Consumer()
    chain = Scripted(grow([], 6))
    await drain(chain, early, follower(chain, early, start=2))
    assert numbers(early.events) == [2, 3, 4, 5]
    at_each_wake(chain, grow([], 8), grow([], 9))
    await drain(chain, late, follower(chain, late, start=7))
    assert numbers(late.events) == [7, 8]


async def test_a_reorg_is_one_disconnect_a_block() -> None:
    """A longer branch from three blocks below disconnects three, tip first, then connects the new ones."""
    base = grow([], 6)
    chain, consumer = Scripted(base), Consumer()
    at_each_wake(chain, grow(base[:3], 5, "b"))
    await drain(chain, consumer, follower(chain, consumer, start=0))
    assert numbers(consumer.events) == [0, 1, 2, 3, 4, 5, -5, -4, -3, 3, 4, 5, 6, 7]
    consumer.must_be(chain.blocks)


@pytest.mark.parametrize("count", [1, 2])
async def test_a_reorg_to_the_same_or_a_lower_height(count: int) -> None:
    """A head at or below our tip with another hash disconnects down to the common block."""
    base = grow([], 6)
    chain, consumer = Scripted(base), Consumer()
    at_each_wake(chain, grow(base[:4], count, "b"))
    await drain(chain, consumer, follower(chain, consumer, start=0))
    consumer.must_be(chain.blocks)
    assert numbers(consumer.events)[6:] == [-5, -4, 4, 5][: 2 + count]


async def test_a_node_that_lags_or_is_rolled_back_changes_nothing() -> None:
    """A lower head that is our own block of that height is no event, nor an arrival of a head."""
    base = grow([], 6)
    chain, consumer, now = Scripted(base), Consumer(), [50.0]
    seen: list[float | None] = []
    states = [base[:4], base[:3], base, grow(base, 1)]

    def wake() -> bool:
        now[0] += 1
        seen.append(follow.head_seen_at)
        if states:
            chain.become(states.pop(0))
            return True
        return False

    chain.on_wake = wake
    follow = follower(chain, consumer, start=5, clock=lambda: now[0])
    await drain(chain, consumer, follow)
    assert numbers(consumer.events) == [5, 6]
    assert seen == [50.0, 50.0, 50.0, 50.0, 54.0]


async def test_lag_is_counted_against_what_the_endpoint_says() -> None:
    """``lag`` is head minus tip, and negative for an endpoint behind us."""
    base = grow([], 9)
    chain, consumer = Scripted(base), Consumer()
    follow = follower(chain, consumer, start=2)
    assert follow.lag == 0
    async with aclosing(follow.events()) as events:
        await anext(events)
        assert follow.lag == 6
    at_each_wake(chain, base[:7])
    await drain(chain, consumer, follow := follower(chain, Consumer(), start=8))
    assert follow.lag == -2


async def test_restart_after_a_reorg_that_happened_while_down() -> None:
    """From a stored tip that is no longer part of the chain the same rule finds the common block in the store."""
    base = grow([], 8)
    chain = Scripted(grow(base[:5], 6, "b"))
    consumer = Consumer(stack=[b.ref for b in base])
    await drain(chain, consumer, follower(chain, consumer))
    assert numbers(consumer.events) == [-7, -6, -5, 5, 6, 7, 8, 9, 10]
    consumer.must_be(chain.blocks)


async def test_a_rewrite_below_what_is_stored_is_followed(caplog: pytest.LogCaptureFixture) -> None:
    """Where the block before is unknown the rewrite must persist; then the same height is the first one again."""
    base = grow([], 9)
    chain = Scripted(grow(base[:2], 9, "b"))
    consumer = Consumer(stack=[b.ref for b in base[5:]])
    sleeps: list[float] = []
    await drain(chain, consumer, follower(chain, consumer, sleeps=sleeps))
    assert numbers(consumer.events) == [-8, -7, -6, -5, 5, 6, 7, 8, 9, 10]
    assert len(sleeps) == DEEP_READS - 1 and f"block 5 ({base[5].ref.hash}) is no longer part of" in caplog.text
    consumer.must_be(chain.blocks[5:])


def sourced(blocks: Sequence[Block], source: str) -> list[Block]:
    return [replace(block, source=source) for block in blocks]


async def never(number: int) -> bool:
    return number > 5


@pytest.mark.parametrize("agree", [True, False])
async def test_a_deep_rewrite_needs_a_second_endpoint(agree: bool) -> None:
    """One endpoint that shows another chain below what can be undone is not believed; with a second one it is."""
    base = grow([], 9)
    other = grow(base[:3], 9, "b")
    spec = replace(SPEC, endpoints=("http://one", "http://two"))
    chain, rotated = Scripted(sourced(other, "one"), spec), []

    def rotate() -> None:
        rotated.append(len(rotated))
        chain.become(sourced(other, "two") if agree else sourced(base, "two"))

    chain.rotate = rotate  # type: ignore[attr-defined]
    consumer = Consumer(stack=[b.ref for b in base])
    at_each_wake(chain, *([sourced(grow(base, 1), "two")] if not agree else []))
    await drain(chain, consumer, follower(chain, consumer, can_undo=never))
    assert rotated == [0]
    consumer.must_be(chain.blocks)
    gone = [e.ref.number for e in consumer.events if isinstance(e, BlockDisconnected)]
    assert gone == ([8, 7, 6, 5, 4, 3] if agree else [8, 7, 6])


class Clock:
    """Monotonic seconds that pass with each block read."""

    def __init__(self, chain: Scripted, seconds: float) -> None:
        self._chain, self._seconds = chain, seconds

    def __call__(self) -> float:
        return self._seconds * sum(call.startswith("block") for call in self._chain.calls)


def slow(chain: Scripted, consumer: Consumer, seconds: float, **options: Any) -> Follower:
    """A follower for which each block read takes so long."""
    return follower(chain, consumer, clock=Clock(chain, seconds), gap_seconds=60.0, **options)


async def test_a_gap_that_takes_long_is_left_out() -> None:
    """Once the pace is known to be slow, the head is next; what lies between is named."""
    base = grow([], 1000)
    chain, consumer = Scripted(base), Consumer(stack=[base[0].ref])
    events: list[ChainEvent] = []
    async with aclosing(slow(chain, consumer, 0.5).events()) as source:
        async for event in source:
            events.append(event)
            if isinstance(event, BlockConnected) and event.block.ref.number == 999:
                break
    left = [e for e in events if isinstance(e, BlocksLeftOut)]
    assert [type(e) for e in events[-2:]] == [BlocksLeftOut, BlockConnected] and len(left) == 1
    read = left[0].tip.number
    assert left[0].head == base[999].ref and 1 <= read < 40 and numbers(events[:-2]) == list(range(1, read + 1))


@pytest.mark.parametrize(("count", "seconds"), [(256, 0.5), (1000, 0.01)])
async def test_what_is_short_is_caught_up(count: int, seconds: float) -> None:
    """Up to 256 blocks, and what takes less than a minute, is read in order."""
    base = grow([], count + 1)
    chain, consumer = Scripted(base), Consumer(stack=[base[0].ref])
    await drain(chain, consumer, slow(chain, consumer, seconds))
    consumer.must_be(base)


async def test_below_a_gap_nothing_is_ours_until_it_is_full() -> None:
    """The first block above a gap is disconnected like a first block; after `rejoin` like any other."""
    base = grow([], 9)
    for is_full in (False, True):
        chain, consumer = Scripted(base), Consumer(stack=[b.ref for b in (base if is_full else base[7:])])
        branch = grow(base[:6], 5, "b")
        at_each_wake(chain, branch)
        follow = follower(chain, consumer, base=base[7].ref)
        assert not follow.rejoin(base[6].ref)
        if is_full:
            assert follow.rejoin(base[7].ref) and not follow.rejoin(base[7].ref)
        await drain(chain, consumer, follow)
        expected = [-8, -7, -6, 6, 7, 8, 9, 10] if is_full else [-8, -7, 7, 8, 9, 10]
        assert numbers(consumer.events) == expected
        consumer.must_be(branch if is_full else branch[7:])


async def test_a_reorg_below_the_first_block_of_this_process() -> None:
    """On the first start nothing below the first block is ours: it is connected anew, as on the first start."""
    base = grow([], 6)
    chain, consumer = Scripted(base), Consumer()
    at_each_wake(chain, grow(base, 1), grow(base[:3], 5, "b"))
    await drain(chain, consumer, follower(chain, consumer))
    assert numbers(consumer.events) == [5, 6, -6, -5, 5, 6, 7]
    consumer.must_be(chain.blocks[5:])


async def test_a_head_below_everything_stored_is_waited_for() -> None:
    """A node that is still syncing cannot be compared: no event, and it is said why."""
    base = grow([], 9)
    chain, consumer = Scripted(base[:3]), Consumer(stack=[b.ref for b in base[5:]])
    follow = follower(chain, consumer)
    await drain(chain, consumer, follow)
    assert consumer.events == []
    assert follow.last_error == "head 2 is below every block that is known here"


async def test_blocks_are_read_in_parallel_and_come_in_order() -> None:
    """Far behind, up to ``prefetch`` blocks are read at once, each once; events keep the order of the chain."""
    chain, consumer = Scripted(grow([], 40)), Consumer()
    await drain(chain, consumer, follower(chain, consumer, start=0, prefetch=5))
    assert numbers(consumer.events) == list(range(40))
    assert chain.most_reading == 5
    reads = [c for c in chain.calls if c.startswith("block")]
    assert len(reads) == len(set(reads)) == 40


async def test_one_block_is_not_read_ahead() -> None:
    """At the head, a new block costs one question for the head and one for the block."""
    base = grow([], 3)
    chain, consumer = Scripted(base), Consumer()
    at_each_wake(chain, grow(base, 1), grow(base, 2))
    await drain(chain, consumer, follower(chain, consumer, start=2))
    assert chain.calls == ["head", "block 2", "wake", "head", "block 3", "wake", "head", "block 4", "wake"]


async def test_a_block_of_another_branch_is_read_again() -> None:
    """A lagging endpoint behind the same address: one block that does not fit is no reorg."""
    base = grow([], 6)
    chain, consumer = Scripted(grow(base[:2], 4, "old")), Consumer(stack=[b.ref for b in base[:3]])
    chain.become(base)
    lagging = ["block 4"]
    chain.behave = lambda call: 1 if call in lagging and not lagging.remove(call) else 0  # type: ignore[func-returns-value]
    await drain(chain, consumer, follower(chain, consumer))
    assert numbers(consumer.events) == [3, 4, 5]
    assert chain.calls.count("block 4") == 2


async def test_endpoints_on_two_branches_are_no_storm() -> None:
    """Where head and block come from different branches nothing is disconnected, and questions get rarer."""
    base = grow([], 6)
    chain, consumer = Scripted(base), Consumer(stack=[b.ref for b in base])
    chain.become(grow(base[:5], 1, "b"))
    chain.behave = lambda call: 0 if call == "head" else 1
    sleeps: list[float] = []

    async def sleep(seconds: float) -> None:
        sleeps.append(seconds)
        if len(sleeps) == 12:
            chain.behave = lambda call: 1  # now they agree on ours
        await asyncio.sleep(0)

    follow = follower(chain, consumer, sleep=sleep)
    await drain(chain, consumer, follow)
    assert consumer.events == []
    assert len(sleeps) == 12 and max(sleeps[6:]) > 5.0


async def test_a_block_that_goes_and_comes_back_is_taken_after_a_pause() -> None:
    """A branch that flips with every answer gives events at the rate of the back-off, and ends on the last branch."""
    base = grow([], 6)
    one, two = grow(base, 2, "one"), grow(base, 2, "two")
    chain, consumer, sleeps = Scripted(one), Consumer(stack=[b.ref for b in one]), Sleeps()
    chain.become(two)
    flips = 7

    def behave(call: str) -> int:
        """Answers come from the branch that our tip is not on, a few times."""
        nonlocal flips
        if call == "head" and flips and consumer.stack[-1].number == 7:
            flips -= 1
        return flips % 2

    chain.behave = behave
    left = [True] * 10
    chain.on_wake = lambda: bool(left) and left.pop()
    await drain(chain, consumer, follower(chain, consumer, sleeps=sleeps))
    consumer.must_be(two)
    flipped = sum(isinstance(e, BlockDisconnected) for e in consumer.events)
    assert flipped >= 6
    assert len(sleeps) >= flipped // 2 - 1


async def test_a_storm_of_errors_skips_nothing() -> None:
    """Two hundred errors from every call: back-off between 0 and 15 s, then every block is there."""
    chain, consumer, sleeps = Scripted(grow([], 12)), Consumer(), Sleeps()
    storm = [200]

    def behave(call: str) -> BaseException | int:
        storm[0] -= 1
        if storm[0] < 0 or storm[0] % 25 == 0:
            return 0
        return ChainUnavailable("HTTP 503") if storm[0] % 2 else ChainInconsistent("hash against header")

    chain.behave = behave
    follow = follower(chain, consumer, start=0, sleeps=sleeps)
    await drain(chain, consumer, follow)
    consumer.must_be(chain.blocks)
    assert numbers(consumer.events) == list(range(12))
    assert min(sleeps) >= 0.0 and 10.0 < max(sleeps) <= 15.0
    assert follow.last_error is None


async def test_back_off_doubles_and_starts_again_after_success() -> None:
    """The bound of the random pause is 0.2 s, 0.4 s, ... up to 15 s, and 0.2 s again after a success."""

    class Highest(random.Random):
        def uniform(self, a: float, b: float) -> float:
            return b

    chain, consumer, sleeps = Scripted(grow([], 2)), Consumer(), Sleeps()
    down = ChainUnavailable("down")
    answers: Iterator[BaseException | int] = iter([*[down] * 8, 0, 0, 0, down, 0])
    chain.behave = lambda call: next(answers, 0)
    at_each_wake(chain, chain.blocks)
    await drain(chain, consumer, follower(chain, consumer, sleeps=sleeps, rng=Highest()))
    assert sleeps == pytest.approx([0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 15.0, 0.2])


async def test_an_endpoint_may_ask_for_a_longer_pause() -> None:
    """``retry_after`` is the least pause, up to a minute."""
    chain, consumer, sleeps = Scripted(grow([], 2)), Consumer(), Sleeps()
    answers = iter([ChainUnavailable("busy", retry_after=7.5), ChainUnavailable("busy", retry_after=9000.0)])
    chain.behave = lambda call: next(answers, 0)
    await drain(chain, consumer, follower(chain, consumer, sleeps=sleeps))
    assert sleeps == [7.5, 60.0]


async def test_last_error_is_what_went_wrong() -> None:
    """While an endpoint fails, ``last_error`` holds its words; one success clears it."""
    chain, consumer = Scripted(grow([], 2)), Consumer()
    said: list[str | None] = []
    answers = iter([ChainUnavailable("node.example: HTTP 503")])
    chain.behave = lambda call: next(answers, 0)

    async def sleep(seconds: float) -> None:
        said.append(follow.last_error)

    follow = follower(chain, consumer, sleep=sleep)
    await drain(chain, consumer, follow)
    assert said == ["node.example: HTTP 503"]
    assert follow.last_error is None


async def test_what_no_retry_cures_reaches_the_caller() -> None:
    """Another error of the chain ends the events instead of skipping a block."""
    chain, consumer = Scripted(grow([], 6)), Consumer()
    chain.behave = lambda call: DecodeError("block 3 is not a block") if call == "block 3" else 0
    with pytest.raises(DecodeError, match="block 3"):
        await drain(chain, consumer, follower(chain, consumer, start=0))
    assert numbers(consumer.events) == [0, 1, 2]


async def test_a_failed_early_read_is_read_again_in_its_turn() -> None:
    """An error while reading ahead costs a second read and no pause."""
    chain, consumer, sleeps = Scripted(grow([], 6)), Consumer(), Sleeps()
    failing = ["block 3"]
    chain.behave = lambda call: ChainUnavailable("x") if call in failing and not failing.remove(call) else 0  # type: ignore[func-returns-value]
    await drain(chain, consumer, follower(chain, consumer, start=0, sleeps=sleeps))
    assert numbers(consumer.events) == list(range(6))
    assert sleeps == []


async def test_an_answer_for_another_height_is_refused() -> None:
    """A block whose number is not the one asked for is an inconsistent answer, never connected."""
    chain, consumer = Scripted(grow([], 5)), Consumer()
    read, lies = chain.block, [1]

    async def block(number: int) -> Block:
        return await read(number - 1 if number == 3 and lies and lies.pop() else number)

    chain.block = block  # type: ignore[method-assign]
    sleeps = Sleeps()
    await drain(chain, consumer, follower(chain, consumer, start=3, prefetch=1, sleeps=sleeps))
    assert numbers(consumer.events) == [3, 4]
    assert len(sleeps) == 1


async def test_cancellation_leaves_no_task() -> None:
    """Cancelled while blocks are being read ahead, the follower cancels them all and passes the cancellation on."""
    chain, consumer = Scripted(grow([], 30)), Consumer()
    stuck, never = asyncio.Event(), asyncio.Event()
    read = chain.block

    async def block(number: int) -> Block:
        if number >= 4:
            stuck.set()
            await never.wait()
        return await read(number)

    chain.block = block  # type: ignore[method-assign]
    reader = asyncio.create_task(drain(chain, consumer, follower(chain, consumer, start=0, prefetch=6)))
    await stuck.wait()
    for _ in range(50):
        await asyncio.sleep(0)
    assert len(asyncio.all_tasks()) >= 6
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert numbers(consumer.events) == [0, 1, 2, 3]


async def test_closing_between_events_leaves_no_task() -> None:
    """A consumer that stops reading closes the generator; what was read ahead goes with it."""
    chain, consumer = Scripted(grow([], 30)), Consumer()
    async with aclosing(follower(chain, consumer, start=0).events()) as events:
        async for event in events:
            consumer.apply(event)
            if len(consumer.events) == 3:
                break
        assert len(asyncio.all_tasks()) > 1
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_long_catch_up_keeps_looking_at_the_head() -> None:
    """While behind for long the head is asked again every few seconds, so that lag is true and staleness visible."""
    chain, consumer, now = Scripted(grow([], 30)), Consumer(), [0.0]
    seen: dict[int, float | None] = {}
    follow = follower(chain, consumer, start=0, clock=lambda: now[0])
    async with aclosing(follow.events()) as events:
        async for _ in events:
            now[0] += 1.0
            chain.become(grow(chain.blocks, 1))
            seen[int(now[0])] = follow.head_seen_at
            if now[0] == 20:
                break
    assert sorted({t for t in seen.values() if t is not None}) == [0.0, 6.0, 12.0, 18.0]
    assert follow.lag == 28


async def test_memory_is_bounded() -> None:
    """However long the chain, twice the finality depth is remembered."""
    chain, consumer = Scripted(grow([], 200)), Consumer()
    follow = follower(chain, consumer, start=0)
    await drain(chain, consumer, follow)
    assert len(consumer.events) == 200
    assert sorted(follow._recent) == list(range(192, 200))


def test_the_fake_is_a_chain() -> None:
    """The scripted chain offers what `Chain` asks for."""
    from chains.base import Chain

    class Made(Scripted):
        def __init__(self, spec: ChainSpec, watch: Container[str]) -> None:
            super().__init__(grow([], 1), spec)

    chain: Chain = Made(SPEC, ())
    assert chain.spec is SPEC


async def test_following_a_real_node_through_reorgs(anvil: Any) -> None:
    """A real node that mines, is rolled back, reorganises and mines on: the events end at the node's own chain."""
    chain = EvmChain(replace(SPEC, endpoints=(anvil.url, anvil.ws), poll_seconds=0.05), frozenset())
    consumer = Consumer()
    steps: list[tuple[str, list[Any]]] = [
        ("anvil_mine", ["0x1"]),
        ("anvil_reorg", [3, []]),
        ("anvil_rollback", [2]),
        ("anvil_mine", ["0x1"]),  # a lower head of another branch
        ("anvil_reorg", [6, []]),
        ("anvil_mine", ["0x5"]),
    ]

    async def canonical() -> list[str]:
        last = int(await anvil.rpc("eth_blockNumber"), 16)
        return [(await anvil.rpc("eth_getBlockByNumber", hex(n), False))["hash"] for n in range(last + 1)]

    try:
        await chain.open()
        await anvil.rpc("anvil_mine", "0x14")
        follow = Follower(chain, tip=None, ancestor=consumer.ancestor, start=0)
        async with asyncio.timeout(60), aclosing(follow.events()) as events:
            for method, params in steps:
                await anvil.rpc(method, *params)
                if method == "anvil_rollback":
                    continue  # alone it is no news: a lagging node looks the same
                wanted = await canonical()
                while [ref.hash for ref in consumer.stack] != wanted:
                    consumer.apply(await anext(events))
        assert sum(isinstance(e, BlockDisconnected) for e in consumer.events) >= 11
    finally:
        await chain.aclose()
